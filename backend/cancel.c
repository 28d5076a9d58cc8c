/* SPDX-License-Identifier: MIT */
/* cancel.c - OP_CANCEL of what the kernel does not have: ops that wait for an entry or a worker. */
#include <errno.h>

#include "ring.h"
#include "tag.h"

/** cancelled() - it was not begun. */
static void cancelled(struct ring *r, struct op *op)
{
	op->res = -ECANCELED;
	op->state = OP_DONE;
	op_slot(op)->inject = false;
	op_list_add(&r->done, op);
}

static bool waiting_remove(struct ring *r, struct op *op)
{
	struct op *prev = NULL, *o;

	for (o = r->waiting.head; o && o != op; o = o->next)
		prev = o;
	if (!o)
		return false;
	*(prev ? &prev->next : &r->waiting.head) = o->next;
	if (r->waiting.tail == o)
		r->waiting.tail = prev;
	r->waiting.count--;
	return true;
}

bool ring_cancel_here(struct ring *r, struct op *op)
{
	struct op *target = op->buf;

	op->off = tag_make(TAG_OP, target->generation, target->index);
	op->res = 0;
	switch (target->state) {
	case OP_KERNEL:
		return false;
	case OP_WAITING:
		if (op_slot(target)->link_next && !op_slot(target)->soft_link) {
			op->res = -EALREADY; /* not worth taking a chain apart */
		} else if (waiting_remove(r, target)) {
			cancelled(r, target);
		}
		return true;
	case OP_QUEUED:
		if (workers_cancel(workers_of(r, target), target)) {
			r->with_workers--;
			cancelled(r, target);
		} else {
			atomic_store(&op_slot(target)->cancelled, true);
			op->res = -EALREADY;
		}
		return true;
	default:
		op->res = -ENOENT;
		return true;
	}
}
