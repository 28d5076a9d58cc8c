/* SPDX-License-Identifier: MIT */
#include "inode_table.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void *reserve(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static int reserve_all(struct inode_table *t, uint32_t inodes_max)
{
	t->inodes_max = inodes_max;
	t->inodes = reserve((size_t)inodes_max * sizeof(*t->inodes));
	t->pages = reserve((size_t)PAGES_MAX(t) * sizeof(*t->pages));
	t->buckets = reserve((size_t)inodes_max * sizeof(*t->buckets));
	return t->inodes && t->pages && t->buckets ? 0 : -ENOMEM;
}

static void release_all(struct inode_table *t)
{
	if (t->inodes)
		(void)munmap(t->inodes, (size_t)t->inodes_max * sizeof(*t->inodes)); /* cannot fail on a whole mapping */
	if (t->pages)
		(void)munmap(t->pages, (size_t)PAGES_MAX(t) * sizeof(*t->pages));
	if (t->buckets)
		(void)munmap(t->buckets, (size_t)t->inodes_max * sizeof(*t->buckets));
	t->inodes = NULL;
	t->pages = NULL;
	t->buckets = NULL;
}

/* ---- records ------------------------------------------------------------ */

/** record_alloc() - a zeroed record; NULL when the table is full. Lock held. */
static struct inode *record_alloc(struct inode_table *t)
{
	uint32_t page, bit;

	if (!t->first_room) {
		if (t->pages_used == PAGES_MAX(t))
			return NULL;
		t->pages[t->pages_used].next_room = 0;
		t->first_room = ++t->pages_used;
	}
	page = t->first_room - 1;
	if (!t->pages[page].used)
		t->pages_live++;
	bit = (uint32_t)__builtin_ctz(~t->pages[page].used);
	t->pages[page].used |= 1u << bit;
	if (t->pages[page].used == UINT32_MAX)
		t->first_room = t->pages[page].next_room;
	struct inode *i = &t->inodes[page * PAGE_INODES + bit];
	memset(i, 0, sizeof(*i));
	i->index = page * PAGE_INODES + bit;
	i->fd = -1;
	i->generation = t->generation + 1 ? t->generation + 1 : 1;
	atomic_store_explicit(&t->generation, i->generation, memory_order_release);
	if (++t->live > t->live_max)
		t->live_max = t->live;
	return i;
}

static void record_free(struct inode_table *t, struct inode *i)
{
	uint32_t page = i->index / PAGE_INODES, bit = i->index % PAGE_INODES;
	struct page_info *p = &t->pages[page];

	i->generation = 0;
	if (p->used == UINT32_MAX) {
		p->next_room = t->first_room;
		t->first_room = page + 1;
	}
	p->used &= ~(1u << bit);
	t->live--;
	if (!p->used) {
		t->pages_live--;
		if (t->page_size == PAGE_INODES * sizeof(*i))
			(void)madvise(&t->inodes[page * PAGE_INODES], PAGE_INODES * sizeof(*i), MADV_DONTNEED); /* only memory */
	}
}

static struct inode *record_at(struct inode_table *t, uint32_t index)
{
	uint32_t page = index / PAGE_INODES;

	if (page >= t->pages_used || !(t->pages[page].used & 1u << index % PAGE_INODES))
		return NULL;
	return &t->inodes[index];
}

/* ---- hash --------------------------------------------------------------- */

static uint64_t hash_key(uint16_t fs, uint64_t ino)
{
	uint64_t h = (ino ^ (uint64_t)fs << 48) * 0x9e3779b97f4a7c15u;

	return h ^ h >> 29;
}

static uint32_t bucket_of(const struct inode_table *t, uint64_t hash)
{
	uint32_t b = (uint32_t)(hash & (2 * t->buckets_level - 1));

	return b < t->buckets_count ? b : (uint32_t)(hash & (t->buckets_level - 1));
}

