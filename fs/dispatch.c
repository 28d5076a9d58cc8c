/* SPDX-License-Identifier: MIT */
#include "dispatch.h"

#include <errno.h>
#include <string.h>

#include "fs/decode.h"
#include "fs/ops.h"

/* What a message of each opcode must hold (libfuse itself does not look at lengths), and who decodes it. */
static const struct opcode_row opcodes[UAPI_FUSE_OPCODE_MAX] = {
	[FUSE_LOOKUP] = { "lookup", 0, 1, decode_lookup, true },
	[FUSE_FORGET] = { "forget", sizeof(struct fuse_forget_in), 0, decode_forget, true },
	[FUSE_GETATTR] = { "getattr", sizeof(struct fuse_getattr_in), 0, decode_getattr, true },
	[FUSE_SETATTR] = { "setattr", sizeof(struct fuse_setattr_in), 0, decode_setattr, true },
	[FUSE_READLINK] = { "readlink", 0, 0, decode_readlink, true },
	[FUSE_SYMLINK] = { "symlink", 0, 2, decode_symlink, true },
	[FUSE_MKNOD] = { "mknod", sizeof(struct fuse_mknod_in), 1, decode_mknod, true },
	[FUSE_MKDIR] = { "mkdir", sizeof(struct fuse_mkdir_in), 1, decode_mkdir, true },
	[FUSE_UNLINK] = { "unlink", 0, 1, decode_unlink, true },
	[FUSE_RMDIR] = { "rmdir", 0, 1, decode_rmdir, true },
	[FUSE_RENAME] = { "rename", sizeof(struct fuse_rename_in), 2, decode_rename, true },
	[FUSE_LINK] = { "link", sizeof(struct fuse_link_in), 1, decode_link, true },
	[FUSE_OPEN] = { "open", sizeof(struct fuse_open_in), 0, decode_open, true },
	[FUSE_READ] = { "read", sizeof(struct fuse_read_in), 0, decode_read, true },
	[FUSE_WRITE] = { "write", sizeof(struct fuse_write_in), 0, decode_write, true },
	[FUSE_STATFS] = { "statfs", 0, 0, decode_statfs, true },
	[FUSE_RELEASE] = { "release", sizeof(struct fuse_release_in), 0, decode_release, true },
	[FUSE_FSYNC] = { "fsync", sizeof(struct fuse_fsync_in), 0, decode_fsync, true },
	[FUSE_SETXATTR] = { "setxattr", FUSE_COMPAT_SETXATTR_IN_SIZE, 0, decode_setxattr, false },
	[FUSE_GETXATTR] = { "getxattr", sizeof(struct fuse_getxattr_in), 1, decode_getxattr, true },
	[FUSE_LISTXATTR] = { "listxattr", sizeof(struct fuse_getxattr_in), 0, decode_listxattr, true },
	[FUSE_REMOVEXATTR] = { "removexattr", 0, 1, decode_removexattr, true },
	[FUSE_FLUSH] = { "flush", sizeof(struct fuse_flush_in), 0, decode_flush, true },
	[FUSE_INIT] = { "init", sizeof(struct fuse_init_in) - sizeof(uint32_t) * 12, 0, NULL, true },
	[FUSE_OPENDIR] = { "opendir", sizeof(struct fuse_open_in), 0, decode_opendir, true },
	[FUSE_READDIR] = { "readdir", sizeof(struct fuse_read_in), 0, decode_readdir, true },
	[FUSE_RELEASEDIR] = { "releasedir", sizeof(struct fuse_release_in), 0, decode_release, true },
	[FUSE_FSYNCDIR] = { "fsyncdir", sizeof(struct fuse_fsync_in), 0, decode_fsync, true },
	[FUSE_GETLK] = { "getlk", sizeof(struct fuse_lk_in), 0, NULL, true },
	[FUSE_SETLK] = { "setlk", sizeof(struct fuse_lk_in), 0, NULL, true },
	[FUSE_SETLKW] = { "setlkw", sizeof(struct fuse_lk_in), 0, NULL, true },
	[FUSE_ACCESS] = { "access", sizeof(struct fuse_access_in), 0, NULL, true },
	[FUSE_CREATE] = { "create", sizeof(struct fuse_create_in), 1, decode_create, true },
	[FUSE_INTERRUPT] = { "interrupt", sizeof(struct fuse_interrupt_in), 0, decode_interrupt, false },
	[FUSE_BMAP] = { "bmap", sizeof(struct fuse_bmap_in), 0, NULL, true },
	[FUSE_DESTROY] = { "destroy", 0, 0, NULL, true },
	[FUSE_IOCTL] = { "ioctl", sizeof(struct fuse_ioctl_in), 0, NULL, true },
	[FUSE_POLL] = { "poll", sizeof(struct fuse_poll_in), 0, NULL, true },
	[FUSE_BATCH_FORGET] = { "batch_forget", sizeof(struct fuse_batch_forget_in), 0, decode_batch_forget, true },
	[FUSE_FALLOCATE] = { "fallocate", sizeof(struct fuse_fallocate_in), 0, decode_fallocate, true },
	[FUSE_READDIRPLUS] = { "readdirplus", sizeof(struct fuse_read_in), 0, decode_readdirplus, true },
	[FUSE_RENAME2] = { "rename2", sizeof(struct fuse_rename2_in), 2, decode_rename2, true },
	[FUSE_LSEEK] = { "lseek", sizeof(struct fuse_lseek_in), 0, decode_lseek, true },
	[FUSE_COPY_FILE_RANGE] = { "copy_file_range", sizeof(struct fuse_copy_file_range_in), 0, decode_copy_file_range, true },
	[UAPI_FUSE_TMPFILE] = { "tmpfile", sizeof(struct fuse_create_in), 0, decode_tmpfile, false },
	[UAPI_FUSE_STATX] = { "statx", sizeof(struct uapi_fuse_statx_in), 0, decode_statx, false },
	[UAPI_FUSE_COPY_FILE_RANGE_64] = { "copy_file_range_64", sizeof(struct fuse_copy_file_range_in), 0, decode_copy_file_range_64, false },
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

/* ---- libfuse's table ------------------------------------------------------------- */

static void do_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	op_lookup(request_taken(req), parent, name);
}

