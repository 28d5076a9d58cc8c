/* SPDX-License-Identifier: MIT */
/*
 * coherence.h - the mount's page cache and changes made directly in SOURCE (cache=auto).
 *
 * The kernel could drop its pages by itself whenever a file's mtime changes
 * (FUSE_AUTO_INVAL_DATA), but it does so for the mount's own writes too, and
 * then a page can be read again while a write to it is still on its way here:
 * the page keeps the old bytes, and a later reader, who holds a lock and has
 * every right to see the new ones, gets them (seen with record locks around
 * counters in one file: tests/stress/locks; passthrough_ll shows the same). So we
 * take FUSE_EXPLICIT_INVAL_DATA and say when: an inode remembers the mtime and
 * size that our own requests left behind, and what differs from that was done
 * by somebody else. Then the pages are dropped, by a thread of its own, because
 * the kernel waits for pages that are locked by requests to us; an answer that
 * shows the new attributes is sent after that.
 *
 * A file that is changed often through one open file of ours, and that nobody else has open for writing, is
 * "sole" (backend/sole.h): then others are heard of by events, and our changes need no looks at its mtime, which would
 * make the filesystem log a new one with every write (3 to 4 us of a write on xfs and ext4). The events are read
 * before each answer that depends on them, and with our changes once a millisecond.
 */
#ifndef URINGFS_COHERENCE_H
#define URINGFS_COHERENCE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "backend/backend.h"
#include "fs/inode.h"

struct backing_fs;
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

/** coherence_needed() - whether this mount's cached data is watched at all. */
bool coherence_needed(const struct mount *m);
/**
 * coherence_check() - after a statx: has somebody else changed @i?
 * @seq: inode_data_seq() from before the statx
 * Return true when it was changed while it is open here: the pages must be dropped with
 * coherence_drop() before the new attributes are shown.
 */
bool coherence_check(struct mount *m, struct inode *i, const struct statx *stx, uint32_t seq);
/** coherence_data_check() - inode_data_check() of an open file, after the events of those who may have changed it have been read. */
enum inode_data coherence_data_check(struct mount *m, struct inode *i, const struct statx *stx, uint32_t seq, bool waits);
/** coherence_drop() - drop the pages of @nodeid, then post n->post to @ring. @n lives until then. Thread: any. */
void coherence_drop(struct mount *m, uint64_t nodeid, struct ring *ring, struct notification *n);
/** coherence_drop_range() - the same for @len bytes at @off; 0: to the end. Pages not written back are written back first. Thread: any. */
void coherence_drop_range(struct mount *m, uint64_t nodeid, uint64_t off, uint64_t len, struct ring *ring, struct notification *n);
/** coherence_change_begin() - the request is about to change the data of @i, open as @fd. */
void coherence_change_begin(struct request *r, struct inode *i, int fd);
/** coherence_closing() - an open file of @i is about to be closed; @fd is its descriptor. Thread: any serving one. */
void coherence_closing(struct mount *m, struct inode *i, int fd);
/** coherence_backing() - @b has been found: files there may become sole. Thread: any, before others know of @b. */
void coherence_backing(struct mount *m, struct backing_fs *b);
/** coherence_change_end() - it has; @fd as above. Nothing if there was no begin. Thread: the request's. */
void coherence_change_end(struct request *r);

/**
 * coherence_drop_attributes() - as coherence_drop(), for the attributes only: no page goes, or is waited for.
 *
 * Source: kernel fs/fuse/inode.c fuse_reverse_inval_inode(), a negative offset.
 */
void coherence_drop_attributes(struct mount *m, uint64_t nodeid, struct ring *ring, struct notification *n);

/** coherence_then() - @next is called when the notification of @r, which is sent right after this, has been. Thread: the request's; r->next is used. */
void coherence_then(struct request *r, void (*next)(struct request *r));
/**
 * coherence_mode_ended() - @next, now or when the kernel has heard that setuid and setgid of @i, which it may hold, have ended
 * Thread: the request's; @next is called there, r->next is used.
 */
void coherence_mode_ended(struct request *r, struct inode *i, void (*next)(struct request *r));

/** notifier_create() - the thread that talks to the kernel. Thread: main. Return 0 or -errno. */
int notifier_create(struct notifier **ret_n);
/** notifier_destroy() - no more notifications come; NULL allowed. Thread: main. */
void notifier_destroy(struct notifier *n);

#endif
