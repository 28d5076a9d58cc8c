/* SPDX-License-Identifier: MIT */
/* test_sysops.c - each kind by its system call and, where it has one, by the ring: the same answers. */
#include <dirent.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "real.h"

static char path[64];
static int dir_fd;
static struct ring *r;
static uint16_t how; /* OPF_WORKER, OPF_INLINE or 0: as the policy has it */

static struct op *new_op(enum op_kind kind, int fd)
{
	struct op *op = real_op(r, kind);

	op->flags = how;
	op->fd = fd;
	return op;
}

static int opened(const char *name, uint64_t flags)
{
	struct op *op = new_op(OP_OPENAT, dir_fd);
	int64_t fd;

	op->path = name;
	op->how.flags = flags;
	op->how.mode = flags & O_CREAT ? 0600 : 0;
	fd = real_run(r, op);
	CHECK_GE(fd, 0);
	return (int)fd;
}

static int64_t setattr(int fd, struct setattr_args a)
{
	struct op *op = new_op(OP_SETATTR, fd);

	op->buf = &a;
	return real_run(r, op);
}

static void test_file(void)
{
	char in[100], out[100];
	struct stat st;
	struct op *op;
	int fd = opened("f", O_RDWR | O_CREAT | O_TRUNC), fd2;

	memset(out, 'q', sizeof(out));
	op = new_op(OP_WRITE, fd);
	op->buf = out;
	op->len = sizeof(out);
	op->off = 10;
	CHECK_EQ(real_run(r, op), 100);
	op = new_op(OP_READ, fd);
	op->buf = in;
	op->len = sizeof(in);
	op->off = 60;
	CHECK_EQ(real_run(r, op), 50);
	op = new_op(OP_READ, fd);
	op->buf = in;
	op->len = sizeof(in);
	op->off = 1000;
	CHECK_EQ(real_run(r, op), 0);
	op = new_op(OP_FALLOCATE, fd);
	op->len = 8192;
	CHECK_EQ(real_run(r, op), 0);
	op = new_op(OP_FADVISE, fd);
	op->arg = POSIX_FADV_RANDOM;
	CHECK_EQ(real_run(r, op), 0);
	op = new_op(OP_SYNC_RANGE, fd);
	op->len = 4096;
	op->arg = SYNC_FILE_RANGE_WRITE;
	CHECK_EQ(real_run(r, op), 0);
	CHECK_EQ(real_run(r, new_op(OP_FSYNC, fd)), 0);
	CHECK_EQ(real_run(r, new_op(OP_SYNCFS, fd)), 0);
	op = new_op(OP_LSEEK, fd);
	op->arg = SEEK_END;
	CHECK_EQ(real_run(r, op), 8192);
	fd2 = opened("g", O_RDWR | O_CREAT | O_TRUNC);
	op = new_op(OP_COPY_RANGE, fd);
	op->fd2 = fd2;
	op->off2 = 5;
	op->len = 50;
	CHECK_EQ(real_run(r, op), 50);
	CHECK_EQ(fstat(fd2, &st), 0);
	CHECK_EQ(st.st_size, 55);
	op = new_op(OP_IOCTL, fd);
	op->off = FIGETBSZ;
	op->buf = in;
	CHECK_EQ(real_run(r, op), 0);
	op = new_op(OP_FTRUNCATE, fd);
	op->off = 3;
	CHECK_EQ(real_run(r, op), 0);
	CHECK_EQ(fstat(fd, &st), 0);
	CHECK_EQ(st.st_size, 3);
	CHECK_EQ(real_run(r, new_op(OP_CLOSE, fd)), 0);
	CHECK_EQ(real_run(r, new_op(OP_CLOSE, fd2)), 0);
}

static void test_pipe(void)
{
	int p[2];
	char c = 'z', in = 0;
	struct op *op;

	CHECK_EQ(pipe2(p, O_CLOEXEC), 0);
	op = new_op(OP_WRITE, p[1]);
	op->buf = &c;
	op->len = 1;
	CHECK_EQ(real_run(r, op), 1);
	op = new_op(OP_READ, p[0]);
	op->buf = &in;
	op->len = 1;
	CHECK_EQ(real_run(r, op), 1);
	CHECK_EQ(in, 'z');
	{
		int fd = opened("f", O_RDONLY);

		op = new_op(OP_SPLICE, fd);
		op->fd2 = p[1];
		op->off = 1;
		op->off2 = UINT64_MAX;
		op->len = 100;
		CHECK_EQ(real_run(r, op), 2);
		close(fd);
	}
	close(p[0]);
	close(p[1]);
}

