"""Runs one test for tests/check, inside the mount namespace made for it, and writes the verdict.

It is a child subreaper: every process that the test or its daemon leaves behind becomes a child of this one, so that
"nothing is left" is a fact about process ids and not a guess by name. It never touches the mountpoint before it is
unmounted: a hung daemon must not hang the runner.
"""
import ctypes
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time

PR_SET_CHILD_SUBREAPER = 36
KERNEL_TROUBLE = re.compile(r"WARNING:|BUG:|INFO: task .* blocked|uringfs\S*\[\d+\]: segfault|traps: uringfs")
FUSE_CONTROL = "/sys/fs/fuse/connections"
GONE_S = 5

env = os.environ
name, test_file, result = env["TEST_NAME"], env["TEST_FILE"], env["TEST_RESULT"]
back, work, config = env["TEST_BACK"], env["TEST_WORK"], env["TEST_CONFIG"]
src, twin, mnt, tmp = back + "/src", back + "/twin", work + "/mnt", work + "/tmp"
full = result + ".full"
problems = []
stop_requested = False


def log(text):
    with open(full, "ab") as f:
        f.write(("check: %s\n" % text).encode())


def mounts():
    """(mountpoint, 'major:minor', type) of every mount of this namespace, oldest first."""
    found = []
    with open("/proc/self/mountinfo", "rb") as f:
        for line in f:
            left, right = line.decode(errors="surrogateescape").split(" - ", 1)
            fields = left.split()
            point = re.sub(r"\\([0-7]{3})", lambda m: chr(int(m.group(1), 8)), fields[4])
            found.append((point, fields[2], right.split()[0]))
    return found


