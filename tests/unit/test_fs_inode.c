/* SPDX-License-Identifier: MIT */
/* test_fs_inode.c - the inode table: identity, counts, forged nodeids, descriptors, names, memory, threads. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "fs/inode.h"
#include "tests/unit/test.h"

static struct fd_budget budget;

static struct statx attributes(uint64_t ino, uint16_t type)
{
	return (struct statx){ .stx_ino = ino, .stx_mode = type | 0644, .stx_btime = { .tv_sec = 7, .tv_nsec = 9 } };
}

static struct inode_handle handle_of(uint64_t n, uint8_t len)
{
	struct inode_handle h = { .type = 1, .len = len };

	memcpy(h.bytes, &n, len < sizeof(n) ? len : sizeof(n));
	return h;
}

static struct inode_table *table_keeping(bool keep_names, uint32_t kept_max)
{
	struct inode_table_config cfg = { .budget = &budget, .keep_names = keep_names, .kept_max = kept_max };
	struct statx stx = attributes(2, S_IFDIR);
	struct inode_handle h = handle_of(2, 8);
	struct inode_table *t = NULL;

	memset(&budget, 0, sizeof(budget));
	budget.max = 1000000;
	REQUIRE(inode_table_create(&cfg, open("/", O_PATH | O_CLOEXEC), 0, &stx, &h, &t) == 0);
	return t;
}

static struct inode_table *table(bool keep_names)
{
	return table_keeping(keep_names, 0);
}

static uint64_t kept(struct inode_table *t)
{
	struct inode_table_stats s;

	inode_table_stats(t, &s);
	return s.kept;
}

static uint64_t live(struct inode_table *t)
{
	struct inode_table_stats s;

	inode_table_stats(t, &s);
	return s.inodes;
}

/** add() - as a look-up does, the reference given back. */
static uint64_t add(struct inode_table *t, uint64_t ino, struct inode *parent, const char *name, int fd)
{
	struct statx stx = attributes(ino, parent ? S_IFDIR : S_IFREG);
	struct inode_handle h = handle_of(ino, 8);
	int close_fd;
	struct inode *i = inode_add(t, 0, &stx, &h, fd, parent, name, &close_fd);
	uint64_t id;

	REQUIRE(i);
	if (close_fd >= 0)
		(void)close(close_fd);
	id = inode_nodeid(i);
	CHECK_EQ(inode_put(t, i), -1);
	return id;
}

static void forget(struct inode_table *t, uint64_t id, uint64_t n)
{
	int fd = inode_forget(t, id, n);

	if (fd >= 0)
		(void)close(fd);
}

/** moved() - as a rename does: the new name is looked up, and that look-up forgotten. */
static void moved(struct inode_table *t, uint64_t ino, struct inode *parent, const char *name)
{
	forget(t, add(t, ino, parent, name, -1), 1);
}

static void test_counts(void)
{
	struct inode_table *t = table(false);
	uint64_t id = add(t, 10, NULL, NULL, -1);
	struct inode *i;

	CHECK_EQ(live(t), 2);
	CHECK_EQ(add(t, 10, NULL, NULL, -1), id); /* nlookup 2 */
	forget(t, id, 1);
	i = inode_get(t, id);
	REQUIRE(i);
	forget(t, id, 1);
	CHECK_EQ(live(t), 2); /* the reference holds it */
	CHECK(!inode_get(t, id)); /* but the kernel has forgotten it */
	CHECK_EQ(add(t, 10, NULL, NULL, -1), id); /* found again while it lives */
	CHECK_EQ(inode_put(t, i), -1);
	forget(t, id, 1000); /* more than there are */
	CHECK_EQ(live(t), 1);
	CHECK(!inode_get(t, id));
	CHECK_NE(add(t, 10, NULL, NULL, -1), id); /* another generation */
	inode_table_destroy(t);
	CHECK_EQ(budget.used, 1); /* the budget of a table that goes is nobody's concern; the root alone was in it */
}

/** by_handle() - whether a file handle of the mount finds that inode. */
static bool by_handle(struct inode_table *t, uint64_t id)
{
	int fd;
	struct inode *i = inode_get_fd(t, id, true, &fd);

	if (!i)
		return false;
	CHECK_EQ(fd, -1);
	CHECK_EQ(inode_nodeid(i), id);
	CHECK(!inode_get(t, id)); /* no request but that one has a use for it */
	CHECK_EQ(inode_put(t, i), -1);
	return true;
}

