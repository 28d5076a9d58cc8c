/* SPDX-License-Identifier: MIT */
#include "inode.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE_INODES 32u           /* inodes in a 4 KiB page of the record array */
#define INODES_MAX (1u << 26)     /* virtual reservation: 8 GiB of records */
#define INODES_MAX_SMALL (1u << 20) /* where the reservation is refused */
#define PAGES_MAX(t) ((t)->inodes_max / PAGE_INODES)
#define HASH_START 1024u

/* One per page of records: which are in use, and the next page with room. */
struct page_info {
	uint32_t used;
	uint32_t next_room; /* page number + 1; 0: last */
};

struct inode_table {
	pthread_mutex_t lock;
	struct inode_table_config cfg;
	/* records and their allocation: pages that are empty again go back to the system */
	struct inode *inodes;
	struct page_info *pages;
	uint32_t inodes_max, pages_used, first_room; /* first_room: page number + 1 */
	uint32_t generation;
	/* linear hashing: one bucket is split per insertion, so that no insertion ever rehashes everything */
	uint32_t *buckets;
	uint32_t buckets_count, buckets_level;
	/* LRU of descriptors that nobody uses: head is the newest */
	uint32_t lru_head, lru_tail;
	uint64_t live, live_max, fds, pages_live;
};

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
	if (++t->generation == 0)
		t->generation = 1;
	i->generation = t->generation;
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

static struct inode *hash_find(struct inode_table *t, uint16_t fs, uint64_t ino)
{
	uint32_t n = t->buckets[bucket_of(t, hash_key(fs, ino))];

	for (; n; n = t->inodes[n].hash_next)
		if (t->inodes[n].ino == ino && t->inodes[n].fs == fs)
			return &t->inodes[n];
	return NULL;
}

/* ---- descriptors --------------------------------------------------------- */

static void lru_remove(struct inode_table *t, struct inode *i)
{
	if (!i->in_lru)
		return;
	if (i->lru_prev)
		t->inodes[i->lru_prev].lru_next = i->lru_next;
	else
		t->lru_head = i->lru_next;
	if (i->lru_next)
		t->inodes[i->lru_next].lru_prev = i->lru_prev;
	else
		t->lru_tail = i->lru_prev;
	i->in_lru = false;
}

/** lru_update() - in the list exactly when it has a descriptor that may go. */
static void lru_update(struct inode_table *t, struct inode *i)
{
	bool keep = i->fd_users || i->index == INODE_ROOT || (t->cfg.keep_names && i->opens);

	lru_remove(t, i);
	if (i->fd < 0 || keep)
		return;
	i->lru_prev = 0;
	i->lru_next = t->lru_head;
	if (t->lru_head)
		t->inodes[t->lru_head].lru_prev = i->index;
	else
		t->lru_tail = i->index;
	t->lru_head = i->index;
	i->in_lru = true;
}

static int fd_detach(struct inode_table *t, struct inode *i)
{
	int fd = i->fd;

	if (fd < 0)
		return -1;
	lru_remove(t, i);
	i->fd = -1;
	t->fds--;
	atomic_fetch_sub(&t->cfg.budget->used, 1);
	return fd;
}

static void fd_attach(struct inode_table *t, struct inode *i, int fd)
{
	i->fd = fd;
	t->fds++;
	atomic_fetch_add(&t->cfg.budget->used, 1);
	lru_update(t, i);
}

int inode_fd_use(struct inode_table *t, struct inode *i)
{
	int fd;

	pthread_mutex_lock(&t->lock);
	fd = i->fd;
	if (fd >= 0) {
		i->fd_users++;
		lru_remove(t, i);
	}
	pthread_mutex_unlock(&t->lock);
	return fd;
}

void inode_fd_unuse(struct inode_table *t, struct inode *i)
{
	pthread_mutex_lock(&t->lock);
	assert(i->fd_users > 0);
	if (--i->fd_users == 0)
		lru_update(t, i);
	pthread_mutex_unlock(&t->lock);
}

int inode_fd_install(struct inode_table *t, struct inode *i, int fd, int *ret_close_fd)
{
	*ret_close_fd = -1;
	pthread_mutex_lock(&t->lock);
	i->fd_users++;
	if (i->fd < 0) {
		fd_attach(t, i, fd);
		atomic_fetch_add_explicit(&t->cfg.budget->reopened, 1, memory_order_relaxed);
	} else {
		*ret_close_fd = fd;
		lru_remove(t, i);
		fd = i->fd;
	}
	pthread_mutex_unlock(&t->lock);
	return fd;
}

