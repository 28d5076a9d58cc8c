/* SPDX-License-Identifier: MIT */
/*
 * transport_dev.c - requests by read(2) from /dev/fuse, replies by writev(2).
 *
 * Each serving thread has a clone of the connection's descriptor
 * (FUSE_DEV_IOC_CLONE, kernel 4.2), non-blocking, and a poll of it in its ring:
 * so one io_uring_enter waits for requests and for backing completions. The
 * poll is exclusive: one request wakes one thread.
 *
 * A READ of /dev/fuse in the ring would be one system call less, but the device
 * knows no non-blocking attempt (no FMODE_NOWAIT): when another thread takes the
 * request first, the read waits inside the ring's task work, and the completions
 * behind it with it.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "backend/util/delay.h"
#include "fs/libfuse_io.h"
#include "fs/placement.h"
#include "fs/request.h"
#include "fs/request_pool.h"
#include "fs/serve.h"
#include "fs/session.h"
#include "fs/transport.h"

#define BATCH_MAX 16u  /* requests read in one go */
#define LAZY_MAX 8u    /* single requests between two looks for a second one */

static void poll_fired(struct op *op)
{
	struct channel *c = op->owner;

	c->poll = NULL;
	if (op->res != -ECANCELED)
		c->readable = true; /* also after an error: read(2) then says which */
}

/**
 * waits() - whether this thread is to wait for what comes by /dev/fuse
 *
 * Beside FUSE-over-io_uring only FORGETs and INTERRUPTs do, which nobody waits for: one thread is enough.
 */
static bool waits(const struct channel *c)
{
	if (c->mount->uring)
		return c->thread->index == c->mount->dev_reader;
	if (c->mount->dev_partly) /* the leader may be one that does not serve it */
		return true;
	return placement_waits(c->mount->server->placement, c->thread->index);
}

static void arm_poll(struct channel *c)
{
	struct op *op;

	if (c->poll || !waits(c))
		return;
	op = ring_op_get(c->thread->ring);
	if (!op) {
		c->readable = true; /* no op to wait with: look again after the next completion */
		return;
	}
	op->kind = OP_POLL;
	op->flags = OPF_ONCE;
	op->fd = c->fd;
	op->arg = POLLIN | EPOLLEXCLUSIVE;
	op->done = poll_fired;
	op->owner = c;
	c->poll = op;
	ring_submit(op);
}

/** placed() - a request has been taken: who waits for the next one? */
static void placed(struct channel *c, const void *msg, bool together)
{
	const struct fuse_in_header *in = msg;
	struct server *srv = c->mount->server;
	int thread = placement_taken(srv, c->thread->index, (pid_t)in->pid, together);

	if (thread >= 0)
		serve_look(c->thread, (unsigned)thread);
}

/** take() - one request; @together: not the first in this go. Return 1, 0 none there, -ENOBUFS no buffer free, -ENODEV the connection is over. */
static int take(struct channel *c, bool together)
{
	struct request *r = request_pool_get(c);
	size_t prefix = REQUEST_WRITE_PREFIX;
	char *at;
	ssize_t len;

	if (!r)
		return -ENOBUFS;
	at = (char *)r->payload - prefix;
	do {
		len = read(c->fd, at, prefix + r->payload_size);
	} while (len < 0 && (errno == EINTR || errno == ENOENT)); /* ENOENT: interrupted before we had it */
	if (len <= 0) { /* 0: not from the kernel; but whoever is there will say no more */
		int e = len < 0 ? errno : ENODEV;
		request_pool_put(r);
		return e == EAGAIN ? 0 : -ENODEV;
	}
	if ((size_t)len < sizeof(struct fuse_in_header) || ((struct fuse_in_header *)(void *)at)->len != (uint32_t)len) {
		request_pool_put(r); /* no header, so nobody to answer to */
		stats_add(&c->thread->stats.bad_requests, 1);
		return 1;
	}
	if (!c->mount->uring)
		placed(c, at, together);
	/* arguments give way to the reply, but for data to write, which lies aligned where it is */
	r->payload_free = ((struct fuse_in_header *)(void *)at)->opcode != FUSE_WRITE && (size_t)len <= REQUEST_ARGS_SIZE;
	if (r->payload_free)
		at = memcpy(r->args_buf, at, (size_t)len);
	request_receive(r, at, (size_t)len);
	return 1;
}

