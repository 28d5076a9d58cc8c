/* SPDX-License-Identifier: MIT */
/*
 * moves.c - one kind of read or write, many times, between the marks that counts.c knows.
 *
 * moves FILE read|write buffered|direct drop|keep BYTES TIMES: FILE has at least BYTES * TIMES bytes. Every piece of the file is moved once,
 * in a mixed order, with marks around each call; before it the pages that the kernel has of FILE are dropped, or not.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/** MARK() - for counts.c. What must not be moved across it are calls. */
#define MARK(number) __asm__ volatile(".byte 0x0f, 0x1f, 0x80, " number ", 0x00, 0x63, 0x7a")

__attribute__((format(printf, 1, 2), noreturn)) static void die(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	printf("FAIL moves: ");
	vprintf(format, ap);
	printf(": %s\n", strerror(errno));
	va_end(ap);
	exit(1);
}

static void move(int fd, bool writes, unsigned char *memory, size_t size, off_t off)
{
	ssize_t res;

	MARK("0x01");
	res = writes ? pwrite(fd, memory, size, off) : pread(fd, memory, size, off);
	MARK("0x02");
	if (res != (ssize_t)size)
		die("%zd of %zu bytes at %lld", res, size, (long long)off);
}

/** pass() - every piece once, the next one always half of the file away: nothing is read ahead of use. @times: 1, or even and no less than 4. */
static void pass(int fd, bool writes, unsigned char *memory, size_t size, unsigned times)
{
	unsigned half = times / 2;

	for (unsigned n = 0; n < times; n++)
		move(fd, writes, memory, size, (off_t)(n % 2 * half + n / 2) * (off_t)size);
}

int main(int argc, char **argv)
{
	bool writes, direct, drop;
	unsigned char *memory;
	unsigned times;
	size_t size;
	int fd;

	if (argc != 7) {
		fprintf(stderr, "usage: moves FILE read|write buffered|direct drop|keep BYTES TIMES\n");
		return 2;
	}
	writes = strcmp(argv[2], "write") == 0;
	direct = strcmp(argv[3], "direct") == 0;
	drop = strcmp(argv[4], "drop") == 0;
	size = strtoul(argv[5], NULL, 0);
	times = (unsigned)strtoul(argv[6], NULL, 0);
	fd = open(argv[1], (writes ? O_WRONLY : O_RDONLY) | (direct ? O_DIRECT : 0) | O_CLOEXEC);
	if (fd < 0)
		die("%s", argv[1]);
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (memory == MAP_FAILED)
		die("memory");
	memset(memory, 0x5a, size);
	if (posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM) != 0)
		die("posix_fadvise");
	if (drop && posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0)
		die("posix_fadvise");
	pass(fd, writes, memory, size, times);
	return close(fd) < 0;
}
