/* SPDX-License-Identifier: MIT */
#include "child.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/sysmacros.h>

static void child_finish(struct child *c, int64_t res)
{
	c->res = res;
	c->done(c);
}

static void child_fail(struct child *c, int64_t res)
{
	if (!c->keep_fd)
		server_close(c->request->thread, c->fd, false);
	c->fd = -1;
	child_finish(c, res);
}

void attr_from_statx(uint16_t fs, const struct statx *stx, struct stat *st)
{
	*st = (struct stat){
		.st_dev = makedev(stx->stx_dev_major, stx->stx_dev_minor),
		.st_ino = server_ino(fs, stx->stx_ino),
		.st_mode = stx->stx_mode,
		.st_nlink = stx->stx_nlink,
		.st_uid = stx->stx_uid,
		.st_gid = stx->stx_gid,
		.st_rdev = makedev(stx->stx_rdev_major, stx->stx_rdev_minor),
		.st_size = (off_t)stx->stx_size,
		.st_blksize = stx->stx_blksize,
		.st_blocks = (blkcnt_t)stx->stx_blocks,
		.st_atim = { stx->stx_atime.tv_sec, stx->stx_atime.tv_nsec },
		.st_mtim = { stx->stx_mtime.tv_sec, stx->stx_mtime.tv_nsec },
		.st_ctim = { stx->stx_ctime.tv_sec, stx->stx_ctime.tv_nsec },
	};
}

static void child_dropped(struct ring_post *p)
{
	struct child *c = (struct child *)(void *)((char *)p - offsetof(struct child, notification.post));

	notify_wait_end(c->request);
	child_finish(c, 0);
}

/**
 * child_changed() - whether somebody else has changed the data of a file that is open here
 *
 * The inode was not known when the first statx was made; what requests of ours did since is not
 * somebody else's, so look again. @fd: of the file; -1: the inode's own (if that has just been closed, its next getattr finds
 * the change).
 */
static bool child_changed(struct child *c, int fd)
{
	struct mount *m = c->request->mount;
	struct inode *i = c->inode;
	int own = -1, res;
	uint32_t seq;

	if (i->type != S_IFREG || !coherence_needed(m) || !inode_opens(m->inodes, i))
		return false;
	if (fd < 0)
		fd = own = inode_fd_use(m->inodes, i);
	if (fd < 0)
		return false;
	seq = inode_data_seq(m->inodes, i);
	res = sys_statx(fd, "", AT_EMPTY_PATH, CHILD_STATX_MASK, &c->stx);
	if (own >= 0)
		inode_fd_unuse(m->inodes, i);
	if (res < 0)
		return false;
	attr_from_statx(i->fs, &c->stx, &c->entry.attr);
	inode_mode_told(i, c->stx.stx_mode);
	return coherence_check(m, i, &c->stx, seq);
}

/** child_entered() - the last step: c->inode has been found or made. @fd: of it, -1: none; @known: it was there before. */
static void child_entered(struct child *c, int fd, bool known)
{
	struct mount *m = c->request->mount;
	uint16_t fs = c->inode->fs;
	bool changed;

	c->entry = (struct fuse_entry_param){
		.ino = inode_nodeid(c->inode),
		.attr_timeout = passthrough_attr_timeout(m, c->inode, c->stx.stx_mode),
		.entry_timeout = m->server->opt.entry_timeout,
	};
	attr_from_statx(fs, &c->stx, &c->entry.attr);
	inode_mode_told(c->inode, c->stx.stx_mode);
	changed = known && child_changed(c, fd);
	if (!c->keep_fd)
		server_close(c->request->thread, c->fd, false);
	c->fd = -1;
	if (changed && notify_wait_begin(c->request)) {
		c->notification.post.fn = child_dropped;
		notify_pages(m, c->entry.ino, 0, 0, c->request->thread->ring, &c->notification);
		return;
	}
	if (changed) {
		coherence_drop_later(m, c->inode);
		c->entry.attr_timeout = 0; /* whoever asks next waits */
	}
	child_finish(c, 0);
}

/** child_identified() - into the inode table, by its file handle. */
static void child_identified(struct child *c, int fs, const struct inode_handle *handle)
{
	int fd = c->fd, close_fd = -1;

	c->inode = inode_add(c->request->mount->inodes, (uint16_t)fs, &c->stx, handle, c->keep_fd ? -1 : fd, c->parent, c->name, &close_fd);
	if (!c->inode) {
		child_fail(c, -ENOMEM);
		return;
	}
	c->fd = close_fd;
	/* an inode that had no descriptor yet is hardly open; if it is, its next getattr finds the change */
	child_entered(c, fd, c->keep_fd || close_fd >= 0);
}

/** child_held() - into the inode table without a file handle. Return false when it takes one. */
static bool child_held(struct child *c, int fs)
{
	int fd = c->fd, close_fd;

	if (c->keep_fd || !c->request->mount->backing[fs].local)
		return false;
	c->inode = inode_held_add(c->request->mount->inodes, (uint16_t)fs, &c->stx, fd, c->parent, c->name, &close_fd);
	if (!c->inode)
		return false;
	c->request->thread->lookups_again = close_fd >= 0;
	c->fd = close_fd;
	child_entered(c, fd, close_fd >= 0);
	return true;
}

static void child_handled(struct op *op)
{
	struct child *c = op->owner;
	struct inode_handle handle;
	int res = inode_handle_from(op->res, &c->fh.h, &handle);

	if (res < 0)
		child_fail(c, res);
	else
		child_identified(c, c->fs, &handle);
}

