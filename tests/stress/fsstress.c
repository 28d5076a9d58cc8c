/*
 * fsstress.c - many processes change a tree of names at the same time
 *
 * With -V each process has its own subtree and knows exactly what must be there. Without, all work in
 * one tree, and only errors that a sound filesystem never answers count, and the final state.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "fsstress.h"

#include <dirent.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

struct settings {
	const char *dir;
	const char *backing;
	uint64_t seed, ops_count, processes_count, seconds;
	bool verify, keep, need_all;
	unsigned features;
};

static const char *const feature_names[] = {"rename-noreplace", "rename-exchange", "rename-whiteout",
					    "user-xattr",       "mknod",           "fallocate",
					    "punch-hole",       "o_tmpfile",       "dir-nlink"};

void worker_log(struct worker *w, const char *fmt, ...)
{
	char *line = w->log[w->log_count++ % LOG_COUNT];
	va_list ap;
	int n = snprintf(line, LOG_LEN, "%llu: ", (unsigned long long)w->op_number);

	va_start(ap, fmt);
	vsnprintf(line + n, LOG_LEN - (size_t)n, fmt, ap);
	va_end(ap);
}

void worker_fail(struct worker *w, const char *fmt, ...)
{
	uint64_t first = w->log_count > LOG_COUNT ? w->log_count - LOG_COUNT : 0;
	va_list ap;

	flockfile(stdout);
	printf("FAIL fsstress seed %llu process %d operation %llu: ", (unsigned long long)w->seed, w->id,
	       (unsigned long long)w->op_number);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\nlast operations:\n");
	for (uint64_t i = first; i < w->log_count; i++)
		printf("  p%d %s\n", w->id, w->log[i % LOG_COUNT]);
	fflush(stdout);
	funlockfile(stdout);
	_exit(EXIT_FAILED);
}

/* Removes everything in the directory at path, then the directory. Depth is bounded by TREE_DEPTH_MAX. */
static void remove_tree(const char *path)
{
	pid_t pid = fork();

	if (pid == 0) {
		execlp("rm", "rm", "-rf", "--", path, (char *)NULL);
		_exit(127);
	}
	if (pid > 0)
		(void)waitpid(pid, NULL, 0); /* leftovers are seen by the next mkdir */
}

static bool probe_rename(const char *dir, unsigned flags, bool with_target)
{
	char a[4200], b[4200];
	bool ok;

	snprintf(a, sizeof(a), "%s/probe-a", dir);
	snprintf(b, sizeof(b), "%s/probe-b", dir);
	(void)close(open(a, O_CREAT | O_WRONLY | O_CLOEXEC, 0600)); /* a failure shows in the rename */
	if (with_target)
		(void)close(open(b, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	ok = renameat2(AT_FDCWD, a, AT_FDCWD, b, flags) == 0;
	(void)unlink(a);
	(void)unlink(b);
	return ok;
}

static bool probe_dir_nlink(const char *dir)
{
	char sub[4200];
	struct stat before, after;
	bool ok;

	snprintf(sub, sizeof(sub), "%s/probe-d", dir);
	ok = stat(dir, &before) == 0 && mkdir(sub, 0700) == 0 && stat(dir, &after) == 0 &&
	     after.st_nlink == before.st_nlink + 1;
	(void)rmdir(sub);
	return ok;
}

static unsigned probe_features(const char *dir)
{
	unsigned have = 0;
	char path[4200];
	int fd;

	have |= probe_rename(dir, RENAME_NOREPLACE, false) ? FEATURE_NOREPLACE : 0;
	have |= probe_rename(dir, RENAME_EXCHANGE, true) ? FEATURE_EXCHANGE : 0;
	have |= probe_rename(dir, RENAME_WHITEOUT, false) ? FEATURE_WHITEOUT : 0;
	have |= probe_dir_nlink(dir) ? FEATURE_DIR_NLINK : 0;
	snprintf(path, sizeof(path), "%s/probe", dir);
	if (mknod(path, S_IFCHR | 0600, makedev(1, 3)) == 0)
		have |= FEATURE_MKNOD;
	(void)unlink(path);
	fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0) {
		have |= fsetxattr(fd, "user.x0", "1", 1, 0) == 0 ? FEATURE_XATTR : 0;
		have |= fallocate(fd, 0, 0, 8192) == 0 ? FEATURE_FALLOCATE : 0;
		have |= fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) == 0 ? FEATURE_PUNCH : 0;
		(void)close(fd);
	}
	(void)unlink(path);
	fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0) {
		have |= FEATURE_TMPFILE;
		(void)close(fd);
	}
	return have;
}

