/* SPDX-License-Identifier: MIT */
/*
 * handle.h - open files and directories of one mount.
 *
 * A FUSE file handle is an index into this table plus a generation. A handle
 * owns one backing open (struct bfile), so that each opener of the mount gets
 * his own write-back errors, and a second one for O_DIRECT where he asked for it.
 *
 * References: the kernel's (from open to release) and one for each request that
 * uses it, counted without a lock: every read and write takes one. Lock: the
 * table's mutex guards the table; the dir_ fields belong to the request that
 * holds dir_busy.
 */
#ifndef URINGFS_HANDLE_H
#define URINGFS_HANDLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "backend/backend.h"
#include "fs/write_early.h"

struct handle_table;
struct dir_ahead;
struct inode;

struct handle {
	uint32_t index, generation;
	_Atomic uint64_t state; /* generation once it is published, whether released, references: handle.c */
	struct inode *inode; /* a reference of its own, and an open count */
	/* from here on handle_add() zeroes all for the next open */
	bool directory;
	bool writable;
	bool has_direct;
	bool uncached;       /* opened with FOPEN_DIRECT_IO: its reads and writes pass by the kernel's page cache */
	uint8_t io;          /* enum handle_io: passthrough.h */
	uint32_t open_flags; /* O_ flags as the caller gave them */
	struct bfile file;   /* buffered, or the only one */
	struct bfile direct; /* O_DIRECT, when has_direct */
	struct dfile *dfile; /* of a file open for writing, where a FLUSH may answer; a reference */
	_Atomic uint16_t sole_wait, sole_next; /* coherence.c: changes until it is tried to be alone with the file; then the next time */
	_Atomic bool sole_taken; /* its inode is in the table of backend/sole.h, sole or no longer */
	struct write_stream stream; /* write_early.h */
	_Atomic uint64_t unsynced;  /* bytes written since its last fsync */
	_Atomic uint64_t sync_seen; /* errors of the device that this open file has heard of */
	/* directories */
	bool dir_cached;     /* with FOPEN_CACHE_DIR: dir_cache.h, whose thread alone uses these once it is published */
	uint32_t dir_ctime_nsec;
	int64_t dir_ctime_sec; /* of the directory at the last look */
	uint64_t dir_look_ns;  /* monotonic: no look before */
	_Atomic bool dir_busy;
	bool dir_eof;        /* the last read of the backing directory found its end */
	struct dir_ahead *dir_ahead; /* dir_ahead.h, or NULL */
	char *dir_buf;       /* entries read and not yet sent */
	uint32_t dir_pos, dir_len;
	int64_t dir_next;    /* position that the kernel will ask for if it goes on, i.e. of dir_buf[dir_pos] */
};

/** handle_table_create() - @max: most handles, 16..2^24. Return 0 or -ENOMEM. */
int handle_table_create(uint32_t max, struct handle_table **ret_t);
/** handle_table_destroy() - @each is called with every handle that the kernel did not release. NULL allowed. */
void handle_table_destroy(struct handle_table *t, void (*each)(struct handle *h, void *arg), void *arg);
/** handle_add() - a new handle with one reference (the kernel's), all fields zero; NULL: table full or no memory. Thread: any. */
struct handle *handle_add(struct handle_table *t);
/** handle_publish() - its descriptors are set: it may be found by @inode (whose reference it takes over). Thread: its maker. */
void handle_publish(struct handle_table *t, struct handle *h, struct inode *inode);
/** handle_get_any() - +1 reference on the published handle @fh; NULL: no such handle (stale or forged). Thread: any. */
struct handle *handle_get_any(struct handle_table *t, uint64_t fh);
/** handle_get() - +1 reference; NULL: no such handle (stale or forged), or of another inode than @inode. */
struct handle *handle_get(struct handle_table *t, uint64_t fh, const struct inode *inode);
/** handle_of_inode() - +1 reference on some open handle of @inode, or NULL. Looks at all: for rare cases. Thread: any. */
struct handle *handle_of_inode(struct handle_table *t, const struct inode *inode);
/** handle_next_cached() - +1 reference on the next handle from *@at on that has dir_cached and is to be looked at at @now_ns; NULL: none.
 *  *@at goes on. Thread: any. */
struct handle *handle_next_cached(struct handle_table *t, uint64_t now_ns, uint32_t *at);
/**
 * handle_put() - a reference less; @release: the kernel's, which goes but once however often it is said
 * Return: the handle when it was the last one: the caller closes what is in it, then calls handle_free(); else NULL.
 */
struct handle *handle_put(struct handle_table *t, struct handle *h, bool release);
void handle_free(struct handle_table *t, struct handle *h);
uint32_t handle_table_count(struct handle_table *t);

/** handle_fh() - the number given to the kernel. Thread: any. */
uint64_t handle_fh(struct handle_table *t, const struct handle *h);

#endif
