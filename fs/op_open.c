/* SPDX-License-Identifier: MIT */
/* op_open.c - files are opened, created, flushed and released. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "fs/child.h"
#include "fs/dir_cache.h"
#include "fs/durable.h"
#include "fs/lock.h"
#include "fs/ops.h"

struct open_state {
	struct child child;        /* create and tmpfile */
	uint32_t flags;            /* the caller's O_ flags */
	bool kill;                 /* O_TRUNC ends suid and sgid */
	bool append;               /* the backing file can be opened with O_APPEND only */
	mode_t mode, umask;
	int fd, direct_fd;
	int path_fd;               /* create, without file handles: O_PATH of the new file */
	struct statx stx;
	uint8_t tries;             /* request_wait_for_space() */
	bool same_data;            /* the kernel may keep its pages */
	bool uncached;             /* it gets FOPEN_DIRECT_IO */
	struct passthrough_step passthrough;
};

/**
 * backing_flags() - how the backing file is opened for the caller's @flags
 *
 * O_APPEND, O_SYNC and O_DSYNC are left out: each WRITE carries the flags of its moment (fcntl may
 * have changed them), and they go with the backing write as RWF_APPEND, RWF_SYNC, RWF_DSYNC.
 * O_DIRECT gets a descriptor of its own, because the kernel may also read and write back whole pages
 * of the same open file.
 */
static uint64_t backing_flags(const struct mount *m, uint32_t flags)
{
	uint64_t out = flags & (O_ACCMODE | O_TRUNC | O_NOATIME);

	if (m->server->opt.writeback && (flags & O_ACCMODE) == O_WRONLY)
		out = (out & ~(uint64_t)O_ACCMODE) | O_RDWR; /* the kernel reads the rest of a page before it writes a part */
	return out | O_CLOEXEC | O_LARGEFILE;
}

/**
 * quiet() - reads through @fd leave the access time alone where the mount is to (noatime, nodiratime, ro)
 * Not as a flag of open(2), which a caller who is not the owner may not use. Fails for a daemon that is neither
 * root nor owner: uringfs.8, LIMITS.
 */
static void quiet(const struct request *r, int fd, bool directory)
{
	const struct options *opt = &r->mount->server->opt;
	int flags;

	if (!opt->noatime && !opt->ro && !(opt->nodiratime && directory))
		return;
	flags = fcntl(fd, F_GETFL);
	if (flags >= 0)
		(void)fcntl(fd, F_SETFL, flags | O_NOATIME);
}

/** proc_path() - the magic link of @fd, relative to /proc/self/fd. */
static void proc_path(struct op *op, const struct server *srv, int fd)
{
	op->fd = srv->proc_fd;
	snprintf(op->procpath, sizeof(op->procpath), "%d", fd);
	op->path = op->procpath;
}

/* ---- the reply: handle, cache flags -------------------------------------------------- */

static void close_fds(struct request *r, struct open_state *s)
{
	server_close(r->thread, s->fd, false);
	server_close(r->thread, s->direct_fd, false);
	s->fd = s->direct_fd = -1;
	if (s->path_fd >= 0) /* child_of_fd() has not taken it over */
		server_close(r->thread, s->path_fd, false);
	s->path_fd = -1;
}

/** identify() - the new file's inode. */
static void identify(struct open_state *s)
{
	int path_fd = s->path_fd;

	s->path_fd = -1;
	child_of_fd(&s->child, path_fd >= 0 ? path_fd : s->fd, path_fd < 0);
}

/** make_handle() - owner of the descriptors; NULL: table full, they are closed. */
static struct handle *make_handle(struct request *r, struct open_state *s, struct inode *i, const struct fuse_file_info *fi)
{
	struct mount *m = r->mount;
	struct handle *h = handle_add(m->handles);

	if (!h) {
		passthrough_leave(r->thread, m, i, (enum handle_io)r->io, s->passthrough.stores);
		close_fds(r, s);
		return NULL;
	}
	h->open_flags = s->flags;
	h->writable = (s->flags & O_ACCMODE) != O_RDONLY;
	h->directory = i->type == S_IFDIR;
	h->io = r->io;
	h->uncached = s->uncached;
	bfile_init(&h->file, s->fd);
	if (s->direct_fd >= 0) {
		bfile_init(&h->direct, s->direct_fd);
		h->has_direct = true;
	}
	durable_handle(m, h, i);
	dir_cache_opened(r, h, &s->stx, fi);
	handle_publish(m->handles, h, i);
	atomic_fetch_add(&m->server->budget.used, h->has_direct ? 2 : 1);
	inode_open_count(m->inodes, i, 1);
	if ((s->flags & O_ACCMODE) == O_RDWR || (h->writable && m->server->opt.writeback)) /* shared mappings, or all writes */
		inode_dirty_set(i);
	return h;
}

