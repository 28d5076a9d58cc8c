/* SPDX-License-Identifier: MIT */
/*
 * stats.h - counters and latency histograms with one writer and any reader.
 *
 * Each belongs to one thread, which adds with relaxed stores; readers sum over
 * the threads when somebody asks. No figure is locked: a sum is exact when the
 * threads are idle.
 */
#ifndef URINGFS_STATS_H
#define URINGFS_STATS_H

#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

/** Buckets of a histogram: bucket i counts latencies below 2^(i+8) ns (256 ns .. 2^39 ns), the last one the rest. */
#define HISTOGRAM_BUCKETS 32u

struct histogram {
	_Atomic uint64_t bucket[HISTOGRAM_BUCKETS];
	_Atomic uint64_t count, sum_ns, max_ns;
};

/** stats_now_ns() - monotonic time in nanoseconds. */
static inline uint64_t stats_now_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/** stats_add() - add to a counter that only the calling thread writes. */
static inline void stats_add(_Atomic uint64_t *c, uint64_t n)
{
	atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n, memory_order_relaxed);
}

static inline uint64_t stats_get(const _Atomic uint64_t *c)
{
	return atomic_load_explicit((_Atomic uint64_t *)c, memory_order_relaxed);
}

/** histogram_add() - count one latency of @ns nanoseconds. Thread: the writer. */
void histogram_add(struct histogram *h, uint64_t ns);
/** histogram_sum() - add @h to @sum. Thread: any; @sum belongs to the caller. */
void histogram_sum(const struct histogram *h, struct histogram *sum);
/** histogram_quantile() - upper bound in ns of the bucket that holds quantile @q (0..1); 0 when empty. */
uint64_t histogram_quantile(const struct histogram *h, double q);

#endif
