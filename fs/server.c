/* SPDX-License-Identifier: MIT */
#include "server.h"

#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "backend/util/cleanup.h"
#include "fs/coherence.h"
#include "fs/session.h"

/** A file with so many blocks of 512 bytes is freed in the time of a quick call. */
#define QUICK_FREE_BLOCKS 256u
/** So long after the last close or unlink a full filesystem may not be so full: a worker that frees space may have to wait for its turn. */
#define SPACE_WAIT_NS 500000000u

void server_make_room(struct mount *m)
{
	struct fd_budget *b = &m->server->budget;

	while (atomic_load_explicit(&b->used, memory_order_relaxed) >= b->max) {
		int fd = inode_fd_evict(m->inodes);
		if (fd < 0)
			return; /* all in use: the reserve is for this */
		(void)close(fd); /* O_PATH of a file that still has its names: nothing to lose or to wait for */
	}
}

static void closed(struct op *op)
{
	(void)op; /* a close error after the last flush has no one to go to; the backend counts it */
}

static void close_how(struct server_thread *t, int fd, enum bfile_close_how how)
{
	struct op *op;

	if (fd < 0)
		return;
	if (how != BFILE_CLOSE_NOW)
		server_space_coming(t->server);
	op = ring_op_get(t->ring);
	if (!op) {
		(void)close(fd); /* as above */
		return;
	}
	op->kind = OP_CLOSE;
	op->fd = fd;
	op->done = closed;
	op->flags = how == BFILE_CLOSE_SLOW ? OPF_ASYNC : how == BFILE_CLOSE_QUICK ? OPF_QUICK : OPF_INLINE;
	ring_submit(op);
}

void server_close(struct server_thread *t, int fd, bool slow)
{
	close_how(t, fd, slow ? BFILE_CLOSE_SLOW : BFILE_CLOSE_NOW);
}

/** speed_of() - as server_close_speed(), of a file with these attributes; NULL: unknown. */
static enum bfile_close_how speed_of(const struct server *srv, const struct statx *stx)
{
	if (!stx || atomic_load_explicit(&srv->remote, memory_order_relaxed))
		return BFILE_CLOSE_SLOW;
	/* the last reference to an unlinked file frees its blocks */
	return stx->stx_nlink == 0 && stx->stx_blocks > QUICK_FREE_BLOCKS ? BFILE_CLOSE_SLOW : BFILE_CLOSE_QUICK;
}

/** stat_for_close() - what speed_of() asks for, or NULL. */
static const struct statx *stat_for_close(int fd, struct statx *stx)
{
	return sys_statx(fd, "", AT_EMPTY_PATH, STATX_NLINK | STATX_BLOCKS, stx) < 0 ? NULL : stx;
}

enum bfile_close_how server_close_speed(const struct server *srv, int fd)
{
	struct statx stx;

	if (atomic_load_explicit(&srv->remote, memory_order_relaxed))
		return BFILE_CLOSE_SLOW; /* whatever it is: the statx may wait, too */
	return speed_of(srv, stat_for_close(fd, &stx));
}

void server_close_forgotten(struct server_thread *t, int fd)
{
	const struct statx *known;
	struct statx stx;

	if (fd < 0)
		return;
	known = stat_for_close(fd, &stx);
	close_how(t, fd, known && known->stx_nlink ? BFILE_CLOSE_NOW : speed_of(t->server, known));
}

void server_space_coming(struct server *srv)
{
	atomic_store_explicit(&srv->slow_close_ns, stats_now_ns(), memory_order_relaxed);
}

bool server_space_may_come(const struct server *srv)
{
	uint64_t last = stats_get(&srv->slow_close_ns);

	return last && stats_now_ns() - last < SPACE_WAIT_NS;
}

uint64_t server_ino(uint16_t fs, uint64_t ino)
{
	if (fs == 0)
		return ino;
	/* the number of the filesystem in the top bits, where inode numbers are hardly ever; mixed where they are */
	return ino >> 48 ? ino * 0x9e3779b97f4a7c15u ^ fs : (uint64_t)fs << 48 | ino;
}

int server_reopen(const struct server *srv, int fd, int flags)
{
	const struct open_how how = { .flags = (uint64_t)(unsigned)flags | O_CLOEXEC };
	char name[16];

	snprintf(name, sizeof(name), "%d", fd);
	return sys_openat2(srv->proc_fd, name, &how);
}

