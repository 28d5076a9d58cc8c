/* SPDX-License-Identifier: MIT */
/* flush.c - see flush.h. */
#include "flush.h"

#include <errno.h>
#include <stddef.h>

#include "ring.h"

void flusher_init(struct flusher *f, const struct nvme_target *target)
{
	*f = (struct flusher){ .target = *target };
	f->waiting_end = &f->waiting;
	pthread_mutex_init(&f->lock, NULL);
}

void flusher_fini(struct flusher *f)
{
	pthread_mutex_destroy(&f->lock);
}

uint64_t flusher_generation(const struct flusher *f)
{
	return atomic_load(&f->errors) + atomic_load(&f->resets);
}

void flusher_reset(struct flusher *f)
{
	atomic_fetch_add(&f->resets, 1);
}

static void send_next(struct flusher *f, struct ring *r);

static void answer_posted(struct ring_post *p)
{
	struct flush_ticket *t = (struct flush_ticket *)(void *)((char *)p - offsetof(struct flush_ticket, post));

	t->done(t);
}

/** answer() - to all of a list; the tickets may be gone afterwards. */
static void answer(struct ring *r, struct flush_ticket *list, int res)
{
	while (list) {
		struct flush_ticket *t = list;

		list = t->next;
		t->res = res;
		t->post.fn = answer_posted;
		if (t->ring == r)
			t->done(t);
		else
			(void)ring_post(r, t->ring, &t->post); /* its ring lives: a request of it waits */
	}
}

/**
 * note() - what the end of a FLUSH says of the device, before anybody is answered: no proof outlives an error
 *
 * Return: the tickets' result. No memory, and no path of a multipath head (drivers/nvme/host/ioctl.c, nvme_ns_head_chr_uring_cmd()
 * and nvme_ns_head_chr_ioctl(): EINVAL, EWOULDBLOCK): no command was sent, and nobody's data is in doubt.
 */
static int note(struct flusher *f, int res)
{
	if (res == -ENOMEM || res == -EINVAL || res == -EAGAIN)
		return -EAGAIN;
	if (res < 0)
		atomic_fetch_add(&f->errors, 1);
	f->in_a_row = res < 0 ? f->in_a_row + 1 : 0;
	if (res == -ENODEV || res == -ENXIO || f->in_a_row >= FLUSH_FAILURES_MAX)
		atomic_store(&f->gone, true);
	return res;
}

/** ended() - the FLUSH under way has: the next one first, then the answers. */
static void ended(struct flusher *f, struct ring *r, int res)
{
	struct flush_ticket *list;
	bool more;

	res = note(f, res);
	pthread_mutex_lock(&f->lock);
	list = f->flying;
	f->flying = NULL;
	more = f->waiting != NULL;
	f->busy = more;
	pthread_mutex_unlock(&f->lock);
	if (more)
		send_next(f, r);
	answer(r, list, res);
}

static void flushed(struct op *op)
{
	struct flusher *f = op->owner;
	unsigned status;
	int res = nvme_cmd_result(op, &status);

	if (status)
		atomic_store(&f->last_status, status);
	histogram_add(&f->latency, stats_now_ns() - f->sent_ns);
	ended(f, op->ring, res);
}

/** send_next() - a FLUSH for all that wait. `busy` is set: nobody else sends. */
static void send_next(struct flusher *f, struct ring *r)
{
	uint64_t count = 0;
	int res;

	pthread_mutex_lock(&f->lock);
	f->flying = f->waiting;
	f->waiting = NULL;
	f->waiting_end = &f->waiting;
	for (const struct flush_ticket *t = f->flying; t; t = t->next)
		count++;
	pthread_mutex_unlock(&f->lock);
	f->sent_ns = stats_now_ns();
	res = nvme_cmd_send_flush(r, &f->target, flushed, f);
	if (res < 0) {
		ended(f, r, res);
		return;
	}
	atomic_fetch_add(&f->sent, 1);
	atomic_fetch_add(&f->tickets, count);
	if (count > stats_get(&f->tickets_max))
		atomic_store(&f->tickets_max, count);
}

void flush_request(struct flusher *f, struct flush_ticket *t)
{
	bool send;

	t->next = NULL;
	pthread_mutex_lock(&f->lock);
	*f->waiting_end = t;
	f->waiting_end = &t->next;
	send = !f->busy;
	f->busy = true;
	pthread_mutex_unlock(&f->lock);
	if (send)
		send_next(f, t->ring);
}
