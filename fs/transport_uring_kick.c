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
 * new entry, and its COMMIT takes one from the pile. As long as there are lock
 * waiters this is done again, ever more seldom, for nobody tells how many lie there.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/server.h"
#include "fs/transport_uring.h"

#define KICK_FIRST_NS 2000000u
#define KICK_LONGEST_NS 256000000u

/** Shared by the thread that asks the mount and the channel that wants it: the last of both frees it. */
struct uring_kick {
	atomic_int refs;
	unsigned cpu;
	char path[];
};

static void kick_put(struct uring_kick *k)
{
	if (atomic_fetch_sub(&k->refs, 1) == 1)
		free(k);
}

static void *ask(void *arg)
{
	struct uring_kick *k = arg;
	struct statx stx;
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(k->cpu, &one);
	/* where we may not run (a cpuset) nothing can be done */
	if (sched_setaffinity(0, sizeof(one), &one) == 0)
		(void)statx(AT_FDCWD, k->path, AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &stx); /* only that it is asked matters */
	kick_put(k);
	return NULL;
}

void uring_kick_end(struct uring_channel *u)
{
	if (u->kick)
		kick_put(u->kick);
	u->kick = NULL;
}

static void start(struct uring_channel *u, unsigned cpu)
{
	const char *path = u->channel->mount->mountpoint;
	size_t size = strlen(path) + 1;
	struct uring_kick *k = cpu < CPU_SETSIZE ? malloc(sizeof(*k) + size) : NULL;
	pthread_attr_t detached;
	pthread_t tid;

	if (!k)
		return; /* tried again later */
	atomic_init(&k->refs, 2);
	k->cpu = cpu;
	memcpy(k->path, path, size);
	pthread_attr_init(&detached);
	/* not waited for: while the mount hangs it does, too, and ends with the connection */
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&tid, &detached, ask, k) == 0) {
		u->kick = k;
		stats_add(&u->channel->thread->stats.kicks, 1);
	} else {
		free(k);
	}
	pthread_attr_destroy(&detached);
}

void uring_kick(struct uring_channel *u)
{
	uint64_t now;

	if (!u->channel->thread->parked) {
		u->kick_wait_ns = 0;
		return;
	}
	now = stats_now_ns();
	if (!u->kick_wait_ns || now < u->kick_at_ns)
		return;
	if (u->kick && atomic_load(&u->kick->refs) > 1)
		return; /* under way */
	uring_kick_end(u);
	for (unsigned n = 0; n < u->queues_count && !u->kick; n++) {
		struct uring_queue *q = &u->queues[u->kick_next++ % u->queues_count];
		if (q->piled)
			start(u, q->qid);
	}
	u->kick_at_ns = now + u->kick_wait_ns;
	u->kick_wait_ns = u->kick_wait_ns < KICK_LONGEST_NS ? u->kick_wait_ns * 2 : KICK_LONGEST_NS;
}

void uring_kick_wanted(struct uring_channel *u, struct uring_queue *q)
{
	q->piled = true;
	u->kick_wait_ns = KICK_FIRST_NS;
	u->kick_at_ns = 0;
}
