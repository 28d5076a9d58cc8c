/* SPDX-License-Identifier: MIT */
#include "mount.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "backend/util/errno_util.h"
#include "fs/child.h"
#include "fs/lock.h"
#include "fs/serve.h"
#include "fs/server.h"
#include "fs/session.h"
#include "fs/transport_uring.h"

/** At most, however long the kernel trusts. */
#define RECENT_MAX_S 5.0

/** root_identity() - attributes and file handle of the root. */
static int root_identity(int fd, struct statx *stx, struct inode_handle *handle)
{
	union {
		struct file_handle h;
		char bytes[sizeof(struct file_handle) + INODE_HANDLE_MAX];
	} fh = { .h.handle_bytes = INODE_HANDLE_MAX };
	int mount_id, res = sys_statx(fd, "", AT_EMPTY_PATH, CHILD_STATX_MASK, stx);

	handle->len = 0;
	if (res < 0)
		return res;
	if (sys_name_to_handle(fd, "", AT_EMPTY_PATH, &fh.h, &mount_id) == 0) {
		handle->len = (uint8_t)fh.h.handle_bytes;
		handle->type = fh.h.handle_type;
		memcpy(handle->bytes, fh.h.f_handle, handle->len);
	}
	return 0;
}

/** recent_ns() - half of what names and attributes are trusted for: who asks for them after a listing finds them in the kernel still. */
static uint64_t recent_ns(const struct options *opt)
{
	double seconds = opt->entry_timeout < opt->attr_timeout ? opt->entry_timeout : opt->attr_timeout;

	return (uint64_t)((seconds / 2 < RECENT_MAX_S ? seconds / 2 : RECENT_MAX_S) * 1e9);
}

/** mount_tables() - @root_fd is taken over on success only. */
static int mount_tables(struct mount *m, int root_fd)
{
	struct server *srv = m->server;
	struct inode_table_config cfg = { .budget = &srv->budget };
	struct inode_handle handle;
	struct statx stx;
	int res;

	res = root_identity(root_fd, &stx, &handle);
	if (res < 0)
		return res;
	res = server_backing(m, makedev(stx.stx_dev_major, stx.stx_dev_minor), root_fd);
	if (res < 0)
		return res;
	cfg.keep_names = m->backing[0].mount_fd < 0;
	m->keep_names = cfg.keep_names;
	m->recent_ns = recent_ns(&srv->opt);
	cfg.kept_max = cfg.keep_names ? 0 : srv->opt.export_files; /* what is kept must open again by a file handle: report_start() */
	res = handle_table_create(srv->budget.max < 1u << 24 ? srv->budget.max : 1u << 24, &m->handles);
	if (res < 0)
		return res;
	if (srv->opt.locks == LOCKS_SHARED && (res = lock_table_create(&m->locks)) < 0)
		return res;
	return inode_table_create(&cfg, root_fd, 0, &stx, &handle, &m->inodes);
}

/** late_flags() - flags of the mount that libfuse cannot set; the kernel lets root only. */
static int late_flags(struct mount *m, const char *target, char *err, size_t err_size)
{
	const struct options *opt = &m->server->opt;
	struct mount_attr attr = { .attr_set = (opt->nodiratime ? MOUNT_ATTR_NODIRATIME : 0) | (opt->nosymfollow ? MOUNT_ATTR_NOSYMFOLLOW : 0) };
	int res = 0;

	if (attr.attr_set)
		res = (int)errno_result(syscall(SYS_mount_setattr, AT_FDCWD, target, 0, &attr, sizeof(attr)));
	if (res < 0) {
		(void)session_unmount(m, true); /* ours, just made; umount2(2) is not for a user whom fusermount3 has mounted for */
		snprintf(err, err_size, "%s: cannot set %s: %s", m->mountpoint, opt->nosymfollow ? "nosymfollow" : "nodiratime", strerror(-res));
	}
	return res;
}

/**
 * zero_copy_settle() - queues with slots for the callers' pages, or plain ones: decided before any entry is registered
 * A queue that the kernel has made so takes nothing else: when not all can be, and some are, the connection is made anew.
 */
