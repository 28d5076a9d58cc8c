/* SPDX-License-Identifier: MIT */
/*
 * transport_uring_pool.c - queues whose requests bring the callers' pages in slots; see zero_copy.h and transport_uring.h.
 *
 * Such a queue has no payload buffer for each entry but a pool, from which the kernel picks one for a request that has more to say,
 * or to be told, than what its header and its slot hold. A request's payload lies there, and its reply goes there.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "fs/request.h"
#include "fs/serve.h"
#include "fs/transport_uring.h"

/** Milliseconds that the kernel has for a command that it answers at once. */
#define ANSWER_LOOKS_MAX 5000u

/** uring_pool_buffer() - bytes of one: what the kernel cuts the pool into (fs/fuse/dev_uring.c, max_payload_sz). */
static size_t uring_pool_buffer(const struct mount *m)
{
	return m->max_write > UAPI_FUSE_URING_PAYLOAD_MIN ? m->max_write : UAPI_FUSE_URING_PAYLOAD_MIN;
}

int uring_pool_make(const struct mount *m, struct uring_queue *q)
{
	/* one for each entry but those that lock waiters add: these have none, they neither bring nor get a payload */
	size_t size = m->server->opt.queue_depth * uring_pool_buffer(m);
	char *pool;

	if (size > UINT32_MAX) /* the command's limit; the kernel keeps requests waiting for a buffer */
		size = UINT32_MAX / uring_pool_buffer(m) * uring_pool_buffer(m);
	pool = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (pool == MAP_FAILED)
		return -ENOMEM;
	q->pool = pool;
	q->pool_size = size;
	return 0;
}

void uring_pool_free(struct uring_queue *q)
{
	if (q->pool)
		(void)munmap(q->pool, q->pool_size); /* a whole mapping */
	q->pool = NULL;
}

/* ---- a request -------------------------------------------------------------------- */

/** fits() - the kernel's numbers. */
static bool fits(const struct uring_entry *e, const struct fuse_in_header *in, uint32_t *ret_args)
{
	const struct uapi_fuse_uring_ent_in_out *ent = &e->head->ent;
	size_t buffer = uring_pool_buffer(e->uring->channel->mount);
	uint32_t args = in->len - (uint32_t)sizeof(*in) - ent->payload_sz;

	if (ent->offset % buffer || ent->offset > e->queue->pool_size - buffer || ent->payload_sz > buffer)
		return false;
	if (in->len < sizeof(*in) + ent->payload_sz || args > sizeof(e->head->op_in))
		return false;
	if (in->opcode == FUSE_READ && (args < sizeof(struct fuse_read_in) || ent->payload_sz ||
					((const struct fuse_read_in *)(const void *)e->head->op_in)->size > buffer))
		return false;
	*ret_args = args;
	return !(ent->flags & UAPI_FUSE_URING_ENT_ZERO_COPY) || in->opcode == FUSE_READ || in->opcode == FUSE_WRITE;
}

/** place() - where a message of @args and @payload bytes behind its header goes, and what follows its arguments. */
static char *place(struct request *r, const struct fuse_in_header *in, uint32_t args, const char *data, uint32_t payload)
{
	char *at = r->args_buf;

	r->payload_free = in->opcode == FUSE_WRITE || in->len <= REQUEST_ARGS_SIZE;
	if (in->opcode == FUSE_WRITE) {
		r->apart = r->slot >= 0 ? NULL : data;
		r->apart_size = payload;
		return at;
	}
	if (!r->payload_free)
		at = (char *)r->payload - args - sizeof(*in);
	if (payload)
		memcpy(at + sizeof(*in) + args, data, payload);
	return at;
}

char *uring_pool_message(struct uring_entry *e, const struct fuse_in_header *in, size_t *ret_len)
{
	struct thread_stats *st = &e->r->thread->stats;
	struct request *r = e->r;
	char *data, *at;
	uint32_t args;

	r->slot = -1;
	r->apart_size = 0;
	e->at_size = 0;
	if (!fits(e, in, &args))
		return NULL;
	data = e->queue->pool + e->head->ent.offset;
	if (e->head->ent.flags & UAPI_FUSE_URING_ENT_ZERO_COPY) {
		r->slot = e->slot;
		stats_add(in->opcode == FUSE_READ ? &st->zero_copy_reads : &st->zero_copy_writes, 1);
	} else if (in->opcode == FUSE_READ || in->opcode == FUSE_WRITE) {
		stats_add(&st->zero_copy_not, 1);
	}
	at = place(r, in, args, data, e->head->ent.payload_sz);
	memcpy(at, in, sizeof(*in));
	memcpy(at + sizeof(*in), e->head->op_in, args);
	*ret_len = sizeof(*in) + args + (in->opcode == FUSE_WRITE ? 0 : e->head->ent.payload_sz);
	e->at = data;
	if (in->opcode != FUSE_READ || r->slot < 0)
		e->at_size = uring_pool_buffer(r->mount);
	if (in->opcode == FUSE_READ && r->slot < 0) { /* straight to where the kernel takes it */
		e->own_payload = r->payload;
		r->payload = data;
	}
	return at;
}

