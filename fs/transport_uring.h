/* SPDX-License-Identifier: MIT */
/*
 * transport_uring.h - FUSE-over-io_uring: requests come and go in the ring that also does the backing I/O.
 *
 * The kernel has one queue per possible CPU and puts a request into the queue
 * of the CPU that it is sent from. Each queue is served by one thread, the one
 * on its CPU where there is one; a thread may serve several queues. A ring
 * entry is a request of ours with its buffers: it is either in the kernel,
 * waiting for a request, or in our hands, with one to answer. The answer and
 * the wait for the next request are one command (COMMIT_AND_FETCH).
 *
 * A queue begins with few entries. When all of its entries are in our hands, or
 * many turns have brought all of them (a turn brings no more than there are), it
 * gets more: up to queue_depth, and one more for each request that waits for a
 * lock, so that the request that ends the wait always finds an entry.
 *
 * FORGET, INTERRUPT and notifications stay on /dev/fuse: transport_dev.c.
 *
 * Source of the protocol: include/uapi/linux/fuse.h and
 * Documentation/filesystems/fuse/fuse-io-uring.rst of Linux 6.14.
 */
#ifndef URINGFS_TRANSPORT_URING_H
#define URINGFS_TRANSPORT_URING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/backend.h"
#include "backend/util/uapi_fuse.h"

struct channel;
struct mount;
struct uring_kick;
struct request;
struct server;
struct server_thread;

/** One queue of the kernel, as its serving thread sees it. */
struct uring_queue {
	uint16_t qid;
	unsigned entries;   /* in all */
	unsigned in_kernel; /* that wait for a request */
	uint32_t command_turn; /* of the channel, when the last command was queued */
	unsigned lent;      /* of this thread's own queue: that other threads have, or had when the connection ended */
	uint32_t kick_turn; /* command_turn as transport_uring_kick.c has seen it, and from when on it has stood still for long enough */
	uint64_t kick_after_ns;
	bool guest;         /* another thread's queue: entries here are lent. transport_uring_share.c */
	unsigned came;      /* this thread's own queue: requests in the channel's turn came_turn */
	uint32_t came_turn;
	unsigned all_came;  /* turns that brought as many as it has entries, since it last grew */
	bool piled;         /* there was none of them at some time: requests may lie behind others */
	/* zero_copy.h; transport_uring_pool.c */
	char *pool;         /* payload buffers of which the kernel picks one for a request; NULL: each entry has its own */
	size_t pool_size;   /* a multiple of uring_pool_buffer() */
	struct uapi_fuse_uring_cmd_req pool_cmd; /* under way while pool_asked */
	bool pool_asked;
	int pool_res;       /* of the last command */
};

struct uring_entry {
	struct uring_entry *next;  /* of the channel */
	struct uring_channel *uring;
	struct uring_queue *queue;
	struct request *r;
	struct op *op;             /* in the kernel, or ready for the next command */
	struct uapi_fuse_uring_req_header *head; /* one page in front of the request's payload */
	struct uapi_fuse_uring_cmd_req cmd;
	struct iovec iov[2];
	struct uring_entry *moving; /* next one of the channel that is to be handed over */
	struct server_thread *home; /* that made it */
	unsigned home_buffers;     /* its buffers_version then */
	int32_t home_buf_index;    /* of the request there */
	int slot;                  /* in the ring's buffer table, for the callers' pages; 0: none */
	char *at;                  /* where the data of a reply go */
	size_t at_size;            /* bytes; 0: into the slot only */
	void *own_payload;         /* of the request, while it has one of the pool in its place; else NULL */
	uint32_t command;          /* UAPI_FUSE_IO_URING_CMD_ under way */
	unsigned tries;            /* of this command */
	bool answered;             /* head and payload hold the reply */
};

/** The queues of one mount that one thread serves. Owned by that thread once prepared. */
struct uring_channel {
	struct uring_channel *next; /* of server_thread.uring_left */
	struct channel *channel;
	struct bfile file;         /* a descriptor of the connection */
	struct uring_queue *queues;
	unsigned queues_count;     /* this thread's own */
	unsigned guests_count;     /* behind them: queues of which it has entries of others */
	struct uring_entry *entries;
	struct uring_entry *moving; /* of them: answered in this turn, and to be handed over */
	uint32_t turn;             /* of the ring, counted by transport->poll() */
	bool starved;              /* a queue may have no entry in the kernel */
	bool closed;
	int refused;               /* -errno of the first REGISTER that was refused, or 0 */
	uint64_t grow_after_ns;    /* after a refusal: not before */
	/* transport_uring_kick.c */
	struct uring_kick *kick;   /* what those under way share, or NULL */
	uint64_t kick_at_ns, kick_wait_ns; /* the next one, and how long after the last; 0: none is wanted */
	unsigned kick_next;
};

/* ---- transport_uring_setup.c: before the first request ------------------------ */