static void worker_main(const struct settings *set, int id)
{
	struct worker *w = stress_alloc(1, sizeof(*w));
	char backing[4200];

	w->id = id;
	w->seed = set->seed;
	w->rng.state = stress_mix(set->seed + (uint64_t)id * 7919);
	w->ops_count = set->ops_count;
	w->deadline = set->seconds ? stress_now() + (double)set->seconds : 0;
	w->features = set->features;
	if (!set->verify) {
		snprintf(w->root, sizeof(w->root), "%s", set->dir);
		shared_run(w);
		_exit(EXIT_PASS);
	}
	snprintf(w->root, sizeof(w->root), "%s/p%d", set->dir, id);
	if (mkdir(w->root, 0755) < 0)
		worker_fail(w, "mkdir %s: %s", w->root, strerror(errno));
	w->nodes[0] = (struct node){.type = NODE_DIR, .names_count = 1, .mode = 0755};
	ops_run(w);
	check_tree(w, w->root, "mount");
	if (set->backing) {
		snprintf(backing, sizeof(backing), "%s/p%d", set->backing, id);
		check_tree(w, backing, "backing");
		check_tree(w, w->root, "mount, after the backing was read");
	}
	printf("  p%d: %llu operations\n", id, (unsigned long long)w->op_number);
	fflush(stdout);
	_exit(EXIT_PASS);
}

static void usage(const char *name)
{
	fprintf(stderr,
		"usage: %s [-P processes] [-N ops] [-T seconds] [-S seed] [-V] [-F] [-k] [-B backing-dir] DIR\n"
		"  DIR is made (it must not exist) and removed\n"
		"  -V  own subtree per process, every result and the final tree checked against a model\n"
		"  -B  the same directory seen without the mount: must show the same tree\n"
		"  -F  fail if the filesystem lacks a feature that would be exercised; -k keep the tree\n",
		name);
	exit(EXIT_USAGE);
}

static void parse(struct settings *set, int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "P:N:T:S:B:VFkh")) != -1) {
		switch (c) {
		case 'P': set->processes_count = stress_number("-P", optarg, 1, 256); break;
		case 'N': set->ops_count = stress_number("-N", optarg, 1, UINT32_MAX); break;
		case 'T': set->seconds = stress_number("-T", optarg, 1, 86400); break;
		case 'S': set->seed = stress_number("-S", optarg, 0, UINT64_MAX); break;
		case 'B': set->backing = optarg; break;
		case 'V': set->verify = true; break;
		case 'F': set->need_all = true; break;
		case 'k': set->keep = true; break;
		default: usage(argv[0]);
		}
	}
	if (optind + 1 != argc)
		usage(argv[0]);
	set->dir = argv[optind];
}

static bool probe(struct settings *set)
{
	set->features = probe_features(set->dir);
	for (size_t i = 0; i < sizeof(feature_names) / sizeof(feature_names[0]); i++)
		if (!(set->features & 1u << i))
			printf("%s %s is not supported here\n", set->need_all ? "FAIL" : "NOTE", feature_names[i]);
	return !set->need_all || set->features == FEATURE_ALL;
}

/* Starts the workers, waits for all; the number of those that failed. */
static uint64_t run_workers(const struct settings *set)
{
	uint64_t failed = 0;
	int status;

	fflush(stdout);
	for (uint64_t i = 0; i < set->processes_count; i++) {
		pid_t pid = fork();

		if (pid < 0) {
			perror("fork");
			failed++;
			break;
		}
		if (pid == 0)
			worker_main(set, (int)i);
	}
	while (wait(&status) > 0) {
		if (WIFSIGNALED(status))
			printf("FAIL fsstress: a process was killed by signal %d\n", WTERMSIG(status));
		failed += !WIFEXITED(status) || WEXITSTATUS(status) != EXIT_PASS;
	}
	return failed;
}

int main(int argc, char **argv)
{
	struct settings set = {.seed = (uint64_t)time(NULL), .ops_count = 2000, .processes_count = 4};
	uint64_t failed;

	setvbuf(stdout, NULL, _IOLBF, 0);
	parse(&set, argc, argv);
	umask(0);
	if (mkdir(set.dir, 0755) < 0) {
		printf("FAIL fsstress: mkdir %s: %s\n", set.dir, strerror(errno));
		return EXIT_FAILED;
	}
	printf("fsstress seed %llu processes %llu ops %llu %s dir %s\n", (unsigned long long)set.seed,
	       (unsigned long long)set.processes_count, (unsigned long long)set.ops_count,
	       set.verify ? "verify" : "shared", set.dir);
	failed = probe(&set) ? run_workers(&set) : 1;
	if (!set.verify && !failed)
		failed += shared_check(set.dir, set.backing);
	if (!set.keep && !failed)
		remove_tree(set.dir);
	if (!set.keep && !failed && access(set.dir, F_OK) == 0) {
		printf("FAIL fsstress: %s could not be removed\n", set.dir);
		failed++;
	}
	if (failed) {
		printf("FAIL fsstress seed %llu: %llu failures, tree kept in %s\n", (unsigned long long)set.seed,
		       (unsigned long long)failed, set.dir);
		return EXIT_FAILED;
	}
	printf("PASS fsstress seed %llu\n", (unsigned long long)set.seed);
	return EXIT_PASS;
}
