/* SPDX-License-Identifier: MIT */
#include "report.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "backend/util/log.h"
#include "fs/dispatch.h"
#include "fs/libfuse_io.h"
#include "fs/placement.h"
#include "fs/report_durability.h"
#include "fs/report_form.h"
#include "fs/server.h"
#include "fs/session.h"
#include "fs/transport.h"
#include "fs/transport_uring.h"

#define FIGURES_MAX 112u

/** Sums over all threads, mounts and rings. */
struct totals {
	struct histogram latency[UAPI_FUSE_OPCODE_MAX];
	uint64_t errors[UAPI_FUSE_OPCODE_MAX];
	uint64_t requests, requests_uring, kicks, replies_lost, bytes_read, bytes_written, in_flight, in_flight_max, bad_requests, interrupts,
		lookups_hot, lookups_cold, lookups_again, dirs_listed, dirs_kept, sole_changes, drops_late, dirs_ahead, names_ahead, names_known,
		passthrough_opens, passthrough_not[PASSTHROUGH_NOT_COUNT],
		early_pieces, early_bytes, dontcache, dontcache_refused, zero_copy_reads, zero_copy_writes, zero_copy_bytes, zero_copy_around, zero_copy_cleared, zero_copy_not;
	uint64_t moves, given, streams, stream_moves, idle_class, idle_switches, idle_ns, idle_starved, idle_contended; /* placement_*.h */
	uint64_t inodes, inodes_max, inodes_kept, inode_fds, inode_memory, handles;
	struct sole_figures sole;
	struct ring_stats ring;
	struct worker_stats workers;
};

static void sum_thread(struct totals *s, const struct server_thread *thread)
{
	const struct thread_stats *t = &thread->stats;

	for (unsigned op = 0; op < UAPI_FUSE_OPCODE_MAX; op++) {
		histogram_sum(&t->latency[op], &s->latency[op]);
		s->errors[op] += stats_get(&t->errors[op]);
	}
	s->requests += stats_get(&t->requests);
	s->requests_uring += stats_get(&t->requests_uring);
	s->kicks += stats_get(&t->kicks);
	s->moves += stats_get(&thread->place.moves);
	s->streams += placement_stream_away(thread);
	s->stream_moves += stats_get(&thread->stream.moves);
	s->given += stats_get(&thread->share.given);
	s->idle_class += atomic_load(&thread->class.idle);
	s->idle_switches += stats_get(&thread->class.switches);
	s->idle_ns += stats_get(&thread->class.idle_ns);
	if (atomic_load(&thread->class.idle))
		s->idle_ns += stats_now_ns() - stats_get(&thread->class.since_ns);
	s->idle_starved += stats_get(&thread->class.ended[CLASS_STARVED]);
	s->idle_contended += stats_get(&thread->class.ended[CLASS_CONTENDED]);
	s->replies_lost += stats_get(&t->replies_lost);
	s->bytes_read += stats_get(&t->bytes_read);
	s->bytes_written += stats_get(&t->bytes_written);
	s->in_flight += stats_get(&t->in_flight);
	s->in_flight_max += stats_get(&t->in_flight_max);
	s->bad_requests += stats_get(&t->bad_requests);
	s->interrupts += stats_get(&t->interrupts);
	s->drops_late += stats_get(&t->drops_late);
	s->early_pieces += stats_get(&t->early_pieces);
	s->early_bytes += stats_get(&t->early_bytes);
	s->dontcache += stats_get(&t->dontcache);
	s->dontcache_refused += stats_get(&t->dontcache_refused);
	s->zero_copy_reads += stats_get(&t->zero_copy_reads);
	s->zero_copy_writes += stats_get(&t->zero_copy_writes);
	s->zero_copy_bytes += stats_get(&t->zero_copy_bytes);
	s->zero_copy_around += stats_get(&t->zero_copy_around);
	s->zero_copy_cleared += stats_get(&t->zero_copy_cleared);
	s->zero_copy_not += stats_get(&t->zero_copy_not);
	s->sole_changes += stats_get(&t->sole_changes);
	s->passthrough_opens += stats_get(&t->passthrough_opens);
	for (unsigned n = 0; n < PASSTHROUGH_NOT_COUNT; n++)
		s->passthrough_not[n] += stats_get(&t->passthrough_not[n]);
	s->lookups_hot += stats_get(&t->lookups_hot);
	s->lookups_cold += stats_get(&t->lookups_cold);
	s->lookups_again += stats_get(&t->lookups_again);
	s->dirs_listed += stats_get(&t->dirs_listed);
	s->dirs_kept += stats_get(&t->dirs_kept);
	s->dirs_ahead += stats_get(&t->dirs_ahead);
	s->names_ahead += stats_get(&t->names_ahead);
	s->names_known += stats_get(&t->names_known);
}

