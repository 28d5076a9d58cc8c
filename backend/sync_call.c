/* SPDX-License-Identifier: MIT */
/*
 * sync_call.c - one fsync or fdatasync, step by step.
 *
 *   decide -+- not proven:  [statx] -> [write back, look at the extents] -> OP_FSYNC -> [look again] -> answer
 *           +- proven:      [nothing to write: answer] write back and wait -> same blocks? -> ticket -> FLUSH -> look again -> answer
 *                                                                          \-> OP_FSYNC where something came between
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>

#include "durability_priv.h"
#include "ring.h"

#ifndef SYNC_FILE_RANGE_WRITE_AND_WAIT
#define SYNC_FILE_RANGE_WRITE_AND_WAIT (SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER)
#endif

static void kernel_sync(struct sync_call *c, enum proof_reason reason);

int file_times(int fd, struct proof_times *ret, struct statx *ret_stx)
{
	struct statx stx;
	int res = sys_statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &stx);

	if (res < 0)
		return res;
	ret->atime = (uint64_t)stx.stx_atime.tv_sec * 1000000000u + stx.stx_atime.tv_nsec;
	ret->mtime = (uint64_t)stx.stx_mtime.tv_sec * 1000000000u + stx.stx_mtime.tv_nsec;
	ret->ctime = (uint64_t)stx.stx_ctime.tv_sec * 1000000000u + stx.stx_ctime.tv_nsec;
	if (ret_stx)
		*ret_stx = stx;
	return 0;
}

/* ---- the answer ------------------------------------------------------------------------ */

static void answer(struct sync_call *c, int64_t res, bool by_flush)
{
	struct durability *d = c->durable;

	/* ENOSYS would make the kernel answer 0 to every later fsync (fs/fuse/file.c, fuse_fsync) */
	if (res == -ENOSYS || res == -EINVAL || res == -EOPNOTSUPP)
		res = -EIO;
	if (c->error_due)
		res = -EIO; /* a FLUSH failed that this open file had not heard of; it is told but once, so now */
	if (d) {
		uint64_t ns = stats_now_ns() - c->start_ns;

		if (res < 0)
			atomic_fetch_add_explicit(&d->errors, 1, memory_order_relaxed);
		pthread_mutex_lock(&d->latency_lock);
		histogram_add(by_flush ? &d->flush_latency : &d->kernel_latency, ns);
		pthread_mutex_unlock(&d->latency_lock);
		if (!by_flush && c->reason != PROOF_NONE)
			atomic_fetch_add_explicit(&d->kernel[c->reason], 1, memory_order_relaxed);
	}
	c->done(c, res > 0 ? 0 : res);
}

/** sync_op() - an op of this call; answers -ENOMEM when there is none. */
static struct op *sync_op(struct sync_call *c, enum op_kind kind, op_done_fn done)
{
	struct op *op = ring_op_get(c->ring);

	if (!op) {
		answer(c, -ENOMEM, false);
		return NULL;
	}
	op->kind = kind;
	op->owner = c;
	op->done = done;
	op->file = c->file;
	return op;
}

/** no_range() - whether @res means that the file cannot be written back by sync_file_range(2) */
static bool no_range(int64_t res)
{
	return res == -EINVAL || res == -ENOSYS || res == -EOPNOTSUPP || res == -ESPIPE;
}

/* ---- the kernel's sync -------------------------------------------------------------------- */

static void failed(struct sync_call *c)
{
	struct proof saved;

	if (!c->dfile)
		return;
	dfile_lock(c->dfile, &saved);
	proof_refuse(&c->dfile->proof, PROOF_ERROR);
	dfile_unlock(c->dfile, &saved);
}

static void settle(struct sync_call *c, const struct proof_extents *look)
{
	struct dfile *f = c->dfile;
	struct proof saved;
	bool before;

	durability_look(c->durable);
	dfile_lock(f, &saved);
	proof_error_check(&f->proof, atomic_load(&c->durable->ns->flusher.errors)); /* before the file counts as clean */
	before = f->proof.mapped && f->proof.synced;
	proof_sync_end(&f->proof, &c->mark, true, c->datasync ? NULL : &c->times, look, c->generation);
	if (!before && f->proof.mapped && f->proof.synced)
		atomic_fetch_add_explicit(&c->durable->proofs, 1, memory_order_relaxed);
	dfile_unlock(f, &saved);
	answer(c, 0, false);
}

