/* SPDX-License-Identifier: MIT */
/* What a window of turns means for a thread's place and class, when queues are shared and streams moved, who starves, and how CPU lists are read. */
#include "fs/placement_class.h"
#include "fs/placement_cpu.h"
#include "fs/placement_share.h"
#include "fs/placement_stream.h"
#include "fs/transport_uring.h"
#include "test.h"

#define MS 1000000u

static void follows(void)
{
	CHECK(placement_cpu_goal(0, 0, 64, 64, 0) == -1);   /* at home with its caller */
	CHECK(placement_cpu_goal(0, 0, 64, 64, 3) == 3);    /* only queue 3 has callers */
	CHECK(placement_cpu_goal(0, 0, 64, 64, PLACE_CALLER_SEVERAL) == -1);
	CHECK(placement_cpu_goal(0, 0, 64, 640, 3) == -1);  /* large batches: as well from elsewhere */
	CHECK(placement_cpu_goal(1, 0, 64, 640, 1) == 1);   /* its CPU was offline */
	CHECK(placement_cpu_goal(1, 0, 64, 64, PLACE_CALLER_NONE) == 1);
}

/* ---- sharing queues ---------------------------------------------------------------- */

static struct share_sample share_now;

/** later() - the verdict @ms later, at @rate requests a millisecond in batches of @batch. */
static enum share_verdict later(struct share_judge *j, unsigned ms, unsigned rate, unsigned batch)
{
	share_now.now_ns += (uint64_t)ms * MS;
	share_now.requests += (uint64_t)ms * rate;
	share_now.turns += (uint64_t)ms * rate / batch;
	return placement_share_judge(j, &share_now, batch >= 4);
}

/** share_wins_again() - the second measurement without and with it, which decides. */
static void share_wins_again(struct share_judge *j)
{
	CHECK(later(j, 5, 100, 8) == SHARE_LOOK_IDLE && later(j, 31, 100, 8) == SHARE_IDLE_SINCE);
	CHECK(placement_share_helpers(j, &share_now, 1) == SHARE_CHANGED && j->level == 1);
	CHECK(later(j, 11, 130, 2) == SHARE_STAY);
	CHECK(later(j, 31, 130, 2) == SHARE_STAY && j->phase == SHARE_KEPT && j->level == 1);
}

/** shared() - a judge who has found that sharing pays. */
static struct share_judge shared(void)
{
	struct share_judge j = { 0 };

	share_now = (struct share_sample){ .now_ns = 1000ull * MS };
	CHECK(later(&j, 1, 100, 1) == SHARE_STAY && j.phase == SHARE_HOME); /* one at a time */
	CHECK(later(&j, 1, 100, 8) == SHARE_LOOK_IDLE);
	CHECK(later(&j, 20, 100, 8) == SHARE_STAY); /* not long enough */
	CHECK(later(&j, 20, 100, 8) == SHARE_IDLE_SINCE);
	CHECK(placement_share_helpers(&j, &share_now, 1) == SHARE_CHANGED && j.level == 1);
	CHECK(later(&j, 40, 50, 2) == SHARE_STAY && j.phase == SHARE_TRIED); /* settling does not count, however long the look took */
	CHECK(later(&j, 31, 130, 2) == SHARE_CHANGED && j.level == 0); /* once may be chance */
	share_wins_again(&j);
	return j;
}

static void share_goes_and_comes(void)
{
	struct share_judge j = shared();

	CHECK(later(&j, 31, 130, 2) == SHARE_LOOK_IDLE); /* is there another one? */
	CHECK(later(&j, 31, 130, 2) == SHARE_IDLE_SINCE);
	CHECK(placement_share_helpers(&j, &share_now, 1) == SHARE_STAY && j.level == 1);
	for (unsigned n = 0; n < 20; n++) /* who helps finds small batches, though not of one */
		CHECK(later(&j, 31, 130, 2) == SHARE_STAY && j.level == 1);
	CHECK(later(&j, 31, 130, 1) == SHARE_STAY); /* once is nothing */
	CHECK(later(&j, 31, 130, 1) == SHARE_CHANGED && j.level == 0 && j.phase == SHARE_HOME);
	CHECK(later(&j, 10, 100, 8) == SHARE_STAY); /* not at once again */
	CHECK(later(&j, 50, 100, 8) == SHARE_LOOK_IDLE);
	j = shared();
	CHECK(later(&j, 300, 1, 8) == SHARE_CHANGED && j.level == 0); /* after a pause */
}

