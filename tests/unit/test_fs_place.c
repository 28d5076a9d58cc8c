/* SPDX-License-Identifier: MIT */
/* What a window of turns means for a thread's place and class, which CPU is idle, who starves, and how CPU lists are read. */
#include "fs/placement_class.h"
#include "fs/placement_cpu.h"
#include "fs/transport_uring.h"
#include "test.h"

#define MS 1000000u

static struct place at_home(void)
{
	return (struct place){ .home = 0, .at = 0, .caller = -1, .pause_ns = 50 * MS };
}

static enum place_verdict window(struct place *p, unsigned turns, unsigned arrivals, uint64_t now_ms, bool contended, int caller)
{
	const struct place_window w = { .turns = turns, .arrivals = arrivals, .now_ns = now_ms * MS, .spent_ns = 5 * MS, .contended = contended, .caller = caller };

	return placement_cpu_judge(p, &w);
}

static void goes_and_comes(void)
{
	struct place p = at_home();

	CHECK(window(&p, 64, 64, 1000, false, 0) == PLACE_STAY);  /* one at a time */
	CHECK(window(&p, 64, 640, 1010, false, 0) == PLACE_SEARCH); /* deep: note who is idle */
	p.deep_ns = 1010 * MS;
	CHECK(window(&p, 64, 640, 1020, false, 0) == PLACE_STAY); /* not for long enough */
	CHECK(window(&p, 64, 640, 1050, false, 0) == PLACE_SEARCH);
	CHECK(window(&p, 64, 64, 1060, false, 0) == PLACE_STAY && p.deep_ns == 0); /* shallow between: from the beginning */
	placement_cpu_moved(&p, 1, 1100 * MS);
	CHECK(p.at == 1 && p.home == 0 && stats_get(&p.moves) == 1);
	CHECK(window(&p, 64, 640, 1200, false, 0) == PLACE_STAY);
	CHECK(window(&p, 64, 64, 1300, false, 0) == PLACE_STAY);  /* one shallow window is nothing */
	CHECK(window(&p, 64, 640, 1310, false, 0) == PLACE_STAY);
	CHECK(window(&p, 64, 64, 1320, false, 0) == PLACE_STAY);
	CHECK(window(&p, 64, 64, 1330, false, 0) == PLACE_GO_HOME);
	placement_cpu_moved(&p, 0, 1330 * MS);
	CHECK(p.at == 0 && stats_get(&p.away_ns) == 230ull * MS);
}

static void hysteresis(void)
{
	struct place p = at_home();

	placement_cpu_moved(&p, 1, 1000 * MS);
	placement_cpu_moved(&p, 0, 1010 * MS); /* soon taken back */
	CHECK(p.pause_ns == 100ull * MS);
	CHECK(window(&p, 64, 640, 1100, false, 0) == PLACE_STAY);
	CHECK(window(&p, 64, 640, 1111, false, 0) == PLACE_SEARCH);
	for (unsigned n = 0; n < 20; n++) {
		placement_cpu_moved(&p, 1, 2000 * MS);
		placement_cpu_moved(&p, 0, 2010 * MS);
	}
	CHECK(p.pause_ns == 3200ull * MS); /* bounded */
	placement_cpu_moved(&p, 1, 3000 * MS);
	placement_cpu_moved(&p, 0, 9000 * MS); /* was right to go */
	CHECK(p.pause_ns == 50ull * MS);
}

static void others_and_pauses(void)
{
	struct place p = at_home();
	struct place_window idle = { .turns = 3, .arrivals = 30, .now_ns = 5000ull * MS, .spent_ns = 900ull * MS };

	placement_cpu_moved(&p, 1, 1000 * MS);
	CHECK(window(&p, 64, 640, 1200, true, 0) == PLACE_GO_HOME);
	CHECK(placement_cpu_judge(&p, &idle) == PLACE_GO_HOME);
	p = at_home();
	CHECK(window(&p, 64, 64, 1200, false, 3) == PLACE_FOLLOW); /* only queue 3 has callers */
	CHECK(window(&p, 64, 64, 1200, false, -2) == PLACE_STAY);  /* several have */
	CHECK(window(&p, 64, 640, 1200, false, 3) == PLACE_SEARCH);
}

static void idlest(void)
{
	const uint64_t before[4] = { 10, 10, 10, UINT64_MAX };
	const uint64_t after[4] = { 20, 13, 19, UINT64_MAX };
	const uint64_t busy[4] = { 11, 12, 13, UINT64_MAX };
	bool allowed[4] = { true, true, true, true };

	CHECK(placement_cpu_idlest(before, after, 4, allowed, 0, 10) == 2);
	CHECK(placement_cpu_idlest(before, after, 4, allowed, 1, 10) == 0);
	CHECK(placement_cpu_idlest(before, busy, 4, allowed, 0, 10) == -1);
	allowed[2] = false; /* not in the cpuset; 3 is offline */
	CHECK(placement_cpu_idlest(before, after, 4, allowed, 0, 10) == -1);
}