/** writes_here() - with a backing id: whether this opener's writes must come to us all the same, see passthrough.h. */
static bool writes_here(const struct open_state *s, mode_t mode)
{
	return (s->flags & O_ACCMODE) != O_RDONLY && (s->flags & O_APPEND || mode & (S_ISUID | S_ISGID));
}

/**
 * past_cache() - whether this opener's reads and writes pass by the kernel's page cache (FOPEN_DIRECT_IO)
 *
 * O_DIRECT alone has the kernel write one at a time into a file; with the flag several write at once
 * (FOPEN_PARALLEL_DIRECT_WRITES, fs/fuse/file.c fuse_dio_lock()), as long as nobody has it open for its page cache. But
 * then an asynchronous write drops the pages before it is done only (Linux 6.18, fuse_direct_io()); op_write() does it where
 * somebody caches the file later. Shared mappings need FUSE_DIRECT_IO_ALLOW_MMAP (6.6).
 */
static bool past_cache(const struct request *r, const struct open_state *s, struct inode *i)
{
	const struct options *opt = &r->mount->server->opt;

	if (opt->direct_io || opt->cache == CACHE_NONE)
		return true;
	return s->flags & O_DIRECT && !opt->writeback && r->mount->init_flags & UAPI_FUSE_DIRECT_IO_ALLOW_MMAP &&
	       !inode_cached(i);
}

/** cache_flags() - what the kernel may keep of file @i. */
static void cache_flags(struct request *r, struct fuse_file_info *fi, struct inode *i, bool same_data)
{
	struct open_state *s = REQUEST_STATE(r, struct open_state);
	const struct options *opt = &r->mount->server->opt;

	if (r->io == HANDLE_IO_KERNEL) { /* no pages of its own */
		fi->direct_io = writes_here(s, s->mode ? s->mode : s->stx.stx_mode);
	} else {
		fi->direct_io = past_cache(r, s, i);
		fi->keep_cache = !fi->direct_io && i->type == S_IFREG && (opt->cache == CACHE_ALWAYS || opt->writeback || same_data);
		if (!fi->direct_io && i->type == S_IFREG)
			inode_cached_set(i);
	}
	s->uncached = fi->direct_io;
	r->open_flags = UAPI_FOPEN_PARALLEL_DIRECT_WRITES;
	if (zero_copy_wanted(r, i))
		r->open_flags |= UAPI_FOPEN_IO_URING_ZERO_COPY;
	/* FLUSH is needed for write-back at close, and to drop record locks that we hold on the backing file */
	if (!opt->writeback && opt->locks == LOCKS_LOCAL)
		r->open_flags |= UAPI_FOPEN_NOFLUSH;
}

/** join() - with io=kernel: is it the kernel that reads and writes @i? Then @next. */
static void join(struct request *r, struct inode *i, void (*next)(struct request *r))
{
	struct open_state *s = REQUEST_STATE(r, struct open_state);

	if (!r->mount->passthrough || i->type != S_IFREG) {
		next(r);
		return;
	}
	s->passthrough.next = next;
	passthrough_join(r, i, s->fd, (s->flags & O_ACCMODE) == O_RDWR, &s->passthrough);
}

/* ---- open ------------------------------------------------------------------------------ */

static void open_joined(struct request *r)
{
	struct open_state *s = REQUEST_STATE(r, struct open_state);
	struct fuse_file_info fi = { .flags = (int)s->flags };
	struct handle *h;

	if (r->backing_id < 0) {
		close_fds(r, s);
		request_reply_err(r, r->backing_id);
		return;
	}
	cache_flags(r, &fi, r->inode, s->same_data);
	if (r->inode->type == S_IFDIR)
		dir_cache_open(r, &s->stx, &fi);
	h = make_handle(r, s, r->inode, &fi);
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
		close_fds(r, s);
		request_reply_err(r, op->res);
		return;
	}
	if (r->inode->type == S_IFREG)
		s->same_data = coherence_data_check(r->mount, r->inode, &s->stx, r->data_seq, true) != INODE_DATA_CHANGED;
	join(r, r->inode, open_joined);
}

