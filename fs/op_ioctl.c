/* SPDX-License-Identifier: MIT */
/* op_ioctl.c - the ioctls of chattr, lsattr and project ids; all others are refused. */
#include <errno.h>
#include <linux/fs.h>
#include <stddef.h>
#include <string.h>

#include "fs/coherence.h"
#include "fs/durable.h"
#include "fs/ops.h"

struct ioctl_row {
	uint32_t cmd;
	uint32_t in_size, out_size;
};

/* FS_IOC_GETFLAGS and its like are numbered with long but pass an int (kernel fs/ioctl.c) */
static const struct ioctl_row rows[] = {
	{ FS_IOC_GETFLAGS, 0, sizeof(int) },
	{ FS_IOC_SETFLAGS, sizeof(int), 0 },
	{ FS_IOC_FSGETXATTR, 0, sizeof(struct fsxattr) },
	{ FS_IOC_FSSETXATTR, sizeof(struct fsxattr), 0 },
	{ FS_IOC_GETVERSION, 0, sizeof(int) },
};

struct ioctl_state {
	uint32_t out_size; /* 0: a change */
};

static void ioctl_done(struct op *op)
{
	struct request *r = op->owner;
	const struct ioctl_state *s = REQUEST_STATE(r, struct ioctl_state);

	/*
	 * The kernel does not take an ioctl for a change: it is told that the attributes it holds (ctime) are old. Also of one that
	 * failed: ext4 sets the flags that it has, and then refuses those that it has not (fs/ext4/ioctl.c, ext4_fileattr_set).
	 */
	if (!s->out_size)
		notify_attributes(r->mount, inode_nodeid(r->inode));
	if (op->res < 0)
		request_reply_err(r, op->res);
	else
		request_reply_ioctl(r, r->payload, s->out_size);
}

void op_ioctl(struct request *r, uint64_t nodeid, const struct fuse_ioctl_in *in, const void *in_buf)
{
	const struct ioctl_row *row = NULL;
	struct op *op;

	for (size_t n = 0; n < sizeof(rows) / sizeof(rows[0]); n++)
		if (rows[n].cmd == in->cmd)
			row = &rows[n];
	if (!row || in->flags & FUSE_IOCTL_UNRESTRICTED) {
		request_reply_err(r, -ENOTTY);
		return;
	}
	if (!request_inode(r, nodeid) || !request_handle(r, in->fh))
		return;
	if (in->in_size < row->in_size || in->out_size < row->out_size || !r->payload_free) {
		request_reply_err(r, -EINVAL);
		return;
	}
	op = request_op(r, OP_IOCTL, ioctl_done);
	if (!op)
		return;
	memset(r->payload, 0, sizeof(struct fsxattr));
	if (row->in_size)
		memcpy(r->payload, in_buf, row->in_size);
	*REQUEST_STATE(r, struct ioctl_state) = (struct ioctl_state){ .out_size = row->out_size };
	if (row->in_size)
		durable_change(r, r->inode, PROOF_ATTRIBUTES);
	op->fd = r->handle->file.fd;
	op->off = in->cmd;
	op->buf = r->payload;
	op->creds = request_creds(r, -1); /* who may set which flag is decided as for the caller */
	ring_submit(op);
}
