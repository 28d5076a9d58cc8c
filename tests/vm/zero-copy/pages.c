/* SPDX-License-Identifier: MIT */
/*
 * pages.c - reads and writes whose data may go straight between the caller's pages and the source: every byte is compared.
 *
 * pages FOLDER BACKING [SEED [SUBJECT]]: all subjects but races, or that one. FOLDER on the mount, BACKING the same one in the source. Says what
 * it has done, one line for each; the exit status is 1 when something differs, and the line says what. The daemon need not have zero-copy.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096u
#define BIG (5u << 20)
#define UNTOUCHED 0x5a
#define DIRT 0xa5
#define DIRTIED (4u << 20) /* what was freed last is given out first */

static const char *front, *back;
static uint64_t seed = 1;
static unsigned char *model; /* BIG bytes and a page, page-aligned */

__attribute__((format(printf, 1, 2), noreturn)) static void die(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	printf("FAIL ");
	vprintf(format, ap);
	printf("\n");
	va_end(ap);
	exit(1);
}

static uint64_t next(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	return seed ^= seed << 17;
}

static void *memory(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		die("%zu bytes of memory: %s", size, strerror(errno));
	return p;
}

static int opened(const char *folder, const char *name, int flags)
{
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, flags, 0644);
	if (fd < 0)
		die("open %s: %s", path, strerror(errno));
	return fd;
}

static void closed(int fd)
{
	if (close(fd) < 0)
		die("close: %s", strerror(errno));
}

/** same() - the source has what the model has, and not a byte more. */
static void same(const char *name, size_t size, const char *what)
{
	unsigned char *got = memory(BIG + PAGE);
	int fd = opened(back, name, O_RDONLY);
	ssize_t res = pread(fd, got, BIG + PAGE, 0);

	if (res != (ssize_t)size)
		die("%s: the source has %zd bytes instead of %zu", what, res, size);
	for (size_t n = memcmp(got, model, size) == 0 ? size : 0; n < size; n++)
		if (got[n] != model[n])
			die("%s: byte %zu of the source is %02x instead of %02x", what, n, got[n], model[n]);
	closed(fd);
	munmap(got, BIG + PAGE);
}

/** fill() - random contents of the model, and of the file in the source. */
static void fill(const char *name, size_t size)
{
	int fd = opened(back, name, O_RDWR | O_CREAT | O_TRUNC);

	for (size_t n = 0; n < size; n += 8) {
		uint64_t r = next();
		memcpy(model + n, &r, 8);
	}
	if (pwrite(fd, model, size, 0) != (ssize_t)size)
		die("fill %s: %s", name, strerror(errno));
	closed(fd);
}

/**
 * dirty_memory() - what is given out as new pages next is likely to hold DIRT, unless the kernel clears it
 *
 * By single pages of a process, and by pages of a file of the mount, which have the sizes in which the kernel keeps files.
 */
static void dirty_memory(void)
{
	unsigned char *p = memory(DIRTIED);
	int fd = opened(back, "dirt", O_RDWR | O_CREAT);

	(void)madvise(p, DIRTIED, MADV_NOHUGEPAGE); /* a kernel without has none */
	memset(p, DIRT, DIRTIED);
	if (pwrite(fd, p, DIRTIED, 0) != DIRTIED)
		die("dirt: %s", strerror(errno));
	closed(fd);
	fd = opened(front, "dirt", O_RDONLY);
	if (pread(fd, p, DIRTIED, 0) != DIRTIED)
		die("dirt: %s", strerror(errno));
	munmap(p, DIRTIED);
	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED); /* the same file again is no less right, only older */
	closed(fd);
}

/** tails() - of the last page of a file, what lies behind the end is zero: through a mapping, and when the file grows. */
static void tails(void)
{
	static const size_t sizes[] = { 1, 100, 4095, 4097, 8192, 65537, 131089, 1048577, 3000001 };

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		size_t size = sizes[i], end = (size + PAGE - 1) / PAGE * PAGE;
		unsigned char *map, byte[PAGE];
		int fd;

		fill("tail", size);
		dirty_memory();
		fd = opened(front, "tail", O_RDWR);
		map = mmap(NULL, end, PROT_READ, MAP_SHARED, fd, 0);
		if (map == MAP_FAILED)
			die("mmap: %s", strerror(errno));
		for (size_t n = 0; n < end; n++)
			if (map[n] != (n < size ? model[n] : 0))
				die("tail: byte %zu of %zu is %02x through the mapping", n, size, map[n]);
		munmap(map, end);
		if (ftruncate(fd, (off_t)(size + PAGE)) < 0 || pread(fd, byte, PAGE, (off_t)size) != PAGE)
			die("tail: %zu bytes cannot grow: %s", size, strerror(errno));
		for (size_t n = 0; n < PAGE; n++)
			if (byte[n])
				die("tail: byte %zu behind the old end, %zu, is %02x", n, size, byte[n]);
		closed(fd);
	}
	printf("tails: nothing behind the end of a file\n");
}

