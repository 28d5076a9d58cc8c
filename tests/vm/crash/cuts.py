#!/usr/bin/env python3
"""cuts.py [OPTIONS] FOLDER - cuts the power at many moments of one recorded run, and looks for what was lost.

FOLDER holds disk.base (the disk before the run), log, trace.gz and model.*.gz. For each cut a disk is made of what would have survived
(and any subset of what may have), the filesystem is mounted on a loop device of this system, which recovers its journal, and
everything that was acknowledged before the cut is compared. Prints one line of JSON; lost things go to standard error.
"""
import argparse
import ctypes
import fcntl
import glob
import gzip
import json
import os
import random
import re
import struct
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import blocklog  # noqa: E402
import model  # noqa: E402

MIB = 1 << 20
MARK_SIZE = 4 * MIB
RECENT = 8  # folders that are looked at after every cut; of the older ones some, by chance
OLDER = 0.04
FSCK_EVERY = 40
BLKFLSBUF = 0x1261  # <linux/fs.h>
# <linux/loop.h>: struct loop_info64
LOOP_SET_STATUS64, LOOP_GET_STATUS64, LOOP_INFO_SIZE, LOOP_FLAGS_AT, LO_FLAGS_AUTOCLEAR = 0x4C04, 0x4C05, 232, 52, 4
libc = ctypes.CDLL(None, use_errno=True)


def mount(source, target, filesystem, options):
    if libc.mount(source.encode(), target.encode(), filesystem.encode(), 0, options.encode()):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def umount(target):
    for _ in range(200):
        if libc.umount2(target.encode(), 0) == 0:
            return
        time.sleep(0.01)
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number), target)


def copy_sparse(source, target, size):
    """target becomes source; only what is no hole is copied"""
    os.ftruncate(target, 0)
    os.ftruncate(target, size)
    at = 0
    while True:
        try:
            start = os.lseek(source, at, os.SEEK_DATA)
        except OSError:
            return
        end = os.lseek(source, start, os.SEEK_HOLE)
        at = start
        while at < end:
            piece = os.pread(source, min(end - at, 4 * MIB), at)
            os.pwrite(target, piece, at)
            at += len(piece)


def detach_with_last_use(fd):
    """the loop device goes when nobody has it open or mounted any more: also when this program is killed"""
    info = bytearray(LOOP_INFO_SIZE)
    fcntl.ioctl(fd, LOOP_GET_STATUS64, info)
    flags = struct.unpack_from("=I", info, LOOP_FLAGS_AT)[0]
    struct.pack_into("=I", info, LOOP_FLAGS_AT, flags | LO_FLAGS_AUTOCLEAR)
    fcntl.ioctl(fd, LOOP_SET_STATUS64, bytes(info))


