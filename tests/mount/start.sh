#!/bin/bash
# what whoever starts the daemon may do wrong: closed descriptors, a statistics file that cannot be, options that contradict each other
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
mkdir "$W/free"

# closed standard descriptors: the command returns, the mount serves, nothing of ours has number 0, 1 or 2
for closed in '2>&-' '<&- >&-' '<&- >&- 2>&-'; do
    for how in uringfs mount.uringfs; do
        run 0 bash -c "$how $SRC $MNT $closed" && serves
        pid=$(daemons)
        for fd in 0 1 2; do is "$how $closed: descriptor $fd" "$(readlink "/proc/$pid/fd/$fd")" /dev/null; done
        umount "$MNT"
        unmounted
    done
done

# the statistics: a relative name is meant where it is given, the file is nobody's to write but root's
(cd "$W/free" && run 0 uringfs "$SRC" "$MNT" -o stats_file=figures; exit "$bad") || bad=1
kill -USR1 "$(daemons)"
for ((n = 0; n < 100; n++)); do grep -qs '^{' "$W/free/figures" && break; sleep 0.1; done
is "owner and mode of the statistics" "$(stat -c '%u %a' "$W/free/figures")" "0 644"
umount "$MNT"; unmounted
odd=$W/$(printf "a\377b")
mkdir "$odd"
run 0 uringfs "$odd" "$MNT" -o "stats_file=$W/free/odd"
kill -USR1 "$(daemons)"
for ((n = 0; n < 100; n++)); do grep -aqs '^{' "$W/free/odd" && break; sleep 0.1; done
run 0 python3 -c 'import json, sys; print(json.loads(open(sys.argv[1], "rb").read().splitlines()[-1].decode())["source"])' "$W/free/odd"
umount "$MNT"; unmounted
for bad_file in "$W/none/figures" "$W" "$SRC/file/figures"; do
    run 1 uringfs "$SRC" "$MNT" -o "stats_file=$bad_file"; one_line; said "stats_file=$bad_file: "
done
unmounted

# named, and refused
refused() { # OPTIONS MESSAGE
    run 2 uringfs "$SRC" "$MNT" -o "$1"; one_line; said "$2"
}
refused stats_file= "stats_file=: the value is empty"
refused fsname= "fsname=: the value is empty"
refused acl,noxattr "acl and noxattr contradict"
refused sqpoll=100,taskrun=defer "sqpoll and taskrun=defer contradict"
run 2 uringfs "" "$MNT"; one_line; said "SOURCE is empty"
unmounted

# named, and gone on without
run 0 uringfs "$SRC" "$MNT" -o fds=1073741824 && serves
said "fds=1073741824: no more than"
umount "$MNT"; unmounted

# nosubmounts: a mount made later does not come in either, not even ours, so that the mountpoint may lie inside
mount --make-shared "$W"
mkdir "$SRC/sub" "$SRC/mnt"
echo below >"$SRC/sub/below"
run 0 uringfs "$SRC" "$MNT" -o nosubmounts && serves
mount -t tmpfs uringfs-mount-test "$SRC/sub"
is "below a mount made later" "$(ls "$MNT/sub")" below
umount "$SRC/sub" "$MNT"; unmounted
run 1 uringfs "$SRC" "$SRC/mnt"; one_line; said "or nosubmounts"
run 0 uringfs "$SRC" "$SRC/mnt" -o nosubmounts && is "inside" "$(cat "$SRC/mnt/file"; ls -A "$SRC/mnt/mnt")" hello
umount "$SRC/mnt"

# who ends the command before it has ended leaves no mount behind
killed=0
for ((n = 1; n < 50 && killed < 3; n++)); do
    uringfs "$SRC" "$MNT" </dev/null >/dev/null 2>&1 &
    pid=$!
    sleep "0.0$((n * 2 % 10))"
    kill -KILL "$pid" 2>/dev/null
    if wait "$pid" 2>/dev/null; then # too late
        umount "$MNT"
    else
        killed=$((killed + 1))
        for ((k = 0; k < 50; k++)); do [[ -n $(daemons) ]] || break; sleep 0.1; done
    fi
    unmounted
done
((killed > 0)) || fail "the command was always faster"

# behind "--" everything is a path
mkdir "$W/free/-o" "$W/free/--help"
echo hello >"$W/free/--help/file"
(cd "$W/free" && run 0 uringfs -o ro -- --help -o && is "file" "$(cat ./-o/file)" hello; umount ./-o; exit "$bad") || bad=1

# what cannot be printed is an error
run 1 bash -c "uringfs --help >/dev/full"; one_line
run 1 bash -c "uringfs --version >/dev/full"; one_line

# flags that the kernel lets root only set: a user's mount is refused, and does not stay behind dead
if [[ -u $(command -v fusermount3 || echo /) && -e /etc/mtab ]]; then
    mknod -m 666 "$W/fuse" c 10 229 && mount --bind "$W/fuse" /dev/fuse
    chown 65534:65534 "$MNT"
    user=(setpriv --reuid 65534 --regid 65534 --clear-groups)
    for word in nodiratime nosymfollow; do
        run 1 "${user[@]}" uringfs "$SRC" "$MNT" -o "$word"; said "cannot set $word"
        unmounted
    done
    run 0 "${user[@]}" uringfs "$SRC" "$MNT" -o idmap; said "idmap: for a daemon of root only"
    umount "$MNT"; unmounted
fi
end