/** cuts() - the same of a file that is shorter than the mount knows: it was cut in the source, and a read is short. */
static void cuts(void)
{
	static const size_t sizes[] = { 1, 4097, 70001, 131089, 300000 };
	const size_t all = 1u << 19;

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		size_t size = sizes[i], end = (size + PAGE - 1) / PAGE * PAGE;
		int fd, behind = opened(back, "cut", O_RDWR | O_CREAT);
		unsigned char *map;

		fill("cut", all);
		dirty_memory();
		fd = opened(front, "cut", O_RDONLY);
		map = mmap(NULL, all, PROT_READ, MAP_SHARED, fd, 0);
		if (map == MAP_FAILED)
			die("mmap: %s", strerror(errno));
		(void)madvise(map, all, MADV_RANDOM);
		if (ftruncate(behind, (off_t)size) < 0)
			die("cut: %s", strerror(errno));
		for (size_t n = end - PAGE; n < end; n++)
			if (map[n] != (n < size ? model[n] : 0))
				die("cut: byte %zu of %zu is %02x through the mapping", n, size, map[n]);
		munmap(map, all);
		closed(fd);
		closed(behind);
	}
	printf("cuts: nothing behind the end of a file that was cut\n");
}

struct shape {
	size_t memory; /* offset of the buffer in a page */
	size_t len;
	off_t off;
};

static const struct shape shapes[] = {
	{ 0, 4096, 0 }, { 0, 512, 512 }, { 512, 4096, 4096 }, { 1, 4096, 8192 }, { 17, 65536, 4096 }, { 0, 131072, 4096 },
	{ 0, 1048576, 0 }, { 512, 1048576, 512 }, { 3, 1048576, 1048576 }, { 0, 3u << 20, 65536 }, { 2048, (3u << 20) + 512, 4096 },
	{ 0, 4097, 4096 }, { 0, 4096, 100 }, { 9, 5000, 77 }, { 0, 8192, 3u << 20 }, { 4095, 2, 4095 },
};
#define SHAPES (sizeof(shapes) / sizeof(shapes[0]))

/** native_refuses() - the source itself does not do this either: memory, length or place not aligned. */
static bool native_refuses(const char *name, const struct shape *s)
{
	int fd = opened(back, name, O_RDONLY | O_DIRECT);
	unsigned char *p = memory(BIG + 2 * PAGE);
	bool refuses = pread(fd, p + s->memory, s->len, s->off) < 0;

	munmap(p, BIG + 2 * PAGE);
	closed(fd);
	return refuses;
}

/** all_are() - @size bytes. Emulated processors are slow at loops. */
static bool all_are(const unsigned char *p, size_t size, unsigned char byte)
{
	return !size || (p[0] == byte && memcmp(p, p + 1, size - 1) == 0);
}

static void reads(int flags, size_t size, const char *what)
{
	unsigned char *p = memory(BIG + 2 * PAGE);
	int fd;

	fill("read", size);
	fd = opened(front, "read", O_RDONLY | flags);
	for (unsigned i = 0; i < SHAPES; i++) {
		const struct shape *s = &shapes[i];
		size_t all = s->memory + s->len + 2 * PAGE; /* what is looked at */
		size_t want = (size_t)s->off >= size ? 0 : s->len < size - (size_t)s->off ? s->len : size - (size_t)s->off;
		ssize_t res;

		memset(p, UNTOUCHED, all);
		res = pread(fd, p + s->memory, s->len, s->off);
		if (res < 0 && errno == EINVAL && flags & O_DIRECT && native_refuses("read", s))
			continue;
		if (res != (ssize_t)want)
			die("%s: pread(%zu, %lld) at +%zu of %zu bytes: %zd (%s), not %zu", what, s->len, (long long)s->off, s->memory, size, res,
			    strerror(errno), want);
		if (all_are(p, s->memory, UNTOUCHED) && memcmp(p + s->memory, model + s->off, want) == 0 &&
		    all_are(p + s->memory + want, all - s->memory - want, UNTOUCHED))
			continue;
		for (size_t n = 0; n < all; n++) {
			bool in = n >= s->memory && n < s->memory + want;
			unsigned char right = in ? model[(size_t)s->off + n - s->memory] : UNTOUCHED;
			/* disk filesystems clear the rest of what was asked for, when they read it directly */
			bool cleared = flags & O_DIRECT && !in && n >= s->memory && n < s->memory + s->len && !p[n];
			if (p[n] != right && !cleared)
				die("%s: pread(%zu, %lld) at +%zu: byte %zu is %02x instead of %02x", what, s->len, (long long)s->off, s->memory, n,
				    p[n], right);
		}
	}
	closed(fd);
	munmap(p, BIG + 2 * PAGE);
	printf("%s of %zu bytes: every byte, and none beyond\n", what, size);
}

