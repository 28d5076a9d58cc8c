/* SPDX-License-Identifier: MIT */
#include "handle.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "fs/dir_ahead.h"

#define CHUNK_HANDLES 64u
/*
 * struct handle, state: in the upper half the generation, 0 until it is published; below it the
 * references and whether the kernel's is gone. One word, so that a reference is only ever taken of
 * the very handle that a number names. Its memory stays a handle's until the table is destroyed.
 */
#define STATE_GENERATION(generation) ((uint64_t)(generation) << 32)
#define STATE_RELEASED (UINT64_C(1) << 31)
#define STATE_REFS(state) ((uint32_t)(state) & (uint32_t)(STATE_RELEASED - 1))

struct handle_table {
	pthread_mutex_t lock;
	struct handle ***chunks; /* [max / CHUNK_HANDLES] arrays of pointers */
	uint32_t max, live, generation;
	_Atomic uint32_t used;
	struct handle *free_list; /* through dir_buf: a free handle keeps its memory for the next open */
};

int handle_table_create(uint32_t max, struct handle_table **ret_t)
{
	struct handle_table *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->max = (max + CHUNK_HANDLES - 1) / CHUNK_HANDLES * CHUNK_HANDLES;
	t->chunks = calloc(t->max / CHUNK_HANDLES, sizeof(struct handle **));
	if (!t->chunks) {
		free(t);
		return -ENOMEM;
	}
	pthread_mutex_init(&t->lock, NULL);
	*ret_t = t;
	return 0;
}

