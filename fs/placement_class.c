/* SPDX-License-Identifier: MIT */
/* placement_class.c - the decisions, and the serving thread's part; see placement_class.h. */
#include "fs/placement_class.h"

#include <sched.h>

#include "backend/util/delay.h"
#include "fs/server.h"

#define MS 1000000u
#define WINDOW_TURNS 64u
#define SHALLOW_BATCH 2u          /* requests in a turn, on average, below which the class pays */
#define SHALLOW_BATCH_IDLE 3u     /* the same for who has it */
#define LOOKS_MEASURE 8u          /* so many looks between two of schedstat */
#define DELAY_EACH_NS 100000u     /* waits longer for the CPU each time: 40 us cannot make that good */
#define LOOKS_QUIET 64u
#define QUIET_TURNS 16u           /* fewer in so many looks */
#define PAUSE_FIRST_NS (20 * MS)
#define PAUSE_MAX_NS (3200ull * MS)
#define LOOK_BACK_NS (100ull * MS) /* what was longer ago says nothing about now */
#define ELSEWHERE_NS (30ull * MS)  /* three ticks of the kernel's idle times */
#define TAKEN_PAUSE_NS (50 * MS)  /* then a CPU that others wanted is asked about again */
#define STAYED_NS (1000ull * MS)  /* who was idle-class so long was right to be */

/* ---- decisions -------------------------------------------------------------------- */

bool placement_class_shallow(unsigned turns, uint64_t arrivals, bool idle)
{
	return arrivals < (uint64_t)(idle ? SHALLOW_BATCH_IDLE : SHALLOW_BATCH) * turns;
}

/** stuck() - it had work and still has, and did nothing between. */
static bool stuck(const struct class_watch *w, const struct class_sample *s)
{
	return w->watched && s->has_work && w->had_work && s->turns == w->turns;
}

bool placement_class_measures(const struct class_watch *w, const struct class_sample *s)
{
	return !w->watched || (w->looks + 1) % LOOKS_MEASURE == 0 || stuck(w, s);
}

/** starved() - stuck for two looks: neither asleep in a call nor on a CPU. */
static bool starved(struct class_watch *w, const struct class_sample *s)
{
	bool before = w->suspect;
	uint64_t ran = s->run_ns - w->suspect_run_ns, spent = s->now_ns - w->suspect_ns;

	w->suspect = stuck(w, s) && s->runnable;
	w->suspect_run_ns = s->run_ns;
	w->suspect_ns = s->now_ns;
	return w->suspect && before && ran * 4 < spent;
}

static enum class_verdict measured(struct class_watch *w, const struct class_sample *s)
{
	uint64_t delay = s->delay_ns - w->measured.delay_ns, slices = s->slices - w->measured.slices;
	uint64_t spent = s->now_ns - w->measured.now_ns;

	w->measured.delay_ns = s->delay_ns;
	w->measured.slices = s->slices;
	w->measured.now_ns = s->now_ns;
	/* a long wait now and then is a caller that computes, and costs nothing: most of the time counts, too */
	if (delay * 3 > spent && delay > slices * DELAY_EACH_NS)
		return CLASS_CONTENDED;
	return CLASS_STAY;
}

enum class_verdict placement_class_look(struct class_watch *w, const struct class_sample *s)
{
	enum class_verdict res = CLASS_STAY;
	bool is_starved;

	if (!w->watched) {
		*w = (struct class_watch){ .watched = true, .began_ns = s->now_ns, .turns = s->turns, .had_work = s->has_work, .measured = *s };
		return CLASS_STAY;
	}
	is_starved = starved(w, s);
	if ((w->looks + 1) % LOOKS_MEASURE == 0)
		res = measured(w, s);
	w->looks++;
	w->turns = s->turns;
	w->had_work = s->has_work;
	if (is_starved)
		return CLASS_STARVED;
	if (res == CLASS_STAY && w->looks % LOOKS_QUIET == 0) {
		if (s->turns - w->measured.turns < QUIET_TURNS)
			return CLASS_QUIET;
		w->measured.turns = s->turns;
	}
	return res;
}

bool placement_class_free_cpu(uint64_t delay_ns, uint64_t spent_ns)
{
	return delay_ns * 3 < spent_ns;
}

bool placement_class_idle_elsewhere(uint64_t idle_ticks, uint64_t spent_ns)
{
	return idle_ticks * (10 * MS) * 5 >= spent_ns;
}

uint64_t placement_class_pause(uint64_t last_ns, uint64_t stayed_ns)
{
	if (!last_ns || stayed_ns >= STAYED_NS)
		return PAUSE_FIRST_NS;
	return last_ns * 2 < PAUSE_MAX_NS ? last_ns * 2 : PAUSE_MAX_NS;
}

/* ---- the serving thread ------------------------------------------------------------- */

/** Sum of what CPUs other than one were idle. */
struct elsewhere {
	int cpu;
	uint64_t ticks;
};

