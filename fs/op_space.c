/* SPDX-License-Identifier: MIT */
/* op_space.c - data that is not moved through us: space, holes, copies. */
#include <errno.h>
#include <limits.h>

#include "fs/durable.h"
#include "fs/ops.h"

/* ---- space and holes ------------------------------------------------------------------- */

struct space_state {
	const void *in;
	uint8_t tries; /* request_wait_for_space() */
	bool wide; /* of a copy: the answer has 64 bits */
};

/** space_done() - @op, which may have changed the data of @i, has ended; false: not yet, @again is called */
static bool space_done(struct op *op, struct inode *i, void (*again)(struct request *r))
{
	struct request *r = op->owner;

	if (request_wait_for_space(r, op->res, &REQUEST_STATE(r, struct space_state)->tries, again))
		return false;
	coherence_change_end(r);
	coherence_mode_ended(r, i);
	return true;
}

static void fallocate_submit(struct request *r);

static void fallocate_done(struct op *op)
{
	struct request *r = op->owner;

	if (space_done(op, r->inode, fallocate_submit))
		request_reply_err(r, op->res);
}

static void fallocate_submit(struct request *r)
{
	const struct fuse_fallocate_in *in = REQUEST_STATE(r, struct space_state)->in;
	struct op *op = request_op(r, OP_FALLOCATE, fallocate_done);

	if (!op)
		return;
	op->file = &r->handle->file;
	op->off = in->offset;
	op->len = in->length;
	op->arg = in->mode;
	op->creds = op_write_creds(r, 0);
	ring_submit(op);
}

void op_fallocate(struct request *r, uint64_t nodeid, const struct fuse_fallocate_in *in)
{
	if (!request_file(r, nodeid, in->fh))
		return;
	if (!r->handle->writable || r->handle->directory) {
		request_reply_err(r, -EBADF);
		return;
	}
	*REQUEST_STATE(r, struct space_state) = (struct space_state){ .in = in };
	coherence_change_begin(r, r->inode, r->handle->file.fd);
	durable_change(r, r->inode, PROOF_FALLOCATE);
	fallocate_submit(r);
}

struct lseek_state {
	uint64_t off;
	uint32_t whence;
};

static void lseek_done(struct op *op)
{
	struct request *r = op->owner;

	if (op->res < 0)
		request_reply_err(r, op->res);
	else
		request_reply_lseek(r, op->res);
}

static void lseek_submit(struct request *r)
{
	const struct lseek_state *s = REQUEST_STATE(r, struct lseek_state);
	struct op *op = request_op(r, OP_LSEEK, lseek_done);

	if (!op)
		return;
	op->fd = r->handle->file.fd;
	op->off = s->off;
	op->arg = s->whence;
	ring_submit(op);
}

/*
 * The kernel's FUSE asks for data and holes without writing back first what it holds itself (fs/fuse/file.c, fuse_lseek()): pages that a
 * mapping has stored to, and all that is written with writeback, would be holes, and cp(1) would leave them out. Dropping pages
 * writes them back (fuse_launder_folio()). No deadlock: fuse_file_llseek() holds the inode's lock, so that no write of a
 * caller is under way, and neither reads nor writes of pages that are written back wait for the notifier.
 */
void op_lseek(struct request *r, uint64_t nodeid, uint64_t fh, uint64_t off, int whence)
{
	if (!request_file(r, nodeid, fh))
		return;
	if (whence != SEEK_DATA && whence != SEEK_HOLE) {
		request_reply_err(r, -EINVAL); /* the others are the kernel's own */
		return;
	}
	*REQUEST_STATE(r, struct lseek_state) = (struct lseek_state){ .off = off, .whence = (uint32_t)whence };
	if (off > INT64_MAX || !inode_dirty(r->inode) || passthrough_serves(r->mount, r->inode)) {
		lseek_submit(r);
		return;
	}
	if (!coherence_drop_then(r, off, 0, lseek_submit))
		request_reply_err(r, -ENOMEM); /* as many wait as can: better than a hole where there are data */
}

/* ---- copy ---------------------------------------------------------------------------------- */

static void copy_submit(struct request *r);

static void copy_done(struct op *op)
{
	struct request *r = op->owner;
	int64_t res = op->res;
	const struct uapi_fuse_copy_file_range_out out = { .bytes_copied = res > 0 ? (uint64_t)res : 0 };

	if (!space_done(op, r->inode2, copy_submit))
		return;
	if (res < 0)
		request_reply_err(r, res);
	else if (r->opcode == UAPI_FUSE_COPY_FILE_RANGE_64)
		request_reply_raw(r, &out, sizeof(out));
	else
		request_reply_write(r, (size_t)res);
}

static void copy_submit(struct request *r)
{
	const struct space_state *s = REQUEST_STATE(r, struct space_state);
	const struct fuse_copy_file_range_in *in = s->in;
	struct op *op = request_op(r, OP_COPY_RANGE, copy_done);

	if (!op)
		return;
	op->fd = r->handle->file.fd;
	op->off = in->off_in;
	op->fd2 = r->handle2->file.fd;
	op->off2 = in->off_out;
	/* the narrow answer holds 32 bits */
	op->len = s->wide || in->len < UINT_MAX ? in->len : UINT_MAX & ~4095u;
	op->creds = op_write_creds(r, 0);
	ring_submit(op);
}

void op_copy_file_range(struct request *r, uint64_t nodeid, const struct fuse_copy_file_range_in *in, bool wide)
{
	if (!request_file(r, nodeid, in->fh_in) || !request_inode2(r, in->nodeid_out))
		return;
	r->handle2 = handle_get(r->mount->handles, in->fh_out, r->inode2);
	if (!r->handle2 || !r->handle2->writable) {
		request_reply_err(r, -EBADF);
		return;
	}
	*REQUEST_STATE(r, struct space_state) = (struct space_state){ .in = in, .wide = wide };
	coherence_change_begin(r, r->inode2, r->handle2->file.fd);
	durable_change(r, r->inode, PROOF_COPY); /* its blocks may be shared from now on */
	durable_change(r, r->inode2, PROOF_COPY);
	copy_submit(r);
}
