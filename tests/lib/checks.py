"""Exact checks for tests: calls with their errno names, runs on the mount and on the backing filesystem, tree dumps.

Tests in python: `from checks import *`. Tests in bash use it through the functions both, tree, same_tree and fsop of common.sh.
"""
import ctypes
import errno
import fcntl
import hashlib
import mmap
import os
import select
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time

SRC, MNT, TWIN = (os.environ.get(k, "") for k in ("SRC", "MNT", "TWIN"))
TMP, FULL, BACKING = (os.environ.get(k, "") for k in ("TMP", "FULL", "BACKING"))
LIB = os.environ.get("TESTS_LIB", os.path.dirname(os.path.abspath(__file__)))

libc = ctypes.CDLL(None, use_errno=True)
AT_FDCWD, AT_EMPTY_PATH, AT_SYMLINK_FOLLOW, AT_SYMLINK_NOFOLLOW, AT_EACCESS = -100, 0x1000, 0x400, 0x100, 0x200
RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT = 1, 2, 4
KEEP_SIZE, PUNCH_HOLE, COLLAPSE, ZERO, INSERT, UNSHARE = 1, 2, 8, 0x10, 0x20, 0x40
RWF_HIPRI, RWF_DSYNC, RWF_SYNC, RWF_NOWAIT, RWF_APPEND = 1, 2, 4, 8, 0x10
UTIME_NOW, UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2
FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR = 0x80086601, 0x40086602, 0x801C581F, 0x401C5820
FS_IMMUTABLE_FL, FS_APPEND_FL, FS_NODUMP_FL, FS_NOATIME_FL, FS_NOCOW_FL = 0x10, 0x20, 0x40, 0x80, 0x800000
FICLONE = 0x40049409
SYS_renameat2, SYS_statx, SYS_name_to_handle_at, SYS_open_by_handle_at = 316, 332, 303, 304
SYS_fchmodat2, SYS_faccessat2, SYS_openat2 = 452, 439, 437
O_TMPFILE = getattr(os, "O_TMPFILE", 0o20200000)
O_PATH = os.O_PATH
failures = 0


# --- outcome ---------------------------------------------------------------------------------------------------------
def skip(why):
    print("SKIP: %s" % why)
    sys.stdout.flush()
    os._exit(77)


def fail(why):
    """Report a failure and go on; the process's status says it at the end (see the bottom of main and done)."""
    global failures
    failures += 1
    print("FAIL: %s" % why)


def check(ok, why):
    if not ok:
        fail(why)
    return ok


def same(what, one, other):
    return check(one == other, "%s: %r is not %r" % (what, one, other))


def done():
    sys.stdout.flush()
    sys.exit(1 if failures else 0)


def errname(e):
    return {errno.EOPNOTSUPP: "EOPNOTSUPP", errno.EAGAIN: "EAGAIN"}.get(e) or errno.errorcode.get(e, str(e))


def config(script):
    """The status and output of bash code that has the config loaded."""
    run = subprocess.run(["bash", "-c", '. "$TESTS_LIB/common.sh"; ' + script], stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return run.returncode, run.stdout


def _need(script):
    status, text = config(script)
    if status == 77:
        skip(text.strip().removeprefix("SKIP: "))


def need_feature(*words):
    _need("need_feature " + " ".join(words))


def need_backing(*kinds):
    if BACKING not in kinds:
        skip("needs one of: %s (backing is %s)" % (" ".join(kinds), BACKING))


def need_cmd(*names):
    _need("need_cmd " + " ".join(names))


def mount_again(options):
    status, text = config("mount_again '%s'" % options)
    if status != 0:
        print(text.strip())
        sys.stdout.flush()
        sys.exit(1)


# --- calls ------------------------------------------------------------------------------------------------------------
def _call(result):
    if result < 0:
        e = ctypes.get_errno()
        raise OSError(e, os.strerror(e))
    return result


def _b(path):
    return os.fsencode(path)


def renameat2(old, new, flags=0, olddir=AT_FDCWD, newdir=AT_FDCWD):
    return _call(libc.syscall(SYS_renameat2, olddir, _b(old), newdir, _b(new), flags))


def linkat(old, new, flags=0, olddir=AT_FDCWD, newdir=AT_FDCWD):
    return _call(libc.linkat(olddir, _b(old), newdir, _b(new), flags))


def link_fd(fd, new):
    """Give the open (perhaps nameless) file a name, the way that needs no capability."""
    return linkat("/proc/self/fd/%d" % fd, new, AT_SYMLINK_FOLLOW)


def fallocate(fd, mode, offset, length):
    return _call(libc.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(length)))


def faccessat(path, mode, flags=0):
    return _call(libc.syscall(SYS_faccessat2, AT_FDCWD, _b(path), mode, flags))


