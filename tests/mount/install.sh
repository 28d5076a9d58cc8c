#!/bin/bash
# meson install: every file in its place, and what is installed works
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

there() { # FILE MODE
    if [[ ! -e $DEST$1 ]]; then fail "$1 is not installed"; else is "mode of $1" "$(stat -c %a "$DEST$1")" "$2"; fi
}
prefix=$(meson introspect "$BUILD_DIR" --buildoptions | python3 -c '
import json, sys
print([o["value"] for o in json.load(sys.stdin) if o["name"] == "prefix"][0])')
case $prefix in /usr | /usr/local) helper_dir=/sbin ;; *) helper_dir=$prefix/sbin ;; esac
there "$prefix/sbin/uringfs" 755
there "$helper_dir/mount.uringfs" 755
for name in mount.fuse.uringfs umount.uringfs umount.fuse.uringfs; do
    is "$name" "$(readlink "$DEST$helper_dir/$name")" mount.uringfs
done
there "$prefix/share/man/man8/uringfs.8" 644
there "$prefix/share/man/man8/mount.uringfs.8" 644
there "$prefix/share/man/man7/uringfs-durability.7" 644
there "$prefix/share/bash-completion/completions/uringfs" 644
there "$prefix/lib/systemd/system/uringfs@.service" 644
unit=$DEST$prefix/lib/systemd/system/uringfs@.service
grep -q "^ExecStart=$prefix/sbin/uringfs " "$unit" || fail "the unit does not start $prefix/sbin/uringfs"
if command -v systemd-analyze >/dev/null; then
    cp "$unit" "$W/uringfs@test.service"
    sed -i "s#=$prefix/sbin/#=$DEST$prefix/sbin/#" "$W/uringfs@test.service"
    timeout 60 systemd-analyze verify --man=no "$W/uringfs@test.service" >"$W/out" 2>&1 || { fail "the unit has faults:"; cat "$W/out"; }
fi
is "files installed" "$(find "$DEST" -type f | wc -l)" 7
is "owners" "$(find "$DEST" ! -uid 0 | wc -l)" 0

# completion
mkdir -p "$W/complete"
cat >"$W/complete/try" <<'TRY'
source "$1"
compopt() { :; }
COMP_LINE=$2 COMP_POINT=${#2}
read -ra COMP_WORDS <<<"$(sed 's/=/ = /g' <<<"$2")"
[[ $2 == *' ' ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_uringfs
echo "${COMPREPLY[*]}"
TRY
try() { PATH=$DEST$prefix/sbin:$PATH bash "$W/complete/try" "$DEST$prefix/share/bash-completion/completions/uringfs" "$1"; }
is "completion of cac" "$(try 'uringfs /a /b -o cac')" "cache=none cache=auto cache=always"
is "completion of ro,noex" "$(try 'uringfs /a /b -o ro,noex')" "ro,noexec"
is "completion of cache=al" "$(try 'uringfs /a /b -o cache=al')" "always"
is "completion of --cac" "$(try 'uringfs --cac')" "--cache=none --cache=auto --cache=always"
is "completion of --v" "$(try 'uringfs --v')" "--version"
end
