"""Debian's cloud kernels for the lab: fetched as packages, unpacked into a cache, nothing of it installed on this system.

The address of the mirror is the one that this system's own apt uses; the lists are private ones in the cache.
"""
import fcntl
import glob
import lzma
import os
import re
import shutil
import subprocess
import time

SUITES = {"debian12": "bookworm", "trixie": "trixie", "sid": "sid", "experimental": "experimental"}
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
# what a kernel is made of: one package up to 6.x, several from 7.x on (linux-base-VERSION is its config, System.map)
PARTS = re.compile(r"^linux-(image|binary|modules)-\d[^ ]*-cloud-amd64$")
CACHE = os.environ.get("URINGFS_VM_CACHE", "/var/cache/uringfs-vm")


class KernelError(Exception):
    """No kernel, and why."""


def command(*words, cwd=None):
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise KernelError(f"{' '.join(words[:2])} ...: {(done.stderr or done.stdout).strip()[-600:]}")
    return done.stdout


class Apt:
    """apt with lists of its own for one suite"""

    def __init__(self, suite, folder):
        self.suite = suite
        targets = command("apt-get", "indextargets", "Created-By: Packages", "Origin: Debian", "Label: Debian",
                          "--format", "$(REPO_URI)").split()
        if not targets:
            raise KernelError("this system's apt knows no Debian mirror to take kernels from")
        os.makedirs(f"{folder}/lists/partial", exist_ok=True)
        os.makedirs(f"{folder}/cache/archives/partial", exist_ok=True)
        with open(f"{folder}/sources.list", "w", encoding="utf-8") as out:
            out.write(f"deb [signed-by={KEYRING}] {targets[0]} {suite} main\n")
        self.options = ["-q", "-o", f"Dir::Etc::SourceList={folder}/sources.list", "-o", "Dir::Etc::SourceParts=/dev/null",
                        "-o", f"Dir::State::Lists={folder}/lists", "-o", f"Dir::Cache={folder}/cache",
                        "-o", "Acquire::Languages=none", "-o", "Acquire::Retries=3", "-o", "APT::Sandbox::User=root"]

    def update(self):
        command("apt-get", *self.options, "update")

    def depends(self, package):
        text = command("apt-cache", *self.options, "show", "--no-all-versions", package)
        line = re.search(r"^Depends: (.*)$", text, re.M)
        return [re.split(r"[ (|]", part.strip())[0] for part in line.group(1).split(",")] if line else []

    def download(self, package, folder):
        command("apt-get", *self.options, "download", package, cwd=folder)


def unpacked_module(path):
    """the bytes of a module file, whatever packed it"""
    with open(path, "rb") as file:
        data = file.read()
    if path.endswith(".xz"):
        return lzma.decompress(data)
    if path.endswith(".zst"):
        return subprocess.run(["zstd", "-dcq", path], check=True, stdout=subprocess.PIPE).stdout
    return data


def fetch(name, folder):
    """unpack the newest cloud kernel of the suite into `folder`: vmlinuz, version, modules/"""
    work = f"{folder}.new"
    shutil.rmtree(work, ignore_errors=True)
    os.makedirs(f"{work}/debs")
    apt = Apt(SUITES[name], f"{work}/apt")
    apt.update()
    parts, left = [], ["linux-image-cloud-amd64"]
    while left:
        for package in apt.depends(left.pop()):
            if PARTS.match(package) and package not in parts:
                parts.append(package)
                left.append(package)
    if not parts:
        raise KernelError(f"suite {SUITES[name]} has no linux-image-cloud-amd64 with a kernel in it")
    for package in parts:
        apt.download(package, f"{work}/debs")
    for package in glob.glob(f"{work}/debs/*.deb"):
        command("dpkg", "-x", package, f"{work}/tree")
    kernels = glob.glob(f"{work}/tree/boot/vmlinuz-*") + glob.glob(f"{work}/tree/usr/lib/modules/*/vmlinuz")
    modules = glob.glob(f"{work}/tree/usr/lib/modules/*/kernel") + glob.glob(f"{work}/tree/lib/modules/*/kernel")
    if len(kernels) != 1 or len(modules) != 1:
        raise KernelError(f"{' '.join(parts)}: not one kernel but {len(kernels)}, {len(modules)} trees of modules")
    shutil.move(kernels[0], f"{work}/vmlinuz")
    with open(f"{work}/version", "w", encoding="utf-8") as out:
        out.write(os.path.basename(os.path.dirname(modules[0])) + "\n")
    shutil.move(modules[0], f"{work}/modules")
    for leftover in ("debs", "tree", "apt"):
        shutil.rmtree(f"{work}/{leftover}")
    shutil.rmtree(folder, ignore_errors=True)
    os.rename(work, folder)


def kernel(name, refresh=False):
    """the folder with vmlinuz, version and modules/ of that kernel; fetched at the first call. Several may ask at once."""
    if name not in SUITES:
        raise KernelError(f"no kernel '{name}'; there are {', '.join(SUITES)}")
    os.makedirs(CACHE, exist_ok=True)
    folder = f"{CACHE}/{name}"
    with open(f"{CACHE}/{name}.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if refresh or not os.path.exists(f"{folder}/version"):
            for attempt in range(3):
                try:
                    fetch(name, folder)
                    break
                except KernelError:
                    if attempt == 2:
                        raise
                    time.sleep(5)
    return folder


def version(folder):
    with open(f"{folder}/version", encoding="utf-8") as file:
        return file.read().strip()


class Modules:
    """the modules of one kernel, by name, in the order in which they must be loaded"""

    def __init__(self, folder):
        self.cache = f"{folder}/unpacked"
        os.makedirs(self.cache, exist_ok=True)
        self.paths = {}
        for top, _, files in os.walk(f"{folder}/modules"):
            for file in files:
                if ".ko" in file:
                    self.paths[file.split(".ko")[0].replace("-", "_")] = f"{top}/{file}"

    def unpack(self, name):
        target = f"{self.cache}/{name}.ko"
        if not os.path.exists(target):
            data = unpacked_module(self.paths[name])
            temporary = f"{target}.{os.getpid()}"
            with open(temporary, "wb") as out:
                out.write(data)
            os.rename(temporary, target)
        return target

    def needs(self, name):
        with open(self.unpack(name), "rb") as file:
            found = re.search(rb"\0depends=([^\0]*)\0", file.read())
        return [n.replace("-", "_") for n in found.group(1).decode().split(",") if n] if found else []

    def ordered(self, names):
        """files to load, each after those that it needs; a name without a module is built in (or unknown to this kernel)"""
        done, files = set(), []

        def add(name):
            if name in done or name not in self.paths:
                return
            done.add(name)
            for need in self.needs(name):
                add(need)
            files.append(self.unpack(name))
        for name in names:
            add(name.replace("-", "_"))
        return files
