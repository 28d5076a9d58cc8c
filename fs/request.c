/* SPDX-License-Identifier: MIT */
#include "request.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "backend/util/log.h"
#include "fs/dir_cache.h"
#include "fs/dispatch.h"
#include "fs/durable.h"
#include "fs/session.h"
#include "fs/transport.h"

/* The request that libfuse is dispatching or replying to on this thread. */
static _Thread_local struct request *current;
/* The mount whose INIT it is answering. */
static _Thread_local struct mount *init_mount;

/* ---- arrival and end -------------------------------------------------------- */

static void drop_inode(struct request *r, struct inode **i, int *fd)
{
	if (!*i)
		return;
	server_close_forgotten(r->thread, *fd >= 0 ? inode_put_fd(r->mount->inodes, *i) : inode_put(r->mount->inodes, *i));
	*fd = -1;
	*i = NULL;
}

static void drop_handle(struct request *r, struct handle **h)
{
	struct handle *last = *h ? handle_put(r->mount->handles, *h, false) : NULL;

	*h = NULL;
	if (last)
		request_close_handle(r->thread, r->mount, last);
}

void request_end(struct request *r)
{
	struct thread_stats *st = &r->thread->stats;

	coherence_change_end(r);
	durable_end(r);
	if (r->inode_of_handle)
		r->inode = NULL;
	drop_handle(r, &r->handle);
	drop_handle(r, &r->handle2);
	drop_inode(r, &r->inode, &r->fd);
	drop_inode(r, &r->inode2, &r->fd2);
	if (!r->timed)
		r->thread->clock_ns = stats_now_ns();
	if (r->opcode < UAPI_FUSE_OPCODE_MAX)
		histogram_add(&st->latency[r->opcode], r->thread->clock_ns - r->start_ns);
	atomic_store_explicit(&st->in_flight, stats_get(&st->in_flight) - 1, memory_order_relaxed);
	r->state = REQUEST_FREE;
	r->channel->requests_live--;
	r->channel->transport->end(r);
}

static void request_begin(struct request *r, const void *msg, size_t len)
{
	struct thread_stats *st = &r->thread->stats;

	r->codec = NULL;
	r->in = msg;
	r->arg = (const char *)msg + sizeof(struct fuse_in_header);
	r->arg_size = len > sizeof(struct fuse_in_header) ? (uint32_t)(len - sizeof(struct fuse_in_header)) : 0;
	r->state = REQUEST_DISPATCHED;
	r->opcode = r->in->opcode;
	/* what came with the same turn has waited for the ones before it: their end is its start, to save a look at the clock */
	r->start_ns = r->thread->clock_ns ? r->thread->clock_ns : stats_now_ns();
	r->timed = false;
	r->open_flags = 0;
	r->backing_id = 0;
	r->io = HANDLE_IO_DAEMON;
	r->inode = r->inode2 = NULL;
	r->inode_of_handle = false;
	r->handle = r->handle2 = NULL;
	r->changing = NULL;
	r->writing = r->altering[0] = r->altering[1] = NULL;
	r->fd = r->fd2 = -1;
	r->channel->requests_live++;
	stats_add(&st->requests, 1);
	stats_add(&st->in_flight, 1);
	if (stats_get(&st->in_flight) > stats_get(&st->in_flight_max))
		atomic_store_explicit(&st->in_flight_max, stats_get(&st->in_flight), memory_order_relaxed);
}

/** send() - header and body to the kernel. */
static int send(struct request *r, const struct iovec *iov, int count)
{
	const struct fuse_out_header *out = iov[0].iov_base;
	int res;

	assert(r->state == REQUEST_DISPATCHED || r->state == REQUEST_TAKEN);
	r->state = REQUEST_REPLIED;
	durable_end(r); /* what the caller does next meets it as ended */
	if (out->error && r->opcode < UAPI_FUSE_OPCODE_MAX)
		stats_add(&r->thread->stats.errors[r->opcode], 1);
	log_trace("reply %llu %s: %s, %u bytes", (unsigned long long)out->unique, dispatch_opcode_name(r->opcode),
		  out->error ? strerror(-out->error) : "ok", out->len);
	res = r->channel->transport->reply(r, iov, count);
	if (res < 0)
		stats_add(&r->thread->stats.replies_lost, 1);
	return res;
}

