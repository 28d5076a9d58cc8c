#!/bin/bash
# umount(8) of a mount with a filesystem inside SOURCE: both go, and SOURCE is free at once
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[[ -L $SBIN/umount.fuse.uringfs ]] || fail "umount.fuse.uringfs is not installed"
if ! { mount -t tmpfs outer "$SRC" && mkdir "$SRC/in" && mount -t tmpfs inner "$SRC/in"; }; then die "no tmpfs"; fi
echo hello >"$SRC/file"
for way in "$MNT" "$MNT/"; do
    run 0 mount -t uringfs "$SRC" "$MNT"
    [[ $(stat -c %d "$MNT/in") != $(stat -c %d "$MNT") ]] || fail "the inner filesystem has no device of its own"
    run 0 umount "$way"
    unmounted
    findmnt -n "$MNT/in" >/dev/null && fail "the inner mount is left"
done
run 0 umount -R "$SRC"
run 0 mount -t uringfs "$SRC" "$MNT"
(cd "$MNT" && run 32 umount "$MNT"; said busy)
run 0 umount -l "$MNT"
end