static void share_is_not_worth_it(void)
{
	struct share_judge j = { 0 };
	uint64_t pause = 0;

	share_now = (struct share_sample){ .now_ns = 1000ull * MS };
	for (unsigned n = 0; n < 10; n++) {
		CHECK(later(&j, 5000, 100, 8) == SHARE_LOOK_IDLE);
		CHECK(later(&j, 31, 100, 8) == SHARE_IDLE_SINCE);
		CHECK(placement_share_helpers(&j, &share_now, 1) == SHARE_CHANGED);
		CHECK(later(&j, 11, 100, 8) == SHARE_STAY);
		CHECK(later(&j, 31, 104, 8) == SHARE_CHANGED && j.level == 0); /* no faster */
		CHECK(j.pause_ns >= pause);
		pause = j.pause_ns;
	}
	CHECK(pause == 3200ull * MS);
	CHECK(later(&j, 5000, 100, 8) == SHARE_LOOK_IDLE && later(&j, 31, 100, 8) == SHARE_IDLE_SINCE);
	CHECK(placement_share_helpers(&j, &share_now, 0) == SHARE_STAY && j.phase == SHARE_HOME); /* nobody is idle */
}

static void share_is_asked_again(void)
{
	struct share_judge j = shared();

	j.full = true;
	for (unsigned n = 0; n < 32; n++)
		CHECK(later(&j, 31, 130, 2) == SHARE_STAY);
	CHECK(later(&j, 31, 130, 2) == SHARE_CHANGED && j.level == 0);
	CHECK(later(&j, 5, 100, 8) == SHARE_LOOK_IDLE && later(&j, 31, 100, 8) == SHARE_IDLE_SINCE);
	CHECK(placement_share_helpers(&j, &share_now, 1) == SHARE_CHANGED);
	CHECK(later(&j, 11, 130, 2) == SHARE_STAY && later(&j, 31, 130, 2) == SHARE_CHANGED);
	share_wins_again(&j);
	CHECK(j.recheck_ns == 2000ull * MS); /* the next time later */
}

static void share_won_by_chance(void)
{
	struct share_judge j = { 0 };
	uint64_t pause = 0;

	share_now = (struct share_sample){ .now_ns = 1000ull * MS };
	for (unsigned n = 0; n < 5; n++) {
		for (unsigned rate = 130; rate >= 100; rate -= 30) { /* faster at first, then not */
			CHECK(later(&j, 5000, 100, 8) == SHARE_LOOK_IDLE && later(&j, 31, 100, 8) == SHARE_IDLE_SINCE);
			CHECK(placement_share_helpers(&j, &share_now, 1) == SHARE_CHANGED);
			CHECK(later(&j, 11, rate, 8) == SHARE_STAY && later(&j, 31, rate, 8) == SHARE_CHANGED && j.level == 0);
		}
		CHECK(j.pause_ns > pause && j.phase == SHARE_HOME);
		pause = j.pause_ns;
	}
}

static void share_is_lost(void)
{
	struct share_judge j = shared();

	j.full = true;
	CHECK(later(&j, 31, 100, 2) == SHARE_STAY); /* once is nothing */
	CHECK(later(&j, 31, 110, 2) == SHARE_STAY && later(&j, 31, 100, 2) == SHARE_STAY);
	CHECK(later(&j, 31, 100, 2) == SHARE_CHANGED && j.level == 0); /* a fifth fewer than the 130 it was kept for */
	CHECK(later(&j, 5, 120, 8) == SHARE_LOOK_IDLE && later(&j, 31, 120, 8) == SHARE_IDLE_SINCE); /* at once */
	CHECK(placement_share_helpers(&j, &share_now, 1) == SHARE_CHANGED);
	CHECK(later(&j, 11, 130, 8) == SHARE_STAY && later(&j, 31, 130, 8) == SHARE_CHANGED && j.level == 0); /* a twelfth more is too little */
}

static void share_with_several(void)
{
	struct share_judge j = shared();

	CHECK(later(&j, 31, 130, 2) == SHARE_LOOK_IDLE && later(&j, 31, 130, 2) == SHARE_IDLE_SINCE);
	CHECK(placement_share_helpers(&j, &share_now, 3) == SHARE_CHANGED && j.level == 2);
	CHECK(later(&j, 11, 160, 2) == SHARE_STAY && later(&j, 31, 160, 2) == SHARE_STAY && j.phase == SHARE_KEPT);
	CHECK(later(&j, 31, 160, 2) == SHARE_LOOK_IDLE && later(&j, 31, 160, 2) == SHARE_IDLE_SINCE);
	CHECK(placement_share_helpers(&j, &share_now, 3) == SHARE_CHANGED && j.level == 3);
	CHECK(later(&j, 11, 160, 2) == SHARE_STAY && later(&j, 31, 160, 2) == SHARE_CHANGED && j.level == 2 && j.full);
	CHECK(later(&j, 31, 160, 2) == SHARE_STAY && j.level == 2);
}

/* ---- streams ----------------------------------------------------------------------- */

static uint64_t stream_ns, stream_units, stream_noted_ns;

/** streams() - the verdict @ms later, at @rate units a millisecond. */
static enum stream_verdict streams(struct stream_judge *j, unsigned ms, unsigned rate)
{
	stream_ns += (uint64_t)ms * MS;
	stream_units += (uint64_t)ms * rate;
	return placement_stream_judge(j, stream_ns, stream_units, stream_noted_ns);
}

