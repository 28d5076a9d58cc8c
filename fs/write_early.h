/* SPDX-License-Identifier: MIT */
/*
 * write_early.h - what is written one after the other goes to the device while the rest still comes.
 *
 * A write through the mount is three copies on one CPU; its write-back would begin with the fsync, or half a minute
 * later. So the write-back of a long stream of writes is begun piece by piece (sync_file_range(2), nothing waited for), on
 * a thread that runs where there is a CPU, and an fsync at the end finds most of it done. Nothing counts as durable by it, and no error
 * is taken from the file: the kernel keeps what fails for each opener's next fsync, as with its own write-back (only the flags
 * that wait look at errors: fs/sync.c, sync_file_range()).
 *
 * What is never synced, and may be removed in a moment, would better not be written at all. So it is remembered how the
 * last long streams of the mount have ended: after one that was closed without a sync, none is written early until one was synced.
 */
#ifndef URINGFS_WRITE_EARLY_H
#define URINGFS_WRITE_EARLY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct handle;
struct mount;
struct request;

/** Of one open file. Its writers on several threads may disagree about a stream: then a piece is begun twice, or not. */
struct write_stream {
	_Atomic uint64_t next;  /* where the next write of the stream begins */
	_Atomic uint64_t begun; /* up to where write-back was begun */
	_Atomic uint64_t bytes; /* of the stream since the last sync */
	_Atomic bool is_long;   /* these were many, and no sync came since */
};

/** write_early() - @r has written @len bytes at @off to its handle. Thread: the request's; two system calls for each piece. */
void write_early(struct request *r, uint64_t off, uint64_t len);
/** write_early_synced() - @h is about to be synced. Thread: any. */
void write_early_synced(struct mount *m, struct handle *h);
/** write_early_closed() - the last reference of @h goes. Thread: any. */
void write_early_closed(struct mount *m, const struct handle *h);

#endif
