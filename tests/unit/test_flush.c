/* SPDX-License-Identifier: MIT */
/* test_flush.c - order, sharing and errors of FLUSHes, and of the calls that wait for them. */
#include <fcntl.h>
#include <sys/stat.h>

#include "backend/durability_priv.h"
#include "backend/file_check.h"
#include "faked.h"
#include "mock_nvme.h"

static struct backend *b;
static struct ring *r;
static struct namespace ns;
static struct durability d;
static struct dfile *f;
static struct bfile file;
static _Atomic uint64_t seen;

/* ---- the flusher alone -------------------------------------------------------------- */

static struct flush_ticket tickets[8];
static unsigned answered;
static int answers[8];

static void ticket_done(struct flush_ticket *t)
{
	answered++;
	answers[t - tickets] = t->res;
}

static void take(unsigned n)
{
	tickets[n] = (struct flush_ticket){ .ring = r, .done = ticket_done };
	answers[n] = 1;
	flush_request(&ns.flusher, &tickets[n]);
	(void)ring_wait(r, false);
}

static void device_answers(int res)
{
	mock_only("FLUSH", IORING_OP_URING_CMD);
	mock_is_flush(0);
	fake_complete(0, res);
	(void)ring_wait(r, false);
	(void)ring_wait(r, false); /* submits what the callbacks queued */
}

/* what a look at the file finds */
static struct proof_extents there;
static int look_res;

static unsigned looks;

/** file_check() - in place of the library's: the file here has no blocks. */
int file_check(int fd, bool cow, struct proof_extents *ret)
{
	(void)fd;
	(void)cow;
	looks++;
	*ret = there;
	return look_res;
}

static void begin(void)
{
	struct backend_config cfg = faked_config();
	struct stat st;
	int fd;

	fake_reset();
	faked_make(&cfg, &b, &r);
	memset(&ns, 0, sizeof(ns));
	ns.events_fd = -1;
	pthread_mutex_init(&ns.events_lock, NULL);
	ns.device.write_back = true;
	flusher_init(&ns.flusher, &(struct nvme_target){ .fd = MOCK_FD, .nsid = MOCK_NSID, .timeout_ms = 1000 });
	memset(&d, 0, sizeof(d));
	d.b = b;
	d.capable = true;
	d.ns = &ns;
	d.watch.fd = -1;
	pthread_mutex_init(&d.table_lock, NULL);
	pthread_mutex_init(&d.background_lock, NULL);
	pthread_mutex_init(&d.latency_lock, NULL);
	fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	REQUIRE(fd >= 0 && ftruncate(fd, 65536) == 0 && fstat(fd, &st) == 0);
	bfile_init(&file, fd);
	uint64_t start;
	f = durability_open(&d, 42, &start);
	REQUIRE(f != NULL);
	atomic_store(&seen, start);
	/* proven, as after a real sync and a look */
	f->proof.mapped = f->proof.synced = true;
	f->proof.extents = (struct proof_extents){ .good = true, .size = 65536, .blocks = (uint64_t)st.st_blocks, .count = 1,
						   .range = { { 0, 65536 } } };
	there = f->proof.extents;
	look_res = 0;
	looks = 0;
	answered = 0;
}

static void end(void)
{
	CHECK_EQ(fake_held(), 0);
	durability_put(f, -1);
	close(file.fd);
	flusher_fini(&ns.flusher);
	faked_end(b, r);
}

static void test_sharing(void)
{
	begin();
	take(0); /* alone: sent at once */
	mock_only("first", IORING_OP_URING_CMD);
	take(1);
	take(2);
	mock_only("still the first", IORING_OP_URING_CMD);
	CHECK_EQ(answered, 0);
	device_answers(0); /* answers the first only, and sends the next at once */
	CHECK_EQ(answered, 1);
	CHECK_EQ(answers[0], 0);
	CHECK_EQ(answers[1], 1);
	take(3); /* too late for the second FLUSH */
	device_answers(0);
	CHECK_EQ(answered, 3);
	CHECK_EQ(answers[3], 1);
	device_answers(0);
	CHECK_EQ(answered, 4);
	CHECK_EQ(ns.flusher.sent, 3);
	CHECK_EQ(ns.flusher.tickets, 4);
	CHECK_EQ(ns.flusher.tickets_max, 2);
	CHECK(!ns.flusher.busy);
	end();
}

