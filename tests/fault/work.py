#!/usr/bin/env python3
"""Small workloads for the fault tests: work.py WHAT ARGS... Exit status 0, or 1 with what was wrong."""
import ctypes
import errno
import os
import random
import sys
import threading
import time

libc = ctypes.CDLL(None, use_errno=True)


def check(ok, what):
    if not ok:
        print("work.py:", what)
        sys.exit(1)


def pattern(size, seed=1):
    return random.Random(seed).randbytes(size)


def read_all(path):
    with open(path, "rb", buffering=0) as f:
        return f.readall()


def small(base, rounds=1):
    """One of everything; names in BASE are gone afterwards."""
    for n in range(int(rounds)):
        d = f"{base}/d{os.getpid()}.{threading.get_ident()}.{n}"
        os.mkdir(d)
        data = pattern(300000, n)
        with open(d + "/a", "wb") as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
            os.fdatasync(f.fileno())
        check(read_all(d + "/a") == data, "content differs after write")
        os.rename(d + "/a", d + "/b")
        check(sorted(os.listdir(d)) == ["b"], "listing after rename")
        os.symlink("b", d + "/s")
        check(os.readlink(d + "/s") == "b", "readlink")
        os.link(d + "/b", d + "/l")
        check(os.stat(d + "/b").st_nlink == 2, "st_nlink after link")
        os.truncate(d + "/b", 1000)
        check(read_all(d + "/l") == data[:1000], "content after truncate")
        os.chmod(d + "/b", 0o640)
        os.utime(d + "/b", ns=(10**9, 2 * 10**9))
        st = os.stat(d + "/b")
        check(st.st_mode & 0o7777 == 0o640 and st.st_mtime_ns == 2 * 10**9, "mode or mtime after setting them")
        fd = os.open(d + "/b", os.O_RDWR)
        os.posix_fallocate(fd, 0, 100000)
        check(os.fstat(fd).st_size == 100000, "size after fallocate")
        os.pwrite(fd, b"xyz", 99997)
        check(os.pread(fd, 10, 99990) == b"\0" * 7 + b"xyz", "content at the end")
        os.ftruncate(fd, 500)
        os.close(fd)
        try:
            os.setxattr(d + "/b", "user.k", b"v")
            check(os.getxattr(d + "/b", "user.k") == b"v", "getxattr")
            check("user.k" in os.listxattr(d + "/b"), "listxattr")
            os.removexattr(d + "/b", "user.k")
        except OSError as e:
            check(e.errno == errno.EOPNOTSUPP, f"xattr: {e}")
        os.statvfs(d)
        os.mkfifo(d + "/p")
        fd = os.open(d, os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)
        for name in ["b", "s", "l", "p"]:
            os.unlink(d + "/" + name)
        os.rmdir(d)


def many(base, count, seconds="60", rounds="2"):
    """COUNT threads doing `small` at once."""
    errors = []

    def one():
        try:
            small(base, rounds)
        except BaseException as e:  # also SystemExit of check()
            errors.append(repr(e))

    threads = [threading.Thread(target=one, daemon=True) for _ in range(int(count))]
    for t in threads:
        t.start()
    end = time.time() + float(seconds)
    for t in threads:
        t.join(max(0, end - time.time()))
    alive = sum(t.is_alive() for t in threads)
    if alive:
        print(f"work.py: {alive} of {count} clients hang")
        os._exit(1)
    check(not errors, f"{len(errors)} clients failed: {errors[:3]}")


