/*
 * locks.c - POSIX, OFD and flock locks between processes
 *
 * Counters in a file are read, changed and written under a lock: a lost update means that a lock was not
 * exclusive. Then the rules one by one: shared locks, blocking hand-over, interrupted waits, release on
 * close and on death, F_GETLK.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "stress.h"

#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum kind { KIND_POSIX, KIND_OFD, KIND_FLOCK, KIND_COUNT };
enum { RANGES = 8, HANDOVER_LIMIT_MS = 3000 };

static const char *const kind_names[KIND_COUNT] = {"posix", "ofd", "flock"};

/* Shared by the processes of one check; anonymous memory, so it does not depend on the filesystem. */
struct shared {
	_Atomic int stage;
	_Atomic uint64_t added[RANGES];
	_Atomic int failed;
};

struct run {
	const char *path;
	enum kind kind;
	uint64_t processes_count, rounds_count, seed;
	double deadline;
	bool need_deadlock_error, no_reopen;
	struct shared *shared;
};

static void fail(struct run *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void fail(struct run *r, const char *fmt, ...)
{
	va_list ap;

	flockfile(stdout);
	printf("FAIL locks %s: ", kind_names[r->kind]);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	fflush(stdout);
	funlockfile(stdout);
	r->shared->failed = 1;
}

/* type: F_RDLCK, F_WRLCK, F_UNLCK; for flock the range is the whole file. 0 or -errno. */
static int lock(enum kind kind, int fd, short type, off_t start, off_t len, bool wait)
{
	struct flock fl = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
	int cmd, op;

	if (kind == KIND_FLOCK) {
		op = type == F_RDLCK ? LOCK_SH : type == F_WRLCK ? LOCK_EX : LOCK_UN;
		return flock(fd, op | (wait ? 0 : LOCK_NB)) < 0 ? -errno : 0;
	}
	if (kind == KIND_OFD)
		cmd = wait ? F_OFD_SETLKW : F_OFD_SETLK;
	else
		cmd = wait ? F_SETLKW : F_SETLK;
	return fcntl(fd, cmd, &fl) < 0 ? -errno : 0;
}

static int open_file(struct run *r)
{
	int fd = open(r->path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);

	if (fd < 0) {
		fail(r, "open %s: %s", r->path, strerror(errno));
		_exit(EXIT_FAILED);
	}
	return fd;
}

/* Two processes reach the same stage; false after a time limit. */
static bool wait_stage(struct run *r, int stage)
{
	for (double end = stress_now() + HANDOVER_LIMIT_MS / 1000.0; stress_now() < end; stress_pause_us(500))
		if (r->shared->stage >= stage)
			return true;
	return false;
}

static void take(struct run *r, int fd, short type, off_t start, bool blocking)
{
	int ret;

	while ((ret = lock(r->kind, fd, type, start, 8, blocking)) == -EAGAIN || ret == -EACCES || ret == -EINTR)
		stress_pause_us(100);
	if (ret < 0)
		fail(r, "lock type %d at %lld: %s", type, (long long)start, strerror(-ret));
}

/* One process: add 1 to random counters, each under its own lock. */
static void count_up(struct run *r, int id)
{
	struct rng rng = {stress_mix(r->seed + (uint64_t)id)};
	int fd = open_file(r);

	for (uint64_t n = 0; n < r->rounds_count; n++) {
		uint64_t slot = r->kind == KIND_FLOCK ? 0 : rng_below(&rng, RANGES);
		off_t at = (off_t)(slot * 8);
		uint64_t value = 0;

		if (r->deadline > 0 && stress_now() > r->deadline)
			break;
		if (!r->no_reopen && rng_below(&rng, 50) == 0) { /* a new open file, sometimes */
			(void)close(fd);
			fd = open_file(r);
		}
		take(r, fd, F_WRLCK, at, rng_below(&rng, 2));
		if (pread(fd, &value, sizeof(value), at) < 0)
			fail(r, "pread: %s", strerror(errno));
		if (rng_below(&rng, 8) == 0)
			stress_pause_us((long)rng_below(&rng, 50));
		value++;
		if (pwrite(fd, &value, sizeof(value), at) != sizeof(value))
			fail(r, "pwrite: %s", strerror(errno));
		r->shared->added[slot]++;
		if (lock(r->kind, fd, F_UNLCK, at, 8, true) < 0)
			fail(r, "unlock failed");
	}
	_exit(r->shared->failed ? EXIT_FAILED : EXIT_PASS);
}

static void reap_all(struct run *r, const char *what)
{
	int status;

	while (wait(&status) > 0)
		if (!WIFEXITED(status) || WEXITSTATUS(status) != EXIT_PASS)
			fail(r, "%s: a process ended with status 0x%x", what, (unsigned)status);
}

static void check_counters(struct run *r)
{
	uint64_t values[RANGES] = {0}, total = 0;
	int fd = open_file(r);

	if (ftruncate(fd, 0) < 0 || ftruncate(fd, sizeof(values)) < 0)
		fail(r, "ftruncate: %s", strerror(errno));
	for (int i = 0; i < RANGES; i++)
		r->shared->added[i] = 0;
	fflush(stdout);
	for (uint64_t i = 0; i < r->processes_count; i++)
		if (fork() == 0)
			count_up(r, (int)i);
	reap_all(r, "counters");
	if (pread(fd, values, sizeof(values), 0) != sizeof(values))
		fail(r, "pread: %s", strerror(errno));
	for (int i = 0; i < RANGES; i++) {
		total += values[i];
		if (values[i] != r->shared->added[i])
			fail(r, "counter %d is %llu, %llu were added: the lock did not exclude", i,
			     (unsigned long long)values[i], (unsigned long long)r->shared->added[i]);
	}
	printf("  %s: %llu locked updates by %llu processes\n", kind_names[r->kind], (unsigned long long)total,
	       (unsigned long long)r->processes_count);
	(void)close(fd);
}

/* Starts a child with body; it must end with EXIT_PASS. */
static pid_t start(struct run *r, void (*body)(struct run *r))
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		body(r);
		_exit(r->shared->failed ? EXIT_FAILED : EXIT_PASS);
	}
	return pid;
}

