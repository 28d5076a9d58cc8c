/* SPDX-License-Identifier: MIT */
/* test_ring.c - submission, waiting list, refused and partial submits, overflow, stale tags. */
#include "backend/tag.h"
#include "faked.h"

static struct backend *b;
static struct ring *r;

static void begin(unsigned cq_entries)
{
	struct backend_config cfg = faked_config();

	fake_reset();
	fake.cq_entries = cq_entries;
	memset(&faked_log, 0, sizeof(faked_log));
	faked_make(&cfg, &b, &r);
}

static void test_order_of_completion(void)
{
	begin(0);
	for (intptr_t i = 0; i < 4; i++)
		ring_submit(faked_op(r, OP_FSYNC, i));
	CHECK_EQ(fake_held(), 0); /* nothing enters before ring_wait() */
	CHECK_EQ(ring_wait(r, false), 0);
	CHECK_EQ(fake_held(), 4);
	CHECK_EQ(ring_outstanding(r), 4);
	fake_complete(2, 0);
	fake_complete(0, -EIO);
	CHECK_EQ(ring_wait(r, false), 2);
	CHECK_EQ(faked_log.who[0], 2);
	CHECK_EQ(faked_log.who[1], 0);
	CHECK_EQ(faked_log.res[1], -EIO);
	fake_complete(0, 0);
	fake_complete(0, 0);
	CHECK_EQ(ring_wait(r, false), 2);
	CHECK_EQ(faked_stats(r).punted, 4);
	CHECK_EQ(faked_stats(r).kind_errors[OP_FSYNC], 1);
	CHECK_EQ(ring_ops_free(r), 128);
	faked_end(b, r);
}

static void test_waiting_list(void)
{
	begin(0);
	for (intptr_t i = 0; i < 50; i++)
		ring_submit(faked_op(r, OP_FSYNC, i));
	CHECK_EQ(faked_stats(r).waited, 42);
	CHECK_EQ(faked_stats(r).waiting_max, 42);
	CHECK_EQ(ring_wait(r, false), 0);
	CHECK_EQ(fake_held(), 50); /* all went, 8 at a time */
	while (fake_held() > 0)
		fake_complete(0, 0);
	while (ring_outstanding(r))
		REQUIRE(ring_wait(r, false) >= 0);
	for (unsigned i = 0; i < 50; i++)
		CHECK_EQ(faked_log.who[i], i);
	CHECK_EQ(faked_stats(r).sqes, 50);
	CHECK_EQ(faked_stats(r).cqes, 50);
	faked_end(b, r);
}

static void test_refused_submits(void)
{
	begin(0);
	for (intptr_t i = 0; i < 6; i++)
		ring_submit(faked_op(r, OP_FSYNC, i));
	fake_script_enter(2, 0); /* takes 2 of 6 */
	CHECK_EQ(ring_wait(r, false), 0);
	CHECK_EQ(fake_held(), 2);
	CHECK_EQ(faked_stats(r).sqes, 2);
	fake_script_enter(0, -EBUSY);
	CHECK_EQ(ring_wait(r, false), 0);
	fake_script_enter(0, -EAGAIN);
	CHECK_EQ(ring_wait(r, true), 0);
	fake_script_enter(0, -EINTR);
	CHECK_EQ(ring_wait(r, true), 0);
	CHECK_EQ(fake_held(), 2);
	CHECK_EQ(ring_wait(r, false), 0);
	CHECK_EQ(fake_held(), 6);
	while (fake_held() > 0)
		fake_complete(fake_held() - 1, 0);
	CHECK_EQ(ring_wait(r, true), 6);
	CHECK_EQ(faked_stats(r).sqes, 7); /* and the read of the eventfd, for the sleep */
	faked_end(b, r);
}

