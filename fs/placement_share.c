/* SPDX-License-Identifier: MIT */
/* placement_share.c - see placement_share.h. */
#include "fs/placement_share.h"

#include "fs/server.h"
#include "fs/session.h"

#define MS 1000000ull
#define WINDOW_TURNS 64u
#define DEEP_BATCH_QUARTERS 10u   /* quarters of a request in a turn, on average, from which on it may pay */
#define SMALL_BATCH_QUARTERS 5u   /* a quarter of that: below it surely does not. Who helps finds small batches, for he is quick */
#define SMALL_LOOKS 2u
#define MEASURE_NS (30 * MS)      /* three ticks of the kernel's idle times */
#define SETTLE_NS (10 * MS)
#define STALE_NS (200 * MS)       /* a measurement that took so long had pauses in it */
#define GAIN_PERCENT 15u          /* more requests a second, for the work of another CPU */
#define WINS 2u                   /* so often in a row: two measurements of 30 ms may differ by more without any reason */
#define LOST_PERCENT 20u          /* fewer than when it was worth it: the callers do something else now */
#define LOST_LOOKS 2u
#define PAUSE_FIRST_NS (50 * MS)
#define PAUSE_MAX_NS (3200 * MS)
#define RECHECK_FIRST_NS (1000 * MS)
#define RECHECK_MAX_NS (16000 * MS)
#define IDLE_PAUSE_NS (100 * MS)  /* without requests: home, for the next one may be single */
#define IDLE_PERCENT 20u          /* of a CPU that can help */

/* ---- judging ------------------------------------------------------------------------ */

static void begin(struct share_judge *j, enum share_phase phase, const struct share_sample *s)
{
	j->phase = phase;
	j->from = *s;
	j->small = j->lost = 0;
}

/** home() - @punished: it was not worth it, the next try comes later. */
static enum share_verdict home(struct share_judge *j, const struct share_sample *s, bool punished)
{
	enum share_verdict res = j->level ? SHARE_CHANGED : SHARE_STAY;

	begin(j, SHARE_HOME, s);
	j->level = j->wins = 0;
	j->full = false;
	if (!punished || !j->pause_ns)
		j->pause_ns = PAUSE_FIRST_NS;
	else
		j->pause_ns = j->pause_ns * 2 < PAUSE_MAX_NS ? j->pause_ns * 2 : PAUSE_MAX_NS;
	j->not_before_ns = s->now_ns + j->pause_ns;
	return res;
}

static double rate(const struct share_judge *j, const struct share_sample *s)
{
	return (double)(s->requests - j->from.requests) * 1e9 / (double)(s->now_ns - j->from.now_ns);
}

/** small_batches() - since the beginning of what is measured. */
static bool small_batches(const struct share_judge *j, const struct share_sample *s)
{
	return 4 * (s->requests - j->from.requests) < SMALL_BATCH_QUARTERS * (s->turns - j->from.turns);
}

/** again() - it was worth it: measure once more, without and with it? */
static bool again(struct share_judge *j, const struct share_sample *s)
{
	if (j->always || j->level > 1 || ++j->wins >= WINS)
		return false;
	begin(j, SHARE_HOME, s);
	j->level = 0;
	j->not_before_ns = s->now_ns;
	return true;
}

/** tried() - the measurement with one helper more is there. */
static enum share_verdict tried(struct share_judge *j, const struct share_sample *s)
{
	if (j->always || rate(j, s) * 100 >= j->base * (100 + GAIN_PERCENT)) {
		if (again(j, s))
			return SHARE_CHANGED;
		if (j->level == 1) {
			j->wins = 0;
			j->recheck_ns = j->recheck_ns ? j->recheck_ns : RECHECK_FIRST_NS;
			j->pause_ns = 0;
		}
		j->worth = rate(j, s);
		j->checked_ns = s->now_ns;
		begin(j, SHARE_KEPT, s);
		return SHARE_STAY;
	}
	if (j->level == 1) {
		j->recheck_ns = 0;
		return home(j, s, true);
	}
	j->level--;
	j->full = true;
	j->worth = j->base;
	begin(j, SHARE_KEPT, s);
	return SHARE_CHANGED;
}

/** lost() - fewer requests than when sharing was found to be worth it: a caller at depth 8 may be slower with it, where one at 32 was not. */
static bool lost(struct share_judge *j, const struct share_sample *s)
{
	j->lost = rate(j, s) * 100 < j->worth * (100 - LOST_PERCENT) ? j->lost + 1 : 0;
	return j->lost >= LOST_LOOKS;
}

/** kept() - still large batches, and is it time for another look? */
static enum share_verdict kept(struct share_judge *j, const struct share_sample *s)
{
	bool due;

