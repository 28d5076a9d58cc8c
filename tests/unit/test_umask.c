/* SPDX-License-Identifier: MIT */
/* test_umask.c - many umasks at once, in the ring and on workers, and a default ACL that wins. */
#include <endian.h>
#include <sys/xattr.h>

#include "real.h"

static char path[64];
static int dir_fd;

static void make_many(struct ring *r, uint16_t flags)
{
	static char names[200][16];

	for (unsigned i = 0; i < 200; i++) {
		struct op *op = real_op(r, i % 3 ? OP_MKDIRAT : OP_MKNODAT);

		snprintf(names[i], sizeof(names[i]), "n%u", i);
		op->fd = dir_fd;
		op->path = names[i];
		op->arg = i % 3 ? 0777 : S_IFREG | 0666;
		op->flags = flags;
		op->creds.flags = i % 5 ? CREDS_UMASK : 0;
		op->creds.umask = (uint16_t)(i / 10 * 7 & 0777);
		ring_submit(op);
	}
	real_drain(r);
	for (unsigned i = 0; i < 200; i++) {
		struct stat st;
		mode_t mask = i % 5 ? i / 10 * 7 & 0777 : 0;

		CHECK_EQ(fstatat(dir_fd, names[i], &st, 0), 0);
		CHECK_EQ(st.st_mode & 0777, (i % 3 ? 0777 : 0666) & ~mask);
		CHECK_EQ(unlinkat(dir_fd, names[i], i % 3 ? AT_REMOVEDIR : 0), 0);
	}
}

struct acl_entry {
	uint16_t tag, perm;
	uint32_t id;
};

/* user::rwx group::rwx other::rwx as default: no umask applies below. Format: linux/posix_acl_xattr.h, version 2. */
static bool set_default_acl(void)
{
	struct {
		uint32_t version;
		struct acl_entry e[3];
	} acl = { htole32(2), { { htole16(0x01), htole16(7), UINT32_MAX },
				{ htole16(0x04), htole16(7), UINT32_MAX },
				{ htole16(0x20), htole16(7), UINT32_MAX } } };

	return fsetxattr(dir_fd, "system.posix_acl_default", &acl, sizeof(acl), 0) == 0;
}

static void acl_wins(struct ring *r, uint16_t flags)
{
	struct stat st;
	struct op *op = real_op(r, OP_MKDIRAT);

	op->fd = dir_fd;
	op->path = "acl";
	op->arg = 0777;
	op->flags = flags;
	op->creds.flags = CREDS_UMASK;
	op->creds.umask = 077;
	CHECK_EQ(real_run(r, op), 0);
	CHECK_EQ(fstatat(dir_fd, "acl", &st, 0), 0);
	CHECK_EQ(st.st_mode & 0777, 0777);
	CHECK_EQ(unlinkat(dir_fd, "acl", AT_REMOVEDIR), 0);
	op = real_op(r, OP_OPENAT);
	op->fd = dir_fd;
	op->path = "aclfile";
	op->how.flags = O_CREAT | O_WRONLY;
	op->how.mode = 0660;
	op->flags = flags;
	op->creds.flags = CREDS_UMASK;
	op->creds.umask = 077;
	{
		int64_t fd = real_run(r, op);

		CHECK_GE(fd, 0);
		CHECK_EQ(fstat((int)fd, &st), 0);
		CHECK_EQ(st.st_mode & 0777, 0660);
		close((int)fd);
	}
	CHECK_EQ(unlinkat(dir_fd, "aclfile", 0), 0);
}

int main(void)
{
	struct backend_config cfg = real_config();
	const uint16_t ways[] = { 0, OPF_WORKER, OPF_INLINE };
	struct backend *b = real_backend(&cfg);
	struct ring *r = real_ring(b, 0);

	dir_fd = real_dir(path);
	for (unsigned i = 0; i < 3; i++)
		make_many(r, ways[i]);
	CHECK_GE(real_stats(r).place[OP_PLACE_RING], 1);
	CHECK_GE(real_stats(r).place[OP_PLACE_WORKER], 1);
	if (set_default_acl())
		for (unsigned i = 0; i < 3; i++)
			acl_wins(r, ways[i]);
	else
		printf("note: no ACLs in %s, that part left out\n", path);
	ring_destroy(r);
	backend_destroy(b);
	real_dir_remove(path, dir_fd);
	return test_end();
}
