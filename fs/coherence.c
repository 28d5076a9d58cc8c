/* SPDX-License-Identifier: MIT */
#include "coherence.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "backend/util/log.h"
#include "fs/request.h"
#include "fs/session.h"

/** Changes through an open file before it is tried to be alone with it, which costs as much as a dozen looks; four times as many after each time. */
#define SOLE_AFTER 32u
#define SOLE_AFTER_MAX 8192u
/** Events are read with our changes no more often. */
#define SOLE_LOOK_NS 1000000u
/** Looks at a file that others of our requests go on changing; then it counts as not known. */
#define CHANGE_LOOKS_MAX 4u

/* ---- telling the kernel ------------------------------------------------------------ */

void coherence_drop_later(struct mount *m, struct inode *i)
{
	struct notification *n = calloc(1, sizeof(*n));

	inode_data_goes(m->inodes, i); /* without the memory for it, too: who shows attributes later has them dropped */
	if (n)
		notify_pages(m, inode_nodeid(i), 0, 0, NULL, n);
}

static void notified(struct ring_post *p)
{
	struct request *r = (struct request *)(void *)((char *)p - offsetof(struct request, notification.post));

	notify_wait_end(r);
	r->next(r);
}

bool coherence_drop_then(struct request *r, uint64_t off, uint64_t len, void (*next)(struct request *r))
{
	if (!notify_wait_begin(r))
		return false;
	r->next = next;
	r->notification.post.fn = notified;
	notify_pages(r->mount, inode_nodeid(r->inode), off, len, r->thread->ring, &r->notification);
	return true;
}

void coherence_mode_ended(struct request *r, struct inode *i)
{
	if (inode_mode_ended(i))
		notify_attributes(r->mount, inode_nodeid(i));
}

/* ---- who changed it ------------------------------------------------------------------ */

bool coherence_needed(const struct mount *m)
{
	return m->init_flags & FUSE_EXPLICIT_INVAL_DATA && m->server->opt.cache == CACHE_AUTO;
}

/** is_sole() - others would have been heard of; @now_ns: monotonic, no look right after another; 0: a look in any case. */
static bool is_sole(struct mount *m, struct inode *i, uint64_t now_ns)
{
	struct backing_fs *b = &m->backing[i->fs];

	if (!inode_sole(m->inodes, i))
		return false;
	if (atomic_load_explicit(&m->server->several_mounts, memory_order_relaxed)) {
		inode_sole_lost(m->inodes, i); /* ours, too, may change it by another way, with pages of its own */
		return false;
	}
	if (now_ns && now_ns - atomic_load_explicit(&b->sole_look_ns, memory_order_relaxed) < SOLE_LOOK_NS)
		return true;
	if (now_ns)
		atomic_store_explicit(&b->sole_look_ns, now_ns, memory_order_relaxed);
	sole_look(b->sole);
	return inode_sole(m->inodes, i);
}

enum inode_data coherence_data_check(struct mount *m, struct inode *i, const struct statx *stx, uint32_t seq, bool waits)
{
	(void)is_sole(m, i, 0); /* the events go into the inode */
	return inode_data_check(m->inodes, i, stx, seq, waits);
}

bool coherence_check(struct mount *m, struct inode *i, const struct statx *stx, uint32_t seq)
{
	if (!S_ISREG(stx->stx_mode) || !coherence_needed(m))
		return false;
	/* while it is not open here the next open decides, against the state remembered now */
	return inode_opens(m->inodes, i) && coherence_data_check(m, i, stx, seq, true) == INODE_DATA_CHANGED &&
	       !passthrough_serves(m, i); /* then there are no pages: the kernel dropped them at the open */
}

/** look() - at @i, open as @fd, with nobody waiting for what follows. */
static enum inode_data look(struct mount *m, struct inode *i, int fd)
{
	enum inode_data res = INODE_DATA_UNSETTLED;
	struct statx stx;
	uint32_t seq = inode_data_seq(m->inodes, i);

	if (!inode_opens(m->inodes, i) || sys_statx(fd, "", AT_EMPTY_PATH, STATX_TYPE | STATX_MTIME | STATX_SIZE, &stx) < 0)
		return res;
	res = coherence_data_check(m, i, &stx, seq, false);
	if (res == INODE_DATA_CHANGED && !passthrough_serves(m, i))
		coherence_drop_later(m, i); /* nobody waits: the writer may hold the very page that the kernel would wait for */
	return res;
}

/** is_due() - whether it is time to try to be alone with the file of @r. */
static bool is_due(const struct request *r, const struct inode *i)
{
	struct handle *h = r->handle;
	unsigned wait, next;

	if (!h || h->inode != i || !h->writable || h->uncached || h->has_direct)
		return false;
	wait = atomic_load_explicit(&h->sole_wait, memory_order_relaxed);
	next = atomic_load_explicit(&h->sole_next, memory_order_relaxed);
	if (!next)
		wait = next = SOLE_AFTER;
	/* two threads that count one change are no harm */
	atomic_store_explicit(&h->sole_wait, (uint16_t)(wait > 1 ? wait - 1 : next), memory_order_relaxed);
	atomic_store_explicit(&h->sole_next, (uint16_t)(wait > 1 || next == SOLE_AFTER_MAX ? next : next * 4), memory_order_relaxed);
	return wait <= 1;
}

