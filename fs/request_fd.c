/* SPDX-License-Identifier: MIT */
/*
 * request_fd.c - the O_PATH descriptors that a request works on; space that it waits for.
 *
 * Most inodes have one. For those whose descriptor the budget closed, it is
 * opened again by file handle (which may wait for the disk: on a worker), or
 * along the names from the root where file handles cannot be opened.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/request.h"

#define SPACE_TRIES 20u         /* waits for space that is being freed */
#define SPACE_STEP_NS 25000000u /* each */

static void next_fd(struct request *r);

/** which() - the inode whose descriptor is missing, or NULL. */
static struct inode *which(struct request *r, int **ret_fd)
{
	if (r->inode && r->fd < 0) {
		*ret_fd = &r->fd;
		return r->inode;
	}
	if (r->inode2 && r->fd2 < 0) {
		*ret_fd = &r->fd2;
		return r->inode2;
	}
	return NULL;
}

/** same_as_inode() - whether what was opened by its name is still the file that the inode stands for. */
static bool same_as_inode(const struct inode *i, int fd)
{
	struct inode_handle known;
	struct statx stx;

	if (sys_statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, &stx) < 0)
		return false;
	if (stx.stx_ino != i->ino || (stx.stx_mode & S_IFMT) != i->type)
		return false;
	inode_handle_get(i, &known);
	if (known.len) {
		union {
			struct file_handle h;
			char bytes[sizeof(struct file_handle) + INODE_HANDLE_MAX];
		} now = { .h.handle_bytes = INODE_HANDLE_MAX };
		int mount_id;
		return sys_name_to_handle(fd, "", AT_EMPTY_PATH, &now.h, &mount_id) == 0 && now.h.handle_type == known.type &&
		       now.h.handle_bytes == known.len && !memcmp(now.h.f_handle, known.bytes, known.len);
	}
	return stx.stx_btime.tv_sec == i->btime_sec && stx.stx_btime.tv_nsec == i->btime_nsec;
}

/**
 * fd_missing() - it cannot be found any more; an unlinked file that is open here still has its opener's descriptor
 *
 * (xfs now and then answers ESTALE for the file handle of such a file.)
 */
static void fd_missing(struct request *r, struct inode *i, int *ret_fd, int64_t err)
{
	/* ESTALE makes the VFS look the name up again */
	bool gone = err == -ENOENT || err == -ENOTDIR || err == -ELOOP || err == -ESTALE;
	struct handle *h = gone ? handle_of_inode(r->mount->handles, i) : NULL;
	int fd = -ESTALE, close_fd = -1;

	if (h) {
		fd = server_reopen(r->mount->server, h->file.fd, O_PATH);
		h = handle_put(r->mount->handles, h, false);
		if (h)
			request_close_handle(r->thread, r->mount, h);
	}
	if (fd < 0) {
		request_reply_err(r, gone ? -ESTALE : err);
		return;
	}
	*ret_fd = inode_fd_install(r->mount->inodes, i, fd, &close_fd);
	server_close(r->thread, close_fd, false);
	next_fd(r);
}

static void fd_opened(struct op *op)
{
	struct request *r = op->owner;
	int *fd = NULL, close_fd = -1;
	struct inode *i = which(r, &fd);
	bool by_name = op->kind == OP_OPENAT;

	if (op->res < 0) {
		fd_missing(r, i, fd, op->res);
		return;
	}
	if (by_name && !same_as_inode(i, (int)op->res)) {
		server_close(r->thread, (int)op->res, false);
		fd_missing(r, i, fd, -ESTALE);
		return;
	}
	*fd = inode_fd_install(r->mount->inodes, i, (int)op->res, &close_fd);
	server_close(r->thread, close_fd, false);
	next_fd(r);
}

/** reopen_by_name() - along the way from the root; the path lies in the payload buffer or in the scratch of the heap. */
static void reopen_by_name(struct request *r, struct inode *i)
{
	char *way = r->payload_free ? r->payload : NULL;
	struct op *op;
	int res;

	res = way ? inode_way(r->mount->inodes, i, way, 4096) : -ESTALE;
	if (res < 0) {
		request_reply_err(r, -ESTALE);
		return;
	}
	op = request_op(r, OP_OPENAT, fd_opened);
	if (!op)
		return;
	op->fd = r->mount->root_fd;
	op->path = way;
	op->how.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
	op->how.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH;
	ring_submit(op);
}

static void reopen_by_handle(struct request *r, struct inode *i, const struct inode_handle *h)
{
	struct op *op = request_op(r, OP_OPEN_BY_HANDLE, fd_opened);

	if (!op)
		return;
	r->fh.h.handle_bytes = h->len;
	r->fh.h.handle_type = h->type;
	memcpy(r->fh.h.f_handle, h->bytes, h->len);
	op->fd = r->mount->backing[i->fs].mount_fd;
	op->buf = &r->fh;
	op->arg = O_PATH | O_NOFOLLOW | O_CLOEXEC;
	ring_submit(op);
}

static void next_fd(struct request *r)
{
	struct inode_handle h;
	struct inode *i;
	int *fd = NULL;

	while ((i = which(r, &fd))) {
		*fd = inode_fd_use(r->mount->inodes, i);
		if (*fd >= 0)
			continue;
		server_make_room(r->mount);
		inode_handle_get(i, &h);
		if (h.len && r->mount->backing[i->fs].mount_fd >= 0)
			reopen_by_handle(r, i, &h);
		else
			reopen_by_name(r, i);
		return;
	}
	r->next(r);
}

void request_with_fds(struct request *r, void (*next)(struct request *r))
{
	assert(!r->inode_of_handle); /* its descriptor would stay in use */
	r->next = next;
	next_fd(r);
}

/* ---- space that is being freed -------------------------------------------------------------- */

static void space_again(struct op *op)
{
	struct request *r = op->owner;

	r->next(r);
}

bool request_wait_for_space(struct request *r, int64_t res, uint8_t *tries, void (*again)(struct request *r))
{
	struct op *op;

	if ((res != -ENOSPC && res != -EDQUOT) || *tries >= SPACE_TRIES || !server_space_may_come(r->mount->server))
		return false;
	op = ring_op_get(r->thread->ring);
	if (!op)
		return false;
	(*tries)++;
	r->next = again;
	op->kind = OP_TIMEOUT;
	op->off = SPACE_STEP_NS;
	op->done = space_again;
	op->owner = r;
	ring_submit(op);
	return true;
}