static void test_status(int res, int expected)
{
	uint64_t before;

	begin();
	before = flusher_generation(&ns.flusher);
	take(0);
	take(1);
	take(2);
	device_answers(res);
	CHECK_EQ(answers[0], expected);
	CHECK_NE(flusher_generation(&ns.flusher), before);
	CHECK_EQ(answers[1], 1); /* not of that batch: the next FLUSH tells */
	device_answers(0);
	CHECK_EQ(answers[1], 0);
	CHECK_EQ(answers[2], 0);
	CHECK_EQ(ns.flusher.errors, 1);
	CHECK_EQ(ns.flusher.gone, res == -ENODEV);
	end();
}

/* ---- whole calls ------------------------------------------------------------------------ */

struct result {
	unsigned done;
	int64_t res;
};

static void call_done(struct sync_call *c, int64_t res)
{
	struct result *out = c->owner;

	out->done++;
	out->res = res;
}

static void start(struct sync_call *c, struct result *out, bool datasync)
{
	*out = (struct result){ 0, 1 };
	*c = (struct sync_call){ .ring = r, .durable = &d, .dfile = f, .file = &file, .seen = &seen, .datasync = datasync,
				 .done = call_done, .owner = out };
	durability_sync(c);
	(void)ring_wait(r, false);
}

static void complete(int opcode, int res)
{
	mock_only("step", opcode);
	if (opcode == IORING_OP_URING_CMD)
		mock_is_flush(0);
	fake_complete(0, res);
	(void)ring_wait(r, false);
	(void)ring_wait(r, false);
}

static void wrote(unsigned flags)
{
	dfile_write_begin(f, 0, 4096, flags);
	dfile_write_end(f, 4096);
}

static void test_order(void)
{
	struct sync_call c;
	struct result out;

	begin();
	wrote(PROOF_WRITE_BUFFERED);
	start(&c, &out, true);
	mock_only("write-back first", IORING_OP_SYNC_FILE_RANGE);
	CHECK_EQ(fake_entry(0)->sync_range_flags, 7); /* all three: WB_SYNC_ALL */
	CHECK_EQ(fake_entry(0)->off, 0);
	CHECK_EQ(fake_entry(0)->len, 0); /* to the end */
	complete(IORING_OP_SYNC_FILE_RANGE, 0);
	CHECK_EQ(out.done, 0);
	complete(IORING_OP_URING_CMD, 0);
	CHECK_EQ(out.done, 1);
	CHECK_EQ(out.res, 0);
	CHECK_EQ(d.flush, 1);
	/* nothing since: nothing to do */
	start(&c, &out, true);
	CHECK_EQ(out.done, 1);
	CHECK_EQ(d.clean, 1);
	/* O_DIRECT: a FLUSH without write-back */
	wrote(0);
	start(&c, &out, true);
	complete(IORING_OP_URING_CMD, 0);
	CHECK_EQ(out.res, 0);
	/* no volatile cache: write-back only */
	ns.device.write_back = false;
	wrote(PROOF_WRITE_BUFFERED);
	start(&c, &out, true);
	complete(IORING_OP_SYNC_FILE_RANGE, 0);
	CHECK_EQ(out.res, 0);
	CHECK_EQ(d.no_cache, 1);
	CHECK_EQ(ns.flusher.sent, 2);
	end();
}

