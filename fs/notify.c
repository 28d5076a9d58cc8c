/* SPDX-License-Identifier: MIT */
#include "notify.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/uio.h>

#include "backend/util/delay.h"
#include "fs/libfuse_io.h"
#include "fs/lock.h"
#include "fs/request.h"
#include "fs/session.h"
#include "fs/transport.h"

struct notifier {
	pthread_t tid;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct notification *first, **last;
	const struct mount *now; /* whose pages are being dropped; NULL: nobody's */
	bool quit;
};

/** send_inval() - FUSE_NOTIFY_INVAL_INODE; @off negative: attributes only. */
static void send_inval(const struct mount *m, uint64_t nodeid, int64_t off, int64_t len)
{
	struct fuse_notify_inval_inode_out body = { .ino = nodeid, .off = off, .len = len };
	struct fuse_out_header head = { .len = sizeof(head) + sizeof(body), .error = FUSE_NOTIFY_INVAL_INODE };
	struct iovec iov[2] = { { &head, sizeof(head) }, { &body, sizeof(body) } };
	ssize_t res;

	do {
		res = libfuse_io_writev(session_fd(m), iov, 2);
	} while (res < 0 && errno == EINTR);
	/* ENOENT: the kernel has forgotten the inode, and its pages with it */
}

void notify_attributes(struct mount *m, uint64_t nodeid)
{
	send_inval(m, nodeid, -1, 0);
}

/* ---- pages ------------------------------------------------------------------------- */

static struct notification *next_notification(struct notifier *n)
{
	struct notification *item;

	pthread_mutex_lock(&n->lock);
	n->now = NULL;
	while (!n->first && !n->quit)
		pthread_cond_wait(&n->wake, &n->lock);
	item = n->first;
	if (item && !(n->first = item->next))
		n->last = &n->first;
	if (item)
		n->now = item->mount;
	pthread_mutex_unlock(&n->lock);
	return item;
}

static void *notify(void *arg)
{
	struct notification *item;

	(void)prctl(PR_SET_NAME, "uringfs-notify"); /* only a name */
	while ((item = next_notification(arg))) {
		delay_point();
		send_inval(item->mount, item->nodeid, item->off, item->len);
		if (item->ring)
			(void)ring_post(NULL, item->ring, &item->post); /* the ring lives: a request of it waits */
		else
			free(item);
	}
	return NULL;
}

int notifier_create(struct notifier **ret_n)
{
	struct notifier *n = calloc(1, sizeof(*n));
	int res;

	if (!n)
		return -ENOMEM;
	pthread_mutex_init(&n->lock, NULL);
	pthread_cond_init(&n->wake, NULL);
	n->last = &n->first;
	res = -pthread_create(&n->tid, NULL, notify, n);
	if (res < 0) {
		free(n);
		return res;
	}
	*ret_n = n;
	return 0;
}

void notifier_destroy(struct notifier *n)
{
	if (!n)
		return;
	pthread_mutex_lock(&n->lock);
	n->quit = true;
	pthread_cond_signal(&n->wake);
	pthread_mutex_unlock(&n->lock);
	pthread_join(n->tid, NULL);
	pthread_mutex_destroy(&n->lock);
	pthread_cond_destroy(&n->wake);
	free(n);
}

void notify_pages(struct mount *m, uint64_t nodeid, uint64_t off, uint64_t len, struct ring *ring, struct notification *item)
{
	struct notifier *n = m->server->notifier;

	item->next = NULL;
	item->mount = m;
	item->nodeid = nodeid;
	item->off = (int64_t)off;
	item->len = (int64_t)len;
	item->ring = ring;
	pthread_mutex_lock(&n->lock);
	*n->last = item;
	n->last = &item->next;
	pthread_cond_signal(&n->wake);
	pthread_mutex_unlock(&n->lock);
}

bool notify_busy(struct notifier *n, const struct mount *m)
{
	bool busy;

	pthread_mutex_lock(&n->lock);
	busy = n->now == m;
	for (const struct notification *item = n->first; item && !busy; item = item->next)
		busy = item->mount == m;
	pthread_mutex_unlock(&n->lock);
	return busy;
}

/* ---- who may wait for that --------------------------------------------------------- */

/** truncates() - until it is answered the kernel sends no write-back of the file. */
static bool truncates(const struct request *r)
{
	const struct fuse_setattr_in *in = r->arg;

	return r->opcode == FUSE_SETATTR && in->valid & FATTR_SIZE;
}

/** must_wait() - there is no other answer: entries that are busy, not waiting, come back, and there are more for each that is parked. */
static bool must_wait(const struct request *r)
{
	return r->opcode == FUSE_LSEEK || r->opcode == FUSE_SETXATTR;
}

bool notify_wait_begin(struct request *r)
{
	const struct channel *c = r->channel;
	struct mount *m = r->mount;
	unsigned writes_max = m->server->opt.max_background / 2;

	/* who has been told to stop, or has lost the connection, takes no more of the requests that it would need */
	if (truncates(r) || c->ended || c->stopping || r->thread->parked >= LOCK_WAITS_MAX || (!c->transport->may_wait(r) && !must_wait(r))) {
		stats_add(&r->thread->stats.drops_late, 1);
		return false;
	}
	if (r->opcode == FUSE_WRITE && atomic_fetch_add(&m->writes_waiting, 1) >= writes_max) {
		atomic_fetch_sub(&m->writes_waiting, 1);
		stats_add(&r->thread->stats.drops_late, 1);
		return false;
	}
	r->thread->parked++;
	return true;
}

void notify_wait_end(struct request *r)
{
	r->thread->parked--;
	if (r->opcode == FUSE_WRITE)
		atomic_fetch_sub(&r->mount->writes_waiting, 1);
}
