/* SPDX-License-Identifier: MIT */
/* test_post.c - messages between two rings, with and without MSG_RING; slots of a ring given back by another. */
#include <fcntl.h>
#include <pthread.h>

#include "real.h"

#define MESSAGES 20000u

static struct backend *b;
static struct ring *rings[2];
static struct bfile shared;
static pthread_barrier_t barrier;
static _Atomic unsigned stop;
static unsigned hops;

static void nothing_fn(struct ring_post *p)
{
	(void)p;
}

static struct ring_post last = { .fn = nothing_fn };

/* One message that goes back and forth. */
static void hop(struct ring_post *p)
{
	unsigned here = hops++ % 2;

	if (hops < MESSAGES) {
		CHECK_EQ(ring_post(rings[here], rings[!here], p), 0);
	} else {
		atomic_store(&stop, 1);
		CHECK_EQ(ring_post(rings[here], rings[!here], &last), 0); /* it sleeps: tell it */
	}
}

static struct ring_post ball = { .fn = hop };

static struct { struct ring_post p; } many[1000];
static unsigned arrived;

static void many_fn(struct ring_post *p)
{
	CHECK((void *)p == (void *)&many[arrived].p); /* in order */
	arrived++;
}

static void use_shared(struct ring *r)
{
	for (unsigned i = 0; i < 5; i++) {
		struct op *op = real_op(r, OP_READ);
		char c;

		op->file = &shared;
		op->buf = &c;
		op->len = 1;
		CHECK_EQ(real_run(r, op), 0);
	}
}

static void run_until(struct ring *r, _Atomic unsigned *flag)
{
	while (!atomic_load(flag))
		REQUIRE(ring_wait(r, true) >= 0);
}

static void *other_main(void *arg)
{
	static _Atomic unsigned end;

	(void)arg;
	rings[1] = real_ring(b, 1);
	pthread_barrier_wait(&barrier);
	use_shared(rings[1]);
	pthread_barrier_wait(&barrier);
	/* the first ring closes the shared file now; then the ball comes */
	run_until(rings[1], &stop);
	atomic_store(&end, 0);
	while (arrived < 1000)
		REQUIRE(ring_wait(rings[1], true) >= 0);
	CHECK_EQ(real_stats(rings[1]).slots_retired, real_stats(rings[1]).slots_installed);
	real_drain(rings[1]);
	ring_destroy(rings[1]);
	pthread_barrier_wait(&barrier);
	return NULL;
}

static void one_pass(const char *deny, bool slow)
{
	static struct ring_post nothing = { .fn = nothing_fn };
	struct backend_config cfg = real_config();
	struct ring_stats s = { 0 };
	pthread_t other;
	uint64_t start;
	int shared_fd;

	cfg.rings_count = 2;
	cfg.deny = deny;
	hops = arrived = 0;
	atomic_store(&stop, 0);
	b = real_backend(&cfg);
	pthread_barrier_init(&barrier, NULL, 2);
	REQUIRE(pthread_create(&other, NULL, other_main, NULL) == 0);
	rings[0] = real_ring(b, 0);
	bfile_init(&shared, open("/dev/null", O_RDWR | O_CLOEXEC));
	pthread_barrier_wait(&barrier);
	use_shared(rings[0]);
	pthread_barrier_wait(&barrier);
	shared_fd = shared.fd;
	bfile_close(rings[0], &shared, slow);
	memset(&shared, 0xee, sizeof(shared));
	start = stats_now_ns();
	CHECK_EQ(ring_post(NULL, rings[0], &ball), 0);
	run_until(rings[0], &stop);
	/* the other may sleep still */
	CHECK_EQ(ring_post(rings[0], rings[1], &nothing), 0);
	for (unsigned i = 0; i < 1000; i++) {
		many[i].p.fn = many_fn;
		CHECK_EQ(ring_post(rings[0], rings[1], &many[i].p), 0);
	}
	REQUIRE(ring_wait(rings[0], false) >= 0); /* MSG_RING goes with the next submit */
	pthread_barrier_wait(&barrier);
	pthread_join(other, NULL);
	CHECK_EQ(fcntl(shared_fd, F_GETFD), -1); /* with `slow` it was the other ring that closed it */
	CHECK_EQ(ring_post(rings[0], rings[1], &nothing), -ESHUTDOWN);
	CHECK_EQ(hops, MESSAGES);
	ring_stats_add(rings[0], &s);
	ring_stats_add(rings[1], &s);
	CHECK_EQ(s.late_posts, 0);
	CHECK_EQ(s.bad_tags, 0);
	CHECK_EQ(s.close_errors, 0);
	CHECK_EQ(s.slots_installed, s.slots_retired);
	printf("deny %s: %u hops, %.1f us each, %" PRIu64 " wakes, %" PRIu64 " slots\n", deny ? deny : "nothing",
	       MESSAGES, (double)(stats_now_ns() - start) / 1000 / MESSAGES, s.wakes, s.slots_installed);
	ring_destroy(rings[0]);
	backend_destroy(b);
	pthread_barrier_destroy(&barrier);
}

int main(void)
{
	one_pass(NULL, false);
	one_pass("msg_ring", true);
	one_pass("defer_taskrun", true);
	one_pass("registered_files,single_issuer,coop_taskrun,sqe128,cqe32", false);
	return test_end();
}
