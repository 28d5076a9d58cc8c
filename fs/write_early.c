/* SPDX-License-Identifier: MIT */
/* write_early.c - see write_early.h. */
#include "fs/write_early.h"

#include <fcntl.h>
#include <stdlib.h>

#include "fs/request.h"

#define STREAM_MIN (16u << 20) /* bytes one after the other, before the first piece */
#define PIECE_MIN (4u << 20)
#define PIECES_MAX 2u /* under way, of the whole daemon: a slow device must not take all the threads */

/** A piece under way, with a descriptor of its own: the mount may go before it ends. */
struct piece {
	struct server *server;
	int fd;
};

static void piece_ended(struct op *op)
{
	struct piece *p = op->owner;

	/* a failure is for the next sync to tell of */
	server_close(&p->server->threads[ring_index(op->ring)], p->fd, true);
	atomic_fetch_sub(&p->server->budget.used, 1);
	atomic_fetch_sub(&p->server->early_pieces, 1);
	free(p);
}

/** begin() - write-back of @len bytes at @off. Return false: not now. */
static bool begin(struct request *r, uint64_t off, uint64_t len)
{
	struct server *srv = r->mount->server;
	struct piece *p = NULL;
	struct op *op = NULL;
	int fd = -1;

	if (atomic_fetch_add(&srv->early_pieces, 1) < PIECES_MAX)
		p = malloc(sizeof(*p));
	if (p)
		fd = fcntl(r->handle->file.fd, F_DUPFD_CLOEXEC, 0);
	if (fd >= 0)
		op = ring_op_get(r->thread->ring);
	if (!op) {
		if (fd >= 0)
			server_close(r->thread, fd, false); /* never the last one */
		free(p);
		atomic_fetch_sub(&srv->early_pieces, 1);
		return false;
	}
	atomic_fetch_add(&srv->budget.used, 1);
	*p = (struct piece){ srv, fd };
	op->kind = OP_SYNC_RANGE;
	op->flags = OPF_AHEAD;
	op->fd = fd;
	op->off = off;
	op->len = len;
	op->arg = SYNC_FILE_RANGE_WRITE;
	op->done = piece_ended;
	op->owner = p;
	ring_submit(op);
	stats_add(&r->thread->stats.early_pieces, 1);
	stats_add(&r->thread->stats.early_bytes, len);
	return true;
}

/** may() - a local disk, and a write that waits in SOURCE's page cache. */
static bool may(const struct request *r)
{
	const struct backing_fs *fs = &r->mount->backing[r->inode->fs];
	const struct options *o = &r->mount->server->opt;

	/* RWF_DONTCACHE begins the write-back by itself */
	return o->write_early && fs->local && !fs->in_memory && !(r->handle->open_flags & (O_DSYNC | O_DIRECT)) &&
		(o->backing_cache != BACKING_CACHE_OFF || r->handle->uncached);
}

void write_early(struct request *r, uint64_t off, uint64_t len)
{
	struct write_stream *s = &r->handle->stream;
	uint64_t begun, end = off + len;

	if (!may(r))
		return;
	if (atomic_exchange_explicit(&s->next, end, memory_order_relaxed) != off) {
		atomic_store_explicit(&s->bytes, len, memory_order_relaxed);
		atomic_store_explicit(&s->begun, off, memory_order_relaxed);
		return;
	}
	if (atomic_fetch_add_explicit(&s->bytes, len, memory_order_relaxed) + len < STREAM_MIN)
		return;
	atomic_store_explicit(&s->is_long, true, memory_order_relaxed);
	begun = atomic_load_explicit(&s->begun, memory_order_relaxed);
	if (begun + PIECE_MIN <= end && !atomic_load_explicit(&r->mount->early_not, memory_order_relaxed) && begin(r, begun, end - begun))
		atomic_store_explicit(&s->begun, end, memory_order_relaxed);
}

void write_early_synced(struct mount *m, struct handle *h)
{
	struct write_stream *s = &h->stream;

	if (atomic_exchange_explicit(&s->is_long, false, memory_order_relaxed))
		atomic_store_explicit(&m->early_not, false, memory_order_relaxed);
	atomic_store_explicit(&s->bytes, 0, memory_order_relaxed);
	atomic_store_explicit(&s->begun, atomic_load_explicit(&s->next, memory_order_relaxed), memory_order_relaxed);
}

void write_early_closed(struct mount *m, const struct handle *h)
{
	if (atomic_load_explicit(&h->stream.is_long, memory_order_relaxed))
		atomic_store_explicit(&m->early_not, true, memory_order_relaxed);
}
