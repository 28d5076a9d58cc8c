/* SPDX-License-Identifier: MIT */
/*
 * complete.c - from completions to callbacks.
 *
 * ring_wait() first collects everything that is done, then calls back: so a
 * callback may submit, and what it submits is never completed under its feet.
 */
#include <assert.h>
#include <errno.h>
#include <time.h>

#include "ring.h"
#include "tag.h"
#include "util/delay.h"

/* Tries in the ring as it is, then by a kernel worker, then by ours; then the error stands. */
#define RETRIES_PLAIN 3u
#define RETRIES_ASYNC 6u
#define RETRIES_MAX 9u

/* ---- one op ------------------------------------------------------------------ */

static bool wants_retry(const struct op *op)
{
	if (op->res != -EINTR && op->res != -EAGAIN)
		return false;
	if (!(op_row(op)->flags & OPT_RETRY) || op->flags & (OPF_ONCE | OPF_LINK) || op->retries >= RETRIES_MAX)
		return false;
	if (op->kind == OP_OPENAT && op->how.resolve & RESOLVE_CACHED)
		return false;
	if ((op->kind == OP_READ || op->kind == OP_WRITE) && op->arg & RWF_NOWAIT)
		return false;
	return true;
}

static void retry(struct ring *r, struct op *op)
{
	RING_COUNT(r, retried, 1);
	op->retries++;
	if (op->place == OP_PLACE_RING && op->retries > RETRIES_PLAIN)
		op->sqe_flags |= IOSQE_ASYNC;
	if (op->retries > RETRIES_ASYNC)
		op->place = OP_PLACE_WORKER;
	ring_start(r, op);
}

static bool wants_more(const struct op *op)
{
	return op_row(op)->flags & OPT_CONTINUE && op->res > 0 && op->progress + (size_t)op->res < op->len &&
	       !(op->flags & (OPF_ONCE | OPF_LINK));
}

/* Turn the last raw result into the op's result. */
static void settle_result(struct op *op)
{
	if (op_row(op)->flags & OPT_CONTINUE && op->progress > 0) {
		/* as POSIX has it: what was moved before an error counts; the error comes with the next call, if there is one */
		op->cut = op->res < 0 ? (int)op->res : 0;
		op->res = (int64_t)op->progress + (op->res > 0 ? op->res : 0);
	}
	if (op->kind == OP_TIMEOUT && op->res == -ETIME)
		op->res = 0;
}

/* The next op of a chain that we walk ourselves. */
static void follow_link(struct ring *r, struct op_slot *next, bool ok)
{
	if (ok) {
		ring_start(r, &next->op);
		return;
	}
	next->op.res = -ECANCELED;
	next->op.state = OP_DONE;
	next->inject = false;
	op_list_add(&r->done, &next->op);
}

static void call_back(struct ring *r, struct op *op)
{
	struct op_slot *slot = op_slot(op);
	struct op_slot *next = slot->soft_link ? slot->link_next : NULL;
	bool full = op->res >= 0 && (!(op_row(op)->flags & OPT_CONTINUE) || (size_t)op->res == op->len);

	if (slot->internal)
		r->internal_outstanding--;
	else
		r->outstanding--;
	RING_COUNT_AT(r, place, op->place, 1);
	if (op->res < 0)
		RING_COUNT_AT(r, kind_errors, op->kind, 1);
	op->state = OP_CALLBACK;
	if (op->done)
		op->done(op);
	if (op->state == OP_CALLBACK)
		ring_op_put(op);
	if (next)
		follow_link(r, next, full);
}

void ring_complete(struct ring *r, struct op *op)
{
	struct op_slot *slot = op_slot(op);

	slot->inject = false;
	umask_release(r, slot);
	if (wants_retry(op)) {
		retry(r, op);
		return;
	}
	if (wants_more(op)) {
		RING_COUNT(r, short_continued, 1);
		op->progress += (size_t)op->res;
		op->retries = 0;
		if (!ring_read_ended(r, op)) {
			ring_start(r, op);
			return;
		}
	}
	settle_result(op);
	call_back(r, op);
}

/* ---- reaping -------------------------------------------------------------------- */

static void reap_op(struct ring *r, uint64_t tag, int32_t res)
{
	struct op *op;

	if (tag_index(tag) >= r->b->cfg.ops_count) {
		RING_COUNT(r, bad_tags, 1);
		return;
	}
	op = &r->slots[tag_index(tag)].op;
	if (op->state != OP_KERNEL || op->generation != tag_generation(tag)) {
		RING_COUNT(r, bad_tags, 1);
		return;
	}
	/* not among the completions that its own ring_wait() brought along */
	if (!(op_row(op)->flags & OPT_WAITS) && (int32_t)(op_slot(op)->enter_no - r->pass_enter_no) < 0)
		RING_COUNT(r, punted, 1);
	op->res = res;
	op->state = OP_DONE;
	op_list_add(&r->done, op);
}