	j->small = small_batches(j, s) ? j->small + 1 : 0;
	if (j->small >= SMALL_LOOKS) {
		j->recheck_ns = 0;
		return home(j, s, false);
	}
	due = s->now_ns - j->checked_ns > j->recheck_ns;
	if (lost(j, s))
		j->recheck_ns = 0;
	else if (due)
		j->recheck_ns = j->recheck_ns * 2 < RECHECK_MAX_NS ? j->recheck_ns * 2 : RECHECK_MAX_NS;
	j->from = *s;
	if (!j->always && (due || !j->recheck_ns)) {
		(void)home(j, s, false);
		j->not_before_ns = s->now_ns;
		return SHARE_CHANGED;
	}
	if (j->full)
		return SHARE_STAY;
	begin(j, SHARE_BASE, s);
	return SHARE_LOOK_IDLE;
}

enum share_verdict placement_share_judge(struct share_judge *j, const struct share_sample *s, bool deep)
{
	uint64_t spent_ns = s->now_ns - j->from.now_ns;

	if (j->phase == SHARE_HOME) {
		if (!deep || s->now_ns < j->not_before_ns)
			return SHARE_STAY;
		begin(j, SHARE_BASE, s);
		return SHARE_LOOK_IDLE;
	}
	if (spent_ns > STALE_NS)
		return home(j, s, false);
	if (j->phase == SHARE_TRY) {
		if (spent_ns >= SETTLE_NS)
			begin(j, SHARE_TRIED, s);
		return SHARE_STAY;
	}
	if (spent_ns < MEASURE_NS)
		return SHARE_STAY;
	if (j->phase == SHARE_KEPT)
		return kept(j, s);
	if (j->phase == SHARE_TRIED)
		return tried(j, s);
	if (small_batches(j, s))
		return home(j, s, false);
	j->base = rate(j, s);
	return SHARE_IDLE_SINCE;
}

enum share_verdict placement_share_helpers(struct share_judge *j, const struct share_sample *s, unsigned count)
{
	if (count > j->level) {
		j->level++;
		begin(j, SHARE_TRY, s);
		return SHARE_CHANGED;
	}
	if (!j->level)
		return home(j, s, true);
	j->full = true;
	j->worth = j->base;
	begin(j, SHARE_KEPT, s);
	return SHARE_STAY;
}

/* ---- looking at the system -------------------------------------------------------------- */

/** Idle ticks of each thread's CPU. */
struct idleness {
	const struct server *srv;
	uint64_t ticks[BACKEND_RINGS_MAX]; /* UINT64_MAX: offline */
};

static void of_threads(void *arg, int cpu, uint64_t ticks)
{
	struct idleness *i = arg;

	for (unsigned n = 0; n < i->srv->threads_count; n++)
		if (i->srv->threads[n].cpu == cpu)
			i->ticks[n] = ticks;
}

/** read_idle() - Return false when it cannot be read. */
static bool read_idle(const struct server *srv, struct idleness *ret)
{
	ret->srv = srv;
	for (unsigned n = 0; n < srv->threads_count; n++)
		ret->ticks[n] = UINT64_MAX;
	return placement_cpu_idle(of_threads, ret);
}

static void note_idle(struct server *srv, uint64_t now)
{
	struct idleness idle;

	srv->share.idle_since_ns = read_idle(srv, &idle) ? now : 0;
	for (unsigned n = 0; n < srv->threads_count && srv->share.idle_since_ns; n++)
		srv->threads[n].share.idle_ticks = idle.ticks[n];
}

/** is_helper() - among the first @count. */
static bool is_helper(const struct place_share *p, unsigned count, unsigned index)
{
	for (unsigned n = 0; n < count; n++)
		if (atomic_load_explicit(&p->helpers[n], memory_order_relaxed) == index)
			return true;
	return false;
}

/** find_helpers() - threads whose CPUs have been idle since note_idle(); while queues are shared besides those who help already. Return how many. */
static unsigned find_helpers(struct server *srv, uint64_t now)
{
	struct place_share *p = &srv->share;
	struct idleness i;
	uint64_t *idle = i.ticks, ticks = (now - p->idle_since_ns) / (10 * MS);
	unsigned count = p->judge.level ? atomic_load(&p->helpers_count) : 0;

	if (srv->deny & SESSION_DENY_UNSHARED) {
		for (count = 0; count < srv->threads_count && count < SHARE_HELPERS_MAX; count++)
			atomic_store_explicit(&p->helpers[count], count, memory_order_relaxed);
		atomic_store(&p->helpers_count, count);
		return srv->threads_count - 1;
	}
	if (!p->idle_since_ns || !read_idle(srv, &i))
		return 0;
	for (unsigned n = 0; n < srv->threads_count; n++) {
		uint64_t before = srv->threads[n].share.idle_ticks;
		if (idle[n] == UINT64_MAX || before == UINT64_MAX || idle[n] < before || is_helper(p, count, n))
			idle[n] = 0;
		else
			idle[n] -= before;
	}
	while (count < SHARE_HELPERS_MAX) {
		unsigned best = 0;
		for (unsigned n = 1; n < srv->threads_count; n++)
			if (idle[n] > idle[best])
				best = n;
		if (idle[best] * 100 < ticks * IDLE_PERCENT || !idle[best])
			break;
		idle[best] = 0;
		atomic_store_explicit(&p->helpers[count++], best, memory_order_relaxed);
	}
	atomic_store(&p->helpers_count, count);
	return count < srv->threads_count ? count : srv->threads_count - 1; /* nobody helps himself */
}

