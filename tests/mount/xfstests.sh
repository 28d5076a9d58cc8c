#!/bin/bash
# what xfstests does with FSTYP=fuse FUSE_SUBTYP=.uringfs: every mount option, remount, cycles, nothing in use after umount
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

mkdir "$W/mnt2" "$W/back"
trap 'umount -l "$W/mnt2" 2>/dev/null; umount -l "$W/back" 2>/dev/null; clean_up' EXIT
mount -t tmpfs none "$W/back" && mkdir "$W/back/src" && echo hello >"$W/back/src/file" || die "no tmpfs"
FS=(mount -t fuse.uringfs)
free_source() { # the kernel takes the rings of an ended process apart by a work item: a moment, seldom
    local n
    for ((n = 0; n < 100; n++)); do
        umount "$W/back" 2>/dev/null && return
        sleep 0.02
    done
    fail "the source is in use 2 s after the daemon's end"
    return 1
}

# the device as xfstests finds it: first field of /proc/mounts and of df, whatever its form
device_is() { # DEVICE MNT
    is "in /proc/mounts" "$(awk -v m="$2" '$2 == m { print $1 }' /proc/mounts)" "$1"
    is "in df" "$(df -T -P "$2" | awk 'END { print $1, $2, $NF }')" "$1 ${3:-fuse.uringfs} $2"
}
run 0 "${FS[@]}" -o "source=$W/back/src" test_dev "$MNT" && serves
device_is test_dev "$MNT"
run 0 "${FS[@]}" "scratch:$W/back/src" "$W/mnt2" # the same source once more
device_is "scratch:$W/back/src" "$W/mnt2"
echo second >"$W/mnt2/both" && is "the same file by both" "$(sleep 1.1; cat "$MNT/both")" second
run 0 "${FS[@]}" -o "source=$W/back/src" test_dev "$MNT" # and over the first
is "mounts there" "$(grep -c " $MNT " /proc/mounts)" 2
run 0 umount "$MNT"; run 0 umount "$W/mnt2"
serves && run 0 umount "$MNT"
is "daemons after umount has returned" "$(daemons)" ""
free_source
mount -t tmpfs none "$W/back" && mkdir "$W/back/src" && echo hello >"$W/back/src/file"

# unmounted under load, many times: the source's filesystem is never in use afterwards
for ((n = 0; n < 8; n++)); do
    run 0 "${FS[@]}" "a:$W/back/src" "$MNT" || break
    echo "$n" >"$MNT/new.$n"; ls -l "$MNT" >/dev/null
    run 0 umount "$MNT"
    is "daemons after umount has returned" "$(daemons)" ""
    free_source || break
    mount -t tmpfs none "$W/back" && mkdir "$W/back/src"
done
echo hello >"$W/back/src/file"

for words in ro rw nosuid nodev noexec sync dirsync noatime relatime strictatime lazytime nodiratime nosymfollow suid dev exec \
    defaults user users noauto _netdev nofail x-systemd.requires=a mand nomand iversion 'context="system_u:object_r:root_t:s0"' \
    context=system_u:object_r:root_t:s0 rw,nosuid,nodev,noexec,noatime,sync ro,relatime,lazytime; do
    run 0 "${FS[@]}" -o "$words" "t:$W/back/src" "$MNT" && serves && run 0 umount "$MNT"
done
run 0 "${FS[@]}" -o subtype=,fsname=plain "$W/back/src" "$MNT" && serves && device_is plain "$MNT" fuse
run 0 umount "$MNT"
run 0 "${FS[@]}" "t:$W/back/src" "$MNT" && serves
for words in ro rw noatime,ro rw,relatime nosuid,nodev sync,dirsync lazytime; do
    run 0 mount -o "remount,$words" "$MNT"
    serves
done
run 0 mount -o remount,ro "t:$W/back/src" "$MNT"
touch "$MNT/x" 2>/dev/null && fail "written on a read-only mount"
run 0 umount "$MNT"

# umount: busy, lazy, forced, not mounted, by its statuses
run 0 "${FS[@]}" "t:$W/back/src" "$MNT" && serves
exec 9<"$MNT/file"
run 32 umount "$MNT"; serves
run 0 umount -l "$MNT"; exec 9<&-
run 32 umount.fuse.uringfs "$MNT"; one_line
run 1 umount.fuse.uringfs
run 0 "${FS[@]}" "t:$W/back/src" "$MNT" && serves
mount --bind "$MNT" "$W/mnt2"
run 0 umount "$MNT" # the daemon stays for the other place
is "at the other place" "$(cat "$W/mnt2/file")" hello
run 0 umount "$W/mnt2"; unmounted
end
