/* SPDX-License-Identifier: MIT */
/* transport_uring.c - the life of a ring entry; see transport_uring.h. */
#include "fs/transport_uring.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/util/log.h"
#include "fs/lock.h"
#include "fs/request.h"
#include "fs/request_pool.h"
#include "fs/session.h"
#include "fs/transport.h"

/** In front of the payload: the header at its start, the message at its end. */
#define HEAD_PAGE 4096u
#define COMMAND_TRIES_MAX 1000u
#define GROW_PAUSE_NS 100000000u
/** So many turns have brought all entries of a queue: with more entries the turns bring more. */
#define ALL_CAME_MAX 16u
/** Ops that entries leave to the requests themselves, and to lock waiters (an entry and a timeout each). */
#define OPS_RESERVE 64u

/* ---- entries --------------------------------------------------------------------- */

int uring_entry_add(struct uring_channel *u, struct uring_queue *q)
{
	struct server_thread *t = u->channel->thread;
	unsigned reserve = OPS_RESERVE + (t->parked ? 0 : 2 * LOCK_WAITS_MAX);
	struct uring_entry *e;
	int slot;

	if (ring_ops_free(t->ring) <= reserve)
		return -EAGAIN;
	e = calloc(1, sizeof(*e));
	if (!e)
		return -ENOMEM;
	slot = q->pool ? zero_copy_slot_get(t) : 0;
	e->r = slot >= 0 ? request_pool_keep(u->channel) : NULL;
	e->op = e->r ? ring_op_get(t->ring) : NULL;
	if (!e->op) {
		if (e->r)
			request_pool_unkeep(e->r);
		if (slot > 0)
			zero_copy_slot_put(t, slot);
		free(e);
		return -ENOMEM;
	}
	e->uring = u;
	e->queue = q;
	e->slot = slot;
	e->r->entry = e;
	e->home = t;
	e->home_buffers = t->buffers_version;
	e->home_buf_index = e->r->buf_index;
	e->head = (struct uapi_fuse_uring_req_header *)(void *)((char *)e->r->payload - HEAD_PAGE);
	e->iov[0] = (struct iovec){ e->head, sizeof(*e->head) };
	if (!q->pool)
		e->iov[1] = (struct iovec){ e->r->payload, e->r->payload_size };
	e->cmd.qid = q->qid;
	e->next = u->entries;
	u->entries = e;
	q->entries++;
	stats_add(&t->uring_entries, 1);
	return 0;
}

void uring_entry_uncount(struct uring_entry *e)
{
	struct server_thread *t = e->r->thread;
	struct uring_entry **at = &e->uring->entries;

	while (*at != e)
		at = &(*at)->next;
	*at = e->next;
	e->queue->entries--;
	if (e->queue->guest)
		atomic_fetch_sub_explicit(&t->share.guests, 1, memory_order_relaxed);
	atomic_store_explicit(&t->uring_entries, stats_get(&t->uring_entries) - 1, memory_order_relaxed);
}

void uring_entry_drop(struct uring_entry *e)
{
	struct server_thread *t = e->r->thread;

	uring_entry_uncount(e);
	if (e->op) /* one that has come from another thread, too late, has none */
		ring_op_put(e->op);
	request_pool_unkeep(e->r);
	if (e->slot)
		zero_copy_slot_put(t, e->slot);
	free(e);
}

static void command_done(struct op *op);

void uring_command(struct op *op, struct uring_channel *u, uint32_t command, struct uapi_fuse_uring_cmd_req *cmd)
{
	op->kind = OP_DEVICE_CMD;
	op->flags = OPF_ONCE;
	op->file = &u->file;
	op->arg = command;
	op->buf = cmd;
	op->len = sizeof(*cmd);
}

