# shellcheck shell=bash
# lib.sh - sourced by the runners: uringfs installed for this run only, users and folders that the suites want.
#
# Everything happens in a private mount namespace: mount.fuse.uringfs lies over /usr/sbin, the suites' users in copies of
# /etc/passwd and /etc/group, the folders on a filesystem of its own (BACK=ext4|xfs|btrfs|tmpfs, default ext4, 8 GiB).
set -u
if [[ ${CONFORMANCE_NAMESPACE:-} != "$$" ]]; then
    export CONFORMANCE_NAMESPACE=$$
    exec unshare -m --propagation private "$0" "$@"
fi
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
BUILD_DIR=$(readlink -f "${BUILD_DIR:-$ROOT/build}")
export PATH=/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin LC_ALL=C

skip() { echo "SKIP: $*"; exit 77; }
die() { echo "$(basename "$0"): $*" >&2; exit 1; }

((EUID == 0)) || skip "needs root"
[[ -x $BUILD_DIR/mount-helpers/mount.uringfs ]] || die "$BUILD_DIR holds no mount.uringfs: build first (or BUILD_DIR=...)"
W=$(mktemp -d /tmp/uringfs-conformance.XXXXXX) || exit 1
# shellcheck disable=SC2317 # called by trap
clean_up() {
    cd / || return
    umount -R -l "$W" 2>/dev/null
    rm -rf --one-file-system "$W"
}
trap clean_up EXIT
trap 'exit 1' INT TERM HUP
mount -t tmpfs -o size=9g,mode=755 uringfs-conformance "$W" || die "no tmpfs"
mkdir "$W/sbin" "$W/back" "$W/mnt"

install_helper() {
    local name
    cp -a /usr/sbin/. "$W/sbin/" && cp "$BUILD_DIR/mount-helpers/mount.uringfs" "$BUILD_DIR/fs/uringfs" "$W/sbin/" || die "cannot copy"
    for name in mount.fuse.uringfs umount.uringfs umount.fuse.uringfs; do ln -sf mount.uringfs "$W/sbin/$name"; done
    mount --bind "$W/sbin" /usr/sbin || die "cannot bind over /usr/sbin"
}

make_back() { # the filesystem that holds the sources
    local kind=${BACK:-ext4} image=$W/back.img
    case $kind in
    tmpfs) mount -t tmpfs -o size=6g,mode=755 back "$W/back"; return ;;
    ext4) truncate -s 8G "$image" && mkfs.ext4 -q -F "$image" ;;
    xfs) truncate -s 8G "$image" && mkfs.xfs -q "$image" ;;
    btrfs) truncate -s 8G "$image" && mkfs.btrfs -q "$image" ;;
    *) die "BACK=$kind: unknown" ;;
    esac || die "cannot make $kind"
    mount -o loop "$image" "$W/back" && chmod 755 "$W/back"
}

add_users() { # NAME...: each with a group of its own, seen in this run only
    local name id=123450
    cp /etc/passwd "$W/passwd" && cp /etc/group "$W/group" && cp -p /etc/shadow "$W/shadow" || die "no /etc/passwd"
    for name; do
        id=$((id + 1))
        grep -q "^$name:" "$W/passwd" || echo "$name:x:$id:$id::/:/bin/bash" >>"$W/passwd"
        grep -q "^$name:" "$W/shadow" || echo "$name:*:19000::::::" >>"$W/shadow" # su asks for it
        grep -q "^$name:" "$W/group" || echo "$name:x:$id:" >>"$W/group"
    done
    mount --bind "$W/passwd" /etc/passwd && mount --bind "$W/group" /etc/group && mount --bind "$W/shadow" /etc/shadow || die "cannot bind over /etc/passwd"
}

# exclusions FILE: the names; each line is "name  reason", # begins a comment
exclusions() { sed -n 's/#.*//; s/^\([^[:space:]]\+\)[[:space:]]\+[^[:space:]].*/\1/p' "$1"; }
