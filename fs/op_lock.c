/* SPDX-License-Identifier: MIT */
/* op_lock.c - see lock.h. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "backend/util/errno_util.h"
#include "fs/lock_table.h"
#include "fs/ops.h"
#include "fs/transport.h"

struct lock_state {
	struct lock_wait wait;
	struct fuse_lk_in in;
	bool may_wait;
};

int lock_table_create(struct lock_table **ret_t)
{
	struct lock_table *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	pthread_mutex_init(&t->lock, NULL);
	*ret_t = t;
	return 0;
}

void lock_table_destroy(struct lock_table *t)
{
	if (!t)
		return;
	while (t->owners) {
		struct lock_owner *o = t->owners;
		t->owners = o->next;
		(void)close(o->fd); /* nothing was written through it */
		free(o);
	}
	pthread_mutex_destroy(&t->lock);
	free(t);
}

/* ---- owners --------------------------------------------------------------------- */

/** owner_find() - lock held. */
static struct lock_owner **owner_find(struct lock_table *t, const struct inode *i, uint64_t owner)
{
	struct lock_owner **o = &t->owners;

	while (*o && ((*o)->inode != i || (*o)->owner != owner))
		o = &(*o)->next;
	return o;
}

/** owner_open() - a descriptor for locks: open for writing if that may be, for write locks need it. */
static int owner_open(const struct request *r, bool *ret_writable)
{
	int fd = server_reopen(r->mount->server, r->handle->file.fd, O_RDWR | O_NONBLOCK);

	*ret_writable = fd >= 0;
	if (fd >= 0)
		return fd;
	return server_reopen(r->mount->server, r->handle->file.fd, O_RDONLY | O_NONBLOCK);
}

/** owner_get() - the owner of the request, made if need be. Lock held. Return 0 or -errno. */
static int owner_get(const struct request *r, const struct fuse_lk_in *in, struct lock_owner **ret_o)
{
	struct lock_table *t = r->mount->locks;
	struct lock_owner *o = *owner_find(t, r->inode, in->owner);
	bool writable;
	int fd;

	if (!o) {
		fd = owner_open(r, &writable);
		if (fd < 0)
			return fd;
		o = malloc(sizeof(*o));
		if (!o) {
			(void)close(fd); /* nothing was done through it */
			return -ENOLCK;
		}
		*o = (struct lock_owner){ .next = t->owners, .inode = r->inode, .owner = in->owner, .fd = fd, .writable = writable };
		t->owners = o;
		(void)inode_get(r->mount->inodes, inode_nodeid(r->inode)); /* lives: the request has it */
		atomic_fetch_add(&r->mount->server->budget.used, 1);
	}
	o->pid = in->lk.pid;
	o->fh = in->fh;
	*ret_o = o;
	return 0;
}

/** owner_drop() - it is out of the list: its locks go with its descriptor. */
static void owner_drop(struct server_thread *t, struct mount *m, struct lock_owner *o)
{
	(void)close(o->fd); /* nothing was written through it */
	atomic_fetch_sub(&m->server->budget.used, 1);
	if (o->holding)
		lock_wake(t, m, o->inode);
	server_close_forgotten(t, inode_put(m->inodes, o->inode));
	free(o);
}

void lock_flush(struct server_thread *t, struct mount *m, struct inode *i, uint64_t owner)
{
	struct lock_owner **at, *o;

	if (!m->locks)
		return;
	pthread_mutex_lock(&m->locks->lock);
	at = owner_find(m->locks, i, owner);
	o = *at;
	if (o)
		*at = o->next;
	pthread_mutex_unlock(&m->locks->lock);
	if (o)
		owner_drop(t, m, o);
}

void lock_release(struct server_thread *t, struct mount *m, struct inode *i, uint64_t fh)
{
	struct lock_owner **at, *o, *gone = NULL;

	if (!m->locks)
		return;
	pthread_mutex_lock(&m->locks->lock);
	for (at = &m->locks->owners; (o = *at);) {
		if (o->inode != i || o->fh != fh) {
			at = &o->next;
			continue;
		}
		*at = o->next;
		o->next = gone;
		gone = o;
	}
	pthread_mutex_unlock(&m->locks->lock);
	while ((o = gone)) {
		gone = o->next;
		owner_drop(t, m, o);
	}
}

static struct flock to_flock(const struct fuse_file_lock *lk)
{
	return (struct flock){
		.l_type = (short)lk->type,
		.l_whence = SEEK_SET,
		.l_start = (off_t)lk->start,
		.l_len = lk->end >= INT64_MAX ? 0 : (off_t)(lk->end - lk->start + 1),
	};
}

static bool valid_range(const struct fuse_file_lock *lk)
{
	return lk->start <= INT64_MAX && lk->end >= lk->start &&
	       (lk->type == F_RDLCK || lk->type == F_WRLCK || lk->type == F_UNLCK);
}

/** holder_pid() - of the owner that conflicts. Lock held. 0: somebody outside, unknown to the kernel too. */
static uint32_t holder_pid(struct lock_table *t, const struct inode *i, const struct lock_owner *self, const struct flock *fl)
{
	for (struct lock_owner *o = t->owners; o; o = o->next)
		if (o->inode == i && o != self && lock_owner_conflicts(o, fl))
			return o->pid;
	return 0;
}