static void reap_one(struct ring *r, const struct io_uring_cqe *cqe)
{
	uint64_t tag = cqe->user_data;

	switch (tag_kind(tag)) {
	case TAG_OP:
		reap_op(r, tag, cqe->res);
		break;
	case TAG_WAKE:
		r->event_armed = false;
		break;
	case TAG_MSG:
		break;
	case TAG_MSG_SENT: {
		/* only failures come: the other ring is full or ending. Its eventfd works in any case. */
		struct ring *to = tag_index(tag) < BACKEND_RINGS_MAX ? atomic_load(&r->b->rings[tag_index(tag)]) : NULL;

		if (to && cqe->res < 0)
			post_wake_event(to);
		break;
	}
	default:
		if (tag != TAG_LIBURING)
			RING_COUNT(r, bad_tags, 1);
		break;
	}
}

static unsigned reap_ready(struct ring *r)
{
	struct io_uring_cqe *cqe;
	unsigned head, count = 0;

	io_uring_for_each_cqe(&r->uring, head, cqe) {
		reap_one(r, cqe);
		count++;
	}
	io_uring_cq_advance(&r->uring, count);
	RING_COUNT(r, cqes, count);
	return count;
}

static unsigned reap(struct ring *r)
{
	unsigned dropped, count = reap_ready(r);

	/* completions that found no room wait in the kernel until somebody enters it */
	for (unsigned i = 0; io_uring_cq_has_overflow(&r->uring) && i < 1024; i++) {
		if (i == 0)
			RING_COUNT(r, overflows, 1);
		if (ring_enter(r, false) < 0 && r->broken)
			break;
		count += reap_ready(r);
	}
	dropped = IO_URING_READ_ONCE(*r->uring.cq.koverflow);
	if (dropped != r->overflow_seen) {
		RING_COUNT(r, overflows, dropped - r->overflow_seen);
		r->overflow_seen = dropped;
	}
	return count;
}

static unsigned run_done(struct ring *r)
{
	struct op_list now = r->done;
	unsigned count = 0;
	struct op *op;

	/* what is added meanwhile has its turn in the next ring_wait() */
	r->done = (struct op_list){ 0 };
	while ((op = op_list_take(&now))) {
		ring_complete(r, op);
		count++;
	}
	return count;
}

/* ---- the loop's body --------------------------------------------------------------- */

static bool kernel_has_news(struct ring *r)
{
	unsigned flags = IO_URING_READ_ONCE(*r->uring.sq.kflags);

	return flags & (IORING_SQ_CQ_OVERFLOW | IORING_SQ_TASKRUN);
}

/* Submit, and sleep when allowed and nothing is there. @ret_unwoken: slept to the end of the second. */
static int enter(struct ring *r, bool sleep, bool *ret_unwoken)
{
	int res = 0;

	sleep = sleep && !r->done.head && io_uring_cq_ready(&r->uring) == 0;
	if (sleep) {
		post_arm(r);
		if (!r->event_armed) { /* no entry was free */
			(void)ring_enter(r, false);
			post_arm(r);
		}
		delay_point();
		atomic_store(&r->sleeping, true);
		delay_point();
		if (post_pending(r) || !r->event_armed) {
			atomic_store(&r->sleeping, false);
			sleep = false;
		}
	}
	delay_point();
	if (sleep || io_uring_sq_ready(&r->uring) > 0 || kernel_has_news(r))
		res = ring_enter(r, sleep);
	/* still set: nobody has sent us a wake-up */
	*ret_unwoken = sleep && atomic_exchange(&r->sleeping, false) && res == -ETIME;
	return res;
}

void ring_sleep_short(struct ring *r, bool on)
{
	r->sleeps_short = on;
}

int ring_wait(struct ring *r, bool sleep)
{
	unsigned reaped, posts, count;
	bool unwoken = false;
	int res;

	if (r->broken)
		return -EBADFD;
	r->pass_enter_no = r->enter_no;
	ring_close_chain(r);
	ring_flush_waiting(r);
	res = enter(r, sleep, &unwoken);
	/*
	 * With DEFER_TASKRUN a wait for one completion brings one, whatever else is there (io_cqring_wait() runs as many pieces of work as it
	 * waits for, Linux 6.13 to 6.18), and on our way out of the kernel others may have had this CPU, and have sent more: only another call
	 * brings that. Taken along it is answered in one turn; else two callers on one CPU would be served one after the other, with a switch of
	 * tasks each.
	 */
	if (sleep && res == 0 && kernel_has_news(r))
		(void)ring_enter(r, false); /* a failure shows at the next */
	if (r->broken)
		return res;
	delay_point();
	reaped = reap(r);
	post_fetch_worker_done(r);
	/* the kernel is short of memory and nothing is under way: do not spin */
	if (sleep && reaped == 0 && (res == -EAGAIN || res == -EBUSY || res == -ENOMEM)) {
		struct timespec ms = { .tv_nsec = 1000000 };

		(void)nanosleep(&ms, NULL);
	}
	count = run_done(r);
	delay_point();
	posts = post_run(r);
	if (posts && unwoken)
		RING_COUNT(r, late_posts, posts);
	return (int)(count + posts);
}
