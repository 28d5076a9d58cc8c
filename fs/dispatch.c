/* SPDX-License-Identifier: MIT */
#include "dispatch.h"

#include <errno.h>
#include <string.h>

#include "fs/decode.h"
#include "fs/ops.h"

/* What a message of each opcode must hold (libfuse itself does not look at lengths), and who decodes it. */
static const struct opcode_row opcodes[UAPI_FUSE_OPCODE_MAX] = {
	[FUSE_LOOKUP] = { "lookup", 0, 1, decode_lookup },
	[FUSE_FORGET] = { "forget", sizeof(struct fuse_forget_in), 0, decode_forget },
	[FUSE_GETATTR] = { "getattr", sizeof(struct fuse_getattr_in), 0, decode_getattr },
	[FUSE_SETATTR] = { "setattr", sizeof(struct fuse_setattr_in), 0, decode_setattr },
	[FUSE_READLINK] = { "readlink", 0, 0, decode_readlink },
	[FUSE_SYMLINK] = { "symlink", 0, 2, decode_symlink },
	[FUSE_MKNOD] = { "mknod", sizeof(struct fuse_mknod_in), 1, decode_mknod },
	[FUSE_MKDIR] = { "mkdir", sizeof(struct fuse_mkdir_in), 1, decode_mkdir },
	[FUSE_UNLINK] = { "unlink", 0, 1, decode_unlink },
	[FUSE_RMDIR] = { "rmdir", 0, 1, decode_rmdir },
	[FUSE_RENAME] = { "rename", sizeof(struct fuse_rename_in), 2, decode_rename },
	[FUSE_LINK] = { "link", sizeof(struct fuse_link_in), 1, decode_link },
	[FUSE_OPEN] = { "open", sizeof(struct fuse_open_in), 0, decode_open },
	[FUSE_READ] = { "read", sizeof(struct fuse_read_in), 0, decode_read },
	[FUSE_WRITE] = { "write", sizeof(struct fuse_write_in), 0, decode_write },
	[FUSE_STATFS] = { "statfs", 0, 0, decode_statfs },
	[FUSE_RELEASE] = { "release", sizeof(struct fuse_release_in), 0, decode_release },
	[FUSE_FSYNC] = { "fsync", sizeof(struct fuse_fsync_in), 0, decode_fsync },
	[FUSE_SETXATTR] = { "setxattr", FUSE_COMPAT_SETXATTR_IN_SIZE, 0, decode_setxattr },
	[FUSE_GETXATTR] = { "getxattr", sizeof(struct fuse_getxattr_in), 1, decode_getxattr },
	[FUSE_LISTXATTR] = { "listxattr", sizeof(struct fuse_getxattr_in), 0, decode_listxattr },
	[FUSE_REMOVEXATTR] = { "removexattr", 0, 1, decode_removexattr },
	[FUSE_FLUSH] = { "flush", sizeof(struct fuse_flush_in), 0, decode_flush },
	[FUSE_INIT] = { "init", sizeof(struct fuse_init_in) - sizeof(uint32_t) * 12, 0, NULL },
	[FUSE_OPENDIR] = { "opendir", sizeof(struct fuse_open_in), 0, decode_opendir },
	[FUSE_READDIR] = { "readdir", sizeof(struct fuse_read_in), 0, decode_readdir },
	[FUSE_RELEASEDIR] = { "releasedir", sizeof(struct fuse_release_in), 0, decode_release },
	[FUSE_FSYNCDIR] = { "fsyncdir", sizeof(struct fuse_fsync_in), 0, decode_fsync },
	[FUSE_GETLK] = { "getlk", sizeof(struct fuse_lk_in), 0, NULL },
	[FUSE_SETLK] = { "setlk", sizeof(struct fuse_lk_in), 0, NULL },
	[FUSE_SETLKW] = { "setlkw", sizeof(struct fuse_lk_in), 0, NULL },
	[FUSE_ACCESS] = { "access", sizeof(struct fuse_access_in), 0, NULL },
	[FUSE_CREATE] = { "create", sizeof(struct fuse_create_in), 1, decode_create },
	[FUSE_INTERRUPT] = { "interrupt", sizeof(struct fuse_interrupt_in), 0, decode_interrupt },
	[FUSE_BMAP] = { "bmap", sizeof(struct fuse_bmap_in), 0, NULL },
	[FUSE_DESTROY] = { "destroy", 0, 0, NULL },
	[FUSE_IOCTL] = { "ioctl", sizeof(struct fuse_ioctl_in), 0, NULL },
	[FUSE_POLL] = { "poll", sizeof(struct fuse_poll_in), 0, NULL },
	[FUSE_BATCH_FORGET] = { "batch_forget", sizeof(struct fuse_batch_forget_in), 0, decode_batch_forget },
	[FUSE_FALLOCATE] = { "fallocate", sizeof(struct fuse_fallocate_in), 0, decode_fallocate },
	[FUSE_READDIRPLUS] = { "readdirplus", sizeof(struct fuse_read_in), 0, decode_readdirplus },
	[FUSE_RENAME2] = { "rename2", sizeof(struct fuse_rename2_in), 2, decode_rename2 },
	[FUSE_LSEEK] = { "lseek", sizeof(struct fuse_lseek_in), 0, decode_lseek },
	[FUSE_COPY_FILE_RANGE] = { "copy_file_range", sizeof(struct fuse_copy_file_range_in), 0, decode_copy_file_range },
	[UAPI_FUSE_TMPFILE] = { "tmpfile", sizeof(struct fuse_create_in), 0, decode_tmpfile },
	[UAPI_FUSE_STATX] = { "statx", sizeof(struct uapi_fuse_statx_in), 0, decode_statx },
	[UAPI_FUSE_COPY_FILE_RANGE_64] = { "copy_file_range_64", sizeof(struct fuse_copy_file_range_in), 0, decode_copy_file_range_64 },
};