static void test_kernel(void)
{
	struct sync_call c;
	struct result out;

	begin();
	wrote(0);
	start(&c, &out, false); /* strict: times have changed */
	CHECK_EQ(fake_entry(0)->fsync_flags, 0);
	complete(IORING_OP_FSYNC, 0);
	CHECK_EQ(out.res, 0);
	CHECK_EQ(d.kernel[PROOF_TIMES], 1);
	/* under way: not proven */
	dfile_write_begin(f, 0, 1, 0);
	start(&c, &out, true);
	CHECK_EQ(fake_entry(0)->fsync_flags, IORING_FSYNC_DATASYNC);
	complete(IORING_OP_FSYNC, 0);
	dfile_write_end(f, 1);
	CHECK_EQ(d.kernel[PROOF_BUSY], 1);
	/* changed between write-back and answer: the kernel's sync after all */
	wrote(PROOF_WRITE_BUFFERED);
	start(&c, &out, true);
	complete(IORING_OP_SYNC_FILE_RANGE, 0);
	dfile_change_begin(f, PROOF_TRUNCATE);
	dfile_change_end(f);
	complete(IORING_OP_URING_CMD, 0);
	CHECK_EQ(out.done, 0);
	complete(IORING_OP_FSYNC, 0);
	CHECK_EQ(out.done, 1);
	CHECK_EQ(d.kernel[PROOF_TRUNCATE], 1);
	CHECK_EQ(d.flush, 0);
	end();
	/* the device was reset meanwhile */
	begin();
	wrote(0);
	start(&c, &out, true);
	flusher_reset(&ns.flusher);
	complete(IORING_OP_URING_CMD, 0);
	complete(IORING_OP_FSYNC, 0);
	CHECK_EQ(d.kernel[PROOF_RESET], 1);
	CHECK_EQ(out.res, 0);
	end();
	/* its blocks are elsewhere when the data has been written back, or cannot be looked at: the kernel's sync, and the next time, too */
	for (unsigned n = 0; n < 3; n++) {
		begin();
		wrote(PROOF_WRITE_BUFFERED);
		start(&c, &out, true);
		there.map = n == 0;
		there.good = n != 1;
		look_res = n == 2 ? -EIO : 0;
		complete(IORING_OP_SYNC_FILE_RANGE, 0);
		complete(IORING_OP_FSYNC, 0);
		CHECK_EQ(out.done, 1);
		CHECK_EQ(out.res, 0);
		CHECK_EQ(d.kernel[PROOF_SHARED], 1);
		CHECK_EQ(ns.flusher.sent, 0);
		wrote(0);
		start(&c, &out, true);
		complete(IORING_OP_FSYNC, 0);
		CHECK_EQ(d.flush, 0);
		end();
	}
	/* the file is not as it was proven: somebody else cut it */
	begin();
	wrote(0);
	REQUIRE(ftruncate(file.fd, 4096) == 0);
	start(&c, &out, true);
	complete(IORING_OP_FSYNC, 0);
	CHECK_EQ(d.kernel[PROOF_SHARED], 1);
	end();
}

/** unproven() - a file that is watched, of which nothing is known. */
static void unproven(void)
{
	proof_init(&f->proof);
	f->watched = true;
}

/** sync_once() - a kernel's sync with what was written buffered since the last one; @moved: the blocks are elsewhere after it. */
static void sync_once(struct sync_call *c, struct result *out, bool back, bool moved)
{
	if (back)
		wrote(PROOF_WRITE_BUFFERED);
	start(c, out, true);
	if (back)
		complete(IORING_OP_SYNC_FILE_RANGE, 0);
	if (moved)
		there.map++;
	complete(IORING_OP_FSYNC, 0);
	CHECK_EQ(out->done, 1);
	CHECK_EQ(out->res, 0);
}

