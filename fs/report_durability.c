/* SPDX-License-Identifier: MIT */
#include "report_durability.h"

#include <stdlib.h>

#include "backend/util/log.h"
#include "fs/report_form.h"
#include "fs/server.h"

#define ROWS_MAX (16u + PROOF_REASONS_COUNT)

static const char *const kernel_names[PROOF_REASONS_COUNT] = {
#define X(e, n) "durability_kernel_" n,
	PROOF_REASONS(X)
#undef X
};

static struct durability_figures *sum(const struct server *srv)
{
	struct durability_figures *s = calloc(1, sizeof(*s));

	for (unsigned n = 0; s && n < srv->mounts_count; n++) {
		const struct mount *m = srv->mounts[n];
		uint32_t count = atomic_load(&((struct mount *)m)->backing_count);

		for (uint32_t b = 0; b < count; b++)
			if (m->backing[b].durable)
				durability_figures_add(m->backing[b].durable, s);
	}
	return s;
}

/** rows() - fill @r (ROWS_MAX); return how many. */
static unsigned rows(const struct durability_figures *s, struct figure *r)
{
	uint64_t kernel = 0;
	unsigned n = 0;

	for (unsigned reason = 0; reason < PROOF_REASONS_COUNT; reason++)
		kernel += s->kernel[reason];
	r[n++] = (struct figure){ "durability_flush", s->flush };
	r[n++] = (struct figure){ "durability_no_cache", s->no_cache };
	r[n++] = (struct figure){ "durability_clean", s->clean };
	r[n++] = (struct figure){ "durability_kernel_fsync", kernel };
	for (unsigned reason = PROOF_NONE + 1; reason < PROOF_REASONS_COUNT; reason++)
		r[n++] = (struct figure){ kernel_names[reason], s->kernel[reason] };
	r[n++] = (struct figure){ "durability_errors", s->errors };
	r[n++] = (struct figure){ "durability_proofs", s->proofs };
	r[n++] = (struct figure){ "durability_looks", s->looks };
	r[n++] = (struct figure){ "durability_background_syncs", s->background };
	r[n++] = (struct figure){ "durability_untold", s->untold };
	r[n++] = (struct figure){ "flushes_sent", s->flushes };
	r[n++] = (struct figure){ "flushes_failed", s->flushes_failed };
	r[n++] = (struct figure){ "flush_callers", s->flush_tickets };
	r[n++] = (struct figure){ "flush_callers_max", s->flush_tickets_max };
	return n;
}

static const char *device_text(const struct server *srv)
{
	const struct durability *d = srv->mounts_count ? srv->mounts[0]->backing[0].durable : NULL;

	return d ? durability_text(d) : "not capable of FLUSH: out of memory";
}

void report_durability_start(const struct server *srv)
{
	const struct durability *d = srv->mounts[0]->backing[0].durable;

	log_info("fsync policy %s; device: %s%s", durability_policy_name((enum durability_policy)srv->opt.fsync), device_text(srv),
		 d && durability_capable(d) ? "" : "; every fsync is the kernel's (IORING_OP_FSYNC)");
	if (srv->faults)
		log_warning("fault=%s: this daemon makes mistakes about durability on purpose", srv->opt.fault);
}

static void text_latency(const char *name, const struct histogram *h, FILE *f)
{
	struct report_times t = report_form_times(h);

	if (t.count)
		fprintf(f, "%-32s %llu calls, mean %.1f us, p50 %.1f, p99 %.1f, max %.1f\n", name, (unsigned long long)t.count, t.mean, t.p50,
			t.p99, t.max);
}

void report_durability_text(const struct server *srv, FILE *f)
{
	struct durability_figures *s = sum(srv);
	struct figure r[ROWS_MAX];
	unsigned count;

	if (!s)
		return;
	fprintf(f, "%-32s %s\n%-32s %s\n", "fsync_policy", durability_policy_name((enum durability_policy)srv->opt.fsync), "fsync_device",
		device_text(srv));
	count = rows(s, r);
	report_form_text(r, count, f);
	text_latency("durability_kernel_latency", &s->kernel_latency, f);
	text_latency("durability_flush_latency", &s->flush_latency, f);
	text_latency("flush_device_latency", &s->device_latency, f);
	free(s);
}

static void json_latency(const char *name, const struct histogram *h, FILE *f)
{
	fprintf(f, ",\"%s\":{\"count\":%llu,", name, (unsigned long long)stats_get(&h->count));
	report_form_histogram(h, f);
	fprintf(f, "}");
}

void report_durability_json(const struct server *srv, FILE *f)
{
	struct durability_figures *s = sum(srv);
	struct figure r[ROWS_MAX];
	unsigned count;

	if (!s)
		return;
	fprintf(f, ",\"fsync_policy\":\"%s\",\"fsync_device\":", durability_policy_name((enum durability_policy)srv->opt.fsync));
	report_form_string(device_text(srv), f);
	count = rows(s, r);
	report_form_json(r, count, f);
	json_latency("durability_kernel_latency", &s->kernel_latency, f);
	json_latency("durability_flush_latency", &s->flush_latency, f);
	json_latency("flush_device_latency", &s->device_latency, f);
	free(s);
}
