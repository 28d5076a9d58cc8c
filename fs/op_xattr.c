/* SPDX-License-Identifier: MIT */
/* op_xattr.c - extended attributes and, among them, POSIX ACLs. */
#include <errno.h>
#include <string.h>
#include <linux/limits.h>

#include "fs/durable.h"
#include "fs/ops.h"

struct xattr_state {
	const char *name;
	const void *value;
	size_t size;
	int flags;
	struct creds creds;
};

/** xattr_begin() - the inode, and whether they are served at all. */
static struct xattr_state *xattr_begin(struct request *r, uint64_t nodeid)
{
	if (!r->mount->server->opt.xattr) {
		request_reply_err(r, -ENOSYS); /* the kernel asks no more */
		return NULL;
	}
	return request_inode(r, nodeid) ? REQUEST_STATE(r, struct xattr_state) : NULL;
}

static struct op *xattr_op(struct request *r, enum op_kind kind, op_done_fn done)
{
	struct op *op = request_op(r, kind, done);

	if (op)
		op_path_of_fd(op, r->fd); /* an O_PATH descriptor is good for its path only */
	return op;
}

static void set_done(struct op *op)
{
	request_reply_err(op->owner, op->res);
}

static void set_start(struct request *r)
{
	const struct xattr_state *s = REQUEST_STATE(r, struct xattr_state);
	struct op *op = xattr_op(r, OP_SETXATTR, set_done);

	if (!op)
		return;
	op->path2 = s->name;
	op->buf = (void *)s->value;
	op->len = s->size;
	op->arg = (uint32_t)s->flags;
	op->creds = s->creds;
	durable_change(r, r->inode, PROOF_ATTRIBUTES);
	ring_submit(op);
}

/**
 * set_written() - what callers have written already does not end the capability that is set now
 *
 * The kernel ends it before it takes a write, but what it has taken earlier (writeback, mappings) comes here later, as a write that would
 * end it in SOURCE: so that is written back first. No deadlock: see op_lseek(), vfs_setxattr() holds the inode's lock, too.
 */
static void set_written(struct request *r)
{
	const struct xattr_state *s = REQUEST_STATE(r, struct xattr_state);

	if (strcmp(s->name, "security.capability") != 0 || !inode_dirty(r->inode) || passthrough_serves(r->mount, r->inode)) {
		set_start(r);
		return;
	}
	if (!coherence_drop_then(r, 0, 0, set_start))
		request_reply_err(r, -ENOMEM); /* as many wait as can */
}

void op_setxattr(struct request *r, uint64_t nodeid, const char *name, const void *value, size_t size, int flags, bool kill_sgid)
{
	struct xattr_state *s = xattr_begin(r, nodeid);

	if (!s)
		return;
	*s = (struct xattr_state){ .name = name, .value = value, .size = size, .flags = flags };
	/* the caller is not in the file's group: neither must we be, then the filesystem ends sgid (posix_acl_update_mode) */
	if (kill_sgid)
		s->creds = (struct creds){ .uid = 0, .gid = 65534, .flags = CREDS_SET | CREDS_NO_FSETID };
	request_with_fds(r, set_written);
}

static void get_done(struct op *op)
{
	struct request *r = op->owner;
	const struct xattr_state *s = REQUEST_STATE(r, struct xattr_state);

	if (op->res < 0)
		request_reply_err(r, op->res);
	else if (!s->size)
		request_reply_xattr_size(r, (size_t)op->res);
	else
		request_reply_buf(r, r->payload, (size_t)op->res);
}

static void get_start(struct request *r)
{
	const struct xattr_state *s = REQUEST_STATE(r, struct xattr_state);
	struct op *op = xattr_op(r, OP_GETXATTR, get_done);

	if (!op)
		return;
	op->path2 = s->name;
	op->buf = s->size ? r->payload : NULL;
	op->len = s->size;
	ring_submit(op);
}

/** clamp_size() - no value or list is longer, and the buffer holds this much. */
static size_t clamp_size(const struct request *r, size_t size)
{
	size_t most = r->payload_size < XATTR_SIZE_MAX ? r->payload_size : XATTR_SIZE_MAX;

	return size < most ? size : most;
}

void op_getxattr(struct request *r, uint64_t nodeid, const char *name, size_t size)
{
	struct xattr_state *s = xattr_begin(r, nodeid);

	if (!s)
		return;
	*s = (struct xattr_state){ .name = name, .size = clamp_size(r, size) };
	request_with_fds(r, get_start);
}

static void list_done(struct op *op)
{
	struct request *r = op->owner;
	const struct xattr_state *s = REQUEST_STATE(r, struct xattr_state);
	size_t size;

	if (op->res < 0) {
		request_reply_err(r, op->res);
		return;
	}
	size = (size_t)op->res;
	if (!s->size)
		request_reply_xattr_size(r, size);
	else if (size > s->size)
		request_reply_err(r, -ERANGE);
	else
		request_reply_buf(r, r->payload, size);
}

static void list_start(struct request *r)
{
	struct op *op = xattr_op(r, OP_LISTXATTR, list_done);

	if (!op)
		return;
	op->buf = r->payload;
	op->len = clamp_size(r, XATTR_LIST_MAX);
	op->creds = request_creds(r, -1); /* most filesystems hide trusted.* from who has no CAP_SYS_ADMIN: let them decide */
	ring_submit(op);
}

void op_listxattr(struct request *r, uint64_t nodeid, size_t size)
{
	struct xattr_state *s = xattr_begin(r, nodeid);

	if (!s)
		return;
	*s = (struct xattr_state){ .size = size };
	request_with_fds(r, list_start);
}

static void remove_start(struct request *r)
{
	const struct xattr_state *s = REQUEST_STATE(r, struct xattr_state);
	struct op *op = xattr_op(r, OP_REMOVEXATTR, set_done);

	if (!op)
		return;
	op->path2 = s->name;
	durable_change(r, r->inode, PROOF_ATTRIBUTES);
	ring_submit(op);
}

void op_removexattr(struct request *r, uint64_t nodeid, const char *name)
{
	struct xattr_state *s = xattr_begin(r, nodeid);

	if (!s)
		return;
	*s = (struct xattr_state){ .name = name };
	request_with_fds(r, remove_start);
}
