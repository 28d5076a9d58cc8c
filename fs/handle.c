/* SPDX-License-Identifier: MIT */
#include "handle.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#define CHUNK_HANDLES 64u

struct handle_table {
	pthread_mutex_t lock;
	struct handle ***chunks; /* [max / CHUNK_HANDLES] arrays of pointers */
	uint32_t max, used, live, generation;
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
	uint32_t n = t->used;
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
	t->used++;
	return h;
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
		uint32_t index = h->index;
		*h = (struct handle){ .index = index, .refs = 1 };
		h->file.fd = h->direct.fd = -1;
		if (++t->generation == 0)
			t->generation = 1;
		h->generation = t->generation;
		t->live++;
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
	h->inode = inode;
	pthread_mutex_unlock(&t->lock);
}

struct handle *handle_get(struct handle_table *t, uint64_t fh, const struct inode *inode)
{
	uint32_t n = (uint32_t)fh, generation = (uint32_t)(fh >> 32);
	struct handle *h = NULL;

	pthread_mutex_lock(&t->lock);
	if (n < t->used)
		h = t->chunks[n / CHUNK_HANDLES][n % CHUNK_HANDLES];
	if (h && (!generation || h->generation != generation || h->released || h->inode != inode))
		h = NULL;
	if (h)
		h->refs++;
	pthread_mutex_unlock(&t->lock);
	return h;
}

struct handle *handle_of_inode(struct handle_table *t, const struct inode *inode)
{
	struct handle *found = NULL;

	pthread_mutex_lock(&t->lock);
	for (uint32_t n = 0; n < t->used && !found; n++) {
		struct handle *h = t->chunks[n / CHUNK_HANDLES][n % CHUNK_HANDLES];
		/* refs 0: it is being closed; file.fd < 0: not opened yet */
		if (h->generation && h->refs && h->inode == inode && h->file.fd >= 0)
			found = h;
	}
	if (found)
		found->refs++;
	pthread_mutex_unlock(&t->lock);
	return found;
}

struct handle *handle_put(struct handle_table *t, struct handle *h, bool release)
{
	struct handle *last = NULL;

	pthread_mutex_lock(&t->lock);
	assert(h->refs > 0);
	if (release)
		h->released = true;
	if (--h->refs == 0)
		last = h;
	pthread_mutex_unlock(&t->lock);
	return last;
}

void handle_free(struct handle_table *t, struct handle *h)
{
	free(h->dir_buf);
	pthread_mutex_lock(&t->lock);
	h->generation = 0;
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