static void do_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
	op_forget(request_taken(req), ino, nlookup);
}

static void do_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	op_forget_multi(request_taken(req), count, forgets);
}

static void do_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	op_getattr(request_taken(req), ino, fi ? fi->fh : 0, fi);
}

static void do_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set, struct fuse_file_info *fi)
{
	struct request *r = request_taken(req);

	(void)attr, (void)to_set; /* libfuse drops some of the bits; FATTR_FH it takes out of the message itself */
	op_setattr(r, ino, r->arg, fi);
}

static void do_readlink(fuse_req_t req, fuse_ino_t ino)
{
	op_readlink(request_taken(req), ino);
}

static void do_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	op_mknod(request_taken(req), parent, name, mode, rdev, fuse_req_ctx(req)->umask);
}

static void do_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	op_mkdir(request_taken(req), parent, name, mode, fuse_req_ctx(req)->umask);
}

static void do_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	op_unlink(request_taken(req), parent, name);
}

static void do_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	op_rmdir(request_taken(req), parent, name);
}

static void do_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	op_symlink(request_taken(req), target, parent, name);
}

static void do_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent, const char *new_name,
		      unsigned flags)
{
	op_rename(request_taken(req), parent, name, new_parent, new_name, flags);
}

static void do_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t new_parent, const char *new_name)
{
	op_link(request_taken(req), ino, new_parent, new_name);
}

