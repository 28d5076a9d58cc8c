/* SPDX-License-Identifier: MIT */
/* proof.c - see proof.h. */
#include "proof.h"

#include <errno.h>
#include <string.h>

static const char *const reason_names[PROOF_REASONS_COUNT] = {
#define X(e, n) n,
	PROOF_REASONS(X)
#undef X
};

const char *proof_reason_name(enum proof_reason reason)
{
	return (unsigned)reason < PROOF_REASONS_COUNT ? reason_names[reason] : "unknown";
}

void proof_init(struct proof *p)
{
	memset(p, 0, sizeof(*p));
	p->reason = PROOF_NEW;
	p->times_changed = true;
	p->backoff = 1;
}

void proof_break(struct proof *p, enum proof_reason reason)
{
	p->epoch++;
	if (p->refused)
		return;
	/* a proof that was made for nothing: the next one waits for more syncs without such an end */
	if (p->mapped && !p->used && p->backoff < PROOF_BACKOFF_MAX)
		p->backoff *= 2;
	if (p->mapped && p->used)
		p->backoff = 1;
	if (p->mapped)
		p->skip = p->backoff - 1;
	if (p->mapped || p->reason == PROOF_NEW)
		p->reason = (uint8_t)reason;
	p->mapped = p->synced = p->used = false;
}

void proof_refuse(struct proof *p, enum proof_reason reason)
{
	proof_break(p, reason);
	if (!p->refused)
		p->reason = (uint8_t)reason;
	p->refused = true;
}

static bool in_ranges(const struct proof_extents *e, uint64_t off, uint64_t len)
{
	for (unsigned n = 0; n < e->count; n++)
		if (off >= e->range[n].start && off < e->range[n].end)
			return len <= e->range[n].end - off;
	return len == 0;
}

void proof_write_begin(struct proof *p, uint64_t off, uint64_t len, unsigned flags, uint64_t error_gen)
{
	p->writes++;
	p->writes_begun++;
	p->times_changed = true;
	if (!(flags & PROOF_WRITE_DURABLE)) {
		if (flags & PROOF_WRITE_BUFFERED)
			p->buffered_begun++;
		if (!p->dirty)
			p->dirty_error_gen = error_gen;
		p->dirty = true;
	}
	if (flags & PROOF_WRITE_KILL)
		proof_break(p, PROOF_ATTRIBUTES);
	else if (flags & PROOF_WRITE_APPEND || off > p->extents.size || len > p->extents.size - off)
		proof_break(p, PROOF_GROWTH);
	else if (!in_ranges(&p->extents, off, len))
		proof_break(p, PROOF_HOLE);
}

void proof_write_end(struct proof *p, int64_t res)
{
	p->writes--;
	if (res == -EIO || res == -ENOSPC || res == -EDQUOT || res == -ENODEV || res == -ENXIO)
		proof_refuse(p, PROOF_ERROR);
	else if (res < 0)
		proof_break(p, PROOF_ERROR);
}

void proof_change_begin(struct proof *p, enum proof_reason reason)
{
	p->changes++;
	p->times_changed = true;
	proof_break(p, reason);
	if (!p->refused)
		p->reason = (uint8_t)reason;
}

void proof_change_end(struct proof *p)
{
	p->changes--;
	p->epoch++;
}

enum proof_reason proof_ready(struct proof *p, uint64_t device_gen)
{
	if (p->mapped && p->device_gen != device_gen)
		proof_break(p, PROOF_RESET);
	if (!p->mapped)
		return (enum proof_reason)p->reason;
	if (!p->synced)
		return PROOF_NEW;
	return p->writes || p->changes ? PROOF_BUSY : PROOF_NONE;
}

void proof_error_check(struct proof *p, uint64_t error_gen)
{
	if (p->dirty && p->dirty_error_gen < error_gen)
		p->error_gen = error_gen;
}

void proof_sync_failed(struct proof *p, uint64_t error_gen)
{
	proof_refuse(p, PROOF_ERROR);
	p->error_gen = error_gen;
}

bool proof_clean(const struct proof *p)
{
	return p->mapped && p->synced && !p->dirty && !proof_needs_writeback(p);
}

bool proof_needs_writeback(const struct proof *p)
{
	return p->written_back != p->buffered_begun;
}

void proof_sync_begin(struct proof *p, struct proof_mark *ret_mark)
{
	*ret_mark = (struct proof_mark){
		.epoch = p->epoch,
		.writes_begun = p->writes_begun,
		.buffered_begun = p->buffered_begun,
		.quiet = !p->writes && !p->changes,
		.mapped = p->mapped,
	};
}

bool proof_takes_look(const struct proof *p, const struct proof_mark *mark)
{
	return !p->refused && !p->mapped && !p->changes && p->epoch == mark->epoch;
}

bool proof_wants_look(struct proof *p, const struct proof_mark *mark)
{
	if (!proof_takes_look(p, mark))
		return false;
	if (p->skip) {
		p->skip--;
		return false;
	}
	return true;
}

/** take_look() - the extents were seen after the sync, and nothing that ends a proof came in between. */
static void take_look(struct proof *p, const struct proof_mark *mark, const struct proof_extents *look, uint64_t device_gen)
{
	if (!look->good) {
		p->reason = PROOF_EXTENTS;
		if (p->backoff < PROOF_BACKOFF_MAX)
			p->backoff *= 2;
		p->skip = p->backoff - 1;
		return;
	}
	p->extents = *look;
	p->mapped = true;
	p->used = false;
	p->device_gen = device_gen;
	/* a write meanwhile may have filled a hole after the sync and before the look, others may have moved blocks then: the next sync proves it */
	p->synced = look->settled && mark->quiet && p->writes_begun == mark->writes_begun;
}

void proof_sync_end(struct proof *p, const struct proof_mark *mark, bool real, const struct proof_times *times,
		    const struct proof_extents *look, uint64_t device_gen)
{
	bool all = mark->quiet && p->writes_begun == mark->writes_begun && p->epoch == mark->epoch;

	if (mark->quiet && p->written_back < mark->buffered_begun)
		p->written_back = mark->buffered_begun;
	if (all)
		p->dirty = false;
	if (!real) {
		p->used = true;
		return;
	}
	if (times) {
		p->times = *times;
		p->times_known = true;
		if (all)
			p->times_changed = false;
	}
	if (p->epoch != mark->epoch || p->changes)
		return;
	if (mark->mapped && p->mapped)
		p->synced = true;
	else if (look && !p->mapped && !p->refused)
		take_look(p, mark, look, device_gen);
}
