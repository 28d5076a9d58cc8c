/* SPDX-License-Identifier: MIT */
/* test_filetable.c - when a file gets a slot, when it loses it, and what a full table does. */
#include <fcntl.h>

#include "faked.h"

static struct backend *b;
static struct ring *r;

static void begin(int files_error)
{
	struct backend_config cfg = faked_config();

	fake_reset();
	fake.files_error = files_error;
	memset(&faked_log, 0, sizeof(faked_log));
	faked_make(&cfg, &b, &r);
}

static int a_file(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	REQUIRE(fd >= 0);
	return fd;
}

/* One fsync on @f. Return: the slot that it used, -1: the plain descriptor */
static int use(struct bfile *f)
{
	struct op *op = faked_op(r, OP_FSYNC, 0);
	int slot;

	op->file = f;
	ring_submit(op);
	CHECK_EQ(ring_wait(r, false), 0);
	REQUIRE(fake_held() == 1);
	slot = fake_entry(0)->flags & IOSQE_FIXED_FILE ? fake_entry(0)->fd : -1;
	if (slot >= 0)
		CHECK_EQ(fake.slots[slot], f->fd);
	else
		CHECK_EQ(fake_entry(0)->fd, f->fd);
	fake_complete(0, 0);
	CHECK_EQ(ring_wait(r, false), 1);
	return slot;
}

static void test_life_of_a_slot(void)
{
	struct bfile f[6];
	int slot;

	begin(0);
	for (unsigned i = 0; i < 6; i++) {
		bfile_init(&f[i], a_file());
		CHECK_EQ(use(&f[i]), -1); /* the first use is not worth it */
	}
	for (unsigned i = 0; i < 4; i++) {
		slot = use(&f[i]);
		CHECK_GE(slot, 0);
		CHECK_EQ(use(&f[i]), slot);
	}
	CHECK_EQ(use(&f[4]), -1); /* 4 slots only */
	slot = use(&f[1]);
	bfile_close(r, &f[1], false);
	CHECK_EQ(fake.slots[slot], -1);
	CHECK_EQ(use(&f[5]), slot); /* now there is one */
	CHECK_EQ(faked_stats(r).slots_installed, 5);
	CHECK_EQ(faked_stats(r).slots_retired, 1);
	for (unsigned i = 0; i < 6; i++)
		if (f[i].fd >= 0)
			bfile_close(r, &f[i], false);
	CHECK_EQ(faked_stats(r).slots_retired, 5);
	CHECK_EQ(faked_stats(r).close_errors, 0);
	faked_end(b, r);
}

static void test_slow_close(void)
{
	struct bfile f;
	int fd = a_file();

	begin(0);
	bfile_init(&f, fd);
	use(&f);
	use(&f);
	bfile_close(r, &f, true);
	memset(&f, 0xff, sizeof(f)); /* may be freed */
	CHECK_EQ(ring_outstanding(r), 0);
	CHECK_EQ(ring_wait(r, false), 0);
	REQUIRE(fake_held() == 1);
	CHECK_EQ(fake_entry(0)->opcode, IORING_OP_CLOSE);
	CHECK_EQ(fake_entry(0)->fd, fd);
	CHECK_EQ(fake_entry(0)->flags & IOSQE_ASYNC, IOSQE_ASYNC);
	fake_complete(0, -EIO);
	CHECK_EQ(ring_wait(r, false), 1);
	CHECK_EQ(faked_stats(r).close_errors, 1);
	CHECK_EQ(ring_ops_free(r), 128);
	close(fd);
	faked_end(b, r);
}

static void test_refused(void)
{
	struct bfile f;

	begin(-EMFILE); /* no table at all */
	bfile_init(&f, a_file());
	for (unsigned i = 0; i < 3; i++)
		CHECK_EQ(use(&f), -1);
	bfile_close(r, &f, false);
	faked_end(b, r);
	begin(0); /* a table, but it takes nothing */
	bfile_init(&f, a_file());
	fake.files_update_error = -ENOMEM;
	for (unsigned i = 0; i < 3; i++)
		CHECK_EQ(use(&f), -1);
	fake.files_update_error = 0;
	CHECK_GE(use(&f), 0);
	bfile_close(r, &f, false);
	faked_end(b, r);
}

int main(void)
{
	test_life_of_a_slot();
	test_slow_close();
	test_refused();
	return test_end();
}
