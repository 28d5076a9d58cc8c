/* SPDX-License-Identifier: MIT */
/*
 * bfile.c - opened backing files: when they get a slot and how they lose all.
 *
 * A slot of another ring is retired by that ring's thread. The request to do so
 * carries the slot number and lies in the other ring's table (one place per
 * slot), so the bfile may be freed at once. Where the close itself may wait,
 * the descriptor is closed by the ring that retires the last slot, so that the
 * last reference goes away on a kernel worker.
 */
#include <errno.h>
#include <unistd.h>

#include "ring.h"
#include "util/delay.h"

void bfile_init(struct bfile *f, int fd)
{
	f->fd = fd;
	f->slots = NULL;
	atomic_init(&f->uses, 0);
	atomic_init(&f->slot_rings, 0);
}

int32_t bfile_borrow_slot(struct ring *r, struct bfile *f)
{
	uint64_t bit = UINT64_C(1) << r->index;
	uint32_t uses;
	int slot;

	if (!r->has_files)
		return -1;
	if (atomic_load_explicit(&f->slot_rings, memory_order_acquire) & bit)
		return __atomic_load_n(&f->slots, __ATOMIC_ACQUIRE)[r->index];
	uses = atomic_load_explicit(&f->uses, memory_order_relaxed);
	if (uses < UINT32_MAX) /* two rings at once may count one use only: it is a threshold, no more */
		atomic_store_explicit(&f->uses, ++uses, memory_order_relaxed);
	if (uses < r->b->cfg.register_after)
		return -1;
	slot = filetable_install(&r->files, &r->uring, &r->b->arrays, f, r->index);
	if (slot < 0) /* full: the plain descriptor does as well */
		return -1;
	RING_COUNT(r, slots_installed, 1);
	return slot;
}

static void close_now(struct ring *r, int fd)
{
	if (close(fd) < 0 && errno != EINTR)
		RING_COUNT(r, close_errors, 1);
}

static void close_done(struct op *op)
{
	if (op->res < 0 && op->res != -EINTR)
		RING_COUNT(op->ring, close_errors, 1);
}

static void close_in_ring(struct ring *r, int fd, uint16_t flags)
{
	struct op *op = r->uring_made && !r->closing ? ring_op_get(r) : NULL;

	if (!op) {
		close_now(r, fd);
		return;
	}
	op->kind = OP_CLOSE;
	op->flags = flags;
	op->fd = fd;
	op->done = close_done;
	ring_submit_internal(op);
}

static struct closing *closing_get(struct backend *b)
{
	struct closing *c = NULL;

	pthread_mutex_lock(&b->closings_lock);
	if (b->closings_free_count > 0)
		c = b->closings_free[--b->closings_free_count];
	pthread_mutex_unlock(&b->closings_lock);
	return c;
}

static void closing_end(void *arg, struct closing *c)
{
	struct ring *r = arg;
	struct backend *b = r->b;

	close_in_ring(r, c->fd, OPF_ASYNC);
	pthread_mutex_lock(&b->closings_lock);
	b->closings_free[b->closings_free_count++] = c;
	pthread_mutex_unlock(&b->closings_lock);
}

static void retire_posted(struct ring_post *p)
{
	struct ring *r = (struct ring *)((char *)p - offsetof(struct ring, retire_post));

	/* first the flag: what is asked for from now on posts again */
	atomic_store(&r->retire_posted, false);
	delay_point();
	RING_COUNT(r, slots_retired, filetable_retire_asked(&r->files, &r->uring, closing_end, r));
}

void bfile_retire_init(struct ring *r)
{
	r->retire_post.fn = retire_posted;
}

void bfile_retire_rest(struct ring *r)
{
	RING_COUNT(r, slots_retired, filetable_retire_asked(&r->files, NULL, closing_end, r));
}

static void retire_elsewhere(struct ring *r, unsigned index, int32_t slot, struct closing *c)
{
	struct ring *to = atomic_load(&r->b->rings[index]);

	filetable_retire_later(&to->files, slot, c);
	delay_point();
	if (atomic_exchange(&to->retire_posted, true))
		return;
	delay_point();
	/* a ring that has ended took its table along: only the waiting descriptors count */
	if (ring_post(r, to, &to->retire_post) < 0)
		(void)filetable_retire_asked(&to->files, NULL, closing_end, r);
}

void bfile_close(struct ring *r, struct bfile *f, enum bfile_close_how how)
{
	uint64_t rings = atomic_load_explicit(&f->slot_rings, memory_order_acquire);
	uint64_t others = rings & ~(UINT64_C(1) << r->index);
	int32_t *slots = f->slots;
	struct closing *c = NULL;

	if (rings != others) {
		filetable_retire(&r->files, &r->uring, slots[r->index]);
		RING_COUNT(r, slots_retired, 1);
	}
	if (others && how != BFILE_CLOSE_NOW) {
		c = closing_get(r->b);
		if (c) {
			c->fd = f->fd;
			atomic_store(&c->pending, (unsigned)__builtin_popcountll(others));
		}
	}
	for (unsigned i = 0; others; i++, others >>= 1)
		if (others & 1)
			retire_elsewhere(r, i, slots[i], c);
	slot_arrays_give(&r->b->arrays, slots);
	if (how == BFILE_CLOSE_NOW)
		close_now(r, f->fd);
	else if (!c)
		close_in_ring(r, f->fd, how == BFILE_CLOSE_QUICK ? OPF_QUICK : OPF_ASYNC);
	bfile_init(f, -1);
}
