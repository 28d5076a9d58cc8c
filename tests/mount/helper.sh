#!/bin/bash
# mount -t uringfs: forms of the device, flags, every exit status
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

run 0 mount -t uringfs "$SRC" "$MNT" && serves
is type "$(shown FSTYPE)" fuse.uringfs
is fsname "$(shown SOURCE)" "$SRC"
run 0 umount "$MNT" && unmounted

run 0 mount -t uringfs -o noexec,nosuid,nodev,ro,cache=none,nofail,_netdev,x-systemd.automount,noatime "$SRC" "$MNT" && serves
for word in ro noexec nosuid nodev noatime; do has_word options "$(shown OPTIONS)" $word; done
touch "$MNT/x" 2>/dev/null && fail "a read-only mount was written"
run 0 umount "$MNT" && unmounted

run 0 mount -t uringfs "home:$SRC" "$MNT" && serves
is fsname "$(shown SOURCE)" "home:$SRC"
run 0 umount "$MNT"; unmounted
run 0 mount -t uringfs -o "source=$SRC,rw" photos "$MNT" && serves
is fsname "$(shown SOURCE)" photos
touch "$MNT/x" || fail "cannot write"
run 0 umount "$MNT"; unmounted
mkdir "$W/with, comma" && echo hello >"$W/with, comma/file"
run 0 mount -t uringfs "$W/with, comma" "$MNT" && serves
run 0 umount "$MNT"; unmounted

# flags
run 0 mount -t uringfs -r "$SRC" "$MNT" && serves
has_word -r "$(shown OPTIONS)" ro
run 0 umount "$MNT"; unmounted
run 0 mount -t uringfs -f "$SRC" "$MNT"
mounted && fail "-f mounted"
run 32 mount -t uringfs -f "$W/missing" "$MNT"
run 1 mount.uringfs -f "$SRC" "$MNT" -o cache=what
run 0 mount.uringfs "$SRC" "$MNT" -v -n -w -o rw && serves
said "uringfs $SRC $MNT"
run 0 umount "$MNT"; unmounted
run 0 mount -s -t uringfs -o what=ever,cache=none "$SRC" "$MNT" && serves
run 0 umount "$MNT"; unmounted
run 1 mount.uringfs -s "$SRC" "$MNT" -o cache=what # a known option with a bad value
run 0 mount.uringfs --help
run 0 mount.uringfs -V

# statuses
run 1 mount.uringfs "$SRC"; one_line; said 'mountpoint is missing'
run 1 mount.uringfs "$SRC" "$MNT" -x; one_line
run 1 mount.uringfs "$SRC" "$MNT" -o what=ever; one_line; said "unknown option 'what=ever'"
run 1 mount.uringfs none "$MNT"; one_line; said 'source='
run 32 mount.uringfs "$W/missing" "$MNT"; one_line; said "$W/missing"
run 32 mount.uringfs "$SRC" "$W/missing"; one_line
run 32 mount.uringfs "$SRC/file" "$MNT"; one_line
run 2 mount.uringfs "$SRC" "$MNT" -N 999999999; one_line
# no daemon anywhere
mkdir "$W/alone" && cp "$SBIN/mount.uringfs" "$W/alone/"
umount /usr/local/sbin && rm -f "$W/sbin/uringfs"
if [[ ! -e /usr/local/sbin/uringfs ]]; then
    run 2 env PATH=/usr/bin "$W/alone/mount.uringfs" "$SRC" "$MNT"; one_line; said 'there is no uringfs'
fi
# a daemon that dies, one that fails, one that waits
printf '#!/bin/sh\nkill -SEGV $$\n' >"$W/alone/uringfs" && chmod +x "$W/alone/uringfs"
run 4 "$W/alone/mount.uringfs" "$SRC" "$MNT"; said 'ended by signal 11'
printf '#!/bin/sh\nexit 1\n' >"$W/alone/uringfs"
run 32 "$W/alone/mount.uringfs" "$SRC" "$MNT"
printf '#!/bin/sh\nexec sleep 20\n' >"$W/alone/uringfs"
run 8 timeout --preserve-status -s INT 1 env --default-signal=INT "$W/alone/mount.uringfs" "$SRC" "$MNT"
mounted && fail "something is mounted after the failures"
mount --bind "$W/local" /usr/local/sbin

# another namespace: this mount must not show up here; entering one leaves a chroot, so not in one
if [[ $(nsenter -t $$ -m stat -c %d:%i / 2>/dev/null) == "$(stat -c %d:%i /)" ]]; then
    unshare -m --propagation private sleep 30 & other=$!
    sleep 0.5
    run 0 mount.uringfs "$SRC" "$MNT" -N $other
    mounted && fail "-N mounted in our namespace"
    nsenter -t $other -m findmnt -n "$MNT" >/dev/null || fail "-N did not mount in the other namespace"
    nsenter -t $other -m umount "$MNT" || fail "cannot unmount in the other namespace"
    kill $other; wait $other 2>/dev/null
    unmounted
else
    echo 'in a chroot: -N was not tried'
fi
end