static void test_kept(void)
{
	struct inode_table *t = table_keeping(false, 3);
	uint64_t id[5], again;
	struct statx stx = attributes(20, S_IFREG);
	struct inode_handle h = handle_of(21, 8), none = { .len = 0 };
	struct inode *i;
	int fd = open("/", O_PATH | O_CLOEXEC), close_fd;

	id[0] = add(t, 10, NULL, NULL, fd);
	CHECK_EQ(budget.used, 2);
	CHECK_EQ(inode_forget(t, id[0], 1), fd); /* its descriptor goes, it is kept */
	REQUIRE(close(fd) == 0);
	CHECK_EQ(budget.used, 1);
	CHECK(kept(t) == 1 && live(t) == 2);
	CHECK_EQ(inode_fd_evict(t), -1); /* in no list of descriptors */
	CHECK(by_handle(t, id[0]) && kept(t) == 1);
	/* looked up again it is the same, with a descriptor, and no longer kept */
	fd = open("/", O_PATH | O_CLOEXEC);
	CHECK_EQ(add(t, 10, NULL, NULL, fd), id[0]);
	CHECK(kept(t) == 0 && live(t) == 2);
	CHECK_EQ(inode_fd_evict(t), fd);
	(void)close(fd);
	forget(t, id[0], 1);
	/* the oldest goes, and one that was used again is not the oldest */
	for (unsigned n = 1; n < 5; n++) {
		id[n] = add(t, 10 + n, NULL, NULL, -1);
		forget(t, id[n], 1);
		CHECK(by_handle(t, id[0]));
	}
	CHECK(!by_handle(t, id[1]) && !by_handle(t, id[2]) && by_handle(t, id[3]) && by_handle(t, id[4]));
	CHECK(kept(t) == 3 && live(t) == 4);
	CHECK(!by_handle(t, id[3] + (1ull << 32)) && !by_handle(t, id[1])); /* forged and stale */
	/* its number has gone to another file: what is looked up is that one */
	again = add(t, 20, NULL, NULL, -1);
	forget(t, again, 1);
	i = inode_add(t, 0, &stx, &h, -1, NULL, NULL, &close_fd);
	REQUIRE(i);
	CHECK_NE(inode_nodeid(i), again);
	CHECK(by_handle(t, again)); /* its own handle still decides what that is, once: then it is gone */
	CHECK(!by_handle(t, again));
	CHECK_EQ(inode_put(t, i), -1);
	/* without a handle of its own nothing is kept */
	stx = attributes(30, S_IFREG);
	i = inode_add(t, 0, &stx, &none, -1, NULL, NULL, &close_fd);
	REQUIRE(i);
	again = inode_nodeid(i);
	CHECK_EQ(inode_put(t, i), -1);
	forget(t, again, 1);
	CHECK(!by_handle(t, again));
	inode_table_destroy(t);
}

static void test_forged(void)
{
	struct inode_table *t = table(false);
	uint64_t id = add(t, 10, NULL, NULL, -1);
	const uint64_t forged[] = { 0, 2, id + 1, id + (1ull << 32), id & UINT32_MAX, UINT64_MAX, UINT32_MAX, 1ull << 32 | 1,
				    1ull << 32, 64, (uint64_t)(1u << 26) - 1, id | 1ull << 63, 33, 5ull << 32 | 40 };
	struct inode *root;

	for (size_t n = 0; n < sizeof(forged) / sizeof(forged[0]); n++) {
		CHECK(!inode_get(t, forged[n]));
		CHECK_EQ(inode_forget(t, forged[n], UINT64_MAX), -1);
	}
	CHECK_EQ(live(t), 2);
	CHECK_EQ(inode_forget(t, INODE_ROOT, UINT64_MAX), -1);
	root = inode_get(t, INODE_ROOT);
	CHECK(root);
	CHECK_EQ(inode_nodeid(root), 1);
	CHECK_EQ(inode_put(t, root), -1);
	inode_table_destroy(t);
}

