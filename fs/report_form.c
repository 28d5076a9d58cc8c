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

/** utf8_length() - of the character at @s, in bytes; 0: these bytes are none (RFC 3629). */
static unsigned utf8_length(const unsigned char *s)
{
	unsigned n = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0;

	for (unsigned i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80) /* also the end of the string */
			return 0;
	/* too long for what they say, halves of surrogate pairs, beyond U+10FFFF */
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return n;
}

void report_form_string(const char *s, FILE *f)
{
	fputc('"', f);
	for (; *s; s++) {
		unsigned n = utf8_length((const unsigned char *)s);

		if (n != 1) { /* a name of a file may be any bytes, JSON is UTF-8 */
			fprintf(f, "%.*s", n ? (int)n : 6, n ? s : "\\ufffd");
			s += n ? n - 1 : 0;
		} else if (*s == '"' || *s == '\\')
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
