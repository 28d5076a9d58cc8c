/* SPDX-License-Identifier: MIT */
/*
 * lock_table.h - what op_lock.c (who holds what) and lock_wait.c (who waits) share; see lock.h.
 *
 * A waiter lives in its request, is in the table's list while parked, and belongs
 * to the thread of its request but for the fields that say otherwise.
 */
#ifndef URINGFS_LOCK_TABLE_H
#define URINGFS_LOCK_TABLE_H

#include <fcntl.h>
#include <pthread.h>

#include "fs/lock.h"
#include "fs/ops.h"

#define RECENT_INTERRUPTS 64u

/** One owner's descriptor of one file. All fields: table's lock. */
struct lock_owner {
	struct lock_owner *next;
	struct inode *inode; /* a reference of its own */
	uint64_t owner;
	uint64_t fh;         /* of the open file it last locked through */
	uint32_t pid;
	int fd;
	bool writable;
	bool holding;        /* may hold a lock: one was given since all were taken back */
};

/** How a waiter called: only POSIX locks take part in deadlocks, as in the kernel. */
enum lock_call { LOCK_CALL_UNKNOWN, LOCK_CALL_POSIX, LOCK_CALL_OTHER };

struct lock_wait {
	/* constant */
	struct request *request;
	uint64_t unique;     /* of the request */
	pid_t tid;           /* of the caller; 0: not in our pid namespace */
	struct inode *inode; /* the request's */
	uint64_t owner;
	bool record;         /* a record lock, not flock */
	struct flock fl;
	void (*over)(struct request *r, bool interrupted); /* the wait has ended: try again, or answer EINTR */
	/* the thread's own */
	struct op *timeout;
	uint64_t wait_ns;
	unsigned tries;
	/* the table's lock */
	struct lock_wait *next;
	bool interrupted;
	bool posted;         /* wake is under way to the thread: the request must not end before */
	bool timed_out;      /* while posted */
	bool reached;        /* by the search for a deadlock */
	bool done;           /* looked at by it */
	enum lock_call call;
	struct ring_post wake;
};

struct lock_table {
	pthread_mutex_t lock;
	struct lock_owner *owners;
	struct lock_wait *waits;
	/* interrupts that came before their request was parked */
	uint64_t recent[RECENT_INTERRUPTS];
	unsigned recent_at;
};

/** lock_owner_conflicts() - whether @o holds a lock that is in the way of @fl. Lock held. */
bool lock_owner_conflicts(const struct lock_owner *o, const struct flock *fl);
/**
 * lock_wait_park() - call w->over a little later, or when a lock of the file is given back through this mount
 * @w: its constant fields are set, the others zero at the first time
 * Thread: that of @r.  Return: 0 parked; -EDEADLK the caller waits for somebody who waits for him;
 * any other: there is no op, -ENOLCK
 */
int lock_wait_park(struct request *r, struct lock_wait *w);
/** lock_wait_interrupt() - the request @unique is to end with EINTR. Thread: @t. */
void lock_wait_interrupt(struct server_thread *t, struct lock_table *table, uint64_t unique);

#endif