static void test_reused_number(void)
{
	static const struct {
		uint64_t handle;
		uint8_t len;
		uint16_t type;
		int64_t btime;
		bool same;
	} rows[] = {
		{ 1, 8, S_IFREG, 7, true },   { 2, 8, S_IFREG, 7, false }, /* another file handle */
		{ 1, 8, S_IFDIR, 7, false },  { 1, 4, S_IFREG, 7, false }, /* another type; another length of handle */
		{ 1, 40, S_IFREG, 7, false }, { 0, 0, S_IFREG, 7, false }, /* a long one; none */
		{ 1, 8, S_IFREG, 8, true }, /* the handle alone counts where there is one */
	};

	for (size_t n = 0; n < sizeof(rows) / sizeof(rows[0]); n++) {
		struct inode_table *t = table(false);
		struct statx stx = attributes(10, S_IFREG);
		struct inode_handle h = handle_of(1, 8);
		int close_fd;
		struct inode *a = inode_add(t, 0, &stx, &h, -1, NULL, NULL, &close_fd), *b;

		stx = attributes(10, rows[n].type);
		stx.stx_btime.tv_sec = rows[n].btime;
		h = handle_of(rows[n].handle, rows[n].len);
		b = inode_add(t, 0, &stx, &h, -1, NULL, NULL, &close_fd);
		CHECK_EQ(a == b, rows[n].same);
		/* the old one is still there for who holds it, the new one is what is found */
		CHECK(inode_get(t, inode_nodeid(a)) == a);
		CHECK(inode_add(t, 0, &stx, &h, -1, NULL, NULL, &close_fd) == b);
		inode_handle_get(b, &h);
		CHECK_EQ(h.len, rows[n].len);
		inode_table_destroy(t);
	}
	/* without handles the time of birth tells; and the same number of another filesystem is another file */
	struct inode_table *t = table(false);
	struct statx stx = attributes(10, S_IFREG);
	struct inode_handle none = { 0 };
	int close_fd;
	struct inode *a = inode_add(t, 0, &stx, &none, -1, NULL, NULL, &close_fd);
	CHECK(inode_add(t, 0, &stx, &none, -1, NULL, NULL, &close_fd) == a);
	CHECK(inode_add(t, 1, &stx, &none, -1, NULL, NULL, &close_fd) != a);
	stx.stx_btime.tv_nsec++;
	CHECK(inode_add(t, 0, &stx, &none, -1, NULL, NULL, &close_fd) != a);
	inode_table_destroy(t);
}

static int fd_new(void)
{
	int fd = open("/", O_PATH | O_CLOEXEC);

	REQUIRE(fd >= 0);
	return fd;
}

static void test_eviction(void)
{
	struct inode_table *t = table(false);
	int fds[4], close_fd;
	struct inode *i[4];

	for (int n = 0; n < 4; n++) {
		fds[n] = fd_new();
		i[n] = inode_get(t, add(t, 100 + (uint64_t)n, NULL, NULL, fds[n]));
	}
	CHECK_EQ(budget.used, 5);
	CHECK_EQ(inode_fd_use(t, i[0]), fds[0]); /* in use: not to be taken */
	CHECK_EQ(inode_fd_use(t, i[1]), fds[1]);
	inode_fd_unuse(t, i[1]); /* now the newest */
	CHECK_EQ(inode_fd_evict(t), fds[2]);
	CHECK_EQ(inode_fd_evict(t), fds[3]);
	CHECK_EQ(inode_fd_evict(t), fds[1]);
	CHECK_EQ(inode_fd_evict(t), -1); /* the root and the one in use stay */
	CHECK_EQ(budget.used, 2);
	CHECK_EQ(budget.evicted, 3);
	CHECK_EQ(inode_fd_use(t, i[2]), -1);
	CHECK_EQ(inode_fd_install(t, i[2], fds[2], &close_fd), fds[2]);
	CHECK_EQ(close_fd, -1);
	CHECK_EQ(inode_fd_install(t, i[2], fds[3], &close_fd), fds[2]); /* somebody was faster */
	CHECK_EQ(close_fd, fds[3]);
	CHECK_EQ(inode_fd_evict(t), -1);
	inode_fd_unuse(t, i[2]);
	CHECK_EQ(inode_fd_evict(t), -1); /* two users */
	inode_fd_unuse(t, i[2]);
	inode_fd_unuse(t, i[0]);
	CHECK_EQ(inode_fd_evict(t), fds[2]);
	CHECK_EQ(inode_fd_evict(t), fds[0]);
	CHECK_EQ(budget.used, 1);
	/* a forgotten inode gives its descriptor back once */
	CHECK_EQ(inode_fd_install(t, i[3], fds[3], &close_fd), fds[3]);
	inode_fd_unuse(t, i[3]);
	CHECK_EQ(inode_forget(t, inode_nodeid(i[3]), 1), -1);
	CHECK_EQ(inode_put(t, i[3]), fds[3]);
	for (int n = 0; n < 4; n++)
		(void)close(fds[n]);
	inode_table_destroy(t);
}

