/* SPDX-License-Identifier: MIT */
/* op_attr.c - attributes are read and set. */
#include <errno.h>
#include <sys/sysmacros.h>

#include "fs/child.h"
#include "fs/durable.h"
#include "fs/ops.h"

struct attr_state {
	struct statx stx;
	struct setattr_args args;
	struct uapi_fuse_statx_in statx_in;
	bool once; /* the answer is not to be kept */
	struct creds creds;
};

/** stat_fd() - a descriptor of the file: of the handle if there is one, so that unlinked files work in every mode. */
static int stat_fd(const struct request *r)
{
	return r->handle ? r->handle->file.fd : r->fd;
}

static void stat_start(struct request *r, op_done_fn done)
{
	struct attr_state *s = REQUEST_STATE(r, struct attr_state);
	struct op *op = request_op(r, OP_STATX, done);

	if (!op)
		return;
	op->fd = stat_fd(r);
	op->path = "";
	op->arg = AT_EMPTY_PATH;
	op->arg2 = CHILD_STATX_MASK;
	op->buf = &s->stx;
	r->data_seq = inode_data_seq(r->mount->inodes, r->inode);
	ring_submit(op);
}

/**
 * attr_answer() - call @next now, or, when somebody else has changed the data, after the kernel has dropped its pages
 * Where the request may not wait for that the answer is good for this once: whoever asks next waits.
 */
static void attr_answer(struct request *r, void (*next)(struct request *r))
{
	struct attr_state *s = REQUEST_STATE(r, struct attr_state);

	s->once = false;
	if (coherence_check(r->mount, r->inode, &s->stx, r->data_seq)) {
		if (coherence_drop_then(r, 0, 0, next))
			return;
		coherence_drop_later(r->mount, r->inode);
		s->once = true;
	}
	next(r);
}

static double attr_timeout(const struct request *r, const struct attr_state *s)
{
	return s->once ? 0 : passthrough_attr_timeout(r->mount, r->inode, s->stx.stx_mode);
}

static void getattr_answer(struct request *r);

static void getattr_stated(struct op *op)
{
	struct request *r = op->owner;

	if (op->res < 0)
		request_reply_err(r, op->res);
	else
		attr_answer(r, getattr_answer);
}

static void getattr_answer(struct request *r)
{
	const struct attr_state *s = REQUEST_STATE(r, struct attr_state);
	struct stat st;

	attr_from_statx(r->inode->fs, &s->stx, &st);
	inode_mode_told(r->inode, s->stx.stx_mode);
	request_reply_attr(r, &st, attr_timeout(r, s));
}

static void getattr_start(struct request *r)
{
	stat_start(r, getattr_stated);
}

void op_getattr(struct request *r, uint64_t nodeid, uint64_t fh, bool has_fh)
{
	if (has_fh) {
		if (request_file(r, nodeid, fh))
			getattr_start(r);
	} else if (request_inode(r, nodeid)) {
		request_with_fds(r, getattr_start);
	}
}

/* ---- statx ---------------------------------------------------------------------- */

static struct uapi_fuse_sx_time sx_time(const struct statx_timestamp *t)
{
	return (struct uapi_fuse_sx_time){ .tv_sec = t->tv_sec, .tv_nsec = t->tv_nsec };
}

static void statx_answer(struct request *r)
{
	const struct attr_state *s = REQUEST_STATE(r, struct attr_state);
	const struct statx *x = &s->stx;
	double timeout = attr_timeout(r, s);
	struct uapi_fuse_statx_out out;

	out = (struct uapi_fuse_statx_out){
		.attr_valid = (uint64_t)timeout,
		.attr_valid_nsec = (uint32_t)((timeout - (double)(uint64_t)timeout) * 1e9),
		.stat = {
			.mask = x->stx_mask & CHILD_STATX_MASK,
			.blksize = x->stx_blksize,
			.attributes = x->stx_attributes,
			.attributes_mask = x->stx_attributes_mask,
			.nlink = x->stx_nlink,
			.uid = x->stx_uid,
			.gid = x->stx_gid,
			.mode = x->stx_mode,
			.ino = server_ino(r->inode->fs, x->stx_ino),
			.size = x->stx_size,
			.blocks = x->stx_blocks,
			.atime = sx_time(&x->stx_atime),
			.btime = sx_time(&x->stx_btime),
			.ctime = sx_time(&x->stx_ctime),
			.mtime = sx_time(&x->stx_mtime),
			.rdev_major = x->stx_rdev_major,
			.rdev_minor = x->stx_rdev_minor,
		},
	};
	inode_mode_told(r->inode, x->stx_mode);
	request_reply_raw(r, &out, sizeof(out));
}

