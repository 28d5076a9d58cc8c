"""The peers of the benchmark: read from peers.conf, mounted, proven to be served as they say, unmounted."""

import configparser
import os
import random
import shlex
import shutil
import subprocess
import tempfile
import time

import events

REQUEST, COMMAND = "fuse/fuse_request_send", "io_uring/io_uring_submit_req"
URING_CMD, FUSE_READ = 46, 15  # IORING_OP_URING_CMD, FUSE_READ
PROOF_READS = 200


class Peer:
    """One section of peers.conf."""

    def __init__(self, name, section, words):
        self.name, self.words = name, words
        self.mount, self.transport = section["mount"], section.get("transport", "none")
        self.kind, self.what = section.get("kind", "").split(), section.get("what", "")
        self.chosen = section.getboolean("chosen", True)
        self.source_of, self.version_command = section.get("from", ""), section.get("version")
        self.seen = None  # what the proof saw: dev, uring, "dev, kernel", or None when nothing could be counted

    def native(self):
        return self.mount == "-"

    def arguments(self, **places):
        words = dict(self.words, **places)
        return [word.format(**words) for word in shlex.split(self.mount)]

    def shown_command(self):
        """The command for the reader: no paths of this machine."""
        if self.native():
            return "-"
        return self.mount.replace("{cache}/", "").replace("{uringfs}", "uringfs").format(
            source="SOURCE", mountpoint="MOUNTPOINT", work="WORK", empty="EMPTY", **{k: k.upper() for k in self.words if k not in ("cache", "uringfs")})

    def missing(self):
        """None, or why it cannot be mounted."""
        if self.native():
            return None
        program = self.arguments(source="", mountpoint="", work="", empty="")[0]
        if shutil.which(program):
            return None
        return "not built: tests/bench/build-peers" if self.source_of == "build-peers" else f"no {program} ({self.source_of})"

    def version(self):
        if not self.version_command:
            return ""
        try:
            done = subprocess.run([word.format(**self.words) for word in shlex.split(self.version_command)],
                                  capture_output=True, text=True, timeout=10, check=False)
        except (OSError, subprocess.SubprocessError):
            return "unknown"
        lines = [line.strip() for line in (done.stdout + done.stderr).splitlines()]
        lines = [line for line in lines if line and not line.startswith("fusermount")]
        return lines[0] if lines else "unknown"


def read_conf(path, words):
    conf = configparser.ConfigParser(interpolation=None)
    with open(path, encoding="utf-8") as f:
        conf.read_file(f)
    return [Peer(name, conf[name], words) for name in conf.sections()]


class Mount:
    """One peer mounted on its own directory for the time of a with block.

    point: the directory to work in; pid: the daemon, None for native; connection: the device number that the kernel's
    trace points name the mount by.
    """

    live = []

    def __init__(self, peer, source):
        self.peer, self.source, self.process, self.pid = peer, source, None, None
        self.point, self.places, self.connection = None, [], None

    def _place(self, directory, name):
        self.places.append(tempfile.mkdtemp(prefix=f"bench.{name}.", dir=directory))
        return self.places[-1]

    def __enter__(self):
        if self.peer.native():
            self.point = self.source
            return self
        Mount.live.append(self)
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def _start(self):
        self.point = self._place(None, self.peer.name)
        arguments = self.peer.arguments(source=self.source, mountpoint=self.point, empty=self._place(None, "empty"),
                                        work=self._place(os.path.dirname(self.source), "work"))
        before = os.stat(self.point).st_dev
        with tempfile.TemporaryFile() as log:
            self.process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
            end = time.monotonic() + 10
            while time.monotonic() < end and self.process.poll() is None:
                try:
                    device = os.stat(self.point).st_dev
                except OSError:
                    device = before
                if device != before:
                    # the kernel's number of the device: 12 bits of major above 20 bits of minor
                    self.connection = os.major(device) << 20 | os.minor(device)
                    self.pid = self.process.pid
                    return
                time.sleep(0.005)
            log.seek(0)
            text = log.read().decode(errors="replace")[-300:]
        raise RuntimeError(f"does not mount: {text.strip() or 'no output'}")

    def close(self):
        if self not in Mount.live:
            return
        Mount.live.remove(self)
        for option in ([], [], [], ["-l"]):
            try:
                done = subprocess.run(["umount", *option, self.point], capture_output=True, timeout=15, check=False)
                if done.returncode == 0 or b"not mounted" in done.stderr:
                    break
            except subprocess.TimeoutExpired:
                pass
            time.sleep(0.1)
        if self.process:
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()  # the one that was started above
                self.process.wait(10)
        for place in self.places:
            shutil.rmtree(place, ignore_errors=True)

    def __exit__(self, *_):
        self.close()


def prove(peer, source, name):
    """Mounts the peer, reads pages of source/name that its mount has not cached, and sees who served them.

    Sets peer.seen. Returns None, or why the peer must be left out: it does not mount, or is served otherwise than
    peers.conf says (libfuse without io_uring, for one, serves /dev/fuse and says nothing).
    """
    if peer.native():
        peer.seen = "none"
        return None
    try:
        with Mount(peer, source) as mount:
            mine = f"connection == {mount.connection}"
            wanted = [events.Event(REQUEST, None, mine), events.Event(REQUEST, None, f"{mine} && opcode == {FUSE_READ}"),
                      events.Event(COMMAND, mount.pid, f"opcode == {URING_CMD}")]
            if events.unavailable([REQUEST, COMMAND]):
                return None
            fd = os.open(os.path.join(mount.point, name), os.O_RDONLY)
            try:
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
                pages = random.Random(1).sample(range(os.fstat(fd).st_size // 4096), PROOF_READS)
                with events.Counter(wanted) as counter:
                    for page in pages:
                        os.pread(fd, 4096, page * 4096)
                    for _ in range(20):
                        os.statvfs(mount.point)  # a request of each, whatever serves the data
            finally:
                os.close(fd)
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        return str(error)
    requests, reads, commands = counter.counts
    seen = "uring" if commands >= 0.9 * requests > 0 else "dev" if commands == 0 else f"{commands} of {requests} by uring"
    if reads < PROOF_READS // 2:
        seen += ", kernel"
    peer.seen = seen
    good = {"dev": ("dev",), "uring": ("uring",), "auto": ("dev", "uring"), "kernel": ("dev, kernel", "uring, kernel")}
    if seen not in good[peer.transport]:
        return f"is served by {seen} ({requests} requests, {reads} reads, {commands} ring commands), not by {peer.transport}"
    return None