/** A number tells a file as long as a descriptor holds it, and only then. */
static void test_held(void)
{
	struct inode_table *t = table(false);
	struct statx stx = attributes(100, S_IFREG), young = stx;
	struct inode_handle own, other = handle_of(1, 8);
	uint32_t before = inode_table_mark(t), after;
	int fd = fd_new(), close_fd;
	struct inode *i = inode_held_add(t, 0, &stx, fd, NULL, NULL, &close_fd), *o;

	REQUIRE(i);
	CHECK_EQ(close_fd, -1);
	after = inode_table_mark(t);
	CHECK(!inode_held_known(t, 0, &stx, before, NULL, NULL)); /* looked at before it was known: the number may have been another's */
	CHECK(inode_held_known(t, 0, &stx, after, NULL, NULL) == i);
	CHECK(inode_held_add(t, 0, &stx, 12345, NULL, NULL, &close_fd) == i);
	CHECK_EQ(close_fd, 12345);
	CHECK_EQ(i->nlookup, 3);
	young.stx_btime.tv_nsec++;
	CHECK(!inode_held_known(t, 0, &young, after, NULL, NULL));
	CHECK(!inode_held_known(t, 1, &stx, after, NULL, NULL));
	/* who asks with a file handle has the inode's own asked for */
	o = inode_add(t, 0, &stx, &other, -1, NULL, NULL, &close_fd);
	CHECK(o && o != i);
	inode_handle_get(i, &own);
	CHECK(own.len > 0);
	CHECK(!inode_held_known(t, 0, &stx, after, NULL, NULL)); /* o has the number now, and no descriptor */
	inode_table_destroy(t);

	t = table(false);
	fd = fd_new();
	i = inode_held_add(t, 0, &stx, fd, NULL, NULL, &close_fd);
	REQUIRE(i);
	after = inode_table_mark(t);
	CHECK_EQ(inode_fd_evict(t), fd);
	CHECK(!inode_held_known(t, 0, &stx, after, NULL, NULL)); /* the number may be another's by now */
	CHECK(!inode_held_add(t, 0, &stx, 12345, NULL, NULL, &close_fd));
	inode_handle_get(i, &own); /* asked for when the descriptor went */
	CHECK(own.len > 0 && inode_add(t, 0, &stx, &own, -1, NULL, NULL, &close_fd) == i);
	(void)close(fd);
	inode_table_destroy(t);
}

static void test_open_pins(void)
{
	struct inode_table *t = table(true);
	int fd = fd_new();
	struct inode *i = inode_get(t, add(t, 100, NULL, NULL, fd));

	inode_open_count(t, i, 1);
	CHECK_EQ(inode_fd_evict(t), -1); /* without file handles an open file keeps its descriptor */
	inode_dirty_set(i);
	inode_open_count(t, i, 1);
	inode_open_count(t, i, -1);
	CHECK(inode_dirty(i)); /* until all are closed: it is not known by which the pages were changed */
	inode_open_count(t, i, -1);
	CHECK(!inode_dirty(i));
	CHECK_EQ(inode_fd_evict(t), fd);
	(void)close(fd);
	inode_table_destroy(t);
}

