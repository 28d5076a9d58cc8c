/* SPDX-License-Identifier: MIT */
/* stats.c - see stats.h. */
#include "stats.h"

#define HISTOGRAM_FIRST_BIT 8u

/* Bucket i holds what is below 2^(i+8) ns and not in an earlier one. */
static unsigned bucket_of(uint64_t ns)
{
	unsigned bits = ns ? 64u - (unsigned)__builtin_clzll(ns) : 0;
	unsigned i = bits > HISTOGRAM_FIRST_BIT ? bits - HISTOGRAM_FIRST_BIT : 0;

	return i < HISTOGRAM_BUCKETS ? i : HISTOGRAM_BUCKETS - 1;
}

void histogram_add(struct histogram *h, uint64_t ns)
{
	stats_add(&h->bucket[bucket_of(ns)], 1);
	stats_add(&h->count, 1);
	stats_add(&h->sum_ns, ns);
	if (ns > stats_get(&h->max_ns))
		atomic_store_explicit(&h->max_ns, ns, memory_order_relaxed);
}

void histogram_sum(const struct histogram *h, struct histogram *sum)
{
	uint64_t max = stats_get(&h->max_ns);

	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
		stats_add(&sum->bucket[i], stats_get(&h->bucket[i]));
	stats_add(&sum->count, stats_get(&h->count));
	stats_add(&sum->sum_ns, stats_get(&h->sum_ns));
	if (max > stats_get(&sum->max_ns))
		atomic_store_explicit(&sum->max_ns, max, memory_order_relaxed);
}

uint64_t histogram_quantile(const struct histogram *h, double q)
{
	uint64_t count = 0, seen = 0, rank;

	/* the buckets' own sum: the count may be ahead of them while the owner works */
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
		count += stats_get(&h->bucket[i]);
	if (count == 0)
		return 0;
	q = q < 0 ? 0 : q > 1 ? 1 : q;
	rank = (uint64_t)(q * (double)count);
	if ((double)rank < q * (double)count || rank == 0)
		rank++;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += stats_get(&h->bucket[i]);
		if (seen >= rank)
			return i == HISTOGRAM_BUCKETS - 1 ? stats_get(&h->max_ns) : UINT64_C(1) << (i + HISTOGRAM_FIRST_BIT);
	}
	return stats_get(&h->max_ns);
}
