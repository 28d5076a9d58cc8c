/* SPDX-License-Identifier: MIT */
/*
 * ring.h - one io_uring and all that its thread owns; included inside backend/ only.
 *
 * ring.c makes and ends it, submit.c brings ops into it, complete.c takes
 * results out of it and calls back, post.c lets other threads reach it.
 * Fields belong to the owner thread unless they are atomic or say otherwise.
 */
#ifndef URINGFS_RING_H
#define URINGFS_RING_H

#include <liburing.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "backend_priv.h"
#include "creds.h"
#include "filetable.h"
#include "op.h"
#include "quick.h"

/** A FIFO of ops through op->next. */
struct op_list {
	struct op *head, *tail;
	unsigned count;
};

/** How deep callbacks of inline ops may nest before they are put off. */
#define RING_INLINE_DEPTH_MAX 16u

#define RING_COUNTERS (sizeof(struct ring_stats) / sizeof(uint64_t))
_Static_assert(sizeof(struct ring_stats) % sizeof(uint64_t) == 0, "ring_stats holds uint64_t only");

struct ring {
	struct backend *b;
	unsigned index;
	int proc_fd;              /* /proc/self/fd, or -1: names in it are looked up by their whole path */
	struct io_uring uring;
	bool uring_made, broken, closing;
	bool has_files, has_buffers;
	unsigned buffers_count;
	mode_t umask_now;         /* of this thread's fs_struct, which kernel workers share */
	unsigned umask_inflight;  /* ring ops that use it */

	struct op_slot *slots;    /* the pool */
	struct op *free_ops;
	unsigned ops_free, outstanding;
	unsigned internal_outstanding; /* the backend's own ops */
	unsigned with_workers;         /* of both: with a pool of threads, whose results come by worker_done */
	bool sleeps_short;             /* ring_sleep_short() */
	unsigned inline_depth;
	uint32_t enter_no;        /* number of the next enter */
	uint32_t pass_enter_no;   /* that of the first one of this ring_wait() */
	unsigned overflow_seen;   /* kernel's counter when last looked */
	unsigned sq_head_seen;    /* the same of the submission queue's head */

	struct op_list waiting;   /* heads of chains, or single ops, for which there was no entry */
	struct op_list done;      /* results known, callbacks to come */
	struct op_slot *chain_first, *chain_last; /* linked ops whose end has not come yet */

	struct quick quick[OP_KINDS_COUNT];
	struct personalities personalities;
	uint16_t own_personality; /* the daemon's own identity, registered; 0: none */
	struct filetable files;
	struct ring_post retire_post; /* in our own inbox while retire_posted */
	atomic_bool retire_posted;

	/* wake-up: see post.c */
	int event_fd;             /* closed by backend_destroy(): a late waker may still write */
	uint64_t event_value;     /* target of the READ that is in the ring while event_armed */
	bool event_armed;
	atomic_bool sleeping;
	_Atomic(struct ring_post *) inbox;   /* newest first; post_closed: refused */
	_Atomic(struct op *) worker_done;    /* newest first */

	_Atomic uint64_t counters[RING_COUNTERS]; /* struct ring_stats; one writer */
};

/** RING_COUNT() - add to a figure of struct ring_stats. Owner only. */
#define RING_COUNT(r, field, n) \
	stats_add(&(r)->counters[offsetof(struct ring_stats, field) / sizeof(uint64_t)], (n))
#define RING_COUNT_AT(r, field, i, n) \
	stats_add(&(r)->counters[offsetof(struct ring_stats, field) / sizeof(uint64_t) + (i)], (n))

static inline bool ring_has(const struct ring *r, unsigned feature)
{
	return features_has(&r->b->features, feature);
}

static inline void op_list_add(struct op_list *l, struct op *op)
{
	op->next = NULL;
	if (l->tail)
		l->tail->next = op;
	else
		l->head = op;
	l->tail = op;
	l->count++;
}

static inline struct op *op_list_take(struct op_list *l)
{
	struct op *op = l->head;

	if (!op)
		return NULL;
	l->head = op->next;
	if (!l->head)
		l->tail = NULL;
	l->count--;
	op->next = NULL;
	return op;
}

/* ---- submit.c ------------------------------------------------------------ */

/** ring_start() - bring @op (place decided) to where it runs; again for retries and continuations. Owner. */
void ring_start(struct ring *r, struct op *op);

