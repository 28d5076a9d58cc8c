/* SPDX-License-Identifier: MIT */
/* test_proof.c - the rules of a proof, one by one: what makes it, what ends it. */
#include <errno.h>

#include "backend/file_check.h"
#include "backend/proof.h"
#include "test.h"

#define KIB UINT64_C(1024)

static const struct proof_extents whole = { .good = true, .settled = true, .size = 64 * 1024, .blocks = 128, .count = 1, .range = { { 0, 64 * 1024 } } };
static const struct proof_times times = { 1, 2, 3 };

/** real_sync() - a whole real sync with a look, nothing between. */
static void real_sync(struct proof *p, bool datasync, const struct proof_extents *look)
{
	struct proof_mark mark;

	proof_sync_begin(p, &mark);
	proof_sync_end(p, &mark, true, datasync ? NULL : &times, proof_wants_look(p, &mark) ? look : NULL, 0);
}

static void make(struct proof *p)
{
	proof_init(p);
	CHECK_EQ(proof_ready(p, 0), PROOF_NEW);
	real_sync(p, false, &whole);
	REQUIRE(proof_ready(p, 0) == PROOF_NONE);
}

static void do_write(struct proof *p, uint64_t off, uint64_t len, unsigned flags, int64_t res)
{
	proof_write_begin(p, off, len, flags, 0);
	proof_write_end(p, res);
}

static void test_overwrites(void)
{
	struct proof p;

	make(&p);
	do_write(&p, 0, 4 * KIB, PROOF_WRITE_BUFFERED, 4096);
	do_write(&p, 60 * KIB, 4 * KIB, 0, 4096);
	do_write(&p, 64 * KIB - 1, 1, 0, 1);
	CHECK_EQ(proof_ready(&p, 0), PROOF_NONE);
	CHECK(proof_needs_writeback(&p));
	CHECK(p.times_changed);
	proof_write_begin(&p, 0, 1, 0, 0);
	CHECK_EQ(proof_ready(&p, 0), PROOF_BUSY);
	proof_write_end(&p, 1);
	CHECK_EQ(proof_ready(&p, 0), PROOF_NONE);
}

/** ends() - @end has ended the proof for @reason; a real sync brings it back, at the latest after some more. */
static void ends(struct proof *p, enum proof_reason reason)
{
	CHECK_EQ(proof_ready(p, 0), reason);
	for (unsigned n = 0; n < 2 && proof_ready(p, 0) != PROOF_NONE; n++)
		real_sync(p, true, &whole);
	CHECK_EQ(proof_ready(p, 0), PROOF_NONE);
}

static void test_ends(void)
{
	static const enum proof_reason changes[] = { PROOF_TRUNCATE, PROOF_FALLOCATE, PROOF_COPY, PROOF_ATTRIBUTES, PROOF_NAME };
	struct proof p;

	make(&p);
	do_write(&p, 64 * KIB, 1, 0, 1);
	ends(&p, PROOF_GROWTH);
	make(&p);
	do_write(&p, 60 * KIB, 4 * KIB + 1, 0, 1);
	ends(&p, PROOF_GROWTH);
	make(&p);
	do_write(&p, UINT64_MAX - 1, 4096, 0, 1); /* no wrap */
	ends(&p, PROOF_GROWTH);
	make(&p);
	do_write(&p, 0, 1, PROOF_WRITE_APPEND, 1);
	ends(&p, PROOF_GROWTH);
	make(&p);
	do_write(&p, 0, 1, PROOF_WRITE_KILL, 1);
	ends(&p, PROOF_ATTRIBUTES);
	make(&p);
	do_write(&p, 0, 1, 0, -EINTR);
	ends(&p, PROOF_ERROR);
	for (size_t n = 0; n < sizeof(changes) / sizeof(changes[0]); n++) {
		make(&p);
		proof_change_begin(&p, changes[n]);
		CHECK_NE(proof_ready(&p, 0), PROOF_NONE);
		proof_change_end(&p);
		ends(&p, changes[n]);
	}
	make(&p);
	CHECK_EQ(proof_ready(&p, 1), PROOF_RESET); /* another generation of the device */
}

static void test_refused(void)
{
	static const int errors[] = { -EIO, -ENOSPC, -EDQUOT };
	struct proof p;

	for (size_t n = 0; n < 3; n++) {
		make(&p);
		do_write(&p, 0, 1, 0, errors[n]);
		for (unsigned i = 0; i < 200; i++)
			real_sync(&p, false, &whole);
		CHECK_EQ(proof_ready(&p, 0), PROOF_ERROR);
	}
	make(&p);
	proof_refuse(&p, PROOF_SHARED);
	real_sync(&p, false, &whole);
	CHECK_EQ(proof_ready(&p, 0), PROOF_SHARED);
}

