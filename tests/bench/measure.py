"""One measurement: a row on a fresh mount of a peer, with the CPU time of the daemon, the callers and the machine."""

import contextlib
import json
import os
import re
import resource
import shutil
import subprocess
import time

import events
import peers
from data import call

SYSCALLS = "raw_syscalls/sys_enter"


def process_clock(pid):
    """CPU time of all threads of the process, ended ones too, in seconds (the clock of clock_getcpuclockid(3))."""
    return time.clock_gettime((~pid << 3) | 2)


def machine_idle():
    """Idle time of all CPUs in seconds."""
    with open("/proc/stat", encoding="ascii") as f:
        words = f.readline().split()
    return (int(words[4]) + int(words[5])) / os.sysconf("SC_CLK_TCK")


class Run:
    """What a row works with (see rows.py). After it: value, ops, cpu (seconds by name), counts (or None)."""

    def __init__(self, data, row, mount, seconds, count, around):
        self.data, self.mount, self.seconds, self.count = data, mount, seconds, count
        self.around = around or (lambda pid: contextlib.nullcontext())
        self.mnt, self.src = mount.point, data.sources[row.source]
        self.value, self.ops, self.cpu, self.counts, self.p50_us = None, 0, {}, None, None
        self.made = []

    def fresh(self):
        """A new directory, made through the mount (not all peers see what appears below them); its name."""
        name = f"run{len(self.made)}"
        self.made.append(os.path.join(self.src, name))
        os.mkdir(os.path.join(self.mnt, name))
        return name

    def warm(self):
        self.data.warm(self.src)

    def _measured(self, function):
        """Runs function(); keeps what the daemon and the machine used meanwhile."""
        pid, wanted = self.mount.pid, []
        if self.count and pid:
            wanted = [events.Event(SYSCALLS, pid), events.Event(peers.REQUEST, None, f"connection == {self.mount.connection}")]
        daemon, idle, begin = process_clock(pid) if pid else 0, machine_idle(), time.monotonic()
        with self.around(pid), events.Counter(wanted) as counter:
            result = function()
        seconds = time.monotonic() - begin
        self.cpu = {"daemon": (process_clock(pid) if pid else 0) - daemon,
                    "machine": max(0, seconds * os.cpu_count() - (machine_idle() - idle))}
        if wanted:
            self.counts = dict(zip(("syscalls", "requests"), counter.counts))
        return result

    def _load(self, arguments, prepare, key):
        def work():
            return json.loads(call(arguments, limit=150 if prepare else 60))
        if prepare:
            return work()
        out = self._measured(work)
        self.ops, self.cpu["caller"], self.p50_us = out["ops"], out["cpu_s"], out.get("p50_us") or None
        return out[key]

    def io(self, name, mode, depth=1, callers=1):
        """io_load on a file below the mount; MB/s for the sequential modes, else operations per second."""
        arguments = [self.data.tools["io_load"], os.path.join(self.mnt, name), mode, str(depth), str(callers), str(self.seconds)]
        sequential = mode.startswith("seq")
        value = self._load(arguments, False, "bytes_per_s" if sequential else "ops_per_s")
        return value / 1e6 if sequential else value

    def meta(self, name, mode, threads=1, count=20000, seconds=None, prepare=False):
        """meta_load in a directory below the mount; operations per second."""
        return self._load([self.data.tools["meta_load"], os.path.join(self.mnt, name), mode, str(threads), str(count),
                           str(seconds or self.seconds)], prepare, "ops_per_s")

    def script(self, arguments):
        """A program that prints JSON as meta_load does; operations per second."""
        return self._load(arguments, False, "ops_per_s")

    def timed(self, arguments, ops=1, prepare=False):
        """Seconds that a command takes; ops: what to divide CPU time and counts by."""
        def work():
            before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
            call(arguments, env=self.data.git_env)
            seconds, after = time.monotonic() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
            return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        if prepare:
            return work()[0]
        seconds, caller = self._measured(work)
        self.ops, self.cpu["caller"] = ops, caller
        return seconds


def plain(text):
    """An error without the names of this measurement's directories, so that the same one is the same text."""
    return re.sub(r"/tmp/bench\.[\w.-]*?(?=[/: ]|$)", "...", text)[-200:]


def measure(data, row, peer, seconds, count=False, around=None):
    """A finished Run, or its error as text. With count, system calls and requests are counted (and times disturbed).
    around(pid of the daemon) makes a context manager that the measured part runs in."""
    source = data.sources[row.source]
    made = [os.path.join(source, "names")] if row.files else []
    try:
        if row.files:
            os.mkdir(made[0])
            data.create(made[0], row.files)
        with peers.Mount(peer, source) as mount:
            run = Run(data, row, mount, seconds, count, around)
            if row.cold:
                data.drop_caches()
            try:
                run.value = row.function(run)
            finally:
                made += run.made
            return run
    except (RuntimeError, subprocess.SubprocessError, OSError, ValueError, KeyError) as error:
        return plain(str(error))
    finally:
        for directory in made:
            shutil.rmtree(directory, ignore_errors=True)


def values_of(run):
    """The numbers of a run for the result file, CPU time in microseconds for each operation."""
    ops = max(run.ops, 1)
    return {"value": run.value, "ops": run.ops, "p50_us": run.p50_us,
            **{f"{who}_us": run.cpu[who] / ops * 1e6 for who in ("daemon", "caller", "machine")}}
