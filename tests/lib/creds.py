"""Who does it: effective ids and capabilities for a few calls; POSIX ACLs as bytes; rows of many results on one line.

Tests: `from creds import *` in place of `from checks import *`.
"""
import contextlib

from checks import *
from checks import _call

CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, FSETID = 0, 1, 2, 3, 4
LINUX_IMMUTABLE, SYS_ADMIN, SYS_RESOURCE, MKNOD, SETFCAP = 9, 21, 24, 27, 31
_CAP_HEADER = struct.pack("<Ii", 0x20080522, 0)


def _capget():
    data = ctypes.create_string_buffer(24)
    _call(libc.capget(ctypes.create_string_buffer(_CAP_HEADER), data))
    effective_low, permitted_low, inheritable_low, effective_high, permitted_high, _ = struct.unpack("<6I", data.raw)
    return effective_low | effective_high << 32, permitted_low | permitted_high << 32, inheritable_low


def set_effective(caps):
    """Exactly these capabilities (numbers) are effective from now on; they must be permitted."""
    _, permitted, inheritable = _capget()
    wanted = sum(1 << c for c in caps)
    data = struct.pack("<6I", wanted & 0xFFFFFFFF, permitted & 0xFFFFFFFF, inheritable, wanted >> 32, permitted >> 32, 0)
    _call(libc.capset(ctypes.create_string_buffer(_CAP_HEADER), ctypes.create_string_buffer(data)))


@contextlib.contextmanager
def acting(uid, gid=None, groups=(), caps=None):
    """Effective ids for the calls inside; the process is root before and after. caps: exactly these (None: as the kernel has it)."""
    os.setgroups(list(groups))
    os.setegid(uid if gid is None else gid)
    os.seteuid(uid)
    try:
        if caps is not None:
            set_effective(caps)
        yield
    finally:
        os.seteuid(0)
        set_effective([c for c in range(64) if _capget()[1] >> c & 1])
        os.setegid(0)
        os.setgroups([])


def result(fn, *args, **kw):
    """"ok" or the name of the error; a descriptor that came back is closed."""
    value, err = attempt(fn, *args, **kw)
    if err is None and getattr(fn, "__name__", "") in ("open", "xopen"):
        os.close(value)
    return err or "ok"


def grouped(label, results):
    """Print {what: result} by result: `label: ok: a b; EACCES: c`."""
    by = {}
    for what, res in results.items():
        by.setdefault(res, []).append(what)
    print("%s: %s" % (label, "; ".join("%s: %s" % (res, " ".join(by[res])) for res in sorted(by, key=lambda k: (k != "ok", k)))))


# --- POSIX ACLs ---------------------------------------------------------------------------------------------------------
USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER = 1, 2, 4, 8, 16, 32
ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
_TAGS = {USER_OBJ: "u:", USER: "u%d:", GROUP_OBJ: "g:", GROUP: "g%d:", MASK: "m:", OTHER: "o:"}


def acl_bytes(entries, version=2):
    """entries: (tag, permission 0..7, id); the id of entries without one is ACL_UNDEFINED_ID."""
    out = struct.pack("<I", version)
    for tag, perm, *who in entries:
        out += struct.pack("<HHI", tag, perm, who[0] if who else 0xFFFFFFFF)
    return out


def acl(*words):
    """acl("u:7", "u1001:5", "g:5", "g2001:4", "m:7", "o:0") as entries, in the order that the kernel wants."""
    tags = {"u": (USER_OBJ, USER), "g": (GROUP_OBJ, GROUP), "m": (MASK, MASK), "o": (OTHER, OTHER)}
    out = []
    for w in words:
        who, perm = w.split(":")
        tag = tags[who[0]][len(who) > 1]
        out.append((tag, int(perm, 8)) + ((int(who[1:]),) if len(who) > 1 else ()))
    return sorted(out, key=lambda e: (e[0], e[2] if len(e) > 2 else 0))


def set_acl(path, entries, name=ACCESS):
    os.setxattr(path, name, acl_bytes(entries))


def get_acl(path, name=ACCESS):
    """As one line of words, `none` without one."""
    try:
        raw = os.getxattr(path, name)
    except OSError as e:
        return "none" if e.errno == errno.ENODATA else errname(e.errno)
    words = []
    for at in range(4, len(raw), 8):
        tag, perm, who = struct.unpack_from("<HHI", raw, at)
        words.append((_TAGS[tag] % who if "%" in _TAGS[tag] else _TAGS[tag]) + "%o" % perm)
    return " ".join(words)


def need_acl():
    """Skip where the mount or its backing filesystem has no POSIX ACLs."""
    _, err = attempt(set_acl, TWIN, acl("u:7", "g:5", "o:5"))
    if err:
        skip("%s has no ACLs: %s" % (BACKING, err))


# --- what FUSE does not carry --------------------------------------------------------------------------------------------
_limited_count = 0


def limited(fn, counts_as, depends=()):
    """fn() returns {who: {case: result}}; run on the backing filesystem (printed) and on the mount, which must answer the same.

    counts_as: {who: another who}: FUSE tells the daemon neither capabilities nor supplementary groups (uringfs.8, LIMITS), so
    that on a mount the first may be answered as the second is; nothing else is taken. Whoever is not named there is exact.
    depends: cases that are compared but not printed, because they depend on the backing filesystem.
    """
    global _limited_count
    _limited_count += 1
    tables = []
    for root in (TWIN, MNT):
        folder = "%s/limited%d" % (root, _limited_count)
        os.mkdir(folder)
        with tempfile.TemporaryFile("w+") as out:
            def body():
                os.chdir(folder)
                os.umask(0o022)
                out.write(repr(fn()))
                out.flush()
            wait_ok(spawn(body))
            out.seek(0)
            tables.append(eval(out.read() or "{}"))  # our own child's words
    backing, mount = tables
    for who, cases in backing.items():
        grouped(who, {case: want for case, want in cases.items() if case not in depends})
        for case, want in cases.items():
            got = mount.get(who, {}).get(case)
            allowed = {want, backing[counts_as[who]][case]} if who in counts_as else {want}
            check(got in allowed, "%s: %s: %s on the mount, not %s" % (who, case, got, " or ".join(sorted(allowed))))