static void test_names(void)
{
	struct inode_table *t = table(true);
	struct inode *root = inode_get(t, INODE_ROOT), *d, *e, *f;
	uint64_t ids[3];
	char way[4096], name[256];

	ids[0] = add(t, 100, root, "d", -1);
	d = inode_get(t, ids[0]);
	ids[1] = add(t, 101, d, "e", -1);
	e = inode_get(t, ids[1]);
	ids[2] = add(t, 102, e, "f", -1);
	f = inode_get(t, ids[2]);
	CHECK_EQ(inode_way(t, f, way, sizeof(way)), 0);
	CHECK_TEXT(way, "d/e/f");
	CHECK_EQ(inode_way(t, f, way, 5), -ENAMETOOLONG);
	CHECK_EQ(inode_way(t, f, way, 6), 0);
	CHECK_TEXT(way, "d/e/f");
	moved(t, 101, root, "moved");
	CHECK_EQ(inode_way(t, f, way, sizeof(way)), 0);
	CHECK_TEXT(way, "moved/f");
	CHECK_EQ(inode_way(t, root, way, sizeof(way)), 0);
	CHECK_TEXT(way, "");
	moved(t, 101, d, "e");
	/* forgotten parents stay as long as somebody below needs them */
	CHECK_EQ(inode_put(t, d), -1);
	CHECK_EQ(inode_put(t, e), -1);
	forget(t, ids[0], 1);
	forget(t, ids[1], 1);
	CHECK_EQ(live(t), 4);
	CHECK_EQ(inode_way(t, f, way, sizeof(way)), 0);
	CHECK_TEXT(way, "d/e/f");
	CHECK_EQ(inode_put(t, f), -1);
	forget(t, ids[2], 1);
	CHECK_EQ(live(t), 1);
	/* an inode without a way */
	f = inode_get(t, add(t, 103, NULL, NULL, -1));
	CHECK_EQ(inode_way(t, f, way, sizeof(way)), -ESTALE);
	/* a way that is too long to be one path */
	memset(name, 'x', 255);
	name[255] = 0;
	d = root;
	for (uint64_t n = 0; n < 20; n++)
		d = inode_get(t, add(t, 200 + n, d, name, -1));
	CHECK_EQ(inode_way(t, d, way, sizeof(way)), -ENAMETOOLONG);
	inode_table_destroy(t);
}

/** test_cycle() - names that contradict each other, as when directories are moved in SOURCE while they are held here. */
static void test_cycle(void)
{
	struct inode_table *t = table(true);
	struct inode *root = inode_get(t, INODE_ROOT), *a, *b;
	char way[4096];

	b = inode_get(t, add(t, 100, root, "b", -1));
	a = inode_get(t, add(t, 101, b, "a", -1));
	moved(t, 100, a, "b");
	CHECK(inode_way(t, a, way, sizeof(way)) < 0); /* ends, and gives no path */
	moved(t, 101, root, "a2");
	CHECK_EQ(inode_way(t, b, way, sizeof(way)), 0);
	CHECK_TEXT(way, "a2/b");
	inode_table_destroy(t);
}

static void test_memory(void)
{
	enum { COUNT = 100000 };
	struct inode_table *t = table(false);
	struct inode_table_stats before, full, after;
	uint64_t *ids = malloc(COUNT * sizeof(*ids));

	REQUIRE(ids);
	inode_table_stats(t, &before);
	for (uint64_t n = 0; n < COUNT; n++)
		ids[n] = add(t, 1000 + n, NULL, NULL, -1);
	inode_table_stats(t, &full);
	CHECK_EQ(full.inodes, COUNT + 1);
	CHECK_LE(full.memory_bytes, (uint64_t)COUNT * 140);
	for (uint64_t n = 0; n < COUNT; n++) /* found again after all that growth */
		CHECK_EQ(add(t, 1000 + n, NULL, NULL, -1), ids[n]);
	for (uint64_t n = 0; n < COUNT; n++) {
		uint64_t at = n * 7919 % COUNT;
		forget(t, ids[at], 2);
	}
	inode_table_stats(t, &after);
	CHECK_EQ(after.inodes, 1);
	CHECK_EQ(after.inodes_max, COUNT + 1);
	/* the records have gone back; the hash keeps its 4 bytes a bucket */
	CHECK_LE(after.memory_bytes, before.memory_bytes + COUNT * 5);
	/* and room is found again */
	for (uint64_t n = 0; n < 1000; n++)
		(void)add(t, 5000000 + n, NULL, NULL, -1);
	CHECK_EQ(live(t), 1001);
	free(ids);
	inode_table_destroy(t);
}

