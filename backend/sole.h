/* SPDX-License-Identifier: MIT */
/*
 * sole.h - files that nobody but this process changes, as long as nobody is heard of.
 *
 * Part of backend.h. Whoever wants to know whether others have changed a file
 * can compare its mtime with the one that his own change has left behind. But
 * a file whose mtime has been read gets a new one with its very next write,
 * which the filesystem must log (multigrain timestamps, Linux 6.13:
 * fs/inode.c inode_set_ctime_current(), fill_mg_cmtime()), where it else does so
 * once a clock tick. So a file that is written often is taken into this table
 * instead:
 *
 * - It is marked for opens and changes (watch.h), then a lease shows that no
 *   other descriptor writes to it (fcntl(2), F_SETLEASE with F_WRLCK is refused
 *   while there is one; fs/locks.c check_conflicting_open()). The lease is given back at once.
 * - From then on nobody can change it without an event: a writer, also one by a
 *   mapping, must open it first, and truncate(2) by name is a change.
 * - The kernel keeps an event until it is read: what was done between two of our own
 *   changes cannot be hidden by the second one, as an mtime is.
 *
 * During the lease, some microseconds, an open with O_NONBLOCK by somebody else gets
 * EWOULDBLOCK; other opens wait for its end. Only local filesystems: elsewhere others
 * change files without a trace here. overlayfs opens the files of its upper directory without
 * events (fs/overlayfs/file.c, FMODE_NONOTIFY); what it has open at the time of the lease, for writing, is seen.
 */
#ifndef URINGFS_SOLE_H
#define URINGFS_SOLE_H

#include <stdatomic.h>
#include <stdint.h>

struct sole;

struct sole_figures {
	uint64_t files, taken, lost; /* in the table now; ever taken; of them: somebody else was heard of */
};

/** sole_lost_fn - somebody else has opened or changed @file since sole_add(). Thread: that of sole_look(); it must not call back. */
typedef void (*sole_lost_fn)(void *arg, void *file);

/** sole_create() - an empty table, of one filesystem; @lost is called with @arg and its files. Thread: any. Return 0 or -ENOMEM */
int sole_create(sole_lost_fn lost, void *arg, struct sole **ret_s);
/** sole_destroy() - NULL allowed. Thread: main, all others ended. */
void sole_destroy(struct sole *s);
/**
 * sole_add() - mark @file, whose only descriptor open for writing in the whole system must be @fd
 * @file: the caller's name for it, borrowed until sole_remove(); it may be in the table already
 * Thread: any. Does not wait.
 * Return: 0; -EAGAIN another descriptor is open for writing (or for reading, on kernels with IMA); -ENOSPC table full;
 *         -errno of the marks: -EPERM without CAP_SYS_ADMIN. Without 0 a file that was not in the table is not there now.
 */
int sole_add(struct sole *s, int fd, void *file);
/** sole_remove() - forget @file, open as @fd; nothing when it is not there. Thread: any, not inside sole_lost_fn. */
void sole_remove(struct sole *s, int fd, void *file);
/** sole_look() - who has been heard of? Calls @lost, every time. Thread: any. Does not wait for events. */
void sole_look(struct sole *s);
/** sole_events() - counts calls of @lost, each before the call; to be compared. Thread: any. */
const _Atomic uint64_t *sole_events(const struct sole *s);
/** sole_figures_add() - add those of @s (NULL: none). Thread: any. */
void sole_figures_add(struct sole *s, struct sole_figures *sum);

#endif
