/* SPDX-License-Identifier: MIT */
/* backend_priv.h - the shared part of the backend; included inside backend/ only. */
#ifndef URINGFS_BACKEND_PRIV_H
#define URINGFS_BACKEND_PRIV_H

#include <sched.h>

#include "backend.h"
#include "features.h"
#include "filetable.h"
#include "inject.h"
#include "workers.h"

#define CLOSINGS_MAX 256u

struct backend {
	struct backend_config cfg; /* constant; deny and inject are not kept */
	struct features features;  /* constant */
	struct inject inject;      /* its counters are atomic */
	uint8_t place[OP_KINDS_COUNT]; /* enum op_place; constant */
	cpu_set_t cpus;            /* constant: where the daemon may run */
	struct workers *workers[BACKEND_RINGS_MAX]; /* one pool a ring, on its CPU where it is pinned */
	struct workers *ahead;     /* the pool of OPF_AHEAD; no thread before the first of them */
	struct slot_arrays arrays;
	pthread_mutex_t closings_lock; /* guards closings_free and the order of the list */
	struct closing closings[CLOSINGS_MAX];
	struct closing *closings_free[CLOSINGS_MAX];
	unsigned closings_free_count;
	struct namespace *namespaces;     /* durability.c; main's */
	struct durability *durabilities;  /* all of them, until the end */
	_Atomic(struct ring *) rings[BACKEND_RINGS_MAX]; /* set once each; freed by backend_destroy() */
};

/** durability_destroy_all() - at the end, and the devices with them. Thread: main. */
void durability_destroy_all(struct backend *b);

/**
 * backend_ring_cpu() - the CPU that ring @index is pinned to, or -1
 * Thread: any; constant after backend_create().
 */
int backend_ring_cpu(const struct backend *b, unsigned index);

#endif
