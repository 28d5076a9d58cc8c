/* SPDX-License-Identifier: MIT */
/*
 * decode.h - messages that are decoded here, without libfuse.
 *
 * libfuse allocates and frees an object and takes a lock twice for each request; our requests come from
 * a pool. So all that is frequent is decoded here, and libfuse keeps what is rare and has a form of its
 * own (locks, ioctl, access), and INIT.
 *
 * dispatch_check() has looked at the form of the message before. Thread: the request's.
 */
#ifndef URINGFS_DECODE_H
#define URINGFS_DECODE_H

struct request;

/* One for each opcode: the message is decoded and its handler called. */
void decode_lookup(struct request *r);
void decode_forget(struct request *r);
void decode_batch_forget(struct request *r);
void decode_getattr(struct request *r);
void decode_setattr(struct request *r);
void decode_readlink(struct request *r);
void decode_symlink(struct request *r);
void decode_mknod(struct request *r);
void decode_mkdir(struct request *r);
void decode_unlink(struct request *r);
void decode_rmdir(struct request *r);
void decode_rename(struct request *r);
void decode_rename2(struct request *r);
void decode_link(struct request *r);
void decode_open(struct request *r);
void decode_read(struct request *r);
void decode_write(struct request *r);
void decode_statfs(struct request *r);
void decode_release(struct request *r);
void decode_fsync(struct request *r);
void decode_setxattr(struct request *r);
void decode_getxattr(struct request *r);
void decode_listxattr(struct request *r);
void decode_removexattr(struct request *r);
void decode_flush(struct request *r);
void decode_opendir(struct request *r);
void decode_readdir(struct request *r);
void decode_readdirplus(struct request *r);
void decode_create(struct request *r);
void decode_fallocate(struct request *r);
void decode_lseek(struct request *r);
void decode_interrupt(struct request *r);
void decode_tmpfile(struct request *r);
void decode_statx(struct request *r);
void decode_copy_file_range(struct request *r);
void decode_copy_file_range_64(struct request *r);

#endif