static bool is_free(struct run *r, short type)
{
	int fd = open_file(r), ret = lock(r->kind, fd, type, 0, 8, false);

	(void)close(fd); /* releases it again */
	return ret == 0;
}

/* Whether a lock is held is asked from another process: the asker's own POSIX locks never conflict. */
static void ask_write_free(struct run *r)
{
	_exit(is_free(r, F_WRLCK) ? 0 : 3);
}

static void ask_read_free(struct run *r)
{
	_exit(is_free(r, F_RDLCK) ? 0 : 3);
}

static bool free_for(struct run *r, bool reader)
{
	pid_t pid = start(r, reader ? ask_read_free : ask_write_free);
	int status = 0;

	if (waitpid(pid, &status, 0) < 0)
		return false;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void expect_free(struct run *r, const char *when, bool reader, bool want)
{
	if (free_for(r, reader) != want)
		fail(r, "%s: the lock should %sbe free for %s", when, want ? "" : "not ", reader ? "readers" : "writers");
}

static void check_shared(struct run *r)
{
	int fd = open_file(r);

	if (lock(r->kind, fd, F_RDLCK, 0, 8, false) < 0)
		fail(r, "shared lock refused");
	expect_free(r, "shared lock held", true, true);
	expect_free(r, "shared lock held", false, false);
	if (lock(r->kind, fd, F_WRLCK, 0, 8, false) < 0)
		fail(r, "upgrade refused");
	expect_free(r, "exclusive lock held", true, false);
	if (lock(r->kind, fd, F_RDLCK, 0, 8, false) < 0)
		fail(r, "downgrade refused");
	expect_free(r, "downgraded", true, true);
	if (lock(r->kind, fd, F_UNLCK, 0, 8, false) < 0)
		fail(r, "unlock refused");
	expect_free(r, "unlocked", false, true);
	if (lock(r->kind, fd, F_WRLCK, 0, 8, false) < 0)
		fail(r, "lock refused");
	(void)close(fd);
	expect_free(r, "closed", false, true);
}

static void wait_for_lock(struct run *r)
{
	int fd = open_file(r), ret;

	r->shared->stage = 1;
	ret = lock(r->kind, fd, F_WRLCK, 0, 8, true);
	if (ret < 0)
		fail(r, "blocking lock: %s", strerror(-ret));
	r->shared->stage = 2;
	(void)close(fd);
}

/* A waiter gets the lock soon after its holder lets go, and not before. */
static void check_handover(struct run *r)
{
	int fd = open_file(r);
	double before;
	pid_t pid;

	r->shared->stage = 0;
	if (lock(r->kind, fd, F_WRLCK, 0, 8, false) < 0)
		fail(r, "lock refused");
	pid = start(r, wait_for_lock);
	if (!wait_stage(r, 1))
		fail(r, "the waiter did not start");
	stress_pause_us(100000);
	if (r->shared->stage != 1)
		fail(r, "the waiter got a lock that was held");
	before = stress_now();
	if (lock(r->kind, fd, F_UNLCK, 0, 8, false) < 0)
		fail(r, "unlock refused");
	if (wait_stage(r, 2)) {
		printf("  %s: hand-over took %.2f ms\n", kind_names[r->kind], (stress_now() - before) * 1000);
	} else {
		fail(r, "no hand-over within %d ms", HANDOVER_LIMIT_MS);
		(void)kill(pid, SIGKILL);
	}
	(void)waitpid(pid, NULL, 0);
	(void)close(fd);
}

static void on_alarm(int sig)
{
	(void)sig;
}

static void wait_interrupted(struct run *r)
{
	struct sigaction sa = {.sa_handler = on_alarm}; /* no SA_RESTART */
	int fd = open_file(r), ret;

	(void)sigaction(SIGALRM, &sa, NULL);
	r->shared->stage = 1;
	alarm(1);
	ret = lock(r->kind, fd, F_WRLCK, 0, 8, true);
	alarm(0);
	if (ret != -EINTR)
		fail(r, "interrupted wait: %s, expected EINTR", ret ? strerror(-ret) : "lock granted");
	r->shared->stage = 2;
	/* stay alive with the file open: a wait that was not really cancelled would now own the lock */
	while (r->shared->stage < 3)
		stress_pause_us(1000);
	(void)close(fd);
}

/* A wait ended by a signal gives EINTR and leaves nothing behind. */
static void check_interrupt(struct run *r)
{
	int fd = open_file(r);
	pid_t pid;

	r->shared->stage = 0;
	if (lock(r->kind, fd, F_WRLCK, 0, 8, false) < 0)
		fail(r, "lock refused");
	pid = start(r, wait_interrupted);
	if (!wait_stage(r, 2))
		fail(r, "a blocking wait did not end with the signal");
	if (lock(r->kind, fd, F_UNLCK, 0, 8, false) < 0)
		fail(r, "unlock refused");
	stress_pause_us(20000);
	expect_free(r, "after an interrupted wait", false, true);
	r->shared->stage = 3;
	(void)waitpid(pid, NULL, 0);
	(void)close(fd);
}

static void hold_for_ever(struct run *r)
{
	int fd = open_file(r);

	if (lock(r->kind, fd, F_WRLCK, 0, 8, false) < 0)
		fail(r, "lock refused");
	r->shared->stage = 1;
	for (;;)
		pause();
}

static bool ended_within(pid_t pid, int limit_ms)
{
	for (double end = stress_now() + limit_ms / 1000.0; stress_now() < end; stress_pause_us(1000))
		if (waitpid(pid, NULL, WNOHANG) != 0)
			return true;
	return false;
}

/* Locks end with their holder; a waiter that is killed leaves the queue. */
static void check_death(struct run *r)
{
	pid_t holder, waiter;

	r->shared->stage = 0;
	holder = start(r, hold_for_ever);
	if (!wait_stage(r, 1))
		fail(r, "the holder did not start");
	expect_free(r, "held by another process", false, false);
	waiter = start(r, wait_for_lock);
	stress_pause_us(50000);
	(void)kill(waiter, SIGKILL);
	if (!ended_within(waiter, HANDOVER_LIMIT_MS))
		fail(r, "a process that waits for a lock cannot be killed");
	(void)kill(holder, SIGKILL);
	if (!ended_within(holder, HANDOVER_LIMIT_MS))
		fail(r, "the killed holder of a lock does not end");
	(void)waitpid(waiter, NULL, 0); /* ended above, or now that the lock is free */
	stress_pause_us(20000); /* a FUSE release is asynchronous */
	expect_free(r, "after the holder was killed", false, true);
}

static void query_lock(struct run *r)
{
	struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 100};
	int fd = open_file(r);

	if (fcntl(fd, r->kind == KIND_OFD ? F_OFD_GETLK : F_GETLK, &fl) < 0)
		fail(r, "F_GETLK: %s", strerror(errno));
	else if (fl.l_type != F_WRLCK || fl.l_start != 16 || fl.l_len != 8)
		fail(r, "F_GETLK: type %d range %lld+%lld, expected write 16+8", fl.l_type, (long long)fl.l_start,
		     (long long)fl.l_len);
	else if (r->kind == KIND_POSIX && fl.l_pid != getppid())
		fail(r, "F_GETLK: pid %d, the holder is %d", fl.l_pid, getppid());
	(void)close(fd);
}