static void *hammer(void *arg)
{
	struct inode_table *t = arg;
	unsigned seed = (unsigned)(uintptr_t)&seed;

	for (int n = 0; n < 20000; n++) {
		struct inode *root = inode_get(t, INODE_ROOT), *i;
		char name[16];
		uint64_t ino = 10 + (uint64_t)rand_r(&seed) % 50, id;
		snprintf(name, sizeof(name), "n%d", n % 3);
		id = add(t, ino, root, name, -1);
		i = inode_get(t, id);
		if (i) {
			int close_fd, fd = inode_fd_use(t, i);
			if (fd < 0 && n % 16 == 0) {
				(void)inode_fd_install(t, i, dup(0), &close_fd);
				if (close_fd >= 0)
					(void)close(close_fd);
				fd = 0;
			}
			char way[256];
			(void)inode_way(t, i, way, sizeof(way));
			moved(t, ino, root, "m");
			if (fd >= 0)
				inode_fd_unuse(t, i);
			fd = inode_put(t, i);
			if (fd >= 0)
				(void)close(fd);
		}
		forget(t, id, 1);
		if (n % 5 == 0) {
			int fd = inode_fd_evict(t);
			if (fd >= 0)
				(void)close(fd);
		}
		int fd = inode_put(t, root);
		CHECK_EQ(fd, -1);
	}
	return NULL;
}

static void test_threads(void)
{
	for (int names = 0; names < 2; names++) {
		struct inode_table *t = table(names);
		pthread_t tid[4];

		for (int n = 0; n < 4; n++)
			REQUIRE(pthread_create(&tid[n], NULL, hammer, t) == 0);
		for (int n = 0; n < 4; n++)
			pthread_join(tid[n], NULL);
		CHECK_EQ(live(t), 1);
		CHECK_EQ(budget.used, 1);
		inode_table_destroy(t);
	}
}

/* While a file is sole our own changes need no look, and nobody's change is taken for one of ours. */
static void test_sole(void)
{
	struct inode_table *t = table(false);
	struct inode *i = inode_get(t, add(t, 77, inode_get(t, INODE_ROOT), "s", -1));
	struct statx first = { .stx_mtime = { .tv_sec = 1 }, .stx_size = 5 }, second = { .stx_mtime = { .tv_sec = 2 }, .stx_size = 5 };
	_Atomic uint64_t events = 7;

	CHECK_EQ(inode_data_check(t, i, &first, inode_data_seq(t, i), true), INODE_DATA_SAME);
	inode_sole_begin(t, i, &events, 6);
	CHECK(!inode_sole(t, i)); /* somebody came meanwhile */
	inode_sole_begin(t, i, &events, 7);
	CHECK(inode_sole(t, i));
	(void)inode_change_begin(t, i);
	CHECK_EQ(inode_data_check(t, i, &second, inode_data_seq(t, i), true), INODE_DATA_UNSETTLED);
	CHECK(inode_change_end_sole(t, i));
	CHECK_EQ(inode_data_check(t, i, &second, inode_data_seq(t, i), true), INODE_DATA_SAME);  /* it was we */
	CHECK_EQ(inode_data_check(t, i, &first, inode_data_seq(t, i), true), INODE_DATA_CHANGED); /* and this was not */
	/* others are heard of while a change of ours is under way: that one ends with a look, and hides nothing */
	(void)inode_change_begin(t, i);
	inode_sole_lost(t, i);
	CHECK(!inode_sole(t, i) && !inode_change_end_sole(t, i));
	CHECK(inode_change_end(t, i, &second, inode_data_seq(t, i)));
	CHECK_EQ(inode_data_check(t, i, &second, inode_data_seq(t, i), true), INODE_DATA_CHANGED);
	CHECK_EQ(inode_data_check(t, i, &second, inode_data_seq(t, i), true), INODE_DATA_SAME);
	inode_sole_lost(t, i); /* who is not sole looks at times */
	CHECK_EQ(inode_data_check(t, i, &second, inode_data_seq(t, i), true), INODE_DATA_SAME);
	/* a writer finds it changed, and drops the pages without waiting: who then asks must wait */
	CHECK_EQ(inode_data_check(t, i, &first, inode_data_seq(t, i), false), INODE_DATA_CHANGED);
	CHECK_EQ(inode_data_check(t, i, &first, inode_data_seq(t, i), false), INODE_DATA_SAME);
	CHECK_EQ(inode_data_check(t, i, &first, inode_data_seq(t, i), true), INODE_DATA_CHANGED);
	CHECK_EQ(inode_data_check(t, i, &first, inode_data_seq(t, i), true), INODE_DATA_SAME);
	/* also while a change of ours, such as the write-back of those pages, makes the look tell nothing */
	inode_data_goes(t, i);
	(void)inode_change_begin(t, i);
	CHECK_EQ(inode_data_check(t, i, &first, inode_data_seq(t, i), false), INODE_DATA_UNSETTLED);
	CHECK_EQ(inode_data_check(t, i, &first, inode_data_seq(t, i), true), INODE_DATA_CHANGED);
	CHECK_EQ(inode_data_check(t, i, &first, inode_data_seq(t, i), true), INODE_DATA_UNSETTLED);
	CHECK(inode_change_end(t, i, &first, inode_data_seq(t, i)));
	/* no more events, and no look after the last change of ours */
	inode_sole_begin(t, i, &events, 7);
	(void)inode_change_begin(t, i);
	CHECK(inode_change_end_sole(t, i));
	inode_sole_end(t, i);
	CHECK_EQ(inode_data_check(t, i, &second, inode_data_seq(t, i), true), INODE_DATA_CHANGED);
	(void)inode_put(t, i);
	inode_table_destroy(t);
}