/** ring_flush_waiting() - move waiting ops into free entries, submitting as often as it helps. Owner. */
void ring_flush_waiting(struct ring *r);

/** umask_release() - a ring op that used the umask is over. Owner. */
void umask_release(struct ring *r, struct op_slot *slot);

/** ring_cancel_here() - cancel what is not in the kernel. Return: true when @op (the CANCEL) has its result. Owner. */
bool ring_cancel_here(struct ring *r, struct op *op);

/** ring_close_chain() - a chain whose end never came is submitted as it is. Owner. */
void ring_close_chain(struct ring *r);

/**
 * ring_enter() - submit what is queued
 * @wait: also wait for one completion; at most one second where ring_sleeps_short() says so
 * Thread: owner.
 * Return: 0; -ETIME nothing came; -EAGAIN, -EBUSY, -EINTR try later; other -errno: the ring is broken
 */
int ring_enter(struct ring *r, bool wait);

/** ring_get_sqe() - a zeroed entry, or NULL when the queue is full. Owner. */
struct io_uring_sqe *ring_get_sqe(struct ring *r);

/** ring_submit_internal() - as ring_submit(), for the backend's own ops: no caller sees them. Owner. */
void ring_submit_internal(struct op *op);

/* ---- quick.c --------------------------------------------------------------- */

/** ring_op_is_quick() - whether @op, which may wait, is done at once because such ops have been quick (quick.h). Owner. */
bool ring_op_is_quick(const struct ring *r, const struct op *op);
/** ring_note_quick() - it has been done, from @begin_ns (monotonic) until now. Owner. */
void ring_note_quick(struct ring *r, struct op *op, uint64_t begin_ns);

/**
 * ring_read_ended() - whether a READ that came back short has met the end of the file
 * One call that does not wait, in the place of a turn of the ring that moves nothing.
 * Thread: owner.  Return: true: it has, op->res is 0; false: not known, the rest is to be read
 */
bool ring_read_ended(struct ring *r, struct op *op);

/* ---- complete.c ----------------------------------------------------------- */

/** ring_complete() - op->res is the raw result: continue, retry or call back. Owner. */
void ring_complete(struct ring *r, struct op *op);

/* ---- post.c ---------------------------------------------------------------- */

/** post_init() - make the eventfd. Thread: owner. Return: 0; -errno */
int post_init(struct ring *r);
/** post_shutdown() - refuse further posts and run those that came. Thread: owner. */
void post_shutdown(struct ring *r);
/** post_arm() - keep a READ on the eventfd in the ring. Thread: owner. */
void post_arm(struct ring *r);
/** post_pending() - whether something waits in the inbox or from workers. Thread: owner. */
bool post_pending(struct ring *r);
/** post_run() - run the posts in order of arrival. Thread: owner. Return: how many */
unsigned post_run(struct ring *r);
/** post_fetch_worker_done() - append the workers' results to r->done. Thread: owner. */
void post_fetch_worker_done(struct ring *r);
/** post_worker_done() - hand a finished op to its ring. Thread: worker. */
void post_worker_done(struct op *op);
/** post_wake_event() - wake the thread of @r by its eventfd. Thread: any. */
void post_wake_event(struct ring *r);

/* ---- bfile.c ---------------------------------------------------------------- */

/** bfile_borrow_slot() - the registered slot of @f in this ring, installed when it is worth it; -1: none. Owner. */
int32_t bfile_borrow_slot(struct ring *r, struct bfile *f);
/** bfile_retire_init() - prepare the ring's own message. Owner. */
void bfile_retire_init(struct ring *r);
/** bfile_retire_rest() - at the end of a ring: descriptors that waited for its slots are closed. Owner. */
void bfile_retire_rest(struct ring *r);

/** workers_of() - the pool that @op goes to, when it goes to one. */
static inline struct workers *workers_of(const struct ring *r, const struct op *op)
{
	return op->flags & OPF_AHEAD ? r->b->ahead : r->b->workers[r->index];
}

/** ring_sleeps_short() - results of workers, ops that found no room, and an end are looked for after a second, whatever happens; all else wakes the ring. */
static inline bool ring_sleeps_short(const struct ring *r)
{
	return r->with_workers > 0 || r->waiting.head || r->sleeps_short || r->closing;
}

#endif
