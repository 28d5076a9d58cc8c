/* SPDX-License-Identifier: MIT */
/*
 * durability.h - fsync and its kin: the kernel's sync, or write-back and one NVMe FLUSH.
 *
 * Part of backend.h. A `struct durability` belongs to one filesystem (st_dev),
 * a `struct dfile` to one file of it that is open for writing, whoever has it
 * open. fs/ tells of every write and change; durability_sync() then decides.
 * Where the device is not capable there are no dfiles and nothing is watched.
 */
#ifndef URINGFS_DURABILITY_H
#define URINGFS_DURABILITY_H

#include <stdbool.h>
#include <stdint.h>

#include "backend.h"
#include "proof.h"

struct durability;
struct dfile;

enum durability_policy { DURABILITY_STRICT, DURABILITY_FLUSH, DURABILITY_KERNEL };

/** Deliberate mistakes, for tests of the crash checker; 0 in a release. */
enum {
	DURABILITY_FAULT_NO_WRITEBACK = 1 << 0, /* FLUSH without write-back */
	DURABILITY_FAULT_NO_FLUSH = 1 << 1,     /* answers without a FLUSH */
	DURABILITY_FAULT_EARLY_FLUSH = 1 << 2,  /* FLUSH sent before the write-back has completed */
	DURABILITY_FAULT_KEEP_PROOF = 1 << 3,   /* a proof is never cleared */
	DURABILITY_FAULT_BLOCK_DEVICE = 1 << 4, /* any block device, flushed by fsync(2) of its node: no mistake, for tests without NVMe */
	DURABILITY_FAULT_NO_WATCH = 1 << 5,     /* what others do in SOURCE is not heard of */
	DURABILITY_FAULT_DELAYS = 1 << 6,       /* no mistake: util/delay.h */
};

/** durability_faults_parse() - "no_writeback:no_flush.."; Return: 0; -EINVAL unknown, or not built in. */
int durability_faults_parse(const char *text, unsigned *ret_faults);

/**
 * durability_create() - for the filesystem of @fd
 * @fd:     any descriptor on it, O_PATH allowed; not kept
 * @policy, @faults: as above
 * Thread: main, or one that may wait. Opens the device, so before privileges are dropped.
 * Return: 0 (also when not capable: durability_text() says why), or -ENOMEM
 */
int durability_create(struct backend *b, int fd, enum durability_policy policy, unsigned faults, struct durability **ret_d);
/** durability_destroy() - all files closed, all rings ended; NULL allowed. */
void durability_destroy(struct durability *d);
/** durability_capable() - whether a FLUSH can ever answer. Thread: any. */
bool durability_capable(const struct durability *d);
/** durability_text() - one line: the device, or why not. Belongs to @d. Thread: any. */
const char *durability_text(const struct durability *d);
const char *durability_policy_name(enum durability_policy policy);

/**
 * durability_open() - a file is open for writing, once more
 * @ino: its inode number; @ret_seen: device errors that this open file need not hear of
 * Thread: any.
 * Return: the file, to be given back by durability_put(); NULL: not capable, or no memory, then or at an earlier one: its syncs are the kernel's
 */
struct dfile *durability_open(struct durability *d, uint64_t ino, uint64_t *ret_seen);
/** durability_find() - the file with this number, if it is open for writing; to be given back. NULL: it is not. Thread: any. */
struct dfile *durability_find(struct durability *d, uint64_t ino);
/** durability_put() - give it back; @fd: the descriptor about to be closed, or -1. NULL is ignored. Thread: any. */
void durability_put(struct dfile *f, int fd);

/** dfile_write_begin(), dfile_write_end() - around each write of ours; see proof.h. NULL is ignored. Thread: any. */
void dfile_write_begin(struct dfile *f, uint64_t off, uint64_t len, unsigned flags);
void dfile_write_end(struct dfile *f, int64_t res);
/** dfile_change_begin(), dfile_change_end() - around each other change of it. NULL is ignored. Thread: any. */
void dfile_change_begin(struct dfile *f, enum proof_reason reason);
void dfile_change_end(struct dfile *f);

/** One caller that waits for a FLUSH: flush.h. */
struct flush_ticket {
	struct flush_ticket *next;
	struct ring *ring;      /* of the caller, set by it */
	void (*done)(struct flush_ticket *t); /* called once, on the caller's ring thread, with res set */
	int res;                /* 0; -EAGAIN: none was sent, ask the kernel; other -errno: nothing may be called durable */
	struct ring_post post;
};

/** One fsync or fdatasync under way. Embedded in what waits for it. */
struct sync_call {
	/* set by the caller */
	struct ring *ring;         /* of the calling thread */
	struct durability *durable; /* NULL: none */
	struct dfile *dfile;       /* borrowed until done; NULL: always the kernel's sync */
	struct bfile *file;        /* borrowed until done: the caller's own open, so that it hears of its write-back errors */
	_Atomic uint64_t *seen;    /* of durability_open(); written on the calling thread; NULL with dfile NULL */
	bool datasync;
	bool quick;                /* little to write, and nothing else to serve: on this thread while such syncs are quick (OPF_QUICK) */
	uint8_t without;           /* enum proof_reason: why dfile is NULL */
	void (*done)(struct sync_call *c, int64_t res); /* once, on this thread: 0 or -errno */
	void *owner;
	/* private */
	struct proof_mark mark;
	struct proof_times times;
	struct proof_extents extents;
	struct flush_ticket ticket;
	uint64_t start_ns, generation;
	uint64_t map;              /* of the blocks before the kernel's sync, valid with placed */
	uint8_t reason;            /* enum proof_reason */
	bool error_due, dirty, clean, wants, placed;
};

/**
 * durability_sync() - make the file's data durable, and its metadata with it
 * Never answers 0 before it is; never answers ENOSYS, EINVAL or EOPNOTSUPP.
 * Thread: owner of c->ring. May call done before it returns.
 */
void durability_sync(struct sync_call *c);

/** Figures; sums over files and threads. */
struct durability_figures {
	uint64_t flush;             /* calls answered by write-back and FLUSH */
	uint64_t no_cache;          /* calls answered by write-back alone: the device has no volatile cache */
	uint64_t kernel[PROOF_REASONS_COUNT]; /* calls answered by the kernel's sync, by reason */
	uint64_t clean;             /* calls with nothing to do: all data was durable already (O_DSYNC) */
	uint64_t errors;            /* calls answered with an error */
	uint64_t proofs, looks;     /* proofs made; looks at extents */
	uint64_t background;        /* syncs of timestamps in the background */
	uint64_t untold;            /* opens for writing that are not followed for want of memory: their syncs are the kernel's */
	uint64_t flushes, flushes_failed, flush_tickets, flush_tickets_max;
	struct histogram kernel_latency, flush_latency; /* of calls */
	struct histogram device_latency;                /* of FLUSH commands */
};
/** durability_figures_add() - add those of @d. Thread: any. */
void durability_figures_add(const struct durability *d, struct durability_figures *sum);

#endif