static void test_error_without_caller(void)
{
	struct proof p;

	make(&p);
	do_write(&p, 0, 1, PROOF_WRITE_BUFFERED, 1);
	CHECK_EQ(p.error_gen, 0);
	proof_sync_failed(&p, 7);
	CHECK_EQ(p.error_gen, 7);
	CHECK_EQ(proof_ready(&p, 0), PROOF_ERROR);
	real_sync(&p, false, &whole);
	CHECK_EQ(p.error_gen, 7); /* whoever has not heard of it still has to */
	CHECK_EQ(proof_ready(&p, 0), PROOF_ERROR);
	/* a device error before the file counts as clean */
	make(&p);
	do_write(&p, 0, 1, PROOF_WRITE_BUFFERED, 1);
	proof_error_check(&p, 3);
	real_sync(&p, false, &whole);
	CHECK(!p.dirty);
	CHECK_EQ(p.error_gen, 3);
}

static void test_holes(void)
{
	const struct proof_extents two = { .good = true, .settled = true, .size = 64 * 1024, .blocks = 64, .count = 2,
					   .range = { { 0, 16 * 1024 }, { 32 * 1024, 48 * 1024 } } };
	struct proof p;

	proof_init(&p);
	real_sync(&p, false, &two);
	do_write(&p, 12 * KIB, 4 * KIB, 0, 4096);
	do_write(&p, 32 * KIB, 16 * KIB, 0, 16384);
	CHECK_EQ(proof_ready(&p, 0), PROOF_NONE);
	do_write(&p, 12 * KIB, 8 * KIB, 0, 8192); /* half in a hole */
	CHECK_EQ(proof_ready(&p, 0), PROOF_HOLE);
	proof_init(&p);
	real_sync(&p, false, &two);
	do_write(&p, 20 * KIB, 4 * KIB, 0, 4096);
	CHECK_EQ(proof_ready(&p, 0), PROOF_HOLE);
	proof_init(&p);
	real_sync(&p, false, &two);
	do_write(&p, 50 * KIB, 4 * KIB, 0, 4096);
	CHECK_EQ(proof_ready(&p, 0), PROOF_HOLE);
}

/** What comes between the start of a sync and the look decides. */
static void test_races(void)
{
	struct proof_mark mark;
	struct proof p;

	/* a write while the first sync runs: blocks known, but not yet durable */
	proof_init(&p);
	proof_sync_begin(&p, &mark);
	do_write(&p, 0, 4096, 0, 4096);
	CHECK_EQ(p.epoch != mark.epoch, 1); /* nothing was known, so it counts as growth */
	proof_sync_end(&p, &mark, true, &times, &whole, 0);
	CHECK_NE(proof_ready(&p, 0), PROOF_NONE);
	/* a change that was under way at its start and ends after it */
	proof_init(&p);
	proof_change_begin(&p, PROOF_TRUNCATE);
	proof_sync_begin(&p, &mark);
	proof_sync_end(&p, &mark, true, &times, &whole, 0);
	CHECK_NE(proof_ready(&p, 0), PROOF_NONE);
	proof_change_end(&p);
	CHECK_NE(proof_ready(&p, 0), PROOF_NONE);
	/* a write in a known block during a FLUSH: still dirty afterwards, written back next time */
	make(&p);
	do_write(&p, 0, 4096, PROOF_WRITE_BUFFERED, 4096);
	proof_sync_begin(&p, &mark);
	do_write(&p, 4096, 4096, PROOF_WRITE_BUFFERED, 4096);
	proof_sync_end(&p, &mark, false, NULL, NULL, 0);
	CHECK(proof_needs_writeback(&p));
	CHECK(p.dirty);
	proof_sync_begin(&p, &mark);
	proof_sync_end(&p, &mark, false, NULL, NULL, 0);
	CHECK(!proof_needs_writeback(&p));
	CHECK(!p.dirty);
	/* times: only a real fsync without writes meanwhile makes them durable */
	CHECK(p.times_changed);
	real_sync(&p, true, NULL);
	CHECK(p.times_changed);
	real_sync(&p, false, NULL);
	CHECK(!p.times_changed);
	CHECK_EQ(proof_ready(&p, 0), PROOF_NONE);
}

/** O_DSYNC: what is durable when it is written needs no FLUSH; but what was written otherwise does. */
static void test_durable_writes(void)
{
	struct proof_mark mark;
	struct proof p;

	make(&p);
	CHECK(proof_clean(&p));
	do_write(&p, 0, 4096, PROOF_WRITE_DURABLE | PROOF_WRITE_BUFFERED, 4096);
	CHECK(proof_clean(&p));
	do_write(&p, 0, 4096, PROOF_WRITE_BUFFERED, 4096);
	CHECK(!proof_clean(&p));
	do_write(&p, 0, 4096, PROOF_WRITE_DURABLE, 4096);
	CHECK(!proof_clean(&p));
	proof_sync_begin(&p, &mark);
	proof_sync_end(&p, &mark, false, NULL, NULL, 0);
	CHECK(proof_clean(&p));
	do_write(&p, 0, 4096, 0, 4096); /* O_DIRECT: in the device's cache */
	CHECK(!proof_clean(&p));
	CHECK(!proof_needs_writeback(&p));
	make(&p);
	do_write(&p, 64 * KIB, 1, PROOF_WRITE_DURABLE, 1);
	CHECK(!proof_clean(&p));
}

