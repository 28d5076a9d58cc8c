/* SPDX-License-Identifier: MIT */
/*
 * placement_cpu.h - on which CPU a thread serves its queues of FUSE-over-io_uring.
 *
 * The kernel puts a request into the queue of the caller's CPU. While requests
 * come a few at a time, the thread that serves them does best on that CPU: no
 * other has to be woken. When a caller keeps many under way, caller and thread
 * only take turns there, and another CPU that is idle serves 1.6 to 1.8 times
 * as many (DESIGN.md section 3). So: at home while batches are small, away when
 * they stay large and another allowed CPU is idle, and home again when they
 * shrink, when requests pause, or when somebody wants the other CPU. A move
 * that was soon taken back makes the thread wait longer before the next one.
 *
 * A thread that serves the queues of several CPUs follows the only one that
 * has callers.
 */
#ifndef URINGFS_PLACEMENT_CPU_H
#define URINGFS_PLACEMENT_CPU_H

#include <stdbool.h>
#include <stdint.h>

#define PLACE_CPUS_MAX 1024

struct server_thread;

/** One thread's place. Owned by the thread; moves is read by others. */
struct place {
	int home, at;            /* CPUs; -1: not pinned, never moves */
	int caller;              /* the only queue that requests of this window came from; -1 none yet, -2 several */
	unsigned turns, arrivals; /* of this window */
	unsigned shallow;        /* windows in a row with small batches, while away */
	uint64_t requests_seen;
	uint64_t window_ns;      /* when it began */
	uint64_t moved_ns;       /* last move */
	uint64_t pause_ns;       /* no move away before moved_ns + pause_ns */
	uint64_t deep_ns;        /* when the large batches began; 0: they are not */
	long switches;           /* involuntary ones at the last look */
	uint64_t other_requests; /* of the thread whose home it is, at the last look */
	uint64_t *idle;          /* per CPU, ticks of idleness when the large batches began */
	_Atomic uint64_t moves, away_ns;
};

/** What a window of turns looked like. */
struct place_window {
	unsigned turns, arrivals; /* turns that brought requests, and how many */
	uint64_t now_ns, spent_ns; /* the end of it, and its length */
	bool contended;           /* away: others want that CPU */
	int caller;               /* as in struct place */
};

enum place_verdict { PLACE_STAY, PLACE_SEARCH, PLACE_GO_HOME, PLACE_FOLLOW };

/**
 * placement_cpu_judge() - what a window means; pure
 * Return: PLACE_SEARCH: look for an idle CPU, large batches have lasted long enough
 */
enum place_verdict placement_cpu_judge(struct place *p, const struct place_window *w);
/** placement_cpu_moved() - the thread is at @cpu from @now_ns on; pure. */
void placement_cpu_moved(struct place *p, int cpu, uint64_t now_ns);
/**
 * placement_cpu_idlest() - the allowed CPU other than @at that was idle most of the time
 * @before, @after: idle ticks (1/100 s) per CPU, UINT64_MAX for those that are offline; @ticks: the time between
 * Return: the CPU, or -1 when none was idle for two thirds of it; pure
 */
int placement_cpu_idlest(const uint64_t *before, const uint64_t *after, int count, const bool *allowed, int at, uint64_t ticks);

/** placement_cpu_init() - @t is pinned to t->cpu, or not at all. Thread: owner. */
void placement_cpu_init(struct server_thread *t);
void placement_cpu_fini(struct server_thread *t);
/** placement_cpu_turn() - after each turn of the serving loop. Thread: owner; a system call now and then. */
void placement_cpu_turn(struct server_thread *t);
/** placement_cpu_caller() - a request of queue @qid has come. Thread: owner. */
void placement_cpu_caller(struct server_thread *t, int qid);

#endif
