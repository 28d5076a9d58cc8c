# shellcheck shell=bash
# guest-trace.sh - for scripts in the guest: the kernel's own record of every command given to the disk and answered by it, which
# tests/vm/crash/blocklog.py joins with QEMU's log of writes. Source it after guest.sh.
guest_tracing=/sys/kernel/tracing

# trace_begin: from here on
trace_begin() {
    local event
    mount -t tracefs tracefs $guest_tracing 2>/dev/null
    echo 16384 >$guest_tracing/buffer_size_kb || vm_fail 'no trace buffer'
    echo counter >$guest_tracing/trace_clock # one order for all processors
    for event in block_rq_issue block_rq_complete; do echo 1 >$guest_tracing/events/block/$event/enable || vm_fail "no $event"; done
}

# trace_end: trace.gz in the results; a line "I WFS 2048 8 001" is: given to the device (I) or answered (C), what,
# first sector, sectors, processor
trace_end() {
    local event
    # answers first: a command without an answer may be there or not, an answer without its command is an error
    for event in block_rq_complete block_rq_issue; do echo 0 >$guest_tracing/events/block/$event/enable; done
    if grep -hE '^(overrun|commit overrun|dropped events): [1-9]' $guest_tracing/per_cpu/cpu*/stats; then vm_fail 'events of the trace are lost'; fi
    sed -nE 's/.* \[([0-9]+)\] .*block_rq_(.)[a-z]*: 259,[0-9]+ ([A-Z]+) ([0-9]+ )?\([^)]*\) ([0-9]+) \+ ([0-9]+) .*/\2 \3 \5 \6 \1/p' $guest_tracing/trace |
        tr ic IC | gzip -1 >/tmp/trace.gz
    vm_result /tmp/trace.gz
}
