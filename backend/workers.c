/* SPDX-License-Identifier: MIT */
/*
 * workers.c - see workers.h.
 *
 * One lock guards the queue, the counts and the thread table; no system call
 * of an op runs under it. Thread creation does: it happens at most
 * threads_max times per burst and must not exceed the limit.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "creds.h"
#include "op.h"
#include "util/cleanup.h"
#include "workers.h"

#define WORKER_IDLE_SECONDS 10
#define WORKER_STACK_BYTES (256u * 1024)

enum thread_state { THREAD_NONE, THREAD_RUNS, THREAD_ENDED };

struct worker {
	struct workers *pool;
	pthread_t thread;
	enum thread_state state;
};

struct workers {
	pthread_mutex_t lock; /* guards all below but the constants */
	pthread_cond_t work;
	struct op *head, *tail; /* FIFO by op->next */
	unsigned queued, queued_max, threads, idle, busy;
	uint64_t done_count;
	bool stop;
	/* constant */
	unsigned threads_max;
	cpu_set_t cpus;
	void (*done)(struct op *op);
	struct worker worker[WORKERS_MAX]; /* state under the lock */
};

int workers_create(unsigned threads_max, const cpu_set_t *cpus, void (*done)(struct op *op), struct workers **ret_w)
{
	struct workers *w = calloc(1, sizeof(*w));
	pthread_condattr_t attr;

	if (!w)
		return -ENOMEM;
	pthread_mutex_init(&w->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&w->work, &attr);
	pthread_condattr_destroy(&attr);
	w->threads_max = threads_max < WORKERS_MAX ? threads_max : WORKERS_MAX;
	w->cpus = *cpus;
	w->done = done;
	*ret_w = w;
	return 0;
}

void workers_destroy(struct workers *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->stop = true;
	pthread_cond_broadcast(&w->work);
	pthread_mutex_unlock(&w->lock);
	/* no more threads start: nobody may submit any more */
	for (unsigned i = 0; i < WORKERS_MAX; i++) {
		bool made;

		pthread_mutex_lock(&w->lock);
		made = w->worker[i].state != THREAD_NONE;
		pthread_mutex_unlock(&w->lock);
		if (made)
			pthread_join(w->worker[i].thread, NULL);
	}
	pthread_cond_destroy(&w->work);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

static void run_op(struct op *op, mode_t *umask_now)
{
	struct op_slot *slot = op_slot(op);
	int res;

	if (slot->inject) {
		op->res = slot->inject_res;
		return;
	}
	res = creds_enter(&op->creds);
	if (res < 0) {
		op->res = res;
		return;
	}
	if (op_makes_name(op) && *umask_now != op_umask(op)) {
		*umask_now = op_umask(op);
		umask(*umask_now);
	}
	op->res = op_row(op)->sys(op);
}

/* Wait for work. The lock is held. False: the thread should end; the last one stays, and sleeps as long as there is no work. */
static bool wait_for_work(struct workers *w)
{
	struct timespec until;
	int res = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += WORKER_IDLE_SECONDS;
	w->idle++;
	while (!w->head && !w->stop && !(res == ETIMEDOUT && w->threads > 1)) {
		if (res == ETIMEDOUT)
			(void)pthread_cond_wait(&w->work, &w->lock); /* cannot fail */
		else
			res = pthread_cond_timedwait(&w->work, &w->lock, &until);
	}
	w->idle--;
	return w->head != NULL;
}

static void *worker_main(void *arg)
{
	struct worker *self = arg;
	struct workers *w = self->pool;
	mode_t umask_now = 0;

	/* refused only by a seccomp filter; then creating ops would change a shared umask, so say no to all */
	bool own_fs = unshare(CLONE_FS) == 0;
	const struct sched_param none = { 0 };

	/* inherited from a serving thread that was stepping back for its callers just then */
	if (sched_getscheduler(0) == SCHED_IDLE)
		(void)sched_setscheduler(0, SCHED_OTHER, &none); /* it may; else whoever watches that thread does it */
	if (own_fs)
		umask(0);
	(void)sched_setaffinity(0, sizeof(w->cpus), &w->cpus); /* only slower without */
	pthread_mutex_lock(&w->lock);
	while (wait_for_work(w)) {
		struct op *op = w->head;

		w->head = op->next;
		if (!w->head)
			w->tail = NULL;
		w->queued--;
		w->busy++;
		pthread_mutex_unlock(&w->lock);
		op->next = NULL;
		if (own_fs || !op_makes_name(op))
			run_op(op, &umask_now);
		else
			op->res = -EPERM;
		w->done(op); /* the op is no longer ours */
		pthread_mutex_lock(&w->lock);
		w->busy--;
		w->done_count++;
	}
	w->threads--;
	self->state = THREAD_ENDED;
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

/* Start one more thread if the limit allows. The lock is held. */
static int start_thread(struct workers *w)
{
	struct worker *free_place = NULL;
	sigset_t all, old;
	pthread_attr_t attr;
	int res;

	for (unsigned i = 0; i < w->threads_max && !free_place; i++)
		if (w->worker[i].state != THREAD_RUNS)
			free_place = &w->worker[i];
	if (!free_place)
		return 0;
	if (free_place->state == THREAD_ENDED)
		pthread_join(free_place->thread, NULL); /* it has left the lock: ends at once */
	free_place->state = THREAD_NONE;
	free_place->pool = w;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, WORKER_STACK_BYTES);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old); /* signals are the main thread's */
	res = pthread_create(&free_place->thread, &attr, worker_main, free_place);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	if (res != 0)
		return -res;
	free_place->state = THREAD_RUNS;
	w->threads++;
	return 0;
}

int workers_submit(struct workers *w, struct op *op)
{
	int res = 0;

	pthread_mutex_lock(&w->lock);
	if (w->queued >= w->idle)
		res = start_thread(w);
	if (w->threads == 0) {
		pthread_mutex_unlock(&w->lock);
		return res < 0 ? res : -EAGAIN;
	}
	op->next = NULL;
	*(w->tail ? &w->tail->next : &w->head) = op;
	w->tail = op;
	if (++w->queued > w->queued_max)
		w->queued_max = w->queued;
	pthread_cond_signal(&w->work);
	pthread_mutex_unlock(&w->lock);
	return 0;
}

bool workers_cancel(struct workers *w, struct op *op)
{
	struct op *prev = NULL, *o;

	pthread_mutex_lock(&w->lock);
	for (o = w->head; o && o != op; o = o->next)
		prev = o;
	if (o) {
		*(prev ? &prev->next : &w->head) = o->next;
		if (w->tail == o)
			w->tail = prev;
		w->queued--;
	}
	pthread_mutex_unlock(&w->lock);
	return o != NULL;
}

void workers_stats(struct workers *w, struct worker_stats *ret)
{
	pthread_mutex_lock(&w->lock);
	*ret = (struct worker_stats){ .done = w->done_count, .threads = w->threads, .busy = w->busy,
				      .queued = w->queued, .queued_max = w->queued_max };
	pthread_mutex_unlock(&w->lock);
}
