#!/usr/bin/env python3
"""unanswered.py MNT SRC SEED OPTIONS: calls of all kinds until SIGTERM or the end of the mount; every call must end. See unanswered."""
import errno, fcntl, os, random, signal, sys, threading, time

base, src, seed, options = sys.argv[1:]
rnd = random.Random(int(seed))
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())


def alarm(*_):
    raise InterruptedError(errno.EINTR, "the timer") # else python makes the call again


signal.signal(signal.SIGALRM, alarm)
# 512, ERESTARTSYS: what the kernel makes of a request that it was just handing to a ring whose process is killed
DEAD = (errno.ENOTCONN, errno.ECONNABORTED, errno.ECANCELED, 512)
USUAL = (errno.ENOENT, errno.EEXIST, errno.EINTR, errno.ESTALE, errno.EAGAIN, errno.ENOLCK, errno.EDEADLK, errno.ENOTEMPTY, errno.EIO, errno.ENOMEM, errno.ENODATA)


def small(me):
    name = f"{me}.{rnd.randrange(20)}"
    fd = os.open(name, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        os.write(fd, b"x" * rnd.choice((10, 5000, 200000)))
        os.pread(fd, 20000, 0)
        if rnd.random() < 0.3:
            os.fsync(fd)
    finally:
        os.close(fd)
    if rnd.random() < 0.5:
        os.rename(name, name + "r")
        os.unlink(name + "r")


def deep(me):
    """many callers of one queue: its entries run out, batches are large"""
    fds = [os.open("shared", os.O_RDWR | os.O_CREAT, 0o644) for _ in range(24)]

    def read(fd):
        for n in range(rnd.randrange(40)):
            os.pread(fd, 4096, n * 4096)
            os.fstat(fd)
    def quiet(fd):
        try:
            read(fd)
        except OSError:
            pass
        finally:
            try:
                os.close(fd)
            except OSError:
                pass
    threads = [threading.Thread(target=quiet, args=(fd,)) for fd in fds]
    for t in threads:
        t.start()
    for t in threads:
        t.join()


def forgets(me):
    for n in range(60):
        try:
            os.stat(f"nothing{n}.{me}")
        except FileNotFoundError:
            pass
    d = f"d{me}"
    os.makedirs(d, exist_ok=True)
    for n in range(30):
        os.close(os.open(f"{d}/{n}", os.O_CREAT | os.O_WRONLY, 0o644))
    os.listdir(d)
    for n in range(30):
        os.unlink(f"{d}/{n}")


def lock(me):
    """waits for others, sometimes for somebody in SOURCE; a signal ends the wait"""
    fd = os.open("lock", os.O_RDWR | os.O_CREAT, 0o644)
    outside = -1
    try:
        if rnd.random() < 0.3:
            outside = os.open(src + "/lock", os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(outside, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                pass
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        (fcntl.flock if rnd.random() < 0.5 else fcntl.lockf)(fd, fcntl.LOCK_EX)
        time.sleep(0.002)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        if outside >= 0:
            os.close(outside)
        os.close(fd)


def interrupted(me):
    """calls that a signal meets half-way: an INTERRUPT for each"""
    for n in range(30):
        signal.setitimer(signal.ITIMER_REAL, 0.0001 * n + 0.0001)
        try:
            os.statvfs(".")
            os.listdir(".")
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)


def changed_below(me):
    name = f"below{me}"
    with open(name, "wb") as f:
        f.write(b"a" * 9000)
    with open(name, "rb") as f:
        f.read()
        with open(f"{src}/{name}", "ab") as g:
            g.write(b"b" * 9000)
        os.stat(name)
        f.read()


def rest(me):
    time.sleep(rnd.random() * 0.02)


def main():
    os.chdir(base)  # not what lies below once the mount has gone
    open(f"{base}.begun.{os.getpid()}", "w").close()
    what = [small, small, deep, forgets, interrupted, changed_below, rest, rest, rest]
    if "locks=shared" in options:
        what += [lock, lock, lock]
    me = f"c{os.getpid()}"
    while not stop.is_set():
        try:
            rnd.choice(what)(me)
        except OSError as e:
            if e.errno in DEAD:
                return 0
            if e.errno not in USUAL:
                print(f"a client: {e}")
                return 1
    os.chdir("/")
    return 0


sys.exit(main())
