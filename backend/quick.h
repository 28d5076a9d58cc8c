/* SPDX-License-Identifier: MIT */
/*
 * quick.h - which calls that may wait are made on the spot, because the last ones of their kind did not.
 *
 * Creating, removing and renaming names, setting and reading attributes take 1 to 15 us when what they
 * need is in memory, and a hand-over to a kernel worker or a thread costs 5 to 40 us more. They can wait
 * for a disk, though, and then everything else that the ring serves waits too. So each ring watches each
 * kind: a call that took long sends the next ones of its kind to the workers, for a time that doubles
 * with every slow call up to one second, and halves with quick ones. A disk that is always slow thus
 * holds a ring up once a second, for one call.
 *
 * One that is slow now and then is another case: of the fsyncs of a loop device on a busy machine one in a hundred takes 0.5 ms, and
 * going away for 2 ms after each would cost a dozen hand-overs, more than was waited. So quick calls earn a credit, which a
 * slow call may use up: on average the calls hold the ring up by no more than the limit and what they earn.
 *
 * Only ops with OPF_QUICK take part: the caller knows whether the file lies on a local filesystem.
 */
#ifndef URINGFS_QUICK_H
#define URINGFS_QUICK_H

#include <stdbool.h>
#include <stdint.h>

/** A call that takes longer has waited for something. */
#define QUICK_LIMIT_NS 150000u
/** The first time away from the ring's thread, and the longest. */
#define QUICK_PAUSE_NS 2000000u
#define QUICK_PAUSE_MAX_NS 1000000000u
/** So many quick calls halve the next pause. */
#define QUICK_CALLS_GOOD 64u
/** What a quick call earns, less than the cheapest hand-over; and the most that is kept: so long one call may hold the ring up, besides the limit. */
#define QUICK_EARNS_NS 4000u
#define QUICK_CREDIT_NS 1000000u

/** What one ring knows of one kind of call. Zeroed: nothing yet. Thread: the ring's. */
struct quick {
	uint64_t until_ns;  /* not on the spot before this time */
	uint64_t pause_ns;  /* length of the next pause; 0: none was needed lately */
	uint32_t good;      /* quick calls since the last slow one or the last halving */
	uint32_t credit_ns; /* earned by quick calls; slow ones within it are forgiven */
};

/** quick_allowed() - whether a call may be made on the spot at @now_ns (monotonic). */
static inline bool quick_allowed(const struct quick *q, uint64_t now_ns)
{
	return now_ns >= q->until_ns;
}

/** quick_took() - it was, and ended at @now_ns after @took_ns. Return true when that was slow, and others of its kind go away. */
bool quick_took(struct quick *q, uint64_t took_ns, uint64_t now_ns);

#endif
