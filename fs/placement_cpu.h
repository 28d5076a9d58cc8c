/* SPDX-License-Identifier: MIT */
/*
 * placement_cpu.h - on which CPU a thread serves its queues of FUSE-over-io_uring.
 *
 * The kernel puts a request into the queue of the caller's CPU. While requests
 * come a few at a time, the thread that serves them does best on that CPU: no
 * other has to be woken. A thread with one queue is pinned there. One that
 * serves the queues of several CPUs follows the only one that has callers.
 *
 * When a CPU goes offline the kernel has its threads run elsewhere, and leaves
 * them so when it comes back: then they go back themselves. The same with a CPU that a cpuset took
 * and gave back.
 */
#ifndef URINGFS_PLACEMENT_CPU_H
#define URINGFS_PLACEMENT_CPU_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define PLACE_CALLER_NONE (-1)
#define PLACE_CALLER_SEVERAL (-2)

struct server_thread;

/** One thread's place. Owned by the thread; moves is read by others. */
struct place {
	int home;                /* CPU; -1: not pinned, never moves */
	int caller;              /* the only queue that requests of this window came from, or PLACE_CALLER_ */
	unsigned turns, arrivals; /* of this window */
	uint64_t requests_seen;
	uint64_t not_before_ns;  /* after a refusal */
	_Atomic uint64_t moves;
};

/**
 * placement_cpu_goal() - where a thread should be after a window; pure
 * @turns, @arrivals: turns that brought requests, and how many these were
 * @caller: as in struct place; @at: the CPU that it runs on
 * Return: the CPU to go to; -1: stay
 */
int placement_cpu_goal(int home, int at, unsigned turns, unsigned arrivals, int caller);

/** placement_idle_fn - @ticks: 1/100 s so far in which @cpu was idle, or would have been but for I/O: with someone who waits in a ring it is idle, too */
typedef void (*placement_idle_fn)(void *arg, int cpu, uint64_t ticks);
/**
 * placement_cpu_idle() - @each is called with @arg for every CPU that is online
 * Thread: any; reads a file of the kernel.  Return: false when it cannot be opened
 * Source: proc(5), /proc/stat
 */
bool placement_cpu_idle(placement_idle_fn each, void *arg);

/** placement_cpu_allowed() - whether the daemon may use @cpu now: the main thread was never pinned. Thread: any; a system call. */
bool placement_cpu_allowed(int cpu);

/** placement_cpu_init() - @t is pinned to t->cpu, or not at all. Thread: owner. */
void placement_cpu_init(struct server_thread *t);
/** placement_cpu_turn() - after each turn of the serving loop. Thread: owner; a system call now and then. */
void placement_cpu_turn(struct server_thread *t);
/** placement_cpu_caller() - a request of queue @qid, one of the thread's own, has come. Thread: owner. */
void placement_cpu_caller(struct server_thread *t, int qid);

#endif