static void submit(struct uring_entry *e)
{
	struct op *op = e->op;

	e->queue->in_kernel++;
	e->queue->command_turn = e->uring->turn;
	e->uring->channel->held++;
	e->r->thread->uring_held++;
	if (op->done && op->arg == e->command) {
		ring_submit_again(op);
		return;
	}
	uring_command(op, e->uring, e->command, &e->cmd);
	op->iov = e->command == UAPI_FUSE_IO_URING_CMD_REGISTER ? e->iov : NULL;
	op->iov_count = op->iov ? 2 : 0;
	op->done = command_done;
	op->owner = e;
	ring_submit(op);
}

static void command(struct uring_entry *e, uint32_t what)
{
	e->command = what;
	e->cmd.ent_zero_copy_buf_index = what == UAPI_FUSE_IO_URING_CMD_REGISTER ? (uint16_t)e->slot : 0;
	e->tries = 0;
	submit(e);
}

void uring_entry_register(struct uring_entry *e)
{
	command(e, UAPI_FUSE_IO_URING_CMD_REGISTER);
}

void uring_entry_commit(struct uring_entry *e)
{
	command(e, UAPI_FUSE_IO_URING_CMD_COMMIT_AND_FETCH);
}

/* ---- a request ------------------------------------------------------------------- */

/** answer_with() - an error in the place of a reply that cannot be sent as it is. */
static void answer_with(struct uring_entry *e, uint64_t unique, int error)
{
	const struct fuse_out_header out = { .len = sizeof(out), .error = error, .unique = unique };

	memcpy(e->head->in_out, &out, sizeof(out));
	e->head->ent.payload_sz = 0;
	e->answered = true;
}

/** assemble() - one contiguous message, as libfuse wants it. As uring_pool_message(). */
static char *assemble(struct uring_entry *e, const struct fuse_in_header *in, size_t *ret_len)
{
	struct request *r = e->r;
	uint32_t payload = e->head->ent.payload_sz, args;
	char *at;

	if (payload > r->payload_size || in->len < sizeof(*in) + payload)
		return NULL;
	args = in->len - (uint32_t)sizeof(*in) - payload;
	if (args > sizeof(e->head->op_in))
		return NULL;
	/* arguments give way to the reply, but for data to write, which lies aligned where it is */
	r->payload_free = in->opcode != FUSE_WRITE && in->len <= REQUEST_ARGS_SIZE;
	at = r->payload_free ? r->args_buf : (char *)r->payload - args - sizeof(*in);
	memcpy(at, in, sizeof(*in));
	memcpy(at + sizeof(*in), e->head->op_in, args);
	if (r->payload_free)
		memcpy(at + sizeof(*in) + args, r->payload, payload);
	e->at = r->payload;
	e->at_size = r->payload_size;
	*ret_len = in->len;
	return at;
}

/** count_arrival() - for the size of @q: one more request in this turn. */
static void count_arrival(struct uring_channel *u, struct uring_queue *q)
{
	if (q->came_turn != u->turn) {
		q->came_turn = u->turn;
		q->came = 0;
	}
	if (++q->came == q->entries && ++q->all_came == ALL_CAME_MAX)
		u->starved = true;
}

static void arrived(struct uring_entry *e)
{
	struct thread_stats *st = &e->r->thread->stats;
	struct fuse_in_header in;
	char *message;
	size_t len;

	memcpy(&in, e->head->in_out, sizeof(in));
	e->cmd.commit_id = e->head->ent.commit_id;
	e->answered = false;
	message = e->queue->pool ? uring_pool_message(e, &in, &len) : assemble(e, &in, &len);
	if (!message) {
		stats_add(&st->bad_requests, 1);
		answer_with(e, in.unique, -EIO);
		command(e, UAPI_FUSE_IO_URING_CMD_COMMIT_AND_FETCH);
		return;
	}
	stats_add(&st->requests_uring, 1);
	if (!e->queue->guest) {
		placement_cpu_caller(e->r->thread, e->queue->qid);
		count_arrival(e->uring, e->queue);
	}
	if (in.opcode == FUSE_SETLKW && e->queue->piled) /* it may come from the pile, and there may be more behind it */
		uring_kick_wanted(e->uring, e->queue);
	request_receive(e->r, message, len);
}

