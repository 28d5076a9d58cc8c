/* SPDX-License-Identifier: MIT */
/*
 * placement_stream.h - when a stream of reads is served on a CPU that its caller does not use.
 *
 * Who reads a file from its beginning has the kernel read ahead: a READ of 128 KiB is sent when the pages before it
 * are about to be copied to the caller. So here both could work at the same time; but on the caller's own CPU, where
 * single requests are served best (placement_cpu.h), they take turns: three copies of each byte, one after the other.
 * On another CPU the daemon's two copies are made beside the caller's own one (1.5 to 1.8 times as fast, tests/bench/README.md).
 *
 * So when most of a thread's requests are large READs of page cache pages and some CPU is idle, the thread goes
 * there, as long as more bytes a second come of it: measured first without, then with it, and again now and then. Where it
 * was not worth it, or no CPU was idle, the next try comes later, each time. A thread goes home when its requests are of
 * another kind, and with the first one after a pause.
 *
 * It is decided for all threads together, since the kernel's scheduler may move the caller, and with that its requests,
 * from one to the next. A thread that ends a window looks; two never look together.
 */
#ifndef URINGFS_PLACEMENT_STREAM_H
#define URINGFS_PLACEMENT_STREAM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STREAM_CPUS_MAX 256u    /* numbers of CPUs that are considered */
#define STREAM_PLACES_MAX 16u
#define STREAM_READ_MIN 65536u  /* bytes of a READ that is part of a stream */

struct server;
struct server_thread;

enum stream_phase {
	STREAM_HOME,  /* everybody serves on his own CPU */
	STREAM_BASE,  /* how many bytes a second come so? */
	STREAM_MOVED, /* streams have just been moved away */
	STREAM_TRIED, /* and are being measured there */
	STREAM_KEPT,  /* it was worth it */
};

/** The state of the decision; of whoever looks. */
struct stream_judge {
	enum stream_phase phase;
	bool away;                 /* streams are to be served on other CPUs */
	bool always;               /* worth it or not, for tests */
	double base;               /* units in a second at home */
	uint64_t from_ns, from_units; /* what is measured began here */
	uint64_t measure_ns;       /* how long the base is measured: until is known who is idle */
	uint64_t not_before_ns, pause_ns; /* of the next try */
	uint64_t checked_ns, recheck_ns;  /* since when it is kept; how long unquestioned */
};

enum stream_verdict {
	STREAM_STAY,
	STREAM_CHANGED, /* j->away is another one */
	STREAM_FIND,    /* tell placement_stream_found() whether a CPU was idle */
};

/**
 * placement_stream_judge() - what the figures mean; pure
 * @now_ns: monotonic; @units: read in streams so far, of any size, by all threads
 * @idle_ns: since when it has been noted how idle CPUs are; 0: not. With STREAM_CHANGED and j->away false the note is to be made anew
 */
enum stream_verdict placement_stream_judge(struct stream_judge *j, uint64_t now_ns, uint64_t units, uint64_t idle_ns);
/** placement_stream_found() - the answer to STREAM_FIND; @found: a CPU was idle for a good part of the time; pure. Return: STREAM_CHANGED or STREAM_STAY. */
enum stream_verdict placement_stream_found(struct stream_judge *j, uint64_t now_ns, uint64_t units, bool found);
/** placement_stream_is() - whether a window of @requests with @large large READs in it is part of a stream; pure. */
bool placement_stream_is(uint64_t requests, uint64_t large);
/**
 * placement_stream_pick() - where a stream is to be served; pure
 * @cpus, @count: the places, the idlest first; @caller: CPU of its caller, not to be used; @skip: how many to leave to others, where there are more
 * Return: CPU, -1: nowhere
 */
int placement_stream_pick(const int *cpus, unsigned count, int caller, unsigned skip);

/** Of the whole daemon. */
struct place_stream {
	_Atomic bool away;
	_Atomic unsigned cpus_count;
	_Atomic int cpus[STREAM_PLACES_MAX]; /* that were idle, the idlest first; then the looking thread's own */
	atomic_flag looking;      /* guards the next ones */
	struct stream_judge judge;
	uint64_t idle_ns;         /* when the next ones were noted; 0: never */
	uint64_t idle_ticks[STREAM_CPUS_MAX]; /* UINT64_MAX: offline */
	_Atomic uint64_t switches; /* statistics */
};

/** Of one thread. Its own, but for what is atomic. */
struct place_stream_thread {
	_Atomic uint64_t units;   /* of 64 KiB, read in streams so far */
	uint64_t large;           /* READs of streams so far */
	uint64_t large_from, requests_from; /* where the window began */
	uint64_t requests_seen;   /* at the last turn */
	uint64_t last_ns;         /* while away: of the last request */
	bool streaming;           /* so was the last window */
	_Atomic bool away;        /* it serves on cpu, not at home */
	int cpu;
	_Atomic uint64_t moves;   /* statistics: there and back */
};

/** placement_stream_read() - a READ of @size bytes has come; @cached: for page cache pages. Thread: owner. */
static inline void placement_stream_read(struct place_stream_thread *p, size_t size, bool cached)
{
	if (size < STREAM_READ_MIN || !cached)
		return;
	p->large++;
	atomic_store_explicit(&p->units, atomic_load_explicit(&p->units, memory_order_relaxed) + size / STREAM_READ_MIN, memory_order_relaxed);
}
/** placement_stream_start() - before threads serve. Thread: main; reads /proc/stat. */
void placement_stream_start(struct server *srv);
/** placement_stream_turn() - after each turn of the serving loop. Thread: owner; reads /proc/stat now and then. */
void placement_stream_turn(struct server_thread *t);
/** placement_stream_away() - whether @t is away from its CPU for a stream. Thread: any. */
bool placement_stream_away(const struct server_thread *t);
/** placement_stream_why() - why streams are never moved; "" when they may be. Constant text. Thread: any. */
const char *placement_stream_why(const struct server *srv);

#endif