int inode_fd_evict(struct inode_table *t)
{
	int fd = -1;

	pthread_mutex_lock(&t->lock);
	if (t->lru_tail) {
		fd = fd_detach(t, &t->inodes[t->lru_tail]);
		atomic_fetch_add_explicit(&t->cfg.budget->evicted, 1, memory_order_relaxed);
	}
	pthread_mutex_unlock(&t->lock);
	return fd;
}

int inode_fd_drop(struct inode_table *t, uint16_t fs, uint64_t ino)
{
	struct inode *i;
	int fd = -1;

	pthread_mutex_lock(&t->lock);
	i = hash_find(t, fs, ino);
	if (i && i->in_lru && !i->opens)
		fd = fd_detach(t, i);
	pthread_mutex_unlock(&t->lock);
	return fd;
}

void inode_open_count(struct inode_table *t, struct inode *i, int delta)
{
	pthread_mutex_lock(&t->lock);
	i->opens = (uint32_t)((int32_t)i->opens + delta);
	lru_update(t, i);
	pthread_mutex_unlock(&t->lock);
}

/* ---- life and death ------------------------------------------------------- */

static void extra_free(struct inode_table *t, struct inode *i);

/** release_if_unused() - free the record when nobody holds it. Lock held. Returns a descriptor to close or -1. */
static int release_if_unused(struct inode_table *t, struct inode *i)
{
	int fd;

	if (i->refs || i->nlookup || i->index == INODE_ROOT)
		return -1;
	hash_remove(t, i);
	fd = fd_detach(t, i);
	extra_free(t, i);
	record_free(t, i);
	return fd;
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
			int fd = fd_detach(t, parent);
			if (fd >= 0)
				(void)close(fd); /* O_PATH: nothing to lose */
			x = parent->extra;
			parent->extra = NULL;
			record_free(t, parent);
		}
	}
}

struct inode *inode_get(struct inode_table *t, uint64_t nodeid)
{
	uint32_t index = (uint32_t)nodeid, generation = (uint32_t)(nodeid >> 32);
	struct inode *i;

	pthread_mutex_lock(&t->lock);
	i = index == INODE_NONE ? NULL : record_at(t, index);
	if (i && (index == INODE_ROOT ? generation != 0 : generation != i->generation || !i->nlookup))
		i = NULL;
	if (i)
		i->refs++;
	pthread_mutex_unlock(&t->lock);
	return i;
}

