/* SPDX-License-Identifier: MIT */
/* backend.c - the shared part: configuration, features, policy, workers. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend_priv.h"
#include "creds.h"
#include "op.h"
#include "ring.h"

/* Most arrays of slots; more open files than this work without registered slots. */
#define SLOT_ARRAYS_MAX 65536u

struct range {
	const char *name;
	unsigned value, min, max;
};

static int check_config(const struct backend_config *cfg, char *err, size_t err_size)
{
	const struct range ranges[] = {
		{ "number of rings", cfg->rings_count, 1, BACKEND_RINGS_MAX },
		{ "ring entries", cfg->entries, 8, 4096 },
		{ "operations per ring", cfg->ops_count, 16, 65536 },
		{ "file slots", cfg->file_slots, 0, 65536 },
		{ "register-after", cfg->register_after, 1, 1000 },
		{ "workers", cfg->workers_max, 1, WORKERS_MAX },
	};

	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
		const struct range *g = &ranges[i];

		if (g->value >= g->min && g->value <= g->max)
			continue;
		snprintf(err, err_size, "%s is %u, must be from %u to %u", g->name, g->value, g->min, g->max);
		return -EINVAL;
	}
	return 0;
}

static void decide_places(struct backend *b)
{
	for (unsigned kind = 0; kind < OP_KINDS_COUNT; kind++) {
		const struct op_row *row = &op_table[kind];
		bool in_ring = row->prep && features_has(&b->features, FEATURE_KINDS + kind);

		b->place[kind] = row->place;
		if (row->place == OP_PLACE_RING && !in_ring)
			b->place[kind] = row->fallback;
	}
}

static int check_inject(const struct backend *b, char *err, size_t err_size)
{
	if (b->inject.rules_count == 0 || features_has(&b->features, FEATURE_NOP_INJECT))
		return 0;
	snprintf(err, err_size, "this kernel cannot inject results (needs Linux 6.10 and nop_inject not denied)");
	return -EINVAL;
}

int backend_ring_cpu(const struct backend *b, unsigned index)
{
	int count = CPU_COUNT(&b->cpus), nth;

	if (!b->cfg.pin || count == 0)
		return -1;
	nth = (int)index % count;
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &b->cpus) && nth-- == 0)
			return cpu;
	return -1;
}

/** Threads for what nobody waits for yet: as many such calls may wait for the disk at a time. */
#define AHEAD_THREADS 4u

/** make_workers() - waking a thread on another CPU costs more than most of these calls: so each ring has its own. */
static int make_workers(struct backend *b)
{
	unsigned each = (b->cfg.workers_max + b->cfg.rings_count - 1) / b->cfg.rings_count;
	int res = workers_create(AHEAD_THREADS, &b->cpus, post_worker_done, &b->ahead);

	for (unsigned i = 0; i < b->cfg.rings_count && res == 0; i++) {
		int cpu = backend_ring_cpu(b, i);
		cpu_set_t cpus = b->cpus;

		if (cpu >= 0) {
			CPU_ZERO(&cpus);
			CPU_SET(cpu, &cpus);
		}
		res = workers_create(each, &cpus, post_worker_done, &b->workers[i]);
	}
	return res;
}

static int make_shared(struct backend *b)
{
	unsigned arrays = b->cfg.file_slots * b->cfg.rings_count;
	int res;

	if (!features_has(&b->features, FEATURE_REGISTERED_FILES))
		arrays = 0;
	res = slot_arrays_init(&b->arrays, b->cfg.rings_count, arrays < SLOT_ARRAYS_MAX ? arrays : SLOT_ARRAYS_MAX);
	if (res < 0)
		return res;
	pthread_mutex_init(&b->closings_lock, NULL);
	for (unsigned i = 0; i < CLOSINGS_MAX; i++)
		b->closings_free[b->closings_free_count++] = &b->closings[i];
	return make_workers(b);
}

int backend_create(const struct backend_config *cfg, struct backend **ret_b, char *err, size_t err_size)
{
	struct backend *b;
	uint64_t denied = 0;
	int res = check_config(cfg, err, err_size);

	if (res < 0)
		return res;
	b = calloc(1, sizeof(*b));
	if (!b) {
		snprintf(err, err_size, "out of memory");
		return -ENOMEM;
	}
	b->cfg = *cfg;
	b->cfg.deny = b->cfg.inject = NULL;
	res = features_parse_deny(cfg->deny, &denied, err, err_size);
	if (res == 0)
		res = inject_parse(cfg->inject, &b->inject, err, err_size);
	if (res == 0)
		res = features_probe(denied, &b->features, err, err_size);
	if (res == 0)
		res = check_inject(b, err, err_size);
	if (res < 0) {
		free(b);
		return res;
	}
	decide_places(b);
	if (sched_getaffinity(0, sizeof(b->cpus), &b->cpus) < 0)
		CPU_ZERO(&b->cpus);
	/* an identity with uid 0, gid 0 and no group is then the daemon's own */
	if (features_has(&b->features, FEATURE_CALLER_CREDS))
		(void)creds_drop_groups(); /* can do so: it has CAP_SETGID */
	umask(0);
	res = make_shared(b);
	if (res < 0) {
		snprintf(err, err_size, "out of memory");
		backend_destroy(b);
		return res;
	}
	*ret_b = b;
	return 0;
}

void backend_destroy(struct backend *b)
{
	if (!b)
		return;
	for (unsigned i = 0; i < BACKEND_RINGS_MAX; i++)
		workers_destroy(b->workers[i]);
	workers_destroy(b->ahead);
	for (unsigned i = 0; i < BACKEND_RINGS_MAX; i++) {
		struct ring *r = atomic_load(&b->rings[i]);

		if (!r)
			continue;
		close(r->event_fd);
		filetable_fini(&r->files);
		free(r);
	}
	durability_destroy_all(b);
	slot_arrays_fini(&b->arrays);
	pthread_mutex_destroy(&b->closings_lock);
	free(b);
}

const char *backend_features_used(const struct backend *b)
{
	return b->features.used_text;
}

const char *backend_features_missing(const struct backend *b)
{
	return b->features.missing_text;
}

const char *backend_features_denied(const struct backend *b)
{
	return b->features.denied_text;
}

const char *backend_features_known(void)
{
	return features_known();
}

enum op_place backend_op_place(const struct backend *b, enum op_kind kind)
{
	return (unsigned)kind < OP_KINDS_COUNT ? (enum op_place)b->place[kind] : OP_PLACE_INLINE;
}

void backend_worker_stats(const struct backend *b, struct worker_stats *ret)
{
	*ret = (struct worker_stats){ 0 };
	for (unsigned i = 0; i <= b->cfg.rings_count; i++) {
		struct worker_stats one;

		workers_stats(i < b->cfg.rings_count ? b->workers[i] : b->ahead, &one);
		ret->done += one.done;
		ret->threads += one.threads;
		ret->busy += one.busy;
		ret->queued += one.queued;
		if (one.queued_max > ret->queued_max)
			ret->queued_max = one.queued_max;
	}
}
