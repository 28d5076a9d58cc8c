/* SPDX-License-Identifier: MIT */
/*
 * dir_cache.h - the kernel keeps the names of directories that it has listed (FOPEN_CACHE_DIR).
 *
 * An opener of a directory whose ctime is that of the last listing, no longer ago than names and attributes are trusted, reads the
 * kernel's copy. Later ones list it again, for the attributes that come along with the names (readdirplus) are worth more than
 * the names: what was listed from the copy would be asked for one by one.
 *
 * ctime, because utimes() can put an mtime back. Kernels before 6.13 give changes of one tick the same time: a directory
 * changed a moment ago is not kept. The kernel itself drops the copy at changes made through the mount (its iversion); who
 * keeps a directory open for long and rewinds it reads the copy too, without asking: so those are looked at from time to time,
 * and the copy of one that others have changed is dropped. Local filesystems only: that look must not wait.
 */
#ifndef URINGFS_DIR_CACHE_H
#define URINGFS_DIR_CACHE_H

#include "fs/request.h"

/** dir_cache_open() - choose the FOPEN_ flags of an opener of directory r->inode, @stx of it just looked at. */
void dir_cache_open(struct request *r, const struct statx *stx, struct fuse_file_info *fi);
/** dir_cache_opened() - @h is that opener's handle, not published yet. */
void dir_cache_opened(const struct request *r, struct handle *h, const struct statx *stx, const struct fuse_file_info *fi);
/** dir_cache_closed() - @h is being closed. Thread: any. */
void dir_cache_closed(struct server *srv, const struct handle *h);
/** dir_cache_turn() - once a turn of a serving thread, before it sleeps: who has had an opener sees to it that one thread looks after long ones. */
void dir_cache_turn(struct server_thread *t);
/** dir_cache_end() - the thread is ending: its timer is called back. */
void dir_cache_end(struct server_thread *t);

#endif
