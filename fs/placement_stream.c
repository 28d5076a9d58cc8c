/* SPDX-License-Identifier: MIT */
/* placement_stream.c - see placement_stream.h. */
#include "fs/placement_stream.h"

#include "fs/server.h"
#include "fs/session.h"

#define MS 1000000ull
#define WINDOW_LARGE 8u           /* READs; also how often is looked */
#define WINDOW_REQUESTS 32u       /* while away: of whatever kind */
#define MEASURE_NS (8 * MS)       /* some ninety requests */
#define SETTLE_NS (2 * MS)
#define IDLE_MEASURE_NS (30 * MS) /* three ticks of the kernel's idle times */
#define IDLE_OLD_NS (10000 * MS)  /* a note so old says nothing about now */
#define STALE_NS (200 * MS)       /* a measurement that took so long had pauses in it */
#define GAIN_PERCENT 10u
#define PAUSE_FIRST_NS (50 * MS)
#define PAUSE_MAX_NS (3200 * MS)
#define RECHECK_FIRST_NS (1000 * MS)
#define RECHECK_MAX_NS (16000 * MS)
#define AWAY_PAUSE_NS (20 * MS)   /* without requests: home, for the next one may be single */
#define IDLE_PERCENT 20u          /* of a CPU that can take a stream */

/* ---- judging ------------------------------------------------------------------------ */

static void begin(struct stream_judge *j, enum stream_phase phase, uint64_t now_ns, uint64_t units)
{
	j->phase = phase;
	j->from_ns = now_ns;
	j->from_units = units;
}

/** home() - @punished: it was not worth it, the next try comes later. */
static enum stream_verdict home(struct stream_judge *j, uint64_t now_ns, uint64_t units, bool punished)
{
	enum stream_verdict res = j->away ? STREAM_CHANGED : STREAM_STAY;

	begin(j, STREAM_HOME, now_ns, units);
	j->away = false;
	if (!punished || !j->pause_ns)
		j->pause_ns = PAUSE_FIRST_NS;
	else
		j->pause_ns = j->pause_ns * 2 < PAUSE_MAX_NS ? j->pause_ns * 2 : PAUSE_MAX_NS;
	j->not_before_ns = now_ns + j->pause_ns;
	return res;
}

static double rate(const struct stream_judge *j, uint64_t now_ns, uint64_t units)
{
	return (double)(units - j->from_units) * 1e9 / (double)(now_ns - j->from_ns);
}

/** base_begin() - the note of who is idle may be old enough already. */
static void base_begin(struct stream_judge *j, uint64_t now_ns, uint64_t units, uint64_t idle_ns)
{
	begin(j, STREAM_BASE, now_ns, units);
	j->measure_ns = idle_ns && now_ns - idle_ns > IDLE_MEASURE_NS ? MEASURE_NS : IDLE_MEASURE_NS;
}

static enum stream_verdict tried(struct stream_judge *j, uint64_t now_ns, uint64_t units)
{
	if (rate(j, now_ns, units) * 100 < j->base * (100 + GAIN_PERCENT)) {
		j->recheck_ns = 0;
		return home(j, now_ns, units, true);
	}
	j->recheck_ns = j->recheck_ns ? j->recheck_ns : RECHECK_FIRST_NS;
	j->pause_ns = 0;
	j->checked_ns = now_ns;
	begin(j, STREAM_KEPT, now_ns, units);
	return STREAM_STAY;
}

/** kept() - is it time for another look? Not only the CPU's other users, also the caller may have changed. */
static enum stream_verdict kept(struct stream_judge *j, uint64_t now_ns, uint64_t units)
{
	if (now_ns - j->checked_ns <= j->recheck_ns)
		return STREAM_STAY;
	j->recheck_ns = j->recheck_ns * 2 < RECHECK_MAX_NS ? j->recheck_ns * 2 : RECHECK_MAX_NS;
	(void)home(j, now_ns, units, false);
	base_begin(j, now_ns, units, 0);
	return STREAM_CHANGED;
}

enum stream_verdict placement_stream_judge(struct stream_judge *j, uint64_t now_ns, uint64_t units, uint64_t idle_ns)
{
	uint64_t spent_ns = now_ns - j->from_ns;

