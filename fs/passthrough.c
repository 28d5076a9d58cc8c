/* SPDX-License-Identifier: MIT */
#include "passthrough.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "backend/util/cleanup.h"
#include "backend/util/log.h"
#include "fs/request.h"
#include "fs/session.h"

#define BUCKETS 1024u
/* linux/magic.h; FUSE's is in fs/fuse/inode.c */
#define OVERLAYFS_MAGIC 0x794c7630
#define FUSE_MAGIC 0x65735546

/** A file that the kernel may have open. */
struct opened {
	struct opened *next;
	uint64_t nodeid;
	uint32_t opens;
	uint32_t stores;    /* of them, those that can store through a mapping */
	int32_t backing_id; /* 0: open in the ordinary way */
};

struct passthrough {
	pthread_mutex_t lock;
	struct opened *bucket[BUCKETS];
	struct opened *spare; /* for the next ones: no allocation in the long run */
};

/* ---- what the kernel has open ----------------------------------------------------- */

/** find() - the link to the record, or to the end of its chain. Lock held. */
static struct opened **find(struct passthrough *p, uint64_t nodeid)
{
	struct opened **link = &p->bucket[(nodeid ^ nodeid >> 32) * 0x9e3779b97f4a7c15u >> 54];

	while (*link && (*link)->nodeid != nodeid)
		link = &(*link)->next;
	return link;
}

/** follow() - one more open in the way of those that are there; false: there are none. */
static bool follow(struct passthrough *p, uint64_t nodeid, bool stores, int32_t *ret_id)
{
	struct opened *o;

	pthread_mutex_lock(&p->lock);
	o = *find(p, nodeid);
	if (o) {
		o->opens++;
		o->stores += stores;
		*ret_id = o->backing_id;
	}
	pthread_mutex_unlock(&p->lock);
	return o;
}

/**
 * lead() - the first open, by @id (0: in the ordinary way), unless another thread was faster
 * Return the id that counts, or -ENOMEM
 */
static int32_t lead(struct passthrough *p, uint64_t nodeid, bool stores, int32_t id)
{
	struct opened **link, *o;

	pthread_mutex_lock(&p->lock);
	link = find(p, nodeid);
	o = *link;
	if (!o) {
		o = p->spare;
		if (o)
			p->spare = o->next;
		else
			o = malloc(sizeof(*o));
		if (o)
			*o = (struct opened){ .nodeid = nodeid, .backing_id = id };
		*link = o;
	}
	if (o) {
		o->opens++;
		o->stores += stores;
	}
	id = o ? o->backing_id : -ENOMEM;
	pthread_mutex_unlock(&p->lock);
	return id;
}

/** leave() - one open less. Return the backing id that is no longer needed, or 0. */
static int32_t leave(struct passthrough *p, uint64_t nodeid, bool stores)
{
	struct opened **link, *o;
	int32_t id = 0;

	pthread_mutex_lock(&p->lock);
	link = find(p, nodeid);
	o = *link;
	assert(o && o->opens > 0 && o->stores >= stores);
	o->stores -= stores;
	if (--o->opens == 0) {
		id = o->backing_id;
		*link = o->next;
		o->next = p->spare;
		p->spare = o;
	}
	pthread_mutex_unlock(&p->lock);
	return id;
}

bool passthrough_serves(const struct mount *m, const struct inode *i)
{
	struct passthrough *p = m->passthrough;
	const struct opened *o;
	bool serves;

	if (!p)
		return false;
	pthread_mutex_lock(&p->lock);
	o = *find(p, inode_nodeid(i));
	serves = o && o->backing_id;
	pthread_mutex_unlock(&p->lock);
	return serves;
}

