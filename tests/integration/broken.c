/*
 * broken.c - LD_PRELOAD library of deliberate bugs between the daemon and the C library, for `prove`
 *
 * BROKEN names one bug. The daemon is told (deny=) to make its operations by system calls of its workers, which
 * pass here; the descriptors are those of the files in SOURCE.
 */
#define _GNU_SOURCE
#undef _FILE_OFFSET_BITS
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static bool bug(const char *name)
{
	const char *chosen = getenv("BROKEN");

	return chosen && !strcmp(chosen, name);
}

#define REAL(name, type, ...) ((type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name))

ssize_t preadv64v2(int fd, const struct iovec *iov, int count, off64_t off, int flags)
{
	ssize_t n = REAL("preadv64v2", ssize_t, int, const struct iovec *, int, off64_t, int)(fd, iov, count, bug("read_offset") ? off + 1 : off, flags);

	if (n > 0 && bug("read_flip"))
		((uint8_t *)iov[0].iov_base)[0] ^= 1;
	return n;
}

ssize_t pwritev64v2(int fd, const struct iovec *iov, int count, off64_t off, int flags)
{
	if (bug("write_lost")) {
		ssize_t n = 0;
		for (int i = 0; i < count; i++)
			n += (ssize_t)iov[i].iov_len;
		return n;
	}
	if (bug("append_ignored"))
		flags &= ~RWF_APPEND;
	if (bug("sync_error") && flags & (RWF_DSYNC | RWF_SYNC)) {
		errno = EIO;
		return -1;
	}
	return REAL("pwritev64v2", ssize_t, int, const struct iovec *, int, off64_t, int)(fd, iov, count, bug("write_offset") ? off + 1 : off, flags);
}

int fallocate64(int fd, int mode, off64_t off, off64_t len)
{
	if (bug("fallocate_mode"))
		mode &= ~FALLOC_FL_KEEP_SIZE;
	if (bug("punch_ignored") && mode & FALLOC_FL_PUNCH_HOLE)
		return 0;
	return REAL("fallocate64", int, int, int, off64_t, off64_t)(fd, mode, off, len);
}

int ftruncate64(int fd, off64_t size)
{
	return bug("truncate_ignored") ? 0 : REAL("ftruncate64", int, int, off64_t)(fd, size);
}

int truncate64(const char *path, off64_t size)
{
	return bug("truncate_ignored") ? 0 : REAL("truncate64", int, const char *, off64_t)(path, size);
}

off64_t lseek64(int fd, off64_t off, int whence)
{
	return REAL("lseek64", off64_t, int, off64_t, int)(fd, off, bug("hole_as_data") && whence == SEEK_HOLE ? SEEK_DATA : whence);
}

ssize_t copy_file_range(int in, off64_t *in_off, int out, off64_t *out_off, size_t len, unsigned flags)
{
	if (bug("copy_offset") && out_off)
		*out_off += 1;
	return REAL("copy_file_range", ssize_t, int, off64_t *, int, off64_t *, size_t, unsigned)(in, in_off, out, out_off, len, flags);
}

int renameat2(int d1, const char *old, int d2, const char *new, unsigned flags)
{
	return REAL("renameat2", int, int, const char *, int, const char *, unsigned)(d1, old, d2, new, bug("rename_flags") ? 0 : flags);
}

int unlinkat(int fd, const char *name, int flags)
{
	if (bug("unlink_errno")) {
		int res = REAL("unlinkat", int, int, const char *, int)(fd, name, flags);
		if (res < 0 && errno == ENOTEMPTY)
			errno = EBUSY;
		return res;
	}
	return REAL("unlinkat", int, int, const char *, int)(fd, name, flags);
}

int mkdirat(int fd, const char *name, mode_t mode)
{
	return REAL("mkdirat", int, int, const char *, mode_t)(fd, name, bug("mkdir_mode") ? 0777 & ~(mode & 022) : mode);
}

int mknodat(int fd, const char *name, mode_t mode, dev_t dev)
{
	return REAL("mknodat", int, int, const char *, mode_t, dev_t)(fd, name, mode, bug("rdev") ? 0 : dev);
}

int symlinkat(const char *target, int fd, const char *name)
{
	return REAL("symlinkat", int, const char *, int, const char *)(bug("symlink_target") ? "x" : target, fd, name);
}

int linkat(int d1, const char *old, int d2, const char *new, int flags)
{
	if (bug("link_refused")) {
		errno = EPERM;
		return -1;
	}
	return REAL("linkat", int, int, const char *, int, const char *, int)(d1, old, d2, new, flags);
}

