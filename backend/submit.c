/* SPDX-License-Identifier: MIT */
/*
 * submit.c - from ring_submit() to the kernel, a worker or a direct call.
 *
 * Entries are only written here; they reach the kernel in ring_wait(), or
 * earlier when the queue is full. Ops that find no entry wait in order.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "ring.h"
#include "tag.h"
#include "util/uapi_io_uring.h"

struct io_uring_sqe *ring_get_sqe(struct ring *r)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&r->uring);

	if (sqe)
		memset(sqe, 0, r->uring.flags & IORING_SETUP_SQE128 ? 2 * sizeof(*sqe) : sizeof(*sqe));
	return sqe;
}

/* ---- entering the kernel ----------------------------------------------------- */

/* Room for command bytes in an entry of 128 and of 64 bytes. */
#define CMD_BYTES_LARGE 80u
#define CMD_BYTES_SMALL 16u

static bool is_soft_error(int res)
{
	return res == -EAGAIN || res == -EBUSY || res == -EINTR || res == -ETIME || res == -ENOMEM;
}

int ring_enter(struct ring *r, bool wait)
{
	struct __kernel_timespec second = { .tv_sec = 1 };
	struct io_uring_cqe *cqe = NULL;
	unsigned head;
	int res;

	if (wait)
		res = io_uring_submit_and_wait_timeout(&r->uring, &cqe, 1, ring_sleeps_short(r) ? &second : NULL, NULL);
	else
		res = io_uring_submit_and_get_events(&r->uring);
	r->enter_no++;
	RING_COUNT(r, enters, 1);
	/* the queue's head tells exactly what was taken, whatever else was answered */
	head = io_uring_smp_load_acquire(r->uring.sq.khead);
	RING_COUNT(r, sqes, head - r->sq_head_seen);
	r->sq_head_seen = head;
	if (res >= 0)
		return wait && !cqe ? -ETIME : 0;
	if (is_soft_error(res))
		return res;
	r->broken = true;
	return res;
}

/* Entries name personalities by number: all must be with the kernel before one goes. */
static bool flush_for_eviction(void *arg)
{
	struct ring *r = arg;

	if (io_uring_sq_ready(&r->uring) > 0)
		(void)ring_enter(r, false); /* a failure shows at the next ring_wait() */
	return io_uring_sq_ready(&r->uring) == 0;
}

/* ---- what an entry needs before it can be written ------------------------------ */

/* The umask of the ring's fs_struct, shared by its kernel workers, can only
 * change while no op that uses it is under way. */
static bool umask_hold(struct ring *r, struct op *op)
{
	struct op_slot *slot = op_slot(op);
	mode_t want = op_umask(op);

	if (!op_makes_name(op) || slot->inject || slot->umask_held)
		return true;
	if (want != r->umask_now) {
		if (r->umask_inflight > 0)
			return false;
		umask(want);
		r->umask_now = want;
	}
	r->umask_inflight++;
	slot->umask_held = true;
	return true;
}

static bool personality_hold(struct ring *r, struct op *op)
{
	struct op_slot *slot = op_slot(op);
	bool is_new = false;
	int id;

	slot->personality = op_row(op)->flags & OPT_WAITS ? 0 : r->own_personality;
	if (creds_is_own(&op->creds) || slot->inject)
		return true;
	if (!ring_has(r, FEATURE_PERSONALITY))
		return false;
	id = personalities_get(&r->personalities, &r->uring, &op->creds, flush_for_eviction, r, &is_new);
	if (id < 0 || id > UINT16_MAX)
		return false;
	RING_COUNT(r, personalities, is_new);
	slot->personality = id;
	return true;
}