static void statx_stated(struct op *op)
{
	struct request *r = op->owner;

	if (op->res < 0)
		request_reply_err(r, op->res);
	else
		attr_answer(r, statx_answer);
}

static void statx_start(struct request *r)
{
	stat_start(r, statx_stated);
}

void op_statx(struct request *r, const struct uapi_fuse_statx_in *in)
{
	if (!request_inode(r, r->in->nodeid))
		return;
	if (!(in->getattr_flags & FUSE_GETATTR_FH))
		request_with_fds(r, statx_start);
	else if (request_handle(r, in->fh))
		statx_start(r);
}

/* ---- setattr ---------------------------------------------------------------------- */

static void setattr_done(struct op *op)
{
	struct request *r = op->owner;

	coherence_change_end(r);
	if (op->res < 0)
		request_reply_err(r, op->res);
	else
		stat_start(r, getattr_stated);
}

/**
 * new_group() - a user's chgrp to another group is to one that he is in (setattr_prepare): in that, too, the mode is set (setattr_copy)
 * To the file's own group anybody may "change" it: that tells nothing.
 */
static void new_group(const struct request *r, struct attr_state *s)
{
	struct statx stx;

	if (!(s->args.valid & SETATTR_GID) || !(s->creds.flags & CREDS_SET) || s->creds.uid != 0)
		return;
	if (sys_statx(r->fd, "", AT_EMPTY_PATH, STATX_GID, &stx) < 0 || stx.stx_gid == s->args.gid)
		return;
	s->creds.flags |= CREDS_GROUP;
	s->creds.group = s->args.gid;
}

static void setattr_start(struct request *r)
{
	struct attr_state *s = REQUEST_STATE(r, struct attr_state);
	bool open_fd = r->handle && r->handle->writable && !r->handle->directory;
	struct op *op;

	/* a truncation of an open file goes through the ring; chmod, chown and utimens have no ring operation */
	if (s->args.valid == SETATTR_SIZE && open_fd) {
		op = request_op(r, OP_FTRUNCATE, setattr_done);
		if (!op)
			return;
		op->file = &r->handle->file;
		op->off = s->args.size;
	} else {
		op = request_op(r, OP_SETATTR, setattr_done);
		if (!op)
			return;
		if (open_fd)
			s->args.valid |= SETATTR_FD_OPEN;
		op->fd = open_fd ? r->handle->file.fd : r->fd;
		op->buf = &s->args;
	}
	new_group(r, s);
	op->creds = s->creds;
	durable_change(r, r->inode, s->args.valid & SETATTR_SIZE ? PROOF_TRUNCATE : PROOF_ATTRIBUTES);
	if (s->args.valid & (SETATTR_SIZE | SETATTR_TIMES))
		coherence_change_begin(r, r->inode, open_fd ? r->handle->file.fd : r->fd);
	ring_submit(op);
}

static struct timespec set_time(uint32_t valid, uint32_t bit, uint32_t now_bit, uint64_t sec, uint32_t nsec)
{
	if (!(valid & bit))
		return (struct timespec){ .tv_nsec = UTIME_OMIT };
	if (valid & now_bit)
		return (struct timespec){ .tv_nsec = UTIME_NOW };
	return (struct timespec){ .tv_sec = (time_t)sec, .tv_nsec = nsec > 999999999 ? 0 : (long)nsec };
}