static int zero_copy_settle(struct mount *m, const char *target, const char *fsname, char *err, size_t err_size)
{
	char why[sizeof(m->zero_copy_why)];
	int res = serve_open_uring(m->server, m);

	if (res == 0)
		res = transport_uring_pools(m);
	if (res == 0)
		return 0;
	if (!m->zero_copy_why[0])
		snprintf(m->zero_copy_why, sizeof(m->zero_copy_why), "not enough for it: %s", strerror(-res));
	memcpy(why, m->zero_copy_why, sizeof(why));
	transport_uring_discard(m);
	m->zero_copy = false;
	m->init_flags &= ~UAPI_FUSE_HAS_IO_URING_BUFPOOL; /* the kernel asks for nothing in return */
	if (m->server->opt.zero_copy == ZERO_COPY_ON) {
		snprintf(err, err_size, "zero_copy=on: %s (zero_copy=auto takes what there is)", why);
		res = -EOPNOTSUPP;
	} else if (res == -EAGAIN) {
		res = transport_uring_prepare(m);
		if (res < 0)
			snprintf(err, err_size, "%s: not enough for FUSE-over-io_uring: %s", m->mountpoint, strerror(-res));
	}
	if (res == 0)
		return 0;
	m->uring = false;
	(void)session_unmount(m, true); /* just made: nobody has been served */
	session_destroy(m);
	if (err[0])
		return res;
	m->server->deny |= SESSION_DENY_ZERO_COPY;
	res = session_mount(m, target, fsname, err, err_size);
	memcpy(m->zero_copy_why, why, sizeof(why));
	return res;
}

int mount_create(struct server *srv, int root_fd, const char *mountpoint, const char *target, const char *fsname, struct mount **ret_m, char *err,
		 size_t err_size)
{
	struct mount *m = calloc(1, sizeof(*m));
	int res;

	err[0] = 0;
	if (!m) {
		(void)close(root_fd); /* O_PATH */
		snprintf(err, err_size, "out of memory");
		return -ENOMEM;
	}
	m->server = srv;
	m->root_fd = root_fd;
	pthread_mutex_init(&m->backing_lock, NULL);
	m->mountpoint = strdup(mountpoint);
	m->channels = calloc(srv->threads_count * 2, sizeof(*m->channels));
	res = m->mountpoint && m->channels ? mount_tables(m, root_fd) : -ENOMEM;
	if (res < 0) {
		snprintf(err, err_size, "%s: cannot set up the tables: %s", mountpoint, strerror(-res));
		if (!m->inodes)
			(void)close(root_fd); /* O_PATH */
		mount_destroy(m);
		return res;
	}
	res = session_mount(m, target, fsname, err, err_size);
	if (res == 0 && m->zero_copy)
		res = zero_copy_settle(m, target, fsname, err, err_size);
	if (res == 0) {
		res = late_flags(m, target, err, err_size);
		if (res < 0 && m->uring)
			transport_uring_discard(m); /* else its entries would keep ops and requests of all threads */
	}
	if (res < 0) {
		mount_destroy(m);
		return res;
	}
	*ret_m = m;
	return 0;
}

static void close_handle(struct handle *h, void *arg)
{
	(void)arg;
	durability_put(h->dfile, h->file.fd);
	if (h->file.fd >= 0)
		(void)close(h->file.fd); /* its user has gone with the connection */
	if (h->has_direct && h->direct.fd >= 0)
		(void)close(h->direct.fd); /* as above */
}

void mount_close(struct mount *m)
{
	lock_table_destroy(m->locks);
	handle_table_destroy(m->handles, close_handle, NULL);
	inode_table_destroy(m->inodes);
	passthrough_destroy(m->passthrough);
	m->passthrough = NULL;
	m->locks = NULL;
	m->handles = NULL;
	m->inodes = NULL;
	for (uint32_t n = 0; n < atomic_load(&m->backing_count); n++) {
		sole_destroy(m->backing[n].sole);
		if (m->backing[n].mount_fd >= 0)
			(void)close(m->backing[n].mount_fd); /* read only */
	}
	atomic_store(&m->backing_count, 0);
}

void mount_destroy(struct mount *m)
{
	if (!m)
		return;
	session_destroy(m);
	mount_close(m);
	pthread_mutex_destroy(&m->backing_lock);
	free(m->channels);
	free(m->mountpoint);
	free(m);
}