static void write_entry(struct ring *r, struct op *op, struct io_uring_sqe *sqe)
{
	const struct op_row *row = op_row(op);
	struct op_slot *slot = op_slot(op);
	int buf_index = op->buf_index;
	int32_t file_slot = -1;

	op->generation = (op->generation + 1) & TAG_GENERATION_MASK;
	op->state = OP_KERNEL;
	slot->enter_no = r->enter_no;
	if (slot->inject) {
		sqe->opcode = IORING_OP_NOP;
		sqe->fd = -1;
		sqe->rw_flags = IORING_NOP_INJECT_RESULT;
		sqe->len = (uint32_t)slot->inject_res;
	} else {
		if (row->flags & OPT_BUFFER && (buf_index < 0 || (unsigned)buf_index >= r->buffers_count))
			op->buf_index = -1;
		row->prep(sqe, op);
		if (row->flags & OPT_BUFFER && op->buf_index >= 0)
			RING_COUNT(r, fixed_buffers, 1);
		op->buf_index = buf_index;
		if (row->flags & OPT_FILE && op->file && !op->path)
			file_slot = bfile_borrow_slot(r, op->file);
	}
	if (file_slot >= 0) {
		sqe->fd = file_slot;
		sqe->flags |= IOSQE_FIXED_FILE;
		RING_COUNT(r, slots_used, 1);
	}
	if (op->flags & OPF_ASYNC || op->sqe_flags & IOSQE_ASYNC)
		sqe->flags |= IOSQE_ASYNC;
	if (slot->link_next && !slot->soft_link)
		sqe->flags |= IOSQE_IO_LINK;
	sqe->personality = (uint16_t)slot->personality;
	sqe->user_data = tag_make(TAG_OP, op->generation, op->index);
}

/* ---- to the ring, alone or as a chain -------------------------------------------- */

static unsigned chain_length(const struct op_slot *slot)
{
	unsigned n = 1;

	if (!slot->soft_link)
		for (; slot->link_next; slot = slot->link_next)
			n++;
	return n;
}

enum push_result { PUSH_DONE, PUSH_FULL, PUSH_NOT_HERE };

/* Write the entries of @op and of the ops linked behind it, or none. */
static enum push_result push(struct ring *r, struct op *op)
{
	struct op_slot *slot;
	unsigned n = chain_length(op_slot(op));

	if (io_uring_sq_space_left(&r->uring) < n)
		return PUSH_FULL;
	slot = op_slot(op);
	for (unsigned i = 0; i < n; i++, slot = slot->link_next)
		if (!umask_hold(r, &slot->op) || !personality_hold(r, &slot->op))
			return PUSH_NOT_HERE;
	slot = op_slot(op);
	for (unsigned i = 0; i < n; i++, slot = slot->link_next)
		write_entry(r, &slot->op, ring_get_sqe(r));
	return PUSH_DONE;
}

void umask_release(struct ring *r, struct op_slot *slot)
{
	if (slot->umask_held)
		r->umask_inflight--;
	slot->umask_held = false;
}

/* The ring cannot take it as it is (umask in use, no personality): a worker can. */
static void divert(struct ring *r, struct op *op)
{
	for (struct op_slot *s = op_slot(op); s; s = s->soft_link ? NULL : s->link_next)
		umask_release(r, s);
	for (struct op_slot *s = op_slot(op), *next; s; s = next) {
		next = s->soft_link ? NULL : s->link_next;
		s->soft_link = s->link_next != NULL;
		if (!creds_is_own(&s->op.creds) || op_makes_name(&s->op))
			s->op.place = OP_PLACE_WORKER;
	}
	ring_start(r, op);
}

static void start_in_ring(struct ring *r, struct op *op)
{
	enum push_result res = r->waiting.head ? PUSH_FULL : push(r, op);

	if (res == PUSH_NOT_HERE) {
		divert(r, op);
	} else if (res == PUSH_FULL) {
		op->state = OP_WAITING;
		op_list_add(&r->waiting, op);
		RING_COUNT(r, waited, 1);
		if (r->waiting.count > stats_get(&r->counters[offsetof(struct ring_stats, waiting_max) / 8]))
			RING_COUNT(r, waiting_max, 1);
	}
}

static bool waiting_push_some(struct ring *r)
{
	bool any = false;

	while (r->waiting.head) {
		struct op *op = r->waiting.head;
		enum push_result res = push(r, op);

		if (res == PUSH_FULL)
			break;
		(void)op_list_take(&r->waiting);
		if (res == PUSH_NOT_HERE) {
			/* others that wait must not be overtaken in the ring, but a worker is no queue of ours */
			divert(r, op);
		}
		any = true;
	}
	return any;
}

