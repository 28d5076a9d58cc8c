/* SPDX-License-Identifier: MIT */
/*
 * reply.c - the one reply of a request.
 *
 * A request that was decoded here (request->codec NULL) is answered in the protocol's own form;
 * libfuse answers those that it decoded: locks, ioctl, access.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "fs/dispatch.h"

/** REPLY() - call a libfuse reply function as this request; the value is its result. */
#define REPLY(r, call)                                                \
	({                                                            \
		struct request *outer_ = request_codec_enter(r);      \
		int res_ = (call);                                    \
		(void)request_codec_enter(outer_);                    \
		res_;                                                 \
	})

/** seconds() - of a timeout, and the rest in nanoseconds. */
static uint64_t seconds(double timeout, uint32_t *ret_nsec)
{
	uint64_t sec = (uint64_t)timeout;

	*ret_nsec = (uint32_t)((timeout - (double)sec) * 1e9);
	return sec;
}

static void attr_out(const struct stat *st, struct fuse_attr *out)
{
	*out = (struct fuse_attr){
		.ino = st->st_ino,
		.size = (uint64_t)st->st_size,
		.blocks = (uint64_t)st->st_blocks,
		.atime = (uint64_t)st->st_atim.tv_sec,
		.mtime = (uint64_t)st->st_mtim.tv_sec,
		.ctime = (uint64_t)st->st_ctim.tv_sec,
		.atimensec = (uint32_t)st->st_atim.tv_nsec,
		.mtimensec = (uint32_t)st->st_mtim.tv_nsec,
		.ctimensec = (uint32_t)st->st_ctim.tv_nsec,
		.mode = st->st_mode,
		.nlink = (uint32_t)st->st_nlink,
		.uid = st->st_uid,
		.gid = st->st_gid,
		.rdev = (uint32_t)st->st_rdev,
		.blksize = (uint32_t)st->st_blksize,
	};
}

static void entry_out(const struct fuse_entry_param *e, struct fuse_entry_out *out)
{
	out->nodeid = e->ino;
	out->generation = e->generation;
	out->entry_valid = seconds(e->entry_timeout, &out->entry_valid_nsec);
	out->attr_valid = seconds(e->attr_timeout, &out->attr_valid_nsec);
	attr_out(&e->attr, &out->attr);
}

static struct fuse_open_out open_out(const struct request *r, const struct fuse_file_info *fi)
{
	uint32_t flags = (fi->direct_io ? FOPEN_DIRECT_IO : 0u) | (fi->keep_cache ? FOPEN_KEEP_CACHE : 0u) |
			 (fi->nonseekable ? FOPEN_NONSEEKABLE : 0u) | (fi->cache_readdir ? FOPEN_CACHE_DIR : 0u);
	struct fuse_open_out out = { .fh = fi->fh, .open_flags = flags };

	out.open_flags |= r->open_flags;
	if (r->backing_id > 0)
		out.open_flags |= UAPI_FOPEN_PASSTHROUGH;
	memcpy((char *)&out + UAPI_FUSE_OPEN_OUT_BACKING_ID, &r->backing_id, sizeof(r->backing_id));
	return out;
}

void request_reply_raw(struct request *r, const void *data, size_t size)
{
	(void)request_send(r, 0, data, size); /* a lost reply is counted there */
	request_end(r);
}

void request_reply_raw_error(struct request *r, int err)
{
	(void)request_send(r, err, NULL, 0); /* as above */
	request_end(r);
}

void request_reply_err(struct request *r, int64_t err)
{
	/* the protocol's range of errors (kernel fs/fuse/dev.c, fuse_dev_do_write) */
	int e = err > 0 || err <= -512 ? -EIO : (int)err;

	if (!r->codec) {
		request_reply_raw_error(r, e);
		return;
	}
	(void)REPLY(r, fuse_reply_err(r->codec, -e)); /* a lost reply is counted in send() */
	request_end(r);
}

void request_reply_none(struct request *r)
{
	request_end(r);
}

/** undo_entry() - the kernel did not get the entry: it will not forget it. @nodeid 0: there is nothing to forget. */
static void undo_entry(struct request *r, uint64_t nodeid)
{
	if (nodeid)
		server_close_forgotten(r->thread, inode_forget(r->mount->inodes, nodeid, 1));
}

