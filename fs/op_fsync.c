/* SPDX-License-Identifier: MIT */
/*
 * op_fsync.c - what a caller was told is durable, is.
 *
 * Every fsync, fdatasync and fsyncdir is one IORING_OP_FSYNC on the backing
 * open that belongs to the caller's own open file: so the kernel reports a
 * write-back error to each opener once. Nothing is answered before it is done,
 * and no error is changed into another answer.
 */
#include <errno.h>

#include "fs/ops.h"

static void fsync_done(struct op *op)
{
	struct request *r = op->owner;

	stats_add(&r->thread->stats.durability_kernel, 1);
	/* ENOSYS would make the kernel answer 0 to every later fsync (fs/fuse/file.c, fuse_fsync) */
	request_reply_err(r, op->res == -ENOSYS ? -EIO : op->res);
}

void op_fsync(struct request *r, uint64_t nodeid, uint64_t fh, bool datasync)
{
	struct op *op;

	if (!request_inode(r, nodeid) || !request_handle(r, fh))
		return;
	op = request_op(r, OP_FSYNC, fsync_done);
	if (!op)
		return;
	op->file = &r->handle->file;
	op->arg = datasync;
	ring_submit(op);
}
