/* SPDX-License-Identifier: MIT */
/*
 * placement_guard.c - the thread that watches those of class SCHED_IDLE; see placement_class.h.
 *
 * It holds no lock and makes no call that waits for a serving thread. What it
 * sees of a thread it reads from the memory that ring and kernel share; only
 * every eighth look reads schedstat.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "backend/util/delay.h"
#include "fs/placement_class.h"
#include "fs/serve.h"
#include "fs/server.h"
#include "fs/session.h"

#define LOOK_EVERY_NS 2000000
#define LOOKS_OTHERS 16u  /* all threads of the process are looked at at least that often */
#define ABOUT_TO_NS 10000000000ull /* between two steps of a thread; then somebody else has changed its class */
#define GUARD_NICE (-15)  /* where it is permitted: it has to come in time */

struct place_guard {
	struct server *srv;
	pthread_t thread;
	sem_t ready, wanted;
	_Atomic bool awake;  /* looks, or has been told to */
	_Atomic bool stop;
	const char *why;     /* constant once ready */
	nlink_t tasks_seen;  /* links of /proc/self/task: one for each thread, and two (proc(5)) */
};

/* ---- changing classes ---------------------------------------------------------------- */

/** make_normal() - what is of class SCHED_IDLE becomes SCHED_OTHER. */
static void make_normal(pid_t tid)
{
	const struct sched_param none = { 0 };

	if (sched_getscheduler(tid) == SCHED_IDLE)
		(void)sched_setscheduler(tid, SCHED_OTHER, &none); /* ESRCH: it has ended; the right to do it was tried at the start */
}

static void end_idle(struct server_thread *t, uint64_t now, enum class_verdict reason)
{
	struct place_class *c = &t->class;
	bool was = atomic_exchange(&c->idle, false);
	uint64_t stayed = now - atomic_load(&c->since_ns);

	if (reason == CLASS_STARVED || reason == CLASS_CONTENDED) {
		c->pause_ns = placement_class_pause(c->pause_ns, stayed);
		if (atomic_load(&c->not_before_ns) != UINT64_MAX)
			atomic_store(&c->not_before_ns, now + c->pause_ns);
	}
	make_normal(c->tid);
	c->watch.watched = false;
	if (was)
		atomic_fetch_add(&c->idle_ns, stayed);
	stats_add(&c->ended[reason], 1);
}

static bool is_serving(const struct server *srv, pid_t tid)
{
	for (unsigned n = 0; n < srv->threads_count; n++)
		if (srv->threads[n].class.tid == tid)
			return true;
	return false;
}

/** others() - threads that have inherited the class from the one that made them: workers, of the kernel and ours. */
static void others(const struct server *srv)
{
	DIR *dir = opendir("/proc/self/task");
	const struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		pid_t tid = atoi(entry->d_name);
		if (tid > 0 && !is_serving(srv, tid))
			make_normal(tid);
	}
	if (dir)
		(void)closedir(dir); /* read only */
}

static void look_at_others(struct place_guard *g, unsigned look)
{
	struct stat st;

	if (look % LOOKS_OTHERS && stat("/proc/self/task", &st) == 0 && st.st_nlink == g->tasks_seen)
		return;
	g->tasks_seen = stat("/proc/self/task", &st) == 0 ? st.st_nlink : 0;
	others(g->srv);
}

/* ---- looking ------------------------------------------------------------------------------ */

bool placement_class_schedstat(const struct place_class *c, struct class_sample *s)
{
	char buf[96];
	unsigned long long run, delay, slices;
	ssize_t len = pread(c->schedstat_fd, buf, sizeof(buf) - 1, 0);

	if (len <= 0)
		return false;
	buf[len] = 0;
	if (sscanf(buf, "%llu %llu %llu", &run, &delay, &slices) != 3)
		return false;
	s->run_ns = run;
	s->delay_ns = delay;
	s->slices = slices;
	return true;
}

/** runnable() - state R: the third field of proc(5) stat, behind a name that may hold anything. */
static bool runnable(const struct place_class *c)
{
	char buf[256], *at;
	ssize_t len = pread(c->stat_fd, buf, sizeof(buf) - 1, 0);

	buf[len > 0 ? len : 0] = 0;
	at = strrchr(buf, ')');
	return at && at[1] == ' ' && at[2] == 'R';
}

static void look(struct server_thread *t, uint64_t now)
{
	struct place_class *c = &t->class;
	struct class_sample s = { .now_ns = now, .turns = stats_get(&c->turns), .has_work = ring_has_work(t->ring) };
	enum class_verdict verdict;

	/* became normal and idle-class again between two looks: from the beginning */
	if (c->watch.watched && c->watch.began_ns < atomic_load(&c->since_ns))
		c->watch.watched = false;
	if (placement_class_measures(&c->watch, &s)) {
		s.runnable = runnable(c);
		if (!placement_class_schedstat(c, &s)) /* it could be read at the start */
			s.delay_ns = UINT64_MAX / 2; /* and now nothing is known: take it for contended */
	}
	verdict = placement_class_look(&c->watch, &s);
	/* while it is only about to change its class it is not ended, or the change would come after the end */
	if (verdict != CLASS_STAY && (sched_getscheduler(c->tid) == SCHED_IDLE || now - atomic_load(&c->since_ns) > ABOUT_TO_NS))
		end_idle(t, now, verdict);
}

/** look_at_all() - Return: whether any thread is idle-class. */
static bool look_at_all(const struct server *srv, uint64_t now)
{
	bool any = false;

	for (unsigned n = 0; n < srv->threads_count; n++) {
		struct server_thread *t = &srv->threads[n];
		if (atomic_load(&t->class.idle)) {
			look(t, now);
			any |= atomic_load(&t->class.idle);
		} else {
			t->class.watch.watched = false;
		}
	}
	return any;
}

