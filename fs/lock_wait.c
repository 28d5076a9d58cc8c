/* SPDX-License-Identifier: MIT */
/*
 * lock_wait.c - who waits for a lock: parking, waking, deadlocks; see lock.h.
 *
 * A parked request has a timeout under way in its ring. Who gives a lock back
 * posts to the thread of each waiter for that file, which cancels the timeout:
 * so the request's next step always is the timeout's completion, on its thread.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/util/delay.h"
#include "fs/lock_table.h"

#define WAIT_FIRST_NS 1000000u
#define WAIT_LONGEST_NS 10000000u
/* a lock that a thread of the holder's process takes meanwhile can close a circle, too: look again now and then */
#define DEADLOCK_LOOK_TRIES 16u
/* bound of one search; a circle that is not found is waited in, as without deadlock detection */
#define DEADLOCK_STEPS_MAX 2048u
#define OFD_SETLKW_CMD 38u /* F_OFD_SETLKW on every architecture (asm-generic/fcntl.h) */

/* ---- deadlocks ----------------------------------------------------------------------- */

bool lock_owner_conflicts(const struct lock_owner *o, const struct flock *fl)
{
	char path[64], line[256];
	long long start, end, fl_end = fl->l_len ? fl->l_start + fl->l_len - 1 : INT64_MAX;
	bool found = false;
	FILE *f;

	if (!o->holding)
		return false;
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", o->fd);
	f = fopen(path, "re");
	if (!f)
		return false;
	while (!found && fgets(line, sizeof(line), f)) {
		char *last = strrchr(line, ' ');
		if (strncmp(line, "lock:", 5) || !last || !strstr(line, "OFDLCK"))
			continue;
		if (fl->l_type != F_WRLCK && !strstr(line, " WRITE"))
			continue;
		end = strncmp(last + 1, "EOF", 3) ? strtoll(last + 1, NULL, 10) : INT64_MAX;
		*last = 0;
		last = strrchr(line, ' ');
		start = last ? strtoll(last + 1, NULL, 10) : 0;
		found = start <= fl_end && end >= fl->l_start;
	}
	(void)fclose(f); /* read only */
	return found;
}

/**
 * call_of() - POSIX lock or OFD lock: FUSE does not tell, the caller's system call does (proc(5), /proc/PID/syscall)
 * Return: UNKNOWN while the caller still runs; POSIX where the file cannot be read.
 */
static enum lock_call call_of(struct lock_wait *w)
{
	char path[64], line[128] = "";
	unsigned long long fd, cmd;
	FILE *f;

	if (w->call != LOCK_CALL_UNKNOWN)
		return w->call;
	snprintf(path, sizeof(path), "/proc/%d/syscall", (int)w->tid);
	f = w->tid > 0 ? fopen(path, "re") : NULL;
	if (f && !fgets(line, sizeof(line), f))
		line[0] = 0;
	if (f)
		(void)fclose(f); /* read only */
	if (!strncmp(line, "running", 7))
		return LOCK_CALL_UNKNOWN;
	w->call = sscanf(line, "%*d %llx %llx", &fd, &cmd) == 2 && cmd == OFD_SETLKW_CMD ? LOCK_CALL_OTHER : LOCK_CALL_POSIX;
	return w->call;
}

/** blocks() - whether the owner of wait @x holds what @w waits for. Lock held. */
static bool blocks(const struct lock_table *t, const struct lock_wait *x, const struct lock_wait *w)
{
	for (const struct lock_owner *o = t->owners; o; o = o->next)
		if (o->owner == x->owner && o->inode == w->inode)
			return lock_owner_conflicts(o, &w->fl);
	return false;
}

/**
 * deadlock() - whether @start waits for somebody who waits, directly or not, for its owner. Lock held; @start is in the list.
 * @ret_again: not decided, some caller had not gone to sleep yet
 */
static bool deadlock(struct lock_table *t, struct lock_wait *start, bool *ret_again)
{
	unsigned steps = 0;
	struct lock_wait *w, *x;

	*ret_again = false;
	for (w = t->waits; w; w = w->next)
		w->reached = w->done = false;
	start->reached = true;
	for (;;) {
		for (w = t->waits; w && (!w->reached || w->done); w = w->next)
			;
		if (!w)
			return false;
		w->done = true;
		for (x = t->waits; x; x = x->next) {
			if (!x->record || x->owner == w->owner || (x->reached && x->owner != start->owner) || !blocks(t, x, w))
				continue;
			if (++steps > DEADLOCK_STEPS_MAX)
				return false;
			*ret_again = *ret_again || call_of(x) == LOCK_CALL_UNKNOWN || call_of(start) == LOCK_CALL_UNKNOWN;
			if (call_of(x) != LOCK_CALL_POSIX || call_of(start) != LOCK_CALL_POSIX)
				continue;
			if (x->owner == start->owner)
				return true;
			x->reached = true;
		}
	}
}