static void check_query(struct run *r)
{
	int fd = open_file(r);

	if (r->kind == KIND_FLOCK) {
		(void)close(fd);
		return;
	}
	if (lock(r->kind, fd, F_WRLCK, 16, 8, false) < 0)
		fail(r, "lock refused");
	(void)start(r, query_lock);
	reap_all(r, "F_GETLK");
	expect_free(r, "another range is locked", false, true);
	(void)close(fd);
}

static void cross(struct run *r)
{
	int fd = open_file(r), ret;

	if (lock(r->kind, fd, F_WRLCK, 8, 8, false) < 0)
		fail(r, "lock refused");
	r->shared->stage = 1;
	ret = lock(r->kind, fd, F_WRLCK, 0, 8, true); /* the parent holds it and will want ours */
	_exit(ret == -EDEADLK ? 3 : EXIT_PASS);
}

/* POSIX locks only: one of two processes that wait for each other is told so. */
static void check_deadlock(struct run *r)
{
	struct sigaction sa = {.sa_handler = on_alarm};
	int fd = open_file(r), ret, status = 0;
	pid_t pid;

	(void)sigaction(SIGALRM, &sa, NULL);
	r->shared->stage = 0;
	if (lock(r->kind, fd, F_WRLCK, 0, 8, false) < 0)
		fail(r, "lock refused");
	pid = start(r, cross);
	if (!wait_stage(r, 1))
		fail(r, "the other process did not start");
	stress_pause_us(50000);
	alarm(2);
	ret = lock(r->kind, fd, F_WRLCK, 8, 8, true);
	alarm(0);
	(void)close(fd); /* lets the other go on */
	(void)waitpid(pid, &status, 0);
	if (ret != -EDEADLK && !(WIFEXITED(status) && WEXITSTATUS(status) == 3)) {
		printf("  %s: %s no EDEADLK for two processes that wait for each other\n", kind_names[r->kind],
		       r->need_deadlock_error ? "" : "NOTE");
		if (r->need_deadlock_error)
			fail(r, "no EDEADLK");
	}
}

