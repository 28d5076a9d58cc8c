/* SPDX-License-Identifier: MIT */
/*
 * syncer.c - the same calls over and over: syncer [-d] [-e] [-o] [-t THREADS] [-m DEVICE:BLOCK] FILE COUNT CALLS
 *
 * CALLS: w overwrite the next block, a append a block, h write a block of a hole, p write a preallocated block, c cut a block off the end,
 * r rename, s fsync, d fdatasync, y overwrite with RWF_DSYNC, e.g. "ws". FILE has been written before, at least 64 blocks.
 * -d: O_DIRECT. With THREADS each works on a file of its own, FILE.N; with -o on FILE, too. Ends with 1 at the first error, naming it;
 * prints "errors N" with -e, which goes on after errors of the syncs. With -m all calls are made once more before, and the
 * rest lies between reads of blocks BLOCK and BLOCK + 1 of DEVICE: so it can be found in the device's trace.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define BLOCK 4096u
#define BLOCKS 64u

struct job {
	pthread_t tid;
	char path[4096];
	const char *calls;
	long count;
	bool direct, go_on;
	long errors;
};

static const char *mark_device;
static long mark_block;
static pthread_barrier_t barrier;

static void die(const char *what)
{
	fprintf(stderr, "syncer: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void put(int fd, char *block, off_t at, int flags)
{
	const struct iovec iov = { block, BLOCK };

	if (pwritev2(fd, &iov, 1, at, flags) != (ssize_t)BLOCK)
		die("write");
}

static void sync_one(struct job *j, int fd, char call)
{
	if ((call == 's' ? fsync(fd) : fdatasync(fd)) == 0)
		return;
	if (!j->go_on)
		die(call == 's' ? "fsync" : "fdatasync");
	printf("%s: %s\n", call == 's' ? "fsync" : "fdatasync", strerror(errno));
	j->errors++;
}

/** prepare() - what CALLS need in the file, durable; end: of it. */
static off_t prepare(const struct job *j, int fd)
{
	const off_t room = (off_t)(j->count + 2) * BLOCK;
	off_t end = lseek(fd, 0, SEEK_END);

	if (strchr(j->calls, 'h') && ftruncate(fd, end + 2 * room))
		die("hole");
	if (strchr(j->calls, 'p') && fallocate(fd, 0, end, room))
		die("fallocate");
	if (strpbrk(j->calls, "hp") && fsync(fd))
		die("fsync");
	return end;
}

/** rename_once() - to another name, or back. */
static void rename_once(const struct job *j, bool back)
{
	char other[sizeof(j->path) + 2];

	snprintf(other, sizeof(other), "%s~", j->path);
	if (back ? rename(other, j->path) : rename(j->path, other))
		die("rename");
}

/** mark() - one read of the device that nothing else makes. */
static void mark(long block)
{
	int fd = open(mark_device, O_RDONLY | O_DIRECT | O_CLOEXEC);
	char *buf = NULL;

	if (fd < 0 || posix_memalign((void **)&buf, BLOCK, BLOCK) || pread(fd, buf, BLOCK, (off_t)block * BLOCK) != (ssize_t)BLOCK)
		die(mark_device);
	free(buf);
	(void)close(fd); /* read only */
}

/** meet() - all threads are here; one of them marks. */
static void meet(long block)
{
	if (mark_device && pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD)
		mark(block);
	if (mark_device)
		(void)pthread_barrier_wait(&barrier); /* the marker is back */
}

static void *run(void *arg)
{
	struct job *j = arg;
	int fd = open(j->path, O_RDWR | O_CREAT | O_CLOEXEC | (j->direct ? O_DIRECT : 0), 0644);
	char *block = NULL;
	bool away = false;
	off_t end;

	if (fd < 0 || posix_memalign((void **)&block, BLOCK, BLOCK))
		die(j->path);
	end = prepare(j, fd);
	for (long n = mark_device ? -1 : 0; n < j->count; n++) {
		if (n == 0)
			meet(mark_block);
		memset(block, 'A' + (int)((n + 26) % 26), BLOCK);
		for (const char *c = j->calls; *c; c++) {
			if (*c == 'w' || *c == 'y')
				put(fd, block, (off_t)((n + BLOCKS) % BLOCKS) * BLOCK, *c == 'y' ? RWF_DSYNC : 0);
			else if (*c == 'a' || *c == 'p')
				put(fd, block, end, 0), end += BLOCK;
			else if (*c == 'h')
				put(fd, block, end, 0), end += 2 * BLOCK; /* blocks that do not touch */
			else if (*c == 'c' && ftruncate(fd, end -= BLOCK))
				die("ftruncate");
			else if (*c == 'r')
				rename_once(j, away), away = !away;
			else if (*c == 'c')
				continue;
			else
				sync_one(j, fd, *c);
		}
	}
	meet(mark_block + 1);
	free(block);
	if (close(fd) < 0)
		die("close");
	return NULL;
}

int main(int argc, char **argv)
{
	static struct job jobs[64];
	bool direct = false, go_on = false, one = false;
	long threads = 1, errors = 0;
	int opt;

	while ((opt = getopt(argc, argv, "deot:m:")) != -1) {
		if (opt == 'd')
			direct = true;
		else if (opt == 'e')
			go_on = true;
		else if (opt == 'o')
			one = true;
		else if (opt == 'm')
			mark_device = strsep(&optarg, ":"), mark_block = optarg ? strtol(optarg, NULL, 10) : 0;
		else if (opt == 't')
			threads = strtol(optarg, NULL, 10);
	}
	if (argc - optind != 3 || threads < 1 || threads > 64) {
		fprintf(stderr, "usage: syncer [-d] [-e] [-o] [-t THREADS] [-m DEVICE:BLOCK] FILE COUNT CALLS\n");
		return 2;
	}
	pthread_barrier_init(&barrier, NULL, (unsigned)threads);
	for (long n = 0; n < threads; n++) {
		struct job *j = &jobs[n];

		if (threads == 1 || one)
			snprintf(j->path, sizeof(j->path), "%s", argv[optind]);
		else
			snprintf(j->path, sizeof(j->path), "%s.%ld", argv[optind], n);
		j->count = strtol(argv[optind + 1], NULL, 10);
		j->calls = argv[optind + 2];
		j->direct = direct;
		j->go_on = go_on;
		if (pthread_create(&j->tid, NULL, run, j))
			die("thread");
	}
	for (long n = 0; n < threads; n++) {
		pthread_join(jobs[n].tid, NULL);
		errors += jobs[n].errors;
	}
	if (go_on)
		printf("errors %ld\n", errors);
	return 0;
}