/* ---- parking --------------------------------------------------------------------------- */

/** leave() - out of the list. Lock held. */
static void leave(struct lock_table *t, struct lock_wait *w)
{
	struct lock_wait **at = &t->waits;

	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
}

/** unpark() - the timeout has ended, no wake is under way, and none can come: it is out of the list. */
static void unpark(struct lock_wait *w)
{
	struct request *r = w->request;

	r->thread->parked--;
	w->over(r, w->interrupted);
}

static void timed_out(struct op *op)
{
	struct lock_wait *w = op->owner;
	struct lock_table *t = w->request->mount->locks;
	bool posted;

	w->timeout = NULL;
	pthread_mutex_lock(&t->lock);
	posted = w->posted;
	w->timed_out = posted;
	if (!posted) /* in one with the look: else somebody may post between, and the request be gone when that is run */
		leave(t, w);
	pthread_mutex_unlock(&t->lock);
	delay_point();
	if (!posted)
		unpark(w);
}

static void cancelled(struct op *op)
{
	(void)op; /* what was cancelled completes by itself, also when it was over already */
}

/** woken() - on the waiter's thread. */
static void woken(struct ring_post *p)
{
	struct lock_wait *w = (struct lock_wait *)(void *)((char *)p - offsetof(struct lock_wait, wake));
	struct lock_table *t = w->request->mount->locks;
	struct op *op;
	bool ended;

	pthread_mutex_lock(&t->lock);
	w->posted = false;
	ended = w->timed_out;
	if (ended) /* as in timed_out() */
		leave(t, w);
	pthread_mutex_unlock(&t->lock);
	delay_point();
	if (ended) {
		unpark(w);
		return;
	}
	op = ring_op_get(w->request->thread->ring);
	if (!op)
		return; /* the timeout is at most 10 ms away */
	op->kind = OP_CANCEL;
	op->buf = w->timeout;
	op->done = cancelled;
	ring_submit(op);
}

/** post() - have @w look again. Lock held. */
static void post(struct server_thread *from, struct lock_wait *w)
{
	if (w->posted)
		return;
	w->wake.fn = woken;
	w->posted = true;
	if (ring_post(from->ring, w->request->thread->ring, &w->wake) < 0)
		w->posted = false; /* its ring has ended */
}

void lock_wake(struct server_thread *from, struct mount *m, const struct inode *i)
{
	struct lock_table *t = m->locks;

	if (!t)
		return;
	pthread_mutex_lock(&t->lock);
	for (struct lock_wait *w = t->waits; w; w = w->next)
		if (w->inode == i)
			post(from, w);
	pthread_mutex_unlock(&t->lock);
}

static bool recently_interrupted(const struct lock_table *t, uint64_t unique)
{
	for (unsigned n = 0; n < RECENT_INTERRUPTS; n++)
		if (t->recent[n] == unique)
			return true;
	return false;
}

int lock_wait_park(struct request *r, struct lock_wait *w)
{
	struct lock_table *t = r->mount->locks;
	struct op *op = ring_op_get(r->thread->ring);
	struct lock_wait **last;
	bool again = false, dead = false;

	if (!op)
		return -ENOLCK;
	w->wait_ns = w->wait_ns ? w->wait_ns * 2 : WAIT_FIRST_NS;
	if (w->wait_ns > WAIT_LONGEST_NS)
		w->wait_ns = WAIT_LONGEST_NS;
	pthread_mutex_lock(&t->lock);
	w->next = NULL;
	w->timed_out = false;
	w->interrupted = recently_interrupted(t, w->unique);
	for (last = &t->waits; *last; last = &(*last)->next) /* at the end: who came first is woken first */
		;
	*last = w;
	if (w->record && w->tries % DEADLOCK_LOOK_TRIES == 0)
		dead = deadlock(t, w, &again);
	if (dead)
		leave(t, w);
	pthread_mutex_unlock(&t->lock);
	if (dead) {
		ring_op_put(op);
		return -EDEADLK;
	}
	w->tries = again ? 0 : w->tries + 1;
	r->thread->parked++;
	w->timeout = op;
	op->kind = OP_TIMEOUT;
	op->off = w->wait_ns;
	op->owner = w;
	op->done = timed_out;
	ring_submit(op);
	return 0;
}

void lock_wait_interrupt(struct server_thread *t, struct lock_table *table, uint64_t unique)
{
	struct lock_wait *w;

	pthread_mutex_lock(&table->lock);
	for (w = table->waits; w && w->unique != unique; w = w->next)
		;
	if (w) {
		w->interrupted = true;
		post(t, w);
	} else {
		table->recent[table->recent_at++ % RECENT_INTERRUPTS] = unique;
	}
	pthread_mutex_unlock(&table->lock);
}