static struct op *child_op(struct child *c, enum op_kind kind, op_done_fn done)
{
	struct op *op = ring_op_get(c->request->thread->ring);

	if (!op) {
		child_fail(c, -ENOMEM);
		return NULL;
	}
	op->kind = (uint16_t)kind;
	op->done = done;
	op->owner = c;
	return op;
}

static void child_stated(struct op *op)
{
	struct child *c = op->owner;

	if (op->res < 0) {
		child_fail(c, op->res);
		return;
	}
	c->fs = server_backing(c->request->mount, makedev(c->stx.stx_dev_major, c->stx.stx_dev_minor), c->fd);
	if (c->fs < 0) {
		child_fail(c, c->fs);
		return;
	}
	if (child_held(c, c->fs))
		return;
	op = child_op(c, OP_NAME_TO_HANDLE, child_handled);
	if (!op)
		return;
	c->fh.h.handle_bytes = INODE_HANDLE_MAX;
	op->fd = c->fd;
	op->path = "";
	op->arg = AT_EMPTY_PATH;
	op->buf = &c->fh;
	ring_submit(op);
}

static void child_stat(struct child *c)
{
	struct op *op = child_op(c, OP_STATX, child_stated);

	if (!op)
		return;
	op->fd = c->fd;
	op->path = "";
	op->arg = AT_EMPTY_PATH;
	op->arg2 = CHILD_STATX_MASK;
	op->buf = &c->stx;
	ring_submit(op);
}

/** child_local() - whether the directory lies on a local filesystem. */
static bool child_local(const struct child *c)
{
	const struct inode *dir = c->parent ? c->parent : c->request->inode;

	return c->request->mount->backing[dir->fs].local;
}

static void child_open(struct child *c, bool hot);

static void child_opened(struct op *op)
{
	struct child *c = op->owner;
	struct thread_stats *st = &c->request->thread->stats;
	bool hot = op->flags & OPF_INLINE;

	if (op->how.resolve & RESOLVE_CACHED && op->res == -EAGAIN) {
		stats_add(&st->lookups_cold, 1);
		child_open(c, false);
		return;
	}
	if ((op->res == -EMFILE || op->res == -ENFILE) && c->tries++ < 3) {
		for (unsigned n = 0; n < 16; n++) {
			int fd = inode_fd_evict(c->request->mount->inodes);
			server_close(c->request->thread, fd, false);
		}
		child_open(c, false);
		return;
	}
	if (hot)
		stats_add(&st->lookups_hot, 1);
	if (op->res < 0) {
		c->fd = -1;
		child_fail(c, op->res);
		return;
	}
	c->fd = (int)op->res;
	child_stat(c);
}

/**
 * child_open() - @hot: on this thread, only what the kernel has in its caches, or while look-ups are quick (quick.h) all; else
 * through the ring
 */
static void child_open(struct child *c, bool hot)
{
	struct op *op;

	c->fd = -1;
	server_make_room(c->request->mount);
	op = child_op(c, OP_OPENAT, child_opened);
	if (!op)
		return;
	op->fd = c->parent_fd;
	op->path = c->name;
	op->how.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
	op->how.resolve = hot ? RESOLVE_CACHED : 0;
	op->flags = hot ? OPF_INLINE : OPF_ASYNC;
	if (hot && child_local(c))
		op->flags |= OPF_QUICK;
	ring_submit(op);
}

static void child_looked(struct op *op)
{
	struct child *c = op->owner;
	struct mount *m = c->request->mount;
	int fs;

	if (op->res < 0) {
		stats_add(&c->request->thread->stats.lookups_hot, 1);
		child_fail(c, op->res);
		return;
	}
	fs = server_backing_known(m, makedev(c->stx.stx_dev_major, c->stx.stx_dev_minor));
	if (fs >= 0 && m->backing[fs].local)
		c->inode = inode_held_known(m->inodes, (uint16_t)fs, &c->stx, c->mark, c->parent, c->name);
	if (!c->inode) {
		c->request->thread->lookups_again = false;
		child_open(c, true);
		return;
	}
	stats_add(&c->request->thread->stats.lookups_hot, 1);
	stats_add(&c->request->thread->stats.lookups_again, 1);
	child_entered(c, -1, true);
}

/**
 * child_look() - a name that is likely to be one of an inode that has a descriptor: the kernel asks again when its trust in the
 * name has run out. One statx tells; if not, the name is opened after all.
 */
static void child_look(struct child *c)
{
	struct op *op = child_op(c, OP_STATX, child_looked);

	if (!op)
		return;
	c->mark = inode_table_mark(c->request->mount->inodes);
	op->fd = c->parent_fd;
	op->path = c->name;
	op->arg = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT;
	op->arg2 = CHILD_STATX_MASK;
	op->buf = &c->stx;
	op->flags = OPF_QUICK;
	ring_submit(op);
}

void child_lookup(struct child *c)
{
	struct server_thread *t = c->request->thread;

	c->keep_fd = false;
	c->tries = 0;
	c->inode = NULL;
	c->fd = -1;
	if (t->lookups_again && !c->made && child_local(c) && ring_quick_now(t->ring, OP_STATX))
		child_look(c);
	else
		child_open(c, true);
}

void child_of_fd(struct child *c, int fd, bool keep_fd)
{
	c->fd = fd;
	c->keep_fd = keep_fd;
	c->inode = NULL;
	child_stat(c);
}

void child_put(struct child *c)
{
	if (c->inode)
		server_close_forgotten(c->request->thread, inode_put(c->request->mount->inodes, c->inode));
	c->inode = NULL;
}
