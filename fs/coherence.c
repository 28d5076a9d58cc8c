/* SPDX-License-Identifier: MIT */
#include "coherence.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fs/libfuse_io.h"
#include "fs/request.h"
#include "fs/session.h"

/** Looks at a file that others of our requests go on changing; then it counts as not known. */
#define CHANGE_LOOKS_MAX 4u

struct notifier {
	pthread_t tid;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct notification *first, **last;
	bool quit;
};

/* ---- telling the kernel ------------------------------------------------------------ */

/** send_inval() - FUSE_NOTIFY_INVAL_INODE for data of the inode; waits for its locked pages. */
static void send_inval(const struct notification *n)
{
	struct fuse_notify_inval_inode_out body = { .ino = n->nodeid, .off = n->off, .len = n->len };
	struct fuse_out_header head = { .len = sizeof(head) + sizeof(body), .error = FUSE_NOTIFY_INVAL_INODE };
	struct iovec iov[2] = { { &head, sizeof(head) }, { &body, sizeof(body) } };
	ssize_t res;

	do {
		res = libfuse_io_writev(session_fd(n->mount), iov, 2);
	} while (res < 0 && errno == EINTR);
	/* ENOENT: the kernel has forgotten the inode, and its pages with it */
}

static struct notification *next_notification(struct notifier *n)
{
	struct notification *item;

	pthread_mutex_lock(&n->lock);
	while (!n->first && !n->quit)
		pthread_cond_wait(&n->wake, &n->lock);
	item = n->first;
	if (item && !(n->first = item->next))
		n->last = &n->first;
	pthread_mutex_unlock(&n->lock);
	return item;
}

static void *notify(void *arg)
{
	struct notification *item;

	(void)prctl(PR_SET_NAME, "uringfs-notify"); /* only a name */
	while ((item = next_notification(arg))) {
		send_inval(item);
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

void coherence_drop(struct mount *m, uint64_t nodeid, struct ring *ring, struct notification *item)
{
	coherence_drop_range(m, nodeid, 0, 0, ring, item);
}

void coherence_drop_range(struct mount *m, uint64_t nodeid, uint64_t off, uint64_t len, struct ring *ring, struct notification *item)
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

/* ---- who changed it ------------------------------------------------------------------ */

bool coherence_needed(const struct mount *m)
{
	return m->init_flags & FUSE_EXPLICIT_INVAL_DATA && m->server->opt.cache == CACHE_AUTO;
}

bool coherence_check(struct mount *m, struct inode *i, const struct statx *stx, uint32_t seq)
{
	if (!S_ISREG(stx->stx_mode) || !coherence_needed(m))
		return false;
	/* while it is not open here the next open decides, against the state remembered now */
	return inode_opens(m->inodes, i) && inode_data_check(m->inodes, i, stx, seq) == INODE_DATA_CHANGED &&
	       !passthrough_serves(m, i); /* then there are no pages: the kernel dropped them at the open */
}

void coherence_change_begin(struct request *r, struct inode *i, int fd)
{
	struct mount *m = r->mount;
	struct notification *n;
	struct statx stx;
	uint32_t seq;

	if (i->type != S_IFREG || !coherence_needed(m))
		return;
	seq = inode_data_seq(m->inodes, i);
	if (sys_statx(fd, "", AT_EMPTY_PATH, STATX_TYPE | STATX_MTIME | STATX_SIZE, &stx) == 0 && coherence_check(m, i, &stx, seq)) {
		/* nobody waits: the writer may hold the very page that the kernel would wait for */
		n = calloc(1, sizeof(*n));
		if (n)
			coherence_drop(m, inode_nodeid(i), NULL, n);
	}
	(void)inode_change_begin(m->inodes, i); /* whether others are at it does not matter here */
	r->changing = i;
	r->changing_fd = fd;
}

void coherence_change_end(struct request *r)
{
	struct mount *m = r->mount;
	struct inode *i = r->changing;
	struct statx stx;
	uint32_t seq;

	if (!i)
		return;
	r->changing = NULL;
	/*
	 * What we made of it is remembered before this change counts as ended: else a request that comes in
	 * between would take our change for somebody else's.
	 */
	for (unsigned n = 0; n < CHANGE_LOOKS_MAX; n++) {
		if (!inode_change_alone(m->inodes, i, &seq) ||
		    sys_statx(r->changing_fd, "", AT_EMPTY_PATH, STATX_TYPE | STATX_MTIME | STATX_SIZE, &stx) < 0)
			break; /* the last one looks */
		if (inode_change_end(m->inodes, i, &stx, seq))
			return;
	}
	(void)inode_change_end(m->inodes, i, NULL, 0); /* without a look it always ends */
}