static void looked(struct op *op)
{
	struct sync_call *c = op->owner;

	c->extents.settled = c->placed && c->map == c->extents.map;
	settle(c, op->res < 0 ? NULL : &c->extents);
}

/** look_at_file() - at the file's extents, into c->extents, on this thread while such looks are quick. Return: false: no op is free */
static bool look_at_file(struct sync_call *c, op_done_fn done)
{
	struct op *op = ring_op_get(c->ring);

	if (!op)
		return false;
	op->kind = OP_CHECK_FILE;
	op->owner = c;
	op->done = done;
	op->file = c->file;
	op->arg = c->durable->fs.cow;
	op->buf = &c->extents;
	op->flags = OPF_QUICK;
	ring_submit(op);
	return true;
}

static void kernel_synced(struct op *op)
{
	struct sync_call *c = op->owner;
	struct proof saved;
	bool wants;

	if (op->res < 0)
		failed(c);
	if (op->res < 0 || !c->dfile) {
		answer(c, op->res, false);
		return;
	}
	dfile_lock(c->dfile, &saved);
	wants = c->wants && proof_takes_look(&c->dfile->proof, &c->mark);
	dfile_unlock(c->dfile, &saved);
	if (!wants || !look_at_file(c, looked))
		settle(c, NULL);
}

static void submit_sync(struct sync_call *c)
{
	struct op *op = sync_op(c, OP_FSYNC, kernel_synced);

	if (!op)
		return;
	op->arg = c->datasync;
	op->flags = c->quick ? OPF_QUICK : 0;
	ring_submit(op);
}

static void placed(struct op *op)
{
	struct sync_call *c = op->owner;

	c->placed = op->res >= 0 && c->extents.good;
	c->map = c->extents.map;
	submit_sync(c);
}

static void placing_done(struct op *op)
{
	struct sync_call *c = op->owner;

	/* whoever cannot write back a range says so to the sync, too, or does it another way */
	if (op->res < 0 && !no_range(op->res)) {
		failed(c);
		answer(c, op->res, false); /* this open file is told of it but once, so now */
	} else if (op->res < 0 || !look_at_file(c, placed)) {
		submit_sync(c);
	}
}

/**
 * place() - where do the blocks lie before the sync?
 *
 * Only what was there before the sync and is there after it has been made durable by it: an old descriptor in SOURCE may move blocks
 * (EXT4_IOC_MOVE_EXT) while the sync ends. What is not placed yet gets its place by being written, which the sync would do first anyway.
 */
static void place(struct sync_call *c, bool dirty)
{
	struct op *op;

	atomic_fetch_add_explicit(&c->durable->looks, 1, memory_order_relaxed);
	if (!dirty) {
		if (!look_at_file(c, placed))
			submit_sync(c);
		return;
	}
	op = sync_op(c, OP_SYNC_RANGE, placing_done);
	if (!op)
		return;
	op->flags = c->quick ? OPF_QUICK : 0;
	op->arg = SYNC_FILE_RANGE_WRITE_AND_WAIT;
	ring_submit(op);
}

static void kernel_sync(struct sync_call *c, enum proof_reason reason)
{
	struct dfile *f = c->dfile;
	struct proof saved;
	bool refused, watched, dirty = false;

	c->reason = (uint8_t)reason;
	c->wants = c->placed = false;
	if (f) {
		dfile_lock(f, &saved);
		refused = f->proof.refused;
		dfile_unlock(f, &saved);
		/* before the sync: who opens the file from now on is seen; without it there is no look and no proof */
		watched = !refused && dfile_watch(f, c->file->fd) == 0;
		if (file_times(c->file->fd, &c->times, NULL) < 0)
			c->times = (struct proof_times){ 0 };
		c->generation = flusher_generation(&c->durable->ns->flusher);
		dfile_lock(f, &saved);
		proof_sync_begin(&f->proof, &c->mark);
		c->wants = watched && proof_wants_look(&f->proof, &c->mark);
		dirty = proof_needs_writeback(&f->proof);
		dfile_unlock(f, &saved);
	}
	if (c->wants)
		place(c, dirty);
	else
		submit_sync(c);
}

/* ---- write-back and FLUSH ------------------------------------------------------------------- */