void handle_table_destroy(struct handle_table *t, void (*each)(struct handle *h, void *arg), void *arg)
{
	if (!t)
		return;
	for (uint32_t n = 0; n < t->used; n++) {
		struct handle *h = t->chunks[n / CHUNK_HANDLES][n % CHUNK_HANDLES];
		if (h->generation)
			each(h, arg);
		if (h->generation)
			dir_ahead_end(h->dir_ahead);
		free(h->generation ? h->dir_buf : NULL);
		free(h);
	}
	for (uint32_t c = 0; c * CHUNK_HANDLES < t->used; c++)
		free(t->chunks[c]);
	free(t->chunks);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

/** grow() - memory for one more handle. Lock held. */
static struct handle *grow(struct handle_table *t)
{
	uint32_t n = atomic_load_explicit(&t->used, memory_order_relaxed);
	struct handle *h;

	if (n == t->max)
		return NULL;
	if (!t->chunks[n / CHUNK_HANDLES])
		t->chunks[n / CHUNK_HANDLES] = calloc(CHUNK_HANDLES, sizeof(struct handle *));
	if (!t->chunks[n / CHUNK_HANDLES])
		return NULL;
	h = calloc(1, sizeof(*h));
	if (!h)
		return NULL;
	h->index = n;
	t->chunks[n / CHUNK_HANDLES][n % CHUNK_HANDLES] = h;
	atomic_store_explicit(&t->used, n + 1, memory_order_release); /* for those who look without the lock */
	return h;
}

/** make_fresh() - all zero but what stands first: somebody with an old number may be looking at that (handle_free() left no inode). */
static void make_fresh(struct handle *h)
{
	const size_t first = offsetof(struct handle, directory);

	memset((char *)h + first, 0, sizeof(*h) - first);
	bfile_init(&h->file, -1);
	bfile_init(&h->direct, -1);
}

struct handle *handle_add(struct handle_table *t)
{
	struct handle *h;

	pthread_mutex_lock(&t->lock);
	h = t->free_list;
	if (h)
		t->free_list = (struct handle *)h->dir_buf;
	else
		h = grow(t);
	if (h) {
		make_fresh(h);
		if (++t->generation == 0)
			t->generation = 1;
		h->generation = t->generation;
		t->live++;
		atomic_store_explicit(&h->state, 1, memory_order_relaxed); /* a reference, and no number yet */
	}
	pthread_mutex_unlock(&t->lock);
	return h;
}

uint64_t handle_fh(struct handle_table *t, const struct handle *h)
{
	uint64_t fh;

	/* the lock orders this before the end of the handle, which another thread may see to as soon as the kernel knows it */
	pthread_mutex_lock(&t->lock);
	fh = (uint64_t)h->generation << 32 | h->index;
	pthread_mutex_unlock(&t->lock);
	return fh;
}

void handle_publish(struct handle_table *t, struct handle *h, struct inode *inode)
{
	pthread_mutex_lock(&t->lock);
	__atomic_store_n(&h->inode, inode, __ATOMIC_RELAXED);
	atomic_store_explicit(&h->state, STATE_GENERATION(h->generation) | 1, memory_order_release);
	pthread_mutex_unlock(&t->lock);
}

/** get() - +1 reference on the handle @fh if it is one of @inode, or @any. */
static struct handle *get(struct handle_table *t, uint64_t fh, const struct inode *inode, bool any)
{
	uint32_t n = (uint32_t)fh, generation = (uint32_t)(fh >> 32);
	struct handle *h;
	uint64_t state;

	if (!generation || n >= atomic_load_explicit(&t->used, memory_order_acquire))
		return NULL;
	h = t->chunks[n / CHUNK_HANDLES][n % CHUNK_HANDLES];
	state = atomic_load_explicit(&h->state, memory_order_acquire);
	do {
		if (state >> 32 != generation || state & STATE_RELEASED || !STATE_REFS(state))
			return NULL;
		/* if it ends meanwhile, and another takes its place, the exchange fails */
		if (!any && __atomic_load_n(&h->inode, __ATOMIC_RELAXED) != inode)
			return NULL;
	} while (!atomic_compare_exchange_weak_explicit(&h->state, &state, state + 1, memory_order_acquire, memory_order_acquire));
	return h;
}

struct handle *handle_get_any(struct handle_table *t, uint64_t fh)
{
	return get(t, fh, NULL, true);
}

struct handle *handle_get(struct handle_table *t, uint64_t fh, const struct inode *inode)
{
	return get(t, fh, inode, false);
}

/** take() - +1 reference on a published handle that is not being closed. Lock held, so that its fields are its own. */
static bool take(struct handle *h)
{
	uint64_t state = atomic_load_explicit(&h->state, memory_order_relaxed);

	while (state >> 32 && STATE_REFS(state))
		if (atomic_compare_exchange_weak_explicit(&h->state, &state, state + 1, memory_order_acquire, memory_order_relaxed))
			return true;
	return false;
}

struct handle *handle_of_inode(struct handle_table *t, const struct inode *inode)
{
	struct handle *found = NULL;

	pthread_mutex_lock(&t->lock);
	for (uint32_t n = 0; n < t->used && !found; n++) {
		struct handle *h = t->chunks[n / CHUNK_HANDLES][n % CHUNK_HANDLES];
		if (h->inode == inode && take(h))
			found = h;
	}
	pthread_mutex_unlock(&t->lock);
	return found;
}

struct handle *handle_next_cached(struct handle_table *t, uint64_t now_ns, uint32_t *at)
{
	struct handle *found = NULL;

	pthread_mutex_lock(&t->lock);
	for (; *at < t->used && !found; ++*at) {
		struct handle *h = t->chunks[*at / CHUNK_HANDLES][*at % CHUNK_HANDLES];
		if (h->inode && h->dir_cached && h->dir_look_ns <= now_ns && take(h))
			found = h;
	}
	pthread_mutex_unlock(&t->lock);
	return found;
}

struct handle *handle_put(struct handle_table *t, struct handle *h, bool release)
{
	uint64_t state = atomic_load_explicit(&h->state, memory_order_relaxed), after;

	(void)t;
	do {
		if (release && state & STATE_RELEASED)
			return NULL; /* two at once said so, both with a reference: the kernel's goes but once */
		assert(STATE_REFS(state) > 0);
		after = (state - 1) | (release ? STATE_RELEASED : 0);
	} while (!atomic_compare_exchange_weak_explicit(&h->state, &state, after, memory_order_acq_rel, memory_order_relaxed));
	return STATE_REFS(after) ? NULL : h;
}

void handle_free(struct handle_table *t, struct handle *h)
{
	dir_ahead_end(h->dir_ahead);
	free(h->dir_buf);
	pthread_mutex_lock(&t->lock);
	h->generation = 0;
	__atomic_store_n(&h->inode, NULL, __ATOMIC_RELAXED);
	atomic_store_explicit(&h->state, 0, memory_order_relaxed);
	h->dir_buf = (char *)t->free_list;
	t->free_list = h;
	t->live--;
	pthread_mutex_unlock(&t->lock);
}

uint32_t handle_table_count(struct handle_table *t)
{
	uint32_t n;

	pthread_mutex_lock(&t->lock);
	n = t->live;
	pthread_mutex_unlock(&t->lock);
	return n;
}
