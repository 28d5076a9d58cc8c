/* SPDX-License-Identifier: MIT */
/* op_io.c - data: read and write. */
#include <errno.h>
#include <stddef.h>

#include "backend/util/log.h"
#include "fs/durable.h"
#include "fs/ops.h"

#ifndef RWF_APPEND
#define RWF_APPEND 0x10
#endif
#ifndef RWF_DONTCACHE
#define RWF_DONTCACHE 0x80 /* Linux 6.14; EOPNOTSUPP before, and on filesystems without it (include/linux/fs.h, FOP_DONTCACHE) */
#endif

/** io_file() - which of the handle's descriptors serves a request that was made with @flags. */
static struct bfile *io_file(struct handle *h, uint32_t flags)
{
	return h->has_direct && flags & O_DIRECT ? &h->direct : &h->file;
}

/** data_way() - OPF_ flags of an op on data of @r's file: on the spot up to @quick_max bytes, else through the ring. */
static uint16_t data_way(const struct request *r, const struct op *op, uint32_t quick_max)
{
	bool waits = op->file == &r->handle->direct && !r->mount->backing[r->inode->fs].in_memory;

	return waits || op->len > quick_max ? 0 : OPF_QUICK;
}

/**
 * data_at_once() - data that are most likely in memory, moved without an op; as data_way() and the backend allow
 * @f: the descriptor; @buf, @len, @off: as ring_quick_data()
 * Called right after the arrival of @r.  Return: bytes, or -1: submit an op
 */
static int64_t data_at_once(struct request *r, enum op_kind kind, const struct bfile *f, void *buf, size_t len, uint64_t off)
{
	const struct backing_fs *fs = &r->mount->backing[r->inode->fs];
	uint64_t clock_ns = r->start_ns;
	int64_t res = -1;

	if (len && len <= (kind == OP_WRITE ? fs->quick_write_max : fs->quick_read_max) && (f != &r->handle->direct || fs->in_memory))
		res = ring_quick_data(r->thread->ring, kind, f, buf, len, off, &clock_ns);
	if (res >= 0 && !r->changing) {
		r->thread->clock_ns = clock_ns;
		r->timed = true;
	}
	return res;
}

/* ---- the page cache of SOURCE -------------------------------------------------------- */

/**
 * dontcache() - RWF_DONTCACHE for data that the mount's own page cache keeps, with backing_cache=off; else 0
 *
 * Pages that SOURCE's cache has already stay there (mm/filemap.c). Reads of 400 MB were as fast on a busy machine; but the
 * write-back of every write is started: good for 64 KiB one after the other (1.3 to 2.5 times), bad for 4 KiB (0.6 to
 * 1.0 on the mount, see also the WRITE row of backend/op.c). So backing_cache=auto leaves it.
 */
static uint32_t dontcache(const struct request *r, const struct bfile *file)
{
	if (r->mount->server->opt.backing_cache != BACKING_CACHE_OFF || r->handle->uncached || file == &r->handle->direct)
		return 0;
	if (atomic_load_explicit(&r->mount->backing[r->inode->fs].no_dontcache, memory_order_relaxed)) {
		stats_add(&r->thread->stats.dontcache_refused, 1);
		return 0;
	}
	stats_add(&r->thread->stats.dontcache, 1);
	return RWF_DONTCACHE;
}

/** dontcache_refused() - whether @op failed because of it: named once a filesystem, and not tried again. */
static bool dontcache_refused(struct request *r, const struct op *op)
{
	if (op->res != -EOPNOTSUPP || !(op->arg & RWF_DONTCACHE))
		return false;
	if (!atomic_exchange(&r->mount->backing[r->inode->fs].no_dontcache, true))
		log_warning("%s: backing_cache=off is not possible on this filesystem or kernel (RWF_DONTCACHE): its page cache keeps the data, too",
			    r->mount->mountpoint);
	return true;
}

/* ---- read ------------------------------------------------------------------------ */

struct read_state {
	size_t size;
	uint64_t off;
	uint32_t flags; /* O_ */
	bool around;    /* zero-copy: by way of memory */
	size_t done;    /* bytes */
};

static void read_submit(struct request *r);

/** read_in_slot() - the caller's pages hold the data. */
static void read_in_slot(struct op *op)
{
	struct request *r = op->owner;

	if (op->res < 0)
		request_reply_err(r, op->res);
	else
		request_reply_slot(r, REQUEST_STATE(r, struct read_state)->done);
}

