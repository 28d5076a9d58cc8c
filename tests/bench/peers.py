"""The peers of the benchmark: read from peers.conf, built where needed, mounted and unmounted."""

import glob
import os
import shlex
import shutil
import subprocess
import tempfile
import time

EXAMPLES = "/usr/share/doc/libfuse3-dev/examples"


def read_conf(path):
    peers = []
    with open(path, encoding="utf-8") as f:
        for line in f:
            if line.strip() and not line.startswith("#"):
                name, command = (part.strip() for part in line.split("|", 1))
                peers.append((name, command))
    return peers


def _compile(compiler, source, target):
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "fuse3"], capture_output=True, text=True, check=True)
    # what the package's own configuration finds on Linux: without them the examples leave functions out
    standard = [f"-DHAVE_{name}" for name in ("COPY_FILE_RANGE", "FALLOCATE", "POSIX_FALLOCATE", "SETXATTR", "UTIMENSAT")]
    standard += ["-std=c++17"] if source.endswith(".cc") else []
    subprocess.run([compiler, "-O2", *standard, source, "-o", target, *flags.stdout.split()], capture_output=True,
                   check=True, timeout=300)


def _fetch_source(cache):
    """The example as the distribution's source package has it: through apt, with a private list of sources."""
    top = os.path.join(cache, "apt")
    for part in ("parts", "lists/partial", "archives/partial"):
        os.makedirs(os.path.join(top, part), exist_ok=True)
    for conf in glob.glob("/etc/apt/sources.list.d/debian*.sources"):
        with open(conf, encoding="utf-8") as f, \
                open(os.path.join(top, "parts", os.path.basename(conf)), "w", encoding="utf-8") as out:
            out.write(f.read().replace("Types: deb\n", "Types: deb-src\n"))
    options = ["-o", "Dir::Etc::SourceList=/dev/null", "-o", f"Dir::Etc::SourceParts={top}/parts",
               "-o", f"Dir::State::Lists={top}/lists", "-o", f"Dir::Cache={top}"]
    for command in (["update"], ["source", "--download-only", "fuse3"]):
        subprocess.run(["apt-get", "-q", *options, *command], cwd=top, capture_output=True, check=True, timeout=300)
    for archive in glob.glob(os.path.join(top, "fuse3_*.orig.tar.*")):
        if not archive.endswith(".asc"):
            subprocess.run(["tar", "-xf", archive, "-C", top], check=True)
    found = glob.glob(os.path.join(top, "fuse*", "example", "passthrough_hp.cc"))
    return found[0] if found else None


def build(cache, fetch, note):
    """Puts passthrough_ll and passthrough_hp into cache, once."""
    os.makedirs(cache, exist_ok=True)
    for name, suffix, compiler in (("passthrough_ll", ".c", "cc"), ("passthrough_hp", ".cc", "c++")):
        target = os.path.join(cache, name)
        if os.path.exists(target):
            continue
        given = os.environ.get(name.upper())  # a program, or its source
        source = given or os.path.join(EXAMPLES, name + suffix)
        try:
            if given and os.access(given, os.X_OK):
                shutil.copy(given, target)
                continue
            if not os.path.exists(source) and fetch and suffix == ".cc":
                source = _fetch_source(cache)
            if not source or not os.path.exists(source):
                note(f"{name}: no source here (set {name.upper()}, or --fetch)")
                continue
            _compile(compiler, source, target)
        except (subprocess.SubprocessError, OSError) as error:
            note(f"{name}: cannot be built: {error}")


def hp_options(cache):
    """Options that make passthrough_hp serve the data itself, where this version has them."""
    try:
        out = subprocess.run([os.path.join(cache, "passthrough_hp"), "--help"], capture_output=True, text=True,
                             timeout=10, check=False)
    except OSError:
        return ""
    return "--nopassthrough" if "--nopassthrough" in out.stdout + out.stderr else ""


class Mount:
    """One peer mounted on its own directory for the time of a with block."""

    live = []

    def __init__(self, name, command, source, words):
        self.name, self.source, self.process, self.mountpoint = name, source, None, None
        self.command, self.words = command, words

    def __enter__(self):
        if self.command == "-":
            return self.source
        self.mountpoint = tempfile.mkdtemp(prefix=f"bench.{self.name}.")
        Mount.live.append(self)
        words = dict(self.words, source=self.source, mountpoint=self.mountpoint)
        arguments = [word for part in shlex.split(self.command)
                     for word in ([part.format(**words)] if part != "{hp_options}" else shlex.split(words["hp_options"]))]
        before = os.stat(self.mountpoint).st_dev
        with tempfile.TemporaryFile() as log:
            self.process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            start_new_session=True)
            end = time.monotonic() + 10
            while time.monotonic() < end:
                try:
                    if os.stat(self.mountpoint).st_dev != before:
                        return self.mountpoint
                except OSError:
                    pass
                if self.process.poll():
                    break
                time.sleep(0.005)
            log.seek(0)
            text = log.read().decode(errors="replace")[-300:]
        self.close()
        raise RuntimeError(f"does not mount: {text.strip() or 'no output'}")

    def close(self):
        if self not in Mount.live:
            return
        Mount.live.remove(self)
        for option in ([], [], [], ["-l"]):
            try:
                done = subprocess.run(["umount", *option, self.mountpoint], capture_output=True, timeout=15, check=False)
                if done.returncode == 0 or b"not mounted" in done.stderr:
                    break
            except subprocess.TimeoutExpired:
                pass
            time.sleep(0.1)
        if self.process:
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()  # the one that was started above
        try:
            os.rmdir(self.mountpoint)
        except OSError:
            pass

    def __exit__(self, *_):
        self.close()