/* Where the blocks lay before the sync and lie after it, the sync has made them lie; else the next one has. */
static void test_looks(void)
{
	struct sync_call c;
	struct result out;

	begin();
	unproven();
	sync_once(&c, &out, true, false); /* written back, looked at, synced, looked at */
	CHECK_EQ(looks, 2);
	CHECK(f->proof.mapped && f->proof.synced);
	wrote(0);
	start(&c, &out, true);
	complete(IORING_OP_URING_CMD, 0);
	CHECK_EQ(d.flush, 1);
	/* nothing of ours to write back: no write-back */
	unproven();
	sync_once(&c, &out, false, false);
	CHECK(f->proof.mapped && f->proof.synced);
	end();
	/* moved between the sync and the look after it, by a descriptor that nobody knows of: not by FLUSH before another sync */
	begin();
	unproven();
	sync_once(&c, &out, true, true);
	CHECK(f->proof.mapped && !f->proof.synced);
	wrote(0);
	start(&c, &out, true);
	complete(IORING_OP_FSYNC, 0);
	CHECK_EQ(d.kernel[PROOF_NEW], 1);
	CHECK_EQ(d.flush, 0);
	CHECK(f->proof.synced);
	/* and moved again before the first FLUSH */
	wrote(0);
	there.map++;
	start(&c, &out, true);
	complete(IORING_OP_FSYNC, 0);
	CHECK_EQ(d.kernel[PROOF_SHARED], 1);
	CHECK_EQ(ns.flusher.sent, 0);
	end();
	/* not placed before the sync (delayed, or it cannot be looked at): the same */
	for (unsigned n = 0; n < 2; n++) {
		begin();
		unproven();
		wrote(PROOF_WRITE_BUFFERED);
		start(&c, &out, true);
		there.good = n != 0;
		look_res = n ? -EINTR : 0;
		complete(IORING_OP_SYNC_FILE_RANGE, n ? 0 : -EOPNOTSUPP);
		there.good = true;
		look_res = 0;
		complete(IORING_OP_FSYNC, 0);
		CHECK_EQ(out.res, 0);
		CHECK(f->proof.mapped && !f->proof.synced);
		end();
	}
	/* its write-back fails: this open file is told of it but once */
	begin();
	unproven();
	wrote(PROOF_WRITE_BUFFERED);
	start(&c, &out, true);
	complete(IORING_OP_SYNC_FILE_RANGE, -EIO);
	CHECK_EQ(out.done, 1);
	CHECK_EQ(out.res, -EIO);
	CHECK_EQ(looks, 0);
	CHECK(f->proof.refused);
	end();
}

static void test_errors(int flush_res)
{
	_Atomic uint64_t other = 0;
	struct sync_call c;
	struct result out;

	begin();
	wrote(0);
	start(&c, &out, true);
	complete(IORING_OP_URING_CMD, flush_res);
	CHECK_EQ(out.done, 1);
	CHECK_EQ(out.res, -EIO);
	/* the same open file has heard of it: the kernel's sync now */
	start(&c, &out, true);
	if (flush_res == -ENODEV) { /* for good */
		complete(IORING_OP_FSYNC, 0);
		CHECK_EQ(d.kernel[PROOF_DEVICE], 1);
		end();
		return;
	}
	complete(IORING_OP_FSYNC, 0);
	CHECK_EQ(out.res, 0);
	/* another open file has not */
	*(&c) = (struct sync_call){ .ring = r, .durable = &d, .dfile = f, .file = &file, .seen = &other, .datasync = true,
				    .done = call_done, .owner = &out };
	out = (struct result){ 0, 1 };
	durability_sync(&c);
	(void)ring_wait(r, false);
	complete(IORING_OP_FSYNC, 0);
	CHECK_EQ(out.res, -EIO);
	CHECK_EQ(atomic_load(&other), 1);
	/* and hears of it once */
	start(&c, &out, true);
	complete(IORING_OP_FSYNC, 0);
	CHECK_EQ(out.res, 0);
	end();
}

static void test_kernel_errors(void)
{
	static const int odd[] = { -ENOSYS, -EINVAL, -EOPNOTSUPP };
	struct sync_call c;
	struct result out;

	/* write-back fails: the caller hears of it, no FLUSH, no proof any more */
	begin();
	wrote(PROOF_WRITE_BUFFERED);
	start(&c, &out, true);
	complete(IORING_OP_SYNC_FILE_RANGE, -EIO);
	CHECK_EQ(out.done, 1);
	CHECK_EQ(out.res, -EIO);
	CHECK_EQ(ns.flusher.sent, 0);
	start(&c, &out, true);
	complete(IORING_OP_FSYNC, 0);
	CHECK_EQ(d.kernel[PROOF_ERROR], 1);
	/* never what would make the kernel stop asking */
	for (size_t n = 0; n < 3; n++) {
		start(&c, &out, true);
		complete(IORING_OP_FSYNC, odd[n]);
		CHECK_EQ(out.res, -EIO);
	}
	end();
	/* write-back of a range is not possible: the kernel's sync */
	begin();
	wrote(PROOF_WRITE_BUFFERED);
	start(&c, &out, true);
	complete(IORING_OP_SYNC_FILE_RANGE, -EINVAL);
	complete(IORING_OP_FSYNC, 0);
	CHECK_EQ(out.res, 0);
	end();
}

