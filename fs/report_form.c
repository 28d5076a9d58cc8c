/* SPDX-License-Identifier: MIT */
/* report_form.c - see report_form.h. */
#include "report_form.h"

#include "backend/util/stats.h"

void report_form_text(const struct figure *fig, unsigned count, FILE *f)
{
	for (unsigned n = 0; n < count; n++)
		fprintf(f, "%-32s %llu\n", fig[n].name, (unsigned long long)fig[n].value);
}

void report_form_json(const struct figure *fig, unsigned count, FILE *f)
{
	for (unsigned n = 0; n < count; n++)
		fprintf(f, ",\"%s\":%llu", fig[n].name, (unsigned long long)fig[n].value);
}

void report_form_string(const char *s, FILE *f)
{
	fputc('"', f);
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			fprintf(f, "\\%c", *s);
		else if ((unsigned char)*s < 0x20)
			fprintf(f, "\\u%04x", (unsigned char)*s);
		else
			fputc(*s, f);
	}
	fputc('"', f);
}

struct report_times report_form_times(const struct histogram *h)
{
	struct report_times t = { .count = stats_get(&h->count) };

	if (t.count) {
		t.mean = (double)stats_get(&h->sum_ns) / (double)t.count / 1e3;
		t.p50 = (double)histogram_quantile(h, 0.5) / 1e3;
		t.p99 = (double)histogram_quantile(h, 0.99) / 1e3;
		t.max = (double)stats_get(&h->max_ns) / 1e3;
	}
	return t;
}

void report_form_histogram(const struct histogram *h, FILE *f)
{
	fprintf(f, "\"sum_ns\":%llu,\"p50_ns\":%llu,\"p99_ns\":%llu,\"max_ns\":%llu,\"buckets\":[",
		(unsigned long long)stats_get(&h->sum_ns), (unsigned long long)histogram_quantile(h, 0.5),
		(unsigned long long)histogram_quantile(h, 0.99), (unsigned long long)stats_get(&h->max_ns));
	for (unsigned b = 0; b < HISTOGRAM_BUCKETS; b++)
		fprintf(f, "%s%llu", b ? "," : "", (unsigned long long)stats_get(&h->bucket[b]));
	fprintf(f, "]");
}
