# shellcheck shell=bash disable=SC2154 # what they use is set by guest.sh and by who sources them
# guest-says.sh - for scripts in the guest: what the daemon says of the device below a source. Source it after guest.sh.

# says NAME FOLDER PATTERN
says() {
    rm -f /tmp/says
    mkdir -p "$mnt"
    timeout 60 "$URINGFS" "$2" "$mnt" -o allow_other,stats,stats_file=/tmp/says 2>/tmp/says.log || vm_fail "$1: $(tail -n 3 /tmp/says.log)"
    dd if=/dev/zero of="$mnt/f" bs=4k count=1 conv=fsync status=none || vm_fail "$1: fsync"
    stop_uringfs
    grep -qE "^fsync_device +$3" /tmp/says || vm_fail "$1: $(grep fsync_device /tmp/says)"
    echo "ok $1: $(sed -n 's/^fsync_device *//p' /tmp/says)"
}
