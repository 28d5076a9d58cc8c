# shellcheck shell=bash disable=SC2154 # what they use is set by guest.sh and by who sources them
# guest-figures.sh - for scripts in the guest: the daemon's figures of now, and what they must be. Source it after guest.sh; the mount
# has stats_file=$stats. The caller sets `step`, for messages.
stats=/tmp/stats
declare -A fig

# figures: into the array fig
figures() {
    local name value n
    rm -f "$stats"
    kill -USR1 "$(pidof uringfs)" || vm_fail 'the daemon has gone'
    for ((n = 0; n < 200; n++)); do
        [[ -s $stats && $(tail -c 2 "$stats") == '}' ]] && break
        sleep 0.1
    done
    while read -r name value; do [[ $value =~ ^[0-9]+$ ]] && fig[$name]=$value; done <"$stats"
}

# expect NAME OPERATOR VALUE
expect() {
    [[ -n ${fig[$1]:-} ]] || vm_fail "no figure $1"
    test "${fig[$1]}" "$2" "$3" || vm_fail "$step: $1 is ${fig[$1]}, expected $2 $3"
}

# overwrite: the first block of the file "file", and its fdatasync; what went wrong is in /tmp/err
overwrite() { dd if=/dev/zero of="$mnt/file" bs=4k count=1 conv=notrunc,fdatasync status=none 2>/tmp/err; }