static void usage(const char *name)
{
	fprintf(stderr,
		"usage: %s [-P processes] [-N rounds] [-T seconds] [-S seed] [-m posix|ofd|flock|all] [-D] [-R] FILE\n"
		"  -T  time for the counters of all kinds together; -D missing EDEADLK is a failure\n"
		"  -R  the file is not closed and opened during the counting\n",
		name);
	exit(EXIT_USAGE);
}

/* Runs every check even when one failed; 1 when any did. */
static int run_kind(struct run *r)
{
	static void (*const checks[])(struct run *r) = {
		check_counters, check_shared, check_handover, check_interrupt, check_death, check_query, check_deadlock,
	};
	int failed = 0;

	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
		if (checks[i] == check_deadlock && r->kind != KIND_POSIX)
			continue;
		r->shared->failed = 0;
		checks[i](r);
		failed |= r->shared->failed;
	}
	return failed;
}

int main(int argc, char **argv)
{
	struct run r = {.processes_count = 4, .rounds_count = 2000, .seed = (uint64_t)time(NULL)};
	const char *only = "all";
	uint64_t seconds = 0;
	int c, failed = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	while ((c = getopt(argc, argv, "P:N:T:S:m:DRh")) != -1) {
		switch (c) {
		case 'P': r.processes_count = stress_number("-P", optarg, 1, 256); break;
		case 'N': r.rounds_count = stress_number("-N", optarg, 1, UINT32_MAX); break;
		case 'T': seconds = stress_number("-T", optarg, 1, 86400); break;
		case 'S': r.seed = stress_number("-S", optarg, 0, UINT64_MAX); break;
		case 'm': only = optarg; break;
		case 'R': r.no_reopen = true; break;
		case 'D': r.need_deadlock_error = true; break;
		default: usage(argv[0]);
		}
	}
	if (optind + 1 != argc)
		usage(argv[0]);
	r.path = argv[optind];
	r.shared = mmap(NULL, sizeof(*r.shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (r.shared == MAP_FAILED)
		return EXIT_USAGE;
	printf("locks seed %llu file %s\n", (unsigned long long)r.seed, r.path);
	for (int kind = 0; kind < KIND_COUNT; kind++) {
		if (strcmp(only, "all") != 0 && strcmp(only, kind_names[kind]) != 0)
			continue;
		r.kind = (enum kind)kind;
		r.deadline = seconds ? stress_now() + (double)seconds / KIND_COUNT : 0;
		failed |= run_kind(&r);
	}
	if (failed)
		return EXIT_FAILED;
	(void)unlink(r.path);
	printf("PASS locks seed %llu\n", (unsigned long long)r.seed);
	return EXIT_PASS;
}
