/* SPDX-License-Identifier: MIT */
/* placement_cpu.c - see placement_cpu.h. */
#include "fs/placement_cpu.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "fs/server.h"

#define WINDOW_TURNS 64u
#define MS 1000000u
#define DEEP_BATCH 4u            /* requests in a turn, on average, from which on another CPU pays */
#define SHALLOW_BATCH 2u         /* below it does not */
#define SHALLOW_WINDOWS 2u
#define DEEP_LASTS_NS (30 * MS)  /* three ticks of the kernel's idle times */
#define IDLE_PAUSE_NS (100 * MS) /* without requests: home, for the next one may be single */
#define PAUSE_FIRST_NS (50 * MS)
#define PAUSE_MAX_NS (3200ull * MS)
#define STAYED_NS (1000ull * MS) /* who was away so long was right to go */
#define SWITCHES_MAX 8           /* involuntary ones in a window while away: others run there */
#define OTHER_REQUESTS_MAX 16u   /* of the thread whose home it is */

/* ---- judging ---------------------------------------------------------------------- */

static bool is_away(const struct place *p)
{
	return p->at != p->home;
}

enum place_verdict placement_cpu_judge(struct place *p, const struct place_window *w)
{
	bool deep = w->arrivals >= DEEP_BATCH * w->turns, small = w->arrivals < SHALLOW_BATCH * w->turns;

	if (is_away(p)) {
		p->shallow = small ? p->shallow + 1 : 0;
		if (w->contended || w->spent_ns > IDLE_PAUSE_NS || p->shallow >= SHALLOW_WINDOWS)
			return PLACE_GO_HOME;
		return PLACE_STAY;
	}
	if (!deep) {
		p->deep_ns = 0;
		/* a thread with the queues of several CPUs */
		return small && w->caller >= 0 && w->caller != p->home ? PLACE_FOLLOW : PLACE_STAY;
	}
	if (w->now_ns - p->moved_ns < p->pause_ns)
		return PLACE_STAY;
	if (!p->deep_ns || w->now_ns - p->deep_ns >= DEEP_LASTS_NS)
		return PLACE_SEARCH;
	return PLACE_STAY;
}

void placement_cpu_moved(struct place *p, int cpu, uint64_t now_ns)
{
	bool back = is_away(p) && cpu == p->home;

	if (back && now_ns - p->moved_ns < STAYED_NS)
		p->pause_ns = p->pause_ns * 2 < PAUSE_MAX_NS ? p->pause_ns * 2 : PAUSE_MAX_NS;
	else if (back)
		p->pause_ns = PAUSE_FIRST_NS;
	if (back)
		stats_add(&p->away_ns, now_ns - p->moved_ns);
	p->at = cpu;
	p->moved_ns = now_ns;
	p->deep_ns = 0;
	p->shallow = 0;
	stats_add(&p->moves, 1);
}

int placement_cpu_idlest(const uint64_t *before, const uint64_t *after, int count, const bool *allowed, int at, uint64_t ticks)
{
	uint64_t most = 0;
	int best = -1;

	for (int n = 1; n < count; n++) {
		int cpu = (at + n) % count; /* neighbours first */
		if (!allowed[cpu] || before[cpu] == UINT64_MAX || after[cpu] == UINT64_MAX || after[cpu] < before[cpu])
			continue;
		if (after[cpu] - before[cpu] > most) {
			most = after[cpu] - before[cpu];
			best = cpu;
		}
	}
	return most * 3 >= ticks * 2 ? best : -1;
}

/* ---- looking at the system ------------------------------------------------------------ */

/** read_idle() - idle ticks of each online CPU: /proc/stat (proc(5)), fourth number. Return false when it cannot be read. */
static bool read_idle(uint64_t *idle)
{
	char line[512];
	FILE *f = fopen("/proc/stat", "re");

	if (!f)
		return false;
	for (unsigned n = 0; n < PLACE_CPUS_MAX; n++)
		idle[n] = UINT64_MAX;
	while (fgets(line, sizeof(line), f) && !strncmp(line, "cpu", 3)) {
		unsigned long long ticks;
		unsigned cpu;
		if (sscanf(line, "cpu%u %*u %*u %*u %llu", &cpu, &ticks) == 2 && cpu < PLACE_CPUS_MAX)
			idle[cpu] = ticks;
	}
	(void)fclose(f); /* read only */
	return true;
}

