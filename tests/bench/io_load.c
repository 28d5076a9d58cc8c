/*
 * io_load.c - reads and writes of one file for a short time; prints one line of JSON
 *
 * usage: io_load FILE MODE DEPTH CALLERS SECONDS
 *   randread, randwrite   4 KiB with O_DIRECT, DEPTH requests of each caller in flight (kernel AIO above 1)
 *   coldread              4 KiB buffered, every page once, in random order, without readahead
 *   bufwrite              4 KiB buffered overwrite
 *   fdatasync             4 KiB buffered overwrite and fdatasync
 *   seqread               1 MiB buffered, from the start, until the end of the file
 *   seqwrite              1 MiB buffered into a new file for SECONDS, and one fsync, all timed
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 4096, LARGE = 1 << 20, DEPTH_MAX = 256, CALLERS_MAX = 64, SAMPLES_MAX = 200000 };

struct result {
	uint64_t ops_count, size_bytes, samples_count;
	double seconds;
	float samples_us[SAMPLES_MAX];
};

struct load {
	const char *path, *mode;
	unsigned depth, id, callers;
	double seconds;
	uint64_t blocks_count, state;
	struct result *result;
};

static double now(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail with this clock */
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void die(const char *what)
{
	fprintf(stderr, "io_load: %s: %s\n", what, strerror(errno));
	_exit(1);
}

static uint64_t random_block(struct load *l)
{
	l->state = l->state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (l->state >> 33) % l->blocks_count;
}

static void *buffer(size_t size)
{
	void *p;

	if (posix_memalign(&p, BLOCK, size))
		die("memory");
	memset(p, 0x5a, size);
	return p;
}

static void sample(struct load *l, double begin, double end)
{
	if (l->result->samples_count < SAMPLES_MAX)
		l->result->samples_us[l->result->samples_count++] = (float)((end - begin) * 1e6);
}

/* One request at a time; each op is 4 KiB. */
static void run_sync(struct load *l, int fd, bool write, bool sync)
{
	char *buf = buffer(BLOCK);
	double begin = now(), at = begin;

	while (at - begin < l->seconds) {
		off_t offset = (off_t)random_block(l) * BLOCK;
		ssize_t n = write ? pwrite(fd, buf, BLOCK, offset) : pread(fd, buf, BLOCK, offset);
		double end;

		if (n != BLOCK)
			die(write ? "pwrite" : "pread");
		if (sync && fdatasync(fd) < 0)
			die("fdatasync");
		end = now();
		sample(l, at, end);
		at = end;
		l->result->ops_count++;
	}
	l->result->seconds = at - begin;
}

/* A permutation of the pages: i * odd mod 2^k, those outside of the file are left out. */
static void run_cold(struct load *l, int fd)
{
	char *buf = buffer(BLOCK);
	uint64_t range = 1, step;
	double begin, at;

	if (posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM))
		die("fadvise");
	while (range < l->blocks_count)
		range *= 2;
	step = (range / 8 * 5) | 1;
	begin = at = now();
	for (uint64_t i = 0; i < range && at - begin < l->seconds; i++) {
		uint64_t block = (i * step + l->id * 97) % range;
		double end;

		if (block >= l->blocks_count || i % l->callers != l->id)
			continue;
		if (pread(fd, buf, BLOCK, (off_t)(block * BLOCK)) != BLOCK)
			die("pread");
		end = now();
		sample(l, at, end);
		at = end;
		l->result->ops_count++;
	}
	l->result->seconds = at - begin;
}

static void run_aio(struct load *l, int fd, bool write)
{
	struct iocb cbs[DEPTH_MAX], *list[DEPTH_MAX];
	struct io_event events[DEPTH_MAX];
	double begun[DEPTH_MAX], begin = now(), at = begin;
	aio_context_t ctx = 0;
	char *buf = buffer((size_t)BLOCK * l->depth);
	unsigned flying = 0;
	long ready = (long)l->depth;

	if (syscall(SYS_io_setup, l->depth, &ctx) < 0)
		die("io_setup");
	memset(cbs, 0, sizeof(cbs));
	for (unsigned i = 0; i < l->depth; i++)
		list[i] = &cbs[i];
	while (flying || at - begin < l->seconds) {
		if (at - begin < l->seconds) {
			for (long i = 0; i < ready; i++) {
				size_t slot = (size_t)(list[i] - cbs);

				*list[i] = (struct iocb){.aio_lio_opcode = write ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD,
							 .aio_fildes = (uint32_t)fd, .aio_data = slot,
							 .aio_buf = (uint64_t)(uintptr_t)(buf + slot * BLOCK),
							 .aio_nbytes = BLOCK,
							 .aio_offset = (int64_t)random_block(l) * BLOCK};
				begun[slot] = at;
			}
			for (long done = 0; done < ready;) {
				long n = syscall(SYS_io_submit, ctx, ready - done, list + done);

				if (n <= 0)
					die("io_submit");
				done += n;
				flying += (unsigned)n;
			}
		}
		ready = syscall(SYS_io_getevents, ctx, 1L, (long)l->depth, events, NULL);
		if (ready < 0)
			die("io_getevents");
		at = now();
		for (long i = 0; i < ready; i++) {
			if (events[i].res != BLOCK) {
				errno = (int)-events[i].res;
				die("aio");
			}
			list[i] = &cbs[events[i].data];
			sample(l, begun[events[i].data], at);
		}
		flying -= (unsigned)ready;
		l->result->ops_count += (uint64_t)ready;
	}
	l->result->seconds = at - begin;
}