class _Timespec(ctypes.Structure):
    _fields_ = [("sec", ctypes.c_long), ("nsec", ctypes.c_long)]


def utimensat(path, atime, mtime, flags=0, dirfd=AT_FDCWD):
    """atime and mtime are (seconds, nanoseconds); nanoseconds may be UTIME_NOW or UTIME_OMIT."""
    times = (_Timespec * 2)(_Timespec(*atime), _Timespec(*mtime))
    return _call(libc.utimensat(dirfd, _b(path) if path is not None else None, times, flags))


def statx(path, mask=0xFFF, flags=AT_SYMLINK_NOFOLLOW, dirfd=AT_FDCWD):
    buf = ctypes.create_string_buffer(256)
    _call(libc.syscall(SYS_statx, dirfd, _b(path), flags, mask, buf))
    f = struct.unpack_from("<IIQIIIHHQQQQ", buf.raw)
    keys = ("mask", "blksize", "attributes", "nlink", "uid", "gid", "mode", "spare", "ino", "size", "blocks", "attributes_mask")
    out = dict(zip(keys, f))
    for i, k in enumerate(("atime", "btime", "ctime", "mtime")):
        sec, nsec = struct.unpack_from("<qI", buf.raw, 64 + 16 * i)
        out[k] = (sec, nsec)
    out["rdev"] = struct.unpack_from("<II", buf.raw, 128)
    out["dev"] = struct.unpack_from("<II", buf.raw, 136)
    return out


def getflags(path):
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return struct.unpack("<I", fcntl.ioctl(fd, FS_IOC_GETFLAGS, b"\0" * 8)[:4])[0]
    finally:
        os.close(fd)


def setflags(path, flags):
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        fcntl.ioctl(fd, FS_IOC_SETFLAGS, struct.pack("<Q", flags))
    finally:
        os.close(fd)


def getfsx(path):
    """(xflags, extsize, nextents, projid, cowextsize)"""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return struct.unpack("<5I8x", fcntl.ioctl(fd, FS_IOC_FSGETXATTR, b"\0" * 28))
    finally:
        os.close(fd)


def setfsx(path, xflags, extsize, projid, cowextsize=0):
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        fcntl.ioctl(fd, FS_IOC_FSSETXATTR, struct.pack("<5I8x", xflags, extsize, 0, projid, cowextsize))
    finally:
        os.close(fd)


def file_handle(path, flags=0):
    buf = ctypes.create_string_buffer(8 + 128)
    struct.pack_into("<Ii", buf, 0, 128, 0)
    mount_id = ctypes.c_int()
    _call(libc.name_to_handle_at(AT_FDCWD, _b(path), buf, ctypes.byref(mount_id), flags))
    size = struct.unpack_from("<I", buf)[0]
    return buf.raw[:8 + size]


def open_by_handle(mount_fd, handle, flags):
    return _call(libc.open_by_handle_at(mount_fd, ctypes.create_string_buffer(handle, len(handle)), flags))


def lock_op(fd, cmd, kind, start=0, length=0, whence=0, pid=0):
    """POSIX and OFD locks; returns (type, start, len, pid) of the structure after the call."""
    arg = struct.pack("hhlli4x", kind, whence, start, length, pid)
    out = struct.unpack("hhlli4x", fcntl.fcntl(fd, cmd, arg))
    return {fcntl.F_RDLCK: "RD", fcntl.F_WRLCK: "WR", fcntl.F_UNLCK: "UN"}[out[0]], out[2], out[3], out[4]


F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW = 36, 37, 38
RDLCK, WRLCK, UNLCK = fcntl.F_RDLCK, fcntl.F_WRLCK, fcntl.F_UNLCK


class Dirent(ctypes.Structure):
    _fields_ = [("ino", ctypes.c_uint64), ("off", ctypes.c_int64), ("reclen", ctypes.c_uint16), ("type", ctypes.c_uint8),
                ("name", ctypes.c_char * 256)]


libc.opendir.restype = ctypes.c_void_p
libc.opendir.argtypes = [ctypes.c_char_p]
libc.readdir.restype = ctypes.POINTER(Dirent)
libc.readdir.argtypes = libc.closedir.argtypes = libc.rewinddir.argtypes = libc.telldir.argtypes = [ctypes.c_void_p]
libc.telldir.restype = ctypes.c_long
libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]