void request_reply_slot(struct request *r, size_t len)
{
	struct fuse_out_header out = { .len = (uint32_t)(sizeof(out) + len), .unique = r->in->unique };
	const struct iovec iov = { &out, sizeof(out) };

	(void)send(r, &iov, 1); /* a lost reply is counted there */
	request_end(r);
}

int request_send(struct request *r, int error, const void *data, size_t size)
{
	struct fuse_out_header out = {
		.len = (uint32_t)(sizeof(out) + (error ? 0 : size)),
		.error = error,
		.unique = r->in->unique,
	};
	const struct iovec iov[2] = { { &out, sizeof(out) }, { (void *)data, size } };

	return send(r, iov, size && !error ? 2 : 1);
}

/** unnamed_caller() - with FUSE_ALLOW_IDMAP only requests that make something tell whose they are (fs/fuse/dev.c, fuse_get_req): root does the others. */
static void unnamed_caller(const struct request *r)
{
	struct fuse_in_header *in = (struct fuse_in_header *)r->in; /* in a buffer of ours */

	if (in->uid == UINT32_MAX && r->mount->init_flags & UAPI_FUSE_ALLOW_IDMAP)
		in->uid = in->gid = 0;
}

/** allowed() - allow_root is libfuse's own check; what does not go through it is checked here. */
static bool allowed(const struct request *r)
{
	return !r->mount->server->opt.allow_root || r->in->uid == 0 || r->in->uid == getuid() || r->opcode == FUSE_INTERRUPT;
}

void request_receive(struct request *r, const void *msg, size_t len)
{
	struct request *outer = current;
	struct fuse_buf buf = { .size = len, .mem = (void *)msg };
	const struct opcode_row *row;
	int bad;

	request_begin(r, msg, len);
	unnamed_caller(r);
	bad = dispatch_check(r, &row);
	log_trace("request %llu %s node %llx len %zu uid %u pid %u", (unsigned long long)r->in->unique,
		  dispatch_opcode_name(r->opcode), (unsigned long long)r->in->nodeid, len, r->in->uid, r->in->pid);
	if (bad < 0) {
		if (bad != -ENOSYS)
			stats_add(&r->thread->stats.bad_requests, 1);
		if (r->opcode == FUSE_FORGET || r->opcode == FUSE_BATCH_FORGET || r->opcode == FUSE_INTERRUPT)
			request_reply_none(r); /* they have no answer, not even this one */
		else
			request_reply_raw_error(r, bad);
		return;
	}
	if (row->decode && !allowed(r)) {
		request_reply_raw_error(r, -EACCES);
		return;
	}
	if (row->decode) {
		r->state = REQUEST_TAKEN;
		row->decode(r); /* it may have ended, and be somebody else's */
		return;
	}
	current = r;
	fuse_session_process_buf(r->mount->session, &buf);
	current = outer;
	if (r->state == REQUEST_DISPATCHED || r->state == REQUEST_REPLIED)
		request_end(r); /* libfuse answered itself, or no answer is due */
}

struct request *request_codec_enter(struct request *r)
{
	struct request *outer = current;

	current = r;
	return outer;
}

struct request *request_taken(fuse_req_t req)
{
	struct request *r = current;

	assert(r && r->state == REQUEST_DISPATCHED);
	r->codec = req;
	r->state = REQUEST_TAKEN;
	return r;
}

void request_codec_init(struct mount *m)
{
	init_mount = m;
}

bool request_in_codec(void **ret_userdata)
{
	*ret_userdata = current ? current->mount : init_mount;
	return *ret_userdata;
}

ssize_t request_writev(int fd, struct iovec *iov, int count, void *userdata)
{
	const struct fuse_out_header *out = iov[0].iov_base;
	struct request *r = current;
	int res;

	(void)fd;
	if (!r)
		return session_init_reply(userdata, iov, count);
	assert(out->unique == r->in->unique); /* interrupts, the other kind of reply, do not go through libfuse */
	res = send(r, iov, count);
	if (res < 0) {
		errno = -res;
		return -1;
	}
	return (ssize_t)out->len;
}

/* ---- what a request works on --------------------------------------------------- */

static bool request_inode_of(struct request *r, uint64_t nodeid, bool kept)
{
	r->inode = inode_get_fd(r->mount->inodes, nodeid, kept, &r->fd);
	if (!r->inode)
		request_reply_err(r, -ESTALE);
	return r->inode;
}