/** broken() - a reply was refused: its caller would wait for ever. */
static void broken(const struct uring_entry *e, int error)
{
	struct mount *m = e->uring->channel->mount;

	log_error("%s: the kernel refused a reply by FUSE-over-io_uring: %s; aborting the connection (transport=dev does without)",
		  m->mountpoint, strerror(-error));
	if (!session_abort(m))
		_exit(1);
}

static bool connection_over(int64_t res)
{
	/* ECANCELED: the ring is being taken down */
	return res == -ENOTCONN || res == -ECONNABORTED || res == -ENODEV || res == -ECANCELED;
}

/**
 * is_gone() - whether the connection has ended
 *
 * An answer that meets the end half-way gets ENOENT or EIO: the kernel has already taken its request away. It has told the
 * readers of /dev/fuse before (fs/fuse/inode.c, fuse_abort_conn(), Linux 6.14 to 6.18).
 */
static bool is_gone(const struct uring_channel *u)
{
	struct pollfd fuse = { .fd = u->file.fd };

	return poll(&fuse, 1, 0) == 1 && fuse.revents & POLLERR;
}

/** refused() - the entry is in our hands again, and stays there. */
static void refused(struct uring_entry *e, int res)
{
	struct uring_channel *u = e->uring;

	if (connection_over(res) || is_gone(u)) {
		u->channel->ended = true;
	} else if (e->command == UAPI_FUSE_IO_URING_CMD_REGISTER) {
		u->refused = u->refused ? u->refused : res;
		u->grow_after_ns = stats_now_ns() + GROW_PAUSE_NS;
	} else if (!u->closed) {
		broken(e, res);
		u->channel->ended = true;
	}
	uring_entry_drop(e);
	if (!u->entries && u->refused)
		u->channel->ended = true; /* the kernel took none: of this connection's end nobody would tell it */
}

static void command_done(struct op *op)
{
	struct uring_entry *e = op->owner;
	struct uring_channel *u = e->uring;
	int64_t res = op->res;

	op_keep(op); /* for the entry's next command */
	if (--e->queue->in_kernel == 0 && !e->queue->guest) {
		u->starved = true;
		uring_kick_wanted(u, e->queue);
	}
	u->channel->held--;
	e->r->thread->uring_held--;
	if ((res == -EAGAIN || res == -EINTR) && ++e->tries < COMMAND_TRIES_MAX)
		submit(e);
	else if (res < 0 || u->closed)
		refused(e, res < 0 ? (int)res : -ENOTCONN);
	else
		arrived(e);
}

/* ---- the transport's functions ------------------------------------------------------ */

static int uring_reply(struct request *r, const struct iovec *iov, int iov_count)
{
	const struct fuse_out_header *out = iov[0].iov_base;
	struct uring_entry *e = r->entry;
	size_t size = 0;
	char *at;

	if (r->channel->ended)
		return -ENOENT;
	for (int n = 1; n < iov_count; n++)
		size += iov[n].iov_len;
	if (size > e->at_size) {
		answer_with(e, r->in->unique, -EIO);
		return -EIO;
	}
	/* from the end, for the last part may lie in the payload already; a read's does just where it is to be */
	at = e->at + size;
	for (int n = iov_count; n-- > 1;) {
		at -= iov[n].iov_len;
		if (at != iov[n].iov_base)
			memmove(at, iov[n].iov_base, iov[n].iov_len);
	}
	memcpy(e->head->in_out, out, sizeof(*out));
	/* a read into the caller's pages has no data here */
	e->head->ent.payload_sz = e->at_size ? (uint32_t)size : out->len - (uint32_t)sizeof(*out);
	e->answered = true;
	return 0;
}

