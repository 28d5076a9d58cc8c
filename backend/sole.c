/* SPDX-License-Identifier: MIT */
/* sole.c - see sole.h. */
#include "sole.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>

#include "util/errno_util.h"
#include "watch.h"

#define FILES_MAX 64u /* each event is compared with all of them */

struct sole_file {
	void *file; /* NULL: free */
	struct watch_id id;
};

struct sole {
	sole_lost_fn lost;
	void *arg;
	pthread_mutex_t lock; /* the files and the marks; inside watch.lock */
	struct watch watch;   /* fd -1: none yet; made by the first sole_add() and never changed again */
	_Atomic bool watching;
	_Atomic uint32_t count;
	_Atomic uint64_t events, taken;
	struct sole_file files[FILES_MAX];
};

int sole_create(sole_lost_fn lost, void *arg, struct sole **ret_s)
{
	struct sole *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->lost = lost;
	s->arg = arg;
	s->watch.fd = -1;
	pthread_mutex_init(&s->lock, NULL);
	*ret_s = s;
	return 0;
}

void sole_destroy(struct sole *s)
{
	if (!s)
		return;
	watch_fini(&s->watch);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

static struct sole_file *find(struct sole *s, const void *file)
{
	for (unsigned n = 0; n < FILES_MAX; n++)
		if (s->files[n].file == file)
			return &s->files[n];
	return NULL;
}

/** written_by_others() - Return: 0, or -EAGAIN and other errors of the lease. */
static int written_by_others(int fd)
{
	int res = (int)errno_result(fcntl(fd, F_SETLEASE, F_WRLCK));

	if (res == 0)
		(void)fcntl(fd, F_SETLEASE, F_UNLCK); /* it is there */
	return res;
}

/** start() - the group of marks; lock held. */
static int start(struct sole *s)
{
	int res;

	if (atomic_load_explicit(&s->watching, memory_order_relaxed))
		return 0;
	/* the kernel's word that somebody waits for the end of a lease, which comes by itself; it would end the process */
	if (signal(SIGIO, SIG_IGN) == SIG_ERR)
		return -errno;
	res = watch_init(&s->watch);
	if (res == 0)
		atomic_store_explicit(&s->watching, true, memory_order_release);
	return res;
}

int sole_add(struct sole *s, int fd, void *file)
{
	struct sole_file *f;
	bool fresh;
	int res;

	pthread_mutex_lock(&s->lock);
	f = find(s, file);
	fresh = !f;
	if (fresh)
		f = find(s, NULL);
	res = f ? start(s) : -ENOSPC;
	if (res == 0 && fresh)
		res = watch_add(&s->watch, fd, &f->id);
	if (res == 0) {
		f->file = file; /* from the mark on */
		res = written_by_others(fd);
		if (res < 0 && fresh) {
			watch_remove(&s->watch, fd);
			f->file = NULL;
		}
	}
	if (res == 0)
		atomic_fetch_add_explicit(&s->taken, 1, memory_order_relaxed);
	if (f && f->file && fresh)
		atomic_fetch_add(&s->count, 1);
	pthread_mutex_unlock(&s->lock);
	return res;
}

void sole_remove(struct sole *s, int fd, void *file)
{
	struct sole_file *f;

	if (!atomic_load_explicit(&s->count, memory_order_relaxed)) /* the caller has seen its own sole_add() */
		return;
	pthread_mutex_lock(&s->lock);
	f = find(s, file);
	if (f) {
		watch_remove(&s->watch, fd); /* the mark would keep the space of a removed file */
		f->file = NULL;
		atomic_fetch_sub(&s->count, 1);
	}
	pthread_mutex_unlock(&s->lock);
}

static void found(void *arg, const struct watch_id *id)
{
	struct sole *s = arg;

	pthread_mutex_lock(&s->lock);
	for (unsigned n = 0; n < FILES_MAX; n++) {
		struct sole_file *f = &s->files[n];
		if (!f->file || (id && !watch_same(&f->id, id)))
			continue;
		atomic_fetch_add(&s->events, 1);
		s->lost(s->arg, f->file);
	}
	pthread_mutex_unlock(&s->lock);
}

void sole_look(struct sole *s)
{
	if (atomic_load_explicit(&s->watching, memory_order_acquire))
		watch_take(&s->watch, found, s);
}

const _Atomic uint64_t *sole_events(const struct sole *s)
{
	return &s->events;
}

void sole_figures_add(struct sole *s, struct sole_figures *sum)
{
	if (!s)
		return;
	sum->files += atomic_load(&s->count);
	sum->taken += atomic_load(&s->taken);
	sum->lost += atomic_load(&s->events);
}
