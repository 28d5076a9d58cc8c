"""Acknowledgements inside the block log: one sector with a number, written past all caches to the marker partition of the disk.

Imported by the loads in the guest. The number says whose acknowledgement it is: client << 24 | count.
"""
import mmap
import os
import struct
import threading

MAGIC = 0x75726673  # as tests/vm/crash/model.py has it
SECTORS = 8192      # 4 MiB
CLIENT_SHIFT = 24


class Marks:
    def __init__(self, device):
        self.fd = os.open(device, os.O_WRONLY | os.O_DIRECT)
        self.buffer = mmap.mmap(-1, 4096)
        self.lock = threading.Lock()
        self.place = 0

    def acknowledge(self, client, count):
        """Everything up to `count` of this client has been reported as committed."""
        with self.lock:
            self.buffer[:8] = struct.pack("<II", MAGIC, client << CLIENT_SHIFT | count)
            os.pwritev(self.fd, [memoryview(self.buffer)[:512]], self.place % SECTORS * 512)
            self.place += 1
