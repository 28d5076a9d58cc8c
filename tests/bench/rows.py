"""The rows of the benchmark: what each does on a mounted directory, and what comes out.

A row is a function row(run): it works below run.mnt, which was mounted a moment ago and has cached nothing, and makes
its measurement with run.io(), run.meta(), run.timed() or run.script(), which return the value. What it needs from the mount
before that (a first `git status`) is done with prepare=True.
"""

import sys

ROWS = {}
RATE, MBYTES, SECONDS = "op/s", "MB/s", "s"
MEM, XFS, DISK = "mem", "main", "disk"  # which source: tmpfs, the filesystem of --backing, the real disk


class Row:
    def __init__(self, name, unit, text, source, function, reach=False, cold=False, files=0):
        self.name, self.unit, self.text, self.source, self.function = name, unit, text, source, function
        self.reach = reach  # an operation that does not reach the daemon makes the cell worthless
        self.files = files  # so many files are made in the source's directory "names" before the mount
        self.cold = cold  # the machine's caches are dropped before each measurement


def row(name, unit, text, source=XFS, **more):
    """Registers a row; RATE and MBYTES are better when higher, SECONDS when lower."""
    def register(function):
        ROWS[name] = Row(name, unit, text, source, function, **more)
        return function
    return register


def _random_rows():
    for word, kind in (("randread", "read"), ("randwrite", "write")):
        for depth, callers in ((1, 1), (32, 1), (1, 4), (32, 2)):
            label = f"{word}-d{depth}" + (f"-c{callers}" if callers > 1 else "")
            who = f"{callers} callers, depth {depth} each" if callers > 1 else f"1 caller, depth {depth}"
            row(label, RATE, f"4 KiB random {kind}, O_DIRECT, source in memory, {who}", MEM, reach=True)(
                lambda run, word=word, depth=depth, callers=callers: run.io("shared/data", word, depth, callers))
    for word, kind in (("randread", "read"), ("randwrite", "write")):
        row(f"direct-{kind}-d32", RATE, f"4 KiB random {kind}, O_DIRECT, loop device, 1 caller, depth 32", reach=True)(
            lambda run, word=word: run.io("shared/data", word, 32))


_random_rows()


@row("bufread", RATE, "4 KiB random read, buffered, each page once: cached in the source, not in the mount")
def bufread(run):
    run.warm()
    return run.io("shared/data", "coldread")


@row("seqread", MBYTES, "1 MiB sequential read, buffered: cached in the source, not in the mount")
def seqread(run):
    run.warm()
    return run.io("shared/data", "seqread")


@row("seqwrite", MBYTES, "1 MiB sequential write of a new file and one fsync")
def seqwrite(run):
    return run.io(f"{run.fresh()}/new", "seqwrite")


@row("bufwrite", RATE, "4 KiB buffered overwrite, each sent to the daemon")
def overwrite(run):
    return run.io("shared/data", "bufwrite")


@row("fdatasync", RATE, "4 KiB buffered overwrite and fdatasync")
def overwrite_sync(run):
    return run.io("shared/data", "fdatasync")


SQLITE = """
import json, resource, sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("pragma journal_mode=wal")
db.execute("pragma synchronous=full")
db.execute("create table t(n integer primary key, body text)")
seconds, n, begin = float(sys.argv[2]), 0, time.monotonic()
while time.monotonic() - begin < seconds:
    db.execute("insert into t(body) values(?)", ("x" * 200,))
    n += 1
use = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({"ops": n, "ops_per_s": n / (time.monotonic() - begin), "cpu_s": use.ru_utime + use.ru_stime}))
"""


@row("sqlite", RATE, "SQLite transactions of one row, WAL, synchronous=FULL")
def sqlite(run):
    return run.script([sys.executable, "-c", SQLITE, f"{run.mnt}/{run.fresh()}/db", str(run.seconds)])


@row("create", RATE, "create and close, 1 thread")
def create(run):
    return run.meta(run.fresh(), "create")


@row("create-c4", RATE, "create and close, 4 threads, own directories")
def create_four(run):
    return run.meta(run.fresh(), "create", 4)


@row("lookup", RATE, "first stat of existing files")
def lookup(run):
    return run.meta("shared/files", "stat", 1, 10000)


@row("getattr", RATE, "statx of an open file past the caches (AT_STATX_FORCE_SYNC)")
def getattr_forced(run):
    return run.meta("shared/files", "getattr")


@row("open-close", RATE, "open and close of existing files, after one stat of each")
def open_close(run):
    run.meta("shared/files", "stat", 1, 5000, seconds=5, prepare=True)
    return run.meta("shared/files", "open", 1, 5000)


@row("ls-l", RATE, "readdir and stat of 10,000 files, on a new mount")
def ls_l(run):
    return run.meta("shared/files", "list")


@row("ls-l-again", RATE, "readdir and stat of the same files, right after two other times")
def ls_l_again(run):
    run.meta("shared/files", "list", seconds=5, prepare=True)
    run.meta("shared/files", "list", seconds=5, prepare=True)
    return run.meta("shared/files", "list")


@row("rename", RATE, "rename within a directory, files not looked up before", files=6000)
def rename(run):
    return run.meta("names", "rename", 1, 6000)


@row("unlink", RATE, "unlink, files not looked up before", files=6000)
def unlink(run):
    return run.meta("names", "unlink", 1, 6000)


@row("tar-x", SECONDS, "tar x of 2,000 files")
def tar_x(run):
    return run.timed(["tar", "-xf", run.data.tar, "-C", f"{run.mnt}/{run.fresh()}"], run.data.files)


@row("git-clone", SECONDS, "git clone of a local repository, 2,000 files")
def git_clone(run):
    return run.timed(["git", "clone", "-q", "--no-hardlinks", run.data.repo, f"{run.mnt}/{run.fresh()}/clone"], run.data.files)


def _status(run, warm):
    command = ["git", "-C", f"{run.mnt}/shared/repo", "status", "--porcelain"]
    if warm:
        run.timed(command, prepare=True)
    return run.timed(command, run.data.files)


@row("git-status-cold", SECONDS, "git status, 2,000 files, on a new mount")
def git_status_cold(run):
    return _status(run, False)


@row("git-status-warm", SECONDS, "git status again")
def git_status_warm(run):
    return _status(run, True)


@row("disk-read-d32", RATE, "4 KiB random read, O_DIRECT, the real disk, caches dropped, 1 caller, depth 32", DISK, reach=True, cold=True)
def disk_read(run):
    return run.io("data", "randread", 32)


@row("disk-ls-l", RATE, "readdir and stat of 50,000 files, the real disk, caches dropped", DISK, cold=True)
def disk_ls_l(run):
    return run.meta("files", "list")
