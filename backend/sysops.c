/* SPDX-License-Identifier: MIT */
/* sysops.c - the system calls behind the op table, on files and on names. Attributes: sysops_attr.c. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "file_check.h"
#include "op.h"
#include "sysops.h"
#include "util/errno_util.h"
#include "util/stats.h"

/** How long a worker sleeps in a poll or timeout before it looks whether the op was cancelled. */
#define CANCEL_LOOK_NS 50000000u

int64_t sysop_nop(struct op *op)
{
	(void)op;
	return 0;
}

int64_t sysop_refuse(struct op *op)
{
	(void)op;
	return -EOPNOTSUPP;
}

static struct iovec rest_of(const struct op *op)
{
	size_t left = op->len - op->progress;

	return (struct iovec){ .iov_base = (char *)op->buf + op->progress,
			       .iov_len = left < OP_RW_MAX ? left : OP_RW_MAX };
}

static off_t position_of(const struct op *op)
{
	return op->off == UINT64_MAX ? -1 : (off_t)(op->off + op->progress);
}

/** is_plain() - a read or write that needs neither flags nor the file's own position. */
static bool is_plain(const struct op *op)
{
	return !op->arg && op->off != UINT64_MAX;
}

int64_t sys_data(bool write, int fd, void *buf, size_t len, off_t off)
{
	if (sizeof(long) < sizeof(off)) /* the position would be two arguments */
		return errno_result(write ? pwrite(fd, buf, len, off) : pread(fd, buf, len, off));
	/* without the C library: in a program with threads it notes for pthread_cancel(3), which we do not use, that such a call begins and ends */
	return errno_result(syscall(write ? SYS_pwrite64 : SYS_pread64, fd, buf, len, off));
}

int64_t sysop_read(struct op *op)
{
	struct iovec iov = rest_of(op);
	int64_t res = is_plain(op) ? sys_data(false, op_fd(op), iov.iov_base, iov.iov_len, position_of(op)) :
				     errno_result(preadv2(op_fd(op), &iov, 1, position_of(op), (int)op->arg));

	/* the ring ignores the offset of pipes and sockets; pread does not */
	if (res == -ESPIPE)
		res = errno_result(preadv2(op_fd(op), &iov, 1, -1, (int)op->arg));
	return res;
}

int64_t sysop_write(struct op *op)
{
	struct iovec iov = rest_of(op);
	int64_t res = is_plain(op) ? sys_data(true, op_fd(op), iov.iov_base, iov.iov_len, position_of(op)) :
				     errno_result(pwritev2(op_fd(op), &iov, 1, position_of(op), (int)op->arg));

	if (res == -ESPIPE)
		res = errno_result(pwritev2(op_fd(op), &iov, 1, -1, (int)op->arg));
	return res;
}

int64_t sysop_fsync(struct op *op)
{
	return errno_result(op->arg ? fdatasync(op_fd(op)) : fsync(op_fd(op)));
}

int64_t sysop_sync_range(struct op *op)
{
	return errno_result(sync_file_range(op_fd(op), (off_t)op->off, (off_t)op->len, op->arg));
}

int64_t sysop_fallocate(struct op *op)
{
	return errno_result(fallocate(op_fd(op), (int)op->arg, (off_t)op->off, (off_t)op->len));
}

int64_t sysop_ftruncate(struct op *op)
{
	return errno_result(ftruncate(op_fd(op), (off_t)op->off));
}

int64_t sysop_fadvise(struct op *op)
{
	/* the one call that returns a positive error number */
	return -posix_fadvise(op_fd(op), (off_t)op->off, (off_t)op->len, (int)op->arg);
}

int sys_openat2(int dirfd, const char *path, const struct open_how *how)
{
	return (int)errno_result(syscall(SYS_openat2, dirfd, path, how, sizeof(*how)));
}

int64_t sysop_openat(struct op *op)
{
	return sys_openat2(op->fd, op->path, &op->how);
}

int64_t sysop_close(struct op *op)
{
	return errno_result(close(op->fd));
}

int sys_statx(int fd, const char *path, int at_flags, unsigned mask, struct statx *stx)
{
	return (int)errno_result(statx(fd, path, at_flags, mask, stx));
}

int64_t sysop_statx(struct op *op)
{
	return sys_statx(op->fd, op->path, (int)op->arg, op->arg2, op->buf);
}

int64_t sysop_unlinkat(struct op *op)
{
	return errno_result(unlinkat(op->fd, op->path, (int)op->arg));
}

int64_t sysop_mkdirat(struct op *op)
{
	return errno_result(mkdirat(op->fd, op->path, op->arg));
}

