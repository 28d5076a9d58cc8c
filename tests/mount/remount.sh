#!/bin/bash
# mount -o remount: what the kernel can change, and no more
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

echo "$SRC $MNT uringfs nosuid,cache=none 0 0" >/etc/fstab
run 0 mount "$MNT" && serves
run 0 mount -o remount,ro "$MNT"
has_word "remounted" "$(shown OPTIONS)" ro
has_word "remounted" "$(shown OPTIONS)" nosuid
touch "$MNT/x" 2>/dev/null && fail "a read-only mount was written"
run 0 mount -o remount,rw,noexec "$MNT"
for word in rw noexec nosuid; do has_word "again" "$(shown OPTIONS)" $word; done
touch "$MNT/x" || fail "cannot write after remount,rw"
run 0 mount.uringfs "$SRC" "$MNT" -o remount,exec,cache=always
said 'stay as they are: cache=always'
[[ ,$(shown OPTIONS), == *,noexec,* ]] && fail "remount,exec had no effect"
serves
run 0 umount "$MNT"; unmounted

# what was not named stays
words=nosuid,nodev,noexec,nosymfollow,noatime,nodiratime
run 0 mount.uringfs "$SRC" "$MNT" -o "$words"
run 0 mount.uringfs "$SRC" "$MNT" -o remount,ro
for word in ro ${words//,/ }; do has_word "remounted read-only" "$(findmnt -n -o VFS-OPTIONS "$MNT")" "$word"; done
run 0 umount "$MNT"; unmounted
run 32 mount.uringfs "$SRC" "$MNT" -o remount,ro; one_line; said 'not mounted'
run 1 setpriv --reuid 12345 --regid 12345 --clear-groups mount.uringfs "$SRC" "$MNT" -o remount,ro; one_line
end