static void do_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct request *r = request_taken(req);
	const struct fuse_open_in *in = r->arg;

	(void)fi;
	op_open(r, ino, in->flags, in->open_flags);
}

static void do_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct request *r = request_taken(req);
	const struct fuse_read_in *in = r->arg;

	op_read(r, ino, fi->fh, size, (uint64_t)off, in->flags);
}

static void do_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct request *r = request_taken(req);

	(void)size, (void)off, (void)fi; /* libfuse drops some of the flags */
	op_write(r, ino, buf, r->arg);
}

static void do_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	op_flush(request_taken(req), ino, fi->fh, fi->lock_owner);
}

static void do_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct request *r = request_taken(req);

	op_release(r, ino, fi->fh, r->arg);
}

static void do_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	op_fsync(request_taken(req), ino, fi->fh, datasync);
}

static void do_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	op_opendir(request_taken(req), ino, (uint32_t)fi->flags);
}

static void do_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	op_readdir(request_taken(req), ino, fi->fh, size, (uint64_t)off, false);
}

static void do_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	op_readdir(request_taken(req), ino, fi->fh, size, (uint64_t)off, true);
}

static void do_statfs(fuse_req_t req, fuse_ino_t ino)
{
	op_statfs(request_taken(req), ino);
}

static void do_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	op_getxattr(request_taken(req), ino, name, size);
}

static void do_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	op_listxattr(request_taken(req), ino, size);
}

static void do_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	op_removexattr(request_taken(req), ino, name);
}

static void do_access(fuse_req_t req, fuse_ino_t ino, int mask)
{
	op_access(request_taken(req), ino, mask);
}

static void do_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
	struct request *r = request_taken(req);

	(void)mode, (void)fi;
	op_create(r, parent, name, r->arg);
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

static void do_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t length, struct fuse_file_info *fi)
{
	struct request *r = request_taken(req);

	(void)mode, (void)off, (void)length, (void)fi;
	op_fallocate(r, ino, r->arg);
}

static void do_copy_file_range(fuse_req_t req, fuse_ino_t ino_in, off_t off_in, struct fuse_file_info *fi_in,
			       fuse_ino_t ino_out, off_t off_out, struct fuse_file_info *fi_out, size_t len, int flags)
{
	struct request *r = request_taken(req);

	(void)off_in, (void)fi_in, (void)ino_out, (void)off_out, (void)fi_out, (void)len, (void)flags;
	op_copy_file_range(r, ino_in, r->arg, false);
}

static void do_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi)
{
	op_lseek(request_taken(req), ino, fi->fh, (uint64_t)off, whence);
}

/* poll and bmap are absent: the kernel then does what it does for regular files. */
const struct fuse_lowlevel_ops dispatch_ops = {
	.lookup = do_lookup,
	.forget = do_forget,
	.forget_multi = do_forget_multi,
	.getattr = do_getattr,
	.setattr = do_setattr,
	.readlink = do_readlink,
	.mknod = do_mknod,
	.mkdir = do_mkdir,
	.unlink = do_unlink,
	.rmdir = do_rmdir,
	.symlink = do_symlink,
	.rename = do_rename,
	.link = do_link,
	.open = do_open,
	.read = do_read,
	.write = do_write,
	.flush = do_flush,
	.release = do_release,
	.fsync = do_fsync,
	.opendir = do_opendir,
	.readdir = do_readdir,
	.readdirplus = do_readdirplus,
	.releasedir = do_release,
	.fsyncdir = do_fsync,
	.statfs = do_statfs,
	.getxattr = do_getxattr,
	.listxattr = do_listxattr,
	.removexattr = do_removexattr,
	.access = do_access,
	.create = do_create,
	.getlk = do_getlk,
	.setlk = do_setlk,
	.flock = do_flock,
	.ioctl = do_ioctl,
	.fallocate = do_fallocate,
	.copy_file_range = do_copy_file_range,
	.lseek = do_lseek,
};