static void test_names(void)
{
	char buf[256];
	struct statx stx;
	struct op *op = new_op(OP_MKDIRAT, dir_fd);
	int link_fd;

	op->path = "d";
	op->arg = 0700;
	CHECK_EQ(real_run(r, op), 0);
	op = new_op(OP_MKNODAT, dir_fd);
	op->path = "d/fifo";
	op->arg = S_IFIFO | 0640;
	CHECK_EQ(real_run(r, op), 0);
	op = new_op(OP_SYMLINKAT, dir_fd);
	op->path = "nowhere";
	op->path2 = "d/link";
	CHECK_EQ(real_run(r, op), 0);
	op = new_op(OP_LINKAT, dir_fd);
	op->fd2 = dir_fd;
	op->path = "f";
	op->path2 = "d/hard";
	CHECK_EQ(real_run(r, op), 0);
	op = new_op(OP_RENAMEAT, dir_fd);
	op->fd2 = dir_fd;
	op->path = "d/hard";
	op->path2 = "f";
	op->arg = RENAME_NOREPLACE;
	CHECK_EQ(real_run(r, op), -EEXIST);
	op = new_op(OP_STATX, dir_fd);
	op->path = "d/link";
	op->arg = AT_SYMLINK_NOFOLLOW;
	op->arg2 = STATX_BASIC_STATS;
	op->buf = &stx;
	CHECK_EQ(real_run(r, op), 0);
	CHECK(S_ISLNK(stx.stx_mode));
	link_fd = opened("d/link", O_PATH | O_NOFOLLOW);
	op = new_op(OP_READLINK, link_fd);
	op->buf = buf;
	op->len = sizeof(buf);
	CHECK_EQ(real_run(r, op), 7);
	CHECK_EQ(setattr(link_fd, (struct setattr_args){ .valid = SETATTR_MODE, .mode = 0777 }), -EOPNOTSUPP);
	CHECK_EQ(setattr(link_fd, (struct setattr_args){ .valid = SETATTR_TIMES, .mtime = { .tv_sec = 77 },
							 .atime = { .tv_nsec = UTIME_OMIT } }), 0);
	CHECK_EQ(setattr(link_fd, (struct setattr_args){ .valid = SETATTR_UID, .uid = geteuid() }), 0);
	op = new_op(OP_STATX, link_fd);
	op->path = "";
	op->arg = AT_EMPTY_PATH;
	op->arg2 = STATX_BASIC_STATS;
	op->buf = &stx;
	CHECK_EQ(real_run(r, op), 0);
	CHECK_EQ(stx.stx_mtime.tv_sec, 77);
	close(link_fd);
	for (unsigned i = 0; i < 3; i++) {
		static const char *const gone[] = { "d/fifo", "d/link", "d/hard" };

		op = new_op(OP_UNLINKAT, dir_fd);
		op->path = gone[i];
		CHECK_EQ(real_run(r, op), 0);
	}
	op = new_op(OP_UNLINKAT, dir_fd);
	op->path = "d";
	op->arg = AT_REMOVEDIR;
	CHECK_EQ(real_run(r, op), 0);
}

static void test_setattr(uint64_t flags, uint32_t valid)
{
	struct stat st;
	int fd = opened("f", flags);

	CHECK_EQ(setattr(fd, (struct setattr_args){ .valid = valid | SETATTR_SIZE | SETATTR_MODE | SETATTR_TIMES,
						    .size = 1234, .mode = 0604, .atime = { .tv_sec = 11 },
						    .mtime = { .tv_sec = 22, .tv_nsec = 33 } }), 0);
	CHECK_EQ(fstatat(dir_fd, "f", &st, 0), 0);
	CHECK_EQ(st.st_size, 1234);
	CHECK_EQ(st.st_mode & 07777, 0604);
	CHECK_EQ(st.st_atim.tv_sec, 11);
	CHECK_EQ(st.st_mtim.tv_sec, 22);
	if (geteuid() == 0) {
		CHECK_EQ(setattr(fd, (struct setattr_args){ .valid = valid | SETATTR_UID | SETATTR_GID, .uid = 5,
							    .gid = 6 }), 0);
		CHECK_EQ(fstatat(dir_fd, "f", &st, 0), 0);
		CHECK_EQ(st.st_uid, 5);
		CHECK_EQ(st.st_gid, 6);
	}
	close(fd);
}

static void test_xattr(bool by_path)
{
	char buf[256];
	int fd = opened("f", by_path ? O_PATH : O_RDWR);
	struct op *op = new_op(OP_SETXATTR, fd);
	int64_t res;

	op->path2 = "user.test";
	op->buf = "value";
	op->len = 5;
	if (by_path)
		op_path_of_fd(op, fd);
	res = real_run(r, op);
	if (res == -EOPNOTSUPP) {
		printf("note: no user xattrs here\n");
		close(fd);
		return;
	}
	CHECK_EQ(res, 0);
	op = new_op(OP_GETXATTR, fd);
	op->path2 = "user.test";
	op->buf = buf;
	op->len = sizeof(buf);
	if (by_path)
		op_path_of_fd(op, fd);
	CHECK_EQ(real_run(r, op), 5);
	CHECK_EQ(memcmp(buf, "value", 5), 0);
	op = new_op(OP_LISTXATTR, fd);
	op->buf = buf;
	op->len = sizeof(buf);
	if (by_path)
		op_path_of_fd(op, fd);
	CHECK_GE(real_run(r, op), 10);
	op = new_op(OP_REMOVEXATTR, fd);
	op->path2 = "user.test";
	if (by_path)
		op_path_of_fd(op, fd);
	CHECK_EQ(real_run(r, op), 0);
	op = new_op(OP_GETXATTR, fd);
	op->path2 = "user.test";
	if (by_path)
		op_path_of_fd(op, fd);
	CHECK_EQ(real_run(r, op), -ENODATA);
	close(fd);
}

