/* SPDX-License-Identifier: MIT */
/* test_fs_handle.c - the table of open files: references, forged numbers, limit, threads. */
#include <pthread.h>

#include "fs/handle.h"
#include "tests/unit/test.h"

static struct inode *const some_inode = (struct inode *)(void *)64, *const other_inode = (struct inode *)(void *)128;

static void count_each(struct handle *h, void *arg)
{
	(void)h;
	++*(unsigned *)arg;
}

static void test_references(void)
{
	struct handle_table *t;
	struct handle *h;
	uint64_t fh;

	REQUIRE(handle_table_create(16, &t) == 0);
	h = handle_add(t);
	REQUIRE(h);
	CHECK_EQ(h->file.fd, -1);
	CHECK_EQ(h->direct.fd, -1);
	handle_publish(t, h, some_inode);
	fh = handle_fh(t, h);
	CHECK(handle_get(t, fh, some_inode) == h);
	CHECK(handle_get_any(t, fh) == h);
	CHECK(!handle_put(t, h, false));
	CHECK(!handle_put(t, h, false));
	CHECK(handle_get(t, fh, some_inode) == h);
	CHECK(!handle_get(t, fh, other_inode));
	CHECK(!handle_get(t, fh, NULL));
	CHECK(!handle_put(t, h, true)); /* released, a request still has it */
	CHECK(!handle_get(t, fh, some_inode));
	CHECK(handle_put(t, h, false) == h);
	CHECK_EQ(handle_table_count(t), 1);
	h->dir_buf = malloc(10);
	h->dfile = (struct dfile *)(void *)h;
	h->uncached = true;
	atomic_store(&h->sync_seen, 5);
	handle_free(t, h);
	CHECK_EQ(handle_table_count(t), 0);
	CHECK(!handle_get(t, fh, some_inode));
	h = handle_add(t); /* the same place, another number */
	REQUIRE(h);
	CHECK_NE(handle_fh(t, h), fh);
	CHECK(!h->dir_buf && !h->inode);
	CHECK(!h->dfile && !h->uncached && !atomic_load(&h->sync_seen)); /* nothing of the one before it */
	CHECK(!handle_get(t, fh, some_inode));
	handle_table_destroy(t, count_each, &(unsigned){ 0 });
}

/* Two RELEASEs of one handle at the same time, which no kernel sends: each has a reference already. */
static void test_released_twice(void)
{
	struct handle_table *t;
	struct handle *h;
	uint64_t fh;

	REQUIRE(handle_table_create(16, &t) == 0);
	h = handle_add(t);
	handle_publish(t, h, some_inode);
	fh = handle_fh(t, h);
	CHECK(handle_get_any(t, fh) == h);
	CHECK(handle_get_any(t, fh) == h);
	CHECK(!handle_put(t, h, true));
	CHECK(!handle_put(t, h, true));
	CHECK(!handle_put(t, h, false));
	CHECK(handle_put(t, h, false) == h);
	handle_free(t, h);
	handle_table_destroy(t, count_each, &(unsigned){ 0 });
}

static void test_forged(void)
{
	struct handle_table *t;
	struct handle *h;

	REQUIRE(handle_table_create(1000, &t) == 0);
	h = handle_add(t);
	handle_publish(t, h, some_inode);
	const uint64_t fh = handle_fh(t, h),
		       forged[] = { 0, 1, fh + 1, fh ^ 1ull << 32, fh & UINT32_MAX, UINT64_MAX, UINT32_MAX, fh + 64, fh + (1ull << 40) };
	for (size_t n = 0; n < sizeof(forged) / sizeof(forged[0]); n++)
		CHECK(!handle_get(t, forged[n], some_inode));
	handle_table_destroy(t, count_each, &(unsigned){ 0 });
}

static void test_limit(void)
{
	struct handle_table *t;
	struct handle *h[128];
	unsigned left = 0;

	REQUIRE(handle_table_create(100, &t) == 0); /* in steps of 64 */
	for (int n = 0; n < 128; n++) {
		h[n] = handle_add(t);
		REQUIRE(h[n]);
	}
	CHECK(!handle_add(t));
	CHECK(handle_put(t, h[50], true) == h[50]);
	handle_free(t, h[50]);
	CHECK(handle_add(t) == h[50]);
	CHECK(!handle_add(t));
	handle_table_destroy(t, count_each, &left);
	CHECK_EQ(left, 128);
	handle_table_destroy(NULL, count_each, &left);
	CHECK_EQ(left, 128);
}

static void *hammer(void *arg)
{
	struct handle_table *t = arg;

	for (int n = 0; n < 50000; n++) {
		struct handle *h = handle_add(t), *g;
		if (!h)
			continue;
		handle_publish(t, h, some_inode);
		uint64_t fh = handle_fh(t, h);
		g = handle_get(t, fh, some_inode);
		CHECK(g == h);
		CHECK(!handle_put(t, h, true));
		if (handle_put(t, h, false))
			handle_free(t, h);
	}
	return NULL;
}

static void test_threads(void)
{
	struct handle_table *t;
	pthread_t tid[4];

	REQUIRE(handle_table_create(64, &t) == 0);
	for (int n = 0; n < 4; n++)
		REQUIRE(pthread_create(&tid[n], NULL, hammer, t) == 0);
	for (int n = 0; n < 4; n++)
		pthread_join(tid[n], NULL);
	CHECK_EQ(handle_table_count(t), 0);
	handle_table_destroy(t, count_each, &(unsigned){ 0 });
}

int main(void)
{
	test_references();
	test_released_twice();
	test_forged();
	test_limit();
	test_threads();
	return test_end();
}
