/* SPDX-License-Identifier: MIT */
/* op_open.c - files are opened, flushed and released. */
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "fs/dir_cache.h"
#include "fs/lock.h"
#include "fs/open_file.h"

/* ---- open ------------------------------------------------------------------------------ */

static void open_joined(struct request *r)
{
	struct open_state *s = REQUEST_STATE(r, struct open_state);
	struct fuse_file_info fi = { .flags = (int)s->flags };
	struct handle *h;

	if (r->backing_id < 0) {
		open_file_fail(r, r->backing_id);
		return;
	}
	open_file_cache(r, &fi, r->inode, s->same_data);
	if (r->inode->type == S_IFDIR)
		dir_cache_open(r, &s->stx, &fi);
	h = open_file_handle(r, s, r->inode, &fi);
	if (!h) {
		request_reply_err(r, -ENFILE);
		return;
	}
	r->inode = NULL; /* the handle's reference now */
	if (r->fd >= 0)
		inode_fd_unuse(r->mount->inodes, h->inode);
	r->fd = -1;
	(void)request_reply_open(r, &fi, h); /* a lost one is released there */
}

static void open_stated(struct op *op)
{
	struct request *r = op->owner;
	struct open_state *s = REQUEST_STATE(r, struct open_state);

	if (op->res < 0) {
		open_file_fail(r, op->res);
		return;
	}
	if (r->inode->type == S_IFREG)
		s->same_data = coherence_data_check(r->mount, r->inode, &s->stx, r->data_seq, true) != INODE_DATA_CHANGED;
	open_file_join(r, r->inode, open_joined);
}

static void open_stat(struct request *r)
{
	struct open_state *s = REQUEST_STATE(r, struct open_state);
	struct op *op = open_file_op(r, OP_STATX, open_stated);

	if (!op)
		return;
	op->fd = s->fd;
	op->path = "";
	op->arg = AT_EMPTY_PATH;
	op->arg2 = CHILD_STATX_MASK;
	op->buf = &s->stx;
	r->data_seq = inode_data_seq(r->mount->inodes, r->inode);
	ring_submit(op);
}

static void open_opened(struct request *r)
{
	if (REQUEST_STATE(r, struct open_state)->kill)
		coherence_mode_ended(r, r->inode);
	open_stat(r);
}

static void open_start(struct request *r)
{
	server_make_room(r->mount);
	open_file(r, false);
}

void op_open(struct request *r, uint64_t nodeid, uint32_t flags, uint32_t fuse_open_flags)
{
	struct open_state *s = REQUEST_STATE(r, struct open_state);

	if (!request_inode(r, nodeid))
		return;
	*s = (struct open_state){ .flags = flags, .opened = open_opened, .kill = fuse_open_flags & FUSE_OPEN_KILL_SUIDGID, .fd = -1, .direct_fd = -1, .path_fd = -1 };
	if (r->inode->type != S_IFREG) { /* opening a device or fifo would open it here, not at the caller */
		request_reply_err(r, r->inode->type == S_IFDIR ? -EISDIR : -ENXIO);
		return;
	}
	request_with_fds(r, open_start);
}

void op_opendir(struct request *r, uint64_t nodeid, uint32_t flags)
{
	struct open_state *s = REQUEST_STATE(r, struct open_state);

	(void)flags;
	if (!request_inode(r, nodeid))
		return;
	*s = (struct open_state){ .flags = O_RDONLY, .opened = open_opened, .fd = -1, .direct_fd = -1, .path_fd = -1 };
	if (r->inode->type != S_IFDIR) {
		request_reply_err(r, -ENOTDIR);
		return;
	}
	request_with_fds(r, open_start);
}

/* ---- flush, release -------------------------------------------------------------------------- */

void op_flush(struct request *r, uint64_t nodeid, uint64_t fh, uint64_t lock_owner)
{
	if (!request_file(r, nodeid, fh))
		return;
	lock_flush(r->thread, r->mount, r->inode, lock_owner);
	request_reply_err(r, 0);
}

void op_release(struct request *r, uint64_t nodeid, uint64_t fh, const struct fuse_release_in *in)
{
	if (!request_file(r, nodeid, fh))
		return;
	if (in->release_flags & FUSE_RELEASE_FLOCK_UNLOCK) {
		(void)flock(r->handle->file.fd, LOCK_UN); /* the close that follows would do it, but a ring may hold the file a moment longer */
		lock_wake(r->thread, r->mount, r->inode);
	}
	if (in->release_flags & FUSE_RELEASE_FLUSH)
		lock_flush(r->thread, r->mount, r->inode, in->lock_owner);
	lock_release(r->thread, r->mount, r->inode, fh);
	(void)handle_put(r->mount->handles, r->handle, true); /* never the last: the request has one, closed after the reply */
	request_reply_err(r, 0);
}
