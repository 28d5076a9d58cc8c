/*
 * fsx_ops.c - the operations of fsx: each does one thing to the file and the same to the model
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "fsx.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static void fsx_unsupported(const char *name)
{
	printf("NOTE %s is not supported here\n", name);
	for (size_t i = 0; i < fsx_ops_count; i++)
		if (strcmp(fsx_ops[i].name, name) == 0)
			fsx_ops[i].unsupported = true;
}

/* A piece of [0, limit), mostly short, sometimes page aligned. */
static void choose_range(struct fsx *f, uint64_t limit, uint64_t *ret_offset, uint64_t *ret_len)
{
	uint64_t offset = rng_below(&f->rng, limit);
	uint64_t max = limit - offset;
	uint64_t len;

	switch (rng_below(&f->rng, 4)) {
	case 0: len = 1 + rng_below(&f->rng, 64); break;
	case 1: len = 1 + rng_below(&f->rng, 16 * 1024); break;
	default: len = 1 + rng_below(&f->rng, max); break;
	}
	if (rng_below(&f->rng, 8) == 0) {
		offset = offset / FSX_ALIGN * FSX_ALIGN;
		len = (len + FSX_ALIGN - 1) / FSX_ALIGN * FSX_ALIGN;
	}
	if (len > limit - offset)
		len = limit - offset;
	*ret_offset = offset;
	*ret_len = len;
}

/* The model after a write of buf. */
static void model_write(struct fsx *f, uint64_t offset, const uint8_t *data, uint64_t len)
{
	memcpy(f->good + offset, data, len);
	if (offset + len > f->size)
		f->size = offset + len;
}

static void model_truncate(struct fsx *f, uint64_t size)
{
	if (size < f->size)
		memset(f->good + size, 0, f->size - size);
	f->size = size;
}

static void write_at(struct fsx *f, int fd, uint64_t offset, uint64_t len)
{
	uint64_t done = 0;

	stress_fill(f->buf, f->op_number + 1, offset, len);
	while (done < len) {
		ssize_t n = pwrite(fd, f->buf + done, len - done, (off_t)(offset + done));

		if (n <= 0)
			fsx_fail(f, "pwrite of 0x%llx at 0x%llx: %zd %s", (unsigned long long)(len - done),
				 (unsigned long long)(offset + done), n, strerror(errno));
		done += (uint64_t)n;
	}
	model_write(f, offset, f->buf, len);
}

static void read_at(struct fsx *f, int fd, uint64_t offset, uint64_t len)
{
	uint64_t want = offset >= f->size ? 0 : (len < f->size - offset ? len : f->size - offset);
	uint64_t done = 0;

	memset(f->buf, 0xee, len);
	while (done < len) {
		ssize_t n = pread(fd, f->buf + done, len - done, (off_t)(offset + done));

		if (n < 0)
			fsx_fail(f, "pread of 0x%llx at 0x%llx: %s", (unsigned long long)len,
				 (unsigned long long)offset, strerror(errno));
		done += (uint64_t)n;
		/* an O_DIRECT read that ended inside a block reached the end of the file */
		if (n == 0 || done % FSX_ALIGN)
			break;
	}
	if (done > want || (done < want && fd == f->fd_direct)) {
		fsx_fail(f, "read at 0x%llx returned 0x%llx bytes, expected 0x%llx", (unsigned long long)offset,
			 (unsigned long long)done, (unsigned long long)want);
	}
	if (done != want)
		fsx_fail(f, "short read at 0x%llx: 0x%llx of 0x%llx", (unsigned long long)offset,
			 (unsigned long long)done, (unsigned long long)want);
	fsx_compare(f, "read", f->buf, f->good + offset, offset, want);
}

static void op_read(struct fsx *f)
{
	uint64_t offset, len;

	choose_range(f, f->max_len, &offset, &len);
	fsx_record(f, "read", offset, len, 0);
	read_at(f, f->fd, offset, len);
}

