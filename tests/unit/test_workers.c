/* SPDX-License-Identifier: MIT */
/* test_workers.c - the pool: its limit, its order, cancelling, many ops from a ring. */
#include "real.h"

static struct worker_stats stats_of(struct backend *b)
{
	struct worker_stats s;

	backend_worker_stats(b, &s);
	return s;
}

static void test_limit(void)
{
	struct backend_config cfg = real_config();
	struct backend *b;
	struct ring *r;
	struct worker_stats s;
	uint64_t start = stats_now_ns();

	cfg.workers_max = 3;
	b = real_backend(&cfg);
	CHECK_EQ(stats_of(b).threads, 0); /* started on demand */
	r = real_ring(b, 0);
	for (unsigned i = 0; i < 9; i++) {
		struct op *op = real_op(r, OP_TIMEOUT);

		op->flags = OPF_WORKER;
		op->off = 200000000; /* long against any delay while the nine are submitted */
		ring_submit(op);
	}
	s = stats_of(b);
	CHECK_EQ(s.threads, 3);
	CHECK_GE(s.queued_max, 4);
	real_drain(r);
	CHECK_GE(stats_now_ns() - start, 200000000); /* counted from the submission, also for those that queued */
	while (stats_of(b).done < 9) /* counted after the result has been handed over */
		usleep(1000);
	s = stats_of(b);
	CHECK_EQ(s.done, 9);
	CHECK_EQ(s.queued, 0);
	CHECK_EQ(real_stats(r).place[OP_PLACE_WORKER], 9);
	CHECK_EQ(real_stats(r).late_posts, 0);
	ring_destroy(r);
	backend_destroy(b);
}

static void test_cancel(void)
{
	struct backend_config cfg = real_config();
	struct real_result running = { 0, false }, queued = { 0, false };
	struct backend *b;
	struct ring *r;
	struct op *first, *second, *op;
	uint64_t start = stats_now_ns();

	cfg.workers_max = 1;
	b = real_backend(&cfg);
	r = real_ring(b, 0);
	first = real_op(r, OP_TIMEOUT);
	first->flags = OPF_WORKER;
	first->off = 30000000000u;
	first->done = real_done;
	first->owner = &running;
	ring_submit(first);
	while (stats_of(b).busy == 0)
		usleep(1000);
	second = real_op(r, OP_STATFS);
	second->done = real_done;
	second->owner = &queued;
	ring_submit(second);
	op = real_op(r, OP_CANCEL);
	op->buf = second;
	CHECK_EQ(real_run(r, op), 0);
	op = real_op(r, OP_CANCEL);
	op->buf = first;
	CHECK_EQ(real_run(r, op), -EALREADY);
	real_drain(r);
	CHECK_EQ(queued.res, -ECANCELED);
	CHECK_EQ(running.res, -ECANCELED);
	CHECK_LE(stats_now_ns() - start, 5000000000u);
	ring_destroy(r);
	backend_destroy(b);
}

static unsigned done_count;

static void count_done(struct op *op)
{
	CHECK_EQ(op->res, 0);
	if (++done_count % 2 || done_count > 20000)
		return;
	op_reuse(op);
	op->kind = OP_NOP;
	op->flags = OPF_WORKER;
	op->done = count_done;
	ring_submit(op);
}

static void test_many(void)
{
	struct backend_config cfg = real_config();
	struct backend *b = real_backend(&cfg);
	struct ring *r = real_ring(b, 0);

	for (unsigned round = 0; round < 40; round++) {
		while (ring_ops_free(r) > 0) {
			struct op *op = real_op(r, OP_NOP);

			op->flags = OPF_WORKER;
			op->done = count_done;
			ring_submit(op);
		}
		real_drain(r);
	}
	CHECK_GE(done_count, 40 * 256);
	CHECK_EQ(real_stats(r).late_posts, 0);
	ring_destroy(r);
	backend_destroy(b);
}

int main(void)
{
	test_limit();
	test_cancel();
	test_many();
	return test_end();
}
