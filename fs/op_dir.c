/* SPDX-License-Identifier: MIT */
/*
 * op_dir.c - directories are listed.
 *
 * Entries are read from the backing directory into a buffer of the handle, in
 * pieces of NAMES_BYTES bytes, and sent with the backing directory's own
 * positions, so that telldir and seekdir mean the same here. A listing with
 * attributes (readdirplus) looks up a batch of names at once.
 */
#include <dirent.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "fs/child.h"
#include "fs/dir_ahead.h"
#include "fs/ops.h"

#define DIR_BATCH 48u             /* look-ups under way for one listing */
_Static_assert(DIR_BATCH * sizeof(struct child) <= REQUEST_PAYLOAD_MIN / 2, "the look-ups lie in half a payload buffer");
#define DIR_RETRY_NS 200000u      /* another request reads this handle: try again after 0.2 ms */

struct dir_state {
	size_t size, used;      /* of the reply, in the payload buffer */
	uint64_t off;
	bool plus;
	unsigned pending;       /* look-ups under way, and one for the loop that starts them */
	unsigned batch;
	struct child *children; /* DIR_BATCH of them, in the second half of the payload buffer */
	struct names_entry *entries[DIR_BATCH];
};

static void dir_fill(struct request *r);
static void dir_emit(struct request *r);

static void dir_reply(struct request *r, int64_t err)
{
	const struct dir_state *s = REQUEST_STATE(r, struct dir_state);

	atomic_store_explicit(&r->handle->dir_busy, false, memory_order_release);
	if (err < 0 && s->used == 0)
		request_reply_err(r, err);
	else if (s->plus)
		request_reply_entries(r, r->payload, s->used); /* lost ones are undone there */
	else
		request_reply_buf(r, r->payload, s->used);
}

static struct names_entry *dir_entry(const struct handle *h, uint32_t pos)
{
	return names_entry_at(h->dir_buf, h->dir_len, pos);
}

/** entry_room() - bytes that the entry takes in the reply. */
static size_t entry_room(const struct names_entry *d, bool plus)
{
	size_t head = plus ? sizeof(struct fuse_direntplus) : sizeof(struct fuse_dirent);

	return (head + strlen(d->name) + 7) & ~(size_t)7;
}