/** take() - the marks and the lease of sole_add(). Return: a look may make it sole. */
static bool take(const struct request *r, struct inode *i, int fd)
{
	struct mount *m = r->mount;
	struct backing_fs *b = &m->backing[i->fs];
	int res;

	if (!b->sole || m->passthrough || atomic_load(&b->sole_refused) || atomic_load(&m->server->several_mounts) || inode_opens(m->inodes, i) != 1 ||
	    !is_due(r, i))
		return false;
	res = sole_add(b->sole, fd, i);
	if (res < 0 && res != -EAGAIN && res != -ENOSPC && !atomic_exchange(&b->sole_refused, true))
		log_info("%s: changes by others cannot be heard of (fanotify, leases: %s): each write is followed by a look at the file", m->mountpoint,
			 strerror(-res));
	if (res == 0)
		atomic_store(&r->handle->sole_taken, true);
	return res == 0;
}

/** leave() - others have come: their events are no longer wanted. */
static void leave(const struct request *r, struct inode *i, int fd)
{
	struct handle *h = r->handle;

	if (h && h->inode == i && atomic_load_explicit(&h->sole_taken, memory_order_relaxed) && atomic_exchange(&h->sole_taken, false))
		sole_remove(r->mount->backing[i->fs].sole, fd, i);
}

static void changes(struct request *r, struct inode *i, int fd)
{
	(void)inode_change_begin(r->mount->inodes, i); /* whether others are at it does not matter here */
	r->changing = i;
	r->changing_fd = fd;
}

void coherence_empty_begin(struct request *r, struct inode *i, int fd)
{
	if (i->type != S_IFREG || !coherence_needed(r->mount))
		return;
	if (!is_sole(r->mount, i, r->start_ns))
		leave(r, i, fd);
	changes(r, i, fd);
}

void coherence_change_begin(struct request *r, struct inode *i, int fd)
{
	struct mount *m = r->mount;
	const _Atomic uint64_t *events;
	uint64_t seen;

	if (i->type != S_IFREG || !coherence_needed(m))
		return;
	if (is_sole(m, i, r->start_ns)) {
		stats_add(&r->thread->stats.sole_changes, 1);
	} else {
		leave(r, i, fd);
		events = m->backing[i->fs].sole ? sole_events(m->backing[i->fs].sole) : NULL;
		seen = events ? atomic_load(events) : 0;
		if (!take(r, i, fd))
			(void)look(m, i, fd);
		else if (look(m, i, fd) != INODE_DATA_UNSETTLED) /* so far nobody, or it is told; and from the marks on there are events */
			inode_sole_begin(m->inodes, i, events, seen);
	}
	changes(r, i, fd);
}

void coherence_change_end(struct request *r)
{
	struct mount *m = r->mount;
	struct inode *i = r->changing;
	struct statx stx;
	uint32_t seq;

	if (!i)
		return;
	r->changing = NULL;
	if (inode_change_end_sole(m->inodes, i))
		return;
	/*
	 * What we made of it is remembered before this change counts as ended: else a request that comes in
	 * between would take our change for somebody else's.
	 */
	for (unsigned n = 0; n < CHANGE_LOOKS_MAX; n++) {
		if (!inode_change_alone(m->inodes, i, &seq) ||
		    sys_statx(r->changing_fd, "", AT_EMPTY_PATH, STATX_TYPE | STATX_MTIME | STATX_SIZE, &stx) < 0)
			break; /* the last one looks */
		if (inode_change_end(m->inodes, i, &stx, seq))
			return;
	}
	(void)inode_change_end(m->inodes, i, NULL, 0); /* without a look it always ends */
}

/* ---- alone with a file ------------------------------------------------------------- */

void coherence_closing(struct mount *m, struct inode *i, int fd)
{
	struct sole *s = m->backing[i->fs].sole;

	if (!s || i->type != S_IFREG || inode_opens(m->inodes, i) != 1)
		return;
	if (inode_sole(m->inodes, i)) {
		(void)look(m, i, fd); /* the next open compares with it */
		inode_sole_end(m->inodes, i);
	}
	sole_remove(s, fd, i);
}

static void lost(void *arg, void *file)
{
	inode_sole_lost(((struct mount *)arg)->inodes, file);
}

void coherence_backing(struct mount *m, struct backing_fs *b)
{
	/* without the memory for it each change is followed by a look */
	if (b->local && m->server->opt.cache == CACHE_AUTO && !(m->server->deny & SESSION_DENY_SOLE))
		(void)sole_create(lost, m, &b->sole);
}