static void hash_split(struct inode_table *t)
{
	uint32_t from = t->buckets_count - t->buckets_level, to = t->buckets_count;
	uint32_t chain = t->buckets[from];

	if (t->buckets_count == t->inodes_max)
		return;
	t->buckets_count++;
	t->buckets[from] = t->buckets[to] = 0;
	while (chain) {
		struct inode *i = &t->inodes[chain];
		uint32_t b = (uint32_t)(hash_key(i->fs, i->ino) & (2 * t->buckets_level - 1));
		chain = i->hash_next;
		i->hash_next = t->buckets[b];
		t->buckets[b] = i->index;
	}
	if (t->buckets_count == 2 * t->buckets_level)
		t->buckets_level *= 2;
}

static void hash_insert(struct inode_table *t, struct inode *i)
{
	if (t->live > t->buckets_count)
		hash_split(t);
	uint32_t b = bucket_of(t, hash_key(i->fs, i->ino));
	i->hash_next = t->buckets[b];
	t->buckets[b] = i->index;
	i->hashed = true;
}

static void hash_remove(struct inode_table *t, struct inode *i)
{
	uint32_t *link;

	if (!i->hashed)
		return;
	for (link = &t->buckets[bucket_of(t, hash_key(i->fs, i->ino))]; *link != i->index; link = &t->inodes[*link].hash_next)
		assert(*link);
	*link = i->hash_next;
	i->hashed = false;
}

struct inode *inode_find(struct inode_table *t, uint16_t fs, uint64_t ino)
{
	uint32_t n = t->buckets[bucket_of(t, hash_key(fs, ino))];

	for (; n; n = t->inodes[n].hash_next)
		if (t->inodes[n].ino == ino && t->inodes[n].fs == fs)
			return &t->inodes[n];
	return NULL;
}

/* ---- life and death ------------------------------------------------------- */

static void extra_free(struct inode_table *t, struct inode *i);

int inode_drop(struct inode_table *t, struct inode *i)
{
	int fd;

	hash_remove(t, i);
	fd = inode_fd_detach(t, i);
	extra_free(t, i);
	record_free(t, i);
	return fd;
}

/** release_if_unused() - free the record when nobody holds it, or keep it for file handles. Lock held. Returns a descriptor to close or -1. */
static int release_if_unused(struct inode_table *t, struct inode *i)
{
	if (i->refs || i->nlookup || i->index == INODE_ROOT)
		return -1;
	return t->cfg.kept_max && i->hashed ? inode_keep(t, i) : inode_drop(t, i);
}

static void extra_free(struct inode_table *t, struct inode *i)
{
	struct inode_extra *x = i->extra;

	i->extra = NULL;
	while (x) {
		struct inode *parent = x->parent ? &t->inodes[x->parent] : NULL;
		free(x->handle);
		free(x->name);
		free(x);
		x = NULL;
		/* the way to this inode held its directory: let go of it, and of what only that held */
		if (parent && --parent->refs == 0 && parent->nlookup == 0 && parent->index != INODE_ROOT) {
			hash_remove(t, parent);
			int fd = inode_fd_detach(t, parent);
			if (fd >= 0)
				(void)close(fd); /* O_PATH: nothing to lose */
			x = parent->extra;
			parent->extra = NULL;
			record_free(t, parent);
		}
	}
}

/** get() - +1 ref; NULL: stale or forged. @kept: one that the kernel has forgotten will do. Lock held. */
static struct inode *get(struct inode_table *t, uint64_t nodeid, bool kept)
{
	uint32_t index = (uint32_t)nodeid, generation = (uint32_t)(nodeid >> 32);
	struct inode *i = index == INODE_NONE ? NULL : record_at(t, index);

	if (i && (index == INODE_ROOT ? generation != 0 : generation != i->generation || (!i->nlookup && !(kept && i->kept))))
		i = NULL;
	if (i) {
		inode_unkeep(t, i);
		i->refs++;
	}
	return i;
}

struct inode *inode_get(struct inode_table *t, uint64_t nodeid)
{
	struct inode *i;

	pthread_mutex_lock(&t->lock);
	i = get(t, nodeid, false);
	pthread_mutex_unlock(&t->lock);
	return i;
}

