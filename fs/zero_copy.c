/* SPDX-License-Identifier: MIT */
#include "zero_copy.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "backend/util/errno_util.h"
#include "fs/request.h"
#include "fs/request_pool.h"
#include "fs/session.h"
#include "fs/transport_uring.h"

/** More than the queues of one mount need, for the filesystems mounted inside it. */
#define SLOTS_SPARE 1024u

/** may_admin() - the kernel asks for CAP_SYS_ADMIN outside of any container; whether that is where we are it says at ADD_QUEUE. */
static bool may_admin(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { 0 };

	return syscall(SYS_capget, &head, data) == 0 && data[0].effective & 1u << CAP_SYS_ADMIN;
}

bool zero_copy_possible(const struct mount *m, char *why, size_t why_size)
{
	const struct server *srv = m->server;

	why[0] = 0;
	if (srv->opt.zero_copy == ZERO_COPY_OFF)
		snprintf(why, why_size, "asked for");
	else if (srv->deny & SESSION_DENY_ZERO_COPY)
		snprintf(why, why_size, "denied by option");
	else if (!(m->init_offered & UAPI_FUSE_HAS_IO_URING_BUFPOOL))
		snprintf(why, why_size, "the kernel does not offer it (Linux 7.3)");
	else if (!may_admin())
		snprintf(why, why_size, "it needs CAP_SYS_ADMIN outside of any container");
	else if (backend_op_place(srv->backend, OP_READ) != OP_PLACE_RING || backend_op_place(srv->backend, OP_WRITE) != OP_PLACE_RING ||
		 !strstr(backend_features_used(srv->backend), "registered_buffers"))
		snprintf(why, why_size, "reads and writes of registered buffers are denied by option");
	else if (srv->mounts_count && !srv->mounts[0]->zero_copy)
		snprintf(why, why_size, "the mount that this one lies in has none");
	return !why[0];
}

/* ---- slots ------------------------------------------------------------------------ */

int zero_copy_slots_make(struct server_thread *t)
{
	struct zero_copy_slots *z = &t->slots;
	unsigned count = transport_uring_ops(t->server->threads_count, t->server->opt.queue_depth) + SLOTS_SPARE;
	int res;

	if (z->count)
		return 0;
	if (count > RING_BUFFERS_MAX - 1)
		count = RING_BUFFERS_MAX - 1;
	z->memfd = (int)errno_result(memfd_create("uringfs", MFD_CLOEXEC));
	z->zero_fd = (int)errno_result(open("/dev/zero", O_RDONLY | O_CLOEXEC));
	z->free = calloc(count, sizeof(*z->free));
	z->count = count;
	res = z->memfd < 0 ? z->memfd : z->zero_fd < 0 ? z->zero_fd : z->free ? request_pool_slots(t, count + 1) : -ENOMEM;
	if (res < 0) {
		zero_copy_slots_free(t);
		return res;
	}
	for (unsigned n = 0; n < count; n++) /* slot 0 stays empty: to the kernel it means none */
		z->free[z->free_count++] = (uint16_t)(count - n);
	return 0;
}

void zero_copy_slots_free(struct server_thread *t)
{
	struct zero_copy_slots *z = &t->slots;

	if (!z->count)
		return;
	if (!atomic_load(&t->quit))
		(void)request_pool_slots(t, 0); /* refused: they work unregistered */
	free(z->free);
	if (z->memfd >= 0)
		(void)close(z->memfd); /* memory */
	if (z->zero_fd >= 0)
		(void)close(z->zero_fd); /* read only */
	*z = (struct zero_copy_slots){ 0 };
}

int zero_copy_slot_get(struct server_thread *t)
{
	struct zero_copy_slots *z = &t->slots;

	return z->free_count ? z->free[--z->free_count] : -EAGAIN;
}

void zero_copy_slot_put(struct server_thread *t, int slot)
{
	/* a connection that was aborted may have left pages there; and a slot that is not empty would fail the next request */
	if (ring_clear_buffer(t->ring, (unsigned)slot) == 0)
		t->slots.free[t->slots.free_count++] = (uint16_t)slot;
}

bool zero_copy_wanted(const struct request *r, const struct inode *i)
{
	return r->mount->zero_copy && i->type == S_IFREG && r->io != HANDLE_IO_KERNEL;
}

/* ---- the way around --------------------------------------------------------------- */

bool zero_copy_refused(struct request *r, int64_t res)
{
	if (r->slot < 0 || (res != -EINVAL && res != -EFAULT && res != -EOPNOTSUPP))
		return false;
	stats_add(&r->thread->stats.zero_copy_around, 1);
	return true;
}

/** slot_op() - an op between the slot of @r and @fd; all of it, or it fails. NULL: answered with an error. */
static struct op *slot_op(struct request *r, enum op_kind kind, int fd, size_t at, size_t len, op_done_fn done)
{
	struct op *op = request_op(r, kind, done);

	if (!op)
		return NULL;
	op->fd = fd;
	op->buf = (void *)at; /* an offset in the slot */
	op->buf_index = r->slot;
	op->flags = OPF_SLOT;
	op->len = len;
	return op;
}

/** around_at() - where in the memory file the data of @r goes. */
static uint64_t around_at(const struct request *r)
{
	return (uint64_t)r->slot * r->payload_size;
}

/** all_or_error() - op->res: 0 when all of it was moved. */
static void all_or_error(struct op *op)
{
	if (op->res >= 0)
		op->res = (size_t)op->res == op->len ? 0 : -EIO;
}

/** around_end() - all or an error; then nothing stays in the memory file. */
static void around_end(struct op *op)
{
	struct request *r = op->owner;

	all_or_error(op);
	/* what others moved must not come up again; and memory is given back */
	(void)fallocate(r->thread->slots.memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)around_at(r), (off_t)r->payload_size);
}

static void loaded(struct op *op)
{
	struct request *r = op->owner;

	if (op->res == (int64_t)op->len)
		op->res = errno_result(pread(r->thread->slots.memfd, r->payload, op->len, (off_t)around_at(r)));
	around_end(op);
	r->moved(op);
}

void zero_copy_load(struct request *r, size_t len, op_done_fn done)
{
	struct op *op = slot_op(r, OP_WRITE, r->thread->slots.memfd, 0, len, loaded);

	if (!op)
		return;
	r->moved = done;
	op->off = around_at(r);
	ring_submit(op);
}

static void stored(struct op *op)
{
	struct request *r = op->owner;

	around_end(op);
	r->moved(op);
}

void zero_copy_store(struct request *r, size_t len, op_done_fn done)
{
	struct op *op = slot_op(r, OP_READ, r->thread->slots.memfd, 0, len, stored);
	ssize_t res;

	if (!op)
		return;
	r->moved = done;
	op->off = around_at(r);
	res = pwrite(r->thread->slots.memfd, r->payload, len, (off_t)op->off);
	if (res != (ssize_t)len) {
		ring_op_put(op);
		request_reply_err(r, res < 0 ? -errno : -EIO);
		return;
	}
	ring_submit(op);
}

static void cleared(struct op *op)
{
	struct request *r = op->owner;

	all_or_error(op);
	r->moved(op);
}

void zero_copy_clear(struct request *r, size_t from, size_t len, op_done_fn done)
{
	struct op *op = slot_op(r, OP_READ, r->thread->slots.zero_fd, from, len, cleared);

	if (!op)
		return;
	r->moved = done;
	stats_add(&r->thread->stats.zero_copy_cleared, 1);
	ring_submit(op);
}