void op_getlk(struct request *r, uint64_t nodeid, const struct fuse_lk_in *in)
{
	struct lock_table *t = r->mount->locks;
	struct flock fl = to_flock(&in->lk);
	struct flock wanted = fl;
	struct lock_owner *o;
	int res;

	if (!request_file(r, nodeid, in->fh))
		return;
	if (!t || !valid_range(&in->lk)) {
		request_reply_err(r, t ? -EINVAL : -ENOSYS);
		return;
	}
	pthread_mutex_lock(&t->lock);
	res = owner_get(r, in, &o);
	if (res == 0)
		res = (int)errno_result(fcntl(o->fd, F_OFD_GETLK, &fl));
	if (res == 0 && fl.l_type != F_UNLCK && fl.l_pid <= 0)
		fl.l_pid = (pid_t)holder_pid(t, r->inode, o, &wanted);
	pthread_mutex_unlock(&t->lock);
	if (res < 0)
		request_reply_err(r, res);
	else
		request_reply_lock(r, &fl);
}

/* ---- setting ------------------------------------------------------------------------- */

/** try_flock() - FUSE_LK_FLOCK: the lock belongs to the open file. */
static int try_flock(struct request *r, const struct fuse_lk_in *in)
{
	int op = in->lk.type == F_RDLCK ? LOCK_SH : in->lk.type == F_WRLCK ? LOCK_EX : LOCK_UN;

	int res = (int)errno_result(flock(r->handle->file.fd, op | LOCK_NB));

	if (res == 0 && op != LOCK_EX)
		lock_wake(r->thread, r->mount, r->inode);
	return res;
}

static int try_record(struct request *r, const struct fuse_lk_in *in)
{
	struct lock_table *t = r->mount->locks;
	struct flock fl = to_flock(&in->lk);
	struct lock_owner *o;
	int res;

	pthread_mutex_lock(&t->lock);
	o = *owner_find(t, r->inode, in->owner);
	if (!o && fl.l_type == F_UNLCK)
		res = 0; /* holds nothing */
	else
		res = owner_get(r, in, &o);
	if (res == 0 && o) {
		res = (int)errno_result(fcntl(o->fd, F_OFD_SETLK, &fl));
		if (res == -EBADF && fl.l_type == F_WRLCK && !o->writable)
			res = -ENOLCK; /* the daemon may not open the backing file for writing */
		if (res == 0 && fl.l_type != F_UNLCK)
			o->holding = true;
		else if (res == 0 && fl.l_start == 0 && fl.l_len == 0)
			o->holding = false;
	}
	pthread_mutex_unlock(&t->lock);
	if (res == 0 && fl.l_type != F_WRLCK)
		lock_wake(r->thread, r->mount, r->inode);
	return res == -EACCES ? -EAGAIN : res;
}

static void try_lock(struct request *r)
{
	struct lock_state *s = REQUEST_STATE(r, struct lock_state);
	bool record = !(s->in.lk_flags & FUSE_LK_FLOCK);
	int res = record ? try_record(r, &s->in) : try_flock(r, &s->in);

	if (res == -EAGAIN && s->may_wait) {
		if (r->channel->stopping || r->channel->ended) /* nobody waits for it any more, and he who holds it may hold it for ever */
			res = -EINTR;
		else if (r->thread->parked >= LOCK_WAITS_MAX || !r->channel->transport->may_wait(r))
			res = -ENOLCK;
		else
			res = lock_wait_park(r, &s->wait);
		if (res == 0)
			return;
	}
	request_reply_err(r, res);
}

static void waited(struct request *r, bool interrupted)
{
	if (interrupted) {
		stats_add(&r->thread->stats.interrupts, 1);
		request_reply_err(r, -EINTR);
		return;
	}
	try_lock(r);
}

void op_setlk(struct request *r, uint64_t nodeid, const struct fuse_lk_in *in, bool wait)
{
	struct lock_state *s = REQUEST_STATE(r, struct lock_state);

	if (!request_file(r, nodeid, in->fh))
		return;
	if (!r->mount->locks || (!(in->lk_flags & FUSE_LK_FLOCK) && !valid_range(&in->lk))) {
		request_reply_err(r, r->mount->locks ? -EINVAL : -ENOSYS);
		return;
	}
	*s = (struct lock_state){ .in = *in, .may_wait = wait };
	s->wait = (struct lock_wait){ .request = r,
				      .unique = r->in->unique,
				      .tid = (pid_t)r->in->pid,
				      .inode = r->inode,
				      .owner = in->owner,
				      .record = !(in->lk_flags & FUSE_LK_FLOCK),
				      .fl = to_flock(&in->lk),
				      .over = waited };
	try_lock(r);
}

void op_interrupt(struct request *r, const struct fuse_interrupt_in *in)
{
	if (r->mount->locks)
		lock_wait_interrupt(r->thread, r->mount->locks, in->unique);
	request_reply_none(r); /* the answer is that of the interrupted request */
}