/* ---- the threads -------------------------------------------------------------------------- */

const char *placement_share_why(const struct server *srv)
{
	if (srv->deny & SESSION_DENY_SHARING)
		return "denied by option";
	if (!srv->opt.pin)
		return "nopin: the kernel's scheduler places serving threads";
	if (srv->opt.locks == LOCKS_SHARED)
		return "locks=shared: requests that wait for a lock hold entries";
	if (srv->threads_count < 2)
		return "there is one ring";
	return "";
}

bool placement_share_on(const struct server *srv)
{
	return atomic_load_explicit(&srv->share.level, memory_order_relaxed);
}

unsigned placement_share_threads(const struct server *srv)
{
	return atomic_load_explicit(&srv->share.level, memory_order_relaxed) + 1;
}

uint64_t placement_share_ms(const struct server *srv)
{
	uint64_t since = stats_get(&srv->share.on_since_ns);

	return (stats_get(&srv->share.away_ns) + (since ? stats_now_ns() - since : 0)) / MS;
}

unsigned placement_share_helper(struct server_thread *t, unsigned own, unsigned lent)
{
	const struct place_share *p = &t->server->share;
	unsigned level = atomic_load_explicit(&p->level, memory_order_relaxed), count, n;

	/* each has the same number */
	if (!level || !t->share.deep || own < 2 || lent >= own * level)
		return t->index;
	count = atomic_load(&p->helpers_count);
	n = t->share.next++ % level;
	for (unsigned at = 0; at < count; at++) {
		unsigned helper = atomic_load_explicit(&p->helpers[at], memory_order_relaxed);
		if (helper != t->index && n-- == 0)
			return helper;
	}
	return t->index;
}

static void sample(const struct server *srv, struct share_sample *s)
{
	*s = (struct share_sample){ .now_ns = stats_now_ns() };
	for (unsigned n = 0; n < srv->threads_count; n++) {
		s->requests += stats_get(&srv->threads[n].stats.requests_uring);
		s->turns += stats_get(&srv->threads[n].share.turns);
	}
}

static void look(struct server_thread *t)
{
	struct place_share *p = &t->server->share;
	enum share_verdict verdict;
	struct share_sample s;
	unsigned before;

	if (atomic_flag_test_and_set(&p->looking))
		return;
	sample(t->server, &s);
	before = p->judge.level;
	p->judge.always = t->server->deny & SESSION_DENY_UNSHARED;
	verdict = placement_share_judge(&p->judge, &s, t->share.deep);
	if (verdict == SHARE_LOOK_IDLE)
		note_idle(t->server, s.now_ns);
	else if (verdict == SHARE_IDLE_SINCE)
		verdict = placement_share_helpers(&p->judge, &s, find_helpers(t->server, s.now_ns));
	if (verdict == SHARE_CHANGED) {
		stats_add(&p->moves, 1);
		if (!before)
			atomic_store(&p->on_since_ns, s.now_ns);
		else if (!p->judge.level)
			stats_add(&p->away_ns, s.now_ns - atomic_exchange(&p->on_since_ns, 0));
		atomic_store(&p->level, p->judge.level);
	}
	atomic_flag_clear(&p->looking);
}

void placement_share_turn(struct server_thread *t)
{
	struct place_share_thread *p = &t->share;
	uint64_t requests = stats_get(&t->stats.requests_uring), arrivals;
	bool stays;

	if (requests == p->requests_seen)
		return;
	p->requests_seen = requests;
	stats_add(&p->turns, 1);
	p->window_turns++;
	/* a pause ends sharing at the first request after it */
	if (p->window_turns < WINDOW_TURNS && !(placement_share_on(t->server) && stats_now_ns() - p->window_ns > IDLE_PAUSE_NS))
		return;
	arrivals = requests - p->window_requests;
	stays = t->server->deny & SESSION_DENY_UNSHARED || (p->deep && placement_share_on(t->server));
	p->deep = 4 * arrivals >= (stays ? SMALL_BATCH_QUARTERS : DEEP_BATCH_QUARTERS) * p->window_turns;
	p->window_requests = requests;
	p->window_turns = 0;
	p->window_ns = placement_share_on(t->server) ? stats_now_ns() : 0;
	if (!placement_share_why(t->server)[0])
		look(t);
}
