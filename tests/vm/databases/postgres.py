"""One PostgreSQL server of this system on a cluster, as the user postgres; what the load (load-postgres) must have left in it."""
import glob
import os
import pwd
import signal
import subprocess
import time

CLIENTS = 4
USER = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"]
TABLES = ("CREATE TABLE IF NOT EXISTS row (client int, n int, text text, PRIMARY KEY (client, n)); "
          "CREATE TABLE IF NOT EXISTS counter (client int PRIMARY KEY, n int); "
          f"INSERT INTO counter SELECT c, 0 FROM generate_series(0, {CLIENTS - 1}) AS c ON CONFLICT DO NOTHING")


def binaries():
    return sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]


def make_cluster(folder):
    """folder/pg, a fresh cluster; segments of 1 MiB, so that they are used again soon"""
    path = f"{folder}/pg"
    os.mkdir(path)
    user = pwd.getpwnam("postgres")  # a guest has this system's passwd(5)
    os.chown(path, user.pw_uid, user.pw_gid)
    words = [*USER, f"{binaries()}/initdb", "-D", path, "-U", "postgres", "-A", "trust",
             "--no-locale", "-E", "UTF8", "--wal-segsize=1", "--no-sync"]
    done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, env={"PATH": os.environ["PATH"], "TZ": "GMT"}, cwd="/")
    if done.returncode:
        raise RuntimeError(f"initdb: {done.stderr.strip()[-300:]}")
    with open(f"{path}/postgresql.conf", "a") as conf:
        conf.write("listen_addresses = ''\nunix_socket_directories = '/run/pg'\nshared_buffers = 16MB\ndynamic_shared_memory_type = mmap\n"
                   "shared_memory_type = mmap\nmax_wal_size = 4MB\nmin_wal_size = 2MB\ncheckpoint_timeout = 30s\nautovacuum = off\n"
                   "timezone = 'GMT'\nlog_timezone = 'GMT'\nmax_connections = 40\n")
    return path


def lab_words(cluster):
    """for tests/vm/run: python, and where there is a cluster PostgreSQL, with the cluster as /pg"""
    out = ["--memory", "1536M", "--python"]
    if cluster:
        share = binaries().replace("/lib/", "/share/").removesuffix("/bin")
        out += ["--copy", f"{cluster}:/pg", "--copy", share, "--copy", binaries().removesuffix("bin") + "lib"]
        out += [word for name in ("postgres", "psql", "pgbench") for word in ("--program", f"{binaries()}/{name}")]
    return out


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


class Server:
    """settings: words "name=value"; sockets and log are in `work`"""

    def __init__(self, cluster, work, *settings):
        self.bin = binaries()
        self.cluster, self.work, self.settings, self.process = cluster, work, settings, None
        os.chmod(work, 0o777)

    def query(self, text):
        done = subprocess.run([*USER, f"{self.bin}/psql", "-h", self.work, "-U", "postgres", "-d", "postgres", "-v", "ON_ERROR_STOP=1", "-qAtXc", text],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, cwd="/")
        if done.returncode:
            raise RuntimeError(done.stderr.strip()[:300])
        return done.stdout.split()

    def start(self):
        """until it answers; RuntimeError"""
        words = [word for setting in (f"unix_socket_directories={self.work}", *self.settings) for word in ("-c", setting)]
        with open(f"{self.work}/postgres.log", "w", encoding="utf-8") as log:
            self.process = subprocess.Popen([*USER, f"{self.bin}/postgres", "-D", self.cluster, *words], stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=subprocess.STDOUT, start_new_session=True, cwd="/")
        end = time.monotonic() + 400
        while True:
            try:
                self.query("SELECT 1")
                return
            except RuntimeError as error:
                if self.process.poll() is not None or time.monotonic() > end:
                    with open(f"{self.work}/postgres.log", encoding="utf-8", errors="replace") as log:
                        text = log.read()[-600:]
                    self.stop()
                    raise RuntimeError(f"postgres does not start: {error}: {text}") from None
                time.sleep(0.1)

    def stop(self):
        """at once; its processes have ended then"""
        if not self.process:
            return
        self.process.send_signal(signal.SIGQUIT)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.process = None

    def verify(self, acknowledged):
        """what is lost"""
        lost = []
        for client in range(CLIENTS):
            rows = [int(n) for n in self.query(f"SELECT n FROM row WHERE client = {client} ORDER BY n")]
            counter = self.query(f"SELECT n FROM counter WHERE client = {client}")
            if not counter:
                return lost + [f"client {client}: its counter is not there"]
            lost += whole(f"client {client}", rows, int(counter[0]), acknowledged.get(client, 0))
        return lost

    def check(self, acknowledged):
        """start, verify, stop"""
        try:
            self.start()
            return self.verify(acknowledged)
        except RuntimeError as error:
            return [str(error)]
        finally:
            self.stop()