static struct totals *sum(const struct server *srv)
{
	struct totals *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	for (unsigned n = 0; srv->threads && n < srv->threads_count; n++) {
		sum_thread(s, &srv->threads[n]);
		if (srv->threads[n].ring)
			ring_stats_add(srv->threads[n].ring, &s->ring);
	}
	for (unsigned n = 0; n < srv->mounts_count; n++) {
		struct inode_table_stats i;
		inode_table_stats(srv->mounts[n]->inodes, &i);
		s->inodes += i.inodes;
		s->inodes_max += i.inodes_max;
		s->inodes_kept += i.kept;
		s->inode_fds += i.fds;
		s->inode_memory += i.memory_bytes;
		s->handles += handle_table_count(srv->mounts[n]->handles);
		for (uint32_t k = 0; k < atomic_load(&srv->mounts[n]->backing_count); k++)
			sole_figures_add(srv->mounts[n]->backing[k].sole, &s->sole);
	}
	backend_worker_stats(srv->backend, &s->workers);
	return s;
}

/** data_figures() - the ways of data. As figures(). */
static unsigned data_figures(const struct totals *s, struct figure *f)
{
	const struct figure all[] = {
		{ "write_early_pieces", s->early_pieces },
		{ "write_early_bytes", s->early_bytes },
		{ "backing_cache_passed_by", s->dontcache },
		{ "backing_cache_refused", s->dontcache_refused },
		{ "zero_copy_reads", s->zero_copy_reads },
		{ "zero_copy_writes", s->zero_copy_writes },
		{ "zero_copy_bytes", s->zero_copy_bytes },
		{ "zero_copy_around", s->zero_copy_around },
		{ "zero_copy_cleared", s->zero_copy_cleared },
		{ "zero_copy_not", s->zero_copy_not },
		{ "sole_files", s->sole.files },
		{ "sole_taken", s->sole.taken },
		{ "sole_lost", s->sole.lost },
		{ "sole_changes", s->sole_changes },
		{ "passthrough_opens", s->passthrough_opens },
		{ "passthrough_not_mixed", s->passthrough_not[PASSTHROUGH_NOT_MIXED] },
		{ "passthrough_not_stacked", s->passthrough_not[PASSTHROUGH_NOT_STACKED] },
		{ "passthrough_not_refused", s->passthrough_not[PASSTHROUGH_NOT_REFUSED] },
	};

	memcpy(f, all, sizeof(all));
	return sizeof(all) / sizeof(all[0]);
}

/** placement_figures() - where and in which class threads serve, into @f. Return how many. */
static unsigned placement_figures(const struct server *srv, const struct totals *s, struct figure *f)
{
	const struct figure all[] = {
		{ "placement_changes", srv->placement ? placement_changes(srv->placement) : 0 },
		{ "placement_moves", s->moves },
		{ "placement_shared", placement_share_on(srv) },
		{ "placement_shared_switches", stats_get(&srv->share.moves) },
		{ "placement_shared_ms", placement_share_ms(srv) },
		{ "placement_shared_entries", s->given },
		{ "placement_streams", s->streams },
		{ "placement_stream_switches", stats_get(&srv->stream.switches) },
		{ "placement_stream_moves", s->stream_moves },
		{ "placement_idle_class", s->idle_class },
		{ "placement_idle_switches", s->idle_switches },
		{ "placement_idle_ms", s->idle_ns / 1000000 },
		{ "placement_idle_starved", s->idle_starved },
		{ "placement_idle_contended", s->idle_contended },
	};

	memcpy(f, all, sizeof(all));
	return sizeof(all) / sizeof(all[0]);
}

