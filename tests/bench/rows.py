"""The rows of the benchmark: how each is prepared, run on a directory, and read.

A row is a function row(ctx, mnt, src) -> value. It is called on a fresh mount, so the mount has cached nothing.
ctx.shared is a directory of the source made once; ctx.fresh() names a new one for this measurement.
"""

import json
import os
import subprocess
import sys
import time

ROWS = {}
RATE, MBYTES, SECONDS = "op/s", "MB/s", "s"


def row(name, unit, text):
    """Registers a row; RATE and MBYTES are better when higher, SECONDS when lower."""
    def register(function):
        ROWS[name] = (function, unit, text)
        return function
    return register


def call(arguments, **more):
    """Runs one bounded command; its standard output."""
    done = subprocess.run(arguments, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
                          check=False, **more)
    if done.returncode:
        raise RuntimeError(f"{os.path.basename(arguments[0])} {' '.join(arguments[1:])}: "
                           f"{(done.stderr or done.stdout).strip()[-200:]}")
    return done.stdout


def io(ctx, path, mode, depth=1, callers=1):
    return json.loads(call([ctx.tool("io_load"), path, mode, str(depth), str(callers), str(ctx.seconds)]))


def meta(ctx, directory, mode, threads=1, count=20000, seconds=None):
    out = call([ctx.tool("meta_load"), directory, mode, str(threads), str(count), str(seconds or ctx.seconds)])
    return json.loads(out)["ops_per_s"]


def timed(arguments, **more):
    begin = time.monotonic()
    call(arguments, **more)
    return time.monotonic() - begin


for _kind, _word in (("read", "randread"), ("write", "randwrite")):
    for _depth, _callers in ((1, 1), (32, 1), (1, 4)):
        def _io_row(ctx, mnt, src, word=_word, depth=_depth, callers=_callers):
            del src
            return io(ctx, f"{mnt}/shared/data", word, depth, callers)["ops_per_s"]
        _label = f"{_word}-d{_depth}" + (f"-c{_callers}" if _callers > 1 else "")
        row(_label, RATE, f"4 KiB random {_kind}, O_DIRECT, {_callers} caller(s), depth {_depth}")(_io_row)


@row("coldread", RATE, "4 KiB random read, buffered, each page once: reaches the daemon, the source has it cached")
def coldread(ctx, mnt, src):
    del src
    return io(ctx, f"{mnt}/shared/data", "coldread")["ops_per_s"]


@row("coldread-c4", RATE, "the same by 4 callers")
def coldread_four(ctx, mnt, src):
    del src
    return io(ctx, f"{mnt}/shared/data", "coldread", 1, 4)["ops_per_s"]


@row("seqread", MBYTES, "1 MiB sequential read, buffered, nothing cached in the mount")
def seqread(ctx, mnt, src):
    del src
    return io(ctx, f"{mnt}/shared/data", "seqread")["bytes_per_s"] / 1e6


@row("seqwrite", MBYTES, "1 MiB sequential write of a new file and one fsync")
def seqwrite(ctx, mnt, src):
    name = ctx.fresh(src)
    return io(ctx, f"{mnt}/{name}/new", "seqwrite")["bytes_per_s"] / 1e6


@row("fdatasync", RATE, "4 KiB buffered overwrite and fdatasync")
def overwrite_sync(ctx, mnt, src):
    del src
    return io(ctx, f"{mnt}/shared/data", "fdatasync")["ops_per_s"]


@row("create", RATE, "create and close, 1 thread")
def create(ctx, mnt, src):
    return meta(ctx, f"{mnt}/{ctx.fresh(src)}", "create")


@row("create-c4", RATE, "create and close, 4 threads, own directories")
def create_four(ctx, mnt, src):
    return meta(ctx, f"{mnt}/{ctx.fresh(src)}", "create", 4)


@row("lookup", RATE, "first stat of existing files")
def lookup(ctx, mnt, src):
    del src
    return meta(ctx, f"{mnt}/shared/files", "stat", 1, 10000)


@row("open-close", RATE, "open and close of existing files, after one stat of each")
def open_close(ctx, mnt, src):
    del src
    meta(ctx, f"{mnt}/shared/files", "stat", 1, 5000, 5)
    return meta(ctx, f"{mnt}/shared/files", "open", 1, 5000)


@row("ls-l", RATE, "readdir and stat of 10,000 files, nothing cached in the mount")
def ls_l(ctx, mnt, src):
    del src
    return meta(ctx, f"{mnt}/shared/files", "list")


def names(ctx, mnt, src, mode):
    name = ctx.fresh(src)
    meta(ctx, f"{src}/{name}", "create", 1, 6000, 30)
    return meta(ctx, f"{mnt}/{name}", mode, 1, 6000)


@row("rename", RATE, "rename within a directory")
def rename(ctx, mnt, src):
    return names(ctx, mnt, src, "rename")


@row("unlink", RATE, "unlink")
def unlink(ctx, mnt, src):
    return names(ctx, mnt, src, "unlink")


@row("tar-x", SECONDS, "tar x of 3,000 files")
def tar_x(ctx, mnt, src):
    return timed(["tar", "-xf", ctx.tar, "-C", f"{mnt}/{ctx.fresh(src)}"])


@row("git-clone", SECONDS, "git clone of a local repository, 3,000 files")
def git_clone(ctx, mnt, src):
    return timed(["git", "clone", "-q", "--no-hardlinks", ctx.repo, f"{mnt}/{ctx.fresh(src)}/clone"], env=ctx.git_env)


def git_status(ctx, mnt, warm):
    command = ["git", "-C", f"{mnt}/shared/repo", "status", "--porcelain"]
    if warm:
        call(command, env=ctx.git_env)
    return timed(command, env=ctx.git_env)


@row("git-status-cold", SECONDS, "git status on a new mount")
def git_status_cold(ctx, mnt, src):
    del src
    return git_status(ctx, mnt, False)


@row("git-status-warm", SECONDS, "git status again")
def git_status_warm(ctx, mnt, src):
    del src
    return git_status(ctx, mnt, True)


SQLITE = """
import sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("pragma journal_mode=wal")
db.execute("pragma synchronous=full")
db.execute("create table t(n integer primary key, body text)")
seconds, n, begin = float(sys.argv[2]), 0, time.monotonic()
while time.monotonic() - begin < seconds:
    db.execute("insert into t(body) values(?)", ("x" * 200,))
    n += 1
print(n / (time.monotonic() - begin))
"""


@row("sqlite", RATE, "SQLite transactions of one row, WAL, synchronous=FULL")
def sqlite(ctx, mnt, src):
    return float(call([sys.executable, "-c", SQLITE, f"{mnt}/{ctx.fresh(src)}/db", str(ctx.seconds)]))
