/* SPDX-License-Identifier: MIT */
/*
 * child.h - from a name in a directory, or a fresh descriptor, to an inode and
 * its attributes: what lookup, readdirplus and everything that creates share.
 *
 * The steps: open the name O_PATH (from the kernel's caches at once, or through
 * the ring when it may wait for the disk), statx, inode table; the file handle where
 * an open descriptor does not tell who it is (inode.h). While look-ups meet inodes that
 * are known, a statx of the name comes first, and is mostly all.
 */
#ifndef URINGFS_CHILD_H
#define URINGFS_CHILD_H

#include "fs/request.h"

struct child {
	/* set by the caller */
	struct request *request;
	int parent_fd;          /* O_PATH of the directory, in use by the request */
	struct inode *parent;   /* borrowed from the request */
	const char *name;       /* borrowed until done */
	bool made;              /* it has just been made: no inode is known by it */
	void (*done)(struct child *c);
	/* result: 0, or -errno; on success entry and inode */
	int64_t res;
	struct fuse_entry_param entry; /* nlookup counts it */
	struct inode *inode;    /* a reference, put by child_put() */
	/* private */
	int fd, fs;             /* fs: index of the backing filesystem */
	uint32_t mark;          /* of the inode table, before the look */
	bool keep_fd;           /* fd is no O_PATH descriptor and stays the caller's */
	uint8_t tries;
	struct notification notification;
	struct statx stx;
	union {
		struct file_handle h;
		char bytes[sizeof(struct file_handle) + INODE_HANDLE_MAX];
	} fh;
};

/** child_lookup() - find c->name in c->parent_fd, then c->done(c). May call it before it returns. */
void child_lookup(struct child *c);
/** child_of_fd() - the same for an open descriptor (O_PATH: taken over; @keep_fd: stays the caller's). */
void child_of_fd(struct child *c, int fd, bool keep_fd);
/** child_put() - the reference in c->inode goes. */
void child_put(struct child *c);

/** attr_from_statx() - as the mount shows it. */
void attr_from_statx(uint16_t fs, const struct statx *stx, struct stat *st);
/** What statx is asked for everywhere. */
#define CHILD_STATX_MASK (STATX_BASIC_STATS | STATX_BTIME)

#endif
