"""One QEMU machine: its command line, its start, what the guest says, its end."""
import contextlib
import glob
import os
import re
import secrets
import shutil
import signal
import subprocess
import time

MIB = 1 << 20
MARK_SIZE = 4 * MIB
TROUBLE = re.compile(r"Kernel panic|BUG:|Oops|general protection fault|WARNING: |blocked for more than|rcu.*stall")
BOOT_TRIES = 6
PANIC_TRIES = 3  # of them, of a kernel that panics before its first program: TCG runs its patching of its own text badly now and then


class LabError(Exception):
    """The lab could not do its work (this is no verdict about the script)."""


class Ended:
    """how a machine ended: kind is exit (status is the script's), boot, hang, died"""

    def __init__(self, kind, status, up_s, all_s):
        self.kind, self.status, self.up_s, self.all_s = kind, status, up_s, all_s


def write_partitions(path, size):
    """an MBR with the filesystem's partition from 1 MiB on and the marker's partition at the end"""
    start, mark = MIB, size - MARK_SIZE
    table = bytearray(512)
    for n, (begin, end) in enumerate(((start, mark), (mark, size))):
        entry = b"\0\xfe\xff\xff\x83\xfe\xff\xff" + (begin // 512).to_bytes(4, "little") + ((end - begin) // 512).to_bytes(4, "little")
        table[446 + 16 * n:462 + 16 * n] = entry
    table[510:] = b"\x55\xaa"
    with open(path, "r+b") as disk:
        disk.write(table)
    return start, mark - start


def make_disk(path, size, filesystem, partition, mkfs_options):
    """a sparse image with the filesystem on it, whole or in the first partition"""
    with open(path, "wb") as disk:
        disk.truncate(size)
    start, length = write_partitions(path, size) if partition else (0, size)
    if filesystem == "none":
        return
    target = f"{path}.fs" if partition else path
    with open(target, "ab") as image:
        image.truncate(length)
    tool = {"ext4": ["mkfs.ext4", "-q", "-F"], "xfs": ["mkfs.xfs", "-q", "-f"], "btrfs": ["mkfs.btrfs", "-q", "-f"]}[filesystem]
    done = subprocess.run([*tool, *mkfs_options, target], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise LabError(f"{tool[0]}: {done.stderr.strip() or done.stdout.strip()}")
    if partition:
        subprocess.run(["dd", f"if={target}", f"of={path}", "bs=1M", f"seek={start // MIB}", "conv=sparse,notrunc", "status=none"],
                       check=True)
        os.unlink(target)


def drive(options, disk, work):
    """QEMU's block graph below the namespace: file, then the log of all writes, then injected errors"""
    # the host's own flushes are left out: a power cut of the guest does not lose what QEMU has written
    node = {"driver": "raw", "node-name": "disk", "file.driver": "file", "file.filename": disk, "file.cache.no-flush": "on",
            "file.locking": "off"}
    words = ["-device", "pcie-root-port,id=hotport,slot=1"] if options.bus else []
    words += ["-blockdev", ",".join(f"{k}={v}" for k, v in node.items())]
    top = "disk"
    if options.log:
        with open(options.log, "wb"):
            pass
        words += ["-blockdev", f"driver=blklogwrites,node-name=logged,file={top},log.driver=file,log.filename={options.log},"
                               "log.cache.no-flush=on,log.locking=off,log-sector-size=512"]
        top = "logged"
    if options.blkdebug:
        words += ["-blockdev", f"driver=blkdebug,node-name=faulty,image={top},config={options.blkdebug}"]
        # its rules hear of what a node above does with it: "flush_to_disk", "write_aio"
        words += ["-blockdev", "driver=raw,node-name=above,file=faulty"]
        top = "above"
    if options.multipath:
        words += ["-device", "nvme-subsys,id=subsystem,nqn=uringfs"]
        for name in ("nvme", "other"):
            words += ["-device", f"nvme,id={name},serial=uringfs,subsys=subsystem"]
        words += ["-device", f"nvme-ns,drive={top},nsid=1,shared=on,bus=nvme,write-cache={options.write_cache}"]
    else:
        words += ["-device", f"nvme,id=nvme,serial=uringfs,drive={top},write-cache={options.write_cache}{options.bus}"]
    for number, size in enumerate(options.more):
        path = f"{work}/more{number}"
        with open(path, "wb") as file:
            file.truncate(size)
        words += ["-drive", f"file={path},if=none,id=more{number},format=raw,cache.no-flush=on", "-device", f"nvme,serial=more{number},drive=more{number}"]
    return words


def command_line(options, vmlinuz, initrd, disk, work):
    words = ["qemu-system-x86_64", "-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", str(options.cpus), "-m", options.memory,
             "-nodefaults", "-nographic", "-no-reboot", "-display", "none", "-serial", f"file:{work}/console", "-serial", f"file:{work}/output",
             "-kernel", vmlinuz, "-initrd", initrd,
             "-append", f"console=ttyS0 panic=-1 loglevel=5 mitigations=off nokaslr no_timer_check {options.append}".strip()]
    if disk:
        words += drive(options, disk, work)
    if options.trace:
        with open(f"{work}/trace-events", "w", encoding="utf-8") as out:
            out.write("\n".join(options.trace_event or ["pci_nvme_*"]) + "\n")
        words += ["-trace", f"events={work}/trace-events,file={options.trace}"]
    for more in options.qemu:
        words += more.split()
    return words


class Reader:
    """what the guest writes to ttyS1: passes on the script's output, finds the lab's own lines in it"""

    def __init__(self, path, token, results, out):
        self.path, self.mark, self.results, self.out = path, f"@vm {token} ".encode(), results, out
        self.offset, self.rest = 0, b""
        self.up, self.status, self.file = False, None, None

    def poll(self):
        try:
            with open(self.path, "rb") as file:
                file.seek(self.offset)
                data = file.read()
        except FileNotFoundError:
            return
        self.offset += len(data)
        self.rest += data
        while self.step():
            pass

    def give(self, data):
        if self.status is None and data:
            self.out.write(data)
            self.out.flush()

    def step(self):
        """take one piece of what has come; False when there is nothing complete"""
        if self.file:
            name, left = self.file
            piece, self.rest = self.rest[:left], self.rest[left:]
            with open(f"{self.results}/{name}", "ab") as out:
                out.write(piece)
            self.file = (name, left - len(piece)) if left > len(piece) else None
            return not self.file
        at = self.rest.find(self.mark)
        if at < 0:
            # the newline and a part of the mark may still be completed
            keep = len(self.mark) + 1
            if len(self.rest) > keep:
                self.give(self.rest[:-keep])
                self.rest = self.rest[-keep:]
            return False
        end = self.rest.find(b"\n", at)
        if end < 0:
            return False
        words = self.rest[at + len(self.mark):end].decode(errors="replace").split()
        before = self.rest[:at]
        self.give(before[:-1] if before.endswith(b"\n") and words[0] != "up" else before)
        self.rest = self.rest[end + 1:]
        self.take(words)
        return True

    def take(self, words):
        if words[0] == "up":
            self.up = True
        elif words[0] == "exit":
            self.status = int(words[1])
        elif words[0] == "file" and self.results:
            name = os.path.basename(words[1])
            with open(f"{self.results}/{name}", "wb"):
                pass
            self.file = (name, int(words[2])) if int(words[2]) else None


def text_of(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().replace("\r", "")
    except FileNotFoundError:
        return ""


def end_process(process):
    """QEMU closes its images on SIGTERM"""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        process.send_signal(sign)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            pass


def waited(pid):
    """seconds that a process has been ready to run and was not let: its thread that waited longest (proc(5), schedstat)"""
    longest = 0
    for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            with open(path, encoding="ascii") as file:
                longest = max(longest, int(file.read().split()[1]))
    return longest / 1e9


def run_once(words, work, token, options, out):
    """start QEMU once and wait for its end"""
    for file in ("console", "output"):
        if os.path.exists(f"{work}/{file}"):
            os.unlink(f"{work}/{file}")
    reader = Reader(f"{work}/output", token, options.results, out)
    begin, up_s, looked, lost, boot_lost = time.monotonic(), None, 0, 0, 0
    with open(f"{work}/qemu.log", "wb") as log:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        while True:
            gone = process.poll() is not None
            reader.poll()
            now = time.monotonic() - begin
            # a machine that is starved has not failed: its waiting does not count
            if now > looked + 1 and not gone:
                looked, lost = now, waited(process.pid)
                if up_s is None:
                    boot_lost = lost
            if reader.up and up_s is None:
                up_s = now
            if reader.status is not None:
                return Ended("exit", reader.status, up_s, now)
            if gone:
                return Ended("died" if up_s else "boot", process.returncode, up_s, now)
            if up_s is None and now - lost > options.boot_timeout:
                return Ended("boot", None, None, now)
            if up_s is not None and now - up_s - (lost - boot_lost) > options.timeout:
                return Ended("hang", None, up_s, now)
            time.sleep(0.02)
    finally:
        end_process(process)
        reader.poll()
        if not reader.file and reader.status is None:
            reader.give(reader.rest)


def run(options, vmlinuz, initrd, make, work, token, out, say):
    """boot until the guest is up (a boot that fails at the firmware is tried again on a new disk), run; how it ended"""
    failed = panics = 0
    while True:
        disk = make()
        words = command_line(options, vmlinuz, initrd, disk, work)
        ended = run_once(words, work, token, options, out)
        if ended.kind != "boot":
            return ended, failed
        console = text_of(f"{work}/console")
        errors = text_of(f"{work}/qemu.log").strip()
        panics += "Kernel panic" in console
        if ended.status not in (None, 0, -signal.SIGTERM) or panics >= PANIC_TRIES:
            raise LabError(f"the guest did not start (QEMU's status {ended.status}): {errors}\n{console[-3000:]}")
        failed += 1
        if failed >= BOOT_TRIES:
            raise LabError(f"{failed} boots failed, the last after {ended.all_s:.0f} s; console:\n{console[-3000:]}")
        say(f"boot {failed} failed ({'the machine ended' if ended.status is not None else 'no sign of the guest'} after "
            f"{ended.all_s:.0f} s), next try; end of the console: {console[-200:]!r}")


def new_token():
    return secrets.token_hex(8)


def remove(folder):
    shutil.rmtree(folder, ignore_errors=True)