/** read_cached() - for pages of the page cache: direct I/O, and nothing else, names an owner of locks (fs/fuse/file.c fuse_send_read()). */
static bool read_cached(const struct request *r)
{
	const struct fuse_read_in *in = r->arg;

	return !(in->read_flags & FUSE_READ_LOCKOWNER);
}

/** read_end_slot() - and what they held before, behind the end of the file? */
static void read_end_slot(struct op *op)
{
	struct request *r = op->owner;
	const struct read_state *s = REQUEST_STATE(r, struct read_state);

	/* direct I/O: that is the caller's memory, not ours to change */
	if (op->res < 0 || s->done == s->size || !read_cached(r))
		read_in_slot(op);
	else
		zero_copy_clear(r, s->done, s->size - s->done, read_in_slot);
}

/**
 * read_cut() - what an error ended in the middle has failed, if it is for pages of the page cache
 *
 * Of such a request the kernel takes what is missing for the end of the file (fs/fuse/file.c, fuse_short_read()): its readers would get
 * zeros, or fewer bytes, and no error. After an error it asks again, for less. EINVAL is none: so some filesystems answer to direct I/O
 * that begins behind an end that is not aligned.
 */
static void read_cut(const struct request *r, struct op *op)
{
	if (op->cut && op->cut != -EINVAL && read_cached(r))
		op->res = op->cut;
}

static void read_done(struct op *op)
{
	struct request *r = op->owner;
	struct read_state *s = REQUEST_STATE(r, struct read_state);

	if (dontcache_refused(r, op)) {
		read_submit(r);
		return;
	}
	read_cut(r, op);
	if (!s->around && zero_copy_refused(r, op->res)) {
		s->around = true;
		read_submit(r);
		return;
	}
	if (op->res < 0) {
		request_reply_err(r, op->res);
		return;
	}
	stats_add(&r->thread->stats.bytes_read, (uint64_t)op->res);
	s->done = (size_t)op->res;
	if (r->slot < 0) {
		request_reply_buf(r, r->payload, s->done);
		return;
	}
	stats_add(&r->thread->stats.zero_copy_bytes, s->around ? 0 : s->done);
	if (s->around && s->done)
		zero_copy_store(r, s->done, read_end_slot);
	else
		read_end_slot(op);
}

static void read_submit(struct request *r)
{
	const struct read_state *s = REQUEST_STATE(r, struct read_state);
	struct op *op = request_op(r, OP_READ, read_done);
	bool in_slot = r->slot >= 0 && !s->around;

	if (!op)
		return;
	op->file = io_file(r->handle, s->flags);
	op->buf = in_slot ? NULL /* addresses in a slot begin at 0 */ : r->payload;
	op->buf_index = in_slot ? r->slot : r->buf_index;
	op->len = s->size;
	op->off = s->off;
	op->arg = dontcache(r, op->file);
	op->flags = in_slot ? OPF_SLOT : data_way(r, op, r->mount->backing[r->inode->fs].quick_read_max);
	ring_submit(op);
}

/** read_at_once() - Return: whether it is answered. */
static bool read_at_once(struct request *r)
{
	struct read_state *s = REQUEST_STATE(r, struct read_state);
	int64_t res;

	if (r->slot >= 0 || r->mount->server->opt.backing_cache == BACKING_CACHE_OFF)
		return false;
	res = data_at_once(r, OP_READ, io_file(r->handle, s->flags), r->payload, s->size, s->off);
	if (res < 0)
		return false;
	stats_add(&r->thread->stats.bytes_read, (uint64_t)res);
	request_reply_buf(r, r->payload, (size_t)res);
	return true;
}

void op_read(struct request *r, uint64_t nodeid, uint64_t fh, size_t size, uint64_t off, uint32_t flags)
{
	if (!request_file(r, nodeid, fh))
		return;
	if (size > r->payload_size || off > INT64_MAX || r->handle->directory) {
		request_reply_err(r, r->handle->directory ? -EISDIR : -EINVAL);
		return;
	}
	*REQUEST_STATE(r, struct read_state) = (struct read_state){ .size = size, .off = off, .flags = flags };
	placement_stream_read(&r->thread->stream, size, r->entry && read_cached(r));
	if (!read_at_once(r))
		read_submit(r);
}

/* ---- write ------------------------------------------------------------------------- */

