/*
 * shim_broken.c - LD_PRELOAD library that makes a filesystem lie, to prove that the stress programs see it
 *
 * SHIM_FAULT names one fault, SHIM_AFTER the call from which on it happens (default 10).
 */
#undef _FILE_OFFSET_BITS /* both the plain and the 64 names are defined below */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* The 64 names are the same functions on 64-bit systems; these are their prototypes. */
ssize_t pread64(int fd, void *buf, size_t len, off_t offset);
ssize_t pwrite64(int fd, const void *buf, size_t len, off_t offset);
int ftruncate64(int fd, off_t size);
void *mmap64(void *addr, size_t len, int prot, int flags, int fd, off_t offset);
int fcntl64(int fd, int cmd, ...);
int lstat64(const char *path, struct stat64 *st);
int fallocate64(int fd, int mode, off_t offset, off_t len);
off_t lseek64(int fd, off_t offset, int whence);

static void *real(const char *name)
{
	return dlsym(RTLD_NEXT, name);
}

/* True when this fault is chosen and its turn has come. */
static bool faulty(const char *fault, bool always)
{
	static unsigned long calls;
	const char *chosen = getenv("SHIM_FAULT"), *after = getenv("SHIM_AFTER");

	if (!chosen || strcmp(chosen, fault) != 0)
		return false;
	return always || ++calls >= (after ? strtoul(after, NULL, 10) : 10);
}

static ssize_t shim_pread(int fd, void *buf, size_t len, off_t offset)
{
	ssize_t (*call)(int, void *, size_t, off_t) = (ssize_t (*)(int, void *, size_t, off_t))real("pread");
	ssize_t n = call(fd, buf, len, offset);

	if (n > 0 && faulty("read-flip", false))
		((uint8_t *)buf)[n / 2] ^= 0x40;
	if (n > 1 && faulty("read-short", false))
		n--;
	return n;
}

static ssize_t shim_pwrite(int fd, const void *buf, size_t len, off_t offset)
{
	ssize_t (*call)(int, const void *, size_t, off_t) =
		(ssize_t (*)(int, const void *, size_t, off_t))real("pwrite");

	if (len > 0 && faulty("write-last-byte-lost", false)) {
		ssize_t n = call(fd, buf, len - 1, offset);

		return n < 0 ? n : n + 1;
	}
	return call(fd, buf, len, offset);
}

static int shim_ftruncate(int fd, off_t size)
{
	int (*call)(int, off_t) = (int (*)(int, off_t))real("ftruncate");

	return call(fd, faulty("truncate-off-by-one", false) ? size + 1 : size);
}

static void *shim_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
	void *(*call)(void *, size_t, int, int, int, off_t) =
		(void *(*)(void *, size_t, int, int, int, off_t))real("mmap");

	if (fd >= 0 && (flags & MAP_SHARED) && faulty("map-private", true))
		flags = (flags & ~MAP_SHARED) | MAP_PRIVATE;
	return call(addr, len, prot, flags, fd, offset);
}

static int shim_fcntl(int fd, int cmd, void *arg)
{
	int (*call)(int, int, ...) = (int (*)(int, int, ...))real("fcntl");
	bool set = cmd == F_SETLK || cmd == F_SETLKW || cmd == F_OFD_SETLK || cmd == F_OFD_SETLKW;
	struct flock *fl = arg;

	if (set && faulty("lock-none", true))
		return 0;
	if (set && fl->l_type == F_WRLCK && faulty("lock-always-shared", true))
		fl->l_type = F_RDLCK;
	if (set && fl->l_type == F_UNLCK && faulty("unlock-lost", false))
		return 0;
	return call(fd, cmd, arg);
}

static int shim_lstat(const char *path, struct stat *st)
{
	int (*call)(const char *, struct stat *) = (int (*)(const char *, struct stat *))real("lstat");
	int ret = call(path, st);

	if (ret == 0 && faulty("nlink-wrong", false))
		st->st_nlink++;
	if (ret == 0 && faulty("mtime-wrong", false))
		st->st_mtim.tv_nsec ^= 1;
	return ret;
}

static int shim_fallocate(int fd, int mode, off_t offset, off_t len)
{
	int (*call)(int, int, off_t, off_t) = (int (*)(int, int, off_t, off_t))real("fallocate");

	if ((mode & FALLOC_FL_PUNCH_HOLE) && faulty("punch-ignored", true))
		return 0;
	return call(fd, mode, offset, len);
}

