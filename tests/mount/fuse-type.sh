#!/bin/bash
# mount -t fuse.uringfs: with our helper, and by libfuse's mount.fuse3 without it; fusermount3 -u
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

both_ways() {
    run 0 mount -t fuse.uringfs -o rw,nofail,_netdev,suid,dev,cache=none "$SRC" "$MNT" && serves
    is "type $1" "$(shown FSTYPE)" fuse.uringfs
    run 0 umount "$MNT"; unmounted
    run 0 mount -t fuse.uringfs -o ro,noexec "$SRC" "$MNT" && serves
    has_word "options $1" "$(shown OPTIONS)" ro
    has_word "options $1" "$(shown OPTIONS)" noexec
    run 0 fusermount3 -u "$MNT"; unmounted
    printf '%s %s fuse.uringfs noauto,nofail,x-systemd.idle-timeout=60,ro 0 0\n' "$SRC" "$MNT" >/etc/fstab
    run 0 mount "$MNT" && serves
    run 0 umount "$MNT"; unmounted
    timeout 20 mount -t fuse.uringfs -o what=ever "$SRC" "$MNT" >"$W/out" 2>&1 && fail "an unknown option was taken $1"
    said 'what=ever'
    timeout 20 mount -t fuse.uringfs "$W/missing" "$MNT" >"$W/out" 2>&1 && fail "a missing source was taken $1"
    mounted && fail "mounted after failures $1"
}

[[ -L $SBIN/mount.fuse.uringfs ]] || fail "mount.fuse.uringfs is not installed"
both_ways "with our helper"
run 32 mount -t fuse.uringfs "$W/missing" "$MNT"; one_line
if [[ -x /usr/sbin/mount.fuse3 ]]; then
    rm "$W"/sbin/mount.*uringfs
    both_ways "by mount.fuse3"
fi
end
