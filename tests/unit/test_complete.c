/* SPDX-License-Identifier: MIT */
/* test_complete.c - short results continued from the right place, retries bounded, links. */
#include <sys/uio.h>

#include "faked.h"

static struct backend *b;
static struct ring *r;
static char buf[65536];

static void begin(void)
{
	struct backend_config cfg = faked_config();

	fake_reset();
	memset(&faked_log, 0, sizeof(faked_log));
	faked_make(&cfg, &b, &r);
}

static struct op *rw(enum op_kind kind, size_t len, uint64_t off)
{
	struct op *op = faked_op(r, kind, 1);

	op->buf = buf;
	op->len = len;
	op->off = off;
	return op;
}

/* Answer the one held entry with @res, after a look at what it asks for. */
static void answer(size_t pos, size_t len, uint64_t off, int res)
{
	CHECK_EQ(ring_wait(r, false), 0);
	REQUIRE(fake_held() == 1);
	CHECK_EQ(fake_entry(0)->addr, (uintptr_t)buf + pos);
	CHECK_EQ(fake_entry(0)->len, len);
	CHECK_EQ(fake_entry(0)->off, off);
	fake_complete(0, res);
	CHECK_EQ(ring_wait(r, false), 1);
}

static void finished(int64_t res)
{
	CHECK_EQ(faked_log.count, 1);
	CHECK_EQ(faked_log.res[0], res);
	CHECK_EQ(fake_held(), 0);
	CHECK_EQ(ring_outstanding(r), 0);
	memset(&faked_log, 0, sizeof(faked_log));
}

static void test_short(enum op_kind kind)
{
	begin();
	ring_submit(rw(kind, 1000, 5000));
	answer(0, 1000, 5000, 300);
	answer(300, 700, 5300, 1);
	answer(301, 699, 5301, 699);
	finished(1000);
	CHECK_EQ(faked_stats(r).short_continued, 2);
	/* the end of the file */
	ring_submit(rw(kind, 1000, 0));
	answer(0, 1000, 0, 300);
	answer(300, 700, 300, 0);
	finished(300);
	/* an error after progress: the count stands */
	ring_submit(rw(kind, 1000, 0));
	answer(0, 1000, 0, 300);
	answer(300, 700, 300, -EIO);
	CHECK_EQ(faked_log.cut[0], -EIO);
	finished(300);
	ring_submit(rw(kind, 1000, 0));
	answer(0, 1000, 0, -EIO);
	finished(-EIO);
	/* the file's own position */
	ring_submit(rw(kind, 1000, UINT64_MAX));
	answer(0, 1000, UINT64_MAX, 300);
	answer(300, 700, UINT64_MAX, 700);
	finished(1000);
	faked_end(b, r);
}

static void test_once(void)
{
	struct op *op;

	begin();
	op = rw(OP_READ, 1000, 0);
	op->flags = OPF_ONCE;
	ring_submit(op);
	answer(0, 1000, 0, 300);
	finished(300);
	op = rw(OP_READ, 1000, 0);
	op->flags = OPF_ONCE;
	ring_submit(op);
	answer(0, 1000, 0, -EAGAIN);
	finished(-EAGAIN);
	op = rw(OP_READ, 1000, 0);
	op->arg = RWF_NOWAIT;
	ring_submit(op);
	answer(0, 1000, 0, -EAGAIN);
	finished(-EAGAIN);
	op = faked_op(r, OP_OPENAT, 1);
	op->path = "x";
	op->how.resolve = RESOLVE_CACHED;
	ring_submit(op);
	CHECK_EQ(ring_wait(r, false), 0);
	fake_complete(0, -EAGAIN);
	CHECK_EQ(ring_wait(r, false), 1);
	finished(-EAGAIN);
	faked_end(b, r);
}

static void test_retry(void)
{
	begin();
	ring_submit(rw(OP_WRITE, 1000, 64));
	answer(0, 1000, 64, -EINTR);
	answer(0, 1000, 64, 500);
	answer(500, 500, 564, -EAGAIN);
	answer(500, 500, 564, 500);
	finished(1000);
	CHECK_EQ(faked_stats(r).retried, 2);
	/* again and again: the kernel's workers, then ours, then the error */
	ring_submit(rw(OP_WRITE, 1000, 0));
	for (unsigned i = 0; i < 7; i++) {
		CHECK_EQ(ring_wait(r, false), 0);
		REQUIRE(fake_held() == 1);
		CHECK_EQ((fake_entry(0)->flags & IOSQE_ASYNC) != 0, i > 3);
		fake_complete(0, -EAGAIN);
		CHECK_EQ(ring_wait(r, false), 1);
	}
	CHECK_EQ(fake_held(), 0);
	while (ring_outstanding(r)) { /* a worker's thread: on a loaded machine it takes its time */
		usleep(1000);
		(void)ring_wait(r, false);
	}
	finished(-EBADF); /* the worker's own answer for descriptor 5 */
	faked_end(b, r);
}

