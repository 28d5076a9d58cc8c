/* SPDX-License-Identifier: MIT */
/* durability.c - what there is: devices, filesystems, files open for writing, figures. */
#include "durability.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "durability_priv.h"
#include "util/delay.h"

/** 0: as long as the kernel waits for its own flushes (queue/io_timeout of the disk), after which it aborts the command or resets the device. */
#define FLUSH_TIMEOUT_MS 0u

const char *durability_policy_name(enum durability_policy policy)
{
	static const char *const names[] = { "strict", "flush", "kernel" };

	return names[policy];
}

int durability_faults_parse(const char *text, unsigned *ret_faults)
{
#ifdef URINGFS_FAULT_INJECTION
	static const char *const names[] = { "no_writeback", "no_flush", "early_flush", "keep_proof", "block_device", "no_watch", "delays" };
#else
	static const char *const names[] = { NULL };
#endif
	unsigned faults = 0;

	for (const char *p = text ? text : ""; *p;) {
		size_t len = strcspn(p, ":|"), n;

		for (n = 0; n < sizeof(names) / sizeof(names[0]); n++)
			if (names[n] && strlen(names[n]) == len && !strncmp(names[n], p, len))
				break;
		if (n == sizeof(names) / sizeof(names[0]))
			return -EINVAL;
		faults |= 1u << n;
		p += len + (p[len] != 0);
	}
#ifdef URINGFS_FAULT_INJECTION
	delay_points(faults & DURABILITY_FAULT_DELAYS);
#endif
	*ret_faults = faults;
	return 0;
}

/* ---- the namespace ------------------------------------------------------------------- */

/** namespace_add() - that of @dev, which is open, with its events; both become the namespace's. An older one of the same device serves too. Thread: main. */
static struct namespace *namespace_add(struct backend *b, struct device *dev, int events_fd, bool block, bool *ret_new)
{
	struct namespace *ns;

	for (ns = b->namespaces; ns; ns = ns->next)
		if (ns->device.generic_dev == dev->generic_dev && !ns->flusher.target.block == !block)
			break;
	*ret_new = !ns;
	if (!ns)
		ns = calloc(1, sizeof(*ns));
	if (!ns || !*ret_new) {
		(void)close(dev->fd); /* nothing was sent */
		if (events_fd >= 0)
			(void)close(events_fd); /* read only */
		return ns;
	}
	ns->device = *dev;
	ns->events_fd = events_fd;
	pthread_mutex_init(&ns->events_lock, NULL);
	flusher_init(&ns->flusher, &(struct nvme_target){ .fd = dev->fd, .nsid = dev->nsid, .timeout_ms = FLUSH_TIMEOUT_MS, .block = block });
	ns->next = b->namespaces;
	b->namespaces = ns;
	*ret_new = true;
	return ns;
}

void durability_destroy_all(struct backend *b)
{
	struct namespace *ns;
	struct durability *d;

	while ((d = b->durabilities)) {
		b->durabilities = d->next;
		durability_destroy(d);
	}
	while ((ns = b->namespaces)) {
		b->namespaces = ns->next;
		flusher_fini(&ns->flusher);
		pthread_mutex_destroy(&ns->events_lock);
		if (ns->events_fd >= 0)
			(void)close(ns->events_fd); /* read only */
		(void)close(ns->device.fd); /* no command is under way */
		free(ns);
	}
}

/* ---- one filesystem -------------------------------------------------------------------- */

/** open_block() - tests: the block device itself. */
static int open_block(struct device *dev)
{
	char path[DEVICE_NAME_MAX + 8];

	snprintf(path, sizeof(path), "/dev/%s", dev->node);
	dev->fd = open(path, O_RDONLY | O_CLOEXEC);
	dev->generic_dev = dev->dev;
	dev->write_back = dev->vwc = true;
	dev->cache_path[0] = 0;
	return dev->fd < 0 ? -errno : 0;
}

