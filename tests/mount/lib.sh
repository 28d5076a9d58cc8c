# shellcheck shell=bash
# lib.sh - sourced by the tests of the mount helper: a private mount namespace in which everything is installed.
#
# Sets $W (a tmpfs, traversable by all), $SRC and $MNT in it, $DEST (what meson install made), BUILD_DIR (default build/).
# /usr/sbin and /usr/local/sbin hold the host's files plus ours, /etc/fstab is ours; the host stays as it is.
set -u
if [[ ${MOUNT_TEST_NAMESPACE:-} != "$$" ]]; then
    export MOUNT_TEST_NAMESPACE=$$
    exec unshare -m --propagation private "$0" "$@"
fi
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
BUILD_DIR=$(readlink -f "${BUILD_DIR:-$ROOT/build}")
export PATH=/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin LC_ALL=C
bad=0

skip() { echo "SKIP: $*"; exit 77; }
die() { echo "cannot test: $*"; exit 1; }
fail() { echo "FAIL: $*"; bad=1; }

((EUID == 0)) || skip "needs root"
W=$(mktemp -d /tmp/uringfs-mount-test.XXXXXX) || exit 1
mount -t tmpfs -o size=512m,mode=755 uringfs-mount-test "$W" || die "no tmpfs"
# shellcheck disable=SC2317 # called by trap
clean_up() {
    cd / || return
    local n
    for n in 1 2 3 4 5; do umount "$MNT" 2>/dev/null || break; done
    umount -R -l "$W" 2>/dev/null
    rmdir "$W" 2>/dev/null
}
trap clean_up EXIT
trap 'exit 1' INT TERM HUP
SRC=$W/src MNT=$W/mnt DEST=$W/dest
mkdir "$SRC" "$MNT" "$W/sbin" "$W/local" "$W/bin"
echo hello >"$SRC/file"

install_into() { # DEST: what is built, as meson install does it
    timeout 120 meson install -C "$BUILD_DIR" --no-rebuild --destdir "$1" >"$W/install.log" 2>&1 ||
        { cat "$W/install.log"; die "meson install failed"; }
}
[[ -x $BUILD_DIR/mount-helpers/mount.uringfs ]] || die "$BUILD_DIR holds no mount.uringfs: build first"
install_into "$DEST"
SBIN=$(dirname "$(find "$DEST" -name mount.uringfs | head -n 1)")
DAEMON=$(find "$DEST" -type f -name uringfs -path '*sbin*' | head -n 1)
[[ -n $DAEMON && $SBIN == "$DEST"* ]] || die "meson install did not install"
: >"$W/fstab"
[[ -e /etc/fstab ]] || skip "no /etc/fstab to bind over"
if ! { cp -a /usr/sbin/. "$W/sbin/" && cp -a "$SBIN"/mount.*uringfs "$SBIN"/umount.*uringfs "$W/sbin/" && cp -a "$DAEMON" "$W/local/" &&
    mount --bind "$W/sbin" /usr/sbin && mount --bind "$W/local" /usr/local/sbin &&
    mount --bind "$W/fstab" /etc/fstab && mkdir -p /run/mount && mount -t tmpfs -o size=1m uringfs-mount-test /run/mount; }; then
    die "cannot prepare /usr/sbin and /etc/fstab"
fi

mounted() { findmnt -n "$MNT" >/dev/null; }
shown() { findmnt -n -o "$1" "${2:-$MNT}" | tail -n 1; }

# run WANTED-STATUS COMMAND...: output in $W/out
run() {
    local wanted=$1 status
    shift
    timeout -k 5 60 "$@" >"$W/out" 2>&1 </dev/null
    status=$?
    ((status == wanted)) && return
    fail "$*: status $status and not $wanted"
    sed 's/^/    /' "$W/out"
    return 1
}
said() { grep -q -e "$1" "$W/out" || { fail "the output does not say '$1':"; sed 's/^/    /' "$W/out"; }; }
one_line() { (($(wc -l <"$W/out") == 1)) || { fail "not one line:"; sed 's/^/    /' "$W/out"; }; }

is() { [[ $2 == "$3" ]] || fail "$1: '$2' and not '$3'"; }
has_word() { [[ ,$2, == *,$3,* ]] || fail "$1: no '$3' in '$2'"; }

# serves: the mount shows the source
serves() {
    mounted || { fail "nothing is mounted on $MNT"; return 1; }
    is "file read through the mount" "$(cat "$MNT/file" 2>&1)" hello
}

unmounted() { # and the daemon has ended
    local n
    ! mounted || { fail "$MNT is still mounted"; umount -l "$MNT"; return; }
    for ((n = 0; n < 50; n++)); do
        [[ -n $(daemons) ]] || return 0
        sleep 0.1
    done
    fail "the daemon lives 5 s after the unmount: $(daemons)"
}

daemons() { # those that serve $MNT
    local dir
    for dir in /proc/[0-9]*; do
        case $(readlink "$dir/exe" 2>/dev/null) in */uringfs) ;; *) continue ;; esac
        tr '\0' '\n' 2>/dev/null <"$dir/cmdline" | grep -qxF "$MNT" && echo "${dir#/proc/}"
    done
}

end() {
    ((bad == 0)) && exit 0
    echo "$(basename "$0") failed"
    exit 1
}
