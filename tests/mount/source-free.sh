#!/bin/bash
# umount(8) with our helper returns when the daemon has let go of SOURCE: its filesystem can be unmounted then, 20 of 20 times
# At once, that is; but once, on a machine with a load of 7, it was busy for a moment, cause unknown. So each has five seconds, and is told of.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

truncate -s 300M "$W/image"
mkfs.ext4 -q "$W/image" || die "no filesystem"
mkdir "$W/back"
for io in daemon kernel; do
    for _ in {1..10}; do
        mount -o loop "$W/image" "$W/back" || die "cannot mount the image"
        mkdir -p "$W/back/src"
        run 0 mount -t uringfs -o "io=$io" "$W/back/src" "$MNT" || break
        for f in a b c d; do
            # often enough for a slot in the rings' tables of registered files
            dd if=/dev/zero of="$MNT/$f" bs=4k count=32 conv=fsync status=none
            cat "$MNT/$f" "$MNT/$f" >/dev/null
        done
        rm "$MNT/a"
        run 0 umount "$MNT"
        for ((tries = 0; tries < 50; tries++)); do
            umount "$W/back" 2>"$W/busy" && break
            echo "io=$io: $(cat "$W/busy")"
            find /proc/[0-9]*/fd /proc/[0-9]*/cwd -lname "$W/back*" -printf '%p %l\n' 2>/dev/null
            sleep 0.1
        done
        ((tries < 50)) || { run 0 umount "$W/back" || umount -l "$MNT" "$W/back"; break; }
    done
done
end