static void connection_over(struct channel *c)
{
	c->ended = true;
	c->readable = false;
	/* those that do not wait for requests would never hear of it */
	serve_look(c->thread, c->mount->server->threads_count);
}

static void canceled(struct op *op)
{
	(void)op; /* the poll's own completion tells */
}

/** cancel_poll() - else the channel would end with the connection only. */
static void cancel_poll(struct channel *c)
{
	struct op *op = ring_op_get(c->thread->ring);

	if (!op)
		return; /* in a later turn: those that are in use come back */
	c->poll_canceled = true;
	op->kind = OP_CANCEL;
	op->buf = c->poll;
	op->done = canceled;
	ring_submit(op);
}

static bool dev_poll(struct channel *c)
{
	unsigned n;
	int res = 1;

	if (c->stopping && c->poll && !c->poll_canceled)
		cancel_poll(c);
	if (c->ended || c->stopping)
		return false;
	if (!c->readable) {
		arm_poll(c);
		return false;
	}
	/*
	 * With one caller at a time the second read would always find nothing: so look for a second
	 * request only now and then, and as long as there is one.
	 */
	for (n = 0; n < BATCH_MAX && res == 1; n++) {
		/* who will not wait again reads until nothing is left: one wake-up may have stood for two requests */
		if (n == 1 && !c->eager && ++c->lazy < LAZY_MAX && waits(c))
			break;
		res = take(c, n > 0);
	}
	if (res == -ENODEV) {
		connection_over(c);
		return false;
	}
	if (res == -ENOBUFS)
		return false; /* still readable; a completion will free a buffer */
	if (n > 1)
		c->lazy = 0;
	c->eager = n > 2 || (n == 2 && res == 1);
	if (res == 1 && n == BATCH_MAX)
		return true;
	c->readable = false;
	delay_point();
	arm_poll(c);
	delay_point();
	if (res == 1 && !c->poll)
		c->readable = true; /* the leader has changed under our feet: look once more */
	return c->readable;
}

static void dev_end(struct request *r)
{
	if (!r->mount->uring)
		placement_ended(r->mount->server->placement);
	request_pool_put(r);
}

static bool dev_may_wait(struct request *r)
{
	(void)r; /* the pool grows for those who wait: request_pool.h */
	return true;
}

static int dev_reply(struct request *r, const struct iovec *iov, int iov_count)
{
	ssize_t res;

	do {
		res = libfuse_io_writev(r->channel->fd, iov, iov_count);
	} while (res < 0 && errno == EINTR);
	return res < 0 ? -errno : 0;
}

static int dev_open(struct channel *c)
{
	uint32_t source = (uint32_t)session_fd(c->mount);
	int flags;

	if (!(c->mount->server->deny & SESSION_DENY_CLONE)) {
		c->fd = open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK);
		if (c->fd >= 0 && ioctl(c->fd, FUSE_DEV_IOC_CLONE, &source) == 0)
			return 0;
		if (c->fd >= 0)
			(void)close(c->fd); /* it was never connected */
	}
	/* without clones all threads share one descriptor */
	c->fd = fcntl((int)source, F_DUPFD_CLOEXEC, 0);
	if (c->fd < 0)
		return -errno;
	flags = fcntl(c->fd, F_GETFL);
	return flags < 0 || fcntl(c->fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -errno : 0;
}

static void dev_stop(struct channel *c)
{
	c->stopping = true; /* dev_poll() sees to the rest, also where there is no op for it now */
}

static void dev_close(struct channel *c)
{
	if (c->fd >= 0)
		(void)close(c->fd); /* all replies have been written */
	c->fd = -1;
}

const struct transport transport_dev = {
	.name = "dev",
	.open = dev_open,
	.poll = dev_poll,
	.reply = dev_reply,
	.end = dev_end,
	.may_wait = dev_may_wait,
	.stop = dev_stop,
	.close = dev_close,
};
