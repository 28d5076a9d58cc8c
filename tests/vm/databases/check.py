#!/usr/bin/env python3
"""check.py --fs FS --database sqlite|postgres --cuts N FOLDER - cuts the power at many moments of a recorded run of guest-load.

FOLDER holds disk.base, log and trace.gz as tests/vm/crash/cuts.py has them. After each cut the filesystem is mounted, the database recovers,
and every transaction that was acknowledged before the cut must be there, whole. Prints one line of JSON; what is lost goes to standard error.
"""
import argparse
import contextlib
import glob
import gzip
import json
import os
import random
import sqlite3
import subprocess
import sys
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, f"{os.path.dirname(HERE)}/crash")
sys.path.insert(1, HERE)
import blocklog  # noqa: E402
import cuts  # noqa: E402
import marks  # noqa: E402

SQLITE_FILES = ("wal.db", "persist.db", "delete.db")


def whole(name, rows, counter, acknowledged):
    """rows: the numbers found, sorted. What is wrong with them"""
    found = len(rows)
    if rows != list(range(1, found + 1)):
        return [f"{name}: rows are missing in between"]
    if counter != found:
        return [f"{name}: counter {counter} and {found} rows: a torn transaction"]
    if found < acknowledged:
        return [f"{name}: {acknowledged - found} of {acknowledged} acknowledged transactions are lost"]
    return []


def check_sqlite(folder, acknowledged):
    lost = []
    for client, name in enumerate(SQLITE_FILES):
        count = acknowledged.get(client, 0)
        path = f"{folder}/{name}"
        try:
            if not os.path.exists(path):
                lost += [f"{name}: no such file after {count} acknowledged transactions"] if count else []
                continue
            with contextlib.closing(sqlite3.connect(path)) as db:
                tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master")}
                verdict = db.execute("PRAGMA integrity_check").fetchone()[0]
                rows = [row[0] for row in db.execute("SELECT n FROM row ORDER BY n")] if "row" in tables else []
                counter = db.execute("SELECT max(n) FROM counter").fetchone()[0] if "counter" in tables else 0
            if verdict != "ok":
                lost.append(f"{name}: integrity_check: {verdict[:200]}")
            lost += whole(name, rows, counter or 0, count)
        except sqlite3.DatabaseError as error:
            lost.append(f"{name}: {error}")
    return lost


class Postgres:
    """a server of this system on the recovered cluster"""

    def __init__(self, folder, work):
        self.bin = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]
        self.folder, self.work = f"{folder}/pg", work
        self.log = open(f"{work}/postgres.log", "w+")
        os.chmod(work, 0o777)

    def as_user(self, *words, **more):
        return subprocess.run(["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups", *words], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, **more)

    def query(self, text):
        done = self.as_user(f"{self.bin}/psql", "-h", self.work, "-U", "postgres", "-d", "postgres", "-qAtXc", text)
        if done.returncode:
            raise RuntimeError(done.stderr.strip()[:300])
        return done.stdout.split()

    def check(self, acknowledged):
        server = subprocess.Popen(["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups", f"{self.bin}/postgres", "-D", self.folder,
                                   "-c", "fsync=off", "-c", f"unix_socket_directories={self.work}"],
                                  stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT)
        try:
            end = time.monotonic() + 60
            while True:
                try:
                    self.query("SELECT 1")
                    break
                except RuntimeError as error:
                    if server.poll() is not None or time.monotonic() > end:
                        self.log.seek(0)
                        return [f"postgres does not recover: {error}: {self.log.read()[-400:]}"]
                    time.sleep(0.1)
            lost = []
            for client in range(4):
                rows = [int(n) for n in self.query(f"SELECT n FROM row WHERE client = {client} ORDER BY n")]
                counter = int(self.query(f"SELECT n FROM counter WHERE client = {client}")[0])
                lost += whole(f"client {client}", rows, counter, acknowledged.get(client, 0))
            return lost
        finally:
            server.send_signal(3)  # SIGQUIT: at once
            server.wait()
            self.log.close()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--fs", required=True)
    p.add_argument("--database", required=True, choices=["sqlite", "postgres"])
    p.add_argument("--cuts", type=int, default=20)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--work", required=True)
    p.add_argument("folder")
    options = p.parse_args()
    chance = random.Random(options.seed)
    with open(f"{options.folder}/trace.gz", "rb") as file:
        trace = gzip.decompress(file.read()).decode().splitlines()
    history = blocklog.History(blocklog.read_log(f"{options.folder}/log"), trace)
    disk = cuts.Disk(options.folder, options.work, history, cuts.MIB)
    pending = cuts.markers(history, disk)
    mnt = f"{options.work}/mnt"
    os.makedirs(mnt, exist_ok=True)
    result = {"cuts": 0, "lossy": 0, "transactions": len(pending), "dropped": 0}
    acknowledged = {}
    try:
        for cut, kind in cuts.plan(history, pending, options.cuts, chance):
            while pending and pending[0][0] <= cut:
                number = pending.pop(0)[1]
                client, count = number >> marks.CLIENT_SHIFT, number & ((1 << marks.CLIENT_SHIFT) - 1)
                acknowledged[client] = max(count, acknowledged.get(client, 0))
            result["dropped"] += disk.make(cut, cuts.chooser(kind, chance))
            result["cuts"] += 1
            try:
                cuts.mount(disk.loop, mnt, options.fs, "")
            except OSError as error:
                lost = [f"cannot be mounted: {error}"]
            else:
                folder = f"{mnt}/src"
                if options.database == "sqlite":
                    lost = check_sqlite(folder, acknowledged)
                else:
                    lost = Postgres(folder, options.work).check(acknowledged)
                cuts.umount(mnt)
            result["lossy"] += bool(lost)
            for line in lost[:3] if result["lossy"] <= 5 else []:
                print(f"cut at event {cut} ({kind}): {line}", file=sys.stderr)
    finally:
        disk.close()
    print(json.dumps(result))
    return 1 if result["lossy"] else 0


if __name__ == "__main__":
    sys.exit(main())