static bool is_dot(const char *name)
{
	return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

/**
 * is_known() - whether the kernel has been told of the file of entry @d a moment ago
 * It keeps what it has of an entry that comes without attributes (fuse_direntplus_link(), fs/fuse/readdir.c); if that was of another name,
 * it looks this one up when somebody asks.
 */
static bool is_known(const struct request *r, const struct names_entry *d)
{
	const struct mount *m = r->mount;

	return m->recent_ns && d->type == DT_REG && inode_recent(m->inodes, r->inode->fs, d->ino, r->start_ns, m->recent_ns);
}

/** put_entry() - one entry into the reply; @e: with attributes. */
static void put_entry(struct request *r, const struct names_entry *d, const struct fuse_entry_param *e)
{
	struct dir_state *s = REQUEST_STATE(r, struct dir_state);
	char *to = (char *)r->payload + s->used;
	struct fuse_entry_param none = {
		.attr = { .st_ino = server_ino(r->inode->fs, d->ino), .st_mode = (mode_t)d->type << 12 },
	};

	if (s->plus)
		s->used += fuse_add_direntry_plus(r->codec, to, s->size - s->used, d->name, e ? e : &none, d->off);
	else
		s->used += fuse_add_direntry(r->codec, to, s->size - s->used, d->name, &none.attr, d->off);
	r->handle->dir_next = d->off;
}

/* ---- with attributes ------------------------------------------------------------- */

static void batch_done(struct request *r)
{
	struct dir_state *s = REQUEST_STATE(r, struct dir_state);
	struct handle *h = r->handle;

	for (unsigned n = 0; n < s->batch; n++) {
		struct child *c = &s->children[n];
		struct names_entry *d = s->entries[n];
		/* a name whose look-up failed is sent without attributes: the kernel asks when it needs them */
		put_entry(r, d, c->request && c->res == 0 ? &c->entry : NULL);
		if (c->request && c->res == 0)
			child_put(c);
		h->dir_pos += d->reclen;
	}
	dir_emit(r);
}

static void batch_looked_up(struct child *c)
{
	struct request *r = c->request;

	if (--REQUEST_STATE(r, struct dir_state)->pending == 0)
		batch_done(r);
}

/** emit_batch() - look up as many of the buffered names as the reply has room for. */
static void emit_batch(struct request *r)
{
	struct dir_state *s = REQUEST_STATE(r, struct dir_state);
	const struct handle *h = r->handle;
	size_t used = s->used;
	uint32_t pos = h->dir_pos;
	struct names_entry *d;
	unsigned most = ring_ops_free(r->thread->ring) / 2;

	s->batch = 0;
	s->pending = 1;
	while (s->batch < DIR_BATCH && s->batch <= most && (d = dir_entry(h, pos)) && used + entry_room(d, true) <= s->size) {
		used += entry_room(d, true);
		pos += d->reclen;
		s->entries[s->batch++] = d;
	}
	for (unsigned n = 0; n < s->batch; n++) {
		s->children[n] = (struct child){ .parent_fd = r->fd, .parent = r->inode, .name = s->entries[n]->name, .done = batch_looked_up };
		if (is_dot(s->entries[n]->name))
			continue; /* the kernel wants no look-up of these */
		if (is_known(r, s->entries[n])) {
			stats_add(&r->thread->stats.names_known, 1);
			continue;
		}
		s->children[n].request = r;
		s->pending++;
		child_lookup(&s->children[n]);
	}
	if (--s->pending == 0)
		batch_done(r);
}

/* ---- from the buffer into the reply ------------------------------------------------ */

static void dir_emit(struct request *r)
{
	struct dir_state *s = REQUEST_STATE(r, struct dir_state);
	struct handle *h = r->handle;
	struct names_entry *d = dir_entry(h, h->dir_pos);

	if (!d) {
		if (s->used)
			dir_reply(r, 0);
		else
			dir_fill(r);
		return;
	}
	if (s->used + entry_room(d, s->plus) > s->size) {
		dir_reply(r, s->used ? 0 : -EINVAL);
		return;
	}
	if (s->plus) {
		emit_batch(r);
		return;
	}
	while ((d = dir_entry(h, h->dir_pos)) && s->used + entry_room(d, false) <= s->size) {
		put_entry(r, d, NULL);
		h->dir_pos += d->reclen;
	}
	dir_reply(r, 0);
}

static void dir_filled(struct op *op)
{
	struct request *r = op->owner;
	struct handle *h = r->handle;

	if (op->res <= 0) {
		h->dir_eof = op->res == 0;
		h->dir_pos = h->dir_len = 0;
		dir_reply(r, op->res);
		return;
	}
	h->dir_pos = 0;
	h->dir_len = (uint32_t)op->res;
	if (REQUEST_STATE(r, struct dir_state)->plus)
		dir_ahead_filled(r, op->off);
	dir_emit(r);
}

/** dir_fill() - the next piece of the backing directory, from where the kernel wants to go on. */
static void dir_fill(struct request *r)
{
	struct dir_state *s = REQUEST_STATE(r, struct dir_state);
	struct handle *h = r->handle;
	struct op *op;

	if (!h->dir_buf)
		h->dir_buf = malloc(NAMES_BYTES);
	op = h->dir_buf ? ring_op_get(r->thread->ring) : NULL;
	if (!op) {
		dir_reply(r, -ENOMEM);
		return;
	}
	op->kind = OP_GETDENTS;
	op->flags = r->mount->backing[r->inode->fs].local ? OPF_QUICK : 0;
	op->done = dir_filled;
	op->owner = r;
	op->fd = h->file.fd;
	op->buf = h->dir_buf;
	op->len = NAMES_BYTES;
	op->off = s->off;
	ring_submit(op);
}

static void dir_start(struct request *r);

static void dir_retry(struct op *op)
{
	dir_start(op->owner);
}

static void dir_start(struct request *r)
{
	struct dir_state *s = REQUEST_STATE(r, struct dir_state);
	struct handle *h = r->handle;

	if (atomic_exchange_explicit(&h->dir_busy, true, memory_order_acquire)) {
		struct op *op = request_op(r, OP_TIMEOUT, dir_retry);
		if (!op)
			return;
		op->off = DIR_RETRY_NS;
		ring_submit(op);
		return;
	}
	if (s->off != (uint64_t)h->dir_next || s->off == 0) {
		h->dir_pos = h->dir_len = 0; /* seekdir or rewinddir: what was buffered is not what is wanted */
		h->dir_next = (int64_t)s->off;
		h->dir_eof = false;
	}
	if (h->dir_eof && h->dir_pos == h->dir_len) {
		h->dir_eof = false; /* said once; who asks again wants to see what is new */
		dir_reply(r, 0);
		return;
	}
	dir_emit(r);
}

void op_readdir(struct request *r, uint64_t nodeid, uint64_t fh, size_t size, uint64_t off, bool plus)
{
	struct dir_state *s = REQUEST_STATE(r, struct dir_state);
	size_t half = r->payload_size / 2;

	if (!request_inode(r, nodeid) || !request_handle(r, fh))
		return;
	if (plus && r->mount->recent_ns)
		inode_recent_tick(r->mount->inodes, r->start_ns, r->mount->recent_ns);
	if (!r->handle->directory) {
		request_reply_err(r, -ENOTDIR);
		return;
	}
	*s = (struct dir_state){ .size = size < half ? size : half, .off = off, .plus = plus };
	s->children = (struct child *)(void *)((char *)r->payload + half);
	if (plus)
		request_with_fds(r, dir_start);
	else
		dir_start(r);
}
