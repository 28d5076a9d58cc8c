/* SPDX-License-Identifier: MIT */
/* test_stats.c - histogram buckets, sums and quantiles. */
#include "backend/util/stats.h"
#include "test.h"

int main(void)
{
	static struct histogram h, sum;

	CHECK_EQ(histogram_quantile(&h, 0.5), 0);
	histogram_add(&h, 0);
	histogram_add(&h, 255);
	CHECK_EQ(stats_get(&h.bucket[0]), 2);
	histogram_add(&h, 256);
	CHECK_EQ(stats_get(&h.bucket[1]), 1);
	histogram_add(&h, 511);
	CHECK_EQ(stats_get(&h.bucket[1]), 2);
	CHECK_EQ(histogram_quantile(&h, 0), 256);
	CHECK_EQ(histogram_quantile(&h, 0.5), 256);
	CHECK_EQ(histogram_quantile(&h, 0.51), 512);
	CHECK_EQ(histogram_quantile(&h, 1), 512);
	histogram_add(&h, UINT64_MAX / 2);
	CHECK_EQ(stats_get(&h.bucket[HISTOGRAM_BUCKETS - 1]), 1);
	CHECK_EQ(histogram_quantile(&h, 1), UINT64_MAX / 2);
	histogram_sum(&h, &sum);
	histogram_sum(&h, &sum);
	CHECK_EQ(stats_get(&sum.count), 10);
	CHECK_EQ(stats_get(&sum.bucket[0]), 4);
	CHECK_EQ(stats_get(&sum.max_ns), UINT64_MAX / 2);
	return test_end();
}