void ring_flush_waiting(struct ring *r)
{
	while (r->waiting.head) {
		unsigned before;

		(void)waiting_push_some(r);
		if (!r->waiting.head)
			return;
		before = io_uring_sq_ready(&r->uring);
		if (ring_enter(r, false) < 0)
			return;
		if (r->uring.flags & IORING_SETUP_SQPOLL)
			(void)io_uring_sqring_wait(&r->uring); /* the kernel's thread takes them in its own time */
		if (io_uring_sq_ready(&r->uring) == before)
			return;
	}
}

/* ---- the places -------------------------------------------------------------------- */

static void start_on_worker(struct ring *r, struct op *op)
{
	int res;

	op->state = OP_QUEUED;
	r->with_workers++;
	res = op->flags & OPF_SLOT ? -EFAULT /* the ring alone reaches that memory */ : workers_submit(workers_of(r, op), op);
	if (res < 0) {
		r->with_workers--;
		op->res = res;
		op->state = OP_DONE;
		op_list_add(&r->done, op);
	}
}

/* Not the ring's umask of the moment, and not changeable: a worker has its own. */
static bool inline_umask_fits(struct ring *r, struct op *op)
{
	bool fits = umask_hold(r, op);

	umask_release(r, op_slot(op));
	return fits;
}

static void start_inline(struct ring *r, struct op *op)
{
	struct op_slot *slot = op_slot(op);

	if (slot->inject) {
		op->res = slot->inject_res;
	} else {
		uint64_t begin_ns = slot->quick ? stats_now_ns() : 0;
		int res = creds_enter(&op->creds);

		op->res = res < 0 ? res : op_row(op)->sys(op);
		creds_leave(); /* at once: entries that the ring submits take this thread's identity */
		if (slot->quick)
			ring_note_quick(r, op, begin_ns);
	}
	op->state = OP_DONE;
	if (r->inline_depth >= RING_INLINE_DEPTH_MAX) {
		op_list_add(&r->done, op);
		return;
	}
	r->inline_depth++;
	ring_complete(r, op);
	r->inline_depth--;
}

void ring_start(struct ring *r, struct op *op)
{
	if (op->place == OP_PLACE_INLINE && !inline_umask_fits(r, op))
		op->place = OP_PLACE_WORKER;
	switch ((enum op_place)op->place) {
	case OP_PLACE_INLINE:
		start_inline(r, op);
		break;
	case OP_PLACE_RING:
		start_in_ring(r, op);
		break;
	case OP_PLACE_WORKER:
	case OP_PLACES_COUNT:
		start_on_worker(r, op);
		break;
	}
}

static enum op_place place_of(const struct ring *r, const struct op *op)
{
	const struct op_row *row = op_row(op);
	bool ring_can = row->prep && features_has(&r->b->features, FEATURE_KINDS + op->kind);

	if (row->flags & OPT_LEN32 && op->len > UINT32_MAX)
		ring_can = false;
	if (op->kind == OP_DEVICE_CMD && op->len > (r->uring.flags & IORING_SETUP_SQE128 ? CMD_BYTES_LARGE : CMD_BYTES_SMALL))
		ring_can = false;
	if (row->flags & OPT_NO_SYS)
		return ring_can ? OP_PLACE_RING : OP_PLACE_INLINE;
	if (op->flags & (OPF_WORKER | OPF_AHEAD))
		return OP_PLACE_WORKER;
	if (r->b->cfg.force_ring && ring_can)
		return OP_PLACE_RING;
	if (op->flags & OPF_INLINE)
		return OP_PLACE_INLINE;
	/* a descriptor that we hold: the inode is in memory, a local filesystem does not wait */
	if (op->kind == OP_STATX && op->arg & AT_EMPTY_PATH && op->path && !*op->path)
		return OP_PLACE_INLINE;
	if (row->place == OP_PLACE_RING && !ring_can)
		return (enum op_place)row->fallback;
	return (enum op_place)row->place;
}

