/* SPDX-License-Identifier: MIT */
/* op_space.c - data that is not moved through us: space, holes, copies. */
#include <errno.h>
#include <limits.h>

#include "fs/durable.h"
#include "fs/ops.h"

/* ---- space and holes ------------------------------------------------------------------- */

struct space_state {
	int64_t res;
	const void *in;
	uint8_t tries; /* request_wait_for_space() */
	bool wide; /* of a copy: the answer has 64 bits */
};

static void fallocate_submit(struct request *r);

static void fallocate_told(struct request *r)
{
	request_reply_err(r, REQUEST_STATE(r, struct space_state)->res);
}

static void fallocate_done(struct op *op)
{
	struct request *r = op->owner;

	if (request_wait_for_space(r, op->res, &REQUEST_STATE(r, struct space_state)->tries, fallocate_submit))
		return;
	coherence_change_end(r);
	REQUEST_STATE(r, struct space_state)->res = op->res;
	coherence_mode_ended(r, r->inode, fallocate_told);
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

static void lseek_done(struct op *op)
{
	struct request *r = op->owner;

	if (op->res < 0)
		request_reply_err(r, op->res);
	else
		request_reply_lseek(r, op->res);
}

void op_lseek(struct request *r, uint64_t nodeid, uint64_t fh, uint64_t off, int whence)
{
	struct op *op;

	if (!request_file(r, nodeid, fh))
		return;
	if (whence != SEEK_DATA && whence != SEEK_HOLE) {
		request_reply_err(r, -EINVAL); /* the others are the kernel's own */
		return;
	}
	op = request_op(r, OP_LSEEK, lseek_done);
	if (!op)
		return;
	op->fd = r->handle->file.fd;
	op->off = off;
	op->arg = (uint32_t)whence;
	ring_submit(op);
}

/* ---- copy ---------------------------------------------------------------------------------- */

static void copy_submit(struct request *r);

static void copy_told(struct request *r)
{
	int64_t res = REQUEST_STATE(r, struct space_state)->res;
	const struct uapi_fuse_copy_file_range_out out = { .bytes_copied = res > 0 ? (uint64_t)res : 0 };

	if (res < 0)
		request_reply_err(r, res);
	else if (r->opcode == UAPI_FUSE_COPY_FILE_RANGE_64)
		request_reply_raw(r, &out, sizeof(out));
	else
		request_reply_write(r, (size_t)res);
}

static void copy_done(struct op *op)
{
	struct request *r = op->owner;

	if (request_wait_for_space(r, op->res, &REQUEST_STATE(r, struct space_state)->tries, copy_submit))
		return;
	coherence_change_end(r);
	REQUEST_STATE(r, struct space_state)->res = op->res;
	coherence_mode_ended(r, r->inode2, copy_told);
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
