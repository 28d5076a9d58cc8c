/* SPDX-License-Identifier: MIT */
/*
 * flush.h - many callers, one FLUSH.
 *
 * A ticket is taken when a caller's data has been written back. A FLUSH answers
 * the tickets taken before it was sent, none taken later; while it is under way
 * new tickets collect for the next one, which is sent as soon as it ends. A lone
 * caller's FLUSH is sent at once, on his own ring: no other thread is woken for
 * it. The ring that has a FLUSH under way owns the flusher; it sends the next
 * one too, and answers tickets of other rings by ring_post().
 *
 * Locking: the flusher's mutex guards its two lists and `busy`; no call is made
 * under it. One FLUSH is under way at a time.
 */
#ifndef URINGFS_FLUSH_H
#define URINGFS_FLUSH_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "nvme_cmd.h"

/** After so many failures in a row a device's FLUSHes are given up. */
#define FLUSH_FAILURES_MAX 3u

struct flusher {
	struct nvme_target target;
	pthread_mutex_t lock;
	struct flush_ticket *waiting, **waiting_end;
	struct flush_ticket *flying; /* answered by the FLUSH under way */
	bool busy;
	uint64_t sent_ns;       /* of the FLUSH under way: its owner's */
	unsigned in_a_row;      /* failures: its owner's */
	_Atomic uint64_t errors; /* failed FLUSHes so far: the error generation of the device */
	_Atomic uint64_t resets; /* with the above: generation that proofs hold for */
	_Atomic bool gone;      /* the device has vanished, or fails all FLUSHes: only kernel syncs from now on */
	/* figures */
	_Atomic uint64_t sent, tickets, tickets_max;
	_Atomic unsigned last_status;
	struct histogram latency; /* written by the owner */
};

/** flusher_init() - @target is copied; its descriptor stays the caller's. Thread: main. */
void flusher_init(struct flusher *f, const struct nvme_target *target);
void flusher_fini(struct flusher *f);
/** flusher_generation() - changes whenever a proof of before is void. Thread: any. */
uint64_t flusher_generation(const struct flusher *f);
/** flusher_reset() - the device was reset: what was proven before is not. Thread: any. */
void flusher_reset(struct flusher *f);
/**
 * flush_request() - take a ticket
 * @t: ring and done set; the flusher's until done
 * Thread: owner of t->ring. May call t->done before it returns only when no FLUSH could be sent.
 */
void flush_request(struct flusher *f, struct flush_ticket *t);

#endif