/** transport_uring_queues() - queues that the kernel will have: its possible CPUs. Return at least 1. */
unsigned transport_uring_queues(void);
/** transport_uring_parse_cpus() - how many CPUs a list such as "0-3,8" has; 0: it is none. */
unsigned transport_uring_parse_cpus(const char *list);
/** transport_uring_thread() - index of the thread that serves queue @qid. */
unsigned transport_uring_thread(const struct server *srv, unsigned qid);
/** transport_uring_ops() - ops that the entries of one ring need. */
unsigned transport_uring_ops(unsigned rings, unsigned queue_depth);
/**
 * transport_uring_possible() - whether the kernel and our rings can do it, as far as can be told without a mount
 * @why, @why_size: one line for the user when not
 */
bool transport_uring_possible(const struct server *srv, char *why, size_t why_size);
/**
 * transport_uring_prepare() - make queues and first entries of @m on all threads, before INIT promises them
 * Thread: main.  Return: 0; -errno with nothing left (memory, descriptors, ops)
 */
int transport_uring_prepare(struct mount *m);
/** transport_uring_discard() - give back what was prepared and not registered. Thread: main. */
void transport_uring_discard(struct mount *m);
/** transport_uring_entries() - of all mounts and threads, now. Thread: any. */
uint64_t transport_uring_entries(const struct server *srv);
/** transport_uring_register() - hand all entries to the kernel and collect refusals. Thread: main. Return 0 or -errno. */
int transport_uring_register(struct mount *m);

/* ---- transport_uring_pool.c: zero-copy ------------------------------------------ */

/** uring_pool_make() - payload buffers for @q. Thread: owner.  Return 0 or -ENOMEM. */
int uring_pool_make(const struct mount *m, struct uring_queue *q);
void uring_pool_free(struct uring_queue *q);
/**
 * uring_pool_message() - one message from what the kernel has put into header and pool
 * @in: its header, copied out of @e->head
 * Sets e->at and what request.h says of slot, apart and payload.  Thread: owner.
 * Return: its place, *ret_len its length; NULL when its numbers do not fit
 */
char *uring_pool_message(struct uring_entry *e, const struct fuse_in_header *in, size_t *ret_len);
/** uring_pool_end() - the request is over: its own payload buffer again. */
void uring_pool_end(struct uring_entry *e);
/**
 * transport_uring_pools() - make the queues of @m ones with slots and pools, before any entry is registered
 * Thread: main.
 * Return: 0; -EAGAIN refused, and m->zero_copy_why says why: prepare again, without; other -errno: no way back, a queue was made and its
 * pool refused
 */
int transport_uring_pools(struct mount *m);

/* ---- transport_uring.c --------------------------------------------------------- */

/**
 * uring_command() - @op becomes a command to the connection of @u, yet to be submitted; done, owner and iovecs are the caller's
 * @command: UAPI_FUSE_IO_URING_CMD_; @cmd: borrowed until its end
 * Thread: owner
 */
void uring_command(struct op *op, struct uring_channel *u, uint32_t command, struct uapi_fuse_uring_cmd_req *cmd);

/** uring_entry_add() - a new entry of @q, in our hands. Thread: owner. Return 0; -EAGAIN no op left; -ENOMEM. */
int uring_entry_add(struct uring_channel *u, struct uring_queue *q);
/** uring_entry_uncount() - @e is no longer one of its thread and its queue; it is freed, or goes to another thread. Thread: owner. */
void uring_entry_uncount(struct uring_entry *e);
/** uring_entry_drop() - free an entry that the kernel does not hold. Thread: owner. */
void uring_entry_drop(struct uring_entry *e);
/** uring_entry_register() - give a new entry to the kernel. Thread: owner. */
void uring_entry_register(struct uring_entry *e);
/** uring_entry_commit() - send the answer that is in it, and wait for the next request. Thread: owner. */
void uring_entry_commit(struct uring_entry *e);
/** uring_channel_free() - @u has no entry any more (or its ring has gone with them). Thread: owner. */
void uring_channel_free(struct uring_channel *u);
/** uring_kick_wanted() - all entries of @q are in our hands, or one more request came that may wait for a lock. Thread: owner. */
void uring_kick_wanted(struct uring_channel *u, struct uring_queue *q);
/** uring_kick() - send a request of our own where others may lie behind those in hand. Thread: owner, each turn while kick_wait_ns. */
void uring_kick(struct uring_channel *u);
/** uring_kick_end() - forget those under way. Thread: owner. */
void uring_kick_end(struct uring_channel *u);

/* ---- transport_uring_share.c: entries that go from thread to thread --------------- */

/**
 * uring_share_end() - @e holds an answer: is it to be sent by another thread, which then has the entry?
 * placement_share.h decides. Until the turn's end it stays here: who has answered may still look at the request.
 * Thread: owner.  Return: true: uring_share_move() is to see to it
 */
bool uring_share_end(struct uring_entry *e);
/** uring_share_move() - hand over those of the last turn. Thread: owner, between two turns. */
void uring_share_move(struct uring_channel *u);
/** uring_share_take() - those that others have handed to this channel; their answers are sent. Thread: owner.  Return: true: there are
 *  more, for which no op was free */
bool uring_share_take(struct uring_channel *u);
/** uring_share_close() - none is on its way to @c, and from now on none will be. Thread: owner.  Return: false: one is */
bool uring_share_close(struct channel *c);

/* ---- the end ---------------------------------------------------------------------- */

/** transport_uring_free() - what closed channels left to the end of the ring, which has been. Thread: owner. */
void transport_uring_free(struct server_thread *t);

#endif