static void test_rest(void)
{
	struct statvfs vfs;
	struct op *op = new_op(OP_STATFS, dir_fd);
	char buf[4096];
	int fd = opened(".", O_RDONLY | O_DIRECTORY);
	int64_t n;
	union {
		struct file_handle h;
		char room[sizeof(struct file_handle) + 128];
	} handle;

	op->buf = &vfs;
	CHECK_EQ(real_run(r, op), 0);
	for (unsigned round = 0; round < 2; round++) { /* position 0 again reads the same again */
		op = new_op(OP_GETDENTS, fd);
		op->buf = buf;
		op->len = sizeof(buf);
		n = real_run(r, op);
		CHECK_GE(n, 4 * 24);
	}
	op = new_op(OP_GETDENTS, fd);
	op->buf = buf;
	op->len = sizeof(buf);
	op->off = UINT64_MAX;
	CHECK_EQ(real_run(r, op), 0); /* goes on: the end */
	op = new_op(OP_ACCESS, -1);
	op_path_of_fd(op, dir_fd);
	op->arg = R_OK | X_OK;
	CHECK_EQ(real_run(r, op), 0);
	handle.h.handle_bytes = 128;
	op = new_op(OP_NAME_TO_HANDLE, dir_fd);
	op->path = "f";
	op->buf = &handle;
	n = real_run(r, op);
	if (n >= 0 && geteuid() == 0) {
		op = new_op(OP_OPEN_BY_HANDLE, dir_fd);
		op->buf = &handle;
		op->arg = O_RDONLY;
		n = real_run(r, op);
		CHECK(n >= 0 || n == -EPERM);
		if (n >= 0) {
			CHECK_EQ(fcntl((int)n, F_GETFD), FD_CLOEXEC);
			close((int)n);
		}
	}
	close(fd);
}

/** A piece of a directory comes sorted by inode number, and is looked up in parts, by this pool or by the one for such. */
static void test_piece(unsigned flags)
{
	static struct names n;
	int fd = opened(".", O_RDONLY | O_DIRECTORY);
	struct op *op = new_op(OP_NAMES_READ, fd);
	int64_t count;

	n = (struct names){ 0 };
	op->buf = &n;
	op->flags |= (uint16_t)flags;
	count = real_run(r, op);
	CHECK_GE(count, 4);
	CHECK_EQ(n.count, count);
	for (unsigned i = 1; i < n.count; i++)
		CHECK(n.sorted[i - 1]->ino <= n.sorted[i]->ino);
	CHECK(n.cached); /* they have just been made */
	CHECK(!names_cold(fd, n.sorted[0]->name));
	op = new_op(OP_NAMES_LOOK, fd);
	op->buf = &n;
	op->off = 1;
	op->len = (size_t)count - 2;
	op->flags |= (uint16_t)flags;
	CHECK_EQ(real_run(r, op), count - 2);
	op = new_op(OP_NAMES_READ, fd);
	op->buf = &n;
	op->off = (uint64_t)n.next;
	CHECK_EQ(real_run(r, op), 0); /* nothing behind it */
	atomic_store(&n.stop, true);
	op = new_op(OP_NAMES_LOOK, fd);
	op->buf = &n;
	op->len = 1;
	CHECK_EQ(real_run(r, op), 0);
	close(fd);
}

static void test_all(const char *label)
{
	int before = test_failures;

	test_file();
	test_pipe();
	test_names();
	test_setattr(O_PATH, 0);
	test_setattr(O_RDWR, SETATTR_FD_OPEN);
	test_xattr(false);
	test_xattr(true);
	test_rest();
	test_piece(0);
	if (how != OPF_INLINE)
		test_piece(OPF_AHEAD);
	if (test_failures != before)
		fprintf(stderr, "... in %s\n", label);
}

int main(void)
{
	struct backend_config cfg = real_config();

	dir_fd = real_dir(path);
	for (unsigned pass = 0; pass < 4; pass++) {
		static const char *const labels[] = { "policy", "workers", "inline", "forced ring" };
		struct backend *b;

		cfg.force_ring = pass == 3;
		b = real_backend(&cfg);
		r = real_ring(b, 0);
		how = pass == 1 ? OPF_WORKER : pass == 2 ? OPF_INLINE : 0;
		test_all(labels[pass]);
		CHECK_EQ(real_stats(r).bad_tags, 0);
		if (pass == 1)
			CHECK_EQ(real_stats(r).place[OP_PLACE_RING], 0);
		if (pass == 2)
			CHECK_EQ(real_stats(r).place[OP_PLACE_RING] + real_stats(r).place[OP_PLACE_WORKER], 0);
		if (pass == 3)
			CHECK_GE(real_stats(r).place[OP_PLACE_RING], real_stats(r).place[OP_PLACE_WORKER]);
		ring_destroy(r);
		backend_destroy(b);
	}
	real_dir_remove(path, dir_fd);
	return test_end();
}
