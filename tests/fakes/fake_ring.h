/* SPDX-License-Identifier: MIT */
/*
 * fake_ring.h - a liburing whose kernel is the test.
 *
 * Linked instead of the library: the inline functions of <liburing.h> work on
 * memory that the fake sets up. Submitted entries are held until the test
 * completes them, in any order and with any result.
 * Thread: one.
 */
#ifndef URINGFS_FAKE_RING_H
#define URINGFS_FAKE_RING_H

#include <liburing.h>
#include <stdbool.h>

#define FAKE_HELD_MAX 4096

/** Forget everything; everything works again. */
void fake_reset(void);

/** How many entries are held by the "kernel" (without reads of the ring's own eventfd). */
unsigned fake_held(void);
/** The @i-th held entry, oldest first. */
const struct io_uring_sqe *fake_entry(unsigned i);
/** Complete the @i-th held entry. */
void fake_complete(unsigned i, int res);
/** A completion that belongs to nothing. */
void fake_stray(uint64_t user_data, int res);

/** The next enter takes at most @take entries and answers @error (0: none). May be called several times: a queue. */
void fake_script_enter(unsigned take, int error);
/** Called for each entry as it is submitted; true: complete at once with *ret_res. */
void fake_set_auto(bool (*fn)(const struct io_uring_sqe *sqe, int *ret_res));
/** Called when an enter would have to wait and nothing is there. Without it the wait "times out". */
void fake_set_idle(void (*fn)(void));
/** Work that waits for an enter, and is said to (IORING_SQ_TASKRUN): the next one calls @fn, once. The ring must have been made. */
void fake_set_work(void (*fn)(void));

/** What the fake answers and has seen. */
struct fake_control {
	int queue_init_error;   /* for every set-up */
	int files_error, files_update_error, personality_error;
	unsigned refused_flags; /* set-up flags answered with -EINVAL */
	int missing_opcode;     /* -1: none */
	unsigned cq_entries;    /* 0: as asked */
	unsigned enters, waits, overflowed;
	unsigned files_installed, files_emptied, personalities_now, personalities_dropped;
	int slots[1024];        /* registered files, -1: empty */
};
extern struct fake_control fake;

#endif