double passthrough_attr_timeout(const struct mount *m, const struct inode *i, uint16_t mode)
{
	struct passthrough *p = m->passthrough;
	double timeout = m->server->opt.attr_timeout;
	const struct opened *o;

	if (!p || i->type != S_IFREG)
		return timeout;
	pthread_mutex_lock(&p->lock);
	o = *find(p, inode_nodeid(i));
	if (o && o->backing_id && (o->stores || mode & (S_ISUID | S_ISGID)))
		timeout = 0;
	pthread_mutex_unlock(&p->lock);
	return timeout;
}

/* ---- start and end ------------------------------------------------------------------ */

static int backing_open(const struct mount *m, int fd)
{
	struct uapi_fuse_backing_map map = { .fd = fd };
	int id = ioctl(session_fd(m), UAPI_FUSE_BACKING_OPEN, &map);

	return id < 0 ? -errno : id;
}

static void backing_close(const struct mount *m, int32_t id)
{
	uint32_t arg = (uint32_t)id;

	(void)ioctl(session_fd(m), UAPI_FUSE_BACKING_CLOSE, &arg); /* fails only when the connection, and so the id, is gone */
}

/** stacked() - whether SOURCE may be a filesystem on top of another one. */
static bool stacked(const struct mount *m)
{
	struct statfs st;

	return fstatfs(m->root_fd, &st) == 0 && (st.f_type == OVERLAYFS_MAGIC || st.f_type == FUSE_MAGIC);
}

uint32_t passthrough_stack_depth(const struct mount *m)
{
	/*
	 * It becomes the mount's own depth too, and an overlayfs can be made on top of depth 1 only (fs/fuse/inode.c,
	 * fs/overlayfs/super.c; FILESYSTEM_MAX_STACK_DEPTH is 2): so no more than SOURCE needs.
	 */
	return stacked(m) ? 2 : 1;
}

