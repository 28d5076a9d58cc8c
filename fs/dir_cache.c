/* SPDX-License-Identifier: MIT */
/* dir_cache.c - see dir_cache.h. */
#include "dir_cache.h"

#include <stdlib.h>
#include <time.h>

#include "fs/transport.h"

/** A directory that was changed later than this before it is opened may be changed again in the same tick. */
#define SETTLED_NS 20000000
/** Between two looks at long openers, and how long they are not worth one. A timer tells, while there are openers. */
#define LOOK_NS UINT64_C(500000000)

/** trusted_ns() - how long names and attributes are, the shorter of both. */
static uint64_t trusted_ns(const struct options *opt)
{
	double seconds = opt->entry_timeout < opt->attr_timeout ? opt->entry_timeout : opt->attr_timeout;

	return (uint64_t)(seconds * 1e9);
}

static bool settled(const struct statx *stx)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail with this clock */
	return (now.tv_sec - stx->stx_ctime.tv_sec) * 1000000000 + now.tv_nsec - (int64_t)stx->stx_ctime.tv_nsec > SETTLED_NS;
}

void dir_cache_open(struct request *r, const struct statx *stx, struct fuse_file_info *fi)
{
	const struct mount *m = r->mount;
	const struct options *opt = &m->server->opt;
	struct thread_stats *st = &r->thread->stats;
	uint64_t keep_ns = trusted_ns(opt);

	if (!opt->dir_cache || !keep_ns || opt->direct_io || !m->backing[r->inode->fs].local)
		return;
	switch (inode_dir_listing(m->inodes, r->inode, stx, stats_now_ns(), keep_ns, settled(stx))) {
	case INODE_DIR_AS_LISTED:
		fi->cache_readdir = fi->keep_cache = true;
		stats_add(&st->dirs_kept, 1);
		break;
	case INODE_DIR_LIST:
		fi->cache_readdir = true;
		stats_add(&st->dirs_listed, 1);
		break;
	case INODE_DIR_UNSETTLED:
		break;
	}
}

void dir_cache_opened(const struct request *r, struct handle *h, const struct statx *stx, const struct fuse_file_info *fi)
{
	if (!fi->cache_readdir)
		return;
	h->dir_cached = true;
	r->thread->dirs_opened = true;
	h->dir_look_ns = stats_now_ns() + LOOK_NS;
	h->dir_ctime_sec = stx->stx_ctime.tv_sec;
	h->dir_ctime_nsec = stx->stx_ctime.tv_nsec;
	atomic_fetch_add_explicit(&r->mount->server->dirs_cached, 1, memory_order_relaxed);
}

void dir_cache_closed(struct server *srv, const struct handle *h)
{
	if (h->dir_cached)
		atomic_fetch_sub_explicit(&srv->dirs_cached, 1, memory_order_relaxed);
}

/** look() - at the directory of a long opener: have the copy dropped when somebody has changed it since the last look. */
static void look(struct mount *m, struct handle *h)
{
	struct notification *n;
	struct statx stx;

	if (sys_statx(h->file.fd, "", AT_EMPTY_PATH, STATX_CTIME, &stx) < 0 ||
	    (stx.stx_ctime.tv_sec == h->dir_ctime_sec && stx.stx_ctime.tv_nsec == h->dir_ctime_nsec))
		return;
	n = calloc(1, sizeof(*n));
	if (!n)
		return; /* the next look tells */
	h->dir_ctime_sec = stx.stx_ctime.tv_sec;
	h->dir_ctime_nsec = stx.stx_ctime.tv_nsec;
	notify_pages(m, inode_nodeid(h->inode), 0, 0, NULL, n);
}

static void look_at_all(struct server_thread *t, uint64_t now)
{
	struct handle *h;

	for (struct channel *c = t->channels; c; c = c->next) {
		uint32_t at = 0;
		if (c->transport != &transport_dev) /* each mount has one of these */
			continue;
		while ((h = handle_next_cached(c->mount->handles, now, &at))) {
			look(c->mount, h);
			h = handle_put(c->mount->handles, h, false);
			if (h)
				request_close_handle(t, c->mount, h);
		}
	}
}

/** timer_over() - look, and go on with it while directories are open; unless another thread does so. */
static void timer_over(struct op *op)
{
	struct server_thread *t = op->owner;
	struct server *srv = t->server;
	uint64_t now = stats_now_ns(), due = atomic_load(&srv->dirs_look_ns);

	t->dirs_timer = NULL;
	if (op->res < 0 || !atomic_load(&srv->dirs_cached) || now < due || !atomic_compare_exchange_strong(&srv->dirs_look_ns, &due, now + LOOK_NS))
		return;
	t->dirs_opened = true;
	look_at_all(t, now);
}

void dir_cache_turn(struct server_thread *t)
{
	struct op *op;

	if (!t->dirs_opened || t->dirs_timer || atomic_load_explicit(&t->quit, memory_order_relaxed))
		return;
	op = ring_op_get(t->ring);
	if (!op)
		return; /* in a later turn: those that are in use come back */
	op->kind = OP_TIMEOUT;
	op->off = LOOK_NS;
	op->done = timer_over;
	op->owner = t;
	t->dirs_opened = false;
	t->dirs_timer = op;
	ring_submit(op);
}

void dir_cache_end(struct server_thread *t)
{
	struct op *op = t->dirs_timer ? ring_op_get(t->ring) : NULL;

	if (!op)
		return; /* it is over soon */
	op->kind = OP_CANCEL;
	op->buf = t->dirs_timer;
	ring_submit(op);
}