static void run_seqread(struct load *l, int fd)
{
	char *buf = buffer(LARGE);
	double begin = now();
	ssize_t n;

	while (now() - begin < l->seconds && (n = read(fd, buf, LARGE)) != 0) {
		if (n < 0)
			die("read");
		l->result->ops_count++;
		l->result->size_bytes += (uint64_t)n;
	}
	l->result->seconds = now() - begin;
}

static void run_seqwrite(struct load *l, int fd)
{
	char *buf = buffer(LARGE);
	double begin = now();

	/* at most 512 MiB: the backing is memory */
	while (now() - begin < l->seconds && l->result->ops_count < 512) {
		if (write(fd, buf, LARGE) != LARGE)
			die("write");
		l->result->ops_count++;
		l->result->size_bytes += LARGE;
	}
	if (fsync(fd) < 0)
		die("fsync");
	l->result->seconds = now() - begin;
}

static void run(struct load *l)
{
	bool random = strncmp(l->mode, "rand", 4) == 0, write = strcmp(l->mode, "randwrite") == 0;
	int flags = O_RDWR | O_CLOEXEC | (random ? O_DIRECT : 0), fd;
	struct stat st;

	if (strcmp(l->mode, "seqwrite") == 0)
		flags |= O_CREAT | O_TRUNC;
	fd = open(l->path, flags, 0644);
	if (fd < 0 || fstat(fd, &st) < 0)
		die(l->path);
	l->blocks_count = (uint64_t)st.st_size / BLOCK;
	l->state = 88172645463325252ULL + l->id * 7919;
	if (random && l->depth > 1)
		run_aio(l, fd, write);
	else if (random)
		run_sync(l, fd, write, false);
	else if (strcmp(l->mode, "coldread") == 0)
		run_cold(l, fd);
	else if (strcmp(l->mode, "bufwrite") == 0)
		run_sync(l, fd, true, false);
	else if (strcmp(l->mode, "fdatasync") == 0)
		run_sync(l, fd, true, true);
	else if (strcmp(l->mode, "seqread") == 0)
		run_seqread(l, fd);
	else if (strcmp(l->mode, "seqwrite") == 0)
		run_seqwrite(l, fd);
	else
		_exit(2);
	if (close(fd) < 0)
		die("close");
}

static int by_value(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return (x > y) - (x < y);
}

/* Of the callers, which have ended. */
static double cpu_seconds(void)
{
	struct rusage use;

	(void)getrusage(RUSAGE_CHILDREN, &use); /* cannot fail with this argument */
	return (double)use.ru_utime.tv_sec + (double)use.ru_stime.tv_sec +
	       (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
}

/* Rates are added up: all callers run at the same time. */
static void report(struct result *results, unsigned callers)
{
	double rate = 0, bytes = 0, p50 = 0, p99 = 0;
	uint64_t ops_count = 0;

	for (unsigned i = 0; i < callers; i++) {
		struct result *r = &results[i];

		ops_count += r->ops_count;
		if (r->seconds > 0) {
			rate += (double)r->ops_count / r->seconds;
			bytes += (double)r->size_bytes / r->seconds;
		}
		qsort(r->samples_us, r->samples_count, sizeof(float), by_value);
		if (r->samples_count) {
			p50 += (double)r->samples_us[r->samples_count / 2] / callers;
			p99 += (double)r->samples_us[r->samples_count * 99 / 100] / callers;
		}
	}
	printf("{\"ops\": %llu, \"ops_per_s\": %.1f, \"bytes_per_s\": %.0f, \"cpu_s\": %.6f, \"p50_us\": %.2f, \"p99_us\": %.2f}\n",
	       (unsigned long long)ops_count, rate, bytes, cpu_seconds(), p50, p99);
}

int main(int argc, char **argv)
{
	struct load l = {0};
	struct result *results;
	int status, failed = 0;

	if (argc != 6) {
		fprintf(stderr, "usage: %s FILE MODE DEPTH CALLERS SECONDS\n", argv[0]);
		return 2;
	}
	l.path = argv[1];
	l.mode = argv[2];
	l.depth = (unsigned)atoi(argv[3]);
	l.callers = (unsigned)atoi(argv[4]);
	l.seconds = atof(argv[5]);
	if (l.depth < 1 || l.depth > DEPTH_MAX || l.callers < 1 || l.callers > CALLERS_MAX || l.seconds <= 0)
		return 2;
	results = mmap(NULL, sizeof(*results) * l.callers, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (results == MAP_FAILED)
		return 1;
	for (unsigned i = 0; i < l.callers; i++) {
		l.id = i;
		l.result = &results[i];
		if (fork() == 0) {
			run(&l);
			_exit(0);
		}
	}
	while (wait(&status) > 0)
		failed |= status != 0;
	if (failed)
		return 1;
	report(results, l.callers);
	return 0;
}