static void open_stat(struct request *r)
{
	struct open_state *s = REQUEST_STATE(r, struct open_state);
	struct op *op = ring_op_get(r->thread->ring);

	if (!op) {
		close_fds(r, s);
		request_reply_err(r, -ENOMEM);
		return;
	}
	op->kind = OP_STATX;
	op->done = open_stated;
	op->owner = r;
	op->fd = s->fd;
	op->path = "";
	op->arg = AT_EMPTY_PATH;
	op->arg2 = CHILD_STATX_MASK;
	op->buf = &s->stx;
	r->data_seq = inode_data_seq(r->mount->inodes, r->inode);
	ring_submit(op);
}

static void open_try(struct request *r, bool hot, bool direct);

static void open_opened(struct op *op)
{
	struct request *r = op->owner;
	struct open_state *s = REQUEST_STATE(r, struct open_state);
	bool hot = op->how.flags & O_NONBLOCK, direct = op->how.flags & O_DIRECT;

	if (hot && op->res == -EAGAIN) { /* a lease is being broken: wait for it elsewhere */
		open_try(r, false, direct);
		return;
	}
	if (op->res == -EPERM && s->flags & O_APPEND && !s->append) { /* an append-only file can be opened in no other way */
		s->append = true;
		open_try(r, hot, direct);
		return;
	}
	if (op->res < 0) {
		close_fds(r, s);
		request_reply_err(r, op->res);
		return;
	}
	coherence_change_end(r); /* O_TRUNC */
	if (hot) /* O_NONBLOCK would make io_uring fail operations that have to wait */
		(void)fcntl((int)op->res, F_SETFL, (int)(op->how.flags & (O_DIRECT | O_NOATIME | O_APPEND))); /* cannot fail for these */
	quiet(r, (int)op->res, !s->mode && r->inode->type == S_IFDIR);
	*(direct ? &s->direct_fd : &s->fd) = (int)op->res;
	if (s->flags & O_DIRECT && !direct)
		open_try(r, true, true);
	else if (s->mode)
		identify(s);
	else if (s->kill)
		coherence_mode_ended(r, r->inode, open_stat);
	else
		open_stat(r);
}

/** open_try() - @hot: at once, without waiting for leases; an inode in memory needs no disk to be opened. */
static void open_try(struct request *r, bool hot, bool direct)
{
	struct open_state *s = REQUEST_STATE(r, struct open_state);
	struct op *op = ring_op_get(r->thread->ring);

	if (!op) {
		close_fds(r, s);
		request_reply_err(r, -ENOMEM);
		return;
	}
	op->kind = OP_OPENAT;
	op->done = open_opened;
	op->owner = r;
	proc_path(op, r->mount->server, direct ? s->fd : r->fd);
	op->how.flags = backing_flags(r->mount, s->flags);
	if (s->append)
		op->how.flags |= O_APPEND;
	if (direct)
		op->how.flags = (op->how.flags & ~(uint64_t)O_TRUNC) | O_DIRECT;
	if (s->kill && r->mount->server->root) {
		if (r->in->uid != 0)
			op->creds = request_creds(r, -1);
		op->creds.flags |= CREDS_NO_FSETID;
	}
	/* truncation may wait for the disk */
	if (op->how.flags & O_TRUNC || !hot) {
		op->flags = OPF_ASYNC;
		if (op->how.flags & O_TRUNC && r->inode && !r->changing)
			coherence_change_begin(r, r->inode, r->fd);
		if (op->how.flags & O_TRUNC && r->inode && !r->altering[0])
			durable_change(r, r->inode, PROOF_TRUNCATE);
	} else {
		op->flags = OPF_INLINE;
		op->how.flags |= O_NONBLOCK;
	}
	ring_submit(op);
}

static void open_start(struct request *r)
{
	server_make_room(r->mount);
	open_try(r, true, false);
}

void op_open(struct request *r, uint64_t nodeid, uint32_t flags, uint32_t fuse_open_flags)
{
	struct open_state *s = REQUEST_STATE(r, struct open_state);

	if (!request_inode(r, nodeid))
		return;
	*s = (struct open_state){ .flags = flags, .kill = fuse_open_flags & FUSE_OPEN_KILL_SUIDGID, .fd = -1, .direct_fd = -1, .path_fd = -1 };
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
	*s = (struct open_state){ .flags = O_RDONLY, .fd = -1, .direct_fd = -1, .path_fd = -1 };
	if (r->inode->type != S_IFDIR) {
		request_reply_err(r, -ENOTDIR);
		return;
	}
	request_with_fds(r, open_start);
}

