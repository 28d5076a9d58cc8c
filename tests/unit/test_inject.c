/* SPDX-License-Identifier: MIT */
/* test_inject.c - results put in the place of real ones, by the same paths. */
#include "backend/inject.h"
#include "real.h"

static void test_parse(void)
{
	static struct inject in;
	char err[512];
	int32_t res = 0;

	CHECK_EQ(inject_parse(NULL, &in, err, sizeof(err)), 0);
	CHECK(!inject_match(&in, OP_READ, &res));
	CHECK_EQ(inject_parse("read:2:-EIO,write:3+:17", &in, err, sizeof(err)), 0);
	CHECK(!inject_match(&in, OP_READ, &res));
	CHECK(inject_match(&in, OP_READ, &res));
	CHECK_EQ(res, -EIO);
	CHECK(!inject_match(&in, OP_READ, &res));
	CHECK(!inject_match(&in, OP_WRITE, &res));
	CHECK(!inject_match(&in, OP_WRITE, &res));
	CHECK(inject_match(&in, OP_WRITE, &res));
	CHECK(inject_match(&in, OP_WRITE, &res));
	CHECK_EQ(res, 17);
	CHECK_EQ(inject_parse("read:0:-EIO", &in, err, sizeof(err)), -EINVAL);
	CHECK_EQ(inject_parse("read:1:-ENONSENSE", &in, err, sizeof(err)), -EINVAL);
	CHECK_EQ(inject_parse("read:1", &in, err, sizeof(err)), -EINVAL);
	CHECK_EQ(inject_parse("red:1:0", &in, err, sizeof(err)), -EINVAL);
	CHECK(strstr(err, "red:1:0") != NULL);
	CHECK_EQ(inject_parse("read:1x:0", &in, err, sizeof(err)), -EINVAL);
	CHECK_EQ(inject_parse("read:1:0:5", &in, err, sizeof(err)), -EINVAL);
}

static void test_run(struct ring *r, const char *path, int dir_fd)
{
	char buf[4096];
	struct op *op;
	int fd = openat(dir_fd, "f", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	(void)path;
	memset(buf, 'a', sizeof(buf));
	REQUIRE(pwrite(fd, buf, sizeof(buf), 0) == sizeof(buf));
	memset(buf, 0, sizeof(buf));
	/* read 1: 100 bytes "read" by nobody, the rest from the right place */
	op = real_op(r, OP_READ);
	op->fd = fd;
	op->buf = buf;
	op->len = sizeof(buf);
	CHECK_EQ(real_run(r, op), sizeof(buf));
	CHECK_EQ(buf[99], 0);
	CHECK_EQ(buf[100], 'a');
	/* read 2: an error; read 3: tried again and well */
	op = real_op(r, OP_READ);
	op->fd = fd;
	op->buf = buf;
	op->len = sizeof(buf);
	CHECK_EQ(real_run(r, op), -EIO);
	op = real_op(r, OP_READ);
	op->fd = fd;
	op->buf = buf;
	op->len = sizeof(buf);
	CHECK_EQ(real_run(r, op), sizeof(buf));
	CHECK_EQ(real_stats(r).retried, 1);
	/* worker and inline kinds */
	op = real_op(r, OP_SYNCFS);
	op->fd = fd;
	CHECK_EQ(real_run(r, op), -ENOSPC);
	op = real_op(r, OP_STATX);
	op->fd = fd;
	op->path = "";
	op->arg = AT_EMPTY_PATH;
	op->buf = buf;
	CHECK_EQ(real_run(r, op), -ESTALE);
	CHECK_EQ(real_stats(r).injected, 5);
	CHECK_EQ(real_stats(r).bad_tags, 0);
	close(fd);
}

int main(void)
{
	struct backend_config cfg = real_config();
	struct backend *b = NULL;
	char err[2048], path[64];
	struct ring *r;
	int dir_fd;

	test_parse();
	cfg.inject = "read:1:100,read:2:-EIO,read:3:-EINTR,syncfs:1+:-ENOSPC,statx:1:-ESTALE";
	if (backend_create(&cfg, &b, err, sizeof(err)) < 0)
		test_skip(err);
	r = real_ring(b, 0);
	dir_fd = real_dir(path);
	test_run(r, path, dir_fd);
	ring_destroy(r);
	backend_destroy(b);
	real_dir_remove(path, dir_fd);
	return test_end();
}