/** figures() - fill @f (room for FIGURES_MAX) and return how many. */
static unsigned figures(const struct server *srv, const struct totals *s, struct figure *f)
{
	const struct figure all[] = {
		{ "requests", s->requests },
		{ "requests_uring", s->requests_uring },
		{ "requests_dev", s->requests - s->requests_uring },
		{ "uring_entries", transport_uring_entries(srv) },
		{ "requests_in_flight", s->in_flight },
		{ "requests_in_flight_max", s->in_flight_max },
		{ "requests_bad", s->bad_requests },
		{ "replies_lost", s->replies_lost },
		{ "interrupts", s->interrupts },
		{ "bytes_read", s->bytes_read },
		{ "bytes_written", s->bytes_written },
		{ "uring_kicks", s->kicks },
		{ "lookups_hot", s->lookups_hot },
		{ "lookups_cold", s->lookups_cold },
		{ "lookups_again", s->lookups_again },
		{ "dirs_listed", s->dirs_listed },
		{ "dirs_kept", s->dirs_kept },
		{ "drops_late", s->drops_late },
		{ "dirs_ahead", s->dirs_ahead },
		{ "names_ahead", s->names_ahead },
		{ "names_known", s->names_known },
		{ "inodes", s->inodes },
		{ "inodes_max", s->inodes_max },
		{ "inodes_kept", s->inodes_kept },
		{ "inode_memory_bytes", s->inode_memory },
		{ "inode_descriptors", s->inode_fds },
		{ "descriptors", atomic_load(&srv->budget.used) },
		{ "descriptors_limit", srv->budget.max },
		{ "descriptors_evicted", atomic_load(&srv->budget.evicted) },
		{ "descriptors_reopened", atomic_load(&srv->budget.reopened) },
		{ "handles", s->handles },
		{ "ring_enters", s->ring.enters },
		{ "ring_submissions", s->ring.sqes },
		{ "ring_completions", s->ring.cqes },
		{ "ring_punted", s->ring.punted },
		{ "ring_waited", s->ring.waited },
		{ "ring_waiting_max", s->ring.waiting_max },
		{ "ring_overflows", s->ring.overflows },
		{ "ring_short_continued", s->ring.short_continued },
		{ "ring_retried", s->ring.retried },
		{ "ring_posts", s->ring.posts },
		{ "ring_wakes", s->ring.wakes },
		{ "ring_late_posts", s->ring.late_posts },
		{ "ring_files_registered", s->ring.slots_installed },
		{ "ring_files_retired", s->ring.slots_retired },
		{ "ring_fixed_file_ops", s->ring.slots_used },
		{ "ring_fixed_buffer_ops", s->ring.fixed_buffers },
		{ "ring_personalities", s->ring.personalities },
		{ "ring_close_errors", s->ring.close_errors },
		{ "ring_bad_tags", s->ring.bad_tags },
		{ "ring_injected", s->ring.injected },
		{ "ops_quick", s->ring.quick },
		{ "ops_quick_slow", s->ring.quick_slow },
		{ "ops_inline", s->ring.place[OP_PLACE_INLINE] },
		{ "ops_ring", s->ring.place[OP_PLACE_RING] },
		{ "ops_worker", s->ring.place[OP_PLACE_WORKER] },
		{ "worker_ops_done", s->workers.done },
		{ "worker_threads", s->workers.threads },
		{ "worker_queued_max", s->workers.queued_max },
	};
	const size_t count = sizeof(all) / sizeof(all[0]);
	unsigned more;

	_Static_assert(sizeof(all) / sizeof(all[0]) + 32 <= FIGURES_MAX, "room of the callers");
	memcpy(f, all, sizeof(all));
	more = placement_figures(srv, s, f + count);
	return (unsigned)count + more + data_figures(s, f + count + more);
}

/** struct fallback - what this kernel or an option does not give us, for the statistics: as report_start() says it. @why: empty when there is none. */
struct fallback {
	const char *name, *why;
};
#define FALLBACKS_COUNT 4u

/** fallbacks() - of the first mount. @missing: the memory of the last one's text. */
static void fallbacks(const struct server *srv, struct fallback *fb, char *missing, size_t missing_size)
{
	const struct mount *m = srv->mounts[0];
	char fuse[1024];

	session_features(m, true, fuse, sizeof(fuse));
	snprintf(missing, missing_size, "%s%s%s", backend_features_missing(srv->backend), fuse[0] ? " " : "", fuse);
	fb[0] = (struct fallback){ "transport_fallback", m->uring ? "" : m->uring_why };
	fb[1] = (struct fallback){ "zero_copy_fallback", m->zero_copy ? "" : m->zero_copy_why };
	fb[2] = (struct fallback){ "sharing_fallback", m->uring ? placement_share_why(srv) : "" };
	fb[3] = (struct fallback){ "missing_features", missing };
}

