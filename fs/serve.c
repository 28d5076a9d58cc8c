/* SPDX-License-Identifier: MIT */
#include "serve.h"

#include <errno.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "backend/util/delay.h"
#include "backend/util/log.h"
#include "fs/dir_cache.h"
#include "fs/request_pool.h"
#include "fs/server.h"
#include "fs/session.h"
#include "fs/transport.h"
#include "fs/transport_uring.h"

/**
 * channel_over() - the connection is over, or told to stop, and nothing of it is under way
 *
 * Commands that wait in the kernel cannot be called back while the connection lives: they end with the ring.
 */
static bool channel_over(struct channel *c)
{
	return ((c->ended && !c->held) || c->stopping) && !c->requests_live && !c->poll && uring_share_close(c);
}

static void channel_close(struct channel *c)
{
	uint64_t one = 1;

	c->transport->close(c);
	atomic_fetch_add(&c->mount->channels_ended, 1);
	if (write(c->thread->server->event_fd, &one, sizeof(one)) < 0)
		log_warning("cannot tell the main thread that a channel has ended: %s", strerror(errno));
}

/** serve_channels() - take requests from all; true: there may be more at once. */
static bool serve_channels(struct server_thread *t)
{
	struct channel **at = &t->channels;
	bool more = false, ending = false;

	t->share.moving = false; /* what is so far is handed over now; what one channel's poll answers for another that has had its turn is not */
	while (*at) {
		struct channel *c = *at;
		if (channel_over(c)) {
			*at = c->next;
			channel_close(c); /* main may free it from now on */
			continue;
		}
		more |= c->transport->poll(c) || channel_over(c);
		ending |= c->ended || c->stopping;
		at = &c->next;
	}
	more |= t->share.moving;
	/* nothing is served, or a connection is over: what is still to come, comes from other threads */
	ring_sleep_short(t->ring, ending || !t->channels);
	return more;
}

static int thread_setup(struct server_thread *t)
{
	const struct options *opt = &t->server->opt;
	unsigned payload = opt->max_write > REQUEST_PAYLOAD_MIN ? opt->max_write : REQUEST_PAYLOAD_MIN;
	int res = ring_create(t->server->backend, t->index, &t->ring);

	t->cpu = opt->pin ? sched_getcpu() : -1;
	placement_cpu_init(t);
	if (res == 0)
		res = request_pool_create(t, opt->queue_depth, payload);
	return res;
}

static void post_look(struct ring_post *p)
{
	struct server_thread *t = (struct server_thread *)(void *)((char *)p - offsetof(struct server_thread, look_post));

	atomic_store(&t->look_posted, false);
	delay_point();
	for (struct channel *c = t->channels; c; c = c->next)
		c->readable = true;
}

void serve_look(struct server_thread *from, unsigned index)
{
	struct server *srv = from->server;

	for (unsigned n = 0; n < srv->threads_count; n++) {
		struct server_thread *t = &srv->threads[n];
		if (t == from || (index != srv->threads_count && index != n) || atomic_exchange(&t->look_posted, true))
			continue;
		delay_point();
		t->look_post.fn = post_look;
		(void)ring_post(from->ring, t->ring, &t->look_post); /* refused: it is ending, and looks no more */
	}
}

static void *serve(void *arg)
{
	struct server_thread *t = arg;
	char name[16];
	int res;

	snprintf(name, sizeof(name), "uringfs-%u", t->index);
	(void)prctl(PR_SET_NAME, name); /* only a name */
	t->class.tid = gettid();
	t->start_error = thread_setup(t);
	sem_post(&t->started);
	while (!t->start_error && !(atomic_load(&t->quit) && !t->channels)) {
		bool more = serve_channels(t);
		delay_point();
		t->clock_ns = 0;
		res = ring_wait(t->ring, !more);
		placement_stream_turn(t);
		placement_cpu_turn(t);
		placement_share_turn(t);
		dir_cache_turn(t);
		placement_class_turn(t);
		if (res < 0 && res != -EINTR && res != -EAGAIN && res != -EBUSY) {
			/* without its ring this thread can answer nothing: better a dead mount than one that hangs */
			log_error("ring %u has failed: %s; ending", t->index, strerror(-res));
			_exit(1);
		}
	}
	if (t->ring) {
		dir_cache_end(t);
		ring_sleep_short(t->ring, true);
		while (ring_outstanding(t->ring) > t->uring_held && ring_wait(t->ring, true) >= 0)
			;
		ring_destroy(t->ring);
	}
	transport_uring_free(t); /* the kernel holds none any more */
	zero_copy_slots_free(t);
	request_pool_destroy(t);
	return NULL;
}

int serve_start(struct server *srv, char *err, size_t err_size)
{
	unsigned made = 0;
	int res = 0;

	placement_stream_start(srv);
	srv->threads = calloc(srv->threads_count, sizeof(*srv->threads));
	if (!srv->threads) {
		snprintf(err, err_size, "out of memory");
		return -ENOMEM;
	}
	for (unsigned n = 0; n < srv->threads_count && res == 0; n++) {
		struct server_thread *t = &srv->threads[n];
		*t = (struct server_thread){ .server = srv, .index = n };
		sem_init(&t->started, 0, 0);
		res = -pthread_create(&t->tid, NULL, serve, t);
		if (res == 0) {
			made++;
			while (sem_wait(&t->started) < 0)
				; /* EINTR */
			res = t->start_error;
		}
	}
	if (res < 0) {
		snprintf(err, err_size, "cannot set up ring %u: %s%s", made ? made - 1 : 0, strerror(-res),
			 res == -ENOMEM ? " (raise the memory lock limit, RLIMIT_MEMLOCK, or lower entries= and queue_depth=)" : "");
		srv->threads_count = made;
		serve_end(srv);
		return res;
	}
	if (placement_guard_start(srv) < 0)
		log_warning("no thread for watching scheduling classes can be made: they are left alone");
	return 0;
}

