"""What crash_work did and what was acknowledged: says of a recovered filesystem what is lost. See ops.c for the lines.

For every cell (512 bytes), every size and every name the history of its values is kept. An acknowledgement covers the operations that had
ended when its sync began; what may be found after a power cut is the value of the last covered operation, or one of a later one.
"""
import bisect
import os
import struct

CELL = 512
WORD = struct.Struct("<IIII")
MAGIC = 0x75726673
ZERO = bytes(CELL)


class Series:
    """values over time: `ends` are the numbers at which the operations had ended"""
    __slots__ = ("ends", "values", "acked")

    def __init__(self, first):
        self.ends, self.values, self.acked = [-1], [first], 0

    def add(self, end, value):
        self.ends.append(end)
        self.values.append(value)

    def cover(self, sync):
        """all that ended before `sync` is acknowledged"""
        self.acked = max(self.acked, bisect.bisect_left(self.ends, sync) - 1)

    def allowed(self):
        return self.values[self.acked:]


class File:
    def __init__(self, number):
        self.number = number
        self.cells = {}
        self.size = Series(0)
        self.torn = {}  # cell: last end of a store through a mapping
        self.time = 0  # the earliest time of the last write that may be found, in nanoseconds
        self.all_seen = 0  # the last sync of everything that was applied here
        self.state = 0  # changes with each acknowledgement
        self.good = {}  # contents that were found good in that state

    def cell(self, n):
        if n not in self.cells:
            self.cells[n] = Series(ZERO)
        return self.cells[n]

    def write(self, end, first, count, version, mapped):
        for n in range(first, first + count):
            self.cell(n).add(end, WORD.pack(self.number, n, version, MAGIC) * (CELL // WORD.size))
            if mapped:
                self.torn[n] = end
        if first + count > self.size.values[-1]:
            self.size.add(end, first + count)

    def zero(self, end, first, count):
        for n in range(first, first + count):
            self.cell(n).add(end, ZERO)

    def truncate(self, end, size):
        for n, series in self.cells.items():
            if n >= size:
                series.add(end, ZERO)
        self.size.add(end, size)

    def copy(self, end, source, count):
        for n in range(count):
            self.cell(n).add(end, source.cell(n).values[-1])
        if count > self.size.values[-1]:
            self.size.add(end, count)

    def cover(self, sync, first=None, count=None):
        self.state += 1
        if first is None:
            for series in self.cells.values():
                series.cover(sync)
            self.size.cover(sync)
            return
        for n in range(first, first + count):
            self.cell(n).cover(sync)
        # a write that is durable can be read: the size reaches its end, whatever came before that is not promised
        at = bisect.bisect_left(self.size.ends, sync) - 1
        if self.size.values[at] >= first + count > min(self.size.allowed()):
            self.size.acked = max(self.size.acked, self.first_reaching(at, first + count))

    def first_reaching(self, at, size):
        """the first of the last values up to `at` that reach `size` without one below in between"""
        while at > 0 and self.size.values[at - 1] >= size:
            at -= 1
        return at

    def lost(self, data):
        """None, or what is wrong with these contents"""
        if self.good.get("state") == self.state and self.good.get("data") == data:
            return None
        sizes = self.size.allowed()
        size = len(data) // CELL
        if len(data) % CELL or not min(sizes) <= size <= max(sizes):
            return f"size {len(data)}, allowed {min(sizes) * CELL} to {max(sizes) * CELL}"
        for n in range(size):
            cell = data[n * CELL:(n + 1) * CELL]
            series = self.cells.get(n)
            if cell == (series.values[series.acked] if series else ZERO):
                continue
            if series and (cell in series.allowed() or self.may_be_torn(n, series)):
                continue
            return f"cell {n}: {describe(cell)}, allowed {', '.join(describe(v) for v in (series.allowed() if series else [ZERO])[:4])}"
        self.good = {"state": self.state, "data": data}
        return None

    def older(self, time):
        """None, or that the time of the last write is older than was acknowledged"""
        return f"time of the last write {(self.time - time) / 1e9:.9f} s too old" if time < self.time else None

    def may_be_torn(self, n, series):
        """a page may be written back while a store through a mapping goes on"""
        return self.torn.get(n, -1) > series.ends[series.acked]


def describe(cell):
    if cell == ZERO:
        return "zeros"
    number, n, version, magic = WORD.unpack(cell[:WORD.size])
    if magic != MAGIC:
        return f"garbage {cell[:8].hex()}"
    return f"file {number} cell {n} version {version}{'' if cell == cell[:WORD.size] * (CELL // WORD.size) else ' torn'}"


class Folder:
    def __init__(self, number, path, order):
        self.number, self.path, self.order = number, path, order
        self.there = False  # acknowledged
        self.names = {}
        self.files = []


class Model:
    """all phases of one run; `acknowledge(marker)` moves time on, `check(top)` compares"""

    def __init__(self):
        self.folders, self.files, self.acks = {}, {}, {}
        self.all_synced = 0  # the last sync of everything; applied to a file or name when it is looked at

    def read(self, lines):
        """lines are not in the order of time: several threads write them; each takes effect in the order of its first number"""
        parsed = []
        for line in lines:
            words = line.split()
            kind, rest = words[0], words[1:]
            if kind == "D":
                number = int(rest[0])
                self.folders[number] = Folder(number, "/".join(rest[1].split("/")[-2:]), len(self.folders))
            elif kind == "N":
                parsed.append((int(rest[0]), kind, [int(rest[1]), int(rest[2]), rest[3], int(rest[4])]))
            elif kind in "ABSER":
                numbers = [int(word) for word in rest]
                marker = numbers[0] if kind == "E" else numbers[1]
                self.acks[marker] = (kind, numbers)
            else:
                numbers = [int(word) for word in rest]
                parsed.append((numbers[0], kind, numbers[1:]))
        for begin, kind, rest in sorted(parsed, key=lambda p: p[0]):
            self.apply(begin, kind, rest)

    def apply(self, begin, kind, rest):
        end = rest[0]
        if kind == "N":
            folder = self.folders[rest[1]]
            folder.names.setdefault(rest[2], Series(0)).add(end, rest[3])
            if rest[3] and rest[3] not in self.files:
                self.files[rest[3]] = File(rest[3])
                folder.files.append(rest[3])
            return
        file = self.files[rest[1]]
        if kind in "WM":
            file.write(end, rest[2], rest[3], begin, kind == "M")
        elif kind == "T":
            file.truncate(end, rest[2])
        elif kind == "Z":
            file.zero(end, rest[2], rest[3])
        elif kind == "C":
            file.copy(end, self.files[rest[2]], rest[3])
        else:
            raise ValueError(f"line of the model: {kind} {rest}")

    def acknowledge(self, marker):
        """the marker is on its way to the disk: what it stands for was answered. Return the folder's order, or None"""
        kind, numbers = self.acks[marker]
        if kind == "E":
            self.folders[numbers[1]].there = True
        elif kind == "A":
            file = self.files[numbers[2]]
            file.cover(numbers[0])
            file.time = max(file.time, numbers[3])
        elif kind == "R":
            self.files[numbers[2]].cover(numbers[0], numbers[3], numbers[4])
        elif kind == "B":
            for series in self.folders[numbers[2]].names.values():
                series.cover(numbers[0])
        elif kind == "S":
            self.all_synced = max(self.all_synced, numbers[0])

    def catch_up(self, folder):
        for number in folder.files:
            file = self.files[number]
            if file.all_seen < self.all_synced:
                file.all_seen = self.all_synced
                file.cover(self.all_synced)
        for series in folder.names.values():
            series.cover(self.all_synced)

    def check_folder(self, folder, top):
        """what is lost in one folder of the recovered tree"""
        path = f"{top}/{folder.path}"
        lost = []
        self.catch_up(folder)
        if not os.path.isdir(path):
            return [f"{folder.path}: the folder is gone"] if folder.there else []
        for name, series in folder.names.items():
            allowed = series.allowed()
            try:
                with open(f"{path}/{name}", "rb") as file:
                    data = file.read()
                    time = os.fstat(file.fileno()).st_mtime_ns
            except FileNotFoundError:
                if 0 not in allowed:
                    lost.append(f"{folder.path}/{name}: the name is gone (file {allowed[0]})")
                continue
            except OSError as error:
                lost.append(f"{folder.path}/{name}: {error}")
                continue
            wrong = [self.files[number].lost(data) or self.files[number].older(time) for number in set(allowed) if number]
            if not wrong:
                lost.append(f"{folder.path}/{name}: it was removed")
            elif None not in wrong:
                lost.append(f"{folder.path}/{name}: {wrong[0]}")
        return lost
