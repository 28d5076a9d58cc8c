/* SPDX-License-Identifier: MIT */
/*
 * ops.h - the handlers, one per operation, and what they share.
 *
 * Each takes a request and the decoded arguments (which live in the request's
 * buffer until it ends), and sees to it that exactly one reply is sent.
 * Thread: that of the request. None of them blocks.
 */
#ifndef URINGFS_OPS_H
#define URINGFS_OPS_H

#include "fs/request.h"

/* op_lookup.c */
void op_lookup(struct request *r, uint64_t parent, const char *name);
void op_forget(struct request *r, uint64_t nodeid, uint64_t nlookup);
void op_forget_multi(struct request *r, size_t count, const struct fuse_forget_data *forgets);

/* op_attr.c */
void op_getattr(struct request *r, uint64_t nodeid, uint64_t fh, bool has_fh);
void op_statx(struct request *r, const struct uapi_fuse_statx_in *in);
void op_setattr(struct request *r, uint64_t nodeid, const struct fuse_setattr_in *in, bool has_fh);
void op_access(struct request *r, uint64_t nodeid, int mask);
void op_statfs(struct request *r, uint64_t nodeid);

/* op_namespace.c */
void op_readlink(struct request *r, uint64_t nodeid);
void op_mknod(struct request *r, uint64_t parent, const char *name, mode_t mode, dev_t rdev, mode_t umask);
void op_mkdir(struct request *r, uint64_t parent, const char *name, mode_t mode, mode_t umask);
void op_symlink(struct request *r, const char *target, uint64_t parent, const char *name);
void op_unlink(struct request *r, uint64_t parent, const char *name);
void op_rmdir(struct request *r, uint64_t parent, const char *name);
void op_rename(struct request *r, uint64_t parent, const char *name, uint64_t new_parent, const char *new_name, unsigned flags);
void op_link(struct request *r, uint64_t nodeid, uint64_t new_parent, const char *new_name);

/* op_create.c */
void op_create(struct request *r, uint64_t parent, const char *name, const struct fuse_create_in *in);
void op_tmpfile(struct request *r, uint64_t parent, const struct fuse_create_in *in);

/* op_open.c */
void op_open(struct request *r, uint64_t nodeid, uint32_t flags, uint32_t fuse_open_flags);
void op_flush(struct request *r, uint64_t nodeid, uint64_t fh, uint64_t lock_owner);
void op_release(struct request *r, uint64_t nodeid, uint64_t fh, const struct fuse_release_in *in);

/* op_io.c */
void op_read(struct request *r, uint64_t nodeid, uint64_t fh, size_t size, uint64_t off, uint32_t flags);
void op_write(struct request *r, uint64_t nodeid, const char *buf, const struct fuse_write_in *in);
/** op_write_creds() - quotas, reserved blocks and the end of suid and sgid are as for the caller; @write_flags: FUSE_WRITE_. Thread: any. */
struct creds op_write_creds(const struct request *r, uint32_t write_flags);

/* op_space.c */
void op_fallocate(struct request *r, uint64_t nodeid, const struct fuse_fallocate_in *in);
void op_lseek(struct request *r, uint64_t nodeid, uint64_t fh, uint64_t off, int whence);
void op_copy_file_range(struct request *r, uint64_t nodeid, const struct fuse_copy_file_range_in *in, bool wide);

/* op_fsync.c */
void op_fsync(struct request *r, uint64_t nodeid, uint64_t fh, bool datasync);

/* op_dir.c */
void op_opendir(struct request *r, uint64_t nodeid, uint32_t flags);
void op_readdir(struct request *r, uint64_t nodeid, uint64_t fh, size_t size, uint64_t off, bool plus);

/* op_xattr.c */
void op_setxattr(struct request *r, uint64_t nodeid, const char *name, const void *value, size_t size, int flags, bool kill_sgid);
void op_getxattr(struct request *r, uint64_t nodeid, const char *name, size_t size);
void op_listxattr(struct request *r, uint64_t nodeid, size_t size);
void op_removexattr(struct request *r, uint64_t nodeid, const char *name);

/* op_ioctl.c */
void op_ioctl(struct request *r, uint64_t nodeid, const struct fuse_ioctl_in *in, const void *in_buf);

/* op_lock.c */
void op_getlk(struct request *r, uint64_t nodeid, const struct fuse_lk_in *in);
void op_setlk(struct request *r, uint64_t nodeid, const struct fuse_lk_in *in, bool wait);
void op_interrupt(struct request *r, const struct fuse_interrupt_in *in);

#endif