struct write_state {
	const char *buf;
	const struct fuse_write_in *in;
	bool in_slot;       /* zero-copy: the data are in the caller's pages, and buf is NULL */
	uint8_t tries; /* request_wait_for_space() */
	size_t done;        /* bytes */
};

static void write_submit(struct request *r);

/**
 * write_beside_pages() - it passes by the page cache, and the kernel may hold pages of the file.
 *
 * A mapping made with O_DIRECT has pages all the same (FUSE_DIRECT_IO_ALLOW_MMAP). They are written back by this opener's
 * handle, are under writeback until the answer, and the kernel waits for that before it drops them: never for those.
 */
static bool write_beside_pages(const struct request *r, const struct fuse_write_in *in)
{
	return r->handle->uncached && !(in->write_flags & FUSE_WRITE_CACHE) && inode_cached(r->inode);
}

static void write_answer(struct request *r)
{
	const struct write_state *s = REQUEST_STATE(r, struct write_state);

	stats_add(&r->thread->stats.zero_copy_bytes, s->in_slot ? s->done : 0);
	request_reply_write(r, s->done);
}

/** write_loaded() - what could not be written from the caller's pages is in our memory. */
static void write_loaded(struct op *op)
{
	struct request *r = op->owner;
	struct write_state *s = REQUEST_STATE(r, struct write_state);

	if (op->res < 0) {
		request_reply_err(r, op->res);
		return;
	}
	s->buf = r->payload;
	s->in_slot = false;
	write_submit(r);
}

/** write_count() - @size bytes more are written. */
static void write_count(struct request *r, size_t size)
{
	stats_add(&r->thread->stats.bytes_written, size);
	atomic_fetch_add_explicit(&r->handle->unsynced, size, memory_order_relaxed);
	REQUEST_STATE(r, struct write_state)->done += size;
}

/**
 * write_rest() - whether @op, a write of pages that the kernel writes back, has left something, which is now under way
 *
 * A caller sees a short count and goes on. Of a write-back the kernel sees an error only (fs/fuse/file.c, fuse_writepage_end()): what a
 * full filesystem did not take would be lost, and no fsync would tell.
 */
static bool write_rest(struct request *r, struct op *op)
{
	struct write_state *s = REQUEST_STATE(r, struct write_state);

	if (op->res < 0)
		return false;
	write_count(r, (size_t)op->res);
	if (!(s->in->write_flags & FUSE_WRITE_CACHE) || s->done >= s->in->size)
		return false;
	if (op->res == 0) {
		op->res = -EIO;
		return false;
	}
	write_submit(r);
	return true;
}

/** write_over() - all is written that will be; @error: 0 or -errno. */
static void write_over(struct request *r, int error)
{
	const struct write_state *s = REQUEST_STATE(r, struct write_state);

	coherence_change_end(r); /* before the caller, and then others, may go on */
	durable_write_end(r, error ? error : (int64_t)s->done);
	if (error) {
		request_reply_err(r, error);
		return;
	}
	write_early(r, s->in->offset, s->done);
	if (s->in->write_flags & FUSE_WRITE_KILL_SUIDGID)
		coherence_mode_ended(r, r->inode);
	/* pages that were read while it was written must go before the writer may rely on it: open_file.c, past_cache(); of an append wherever that is */
	if (write_beside_pages(r, s->in) && s->done) {
		bool append = s->in->flags & O_APPEND;
		if (coherence_drop_then(r, append ? 0 : s->in->offset, append ? 0 : s->done, write_answer))
			return;
		coherence_drop_later(r->mount, r->inode);
	}
	write_answer(r);
}

static void write_done(struct op *op)
{
	struct request *r = op->owner;
	struct write_state *s = REQUEST_STATE(r, struct write_state);

	if (dontcache_refused(r, op)) {
		write_submit(r);
		return;
	}
	if (request_wait_for_space(r, op->res, &s->tries, write_submit))
		return;
	if (s->in_slot && zero_copy_refused(r, op->res)) {
		zero_copy_load(r, s->in->size, write_loaded);
		return;
	}
	if (!write_rest(r, op))
		write_over(r, op->res < 0 ? (int)op->res : 0);
}

/** write_flags() - what holds for this one write, from the flags of its moment. */
static uint32_t write_flags(const struct fuse_write_in *in)
{
	uint32_t flags = 0;

	/* pages written back have their place; O_APPEND is for the caller's own writes */
	if (in->flags & O_APPEND && !(in->write_flags & FUSE_WRITE_CACHE))
		flags |= RWF_APPEND;
	if ((in->flags & O_SYNC) == O_SYNC)
		flags |= RWF_SYNC;
	else if (in->flags & O_DSYNC)
		flags |= RWF_DSYNC;
	return flags;
}

