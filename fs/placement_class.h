/* SPDX-License-Identifier: MIT */
/*
 * placement_class.h - in which scheduling class a serving thread runs: a normal one, or SCHED_IDLE.
 *
 * A reply wakes the caller while the serving thread still holds its CPU. So the
 * kernel moves the caller to another CPU that is idle, where it first has to be
 * woken up: 40 us on a virtual machine, for a request of 7. But a CPU that
 * runs only tasks of class SCHED_IDLE counts as idle itself (sched_idle_cpu() in
 * select_idle_sibling(), kernel/sched/fair.c, Linux 5.4 to 6.18): then the caller
 * stays, and its next request finds the serving thread on the same CPU.
 *
 * Where no other CPU is idle nothing moves the caller away, and the class would only draw others here: one
 * caller beside one program that computes got half as much with it. So it is used only while other CPUs idle.
 *
 * A SCHED_IDLE thread gets next to nothing while others want its CPU (weight 3
 * of 1027). So it is of that class only while requests come a few at a time, and
 * a guard watches it: a normal thread that looks every 2 ms at the threads which
 * are idle-class. One that has work and has not moved for two looks, or that
 * waits long for its CPU each time, becomes normal again at once, and stays so
 * for a pause that doubles each time. What such a thread may hold (locks of ours
 * or of the kernel, such as a directory's) others wait for no longer than that. When
 * requests cease all become normal and the guard sleeps: without guard no thread
 * is idle-class, and a thread that is about to become so wakes it first.
 *
 * Kernel workers and threads of ours that an idle-class thread makes inherit the
 * class. The guard takes it from them.
 *
 * The way back from SCHED_IDLE needs CAP_SYS_NICE or RLIMIT_NICE of at least 20
 * minus the nice value (sched(7), since Linux 2.6.39): tried once by the guard on itself. Where it
 * does not exist the class is never changed; the start says so.
 */
#ifndef URINGFS_PLACEMENT_CLASS_H
#define URINGFS_PLACEMENT_CLASS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct server;
struct server_thread;

/** One look of the guard at a thread. */
struct class_sample {
	uint64_t now_ns;
	uint64_t turns;    /* of its loop so far */
	bool has_work;     /* something waits for it, or it is in the middle of something */
	bool runnable;     /* it runs or would like to, and does not sleep in a call: state R of proc(5) */
	uint64_t run_ns;   /* in all: time on a CPU; this and the next two are in proc(5) schedstat */
	uint64_t delay_ns; /* in all: how long it was ready and did not run */
	uint64_t slices;   /* in all: how often it got the CPU */
};

enum class_verdict {
	CLASS_STAY,
	CLASS_STARVED,   /* has work, and nothing happens */
	CLASS_CONTENDED, /* waits long for its CPU each time */
	CLASS_QUIET,     /* has next to nothing to do */
	CLASS_VERDICTS_COUNT
};

/** What the guard knows of a thread that is idle-class. Guard only. */
struct class_watch {
	bool watched;      /* there was a look since it became idle-class */
	uint64_t began_ns; /* its becoming so, as the guard has seen it */
	unsigned looks;
	uint64_t turns;    /* at the last look */
	bool had_work;
	bool suspect;      /* had work and did not move the last time */
	uint64_t suspect_ns, suspect_run_ns; /* when that was, and run_ns then */
	struct class_sample measured; /* the last one with figures of schedstat */
};

/** The class of one thread. */
struct place_class {
	pid_t tid;
	_Atomic bool idle;            /* idle-class, or about to be; the owner sets it, any thread ends it */
	_Atomic uint64_t turns;       /* of the loop; owner */
	uint64_t requests_seen, window_requests; /* owner: at the last turn; where the window began */
	unsigned window_turns;        /* owner: turns that brought requests */
	uint64_t normal_ns, normal_delay_ns; /* owner: as a normal thread, the last window that was shallow: when, and its delay_ns */
	uint64_t elsewhere_ns, elsewhere; /* owner: when it last looked, ticks of other CPUs' idleness */
	_Atomic uint64_t since_ns;    /* when it became idle-class; owner */
	_Atomic uint64_t not_before_ns; /* not idle-class again before; UINT64_MAX: never */
	uint64_t pause_ns;            /* the last pause; guard */
	struct class_watch watch;     /* guard */
	int stat_fd, schedstat_fd;    /* guard's, the second one the owner's, too; -1: none */
	bool figures;                 /* both can be read */
	_Atomic uint64_t switches, idle_ns;            /* statistics */
	_Atomic uint64_t ended[CLASS_VERDICTS_COUNT];  /* the same: by reason */
};

/** placement_class_shallow() - whether @arrivals requests in @turns turns came a few at a time; @idle: the class now; pure. */
bool placement_class_shallow(unsigned turns, uint64_t arrivals, bool idle);
/**
 * placement_class_look() - what a look means; pure
 * @w: of the thread; updated
 * @s: the last four need be there only when placement_class_measures() says so
 */
enum class_verdict placement_class_look(struct class_watch *w, const struct class_sample *s);
/** placement_class_measures() - whether a look needs all of @s, of which the system has to be asked; pure. */
bool placement_class_measures(const struct class_watch *w, const struct class_sample *s);
/** placement_class_free_cpu() - whether a normal thread that waited @delay_ns of @spent_ns for its CPU has it for itself and its callers; pure. */
bool placement_class_free_cpu(uint64_t delay_ns, uint64_t spent_ns);
/** placement_class_idle_elsewhere() - whether @idle_ticks (1/100 s) of other CPUs in @spent_ns are enough for a caller to be moved there; pure. */
bool placement_class_idle_elsewhere(uint64_t idle_ticks, uint64_t spent_ns);
/**
 * placement_class_pause() - how long to stay normal after an end for cause
 * @last_ns: the pause before, 0: none; @stayed_ns: how long it was idle-class
 * Return: nanoseconds; pure
 */
uint64_t placement_class_pause(uint64_t last_ns, uint64_t stayed_ns);

/** placement_class_turn() - after each turn of the serving loop. Thread: owner; a system call now and then. */
void placement_class_turn(struct server_thread *t);

/** placement_class_end() - normal from now on, for good. Thread: owner. */
void placement_class_end(struct server_thread *t);

/* ---- placement_guard.c ------------------------------------------------------------ */

struct place_guard;

/**
 * placement_guard_start() - the guard over all serving threads, which run; srv->guard
 * Thread: main.  Return: 0, also where the class cannot be used: placement_guard_why(); -ENOMEM, -EAGAIN no thread
 */
int placement_guard_start(struct server *srv);
/** placement_guard_stop() - all threads are normal and stay so; the guard ends. Before the rings do. Thread: main. */
void placement_guard_stop(struct server *srv);
/** placement_guard_why() - why the class is never changed; "" when it is. Constant text. Thread: any. */
const char *placement_guard_why(const struct server *srv);
/** placement_class_schedstat() - fill in run_ns, delay_ns and slices of the thread. Return false: they cannot be read. Thread: guard or owner. */
bool placement_class_schedstat(const struct place_class *c, struct class_sample *s);
/** placement_guard_wake() - a thread is about to become idle-class. Return: false: it must not. Thread: serving. */
bool placement_guard_wake(struct place_guard *g);

#endif
