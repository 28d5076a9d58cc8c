/* SPDX-License-Identifier: MIT */
/*
 * zero_copy.h - data that goes between SOURCE's files and the callers' own pages, past our memory (Linux 7.3, FUSE 7.46).
 *
 * The kernel puts the pages of a READ or WRITE (page cache, or the caller's own with direct I/O) into a slot of the buffer
 * table of the ring that serves the request; one slot belongs to each ring entry. A READ_FIXED or WRITE_FIXED between the
 * backing file and that slot moves the data; the pages have no address here. What cannot be done so (direct I/O that the
 * backing filesystem refuses for its alignment, an op that the ring cannot take) goes by way of a file in memory, which
 * both can read and write: zero_copy_load(), zero_copy_store().
 *
 * Requests whose file was not opened for it, and all others, have their payload in a buffer of the queue's pool:
 * transport_uring_pool.c.
 *
 * Source of the protocol: include/uapi/linux/fuse.h and Documentation/filesystems/fuse/fuse-io-uring.rst of Linux 7.3.
 */
#ifndef URINGFS_ZERO_COPY_H
#define URINGFS_ZERO_COPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/backend.h"

struct inode;
struct mount;
struct request;
struct server_thread;

/** The slots of a serving thread; all zero: none. Owner: the thread. */
struct zero_copy_slots {
	uint16_t *free;      /* the last one is given out first */
	unsigned free_count, count;
	int memfd, zero_fd;  /* the way around, and /dev/zero; valid while count */
};

/**
 * zero_copy_possible() - whether @m may have it, as far as can be told before INIT is answered
 * @m: what the kernel offers is known
 * @why, @why_size: one line for the user when not
 */
bool zero_copy_possible(const struct mount *m, char *why, size_t why_size);

/** zero_copy_slots_make() - a buffer table of slots for @t, unless there is one. Thread: owner.  Return 0 or -errno. */
int zero_copy_slots_make(struct server_thread *t);
/** zero_copy_slots_free() - give the slots back; the table holds payload buffers again, if the ring lives. Thread: owner. */
void zero_copy_slots_free(struct server_thread *t);
/** zero_copy_slot_get() - a slot for a ring entry: 1 and up, or -EAGAIN. Thread: owner. */
int zero_copy_slot_get(struct server_thread *t);
/** zero_copy_slot_put() - the entry has gone; what the kernel may have left in its slot goes, too. Thread: owner. */
void zero_copy_slot_put(struct server_thread *t, int slot);

/**
 * zero_copy_wanted() - whether the READs and WRITEs of an opener of @i are to bring their pages
 * Also where the ring gives each op to a kernel worker (buffered writing on ext4 and xfs, all on tmpfs), while what has an address here can be
 * done on the spot: on 7.3 that takes no fewer instructions, from 128 KiB on many more (tests/vm/zero-copy/README.md).
 */
bool zero_copy_wanted(const struct request *r, const struct inode *i);
/** zero_copy_refused() - an op on the slot of @r ended with @res: is the way around to be tried? Counts it. */
bool zero_copy_refused(struct request *r, int64_t res);
/**
 * zero_copy_load() - bring the first @len bytes of the slot of @r into its payload
 * @done: called on the thread of @r, with op->owner the request; op->res 0 or -errno
 * Thread: owner. Last call of a step.
 */
void zero_copy_load(struct request *r, size_t len, op_done_fn done);
/** zero_copy_store() - the other way: from the payload into the slot. As zero_copy_load(). */
void zero_copy_store(struct request *r, size_t len, op_done_fn done);
/**
 * zero_copy_clear() - @len bytes of zeros into the slot of @r, from byte @from on
 * What a short read leaves of page cache pages would be what was in that memory before: nobody else clears it.
 * @done: op->res 0 or -errno.  Thread: owner. Last call of a step.
 */
void zero_copy_clear(struct request *r, size_t from, size_t len, op_done_fn done);

#endif