/** source_possible() - -ELOOP: SOURCE is on top of too many; what cannot be asked now is seen at the first open. */
static int source_possible(const struct mount *m)
{
	CLEANUP_CLOSE int fd = -1;
	char name[32];
	int id;

	if (!stacked(m))
		return 0;
	snprintf(name, sizeof(name), "/proc/self/fd/%d", m->root_fd);
	fd = open(name, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		return 0;
	id = backing_open(m, fd);
	if (id > 0)
		backing_close(m, id);
	return id == -ELOOP ? id : 0;
}

int passthrough_start(struct mount *m, char *err, size_t err_size)
{
	CLEANUP_CLOSE int probe = memfd_create("uringfs-probe", MFD_CLOEXEC);
	int id;

	if (!(m->init_flags & UAPI_FUSE_PASSTHROUGH)) {
		snprintf(err, err_size, "io=kernel: this kernel has no FUSE passthrough (it needs Linux 6.9 or newer with CONFIG_FUSE_PASSTHROUGH): use io=daemon");
		return -EOPNOTSUPP;
	}
	id = backing_open(m, probe);
	if (id < 0) {
		snprintf(err, err_size, "io=kernel: the kernel refuses FUSE passthrough: %s%s", strerror(-id),
			 id == -EPERM ? " (it needs root, CAP_SYS_ADMIN outside of any container): use io=daemon" : ": use io=daemon");
		return id;
	}
	backing_close(m, id);
	if (source_possible(m) == -ELOOP) {
		log_warning("%s: io=kernel is not possible on this source, which has two or more filesystems on top of each other: serving with io=daemon",
			    m->mountpoint);
		return 0;
	}
	m->passthrough = calloc(1, sizeof(*m->passthrough));
	if (!m->passthrough) {
		snprintf(err, err_size, "out of memory");
		return -ENOMEM;
	}
	pthread_mutex_init(&m->passthrough->lock, NULL);
	return 0;
}

static void free_list(struct opened *o)
{
	while (o) {
		struct opened *next = o->next;
		free(o);
		o = next;
	}
}

void passthrough_destroy(struct passthrough *p)
{
	if (!p)
		return;
	for (unsigned n = 0; n < BUCKETS; n++)
		free_list(p->bucket[n]);
	free_list(p->spare);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

/* ---- an open, a release --------------------------------------------------------------- */

static void id_closed(struct op *op)
{
	(void)op; /* as in backing_close() */
}

/** close_id() - drops the kernel's reference to the backing file; the opener's own descriptor is still there. */
static void close_id(struct server_thread *t, struct mount *m, int32_t id)
{
	struct op *op = ring_op_get(t->ring);

	if (!op) {
		backing_close(m, id);
		return;
	}
	op->kind = OP_IOCTL;
	op->flags = OPF_INLINE;
	op->fd = session_fd(m);
	op->off = UAPI_FUSE_BACKING_CLOSE;
	op->arg = (uint32_t)id;
	op->buf = &op->arg;
	op->done = id_closed;
	ring_submit(op);
}

/** decided() - the open is counted, by @id; @why: why not by one, where it is 0. */
static void decided(struct request *r, struct passthrough_step *s, int32_t id, enum passthrough_not why)
{
	struct thread_stats *st = &r->thread->stats;

	r->backing_id = id;
	r->io = id > 0 ? HANDLE_IO_KERNEL : id == 0 ? HANDLE_IO_COUNTED : HANDLE_IO_DAEMON;
	if (id > 0)
		stats_add(&st->passthrough_opens, 1);
	else if (id == 0)
		stats_add(&st->passthrough_not[why], 1);
	s->next(r);
}

static enum passthrough_not refused(const struct mount *m, int64_t res)
{
	static atomic_flag told = ATOMIC_FLAG_INIT;

	if (!atomic_flag_test_and_set(&told))
		log_warning("%s: the kernel does not pass a file through: %s; it is served with io=daemon (the statistics count such files)",
			    m->mountpoint, strerror((int)-res));
	return res == -ELOOP ? PASSTHROUGH_NOT_STACKED : PASSTHROUGH_NOT_REFUSED;
}

static void id_made(struct op *op)
{
	struct request *r = op->owner;
	struct mount *m = r->mount;
	struct passthrough_step *s = (struct passthrough_step *)(void *)((char *)op->buf - offsetof(struct passthrough_step, map));
	enum passthrough_not why = PASSTHROUGH_NOT_MIXED;
	int32_t mine = op->res > 0 ? (int32_t)op->res : 0, id;

	if (!mine)
		why = refused(m, op->res);
	id = lead(m->passthrough, inode_nodeid(s->inode), s->stores, mine);
	if (mine && mine != id)
		close_id(r->thread, m, mine);
	decided(r, s, id, why);
}

void passthrough_join(struct request *r, struct inode *i, int fd, bool stores, struct passthrough_step *s)
{
	int32_t id = 0;
	struct op *op;

	s->inode = i;
	s->stores = stores;
	if (follow(r->mount->passthrough, inode_nodeid(i), stores, &id)) {
		decided(r, s, id, PASSTHROUGH_NOT_MIXED);
		return;
	}
	op = ring_op_get(r->thread->ring);
	if (!op) {
		decided(r, s, -ENOMEM, PASSTHROUGH_NOT_REFUSED);
		return;
	}
	s->map = (struct uapi_fuse_backing_map){ .fd = fd };
	op->kind = OP_IOCTL;
	op->flags = OPF_INLINE; /* takes references, waits for nothing (fs/fuse/backing.c fuse_backing_open()) */
	op->fd = session_fd(r->mount);
	op->off = UAPI_FUSE_BACKING_OPEN;
	op->buf = &s->map;
	op->creds.flags = CREDS_NO_FSETID | CREDS_NO_RESOURCE;
	op->done = id_made;
	op->owner = r;
	ring_submit(op);
}

void passthrough_leave(struct server_thread *t, struct mount *m, const struct inode *i, enum handle_io io, bool stores)
{
	int32_t id = io == HANDLE_IO_DAEMON ? 0 : leave(m->passthrough, inode_nodeid(i), stores);

	if (id > 0)
		close_id(t, m, id);
}