static void test_refused_with_waiters(void)
{
	begin(0);
	for (intptr_t i = 0; i < 20; i++)
		ring_submit(faked_op(r, OP_FSYNC, i));
	fake_script_enter(3, 0);
	fake_script_enter(0, -EBUSY);
	CHECK_EQ(ring_wait(r, false), 0);
	while (ring_outstanding(r)) {
		while (fake_held() > 0)
			fake_complete(0, 0);
		REQUIRE(ring_wait(r, false) >= 0);
	}
	for (unsigned i = 0; i < 20; i++)
		CHECK_EQ(faked_log.who[i], i);
	faked_end(b, r);
}

static void test_overflow(void)
{
	begin(4); /* a completion queue of 4 */
	for (intptr_t i = 0; i < 20; i++)
		ring_submit(faked_op(r, OP_FSYNC, i));
	CHECK_EQ(ring_wait(r, false), 0);
	CHECK_EQ(fake_held(), 20);
	while (fake_held() > 0)
		fake_complete(0, 0);
	CHECK_EQ(fake.overflowed, 16);
	while (ring_outstanding(r))
		REQUIRE(ring_wait(r, false) > 0);
	CHECK_EQ(faked_log.count, 20);
	CHECK_GE(faked_stats(r).overflows, 1);
	faked_end(b, r);
}

static void test_bad_tags(void)
{
	uint64_t tag;

	begin(0);
	ring_submit(faked_op(r, OP_FSYNC, 1));
	CHECK_EQ(ring_wait(r, false), 0);
	tag = fake_entry(0)->user_data;
	fake_stray(tag_make(TAG_OP, tag_generation(tag) + 1, tag_index(tag)), 0); /* other generation */
	fake_stray(tag_make(TAG_OP, 0, 100000), 0);                               /* outside the pool */
	fake_stray(0, 0);
	fake_stray(TAG_LIBURING, -ETIME); /* the library's own: ignored */
	CHECK_EQ(ring_wait(r, false), 0);
	CHECK_EQ(faked_stats(r).bad_tags, 3);
	CHECK_EQ(faked_log.count, 0);
	fake_complete(0, 0);
	fake_stray(tag, 0); /* the same completion twice */
	CHECK_EQ(ring_wait(r, false), 1);
	CHECK_EQ(faked_stats(r).bad_tags, 4);
	faked_end(b, r);
}

static void reuse_done(struct op *op)
{
	faked_done(op);
	op_reuse(op);
	op->kind = OP_FSYNC;
	op->fd = 6;
	op->done = faked_done;
	op->owner = (void *)77;
	ring_submit(op);
}

static void test_reuse_and_inline(void)
{
	static struct statx stx;
	struct op *op;

	begin(0);
	op = faked_op(r, OP_FSYNC, 1);
	op->done = reuse_done;
	ring_submit(op);
	CHECK_EQ(ring_wait(r, false), 0);
	fake_complete(0, 0);
	CHECK_EQ(ring_wait(r, false), 1);
	CHECK_EQ(ring_outstanding(r), 1);
	CHECK_EQ(ring_ops_free(r), 127);
	CHECK_EQ(ring_wait(r, false), 0);
	CHECK_EQ(fake_entry(0)->fd, 6);
	fake_complete(0, 0);
	CHECK_EQ(ring_wait(r, false), 1);
	CHECK_EQ(faked_log.who[1], 77);
	CHECK_EQ(ring_ops_free(r), 128);
	op = faked_op(r, OP_STATX, 5);
	op->fd = -1;
	op->path = "";
	op->buf = &stx;
	op->arg = AT_EMPTY_PATH;
	ring_submit(op);
	CHECK_EQ(faked_log.count, 3); /* inline: the callback has run */
	CHECK_EQ(faked_log.res[2], -EBADF);
	faked_end(b, r);
}

static struct op *kept;

static void keep_done(struct op *op)
{
	faked_done(op);
	op_keep(op);
	kept = op;
}