struct inode *inode_get_fd(struct inode_table *t, uint64_t nodeid, bool kept, int *ret_fd)
{
	struct inode *i;

	pthread_mutex_lock(&t->lock);
	i = get(t, nodeid, kept);
	*ret_fd = i ? inode_fd_take(t, i) : -1;
	pthread_mutex_unlock(&t->lock);
	return i;
}

static int put(struct inode_table *t, struct inode *i)
{
	assert(i->refs > 0);
	i->refs--;
	return release_if_unused(t, i);
}

int inode_put(struct inode_table *t, struct inode *i)
{
	int fd;

	pthread_mutex_lock(&t->lock);
	fd = put(t, i);
	pthread_mutex_unlock(&t->lock);
	return fd;
}

int inode_put_fd(struct inode_table *t, struct inode *i)
{
	int fd;

	pthread_mutex_lock(&t->lock);
	inode_fd_give(t, i);
	fd = put(t, i);
	pthread_mutex_unlock(&t->lock);
	return fd;
}

static bool same_handle(const struct inode *i, const struct inode_handle *h)
{
	if (i->extra && i->extra->handle)
		return i->extra->handle->type == h->type && i->extra->handle->len == h->len &&
		       !memcmp(i->extra->handle->bytes, h->bytes, h->len);
	return i->handle_type == h->type && i->handle_len == h->len && !memcmp(i->handle_bytes, h->bytes, h->len);
}

static bool same_file(const struct inode *i, const struct statx *stx, const struct inode_handle *h)
{
	if (i->type != (stx->stx_mode & S_IFMT))
		return false;
	if (h->len || i->handle_len || (i->extra && i->extra->handle))
		return same_handle(i, h);
	return i->btime_sec == stx->stx_btime.tv_sec && i->btime_nsec == stx->stx_btime.tv_nsec;
}

struct inode_extra *inode_extra_of(struct inode *i)
{
	if (!i->extra)
		i->extra = calloc(1, sizeof(*i->extra));
	return i->extra;
}

/** set_identity() - @h NULL: its handle is asked for when its descriptor is to go. */
static int set_identity(struct inode *i, uint16_t fs, const struct statx *stx, const struct inode_handle *h)
{
	i->fs = fs;
	i->ino = stx->stx_ino;
	i->type = stx->stx_mode & S_IFMT;
	i->btime_sec = stx->stx_btime.tv_sec;
	i->btime_nsec = stx->stx_btime.tv_nsec;
	i->handle_late = !h;
	return h ? inode_handle_set(i, h) : 0;
}

/** set_way() - remember parent and name. Lock held. Failure leaves it without a way (ESTALE once its descriptor is gone). */
static void set_way(struct inode_table *t, struct inode *i, struct inode *parent, const char *name)
{
	uint32_t old = i->extra ? i->extra->parent : 0;
	char *copy;

	if (!t->cfg.keep_names || !parent || !name || i->index == INODE_ROOT || i == parent)
		return;
	if (old == parent->index && i->extra->name && !strcmp(i->extra->name, name))
		return;
	copy = strdup(name);
	if (!copy || !inode_extra_of(i)) {
		free(copy);
		return;
	}
	free(i->extra->name);
	i->extra->name = copy;
	if (old != parent->index) {
		parent->refs++;
		i->extra->parent = parent->index;
		if (old && --t->inodes[old].refs == 0) {
			int fd = release_if_unused(t, &t->inodes[old]);
			if (fd >= 0)
				(void)close(fd); /* O_PATH: nothing to lose */
		}
	}
}

struct inode *inode_make(struct inode_table *t, uint16_t fs, const struct statx *stx, const struct inode_handle *handle)
{
	struct inode *i = record_alloc(t);

	if (i && set_identity(i, fs, stx, handle) < 0) {
		extra_free(t, i);
		record_free(t, i);
		i = NULL;
	}
	if (i)
		hash_insert(t, i);
	return i;
}

