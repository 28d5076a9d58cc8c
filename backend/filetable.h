/* SPDX-License-Identifier: MIT */
/* filetable.h - the registered files of one ring: install, borrow, retire. */
#ifndef URINGFS_FILETABLE_H
#define URINGFS_FILETABLE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "backend.h"

struct io_uring;

/** Arrays of one slot number per ring, for the bfiles that have slots. Shared by all rings. */
struct slot_arrays {
	pthread_mutex_t lock; /* guards first_free and the arrays in that list */
	int32_t *memory;      /* count * rings */
	int32_t first_free;   /* index of an array; its [0] is the next; -1: none */
	unsigned count, rings;
};

/** A descriptor to close when the last ring has retired its slot. */
struct closing {
	int fd;
	_Atomic unsigned pending;
};

/** The table of one ring. Owned by its thread, except retire_*. */
struct filetable {
	unsigned slots_count; /* 0: the ring has none */
	int32_t first_free;   /* list through next[] */
	int32_t *next;        /* slots_count: next free slot */
	pthread_mutex_t lock; /* guards retire_first, retire_next, retire_closing */
	int32_t retire_first; /* slots that other rings want retired */
	int32_t *retire_next;
	struct closing **retire_closing; /* what waits for that slot, or NULL */
};

/** slot_arrays_init() - room for @count bfiles with slots. Thread: main. Return: 0; -ENOMEM */
int slot_arrays_init(struct slot_arrays *a, unsigned rings, unsigned count);
void slot_arrays_fini(struct slot_arrays *a);
/** slot_arrays_give() - take back an array from slot_arrays; NULL allowed. Thread: any. */
void slot_arrays_give(struct slot_arrays *a, int32_t *array);

/**
 * filetable_init() - register a sparse table
 * Thread: owner.  Return: 0; -errno of the registration, the table then has no slots
 * Source: io_uring_register(2), IORING_REGISTER_FILES2 with IORING_RSRC_REGISTER_SPARSE
 */
int filetable_init(struct filetable *t, struct io_uring *uring, unsigned slots_count);
/** filetable_fini() - free the memory; the ring is gone or goes. Thread: owner. */
void filetable_fini(struct filetable *t);

/**
 * filetable_install() - give @f a slot in the table of ring @ring_index
 * Thread: owner.  Return: the slot; -ENOSPC table or arrays used up; -errno of the registration
 */
int filetable_install(struct filetable *t, struct io_uring *uring, struct slot_arrays *a, struct bfile *f,
		      unsigned ring_index);

/** filetable_retire() - empty @slot and make it usable again. Thread: owner.
 *  Nothing may be in flight on it. */
void filetable_retire(struct filetable *t, struct io_uring *uring, int32_t slot);

/** filetable_retire_later() - ask the owner to retire @slot; it must then call filetable_retire_asked().
 *  @c: told when it is done, or NULL. Thread: any. */
void filetable_retire_later(struct filetable *t, int32_t slot, struct closing *c);

/**
 * filetable_retire_asked() - retire what others asked for
 * @closed: called with each `closing` whose last slot went
 * @uring: NULL when the ring has ended: only the `closing`s are answered
 * Thread: owner; any when @uring is NULL.  Return: how many slots
 */
unsigned filetable_retire_asked(struct filetable *t, struct io_uring *uring,
				void (*closed)(void *arg, struct closing *c), void *arg);

#endif
