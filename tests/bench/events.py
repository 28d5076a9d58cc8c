"""Counts of the kernel's trace points, by perf_event_open(2): what a process and the kernel really did meanwhile.

    with Counter([Event("raw_syscalls/sys_enter", pid=daemon), Event("fuse/fuse_request_send", condition="opcode == 15")]) as c:
        ...
    c.counts    in the order of the events

An event with a pid counts in all threads of it, those made later too; one without counts on all CPUs. Needs root and
tracefs; `unavailable()` says what is missing.
"""

import collections
import ctypes
import fcntl
import os
import platform
import struct

TRACEFS = "/sys/kernel/tracing/events"
SYSCALL = {"x86_64": 298, "aarch64": 241, "riscv64": 241}.get(platform.machine())
TYPE_TRACEPOINT, FLAG_DISABLED, FLAG_INHERIT = 2, 1, 2  # include/uapi/linux/perf_event.h
IOC_ENABLE, IOC_DISABLE, IOC_SET_FILTER = 0x2400, 0x2401, 0x40082406
CLOEXEC = 8

Event = collections.namedtuple("Event", "name pid condition", defaults=(None, None))
_libc = ctypes.CDLL(None, use_errno=True)


def unavailable(names):
    """None, or why these events cannot be counted here."""
    if SYSCALL is None:
        return f"perf_event_open's number on {platform.machine()} is not known here"
    for name in names:
        if not os.access(os.path.join(TRACEFS, name, "id"), os.R_OK):
            return f"no trace point {name} (kernel too old, or tracefs is not mounted)"
    try:
        with Counter([Event(names[0], pid=os.getpid())]):
            return None
    except OSError as error:
        return f"perf_event_open: {error.strerror}"


def _open(event, tid, cpu):
    with open(os.path.join(TRACEFS, event.name, "id"), encoding="ascii") as f:
        number = int(f.read())
    # struct perf_event_attr as of its first version, 64 bytes
    attr = struct.pack("=IIQQQQQIIQ", TYPE_TRACEPOINT, 64, number, 0, 0, 0,
                       FLAG_DISABLED | (FLAG_INHERIT if tid != -1 else 0), 0, 0, 0)
    fd = _libc.syscall(SYSCALL, attr, ctypes.c_int(tid), ctypes.c_int(cpu), ctypes.c_int(-1), ctypes.c_ulong(CLOEXEC))
    if fd < 0:
        raise OSError(ctypes.get_errno(), f"{event.name}: {os.strerror(ctypes.get_errno())}")
    if event.condition and _libc.ioctl(fd, IOC_SET_FILTER, ctypes.c_char_p(event.condition.encode())) < 0:
        number = ctypes.get_errno()
        os.close(fd)
        raise OSError(number, f"filter {event.condition}: {os.strerror(number)}")
    return fd


def _cpus():
    with open("/sys/devices/system/cpu/online", encoding="ascii") as f:
        for part in f.read().strip().split(","):
            first, _, last = part.partition("-")
            yield from range(int(first), int(last or first) + 1)


class Counter:
    """Counts inside of a with block."""

    def __init__(self, events):
        self.fds, self.counts = [[] for _ in events], None
        try:
            for fds, event in zip(self.fds, events):
                if event.pid is None:
                    fds.extend(_open(event, -1, cpu) for cpu in _cpus())
                    continue
                for tid in os.listdir(f"/proc/{event.pid}/task"):
                    try:
                        fds.append(_open(event, int(tid), -1))
                    except ProcessLookupError:  # ended since
                        pass
        except BaseException:
            self._close()
            raise

    def __enter__(self):
        for fds in self.fds:
            for fd in fds:
                fcntl.ioctl(fd, IOC_ENABLE, 0)
        return self

    def __exit__(self, *_):
        for fds in self.fds:
            for fd in fds:
                fcntl.ioctl(fd, IOC_DISABLE, 0)
        self.counts = [sum(struct.unpack("=Q", os.read(fd, 8))[0] for fd in fds) for fds in self.fds]
        self._close()

    def _close(self):
        for fds in self.fds:
            for fd in fds:
                os.close(fd)
            fds.clear()