class Dir:
    """A directory stream with positions."""

    def __init__(self, path="."):
        self.stream = libc.opendir(_b(path))
        _call(0 if self.stream else -1)

    def read(self):
        """(name, inode, type, position) or None at the end; '.' and '..' included"""
        ctypes.set_errno(0)
        p = libc.readdir(self.stream)
        if not p:
            _call(-1 if ctypes.get_errno() else 0)
            return None
        return os.fsdecode(p.contents.name), p.contents.ino, p.contents.type, p.contents.off

    def all(self):
        out = []
        while True:
            entry = self.read()
            if entry is None:
                return out
            out.append(entry)

    def tell(self):
        return libc.telldir(self.stream)

    def seek(self, where):
        libc.seekdir(self.stream, where)

    def rewind(self):
        libc.rewinddir(self.stream)

    def close(self):
        libc.closedir(self.stream)


# --- printing ---------------------------------------------------------------------------------------------------------
def attempt(fn, *args, **kw):
    """(value, None) or (None, errno name)"""
    try:
        return fn(*args, **kw), None
    except OSError as e:
        return None, errname(e.errno)


def r(label, fn, *args, **kw):
    """Call, print `label: ok` or `label: ERRNO`, return the value or None."""
    value, err = attempt(fn, *args, **kw)
    print("%s: %s" % (label, err or "ok"))
    return value


def v(label, fn, *args, **kw):
    """The same, printing the value."""
    value, err = attempt(fn, *args, **kw)
    print("%s: %s" % (label, err or show(value)))
    return value


def rf(label, fn, *args, **kw):
    """r() for answers that depend on the backing filesystem: both() compares such lines but does not print them."""
    return r("~" + label, fn, *args, **kw)


def vf(label, fn, *args, **kw):
    return v("~" + label, fn, *args, **kw)


def show(value):
    if isinstance(value, bytes) and len(value) > 64:
        return "%d bytes %s" % (len(value), hashlib.sha1(value).hexdigest()[:12])
    return repr(value)


def xopen(path, flags=os.O_RDONLY, mode=0o644, dir_fd=None):
    return os.open(path, flags, mode, dir_fd=dir_fd)


def put(path, data=b"", mode=None):
    with open(path, "wb") as f:
        f.write(data if isinstance(data, bytes) else data.encode())
    if mode is not None:
        os.chmod(path, mode)
    return path


def get(path):
    with open(path, "rb") as f:
        return f.read()


def attrs(path, follow=False):
    """type and mode, owner, group, size and links (not of directories: the backing filesystems differ)."""
    s = os.stat(path) if follow else os.lstat(path)
    rest = "" if stat.S_ISDIR(s.st_mode) else " size %d nlink %d" % (s.st_size, s.st_nlink)
    return "%o %d:%d%s" % (s.st_mode, s.st_uid, s.st_gid, rest)


def pr(label, path, follow=False):
    value, err = attempt(attrs, path, follow)
    print("%s: %s" % (label, err or value))


