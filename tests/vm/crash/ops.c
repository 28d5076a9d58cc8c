#include "ops.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAGIC 0x75726673u
#define MARK_SECTORS 8192u

FILE *model;
int mark_fd = -1;
bool lie, with_times, with_syncfs = true;
static atomic_uint counter;

void die(const char *what)
{
	fprintf(stderr, "crash_work: %s: %s\n", what, strerror(errno));
	exit(1);
}

uint32_t tick(void)
{
	return atomic_fetch_add(&counter, 1);
}

void start_ticks(uint32_t first)
{
	atomic_store(&counter, first);
}

/* acknowledge: one sector in the raw partition, after the sync has returned. Its number leads to the line of the model. */
static uint32_t acknowledge(void)
{
	_Alignas(4096) char sector[CELL] = {0};
	uint32_t head[3] = {MAGIC, tick(), 0};

	memcpy(sector, head, sizeof head);
	if (pwrite(mark_fd, sector, sizeof sector, (off_t)(head[1] % MARK_SECTORS) * CELL) != CELL)
		die("marker");
	return head[1];
}

static void fill(char *to, uint32_t id, uint32_t cell, uint32_t n, uint32_t version)
{
	for (uint32_t i = 0; i < n; i++) {
		const uint32_t head[4] = {id, cell + i, version, MAGIC};
		for (size_t at = 0; at < CELL; at += sizeof head)
			memcpy(to + (size_t)i * CELL + at, head, sizeof head);
	}
}

struct dir op_dir(int parent, const char *path, const char *source, const char *name)
{
	struct dir dir;
	char full[512];

	snprintf(full, sizeof full, "%s/%s", path, name);
	if (snprintf(dir.source, sizeof dir.source, "%s/%s", source, name) >= (int)sizeof dir.source)
		die("path");
	if (mkdirat(parent, name, 0755) || (dir.fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		die(name);
	dir.id = tick();
	fprintf(model, "D %u %s\n", dir.id, full);
	/* through the mount no call is a promise for a whole filesystem: sync the folder and its parent */
	if (fsync(dir.fd) || fsync(parent))
		die("fsync of a folder");
	uint32_t mark = acknowledge();
	fprintf(model, "E %u %u\n", mark, dir.id);
	return dir;
}

struct file op_create(struct dir dir, const char *name, enum sync_kind kind, int flags)
{
	struct file file = {.kind = kind};
	uint32_t begin = tick();

	file.id = begin;
	file.fd = openat(dir.fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | flags | (kind == SYNC_ODSYNC ? O_DSYNC : 0), 0644);
	if (file.fd < 0)
		die(name);
	fprintf(model, "N %u %u %u %s %u\n", begin, tick(), dir.id, name, file.id);
	return file;
}

static void grown(struct file *file, uint32_t end)
{
	if (end > file->cells)
		file->cells = end;
}

void op_write(struct file *file, uint32_t cell, uint32_t n)
{
	char *data;
	uint32_t begin = tick(), end;
	ssize_t done;

	if (posix_memalign((void **)&data, 4096, (size_t)n * CELL))
		die("memory");
	fill(data, file->id, cell, n, begin);
	struct iovec iov = {data, (size_t)n * CELL};
	bool dsync = file->kind == SYNC_RWF && !lie;
	done = pwritev2(file->fd, &iov, 1, (off_t)cell * CELL, dsync ? RWF_DSYNC : 0);
	if (done != (ssize_t)iov.iov_len)
		die("write");
	free(data);
	end = tick();
	grown(file, cell + n);
	fprintf(model, "W %u %u %u %u %u\n", begin, end, file->id, cell, n);
	if (file->kind == SYNC_ODSYNC || file->kind == SYNC_RWF) {
		uint32_t sync = tick(), mark = acknowledge();
		fprintf(model, "R %u %u %u %u %u\n", sync, mark, file->id, cell, n);
	}
}

void op_map_write(struct file *file, uint32_t cell, uint32_t n)
{
	size_t size = (size_t)CELLS_MAX * CELL;
	char *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file->fd, 0);
	uint32_t begin = tick(), end;

	if (map == MAP_FAILED)
		die("mmap");
	fill(map + (size_t)cell * CELL, file->id, cell, n, begin);
	end = tick();
	fprintf(model, "M %u %u %u %u %u\n", begin, end, file->id, cell, n);
	if (file->kind == SYNC_ODSYNC || file->kind == SYNC_RWF) { /* a store knows no flags: msync stands for them */
		uint32_t sync = tick();
		if (!lie && msync(map, size, MS_SYNC))
			die("msync");
		uint32_t mark = acknowledge();
		fprintf(model, "R %u %u %u %u %u\n", sync, mark, file->id, cell, n);
	}
	munmap(map, size);
}

/* behind a truncation that `begin` was taken before */
static void truncated(struct file *file, uint32_t begin, uint32_t cells)
{
	file->cells = cells;
	fprintf(model, "T %u %u %u %u\n", begin, tick(), file->id, cells);
}

void op_source_ftruncate(int fd, struct file *file, uint32_t cells)
{
	uint32_t begin = tick();

	if (ftruncate(fd, (off_t)cells * CELL))
		die("ftruncate");
	truncated(file, begin, cells);
}

void op_truncate(struct file *file, uint32_t cells)
{
	op_source_ftruncate(file->fd, file, cells);
}

static void source_path(char *path, size_t size, struct dir dir, const char *name)
{
	if (snprintf(path, size, "%s/%s", dir.source, name) >= (int)size)
		die("path");
}

int source_open(struct dir dir, const char *name)
{
	char path[512];
	int fd;

	source_path(path, sizeof path, dir, name);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		die(path);
	return fd;
}

void op_source_truncate(struct dir dir, const char *name, struct file *file, uint32_t cells)
{
	char path[512];
	uint32_t begin = tick();

	source_path(path, sizeof path, dir, name);
	if (truncate(path, (off_t)cells * CELL))
		die(path);
	truncated(file, begin, cells);
}

void op_allocate(struct file *file, uint32_t cells, bool keep_size)
{
	uint32_t begin = tick();

	if (fallocate(file->fd, keep_size ? FALLOC_FL_KEEP_SIZE : 0, 0, (off_t)cells * CELL))
		die("fallocate");
	if (!keep_size && cells > file->cells) {
		file->cells = cells;
		fprintf(model, "T %u %u %u %u\n", begin, tick(), file->id, cells);
	}
}

void op_punch(struct file *file, uint32_t cell, uint32_t n)
{
	op_source_punch(file->fd, file, cell, n);
}

void op_source_punch(int fd, struct file *file, uint32_t cell, uint32_t n)
{
	uint32_t begin = tick();

	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)cell * CELL, (off_t)n * CELL))
		die("punch");
	fprintf(model, "Z %u %u %u %u %u\n", begin, tick(), file->id, cell, n);
}