/** watch() - until no thread is idle-class any more. */
static void watch(struct place_guard *g)
{
	const struct timespec pause = { .tv_nsec = LOOK_EVERY_NS };
	unsigned calm = 0;

	/* a few looks longer than needed: what is about to become idle-class is seen, and what it has made */
	for (unsigned n = 0; calm < 2 * LOOKS_OTHERS; n++) {
		(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL); /* interrupted: a look too early */
		if (atomic_load(&g->stop))
			return;
		calm = look_at_all(g->srv, stats_now_ns()) ? 0 : calm + 1;
		look_at_others(g, n);
	}
}

/* ---- the thread ----------------------------------------------------------------------------- */

/** permitted() - the way to SCHED_IDLE and back, tried by the guard on itself. Return: NULL, or why not. */
static const char *permitted(struct server *srv)
{
	const struct sched_param none = { 0 };

	if (srv->deny & SESSION_DENY_IDLE_CLASS)
		return "denied by option";
	if (!srv->opt.pin)
		return "nopin: serving threads have no CPU of their own";
	if (sched_getscheduler(0) != SCHED_OTHER)
		return "started in a scheduling class of its own";
	for (unsigned n = 0; n < srv->threads_count; n++) {
		if (!ring_tells_work(srv->threads[n].ring))
			return "needs IORING_SETUP_TASKRUN_FLAG (Linux 5.19, no sqpoll)";
		if (!srv->threads[n].class.figures)
			return "/proc/self/task/TID/schedstat cannot be read";
	}
	if (sched_setscheduler(0, SCHED_IDLE, &none) < 0)
		return "SCHED_IDLE is not permitted";
	if (sched_setscheduler(0, SCHED_OTHER, &none) < 0)
		return "no way back from SCHED_IDLE (CAP_SYS_NICE, or RLIMIT_NICE 20)";
	return NULL;
}

static void *guard(void *arg)
{
	struct place_guard *g = arg;

	(void)prctl(PR_SET_NAME, "uringfs-guard"); /* only a name */
	g->why = permitted(g->srv);
	sem_post(&g->ready);
	if (g->why)
		return NULL;
	(void)setpriority(PRIO_PROCESS, (id_t)gettid(), GUARD_NICE); /* without the right to it it comes a little later */
	while (!atomic_load(&g->stop)) {
		while (sem_wait(&g->wanted) < 0)
			; /* EINTR */
		do {
			watch(g);
			delay_point();
			atomic_store(&g->awake, false);
			delay_point();
			/* who set idle before this has not woken us; who does so now finds us asleep, and does */
		} while (!atomic_load(&g->stop) && look_at_all(g->srv, stats_now_ns()) && !atomic_exchange(&g->awake, true));
	}
	return NULL;
}

bool placement_guard_wake(struct place_guard *g)
{
	if (!g || g->why || atomic_load(&g->stop))
		return false;
	if (!atomic_exchange(&g->awake, true))
		sem_post(&g->wanted);
	return true;
}

const char *placement_guard_why(const struct server *srv)
{
	if (!srv->guard)
		return "no thread can be made to watch them";
	return srv->guard->why ? srv->guard->why : "";
}

/** open_figures() - what the guard reads of each thread. */
static void open_figures(struct server *srv)
{
	for (unsigned n = 0; n < srv->threads_count; n++) {
		struct place_class *c = &srv->threads[n].class;
		struct class_sample s;
		char path[64];

		snprintf(path, sizeof(path), "/proc/self/task/%d/stat", c->tid);
		c->stat_fd = open(path, O_RDONLY | O_CLOEXEC);
		snprintf(path, sizeof(path), "/proc/self/task/%d/schedstat", c->tid);
		c->schedstat_fd = open(path, O_RDONLY | O_CLOEXEC);
		c->figures = c->stat_fd >= 0 && c->schedstat_fd >= 0 && placement_class_schedstat(c, &s);
	}
}

int placement_guard_start(struct server *srv)
{
	struct place_guard *g = calloc(1, sizeof(*g));
	int res;

	if (!g)
		return -ENOMEM;
	g->srv = srv;
	sem_init(&g->ready, 0, 0);
	sem_init(&g->wanted, 0, 0);
	open_figures(srv);
	res = -pthread_create(&g->thread, NULL, guard, g);
	if (res < 0) {
		free(g);
		return res;
	}
	while (sem_wait(&g->ready) < 0)
		; /* EINTR */
	srv->guard = g;
	return 0;
}

static int end_class(struct server_thread *t, void *arg)
{
	(void)arg;
	placement_class_end(t);
	return 0;
}

void placement_guard_stop(struct server *srv)
{
	struct place_guard *g = srv->guard;

	if (!g)
		return;
	/* while the guard still watches: they may be waiting for a CPU */
	(void)serve_call(srv, end_class, NULL); /* cannot fail */
	atomic_store(&g->stop, true);
	sem_post(&g->wanted);
	pthread_join(g->thread, NULL);
	if (!g->why)
		others(srv);
	for (unsigned n = 0; n < srv->threads_count; n++) {
		struct place_class *c = &srv->threads[n].class;
		if (c->stat_fd >= 0)
			(void)close(c->stat_fd); /* read only */
		if (c->schedstat_fd >= 0)
			(void)close(c->schedstat_fd);
	}
	sem_destroy(&g->ready);
	sem_destroy(&g->wanted);
	free(g);
	srv->guard = NULL;
}
