#!/bin/bash
# umount(8) returns when the daemon has let go of SOURCE: its filesystem can be unmounted at once, 20 of 20 times
# umount(8) calls our helper, which waits, only because mount.uringfs has written so to /run/mount/utab (mount-helpers/utab.h).
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

truncate -s 300M "$W/image"
mkfs.ext4 -q "$W/image" || die "no filesystem"
mkdir "$W/back"
for io in daemon kernel; do
    for _ in {1..10}; do
        mount -o loop "$W/image" "$W/back" || die "cannot mount the image"
        mkdir -p "$W/back/src"
        run 0 mount -t uringfs -o "io=$io" "$W/back/src" "$MNT" || break
        is "lines in utab" "$(grep -c "TARGET=$MNT .*uhelper=uringfs" /run/mount/utab)" 1
        for f in a b c d; do
            # often enough for a slot in the rings' tables of registered files
            dd if=/dev/zero of="$MNT/$f" bs=4k count=32 conv=fsync status=none
            cat "$MNT/$f" "$MNT/$f" >/dev/null
        done
        rm "$MNT/a"
        run 0 umount "$MNT"
        run 0 umount "$W/back" || { umount -l "$MNT" "$W/back"; break; }
        is "lines in utab afterwards" "$(grep -c "TARGET=$MNT " /run/mount/utab)" 0
    done
done
end