bool request_inode(struct request *r, uint64_t nodeid)
{
	return request_inode_of(r, nodeid, false);
}

bool request_inode_kept(struct request *r, uint64_t nodeid)
{
	return request_inode_of(r, nodeid, true);
}

bool request_inode2(struct request *r, uint64_t nodeid)
{
	r->inode2 = inode_get_fd(r->mount->inodes, nodeid, false, &r->fd2);
	if (!r->inode2)
		request_reply_err(r, -ESTALE);
	return r->inode2;
}

bool request_handle(struct request *r, uint64_t fh)
{
	r->handle = handle_get(r->mount->handles, fh, r->inode);
	if (!r->handle)
		request_reply_err(r, -EBADF);
	return r->handle;
}

bool request_file(struct request *r, uint64_t nodeid, uint64_t fh)
{
	r->handle = handle_get_any(r->mount->handles, fh);
	if (!r->handle || inode_nodeid(r->handle->inode) != nodeid) {
		request_reply_err(r, -EBADF);
		return false;
	}
	r->inode = r->handle->inode;
	r->inode_of_handle = true;
	return true;
}

bool request_name(struct request *r, const char *name)
{
	if (name[0] && !strchr(name, '/') && strcmp(name, ".") && strcmp(name, ".."))
		return true;
	request_reply_err(r, -EINVAL);
	return false;
}

struct op *request_op(struct request *r, enum op_kind kind, op_done_fn done)
{
	struct op *op = ring_op_get(r->thread->ring);

	if (!op) {
		request_reply_err(r, -ENOMEM);
		return NULL;
	}
	op->kind = (uint16_t)kind;
	op->done = done;
	op->owner = r;
	if (r->inode && r->mount->backing[r->inode->fs].local)
		op->flags = OPF_QUICK;
	return op;
}

struct creds request_creds(const struct request *r, int umask)
{
	struct creds c = { .uid = r->in->uid, .gid = r->in->gid };
	uint32_t ext = (uint32_t)r->in->total_extlen * 8;

	if (umask >= 0) {
		c.flags |= CREDS_UMASK;
		c.umask = (uint16_t)(umask & 0777);
	}
	if (!r->mount->server->root)
		return c;
	c.flags |= CREDS_SET;
	/* the kernel sends the group of a setgid parent when the caller is in it (uapi fuse.h, FUSE_EXT_GROUPS) */
	while (ext && ext <= r->arg_size && ext >= sizeof(struct uapi_fuse_ext_header)) {
		const char *at = (const char *)r->arg + r->arg_size - ext;
		struct uapi_fuse_ext_header h;
		uint32_t groups[2];
		memcpy(&h, at, sizeof(h));
		if (h.size < sizeof(h) || h.size > ext)
			break;
		if (h.type == UAPI_FUSE_EXT_GROUPS && h.size >= sizeof(h) + sizeof(groups)) {
			memcpy(groups, at + sizeof(h), sizeof(groups));
			if (groups[0] >= 1) {
				c.flags |= CREDS_GROUP;
				c.group = groups[1];
			}
		}
		ext -= h.size;
	}
	return c;
}

/* ---- handles ------------------------------------------------------------------------ */

void request_close_handle(struct server_thread *t, struct mount *m, struct handle *h)
{
	struct inode *i = h->inode;
	unsigned fds = h->has_direct ? 2 : 1;
	enum bfile_close_how how = h->writable ? server_close_speed(m->server, h->file.fd) : BFILE_CLOSE_NOW;

	passthrough_leave(t, m, i, (enum handle_io)h->io, (h->open_flags & O_ACCMODE) == O_RDWR); /* before the close, which may have to be slow */
	dir_cache_closed(m->server, h);
	write_early_closed(m, h);
	if (h->writable)
		server_space_coming(m->server);
	coherence_closing(m, i, h->file.fd);
	durability_put(h->dfile, h->file.fd);
	bfile_close(t->ring, &h->file, how);
	if (h->has_direct)
		bfile_close(t->ring, &h->direct, how);
	atomic_fetch_sub(&m->server->budget.used, fds);
	handle_free(m->handles, h);
	inode_open_count(m->inodes, i, -1);
	server_close_forgotten(t, inode_put(m->inodes, i));
}

void request_release_handle(struct server_thread *t, struct mount *m, struct handle *h)
{
	struct handle *last = handle_put(m->handles, h, true);

	if (last)
		request_close_handle(t, m, last);
}