class Disk:
    """the disk at a moment: `base` holds the writes that all survive; `scratch`, on a loop device, what a cut leaves"""

    def __init__(self, folder, work, history, start):
        self.history, self.next = history, 0
        self.log = os.open(f"{folder}/log", os.O_RDONLY)
        self.base = os.open(f"{work}/base", os.O_RDWR | os.O_CREAT, 0o600)
        source = os.open(f"{folder}/disk.base", os.O_RDONLY)
        self.size = os.fstat(source).st_size
        copy_sparse(source, self.base, self.size)
        os.close(source)
        self.scratch = os.open(f"{work}/scratch", os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(self.scratch, self.size)
        self.loop = subprocess.run(["losetup", "-f", "--show", "-o", str(start), "--sizelimit", str(self.size - MARK_SIZE - start),
                                    f"{work}/scratch"], check=True, capture_output=True, text=True).stdout.strip()
        self.loop_fd = os.open(self.loop, os.O_RDWR | os.O_CLOEXEC)
        detach_with_last_use(self.loop_fd)

    def close(self):
        os.close(self.loop_fd)

    def put(self, target, write):
        entry = write.entry
        length = entry.count * blocklog.SECTOR
        data = bytes(length) if entry.flags & blocklog.DISCARD else os.pread(self.log, length, entry.at)
        os.pwrite(target, data, entry.sector * blocklog.SECTOR)

    def candidates(self, cut):
        """advance `base`; the writes behind it that were given to the device before the cut"""
        writes = self.history.writes
        while self.next < len(writes) and writes[self.next].durable <= cut:
            self.put(self.base, writes[self.next])
            self.next += 1
        found = []
        for write in writes[self.next:]:
            if write.issued > cut:
                break
            found.append(write)
        return found

    def make(self, cut, keep):
        """scratch as the cut leaves it; keep(write) chooses among those that may be lost. Return how many were"""
        # nothing of the disk before stays in the loop device's own page cache, which lives on while loop_fd is open
        fcntl.ioctl(self.loop_fd, BLKFLSBUF)
        behind = self.candidates(cut)
        copy_sparse(self.base, self.scratch, self.size)
        lost = 0
        for write in behind:
            if write.durable <= cut or keep(write):
                self.put(self.scratch, write)
            else:
                lost += 1
        return lost


def markers(history, disk):
    """(moment, number) of each acknowledgement that was given to the disk"""
    first = (disk.size - MARK_SIZE) // blocklog.SECTOR
    found = []
    for write in history.writes:
        if write.entry.sector >= first:
            magic, number = struct.unpack("<II", os.pread(disk.log, 8, write.entry.at))
            if magic == model.MAGIC:
                found.append((write.issued, number))
    return found


def plan(history, marks, count, chance):
    """(moment, kind) in the order of time: behind acknowledgements, behind flushes, anywhere else"""
    begin = marks[0][0]
    after_marks = [(at, "strict") for at, _ in marks]
    after_flushes = [(done, "random") for issued, done in history.flushes if begin < done < blocklog.NEVER]
    anywhere = [(chance.randrange(begin, history.events), "random") for _ in range(count)]
    several = chance.sample(after_marks, min(len(after_marks), count * 6 // 10))
    several += chance.sample(after_flushes, min(len(after_flushes), count * 2 // 10))
    several += anywhere[:max(0, count - len(several))]
    return sorted(several)


def chooser(kind, chance):
    """what survives of what may be lost: nothing, some, all"""
    part = 0.0 if kind == "strict" else chance.choice([0.0, 0.2, 0.5, 0.8, 0.95, 1.0])
    return lambda write: chance.random() < part


def fsck(filesystem, loop):
    tool = {"ext4": ["e2fsck", "-fn"], "xfs": ["xfs_repair", "-n"], "btrfs": ["btrfs", "check", "--readonly"]}[filesystem]
    done = subprocess.run([*tool, loop], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return "" if done.returncode == 0 else f"{tool[0]} ends with {done.returncode}: {(done.stdout + done.stderr)[-500:]}"


class Run:
    def __init__(self, options):
        self.options, self.chance = options, random.Random(options.seed)
        self.model = model.Model()
        for file in sorted(glob.glob(f"{options.folder}/model.*.gz")):
            with gzip.open(file, "rt") as lines:
                self.model.read(lines)
        with open(f"{options.folder}/trace.gz", "rb") as file:
            trace = gzip.decompress(file.read()).decode().splitlines()
        self.history = blocklog.History(blocklog.read_log(f"{options.folder}/log"), trace)
        self.disk = Disk(options.folder, options.work, self.history, MIB)
        self.mnt = f"{options.work}/mnt"
        os.makedirs(self.mnt, exist_ok=True)
        self.marks = markers(self.history, self.disk)
        self.folders = sorted(self.model.folders.values(), key=lambda folder: folder.order)
        self.made = 0  # folders that exist so far
        self.result = {"cuts": 0, "lossy": 0, "lost": 0, "dropped": 0, "fsck": 0, "acks": len(self.marks), "writes": len(self.history.writes),
                       "flushes": len(self.history.flushes), "passthrough": self.history.passthrough,
                       "fua": sum(w.fua for w in self.history.writes), "kinds": {}}

    def advance(self, cut):
        while self.marks and self.marks[0][0] <= cut:
            number = self.marks.pop(0)[1]
            if number not in self.model.acks:
                raise blocklog.LogError(f"marker {number} is not in the model")
            self.model.acknowledge(number)
        while self.made < len(self.folders) and self.folders[self.made].there:
            self.made += 1

    def looked_at(self):
        edge = self.made - RECENT
        return [f for f in self.folders[:self.made + 1] if f.order >= edge or self.chance.random() < OLDER]

    def one(self, cut, kind):
        self.advance(cut)
        self.result["dropped"] += self.disk.make(cut, chooser(kind, self.chance))
        self.result["cuts"] += 1
        lost = []
        try:
            mount(self.disk.loop, self.mnt, self.options.fs, self.options.mount)
        except OSError as error:
            lost.append(f"cannot be mounted: {error}")
        else:
            for folder in self.looked_at():
                lost += self.model.check_folder(folder, f"{self.mnt}/src")
            umount(self.mnt)
            if self.result["cuts"] % self.options.fsck_every == 0:
                self.result["fsck"] += 1
                wrong = fsck(self.options.fs, self.disk.loop)
                if wrong:
                    lost.append(wrong)
        if lost:
            self.tell(cut, kind, lost)

    def tell(self, cut, kind, lost):
        self.result["lossy"] += 1
        self.result["lost"] += len(lost)
        for line in lost:
            word = re.sub(r"/[^/]*$", "", line.split(":")[0])
            self.result["kinds"][word] = self.result["kinds"].get(word, 0) + 1
        if self.result["lossy"] <= self.options.show:
            for line in lost[:6]:
                print(f"cut at event {cut} ({kind}): {line}", file=sys.stderr)

    def all(self):
        end = time.monotonic() + self.options.seconds
        cuts = plan(self.history, self.marks, self.options.cuts, self.chance)
        if self.options.cut:
            cuts = [(self.options.cut, "strict")]
        try:
            for cut, kind in cuts:
                if time.monotonic() > end:
                    self.result["out_of_time"] = True
                    break
                self.one(cut, kind)
        finally:
            self.disk.close()
        return self.result


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--fs", required=True)
    p.add_argument("--mount", default="")
    p.add_argument("--cuts", type=int, default=200)
    p.add_argument("--cut", type=int, help="this one only")
    p.add_argument("--seconds", type=float, default=1e9)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--show", type=int, default=5)
    p.add_argument("--fsck-every", type=int, default=FSCK_EVERY)
    p.add_argument("--work", required=True)
    p.add_argument("folder")
    result = Run(p.parse_args()).all()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