/** listen_to() - events of @dev, which is open, and of SOURCE; without them a reset or somebody's change would not be heard of. */
static int listen_to(struct durability *d, struct device *dev, bool block, int *ret_events_fd)
{
	int res = 0;

	if (!block)
		*ret_events_fd = res = device_events_open();
	if (res < 0) {
		snprintf(d->fs.why, sizeof(d->fs.why), "resets of the device cannot be heard of (NETLINK_KOBJECT_UEVENT: %s)", strerror(-res));
	} else {
		res = watch_init(&d->watch);
		if (res < 0)
			snprintf(d->fs.why, sizeof(d->fs.why), "changes in SOURCE by others cannot be watched (fanotify: %s)", strerror(-res));
	}
	if (res < 0) {
		(void)close(dev->fd); /* nothing was sent */
		if (*ret_events_fd >= 0)
			(void)close(*ret_events_fd); /* read only */
	}
	return res;
}

/** find_device() - the namespace below, or why not in d->text. */
static int find_device(struct durability *d)
{
	bool block = d->faults & DURABILITY_FAULT_BLOCK_DEVICE;
	struct device dev;
	int events_fd = -1, res = device_resolve("/sys", d->dev, &dev);

	if (block && dev.node[0])
		res = 0;
	if (res < 0)
		snprintf(d->fs.why, sizeof(d->fs.why), "%s", dev.why);
	else
		res = fsinfo_find("/proc", d->dev, &d->fs);
	if (res == 0)
		res = fsinfo_capable("/proc", dev.node, &d->fs);
	if (res == 0) {
		res = block ? open_block(&dev) : device_open(&dev);
		if (res < 0)
			snprintf(d->fs.why, sizeof(d->fs.why), "%s", dev.why);
	}
	if (res == 0)
		res = listen_to(d, &dev, block, &events_fd);
	if (res < 0) {
		snprintf(d->text, sizeof(d->text), "not capable of FLUSH: %s", d->fs.why);
		return res;
	}
	d->ns = namespace_add(d->b, &dev, events_fd, block, &d->counts_namespace);
	return d->ns ? 0 : -ENOMEM;
}

static void describe(struct durability *d)
{
	const struct device *dev = &d->ns->device;
	const char *cache = device_volatile(dev) ? "volatile write cache" : dev->vwc ? "write cache set to write through: no FLUSH" : "no volatile write cache: no FLUSH";

	if (d->ns->flusher.target.block)
		snprintf(d->text, sizeof(d->text), "%s on %s by fsync of the block device (test)", d->fs.type, dev->node);
	else
		snprintf(d->text, sizeof(d->text), "%s on %s, namespace %u of /dev/%s, %s", d->fs.type, dev->node, dev->nsid, dev->generic, cache);
}

int durability_create(struct backend *b, int fd, enum durability_policy policy, unsigned faults, struct durability **ret_d)
{
	struct durability *d = calloc(1, sizeof(*d));
	struct statx stx;
	int res;

	if (!d)
		return -ENOMEM;
	d->b = b;
	d->policy = policy;
	d->faults = faults;
	d->watch.fd = -1;
	pthread_mutex_init(&d->table_lock, NULL);
	pthread_mutex_init(&d->background_lock, NULL);
	pthread_mutex_init(&d->latency_lock, NULL);
	d->next = b->durabilities;
	b->durabilities = d;
	*ret_d = d;
	if (policy == DURABILITY_KERNEL) {
		snprintf(d->text, sizeof(d->text), "not asked for (fsync=kernel)");
		return 0;
	}
	res = sys_statx(fd, "", AT_EMPTY_PATH, STATX_TYPE, &stx);
	if (res < 0) {
		snprintf(d->text, sizeof(d->text), "not capable of FLUSH: %s", strerror(-res));
		return 0;
	}
	d->dev = makedev(stx.stx_dev_major, stx.stx_dev_minor);
	res = find_device(d);
	if (res == 0) {
		describe(d);
		d->capable = true;
	}
	return res == -ENOMEM ? res : 0;
}

