/* SPDX-License-Identifier: MIT */
/*
 * sysops_attr.c - the system calls on attributes: setattr, statfs, access, extended attributes.
 *
 * Descriptors are often O_PATH. The kernel then refuses fchmod, ftruncate and
 * f*xattr with EBADF; /proc/self/fd/N reaches the same inode without a race, so do fchmodat2 and
 * (relative to /proc/self/fd) *xattrat where the kernel has them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "op.h"
#include "ring.h"
#include "sysops.h"
#include "util/errno_util.h"
#include "util/uapi_syscalls.h"

struct proc_path {
	char text[32];
};

static struct proc_path proc_path_of(int fd)
{
	struct proc_path p;

	snprintf(p.text, sizeof(p.text), "/proc/self/fd/%d", fd);
	return p;
}

static int64_t set_owner(int fd, const struct setattr_args *a)
{
	uid_t uid = a->valid & SETATTR_UID ? a->uid : (uid_t)-1;
	gid_t gid = a->valid & SETATTR_GID ? a->gid : (gid_t)-1;

	return errno_result(fchownat(fd, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW));
}

static int64_t set_size(int fd, const struct setattr_args *a)
{
	if (a->valid & SETATTR_FD_OPEN)
		return errno_result(ftruncate(fd, (off_t)a->size));
	return errno_result(truncate(proc_path_of(fd).text, (off_t)a->size));
}

/** set_mode() - @at: by a call that takes O_PATH descriptors as they are. */
static int64_t set_mode(int fd, const struct setattr_args *a, bool at)
{
	struct stat st;

	if (a->valid & SETATTR_FD_OPEN)
		return errno_result(fchmod(fd, a->mode));
	if (at) /* came together with the refusal of symlinks */
		return errno_result(syscall(SYS_fchmodat2, fd, "", a->mode, AT_EMPTY_PATH));
	/* the proc path of a symlink leads to the link itself, whose mode some filesystems would
	 * half change (ext4 and xfs, EOPNOTSUPP after the fact until Linux 6.6): refuse first */
	if (fstatat(fd, "", &st, AT_EMPTY_PATH) < 0)
		return errno_result(-1);
	if (S_ISLNK(st.st_mode))
		return -EOPNOTSUPP;
	return errno_result(fchmodat(AT_FDCWD, proc_path_of(fd).text, a->mode, 0));
}

static int64_t set_times(int fd, const struct setattr_args *a)
{
	struct timespec ts[2] = { a->atime, a->mtime };
	int64_t res;

	if (a->valid & SETATTR_FD_OPEN)
		return errno_result(futimens(fd, ts));
	res = errno_result(utimensat(fd, "", ts, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW));
	if (res == -EINVAL) /* AT_EMPTY_PATH here is Linux 5.8 */
		res = errno_result(utimensat(AT_FDCWD, proc_path_of(fd).text, ts, 0));
	return res;
}

int64_t sysop_setattr(struct op *op)
{
	const struct setattr_args *a = op->buf;
	int64_t res = 0;

	if (a->valid & (SETATTR_UID | SETATTR_GID))
		res = set_owner(op->fd, a);
	if (res >= 0 && a->valid & SETATTR_SIZE)
		res = set_size(op->fd, a);
	if (res >= 0 && a->valid & SETATTR_MODE)
		res = set_mode(op->fd, a, ring_has(op->ring, FEATURE_CHMOD_AT));
	if (res >= 0 && a->valid & SETATTR_TIMES)
		res = set_times(op->fd, a);
	return res;
}

int64_t sysop_statfs(struct op *op)
{
	return errno_result(fstatvfs(op->fd, op->buf));
}

int64_t sysop_access(struct op *op)
{
	/* the raw effective-identity form: access(2) would use the real ids */
	return errno_result(faccessat(AT_FDCWD, op->path, (int)op->arg, AT_EACCESS));
}

/** in_proc() - the name in /proc/self/fd of the path that op_path_of_fd() has made; NULL: it has not, or only the whole path will do. */
static const char *in_proc(const struct op *op)
{
	/* from the root it is a walk over six names and a symbolic link, 2 us longer than the call itself */
	return op->path == op->procpath && op->ring->proc_fd >= 0 ? op->path + sizeof("/proc/self/fd/") - 1 : NULL;
}

int64_t sysop_getxattr(struct op *op)
{
	struct uapi_xattr_args args = { .value = (uintptr_t)op->buf, .size = (uint32_t)op->len };
	const char *name = in_proc(op);

	if (name)
		return errno_result(syscall(SYS_getxattrat, op->ring->proc_fd, name, 0, op->path2, &args, sizeof(args)));
	if (op->path)
		return errno_result(getxattr(op->path, op->path2, op->buf, op->len));
	return errno_result(fgetxattr(op_fd(op), op->path2, op->buf, op->len));
}

int64_t sysop_setxattr(struct op *op)
{
	struct uapi_xattr_args args = { .value = (uintptr_t)op->buf, .size = (uint32_t)op->len, .flags = op->arg };
	const char *name = in_proc(op);

	if (name)
		return errno_result(syscall(SYS_setxattrat, op->ring->proc_fd, name, 0, op->path2, &args, sizeof(args)));
	if (op->path)
		return errno_result(setxattr(op->path, op->path2, op->buf, op->len, (int)op->arg));
	return errno_result(fsetxattr(op_fd(op), op->path2, op->buf, op->len, (int)op->arg));
}

int64_t sysop_listxattr(struct op *op)
{
	const char *name = in_proc(op);

	if (name)
		return errno_result(syscall(SYS_listxattrat, op->ring->proc_fd, name, 0, op->buf, op->len));
	if (op->path)
		return errno_result(listxattr(op->path, op->buf, op->len));
	return errno_result(flistxattr(op_fd(op), op->buf, op->len));
}

int64_t sysop_removexattr(struct op *op)
{
	const char *name = in_proc(op);

	if (name)
		return errno_result(syscall(SYS_removexattrat, op->ring->proc_fd, name, 0, op->path2));
	if (op->path)
		return errno_result(removexattr(op->path, op->path2));
	return errno_result(fremovexattr(op_fd(op), op->path2));
}