/* ---- backing filesystems ----------------------------------------------------------- */

/** open_real() - a descriptor that is no O_PATH one, as open_by_handle_at(2) wants it; regular files and directories only. */
static int open_real(const struct server *srv, int fd)
{
	struct statx stx;

	if (sys_statx(fd, "", AT_EMPTY_PATH, STATX_TYPE, &stx) < 0 || !(S_ISDIR(stx.stx_mode) || S_ISREG(stx.stx_mode)))
		return -EINVAL;
	return server_reopen(srv, fd, O_RDONLY | O_NONBLOCK);
}

#define ANY_SIZE UINT32_MAX

/** Local filesystems, and up to which size reads and writes are made on the spot: measured, see READ and WRITE in backend/op.c. */
static const struct {
	unsigned magic;
	bool in_memory;
	uint32_t quick_read_max, quick_write_max; /* bytes; 0: all through the ring */
} local_filesystems[] = {
	/* their writes are punted, but the copy alone of more takes longer than a hand-over */
	{ EXT4_SUPER_MAGIC, false, 0, 65536 },
	{ XFS_SUPER_MAGIC, false, 0, 65536 },
	/* its writes are punted, but wait too often */
	{ BTRFS_SUPER_MAGIC, false, 0, 0 },
	/* all is punted, and there is nothing to wait for but memory */
	{ TMPFS_MAGIC, true, ANY_SIZE, ANY_SIZE },
	{ F2FS_SUPER_MAGIC, false, 0, 0 },
};

/** kind_probe() - known filesystems only: what a network filesystem waits for has no bound. */
static void kind_probe(struct backing_fs *b, int fd)
{
	struct statfs st;

	b->local = b->in_memory = false;
	b->quick_read_max = b->quick_write_max = 0;
	if (fstatfs(fd, &st) < 0)
		return;
	for (size_t n = 0; n < sizeof(local_filesystems) / sizeof(local_filesystems[0]); n++) {
		if ((unsigned)st.f_type != local_filesystems[n].magic)
			continue;
		b->local = true;
		b->in_memory = local_filesystems[n].in_memory;
		b->quick_read_max = local_filesystems[n].quick_read_max;
		b->quick_write_max = local_filesystems[n].quick_write_max;
	}
}

static void backing_probe(struct mount *m, struct backing_fs *b, int fd)
{
	union {
		struct file_handle h;
		char bytes[sizeof(struct file_handle) + INODE_HANDLE_MAX];
	} fh = { .h.handle_bytes = INODE_HANDLE_MAX };
	CLEANUP_CLOSE int real = -1, again = -1;
	int mount_id;

	b->mount_fd = -1;
	(void)durability_create(m->server->backend, fd, (enum durability_policy)m->server->opt.fsync, m->server->faults, &b->durable); /* none: the kernel's sync */
	kind_probe(b, fd);
	coherence_backing(m, b);
	if (!b->local)
		atomic_store(&m->server->remote, true);
	b->handles = sys_name_to_handle(fd, "", AT_EMPTY_PATH, &fh.h, &mount_id) == 0;
	if (!b->handles || !m->server->open_handles)
		return;
	real = open_real(m->server, fd);
	if (real < 0)
		return;
	again = sys_open_by_handle(real, &fh.h, O_PATH | O_CLOEXEC);
	if (again >= 0)
		b->mount_fd = take_fd(&real);
}

int server_backing_known(const struct mount *m, dev_t dev)
{
	uint32_t count = atomic_load_explicit(&m->backing_count, memory_order_acquire);

	for (uint32_t n = 0; n < count; n++)
		if (m->backing[n].dev == dev)
			return (int)n;
	return -1;
}

int server_backing(struct mount *m, dev_t dev, int fd)
{
	int known = server_backing_known(m, dev);
	uint32_t n = 0, count;

	if (known >= 0)
		return known;
	pthread_mutex_lock(&m->backing_lock);
	count = atomic_load_explicit(&m->backing_count, memory_order_relaxed);
	for (; n < count && m->backing[n].dev != dev; n++)
		;
	if (n == count && n < BACKING_FS_MAX) {
		m->backing[n].dev = dev;
		backing_probe(m, &m->backing[n], fd);
		atomic_store_explicit(&m->backing_count, count + 1, memory_order_release);
	}
	pthread_mutex_unlock(&m->backing_lock);
	return n < BACKING_FS_MAX ? (int)n : -ENFILE;
}