static void uring_end(struct request *r)
{
	struct uring_entry *e = r->entry;

	if (e->queue->pool)
		uring_pool_end(e);
	if (r->channel->ended) {
		uring_entry_drop(e);
		return;
	}
	if (!e->answered) /* what wants no reply does not come this way; but an entry never stays behind */
		answer_with(e, r->in->unique, 0);
	if (!uring_share_end(e))
		uring_entry_commit(e);
}

/**
 * grow() - entries for a queue that has none in the kernel
 * @waiting: requests that wait for a lock, each of which adds one to the limit
 * Return: false when there can be none
 */
static bool grow(struct uring_channel *u, struct uring_queue *q, unsigned waiting)
{
	const struct server_thread *t = u->channel->thread;
	unsigned most = t->server->opt.queue_depth + waiting, add = q->entries ? q->entries : 1;

	if (q->entries + q->lent >= most || (u->grow_after_ns && stats_now_ns() < u->grow_after_ns))
		return false;
	if (add > most - q->entries - q->lent)
		add = most - q->entries - q->lent;
	while (add-- > 0 && uring_entry_add(u, q) == 0)
		uring_entry_register(u->entries);
	return q->in_kernel > 0;
}

/** replenish() - @q was without an entry in the kernel, or has too few. Return: false: it still has none there */
static bool replenish(struct uring_channel *u, struct uring_queue *q)
{
	if (q->in_kernel && q->all_came < ALL_CAME_MAX)
		return true;
	q->all_came = 0;
	return grow(u, q, u->channel->thread->parked) || q->in_kernel;
}

static bool uring_poll(struct channel *c)
{
	struct uring_channel *u = c->uring;
	bool more;

	u->turn++;
	uring_share_move(u);
	more = uring_share_take(u);
	if (c->ended || c->stopping)
		return more;
	if (u->starved) {
		u->starved = false;
		for (unsigned n = 0; n < u->queues_count; n++)
			u->starved |= !replenish(u, &u->queues[n]);
	}
	if (u->kick_wait_ns)
		uring_kick(u);
	return more;
}

static bool uring_may_wait(struct request *r)
{
	struct uring_entry *e = r->entry;

	return e->queue->in_kernel > 0 || grow(e->uring, e->queue, r->thread->parked + 1);
}

static int uring_open(struct channel *c)
{
	int fd;

	if (c->uring->file.fd >= 0)
		return 0;
	fd = fcntl(session_fd(c->mount), F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	bfile_init(&c->uring->file, fd);
	return 0;
}

static void uring_stop(struct channel *c)
{
	c->stopping = true;
}

static void uring_close(struct channel *c)
{
	struct uring_channel *u = c->uring;
	struct server_thread *t = c->thread;

	u->closed = true;
	if (u->entries) { /* told to stop while the connection lives: they end with the ring */
		u->next = t->uring_left;
		t->uring_left = u;
		return;
	}
	bfile_close(t->ring, &u->file, false);
	uring_channel_free(u);
	c->uring = NULL;
}

void uring_channel_free(struct uring_channel *u)
{
	while (u->entries) {
		struct uring_entry *e = u->entries;
		u->entries = e->next;
		free(e); /* its op and request have gone with ring and pool */
	}
	uring_kick_end(u);
	if (u->file.fd >= 0)
		(void)close(u->file.fd); /* a device: nothing was written through it */
	for (unsigned n = 0; n < u->queues_count; n++)
		uring_pool_free(&u->queues[n]);
	free(u->queues);
	free(u);
}

void transport_uring_free(struct server_thread *t)
{
	while (t->uring_left) {
		struct uring_channel *u = t->uring_left;
		t->uring_left = u->next;
		uring_channel_free(u);
	}
}

const struct transport transport_uring = {
	.name = "uring",
	.open = uring_open,
	.poll = uring_poll,
	.reply = uring_reply,
	.end = uring_end,
	.may_wait = uring_may_wait,
	.stop = uring_stop,
	.close = uring_close,
};
