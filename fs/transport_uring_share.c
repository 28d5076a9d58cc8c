/* SPDX-License-Identifier: MIT */
/*
 * transport_uring_share.c - ring entries that go from thread to thread; see transport_uring.h.
 *
 * An entry is bound to a queue, not to a ring: its next request comes to the ring whose command sent its last answer
 * (fuse_uring_commit_fetch() in fs/fuse/dev_uring.c, Linux 6.14 to 6.18, remembers that command). So a thread that hands over an entry
 * with its answer shares its queue with another: the kernel takes the entry that was given back last, so the faster of
 * them gets more of the requests. When sharing ends, each entry goes home with the next answer that it brings. Until
 * then those at home, which are given back later, lie above it and are used first.
 *
 * Everything of an entry is its thread's: request, op, place in lists. On the way it is nobody's: it lies in the new
 * channel's list `given`, under that channel's lock, which also says whether somebody will look there. The sender's channel
 * has not ended, so its mount, and the other channel's memory, are there.
 */
#include "backend/util/delay.h"
#include "fs/request.h"
#include "fs/request_pool.h"
#include "fs/serve.h"
#include "fs/transport_uring.h"

/** Entries of others that a thread may have, in queue depths: so many ops of a ring are not needed for its own (main.c, make_backend()). */
#define GUEST_DEPTHS 2u
/** Entries for each thread that serves a queue: with fewer its batches are small. */
#define ENTRIES_EACH 16u

static struct uring_queue *own_queue(struct uring_channel *u, unsigned qid)
{
	for (unsigned n = 0; n < u->queues_count; n++)
		if (u->queues[n].qid == qid)
			return &u->queues[n];
	return NULL;
}

/** guest_queue() - what we keep of queue @qid, another thread's. There is room for all queues behind our own. */
static struct uring_queue *guest_queue(struct uring_channel *u, unsigned qid)
{
	struct uring_queue *q = u->queues + u->queues_count;

	for (unsigned n = 0; n < u->guests_count; n++, q++)
		if (q->qid == qid)
			return q;
	*q = (struct uring_queue){ .qid = (uint16_t)qid, .guest = true };
	u->guests_count++;
	return q;
}

/** leave() - @e is no longer this thread's. */
static void leave(struct uring_entry *e)
{
	if (!e->queue->guest)
		e->queue->lent++;
	uring_entry_uncount(e);
	ring_op_put(e->op);
	e->op = NULL;
	request_pool_leave(e->r);
}

/** join() - @e is this thread's. */
static void join(struct uring_channel *u, struct uring_entry *e, struct op *op)
{
	struct server_thread *t = u->channel->thread;
	struct uring_queue *q = own_queue(u, e->cmd.qid);

	if (q)
		q->lent--;
	else
		q = guest_queue(u, e->cmd.qid);
	q->entries++;
	e->uring = u;
	e->queue = q;
	e->op = op;
	e->next = u->entries;
	u->entries = e;
	request_pool_join(e->r, u->channel);
	if (e->home == t && e->home_buffers == t->buffers_version)
		e->r->buf_index = e->home_buf_index;
	stats_add(&t->uring_entries, 1);
}

/** has_room() - thread @t has an op for one more entry of another thread, which counts as its own from now on. */
static bool has_room(struct server_thread *t)
{
	unsigned most = GUEST_DEPTHS * t->server->opt.queue_depth;

	if (atomic_fetch_add_explicit(&t->share.guests, 1, memory_order_relaxed) < most)
		return true;
	atomic_fetch_sub_explicit(&t->share.guests, 1, memory_order_relaxed);
	return false;
}

/** give() - hand @e over to thread @index, which may use it at once. Return false: its channel is over, or it has too many. */
static bool give(struct uring_entry *e, unsigned index)
{
	struct server_thread *from = e->r->thread;
	struct channel *to = &e->uring->channel->mount->channels[from->server->threads_count + index];
	bool home = e->queue->guest, open;

	if (!home && !has_room(&from->server->threads[index]))
		return false;
	pthread_mutex_lock(&to->given_lock);
	open = !to->given_closed;
	if (open) {
		leave(e);
		e->next = atomic_load_explicit(&to->given, memory_order_relaxed);
		atomic_store(&to->given, e);
	}
	pthread_mutex_unlock(&to->given_lock);
	if (!open) {
		if (!home)
			atomic_fetch_sub_explicit(&from->server->threads[index].share.guests, 1, memory_order_relaxed);
		return false;
	}
	stats_add(&from->share.given, 1);
	delay_point();
	serve_look(from, index);
	return true;
}

/** fill() - more entries for a queue that is shared. */
static void fill(struct uring_channel *u, struct uring_queue *q)
{
	unsigned most = u->channel->thread->server->opt.queue_depth, want = placement_share_threads(u->channel->thread->server) * ENTRIES_EACH;

	if (u->refused)
		return;
	if (want > most)
		want = most;
	while (q->entries + q->lent < want && uring_entry_add(u, q) == 0)
		uring_entry_register(u->entries);
}

/** whither() - the thread that is to send the answer of @e and have the entry then; our own: stay. */
static unsigned whither(const struct uring_entry *e)
{
	struct server_thread *t = e->r->thread;
	const struct uring_queue *q = e->queue;

	if (q->pool || e->uring->channel->stopping)
		return t->index;
	if (q->guest)
		return placement_share_on(t->server) ? t->index : transport_uring_thread(t->server, q->qid);
	return placement_share_helper(t, q->entries, q->lent);
}

bool uring_share_end(struct uring_entry *e)
{
	if (whither(e) == e->r->thread->index)
		return false;
	e->moving = e->uring->moving;
	e->uring->moving = e;
	e->r->thread->share.moving = true;
	return true;
}

void uring_share_move(struct uring_channel *u)
{
	while (u->moving) {
		struct uring_entry *e = u->moving;
		unsigned index = whither(e);
		struct uring_queue *q = e->queue->guest ? NULL : e->queue;
		u->moving = e->moving;
		if (u->channel->ended)
			uring_entry_drop(e);
		else if (index == e->r->thread->index || !give(e, index))
			uring_entry_commit(e);
		else if (q && !u->channel->stopping)
			fill(u, q);
	}
}

bool uring_share_take(struct uring_channel *u)
{
	struct channel *c = u->channel;

	delay_point();
	while (atomic_load(&c->given)) {
		struct op *op = c->ended ? NULL : ring_op_get(c->thread->ring);
		struct uring_entry *e;
		if (!op && !c->ended)
			return true;
		pthread_mutex_lock(&c->given_lock);
		e = atomic_load_explicit(&c->given, memory_order_relaxed); /* only this thread takes away */
		atomic_store_explicit(&c->given, e->next, memory_order_relaxed);
		pthread_mutex_unlock(&c->given_lock);
		join(u, e, op);
		if (c->ended)
			uring_entry_drop(e);
		else
			uring_entry_commit(e);
	}
	return false;
}

bool uring_share_close(struct channel *c)
{
	if (!c->uring)
		return true; /* /dev/fuse */
	if (c->uring->moving)
		return false;
	pthread_mutex_lock(&c->given_lock);
	c->given_closed = c->given_closed || !atomic_load_explicit(&c->given, memory_order_relaxed);
	pthread_mutex_unlock(&c->given_lock);
	return !atomic_load(&c->given);
}