int inode_put(struct inode_table *t, struct inode *i)
{
	int fd;

	pthread_mutex_lock(&t->lock);
	assert(i->refs > 0);
	i->refs--;
	fd = release_if_unused(t, i);
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

static struct inode_extra *extra_of(struct inode *i)
{
	if (!i->extra)
		i->extra = calloc(1, sizeof(*i->extra));
	return i->extra;
}

static int set_identity(struct inode *i, uint16_t fs, const struct statx *stx, const struct inode_handle *h)
{
	i->fs = fs;
	i->ino = stx->stx_ino;
	i->type = stx->stx_mode & S_IFMT;
	i->btime_sec = stx->stx_btime.tv_sec;
	i->btime_nsec = stx->stx_btime.tv_nsec;
	if (h->len <= INODE_HANDLE_INLINE) {
		i->handle_type = h->type;
		i->handle_len = h->len;
		memcpy(i->handle_bytes, h->bytes, h->len);
		return 0;
	}
	if (!extra_of(i) || !(i->extra->handle = malloc(sizeof(*h))))
		return -ENOMEM;
	*i->extra->handle = *h;
	return 0;
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
	if (!copy || !extra_of(i)) {
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

struct inode *inode_add(struct inode_table *t, uint16_t fs, const struct statx *stx, const struct inode_handle *handle,
			int fd, struct inode *parent, const char *name, int *ret_close_fd)
{
	struct inode *i;

	*ret_close_fd = fd;
	pthread_mutex_lock(&t->lock);
	i = hash_find(t, fs, stx->stx_ino);
	if (i && !same_file(i, stx, handle)) {
		hash_remove(t, i); /* its number has been given to another file */
		i = NULL;
	}
	if (!i) {
		i = record_alloc(t);
		if (i && set_identity(i, fs, stx, handle) < 0) {
			extra_free(t, i);
			record_free(t, i);
			i = NULL;
		}
		if (i)
			hash_insert(t, i);
	}
	if (i) {
		i->nlookup++;
		i->refs++;
		if (fd >= 0 && i->fd < 0) {
			fd_attach(t, i, fd);
			*ret_close_fd = -1;
		}
		set_way(t, i, parent, name);
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

void inode_handle_get(const struct inode *i, struct inode_handle *ret)
{
	if (i->extra && i->extra->handle) {
		*ret = *i->extra->handle;
		return;
	}
	ret->type = i->handle_type;
	ret->len = i->handle_len;
	memcpy(ret->bytes, i->handle_bytes, i->handle_len);
}

void inode_moved(struct inode_table *t, struct inode *i, struct inode *parent, const char *name)
{
	pthread_mutex_lock(&t->lock);
	set_way(t, i, parent, name);
	pthread_mutex_unlock(&t->lock);
}

int inode_way(struct inode_table *t, struct inode *i, char *buf, size_t size)
{
	size_t at = size - 1;
	int res = 0;

	pthread_mutex_lock(&t->lock);
	buf[at] = 0;
	while (i->index != INODE_ROOT && res == 0) {
		const char *name = i->extra ? i->extra->name : NULL;
		size_t len = name ? strlen(name) : 0;
		if (!name)
			res = -ESTALE;
		else if (len + 1 > at)
			res = -ENAMETOOLONG;
		else {
			if (buf[at])
				buf[--at] = '/';
			at -= len;
			memcpy(buf + at, name, len);
			i = &t->inodes[i->extra->parent];
		}
	}
	pthread_mutex_unlock(&t->lock);
	if (res == 0)
		memmove(buf, buf + at, size - at);
	return res;
}

uint32_t inode_data_seq(struct inode_table *t, struct inode *i)
{
	uint32_t seq;

	pthread_mutex_lock(&t->lock);
	seq = i->data_seq;
	pthread_mutex_unlock(&t->lock);
	return seq;
}

static bool data_equal(const struct inode *i, const struct statx *stx)
{
	return i->data_mtime_sec == stx->stx_mtime.tv_sec && i->data_mtime_nsec == stx->stx_mtime.tv_nsec &&
	       i->data_size == stx->stx_size;
}

enum inode_data inode_data_check(struct inode_table *t, struct inode *i, const struct statx *stx, uint32_t seq)
{
	enum inode_data res = INODE_DATA_UNSETTLED;

	pthread_mutex_lock(&t->lock);
	if (!i->changers && i->data_seq == seq) {
		res = i->data_known && data_equal(i, stx) ? INODE_DATA_SAME : INODE_DATA_CHANGED;
		i->data_known = true;
		i->data_mtime_sec = stx->stx_mtime.tv_sec;
		i->data_mtime_nsec = stx->stx_mtime.tv_nsec;
		i->data_size = stx->stx_size;
	}
	pthread_mutex_unlock(&t->lock);
	return res;
}

bool inode_change_begin(struct inode_table *t, struct inode *i)
{
	bool first;

	pthread_mutex_lock(&t->lock);
	first = i->changers++ == 0;
	i->data_seq++;
	pthread_mutex_unlock(&t->lock);
	return first;
}

bool inode_change_end(struct inode_table *t, struct inode *i)
{
	bool last;

	pthread_mutex_lock(&t->lock);
	assert(i->changers > 0);
	last = --i->changers == 0;
	i->data_seq++;
	pthread_mutex_unlock(&t->lock);
	return last;
}

uint32_t inode_opens(struct inode_table *t, struct inode *i)
{
	uint32_t opens;

	pthread_mutex_lock(&t->lock);
	opens = i->opens;
	pthread_mutex_unlock(&t->lock);
	return opens;
}

int inode_table_create(const struct inode_table_config *cfg, int root_fd, uint16_t fs, const struct statx *stx,
		       const struct inode_handle *handle, struct inode_table **ret_t)
{
	struct inode_table *t = calloc(1, sizeof(*t));
	struct inode *root;

	if (!t)
		return -ENOMEM;
	t->cfg = *cfg;
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
	fd_attach(t, root, root_fd);
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
	ret->inodes_max = t->live_max;
	ret->fds = t->fds;
	ret->memory_bytes = t->pages_live * PAGE_INODES * sizeof(struct inode) + t->buckets_count * sizeof(uint32_t);
	pthread_mutex_unlock(&t->lock);
}
