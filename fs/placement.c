/* SPDX-License-Identifier: MIT */
#include "placement.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/server.h"

#define ALONE_MIN 32u       /* single requests in a row before there is a leader; doubled when he was given up soon */
#define ALONE_MAX 32768u
#define LOOK_EVERY 64u      /* then the caller's CPU is looked up once in so many */

struct placement {
	_Atomic unsigned leader;    /* thread + 1; 0: all wait */
	_Atomic unsigned in_flight; /* taken and not answered, all threads */
	_Atomic unsigned alone;     /* single requests in a row */
	_Atomic unsigned alone_min; /* as many make a leader now */
	_Atomic uint64_t changes;
};

int placement_create(struct placement **ret_p)
{
	*ret_p = calloc(1, sizeof(**ret_p));
	if (*ret_p)
		atomic_init(&(*ret_p)->alone_min, ALONE_MIN);
	return *ret_p ? 0 : -ENOMEM;
}

void placement_destroy(struct placement *p)
{
	free(p);
}

bool placement_waits(const struct placement *p, unsigned index)
{
	unsigned leader = atomic_load_explicit(&p->leader, memory_order_seq_cst);

	return !leader || leader == index + 1;
}

/** cpu_of() - the CPU that @pid ran on last: field 39 of /proc/PID/stat (proc(5)); -1: unknown. */
static int cpu_of(pid_t pid)
{
	char path[32], buf[1024], *at;
	ssize_t len;
	int fd, cpu;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	len = read(fd, buf, sizeof(buf) - 1);
	(void)close(fd); /* read only */
	buf[len > 0 ? len : 0] = 0;
	at = strrchr(buf, ')'); /* behind field 2, which may hold anything */
	for (unsigned field = 2; at && field < 39; field++)
		at = strchr(at + 1, ' ');
	cpu = at ? atoi(at + 1) : -1;
	return cpu;
}

/** thread_on() - the thread pinned to @cpu, or -1. */
static int thread_on(const struct server *srv, int cpu)
{
	for (unsigned n = 0; n < srv->threads_count; n++)
		if (srv->threads[n].cpu == cpu)
			return (int)n;
	return -1;
}

int placement_taken(struct server *srv, unsigned index, pid_t pid, bool together)
{
	struct placement *p = srv->placement;
	unsigned others = atomic_fetch_add_explicit(&p->in_flight, 1, memory_order_relaxed), alone, min;
	int thread;

	if (others || together) {
		min = atomic_load_explicit(&p->alone_min, memory_order_relaxed);
		alone = atomic_exchange_explicit(&p->alone, 0, memory_order_relaxed);
		if (!atomic_load_explicit(&p->leader, memory_order_relaxed) || !atomic_exchange(&p->leader, 0))
			return -1;
		/* several callers that only now and then meet are served best by all: do not change to and fro */
		min = alone > 8 * min ? ALONE_MIN : min < ALONE_MAX ? 2 * min : ALONE_MAX;
		atomic_store_explicit(&p->alone_min, min, memory_order_relaxed);
		atomic_fetch_add_explicit(&p->changes, 1, memory_order_relaxed);
		return (int)srv->threads_count;
	}
	alone = atomic_fetch_add_explicit(&p->alone, 1, memory_order_relaxed) + 1;
	min = atomic_load_explicit(&p->alone_min, memory_order_relaxed);
	if (srv->threads_count == 1 || alone < min || (alone - min) % LOOK_EVERY)
		return -1;
	thread = thread_on(srv, cpu_of(pid));
	if (thread < 0 || atomic_exchange(&p->leader, (unsigned)thread + 1) == (unsigned)thread + 1)
		return -1;
	atomic_fetch_add_explicit(&p->changes, 1, memory_order_relaxed);
	return (unsigned)thread == index ? -1 : thread;
}

void placement_ended(struct placement *p)
{
	atomic_fetch_sub_explicit(&p->in_flight, 1, memory_order_relaxed);
}

uint64_t placement_changes(const struct placement *p)
{
	return atomic_load_explicit(&p->changes, memory_order_relaxed);
}