const char *dispatch_opcode_name(uint32_t opcode)
{
	return opcode < UAPI_FUSE_OPCODE_MAX && opcodes[opcode].name ? opcodes[opcode].name : "?";
}

/** check_counts() - numbers in the message that say how much follows. */
static int check_counts(const struct request *r)
{
	if (r->opcode == FUSE_WRITE) {
		const struct fuse_write_in *in = r->arg;
		uint32_t there = r->apart_size ? r->apart_size : r->arg_size - (uint32_t)sizeof(*in);
		return in->size > there || in->size > r->payload_size ? -EINVAL : 0;
	}
	if (r->opcode == FUSE_BATCH_FORGET) {
		const struct fuse_batch_forget_in *in = r->arg;
		return in->count > (r->arg_size - sizeof(*in)) / sizeof(struct fuse_forget_one) ? -EINVAL : 0;
	}
	if (r->opcode == FUSE_IOCTL) {
		const struct fuse_ioctl_in *in = r->arg;
		return in->in_size > r->arg_size - sizeof(*in) ? -EINVAL : 0;
	}
	return 0;
}

int dispatch_check(const struct request *r, const struct opcode_row **ret_row)
{
	const struct opcode_row *row = r->opcode < UAPI_FUSE_OPCODE_MAX ? &opcodes[r->opcode] : NULL;
	const char *at, *end = (const char *)r->arg + r->arg_size;

	if (!row || !row->name || r->opcode == FUSE_INIT)
		return -ENOSYS;
	if (r->arg_size < row->arg_size)
		return -EINVAL;
	at = (const char *)r->arg + row->arg_size;
	for (unsigned n = 0; n < row->strings; n++) {
		at = memchr(at, 0, (size_t)(end - at));
		if (!at)
			return -EINVAL;
		at++;
	}
	*ret_row = row;
	return check_counts(r);
}

/* ---- libfuse's table: what has no decoder of ours ------------------------------------ */

static void do_access(fuse_req_t req, fuse_ino_t ino, int mask)
{
	op_access(request_taken(req), ino, mask);
}

static void do_getlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock)
{
	struct request *r = request_taken(req);

	(void)fi, (void)lock;
	op_getlk(r, ino, r->arg);
}

static void do_setlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock, int sleep)
{
	struct request *r = request_taken(req);

	(void)fi, (void)lock;
	op_setlk(r, ino, r->arg, sleep);
}

static void do_flock(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, int op)
{
	struct request *r = request_taken(req);

	(void)fi, (void)op;
	op_setlk(r, ino, r->arg, r->opcode == FUSE_SETLKW);
}

static void do_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned int cmd, void *arg, struct fuse_file_info *fi, unsigned flags,
		     const void *in_buf, size_t in_size, size_t out_size)
{
	struct request *r = request_taken(req);

	(void)cmd, (void)arg, (void)fi, (void)flags, (void)in_size, (void)out_size;
	op_ioctl(r, ino, r->arg, in_buf);
}

/* poll and bmap are absent: the kernel then does what it does for regular files. */
const struct fuse_lowlevel_ops dispatch_ops = {
	.access = do_access,
	.getlk = do_getlk,
	.setlk = do_setlk,
	.flock = do_flock,
	.ioctl = do_ioctl,
};
