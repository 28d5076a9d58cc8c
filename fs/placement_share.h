/* SPDX-License-Identifier: MIT */
/*
 * placement_share.h - when threads serve each other's queues of FUSE-over-io_uring.
 *
 * While requests come a few at a time each queue is served by the thread on its CPU: no other has to be woken. A caller
 * who keeps many under way shares that CPU with the thread, and other CPUs idle. So when batches are large and some CPU
 * is idle, threads lend entries of their queues to others (transport_uring_share.c), and both serve the queue. A request costs more
 * on another CPU than the caller's, for all that it touches has to come from there: whether sharing pays is measured, first
 * without, then with it, and both once more; it is kept only where each time a good part more requests a second are served. It ends when
 * batches are small, or requests pause; what it was worth is measured again now and then, and when fewer requests come than it was
 * kept for. Where it was not worth it, the next try comes later, each time.
 *
 * This is decided for all threads together: the kernel's scheduler may move a caller to and fro between CPUs, and so
 * between queues. A thread that ends a window of turns looks; two never look together.
 */
#ifndef URINGFS_PLACEMENT_SHARE_H
#define URINGFS_PLACEMENT_SHARE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define SHARE_HELPERS_MAX 16u

struct server;
struct server_thread;

enum share_phase {
	SHARE_HOME,  /* everybody serves his own queue */
	SHARE_BASE,  /* how many requests a second are served as it is? And who is idle? */
	SHARE_TRY,   /* with one helper more: it has begun */
	SHARE_TRIED, /* and is being measured */
	SHARE_KEPT,  /* it was worth it */
};

/** Figures of all threads together, at one moment. */
struct share_sample {
	uint64_t now_ns;
	uint64_t requests, turns; /* so far: by FUSE-over-io_uring; turns that brought some */
};

/** The state of the decision; of whoever looks. */
struct share_judge {
	enum share_phase phase;
	unsigned level;          /* helpers for each queue with large batches */
	unsigned small, lost;    /* looks in a row with small batches; with fewer requests than it was kept for */
	unsigned wins;           /* measurements in a row that found it worth it, before it is kept */
	bool always;             /* worth it or not, for tests */
	bool full;               /* one helper more was not worth it, or there is none */
	double base, worth;      /* requests a second at the level below; at this one, when it was kept */
	struct share_sample from; /* what is measured began here */
	uint64_t not_before_ns, pause_ns; /* of the next try */
	uint64_t recheck_ns, checked_ns;  /* how long it is kept unquestioned; since when */
};

enum share_verdict { SHARE_STAY, SHARE_LOOK_IDLE, SHARE_IDLE_SINCE, SHARE_CHANGED };

/**
 * placement_share_judge() - what the figures mean; pure
 * @deep: the thread that looks has large batches
 * Return: SHARE_STAY; SHARE_CHANGED: j->level is another one; SHARE_LOOK_IDLE: note how idle the CPUs are; SHARE_IDLE_SINCE: tell
 * placement_share_helpers() how many helpers there are
 */
enum share_verdict placement_share_judge(struct share_judge *j, const struct share_sample *s, bool deep);
/**
 * placement_share_helpers() - the answer to SHARE_IDLE_SINCE; pure
 * @count: of CPUs that were idle for a good part of the time
 * Return: SHARE_CHANGED or SHARE_STAY
 */
enum share_verdict placement_share_helpers(struct share_judge *j, const struct share_sample *s, unsigned count);

/** Of the whole daemon. */
struct place_share {
	_Atomic unsigned level;   /* 0: nobody shares */
	_Atomic unsigned helpers_count;
	_Atomic unsigned helpers[SHARE_HELPERS_MAX]; /* threads whose CPUs were idle, the idlest first */
	atomic_flag looking;      /* guards the next ones */
	struct share_judge judge;
	uint64_t idle_since_ns;
	_Atomic uint64_t on_since_ns; /* 0: not shared */
	_Atomic uint64_t moves, away_ns; /* statistics: changes of the level; how long it was not 0 */
};

/** Of one thread. Its own, but for what is atomic. */
struct place_share_thread {
	uint64_t requests_seen, window_requests;
	unsigned window_turns;
	uint64_t window_ns;      /* while sharing: when the window began */
	_Atomic unsigned guests; /* entries of others that it has, or that are on their way to it */
	bool moving;             /* an answer that is to be handed over came in this turn */
	bool deep;               /* batches of the last window were large */
	unsigned next;           /* helper */
	uint64_t idle_ticks;     /* of its CPU, when last noted; who looks */
	_Atomic uint64_t turns, given; /* that brought requests; entries handed over */
};

/** placement_share_turn() - after each turn of the serving loop. Thread: owner; reads /proc/stat now and then. */
void placement_share_turn(struct server_thread *t);
/** placement_share_threads() - how many serve a queue with large batches. Thread: any. */
unsigned placement_share_threads(const struct server *srv);
/** placement_share_on() - whether threads keep what others have lent them. Thread: any. */
bool placement_share_on(const struct server *srv);
/**
 * placement_share_helper() - who is to have the next entry of a queue of @t
 * @own, @lent: how many the thread and others have
 * Return: index of a thread, perhaps t's own.  Thread: owner
 */
unsigned placement_share_helper(struct server_thread *t, unsigned own, unsigned lent);
/** placement_share_why() - why queues are never shared; "" when they may be. Constant text. Thread: any. */
const char *placement_share_why(const struct server *srv);
/** placement_share_ms() - how long they have been shared so far. Thread: any. */
uint64_t placement_share_ms(const struct server *srv);

#endif