void durability_destroy(struct durability *d)
{
	if (!d)
		return;
	for (unsigned n = 0; n < DFILE_BUCKETS; n++)
		while (d->bucket[n]) {
			struct dfile *f = d->bucket[n];

			d->bucket[n] = f->next;
			if (f->background_fd >= 0)
				(void)close(f->background_fd); /* read only */
			pthread_mutex_destroy(&f->lock);
			free(f);
		}
	watch_fini(&d->watch);
	pthread_mutex_destroy(&d->table_lock);
	pthread_mutex_destroy(&d->background_lock);
	pthread_mutex_destroy(&d->latency_lock);
	free(d);
}

bool durability_capable(const struct durability *d)
{
	return d->capable;
}

const char *durability_text(const struct durability *d)
{
	return d->text;
}

/* ---- files ---------------------------------------------------------------------------------- */

static struct dfile **place_of(struct durability *d, uint64_t ino)
{
	struct dfile **at = &d->bucket[(ino * UINT64_C(0x9e3779b97f4a7c15)) >> 54];

	_Static_assert(DFILE_BUCKETS == 1u << 10, "the shift above");
	while (*at && (*at)->ino != ino)
		at = &(*at)->next;
	return at;
}

struct dfile *durability_find(struct durability *d, uint64_t ino)
{
	struct dfile *f;

	if (!d || !d->capable)
		return NULL;
	pthread_mutex_lock(&d->table_lock);
	f = *place_of(d, ino);
	if (f)
		f->refs++;
	pthread_mutex_unlock(&d->table_lock);
	return f;
}

struct dfile *durability_open(struct durability *d, uint64_t ino, uint64_t *ret_seen)
{
	struct dfile **at, *f;

	if (!d || !d->capable)
		return NULL;
	pthread_mutex_lock(&d->table_lock);
	at = place_of(d, ino);
	f = *at;
	if (!f && !d->untold) {
		*at = f = calloc(1, sizeof(*f));
		d->untold = !f; /* what is written by it will not be told: whoever opens the file after it must not have a proof */
		if (f) {
			f->d = d;
			f->ino = ino;
			f->background_fd = -1;
			pthread_mutex_init(&f->lock, NULL);
			proof_init(&f->proof);
		}
	}
	if (f)
		f->refs++;
	pthread_mutex_unlock(&d->table_lock);
	if (!f) {
		stats_add(&d->untold_opens, 1);
		return NULL;
	}
	pthread_mutex_lock(&f->lock);
	proof_error_check(&f->proof, atomic_load(&d->ns->flusher.errors));
	*ret_seen = f->proof.error_gen;
	pthread_mutex_unlock(&f->lock);
	return f;
}

void durability_put(struct dfile *f, int fd)
{
	struct durability *d;
	bool last;

	if (!f)
		return;
	d = f->d;
	pthread_mutex_lock(&d->table_lock);
	last = --f->refs == 0;
	if (last) {
		*place_of(d, f->ino) = f->next;
		/* under the lock: who opens the file again adds his own mark after this */
		if (f->watched && fd >= 0)
			watch_remove(&d->watch, fd);
	}
	pthread_mutex_unlock(&d->table_lock);
	if (!last)
		return;
	if (f->background_fd >= 0) {
		(void)close(f->background_fd); /* read only */
		pthread_mutex_lock(&d->background_lock);
		d->background_fds--;
		pthread_mutex_unlock(&d->background_lock);
	}
	pthread_mutex_destroy(&f->lock);
	free(f);
}

int dfile_watch(struct dfile *f, int fd)
{
	struct durability *d = f->d;
	int res = 0;

	pthread_mutex_lock(&d->table_lock);
	if (!f->watched)
		res = watch_add(&d->watch, fd, &f->watch_id);
	f->watched = res == 0;
	pthread_mutex_unlock(&d->table_lock);
	return res;
}

void dfile_lock(struct dfile *f, struct proof *saved)
{
	saved->mapped = saved->synced = false;
	pthread_mutex_lock(&f->lock);
	if (f->d->faults & DURABILITY_FAULT_KEEP_PROOF)
		*saved = f->proof;
}