def descendants():
    """pid -> command name of every living process below this one."""
    parent, names, state = {}, {}, {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/stat" % pid, "rb") as f:
                text = f.read().decode(errors="replace")
        except OSError:
            continue
        head, _, tail = text.rpartition(")")
        fields = tail.split()
        parent[int(pid)], state[int(pid)] = int(fields[1]), fields[0]
        names[int(pid)] = head.partition("(")[2]
    found, todo = {}, [os.getpid()]
    while todo:
        up = todo.pop()
        for pid, ppid in parent.items():
            if ppid == up:
                todo.append(pid)
                if state[pid] != "Z":
                    found[pid] = names[pid]
    return found


def reap():
    """Collect ended children that nobody waits for; subprocess objects keep their own."""
    for pid in [int(p) for p in open("/proc/self/task/%d/children" % os.getpid()).read().split()]:
        if pid not in own_pids:
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                pass


own_pids = set()


def run_shell(script, timeout):
    """Run bash code with the config loaded; its output goes to the full log. Returns the status or None for too late."""
    with open(full, "ab") as out:
        shell = subprocess.Popen(["bash", "-c", '. "$TESTS_LIB/common.sh"; ' + script], stdout=out, stderr=out,
                                 stdin=subprocess.DEVNULL, cwd=tmp, start_new_session=True)
    own_pids.add(shell.pid)
    deadline = time.monotonic() + timeout
    while shell.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    if shell.poll() is None:
        os.killpg(shell.pid, signal.SIGKILL)
        return None
    return shell.returncode


def wait_gone(seconds, spare=()):
    # in steps of ours, not by the clock: a machine that stood still for a while has not given the processes that time
    for _ in range(seconds * 100):
        reap()
        left = {p: n for p, n in descendants().items() if p not in spare}
        if not left:
            break
        time.sleep(0.01)
    return left


def abort_fuse(dev):
    try:
        with open("%s/%s/abort" % (FUSE_CONTROL, dev.split(":")[1]), "w") as f:
            f.write("1")
        log("aborted fuse connection %s" % dev)
    except OSError as e:
        log("abort of fuse connection %s: %s" % (dev, e))


def force_clean(before):
    """Kill what the test left, then take every new mount away, aborting fuse connections."""
    new = [m for m in mounts() if m not in before]
    for pid in descendants():
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    for point, dev, kind in reversed(new):
        subprocess.run(["umount", "-l", point], stderr=subprocess.DEVNULL, check=False)
        if kind.startswith("fuse") and kind != "fusectl":
            abort_fuse(dev)
    wait_gone(GONE_S)


def compile_c(source):
    binary = tmp + "/" + name
    done = subprocess.run(["cc", "-O1", "-g", "-Wall", "-D_GNU_SOURCE", "-I", env["TESTS_LIB"], "-o", binary, source,
                           "-lpthread"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        problems.append("does not compile")
        log(done.stdout + done.stderr)
        return None
    return binary


def run_test(program, timeout):
    """Returns (exit status or None when too late, output as bytes)."""
    output = tmp + "/.output"
    with open(output, "wb") as out:
        child = subprocess.Popen([program], stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                 cwd=tmp, start_new_session=True)
    own_pids.add(child.pid)
    deadline = time.monotonic() + timeout
    pause = 0.002
    while child.poll() is None and time.monotonic() < deadline and not stop_requested:
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)
        reap()
    status = child.poll()
    if status is None:
        save_stacks()
        os.killpg(child.pid, signal.SIGKILL)
    with open(output, "rb") as f:
        return status, f.read()


def save_stacks():
    """Where everything waits: the first thing one wants to know of a test that hangs."""
    for pid, command in descendants().items():
        try:
            tasks = os.listdir("/proc/%d/task" % pid)
        except OSError:
            continue
        for task in tasks:
            try:
                with open("/proc/%d/task/%s/stack" % (pid, task)) as f:
                    stack = f.read()
                with open("/proc/%d/cmdline" % pid) as f:
                    line = f.read().replace("\0", " ")
                log("at the timeout: %d/%s %s (%s)\n%s" % (pid, task, command, line, stack))
            except OSError:
                pass


def compare(output):
    golden = os.path.splitext(test_file)[0] + ".out"
    if not os.path.exists(golden):
        problems.append("no golden output %s" % golden)
        return
    bad = result + ".out.bad"
    got = tmp + "/.got"
    with open(got, "wb") as f:
        f.write(output)
    diff = subprocess.run(["diff", "-u", "--label", name + ".out", "--label", "output", golden, got],
                          capture_output=True, check=False)
    if diff.returncode != 0:
        with open(bad, "wb") as f:
            f.write(diff.stdout + diff.stderr)
        problems.append("output differs, see %s" % bad)


def cores(since):
    found = []
    for folder in ("/", tmp, src, work):
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        for entry in names:
            path = os.path.join(folder, entry)
            if re.fullmatch(r"core(\.\d+)?", entry) and os.path.isfile(path) and os.stat(path).st_mtime >= since:
                found.append(path)
    return found


def kernel_lines(fd):
    lines = []
    while True:
        try:
            lines.append(os.read(fd, 8192).decode(errors="replace").partition(";")[2].split("\n")[0])
        except BlockingIOError:
            return lines
        except BrokenPipeError:
            continue


def ours(line, started_ticks):
    """Whether a line of the kernel's log may be about this test: a task that hangs and is older than the test is somebody else's."""
    found = re.search(r"INFO: task .*:(\d+) blocked", line)
    try:
        with open("/proc/%s/stat" % found[1], "rb") as f:
            return int(f.read().rpartition(b")")[2].split()[19]) >= started_ticks
    except (OSError, TypeError):
        return True


def verdict(status, seconds, reason):
    log("verdict: %s %s" % (status, reason))
    with open(result + ".status.new", "w") as f:
        f.write("%s\t%.1f\t%s\n" % (status, seconds, " ".join(reason.split())))
    os.rename(result + ".status.new", result + ".status")


def check_transport(expected):
    """What the daemons of this test wrote at their end: the transport that was asked for has served, and no other.

    expected: whether one must have written (its mount lived to the end of the test).
    """
    asked = re.search(r"\btransport=(dev|uring)\b", env.get("URINGFS_OPTS", ""))
    if not asked:
        return
    reports = []
    if os.path.exists(result + ".stats"):
        with open(result + ".stats", errors="replace") as f:
            reports = [json.loads(line) for line in f if line.startswith("{") and line.endswith("}\n")]
    if expected and not reports and not os.path.exists(result + ".stats.elsewhere"):
        problems.append("no statistics tell which transport served")
    for report in reports:
        served = report["requests_uring"] > 0 if asked[1] == "uring" else report["requests_uring"] == 0
        if report["transport"] != asked[1] or (report["requests"] and not served):
            problems.append("transport=%s, but %s served (%d of %d requests by io_uring)" % (
                asked[1], report["transport"], report["requests_uring"], report["requests"]))


def after_test(before, start_wall, kmsg, mounted, started_ticks):
    lived = mounted and any(point == mnt for point, _, _ in mounts())
    if lived:
        if run_shell('fs_umount "$MNT"', 15) != 0:
            problems.append("cannot unmount %s" % mnt)
    left = [m for m in mounts() if m not in before]
    if left:
        problems.append("leftover mounts: %s" % " ".join(m[0] for m in left))
    processes = wait_gone(GONE_S)
    if processes:
        save_stacks()
        problems.append("leftover processes: %s" % " ".join("%d(%s)" % p for p in processes.items()))
    force_clean(before)
    check_transport(lived)
    found = cores(start_wall)
    if found:
        problems.append("core files: %s" % " ".join(found))
        for path in found:
            shutil.move(path, result + ".core")
    trouble = [line for line in kernel_lines(kmsg) if KERNEL_TROUBLE.search(line)
               and ("uringfs-selftest" in line) == ("CHECK_SELFTEST" in env) and ours(line, started_ticks)]
    if trouble:
        problems.append("kernel log: %s" % trouble[0])
        log("kernel log:\n" + "\n".join(trouble))


def main():
    start, start_wall = time.monotonic(), time.time()
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    started_ticks = int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK")) - 1
    kmsg = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    os.lseek(kmsg, 0, os.SEEK_END)
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    for folder in (src, twin, mnt, tmp):
        os.makedirs(folder, mode=0o755)
    open(full, "wb").close()
    env.update(SRC=src, TWIN=twin, MNT=mnt, TMP=tmp, FULL=full, PYTHONPATH=env["TESTS_LIB"], OPTIONS=env["TEST_OPTIONS"])
    if os.path.isdir(FUSE_CONTROL) and not os.path.ismount(FUSE_CONTROL):
        subprocess.run(["mount", "-t", "fusectl", "none", FUSE_CONTROL], stderr=subprocess.DEVNULL, check=False)
    before = mounts()
    timeout, mounted, status, output = float(env["TEST_TIMEOUT"]), False, None, b""
    program = compile_c(test_file) if test_file.endswith(".c") else test_file
    if program and env["TEST_MOUNT"] != "none":
        code = run_shell('need_config; fs_mount "$SRC" "$MNT" "$OPTIONS"', 60)
        mounted = code == 0
        if code == 77:
            with open(full, errors="replace") as f:
                why = re.findall(r"^SKIP: (.*)$", f.read(), re.M)
            wait_gone(GONE_S)
            verdict("skip", time.monotonic() - start, why[-1] if why else "no reason")
            return
        if not mounted:
            problems.append("cannot mount (status %s)" % code)
            with open(full, errors="replace") as f:
                problems.append(f.read()[-300:])
    if program and (mounted or env["TEST_MOUNT"] == "none"):
        status, output = run_test(program, timeout)
        with open(full, "ab") as f:
            f.write(b"--- output of the test\n" + output + b"--- end of output, status %r\n" % status)
        if status is None:
            problems.append("stopped" if stop_requested else "timed out after %g s" % timeout)
            force_clean(before)
    skip = re.findall(rb"^SKIP: (.*)$", output, re.M)
    if status == 77 and skip:
        pass
    elif status == 77:
        problems.append("exit status 77 without a line SKIP: why")
    elif status is not None:
        if status != 0:
            problems.append("exit status %d" % status)
        compare(output)
    after_test(before, start_wall, kmsg, mounted, started_ticks)
    seconds = time.monotonic() - start
    if problems:
        verdict("fail", seconds, "; ".join(problems))
    elif status == 77:
        verdict("skip", seconds, skip[-1].decode(errors="replace"))
    else:
        verdict("pass", seconds, "")


def on_stop(_signal, _frame):
    global stop_requested
    stop_requested = True


# A handler, so that a SIGINT ignored by the background start of `check` is not inherited ignored by daemons.
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
    signal.signal(number, on_stop)
main()
sys.exit(0)
