/* SPDX-License-Identifier: MIT */
/* test_fs_dispatch.c - dispatch_check(): no message, however short or malformed, is read past its end. */
#include <errno.h>
#include <sys/mman.h>

#include "fs/dispatch.h"
#include "tests/unit/test.h"

#define ROOM 16384u
#define HEADER sizeof(struct fuse_in_header)

static char *end_of_room; /* what lies behind cannot be read */

static uint64_t state = 88172645463325252u;

static uint32_t random32(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)state;
}

/** check() - a message of @arg_size bytes behind the header; bytes by @fill. Returns what dispatch_check() says. */
static int check(uint32_t opcode, uint32_t arg_size, void (*fill)(unsigned char *arg, uint32_t size), const struct opcode_row **row)
{
	uint32_t len = (uint32_t)HEADER + arg_size;
	char *copy = end_of_room - ((len + 7) & ~7u);
	struct request r = { .opcode = opcode, .arg_size = arg_size, .payload_size = 1 << 20 };
	void *msg = malloc(len); /* for the address sanitizer, to the byte */
	int res;

	REQUIRE(msg);
	memset(msg, 0, len);
	((struct fuse_in_header *)msg)->len = len;
	((struct fuse_in_header *)msg)->opcode = opcode;
	fill((unsigned char *)msg + HEADER, arg_size);
	r.in = msg;
	r.arg = (char *)msg + HEADER;
	res = dispatch_check(&r, row);
	memset(copy, 'x', (size_t)(end_of_room - copy));
	memcpy(copy, msg, len);
	r.in = (void *)copy;
	r.arg = copy + HEADER;
	CHECK_EQ(dispatch_check(&r, row), res);
	free(msg);
	return res;
}

static void fill_zero(unsigned char *arg, uint32_t size)
{
	memset(arg, 0, size);
}

static void fill_ones(unsigned char *arg, uint32_t size)
{
	memset(arg, 0xff, size);
}

static void fill_random(unsigned char *arg, uint32_t size)
{
	for (uint32_t n = 0; n < size; n++)
		arg[n] = random32() % 3 ? (unsigned char)random32() : 0;
}

static void fill_letters(unsigned char *arg, uint32_t size)
{
	memset(arg, 'a', size);
}

static void test_lengths(void)
{
	const struct opcode_row *row;

	for (uint32_t op = 0; op < UAPI_FUSE_OPCODE_MAX + 20; op++) {
		bool known = strcmp(dispatch_opcode_name(op), "?") && op != FUSE_INIT;
		int before = -EINVAL;
		for (uint32_t size = 0; size <= 300; size++) {
			int res = check(op, size, fill_zero, &row);
			CHECK(known ? res == 0 || res == -EINVAL : res == -ENOSYS);
			CHECK(before != 0 || res == 0); /* with zeros, what is long enough stays long enough */
			if (known && res == 0) {
				CHECK_GE(size, row->arg_size + row->strings);
				CHECK_TEXT(row->name, dispatch_opcode_name(op));
			}
			before = res;
			(void)check(op, size, fill_ones, &row);
			(void)check(op, size, fill_letters, &row);
		}
		CHECK(!known || before == 0);
		if (known && check(op, 16, fill_zero, &row) == 0 && row->strings) /* a name without an end */
			CHECK_EQ(check(op, row->arg_size + 20u, fill_letters, &row), -EINVAL);
	}
}

static void fill_write(unsigned char *arg, uint32_t size)
{
	struct fuse_write_in in = { .size = size - (uint32_t)sizeof(in) + 1 };

	memcpy(arg, &in, sizeof(in));
}

static void fill_forget(unsigned char *arg, uint32_t size)
{
	struct fuse_batch_forget_in in = { .count = (size - (uint32_t)sizeof(in)) / (uint32_t)sizeof(struct fuse_forget_one) + 1 };

	memcpy(arg, &in, sizeof(in));
}

static void fill_ioctl(unsigned char *arg, uint32_t size)
{
	struct fuse_ioctl_in in = { .in_size = size - (uint32_t)sizeof(in) + 1 };

	memcpy(arg, &in, sizeof(in));
}

/** Numbers in the message that promise one more than there is. */
static void test_counts(void)
{
	const struct opcode_row *row;

	for (uint32_t more = 0; more < 200; more++) {
		CHECK_EQ(check(FUSE_WRITE, (uint32_t)sizeof(struct fuse_write_in) + more, fill_write, &row), -EINVAL);
		CHECK_EQ(check(FUSE_BATCH_FORGET, (uint32_t)sizeof(struct fuse_batch_forget_in) + more, fill_forget, &row), -EINVAL);
		CHECK_EQ(check(FUSE_IOCTL, (uint32_t)sizeof(struct fuse_ioctl_in) + more, fill_ioctl, &row), -EINVAL);
	}
}

static void test_random(void)
{
	const struct opcode_row *row;

	for (int n = 0; n < 200000; n++)
		(void)check(random32() % (UAPI_FUSE_OPCODE_MAX + 8), random32() % 200, fill_random, &row);
	(void)check(UINT32_MAX, 10, fill_zero, &row);
	CHECK_TEXT(dispatch_opcode_name(UINT32_MAX), "?");
}

/** The caller's groups, which follow the arguments: sizes in them are not to be trusted either. */
static void test_extensions(void)
{
	static struct server srv = { .root = true };
	static struct mount m = { .server = &srv };

	for (int n = 0; n < 200000; n++) {
		uint32_t size = random32() % 80, len = (uint32_t)HEADER + size;
		struct fuse_in_header *msg = malloc(len);
		struct request r = { .mount = &m, .arg_size = size };
		REQUIRE(msg);
		fill_random((unsigned char *)(msg + 1), size);
		memset(msg, 0, HEADER);
		msg->total_extlen = (uint16_t)(random32() % 12);
		if (n % 2 && size >= 16 && msg->total_extlen >= 2 && msg->total_extlen * 8u <= size) {
			uint32_t one[4] = { 16, UAPI_FUSE_EXT_GROUPS, 1, 4242 };
			memcpy((char *)msg + len - msg->total_extlen * 8u, one, sizeof(one));
		}
		r.in = msg;
		r.arg = msg + 1;
		struct creds c = request_creds(&r, 022);
		CHECK(c.umask == 022 && c.flags & CREDS_SET);
		free(msg);
	}
}

int main(void)
{
	char *room = mmap(NULL, ROOM + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	REQUIRE(room != MAP_FAILED && mprotect(room + ROOM, 4096, PROT_NONE) == 0);
	end_of_room = room + ROOM;
	test_lengths();
	test_counts();
	test_random();
	test_extensions();
	return test_end();
}
