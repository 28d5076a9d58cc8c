/* SPDX-License-Identifier: MIT */
/* faked.h - a backend and a ring over the fake kernel. */
#ifndef URINGFS_UNIT_FAKED_H
#define URINGFS_UNIT_FAKED_H

#include <errno.h>
#include <unistd.h>

#include "backend/backend.h"
#include "fake_ring.h"
#include "test.h"

static inline struct backend_config faked_config(void)
{
	return (struct backend_config){ .rings_count = 1, .entries = 8, .ops_count = 128, .file_slots = 4,
					.register_after = 2, .workers_max = 2 };
}

static inline void faked_make(const struct backend_config *cfg, struct backend **ret_b, struct ring **ret_r)
{
	char err[2048] = "";
	int res = backend_create(cfg, ret_b, err, sizeof(err));

	if (res < 0)
		fprintf(stderr, "backend_create: %d %s\n", res, err);
	REQUIRE(res == 0);
	REQUIRE(ring_create(*ret_b, 0, ret_r) == 0);
}

static inline void faked_end(struct backend *b, struct ring *r)
{
	CHECK_EQ(ring_outstanding(r), 0);
	ring_destroy(r);
	backend_destroy(b);
}

/** What the callbacks saw, in order. */
struct faked_log {
	unsigned count;
	intptr_t who[512];
	int64_t res[512];
	int cut[512];
};
static struct faked_log faked_log __attribute__((unused));

static inline void faked_done(struct op *op)
{
	REQUIRE(faked_log.count < 512);
	faked_log.who[faked_log.count] = (intptr_t)op->owner;
	faked_log.cut[faked_log.count] = op->cut;
	faked_log.res[faked_log.count++] = op->res;
}

static inline struct op *faked_op(struct ring *r, enum op_kind kind, intptr_t who)
{
	struct op *op = ring_op_get(r);

	REQUIRE(op != NULL);
	op->kind = kind;
	op->fd = 5;
	op->done = faked_done;
	op->owner = (void *)who;
	return op;
}

static inline struct ring_stats faked_stats(const struct ring *r)
{
	struct ring_stats s = { 0 };

	ring_stats_add(r, &s);
	return s;
}

#endif