static enum stream_verdict stream_found(struct stream_judge *j, bool found)
{
	return placement_stream_found(j, stream_ns, stream_units, found);
}

/** stream_kept() - a judge who has found that it pays. */
static struct stream_judge stream_kept(void)
{
	struct stream_judge j = { 0 };

	stream_ns = 1000ull * MS;
	stream_noted_ns = 500ull * MS;
	CHECK(streams(&j, 1, 20) == STREAM_STAY && j.phase == STREAM_BASE);
	CHECK(streams(&j, 7, 20) == STREAM_STAY);
	CHECK(streams(&j, 1, 20) == STREAM_FIND);
	CHECK(stream_found(&j, true) == STREAM_CHANGED && j.away);
	CHECK(streams(&j, 2, 1) == STREAM_STAY && j.phase == STREAM_TRIED); /* settling does not count */
	CHECK(streams(&j, 7, 30) == STREAM_STAY && j.phase == STREAM_TRIED);
	CHECK(streams(&j, 1, 30) == STREAM_STAY && j.phase == STREAM_KEPT && j.away);
	return j;
}

static void stream_goes_and_comes(void)
{
	struct stream_judge j = stream_kept();

	CHECK(streams(&j, 900, 30) == STREAM_STAY && j.away);
	CHECK(streams(&j, 200, 30) == STREAM_CHANGED && !j.away && j.phase == STREAM_BASE); /* is it so still? */
	stream_noted_ns = stream_ns;
	CHECK(streams(&j, 20, 20) == STREAM_STAY); /* it is not known yet who is idle */
	CHECK(streams(&j, 10, 20) == STREAM_FIND);
	CHECK(stream_found(&j, true) == STREAM_CHANGED && j.away);
	CHECK(streams(&j, 2, 30) == STREAM_STAY && streams(&j, 8, 30) == STREAM_STAY && j.phase == STREAM_KEPT);
	CHECK(streams(&j, 1900, 30) == STREAM_STAY && j.away); /* the next look is later */
}

static void stream_is_not_worth_it(void)
{
	struct stream_judge j = { 0 };
	uint64_t pause = 0;

	stream_ns = 1000ull * MS;
	stream_noted_ns = 500ull * MS;
	for (unsigned n = 0; n < 12; n++) {
		CHECK(streams(&j, 4000, 20) == STREAM_STAY && j.phase == STREAM_BASE);
		CHECK(streams(&j, 8, 20) == STREAM_FIND);
		CHECK(stream_found(&j, n % 2) == (n % 2 ? STREAM_CHANGED : STREAM_STAY)); /* nobody idle: the same */
		if (n % 2)
			CHECK(streams(&j, 2, 20) == STREAM_STAY && streams(&j, 8, 21) == STREAM_CHANGED && !j.away);
		CHECK(j.phase == STREAM_HOME && j.pause_ns >= pause);
		CHECK(streams(&j, 1, 20) == STREAM_STAY && j.phase == STREAM_HOME);
		pause = j.pause_ns;
	}
	CHECK(pause == 3200ull * MS);
	/* a pause in what is measured */
	CHECK(streams(&j, 4000, 20) == STREAM_STAY && streams(&j, 300, 1) == STREAM_STAY && j.phase == STREAM_BASE);
	CHECK(streams(&j, 8, 20) == STREAM_FIND && stream_found(&j, true) == STREAM_CHANGED && streams(&j, 2, 20) == STREAM_STAY);
	CHECK(streams(&j, 300, 1) == STREAM_CHANGED && !j.away && j.pause_ns == 50ull * MS);
}

static void stream_places(void)
{
	const int cpus[] = { 3, 1, 0 };

	CHECK(placement_stream_is(8, 8) && placement_stream_is(16, 8) && !placement_stream_is(17, 8) && !placement_stream_is(0, 0));
	CHECK(placement_stream_pick(cpus, 3, 0, 0) == 3 && placement_stream_pick(cpus, 3, 3, 0) == 1);
	CHECK(placement_stream_pick(cpus, 3, 0, 1) == 1 && placement_stream_pick(cpus, 3, 0, 5) == 3); /* several streams */
	CHECK(placement_stream_pick(cpus, 1, 3, 0) == -1 && placement_stream_pick(cpus, 0, 3, 0) == -1);
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
	CHECK(placement_class_idle_elsewhere(1, 30 * MS) && placement_class_idle_elsewhere(2, 100 * MS));
	CHECK(!placement_class_idle_elsewhere(0, 30 * MS) && !placement_class_idle_elsewhere(1, 60 * MS));
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
	follows();
	share_goes_and_comes();
	share_is_not_worth_it();
	share_is_asked_again();
	share_won_by_chance();
	share_is_lost();
	share_with_several();
	stream_goes_and_comes();
	stream_is_not_worth_it();
	stream_places();
	cpu_lists();
	return test_end();
}
