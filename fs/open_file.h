/* SPDX-License-Identifier: MIT */
/*
 * open_file.h - a backing file is opened and becomes a handle: what open, opendir, create
 * and tmpfile share.
 *
 * The steps: open_file() (by create: its own op), the inode's attributes, open_file_join(),
 * open_file_cache(), open_file_handle(), the reply. Thread: the request's. The state is the
 * request's (REQUEST_STATE), and its descriptors are its own until open_file_handle() has them.
 */
#ifndef URINGFS_OPEN_FILE_H
#define URINGFS_OPEN_FILE_H

#include "fs/child.h"
#include "fs/ops.h"

struct open_state {
	struct child child;        /* create and tmpfile */
	uint32_t flags;            /* the caller's O_ flags */
	void (*opened)(struct request *r); /* when all descriptors are there */
	bool kill;                 /* O_TRUNC ends suid and sgid */
	bool append;               /* the backing file can be opened with O_APPEND only */
	mode_t mode, umask;
	int fd, direct_fd;
	int path_fd;               /* create, without file handles: O_PATH of the new file */
	struct statx stx;
	uint8_t tries;             /* request_wait_for_space() */
	bool same_data;            /* the kernel may keep its pages */
	bool uncached;             /* it gets FOPEN_DIRECT_IO */
	struct passthrough_step passthrough;
};

/** open_file_flags() - how the backing file is opened for the caller's O_ @flags; further flags of open(2) are the caller's to add. */
uint64_t open_file_flags(const struct mount *m, uint32_t flags);
/**
 * open_file() - open r->fd (or, @direct, the open file s->fd once more with O_DIRECT), then s->opened(r)
 *
 * Without waiting first; where a lease has to be broken, or the file truncated, by a worker. With O_DIRECT among the
 * caller's flags both descriptors are opened, one after the other. An error is answered.
 */
void open_file(struct request *r, bool direct);
/**
 * open_file_quiet() - reads through @fd leave the access time alone where the mount is to (noatime, nodiratime, ro)
 * Not as a flag of open(2), which a caller who is not the owner may not use. Fails for a daemon that is neither
 * root nor owner: uringfs.8, LIMITS.
 */
void open_file_quiet(const struct request *r, int fd, bool directory);
/** open_file_undo() - the descriptors are closed, the request can be answered with an error. */
void open_file_undo(struct request *r, struct open_state *s);
/** open_file_fail() - and it is, with @error (-errno). */
void open_file_fail(struct request *r, int64_t error);
/** open_file_op() - as request_op(), once there are descriptors. Return: the op; NULL: the request has failed, by open_file_fail() */
struct op *open_file_op(struct request *r, enum op_kind kind, op_done_fn done);
/**
 * open_file_join() - with io=kernel: is it the kernel that reads and writes @i? Then @next.
 * r->backing_id: the id, 0 without one, or -errno, which is the request's error.
 */
void open_file_join(struct request *r, struct inode *i, void (*next)(struct request *r));
/** open_file_cache() - what the kernel may keep of file @i: @fi, r->open_flags. @same_data: its pages are the file's. */
void open_file_cache(struct request *r, struct fuse_file_info *fi, struct inode *i, bool same_data);
/** open_file_handle() - owner of the descriptors, and of the caller's reference of @i; NULL: table full, they are closed, the reference is not taken. */
struct handle *open_file_handle(struct request *r, struct open_state *s, struct inode *i, const struct fuse_file_info *fi);

#endif