static void op_write(struct fsx *f)
{
	uint64_t offset, len;

	choose_range(f, f->max_len, &offset, &len);
	fsx_record(f, "write", offset, len, 0);
	write_at(f, f->fd, offset, len);
}

static void op_writev(struct fsx *f)
{
	struct iovec iov[3];
	uint64_t offset, len, first, second;
	ssize_t n;

	choose_range(f, f->max_len, &offset, &len);
	fsx_record(f, "writev", offset, len, 0);
	first = rng_below(&f->rng, len + 1);
	second = rng_below(&f->rng, len - first + 1);
	stress_fill(f->buf, f->op_number + 1, offset, len);
	iov[0] = (struct iovec){f->buf, first};
	iov[1] = (struct iovec){f->buf + first, second};
	iov[2] = (struct iovec){f->buf + first + second, len - first - second};
	n = pwritev(f->fd, iov, 3, (off_t)offset);
	if (n < 0 || (uint64_t)n != len)
		fsx_fail(f, "pwritev: %zd %s", n, strerror(errno));
	model_write(f, offset, f->buf, len);
}

static void op_append(struct fsx *f)
{
	uint64_t len = 1 + rng_below(&f->rng, 20000);
	ssize_t n;
	int fd;

	if (len > f->max_len - f->size)
		len = f->max_len - f->size;
	fsx_record(f, "append", f->size, len, 0);
	if (!len)
		return;
	fd = open(f->path, O_WRONLY | O_APPEND | O_CLOEXEC);
	if (fd < 0)
		fsx_fail(f, "open O_APPEND: %s", strerror(errno));
	stress_fill(f->buf, f->op_number + 1, f->size, len);
	n = write(fd, f->buf, len);
	if (n < 0 || (uint64_t)n != len)
		fsx_fail(f, "append: %zd %s", n, strerror(errno));
	if (close(fd) < 0)
		fsx_fail(f, "close after append: %s", strerror(errno));
	model_write(f, f->size, f->buf, len);
}

static void op_truncate(struct fsx *f)
{
	uint64_t size = rng_below(&f->rng, f->max_len + 1);
	bool by_path = rng_below(&f->rng, 4) == 0;
	int ret;

	fsx_record(f, by_path ? "truncate" : "ftruncate", size, 0, 0);
	ret = by_path ? truncate(f->path, (off_t)size) : ftruncate(f->fd, (off_t)size);
	if (ret < 0)
		fsx_fail(f, "truncate to 0x%llx: %s", (unsigned long long)size, strerror(errno));
	model_truncate(f, size);
}

static void op_direct_read(struct fsx *f)
{
	uint64_t blocks = f->max_len / FSX_ALIGN;
	uint64_t first = rng_below(&f->rng, blocks);
	uint64_t count = 1 + rng_below(&f->rng, blocks - first);

	fsx_record(f, "direct-read", first * FSX_ALIGN, count * FSX_ALIGN, 0);
	read_at(f, f->fd_direct, first * FSX_ALIGN, count * FSX_ALIGN);
}

static void op_direct_write(struct fsx *f)
{
	uint64_t blocks = f->max_len / FSX_ALIGN;
	uint64_t first = rng_below(&f->rng, blocks);
	uint64_t count = 1 + rng_below(&f->rng, blocks - first);

	fsx_record(f, "direct-write", first * FSX_ALIGN, count * FSX_ALIGN, 0);
	write_at(f, f->fd_direct, first * FSX_ALIGN, count * FSX_ALIGN);
}

/* Maps the pages around [offset, offset + len). */
static uint8_t *map_pages(struct fsx *f, uint64_t offset, uint64_t len, int prot, uint64_t *ret_len)
{
	uint64_t start = offset / FSX_ALIGN * FSX_ALIGN;
	uint8_t *p;

	*ret_len = (offset + len - start + FSX_ALIGN - 1) / FSX_ALIGN * FSX_ALIGN;
	p = mmap(NULL, *ret_len, prot, MAP_SHARED, f->fd, (off_t)start);
	if (p == MAP_FAILED)
		fsx_fail(f, "mmap: %s", strerror(errno));
	return p;
}

