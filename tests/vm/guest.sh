# shellcheck shell=bash
# guest.sh - for scripts that run inside the guest of tests/vm/run: . "$VM_GUEST". A function that fails says why.
# Set by the lab: VM_DISK (the namespace), VM_PART (where the filesystem is: the namespace or its first partition), VM_MARK
# (the second partition, with --partition: raw, for markers in the block log), VM_FS, VM_NG (the generic character device).
set -u
src=/mnt/src mnt=/mnt/fs
# shellcheck disable=SC2034 # the last status that start_uringfs saw, for those who want it
uringfs_log=/tmp/uringfs.log

vm_fail() { echo "FAIL: $*"; exit 1; }
vm_skip() { echo "SKIP: $*"; exit 77; }

# disk_of SERIAL: the name of that namespace, once the kernel has found it: with several controllers any of them may be the first
disk_of() {
    local n name
    for ((n = 0; n < 200; n++)); do
        for name in /sys/block/nvme*; do
            [[ ${name##*/} == *c*n* || ! -b /dev/${name##*/} || $(cat "$name/device/serial" 2>/dev/null) != "$1"* ]] || { echo "${name##*/}"; return 0; }
        done
        sleep 0.1
    done
    return 1
}
if [[ -n ${VM_SEVERAL:-} ]]; then
    name=$(disk_of uringfs) || vm_fail 'no disk'
    # shellcheck disable=SC2034 # for who sources this
    VM_DISK=/dev/$name VM_PART=${VM_PART/nvme0n1/$name} VM_MARK=${VM_MARK/nvme0n1/$name} VM_NG=/dev/ng${name#nvme}
fi

# mount_source [OPTIONS]: the filesystem of the disk at /mnt/back, $src a folder on it
mount_source() {
    mkdir -p /mnt/back "$mnt"
    mount -t "$VM_FS" -o "${1:-defaults}" "$VM_PART" /mnt/back || vm_fail "$VM_PART: cannot mount as $VM_FS"
    mkdir -p /mnt/back/src && chmod 755 /mnt/back /mnt/back/src || vm_fail "/mnt/back/src"
    [[ -e $src || -L $src ]] || ln -s /mnt/back/src "$src"
}

# start_uringfs [OPTIONS]: $src at $mnt; returns when it is mounted
start_uringfs() {
    mkdir -p "$mnt"
    timeout 60 "$URINGFS" /mnt/back/src "$mnt" -o "${1:-allow_other}" 2>>"$uringfs_log" || vm_fail "uringfs: $(tail -n 3 "$uringfs_log")"
    mountpoint -q "$mnt" || vm_fail "$mnt is not mounted: $(tail -n 3 "$uringfs_log")"
}

# stop_uringfs: unmounts, and waits until the daemon has let go of its source
stop_uringfs() {
    local n
    for ((n = 0; n < 100; n++)); do # who has just ended may hold it a moment longer
        ! umount "$mnt" 2>/tmp/umount.log || break
        sleep 0.1
    done
    ((n < 100)) || vm_fail "umount $mnt: $(cat /tmp/umount.log)"
    for ((n = 0; n < 300; n++)); do
        pidof "${URINGFS##*/}" >/dev/null || return 0
        sleep 0.1
    done
    vm_fail "the daemon still runs 30 s after the unmount"
}

umount_source() {
    local n
    for ((n = 0; n < 100; n++)); do
        umount /mnt/back 2>/tmp/umount.log && return 0
        sleep 0.1
    done
    vm_fail "umount /mnt/back: $(cat /tmp/umount.log)"
}

# power_cut: the machine is gone at once; nothing is written back, and tests/vm/run reports the script as ended with status $1
power_cut() {
    printf '\n@vm %s exit %d\n' "$VM_TOKEN" "${1:-0}" >/dev/ttyS1
    echo o >/proc/sysrq-trigger
    sleep 1000
}

# vm_result FILE [NAME]: the file is there as NAME in the folder of --results after the run
vm_result() {
    local name=${2:-$(basename "$1")}
    printf '\n@vm %s file %s %d\n' "$VM_TOKEN" "$name" "$(stat -c %s "$1")" >/dev/ttyS1
    cat "$1" >/dev/ttyS1
}