/** One call of serve_call() on one thread. */
struct thread_call {
	struct ring_post post;
	struct server_thread *thread;
	int (*fn)(struct server_thread *t, void *arg);
	void *arg;
	int res;
	sem_t *done;
};

static void post_call(struct ring_post *p)
{
	struct thread_call *call = (struct thread_call *)(void *)((char *)p - offsetof(struct thread_call, post));

	call->res = call->fn(call->thread, call->arg);
	sem_post(call->done); /* from now on it is main's */
}

int serve_call(struct server *srv, int (*fn)(struct server_thread *t, void *arg), void *arg)
{
	struct thread_call calls[BACKEND_RINGS_MAX];
	sem_t done;
	int res = 0;

	sem_init(&done, 0, 0);
	for (unsigned n = 0; n < srv->threads_count; n++) {
		calls[n] = (struct thread_call){ { .fn = post_call }, &srv->threads[n], fn, arg, 0, &done };
		(void)ring_post(NULL, srv->threads[n].ring, &calls[n].post); /* its ring lives until serve_end() */
	}
	for (unsigned n = 0; n < srv->threads_count; n++)
		while (sem_wait(&done) < 0)
			; /* EINTR */
	for (unsigned n = 0; n < srv->threads_count && res == 0; n++)
		res = calls[n].res;
	sem_destroy(&done);
	return res;
}

static void post_add(struct ring_post *p)
{
	struct channel *c = (struct channel *)((char *)p - offsetof(struct channel, post));

	c->next = c->thread->channels;
	c->thread->channels = c;
	c->readable = true; /* what came before the poll was armed */
}

static void channel_start(struct server *srv, unsigned index, struct channel *c)
{
	c->post.fn = post_add;
	(void)ring_post(NULL, srv->threads[index].ring, &c->post); /* its ring lives until serve_end() */
}

static void add_dev(struct server *srv, struct mount *m)
{
	bool reader = false;

	for (unsigned n = 0; n < srv->threads_count; n++) {
		struct channel *c = &m->channels[n];
		int res;
		*c = (struct channel){ .thread = &srv->threads[n], .mount = m, .transport = &transport_dev, .fd = -1 };
		res = c->transport->open(c);
		if (res < 0) {
			log_warning("thread %u cannot serve %s: %s", n, m->mountpoint, strerror(-res));
			atomic_fetch_add(&m->channels_ended, 1);
			m->dev_partly = true;
			continue;
		}
		if (!reader)
			m->dev_reader = n;
		reader = true;
	}
	for (unsigned n = 0; n < srv->threads_count; n++)
		if (m->channels[n].fd >= 0)
			channel_start(srv, n, &m->channels[n]);
}

int serve_open_uring(struct server *srv, struct mount *m)
{
	int res = 0;

	for (unsigned n = 0; m->uring && n < srv->threads_count && res == 0; n++)
		if (m->channels[srv->threads_count + n].uring)
			res = transport_uring.open(&m->channels[srv->threads_count + n]);
	return res;
}

int serve_add(struct server *srv, struct mount *m)
{
	int res;

	m->channels_count = srv->threads_count * (m->uring ? 2 : 1);
	res = serve_open_uring(srv, m);
	add_dev(srv, m);
	if (!m->uring)
		return 0;
	for (unsigned n = 0; n < srv->threads_count; n++) {
		struct channel *c = &m->channels[srv->threads_count + n];
		if (c->uring)
			channel_start(srv, n, c);
		else
			atomic_fetch_add(&m->channels_ended, 1); /* more threads than queues */
	}
	if (res == 0)
		res = transport_uring_register(m);
	if (res < 0)
		(void)session_abort(m); /* else it ends with the daemon: the caller says so */
	return res;
}

static void post_stop(struct ring_post *p)
{
	struct channel *c = (struct channel *)((char *)p - offsetof(struct channel, stop_post));

	if (c->fd >= 0 || c->uring)
		c->transport->stop(c);
}

void serve_stop(struct server *srv, struct mount *m)
{
	for (unsigned n = 0; n < m->channels_count; n++) {
		struct channel *c = &m->channels[n];
		if (c->stop_posted || !c->thread)
			continue;
		c->stop_posted = true;
		c->stop_post.fn = post_stop;
		(void)ring_post(NULL, c->thread->ring, &c->stop_post); /* as above */
	}
}

static void post_wake(struct ring_post *p)
{
	(void)p; /* to look at quit */
}

void serve_end(struct server *srv)
{
	placement_guard_stop(srv);
	for (unsigned n = 0; n < srv->threads_count; n++) {
		struct server_thread *t = &srv->threads[n];
		struct ring_post wake = { .fn = post_wake };
		atomic_store(&t->quit, true);
		if (!t->start_error)
			(void)ring_post(NULL, t->ring, &wake); /* refused: it is already ending */
		pthread_join(t->tid, NULL);
	}
	free(srv->threads);
	srv->threads = NULL;
}