void op_copy(struct file *to, struct file *from, uint32_t n)
{
	uint32_t begin = tick();
	off_t at = 0, to_at = 0, end = (off_t)n * CELL;

	while (at < end) {
		ssize_t done = copy_file_range(from->fd, &at, to->fd, &to_at, (size_t)(end - at), 0);
		if (done <= 0)
			die("copy_file_range");
	}
	grown(to, n);
	fprintf(model, "C %u %u %u %u %u\n", begin, tick(), to->id, from->id, n);
}

void op_rename(struct dir dir, const char *from, const char *to, uint32_t id)
{
	uint32_t begin = tick(), end;

	if (renameat(dir.fd, from, dir.fd, to))
		die("rename");
	end = tick();
	fprintf(model, "N %u %u %u %s %u\nN %u %u %u %s 0\n", begin, end, dir.id, to, id, begin, end, dir.id, from);
}

void op_link(struct dir dir, const char *from, const char *to, uint32_t id)
{
	uint32_t begin = tick();

	if (linkat(dir.fd, from, dir.fd, to, 0))
		die("link");
	fprintf(model, "N %u %u %u %s %u\n", begin, tick(), dir.id, to, id);
}

void op_unlink(struct dir dir, const char *name)
{
	uint32_t begin = tick();

	if (unlinkat(dir.fd, name, 0))
		die("unlink");
	fprintf(model, "N %u %u %u %s 0\n", begin, tick(), dir.id, name);
}

/* what has been written before the sync that acknowledges it: nanoseconds since 1970, or 0 where it is no promise */
static long long time_of(const struct file *file, bool all)
{
	struct stat st;

	if (!with_times || !all)
		return 0;
	if (fstat(file->fd, &st))
		die("fstat");
	return st.st_mtim.tv_sec * 1000000000LL + st.st_mtim.tv_nsec;
}

void op_sync_all(struct file *file)
{
	long long mtime = time_of(file, true);
	uint32_t begin = tick();

	if (fsync(file->fd))
		die("fsync");
	uint32_t mark = acknowledge();
	fprintf(model, "A %u %u %u %lld\n", begin, mark, file->id, mtime);
}

void op_sync(struct file *file)
{
	long long mtime = time_of(file, file->kind == SYNC_FSYNC && !lie);
	uint32_t begin = tick(), mark;
	bool all = file->kind == SYNC_SYNCFS;
	int ret = 0;

	if (file->kind == SYNC_ODSYNC || file->kind == SYNC_RWF || (all && !with_syncfs))
		return;
	if (!lie)
		ret = all ? syncfs(file->fd) : file->kind == SYNC_FSYNC ? fsync(file->fd) : fdatasync(file->fd);
	if (ret)
		die("sync");
	mark = acknowledge();
	if (all)
		fprintf(model, "S %u %u\n", begin, mark);
	else
		fprintf(model, "A %u %u %u %lld\n", begin, mark, file->id, mtime);
}

void op_sync_dir(struct dir dir)
{
	uint32_t begin = tick();

	if (!lie && fsync(dir.fd))
		die("fsync of a folder");
	uint32_t mark = acknowledge();
	fprintf(model, "B %u %u %u\n", begin, mark, dir.id);
}

void op_close(struct file *file)
{
	if (close(file->fd))
		die("close");
	file->fd = -1;
}