/** allowed_cpus() - those that the daemon may use now: the main thread was never pinned. */
static void allowed_cpus(bool *allowed)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	(void)sched_getaffinity(getpid(), sizeof(set), &set); /* none allowed when it fails */
	for (int n = 0; n < PLACE_CPUS_MAX; n++)
		allowed[n] = n < CPU_SETSIZE && CPU_ISSET(n, &set);
}

static void move(struct server_thread *t, int cpu, uint64_t now)
{
	if (ring_move(t->ring, cpu) == 0)
		placement_cpu_moved(&t->place, cpu, now);
	else
		t->place.moved_ns = now; /* refused (a cpuset has changed, the CPU went offline): not again at once */
}

/** search() - large batches: note how idle the CPUs are, and later go where one was. */
static void search(struct server_thread *t, uint64_t now)
{
	struct place *p = &t->place;
	uint64_t after[PLACE_CPUS_MAX];
	bool allowed[PLACE_CPUS_MAX];
	int cpu = -1;

	if (!p->deep_ns) {
		p->deep_ns = read_idle(p->idle) ? now : 0;
		return;
	}
	allowed_cpus(allowed);
	if (read_idle(after))
		cpu = placement_cpu_idlest(p->idle, after, PLACE_CPUS_MAX, allowed, p->at, (now - p->deep_ns) / (10 * MS));
	p->deep_ns = 0;
	if (cpu >= 0)
		move(t, cpu, now);
}

/** contended() - whether others want the CPU that this thread is visiting. */
static bool contended(struct server_thread *t)
{
	struct place *p = &t->place;
	struct rusage usage = { 0 };
	uint64_t others = 0;
	bool res;

	if (!is_away(p))
		return false;
	(void)getrusage(RUSAGE_THREAD, &usage); /* zeros when it fails: not contended */
	for (unsigned n = 0; n < t->server->threads_count; n++)
		if (&t->server->threads[n] != t && t->server->threads[n].cpu == p->at)
			others = stats_get(&t->server->threads[n].stats.requests_uring);
	res = usage.ru_nivcsw - p->switches > SWITCHES_MAX || others - p->other_requests > OTHER_REQUESTS_MAX;
	if (p->window_ns <= p->moved_ns) /* the first window there: what came before says nothing */
		res = false;
	p->switches = usage.ru_nivcsw;
	p->other_requests = others;
	return res;
}

/* ---- the thread's calls ------------------------------------------------------------------ */

void placement_cpu_init(struct server_thread *t)
{
	t->place = (struct place){ .home = t->cpu, .at = t->cpu, .caller = -1, .pause_ns = PAUSE_FIRST_NS };
	t->place.idle = calloc(PLACE_CPUS_MAX, sizeof(*t->place.idle));
	if (!t->place.idle)
		t->place.home = t->place.at = -1; /* stays where it is */
}

void placement_cpu_fini(struct server_thread *t)
{
	free(t->place.idle);
	t->place.idle = NULL;
}

void placement_cpu_caller(struct server_thread *t, int qid)
{
	if (t->place.caller != qid)
		t->place.caller = t->place.caller == -1 ? qid : -2;
}

void placement_cpu_turn(struct server_thread *t)
{
	struct place *p = &t->place;
	uint64_t requests = stats_get(&t->stats.requests_uring);
	unsigned came = (unsigned)(requests - p->requests_seen);
	struct place_window w;
	bool allowed[PLACE_CPUS_MAX];

	if (p->home < 0 || !came)
		return;
	p->requests_seen = requests;
	p->turns++;
	p->arrivals += came;
	if (p->turns < WINDOW_TURNS && !(is_away(p) && stats_now_ns() - p->window_ns > IDLE_PAUSE_NS))
		return;
	w = (struct place_window){ .turns = p->turns, .arrivals = p->arrivals, .now_ns = stats_now_ns(), .caller = p->caller };
	w.spent_ns = w.now_ns - p->window_ns;
	w.contended = contended(t);
	switch (placement_cpu_judge(p, &w)) {
	case PLACE_SEARCH:
		search(t, w.now_ns);
		break;
	case PLACE_GO_HOME:
		move(t, p->home, w.now_ns);
		break;
	case PLACE_FOLLOW:
		allowed_cpus(allowed);
		if (w.caller < PLACE_CPUS_MAX && allowed[w.caller] && ring_move(t->ring, w.caller) == 0) {
			p->home = p->at; /* a move of the home is no visit */
			placement_cpu_moved(p, w.caller, w.now_ns);
			p->home = w.caller;
		}
		break;
	case PLACE_STAY:
		break;
	}
	p->turns = p->arrivals = 0;
	p->caller = -1;
	p->window_ns = w.now_ns;
}