/** Files are recent while the mark from before they were made is; the root and what was written never are. */
static void test_recent(void)
{
	struct inode_table *t = table(false);
	const uint64_t window = 1000, first = 50000;
	struct inode *i;

	CHECK(!inode_recent(t, 0, 10, first, window)); /* no mark yet */
	add(t, 10, NULL, NULL, -1);
	inode_recent_tick(t, first, window);
	add(t, 11, NULL, NULL, -1);
	CHECK(!inode_recent(t, 0, 10, first, window)); /* older than the mark */
	CHECK(inode_recent(t, 0, 11, first, window));
	CHECK(!inode_recent(t, 1, 11, first, window)); /* another filesystem */
	CHECK(!inode_recent(t, 0, 99, first, window));
	inode_recent_tick(t, first + window / 4 - 1, window); /* too early for another mark */
	CHECK(inode_recent(t, 0, 11, first + window, window));
	CHECK(!inode_recent(t, 0, 11, first + window + 1, window));
	inode_recent_tick(t, first + window / 2, window);
	add(t, 12, NULL, NULL, -1);
	CHECK(inode_recent(t, 0, 11, first + window, window) && inode_recent(t, 0, 12, first + window, window));
	/* the older mark is too old now, the newer one is not */
	CHECK(!inode_recent(t, 0, 11, first + window + 1, window) && inode_recent(t, 0, 12, first + window + 1, window));
	inode_recent_tick(t, first + 100 * window, window); /* after a long pause */
	CHECK(!inode_recent(t, 0, 12, first + 100 * window, window));
	add(t, 13, NULL, NULL, -1);
	CHECK(inode_recent(t, 0, 13, first + 100 * window, window));
	i = inode_get(t, add(t, 14, NULL, NULL, -1));
	REQUIRE(i);
	CHECK(inode_recent(t, 0, 14, first + 100 * window, window));
	inode_writer_set(i);
	CHECK(!inode_recent(t, 0, 14, first + 100 * window, window));
	(void)inode_put(t, i);
	inode_table_destroy(t);
}

int main(void)
{
	test_recent();
	test_sole();
	CHECK_LE(sizeof(struct inode), 128);
	CHECK_EQ(32 * sizeof(struct inode) % 4096, 0); /* groups of records are whole pages: madvise() gives them back */
	test_counts();
	test_kept();
	test_forged();
	test_reused_number();
	test_eviction();
	test_held();
	test_open_pins();
	test_names();
	test_cycle();
	test_memory();
	test_threads();
	return test_end();
}
