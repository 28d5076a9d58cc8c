/* SPDX-License-Identifier: MIT */
/* op_lock.c - see lock.h. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "backend/util/errno_util.h"
#include "fs/lock.h"
#include "fs/ops.h"

#define RECENT_INTERRUPTS 64u
#define WAIT_FIRST_NS 1000000u
#define WAIT_LONGEST_NS 10000000u

/** One owner's descriptor of one file. */
struct lock_owner {
	struct lock_owner *next;
	struct inode *inode; /* a reference of its own */
	uint64_t owner;
	uint64_t fh;         /* of the open file it last locked through */
	uint32_t pid;
	int fd;
	bool writable;
};

struct lock_wait {
	struct lock_wait *next;
	uint64_t unique;
	bool interrupted;
};

struct lock_table {
	pthread_mutex_t lock;
	struct lock_owner *owners;
	struct lock_wait *waits;
	/* interrupts that came before their request was parked */
	uint64_t recent[RECENT_INTERRUPTS];
	unsigned recent_at;
};

struct lock_state {
	struct lock_wait wait; /* linked while parked */
	struct fuse_lk_in in;
	bool may_wait, parked;
	uint64_t wait_ns;
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

/* ---- who holds it ------------------------------------------------------------------ */

/** holds() - whether descriptor @fd of ours has a lock that touches @fl: the kernel lists them in fdinfo. */
static bool holds(int fd, const struct flock *fl)
{
	char path[64], line[256];
	long long start, end, fl_end = fl->l_len ? fl->l_start + fl->l_len - 1 : INT64_MAX;
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "re");
	if (!f)
		return false;
	while (!found && fgets(line, sizeof(line), f)) {
		char *last = strrchr(line, ' ');
		if (strncmp(line, "lock:", 5) || !last)
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

/** holder_pid() - of the owner that conflicts. Lock held. 0: somebody outside, unknown to the kernel too. */
static uint32_t holder_pid(struct lock_table *t, const struct inode *i, const struct lock_owner *self, const struct flock *fl)
{
	for (struct lock_owner *o = t->owners; o; o = o->next)
		if (o->inode == i && o != self && holds(o->fd, fl))
			return o->pid;
	return 0;
}

void op_getlk(struct request *r, uint64_t nodeid, const struct fuse_lk_in *in)
{
	struct lock_table *t = r->mount->locks;
	struct flock fl = to_flock(&in->lk);
	struct lock_owner *o;
	int res;

	if (!request_inode(r, nodeid) || !request_handle(r, in->fh))
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
		fl.l_pid = (pid_t)holder_pid(t, r->inode, o, &fl);
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

	return (int)errno_result(flock(r->handle->file.fd, op | LOCK_NB));
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
	}
	pthread_mutex_unlock(&t->lock);
	return res == -EACCES ? -EAGAIN : res;
}

static void park(struct request *r);

/** unpark() - out of the list; whether an interrupt has come. */
static bool unpark(struct request *r)
{
	struct lock_state *s = REQUEST_STATE(r, struct lock_state);
	struct lock_table *t = r->mount->locks;
	struct lock_wait **at;

	if (!s->parked)
		return false;
	pthread_mutex_lock(&t->lock);
	for (at = &t->waits; *at != &s->wait; at = &(*at)->next)
		;
	*at = s->wait.next;
	pthread_mutex_unlock(&t->lock);
	s->parked = false;
	r->thread->parked--;
	return s->wait.interrupted;
}

static void try_lock(struct request *r)
{
	struct lock_state *s = REQUEST_STATE(r, struct lock_state);
	int res = s->in.lk_flags & FUSE_LK_FLOCK ? try_flock(r, &s->in) : try_record(r, &s->in);

	if (res == -EAGAIN && s->may_wait) {
		if (r->channel->stopping)
			res = -EINTR;
		else if (r->thread->parked >= LOCK_WAITS_MAX)
			res = -ENOLCK;
		else {
			park(r);
			return;
		}
	}
	request_reply_err(r, res);
}

static void waited(struct op *op)
{
	struct request *r = op->owner;

	if (unpark(r)) {
		stats_add(&r->thread->stats.interrupts, 1);
		request_reply_err(r, -EINTR);
		return;
	}
	try_lock(r);
}

static bool recently_interrupted(const struct lock_table *t, uint64_t unique)
{
	for (unsigned n = 0; n < RECENT_INTERRUPTS; n++)
		if (t->recent[n] == unique)
			return true;
	return false;
}

/** park() - try again a little later. */
static void park(struct request *r)
{
	struct lock_state *s = REQUEST_STATE(r, struct lock_state);
	struct lock_table *t = r->mount->locks;
	struct op *op = request_op(r, OP_TIMEOUT, waited);

	if (!op)
		return;
	pthread_mutex_lock(&t->lock);
	s->wait = (struct lock_wait){ .next = t->waits, .unique = r->in->unique, .interrupted = recently_interrupted(t, r->in->unique) };
	t->waits = &s->wait;
	pthread_mutex_unlock(&t->lock);
	s->parked = true;
	r->thread->parked++;
	s->wait_ns = s->wait_ns ? s->wait_ns * 2 : WAIT_FIRST_NS;
	if (s->wait_ns > WAIT_LONGEST_NS)
		s->wait_ns = WAIT_LONGEST_NS;
	op->off = s->wait_ns;
	ring_submit(op);
}

void op_setlk(struct request *r, uint64_t nodeid, const struct fuse_lk_in *in, bool wait)
{
	struct lock_state *s = REQUEST_STATE(r, struct lock_state);

	if (!request_inode(r, nodeid) || !request_handle(r, in->fh))
		return;
	if (!r->mount->locks || (!(in->lk_flags & FUSE_LK_FLOCK) && !valid_range(&in->lk))) {
		request_reply_err(r, r->mount->locks ? -EINVAL : -ENOSYS);
		return;
	}
	*s = (struct lock_state){ .in = *in, .may_wait = wait };
	try_lock(r);
}

void op_interrupt(struct request *r, const struct fuse_interrupt_in *in)
{
	struct lock_table *t = r->mount->locks;
	struct lock_wait *w;

	if (t) {
		pthread_mutex_lock(&t->lock);
		for (w = t->waits; w && w->unique != in->unique; w = w->next)
			;
		if (w)
			w->interrupted = true;
		else
			t->recent[t->recent_at++ % RECENT_INTERRUPTS] = in->unique;
		pthread_mutex_unlock(&t->lock);
	}
	request_reply_none(r); /* the answer is that of the interrupted request */
}