void inode_looked_up(struct inode_table *t, struct inode *i, struct inode *parent, const char *name)
{
	i->nlookup++;
	i->refs++;
	set_way(t, i, parent, name);
}

struct inode *inode_add(struct inode_table *t, uint16_t fs, const struct statx *stx, const struct inode_handle *handle,
			int fd, struct inode *parent, const char *name, int *ret_close_fd)
{
	struct inode *i;

	*ret_close_fd = fd;
	pthread_mutex_lock(&t->lock);
	i = inode_find(t, fs, stx->stx_ino);
	if (i)
		(void)inode_handle_settle(i); /* without one it is taken for another file, and the kernel learns of that one */
	if (i && !same_file(i, stx, handle)) {
		hash_remove(t, i); /* its number has been given to another file */
		i = NULL;
	}
	if (i)
		inode_unkeep(t, i);
	else
		i = inode_make(t, fs, stx, handle);
	if (i) {
		if (fd >= 0 && i->fd < 0) {
			inode_fd_attach(t, i, fd);
			*ret_close_fd = -1;
		}
		inode_looked_up(t, i, parent, name);
	}
	pthread_mutex_unlock(&t->lock);
	return i;
}

int inode_forget(struct inode_table *t, uint64_t nodeid, uint64_t n)
{
	uint32_t index = (uint32_t)nodeid;
	struct inode *i;
	int fd = -1;

	if (nodeid == INODE_ROOT)
		return -1;
	pthread_mutex_lock(&t->lock);
	i = index == INODE_NONE ? NULL : record_at(t, index);
	if (i && i->generation == (uint32_t)(nodeid >> 32)) {
		i->nlookup -= n < i->nlookup ? n : i->nlookup;
		fd = release_if_unused(t, i);
	}
	pthread_mutex_unlock(&t->lock);
	return fd;
}

int inode_table_create(const struct inode_table_config *cfg, int root_fd, uint16_t fs, const struct statx *stx,
		       const struct inode_handle *handle, struct inode_table **ret_t)
{
	struct inode_table *t = calloc(1, sizeof(*t));
	struct inode *root;

	if (!t)
		return -ENOMEM;
	t->cfg = *cfg;
	t->page_size = (size_t)sysconf(_SC_PAGESIZE);
	if (reserve_all(t, INODES_MAX) < 0) {
		release_all(t);
		if (reserve_all(t, INODES_MAX_SMALL) < 0) {
			release_all(t);
			free(t);
			return -ENOMEM;
		}
	}
	pthread_mutex_init(&t->lock, NULL);
	t->buckets_count = t->buckets_level = HASH_START;
	(void)record_alloc(t); /* index 0: never used, it ends lists */
	root = record_alloc(t);
	assert(root && root->index == INODE_ROOT);
	t->live = t->live_max = 1;
	if (set_identity(root, fs, stx, handle) < 0) {
		inode_table_destroy(t);
		return -ENOMEM;
	}
	hash_insert(t, root);
	root->nlookup = root->refs = 1;
	inode_fd_attach(t, root, root_fd);
	*ret_t = t;
	return 0;
}

void inode_table_destroy(struct inode_table *t)
{
	if (!t)
		return;
	for (uint32_t n = 1; n < t->pages_used * PAGE_INODES; n++) {
		struct inode *i = record_at(t, n);
		if (!i)
			continue;
		if (i->fd >= 0)
			(void)close(i->fd); /* O_PATH: nothing to lose */
		if (i->extra) {
			free(i->extra->handle);
			free(i->extra->name);
			free(i->extra);
		}
	}
	release_all(t);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

void inode_table_stats(struct inode_table *t, struct inode_table_stats *ret)
{
	pthread_mutex_lock(&t->lock);
	ret->inodes = t->live;
	ret->kept = t->kept_count;
	ret->inodes_max = t->live_max;
	ret->fds = t->fds;
	ret->memory_bytes = t->pages_live * PAGE_INODES * sizeof(struct inode) + t->buckets_count * sizeof(uint32_t);
	pthread_mutex_unlock(&t->lock);
}
