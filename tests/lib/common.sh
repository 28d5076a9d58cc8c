# shellcheck shell=bash
# For tests written in bash: `. "$TESTS_LIB/common.sh"`. The runner sets SRC, MNT, TWIN, TMP, FULL, BACKING, ROOT, OPTIONS.
set -u
FS_NAME='' FS_FEATURES=''
# shellcheck disable=SC2034 # set by configs, read by tests
FS_PID=''
# shellcheck source=/dev/null
. "$TEST_CONFIG"

skip() { echo "SKIP: $*"; exit 77; }
fail() { echo "FAIL: $*"; exit 1; }

# need_config: the config's own conditions (a binary, a source to build it from)
need_config() { if declare -F fs_need >/dev/null; then fs_need; fi; }
need_feature() {
    local word
    for word in "$@"; do
        [[ " $FS_FEATURES " == *" $word "* ]] || skip "$FS_NAME has no $word"
    done
}
need_backing() { [[ " $* " == *" $BACKING "* ]] || skip "needs one of: $* (backing is $BACKING)"; }
need_not_backing() { [[ " $* " != *" $BACKING "* ]] || skip "$BACKING cannot do this"; }
need_cmd() { local c; for c in "$@"; do command -v "$c" >/dev/null || skip "no command $c"; done; }

# only_known OPTIONS WORD...: of a comma list, what is one of the words (peers know few of our options)
only_known() {
    local list=$1 item out=''
    shift
    IFS=, read -ra items <<<"$list"
    for item in "${items[@]}"; do
        [[ " $* " == *" $item "* ]] && out+=${out:+,}$item
    done
    echo "$out"
}

is_mounted() { awk -v p="$1" '$5 == p { found = 1 } END { exit !found }' /proc/self/mountinfo; }
wait_mounted() { # MNT [SECONDS, 30]
    local tries=$((${2:-30} * 50))
    while ((tries-- > 0)); do is_mounted "$1" && return 0; sleep 0.02; done
    echo "$1: not mounted in time" >&2
    return 1
}
# figure NAME: of the last statistics in $TMP/stats, a daemon's stats_file=
figure() { grep '^{' "$TMP/stats" | tail -n 1 | grep -o "\"$1\":[0-9]*" | cut -d: -f2; }
write_stats() { # PID [SECONDS, 10]: that daemon writes them once more
    local before now tries=$((${2:-10} * 50))
    before=$(grep -c '^{' "$TMP/stats" 2>/dev/null)
    kill -USR1 "$1"
    while ((tries-- > 0)); do
        now=$(grep -c '^{' "$TMP/stats" 2>/dev/null)
        ((${now:-0} > ${before:-0})) && return 0
        sleep 0.02
    done
    fail "no statistics"
}
wait_pid_gone() { # PID [SECONDS]
    local tries=$((${2:-5} * 50))
    while ((tries-- > 0)); do
        [[ -d /proc/$1 ]] || return 0
        [[ $(awk '/^State:/ { print $2 }' "/proc/$1/status" 2>/dev/null) == Z ]] && return 0
        sleep 0.02
    done
    return 1
}
# daemon_pids MNT: processes that have MNT as a whole argument, oldest first, without shells and test programs
daemon_pids() {
    local dir arg pid found
    for dir in /proc/[0-9]*; do
        pid=${dir#/proc/} found=''
        [[ $pid != "$$" && $pid != "$BASHPID" ]] || continue
        # Reading before any fork: there may be many processes.
        while IFS= read -r -d '' arg; do
            [[ $arg == "$1" ]] && found=1
        done 2>/dev/null <"$dir/cmdline"
        [[ -n $found ]] || continue
        case $(readlink "$dir/exe" 2>/dev/null) in '' | */bash | */python* | */unshare | */timeout | */umount) continue ;; esac
        echo "$pid"
    done 2>/dev/null | sort -n
}
daemon_pid() { daemon_pids "$1" | tail -n 1; }

# umount_mnt: and wait for the daemon, which holds the source a moment longer
umount_mnt() {
    local pids pid
    pids=$(daemon_pids "$MNT")
    fs_umount "$MNT" >>"$FULL" 2>&1 || return 1
    for pid in $pids; do wait_pid_gone "$pid" || return 1; done
}
# mount_again OPTS: unmount $MNT and mount it with other options
mount_again() {
    if is_mounted "$MNT"; then umount_mnt || fail "cannot unmount $MNT"; fi
    fs_mount "$SRC" "$MNT" "$1" >>"$FULL" 2>&1 || fail "cannot mount with options '$1'"
}
plain_umount() { # the usual fs_umount: retry while busy for a moment, never lazily
    local tries=100
    while ((tries-- > 0)); do
        umount -R "$1" 2>/dev/null && return 0 # -R: filesystems inside SOURCE are mounts of their own
        is_mounted "$1" || return 0
        sleep 0.05
    done
    umount -R "$1"
}

# as_user UID[:GID[:GROUPS]] CMD...
as_user() {
    local uid gid groups
    IFS=: read -r uid gid groups <<<"$1"
    shift
    gid=${gid:-$uid}
    if [[ -n ${groups:-} ]]; then
        setpriv --reuid "$uid" --regid "$gid" --groups "$groups" "$@"
    else
        setpriv --reuid "$uid" --regid "$gid" --clear-groups "$@"
    fi
}

fsop() { python3 "$TESTS_LIB/checks.py" fsop "$@"; }
# both CMD...: run CMD in a fresh directory of the mount and of the backing filesystem; same output, same trees
both() { python3 "$TESTS_LIB/checks.py" both "$@"; }
tree() { python3 "$TESTS_LIB/checks.py" tree "$@"; }
same_tree() { python3 "$TESTS_LIB/checks.py" same "$@"; }

# small_fs SIZE DIR: a small ext4 on a loop image, for ENOSPC; unmount it with umount DIR
small_fs() {
    mkdir -p "$2"
    truncate -s "$1" "$TMP/small.$$.img"
    mkfs.ext4 -q -F -m 0 "$TMP/small.$$.img" >>"$FULL" 2>&1 && mount -o loop "$TMP/small.$$.img" "$2"
}