/** flush_done() - the call is answered well, if nothing came between; @figure counts it. */
static void flush_done(struct sync_call *c, _Atomic uint64_t *figure)
{
	struct durability *d = c->durable;
	struct dfile *f = c->dfile;
	enum proof_reason reason = PROOF_NONE;
	struct proof saved;

	durability_look(d);
	dfile_lock(f, &saved);
	if (f->proof.epoch != c->mark.epoch) {
		reason = f->proof.mapped ? PROOF_BUSY : (enum proof_reason)f->proof.reason;
	} else if (flusher_generation(&d->ns->flusher) != c->generation) {
		reason = PROOF_RESET;
	} else {
		proof_sync_end(&f->proof, &c->mark, false, NULL, NULL, 0);
	}
	dfile_unlock(f, &saved);
	if (reason != PROOF_NONE) {
		kernel_sync(c, reason);
		return;
	}
	atomic_fetch_add_explicit(figure, 1, memory_order_relaxed);
	answer(c, 0, true);
}

static void ticket_done(struct flush_ticket *t)
{
	struct sync_call *c = (struct sync_call *)(void *)((char *)t - offsetof(struct sync_call, ticket));

	if (t->res == -EAGAIN) { /* none was sent */
		kernel_sync(c, PROOF_BUSY);
		return;
	}
	if (t->res < 0) {
		/* whether the data is durable is not known; this open file has heard of it now */
		atomic_store(c->seen, atomic_load(&c->durable->ns->flusher.errors));
		c->error_due = false;
		answer(c, -EIO, true);
		return;
	}
	flush_done(c, &c->durable->flush);
}

static void take_ticket(struct sync_call *c)
{
	struct durability *d = c->durable;

	/* asked again each time: an administrator's change of queue/write_cache is no event */
	if (!device_volatile(&d->ns->device) && !device_cache_look(&d->ns->device)) {
		flush_done(c, &d->no_cache);
		return;
	}
	if (d->faults & DURABILITY_FAULT_NO_FLUSH) {
		flush_done(c, &d->flush);
		return;
	}
	c->ticket = (struct flush_ticket){ .ring = c->ring, .done = ticket_done };
	flush_request(&d->ns->flusher, &c->ticket);
}

static void compared(struct op *op)
{
	struct sync_call *c = op->owner;
	struct proof *p = &c->dfile->proof;
	struct proof saved;
	bool valid, same;

	dfile_lock(c->dfile, &saved);
	valid = p->epoch == c->mark.epoch; /* else a change of ours has begun meanwhile */
	same = op->res >= 0 && c->extents.good && p->extents.map == c->extents.map;
	if (valid && !same)
		proof_refuse(p, PROOF_SHARED); /* somebody moved its blocks, by a descriptor that we cannot know of */
	dfile_unlock(c->dfile, &saved);
	if (valid && same)
		take_ticket(c);
	else
		kernel_sync(c, valid ? PROOF_SHARED : PROOF_BUSY);
}

/**
 * compare() - whether the data that was written back lies where the durable metadata says
 *
 * A process that has had the file open in SOURCE since before it was watched can share its blocks (FICLONE, FIDEDUPERANGE) or
 * move them (EXT4_IOC_MOVE_EXT) without an event, a time or a block more that would tell of it. The next overwrite then goes to
 * other blocks, and the change of the map is in the journal's memory only.
 */
static void compare(struct sync_call *c)
{
	/* these mistakes are to be found by the blocks that get lost */
	if (c->durable->faults & (DURABILITY_FAULT_KEEP_PROOF | DURABILITY_FAULT_NO_WATCH)) {
		take_ticket(c);
		return;
	}
	if (!look_at_file(c, compared))
		answer(c, -ENOMEM, true);
}

static void written_back(struct op *op)
{
	struct sync_call *c = op->owner;

	if (no_range(op->res)) {
		kernel_sync(c, PROOF_EXTENTS);
		return;
	}
	if (op->res < 0) {
		failed(c);
		answer(c, op->res, true);
		return;
	}
	if (c->durable->faults & DURABILITY_FAULT_EARLY_FLUSH)
		flush_done(c, &c->durable->flush); /* the mistake: the FLUSH came before this */
	else
		compare(c);
}

/**
 * write_back() - and wait
 *
 * Also where all was written with O_DIRECT, which has reached the device when it is answered, but for two cases: pages that
 * somebody dirties again meanwhile cannot be dropped. The write then either goes through the page cache (ext4 writes it back
 * itself, fs/ext4/file.c ext4_dio_write_iter(); xfs does not, fs/xfs/xfs_file.c xfs_file_write_iter(), ENOTBLK), or is done and
 * the file's next sync is EIO (mm/filemap.c, dio_warn_stale_pagecache()): sync_file_range() tells of it, as fsync does.
 */