static void test_close_not_retried(void)
{
	begin();
	ring_submit(faked_op(r, OP_CLOSE, 1));
	CHECK_EQ(ring_wait(r, false), 0);
	fake_complete(0, -EINTR);
	CHECK_EQ(ring_wait(r, false), 1);
	finished(-EINTR);
	faked_end(b, r);
}

static void test_timeout(void)
{
	struct op *op;

	begin();
	op = faked_op(r, OP_TIMEOUT, 1);
	op->off = 1500000000;
	ring_submit(op);
	CHECK_EQ(ring_wait(r, false), 0);
	CHECK_EQ(((const struct __kernel_timespec *)(uintptr_t)fake_entry(0)->addr)->tv_sec, 1);
	CHECK_EQ(((const struct __kernel_timespec *)(uintptr_t)fake_entry(0)->addr)->tv_nsec, 500000000);
	fake_complete(0, -ETIME);
	CHECK_EQ(ring_wait(r, false), 1);
	finished(0);
	faked_end(b, r);
}

static void test_link(void)
{
	struct op *op;

	begin();
	for (intptr_t i = 0; i < 6; i++)
		ring_submit(faked_op(r, OP_FSYNC, 100 + i));
	op = rw(OP_READ, 1000, 0);
	op->flags = OPF_LINK;
	ring_submit(op);
	op = faked_op(r, OP_FSYNC, 2);
	op->flags = OPF_LINK;
	ring_submit(op);
	ring_submit(faked_op(r, OP_FSYNC, 3));
	/* 2 entries are free: the 3 of the chain must not be torn apart */
	fake_script_enter(UINT32_MAX, 0);
	CHECK_EQ(ring_wait(r, false), 0);
	REQUIRE(fake_held() == 9);
	CHECK_EQ(fake_entry(5)->flags & IOSQE_IO_LINK, 0);
	CHECK_EQ(fake_entry(6)->flags & IOSQE_IO_LINK, IOSQE_IO_LINK);
	CHECK_EQ(fake_entry(7)->flags & IOSQE_IO_LINK, IOSQE_IO_LINK);
	CHECK_EQ(fake_entry(8)->flags & IOSQE_IO_LINK, 0);
	fake_complete(6, 10); /* short: the rest is not fetched, what follows is cancelled */
	fake_complete(6, -ECANCELED);
	fake_complete(6, -ECANCELED);
	CHECK_EQ(ring_wait(r, false), 3);
	CHECK_EQ(faked_log.res[0], 10);
	CHECK_EQ(faked_log.res[1], -ECANCELED);
	while (fake_held() > 0)
		fake_complete(0, 0);
	CHECK_EQ(ring_wait(r, false), 6);
	faked_end(b, r);
}

/* A part that the ring does not run: we walk the chain. */
static void test_soft_link(bool fail)
{
	struct op *op;

	begin();
	op = rw(OP_WRITE, 1000, 0);
	op->flags = OPF_LINK;
	ring_submit(op);
	op = faked_op(r, OP_SYNCFS, 2); /* worker */
	ring_submit(op);
	CHECK_EQ(ring_wait(r, false), 0);
	REQUIRE(fake_held() == 1);
	CHECK_EQ(fake_entry(0)->flags & IOSQE_IO_LINK, 0);
	fake_complete(0, fail ? 999 : 1000);
	while (ring_outstanding(r)) { /* a worker's thread: on a loaded machine it takes its time */
		usleep(1000);
		CHECK_GE(ring_wait(r, false), 0);
	}
	CHECK_EQ(faked_log.count, 2);
	CHECK_EQ(faked_log.res[0], fail ? 999 : 1000);
	CHECK_EQ(faked_log.res[1], fail ? -ECANCELED : -EBADF);
	faked_end(b, r);
}

static void test_chain_without_end(void)
{
	struct op *op;

	begin();
	op = faked_op(r, OP_FSYNC, 1);
	op->flags = OPF_LINK;
	ring_submit(op);
	CHECK_EQ(ring_wait(r, false), 0);
	REQUIRE(fake_held() == 1);
	CHECK_EQ(fake_entry(0)->flags & IOSQE_IO_LINK, 0);
	fake_complete(0, 0);
	CHECK_EQ(ring_wait(r, false), 1);
	faked_end(b, r);
}

int main(void)
{
	test_short(OP_READ);
	test_short(OP_WRITE);
	test_once();
	test_retry();
	test_close_not_retried();
	test_timeout();
	test_link();
	test_soft_link(false);
	test_soft_link(true);
	test_chain_without_end();
	return test_end();
}