/** An op that is kept goes again, as it was: at once, or behind those that wait for an entry. */
static void test_again(void)
{
	struct op *op;

	begin(0);
	op = faked_op(r, OP_FSYNC, 3);
	op->arg = 1;
	op->done = keep_done;
	ring_submit(op);
	for (unsigned n = 0; n < 3; n++) {
		CHECK_EQ(ring_wait(r, false), 0);
		CHECK_EQ(ring_outstanding(r), 1);
		CHECK_EQ(fake_entry(0)->fd, 5);
		CHECK_EQ(fake_entry(0)->fsync_flags, IORING_FSYNC_DATASYNC);
		fake_complete(0, -EIO);
		CHECK_EQ(ring_wait(r, false), 1);
		CHECK_EQ(faked_log.count, n + 1);
		CHECK_EQ(faked_log.res[n], -EIO);
		CHECK_EQ(ring_outstanding(r), 0);
		CHECK_EQ(ring_ops_free(r), 127);
		if (n == 1) /* no entry is free: it waits */
			for (unsigned i = 0; i < 8; i++)
				ring_submit(faked_op(r, OP_FSYNC, 100 + i));
		ring_submit_again(kept);
		if (n != 1)
			continue;
		CHECK_EQ(faked_stats(r).waited, 1);
		CHECK_EQ(ring_wait(r, false), 0);
		for (unsigned i = 0; i < 8; i++)
			fake_complete(0, 0);
		CHECK_EQ(ring_wait(r, false), 8);
		CHECK_EQ(faked_log.count, 10);
		faked_log.count = 2;
	}
	CHECK_EQ(ring_wait(r, false), 0);
	CHECK_EQ(faked_stats(r).kind_count[OP_FSYNC], 12);
	CHECK_EQ(faked_stats(r).bad_tags, 0);
	fake_complete(0, 0);
	CHECK_EQ(ring_wait(r, false), 1);
	ring_op_put(kept);
	faked_end(b, r);
}

/** quick_data() - on the spot, tried again where the machine held the call before up for so long that this one is not to be. */
static int64_t quick_data(enum op_kind kind, const struct bfile *f, void *buf, size_t len, uint64_t off)
{
	int64_t res = -1;

	for (unsigned n = 0; n < 2000 && res < 0; n++) {
		uint64_t clock_ns = stats_now_ns(), before = clock_ns;
		res = ring_quick_data(r, kind, f, buf, len, off, &clock_ns);
		CHECK(clock_ns >= before && clock_ns <= stats_now_ns());
		if (res < 0)
			usleep(1000);
	}
	return res;
}

/** Data on the spot, without an op; never what an op would do otherwise. */
static void test_quick_data(void)
{
	char name[] = "/tmp/unit-ring-XXXXXX", buf[100];
	struct bfile f;
	uint64_t clock_ns;

	bfile_init(&f, mkstemp(name));
	REQUIRE(f.fd >= 0 && unlink(name) == 0);
	begin(0);
	memset(buf, 'x', sizeof(buf));
	CHECK_EQ(quick_data(OP_WRITE, &f, buf, 60, 10), 60);
	CHECK_EQ(quick_data(OP_READ, &f, buf, 70, 0), 70);
	CHECK(!buf[0] && !buf[9] && buf[10] == 'x' && buf[69] == 'x');
	CHECK_EQ(quick_data(OP_READ, &f, buf, 100, 50), 20);
	CHECK_EQ(quick_data(OP_READ, &f, buf, 100, 70), 0);
	CHECK_EQ(faked_stats(r).kind_count[OP_READ], 3);
	CHECK_EQ(faked_stats(r).place[OP_PLACE_INLINE], 4);
	CHECK_EQ(faked_stats(r).quick, 4);
	CHECK_EQ(ring_outstanding(r), 0);
	clock_ns = stats_now_ns() - 1000000000; /* as if it had taken a second: none for a while */
	if (ring_quick_data(r, OP_READ, &f, buf, 10, 0, &clock_ns) == 10)
		CHECK(faked_stats(r).quick_slow > 0);
	clock_ns -= 1000000000;
	CHECK_EQ(ring_quick_data(r, OP_READ, &f, buf, 10, 0, &clock_ns), -1);
	CHECK_EQ(quick_data(OP_READ, &f, buf, 10, 0), 10);
	close(f.fd);
	clock_ns = stats_now_ns() + 1000000000;
	CHECK_EQ(ring_quick_data(r, OP_WRITE, &f, buf, 10, 0, &clock_ns), -1); /* the op tells the error */
	CHECK_EQ(faked_stats(r).kind_count[OP_WRITE], 1);
	faked_end(b, r);
}