static void write_back(struct sync_call *c)
{
	struct op *op = sync_op(c, OP_SYNC_RANGE, written_back);

	if (!op)
		return;
	if (!c->dirty)
		op->flags = OPF_QUICK; /* most likely there is nothing */
	op->arg = SYNC_FILE_RANGE_WRITE_AND_WAIT;
	ring_submit(op);
}

static void early_ticket_done(struct flush_ticket *t)
{
	write_back((struct sync_call *)(void *)((char *)t - offsetof(struct sync_call, ticket)));
}

static void flush_start(struct sync_call *c)
{
	if (c->clean)
		flush_done(c, &c->durable->clean);
	else if (c->durable->faults & DURABILITY_FAULT_EARLY_FLUSH && c->dirty && device_volatile(&c->durable->ns->device)) {
		c->ticket = (struct flush_ticket){ .ring = c->ring, .done = early_ticket_done };
		flush_request(&c->durable->ns->flusher, &c->ticket);
	} else if (c->durable->faults & DURABILITY_FAULT_NO_WRITEBACK) {
		take_ticket(c);
	} else {
		write_back(c);
	}
}

/* ---- which of the two -------------------------------------------------------------------------- */

/** as_proven() - size and blocks are those of the proof; the times tell what an fsync would have to write. */
static enum proof_reason as_proven(struct sync_call *c, bool *ret_times_changed)
{
	const struct proof *p = &c->dfile->proof;
	struct proof_times now;
	struct statx stx;

	*ret_times_changed = true;
	if (c->durable->faults & DURABILITY_FAULT_KEEP_PROOF)
		return PROOF_NONE;
	if (file_times(c->file->fd, &now, &stx) < 0 || stx.stx_size != p->extents.size || stx.stx_blocks != p->extents.blocks)
		return PROOF_SHARED;
	/* nothing of ours has been written since: then somebody else was it */
	if (p->times_known && !p->times_changed && (now.ctime != p->times.ctime || now.mtime != p->times.mtime))
		return PROOF_SHARED;
	*ret_times_changed = p->times_changed || !p->times_known || now.atime != p->times.atime;
	return PROOF_NONE;
}

/** decide() - PROOF_NONE: the FLUSH path, which c->mark has begun then. */
static enum proof_reason decide(struct sync_call *c)
{
	struct durability *d = c->durable;
	struct dfile *f = c->dfile;
	struct proof *p = f ? &f->proof : NULL;
	enum proof_reason reason;
	bool times_changed = true;
	struct proof saved;

	if (!d || d->policy == DURABILITY_KERNEL)
		return PROOF_POLICY;
	if (!d->capable || atomic_load(&d->ns->flusher.gone))
		return PROOF_DEVICE;
	if (!f)
		return (enum proof_reason)c->without;
	durability_look(d);
	c->generation = flusher_generation(&d->ns->flusher);
	dfile_lock(f, &saved);
	proof_error_check(p, atomic_load(&d->ns->flusher.errors));
	c->error_due = atomic_load(c->seen) < p->error_gen;
	atomic_store(c->seen, p->error_gen);
	reason = c->error_due ? PROOF_ERROR : proof_ready(p, c->generation);
	if (reason == PROOF_NONE) {
		reason = as_proven(c, &times_changed);
		if (reason != PROOF_NONE)
			proof_break(p, reason);
	}
	if (reason == PROOF_NONE && !c->datasync && times_changed && d->policy == DURABILITY_STRICT)
		reason = PROOF_TIMES;
	c->dirty = proof_needs_writeback(p);
	c->clean = proof_clean(p) && !(d->faults & DURABILITY_FAULT_KEEP_PROOF);
	proof_sync_begin(p, &c->mark);
	dfile_unlock(f, &saved);
	if (reason == PROOF_NONE && !c->datasync && times_changed && !background_add(c->ring, f, c->file->fd))
		reason = PROOF_TIMES;
	return reason;
}

void durability_sync(struct sync_call *c)
{
	enum proof_reason reason;
	c->start_ns = stats_now_ns();
	c->reason = PROOF_NONE;
	c->error_due = false;
	reason = decide(c);
	if (reason == PROOF_NONE)
		flush_start(c);
	else
		kernel_sync(c, reason);
}
