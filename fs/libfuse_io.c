/* SPDX-License-Identifier: MIT */
#include "libfuse_io.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fs/request.h"

static bool custom = true;

ssize_t libfuse_io_writev(int fd, const struct iovec *iov, int count)
{
	return syscall(SYS_writev, fd, iov, count);
}

ssize_t writev(int fd, const struct iovec *iov, int count)
{
	void *userdata;

	if (custom || !request_in_codec(&userdata))
		return libfuse_io_writev(fd, iov, count);
	return request_writev(fd, (struct iovec *)iov, count, userdata);
}

static ssize_t no_read(int fd, void *buf, size_t len, void *userdata)
{
	(void)fd, (void)buf, (void)len, (void)userdata; /* the transports read */
	errno = ENOSYS;
	return -1;
}

int libfuse_io_attach(struct fuse_session *se)
{
	static const struct fuse_custom_io io = { .writev = request_writev, .read = no_read };
	/* in the form of FUSE_USE_VERSION 314; newer libraries keep it */
	int res = fuse_session_custom_io(se, &io, fuse_session_fd(se));

	if (res == -ENOTSUP || res == -EOPNOTSUPP) {
		custom = false;
		return 0;
	}
	return res;
}

bool libfuse_io_custom(void)
{
	return custom;
}
