/* SPDX-License-Identifier: MIT */
/*
 * notify.h - what the daemon tells the kernel by itself: drop attributes, drop pages; and which request may wait for that.
 *
 * A notification waits, in the kernel, for what requests to us hold, and a request that waits for a notification
 * holds something, too. What the kernel does (Linux 6.18), fs/fuse/inode.c fuse_reverse_inval_inode():
 *
 *   attributes (a negative offset)   spinlocks, and fc->killsb, which is taken for writing only to take the filesystem from the list,
 *                                    or add it: not while a request of an open file is under way. It waits for nobody.
 *   pages                            invalidate_inode_pages2_range(): the lock of each page (held by a READ that fills it, and by a WRITE to a part
 *                                    of a page that was not there: fs/fuse/file.c, fuse_fill_write_pages()), its write-back, and the
 *                                    write-back of what is dirty (fuse_launder_folio()). That is a WRITE of ours, which needs a ring entry or a
 *                                    buffer, a place among max_background requests, and that the inode's writes are
 *                                    not held up: a truncation does that until it is answered (fs/fuse/dir.c, fuse_do_setattr(), fuse_set_nowrite()).
 *   a name (FUSE_NOTIFY_INVAL_ENTRY) the directory's inode lock, which each LOOKUP, CREATE, UNLINK in it holds. Never sent.
 *
 * So attributes are dropped on the spot, by the thread that serves. Pages are dropped by a thread of its own, one after the other; it comes to an end
 * with each as long as these are answered without waiting for it: READ, WRITE but those that pass by the pages, SETATTR of the size.
 * These may wait, for all that they hold are inode locks, which dropping pages does not take:
 *
 *   GETATTR, STATX, SETATTR of anything else    before attributes are shown that somebody else has changed
 *   LOOKUP, READDIRPLUS, and what makes names   the same (a directory's lock)
 *   LSEEK for data and holes, SETXATTR          until all is written back (the file's lock)
 *   WRITE that passes by the pages              until they are gone (the file's lock; no page); never of pages written back; and never more of
 *                                               them than half of max_background, for the asynchronous ones have places among those
 *
 * Who waits keeps his ring entry or buffer: he is counted with those that wait for locks (server_thread.parked), for whom there
 * are more. With none left nobody waits any more: notify_wait_begin() says so.
 */
#ifndef URINGFS_NOTIFY_H
#define URINGFS_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "backend/backend.h"

struct mount;
struct notifier;
struct request;

/** A notification under way; embedded in what waits for it. */
struct notification {
	struct notification *next;
	struct mount *mount;
	uint64_t nodeid;
	int64_t off, len;      /* bytes; len 0: to the end */
	struct ring *ring;     /* of the waiter; NULL: nobody waits, the notification is freed */
	struct ring_post post; /* its fn is called on the waiter's ring */
};

/**
 * notify_attributes() - the kernel forgets the attributes of @nodeid, no pages
 * Thread: any, of a request that the kernel waits for, or of nobody's: it does not block (above).
 */
void notify_attributes(struct mount *m, uint64_t nodeid);
/**
 * notify_pages() - drop @len bytes of pages of @nodeid at @off (0: to the end), then post n->post to @ring
 * @ring: of a request that has begun to wait; NULL: @n was made by malloc, and is freed
 * Pages not written back are written back first. Attributes go, too. @n lives until then. Thread: any.
 */
void notify_pages(struct mount *m, uint64_t nodeid, uint64_t off, uint64_t len, struct ring *ring, struct notification *n);
/**
 * notify_wait_begin() - @r is about to wait for notify_pages(); true: notify_wait_end() must follow
 * false: it may not, for the notification would wait for it, or there could be no entry for what that needs; counted. Thread: the request's.
 */
bool notify_wait_begin(struct request *r);
/** notify_wait_end() - it waits no longer. Thread: the request's. */
void notify_wait_end(struct request *r);

/** notify_busy() - pages of @m are being dropped just now, or wait for it. Thread: any. */
bool notify_busy(struct notifier *n, const struct mount *m);

/** notifier_create() - the thread that has pages dropped. Thread: main. Return 0 or -errno. */
int notifier_create(struct notifier **ret_n);
/** notifier_destroy() - no more notifications come; NULL allowed. Thread: main. */
void notifier_destroy(struct notifier *n);

#endif