void dfile_unlock(struct dfile *f, const struct proof *saved)
{
	struct proof *p = &f->proof;

	if (f->d->faults & DURABILITY_FAULT_KEEP_PROOF && saved->mapped && saved->synced && !p->mapped) {
		p->mapped = p->synced = true;
		p->refused = false;
		p->epoch = saved->epoch;
	}
	pthread_mutex_unlock(&f->lock);
}

void dfile_write_begin(struct dfile *f, uint64_t off, uint64_t len, unsigned flags)
{
	struct proof saved;

	if (!f)
		return;
	dfile_lock(f, &saved);
	proof_write_begin(&f->proof, off, len, flags, atomic_load(&f->d->ns->flusher.errors));
	dfile_unlock(f, &saved);
}

void dfile_write_end(struct dfile *f, int64_t res)
{
	struct proof saved;

	if (!f)
		return;
	dfile_lock(f, &saved);
	proof_write_end(&f->proof, res);
	dfile_unlock(f, &saved);
}

void dfile_change_begin(struct dfile *f, enum proof_reason reason)
{
	struct proof saved;

	if (!f)
		return;
	dfile_lock(f, &saved);
	proof_change_begin(&f->proof, reason);
	dfile_unlock(f, &saved);
}

void dfile_change_end(struct dfile *f)
{
	struct proof saved;

	if (!f)
		return;
	dfile_lock(f, &saved);
	proof_change_end(&f->proof);
	dfile_unlock(f, &saved);
}

/* ---- what others do ---------------------------------------------------------------------------- */

static void used_elsewhere(struct dfile *f)
{
	struct proof saved;

	dfile_lock(f, &saved);
	proof_refuse(&f->proof, PROOF_SHARED);
	dfile_unlock(f, &saved);
}

static void found_other(void *arg, const struct watch_id *id)
{
	struct durability *d = arg;

	/* all of them are looked at: others touch our proven files seldom */
	pthread_mutex_lock(&d->table_lock);
	for (unsigned n = 0; n < DFILE_BUCKETS; n++)
		for (struct dfile *f = d->bucket[n]; f; f = f->next)
			if (!id || (f->watched && watch_same(&f->watch_id, id)))
				used_elsewhere(f);
	pthread_mutex_unlock(&d->table_lock);
}

void durability_look(struct durability *d)
{
	struct namespace *ns = d->ns;

	if (!(d->faults & DURABILITY_FAULT_NO_WATCH))
		watch_take(&d->watch, found_other, d);
	pthread_mutex_lock(&ns->events_lock);
	if (device_events_take(&ns->device, ns->events_fd)) {
		flusher_reset(&ns->flusher);
		(void)device_cache_look(&ns->device); /* the controller may have come back with another cache */
	}
	pthread_mutex_unlock(&ns->events_lock);
}

/* ---- figures -------------------------------------------------------------------------------------- */

void durability_figures_add(const struct durability *d, struct durability_figures *sum)
{
	sum->flush += stats_get(&d->flush);
	sum->no_cache += stats_get(&d->no_cache);
	sum->clean += stats_get(&d->clean);
	sum->errors += stats_get(&d->errors);
	sum->proofs += stats_get(&d->proofs);
	sum->looks += stats_get(&d->looks);
	sum->background += stats_get(&d->background_syncs);
	sum->untold += stats_get(&d->untold_opens);
	for (unsigned n = 0; n < PROOF_REASONS_COUNT; n++)
		sum->kernel[n] += stats_get(&d->kernel[n]);
	histogram_sum(&d->kernel_latency, &sum->kernel_latency);
	histogram_sum(&d->flush_latency, &sum->flush_latency);
	if (!d->capable || !d->counts_namespace)
		return;
	sum->flushes += stats_get(&d->ns->flusher.sent);
	sum->flushes_failed += stats_get(&d->ns->flusher.errors);
	sum->flush_tickets += stats_get(&d->ns->flusher.tickets);
	if (stats_get(&d->ns->flusher.tickets_max) > sum->flush_tickets_max)
		sum->flush_tickets_max = stats_get(&d->ns->flusher.tickets_max);
	histogram_sum(&d->ns->flusher.latency, &sum->device_latency);
}