int fsetxattr(int fd, const char *name, const void *value, size_t size, int flags)
{
	return REAL("fsetxattr", int, int, const char *, const void *, size_t, int)(fd, name, value, size, bug("xattr_flags") ? 0 : flags);
}

int setxattr(const char *path, const char *name, const void *value, size_t size, int flags)
{
	if (bug("acl_lost") && !strncmp(name, "system.posix_acl", 16))
		return 0;
	return REAL("setxattr", int, const char *, const char *, const void *, size_t, int)(path, name, value, size, bug("xattr_flags") ? 0 : flags);
}

int fchmodat(int fd, const char *name, mode_t mode, int flags)
{
	return REAL("fchmodat", int, int, const char *, mode_t, int)(fd, name, bug("setgid_kept") ? mode | 02000 : mode, flags);
}

int fchownat(int fd, const char *name, uid_t uid, gid_t gid, int flags)
{
	return bug("chown_ignored") ? 0 : REAL("fchownat", int, int, const char *, uid_t, gid_t, int)(fd, name, uid, gid, flags);
}

static void whole_seconds(struct timespec *to, const struct timespec *from)
{
	for (int i = 0; i < 2; i++) {
		to[i] = from[i];
		if (to[i].tv_nsec < 1000000000)
			to[i].tv_nsec = 0;
	}
}

int utimensat(int fd, const char *name, const struct timespec times[2], int flags)
{
	struct timespec coarse[2];

	if (times && bug("nanoseconds")) {
		whole_seconds(coarse, times);
		times = coarse;
	}
	return REAL("utimensat", int, int, const char *, const struct timespec *, int)(fd, name, times, flags);
}

int futimens(int fd, const struct timespec times[2])
{
	struct timespec coarse[2];

	if (times && bug("nanoseconds")) {
		whole_seconds(coarse, times);
		times = coarse;
	}
	return REAL("futimens", int, int, const struct timespec *)(fd, times);
}

int statx(int fd, const char *name, int flags, unsigned mask, struct statx *stx)
{
	int res = REAL("statx", int, int, const char *, int, unsigned, struct statx *)(fd, name, flags, mask, stx);

	if (res == 0 && bug("nlink"))
		stx->stx_nlink = 1;
	if (res == 0 && bug("size") && (stx->stx_mode & S_IFMT) == S_IFREG && stx->stx_size > 100)
		stx->stx_size--;
	if (res == 0 && bug("mtime_lost"))
		stx->stx_mtime.tv_sec = 1;
	return res;
}

int flock(int fd, int op)
{
	int res = REAL("flock", int, int, int)(fd, op);

	return res < 0 && errno == EWOULDBLOCK && bug("flock_ignored") ? 0 : res;
}

int fcntl64(int fd, int cmd, ...)
{
	va_list list;
	void *arg;
	int res;

	va_start(list, cmd);
	arg = va_arg(list, void *);
	va_end(list);
	if (cmd == F_SETFL && bug("atime") && (uintptr_t)arg & O_NOATIME)
		return 0;
	res = REAL("fcntl64", int, int, int, ...)(fd, cmd, arg);
	return res < 0 && errno == EAGAIN && cmd == F_OFD_SETLK && bug("lock_ignored") ? 0 : res;
}

ssize_t readlinkat(int fd, const char *name, char *buf, size_t size)
{
	ssize_t n = REAL("readlinkat", ssize_t, int, const char *, char *, size_t)(fd, name, buf, size);

	return n > 1 && bug("readlink_short") ? n - 1 : n;
}

/* the calls that have no function: the last entry of each buffer of names is lost */
long syscall(long number, ...)
{
	long a[6], res;
	va_list list;

	va_start(list, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(list, long);
	va_end(list);
	res = REAL("syscall", long, long, ...)(number, a[0], a[1], a[2], a[3], a[4], a[5]);
	if (number == SYS_getdents64 && res > 0 && bug("dirent_lost")) {
		char *buf = (char *)a[1], *last = buf, *before = NULL;

		for (char *at = buf; at < buf + res; at += *(unsigned short *)(at + 16)) {
			before = at > buf ? last : NULL;
			last = at;
		}
		if (before) { /* it takes the place and the position of the last one */
			*(unsigned short *)(before + 16) = (unsigned short)(*(unsigned short *)(before + 16) + *(unsigned short *)(last + 16));
			memcpy(before + 8, last + 8, 8);
		}
	}
	return res;
}