static void cpu_lists(void)
{
	CHECK(transport_uring_parse_cpus("0\n") == 1);
	CHECK(transport_uring_parse_cpus("0-1\n") == 2);
	CHECK(transport_uring_parse_cpus("0-3,8-11,16") == 9);
	CHECK(transport_uring_parse_cpus("") == 0);
	CHECK(transport_uring_parse_cpus("3-1") == 0);
	CHECK(transport_uring_parse_cpus("x") == 0);
	CHECK(transport_uring_parse_cpus("0-") == 0);
	CHECK(transport_uring_parse_cpus("0-99999999") == 0);
}

/* ---- the scheduling class ------------------------------------------------------- */

static struct class_sample class_now; /* moved on by look() */

/** look() - 2 ms later: so many turns, so much time on the CPU, ready without it, and so many slices more. */
static enum class_verdict look(struct class_watch *w, unsigned turns, bool has_work, unsigned run_us, unsigned delay_us, unsigned slices)
{
	class_now.now_ns += 2 * MS;
	class_now.turns += turns;
	class_now.has_work = has_work;
	class_now.runnable = has_work;
	class_now.run_ns += run_us * 1000u;
	class_now.delay_ns += delay_us * 1000u;
	class_now.slices += slices;
	return placement_class_look(w, &class_now);
}

static void class_serves(void)
{
	struct class_watch w = { 0 };

	CHECK(placement_class_measures(&w, &class_now));
	for (unsigned n = 0; n < 1000; n++) /* a caller in turn with the thread: half of the time for each, ready meanwhile */
		CHECK(look(&w, 150, n % 2, 1000, 1000, 150) == CLASS_STAY);
	/* the caller computes for 20 ms now and then: the thread has nothing to do */
	for (unsigned n = 0; n < 100; n++)
		CHECK(look(&w, n % 10 ? 0 : 100, false, n % 10 ? 0 : 900, 0, n % 10 ? 0 : 100) == CLASS_STAY);
}

static void class_starves(void)
{
	struct class_watch w = { 0 };

	CHECK(look(&w, 1, true, 10, 0, 1) == CLASS_STAY);
	CHECK(look(&w, 0, true, 0, 0, 0) == CLASS_STAY); /* once may be chance */
	CHECK(placement_class_measures(&w, &class_now));
	CHECK(look(&w, 0, true, 0, 0, 0) == CLASS_STARVED);
	w = (struct class_watch){ 0 };
	CHECK(look(&w, 1, true, 10, 0, 1) == CLASS_STAY);
	for (unsigned n = 0; n < 20; n++) /* one long call, on the CPU */
		CHECK(look(&w, 0, true, 2000, 0, 0) == CLASS_STAY);
	for (unsigned n = 0; n < 20; n++) { /* one that waits for a disk */
		class_now.now_ns += 2 * MS;
		class_now.runnable = false;
		CHECK(placement_class_look(&w, &class_now) == CLASS_STAY);
	}
	CHECK(look(&w, 0, true, 0, 0, 0) == CLASS_STAY);
	CHECK(look(&w, 0, true, 0, 0, 0) == CLASS_STARVED); /* and now waits for the CPU */
}

static void class_is_contended(void)
{
	struct class_watch w = { 0 };
	enum class_verdict v = CLASS_STAY;
	unsigned looks;

	/* it moves on between looks, but waits a millisecond for each turn: several callers that compute */
	for (looks = 0; v == CLASS_STAY && looks < 100; looks++)
		v = look(&w, 1, looks % 2, 20, 1900, 2);
	CHECK(v == CLASS_CONTENDED && looks <= 10);
}

static void class_is_quiet(void)
{
	struct class_watch w = { 0 };
	enum class_verdict v = CLASS_STAY;
	unsigned looks;

	for (looks = 0; v == CLASS_STAY && looks < 1000; looks++)
		v = look(&w, looks % 30 == 0, false, 0, 0, 0);
	CHECK(v == CLASS_QUIET && looks < 100);
}

static void class_hysteresis(void)
{
	uint64_t pause = 0, sum = 0;

	CHECK(placement_class_shallow(64, 64, false) && placement_class_shallow(64, 127, false));
	CHECK(!placement_class_shallow(64, 128, false) && placement_class_shallow(64, 128, true));
	CHECK(!placement_class_shallow(64, 192, true));
	CHECK(placement_class_free_cpu(1 * MS, 5 * MS) && !placement_class_free_cpu(2 * MS, 5 * MS));
	for (unsigned n = 0; n < 20; n++) {
		pause = placement_class_pause(pause, 5 * MS);
		sum += pause;
	}
	CHECK(pause == 3200ull * MS && sum > 30000ull * MS); /* next to hogs: seldom */
	CHECK(placement_class_pause(pause, 2000ull * MS) == 20ull * MS); /* was right */
}

int main(void)
{
	class_serves();
	class_starves();
	class_is_contended();
	class_is_quiet();
	class_hysteresis();
	goes_and_comes();
	hysteresis();
	others_and_pauses();
	idlest();
	cpu_lists();
	return test_end();
}
