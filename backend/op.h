/* SPDX-License-Identifier: MIT */
/* op.h - the op table: one row per kind of operation, and the private part of an op. */
#ifndef URINGFS_OP_H
#define URINGFS_OP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "backend.h"

struct io_uring_sqe;

/** Most bytes that one read or write of the kernel moves (MAX_RW_COUNT of 4 KiB pages). */
#define OP_RW_MAX 0x7ffff000u

enum {
	OPT_CONTINUE = 1 << 0, /* a short result is continued */
	OPT_RETRY = 1 << 1,    /* -EINTR and -EAGAIN are tried again */
	OPT_FILE = 1 << 2,     /* may use a registered file */
	OPT_BUFFER = 1 << 3,   /* may use a registered buffer */
	OPT_NAMES = 1 << 4,    /* may make a name: the umask matters */
	OPT_LEN32 = 1 << 5,    /* the ring's entry has only 32 bits for the length */
	OPT_WAITS = 1 << 7,   /* waits for an event: says nothing of kernel workers when it takes long */
	OPT_QUICK = 1 << 8,    /* with OPF_QUICK: mostly too quick for a hand-over (quick.h) */
	OPT_NO_SYS = 1 << 6,   /* exists in the ring only: the system call part just refuses */
};

/** One row: how operations of one kind are done. */
struct op_row {
	uint8_t place;    /* enum op_place: the policy */
	uint8_t fallback; /* enum op_place when the ring lacks it */
	int16_t opcodes[2]; /* IORING_OP_ that prep uses; -1: none */
	uint16_t flags;   /* OPT_ */
	void (*prep)(struct io_uring_sqe *sqe, const struct op *op); /* NULL: not in the ring */
	int64_t (*sys)(struct op *op); /* result or -errno; always present */
};

extern const struct op_row op_table[OP_KINDS_COUNT];

enum op_state {
	OP_FREE,     /* in the pool */
	OP_READY,    /* with the caller */
	OP_CHAINED,  /* behind a linked op that is not done, or collecting a chain */
	OP_WAITING,  /* on the ring's waiting list */
	OP_KERNEL,   /* has a ring entry */
	OP_QUEUED,   /* with the workers */
	OP_DONE,     /* result known, callback to come */
	OP_CALLBACK, /* its callback runs */
};

/** A pool element: the public op and what only the backend needs. Guarded by the ring's thread, except as noted. */
struct op_slot {
	struct op op; /* first: slot and op have the same address */
	struct op_slot *link_next; /* next of the chain */
	bool soft_link;       /* the chain is walked by us, not by the kernel */
	bool umask_held;      /* counted in ring->umask_inflight */
	bool inject;          /* the next completion is inject_res */
	bool internal;        /* not counted as the caller's */
	bool quick;           /* on the ring's thread though it may wait: timed */
	int32_t inject_res;
	int32_t personality;  /* acquired for the entry being built; 0: none */
	uint32_t enter_no;    /* number of the enter that submits it */
	_Atomic bool cancelled; /* seen by a worker that sleeps for it */
};

static inline struct op_slot *op_slot(struct op *op)
{
	return (struct op_slot *)op;
}

static inline const struct op_row *op_row(const struct op *op)
{
	return &op_table[op->kind];
}

/** op_fd() - the plain descriptor that the op works on. */
static inline int op_fd(const struct op *op)
{
	return op->file ? op->file->fd : op->fd;
}

/** op_makes_name() - whether the umask of the thread takes part. Thread: any. */
bool op_makes_name(const struct op *op);

/** op_umask() - the umask that the op wants: the caller's or none. Thread: any. */
static inline mode_t op_umask(const struct op *op)
{
	return op->creds.flags & CREDS_UMASK ? op->creds.umask & 0777 : 0;
}

#endif
