/* SPDX-License-Identifier: MIT */
/*
 * transport_uring_setup.c - all that happens before the first request; see transport_uring.h.
 *
 * Once the INIT reply has promised rings the kernel holds every request back
 * until each queue has an entry. So what may fail is done before: the threads
 * make their entries, with all memory and ops; only then the promise is given
 * and the entries are handed over. A refusal after that is found at once.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fs/lock.h"
#include "fs/request.h"
#include "fs/serve.h"
#include "fs/session.h"
#include "fs/transport.h"
#include "fs/transport_uring.h"

#define POSSIBLE "/sys/devices/system/cpu/possible"
#define ENABLE "/sys/module/fuse/parameters/enable_uring"
/** Entries that a queue begins with; it gets more when it needs them. */
#define ENTRIES_FIRST 4u
#define QUEUES_MAX 65536u

unsigned transport_uring_parse_cpus(const char *list)
{
	unsigned long count = 0;

	while (*list && *list != '\n') {
		char *end;
		unsigned long first = strtoul(list, &end, 10), last = first;
		if (end == list)
			return 0;
		if (*end == '-') {
			list = end + 1;
			last = strtoul(list, &end, 10);
			if (end == list || last < first)
				return 0;
		}
		count += last - first + 1;
		if (count > QUEUES_MAX || (*end && *end != ',' && *end != '\n'))
			return 0;
		list = *end == ',' ? end + 1 : end;
	}
	return (unsigned)count;
}

/** first_line() - of a file of sysfs. Return false when it cannot be read. */
static bool first_line(const char *path, char *buf, size_t size)
{
	FILE *f = fopen(path, "re");
	bool ok = f && fgets(buf, (int)size, f);

	if (f)
		(void)fclose(f); /* read only */
	return ok;
}

unsigned transport_uring_queues(void)
{
	char line[4096];
	unsigned count = first_line(POSSIBLE, line, sizeof(line)) ? transport_uring_parse_cpus(line) : 0;

	return count ? count : 1;
}

unsigned transport_uring_thread(const struct server *srv, unsigned qid)
{
	for (unsigned n = 0; n < srv->threads_count; n++)
		if (srv->threads[n].cpu == (int)qid)
			return n;
	return srv->threads_count ? qid % srv->threads_count : 0;
}

unsigned transport_uring_ops(unsigned rings, unsigned queue_depth)
{
	unsigned most = 4096, each = (transport_uring_queues() - 1) / (rings ? rings : 1) + 1;

	/* a queue per CPU where there are fewer rings than CPUs, and the entries that lock waiters add */
	return (each * queue_depth < most ? each * queue_depth : most) + LOCK_WAITS_MAX;
}

bool transport_uring_possible(const struct server *srv, char *why, size_t why_size)
{
	char line[8];

	why[0] = 0;
	if (srv->opt.transport == TRANSPORT_DEV)
		snprintf(why, why_size, "asked for");
	else if (srv->deny & SESSION_DENY_URING)
		snprintf(why, why_size, "FUSE-over-io_uring is denied by option");
	else if (backend_op_place(srv->backend, OP_DEVICE_CMD) != OP_PLACE_RING || !strstr(backend_features_used(srv->backend), "sqe128"))
		snprintf(why, why_size, "io_uring has no commands in entries of 128 bytes here (Linux 5.19)");
	else if (!first_line(ENABLE, line, sizeof(line)))
		snprintf(why, why_size, "this kernel has no FUSE-over-io_uring (Linux 6.14, CONFIG_FUSE_IO_URING)");
	else if (line[0] != 'Y')
		snprintf(why, why_size, "FUSE-over-io_uring is switched off: echo Y > %s turns it on", ENABLE);
	return !why[0];
}

uint64_t transport_uring_entries(const struct server *srv)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < srv->threads_count; i++)
		n += stats_get(&srv->threads[i].uring_entries);
	return n;
}

/* ---- before INIT is answered ----------------------------------------------------------- */

static struct channel *channel_of(const struct server_thread *t, struct mount *m)
{
	return &m->channels[t->server->threads_count + t->index];
}