/* sync_without_ops() - a call in memory that was used before, as a request's is, while no op is free. */
static void sync_without_ops(struct result *out)
{
	struct op *taken[128];
	struct sync_call c;
	unsigned count = 0;

	while (count < 128 && (taken[count] = ring_op_get(r)))
		count++;
	REQUIRE(count > 0 && ring_ops_free(r) == 0);
	*out = (struct result){ 0, 1 };
	memset(&c, PROOF_TIMES, sizeof(c));
	c.ring = r;
	c.durable = &d;
	c.dfile = f;
	c.file = &file;
	c.seen = &seen;
	c.datasync = true;
	c.done = call_done;
	c.owner = out;
	durability_sync(&c);
	while (count)
		ring_op_put(taken[--count]);
}

static void test_no_op(void)
{
	struct result out;

	begin();
	wrote(PROOF_WRITE_BUFFERED);
	sync_without_ops(&out);
	CHECK_EQ(out.done, 1);
	CHECK_EQ(out.res, -ENOMEM);
	CHECK_EQ(d.errors, 1);
	for (unsigned n = 0; n < PROOF_REASONS_COUNT; n++)
		CHECK_EQ(d.kernel[n], 0); /* the kernel did not sync it */
	/* an error of a FLUSH, of which this open file is told but once, is not lost in the other one */
	ns.flusher.errors++;
	sync_without_ops(&out);
	CHECK_EQ(out.done, 1);
	CHECK_EQ(out.res, -EIO);
	end();
}

/* No memory for the command, or no path to the device: nobody's data is in doubt, the kernel's sync does it. */
static void test_not_sent(int device_res)
{
	struct sync_call c;
	struct result out;

	begin();
	wrote(PROOF_WRITE_BUFFERED);
	start(&c, &out, true);
	complete(IORING_OP_SYNC_FILE_RANGE, 0);
	complete(IORING_OP_URING_CMD, device_res);
	CHECK_EQ(out.done, 0);
	complete(IORING_OP_FSYNC, 0);
	CHECK_EQ(out.res, 0);
	CHECK_EQ(ns.flusher.errors, 0);
	CHECK_EQ(ns.flusher.in_a_row, 0);
	CHECK(!ns.flusher.busy);
	wrote(PROOF_WRITE_BUFFERED);
	start(&c, &out, true);
	complete(IORING_OP_SYNC_FILE_RANGE, 0);
	complete(IORING_OP_URING_CMD, 0);
	CHECK_EQ(out.res, 0);
	end();
}

/* A device that fails every FLUSH is asked for no more after three; one that answers in between is. */
static void test_gives_up(void)
{
	struct sync_call c;
	struct result out;

	begin();
	for (unsigned n = 0; n < 5; n++) {
		take(0);
		device_answers(n == 2 ? 0 : 0x2002);
		CHECK(!ns.flusher.gone);
	}
	take(0);
	device_answers(-EINTR);
	CHECK(ns.flusher.gone);
	wrote(0);
	start(&c, &out, true);
	complete(IORING_OP_FSYNC, 0);
	CHECK_EQ(out.res, 0);
	CHECK_EQ(d.kernel[PROOF_DEVICE], 1);
	end();
}

int main(void)
{
	test_no_op();
	test_not_sent(-ENOMEM);
	test_not_sent(-EINVAL);
	test_not_sent(-EAGAIN);
	test_gives_up();
	test_sharing();
	test_status(0x2002, -EIO);
	test_status(6, -EIO);
	test_status(-EINTR, -EINTR);
	test_status(-ETIME, -ETIME);
	test_status(-ENODEV, -ENODEV);
	test_order();
	test_kernel();
	test_looks();
	test_errors(0x4002);
	test_errors(-EINTR);
	test_errors(-ETIME);
	test_errors(-ENODEV);
	test_kernel_errors();
	return test_end();
}