static off_t shim_lseek(int fd, off_t offset, int whence)
{
	off_t (*call)(int, off_t, int) = (off_t (*)(int, off_t, int))real("lseek");
	off_t ret = call(fd, offset, whence);

	return whence == SEEK_DATA && ret >= 0 && faulty("seek-data-late", true) ? ret + 4096 : ret;
}

ssize_t pread(int fd, void *buf, size_t len, off_t offset)
{
	return shim_pread(fd, buf, len, offset);
}

ssize_t pread64(int fd, void *buf, size_t len, off_t offset)
{
	return shim_pread(fd, buf, len, offset);
}

ssize_t pwrite(int fd, const void *buf, size_t len, off_t offset)
{
	return shim_pwrite(fd, buf, len, offset);
}

ssize_t pwrite64(int fd, const void *buf, size_t len, off_t offset)
{
	return shim_pwrite(fd, buf, len, offset);
}

int ftruncate(int fd, off_t size)
{
	return shim_ftruncate(fd, size);
}

int ftruncate64(int fd, off_t size)
{
	return shim_ftruncate(fd, size);
}

void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
	return shim_mmap(addr, len, prot, flags, fd, offset);
}

void *mmap64(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
	return shim_mmap(addr, len, prot, flags, fd, offset);
}

int fcntl(int fd, int cmd, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, cmd);
	arg = va_arg(ap, void *);
	va_end(ap);
	return shim_fcntl(fd, cmd, arg);
}

int fcntl64(int fd, int cmd, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, cmd);
	arg = va_arg(ap, void *);
	va_end(ap);
	return shim_fcntl(fd, cmd, arg);
}

int lstat(const char *path, struct stat *st)
{
	return shim_lstat(path, st);
}

int lstat64(const char *path, struct stat64 *st)
{
	return shim_lstat(path, (struct stat *)st); /* one layout on 64-bit systems */
}

int fallocate(int fd, int mode, off_t offset, off_t len)
{
	return shim_fallocate(fd, mode, offset, len);
}

int fallocate64(int fd, int mode, off_t offset, off_t len)
{
	return shim_fallocate(fd, mode, offset, len);
}

off_t lseek(int fd, off_t offset, int whence)
{
	return shim_lseek(fd, offset, whence);
}

off_t lseek64(int fd, off_t offset, int whence)
{
	return shim_lseek(fd, offset, whence);
}

int flock(int fd, int op)
{
	int (*call)(int, int) = (int (*)(int, int))real("flock");

	return faulty("lock-none", true) ? 0 : call(fd, op);
}

int unlink(const char *path)
{
	int (*call)(const char *) = (int (*)(const char *))real("unlink");

	return faulty("unlink-ignored", false) ? 0 : call(path);
}

int chmod(const char *path, mode_t mode)
{
	int (*call)(const char *, mode_t) = (int (*)(const char *, mode_t))real("chmod");

	if (faulty("chmod-eio", false)) {
		errno = EIO;
		return -1;
	}
	return call(path, mode);
}

int rmdir(const char *path)
{
	int (*call)(const char *) = (int (*)(const char *))real("rmdir");
	int ret = call(path);

	if (ret < 0 && errno == ENOTEMPTY && faulty("errno-wrong", true))
		errno = EBUSY;
	return ret;
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
	int (*call)(int, const char *, int, const char *, unsigned) =
		(int (*)(int, const char *, int, const char *, unsigned))real("renameat2");

	return call(from_dir, from, to_dir, to, faulty("rename-flags-ignored", false) ? 0 : flags);
}

ssize_t copy_file_range(int in, off_t *in_at, int out, off_t *out_at, size_t len, unsigned flags)
{
	ssize_t (*call)(int, off_t *, int, off_t *, size_t, unsigned) =
		(ssize_t (*)(int, off_t *, int, off_t *, size_t, unsigned))real("copy_file_range");

	if (in_at && out_at && len > 1 && faulty("copy-shifted", true)) {
		off_t wrong = *in_at + 1;
		ssize_t n = call(in, &wrong, out, out_at, len - 1, flags);

		if (n > 0)
			*in_at += n;
		return n;
	}
	return call(in, in_at, out, out_at, len, flags);
}
