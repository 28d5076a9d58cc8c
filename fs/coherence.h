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
 * shows the new attributes is sent after that, where the request may wait for it (notify.h); else it tells the kernel not to
 * keep them, and the next one is.
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
#include "fs/notify.h"

struct backing_fs;
struct mount;
struct request;

/** coherence_needed() - whether this mount's cached data is watched at all. */
bool coherence_needed(const struct mount *m);
/**
 * coherence_check() - after a statx: has somebody else changed @i?
 * @seq: inode_data_seq() from before the statx
 * Return true when it was changed while it is open here: the pages must be dropped with
 * coherence_drop_then() before the new attributes are shown, or coherence_drop_later(), and they are not to be kept.
 */
bool coherence_check(struct mount *m, struct inode *i, const struct statx *stx, uint32_t seq);
/** coherence_data_check() - inode_data_check() of an open file, after the events of those who may have changed it have been read. */
enum inode_data coherence_data_check(struct mount *m, struct inode *i, const struct statx *stx, uint32_t seq, bool waits);
/**
 * coherence_drop_then() - @next is called when the kernel has dropped @len bytes of pages at @off (0: to the end) of the request's inode
 * What is dirty among them is written back first.
 * Thread: the request's; r->next is used.  Return: true; false: this request may not wait (notify.h), and nothing was done
 */
bool coherence_drop_then(struct request *r, uint64_t off, uint64_t len, void (*next)(struct request *r));
/** coherence_drop_later() - all pages of @i are to go, and nobody waits here: who shows its attributes from now on does. Thread: any. */
void coherence_drop_later(struct mount *m, struct inode *i);
/** coherence_change_begin() - the request is about to change the data of @i, open as @fd. */
void coherence_change_begin(struct request *r, struct inode *i, int fd);
/**
 * coherence_empty_begin() - the same of O_TRUNC, after which the kernel drops all pages by itself
 * A drop of ours would have those written back that are dirty, perhaps after the file has been emptied (fs/fuse/file.c, fuse_open()). If it
 * fails coherence_drop_later() must follow.
 */
void coherence_empty_begin(struct request *r, struct inode *i, int fd);
/** coherence_closing() - an open file of @i is about to be closed; @fd is its descriptor. Thread: any serving one. */
void coherence_closing(struct mount *m, struct inode *i, int fd);
/** coherence_backing() - @b has been found: files there may become sole. Thread: any, before others know of @b. */
void coherence_backing(struct mount *m, struct backing_fs *b);
/** coherence_change_end() - it has; @fd as above. Nothing if there was no begin. Thread: the request's. */
void coherence_change_end(struct request *r);
/** coherence_mode_ended() - setuid and setgid of @i, which the kernel may hold, have ended: it hears of it. Thread: any. */
void coherence_mode_ended(struct request *r, struct inode *i);

#endif
