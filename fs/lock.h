/* SPDX-License-Identifier: MIT */
/*
 * lock.h - record locks and flock on the backing files (locks=shared).
 *
 * Each owner that the kernel names (a process for POSIX locks, an open file for
 * OFD locks) gets one descriptor of the backing file, and takes OFD locks on it:
 * so owners exclude each other and everybody who uses SOURCE directly, and
 * closing the descriptor drops what the owner held. flock goes to the backing
 * open of the handle.
 *
 * No lock call waits: who has to wait is parked, so that no thread and no ring
 * is held. He tries again when a lock of the file is given back through the
 * mount; and, since somebody may give one back in SOURCE, after 1 ms, then less
 * often (10 ms at most). Circles of POSIX locks among those who wait here get
 * EDEADLK, as in the kernel; one that goes through SOURCE is not seen.
 *
 * Lock: the table's mutex guards owners, waiters and the recent interrupts.
 */
#ifndef URINGFS_LOCK_H
#define URINGFS_LOCK_H

#include <stdbool.h>
#include <stdint.h>

/** Most requests of one serving thread that wait for a lock; one more gets ENOLCK. */
#define LOCK_WAITS_MAX 512u

struct mount;
struct inode;
struct server_thread;
struct lock_table;

/** lock_table_create() - Return 0 or -ENOMEM. */
int lock_table_create(struct lock_table **ret_t);
/** lock_table_destroy() - closes all owners' descriptors; NULL allowed. */
void lock_table_destroy(struct lock_table *t);
/** lock_release() - the open file @fh of @i has gone, and the OFD locks taken through it. Thread: @t. */
void lock_release(struct server_thread *t, struct mount *m, struct inode *i, uint64_t fh);
/** lock_flush() - an open file of @owner was closed: his POSIX locks on @i go. Nothing with locks=local. Thread: any. */
void lock_flush(struct server_thread *t, struct mount *m, struct inode *i, uint64_t owner);

/** lock_wake() - a lock on @i was given back: those who wait for one try now. Thread: @from. */
void lock_wake(struct server_thread *from, struct mount *m, const struct inode *i);

#endif
