/* SPDX-License-Identifier: MIT */
/* ring.c - set-up and end of a ring, its pool of ops, its figures. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ring.h"
#include "tag.h"
#include "util/errno_util.h"
#include "util/uapi_io_uring.h"

static unsigned taskrun_flags(const struct ring *r)
{
	enum backend_taskrun want = r->b->cfg.taskrun;

	if (r->b->cfg.sqpoll_idle_ms) /* the kernel refuses both together */
		return 0;
	if ((want == TASKRUN_AUTO || want == TASKRUN_DEFER) && ring_has(r, FEATURE_DEFER_TASKRUN))
		return IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
	if (want != TASKRUN_NONE && ring_has(r, FEATURE_COOP_TASKRUN))
		return IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
	return 0;
}

static int uring_make(struct ring *r)
{
	const struct backend_config *cfg = &r->b->cfg;
	struct io_uring_params params = { .flags = IORING_SETUP_CQSIZE, .cq_entries = cfg->entries * 4 };
	int res;

	params.flags |= taskrun_flags(r);
	if (ring_has(r, FEATURE_SQE128))
		params.flags |= IORING_SETUP_SQE128;
	if (ring_has(r, FEATURE_CQE32))
		params.flags |= IORING_SETUP_CQE32;
	if (ring_has(r, FEATURE_SUBMIT_ALL))
		params.flags |= IORING_SETUP_SUBMIT_ALL;
	if (ring_has(r, FEATURE_SINGLE_ISSUER))
		params.flags |= IORING_SETUP_SINGLE_ISSUER;
	if (ring_has(r, FEATURE_NO_SQARRAY))
		params.flags |= IORING_SETUP_NO_SQARRAY;
	if (cfg->sqpoll_idle_ms) {
		params.flags |= IORING_SETUP_SQPOLL;
		params.sq_thread_idle = cfg->sqpoll_idle_ms;
	}
	res = io_uring_queue_init_params(cfg->entries, &r->uring, &params);
	if (res < 0)
		return res;
	r->uring_made = true;
	(void)io_uring_ring_dontfork(&r->uring); /* only tidier: the daemon does not fork after this */
	return 0;
}

/* The kernel refuses a table that is larger than the limit of open files. */
static unsigned slots_allowed(unsigned wanted)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < wanted)
		return (unsigned)limit.rlim_cur;
	return wanted;
}

static void iowq_pin(struct ring *r, int cpu)
{
	cpu_set_t cpus;

	if (!ring_has(r, FEATURE_IOWQ_AFF))
		return;
	CPU_ZERO(&cpus);
	CPU_SET(cpu, &cpus);
	(void)io_uring_register_iowq_aff(&r->uring, sizeof(cpus), &cpus); /* refused: they run anywhere */
}

/* What makes the ring better but is not needed: a refusal costs speed only. */
static void uring_tune(struct ring *r, int cpu)
{
	const struct backend_config *cfg = &r->b->cfg;
	unsigned limits[2] = { cfg->iowq_bounded, cfg->iowq_unbounded };

	if (ring_has(r, FEATURE_REGISTERED_FD))
		(void)io_uring_register_ring_fd(&r->uring);
	if (ring_has(r, FEATURE_IOWQ_MAX) && (limits[0] || limits[1]))
		(void)io_uring_register_iowq_max_workers(&r->uring, limits);
	if (cpu >= 0)
		iowq_pin(r, cpu);
	if (ring_has(r, FEATURE_REGISTERED_FILES) && cfg->file_slots)
		r->has_files = filetable_init(&r->files, &r->uring, slots_allowed(cfg->file_slots)) == 0;
	else
		(void)filetable_init(&r->files, &r->uring, 0);
}

/* Pin the calling thread to its CPU. Return: the CPU; -1: not pinned */
static int pin_thread(const struct ring *r)
{
	int cpu = backend_ring_cpu(r->b, r->index);
	cpu_set_t one;

	if (cpu < 0)
		return -1;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	return sched_setaffinity(0, sizeof(one), &one) == 0 ? cpu : -1;
}

int ring_move(struct ring *r, int cpu)
{
	cpu_set_t one;

	if (cpu < 0 || cpu >= CPU_SETSIZE)
		return -EINVAL;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	if (sched_setaffinity(0, sizeof(one), &one) < 0)
		return -errno;
	iowq_pin(r, cpu);
	return 0;
}

static int pool_make(struct ring *r)
{
	unsigned count = r->b->cfg.ops_count;

	r->slots = calloc(count, sizeof(*r->slots));
	if (!r->slots)
		return -ENOMEM;
	for (unsigned i = count; i-- > 0;) {
		struct op *op = &r->slots[i].op;

		op->ring = r;
		op->index = i;
		op->next = r->free_ops;
		r->free_ops = op;
	}
	r->ops_free = count;
	return 0;
}

static void ring_unmake(struct ring *r)
{
	if (r->uring_made) {
		/* the kernel takes a closed ring apart later, by a work item: what its file table holds would keep
		   the filesystem of SOURCE in use for a moment after the process has ended */
		(void)io_uring_unregister_files(&r->uring); /* -ENXIO: there is none */
		io_uring_queue_exit(&r->uring);
	}
	r->uring_made = false;
	if (r->proc_fd >= 0)
		(void)close(r->proc_fd); /* O_PATH: nothing to lose */
	r->proc_fd = -1;
	free(r->slots);
	r->slots = NULL;
	r->free_ops = NULL;
}

