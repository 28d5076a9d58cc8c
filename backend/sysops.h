/* SPDX-License-Identifier: MIT */
/*
 * sysops.h - one function per kind of operation: the system call itself.
 *
 * Used on workers, inline, and wherever the ring lacks or was denied the
 * opcode. All have the same form.
 */
#ifndef URINGFS_SYSOPS_H
#define URINGFS_SYSOPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "backend.h"

/**
 * sysop_NAME() - do the operation with a system call
 * @op: arguments as listed at OP_KINDS in backend.h; read and write respect op->progress
 * Thread: any (the calling thread's identity and umask must already be those wanted). May block.
 * Return: 0 or a count, or -errno.  op->res is not touched.
 * Source: the manual page of each call, section 2.
 */
#define SYSOPS(X)                                                                                    \
	X(nop) X(read) X(write) X(fsync) X(sync_range) X(fallocate) X(ftruncate) X(fadvise)          \
	X(openat) X(close) X(statx) X(unlinkat) X(mkdirat) X(symlinkat) X(linkat) X(renameat)        \
	X(getxattr) X(setxattr) X(splice) X(poll) X(timeout) X(cancel) X(refuse) X(mknodat)          \
	X(readlink) X(getdents) X(setattr) X(statfs) X(listxattr) X(removexattr) X(lseek)            \
	X(copy_range) X(access) X(ioctl) X(syncfs) X(name_to_handle) X(open_by_handle) \
	X(check_file) X(names_read) X(names_look)
#define X(name) int64_t sysop_##name(struct op *op);
SYSOPS(X)
#undef X

/** sys_data() - pread(2) or pwrite(2) of at most OP_RW_MAX bytes. Thread: any; may block.  Return: a count or -errno. */
int64_t sys_data(bool write, int fd, void *buf, size_t len, off_t off);

#endif