int64_t sysop_symlinkat(struct op *op)
{
	return errno_result(symlinkat(op->path, op->fd, op->path2));
}

int64_t sysop_linkat(struct op *op)
{
	return errno_result(linkat(op->fd, op->path, op->fd2, op->path2, (int)op->arg));
}

int64_t sysop_renameat(struct op *op)
{
	return errno_result(renameat2(op->fd, op->path, op->fd2, op->path2, op->arg));
}

int64_t sysop_mknodat(struct op *op)
{
	return errno_result(mknodat(op->fd, op->path, op->arg, (dev_t)op->off));
}

int64_t sysop_readlink(struct op *op)
{
	return errno_result(readlinkat(op->fd, "", op->buf, op->len));
}

int64_t sysop_getdents(struct op *op)
{
	if (op->off <= INT64_MAX && lseek(op->fd, (off_t)op->off, SEEK_SET) < 0)
		return errno_result(-1);
	return errno_result(syscall(SYS_getdents64, op->fd, op->buf, op->len));
}

int64_t sysop_splice(struct op *op)
{
	loff_t in = (loff_t)op->off, out = (loff_t)op->off2;
	size_t len = op->len < OP_RW_MAX ? op->len : OP_RW_MAX;

	return errno_result(splice(op->fd, in == -1 ? NULL : &in, op->fd2, out == -1 ? NULL : &out, len, op->arg));
}

int64_t sysop_poll(struct op *op)
{
	struct pollfd pfd = { .fd = op_fd(op), .events = (short)op->arg };

	while (!atomic_load_explicit(&op_slot(op)->cancelled, memory_order_relaxed)) {
		int ready = poll(&pfd, 1, CANCEL_LOOK_NS / 1000000);

		if (ready < 0 && errno != EINTR)
			return errno_result(ready);
		if (ready > 0)
			return pfd.revents & POLLNVAL ? -EBADF : pfd.revents;
	}
	return -ECANCELED;
}

int64_t sysop_timeout(struct op *op)
{
	uint64_t end = op->start_ns + op->off;

	while (!atomic_load_explicit(&op_slot(op)->cancelled, memory_order_relaxed)) {
		uint64_t now = stats_now_ns();
		uint64_t left = end > now ? end - now : 0;
		struct timespec ts = { .tv_nsec = (long)(left < CANCEL_LOOK_NS ? left : CANCEL_LOOK_NS) };

		if (left == 0)
			return 0;
		(void)nanosleep(&ts, NULL); /* an early end is seen by the clock */
	}
	return -ECANCELED;
}

int64_t sysop_cancel(struct op *op)
{
	/* ring.c cancels what is not in the kernel before it comes here */
	(void)op;
	return -EALREADY;
}

int64_t sysop_lseek(struct op *op)
{
	off_t at = lseek(op->fd, (off_t)op->off, (int)op->arg);

	/* no error, which is -1: btrfs's answer, one too far, where data ends with the last byte that a file can have */
	return at < -1 ? INT64_MAX : errno_result(at);
}

int64_t sysop_copy_range(struct op *op)
{
	loff_t in = (loff_t)op->off, out = (loff_t)op->off2;

	return errno_result(copy_file_range(op->fd, &in, op->fd2, &out, op->len, 0));
}

int64_t sysop_check_file(struct op *op)
{
	return file_check(op_fd(op), op->arg != 0, op->buf);
}

int64_t sysop_ioctl(struct op *op)
{
	return errno_result(ioctl(op->fd, op->off, op->buf));
}

int64_t sysop_syncfs(struct op *op)
{
	return errno_result(syncfs(op->fd));
}

int sys_name_to_handle(int fd, const char *path, int at_flags, void *file_handle, int *ret_mount_id)
{
	int mount_id = 0;
	long res = errno_result(name_to_handle_at(fd, path, file_handle, &mount_id, at_flags));

	if (res >= 0)
		*ret_mount_id = mount_id;
	return (int)res;
}

int64_t sysop_name_to_handle(struct op *op)
{
	int mount_id = 0;
	int res = sys_name_to_handle(op->fd, op->path, (int)op->arg, op->buf, &mount_id);

	return res < 0 ? res : mount_id;
}

int sys_open_by_handle(int mount_fd, const void *file_handle, int flags)
{
	/* the prototype lacks a const; the kernel only reads */
	return (int)errno_result(open_by_handle_at(mount_fd, (struct file_handle *)(uintptr_t)file_handle, flags));
}

int64_t sysop_open_by_handle(struct op *op)
{
	return sys_open_by_handle(op->fd, op->buf, (int)op->arg | O_CLOEXEC);
}
