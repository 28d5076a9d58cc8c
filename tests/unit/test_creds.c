/* SPDX-License-Identifier: MIT */
/* test_creds.c - identities: what files they make, what they may not do, and that all comes back. */
#include <grp.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "backend/creds.h"
#include "real.h"

static char path[64];
static int dir_fd;

static uint64_t effective(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	REQUIRE(syscall(SYS_capget, &head, data) == 0);
	return data[0].effective | (uint64_t)data[1].effective << 32;
}

static uid_t fsuid(void)
{
	return (uid_t)syscall(SYS_setfsuid, (uid_t)-1);
}

static gid_t fsgid(void)
{
	return (gid_t)syscall(SYS_setfsgid, (gid_t)-1);
}

static void test_switch(void)
{
	uint64_t before = effective();
	struct creds own = { .uid = 0, .gid = 0, .flags = CREDS_SET };
	struct creds user = { .uid = 1000, .gid = 1001, .group = 1002, .flags = CREDS_SET | CREDS_GROUP };
	struct creds root = { .uid = 0, .gid = 7, .flags = CREDS_SET | CREDS_NO_FSETID };
	struct creds quiet = { .flags = CREDS_NO_FSETID };
	struct creds bound = { .flags = CREDS_NO_FSETID | CREDS_NO_RESOURCE };
	struct creds n = creds_normalize(&own, true);
	gid_t groups[8];

	CHECK(creds_is_own(&n));
	n = creds_normalize(&user, false);
	CHECK(creds_is_own(&n));
	n = creds_normalize(&user, true);
	CHECK_EQ(creds_enter(&n), 0);
	CHECK_EQ(fsuid(), 1000);
	CHECK_EQ(fsgid(), 1001);
	CHECK_EQ(getgroups(8, groups), 1);
	CHECK_EQ(groups[0], 1002);
	CHECK_EQ(getuid(), 0);
	CHECK_EQ(effective(), before & (1u << CAP_DAC_OVERRIDE | 1u << CAP_DAC_READ_SEARCH | 1u << CAP_MKNOD));
	n = creds_normalize(&root, true); /* from one to another without a way home */
	CHECK_EQ(creds_enter(&n), 0);
	CHECK_EQ(fsuid(), 0);
	CHECK_EQ(fsgid(), 7);
	CHECK_EQ(getgroups(8, groups), 0);
	CHECK_EQ(effective(), before & ~(UINT64_C(1) << CAP_FSETID));
	n = creds_normalize(&quiet, true);
	CHECK_EQ(creds_enter(&n), 0);
	CHECK_EQ(fsgid(), 0);
	CHECK_EQ(effective(), before & ~(UINT64_C(1) << CAP_FSETID));
	n = creds_normalize(&bound, true);
	CHECK_EQ(creds_enter(&n), 0);
	CHECK_EQ(effective(), before & ~(UINT64_C(1) << CAP_FSETID | UINT64_C(1) << CAP_SYS_RESOURCE));
	creds_leave();
	CHECK_EQ(effective(), before);
	CHECK_EQ(fsuid(), 0);
	CHECK_EQ(fsgid(), 0);
	CHECK_EQ(getgroups(8, groups), 0);
	creds_leave(); /* harmless */
	n = (struct creds){ .uid = (uid_t)-1, .gid = 5, .flags = CREDS_SET };
	CHECK(creds_enter(&n) < 0);
	CHECK_EQ(fsgid(), 0);
	CHECK_EQ(effective(), before);
}

static void check_made(struct ring *r, uint16_t flags, const char *name, unsigned user)
{
	struct op *op = real_op(r, OP_MKDIRAT);
	struct stat st;

	op->fd = dir_fd;
	op->path = name;
	op->arg = 0755;
	op->flags = flags;
	op->creds = (struct creds){ .uid = 2000 + user, .gid = 3000 + user, .flags = CREDS_SET };
	CHECK_EQ(real_run(r, op), 0);
	CHECK_EQ(fstatat(dir_fd, name, &st, 0), 0);
	CHECK_EQ(st.st_uid, 2000 + user);
	CHECK_EQ(st.st_gid, 3000 + user);
	op = real_op(r, OP_UNLINKAT);
	op->fd = dir_fd;
	op->path = name;
	op->arg = AT_REMOVEDIR;
	CHECK_EQ(real_run(r, op), 0);
}

static void suid_of_write(struct ring *r, uint16_t flags)
{
	struct stat st;
	struct op *op = real_op(r, OP_WRITE);
	int fd = openat(dir_fd, "suid", O_RDWR | O_CREAT | O_CLOEXEC, 0755);

	CHECK_EQ(fchmod(fd, 04755), 0);
	op->fd = fd;
	op->buf = path;
	op->len = 1;
	op->flags = flags;
	CHECK_EQ(real_run(r, op), 1);
	CHECK_EQ(fstat(fd, &st), 0);
	CHECK_EQ(st.st_mode & 07777, 04755); /* the daemon is root: kept */
	op = real_op(r, OP_WRITE);
	op->fd = fd;
	op->buf = path;
	op->len = 1;
	op->flags = flags;
	op->creds.flags = CREDS_NO_FSETID;
	CHECK_EQ(real_run(r, op), 1);
	CHECK_EQ(fstat(fd, &st), 0);
	CHECK_EQ(st.st_mode & 07777, 0755);
	close(fd);
}

static void test_ring(const char *deny)
{
	struct backend_config cfg = real_config();
	struct backend *b;
	struct ring *r;

	cfg.deny = deny;
	b = real_backend(&cfg);
	r = real_ring(b, 0);
	/* more users than the cache holds, in the ring, inline and on workers */
	for (unsigned user = 0; user < 200; user++)
		check_made(r, 0, "made", user);
	check_made(r, 0, "made", 3);
	CHECK_EQ(real_stats(r).personalities, deny ? 0 : 201 * 1);
	check_made(r, OPF_WORKER, "made", 4);
	check_made(r, OPF_INLINE, "made", 5);
	CHECK_EQ(fsuid(), 0);
	suid_of_write(r, 0);
	suid_of_write(r, OPF_WORKER);
	suid_of_write(r, OPF_INLINE);
	/* many at once: what waits in the queue keeps its identity while the cache turns over */
	for (unsigned user = 0; user < 150; user++) {
		struct op *op = real_op(r, OP_SYMLINKAT);
		static char names[150][16];

		snprintf(names[user], sizeof(names[user]), "link%u", user);
		op->path = "target";
		op->fd = dir_fd;
		op->path2 = names[user];
		op->creds = (struct creds){ .uid = 5000 + user, .gid = 6000, .flags = CREDS_SET };
		ring_submit(op);
	}
	real_drain(r);
	for (unsigned user = 0; user < 150; user++) {
		struct stat st;
		char name[16];

		snprintf(name, sizeof(name), "link%u", user);
		CHECK_EQ(fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW), 0);
		CHECK_EQ(st.st_uid, 5000 + user);
		CHECK_EQ(unlinkat(dir_fd, name, 0), 0);
	}
	ring_destroy(r);
	backend_destroy(b);
}

int main(void)
{
	if (geteuid() != 0 || !creds_can_switch())
		test_skip("needs root");
	REQUIRE(creds_drop_groups() == 0);
	dir_fd = real_dir(path);
	REQUIRE(fchmod(dir_fd, 0777) == 0);
	test_switch();
	test_ring(NULL);
	test_ring("personality");
	real_dir_remove(path, dir_fd);
	return test_end();
}
