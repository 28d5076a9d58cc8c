/* SPDX-License-Identifier: MIT */
/* quick.c - see quick.h. */
#include "quick.h"

#include <stdint.h>
#include <sys/uio.h>

#include "ring.h"
#include "sysops.h"

/** Moving data takes its time without waiting for anything; so much is allowed for each byte. */
#define QUICK_BYTE_NS 1u

bool quick_took(struct quick *q, uint64_t took_ns, uint64_t now_ns)
{
	if (took_ns <= QUICK_LIMIT_NS) {
		q->credit_ns += QUICK_EARNS_NS;
		if (q->credit_ns > QUICK_CREDIT_NS)
			q->credit_ns = QUICK_CREDIT_NS;
		if (++q->good >= QUICK_CALLS_GOOD) {
			q->good = 0;
			q->pause_ns /= 2;
		}
		return false;
	}
	if (took_ns - QUICK_LIMIT_NS <= q->credit_ns) {
		q->credit_ns -= (uint32_t)(took_ns - QUICK_LIMIT_NS);
		return false;
	}
	q->credit_ns = 0;
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
	const struct quick *q = &r->quick[kind];

	/* the clock only where there has been a pause: a read of it is a part of what such a call takes */
	return !r->b->cfg.no_quick && !r->b->cfg.force_ring && (!q->until_ns || quick_allowed(q, stats_now_ns()));
}

bool ring_op_is_quick(const struct ring *r, const struct op *op)
{
	if (!(op->flags & OPF_QUICK) || op->flags & (OPF_ASYNC | OPF_WORKER | OPF_AHEAD) || !(op_row(op)->flags & OPT_QUICK))
		return false;
	if (op->kind == OP_OPENAT && !(op->how.flags & O_PATH) && (!op_makes_name(op) || op->how.flags & O_TRUNC))
		return false;
	if (op->kind == OP_SETATTR && ((const struct setattr_args *)op->buf)->valid & SETATTR_SIZE)
		return false; /* frees blocks: as many as there are */
	return ring_quick_now(r, class_of(op));
}

bool ring_read_ended(struct ring *r, struct op *op)
{
	char byte;
	struct iovec iov = { &byte, 1 };

	if (op->kind != OP_READ || op->place != OP_PLACE_RING || r->b->cfg.force_ring || op_slot(op)->inject || op->off > INT64_MAX - op->progress)
		return false;
	if (preadv2(op_fd(op), &iov, 1, (off_t)(op->off + op->progress), RWF_NOWAIT) != 0)
		return false;
	op->res = 0;
	return true;
}

/** note() - an op of class @kind that moved @len bytes has taken so long. */
static void note(struct ring *r, enum op_kind kind, size_t len, uint64_t begin_ns, uint64_t now_ns)
{
	uint64_t took_ns = now_ns - begin_ns;

	if (kind == OP_READ || kind == OP_WRITE)
		took_ns -= took_ns < len * QUICK_BYTE_NS ? took_ns : len * QUICK_BYTE_NS;
	RING_COUNT(r, quick, 1);
	RING_COUNT(r, quick_slow, quick_took(&r->quick[kind], took_ns, now_ns));
}

void ring_note_quick(struct ring *r, struct op *op, uint64_t begin_ns)
{
	note(r, class_of(op), op->len, begin_ns, stats_now_ns());
}

int64_t ring_quick_data(struct ring *r, enum op_kind kind, const struct bfile *f, void *buf, size_t len, uint64_t off, uint64_t *clock_ns)
{
	const struct quick *q = &r->quick[kind];
	uint64_t begin_ns = *clock_ns;
	int64_t res;

	if (r->b->cfg.no_quick || r->b->cfg.force_ring || r->b->inject.rules_count || !quick_allowed(q, begin_ns))
		return -1;
	res = sys_data(kind == OP_WRITE, f->fd, buf, len, (off_t)off);
	/* what is short may be at its end */
	if (kind == OP_READ && res > 0 && (size_t)res < len && sys_data(false, f->fd, (char *)buf + res, len - (size_t)res, (off_t)off + res) != 0)
		res = -1;
	*clock_ns = stats_now_ns();
	if (res < 0 || (kind == OP_WRITE && (size_t)res < len))
		return -1;
	note(r, kind, len, begin_ns, *clock_ns);
	RING_COUNT_AT(r, kind_count, kind, 1);
	RING_COUNT_AT(r, place, OP_PLACE_INLINE, 1);
	return res;
}