void report_text(const struct server *srv, FILE *f)
{
	struct fallback fb[FALLBACKS_COUNT];
	char missing[2048];
	struct totals *s = sum(srv);
	struct figure fig[FIGURES_MAX];
	unsigned count;

	if (!s)
		return;
	fprintf(f, "uringfs statistics: %s on %s, transport %s, %u rings, up %.1f s\n", srv->opt.source_real,
		srv->opt.mountpoint_real, (srv->mounts[0]->uring ? &transport_uring : &transport_dev)->name, srv->threads_count, (double)(stats_now_ns() - srv->start_ns) / 1e9);
	fprintf(f, "%-20s %12s %9s %10s %10s %10s %10s\n", "request", "count", "errors", "mean us", "p50 us", "p99 us", "max us");
	for (unsigned op = 0; op < UAPI_FUSE_OPCODE_MAX; op++) {
		struct report_times t = report_form_times(&s->latency[op]);
		if (t.count)
			fprintf(f, "%-20s %12llu %9llu %10.1f %10.1f %10.1f %10.1f\n", dispatch_opcode_name(op), (unsigned long long)t.count,
				(unsigned long long)s->errors[op], t.mean, t.p50, t.p99, t.max);
	}
	count = figures(srv, s, fig);
	report_form_text(fig, count, f);
	fallbacks(srv, fb, missing, sizeof(missing));
	for (unsigned n = 0; n < FALLBACKS_COUNT; n++)
		if (fb[n].why[0])
			fprintf(f, "%s: %s\n", fb[n].name, fb[n].why);
	report_durability_text(srv, f);
	if (s->ring.enters)
		fprintf(f, "%-32s %.2f\n", "submissions_per_enter", (double)s->ring.sqes / (double)s->ring.enters);
	for (unsigned k = 0; k < OP_KINDS_COUNT; k++)
		if (s->ring.kind_count[k])
			fprintf(f, "backend %-24s %llu, %llu errors\n", op_kind_name((enum op_kind)k),
				(unsigned long long)s->ring.kind_count[k], (unsigned long long)s->ring.kind_errors[k]);
	free(s);
}

static void json_latency(const struct totals *s, FILE *f)
{
	bool first = true;

	fprintf(f, ",\"requests_by_kind\":{");
	for (unsigned op = 0; op < UAPI_FUSE_OPCODE_MAX; op++) {
		const struct histogram *h = &s->latency[op];
		uint64_t n = stats_get(&h->count);
		if (!n)
			continue;
		fprintf(f, "%s\"%s\":{\"count\":%llu,\"errors\":%llu,", first ? "" : ",", dispatch_opcode_name(op), (unsigned long long)n,
			(unsigned long long)s->errors[op]);
		report_form_histogram(h, f);
		fprintf(f, "}");
		first = false;
	}
	fprintf(f, "}");
}

void report_json(const struct server *srv, FILE *f)
{
	struct fallback fb[FALLBACKS_COUNT];
	char missing[2048];
	struct totals *s = sum(srv);
	struct figure fig[FIGURES_MAX];
	unsigned count;
	bool first = true;

	if (!s)
		return;
	fprintf(f, "{\"source\":");
	report_form_string(srv->opt.source_real, f);
	fprintf(f, ",\"mountpoint\":");
	report_form_string(srv->opt.mountpoint_real, f);
	fprintf(f, ",\"transport\":\"%s\",\"rings\":%u", (srv->mounts[0]->uring ? &transport_uring : &transport_dev)->name, srv->threads_count);
	count = figures(srv, s, fig);
	report_form_json(fig, count, f);
	fallbacks(srv, fb, missing, sizeof(missing));
	for (unsigned n = 0; n < FALLBACKS_COUNT; n++) {
		fprintf(f, ",\"%s\":", fb[n].name);
		report_form_string(fb[n].why, f);
	}
	report_durability_json(srv, f);
	json_latency(s, f);
	fprintf(f, ",\"backend\":{");
	for (unsigned k = 0; k < OP_KINDS_COUNT; k++) {
		if (!s->ring.kind_count[k])
			continue;
		fprintf(f, "%s\"%s\":{\"count\":%llu,\"errors\":%llu}", first ? "" : ",", op_kind_name((enum op_kind)k),
			(unsigned long long)s->ring.kind_count[k], (unsigned long long)s->ring.kind_errors[k]);
		first = false;
	}
	fprintf(f, "}}\n");
	free(s);
}

