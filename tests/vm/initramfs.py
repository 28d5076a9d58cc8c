"""The guest's files: programs of this system with their libraries, in a cpio archive (the form "newc") for the kernel."""
import glob
import os
import re
import shutil
import stat
import subprocess

# programs that every guest has, beside busybox, whose commands come last in PATH
PROGRAMS = """bash dash env cat cp mv rm ln ls mkdir rmdir mknod mkfifo chmod chown dd df du stat sync touch truncate head tail wc sort uniq cut tr
tee seq sleep timeout id date od cmp basename dirname readlink realpath mktemp printf test expr true false kill sed grep gawk mawk awk find
mount umount findmnt mountpoint losetup blockdev fallocate flock setpriv unshare nsenter dmesg fusermount3 getfattr setfattr getfacl setfacl
xfs_io setsid prlimit taskset nproc sha256sum md5sum""".split()
SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MERGED = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64", "lib32": "usr/lib32"}


class Archive:
    """a cpio archive that is being written; folders are made as they are needed, a name is written once"""

    def __init__(self, path):
        self.out = open(path, "wb")
        self.count = 0
        self.names = set()
        for short, full in MERGED.items():
            self.folder(full)
            self.entry(short, stat.S_IFLNK | 0o777, full.encode())

    def entry(self, name, mode, data=b"", rdev=(0, 0)):
        if name in self.names:
            return
        self.names.add(name)
        self.count += 1
        raw = name.encode() + b"\0"
        fields = (self.count, mode, 0, 0, 1, 0, len(data), 0, 0, *rdev, len(raw), 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + raw
        self.out.write(head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4))

    def inside(self, path):
        """the name in the archive of an absolute path: /bin is a link to /usr/bin there"""
        name = os.path.normpath(path).lstrip("/")
        first, _, rest = name.partition("/")
        return f"{MERGED[first]}/{rest}" if first in MERGED and rest else name

    def folder(self, path):
        name = self.inside(path)
        parts = name.split("/")
        for n in range(1, len(parts) + 1):
            self.entry("/".join(parts[:n]), stat.S_IFDIR | 0o755)

    def file(self, source, path=None):
        """the contents of source (a symbolic link is followed) as path"""
        name = self.inside(path or source)
        self.folder("/" + os.path.dirname(name))
        mode = os.stat(source).st_mode
        with open(source, "rb") as file:
            self.entry(name, stat.S_IFREG | stat.S_IMODE(mode), file.read())

    def link(self, path, target):
        name = self.inside(path)
        self.folder("/" + os.path.dirname(name))
        self.entry(name, stat.S_IFLNK | 0o777, target.encode())

    def tree(self, source, path, skip=lambda name: False):
        """a file or a folder with all in it"""
        if not os.path.isdir(source):
            self.file(source, path)
            return
        for top, folders, files in os.walk(source):
            folders[:] = [f for f in folders if not skip(f"{top}/{f}") and not os.path.islink(f"{top}/{f}")]
            inside = os.path.normpath(f"{path}/{os.path.relpath(top, source)}")
            self.folder(inside)
            for file in files:
                if not skip(f"{top}/{file}") and os.path.isfile(f"{top}/{file}"):
                    self.file(f"{top}/{file}", f"{inside}/{file}")

    def close(self):
        self.entry("TRAILER!!!", 0)
        self.out.write(b"\0" * (-self.out.tell() % 512))
        self.out.close()


def libraries(path):
    """the shared libraries that a program needs, its loader too"""
    done = subprocess.run(["ldd", path], capture_output=True, text=True)
    missing = re.findall(r"^\s*(\S+) => not found", done.stdout, re.M)
    if missing:
        raise FileNotFoundError(f"{path} needs {', '.join(missing)}: not on this system")
    return re.findall(r"(?:=> |^\s)(/\S+) \(0x", done.stdout, re.M)


def is_elf(path):
    with open(path, "rb") as file:
        return file.read(4) == b"\x7fELF"


def add_program(archive, path, inside=None):
    archive.file(path, inside)
    if is_elf(path):
        for library in libraries(path):
            archive.file(library)


def find_program(name):
    return name if "/" in name else shutil.which(name, path=SEARCH)


def add_programs(archive, names, must):
    for name in names:
        path = find_program(name)
        if path and os.path.isfile(path):
            add_program(archive, path)
        elif must:
            raise FileNotFoundError(f"{name}: no such program on this system")


def add_python(archive):
    """python3 and its library, without what only its own tests and windows need"""
    add_programs(archive, ["python3"], True)
    for folder in glob.glob("/usr/lib/python3.[0-9]*"):
        archive.tree(folder, folder, lambda name: bool(re.search(r"/(test|tests|idlelib|tkinter|ensurepip|lib2to3|pydoc_data|__pycache__"
                                                                 r"|config-3[^/]*)$", name)))
    for module in glob.glob("/usr/lib/python3.[0-9]*/lib-dynload/*.so"):
        for library in libraries(module):
            archive.file(library)


def add_project(archive, root, build):
    """tests/ and mount-helpers/ of the project as /src, the built programs as /src/build, the daemon in the PATH"""
    for folder in ("tests", "mount-helpers"):
        archive.tree(f"{root}/{folder}", f"/src/{folder}", lambda name: name.endswith("__pycache__"))
    if not build:
        return
    for top, folders, files in os.walk(build):
        folders[:] = [f for f in folders if not f.startswith("meson-") and not f.endswith(".p")]
        for file in files:
            path = f"{top}/{file}"
            if os.access(path, os.X_OK) and os.path.isfile(path) and is_elf(path):
                add_program(archive, path, f"/src/build/{os.path.relpath(path, build)}")
    archive.link("/usr/sbin/uringfs", "/src/build/fs/uringfs")
    for name in ("mount.uringfs", "uringfsctl"):
        if os.path.exists(f"{build}/mount-helpers/{name}"):
            archive.link(f"/usr/sbin/{name}", f"/src/build/mount-helpers/{name}")


def add_system(archive):
    """what a Debian system has and programs ask for"""
    add_program(archive, "/bin/busybox", "/usr/bin/busybox")
    add_programs(archive, PROGRAMS, False)
    archive.link("/usr/bin/sh", "dash")
    for folder in ("proc", "sys", "dev", "tmp", "run", "mnt", "root", "var/tmp", "etc", "busybox", "results"):
        archive.folder("/" + folder)
    archive.entry("dev/console", stat.S_IFCHR | 0o600, rdev=(5, 1))
    archive.entry("dev/null", stat.S_IFCHR | 0o666, rdev=(1, 3))
    archive.link("/etc/mtab", "/proc/self/mounts")
    for file in ("/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/mke2fs.conf", "/etc/xattr.conf", "/etc/fuse.conf"):
        if os.path.exists(file):
            archive.file(file)
    for library in glob.glob("/lib/x86_64-linux-gnu/libnss_files.so*"):
        archive.file(library)