/* ---- ring_submit() ----------------------------------------------------------------------- */

/** cached_only() - a look-up that is to fail rather than wait. While such are quick it may as well be done. */
static bool cached_only(const struct op *op)
{
	return op->kind == OP_OPENAT && op->how.resolve & RESOLVE_CACHED;
}

static void prepare(struct ring *r, struct op *op)
{
	struct op_slot *slot = op_slot(op);

	op->creds = creds_normalize(&op->creds, ring_has(r, FEATURE_CALLER_CREDS));
	op->start_ns = 0;
	if (op->kind == OP_OPENAT)
		op->how.flags |= O_CLOEXEC;
	if (op->kind == OP_TIMEOUT) {
		op->ts.sec = (int64_t)(op->off / 1000000000u);
		op->ts.nsec = (long long)(op->off % 1000000000u);
		op->start_ns = stats_now_ns();
	}
	op->place = place_of(r, op);
	slot->quick = (op->place != OP_PLACE_INLINE || cached_only(op)) && ring_op_is_quick(r, op);
	if (slot->quick) {
		op->place = OP_PLACE_INLINE;
		op->how.resolve &= ~(uint64_t)RESOLVE_CACHED;
	}
	if (op->kind == OP_OPENAT && op->place == OP_PLACE_RING && r->b->cfg.force_ring)
		op->how.resolve &= ~(uint64_t)RESOLVE_CACHED;
	if (r->b->inject.rules_count)
		slot->inject = inject_match(&r->b->inject, op->kind, &slot->inject_res);
	RING_COUNT(r, injected, slot->inject);
	if (op->kind == OP_CANCEL && !slot->inject && ring_cancel_here(r, op)) {
		/* the result stands: deliver it by the ordinary inline path */
		slot->inject = true;
		slot->inject_res = (int32_t)op->res;
		op->place = OP_PLACE_INLINE;
	}
	RING_COUNT_AT(r, kind_count, op->kind, 1);
}

/* Start a finished chain: by the kernel when all parts are its, else one after the other. */
static void start_chain(struct ring *r)
{
	struct op_slot *first = r->chain_first;
	bool soft = false;

	r->chain_first = r->chain_last = NULL;
	for (struct op_slot *s = first; s; s = s->link_next)
		if (s->op.place != OP_PLACE_RING || s->inject)
			soft = true;
	if (chain_length(first) > r->uring.sq.ring_entries)
		soft = true;
	for (struct op_slot *s = first; s; s = s->link_next)
		s->soft_link = soft && s->link_next;
	ring_start(r, &first->op);
}

void ring_close_chain(struct ring *r)
{
	if (r->chain_first)
		start_chain(r);
}

void ring_submit(struct op *op)
{
	struct ring *r = op->ring;
	struct op_slot *slot = op_slot(op);

	if (slot->internal)
		r->internal_outstanding++;
	else
		r->outstanding++;
	prepare(r, op);
	if (!r->chain_first && !(op->flags & OPF_LINK)) {
		ring_start(r, op);
		return;
	}
	op->state = OP_CHAINED;
	if (r->chain_last)
		r->chain_last->link_next = slot;
	else
		r->chain_first = slot;
	r->chain_last = slot;
	if (!(op->flags & OPF_LINK))
		start_chain(r);
}

void ring_submit_again(struct op *op)
{
	struct ring *r = op->ring;

	op->retries = op->sqe_flags = 0;
	op->progress = 0;
	if (op->place != OP_PLACE_RING || op->creds.flags || r->waiting.head || r->chain_first || r->b->inject.rules_count ||
	    !io_uring_sq_space_left(&r->uring)) {
		ring_submit(op);
		return;
	}
	/* all that is to be decided was decided the first time */
	r->outstanding++;
	RING_COUNT_AT(r, kind_count, op->kind, 1);
	write_entry(r, op, ring_get_sqe(r));
}

void ring_submit_internal(struct op *op)
{
	op_slot(op)->internal = true;
	ring_submit(op);
}
