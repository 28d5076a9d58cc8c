"""Acknowledgements of a load: a number for each, client << 24 | count. Imported by the loads, in a guest and on this system.

On a device (the marker partition of the guest's disk) each is a sector written past all caches, so that its place in the block log is exact;
in a file, which outlives the mount, eight bytes at its end.
"""
import mmap
import os
import stat
import struct
import threading

MAGIC = 0x75726673  # as tests/vm/crash/model.py has it
SECTORS = 8192      # 4 MiB
CLIENT_SHIFT = 24
EACH = 4
WORD = struct.Struct("<II")


class Marks:
    """goal: so many acknowledgements end a load, of which each client has at least EACH; 0: it ends otherwise"""

    def __init__(self, path, goal=0, clients=0):
        self.goal, self.missing, self.left = goal, goal, dict.fromkeys(range(clients), EACH)
        self.device = os.path.exists(path) and stat.S_ISBLK(os.stat(path).st_mode)
        self.fd = os.open(path, os.O_WRONLY | (os.O_DIRECT if self.device else os.O_APPEND | os.O_CREAT), 0o600)
        self.buffer = mmap.mmap(-1, 4096)
        self.lock = threading.Lock()
        self.place = 0

    def acknowledge(self, client, count):
        """Everything up to `count` of this client has been reported as committed."""
        with self.lock:
            self.buffer[:WORD.size] = WORD.pack(MAGIC, client << CLIENT_SHIFT | count)
            if self.device:
                os.pwritev(self.fd, [memoryview(self.buffer)[:512]], self.place % SECTORS * 512)
            else:
                os.write(self.fd, self.buffer[:WORD.size])
            self.place += 1
            self.missing -= 1
            self.left[client] = self.left.get(client, 0) - 1

    def reached(self):
        with self.lock:
            return self.goal > 0 and self.missing <= 0 and max(self.left.values(), default=0) <= 0

    def verdict(self):
        """None, or that the load was too short"""
        if self.goal == 0 or self.reached():
            return None
        return f"the time is over: {self.goal - self.missing} of {self.goal} transactions, each client's missing ones: {self.left}"


def take(acknowledged, number):
    """acknowledged: {client: last count}"""
    client, count = number >> CLIENT_SHIFT, number & ((1 << CLIENT_SHIFT) - 1)
    acknowledged[client] = max(count, acknowledged.get(client, 0))


def read(path):
    """what a file of acknowledgements says"""
    found = {}
    with open(path, "rb") as file:
        for _, number in WORD.iter_unpack(file.read()):
            take(found, number)
    return found
