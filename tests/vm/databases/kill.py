#!/usr/bin/env python3
"""kill.py sqlite|postgres SOURCE MOUNT ROUNDS OPTIONS - the daemon is killed again and again while a database on its mount is under load.

After each kill the mount is made anew, the database recovers there, and every transaction that was reported as committed must be there, whole;
at the end in SOURCE itself, too. PostgreSQL: SOURCE/pg is its cluster, made where there is none. Run by guest-kill in the lab and by tests/fault/databases on this system.
"""
import os
import random
import signal
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, HERE)
import check  # noqa: E402
import marks  # noqa: E402
import postgres  # noqa: E402

LOAD_SECONDS = 900  # the load ends by the kill


class Run:
    def __init__(self, database, source, mount, options):
        self.database, self.source, self.mount, self.options = database, source, mount, options
        self.work = tempfile.mkdtemp(prefix="uringfs-kill.")
        self.acks = f"{self.work}/acks"
        self.chance = random.Random(1)
        with open(self.acks, "wb"):
            pass

    def start_daemon(self):
        words = [os.environ.get("URINGFS", "uringfs"), self.source, self.mount, "-f", "-o", f"allow_other,{self.options}"]
        with open(f"{self.work}/uringfs.log", "ab") as log:
            daemon = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        for _ in range(600):
            if os.path.ismount(self.mount):
                return daemon
            if daemon.poll() is not None:
                break
            time.sleep(0.1)
        daemon.kill()
        sys.exit(f"no mount: {open(f'{self.work}/uringfs.log').read()[-400:]}")

    def server(self, folder):
        return postgres.Server(f"{folder}/pg", self.work) if self.database == "postgres" else None

    def verify(self, folder, server):
        acknowledged = marks.read(self.acks)
        if server:
            return server.verify(acknowledged)
        return check.check_sqlite(folder, acknowledged)

    def load(self):
        words = [f"{HERE}/load-sqlite", self.mount, self.acks, "0", str(LOAD_SECONDS)]
        if self.database == "postgres":
            words = [f"{HERE}/load-postgres", self.work, self.acks, "0", str(LOAD_SECONDS), str(postgres.CLIENTS)]
        with open(f"{self.work}/load.log", "w", encoding="utf-8") as log:
            return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def kill_under_load(self, daemon):
        """at some moment after some transactions"""
        before, load = os.path.getsize(self.acks), self.load()
        end = time.monotonic() + 400
        while os.path.getsize(self.acks) < before + 16 * marks.WORD.size:
            if load.poll() is not None or time.monotonic() > end:
                sys.exit(f"the load does not get on: {open(f'{self.work}/load.log').read()[-400:]}")
            time.sleep(0.01)
        time.sleep(self.chance.random() * 1.5)
        daemon.send_signal(signal.SIGKILL)
        daemon.wait()
        load.wait(300)

    def round(self):
        """what is lost"""
        daemon = self.start_daemon()
        server = self.server(self.mount)
        try:
            if server:
                server.start()
                server.query(postgres.TABLES)
            lost = self.verify(self.mount, server)
            self.kill_under_load(daemon)
            return lost
        except RuntimeError as error:
            return [str(error)]
        finally:
            daemon.kill()
            if server:
                server.stop()
            subprocess.run(["umount", "-l", self.mount], check=False)

    def end(self):
        """in SOURCE itself"""
        server = self.server(self.source)
        try:
            if server:
                server.start()
            return self.verify(self.source, server)
        except RuntimeError as error:
            return [str(error)]
        finally:
            if server:
                server.stop()


def main():
    run = Run(*sys.argv[1:4], sys.argv[5])
    rounds = int(sys.argv[4])
    if run.database == "postgres" and not os.path.exists(f"{run.source}/pg"):
        postgres.make_cluster(run.source)
    for number in range(rounds + 1):
        lost = run.round() if number < rounds else run.end()
        if lost:
            sys.exit(f"after {number} kills: " + "; ".join(lost[:3]))
    print(f"{run.database}: {rounds} kills, {os.path.getsize(run.acks) // marks.WORD.size} transactions reported, none lost")
    subprocess.run(["rm", "-rf", run.work], check=False)


if __name__ == "__main__":
    main()
