#!/bin/bash
# /etc/fstab: mount by mountpoint, mount -a, noauto, nofail, _netdev, systemd's words
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
mkdir "$W/mnt2"
trap 'umount -l "$W/mnt2" 2>/dev/null; clean_up' EXIT

cat >/etc/fstab <<FSTAB
$SRC $MNT uringfs defaults,nofail,_netdev,nosuid,x-systemd.requires=network.target,x-systemd.automount,cache=none 0 0
photos $W/mnt2 uringfs noauto,source=$SRC,ro,noexec 0 0
FSTAB
run 0 findmnt --verify
run 0 mount "$MNT" && serves
has_word options "$(shown OPTIONS)" nosuid
has_word options "$(shown OPTIONS)" rw
run 0 mount -a
is "mounts after mount -a" "$(findmnt -n "$MNT" | wc -l)" 1
findmnt -n "$W/mnt2" >/dev/null && fail "mount -a mounted a noauto line"
run 0 mount photos
is "source" "$(shown SOURCE "$W/mnt2")" photos
has_word options "$(shown OPTIONS "$W/mnt2")" ro
has_word options "$(shown OPTIONS "$W/mnt2")" noexec
run 0 umount "$W/mnt2"
run 0 umount "$MNT"; unmounted
run 0 mount -a && serves
run 0 umount -a -t fuse.uringfs; unmounted

# a source that is missing: an error, but not with nofail
echo "$W/missing $MNT uringfs defaults 0 0" >/etc/fstab
timeout 20 mount -a >"$W/out" 2>&1 && fail "mount -a took a missing source for good"
said "$W/missing"
echo "$W/missing $MNT uringfs nofail 0 0" >/etc/fstab
run 0 mount -a; one_line; said nofail
mounted && fail "something is mounted"
end
