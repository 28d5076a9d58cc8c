"""The directories that are measured, and what lies in them."""

import os
import shutil
import subprocess
import tempfile

import rows

FILES, DISK_FILES = 2000, 50000
MIB = 1 << 20
HERE = os.path.dirname(os.path.abspath(__file__))


def call(arguments, limit=60, **more):
    """Runs one bounded command; its standard output."""
    done = subprocess.run(arguments, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=limit, check=False, **more)
    if done.returncode:
        raise RuntimeError(f"{os.path.basename(arguments[0])} {' '.join(arguments[1:])}: {(done.stderr or done.stdout).strip()[-200:]}")
    return done.stdout


def _fill(path, size):
    block = os.urandom(MIB)
    with open(path, "wb") as f:
        for _ in range(size // MIB):
            f.write(block)
        os.fsync(f.fileno())


class Data:
    """A tmpfs with a source in it, a filesystem on a loop file in it with another, and, when a row wants it, a directory
    of the real disk (which stays for the next time: 50,000 files take a while). tools: the load generators, built here.
    """

    def __init__(self, backing, disk, small):
        self.backing, self.disk, self.small, self.undo = backing, disk, small, []
        self.top, self.sources, self.tools, self.files = None, {}, {}, 20 if small else FILES

    def __enter__(self):
        self.top = tempfile.mkdtemp(prefix="bench.data.")
        try:
            self._mount()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _mount(self):
        memory = os.path.join(self.top, "mem")
        os.mkdir(memory)
        call(["mount", "-t", "tmpfs", "-o", "size=6G,mode=755", "bench", memory])
        self.undo.append(memory)
        self.sources[rows.MEM] = os.path.join(memory, "source")
        main = memory
        if self.backing != "tmpfs":
            main, image = os.path.join(self.top, self.backing), os.path.join(memory, "image")
            os.mkdir(main)
            with open(image, "wb") as f:
                f.truncate(4 << 30)
            call([f"mkfs.{self.backing}", "-q", image])
            call(["mount", "-o", "loop", image, main])
            self.undo.append(main)
        self.sources[rows.XFS] = os.path.join(main, "main")
        for source in (self.sources[rows.MEM], self.sources[rows.XFS]):
            os.makedirs(os.path.join(source, "shared"))
        for name in ("io_load", "meta_load"):
            self.tools[name] = os.path.join(self.top, name)
            call(["cc", "-std=gnu11", "-O2", "-pthread", "-o", self.tools[name], os.path.join(HERE, name + ".c")])
        self.tar, self.repo = os.path.join(self.top, "tree.tar"), os.path.join(self.top, "repo")
        self.git_env = dict(os.environ, HOME=self.top, GIT_CONFIG_NOSYSTEM="1", GIT_CONFIG_GLOBAL="/dev/null", GIT_OPTIONAL_LOCKS="0",
                            GIT_AUTHOR_NAME="t", GIT_AUTHOR_EMAIL="t@example.org", GIT_COMMITTER_NAME="t", GIT_COMMITTER_EMAIL="t@example.org",
                            GIT_CONFIG_COUNT="1", GIT_CONFIG_KEY_0="safe.directory", GIT_CONFIG_VALUE_0="*")

    def __exit__(self, *_):
        for mount in reversed(self.undo):
            for option in ([], [], ["-l"]):
                if subprocess.run(["umount", *option, mount], capture_output=True, timeout=60, check=False).returncode == 0:
                    break
        shutil.rmtree(self.top, ignore_errors=True)

    def prepare(self, wanted):
        """What the rows of these sources share."""
        if rows.MEM in wanted:
            _fill(os.path.join(self.sources[rows.MEM], "shared/data"), (16 if self.small else 256) * MIB)
        if rows.XFS in wanted:
            shared = os.path.join(self.sources[rows.XFS], "shared")
            _fill(os.path.join(shared, "data"), (16 if self.small else 512) * MIB)
            os.mkdir(os.path.join(shared, "files"))
            self.create(os.path.join(shared, "files"), 200 if self.small else 10000)
            self._repository(shared)
        if rows.DISK in wanted:
            self._on_disk()

    def create(self, directory, count):
        call([self.tools["meta_load"], directory, "create", "1", str(count), "120"], limit=150)

    def _repository(self, shared):
        for i in range(self.files):
            directory = os.path.join(self.repo, f"d{i % 50}", f"e{i % 3}")
            os.makedirs(directory, exist_ok=True)
            with open(os.path.join(directory, f"f{i}.c"), "w", encoding="utf-8") as f:
                f.write(f"/* {i} */\n" + "int x;\n" * (i % 700))
        call(["tar", "-cf", self.tar, "-C", self.repo, "."])
        for command in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "all"]):
            call(["git", "-C", self.repo, *command], env=self.git_env)
        # files of the very second of the index are read again at each status: make the index younger
        call(["git", "clone", "-q", "--no-hardlinks", self.repo, os.path.join(shared, "repo")], env=self.git_env)
        call(["sleep", "1.1"])
        call(["git", "-C", os.path.join(shared, "repo"), "update-index", "-q", "--really-refresh"], env=self.git_env)

    def _on_disk(self):
        source = os.path.join(self.disk, "source")
        done = os.path.join(source, "complete")
        self.sources[rows.DISK] = source
        if os.path.exists(done):
            return
        shutil.rmtree(source, ignore_errors=True)
        os.makedirs(os.path.join(source, "files"))
        _fill(os.path.join(source, "data"), 1024 * MIB)
        self.create(os.path.join(source, "files"), DISK_FILES)
        os.sync()
        with open(done, "w", encoding="utf-8"):
            pass

    def warm(self, source):
        """The source's page cache holds the data, whatever O_DIRECT writes or others have thrown out."""
        with open(os.path.join(source, "shared/data"), "rb") as f:
            while f.read(MIB):
                pass

    def drop_caches(self):
        os.sync()
        with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as f:
            f.write("3")
