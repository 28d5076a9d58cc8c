/* SPDX-License-Identifier: MIT */
/* file_check.h - a look at a file's blocks: may overwriting them change its metadata? */
#ifndef URINGFS_FILE_CHECK_H
#define URINGFS_FILE_CHECK_H

#include <linux/fiemap.h>
#include <stdbool.h>
#include <stdint.h>

#include "proof.h"

/** Extents looked at; a file in more pieces is not proven. */
#define FILE_CHECK_EXTENTS_MAX 8192u

/** Adds up the extents of one file, in order. */
struct extent_sum {
	struct proof_extents *out;
	uint64_t size;         /* of the file */
	uint64_t mapped_bytes; /* of all extents, also unwritten ones and those beyond the end */
	bool bad;              /* shared, inline, encrypted, not yet placed ... : never in place */
};

/**
 * extent_sum_add() - one extent as FIEMAP gives it
 * Thread: any; pure.
 * Source: Documentation/filesystems/fiemap.rst
 */
void extent_sum_add(struct extent_sum *s, const struct fiemap_extent *e);

/**
 * file_check() - fill in @ret for the file open as @fd
 * @cow: the filesystem may write a block elsewhere (xfs): then its count of blocks must be that of its extents,
 *       because blocks that wait to take over a copied one are in the first only
 * Thread: any that may wait: it may read extents from the disk.
 * Return: 0, good or not; -errno of a call that failed: not good
 */
int file_check(int fd, bool cow, struct proof_extents *ret);

#endif