static void add_elsewhere(void *arg, int cpu, uint64_t ticks)
{
	struct elsewhere *e = arg;

	if (cpu != e->cpu)
		e->ticks += ticks;
}

/** elsewhere() - ticks so far of CPUs other than @cpu; 0: not known. */
static uint64_t elsewhere(int cpu)
{
	struct elsewhere e = { .cpu = cpu };

	(void)placement_cpu_idle(add_elsewhere, &e);
	return e.ticks;
}

/**
 * others_idle() - whether the caller would be moved away: there is a CPU that idles. Where all are busy he stays by himself, and those who
 * keep them busy would come here, for a CPU with an idle-class thread counts as idle to them, too.
 */
static bool others_idle(struct server_thread *t, uint64_t now)
{
	struct place_class *c = &t->class;
	uint64_t before = c->elsewhere, spent = now - c->elsewhere_ns;

	if (c->elsewhere_ns && spent < ELSEWHERE_NS)
		return false;
	c->elsewhere = elsewhere(t->cpu);
	c->elsewhere_ns = now;
	return before && spent < LOOK_BACK_NS && placement_class_idle_elsewhere(c->elsewhere - before, spent);
}

/** may_step_back() - small batches; and since the last time of asking nobody else wanted the CPU for long. */
static bool may_step_back(struct place_class *c, uint64_t now)
{
	uint64_t since_ns = c->normal_ns, delay_ns = c->normal_delay_ns;
	struct class_sample s = { 0 };

	if (now < atomic_load_explicit(&c->not_before_ns, memory_order_relaxed) || !placement_class_schedstat(c, &s))
		return false;
	c->normal_ns = now;
	c->normal_delay_ns = s.delay_ns;
	if (!since_ns || now - since_ns > LOOK_BACK_NS)
		return false;
	if (placement_class_free_cpu(s.delay_ns - delay_ns, now - since_ns))
		return true;
	atomic_store(&c->not_before_ns, now + TAKEN_PAUSE_NS);
	return false;
}

/** step_back() - become idle-class, under the guard's eyes. */
static void step_back(struct server_thread *t, uint64_t now)
{
	const struct sched_param none = { 0 };
	struct place_class *c = &t->class;

	/* before the guard is woken: one that is about to sleep looks once more after it has said so, and either sees this or is woken */
	atomic_store(&c->since_ns, now);
	atomic_store(&c->idle, true);
	delay_point();
	/* somebody has given this thread another class (chrt(1)): it keeps that */
	if (sched_getscheduler(0) != SCHED_OTHER || !placement_guard_wake(t->server->guard)) {
		atomic_store(&c->idle, false);
		atomic_store(&c->not_before_ns, now + PAUSE_MAX_NS);
		return;
	}
	if (sched_setscheduler(0, SCHED_IDLE, &none) < 0) {
		atomic_store(&c->idle, false);
		atomic_store(&c->not_before_ns, UINT64_MAX);
		return;
	}
	stats_add(&c->switches, 1);
}

/** step_forward() - become normal again; first that, for as long as idle is set the guard watches. */
static void step_forward(struct server_thread *t, uint64_t now)
{
	const struct sched_param none = { 0 };
	struct place_class *c = &t->class;

	if (sched_getscheduler(0) == SCHED_IDLE)
		(void)sched_setscheduler(0, SCHED_OTHER, &none); /* was permitted at the start */
	if (atomic_exchange(&c->idle, false))
		atomic_fetch_add(&c->idle_ns, now - atomic_load(&c->since_ns));
}

void placement_class_end(struct server_thread *t)
{
	atomic_store(&t->class.not_before_ns, UINT64_MAX);
	if (atomic_load(&t->class.idle))
		step_forward(t, stats_now_ns());
}

void placement_class_turn(struct server_thread *t)
{
	struct place_class *c = &t->class;
	uint64_t requests = stats_get(&t->stats.requests), arrivals, now;
	bool idle, stay;

	stats_add(&c->turns, 1);
	if (requests == c->requests_seen)
		return;
	c->requests_seen = requests;
	if (placement_stream_away(t)) { /* an idle-class thread would draw the caller to its CPU */
		if (atomic_load_explicit(&c->idle, memory_order_relaxed))
			step_forward(t, stats_now_ns());
		return;
	}
	if (++c->window_turns < WINDOW_TURNS)
		return;
	arrivals = requests - c->window_requests;
	idle = atomic_load_explicit(&c->idle, memory_order_relaxed);
	/* who serves queues of others is to be found on his CPU */
	stay = (placement_class_shallow(c->window_turns, arrivals, idle) && !placement_share_on(t->server)) == idle;
	c->window_requests = requests;
	c->window_turns = 0;
	if (stay || t->cpu < 0 || !c->figures)
		return;
	now = stats_now_ns();
	if (idle)
		step_forward(t, now);
	else if (may_step_back(c, now) && others_idle(t, now))
		step_back(t, now);
}
