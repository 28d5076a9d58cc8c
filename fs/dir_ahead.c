/* SPDX-License-Identifier: MIT */
/* dir_ahead.c - see dir_ahead.h. */
#include "dir_ahead.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/** A directory with less than this has nothing that one could be ahead of. */
#define AHEAD_BYTES_MIN 4096u
/** So many pieces beyond the one that is being listed. */
#define AHEAD_PIECES 2u
/** Parts of a piece that are looked up at the same time. */
#define AHEAD_PARTS 4u

/*
 * Belongs to the handle, and while it works to the ring whose ops do so; who lets go last frees it. `works`
 * says who may touch what is not atomic. The handle's listing may be served by several threads, one after the other.
 */
struct dir_ahead {
	_Atomic unsigned refs;
	_Atomic bool works;
	_Atomic bool over;        /* at the end, failed, or the kernel has it all in its caches: there is no more to do */
	_Atomic unsigned listed;  /* pieces that the listing has read */
	_Atomic uint64_t listed_next; /* position behind them; a hint */
	struct server *server;
	int fd;                   /* the directory, opened once more for a position of its own */
	unsigned pieces;          /* read ahead, or overtaken by the listing */
	unsigned pending;         /* ops under way */
	uint64_t next;            /* position of the next piece */
	struct names names;
};

static void put(struct dir_ahead *a)
{
	if (atomic_fetch_sub(&a->refs, 1) != 1)
		return;
	(void)close(a->fd); /* was only read */
	atomic_fetch_sub(&a->server->budget.used, 1);
	free(a);
}

static void work(struct dir_ahead *a, struct server_thread *t);

/** rest() - until the listing has come further. */
static void rest(struct dir_ahead *a, bool over)
{
	if (over)
		atomic_store(&a->over, true);
	atomic_store(&a->works, false);
	put(a);
}

static struct op *ahead_op(struct dir_ahead *a, struct server_thread *t, enum op_kind kind, op_done_fn done)
{
	struct op *op = ring_op_get(t->ring);

	if (!op)
		return NULL;
	op->kind = (uint16_t)kind;
	op->flags = OPF_AHEAD;
	op->fd = a->fd;
	op->buf = &a->names;
	op->done = done;
	op->owner = a;
	return op;
}

static struct server_thread *thread_of(const struct dir_ahead *a, const struct op *op)
{
	return &a->server->threads[ring_index(op->ring)];
}

static void looked(struct op *op)
{
	struct dir_ahead *a = op->owner;
	struct server_thread *t = thread_of(a, op);

	if (op->res > 0)
		stats_add(&t->stats.names_ahead, (uint64_t)op->res);
	if (--a->pending == 0)
		work(a, t);
}

static void names_read(struct op *op)
{
	struct dir_ahead *a = op->owner;
	struct server_thread *t = thread_of(a, op);
	unsigned count = a->names.count, part = (count + AHEAD_PARTS - 1) / AHEAD_PARTS;

	if (op->res <= 0 || a->names.cached) {
		rest(a, true);
		return;
	}
	a->pieces++;
	a->next = (uint64_t)a->names.next;
	a->pending = 1;
	for (unsigned first = 0; first < count; first += part) {
		struct op *look = ahead_op(a, t, OP_NAMES_LOOK, looked);
		if (!look)
			break; /* the listing finds them itself */
		look->off = first;
		look->len = count - first < part ? count - first : part;
		a->pending++;
		ring_submit(look);
	}
	if (--a->pending == 0)
		rest(a, false);
}

/** work() - on the next piece, unless that is too far ahead. */
static void work(struct dir_ahead *a, struct server_thread *t)
{
	unsigned listed = atomic_load(&a->listed);
	struct op *op;

	if (a->pieces + 1 < listed) { /* overtaken */
		a->pieces = listed;
		a->next = atomic_load(&a->listed_next);
	}
	op = a->pieces < listed + AHEAD_PIECES && !atomic_load(&a->names.stop) ? ahead_op(a, t, OP_NAMES_READ, names_read) : NULL;
	if (!op) {
		rest(a, false);
		return;
	}
	op->off = a->next;
	ring_submit(op);
}

/** go() - work, unless that is being done. */
static void go(struct dir_ahead *a, struct server_thread *t)
{
	if (atomic_exchange(&a->works, true))
		return;
	atomic_fetch_add(&a->refs, 1);
	work(a, t);
}

/** is_cold() - a name in the middle of what has been read tells. */
static bool is_cold(const struct handle *h)
{
	const struct names_entry *e;
	uint32_t pos = 0;

	while ((e = names_entry_at(h->dir_buf, h->dir_len, pos)) && pos < h->dir_len / 2)
		pos += e->reclen;
	return e && names_cold(h->file.fd, e->name);
}

/** behind() - position behind what has been read. */
static uint64_t behind(const struct handle *h)
{
	const struct names_entry *e;
	uint64_t next = 0;

	for (uint32_t pos = 0; (e = names_entry_at(h->dir_buf, h->dir_len, pos)); pos += e->reclen)
		next = (uint64_t)e->off;
	return next;
}

static struct dir_ahead *make(struct request *r, uint64_t from)
{
	struct open_how how = { .flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOATIME };
	struct dir_ahead *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	server_make_room(r->mount);
	a->server = r->mount->server;
	a->next = from;
	a->fd = sys_openat2(r->handle->file.fd, ".", &how);
	if (a->fd == -EPERM) { /* not the owner's */
		how.flags &= ~(uint64_t)O_NOATIME;
		a->fd = sys_openat2(r->handle->file.fd, ".", &how);
	}
	if (a->fd < 0) {
		free(a);
		return NULL; /* not ahead, then */
	}
	atomic_fetch_add(&a->server->budget.used, 1);
	atomic_store(&a->refs, 1);
	return a;
}

void dir_ahead_filled(struct request *r, uint64_t from)
{
	struct handle *h = r->handle;
	const struct backing_fs *fs = &r->mount->backing[r->inode->fs];

	if (h->dir_ahead && atomic_load(&h->dir_ahead->over)) {
		dir_ahead_end(h->dir_ahead);
		h->dir_ahead = NULL;
	}
	if (!h->dir_ahead) {
		if (!r->mount->server->opt.dir_ahead || !fs->local || fs->in_memory || h->dir_len < AHEAD_BYTES_MIN || !is_cold(h))
			return;
		h->dir_ahead = make(r, from);
		if (!h->dir_ahead)
			return;
		stats_add(&r->thread->stats.dirs_ahead, 1);
	}
	atomic_store(&h->dir_ahead->listed_next, behind(h));
	atomic_fetch_add(&h->dir_ahead->listed, 1);
	go(h->dir_ahead, r->thread);
}

void dir_ahead_end(struct dir_ahead *a)
{
	if (!a)
		return;
	atomic_store(&a->names.stop, true);
	put(a);
}
