/* SPDX-License-Identifier: MIT */
/* test_fs_pool.c - uring_pool_message(): requests in slots and pool buffers, and numbers that do not fit. */
#include <stdlib.h>
#include <sys/mman.h>

#include "fs/request.h"
#include "fs/transport_uring.h"
#include "tests/unit/test.h"

#define BUFFER 65536u
#define BUFFERS 4u

static struct server server = { .opt = { .queue_depth = BUFFERS } };
static struct server_thread thread = { .server = &server };
static struct mount mount = { .server = &server, .max_write = BUFFER, .zero_copy = true };
static struct channel channel = { .thread = &thread, .mount = &mount };
static struct uring_channel uring = { .channel = &channel };
static struct uring_queue queue;
static struct request request = { .thread = &thread, .channel = &channel, .mount = &mount, .slot = -1 };
static struct uapi_fuse_uring_req_header head;
static struct uring_entry entry = { .uring = &uring, .queue = &queue, .r = &request, .head = &head, .slot = 7 };
static char *own;
static size_t len;

/** message() - of @opcode with @args bytes of arguments and @payload more at @offset of the pool. */
static char *message(uint32_t opcode, uint32_t args, uint32_t payload, uint32_t offset, uint64_t flags)
{
	struct fuse_in_header in = { .len = (uint32_t)sizeof(in) + args + payload, .opcode = opcode, .unique = 9 };

	uring_pool_end(&entry);
	CHECK(request.payload == own);
	head.ent = (struct uapi_fuse_uring_ent_in_out){ .flags = flags, .payload_sz = payload, .offset = offset, .commit_id = 1 };
	return uring_pool_message(&entry, &in, &len);
}

static void test_reads(void)
{
	struct fuse_read_in in = { .size = 4096 };
	char *at;

	memcpy(head.op_in, &in, sizeof(in));
	at = message(FUSE_READ, sizeof(in), 0, 0, UAPI_FUSE_URING_ENT_ZERO_COPY);
	CHECK(at == request.args_buf && request.slot == 7 && request.payload == own);
	CHECK_EQ(entry.at_size, 0);
	CHECK_EQ(len, sizeof(struct fuse_in_header) + sizeof(in));
	CHECK_EQ(((struct fuse_in_header *)(void *)at)->unique, 9);
	/* without slot its data goes where the kernel takes it */
	at = message(FUSE_READ, sizeof(in), 0, BUFFER, 0);
	CHECK(at && request.slot == -1 && (char *)request.payload == queue.pool + BUFFER && entry.at == queue.pool + BUFFER);
	CHECK_EQ(entry.at_size, BUFFER);
	in.size = BUFFER + 1;
	memcpy(head.op_in, &in, sizeof(in));
	CHECK(!message(FUSE_READ, sizeof(in), 0, 0, 0));
	CHECK(!message(FUSE_READ, sizeof(in) - 1, 0, 0, 0));
	CHECK_EQ(stats_get(&thread.stats.zero_copy_reads), 1);
	CHECK_EQ(stats_get(&thread.stats.zero_copy_not), 1);
}

static void test_writes(void)
{
	char *at = message(FUSE_WRITE, sizeof(struct fuse_write_in), 5000, 2 * BUFFER, UAPI_FUSE_URING_ENT_ZERO_COPY);

	CHECK(at == request.args_buf && request.slot == 7 && !request.apart);
	CHECK_EQ(request.apart_size, 5000);
	CHECK_EQ(len, REQUEST_WRITE_PREFIX);
	CHECK_EQ(entry.at_size, BUFFER);
	at = message(FUSE_WRITE, sizeof(struct fuse_write_in), BUFFER, BUFFER, 0);
	CHECK(at == request.args_buf && request.slot == -1 && request.apart == queue.pool + BUFFER);
	CHECK_EQ(request.apart_size, BUFFER);
}

static void test_others(void)
{
	char *at;

	memcpy(queue.pool + 3 * BUFFER, "name", 5);
	at = message(FUSE_LOOKUP, 0, 5, 3 * BUFFER, 0);
	CHECK(at && request.payload_free && !request.apart_size && !strcmp(at + sizeof(struct fuse_in_header), "name"));
	CHECK_EQ(len, sizeof(struct fuse_in_header) + 5);
	/* too long for the arguments' buffer: in front of the request's own payload */
	memset(queue.pool, 'x', BUFFER);
	at = message(FUSE_SETXATTR, 16, BUFFER, 0, 0);
	CHECK(at && !request.payload_free && at + sizeof(struct fuse_in_header) + 16 == own && own[0] == 'x' && own[BUFFER - 1] == 'x');
}

static void test_numbers(void)
{
	CHECK(!message(FUSE_LOOKUP, 0, 5, 1, 0));
	CHECK(!message(FUSE_LOOKUP, 0, 5, BUFFERS * BUFFER, 0));
	CHECK(!message(FUSE_LOOKUP, 0, 5, UINT32_MAX / BUFFER * BUFFER, 0));
	CHECK(!message(FUSE_LOOKUP, 0, BUFFER + 1, 0, 0));
	CHECK(!message(FUSE_LOOKUP, 129, 5, 0, 0));
	CHECK(!message(FUSE_LOOKUP, (uint32_t)-5, 5, 0, 0));
	CHECK(!message(FUSE_LOOKUP, 0, 5, 0, UAPI_FUSE_URING_ENT_ZERO_COPY));
	CHECK_EQ(request.slot, -1);
	CHECK_EQ(entry.at_size, 0);
}

int main(void)
{
	own = calloc(1, 4096 + 2 * BUFFER);
	REQUIRE(own);
	own += 4096;
	request.payload = own;
	request.payload_size = BUFFER;
	request.args_buf = calloc(1, REQUEST_ARGS_SIZE);
	REQUIRE(request.args_buf && uring_pool_make(&mount, &queue) == 0);
	CHECK_EQ(queue.pool_size, BUFFERS * BUFFER);
	test_reads();
	test_writes();
	test_others();
	test_numbers();
	uring_pool_free(&queue);
	free(request.args_buf);
	free(own - 4096);
	return test_end();
}