static unsigned nested;
static struct file_handle handle;

static void nest_done(struct op *op)
{
	if (++nested >= 1000)
		return;
	op_reuse(op);
	op->kind = OP_NAME_TO_HANDLE;
	op->path = "";
	op->buf = &handle;
	op->done = nest_done;
	ring_submit(op);
}

static void test_inline_depth(void)
{
	struct op *op;

	begin(0);
	op = faked_op(r, OP_NAME_TO_HANDLE, 0);
	op->path = "";
	op->buf = &handle;
	op->done = nest_done;
	ring_submit(op);
	CHECK_LE(nested, 20); /* the rest is put off: no deep stack */
	while (ring_outstanding(r))
		REQUIRE(ring_wait(r, true) >= 0);
	CHECK_EQ(nested, 1000);
	faked_end(b, r);
}

static void test_cancel(void)
{
	struct op *target, *op;

	begin(0);
	for (intptr_t i = 0; i < 9; i++)
		ring_submit(target = faked_op(r, OP_FSYNC, i));
	op = faked_op(r, OP_CANCEL, 100);
	op->buf = target; /* waits in our list */
	ring_submit(op);
	CHECK_EQ(faked_log.count, 1);
	CHECK_EQ(faked_log.res[0], 0);
	CHECK_EQ(ring_wait(r, false), 1);
	CHECK_EQ(faked_log.who[1], 8);
	CHECK_EQ(faked_log.res[1], -ECANCELED);
	while (fake_held() > 1)
		fake_complete(0, 0);
	CHECK_EQ(ring_wait(r, false), 7);
	target = faked_op(r, OP_POLL, 50);
	ring_submit(target);
	op = faked_op(r, OP_CANCEL, 101);
	op->buf = target;
	ring_submit(op);
	CHECK_EQ(ring_wait(r, false), 0);
	CHECK_EQ(fake_entry(2)->opcode, IORING_OP_ASYNC_CANCEL);
	CHECK_EQ(fake_entry(2)->addr, fake_entry(1)->user_data);
	while (fake_held() > 0)
		fake_complete(0, 0);
	CHECK_EQ(ring_wait(r, false), 3);
	faked_end(b, r);
}

static void complete_first(void)
{
	fake_complete(0, 1);
}

static void complete_first_then_another(void)
{
	fake_complete(0, 1);
	fake_set_work(complete_first);
}

/** What came while we were on our way out of the kernel is brought along. */
static void test_more_work(void)
{
	unsigned enters;

	begin(0);
	for (intptr_t i = 0; i < 3; i++)
		ring_submit(faked_op(r, OP_POLL, i));
	fake_set_idle(complete_first_then_another);
	enters = fake.enters;
	CHECK_EQ(ring_wait(r, true), 2);
	CHECK_EQ(fake.enters, enters + 2);
	CHECK_EQ(faked_log.who[1], 1);
	fake_set_idle(complete_first); /* no more than that: one enter does */
	enters = fake.enters;
	CHECK_EQ(ring_wait(r, true), 1);
	CHECK_EQ(fake.enters, enters + 1);
	fake_set_idle(NULL);
	faked_end(b, r);
}

int main(void)
{
	test_order_of_completion();
	test_waiting_list();
	test_refused_submits();
	test_refused_with_waiters();
	test_overflow();
	test_bad_tags();
	test_reuse_and_inline();
	test_again();
	test_quick_data();
	test_inline_depth();
	test_cancel();
	test_more_work();
	return test_end();
}
