#!/usr/bin/env python3
"""check.py --fs FS --database sqlite|postgres --cuts N FOLDER - cuts the power at many moments of a recorded run of guest-load.

FOLDER holds disk.base, log and trace.gz as tests/vm/crash/cuts.py has them. After each cut the filesystem is mounted, the database recovers,
and every transaction that was acknowledged before the cut must be there, whole. Prints one line of JSON; what is lost goes to standard error.
"""
import argparse
import contextlib
import gzip
import json
import os
import random
import sqlite3
import sys

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, f"{os.path.dirname(HERE)}/crash")
sys.path.insert(1, HERE)
import blocklog  # noqa: E402
import cuts  # noqa: E402
import marks  # noqa: E402
import postgres  # noqa: E402

SQLITE_FILES = ("wal.db", "persist.db", "delete.db")


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
            lost += postgres.whole(name, rows, counter or 0, count)
        except sqlite3.DatabaseError as error:
            lost.append(f"{name}: {error}")
    return lost


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
                marks.take(acknowledged, pending.pop(0)[1])
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
                    lost = postgres.Server(f"{folder}/pg", options.work, "fsync=off").check(acknowledged)
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