	if (j->always)
		return j->away ? STREAM_STAY : STREAM_FIND;
	switch (j->phase) {
	case STREAM_HOME:
		if (now_ns >= j->not_before_ns)
			base_begin(j, now_ns, units, idle_ns);
		return STREAM_STAY;
	case STREAM_BASE:
		if (spent_ns > STALE_NS) {
			base_begin(j, now_ns, units, idle_ns);
			return STREAM_STAY;
		}
		if (spent_ns < j->measure_ns)
			return STREAM_STAY;
		j->base = rate(j, now_ns, units);
		return STREAM_FIND;
	case STREAM_MOVED:
		if (spent_ns >= SETTLE_NS)
			begin(j, STREAM_TRIED, now_ns, units);
		return STREAM_STAY;
	case STREAM_TRIED:
		if (spent_ns > STALE_NS)
			return home(j, now_ns, units, false);
		return spent_ns < MEASURE_NS ? STREAM_STAY : tried(j, now_ns, units);
	case STREAM_KEPT:
		return kept(j, now_ns, units);
	}
	return STREAM_STAY;
}

enum stream_verdict placement_stream_found(struct stream_judge *j, uint64_t now_ns, uint64_t units, bool found)
{
	if (!found)
		return home(j, now_ns, units, true);
	j->away = true;
	begin(j, STREAM_MOVED, now_ns, units);
	return STREAM_CHANGED;
}

bool placement_stream_is(uint64_t requests, uint64_t large)
{
	return large && large * 2 >= requests;
}

int placement_stream_pick(const int *cpus, unsigned count, int caller, unsigned skip)
{
	int first = -1;

	for (unsigned n = 0; n < count; n++) {
		if (cpus[n] == caller)
			continue;
		if (skip-- == 0)
			return cpus[n];
		first = first < 0 ? cpus[n] : first;
	}
	return first;
}

/* ---- who is idle ---------------------------------------------------------------------- */

struct idleness {
	uint64_t ticks[STREAM_CPUS_MAX];
};

static void of_cpu(void *arg, int cpu, uint64_t ticks)
{
	struct idleness *i = arg;

	if (cpu < (int)STREAM_CPUS_MAX)
		i->ticks[cpu] = ticks;
}

static bool read_idle(struct idleness *i)
{
	for (unsigned n = 0; n < STREAM_CPUS_MAX; n++)
		i->ticks[n] = UINT64_MAX;
	return placement_cpu_idle(of_cpu, i);
}

static void note_idle(struct place_stream *p, uint64_t now_ns)
{
	struct idleness i;

	p->idle_ns = read_idle(&i) ? now_ns : 0;
	for (unsigned n = 0; n < STREAM_CPUS_MAX; n++)
		p->idle_ticks[n] = i.ticks[n];
}

/** since_noted() - @i becomes what each CPU was idle since, 0 for one that cannot take a stream. */
static bool since_noted(const struct place_stream *p, struct idleness *i, uint64_t now_ns)
{
	uint64_t ticks = (now_ns - p->idle_ns) / (10 * MS);
	bool some = false;

	if (!p->idle_ns || !read_idle(i))
		return false;
	for (unsigned n = 0; n < STREAM_CPUS_MAX; n++) {
		uint64_t before = p->idle_ticks[n];
		bool fits = i->ticks[n] != UINT64_MAX && before != UINT64_MAX && i->ticks[n] > before;
		i->ticks[n] = fits ? i->ticks[n] - before : 0;
		if (i->ticks[n] * 100 < ticks * IDLE_PERCENT || !i->ticks[n] || !placement_cpu_allowed((int)n))
			i->ticks[n] = 0;
		some |= i->ticks[n] > 0;
	}
	return some;
}

/** find_places() - CPUs that were idle, into p->cpus. Return whether one is there that @own, the caller's, is not. */
static bool find_places(struct place_stream *p, uint64_t now_ns, int own)
{
	unsigned count = 0;
	bool other = false;
	struct idleness i;

	if (p->judge.always)
		for (unsigned n = 0; n < STREAM_CPUS_MAX; n++)
			i.ticks[n] = placement_cpu_allowed((int)n);
	else if (!since_noted(p, &i, now_ns))
		return false;
	while (count < STREAM_PLACES_MAX - 1) {
		unsigned best = 0;
		for (unsigned n = 1; n < STREAM_CPUS_MAX; n++)
			if (i.ticks[n] > i.ticks[best])
				best = n;
		if (!i.ticks[best])
			break;
		i.ticks[best] = 0;
		other |= (int)best != own;
		atomic_store_explicit(&p->cpus[count++], (int)best, memory_order_relaxed);
	}
	/* for the day that the scheduler moves the caller to the place just found: what he has left */
	atomic_store_explicit(&p->cpus[count++], own, memory_order_relaxed);
	atomic_store(&p->cpus_count, count);
	return other;
}

