/* SPDX-License-Identifier: MIT */
/* filetable.c - see filetable.h. */
#include <errno.h>
#include <liburing.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "filetable.h"

int slot_arrays_init(struct slot_arrays *a, unsigned rings, unsigned count)
{
	memset(a, 0, sizeof(*a));
	pthread_mutex_init(&a->lock, NULL);
	a->first_free = -1;
	a->rings = rings;
	a->count = count;
	if (count == 0)
		return 0;
	a->memory = malloc((size_t)count * rings * sizeof(*a->memory));
	if (!a->memory)
		return -ENOMEM;
	for (unsigned i = 0; i < count; i++)
		a->memory[(size_t)i * rings] = i + 1 < count ? (int32_t)(i + 1) : -1;
	a->first_free = 0;
	return 0;
}

void slot_arrays_fini(struct slot_arrays *a)
{
	free(a->memory);
	a->memory = NULL;
	pthread_mutex_destroy(&a->lock);
}

/* The array of @f, made on first use. Two rings may come here at once: one of them makes it. */
static int32_t *array_of(struct slot_arrays *a, struct bfile *f)
{
	int32_t *array = __atomic_load_n(&f->slots, __ATOMIC_ACQUIRE);

	if (array)
		return array;
	pthread_mutex_lock(&a->lock);
	array = __atomic_load_n(&f->slots, __ATOMIC_RELAXED);
	if (!array && a->first_free >= 0) {
		array = a->memory + (size_t)a->first_free * a->rings;
		a->first_free = array[0];
		for (unsigned i = 0; i < a->rings; i++)
			array[i] = -1;
		__atomic_store_n(&f->slots, array, __ATOMIC_RELEASE);
	}
	pthread_mutex_unlock(&a->lock);
	return array;
}

void slot_arrays_give(struct slot_arrays *a, int32_t *array)
{
	if (!array)
		return;
	pthread_mutex_lock(&a->lock);
	array[0] = a->first_free;
	a->first_free = (int32_t)((size_t)(array - a->memory) / a->rings);
	pthread_mutex_unlock(&a->lock);
}

int filetable_init(struct filetable *t, struct io_uring *uring, unsigned slots_count)
{
	int res;

	memset(t, 0, sizeof(*t));
	pthread_mutex_init(&t->lock, NULL);
	t->first_free = t->retire_first = -1;
	if (slots_count == 0)
		return 0;
	t->next = malloc(slots_count * sizeof(*t->next));
	t->retire_next = malloc(slots_count * sizeof(*t->retire_next));
	t->retire_closing = calloc(slots_count, sizeof(struct closing *));
	if (!t->next || !t->retire_next || !t->retire_closing)
		return -ENOMEM;
	res = io_uring_register_files_sparse(uring, slots_count);
	if (res < 0)
		return res;
	for (unsigned i = 0; i < slots_count; i++)
		t->next[i] = i + 1 < slots_count ? (int32_t)(i + 1) : -1;
	t->first_free = 0;
	t->slots_count = slots_count;
	return 0;
}

void filetable_fini(struct filetable *t)
{
	free(t->next);
	free(t->retire_next);
	free(t->retire_closing);
	t->next = t->retire_next = NULL;
	t->retire_closing = NULL;
	t->slots_count = 0;
	pthread_mutex_destroy(&t->lock);
}

int filetable_install(struct filetable *t, struct io_uring *uring, struct slot_arrays *a, struct bfile *f,
		      unsigned ring_index)
{
	int32_t slot = t->first_free, *array;
	int res;

	if (slot < 0)
		return -ENOSPC;
	array = array_of(a, f);
	if (!array)
		return -ENOSPC;
	res = io_uring_register_files_update(uring, (unsigned)slot, &f->fd, 1);
	if (res != 1)
		return res < 0 ? res : -EIO;
	t->first_free = t->next[slot];
	array[ring_index] = slot;
	atomic_fetch_or_explicit(&f->slot_rings, UINT64_C(1) << ring_index, memory_order_release);
	return slot;
}

void filetable_retire(struct filetable *t, struct io_uring *uring, int32_t slot)
{
	int none = -1;

	/* emptying a slot of a registered table fails only for a slot outside it; the slot is then not reused */
	if (io_uring_register_files_update(uring, (unsigned)slot, &none, 1) != 1)
		return;
	t->next[slot] = t->first_free;
	t->first_free = slot;
}

void filetable_retire_later(struct filetable *t, int32_t slot, struct closing *c)
{
	pthread_mutex_lock(&t->lock);
	t->retire_next[slot] = t->retire_first;
	t->retire_closing[slot] = c;
	t->retire_first = slot;
	pthread_mutex_unlock(&t->lock);
}

unsigned filetable_retire_asked(struct filetable *t, struct io_uring *uring,
				void (*closed)(void *arg, struct closing *c), void *arg)
{
	unsigned count = 0;

	for (;;) {
		struct closing *c = NULL;
		int32_t slot;

		pthread_mutex_lock(&t->lock);
		slot = t->retire_first;
		if (slot >= 0) {
			t->retire_first = t->retire_next[slot];
			c = t->retire_closing[slot];
			t->retire_closing[slot] = NULL;
		}
		pthread_mutex_unlock(&t->lock);
		if (slot < 0)
			return count;
		if (uring)
			filetable_retire(t, uring, slot);
		count++;
		if (c && atomic_fetch_sub_explicit(&c->pending, 1, memory_order_acq_rel) == 1)
			closed(arg, c);
	}
}
