/* SPDX-License-Identifier: MIT */
/*
 * dir_ahead.h - the files of a directory that is being listed are looked up before the listing comes to them.
 *
 * Reading the inode of a file that the kernel has forgotten takes longer (6 us on ext4, of CPU alone; then
 * the disk) than all else that a listing with attributes does for it, here and in the caller. So, while
 * names of the directory are not in the kernel's caches, threads of the backend read the pieces that
 * follow, on other CPUs and several blocks at a time, sorted by inode number. Nothing is kept of what
 * they find: the listing looks up each name itself, in caches that are warm then. Local filesystems only.
 */
#ifndef URINGFS_DIR_AHEAD_H
#define URINGFS_DIR_AHEAD_H

#include "fs/request.h"

struct dir_ahead;

/**
 * dir_ahead_filled() - the listing with attributes of r->handle has read another piece, into dir_buf
 * @from: the position that it was read from
 * Starts to work ahead, goes on with it, or ends it. Thread: a serving one, which has dir_busy.
 */
void dir_ahead_filled(struct request *r, uint64_t from);
/** dir_ahead_end() - nobody will go on with the listing. NULL allowed. Thread: any. */
void dir_ahead_end(struct dir_ahead *a);

#endif
