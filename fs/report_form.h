/* SPDX-License-Identifier: MIT */
/*
 * report_form.h - the two forms of the statistics, text and JSON, for all who have figures to report.
 *
 * Thread: any; each call writes to @f only, whose errors are seen when it is closed.
 */
#ifndef URINGFS_REPORT_FORM_H
#define URINGFS_REPORT_FORM_H

#include <stdint.h>
#include <stdio.h>

struct histogram;

/* One per figure: both forms are printed from it. */
struct figure {
	const char *name;
	uint64_t value;
};

/** report_form_text() - a line for each of @count figures. */
void report_form_text(const struct figure *fig, unsigned count, FILE *f);
/** report_form_json() - ,"name":value for each; inside an object that has a member already. */
void report_form_json(const struct figure *fig, unsigned count, FILE *f);
/** report_form_string() - @s as JSON has it, in quotes. */
void report_form_string(const char *s, FILE *f);
/* The times of a histogram, in microseconds, for the forms that people read. */
struct report_times {
	uint64_t count;
	double mean, p50, p99, max;
};

/** report_form_times() - the times of @h; all 0 when it has none. */
struct report_times report_form_times(const struct histogram *h);
/** report_form_histogram() - the members "sum_ns" to "buckets" of @h, times in nanoseconds. */
void report_form_histogram(const struct histogram *h, FILE *f);

#endif