static void op_map_read(struct fsx *f)
{
	uint64_t offset, len, map_len, tail;
	uint8_t *p;

	if (!f->size)
		return;
	choose_range(f, f->size, &offset, &len);
	fsx_record(f, "map-read", offset, len, 0);
	p = map_pages(f, offset, len, PROT_READ, &map_len);
	fsx_compare(f, "mapped read", p + offset % FSX_ALIGN, f->good + offset, offset, len);
	/* what lies behind the end of the file in its last page reads as zero */
	tail = (FSX_ALIGN - f->size % FSX_ALIGN) % FSX_ALIGN;
	if (tail && offset + len == f->size)
		fsx_compare(f, "mapped page behind the end", p + map_len - tail, f->good + f->size, f->size, tail);
	if (munmap(p, map_len) < 0)
		fsx_fail(f, "munmap: %s", strerror(errno));
}

static void op_map_write(struct fsx *f)
{
	uint64_t offset, len, map_len;
	uint8_t *p;

	if (!f->size)
		return;
	choose_range(f, f->size, &offset, &len);
	fsx_record(f, "map-write", offset, len, 0);
	stress_fill(f->buf, f->op_number + 1, offset, len);
	p = map_pages(f, offset, len, PROT_READ | PROT_WRITE, &map_len);
	memcpy(p + offset % FSX_ALIGN, f->buf, len);
	if (rng_below(&f->rng, 2) && msync(p, map_len, rng_below(&f->rng, 2) ? MS_SYNC : MS_ASYNC) < 0)
		fsx_fail(f, "msync: %s", strerror(errno));
	if (munmap(p, map_len) < 0)
		fsx_fail(f, "munmap: %s", strerror(errno));
	model_write(f, offset, f->buf, len);
}

/* One fallocate; false when the filesystem does not have it. */
static bool allocate(struct fsx *f, const char *name, int mode, uint64_t offset, uint64_t len)
{
	fsx_record(f, name, offset, len, (uint64_t)mode);
	if (fallocate(f->fd, mode, (off_t)offset, (off_t)len) == 0)
		return true;
	if (errno != EOPNOTSUPP)
		fsx_fail(f, "fallocate mode 0x%x: %s", (unsigned)mode, strerror(errno));
	fsx_unsupported(name);
	return false;
}

static void op_fallocate(struct fsx *f)
{
	uint64_t offset, len;

	choose_range(f, f->max_len, &offset, &len);
	if (allocate(f, "fallocate", 0, offset, len) && offset + len > f->size)
		f->size = offset + len;
}

static void op_fallocate_keep(struct fsx *f)
{
	uint64_t offset, len;

	choose_range(f, f->max_len, &offset, &len);
	(void)allocate(f, "fallocate-keep", FALLOC_FL_KEEP_SIZE, offset, len); /* changes nothing visible */
}

static void op_punch(struct fsx *f)
{
	uint64_t offset, len;

	choose_range(f, f->max_len, &offset, &len);
	if (allocate(f, "punch-hole", FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, len))
		memset(f->good + offset, 0, len);
}

static void op_zero_range(struct fsx *f)
{
	bool keep = rng_below(&f->rng, 2);
	uint64_t offset, len;

	choose_range(f, f->max_len, &offset, &len);
	if (!allocate(f, "zero-range", FALLOC_FL_ZERO_RANGE | (keep ? FALLOC_FL_KEEP_SIZE : 0), offset, len))
		return;
	memset(f->good + offset, 0, len);
	if (!keep && offset + len > f->size)
		f->size = offset + len;
}

