/* SPDX-License-Identifier: MIT */
/* durable.h - the handlers tell the durability engine (backend/durability.h) of every write and change. */
#ifndef URINGFS_DURABLE_H
#define URINGFS_DURABLE_H

#include "fs/request.h"

/** durable_handle() - @h, just opened on a regular file, takes part. Thread: the request's. */
void durable_handle(struct mount *m, struct handle *h, const struct inode *i);
/** durable_write_begin() - the request writes @len bytes at @off to its handle; @flags: PROOF_WRITE_. */
void durable_write_begin(struct request *r, uint64_t off, uint64_t len, unsigned flags);
/** durable_write_end() - it has, with @res. */
void durable_write_end(struct request *r, int64_t res);
/** durable_change() - the request is about to change @i in a way that ends proofs; at most two a request. Ends with the reply. */
void durable_change(struct request *r, const struct inode *i, enum proof_reason reason);
/** durable_moved() - what is now named @name in the directory @dir (open as @dir_fd) was renamed. */
void durable_moved(struct request *r, const struct inode *dir, int dir_fd, const char *name);
/** durable_end() - whatever the request had begun has ended. */
void durable_end(struct request *r);

#endif