static void writes(int flags, const char *what)
{
	unsigned char *p = memory(BIG + 2 * PAGE);
	size_t size = 3u << 20;
	int fd;

	fill("write", size);
	fd = opened(front, "write", O_RDWR | flags);
	for (unsigned i = 0; i < SHAPES; i++) {
		const struct shape *s = &shapes[i];
		ssize_t res;

		for (size_t n = 0; n < s->len + 8; n += 8) {
			uint64_t r = next();
			memcpy(p + s->memory + n, &r, 8);
		}
		res = pwrite(fd, p + s->memory, s->len, s->off);
		if (res < 0 && errno == EINVAL && flags & O_DIRECT && native_refuses("write", s))
			continue;
		if (res != (ssize_t)s->len)
			die("%s: pwrite(%zu, %lld) at +%zu: %zd (%s)", what, s->len, (long long)s->off, s->memory, res, strerror(errno));
		if ((size_t)s->off > size)
			memset(model + size, 0, (size_t)s->off - size);
		memcpy(model + s->off, p + s->memory, s->len);
		if ((size_t)s->off + s->len > size)
			size = (size_t)s->off + s->len;
	}
	if (fsync(fd) < 0)
		die("%s: fsync: %s", what, strerror(errno));
	same("write", size, what);
	closed(fd);
	munmap(p, BIG + 2 * PAGE);
	printf("%s: every byte in the source\n", what);
}

/** pieces() - many buffers, none like the other, in one call. */
static void pieces(int flags, const char *what)
{
	static const size_t lens[] = { 512, 4096, 1024, 8192, 512, 65536, 4096, 512, 131072, 1024 };
	struct iovec iov[10];
	unsigned char *p = memory(BIG);
	size_t at = 0, all = 0;
	int fd;

	for (unsigned n = 0; n < 10; n++) {
		iov[n] = (struct iovec){ p + at + (flags ? 0 : n), lens[n] };
		at += (lens[n] + 2 * PAGE) / 512 * 512;
		all += lens[n];
	}
	fill("pieces", 1u << 20);
	fd = opened(front, "pieces", O_RDWR | flags);
	if (preadv(fd, iov, 10, 4096) != (ssize_t)all)
		die("%s: preadv: %s", what, strerror(errno));
	at = 4096;
	for (unsigned n = 0; n < 10; at += lens[n++])
		if (memcmp(iov[n].iov_base, model + at, lens[n]) != 0)
			die("%s: preadv: buffer %u differs", what, n);
	if (pwritev(fd, iov, 10, 512 * 1024) != (ssize_t)all || fsync(fd) < 0)
		die("%s: pwritev: %s", what, strerror(errno));
	memmove(model + 512 * 1024, model + 4096, all);
	same("pieces", 1u << 20, what);
	closed(fd);
	munmap(p, BIG);
	printf("%s: ten buffers in a call\n", what);
}

/** appends() - by two processes: each record whole, none lost. */
static void appends(void)
{
	enum { RECORDS = 60, SIZE = 3001 };
	unsigned seen[2] = { 0, 0 };
	unsigned char got[SIZE];
	pid_t pid;
	int fd, status;

	fill("append", 0);
	pid = fork();
	for (unsigned n = 0; n < RECORDS; n++) {
		memset(got, pid ? 'p' : 'c', SIZE);
		fd = opened(front, "append", O_WRONLY | O_APPEND);
		if (write(fd, got, SIZE) != SIZE)
			die("append: %s", strerror(errno));
		closed(fd);
	}
	if (pid == 0)
		_exit(0);
	if (waitpid(pid, &status, 0) != pid || status)
		die("append: the other process: %d", status);
	fd = opened(back, "append", O_RDONLY);
	while (read(fd, got, SIZE) == SIZE) {
		for (unsigned n = 1; n < SIZE; n++)
			if (got[n] != got[0])
				die("append: a record is torn at byte %u", n);
		seen[got[0] == 'p']++;
	}
	if (seen[0] != RECORDS || seen[1] != RECORDS)
		die("append: %u and %u records instead of %u each", seen[0], seen[1], RECORDS);
	closed(fd);
	printf("appends of two processes: none lost, none torn\n");
}