/** drop() - what a thread has prepared for @arg, a mount. */
static int drop(struct server_thread *t, void *arg)
{
	struct channel *c = channel_of(t, arg);

	if (!c->uring)
		return 0;
	while (c->uring->entries)
		uring_entry_drop(c->uring->entries);
	uring_channel_free(c->uring);
	c->uring = NULL;
	c->given_closed = true; /* no thread serves yet */
	return 0;
}

/** prepare_queues() - those of this thread. */
static int prepare_queues(struct server_thread *t, struct uring_channel *u)
{
	unsigned all = transport_uring_queues(), first = t->server->opt.queue_depth;
	int res = 0;

	u->queues = calloc(all, sizeof(*u->queues));
	if (!u->queues)
		return -ENOMEM;
	for (unsigned qid = 0; qid < all; qid++)
		if (transport_uring_thread(t->server, qid) == t->index)
			u->queues[u->queues_count++].qid = (uint16_t)qid;
	/* where requests may wait for others, better have too many: transport_uring_kick.c */
	if (first > ENTRIES_FIRST && t->server->opt.locks != LOCKS_SHARED)
		first = ENTRIES_FIRST;
	if (u->channel->mount->zero_copy && u->queues_count)
		res = zero_copy_slots_make(t);
	else if (!t->server->mounts_count) /* SOURCE itself goes without: nobody else may have them */
		zero_copy_slots_free(t);
	for (unsigned n = 0; n < u->queues_count && u->channel->mount->zero_copy && res == 0; n++)
		res = uring_pool_make(u->channel->mount, &u->queues[n]);
	for (unsigned n = 0; n < u->queues_count; n++)
		for (unsigned e = 0; e < first && res == 0; e++)
			res = uring_entry_add(u, &u->queues[n]);
	return res;
}

/** prepare() - this thread's part of mount @arg. */
static int prepare(struct server_thread *t, void *arg)
{
	struct mount *m = arg;
	struct channel *c = channel_of(t, m);
	int res;

	*c = (struct channel){ .thread = t, .mount = m, .transport = &transport_uring, .fd = -1, .given_lock = PTHREAD_MUTEX_INITIALIZER };
	c->uring = calloc(1, sizeof(*c->uring));
	if (!c->uring)
		return -ENOMEM;
	c->uring->channel = c;
	bfile_init(&c->uring->file, -1);
	res = prepare_queues(t, c->uring);
	if (res < 0 || c->uring->queues_count == 0)
		(void)drop(t, m); /* cannot fail */
	return res;
}

int transport_uring_prepare(struct mount *m)
{
	int res = serve_call(m->server, prepare, m);

	if (res < 0)
		transport_uring_discard(m);
	return res;
}

void transport_uring_discard(struct mount *m)
{
	(void)serve_call(m->server, drop, m); /* cannot fail */
}

/* ---- after it ---------------------------------------------------------------------------- */

static int register_all(struct server_thread *t, void *arg)
{
	struct channel *c = channel_of(t, arg);

	/* entries of the pool's first requests, whose buffers are registered, were added first: the list has them last */
	for (struct uring_entry *e = c->uring ? c->uring->entries : NULL; e; e = e->next)
		uring_entry_register(e);
	return 0;
}

static int collect(struct server_thread *t, void *arg)
{
	const struct channel *c = channel_of(t, arg);

	return c->uring ? c->uring->refused : 0;
}

int transport_uring_register(struct mount *m)
{
	const struct timespec ms = { .tv_nsec = 1000000 };
	/* with SQPOLL another thread submits, in its own time */
	unsigned looks = m->server->opt.sqpoll ? 20 : 1;
	int res = serve_call(m->server, register_all, m);

	/* a message that is sent now is read after the commands have been submitted and their refusals collected */
	for (unsigned n = 0; n < looks && res == 0; n++) {
		if (looks > 1)
			(void)nanosleep(&ms, NULL);
		res = serve_call(m->server, collect, m);
	}
	return res;
}
