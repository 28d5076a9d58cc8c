/* SPDX-License-Identifier: MIT */
/* fake_ring.c - see fake_ring.h. */
#include "fake_ring.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/tag.h"

struct fake_control fake;

struct script {
	unsigned take;
	int error;
};

struct late {
	uint64_t user_data;
	int res;
};

static struct io_uring_sqe held[FAKE_HELD_MAX];
static unsigned held_count;
static struct io_uring_sqe wake_read; /* the ring's READ of its eventfd */
static bool wake_held;
static struct script scripts[64];
static unsigned scripts_first, scripts_count;
static struct late late[FAKE_HELD_MAX];
static unsigned late_count;
static bool (*auto_fn)(const struct io_uring_sqe *sqe, int *ret_res);
static void (*idle_fn)(void), (*work_fn)(void);
static struct io_uring *now; /* the ring in use; probes come and go before it */

void fake_reset(void)
{
	memset(&fake, 0, sizeof(fake));
	fake.missing_opcode = -1;
	memset(fake.slots, -1, sizeof(fake.slots));
	held_count = late_count = scripts_first = scripts_count = 0;
	wake_held = false;
	auto_fn = NULL;
	idle_fn = work_fn = NULL;
}

unsigned fake_held(void)
{
	return held_count;
}

const struct io_uring_sqe *fake_entry(unsigned i)
{
	assert(i < held_count);
	return &held[i];
}

void fake_script_enter(unsigned take, int error)
{
	assert(scripts_count < 64);
	scripts[scripts_count++] = (struct script){ take, error };
}

void fake_set_auto(bool (*fn)(const struct io_uring_sqe *sqe, int *ret_res))
{
	auto_fn = fn;
}

void fake_set_idle(void (*fn)(void))
{
	idle_fn = fn;
}

void fake_set_work(void (*fn)(void))
{
	work_fn = fn;
	*now->sq.kflags |= IORING_SQ_TASKRUN;
}

/* ---- the queues ---------------------------------------------------------------- */

static bool cq_put(uint64_t user_data, int res)
{
	unsigned tail = *now->cq.ktail, shift = now->flags & IORING_SETUP_CQE32 ? 1 : 0;
	struct io_uring_cqe *cqe;

	if (tail - *now->cq.khead >= now->cq.ring_entries)
		return false;
	cqe = &now->cq.cqes[(tail & now->cq.ring_mask) << shift];
	cqe->user_data = user_data;
	cqe->res = res;
	cqe->flags = 0;
	io_uring_smp_store_release(now->cq.ktail, tail + 1);
	return true;
}

void fake_stray(uint64_t user_data, int res)
{
	if (late_count == 0 && cq_put(user_data, res))
		return;
	assert(late_count < FAKE_HELD_MAX);
	late[late_count++] = (struct late){ user_data, res };
	*now->sq.kflags |= IORING_SQ_CQ_OVERFLOW;
	fake.overflowed++;
}

void fake_complete(unsigned i, int res)
{
	struct io_uring_sqe sqe;

	assert(i < held_count);
	sqe = held[i];
	memmove(&held[i], &held[i + 1], (held_count - i - 1) * sizeof(held[0]));
	held_count--;
	if (res < 0 || !(sqe.flags & IOSQE_CQE_SKIP_SUCCESS))
		fake_stray(sqe.user_data, res);
}

static void flush_late(void)
{
	unsigned n = 0;

	while (n < late_count && cq_put(late[n].user_data, late[n].res))
		n++;
	memmove(&late[0], &late[n], (late_count - n) * sizeof(late[0]));
	late_count -= n;
	if (late_count == 0)
		*now->sq.kflags &= ~IORING_SQ_CQ_OVERFLOW;
}

static void take_one(const struct io_uring_sqe *sqe)
{
	int res = 0;

	if (tag_kind(sqe->user_data) == TAG_WAKE) {
		wake_read = *sqe;
		wake_held = true;
		return;
	}
	assert(held_count < FAKE_HELD_MAX);
	held[held_count++] = *sqe;
	if (auto_fn && auto_fn(sqe, &res))
		fake_complete(held_count - 1, res);
}

