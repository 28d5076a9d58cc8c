"""What the runners of tests/vm/crash and tests/vm/databases share: a private mount namespace, a folder in memory, children that end with
their parent however it ends, and a boot that is recorded."""
import contextlib
import os
import signal
import subprocess
import sys
import tempfile

import machine

HERE = os.path.dirname(os.path.realpath(__file__))


def child(words, sign="TERM"):
    """the command, told to end when the thread that starts it has ended"""
    return ["setpriv", "--pdeathsig", sign, *words]


def in_namespace(name):
    """the rest of the program in a mount namespace of its own, which is gone with its last process"""
    if os.environ.get(name) != str(os.getpid()):
        os.environ[name] = str(os.getpid())
        os.execvp("unshare", ["unshare", "-m", "--propagation", "private", *sys.argv])


@contextlib.contextmanager
def folder(prefix):
    """a new folder with a tmpfs; on a signal it goes, too, and with this program its children"""
    path = tempfile.mkdtemp(prefix=prefix)

    def remove():
        subprocess.run(["umount", "-l", path], check=False, stderr=subprocess.DEVNULL)
        with contextlib.suppress(OSError):
            os.rmdir(path)

    def ended(number, _):
        remove()
        os._exit(128 + number)  # threads may wait for children

    for sign in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(sign, ended)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8g,mode=755", "tmpfs", path], check=True)
    try:
        yield path
    finally:
        remove()


def record(path, filesystem, size, mkfs, words, script):
    """boot with a new disk; everything that reaches it is in the folder: disk.base as it was, log, what the script gives back. The ended process"""
    machine.make_disk(f"{path}/disk.base", size, filesystem, True, mkfs)
    subprocess.run(["cp", "--sparse=always", f"{path}/disk.base", f"{path}/disk"], check=True)
    done = subprocess.run(child([f"{HERE}/run", "--fs", filesystem, "--partition", "--disk", f"{path}/disk", "--log", f"{path}/log", "--results", path,
                                 "--console", f"{path}/console", "--program", "gzip", *words, *script]),
                          capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL, check=False)
    os.unlink(f"{path}/disk")
    return done
