# shellcheck shell=bash
# For the scripts of this folder: `. "${0%/*}/lib.sh"`. Runs the script again in mount and PID namespaces of its own,
# with a time limit (FAULT_TIMEOUT seconds): when it ends, however it ends, its daemons and mounts end with it.
set -u
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
URINGFS=${URINGFS:-$top/build/fs/uringfs}
export URINGFS

skip() { echo "SKIP: $*"; exit 77; }
fail() {
    echo "FAIL: $*"
    [[ -s ${LOG:-} ]] && { echo "the daemon's last lines:"; tail -n 15 "$LOG"; }
    exit 1
}
# shellcheck disable=SC2034 # for who sources this
failed=0
# shellcheck disable=SC2034 # as above
bad() { echo "FAIL: $*"; failed=1; } # go on; `exit "$failed"` at the end

if [[ -z ${FAULT_INSIDE:-} ]]; then
    [[ $(id -u) == 0 ]] || skip 'needs root'
    [[ -c /dev/fuse ]] || skip 'no /dev/fuse'
    [[ -x $URINGFS ]] || skip "no program $URINGFS (build it, or set URINGFS)"
    T=$(mktemp -d /tmp/uringfs-fault.XXXXXX) || exit 1
    trap 'rmdir "$T"' EXIT
    FAULT_INSIDE=1 T=$T timeout -s KILL "${FAULT_TIMEOUT:-100}" \
        unshare -m --propagation private -p -f --kill-child --mount-proc bash "$0" "$@"
    status=$?
    ((status == 137)) && echo "FAIL: not done after ${FAULT_TIMEOUT:-100} s"
    case $status in 0 | 77) exit "$status" ;; *) exit 1 ;; esac
fi

[[ ${T:-} == /tmp/uringfs-fault.* && $$ == 1 ]] || { echo "not in a namespace of its own"; exit 1; }
mount -t tmpfs -o mode=755 none "$T" || exit 1
SRC=$T/src MNT=$T/mnt LOG=$T/log STATS=$T/stats PID=''
mkdir "$SRC" "$MNT"

mounted() { grep -q " $MNT " /proc/self/mountinfo; }
wait_for() { # SECONDS CMD...
    local tries=$(($1 * 50))
    shift
    while ((tries-- > 0)); do "$@" && return 0; sleep 0.02; done
    return 1
}
gone() { ! kill -0 "$1" 2>/dev/null || grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null; }

# start ARGS...: the daemon in the foreground, ready
start() {
    : >"$LOG"
    ${AS_USER:-} "$URINGFS" "$SRC" "$MNT" -f -o stats_file="$STATS" "$@" >>"$LOG" 2>&1 &
    PID=$!
    wait_for 10 ready || fail "not mounted with: $*"
}
ready() { mounted && grep -q 'in use: ' "$LOG"; }
# stop: a plain unmount; the daemon must end by itself, with 0
stop() {
    local tries=100
    until umount "$MNT" 2>/dev/null || ! mounted; do
        ((tries-- > 0)) || fail "cannot unmount: $(umount "$MNT" 2>&1)"
        sleep 0.05
    done
    wait_for 10 gone "$PID" || fail 'the daemon lives on after the unmount'
    wait "$PID" || fail "the daemon ended with status $?"
}
# figure NAME: from the statistics as JSON, after SIGUSR1
figure() {
    local before after
    before=$(grep -c '^{' "$STATS" 2>/dev/null)
    kill -USR1 "$PID" || fail 'the daemon has gone'
    for _ in {1..250}; do
        after=$(grep -c '^{.*}$' "$STATS" 2>/dev/null)
        [[ ${after:-0} -gt ${before:-0} ]] && break
        sleep 0.02
    done
    grep '^{' "$STATS" | tail -n 1 | python3 -c '
import json, sys
d = json.loads(sys.stdin.read())
for key in sys.argv[1].split("."):
    d = d.get(key, 0) if isinstance(d, dict) else 0
print(d)' "$1"
}
# load COUNT: that many clients under way on the mount, until it ends; their pids in the array `clients`
load() {
    local n
    clients=()
    rm -f "$T"/begun.*
    for ((n = 0; n < $1; n++)); do
        work load "$MNT" 50 "$T/begun" &
        clients+=($!)
    done
    wait_for 30 begun "$1" || fail 'the clients do not begin'
}
begun() { (($(find "$T" -maxdepth 1 -name 'begun.*' | wc -l) >= $1)); }
work() { timeout 60 python3 "$here/work.py" "$@"; }