static void op_collapse(struct fsx *f)
{
	uint64_t blocks = f->size / FSX_ALIGN, first, count, offset, len;

	if (blocks < 3)
		return;
	first = rng_below(&f->rng, blocks - 1);
	count = 1 + rng_below(&f->rng, blocks - first - 1);
	offset = first * FSX_ALIGN;
	len = count * FSX_ALIGN;
	if (offset + len >= f->size)
		return;
	if (!allocate(f, "collapse-range", FALLOC_FL_COLLAPSE_RANGE, offset, len))
		return;
	memmove(f->good + offset, f->good + offset + len, f->size - offset - len);
	memset(f->good + f->size - len, 0, len);
	f->size -= len;
}

static void op_insert(struct fsx *f)
{
	uint64_t free_blocks = (f->max_len - f->size) / FSX_ALIGN, offset, len;

	if (!free_blocks || f->size < FSX_ALIGN)
		return;
	offset = rng_below(&f->rng, f->size / FSX_ALIGN) * FSX_ALIGN;
	len = (1 + rng_below(&f->rng, free_blocks < 8 ? free_blocks : 8)) * FSX_ALIGN;
	if (!allocate(f, "insert-range", FALLOC_FL_INSERT_RANGE, offset, len))
		return;
	memmove(f->good + offset + len, f->good + offset, f->size - offset);
	memset(f->good + offset, 0, len);
	f->size += len;
}

/* Copies all of [from, from + len); false when the filesystem does not have the call. */
static bool copy_range(struct fsx *f, const char *name, int fd_to, uint64_t from, uint64_t to, uint64_t len)
{
	off_t in = (off_t)from, out = (off_t)to;
	uint64_t done = 0;

	while (done < len) {
		ssize_t n = copy_file_range(f->fd, &in, fd_to, &out, len - done, 0);

		if (n < 0 && !done && (errno == EOPNOTSUPP || errno == ENOSYS || errno == EXDEV)) {
			fsx_unsupported(name);
			return false;
		}
		if (n <= 0)
			fsx_fail(f, "copy_file_range after 0x%llx bytes: %zd %s", (unsigned long long)done, n,
				 n < 0 ? strerror(errno) : "end of file too early");
		done += (uint64_t)n;
		if ((uint64_t)in != from + done || (uint64_t)out != to + done)
			fsx_fail(f, "copy_file_range moved the offsets by a wrong amount");
	}
	return true;
}

static void op_copy(struct fsx *f)
{
	uint64_t from, len, to;

	if (f->size < 2)
		return;
	choose_range(f, f->size, &from, &len);
	to = rng_below(&f->rng, f->max_len - len + 1);
	if (to < from + len && from < to + len) /* must not overlap */
		to = from + len;
	if (to + len > f->max_len)
		len = f->max_len - to;
	fsx_record(f, "copy-range", from, len, to);
	if (!len || !copy_range(f, "copy-range", f->fd, from, to, len))
		return;
	memcpy(f->buf, f->good + from, len);
	model_write(f, to, f->buf, len);
}