# --- processes --------------------------------------------------------------------------------------------------------
def spawn(fn, *args, **kw):
    """Run fn in a child process; returns its pid. An exception is printed and makes the child's status 1."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    global failures
    failures = 0
    status = 1
    try:
        fn(*args, **kw)
        status = 1 if failures else 0
    except SystemExit as e:
        status = e.code or 0
    except BaseException:  # noqa: everything must become a status
        import traceback
        traceback.print_exc(file=sys.stdout)
    finally:
        sys.stdout.flush()
        os._exit(status)


def wait_ok(*pids):
    for pid in pids:
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status == 77:
            sys.stdout.flush()
            os._exit(77)
        check(status == 0, "child ended with status %d" % status)


def become(uid, gid=None, groups=(), umask=None):
    os.setgroups(list(groups))
    os.setresgid(*[uid if gid is None else gid] * 3)
    os.setresuid(uid, uid, uid)
    if umask is not None:
        os.umask(umask)


def as_user(uid, fn, *args, gid=None, groups=(), umask=None, **kw):
    """Run fn as another user in a child and wait for it."""
    def body():
        become(uid, gid, groups, umask)
        fn(*args, **kw)
    wait_ok(spawn(body))


# --- trees ------------------------------------------------------------------------------------------------------------
def xattrs(path):
    try:
        names = sorted(os.listxattr(path, follow_symlinks=False))
    except OSError as e:
        return errname(e.errno)
    out = []
    for n in names:
        value, err = attempt(os.getxattr, path, n, follow_symlinks=False)
        out.append("%s=%s" % (n, err or value.hex()[:80]))
    return ",".join(out)


def hole_map(path, size):
    fd = os.open(path, os.O_RDONLY)
    try:
        out, pos = [], 0
        while pos < size and len(out) < 64:
            try:
                data = os.lseek(fd, pos, os.SEEK_DATA)
            except OSError:
                break
            pos = os.lseek(fd, data, os.SEEK_HOLE)
            out.append("%d-%d" % (data, pos))
        return ",".join(out)
    finally:
        os.close(fd)


def describe(path, ids=False, content=True):
    s = os.lstat(path)
    kind = stat.S_IFMT(s.st_mode)
    words = ["%06o" % s.st_mode, "%d:%d" % (s.st_uid, s.st_gid), "nlink=%d" % s.st_nlink]
    if kind == stat.S_IFDIR:
        words += ["size=%d" % s.st_size] if ids else []
    else:
        words.append("size=%d" % s.st_size)
    if kind == stat.S_IFLNK:
        words.append("-> " + ascii(os.readlink(path)))
    if kind in (stat.S_IFCHR, stat.S_IFBLK):
        words.append("rdev=%d:%d" % (os.major(s.st_rdev), os.minor(s.st_rdev)))
    words.append("x=" + xattrs(path))
    if kind == stat.S_IFREG and content:
        digest, err = attempt(lambda: hashlib.sha1(get(path)).hexdigest()[:16] if s.st_size <= 1 << 28 else "big")
        words.append("sha=%s data=%s" % (err or digest, attempt(hole_map, path, s.st_size)))
    if ids:
        words.append("ino=%d blocks=%d mtime=%d ctime=%d" % (s.st_ino, s.st_blocks, s.st_mtime_ns, s.st_ctime_ns))
    return " ".join(words)


def tree(root, ids=False, content=True):
    """One line per entry. ids: also what belongs to one object only (inode, blocks, times), to compare two views of it."""
    lines = [". " + describe(root, ids, content)]
    for folder, dirs, files in os.walk(root):
        dirs.sort()
        for n in sorted(dirs + files):
            path = os.path.join(folder, n)
            lines.append("%s %s" % (ascii(os.path.relpath(path, root)), describe(path, ids, content)))
    return sorted(lines)


def print_diff(what, one, other, one_name, other_name):
    import difflib
    fail("%s: %s (-) and %s (+) differ" % (what, one_name, other_name))
    for line in list(difflib.unified_diff(one, other, lineterm="", n=0))[2:42]:
        if not line.startswith("@@"):
            print("  " + line)


_both_count = 0


def both(fn, *args, output=True, trees=True, views=True, content=True):
    """Run fn in a fresh directory below the mount and in its twin on the backing filesystem: output and trees must agree.

    output: print what fn printed on the mount (for golden output), without lines that start with ~. trees: compare the mount's tree with the twin's.
    views: compare the tree seen on the mount with the same tree seen in the source.
    """
    global _both_count
    _both_count += 1
    name = "both%d" % _both_count
    texts = []
    for root in (MNT, TWIN):
        folder = os.path.join(root, name)
        os.mkdir(folder)
        with tempfile.TemporaryFile() as out:
            def body():
                os.dup2(out.fileno(), 1)
                os.dup2(out.fileno(), 2)
                os.chdir(folder)
                os.umask(0o022)
                fn(*args)
            pid = spawn(body)
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            out.seek(0)
            text = out.read().decode(errors="backslashreplace").replace(folder, "DIR")
        if status == 77:
            print(text, end="")
            sys.stdout.flush()
            os._exit(77)
        if status != 0:
            print(text, end="")
            fail("on the %s: status %d" % ("mount" if root == MNT else "backing filesystem", status))
        texts.append(text.splitlines())
    for line in texts[0]:
        if output and not line.startswith("~"):
            print(line)
    if texts[0] != texts[1]:
        print_diff("results", texts[1], texts[0], "backing", "mount")
    if trees:
        one, other = tree(os.path.join(TWIN, name), content=content), tree(os.path.join(MNT, name), content=content)
        if one != other:
            print_diff("trees", one, other, "backing", "mount")
    if views:
        one = tree(os.path.join(SRC, name), ids=True, content=content)
        other = tree(os.path.join(MNT, name), ids=True, content=content)
        if one != other:
            print_diff("views of one tree", one, other, "source", "mount")
    return name


def pattern(size, seed=1):
    """Bytes that tell where they belong."""
    block = hashlib.sha256(b"%d" % seed).digest()
    return (block * (size // len(block) + 1))[:size]


def main(argv):
    if argv[0] == "both":
        def body():
            status = subprocess.run(argv[1:], check=False).returncode
            if status:
                print("status %d" % status)
        both(body)
    elif argv[0] == "tree":
        print("\n".join(tree(argv[1])))
    elif argv[0] == "same":
        one, other = tree(argv[1]), tree(argv[2])
        if one != other:
            print_diff("trees", one, other, argv[1], argv[2])
    elif argv[0] == "fsop":
        exec(compile("\n".join(argv[1:]), "fsop", "exec"), globals())  # the test's own text
    done()


if __name__ == "__main__":
    main(sys.argv[1:])
