/* SPDX-License-Identifier: MIT */
/* open_file.c - a backing file is opened and becomes a handle: see open_file.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "fs/dir_cache.h"
#include "fs/durable.h"
#include "fs/open_file.h"

/*
 * O_APPEND, O_SYNC and O_DSYNC are left out: each WRITE carries the flags of its moment (fcntl may
 * have changed them), and they go with the backing write as RWF_APPEND, RWF_SYNC, RWF_DSYNC.
 * O_DIRECT gets a descriptor of its own, because the kernel may also read and write back whole pages
 * of the same open file.
 */
uint64_t open_file_flags(const struct mount *m, uint32_t flags)
{
	uint64_t out = flags & (O_ACCMODE | O_TRUNC | O_NOATIME);

	if (m->server->opt.writeback && (flags & O_ACCMODE) == O_WRONLY)
		out = (out & ~(uint64_t)O_ACCMODE) | O_RDWR; /* the kernel reads the rest of a page before it writes a part */
	return out | O_CLOEXEC | O_LARGEFILE;
}

void open_file_quiet(const struct request *r, int fd, bool directory)
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

void open_file_undo(struct request *r, struct open_state *s)
{
	server_close(r->thread, s->fd, false);
	server_close(r->thread, s->direct_fd, false);
	s->fd = s->direct_fd = -1;
	if (s->path_fd >= 0) /* child_of_fd() has not taken it over */
		server_close(r->thread, s->path_fd, false);
	s->path_fd = -1;
}

void open_file_fail(struct request *r, int64_t error)
{
	open_file_undo(r, REQUEST_STATE(r, struct open_state));
	request_reply_err(r, error);
}

struct op *open_file_op(struct request *r, enum op_kind kind, op_done_fn done)
{
	struct op *op = ring_op_get(r->thread->ring);

	if (!op) {
		open_file_fail(r, -ENOMEM);
		return NULL;
	}
	op->kind = kind;
	op->done = done;
	op->owner = r;
	return op;
}

struct handle *open_file_handle(struct request *r, struct open_state *s, struct inode *i, const struct fuse_file_info *fi)
{
	struct mount *m = r->mount;
	struct handle *h = handle_add(m->handles);

	if (!h) {
		passthrough_leave(r->thread, m, i, (enum handle_io)r->io, s->passthrough.stores);
		open_file_undo(r, s);
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
	if (h->writable)
		inode_writer_set(i);
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

void open_file_cache(struct request *r, struct fuse_file_info *fi, struct inode *i, bool same_data)
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

void open_file_join(struct request *r, struct inode *i, void (*next)(struct request *r))
{
	struct open_state *s = REQUEST_STATE(r, struct open_state);

	if (!r->mount->passthrough || i->type != S_IFREG) {
		next(r);
		return;
	}
	s->passthrough.next = next;
	passthrough_join(r, i, s->fd, (s->flags & O_ACCMODE) == O_RDWR, &s->passthrough);
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
		if (r->changing)
			coherence_drop_later(r->mount, r->changing);
		open_file_fail(r, op->res);
		return;
	}
	coherence_change_end(r); /* O_TRUNC */
	if (hot) /* O_NONBLOCK would make io_uring fail operations that have to wait */
		(void)fcntl((int)op->res, F_SETFL, (int)(op->how.flags & (O_DIRECT | O_NOATIME | O_APPEND))); /* cannot fail for these */
	open_file_quiet(r, (int)op->res, !s->mode && r->inode->type == S_IFDIR);
	*(direct ? &s->direct_fd : &s->fd) = (int)op->res;
	if (s->flags & O_DIRECT && !direct)
		open_try(r, true, true);
	else
		s->opened(r);
}

/** open_try() - @hot: at once, without waiting for leases; an inode in memory needs no disk to be opened. */
static void open_try(struct request *r, bool hot, bool direct)
{
	struct open_state *s = REQUEST_STATE(r, struct open_state);
	struct op *op = open_file_op(r, OP_OPENAT, open_opened);

	if (!op)
		return;
	proc_path(op, r->mount->server, direct ? s->fd : r->fd);
	op->how.flags = open_file_flags(r->mount, s->flags);
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
			coherence_empty_begin(r, r->inode, r->fd);
		if (op->how.flags & O_TRUNC && r->inode && !r->altering[0])
			durable_change(r, r->inode, PROOF_TRUNCATE);
	} else {
		op->flags = OPF_INLINE;
		op->how.flags |= O_NONBLOCK;
	}
	ring_submit(op);
}

void open_file(struct request *r, bool direct)
{
	open_try(r, true, direct);
}