static void op_copy_other(struct fsx *f)
{
	uint64_t from, len, to;
	int fd;

	if (!f->size)
		return;
	choose_range(f, f->size, &from, &len);
	to = rng_below(&f->rng, 100000);
	fsx_record(f, "copy-other", from, len, to);
	fd = open(f->path_other, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		fsx_fail(f, "open %s: %s", f->path_other, strerror(errno));
	if (copy_range(f, "copy-other", fd, from, to, len)) {
		ssize_t n = pread(fd, f->buf, len, (off_t)to);
		struct stat st;

		if (n < 0 || (uint64_t)n != len)
			fsx_fail(f, "read of the copy: %zd %s", n, strerror(errno));
		fsx_compare(f, "copy in the other file", f->buf, f->good + from, to, len);
		if (fstat(fd, &st) < 0 || (uint64_t)st.st_size != to + len)
			fsx_fail(f, "size of the other file: 0x%llx, expected 0x%llx",
				 (unsigned long long)st.st_size, (unsigned long long)(to + len));
	}
	if (close(fd) < 0)
		fsx_fail(f, "close of the other file: %s", strerror(errno));
}

static void op_sync(struct fsx *f)
{
	bool data = rng_below(&f->rng, 2);

	fsx_record(f, data ? "fdatasync" : "fsync", 0, 0, 0);
	if ((data ? fdatasync(f->fd) : fsync(f->fd)) < 0)
		fsx_fail(f, "sync: %s", strerror(errno));
}

static void op_drop(struct fsx *f)
{
	fsx_record(f, "drop-cache", 0, 0, 0);
	if (posix_fadvise(f->fd, 0, 0, POSIX_FADV_DONTNEED))
		fsx_fail(f, "posix_fadvise failed");
}

static void op_reopen(struct fsx *f)
{
	fsx_record(f, "close-open", 0, 0, 0);
	fsx_close(f);
	fsx_open(f);
}

/* What is said to be a hole must be zero in the model, and data and hole must follow each other. */
static void op_seek(struct fsx *f)
{
	uint64_t at;
	off_t data, hole;

	if (!f->size)
		return;
	at = rng_below(&f->rng, f->size);
	fsx_record(f, "seek-data-hole", at, 0, 0);
	/* pages dirtied through a mapping are unknown to a daemon until they are written back */
	if (!f->strict_seek && fsync(f->fd) < 0)
		fsx_fail(f, "fsync: %s", strerror(errno));
	data = lseek(f->fd, (off_t)at, SEEK_DATA);
	if (data < 0 && errno != ENXIO)
		fsx_fail(f, "SEEK_DATA: %s", strerror(errno));
	hole = lseek(f->fd, (off_t)at, SEEK_HOLE);
	if (hole < (off_t)at || (uint64_t)hole > f->size)
		fsx_fail(f, "SEEK_HOLE at 0x%llx: %lld (%s)", (unsigned long long)at, (long long)hole, strerror(errno));
	if (data >= 0 && (data < (off_t)at || (uint64_t)data >= f->size))
		fsx_fail(f, "SEEK_DATA at 0x%llx: %lld", (unsigned long long)at, (long long)data);
	if (data == (off_t)at && hole == (off_t)at)
		fsx_fail(f, "0x%llx is both data and hole", (unsigned long long)at);
	for (uint64_t i = at; i < (data < 0 ? f->size : (uint64_t)data); i++)
		if (f->good[i])
			fsx_fail(f, "0x%llx is data (%02x), SEEK_DATA from 0x%llx skipped it",
				 (unsigned long long)i, f->good[i], (unsigned long long)at);
	if (lseek(f->fd, (off_t)f->size, SEEK_DATA) != -1 || errno != ENXIO)
		fsx_fail(f, "SEEK_DATA at the end of the file did not fail with ENXIO");
}

struct fsx_op fsx_ops[] = {
	{"read", op_read, 16, false, false, 0},
	{"write", op_write, 14, false, false, 0},
	{"writev", op_writev, 4, false, false, 0},
	{"append", op_append, 4, false, false, 0},
	{"truncate", op_truncate, 6, false, false, 0},
	{"direct-read", op_direct_read, 8, true, false, 0},
	{"direct-write", op_direct_write, 8, true, false, 0},
	{"map-read", op_map_read, 10, false, false, 0},
	{"map-write", op_map_write, 10, false, false, 0},
	{"fallocate", op_fallocate, 3, false, false, 0},
	{"fallocate-keep", op_fallocate_keep, 3, false, false, 0},
	{"punch-hole", op_punch, 4, false, false, 0},
	{"zero-range", op_zero_range, 4, false, false, 0},
	{"collapse-range", op_collapse, 2, false, false, 0},
	{"insert-range", op_insert, 2, false, false, 0},
	{"copy-range", op_copy, 4, false, false, 0},
	{"copy-other", op_copy_other, 3, false, false, 0},
	{"sync", op_sync, 2, false, false, 0},
	{"drop-cache", op_drop, 2, false, false, 0},
	{"close-open", op_reopen, 2, false, false, 0},
	{"seek-data-hole", op_seek, 4, false, false, 0},
};
const size_t fsx_ops_count = sizeof(fsx_ops) / sizeof(fsx_ops[0]);