static void setattr_args(struct setattr_args *a, const struct fuse_setattr_in *in)
{
	*a = (struct setattr_args){
		.mode = in->mode & 07777,
		.uid = in->uid,
		.gid = in->gid,
		.size = in->size,
		.atime = set_time(in->valid, FATTR_ATIME, FATTR_ATIME_NOW, in->atime, in->atimensec),
		.mtime = set_time(in->valid, FATTR_MTIME, FATTR_MTIME_NOW, in->mtime, in->mtimensec),
	};
	if (in->valid & FATTR_MODE)
		a->valid |= SETATTR_MODE;
	if (in->valid & FATTR_UID)
		a->valid |= SETATTR_UID;
	if (in->valid & FATTR_GID)
		a->valid |= SETATTR_GID;
	if (in->valid & FATTR_SIZE)
		a->valid |= SETATTR_SIZE;
	if (in->valid & (FATTR_ATIME | FATTR_MTIME))
		a->valid |= SETATTR_TIMES;
	/* nothing at all is what a write by root to a file with capabilities looks like, and chown(-1, -1): the backing
	   write takes the capabilities away by itself */
}

/**
 * setattr_creds() - who truncates; the rest the daemon does as itself, because the kernel has checked the caller
 *
 * The kernel asks for the end of suid and sgid at every chown (FATTR_KILL_SUIDGID): the backing
 * filesystem's own chown does it, and knows the exceptions. One of them is sgid without the group's x,
 * which stays for who is in the file's group (setattr_should_drop_sgid): so a user's chown is done without
 * CAP_FSETID and in the user's main group, the only one that FUSE tells of.
 */
static struct creds setattr_creds(const struct request *r, const struct fuse_setattr_in *in)
{
	struct creds c = { 0 };

	if (in->valid & (FATTR_UID | FATTR_GID) && !(in->valid & (FATTR_SIZE | FATTR_MODE)) && r->mount->server->root && r->in->uid != 0)
		return (struct creds){ .uid = 0, .gid = r->in->gid, .flags = CREDS_SET | CREDS_NO_FSETID };
	if (!(in->valid & FATTR_SIZE) || in->valid & (FATTR_UID | FATTR_GID | FATTR_MODE) || !r->mount->server->root)
		return c;
	if (r->in->uid != 0)
		c = request_creds(r, -1);
	if (in->valid & UAPI_FATTR_KILL_SUIDGID)
		c.flags |= CREDS_NO_FSETID;
	return c;
}

void op_setattr(struct request *r, uint64_t nodeid, const struct fuse_setattr_in *in, bool has_fh)
{
	struct attr_state *s = REQUEST_STATE(r, struct attr_state);

	if (!request_inode(r, nodeid))
		return;
	setattr_args(&s->args, in);
	/* with writeback the kernel sends its own times along, which only the owner may set: the truncation itself makes new ones */
	if (in->valid & FATTR_SIZE && r->in->uid != 0)
		s->args.valid &= ~(unsigned)SETATTR_TIMES;
	s->creds = setattr_creds(r, in);
	if (s->args.size > INT64_MAX) {
		request_reply_err(r, -EFBIG);
		return;
	}
	if (has_fh && !request_handle(r, in->fh))
		return;
	request_with_fds(r, setattr_start);
}

/* ---- access, statfs ------------------------------------------------------------------ */

static void access_done(struct op *op)
{
	request_reply_err(op->owner, op->res);
}

static void access_start(struct request *r)
{
	const int *mask = REQUEST_STATE(r, int);
	struct op *op = request_op(r, OP_ACCESS, access_done);

	if (!op)
		return;
	op_path_of_fd(op, r->fd);
	op->arg = (uint32_t)*mask;
	op->creds = request_creds(r, -1);
	ring_submit(op);
}

void op_access(struct request *r, uint64_t nodeid, int mask)
{
	if (!request_inode(r, nodeid))
		return;
	*REQUEST_STATE(r, int) = mask & (R_OK | W_OK | X_OK);
	request_with_fds(r, access_start);
}

static void statfs_done(struct op *op)
{
	struct request *r = op->owner;

	if (op->res < 0)
		request_reply_err(r, op->res);
	else
		request_reply_statfs(r, op->buf);
}

static void statfs_start(struct request *r)
{
	struct statvfs *st = REQUEST_STATE(r, struct statvfs);
	struct op *op = request_op(r, OP_STATFS, statfs_done);

	if (!op)
		return;
	op->fd = r->fd;
	op->buf = st;
	ring_submit(op);
}

void op_statfs(struct request *r, uint64_t nodeid)
{
	/* the kernel asks about the root when it has no inode at hand */
	if (request_inode(r, nodeid ? nodeid : INODE_ROOT))
		request_with_fds(r, statfs_start);
}
