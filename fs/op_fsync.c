/* SPDX-License-Identifier: MIT */
/*
 * op_fsync.c - what a caller was told is durable, is.
 *
 * Every fsync, fdatasync and fsyncdir is decided by backend/sync_call.c: the
 * kernel's sync, or write-back and one FLUSH of the device where the file is
 * proven to need no more. Either works on the backing open that belongs to the
 * caller's own open file: so the kernel reports a write-back error to each
 * opener once.
 */
#include "fs/ops.h"

#define QUICK_SYNC_MAX 262144u /* bytes: the write-back of more takes a while on any disk */

/**
 * quick() - whether this sync may hold up the thread: it serves nobody else, and there is not much to write
 *
 * A hand-over to a kernel worker costs 10 to 40 us, as much as the whole sync on a fast device. What the file got through other
 * opens is not counted: then it may be slow, once, and quick.h sends the next ones to the workers.
 * Thread: the ring's; the count starts again.
 */
static bool quick(const struct request *r)
{
	uint64_t unsynced = atomic_exchange_explicit(&r->handle->unsynced, 0, memory_order_relaxed);

	/* with io=kernel the kernel writes without us */
	return r->mount->backing[r->inode->fs].local && !r->mount->passthrough && unsynced <= QUICK_SYNC_MAX &&
	       stats_get(&r->thread->stats.in_flight) == 1;
}

static void fsync_done(struct sync_call *c, int64_t res)
{
	request_reply_err(c->owner, res);
}

void op_fsync(struct request *r, uint64_t nodeid, uint64_t fh, bool datasync)
{
	struct sync_call *c = REQUEST_STATE(r, struct sync_call);

	if (!request_file(r, nodeid, fh))
		return;
	write_early_synced(r->mount, r->handle);
	c->ring = r->thread->ring;
	c->durable = r->mount->backing[r->inode->fs].durable;
	c->dfile = r->handle->dfile;
	c->file = &r->handle->file;
	c->seen = &r->handle->sync_seen;
	c->datasync = datasync;
	c->quick = quick(r);
	c->without = r->mount->passthrough && !r->handle->directory ? PROOF_PASSTHROUGH : PROOF_READER;
	c->done = fsync_done;
	c->owner = r;
	durability_sync(c);
}
