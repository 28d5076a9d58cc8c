/* SPDX-License-Identifier: MIT */
/*
 * write_paths.c - what a write to a file costs by each way that the daemon could take; prints a table
 *
 * usage: write_paths FILE [SECONDS]
 *   FILE is made, 128 MiB, all of it in the page cache, and overwritten at random.
 *   call    pwritev2(2) on this thread        one     one write in a ring at a time, waited for
 *   batch   16 writes in a ring, one enter    nowait  pwritev2 with RWF_NOWAIT
 * Columns: microseconds per write (median of calls, for batch of batches / 16); "punted": share of ring
 * writes that were not done when io_uring_enter returned without waiting, so a kernel worker did them.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#ifndef RWF_DONTCACHE
#define RWF_DONTCACHE 0x80 /* Linux 6.14 */
#endif

enum { FILE_MIB = 128, SAMPLES_MAX = 200000, BATCH = 16 };
enum way { CALL, ONE, BATCHED, NOWAIT };
static const char *const way_names[] = { "call", "one", "batch", "nowait" };

static float samples[SAMPLES_MAX];
static char *buf;
static struct io_uring ring;

static double now_us(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail with this clock */
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static uint64_t place(size_t size)
{
	static uint64_t state = 88172645463325252u;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state % (((uint64_t)FILE_MIB << 20) / size) * size;
}

/** by_ring() - @count writes with one enter. Return 0 or -errno; *@punted counts those that were not done at once. */
static int by_ring(int fd, size_t size, int flags, unsigned count, unsigned *punted)
{
	struct io_uring_cqe *cqe;
	int res = 0;

	for (unsigned n = 0; n < count; n++) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
		io_uring_prep_write(sqe, fd, buf, (unsigned)size, place(size));
		sqe->rw_flags = flags;
	}
	io_uring_submit(&ring);
	*punted += count - io_uring_cq_ready(&ring);
	for (unsigned n = 0; n < count; n++) {
		if (io_uring_wait_cqe(&ring, &cqe) < 0)
			return -EIO;
		if (cqe->res < 0)
			res = cqe->res;
		io_uring_cqe_seen(&ring, cqe);
	}
	return res;
}

static int by_call(int fd, size_t size, int flags)
{
	const struct iovec iov = { buf, size };

	return pwritev2(fd, &iov, 1, (off_t)place(size), flags) < 0 ? -errno : 0;
}

static int compare(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return x < y ? -1 : x > y;
}

static void measure(int fd, size_t size, enum way way, int flags, double seconds)
{
	double end = now_us() + seconds * 1e6;
	unsigned count = 0, punted = 0, asked = 0;
	int res = 0;

	while (res == 0 && count < SAMPLES_MAX) {
		double begin = now_us();
		unsigned each = way == BATCHED ? BATCH : 1;
		if (begin > end)
			break;
		if (way == CALL || way == NOWAIT)
			res = by_call(fd, size, flags | (way == NOWAIT ? RWF_NOWAIT : 0));
		else
			res = by_ring(fd, size, flags, each, &punted);
		asked += each;
		samples[count++] = (float)((now_us() - begin) / each);
	}
	printf("%7zu %-7s %-9s ", size, way_names[way], flags ? "dontcache" : "");
	if (res < 0) {
		printf("%s\n", strerror(-res));
		return;
	}
	qsort(samples, count, sizeof(samples[0]), compare);
	printf("%9.1f p50 %9.1f p99 %10.1f max us", samples[count / 2], samples[count - 1 - count / 100], samples[count - 1]);
	if (way == ONE || way == BATCHED)
		printf("  punted %3.0f %%", 100.0 * punted / asked);
	printf("\n");
}

int main(int argc, char **argv)
{
	static const size_t sizes[] = { 4096, 65536, 1 << 20 };
	double seconds = argc > 2 ? atof(argv[2]) : 0.3;
	int fd = argc > 1 ? open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0600) : -1;

	if (fd < 0 || posix_memalign((void **)&buf, 4096, 1 << 20)) {
		fprintf(stderr, "usage: write_paths FILE [SECONDS]\n");
		return 2;
	}
	memset(buf, 7, 1 << 20);
	if (io_uring_queue_init(64, &ring, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN) < 0) {
		perror("io_uring_queue_init");
		return 1;
	}
	for (unsigned n = 0; n < FILE_MIB; n++)
		if (pwrite(fd, buf, 1 << 20, (off_t)n << 20) < 0) {
			perror(argv[1]);
			return 1;
		}
	if (fsync(fd) < 0)
		perror("fsync");
	for (unsigned n = 0; n < sizeof(sizes) / sizeof(sizes[0]); n++)
		for (int flags = 0; flags <= RWF_DONTCACHE; flags += RWF_DONTCACHE)
			for (int way = CALL; way <= NOWAIT; way++)
				measure(fd, sizes[n], (enum way)way, flags, seconds);
	(void)unlink(argv[1]); /* if it fails the file stays, which is seen */
	return 0;
}
