/* SPDX-License-Identifier: MIT */
/*
 * proof.h - what is known of one open file: may "write back and FLUSH" stand for a real sync?
 *
 * Pure rules, no system call. A file is proven when its blocks were seen to be
 * written and unshared (file_check.h), a real sync of ours that began after
 * that made them durable, and since then there was nothing but overwrites
 * inside those blocks. The default is "not proven".
 *
 * Locking: the owner's (one mutex per file, durability.c).
 */
#ifndef URINGFS_PROOF_H
#define URINGFS_PROOF_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

/** Pieces of a file that are remembered as written; a file with more is proven in the first ones only. */
#define PROOF_RANGES_MAX 8u
/** Syncs without a look at the extents after proofs that were never used: at most this many. */
#define PROOF_BACKOFF_MAX 64u

/* PROOF_REASONS(X): X(ENUM, "name in the statistics") for each reason to have the kernel sync. */
#define PROOF_REASONS(X)                                                                      \
	X(NONE, "none")                                                                       \
	X(POLICY, "policy")         /* fsync=kernel */                                        \
	X(DEVICE, "device")         /* not capable */                                         \
	X(READER, "reader")         /* not open for writing, or a directory */                \
	X(PASSTHROUGH, "passthrough") /* io=kernel: its writes pass us by */                  \
	X(NEW, "new")               /* no real sync of ours yet */                            \
	X(TIMES, "timestamps")      /* fsync with changed times, strict */                    \
	X(GROWTH, "growth")         /* written beyond the synced size, or appended */         \
	X(HOLE, "hole")             /* written outside the blocks that were seen */           \
	X(TRUNCATE, "truncate")                                                               \
	X(FALLOCATE, "fallocate")                                                             \
	X(COPY, "copy")             /* copy_file_range from or to it */                       \
	X(ATTRIBUTES, "attributes") /* chmod, chown, times, xattr, flags, end of suid */      \
	X(NAME, "name")             /* linked or renamed */                                   \
	X(EXTENTS, "extents")       /* its blocks cannot be proven */                         \
	X(SHARED, "shared")         /* opened or changed in SOURCE by somebody else */        \
	X(BUSY, "busy")             /* a write or change is under way */                      \
	X(ERROR, "error")           /* a write or sync of it failed */                        \
	X(RESET, "reset")           /* the device was reset or a FLUSH failed */

enum proof_reason {
#define X(e, n) PROOF_##e,
	PROOF_REASONS(X)
#undef X
	PROOF_REASONS_COUNT
};

/** Bytes [start, end). */
struct proof_range {
	uint64_t start, end;
};

/** What a look at the file found. */
struct proof_extents {
	bool good;                   /* nothing in it speaks against a proof */
	bool settled;                /* the same was seen before the sync, too: that has made it durable */
	uint64_t size;               /* bytes */
	uint64_t blocks;             /* of 512 bytes, as statx counts them */
	uint64_t map;                /* a hash of where each extent lies: another one, another place */
	unsigned count;
	struct proof_range range[PROOF_RANGES_MAX]; /* written, unshared; in order, not touching */
};

/** Times of a file in nanoseconds since 1970 (wrapping: compared for equality only). */
struct proof_times {
	uint64_t atime, mtime, ctime;
};

struct proof {
	bool mapped;          /* extents are known */
	bool synced;          /* and durable */
	bool refused;         /* never again while the file is open: reason stays */
	bool used;            /* this proof has answered a sync */
	bool dirty;           /* written since the last sync that answered */
	bool times_changed;   /* written or touched since the last real fsync */
	uint8_t reason;       /* enum proof_reason: why it is not proven */
	uint32_t writes, changes; /* under way */
	uint64_t epoch;       /* counts what ends a proof */
	uint64_t writes_begun, buffered_begun;
	uint64_t written_back; /* buffered writes known to have reached the device */
	uint64_t device_gen;  /* generation of the device that the proof holds for */
	uint64_t dirty_error_gen; /* error generation of the device at the first write since the last sync */
	uint64_t error_gen;   /* last device error that may have hit unsynced data of this file */
	unsigned backoff, skip;
	struct proof_extents extents;
	struct proof_times times; /* durable ones, valid with times_known */
	bool times_known;
};

/** State at the start of a sync. */
struct proof_mark {
	uint64_t epoch, writes_begun, buffered_begun;
	bool quiet;  /* nothing under way */
	bool mapped;
};

enum {
	PROOF_WRITE_APPEND = 1 << 0,   /* to the end, wherever that is */
	PROOF_WRITE_BUFFERED = 1 << 1, /* through the page cache */
	PROOF_WRITE_KILL = 1 << 2,     /* ends suid and sgid */
	PROOF_WRITE_DURABLE = 1 << 3,  /* RWF_DSYNC or RWF_SYNC: its data is durable when it has succeeded */
};

/** proof_reason_name() - for the statistics. Thread: any. */
const char *proof_reason_name(enum proof_reason reason);
/** proof_init() - nothing known. */
void proof_init(struct proof *p);
/**
 * proof_write_begin() - a write of ours starts
 * @len:       bytes
 * @flags:     PROOF_WRITE_
 * @error_gen: device errors so far
 */
void proof_write_begin(struct proof *p, uint64_t off, uint64_t len, unsigned flags, uint64_t error_gen);
/** proof_write_end() - it has ended with @res (bytes or -errno). */
void proof_write_end(struct proof *p, int64_t res);
/** proof_change_begin() - something that ends proofs starts; the proof is gone until a real sync after its end. */
void proof_change_begin(struct proof *p, enum proof_reason reason);
void proof_change_end(struct proof *p);
/** proof_break() - it has happened already. */
void proof_break(struct proof *p, enum proof_reason reason);
/** proof_refuse() - and the file is not to be trusted again while it is open. */
void proof_refuse(struct proof *p, enum proof_reason reason);
/** proof_ready() - PROOF_NONE when proven for device generation @device_gen and nothing is under way; else why not. */
enum proof_reason proof_ready(struct proof *p, uint64_t device_gen);
/** proof_error_check() - note whether a device error (@error_gen of them so far) may have hit unsynced data. */
void proof_error_check(struct proof *p, uint64_t error_gen);
/** proof_sync_failed() - a sync of ours that no caller waits for failed, as device error @error_gen: every open file is to hear of it. */
void proof_sync_failed(struct proof *p, uint64_t error_gen);
/** proof_clean() - proven, and no data that is not durable already. */
bool proof_clean(const struct proof *p);
/** proof_needs_writeback() - whether buffered data may not have reached the device. */
bool proof_needs_writeback(const struct proof *p);

/** proof_sync_begin() - a sync starts. */
void proof_sync_begin(struct proof *p, struct proof_mark *ret_mark);
/** proof_wants_look() - whether looks at the extents, before and after it, are worth it in the real sync that @mark has just begun. Counts syncs. */
bool proof_wants_look(struct proof *p, const struct proof_mark *mark);
/** proof_takes_look() - after that sync: whether the second one is still of use. */
bool proof_takes_look(const struct proof *p, const struct proof_mark *mark);
/**
 * proof_sync_end() - a sync has succeeded
 * @real:  fsync(2) or fdatasync(2), not a FLUSH
 * @times: the file's times from before it, durable now; NULL: it was a fdatasync or FLUSH
 * @look:  extents seen after it, or NULL
 */
void proof_sync_end(struct proof *p, const struct proof_mark *mark, bool real, const struct proof_times *times,
		    const struct proof_extents *look, uint64_t device_gen);

#endif