/** write_proof() - what the write means to the proof of the file. */
static unsigned write_proof(struct handle *h, const struct fuse_write_in *in)
{
	unsigned flags = 0;

	if (write_flags(in) & RWF_APPEND)
		flags |= PROOF_WRITE_APPEND;
	if (io_file(h, in->flags) == &h->file)
		flags |= PROOF_WRITE_BUFFERED;
	if (in->write_flags & FUSE_WRITE_KILL_SUIDGID)
		flags |= PROOF_WRITE_KILL;
	if (write_flags(in) & (RWF_DSYNC | RWF_SYNC))
		flags |= PROOF_WRITE_DURABLE;
	return flags;
}

struct creds op_write_creds(const struct request *r, uint32_t write_flags)
{
	struct creds c = { 0 };

	if (!r->mount->server->root)
		return c;
	/* of pages written back the kernel does not know whose they are */
	if (!(write_flags & FUSE_WRITE_CACHE) && r->in->uid != 0)
		c = (struct creds){ .uid = r->in->uid, .gid = r->in->gid, .flags = CREDS_SET };
	if (write_flags & FUSE_WRITE_KILL_SUIDGID)
		c.flags |= CREDS_NO_FSETID;
	return c;
}

/**
 * write_way() - OPF_ flags of a write: on the spot, or through the ring
 *
 * The ring tries a write without waiting first where the filesystem can, and then goes on with the rest: an append
 * might be done in two parts, with another one between them. So appends are not tried.
 */
static uint16_t write_way(struct request *r, const struct op *op)
{
	uint16_t flags = op->arg & (RWF_SYNC | RWF_DSYNC) ? 0 : data_way(r, op, r->mount->backing[r->inode->fs].quick_write_max);

	if (REQUEST_STATE(r, struct write_state)->in_slot)
		flags = OPF_SLOT;
	return !(flags & OPF_QUICK) && op->arg & RWF_APPEND ? (uint16_t)(flags | OPF_ASYNC) : flags;
}

static void write_submit(struct request *r)
{
	const struct write_state *s = REQUEST_STATE(r, struct write_state);
	struct op *op = request_op(r, OP_WRITE, write_done);

	if (!op)
		return;
	op->file = io_file(r->handle, s->in->flags);
	op->buf = s->in_slot ? (void *)s->done /* addresses in a slot begin at 0 */ : (void *)(s->buf + s->done);
	op->buf_index = s->buf == r->payload ? r->buf_index : -1;
	if (s->in_slot)
		op->buf_index = r->slot;
	op->len = s->in->size - s->done;
	op->off = s->in->offset + s->done;
	op->arg = write_flags(s->in) | dontcache(r, op->file);
	op->flags = write_way(r, op);
	op->creds = op_write_creds(r, s->in->write_flags);
	ring_submit(op);
}

/** write_at_once() - Return: whether it is answered. */
static bool write_at_once(struct request *r)
{
	const struct write_state *s = REQUEST_STATE(r, struct write_state);

	if (s->in_slot || r->mount->server->opt.backing_cache == BACKING_CACHE_OFF || write_flags(s->in) ||
	    op_write_creds(r, s->in->write_flags).flags ||
	    data_at_once(r, OP_WRITE, io_file(r->handle, s->in->flags), (void *)s->buf, s->in->size, s->in->offset) < 0)
		return false;
	write_count(r, s->in->size);
	write_over(r, 0);
	return true;
}

void op_write(struct request *r, uint64_t nodeid, const char *buf, const struct fuse_write_in *in)
{
	if (!request_file(r, nodeid, in->fh))
		return;
	if (!r->handle->writable || r->handle->directory || in->offset > INT64_MAX) {
		request_reply_err(r, in->offset > INT64_MAX ? -EINVAL : -EBADF);
		return;
	}
	*REQUEST_STATE(r, struct write_state) = (struct write_state){ .buf = buf, .in = in, .in_slot = r->slot >= 0 };
	if (!r->handle->uncached || inode_cached(r->inode)) /* else there are no pages to watch over */
		coherence_change_begin(r, r->inode, r->handle->file.fd);
	durable_write_begin(r, in->offset, in->size, write_proof(r->handle, in));
	if (!write_at_once(r))
		write_submit(r);
}
