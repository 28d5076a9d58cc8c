/* SPDX-License-Identifier: MIT */
/* test_real.c - one of everything over a real ring: the backend's public face. */
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/statvfs.h>

#include "real.h"

static char dir_path[64];
static int dir_fd;
static bool backend_place_is_ring;

static void write_then_read(struct ring *r)
{
	struct bfile f;
	char in[8192], out[8192];
	int64_t fd = real_open(r, dir_fd, "file", O_RDWR | O_CREAT, 0640);
	struct op *op;

	CHECK_GE(fd, 0);
	CHECK_EQ(fcntl((int)fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	bfile_init(&f, (int)fd);
	memset(out, 'x', sizeof(out));
	for (int i = 0; i < 4; i++) {
		op = real_op(r, OP_WRITE);
		op->file = &f;
		op->buf = out;
		op->len = sizeof(out);
		op->off = (uint64_t)i * sizeof(out);
		CHECK_EQ(real_run(r, op), sizeof(out));
	}
	op = real_op(r, OP_READ);
	op->file = &f;
	op->buf = in;
	op->len = sizeof(in);
	op->off = 3 * sizeof(in) + 100;
	CHECK_EQ(real_run(r, op), sizeof(in) - 100); /* up to the end */
	CHECK_EQ(memcmp(in, out, sizeof(in) - 100), 0);
	op = real_op(r, OP_FSYNC);
	op->file = &f;
	op->arg = 1;
	CHECK_EQ(real_run(r, op), 0);
	op = real_op(r, OP_FTRUNCATE);
	op->file = &f;
	op->off = 5;
	CHECK_EQ(real_run(r, op), 0);
	bfile_close(r, &f, true);
}

static void names(struct ring *r)
{
	struct statx stx;
	struct op *op = real_op(r, OP_STATX);

	op->fd = dir_fd;
	op->path = "file";
	op->arg2 = STATX_BASIC_STATS;
	op->buf = &stx;
	CHECK_EQ(real_run(r, op), 0);
	CHECK_EQ(stx.stx_size, 5);
	CHECK_EQ(stx.stx_mode & 07777, 0640);
	op = real_op(r, OP_STATX);
	op->fd = dir_fd;
	op->path = "";
	op->arg = AT_EMPTY_PATH;
	op->arg2 = STATX_TYPE;
	op->buf = &stx;
	CHECK_EQ(real_run(r, op), 0);
	CHECK(S_ISDIR(stx.stx_mode));
	op = real_op(r, OP_OPENAT);
	op->fd = dir_fd;
	op->path = "none";
	op->how.flags = O_RDONLY;
	CHECK_EQ(real_run(r, op), -ENOENT);
	op = real_op(r, OP_MKDIRAT);
	op->fd = dir_fd;
	op->path = "sub";
	op->arg = 0755;
	CHECK_EQ(real_run(r, op), 0);
	op = real_op(r, OP_SYMLINKAT);
	op->path = "target";
	op->fd = dir_fd;
	op->path2 = "link";
	CHECK_EQ(real_run(r, op), 0);
	op = real_op(r, OP_LINKAT);
	op->fd = op->fd2 = dir_fd;
	op->path = "file";
	op->path2 = "sub/hard";
	CHECK_EQ(real_run(r, op), 0);
	op = real_op(r, OP_RENAMEAT);
	op->fd = op->fd2 = dir_fd;
	op->path = "sub/hard";
	op->path2 = "moved";
	CHECK_EQ(real_run(r, op), 0);
	op = real_op(r, OP_UNLINKAT);
	op->fd = dir_fd;
	op->path = "sub";
	op->arg = AT_REMOVEDIR;
	CHECK_EQ(real_run(r, op), 0);
}

static void worker_ops(struct ring *r)
{
	struct statvfs vfs;
	char text[64];
	int64_t fd;
	struct op *op = real_op(r, OP_STATFS);

	op->fd = dir_fd;
	op->buf = &vfs;
	CHECK_EQ(real_run(r, op), 0);
	CHECK_NE(vfs.f_bsize, 0);
	fd = real_open(r, dir_fd, "link", O_PATH | O_NOFOLLOW, 0);
	CHECK_GE(fd, 0);
	op = real_op(r, OP_READLINK);
	op->fd = (int)fd;
	op->buf = text;
	op->len = sizeof(text);
	CHECK_EQ(real_run(r, op), 6);
	CHECK_EQ(memcmp(text, "target", 6), 0);
	op = real_op(r, OP_CLOSE);
	op->fd = (int)fd;
	CHECK_EQ(real_run(r, op), 0);
	op = real_op(r, OP_CLOSE);
	op->fd = (int)fd;
	CHECK_EQ(real_run(r, op), -EBADF);
}

static void waits(struct ring *r)
{
	struct real_result poll_out = { 0, false };
	uint64_t one = 1, start = stats_now_ns();
	int efd = eventfd(0, EFD_CLOEXEC);
	struct op *op = real_op(r, OP_TIMEOUT), *poll_op;

	op->off = 20000000;
	CHECK_EQ(real_run(r, op), 0);
	CHECK_GE(stats_now_ns() - start, 20000000);
	op = real_op(r, OP_POLL);
	op->fd = efd;
	op->arg = POLLIN;
	CHECK_EQ(write(efd, &one, sizeof(one)), sizeof(one));
	CHECK_EQ(real_run(r, op), POLLIN);
	CHECK_EQ(read(efd, &one, sizeof(one)), sizeof(one));
	poll_op = real_op(r, OP_POLL);
	poll_op->fd = efd;
	poll_op->arg = POLLIN;
	poll_op->done = real_done;
	poll_op->owner = &poll_out;
	ring_submit(poll_op);
	CHECK_GE(ring_wait(r, false), 0);
	CHECK(!poll_out.done);
	op = real_op(r, OP_CANCEL);
	op->buf = poll_op;
	{
		int64_t res = real_run(r, op);

		CHECK(res == 0 || res == -EALREADY);
	}
	real_drain(r);
	CHECK_EQ(poll_out.res, -ECANCELED);
	close(efd);
}

/** slots() - a buffer that only the ring can reach: elsewhere, and once it is empty, the op fails. */
static void slots(struct ring *r, int fd, bool there)
{
	static char nowhere[4096];
	struct op *op;

	for (unsigned n = 0; n < 2; n++) {
		op = real_op(r, OP_READ);
		op->fd = fd;
		op->buf = nowhere;
		op->len = sizeof(nowhere);
		op->buf_index = 0;
		op->flags = OPF_SLOT | (n == 0 ? OPF_WORKER : 0);
		if (n && (!there || !backend_place_is_ring)) {
			ring_op_put(op);
			continue;
		}
		if (n)
			CHECK_EQ(ring_clear_buffer(r, 0), 0);
		CHECK_EQ(real_run(r, op), -EFAULT);
	}
	CHECK_EQ(ring_clear_buffer(r, 1u << 20), -EINVAL);
}

static void buffers(struct ring *r, bool denied)
{
	static char memory[2][8192] __attribute__((aligned(4096)));
	struct iovec iov[2] = { { memory[0], sizeof(memory[0]) }, { memory[1], sizeof(memory[1]) } };
	uint64_t before = real_stats(r).fixed_buffers;
	int64_t fd = real_open(r, dir_fd, "buffers", O_RDWR | O_CREAT, 0600);
	int res = ring_register_buffers(r, iov, 2);

	if (denied)
		CHECK_EQ(res, -EOPNOTSUPP);
	else if (res < 0)
		printf("note: buffers refused: %s\n", strerror(-res));
	memset(memory[0], 'b', sizeof(memory[0]));
	for (int i = 0; i < 3; i++) { /* the third names no registered buffer: it works as a plain one */
		struct op *op = real_op(r, i ? OP_READ : OP_WRITE);

		op->fd = (int)fd;
		op->buf = memory[i > 0];
		op->len = sizeof(memory[0]);
		op->buf_index = i;
		CHECK_EQ(real_run(r, op), sizeof(memory[0]));
	}
	CHECK_EQ(memcmp(memory[0], memory[1], sizeof(memory[0])), 0);
	if (res == 0 && backend_place_is_ring)
		CHECK_EQ(real_stats(r).fixed_buffers - before, 2);
	slots(r, (int)fd, res == 0);
	CHECK_EQ(ring_register_buffers(r, NULL, 0), denied ? -EOPNOTSUPP : 0);
	close((int)fd);
}

/* A reply behind a read: cut off when the read is short. */
static void links(struct ring *r)
{
	char data[200];
	int64_t fd = real_open(r, dir_fd, "links", O_RDWR | O_CREAT, 0600);

	REQUIRE(pwrite((int)fd, data, 100, 0) == 100);
	for (unsigned len = 100; len <= 200; len += 100) {
		struct real_result first = { 0, false };
		struct op *op = real_op(r, OP_READ);

		op->fd = (int)fd;
		op->buf = data;
		op->len = len;
		op->flags = OPF_LINK;
		op->done = real_done;
		op->owner = &first;
		ring_submit(op);
		op = real_op(r, OP_FSYNC);
		op->fd = (int)fd;
		CHECK_EQ(real_run(r, op), len == 100 ? 0 : -ECANCELED);
		CHECK(first.done);
		CHECK_EQ(first.res, 100);
	}
	close((int)fd);
}

static unsigned flood_done;

static void flood_fn(struct op *op)
{
	CHECK_EQ(op->res, 0);
	flood_done++;
}

/* More than submission and completion queue hold. */
static void flood(struct ring *r)
{
	unsigned want = 0;

	flood_done = 0;
	for (unsigned round = 0; round < 20; round++) {
		struct op *op;

		while ((op = ring_op_get(r))) {
			op->kind = round % 2 ? OP_TIMEOUT : OP_NOP;
			op->off = 1;
			op->done = flood_fn;
			ring_submit(op);
			want++;
		}
		real_drain(r);
	}
	CHECK_EQ(flood_done, want);
	CHECK_GE(real_stats(r).waited, 1);
	printf("flood of %u: %" PRIu64 " overflows\n", want, real_stats(r).overflows);
}

static bool posted;

static void post_fn(struct ring_post *p)
{
	(void)p;
	posted = true;
}

static void as_caller(struct ring *r, bool denied)
{
	struct stat st;
	int64_t fd;
	struct op *op;

	if (geteuid() != 0)
		return;
	op = real_op(r, OP_OPENAT);
	op->fd = dir_fd;
	op->path = "theirs";
	op->how.flags = O_CREAT | O_EXCL | O_WRONLY;
	op->how.mode = 0666;
	op->creds = (struct creds){ .uid = 1000, .gid = 1001, .flags = CREDS_SET | CREDS_UMASK, .umask = 027 };
	fd = real_run(r, op);
	CHECK_GE(fd, 0);
	CHECK_EQ(fstat((int)fd, &st), 0);
	CHECK_EQ(st.st_uid, denied ? 0 : 1000);
	CHECK_EQ(st.st_gid, denied ? 0 : 1001);
	CHECK_EQ(st.st_mode & 07777, 0640);
	close((int)fd);
}

int main(int argc, char **argv)
{
	struct backend_config cfg = real_config();
	struct ring_post post = { .fn = post_fn };
	struct ring_stats s;
	struct backend *b;
	struct ring *r;

	cfg.entries = 8;
	cfg.ops_count = 1000;
	cfg.force_ring = argc > 1 && strcmp(argv[1], "--force-ring") == 0;
	if (argc > 2 && strcmp(argv[1], "--deny") == 0)
		cfg.deny = strcmp(argv[2], "all") ? argv[2] : backend_features_known();
	if (argc > 3 && strcmp(argv[3], "--sqpoll") == 0)
		cfg.sqpoll_idle_ms = 10;
	b = real_backend(&cfg);
	dir_fd = real_dir(dir_path);
	printf("used: %s\nmissing: %s\ndenied: %s\n", backend_features_used(b), backend_features_missing(b),
	       backend_features_denied(b));
	r = real_ring(b, 0);
	backend_place_is_ring = backend_op_place(b, OP_READ) == OP_PLACE_RING &&
				backend_op_place(b, OP_WRITE) == OP_PLACE_RING;
	write_then_read(r);
	buffers(r, strstr(backend_features_denied(b), "registered_buffers") != NULL);
	links(r);
	flood(r);
	names(r);
	worker_ops(r);
	waits(r);
	as_caller(r, strstr(backend_features_denied(b), "caller_creds") != NULL);
	CHECK_EQ(ring_post(NULL, r, &post), 0);
	for (int i = 0; i < 3 && !posted; i++)
		CHECK_GE(ring_wait(r, true), 0);
	CHECK(posted);
	real_drain(r);
	s = real_stats(r);
	CHECK_EQ(s.bad_tags, 0);
	CHECK_EQ(s.close_errors, 0);
	CHECK_EQ(s.late_posts, 0);
	CHECK_EQ(s.slots_installed, s.slots_retired);
	printf("enters %" PRIu64 " sqes %" PRIu64 " cqes %" PRIu64 " punted %" PRIu64 " retried %" PRIu64
	       " slots %" PRIu64 "/%" PRIu64 " places %" PRIu64 "/%" PRIu64 "/%" PRIu64 "\n",
	       s.enters, s.sqes, s.cqes, s.punted, s.retried, s.slots_installed, s.slots_used, s.place[0], s.place[1],
	       s.place[2]);
	ring_destroy(r);
	CHECK_EQ(ring_post(NULL, r, &post), -ESHUTDOWN);
	backend_destroy(b);
	real_dir_remove(dir_path, dir_fd);
	return test_end();
}