/** maps() - stores through a shared mapping reach the source; and a mapping of the mount is the buffer of direct reads and writes. */
static void maps(void)
{
	const size_t size = 1u << 20;
	unsigned char *map;
	int fd, other;

	fill("map", size);
	fd = opened(front, "map", O_RDWR);
	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		die("mmap: %s", strerror(errno));
	for (unsigned n = 0; n < 500; n++) {
		size_t at = next() % size;
		model[at] = map[at] = (unsigned char)next();
	}
	if (msync(map, size, MS_SYNC) < 0)
		die("msync: %s", strerror(errno));
	same("map", size, "map");
	other = opened(front, "out", O_RDWR | O_CREAT | O_TRUNC | O_DIRECT);
	if (pwrite(other, map, size, 0) != (ssize_t)size)
		die("write from a mapping: %s", strerror(errno));
	same("out", size, "write from a mapping");
	fill("out", size);
	if (pread(other, map, size, 0) != (ssize_t)size || memcmp(map, model, size) != 0)
		die("read into a mapping: %s", strerror(errno));
	if (msync(map, size, MS_SYNC) < 0)
		die("msync: %s", strerror(errno));
	same("map", size, "read into a mapping");
	munmap(map, size);
	closed(other);
	closed(fd);
	printf("maps: stores, and mappings as buffers\n");
}

/** races_child() - the file is cut and filled again, in the source, until this process is killed. */
static void races_child(size_t size)
{
	int fd = opened(back, "race", O_RDWR);

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* die() ends the parent */
	for (;;) {
		size_t cut = next() % size;

		if (ftruncate(fd, (off_t)cut) < 0 || pwrite(fd, model + cut, size - cut, (off_t)cut) != (ssize_t)(size - cut))
			_exit(1);
	}
}

/** races() - what is read while the file is cut and grows is what was in it, or zero: never what was in memory. */
static void races(void)
{
	enum { READS = 40 };
	const size_t size = 1u << 20;
	unsigned char *p = memory(size);
	unsigned shorter = 0;
	int status;
	pid_t pid;

	fill("race", size);
	pid = fork();
	if (pid == 0)
		races_child(size);
	for (unsigned reads = 0; reads < READS; reads++) {
		int fd = opened(front, "race", O_RDONLY | (reads % 3 == 2 ? O_DIRECT : 0));
		ssize_t res;

		(void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED); /* older pages are no less right */
		res = pread(fd, p, size, 0);
		if (res < 0 || (size_t)res > size)
			die("race: pread: %s", strerror(errno));
		for (ssize_t n = memcmp(p, model, (size_t)res) == 0 ? res : 0; n < res; n++)
			if (p[n] != model[n] && p[n])
				die("race: byte %zd of %zd is %02x instead of %02x or nothing", n, res, p[n], model[n]);
		shorter += (size_t)res < size;
		closed(fd);
	}
	if (kill(pid, SIGKILL) < 0 || waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status))
		die("race: the other process has ended");
	munmap(p, size);
	printf("races: %u of %u reads were short\n", shorter, READS);
}

static void all_reads(void)
{
	reads(0, 3000001, "buffered reads");
	reads(O_DIRECT, 3u << 20, "direct reads");
	reads(O_DIRECT, 70001, "direct reads");
}

static void all_writes(void)
{
	writes(0, "buffered writes");
	writes(O_DIRECT, "direct writes");
}

static void all_pieces(void)
{
	pieces(0, "buffered pieces");
	pieces(O_DIRECT, "direct pieces");
}

static const struct {
	const char *name;
	void (*fn)(void);
} subjects[] = { { "tails", tails }, { "cuts", cuts }, { "reads", all_reads }, { "writes", all_writes }, { "pieces", all_pieces }, { "appends", appends }, { "maps", maps },
	       { "races", races } };

int main(int argc, char **argv)
{
	unsigned done = 0;

	if (argc < 3) {
		fprintf(stderr, "usage: pages FOLDER BACKING [SEED [SUBJECT]]\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	front = argv[1];
	back = argv[2];
	if (argc > 3)
		seed = strtoull(argv[3], NULL, 0) | 1;
	model = memory(BIG + PAGE);
	for (unsigned n = 0; n < sizeof(subjects) / sizeof(subjects[0]); n++)
		if (argc < 5 ? subjects[n].fn != races : strcmp(argv[4], subjects[n].name) == 0) {
			subjects[n].fn();
			done++;
		}
	if (!done)
		die("no subject %s", argv[4]);
	return 0;
}
