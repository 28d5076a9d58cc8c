/* SPDX-License-Identifier: MIT */
/* quick.c - see quick.h. */
#include "quick.h"

#include "ring.h"

bool quick_took(struct quick *q, uint64_t took_ns, uint64_t now_ns)
{
	if (took_ns <= QUICK_LIMIT_NS) {
		if (++q->good >= QUICK_CALLS_GOOD) {
			q->good = 0;
			q->pause_ns /= 2;
		}
		return false;
	}
	q->good = 0;
	if (q->pause_ns < QUICK_PAUSE_NS)
		q->pause_ns = QUICK_PAUSE_NS;
	q->until_ns = now_ns + q->pause_ns;
	q->pause_ns = q->pause_ns * 2 < QUICK_PAUSE_MAX_NS ? q->pause_ns * 2 : QUICK_PAUSE_MAX_NS;
	return true;
}

/** class_of() - looking a name up waits for the same blocks whether it is opened or looked at; creating one waits for others. */
static enum op_kind class_of(const struct op *op)
{
	return op->kind == OP_OPENAT && op->how.flags & O_PATH ? OP_STATX : (enum op_kind)op->kind;
}

bool ring_quick_now(const struct ring *r, enum op_kind kind)
{
	return !r->b->cfg.no_quick && !r->b->cfg.force_ring && quick_allowed(&r->quick[kind], stats_now_ns());
}

bool ring_op_is_quick(const struct ring *r, const struct op *op)
{
	if (!(op->flags & OPF_QUICK) || op->flags & (OPF_ASYNC | OPF_WORKER) || !(op_row(op)->flags & OPT_QUICK))
		return false;
	if (op->kind == OP_OPENAT && !(op->how.flags & O_PATH) && (!op_makes_name(op) || op->how.flags & O_TRUNC))
		return false;
	if (op->kind == OP_SETATTR && ((const struct setattr_args *)op->buf)->valid & SETATTR_SIZE)
		return false; /* frees blocks: as many as there are */
	return ring_quick_now(r, class_of(op));
}

void ring_note_quick(struct ring *r, struct op *op, uint64_t begin_ns)
{
	uint64_t now_ns = stats_now_ns();

	RING_COUNT(r, quick, 1);
	RING_COUNT(r, quick_slow, quick_took(&r->quick[class_of(op)], now_ns - begin_ns, now_ns));
}