void report_write(const struct server *srv)
{
	/* not fopen(): our umask is 0, and nobody else is to write there */
	int fd = srv->opt.stats_file ? open(srv->opt.stats_file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0644) : -1;
	FILE *f = fd >= 0 ? fdopen(fd, "a") : NULL;
	char *text = NULL, *line, *save = NULL;
	size_t size = 0;

	if (srv->opt.stats_file && !f)
		log_warning("cannot write the statistics to %s: %s", srv->opt.stats_file, strerror(errno));
	if (!f && !srv->opt.foreground) {
		f = open_memstream(&text, &size);
		if (!f)
			return;
	}
	report_text(srv, f ? f : stderr);
	report_json(srv, f ? f : stderr);
	if (f && fclose(f) != 0)
		log_warning("cannot write the statistics: %s", strerror(errno));
	for (line = text ? strtok_r(text, "\n", &save) : NULL; line; line = strtok_r(NULL, "\n", &save))
		log_info("%s", line);
	free(text);
}

/** fds_allowed() - descriptors that we may have open, as the start has raised the limit. */
static uint64_t fds_allowed(void)
{
	struct rlimit lim;

	return getrlimit(RLIMIT_NOFILE, &lim) == 0 ? lim.rlim_cur : 0;
}

void report_start(const struct server *srv)
{
	const struct mount *m = srv->mounts[0];
	char used[1024], missing[1024], transport[256];

	session_features(m, false, used, sizeof(used));
	session_features(m, true, missing, sizeof(missing));
	if (m->uring)
		snprintf(transport, sizeof(transport), "uring (FUSE-over-io_uring, %u queues)", transport_uring_queues());
	else
		snprintf(transport, sizeof(transport), "dev (reads of /dev/fuse; %s)", m->uring_why);
	log_info("%s on %s: transport %s, %u rings, FUSE 7.%u, max_write %u, write_size %u, acting as the %s", srv->opt.source_real,
		 srv->opt.mountpoint_real, transport, srv->threads_count, m->kernel_minor < SESSION_MINOR ? m->kernel_minor : SESSION_MINOR, m->max_write, m->write_size,
		 srv->root ? "caller" : "mounting user");
	report_durability_start(srv);
	log_info("zero-copy: %s%s", m->zero_copy ? "on" : "off, ", m->zero_copy ? "" : m->zero_copy_why);
	log_info("in use: %s %s file_handles=%s registered_buffers=%u descriptors<=%u", backend_features_used(srv->backend), used,
		 m->keep_names ? (m->backing[0].handles ? "identity only, reopening by name" : "no, reopening by name") : "yes",
		 srv->threads[0].registered_count, srv->budget.max);
	log_info("missing in this kernel or not permitted: %s%s%s", backend_features_missing(srv->backend), missing[0] ? " " : "", missing);
	if (srv->opt.fds > fds_allowed())
		log_info("fds=%u: no more than %llu may be open here (RLIMIT_NOFILE; root can have fs.nr_open)", srv->opt.fds, (unsigned long long)fds_allowed());
	if (srv->opt.idmap && !srv->root)
		log_info("idmap: for a daemon of root only: the mount cannot be copied with other user ids");
	if (srv->opt.export_files && m->keep_names)
		log_info("export: SOURCE's files cannot be opened by file handles here: file handles of the mount end when the kernel forgets the file");
	if (placement_guard_why(srv)[0])
		log_info("serving threads do not step back for their callers (SCHED_IDLE): %s", placement_guard_why(srv));
	else
		log_info("serving threads step back for their callers (SCHED_IDLE) while requests are few and nobody else wants their CPU");
	if (m->uring && placement_share_why(srv)[0])
		log_info("serving threads do not share their queues: %s", placement_share_why(srv));
	else if (m->uring)
		log_info("serving threads share their queues while a caller keeps many requests under way and that is faster%s", m->zero_copy ? ", but those of zero-copy" : "");
	if (m->uring && placement_stream_why(srv)[0])
		log_info("streams of reads stay on their caller's CPU: %s", placement_stream_why(srv));
	else if (m->uring)
		log_info("streams of reads are served on an idle CPU while that is faster");
	if (!libfuse_io_custom())
		log_info("this libfuse was built without custom I/O: its replies are taken at writev(2)");
	if (srv->opt.deny)
		log_info("denied by option: %s", srv->opt.deny);
}
