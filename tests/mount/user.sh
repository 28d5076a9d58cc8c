#!/bin/bash
# normal users: the helper and the daemon by themselves, an fstab line with user, umount and fusermount3 -u
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[[ -u $(command -v fusermount3 || echo /) ]] || skip "no set-uid fusermount3"
[[ -e /etc/mtab ]] || skip "no /etc/mtab: fusermount3 cannot unmount without it"
# every user must be able to pass through
chmod 755 "$W" "$SRC"
uid=12345
# on a machine without udev the device may be root's alone
mknod -m 666 "$W/fuse" c 10 229 && mount --bind "$W/fuse" /dev/fuse
# umount and mount want the user to have a name
printf 'mounttester:x:%d:%d::/:/bin/sh\n' $uid $uid | cat /etc/passwd - >"$W/passwd"
mount --bind "$W/passwd" /etc/passwd
user=(setpriv --reuid "$uid" --regid "$uid" --clear-groups)
"${user[@]}" test -x "$MNT" || skip "a normal user cannot reach $W"
chown $uid:$uid "$MNT" "$SRC"

user_serves() { is "file read by the user" "$("${user[@]}" cat "$MNT/file" 2>&1)" hello; }

run 0 "${user[@]}" mount.uringfs "$SRC" "$MNT" -o cache=none && user_serves
has_word "a user's mount" "$(shown OPTIONS)" "user_id=$uid"
has_word "a user's mount" "$(shown OPTIONS)" nosuid
has_word "a user's mount" "$(shown OPTIONS)" nodev
run 0 "${user[@]}" fusermount3 -u "$MNT"; unmounted

# fstab with user: the set-uid mount(8) starts the helper as that user
echo "$SRC $MNT uringfs noauto,user,cache=none 0 0" >/etc/fstab
if [[ -u $(command -v mount) ]]; then
    run 0 "${user[@]}" mount "$MNT" && user_serves
    run 0 "${user[@]}" umount "$MNT"
    unmounted
else
    echo "mount is not set-uid here: the fstab line was not tried"
fi
# not the user's directory: fusermount3 refuses
chown 0:0 "$MNT"
run 32 "${user[@]}" mount.uringfs "$SRC" "$MNT"
mounted && fail "a user mounted on root's directory"
end
