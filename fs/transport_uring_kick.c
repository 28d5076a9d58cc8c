/* SPDX-License-Identifier: MIT */
/*
 * transport_uring_kick.c - requests that the kernel has queued behind entries of which none comes back.
 *
 * When a queue of the kernel has no entry, requests pile up in it, and only a
 * COMMIT takes the next one from there: an entry that is registered later waits
 * for new requests (fs/fuse/dev_uring.c of Linux 6.14 to 6.18,
 * fuse_uring_do_register() and fuse_uring_next_fuse_req()). When all entries
 * hold requests that wait for a lock, the one that would give it back may lie
 * in that pile. So send a request of our own from that queue's CPU: it goes to a
 * new entry, and its COMMIT takes one from the pile. As long as requests are
 * in hand this is done again, ever more seldom, for nobody tells how many lie there.
 * Another request may take that entry first; then ours lies in the pile, too, and the next one has to do.
 * The same holds for entries whose requests wait for something else: a lease in SOURCE, a disk that hangs.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/outside.h"
#include "fs/server.h"
#include "fs/transport_uring.h"

#define KICK_FIRST_NS 2000000u
#define KICK_LONGEST_NS 256000000u
#define LOOK_NS 4000000u /* between two turns of the ring, at first */
#define ASKER_STACK 131072u
#define ASKERS_SPARE 16u /* with SQPOLL commands are sent later */

/** Shared by the threads that ask the mount and the channel that wants it: the last of them frees it. */
struct uring_kick {
	atomic_uint refs;
	char path[];
};

/** One thread's. */
struct asker {
	struct uring_kick *kick;
	unsigned cpu;
};

static void kick_put(struct uring_kick *k)
{
	if (atomic_fetch_sub(&k->refs, 1) == 1)
		free(k);
}

static void *ask(void *arg)
{
	struct asker *a = arg;
	char what[24];

	snprintf(what, sizeof(what), OUTSIDE_ASK, a->cpu);
	(void)outside_call(what, a->kick->path); /* only that it is asked matters */
	kick_put(a->kick);
	free(a);
	return NULL;
}

void uring_kick_end(struct uring_channel *u)
{
	if (u->kick)
		kick_put(u->kick);
	u->kick = NULL;
}

/** shared() - what the askers of this channel have in common, made at the first; NULL: no memory. */
static struct uring_kick *shared(struct uring_channel *u)
{
	const char *path = u->channel->mount->mountpoint;
	size_t size = strlen(path) + 1;

	if (u->kick)
		return u->kick;
	u->kick = malloc(sizeof(*u->kick) + size);
	if (u->kick) {
		atomic_init(&u->kick->refs, 1);
		memcpy(u->kick->path, path, size);
	}
	return u->kick;
}

static void start(struct uring_channel *u, unsigned cpu)
{
	struct asker *a = cpu < CPU_SETSIZE && shared(u) ? malloc(sizeof(*a)) : NULL;
	pthread_attr_t detached;
	pthread_t tid;

	if (!a)
		return; /* tried again later */
	*a = (struct asker){ u->kick, cpu };
	atomic_fetch_add(&u->kick->refs, 1);
	pthread_attr_init(&detached);
	/* not waited for: while the mount hangs it waits, too, and ends with the connection */
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	(void)pthread_attr_setstacksize(&detached, ASKER_STACK); /* refused: the usual one */
	if (pthread_create(&tid, &detached, ask, a) == 0) {
		stats_add(&u->channel->thread->stats.kicks, 1);
	} else {
		kick_put(a->kick);
		free(a);
	}
	pthread_attr_destroy(&detached);
}

/**
 * enough() - whether so many ask that one more cannot be needed
 *
 * An asker whom another request has robbed of the free entry lies in the pile himself, and moves nothing any more. But
 * the robber, or one that his COMMIT took from the pile, is in hand then: there are no more of them than such requests.
 */
static bool enough(const struct uring_channel *u)
{
	return u->kick && atomic_load(&u->kick->refs) - 1 > u->channel->requests_live + ASKERS_SPARE;
}

/** over() - nothing is in hand, or has come from the last commands: so the last COMMIT found the pile empty. */
static bool over(struct uring_channel *u)
{
	for (unsigned n = 0; n < u->queues_count; n++) {
		const struct uring_queue *q = &u->queues[n];
		if (q->piled && (q->entries > q->in_kernel || u->turn - q->command_turn < 2))
			return false;
	}
	for (unsigned n = 0; n < u->queues_count; n++)
		u->queues[n].piled = false;
	return true;
}

static void looked(struct op *op)
{
	struct channel *c = op->owner;

	c->poll = NULL; /* the ring has turned: that was all */
}

/** look_later() - where nobody comes back the ring would sleep. */
static void look_later(struct uring_channel *u)
{
	struct channel *c = u->channel;
	struct op *op = c->poll ? NULL : ring_op_get(c->thread->ring);

	if (!op)
		return; /* under way; or no op is free: then some come back */
	op->kind = OP_TIMEOUT;
	op->off = u->kick_wait_ns > 4 * LOOK_NS ? u->kick_wait_ns / 4 : LOOK_NS;
	op->done = looked;
	op->owner = c;
	c->poll = op;
	ring_submit(op);
}

/**
 * moves() - commands have gone to @q since the last look: each took a request from the pile, and those behind it come up
 *
 * Only where nothing comes back for a while is anybody to be asked; under load a queue is without entries often.
 */
static bool moves(struct uring_queue *q, uint64_t now)
{
	if (q->kick_turn != q->command_turn) {
		q->kick_turn = q->command_turn;
		q->kick_after_ns = now + KICK_FIRST_NS;
	}
	return now < q->kick_after_ns;
}

/**
 * reachable() - the kernel has an entry of @q, and whoever asks now finds it: the commands of this turn and the last may not be sent yet
 *
 * Where there always are new ones requests come and go, and each COMMIT takes one from the pile.
 */
static bool reachable(const struct uring_channel *u, const struct uring_queue *q)
{
	return q->in_kernel > 0 && u->turn - q->command_turn >= 2;
}

void uring_kick(struct uring_channel *u)
{
	bool started = false;
	uint64_t now;

	if (over(u)) {
		u->kick_wait_ns = 0;
		return;
	}
	look_later(u);
	now = stats_now_ns();
	if (now < u->kick_at_ns || enough(u))
		return;
	for (unsigned n = 0; n < u->queues_count && !started; n++) {
		struct uring_queue *q = &u->queues[u->kick_next++ % u->queues_count];
		started = q->piled && reachable(u, q) && !moves(q, now);
		if (started)
			start(u, q->qid);
	}
	if (!started)
		return;
	u->kick_at_ns = now + u->kick_wait_ns;
	u->kick_wait_ns = u->kick_wait_ns < KICK_LONGEST_NS ? u->kick_wait_ns * 2 : KICK_LONGEST_NS;
}

void uring_kick_wanted(struct uring_channel *u, struct uring_queue *q)
{
	q->piled = true;
	u->kick_wait_ns = KICK_FIRST_NS;
	u->kick_at_ns = 0;
}
