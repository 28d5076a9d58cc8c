/* SPDX-License-Identifier: MIT */
/* decode.c - see decode.h. */
#include "decode.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "fs/ops.h"

/** text() - the string at the end of the arguments of @size bytes; its end has been looked for. */
static const char *text(const struct request *r, size_t size)
{
	return (const char *)r->arg + size;
}

static const char *text_behind(const char *first)
{
	return first + strlen(first) + 1;
}

void decode_lookup(struct request *r)
{
	op_lookup(r, r->in->nodeid, r->arg);
}

void decode_forget(struct request *r)
{
	const struct fuse_forget_in *in = r->arg;

	op_forget(r, r->in->nodeid, in->nlookup);
}

void decode_batch_forget(struct request *r)
{
	const struct fuse_batch_forget_in *in = r->arg;

	/* the same two numbers in both */
	_Static_assert(sizeof(struct fuse_forget_data) == sizeof(struct fuse_forget_one) &&
		       offsetof(struct fuse_forget_data, nlookup) == offsetof(struct fuse_forget_one, nlookup), "one form");
	op_forget_multi(r, in->count, (const void *)(in + 1));
}

void decode_getattr(struct request *r)
{
	const struct fuse_getattr_in *in = r->arg;

	op_getattr(r, r->in->nodeid, in->fh, in->getattr_flags & FUSE_GETATTR_FH);
}

void decode_setattr(struct request *r)
{
	const struct fuse_setattr_in *in = r->arg;

	op_setattr(r, r->in->nodeid, in, in->valid & FATTR_FH);
}

void decode_readlink(struct request *r)
{
	op_readlink(r, r->in->nodeid);
}

void decode_symlink(struct request *r)
{
	const char *name = r->arg;

	op_symlink(r, text_behind(name), r->in->nodeid, name);
}

void decode_mknod(struct request *r)
{
	const struct fuse_mknod_in *in = r->arg;

	op_mknod(r, r->in->nodeid, text(r, sizeof(*in)), in->mode, in->rdev, in->umask);
}

void decode_mkdir(struct request *r)
{
	const struct fuse_mkdir_in *in = r->arg;

	op_mkdir(r, r->in->nodeid, text(r, sizeof(*in)), in->mode, in->umask);
}

void decode_unlink(struct request *r)
{
	op_unlink(r, r->in->nodeid, r->arg);
}

void decode_rmdir(struct request *r)
{
	op_rmdir(r, r->in->nodeid, r->arg);
}

void decode_rename(struct request *r)
{
	const struct fuse_rename_in *in = r->arg;
	const char *name = text(r, sizeof(*in));

	op_rename(r, r->in->nodeid, name, in->newdir, text_behind(name), 0);
}

void decode_rename2(struct request *r)
{
	const struct fuse_rename2_in *in = r->arg;
	const char *name = text(r, sizeof(*in));

	op_rename(r, r->in->nodeid, name, in->newdir, text_behind(name), in->flags);
}

void decode_link(struct request *r)
{
	const struct fuse_link_in *in = r->arg;

	op_link(r, in->oldnodeid, r->in->nodeid, text(r, sizeof(*in)));
}

void decode_open(struct request *r)
{
	const struct fuse_open_in *in = r->arg;

	op_open(r, r->in->nodeid, in->flags, in->open_flags);
}

void decode_read(struct request *r)
{
	const struct fuse_read_in *in = r->arg;

	op_read(r, r->in->nodeid, in->fh, in->size, in->offset, in->flags);
}

void decode_write(struct request *r)
{
	const struct fuse_write_in *in = r->arg;

	op_write(r, r->in->nodeid, r->apart_size ? r->apart : text(r, sizeof(*in)), in);
}

void decode_statfs(struct request *r)
{
	op_statfs(r, r->in->nodeid);
}

void decode_release(struct request *r)
{
	const struct fuse_release_in *in = r->arg;

	op_release(r, r->in->nodeid, in->fh, in);
}

void decode_fsync(struct request *r)
{
	const struct fuse_fsync_in *in = r->arg;

	op_fsync(r, r->in->nodeid, in->fh, in->fsync_flags & FUSE_FSYNC_FDATASYNC);
}

void decode_setxattr(struct request *r)
{
	const struct fuse_setxattr_in *in = r->arg;
	bool ext = r->mount->init_flags & FUSE_SETXATTR_EXT;
	const char *name = text(r, ext ? sizeof(*in) : FUSE_COMPAT_SETXATTR_IN_SIZE);
	size_t head = (size_t)(name - (const char *)r->arg), name_size;

	name_size = r->arg_size > head ? strnlen(name, r->arg_size - head) + 1 : 0;
	if (!name_size || head + name_size > r->arg_size || in->size > r->arg_size - head - name_size) {
		request_reply_err(r, -EINVAL);
		return;
	}
	op_setxattr(r, r->in->nodeid, name, name + name_size, in->size, (int)in->flags,
		    ext && in->setxattr_flags & FUSE_SETXATTR_ACL_KILL_SGID);
}

void decode_getxattr(struct request *r)
{
	const struct fuse_getxattr_in *in = r->arg;

	op_getxattr(r, r->in->nodeid, text(r, sizeof(*in)), in->size);
}

void decode_listxattr(struct request *r)
{
	const struct fuse_getxattr_in *in = r->arg;

	op_listxattr(r, r->in->nodeid, in->size);
}

void decode_removexattr(struct request *r)
{
	op_removexattr(r, r->in->nodeid, r->arg);
}

void decode_flush(struct request *r)
{
	const struct fuse_flush_in *in = r->arg;

	op_flush(r, r->in->nodeid, in->fh, in->lock_owner);
}

void decode_opendir(struct request *r)
{
	const struct fuse_open_in *in = r->arg;

	op_opendir(r, r->in->nodeid, in->flags);
}

void decode_readdir(struct request *r)
{
	const struct fuse_read_in *in = r->arg;

	op_readdir(r, r->in->nodeid, in->fh, in->size, in->offset, false);
}

void decode_readdirplus(struct request *r)
{
	const struct fuse_read_in *in = r->arg;

	op_readdir(r, r->in->nodeid, in->fh, in->size, in->offset, true);
}

void decode_create(struct request *r)
{
	const struct fuse_create_in *in = r->arg;

	op_create(r, r->in->nodeid, text(r, sizeof(*in)), in);
}

void decode_fallocate(struct request *r)
{
	op_fallocate(r, r->in->nodeid, r->arg);
}

void decode_lseek(struct request *r)
{
	const struct fuse_lseek_in *in = r->arg;

	op_lseek(r, r->in->nodeid, in->fh, in->offset, (int)in->whence);
}

void decode_copy_file_range(struct request *r)
{
	op_copy_file_range(r, r->in->nodeid, r->arg, false);
}

/* ---- what libfuse does not know, or not in this form ---------------------------- */

void decode_tmpfile(struct request *r)
{
	op_tmpfile(r, r->in->nodeid, r->arg);
}

void decode_statx(struct request *r)
{
	op_statx(r, r->arg);
}

void decode_copy_file_range_64(struct request *r)
{
	op_copy_file_range(r, r->in->nodeid, r->arg, true);
}

void decode_interrupt(struct request *r)
{
	op_interrupt(r, r->arg);
}
