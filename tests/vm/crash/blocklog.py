"""What reached the disk, and when: QEMU's log of all writes (dm-log-writes format) joined with the guest kernel's block trace.

The log has the data. The trace has what the log lacks: when a command was given to the device and when it was answered, and
which writes carried FUA (QEMU's NVMe drops that bit before the log). A write survives a power cut when it was answered before
the cut and either had FUA, or a flush that was given to the device after that answer was itself answered before the cut.
Everything else that was given to the device may be there or not.
"""
import re
import struct

SECTOR = 512
MAGIC = 0x6a736677736872
FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8


class LogError(Exception):
    """The log or the trace is not what it must be."""


class Entry:
    """one entry of the log: a write of `count` sectors at `sector`, whose data lies at `at` in the file; or a discard, or a flush"""
    __slots__ = ("sector", "count", "flags", "at")

    def __init__(self, sector, count, flags, at):
        self.sector, self.count, self.flags, self.at = sector, count, flags, at


def read_log(path):
    entries = []
    with open(path, "rb") as file:
        magic, _, count, unit = struct.unpack("<QQQI", file.read(28))
        if magic != MAGIC:
            raise LogError(f"{path}: no log of writes")
        at, end = unit, file.seek(0, 2)
        # the number of entries is written now and then only: entries may follow; zeros end the log
        while at + 32 <= end:
            file.seek(at)
            sector, sectors, flags, length = struct.unpack("<QQQQ", file.read(32))
            if len(entries) >= count and (sector, sectors, flags, length) == (0, 0, 0, 0):
                break
            data = at + unit
            # lengths in the log are in units of its sector size
            entries.append(Entry(sector * unit // SECTOR, sectors * unit // SECTOR, flags, data))
            at = data + (0 if flags & DISCARD else sectors * unit)
        if len(entries) < count:
            raise LogError(f"{path}: {count} entries said, {len(entries)} found")
    return entries


class Write:
    """a write command: its data, when it was given to the device (issued) and answered, and from when on it is durable"""
    __slots__ = ("entry", "issued", "done", "fua", "durable")

    def __init__(self, issued, fua):
        self.entry, self.issued, self.done, self.fua, self.durable = None, issued, None, fua, None


TRACE = re.compile(r"^([IC]) ([A-Z]+) (\d+) (\d+) (\d+)$")
FUA_WRITE = re.compile(r"^F?WF")
NEVER = 1 << 60


class History:
    """writes in the order in which they were given to the device; `events` is the number of events: a cut is after one of them"""

    def __init__(self, entries, trace):
        self.writes, self.flushes, self.passthrough = [], [], 0
        self.events = 0
        open_writes, open_flushes = {}, []
        for line in trace:
            found = TRACE.match(line)
            if not found:
                raise LogError(f"line of the trace: {line!r}")
            self.events += 1
            now = self.events
            kind, op, sector, count = found[1], found[2], int(found[3]), int(found[4])
            is_flush = count == 0 and (op.startswith("F") or op.startswith("N"))
            if op.startswith("R") or (not is_flush and count == 0):
                continue
            if is_flush and kind == "I":
                self.flushes.append([now, NEVER])
                open_flushes.append((op[0], found[5], self.flushes[-1]))
                self.passthrough += op.startswith("N")
            elif is_flush:
                open_flushes.remove(answered := self.answered(open_flushes, op[0], found[5]))
                answered[2][1] = now
            elif kind == "I":
                write = Write(now, bool(FUA_WRITE.match(op)))
                self.writes.append(write)
                open_writes.setdefault((sector, count), []).append(write)
            else:
                if not open_writes.get((sector, count)):
                    if FUA_WRITE.match(op):
                        continue  # told twice by the kernel: the device's answer, and the end of its sequence of flush and write
                    raise LogError(f"a write was answered that was not given to the device: {line}")
                open_writes[(sector, count)].pop(0).done = now
        self.join(entries, trace)
        self.find_durable()

    @staticmethod
    def answered(open_flushes, kind, processor):
        """which of the flushes in flight this answer is for: each processor has its queue and gets its answers; of several there the
        oldest, which calls the fewest writes durable"""
        same = [flush for flush in open_flushes if flush[0] == kind]
        if not same:
            raise LogError("a flush was answered that was not given to the device")
        return next((flush for flush in same if flush[1] == processor), same[0])

    def join(self, entries, trace):
        """the n-th write of a place in the trace is the n-th write of that place in the log"""
        places = {}
        for entry in entries:
            if entry.count:
                places.setdefault((entry.sector, entry.count), []).append(entry)
        ordered = [line.split() for line in trace]
        issued = [(int(w[2]), int(w[3])) for w in ordered if w[0] == "I" and not w[1].startswith("R") and int(w[3])]
        for write, place in zip(self.writes, issued):
            if places.get(place):
                write.entry = places[place].pop(0)
            elif write.done:
                raise LogError(f"the write of {place[1]} sectors at {place[0]} is in the trace and not in the log")
        self.writes = [write for write in self.writes if write.entry]
        last = max(write.entry.at for write in self.writes)
        left = [entry for found in places.values() for entry in found if entry.at < last]
        if left:  # later ones came when the trace had ended
            raise LogError(f"{len(left)} writes of the log are not in the trace")
        # QEMU's block layer leaves out a flush behind which nothing was written since the last one
        flushes = sum(1 for entry in entries if entry.flags & FLUSH and not entry.count and entry.at < last)
        if flushes > len(self.flushes) or (self.flushes and not flushes):
            raise LogError(f"{flushes} flushes in the log, {len(self.flushes)} in the trace")

    def find_durable(self):
        """the first moment at which each write would survive"""
        best = NEVER
        after = []  # (given to the device, earliest answer of this and all later flushes)
        for issued, done in reversed(self.flushes):
            best = min(best, done)
            after.append((issued, best))
        after.reverse()
        for write in self.writes:
            write.durable = NEVER
            if write.done is None:
                continue
            low, high = 0, len(after)
            while low < high:
                middle = (low + high) // 2
                if after[middle][0] > write.done:
                    high = middle
                else:
                    low = middle + 1
            if low < len(after):
                write.durable = after[low][1]
            if write.fua:
                write.durable = min(write.durable, write.done)