void uring_pool_end(struct uring_entry *e)
{
	if (e->own_payload)
		e->r->payload = e->own_payload;
	e->own_payload = NULL;
	e->r->slot = -1;
	e->r->apart_size = 0;
}

/* ---- before the first entry is registered ----------------------------------------------- */

static void asked(struct op *op)
{
	struct uring_queue *q = op->owner;

	q->pool_res = (int)op->res;
	q->pool_asked = false;
}

/** One round of questions: the argument of add(). */
struct round {
	struct mount *m;
	uint32_t command; /* UAPI_FUSE_IO_URING_CMD_ADD_ */
};

static void ask(struct server_thread *t, struct uring_channel *u, struct uring_queue *q, uint32_t command)
{
	struct op *op = ring_op_get(t->ring);

	q->pool_res = op ? 0 : -ENOMEM;
	if (!op)
		return;
	q->pool_cmd = (struct uapi_fuse_uring_cmd_req){ .qid = q->qid };
	if (command == UAPI_FUSE_IO_URING_CMD_ADD_QUEUE) {
		q->pool_cmd.flags = UAPI_FUSE_URING_ZERO_COPY;
	} else {
		q->pool_cmd.bufpool.uaddr = (uint64_t)(uintptr_t)q->pool;
		q->pool_cmd.bufpool.len = (uint32_t)q->pool_size;
	}
	uring_command(op, u, command, &q->pool_cmd);
	op->done = asked;
	op->owner = q;
	q->pool_asked = true;
	ring_submit(op);
}

static struct uring_channel *uring_of(const struct server_thread *t, const struct mount *m)
{
	return m->channels[t->server->threads_count + t->index].uring;
}

static int add(struct server_thread *t, void *arg)
{
	const struct round *round = arg;
	struct uring_channel *u = uring_of(t, round->m);

	for (unsigned n = 0; u && n < u->queues_count; n++)
		ask(t, u, &u->queues[n], round->command);
	return 0;
}

/** answers() - what they said. Return 0; -EBUSY not all have; another -errno: the first refusal. */
static int answers(struct server_thread *t, void *arg)
{
	struct uring_channel *u = uring_of(t, arg);
	int res = 0;

	for (unsigned n = 0; u && n < u->queues_count; n++) {
		if (u->queues[n].pool_asked)
			return -EBUSY;
		if (u->queues[n].pool_res < 0 && res == 0)
			res = u->queues[n].pool_res;
	}
	return res;
}

/** any_taken() - 1 when the kernel has taken a command of the last round. */
static int any_taken(struct server_thread *t, void *arg)
{
	struct uring_channel *u = uring_of(t, arg);

	for (unsigned n = 0; u && n < u->queues_count; n++)
		if (u->queues[n].pool_res >= 0)
			return 1;
	return 0;
}

/** ask_all() - one command for each queue. Return 0, or -errno of one that was refused. */
static int ask_all(struct mount *m, uint32_t command)
{
	const struct timespec ms = { .tv_nsec = 1000000 };
	struct round round = { .m = m, .command = command };
	int res = serve_call(m->server, add, &round);

	for (unsigned n = 0; n < ANSWER_LOOKS_MAX && res == 0; n++) {
		res = serve_call(m->server, answers, m);
		if (res != -EBUSY)
			return res;
		res = 0;
		(void)nanosleep(&ms, NULL);
	}
	return res < 0 ? res : -ETIMEDOUT;
}

int transport_uring_pools(struct mount *m)
{
	int res = ask_all(m, UAPI_FUSE_IO_URING_CMD_ADD_QUEUE);

	if (res < 0) {
		snprintf(m->zero_copy_why, sizeof(m->zero_copy_why), "the kernel refused the queues: %s%s", strerror(-res),
			 res == -EPERM ? " (it needs CAP_SYS_ADMIN outside of any container)" : "");
		return serve_call(m->server, any_taken, m) ? -EBADE : -EAGAIN;
	}
	res = ask_all(m, UAPI_FUSE_IO_URING_CMD_ADD_BUFPOOL);
	if (res < 0) {
		snprintf(m->zero_copy_why, sizeof(m->zero_copy_why), "the kernel refused the payload buffers: %s", strerror(-res));
		return -EBADE;
	}
	return 0;
}
