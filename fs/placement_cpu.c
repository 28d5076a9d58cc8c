/* SPDX-License-Identifier: MIT */
/* placement_cpu.c - see placement_cpu.h. */
#include "fs/placement_cpu.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fs/server.h"

#define WINDOW_TURNS 64u
#define SHALLOW_BATCH 2u           /* requests in a turn, on average, below which it matters to be where the caller is */
#define PAUSE_NS 1000000000ull     /* after a refusal */

int placement_cpu_goal(int home, int at, unsigned turns, unsigned arrivals, int caller)
{
	if (arrivals < SHALLOW_BATCH * turns && caller >= 0 && caller != home)
		return caller;
	return at != home ? home : -1;
}

bool placement_cpu_idle(placement_idle_fn each, void *arg)
{
	unsigned long long idle, io;
	char line[512];
	int cpu;
	FILE *f = fopen("/proc/stat", "re");

	if (!f)
		return false;
	while (fgets(line, sizeof(line), f) && !strncmp(line, "cpu", 3))
		if (sscanf(line, "cpu%d %*u %*u %*u %llu %llu", &cpu, &idle, &io) == 3)
			each(arg, cpu, idle + io);
	(void)fclose(f); /* read only */
	return true;
}

void placement_cpu_init(struct server_thread *t)
{
	t->place = (struct place){ .home = t->cpu, .caller = PLACE_CALLER_NONE };
}

void placement_cpu_caller(struct server_thread *t, int qid)
{
	if (t->place.caller != qid)
		t->place.caller = t->place.caller == PLACE_CALLER_NONE ? qid : PLACE_CALLER_SEVERAL;
}

bool placement_cpu_allowed(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	(void)sched_getaffinity(getpid(), sizeof(set), &set); /* none when it fails */
	return cpu >= 0 && cpu < CPU_SETSIZE && CPU_ISSET(cpu, &set);
}

void placement_cpu_turn(struct server_thread *t)
{
	struct place *p = &t->place;
	uint64_t requests = stats_get(&t->stats.requests_uring), now;
	unsigned came = (unsigned)(requests - p->requests_seen);
	int goal;

	if (p->home < 0 || !came || placement_stream_away(t))
		return;
	p->requests_seen = requests;
	p->arrivals += came;
	if (++p->turns < WINDOW_TURNS)
		return;
	goal = placement_cpu_goal(p->home, sched_getcpu(), p->turns, p->arrivals, p->caller);
	p->turns = p->arrivals = 0;
	p->caller = PLACE_CALLER_NONE;
	if (goal < 0)
		return;
	now = stats_now_ns();
	if (now < p->not_before_ns)
		return;
	if (placement_cpu_allowed(goal) && ring_move(t->ring, goal) == 0) {
		p->home = goal;
		stats_add(&p->moves, 1);
	} else {
		p->not_before_ns = now + PAUSE_NS; /* offline, or not in the cpuset */
	}
}