bool request_reply_entry(struct request *r, const struct fuse_entry_param *e)
{
	struct fuse_entry_out out;
	bool lost;

	entry_out(e, &out);
	lost = request_send(r, 0, &out, sizeof(out)) < 0;
	if (lost)
		undo_entry(r, e->ino);
	request_end(r);
	return !lost;
}

bool request_reply_create(struct request *r, const struct fuse_entry_param *e, struct fuse_file_info *fi, struct handle *h)
{
	struct mount *m = r->mount;
	struct server_thread *t = r->thread;
	struct {
		struct fuse_entry_out entry;
		struct fuse_open_out open;
	} out;
	bool lost;

	fi->fh = handle_fh(r->mount->handles, h);
	entry_out(e, &out.entry);
	out.open = open_out(r, fi);
	lost = request_send(r, 0, &out, sizeof(out)) < 0;
	if (lost) {
		undo_entry(r, e->ino);
		request_release_handle(t, m, h);
	}
	request_end(r);
	return !lost;
}

bool request_reply_open(struct request *r, struct fuse_file_info *fi, struct handle *h)
{
	struct fuse_open_out out;
	bool lost;

	fi->fh = handle_fh(r->mount->handles, h);
	out = open_out(r, fi);
	lost = request_send(r, 0, &out, sizeof(out)) < 0;
	if (lost)
		request_release_handle(r->thread, r->mount, h);
	request_end(r);
	return !lost;
}

void request_reply_attr(struct request *r, const struct stat *st, double timeout)
{
	struct fuse_attr_out out = { 0 };

	out.attr_valid = seconds(timeout, &out.attr_valid_nsec);
	attr_out(st, &out.attr);
	request_reply_raw(r, &out, sizeof(out));
}

void request_reply_buf(struct request *r, const void *buf, size_t len)
{
	request_reply_raw(r, buf, len);
}

void request_reply_entries(struct request *r, const void *buf, size_t len)
{
	const char *at = buf, *end = at + len;
	const struct fuse_direntplus *d;

	if (request_send(r, 0, buf, len) < 0) {
		for (; at < end; at += FUSE_DIRENTPLUS_SIZE(d)) {
			d = (const void *)at;
			undo_entry(r, d->entry_out.nodeid);
		}
	}
	request_end(r);
}

void request_reply_write(struct request *r, size_t count)
{
	const struct fuse_write_out out = { .size = (uint32_t)count };

	request_reply_raw(r, &out, sizeof(out));
}

void request_reply_readlink(struct request *r, const char *target)
{
	request_reply_raw(r, target, strlen(target));
}

void request_reply_statfs(struct request *r, const struct statvfs *st)
{
	const struct fuse_statfs_out out = {
		.st = {
			.blocks = st->f_blocks,
			.bfree = st->f_bfree,
			.bavail = st->f_bavail,
			.files = st->f_files,
			.ffree = st->f_ffree,
			.bsize = (uint32_t)st->f_bsize,
			.namelen = (uint32_t)st->f_namemax,
			.frsize = (uint32_t)st->f_frsize,
		},
	};

	request_reply_raw(r, &out, sizeof(out));
}

void request_reply_xattr_size(struct request *r, size_t size)
{
	const struct fuse_getxattr_out out = { .size = (uint32_t)size };

	request_reply_raw(r, &out, sizeof(out));
}

void request_reply_lseek(struct request *r, off_t off)
{
	const struct fuse_lseek_out out = { .offset = (uint64_t)off };

	request_reply_raw(r, &out, sizeof(out));
}

/* The rest is always decoded by libfuse. */

void request_reply_lock(struct request *r, const struct flock *lock)
{
	assert(r->codec);
	(void)REPLY(r, fuse_reply_lock(r->codec, lock));
	request_end(r);
}

void request_reply_ioctl(struct request *r, const void *out, size_t out_size)
{
	assert(r->codec);
	(void)REPLY(r, fuse_reply_ioctl(r->codec, 0, out, out_size));
	request_end(r);
}