/* ---- create, tmpfile ---------------------------------------------------------------------- */

static void create_joined(struct request *r)
{
	struct open_state *s = REQUEST_STATE(r, struct open_state);
	struct child *c = &s->child;
	struct fuse_file_info fi = { .flags = (int)s->flags };
	struct handle *h = NULL;

	cache_flags(r, &fi, c->inode, true); /* there are no pages yet */
	c->entry.attr_timeout = passthrough_attr_timeout(r->mount, c->inode);
	if (r->backing_id >= 0)
		h = make_handle(r, s, c->inode, &fi); /* takes over the reference */
	else
		close_fds(r, s);
	if (!h) {
		server_close_forgotten(r->thread, inode_forget(r->mount->inodes, c->entry.ino, 1));
		child_put(c);
		request_reply_err(r, r->backing_id < 0 ? r->backing_id : -ENFILE);
		return;
	}
	c->inode = NULL;
	(void)request_reply_create(r, &c->entry, &fi, h); /* a lost one is undone there */
}

static void create_identified(struct child *c)
{
	struct request *r = c->request;
	struct open_state *s = REQUEST_STATE(r, struct open_state);

	if (c->res < 0) {
		close_fds(r, s);
		request_reply_err(r, c->res);
		return;
	}
	(void)inode_data_check(r->mount->inodes, c->inode, &c->stx, inode_data_seq(r->mount->inodes, c->inode), false); /* remembers it */
	join(r, c->inode, create_joined);
}

static void create_start(struct request *r);

static void create_opened(struct op *op)
{
	struct request *r = op->owner;
	struct open_state *s = REQUEST_STATE(r, struct open_state);

	if (op->res == -EEXIST && !(s->flags & O_EXCL)) {
		/* somebody was faster. Opening his file here would pass by the permission check:
		   ESTALE makes the VFS look the name up again and then open what it finds */
		request_reply_err(r, -ESTALE);
		return;
	}
	if (request_wait_for_space(r, op->res, &s->tries, create_start))
		return;
	if (op->res < 0) {
		request_reply_err(r, op->res);
		return;
	}
	s->fd = (int)op->res;
	quiet(r, s->fd, false);
	if (r->mount->keep_names) { /* the inode needs an O_PATH descriptor of its own, for it cannot be opened again */
		s->path_fd = server_reopen(r->mount->server, s->fd, O_PATH);
		if (s->path_fd < 0) {
			int res = s->path_fd;
			close_fds(r, s);
			request_reply_err(r, res);
			return;
		}
	}
	if (s->flags & O_DIRECT)
		open_try(r, true, true);
	else
		identify(s);
}

static void create_start(struct request *r)
{
	struct open_state *s = REQUEST_STATE(r, struct open_state);
	bool tmpfile = !s->child.name;
	struct op *op;

	server_make_room(r->mount);
	op = request_op(r, OP_OPENAT, create_opened);
	if (!op)
		return;
	s->child.parent_fd = r->fd;
	op->fd = r->fd;
	op->path = tmpfile ? "." : s->child.name;
	op->how.flags = backing_flags(r->mount, s->flags);
	op->how.flags |= tmpfile ? O_TMPFILE | (s->flags & O_EXCL) : (uint64_t)(O_CREAT | O_EXCL | O_NOFOLLOW);
	op->how.mode = s->mode & 07777;
	op->creds = request_creds(r, (int)s->umask);
	ring_submit(op);
}

static void create(struct request *r, uint64_t parent, const char *name, const struct fuse_create_in *in)
{
	struct open_state *s = REQUEST_STATE(r, struct open_state);

	if (!request_inode(r, parent))
		return;
	*s = (struct open_state){ .flags = in->flags, .mode = S_IFREG | (in->mode & 07777), .umask = in->umask, .fd = -1, .direct_fd = -1, .path_fd = -1 };
	s->child = (struct child){ .request = r, .parent = name ? r->inode : NULL, .name = name, .done = create_identified };
	request_with_fds(r, create_start);
}

void op_create(struct request *r, uint64_t parent, const char *name, const struct fuse_create_in *in)
{
	if (request_name(r, name))
		create(r, parent, name, in);
}

void op_tmpfile(struct request *r, uint64_t parent, const struct fuse_create_in *in)
{
	create(r, parent, NULL, in);
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
