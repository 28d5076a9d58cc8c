/* SPDX-License-Identifier: MIT */
/* real.h - helpers of the tests that use a real ring and a real directory. */
#ifndef URINGFS_UNIT_REAL_H
#define URINGFS_UNIT_REAL_H

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/backend.h"
#include "test.h"

static inline struct backend_config real_config(void)
{
	return (struct backend_config){ .rings_count = 1, .entries = 64, .ops_count = 256, .file_slots = 64,
					.register_after = 2, .workers_max = 4 };
}

/** real_backend() - or the test is skipped where io_uring is not to be had. */
static inline struct backend *real_backend(const struct backend_config *cfg)
{
	struct backend *b = NULL;
	char err[2048] = "";
	int res = backend_create(cfg, &b, err, sizeof(err));

	if (res == -ENOSYS || res == -EPERM)
		test_skip(err);
	if (res < 0)
		fprintf(stderr, "backend_create: %d %s\n", res, err);
	REQUIRE(res == 0);
	return b;
}

static inline struct ring *real_ring(struct backend *b, unsigned index)
{
	struct ring *r = NULL;
	int res = ring_create(b, index, &r);

	if (res < 0)
		fprintf(stderr, "ring_create: %d\n", res);
	REQUIRE(res == 0);
	return r;
}

static inline struct op *real_op(struct ring *r, enum op_kind kind)
{
	struct op *op = ring_op_get(r);

	REQUIRE(op != NULL);
	op->kind = kind;
	return op;
}

struct real_result {
	int64_t res;
	bool done;
};

static inline void real_done(struct op *op)
{
	struct real_result *out = op->owner;

	out->res = op->res;
	out->done = true;
}

/** real_run() - submit and wait for the end. */
static inline int64_t real_run(struct ring *r, struct op *op)
{
	struct real_result out = { 0, false };

	op->done = real_done;
	op->owner = &out;
	ring_submit(op);
	while (!out.done)
		REQUIRE(ring_wait(r, true) >= 0);
	return out.res;
}

static inline void real_drain(struct ring *r)
{
	while (ring_outstanding(r) > 0)
		REQUIRE(ring_wait(r, true) >= 0);
}

/** real_dir() - a fresh directory; its path stays in @path. Return: its descriptor. */
static inline int real_dir(char path[64])
{
	int fd;

	snprintf(path, 64, "/tmp/uringfs-unit-XXXXXX");
	REQUIRE(mkdtemp(path) != NULL);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	REQUIRE(fd >= 0);
	return fd;
}

static inline void real_dir_remove(const char *path, int fd)
{
	char command[128];

	close(fd);
	snprintf(command, sizeof(command), "rm -rf -- '%s'", path);
	CHECK_EQ(system(command), 0);
}

static inline struct ring_stats real_stats(const struct ring *r)
{
	struct ring_stats s = { 0 };

	ring_stats_add(r, &s);
	return s;
}

static inline int64_t real_open(struct ring *r, int dirfd, const char *name, uint64_t flags, uint64_t mode)
{
	struct op *op = real_op(r, OP_OPENAT);

	op->fd = dirfd;
	op->path = name;
	op->how.flags = flags;
	op->how.mode = mode;
	return real_run(r, op);
}

#endif
