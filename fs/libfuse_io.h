/* SPDX-License-Identifier: MIT */
/*
 * libfuse_io.h - libfuse is our codec: what it would write to /dev/fuse comes to us.
 *
 * fuse_session_custom_io() is made for this. From 3.18 on a libfuse may be built
 * without it (Debian sid's is): the call then answers ENOTSUP. For such a
 * library this program defines writev(2) itself, which libfuse calls through
 * the dynamic linker: calls made while this thread is inside the codec are
 * replies, all others go to the system. Our own code uses libfuse_io_writev().
 */
#ifndef URINGFS_LIBFUSE_IO_H
#define URINGFS_LIBFUSE_IO_H

#include <stdbool.h>
#include <sys/uio.h>

struct fuse_session;

/** libfuse_io_attach() - replies of @se come to request_writev() from now on. Thread: main. Return 0 or -errno. */
int libfuse_io_attach(struct fuse_session *se);
/** libfuse_io_custom() - whether libfuse has custom I/O (false: the fallback is in use). */
bool libfuse_io_custom(void);
/** libfuse_io_writev() - writev(2), always the system's. Thread: any. Return as writev(2). */
ssize_t libfuse_io_writev(int fd, const struct iovec *iov, int count);

#endif