static void test_errors_of_the_device(void)
{
	struct proof p;

	make(&p);
	proof_error_check(&p, 1);
	CHECK_EQ(p.error_gen, 0); /* nothing unsynced: it does not concern this file */
	proof_write_begin(&p, 0, 1, 0, 1);
	proof_write_end(&p, 1);
	proof_error_check(&p, 1);
	CHECK_EQ(p.error_gen, 0); /* written after it */
	proof_error_check(&p, 2);
	CHECK_EQ(p.error_gen, 2);
}

static void test_backoff(void)
{
	const struct proof_extents bad = { .good = false };
	struct proof_mark mark;
	unsigned looks = 0;
	struct proof p;

	/* appends with a sync each: looks become rare */
	proof_init(&p);
	for (unsigned n = 0; n < 1000; n++) {
		do_write(&p, 0, 1, PROOF_WRITE_APPEND, 1);
		proof_sync_begin(&p, &mark);
		if (proof_wants_look(&p, &mark)) {
			looks++;
			proof_sync_end(&p, &mark, true, NULL, &whole, 0);
		} else {
			proof_sync_end(&p, &mark, true, NULL, NULL, 0);
		}
	}
	CHECK_LE(looks, 25);
	CHECK_GE(looks, 2);
	/* the same for a file whose blocks speak against it */
	proof_init(&p);
	real_sync(&p, true, &bad);
	CHECK_EQ(proof_ready(&p, 0), PROOF_EXTENTS);
	proof_sync_begin(&p, &mark);
	CHECK(!proof_wants_look(&p, &mark));
}

static void add(struct extent_sum *s, uint64_t start, uint64_t length, uint32_t flags)
{
	const struct fiemap_extent e = { .fe_logical = start, .fe_length = length, .fe_flags = flags };

	extent_sum_add(s, &e);
}

static void test_extents(void)
{
	static const uint32_t bad[] = { FIEMAP_EXTENT_UNKNOWN, FIEMAP_EXTENT_DELALLOC, FIEMAP_EXTENT_ENCODED, FIEMAP_EXTENT_DATA_ENCRYPTED,
					FIEMAP_EXTENT_NOT_ALIGNED, FIEMAP_EXTENT_DATA_INLINE, FIEMAP_EXTENT_DATA_TAIL, FIEMAP_EXTENT_SHARED };
	struct proof_extents out = { 0 };
	struct extent_sum s = { .out = &out, .size = 100000 };

	add(&s, 0, 8192, 0);
	add(&s, 8192, 4096, FIEMAP_EXTENT_MERGED);
	add(&s, 12288, 4096, FIEMAP_EXTENT_UNWRITTEN);
	add(&s, 98304, 4096, 0);
	add(&s, 102400, 4096, FIEMAP_EXTENT_UNWRITTEN | FIEMAP_EXTENT_LAST);
	CHECK(!s.bad);
	CHECK_EQ(out.count, 2);
	CHECK_EQ(out.range[0].end, 12288);
	CHECK_EQ(out.range[1].start, 98304);
	CHECK_EQ(out.range[1].end, 100000); /* not beyond the end */
	CHECK_EQ(s.mapped_bytes, 8192 + 4 * 4096);
	for (unsigned n = 0; n < 4; n++) { /* the map: the same extents again, then another place, length, state */
		struct proof_extents one = { 0 }, two = { 0 };
		struct extent_sum first = { .out = &one, .size = 100000 }, second = { .out = &two, .size = 100000 };
		const struct fiemap_extent e = { .fe_physical = 4096, .fe_length = 8192, .fe_flags = FIEMAP_EXTENT_LAST };
		const struct fiemap_extent other = { .fe_physical = n == 1 ? 8192 : 4096, .fe_length = n == 2 ? 4096 : 8192,
						     .fe_flags = n == 3 ? FIEMAP_EXTENT_UNWRITTEN : 0 };

		extent_sum_add(&first, &e);
		extent_sum_add(&second, &other);
		CHECK_EQ(one.map == two.map, n == 0);
	}
	for (size_t n = 0; n < sizeof(bad) / sizeof(bad[0]); n++) {
		s = (struct extent_sum){ .out = &out, .size = 100000 };
		add(&s, 0, 4096, bad[n]);
		CHECK(s.bad);
	}
	out = (struct proof_extents){ 0 };
	s = (struct extent_sum){ .out = &out, .size = 1 << 20 };
	for (unsigned n = 0; n < 20; n++)
		add(&s, n * 8192, 4096, 0);
	CHECK_EQ(out.count, PROOF_RANGES_MAX);
}

int main(void)
{
	test_overwrites();
	test_ends();
	test_refused();
	test_error_without_caller();
	test_holes();
	test_races();
	test_durable_writes();
	test_errors_of_the_device();
	test_backoff();
	test_extents();
	return test_end();
}
