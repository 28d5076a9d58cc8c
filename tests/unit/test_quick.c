/* SPDX-License-Identifier: MIT */
/* test_quick.c - calls on the spot while they are quick; away for a time that doubles when they are not. */
#include "backend/quick.h"
#include "test.h"

#define MS UINT64_C(1000000)

static void test_quick_ones_stay(void)
{
	struct quick q = { 0 };

	for (uint64_t n = 1; n <= 10000; n++) {
		CHECK(quick_allowed(&q, n));
		CHECK(!quick_took(&q, QUICK_LIMIT_NS, n));
	}
}

static void test_slow_ones_go_away(void)
{
	struct quick q = { 0 };
	uint64_t now = 1000 * MS, pause = QUICK_PAUSE_NS;

	for (unsigned n = 0; n < 20; n++) {
		CHECK(quick_allowed(&q, now));
		CHECK(quick_took(&q, 10 * MS, now));
		CHECK(!quick_allowed(&q, now));
		CHECK(!quick_allowed(&q, now + pause - 1));
		CHECK(quick_allowed(&q, now + pause));
		now += pause;
		pause = pause * 2 < QUICK_PAUSE_MAX_NS ? pause * 2 : QUICK_PAUSE_MAX_NS;
	}
	CHECK(pause == QUICK_PAUSE_MAX_NS);
}

static void test_forgiven(void)
{
	struct quick q = { 0 };
	uint64_t now = 1000 * MS;

	for (unsigned n = 0; n < 20; n++) {
		(void)quick_took(&q, 10 * MS, now);
		now += QUICK_PAUSE_MAX_NS;
	}
	for (unsigned n = 0; n < 12 * QUICK_CALLS_GOOD; n++)
		CHECK(!quick_took(&q, 1000, now));
	CHECK(quick_took(&q, 10 * MS, now));
	CHECK(!quick_allowed(&q, now + QUICK_PAUSE_NS - 1));
	CHECK(quick_allowed(&q, now + QUICK_PAUSE_NS));
}

/* One slow call in a hundred is what its kind earns meanwhile; a longer one, or one too many, is not. */
static void test_credit(void)
{
	struct quick q = { 0 };
	uint64_t now = 1000 * MS;

	for (unsigned n = 0; n < 50; n++) {
		for (unsigned k = 0; k < 100; k++)
			CHECK(!quick_took(&q, 1000, now));
		CHECK(!quick_took(&q, QUICK_LIMIT_NS + 100 * QUICK_EARNS_NS, now));
		CHECK(quick_allowed(&q, now));
	}
	CHECK(quick_took(&q, QUICK_LIMIT_NS + 1, now)); /* all is used up */
	CHECK(!quick_allowed(&q, now));
	now += QUICK_PAUSE_NS;
	for (unsigned k = 0; k < 10000; k++)
		CHECK(!quick_took(&q, 1000, now));
	CHECK(quick_took(&q, QUICK_LIMIT_NS + QUICK_CREDIT_NS + 1, now)); /* nobody has credit for so much */
	CHECK(quick_took(&q, QUICK_LIMIT_NS + 1, now + MS));              /* and what he had is gone */
}

int main(void)
{
	test_credit();
	test_quick_ones_stay();
	test_slow_ones_go_away();
	test_forgiven();
	return test_end();
}
