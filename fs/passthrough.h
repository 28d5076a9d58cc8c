/* SPDX-License-Identifier: MIT */
/*
 * passthrough.h - io=kernel: the kernel reads, writes and maps the file in SOURCE by itself.
 *
 * The daemon opens the backing file as ever, tells the kernel about it once
 * (FUSE_DEV_IOC_BACKING_OPEN gives a backing id) and names the id in the
 * answer to OPEN and CREATE. READ and WRITE then never come here; everything
 * else does, and works on the daemon's own descriptor of the same file.
 *
 * What the kernel demands (fs/fuse/iomode.c, Linux 6.9 to 6.18): as long as a
 * file is open by a backing id, every other open of it must name the same id,
 * and as long as it is open in the ordinary way none may name one. Anything else is EIO for
 * the opener. So this module counts, per inode, the opens that the kernel may
 * have: from before the answer to OPEN until RELEASE has come, which the
 * kernel sends after it has left that mode itself (fuse_file_put()). While
 * there is one, all others follow it.
 *
 * The kernel opens the backing file anew for each opener, with his flags and
 * with the identity that the thread had at BACKING_OPEN (fs/backing-file.c
 * backing_file_open(), no permission check), and writes as that identity. It
 * is the daemon's without CAP_FSETID and CAP_SYS_RESOURCE: the end of suid and
 * sgid at a write is seen to by the backing filesystem, because FUSE does not
 * ask us (fuse_setattr() drops ATTR_KILL_* when FUSE_HANDLE_KILLPRIV_V2 is
 * on), and quotas bind.
 *
 * Openers whose writes need more than that get the id together with
 * FOPEN_DIRECT_IO: their reads and writes come to the daemon, past any page
 * cache of FUSE, and only mappings are the kernel's (FOPEN_PASSTHROUGH_MASK in
 * fs/fuse/iomode.c). These are
 * - O_APPEND: the kernel's own open of the backing file would keep appending
 *   when fcntl(2) takes the flag away;
 * - writers of a file with suid or sgid, which root and some owners may keep.
 *
 * A store through a mapping changes times that FUSE is not told of: while
 * somebody could make one, the file's attributes are given with timeout 0. So are those of a file that got suid or sgid while it is
 * open: a write ends them in SOURCE, and FUSE takes only times and size for old then (fuse_passthrough_end_write()), not the mode that
 * an execve(2) looks at.
 *
 * Lock: one mutex a table, last of all (see inode.h); no system call is made under it.
 */
#ifndef URINGFS_PASSTHROUGH_H
#define URINGFS_PASSTHROUGH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/util/uapi_fuse.h"

struct inode;
struct mount;
struct passthrough;
struct request;
struct server_thread;

/** How the kernel has a file open. */
enum handle_io {
	HANDLE_IO_DAEMON,  /* its requests come here, nothing is counted (io=daemon) */
	HANDLE_IO_COUNTED, /* the same with io=kernel: counted, so that nobody opens it by an id meanwhile */
	HANDLE_IO_KERNEL,  /* by a backing id */
};

/** Why an open was not passed through; index of thread_stats.passthrough_not. */
enum passthrough_not {
	PASSTHROUGH_NOT_MIXED,   /* it is open in the ordinary way already */
	PASSTHROUGH_NOT_STACKED, /* too many filesystems on top of each other */
	PASSTHROUGH_NOT_REFUSED, /* the kernel refuses a backing id for another reason */
	PASSTHROUGH_NOT_COUNT
};

/** In the state of a request that opens a file. */
struct passthrough_step {
	struct uapi_fuse_backing_map map;
	struct inode *inode;                /* borrowed */
	bool stores;
	void (*next)(struct request *r);
};

/**
 * passthrough_start() - INIT is over: can the kernel do it, and on SOURCE?
 * Asks for a backing id of a memory file, and of a nameless file in SOURCE where that is stacked itself.
 * Sets m->passthrough, or leaves it NULL with a warning when only SOURCE is the reason.
 * @err: one line for the user on failure
 * Thread: main.  Return: 0; -EPERM, -EOPNOTSUPP, -ENOMEM
 */
int passthrough_start(struct mount *m, char *err, size_t err_size);
/** passthrough_stack_depth() - for the answer to INIT: filesystems that the mount may be on top of, 1 or 2. Thread: main. */
uint32_t passthrough_stack_depth(const struct mount *m);
/** passthrough_destroy() - NULL allowed; ids that are left go with the connection. Thread: main, no request left. */
void passthrough_destroy(struct passthrough *p);

/**
 * passthrough_join() - how is @i to be opened? Call s->next when r->io and r->backing_id are set
 * @fd: open backing file
 * @stores: the opener can store through a mapping: O_RDWR
 * The open counts from here: passthrough_leave() must follow, also when the request fails later.
 * On failure r->backing_id is -errno, and nothing counts. Thread: the request's; last call of a step.
 */
void passthrough_join(struct request *r, struct inode *i, int fd, bool stores, struct passthrough_step *s);
/** passthrough_leave() - an open of @i less; call before its descriptor is closed, whose last close may have to wait. Thread: any serving one. */
void passthrough_leave(struct server_thread *t, struct mount *m, const struct inode *i, enum handle_io io, bool stores);
/** passthrough_serves() - whether @i is open by a backing id: then the mount caches no data of it. Thread: any. */
bool passthrough_serves(const struct mount *m, const struct inode *i);
/** passthrough_attr_timeout() - how long the kernel may trust the attributes of @i, in seconds; @mode: as they show it. Thread: any. */
double passthrough_attr_timeout(const struct mount *m, const struct inode *i, uint16_t mode);

#endif