static void look_at_eventfd(void)
{
	struct pollfd pfd;
	ssize_t n;

	if (!wake_held)
		return;
	pfd = (struct pollfd){ .fd = wake_read.fd, .events = POLLIN };
	if (poll(&pfd, 1, 0) != 1)
		return;
	n = read(wake_read.fd, (void *)(uintptr_t)wake_read.addr, wake_read.len);
	wake_held = false;
	fake_stray(wake_read.user_data, (int)n);
}

/* Return: entries taken, or the scripted error. */
static int take_entries(struct io_uring *ring)
{
	unsigned ready = ring->sq.sqe_tail - *ring->sq.khead, taken = 0;
	unsigned shift = ring->flags & IORING_SETUP_SQE128 ? 1 : 0;
	struct script script = { UINT32_MAX, 0 };
	void (*work)(void) = work_fn;

	now = ring;
	fake.enters++;
	work_fn = NULL;
	if (work) {
		*ring->sq.kflags &= ~IORING_SQ_TASKRUN;
		work();
	}
	if (scripts_first < scripts_count)
		script = scripts[scripts_first++];
	for (; taken < ready && taken < script.take; taken++) {
		unsigned head = *ring->sq.khead;

		take_one(&ring->sq.sqes[(head & ring->sq.ring_mask) << shift]);
		io_uring_smp_store_release(ring->sq.khead, head + 1);
	}
	ring->sq.sqe_head = *ring->sq.khead;
	look_at_eventfd();
	flush_late();
	return script.error ? script.error : (int)taken;
}

/* ---- the library's functions ------------------------------------------------------ */

static unsigned power_of_two(unsigned n)
{
	unsigned p = 1;

	while (p < n)
		p *= 2;
	return p;
}

int io_uring_queue_init_params(unsigned entries, struct io_uring *ring, struct io_uring_params *p)
{
	unsigned sq = power_of_two(entries), cq = p->flags & IORING_SETUP_CQSIZE ? power_of_two(p->cq_entries) : sq * 2;
	unsigned *words;

	if (fake.queue_init_error)
		return fake.queue_init_error;
	if (p->flags & fake.refused_flags)
		return -EINVAL;
	if (fake.cq_entries && p->flags & IORING_SETUP_CQSIZE)
		cq = fake.cq_entries;
	memset(ring, 0, sizeof(*ring));
	words = calloc(16, sizeof(*words));
	ring->sq.ring_ptr = words;
	ring->sq.khead = &words[0];
	ring->sq.ktail = &words[1];
	ring->sq.kflags = &words[2];
	ring->sq.kdropped = &words[3];
	ring->cq.khead = &words[4];
	ring->cq.ktail = &words[5];
	ring->cq.koverflow = &words[6];
	ring->cq.kflags = &words[7];
	ring->sq.ring_entries = sq;
	ring->sq.ring_mask = sq - 1;
	ring->cq.ring_entries = cq;
	ring->cq.ring_mask = cq - 1;
	ring->sq.sqes = calloc(sq, 2 * sizeof(struct io_uring_sqe));
	ring->cq.cqes = calloc(cq, 2 * sizeof(struct io_uring_cqe));
	ring->flags = p->flags;
	ring->features = IORING_FEAT_EXT_ARG | IORING_FEAT_NODROP | IORING_FEAT_CQE_SKIP;
	ring->ring_fd = ring->enter_ring_fd = 1000;
	now = ring;
	return 0;
}

void io_uring_queue_exit(struct io_uring *ring)
{
	free(ring->sq.ring_ptr);
	free(ring->sq.sqes);
	free(ring->cq.cqes);
	memset(ring, 0, sizeof(*ring));
}

int io_uring_submit_and_get_events(struct io_uring *ring)
{
	return take_entries(ring);
}

int io_uring_submit_and_wait_timeout(struct io_uring *ring, struct io_uring_cqe **cqe_ptr, unsigned wait_nr,
				     struct __kernel_timespec *ts, sigset_t *sigmask)
{
	int res = take_entries(ring);