def once(what, path, wanted, nth="1"):
    """Do WHAT until the NTH call: that one must fail with WANTED, the others pass."""
    f = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    os.pwrite(f, b"0123456789" * 1000, 0) if what == "read" else None
    calls = {
        "write": lambda n: os.pwrite(f, b"x" * 5000, 0),
        "read": lambda n: os.pread(f, 100, 0),
        "fsync": lambda n: os.fsync(f),
        "fdatasync": lambda n: os.fdatasync(f),
        "ftruncate": lambda n: os.ftruncate(f, 10 + n),
        "fallocate": lambda n: os.posix_fallocate(f, 0, 10 + n),
        "open": lambda n: os.close(os.open(path, os.O_RDWR)),
        "unlink": lambda n: (os.close(os.open(f"{path}.{n}", os.O_CREAT | os.O_WRONLY)), os.unlink(f"{path}.{n}")),
        "mkdir": lambda n: os.mkdir(f"{path}.d{n}"),
        "symlink": lambda n: os.symlink("x", f"{path}.s{n}"),
        "link": lambda n: os.link(path, f"{path}.l{n}"),
        "rename": lambda n: (os.mkdir(f"{path}.r{n}"), os.rename(f"{path}.r{n}", f"{path}.R{n}")),
        "setxattr": lambda n: os.setxattr(path, "user.n", b"v"),
        "getxattr": lambda n: os.getxattr(path, "user.n"),
        "stat": lambda n: os.stat(path),
        "statvfs": lambda n: os.statvfs(path),
        "listdir": lambda n: os.listdir(os.path.dirname(path)),
        "readlink": lambda n: (os.symlink("x", f"{path}.q{n}"), os.readlink(f"{path}.q{n}")),
        "mknod": lambda n: os.mkfifo(f"{path}.p{n}"),
        "chmod": lambda n: os.chmod(path, 0o600 + n),
    }
    if what == "getxattr":
        os.setxattr(path, "user.n", b"v")
    seen = []
    for n in range(1, 7):
        try:
            calls[what](n)
        except OSError as e:
            seen.append((n, errno.errorcode[e.errno]))
    os.close(f)
    check(seen == [(int(nth), wanted)], f"{what}: wanted {wanted} once, at call {nth}; saw {seen or 'no error'}")


def tree(base, dirs, per_dir):
    for d in range(int(dirs)):
        os.mkdir(f"{base}/dir{d}")
        for n in range(int(per_dir)):
            with open(f"{base}/dir{d}/file{n}", "w") as f:
                f.write(f"{d} {n}\n")


def walk(base, wanted):
    """Read every file below BASE: content as tree() wrote it, WANTED files."""
    count = 0
    for folder, _, files in os.walk(base):
        for name in files:
            if name.startswith("file"):
                d, n = os.path.basename(folder)[3:], name[4:]
                check(read_all(f"{folder}/{name}") == f"{d} {n}\n".encode(), f"{folder}/{name}: wrong content")
                check(os.stat(f"{folder}/{name}").st_size > 0, "size")
                count += 1
    check(count == int(wanted), f"{count} files, wanted {wanted}")


def load(base, seconds, begun=None):
    """Until SECONDS are over or the mount ends: create, write, read, rename, fsync, unlink. Every call must end.
    BEGUN: a file BEGUN.PID is made when the first round is over."""
    end = time.time() + float(seconds)
    n = 0
    # ECANCELED: the kernel was about to hand the request to a ring whose process had gone
    dead = (errno.ENOTCONN, errno.ECONNABORTED, errno.ECANCELED)
    os.chdir(base)  # not what lies below once the mount has gone
    base = "."
    while time.time() < end:
        n += 1
        name = f"{base}/l{os.getpid()}.{n % 20}"
        try:
            fd = os.open(name, os.O_RDWR | os.O_CREAT)
            try:
                os.write(fd, b"x" * 20000)
                os.pread(fd, 20000, 0)
                os.fsync(fd)
            finally:
                os.close(fd)
            os.rename(name, name + "r")
            os.listdir(base)
            os.unlink(name + "r")
            if n == 1 and begun:
                open(f"{begun}.{os.getpid()}", "w", encoding="ascii").close()
        except OSError as e:
            if e.errno in dead:
                sys.exit(0)
            if e.errno != errno.ENOENT:
                check(False, f"{e}")


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