/*
 * A kernel worker is a clone of this thread with the credentials of that moment, and the moment may be
 * one in which the thread wears a caller's identity to register it (io-wq makes workers in task work).
 * So every op that names files says whose it is, also those of the daemon itself.
 */
static void own_personality_register(struct ring *r)
{
	int id = ring_has(r, FEATURE_PERSONALITY) ? io_uring_register_personality(&r->uring) : 0;

	r->own_personality = id > 0 && id <= UINT16_MAX ? (uint16_t)id : 0;
}

int ring_create(struct backend *b, unsigned index, struct ring **ret_r)
{
	struct ring *r;
	int res;

	if (index >= b->cfg.rings_count || atomic_load(&b->rings[index]))
		return -EINVAL;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->b = b;
	r->index = index;
	r->event_fd = r->proc_fd = -1;
	/* kernel workers are clones of this thread and share its fs_struct: so its umask is theirs */
	res = (int)errno_result(unshare(CLONE_FS));
	if (res == 0) {
		umask(0);
		personalities_init(&r->personalities);
		res = pool_make(r);
	}
	if (res == 0) {
		int cpu = pin_thread(r);

		res = uring_make(r);
		if (res == 0)
			uring_tune(r, cpu);
	}
	if (res == 0)
		own_personality_register(r);
	if (res == 0 && ring_has(r, FEATURE_XATTR_AT))
		r->proc_fd = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC); /* without /proc nothing of all this works: main.c says so */
	if (res == 0)
		res = post_init(r);
	if (res < 0) {
		ring_unmake(r);
		if (r->event_fd >= 0)
			close(r->event_fd);
		filetable_fini(&r->files);
		free(r);
		return res;
	}
	bfile_retire_init(r);
	atomic_store(&b->rings[index], r);
	*ret_r = r;
	return 0;
}

/* Device commands may have no end but the ring's (FUSE_IO_URING entries that wait for a request). */
static unsigned device_commands_left(const struct ring *r)
{
	unsigned n = 0;

	for (unsigned i = 0; i < r->b->cfg.ops_count; i++)
		n += r->slots[i].op.state == OP_KERNEL && r->slots[i].op.kind == OP_DEVICE_CMD;
	return n;
}

void ring_destroy(struct ring *r)
{
	if (!r)
		return;
	assert(r->outstanding == device_commands_left(r));
	post_shutdown(r);
	bfile_retire_rest(r);
	ring_unmake(r);
}

int ring_register_buffers(struct ring *r, const struct iovec *iov, unsigned count)
{
	int res;

	if (count > RING_BUFFERS_MAX)
		return -EINVAL;
	if (!ring_has(r, FEATURE_REGISTERED_BUFFERS))
		return -EOPNOTSUPP;
	if (r->has_buffers) {
		res = io_uring_unregister_buffers(&r->uring);
		if (res < 0)
			return res;
		r->has_buffers = false;
		r->buffers_count = 0;
	}
	if (count == 0)
		return 0;
	res = io_uring_register_buffers(&r->uring, iov, count);
	if (res < 0)
		return res;
	r->has_buffers = true;
	r->buffers_count = count;
	return 0;
}

int ring_clear_buffer(struct ring *r, unsigned index)
{
	const struct iovec none = { 0 };
	const __u64 tag = 0;
	int res;

	if (!r->has_buffers || index >= r->buffers_count)
		return -EINVAL;
	res = io_uring_register_buffers_update_tag(&r->uring, index, &none, &tag, 1);
	return res < 0 ? res : 0;
}

/* ---- the pool -------------------------------------------------------------- */

static void op_make_fresh(struct op *op)
{
	struct ring *r = op->ring;
	uint32_t index = op->index, generation = op->generation;

	memset(op_slot(op), 0, sizeof(struct op_slot));
	op->ring = r;
	op->index = index;
	op->generation = generation;
	op->fd = op->fd2 = -1;
	op->buf_index = -1;
	op->state = OP_READY;
}

struct op *ring_op_get(struct ring *r)
{
	struct op *op = r->free_ops;

	if (!op)
		return NULL;
	r->free_ops = op->next;
	r->ops_free--;
	op_make_fresh(op);
	return op;
}

unsigned ring_ops_free(const struct ring *r)
{
	return r->ops_free;
}

void ring_op_put(struct op *op)
{
	struct ring *r = op->ring;

	assert(op->state == OP_READY || op->state == OP_CALLBACK);
	op->state = OP_FREE;
	op->generation = (op->generation + 1) & TAG_GENERATION_MASK;
	op->next = r->free_ops;
	r->free_ops = op;
	r->ops_free++;
}

void op_reuse(struct op *op)
{
	assert(op->state == OP_CALLBACK);
	op->generation = (op->generation + 1) & TAG_GENERATION_MASK;
	op_make_fresh(op);
}

void op_keep(struct op *op)
{
	assert(op->state == OP_CALLBACK);
	op->state = OP_READY;
}

/* ---- figures --------------------------------------------------------------- */

unsigned ring_outstanding(const struct ring *r)
{
	return r->outstanding;
}

unsigned ring_index(const struct ring *r)
{
	return r->index;
}

void ring_stats_add(const struct ring *r, struct ring_stats *sum)
{
	const size_t waiting_max = offsetof(struct ring_stats, waiting_max) / sizeof(uint64_t);
	uint64_t *out = (uint64_t *)sum;

	for (size_t i = 0; i < RING_COUNTERS; i++) {
		uint64_t n = stats_get(&r->counters[i]);

		if (i != waiting_max)
			out[i] += n;
		else if (n > out[i])
			out[i] = n;
	}
}