	(void)ts;
	(void)sigmask;
	fake.waits++;
	if (res >= 0 && wait_nr && *ring->cq.ktail == *ring->cq.khead && idle_fn) {
		idle_fn();
		look_at_eventfd();
	}
	*cqe_ptr = *ring->cq.ktail != *ring->cq.khead ? &ring->cq.cqes[0] : NULL;
	return res < 0 ? res : *cqe_ptr ? res : -ETIME;
}

int io_uring_submit_and_wait(struct io_uring *ring, unsigned wait_nr)
{
	struct io_uring_cqe *cqe;
	bool (*saved)(const struct io_uring_sqe *sqe, int *ret_res) = auto_fn;
	unsigned before = held_count;
	int res;

	/* only the feature probe calls this: with a NOP that carries its result */
	auto_fn = NULL;
	res = io_uring_submit_and_wait_timeout(ring, &cqe, 0, NULL, NULL);
	auto_fn = saved;
	while (held_count > before)
		fake_complete(before, (int)held[before].len);
	(void)wait_nr;
	return res == -ETIME ? 1 : res;
}

int __io_uring_get_cqe(struct io_uring *ring, struct io_uring_cqe **cqe_ptr, unsigned submit, unsigned wait_nr,
		       sigset_t *sigmask)
{
	(void)ring;
	(void)submit;
	(void)wait_nr;
	(void)sigmask;
	*cqe_ptr = NULL;
	return -EAGAIN;
}

int __io_uring_sqring_wait(struct io_uring *ring)
{
	(void)ring;
	return 0;
}

struct io_uring_probe *io_uring_get_probe_ring(struct io_uring *ring)
{
	struct io_uring_probe *p = calloc(1, sizeof(*p) + 256 * sizeof(p->ops[0]));

	(void)ring;
	p->last_op = 100;
	p->ops_len = 101;
	for (int i = 0; i <= 100; i++) {
		p->ops[i].op = (__u8)i;
		p->ops[i].flags = i == fake.missing_opcode ? 0 : IO_URING_OP_SUPPORTED;
	}
	return p;
}

void io_uring_free_probe(struct io_uring_probe *probe)
{
	free(probe);
}

int io_uring_ring_dontfork(struct io_uring *ring)
{
	(void)ring;
	return 0;
}

int io_uring_register_ring_fd(struct io_uring *ring)
{
	(void)ring;
	return 1;
}

int io_uring_register_files_sparse(struct io_uring *ring, unsigned nr)
{
	(void)ring;
	return fake.files_error ? fake.files_error : nr <= 1024 ? 0 : -EMFILE;
}

int io_uring_register_files_update(struct io_uring *ring, unsigned off, const int *files, unsigned nr_files)
{
	(void)ring;
	assert(nr_files == 1 && off < 1024);
	if (fake.files_update_error)
		return fake.files_update_error;
	if (files[0] >= 0)
		fake.files_installed++;
	else
		fake.files_emptied++;
	fake.slots[off] = files[0];
	return 1;
}

int io_uring_register_buffers(struct io_uring *ring, const struct iovec *iovecs, unsigned nr_iovecs)
{
	(void)ring;
	(void)iovecs;
	(void)nr_iovecs;
	return 0;
}

int io_uring_unregister_buffers(struct io_uring *ring)
{
	(void)ring;
	return 0;
}

static int next_personality;

int io_uring_register_personality(struct io_uring *ring)
{
	(void)ring;
	if (fake.personality_error)
		return fake.personality_error;
	fake.personalities_now++;
	return ++next_personality;
}

int io_uring_unregister_personality(struct io_uring *ring, int id)
{
	(void)ring;
	(void)id;
	fake.personalities_now--;
	fake.personalities_dropped++;
	return 0;
}

int io_uring_register_iowq_aff(struct io_uring *ring, size_t cpusz, const cpu_set_t *mask)
{
	(void)ring;
	(void)cpusz;
	(void)mask;
	return 0;
}

int io_uring_unregister_iowq_aff(struct io_uring *ring)
{
	(void)ring;
	return 0;
}

int io_uring_register_iowq_max_workers(struct io_uring *ring, unsigned int *values)
{
	(void)ring;
	(void)values;
	return 0;
}
