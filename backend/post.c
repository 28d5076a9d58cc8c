/* SPDX-License-Identifier: MIT */
/*
 * post.c - how other threads reach a ring: an inbox and two ways to wake it.
 *
 * The sender pushes, then looks at `sleeping`; the owner sets `sleeping`, then
 * looks into the inbox (both sequentially consistent), so one of them sees the
 * other. Who turns `sleeping` off sends the one wake-up: an IORING_OP_MSG_RING
 * in the sender's next submit, or a write to the eventfd that the ring reads.
 */
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "ring.h"
#include "tag.h"
#include "util/delay.h"
#include "util/errno_util.h"

/* The inbox of an ended ring. */
static struct ring_post post_closed;

int post_init(struct ring *r)
{
	r->event_fd = (int)errno_result(eventfd(0, EFD_CLOEXEC));
	return r->event_fd < 0 ? r->event_fd : 0;
}

void post_arm(struct ring *r)
{
	struct io_uring_sqe *sqe;

	if (r->event_armed || (r->closing && !r->internal_outstanding))
		return;
	sqe = ring_get_sqe(r);
	if (!sqe) /* tried again before the next sleep */
		return;
	sqe->opcode = IORING_OP_READ;
	sqe->fd = r->event_fd;
	sqe->addr = (uint64_t)(uintptr_t)&r->event_value;
	sqe->len = sizeof(r->event_value);
	sqe->user_data = tag_make(TAG_WAKE, 0, r->index);
	r->event_armed = true;
}

void post_wake_event(struct ring *r)
{
	uint64_t one = 1;
	ssize_t n = write(r->event_fd, &one, sizeof(one));

	(void)n; /* fails only when 2^64-2 wake-ups are unread: then it is awake */
}

static bool wake_by_message(struct ring *from, struct ring *to)
{
	struct io_uring_sqe *sqe;

	if (!from || from == to || !ring_has(from, FEATURE_MSG_RING))
		return false;
	sqe = ring_get_sqe(from);
	if (!sqe)
		return false;
	sqe->opcode = IORING_OP_MSG_RING;
	sqe->fd = to->uring.ring_fd;
	sqe->off = tag_make(TAG_MSG, 0, from->index);
	sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
	sqe->user_data = tag_make(TAG_MSG_SENT, 0, to->index);
	return true;
}

/* Return: whether a wake-up was sent. */
static bool wake(struct ring *from, struct ring *to)
{
	delay_point();
	if (!atomic_load(&to->sleeping) || !atomic_exchange(&to->sleeping, false))
		return false;
	delay_point();
	if (!wake_by_message(from, to))
		post_wake_event(to);
	return true;
}

int ring_post(struct ring *from, struct ring *to, struct ring_post *p)
{
	struct ring_post *head = atomic_load(&to->inbox);

	do {
		if (head == &post_closed)
			return -ESHUTDOWN;
		p->next = head;
	} while (!atomic_compare_exchange_weak(&to->inbox, &head, p));
	if (from)
		RING_COUNT(from, posts, 1);
	if (wake(from, to) && from)
		RING_COUNT(from, wakes, 1);
	return 0;
}

bool post_pending(struct ring *r)
{
	struct ring_post *head = atomic_load(&r->inbox);

	return (head && head != &post_closed) || atomic_load(&r->worker_done);
}

bool ring_tells_work(const struct ring *r)
{
	return r->uring.flags & IORING_SETUP_TASKRUN_FLAG;
}

bool ring_has_work(const struct ring *r)
{
	const struct io_uring_sq *sq = &r->uring.sq;
	const struct io_uring_cq *cq = &r->uring.cq;

	if (!atomic_load(&r->sleeping))
		return true;
	return IO_URING_READ_ONCE(*sq->kflags) & (IORING_SQ_CQ_OVERFLOW | IORING_SQ_TASKRUN) ||
	       IO_URING_READ_ONCE(*cq->ktail) != IO_URING_READ_ONCE(*cq->khead) ||
	       IO_URING_READ_ONCE(*sq->ktail) != IO_URING_READ_ONCE(*sq->khead);
}

static unsigned run_list(struct ring_post *newest)
{
	struct ring_post *oldest = NULL;
	unsigned count = 0;

	while (newest) {
		struct ring_post *p = newest;

		newest = p->next;
		p->next = oldest;
		oldest = p;
	}
	while (oldest) {
		struct ring_post *p = oldest;

		oldest = p->next;
		p->next = NULL;
		p->fn(p); /* p belongs to the sender again */
		count++;
	}
	return count;
}

unsigned post_run(struct ring *r)
{
	struct ring_post *head = atomic_load_explicit(&r->inbox, memory_order_relaxed);

	if (!head || head == &post_closed) /* only the owner closes it: no race */
		return 0;
	return run_list(atomic_exchange(&r->inbox, NULL));
}

void post_fetch_worker_done(struct ring *r)
{
	struct op *newest, *oldest = NULL;

	if (!atomic_load_explicit(&r->worker_done, memory_order_relaxed))
		return;
	newest = atomic_exchange(&r->worker_done, NULL);
	while (newest) {
		struct op *op = newest;

		newest = op->next;
		op->next = oldest;
		oldest = op;
	}
	while (oldest) {
		struct op *op = oldest;

		oldest = op->next;
		r->with_workers--;
		op->state = OP_DONE;
		op_list_add(&r->done, op);
	}
}

void post_worker_done(struct op *op)
{
	struct ring *r = op->ring;
	struct op *head = atomic_load(&r->worker_done);

	do {
		op->next = head;
	} while (!atomic_compare_exchange_weak(&r->worker_done, &head, op));
	(void)wake(NULL, r);
}

void post_shutdown(struct ring *r)
{
	struct ring_post *rest = atomic_exchange(&r->inbox, &post_closed);

	r->closing = true;
	(void)run_list(rest);
	/* wake-ups that are still in the queue: who was told so sleeps, and nobody else wakes him */
	if (!r->broken && io_uring_sq_ready(&r->uring) > 0)
		(void)ring_wait(r, false);
	/* end the READ on the eventfd, whose buffer is ours, and wait for closes under way */
	while (!r->broken && (r->event_armed || r->internal_outstanding)) {
		if (r->internal_outstanding == 0)
			post_wake_event(r);
		(void)ring_wait(r, true);
	}
}
