/*
 * meta_load.c - operations on names; prints one line of JSON
 *
 * usage: meta_load DIR MODE THREADS COUNT SECONDS
 *   create, stat, open, list, rename, unlink: thread t works on DIR/t<t>/f<n>, n below COUNT, until all are done
 *   or the time is over. create makes DIR/t<t>; the others need what create has made.
 *   getattr asks for the attributes of one open file of each thread, past every cache.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { THREADS_MAX = 64, PATH_SIZE = 4600 };

struct job {
	const char *dir, *mode;
	unsigned id;
	uint64_t files_count, ops_count;
	double limit_seconds, seconds;
	pthread_t thread;
};

static double now(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail with this clock */
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void die(const char *what, const char *path)
{
	fprintf(stderr, "meta_load: %s %s: %s\n", what, path, strerror(errno));
	exit(1);
}

static void op_create(const char *path, const char *other)
{
	int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);

	(void)other;
	if (fd < 0 || close(fd) < 0)
		die("create", path);
}

static void op_stat(const char *path, const char *other)
{
	struct stat st;

	(void)other;
	if (lstat(path, &st) < 0)
		die("lstat", path);
}

static void op_open(const char *path, const char *other)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	(void)other;
	if (fd < 0 || close(fd) < 0)
		die("open", path);
}

static void op_rename(const char *path, const char *other)
{
	if (rename(path, other) < 0)
		die("rename", path);
}

static void op_unlink(const char *path, const char *other)
{
	(void)other;
	if (unlink(path) < 0)
		die("unlink", path);
}

static const struct {
	const char *name;
	void (*run)(const char *path, const char *other);
} ops[] = {
	{"create", op_create}, {"stat", op_stat}, {"open", op_open}, {"rename", op_rename}, {"unlink", op_unlink},
};

/* As ls -l: read the names, then ask for each. */
static void list(struct job *j, const char *dir)
{
	struct dirent *e;
	struct stat st;
	DIR *d = opendir(dir);

	if (!d)
		die("opendir", dir);
	while (errno = 0, (e = readdir(d))) {
		if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			die("fstatat", e->d_name);
		j->ops_count++;
	}
	if (errno)
		die("readdir", dir);
	(void)closedir(d); /* was only read */
}

static void attributes(struct job *j, const char *dir)
{
	char path[PATH_SIZE];
	double begin = now();
	struct statx st;
	int fd;

	snprintf(path, sizeof(path), "%s/f0", dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		die("open", path);
	for (; j->ops_count % 32 || now() - begin < j->limit_seconds; j->ops_count++)
		if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &st) < 0)
			die("statx", path);
	(void)close(fd); /* was only read */
}

static void *run(void *arg)
{
	struct job *j = arg;
	char dir[PATH_SIZE - 64], path[PATH_SIZE], other[PATH_SIZE];
	double begin;
	size_t op = 0;

	snprintf(dir, sizeof(dir), "%s/t%u", j->dir, j->id);
	if (strcmp(j->mode, "create") == 0 && mkdir(dir, 0755) < 0)
		die("mkdir", dir);
	begin = now();
	if (strcmp(j->mode, "list") == 0 || strcmp(j->mode, "getattr") == 0) {
		if (strcmp(j->mode, "list") == 0)
			list(j, dir);
		else
			attributes(j, dir);
		j->seconds = now() - begin;
		return NULL;
	}
	while (strcmp(ops[op].name, j->mode) != 0)
		op++;
	for (uint64_t i = 0; i < j->files_count; i++) {
		if (i % 32 == 0 && now() - begin > j->limit_seconds)
			break;
		snprintf(path, sizeof(path), "%s/f%llu", dir, (unsigned long long)i);
		snprintf(other, sizeof(other), "%s/g%llu", dir, (unsigned long long)i);
		ops[op].run(path, other);
		j->ops_count++;
	}
	j->seconds = now() - begin;
	return NULL;
}

static int mode_known(const char *mode)
{
	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
		if (strcmp(ops[i].name, mode) == 0)
			return 1;
	return strcmp(mode, "list") == 0 || strcmp(mode, "getattr") == 0;
}

static double cpu_seconds(void)
{
	struct rusage use;

	(void)getrusage(RUSAGE_SELF, &use); /* cannot fail with this argument */
	return (double)use.ru_utime.tv_sec + (double)use.ru_stime.tv_sec +
	       (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
}

int main(int argc, char **argv)
{
	static struct job jobs[THREADS_MAX];
	unsigned threads;
	double rate = 0;
	uint64_t ops_count = 0;

	if (argc != 6 || !mode_known(argv[2]) || atoi(argv[3]) < 1 || atoi(argv[3]) > THREADS_MAX) {
		fprintf(stderr, "usage: %s DIR MODE THREADS COUNT SECONDS\n", argv[0]);
		return 2;
	}
	threads = (unsigned)atoi(argv[3]);
	for (unsigned i = 0; i < threads; i++) {
		jobs[i] = (struct job){.dir = argv[1], .mode = argv[2], .id = i,
				       .files_count = strtoull(argv[4], NULL, 10), .limit_seconds = atof(argv[5])};
		if (pthread_create(&jobs[i].thread, NULL, run, &jobs[i]))
			die("thread", argv[1]);
	}
	for (unsigned i = 0; i < threads; i++) {
		(void)pthread_join(jobs[i].thread, NULL); /* just made, joined once */
		ops_count += jobs[i].ops_count;
		rate += jobs[i].seconds > 0 ? (double)jobs[i].ops_count / jobs[i].seconds : 0;
	}
	printf("{\"ops\": %llu, \"ops_per_s\": %.1f, \"cpu_s\": %.6f}\n", (unsigned long long)ops_count, rate, cpu_seconds());
	return 0;
}