/* ---- the threads ------------------------------------------------------------------------ */

const char *placement_stream_why(const struct server *srv)
{
	if (srv->deny & SESSION_DENY_FAR)
		return "denied by option";
	if (!srv->opt.pin)
		return "nopin: the kernel's scheduler places serving threads";
	return "";
}

bool placement_stream_away(const struct server_thread *t)
{
	return atomic_load_explicit(&t->stream.away, memory_order_relaxed);
}

void placement_stream_start(struct server *srv)
{
	note_idle(&srv->stream, stats_now_ns());
}

static int caller_cpu(const struct server_thread *t)
{
	return t->place.caller >= 0 ? t->place.caller : t->place.home;
}

/** go() - be where the stream is served best, or at home. */
static void go(struct server_thread *t, uint64_t now_ns)
{
	struct place_stream *p = &t->server->stream;
	struct place_stream_thread *s = &t->stream;
	bool away = s->streaming && atomic_load(&p->away);
	int cpus[STREAM_PLACES_MAX], cpu = t->place.home;
	unsigned count = atomic_load(&p->cpus_count);

	for (unsigned n = 0; n < count; n++)
		cpus[n] = atomic_load_explicit(&p->cpus[n], memory_order_relaxed);
	if (away && s->cpu != caller_cpu(t) && placement_stream_away(t))
		return; /* is there */
	if (away)
		cpu = placement_stream_pick(cpus, count, caller_cpu(t), t->index % STREAM_PLACES_MAX);
	away = away && cpu >= 0;
	if ((!away && !placement_stream_away(t)) || cpu < 0 || (away && cpu == t->place.home && !placement_stream_away(t)))
		return;
	if (!placement_cpu_allowed(cpu) || ring_move(t->ring, cpu) < 0) {
		/* it is offline, or a cpuset has taken it; from home placement_cpu.c goes on */
		atomic_store_explicit(&s->away, false, memory_order_relaxed);
		return;
	}
	s->cpu = cpu;
	s->last_ns = now_ns;
	atomic_store_explicit(&s->away, away, memory_order_relaxed);
	stats_add(&s->moves, 1);
}

static void look(struct server_thread *t, uint64_t now_ns)
{
	struct place_stream *p = &t->server->stream;
	enum stream_verdict verdict;
	uint64_t units = 0;

	if (atomic_flag_test_and_set(&p->looking))
		return;
	for (unsigned n = 0; n < t->server->threads_count; n++)
		units += stats_get(&t->server->threads[n].stream.units);
	p->judge.always = t->server->deny & SESSION_DENY_NEAR;
	if (p->judge.phase == STREAM_HOME && now_ns - p->idle_ns > IDLE_OLD_NS)
		note_idle(p, now_ns);
	verdict = placement_stream_judge(&p->judge, now_ns, units, p->idle_ns);
	if (verdict == STREAM_FIND)
		verdict = placement_stream_found(&p->judge, now_ns, units, find_places(p, now_ns, caller_cpu(t)));
	if (verdict == STREAM_CHANGED) {
		stats_add(&p->switches, 1);
		atomic_store(&p->away, p->judge.away);
		if (!p->judge.away) /* so far they were idle with the stream away */
			note_idle(p, now_ns);
	}
	atomic_flag_clear(&p->looking);
}

static void window_begin(struct place_stream_thread *s, uint64_t requests)
{
	s->large_from = s->large;
	s->requests_from = requests;
}

void placement_stream_turn(struct server_thread *t)
{
	struct place_stream_thread *s = &t->stream;
	uint64_t requests, large = s->large - s->large_from, now_ns;
	bool away = placement_stream_away(t), pause;

	if (!away && large < WINDOW_LARGE)
		return;
	requests = stats_get(&t->stats.requests);
	if (requests == s->requests_seen)
		return;
	s->requests_seen = requests;
	now_ns = stats_now_ns();
	pause = away && now_ns - s->last_ns > AWAY_PAUSE_NS;
	s->last_ns = now_ns;
	if (!pause && large < WINDOW_LARGE && requests - s->requests_from < WINDOW_REQUESTS)
		return;
	s->streaming = !pause && placement_stream_is(requests - s->requests_from, large);
	window_begin(s, requests);
	if (s->streaming && !placement_stream_why(t->server)[0] && !placement_share_on(t->server))
		look(t, now_ns);
	else
		s->streaming = false;
	go(t, now_ns);
	if (away)
		t->place.caller = PLACE_CALLER_NONE; /* placement_cpu.c's window does not end while it is away */
}
