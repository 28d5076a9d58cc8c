/* SPDX-License-Identifier: MIT */
/*
 * background.c - policy flush: timestamps follow a FLUSH within a second.
 *
 * Files whose times are not durable yet wait in a list; a timer on the ring of
 * the first one syncs them all. The sync goes by a descriptor of our own, so
 * that no caller's open file loses its write-back error to it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "durability_priv.h"
#include "ring.h"

/** Until an op is free for a file that is due. */
#define BACKGROUND_RETRY_NS 10000000u

static void start_timer(struct op *op, struct durability *d, uint64_t ns);

/** enqueue() - @f is due; the list takes the reference. Lock held. Return: whether a timer has to be started */
static bool enqueue(struct durability *d, struct dfile *f)
{
	bool timer = !d->background_timer;

	f->background_due = true;
	f->background_next = d->background;
	d->background = f;
	d->background_timer = true;
	return timer;
}

/** ended() - the sync of @f has, and @op did it; times changed meanwhile need another one, for which @op waits. */
static void ended(struct op *op, struct dfile *f)
{
	struct durability *d = f->d;
	bool again, timer = false;

	pthread_mutex_lock(&d->background_lock);
	again = f->background_again;
	f->background_running = f->background_again = false;
	if (again)
		timer = enqueue(d, f);
	pthread_mutex_unlock(&d->background_lock);
	if (timer) {
		op_reuse(op);
		start_timer(op, d, BACKGROUND_NS);
	}
	if (!again)
		durability_put(f, f->background_fd);
}

static void synced(struct op *op)
{
	struct dfile *f = op->owner;
	struct durability *d = f->d;
	struct proof saved;

	atomic_fetch_add_explicit(&d->background_syncs, 1, memory_order_relaxed);
	/* The kernel tells each open file of a failed write-back, but of a failed flush or journal only the caller of the sync,
	   which is us: so it counts as a failed FLUSH, and each open file hears of it at its next sync. */
	if (op->res < 0)
		atomic_fetch_add(&d->ns->flusher.errors, 1);
	dfile_lock(f, &saved);
	proof_error_check(&f->proof, atomic_load(&d->ns->flusher.errors));
	if (op->res < 0)
		proof_sync_failed(&f->proof, atomic_load(&d->ns->flusher.errors));
	else
		proof_sync_end(&f->proof, &f->background_mark, true, &f->background_times, NULL, 0);
	dfile_unlock(f, &saved);
	ended(op, f);
}

static void sync_one(struct op *op, struct dfile *f)
{
	struct proof saved;

	if (file_times(f->background_fd, &f->background_times, NULL) < 0)
		f->background_times = (struct proof_times){ 0 };
	dfile_lock(f, &saved);
	proof_sync_begin(&f->proof, &f->background_mark);
	dfile_unlock(f, &saved);
	op->kind = OP_FSYNC;
	op->fd = f->background_fd;
	op->owner = f;
	op->done = synced;
	ring_submit(op);
}

/** put_back() - no op is free for @list: its files stay due. */
static void put_back(struct durability *d, struct dfile *list)
{
	struct dfile *next;

	pthread_mutex_lock(&d->background_lock);
	for (struct dfile *f = list; f; f = next) {
		next = f->background_next;
		f->background_running = f->background_again = false;
		(void)enqueue(d, f); /* the caller's timer is an early one */
	}
	pthread_mutex_unlock(&d->background_lock);
}

static void due(struct op *op)
{
	struct durability *d = op->owner;
	struct dfile *list, *next;
	struct op *sync;

	pthread_mutex_lock(&d->background_lock);
	list = d->background;
	d->background = NULL;
	d->background_timer = false;
	for (struct dfile *f = list; f; f = f->background_next) {
		f->background_due = false;
		f->background_running = true; /* nobody links it elsewhere until it has ended */
	}
	pthread_mutex_unlock(&d->background_lock);
	for (; list && (sync = ring_op_get(op->ring)); list = next) {
		next = list->background_next;
		sync_one(sync, list);
	}
	if (list) {
		put_back(d, list);
		op_reuse(op);
		start_timer(op, d, BACKGROUND_RETRY_NS);
	}
}

/** own_fd() - open the file once more for ourselves. Return: descriptor or -errno */
static int own_fd(int fd)
{
	const struct open_how how = { .flags = O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOATIME };
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return sys_openat2(AT_FDCWD, path, &how);
}

/** start_timer() - with @op, fresh: who needs one later has an op that can do it, so that no file waits for a free one. */
static void start_timer(struct op *op, struct durability *d, uint64_t ns)
{
	op->kind = OP_TIMEOUT;
	op->off = ns;
	op->owner = d;
	op->done = due;
	ring_submit(op);
}

bool background_add(struct ring *r, struct dfile *f, int fd)
{
	struct durability *d = f->d;
	bool ok = true, timer = false;

	pthread_mutex_lock(&d->background_lock);
	if (f->background_running) {
		f->background_again = true;
	} else if (!f->background_due) {
		if (f->background_fd < 0 && d->background_fds < BACKGROUND_FDS_MAX) {
			f->background_fd = own_fd(fd);
			d->background_fds += f->background_fd >= 0;
		}
		ok = f->background_fd >= 0 && (d->background_timer || ring_ops_free(r) > 0);
		if (ok) {
			pthread_mutex_lock(&d->table_lock);
			f->refs++; /* the caller has one */
			pthread_mutex_unlock(&d->table_lock);
			timer = enqueue(d, f);
		}
	}
	pthread_mutex_unlock(&d->background_lock);
	if (timer)
		start_timer(ring_op_get(r), d, BACKGROUND_NS); /* there was an op a moment ago, and the ring is ours */
	return ok;
}
