/* SPDX-License-Identifier: MIT */
/*
 * request.h - one FUSE request from its arrival to its one reply.
 *
 * A request comes from a fixed pool, belongs to one serving thread and is only
 * touched there. Handlers run in steps: each step submits one backend op (or
 * several, counted by the handler) and ends; the op's callback is the next step.
 * Exactly one of the request_reply_*() functions ends it. They drop the
 * references, so nothing of the request may be used after them.
 *
 * Frequent opcodes, and what libfuse 3.14 does not know, are decoded by decode.c; the
 * protocol codec of the others is libfuse: request->codec, NULL for those decoded here.
 */
#ifndef URINGFS_REQUEST_H
#define URINGFS_REQUEST_H

#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#include "fs/coherence.h"
#include "fs/server.h"

#define REQUEST_SCRATCH_SIZE 1088u
/** Requests up to this size are copied away from the payload buffer, so that the reply can be built there. */
#define REQUEST_ARGS_SIZE 8192u
/** Every payload buffer has at least this size. */
#define REQUEST_PAYLOAD_MIN (256u << 10)
/** Header and argument of a WRITE: the data behind them is then page-aligned. */
#define REQUEST_WRITE_PREFIX (sizeof(struct fuse_in_header) + sizeof(struct fuse_write_in))

enum request_state { REQUEST_FREE, REQUEST_DISPATCHED, REQUEST_TAKEN, REQUEST_REPLIED };

struct request {
	struct channel *channel;
	struct server_thread *thread;
	struct mount *mount;
	struct request *next_free, *next_all;
	/* memory: constant */
	void *args_buf;      /* REQUEST_ARGS_SIZE bytes */
	void *payload;       /* page-aligned; max_write bytes and a page */
	size_t payload_size;
	int32_t buf_index;   /* registered buffer of payload, or -1 */
	int32_t slot;        /* registered buffer that holds the caller's pages in the place of the payload, or -1: zero_copy.h */
	struct uring_entry *entry; /* the ring entry that it belongs to, or NULL: transport_uring.h */
	/* the request */
	fuse_req_t codec;
	const struct fuse_in_header *in;
	const void *arg;     /* behind the header */
	uint32_t arg_size;
	const void *apart;   /* a WRITE's data, when they do not lie behind the argument; NULL with apart_size: they are in the slot */
	uint32_t apart_size; /* 0: they lie there */
	bool payload_free;   /* the payload buffer holds no argument */
	uint8_t state;
	uint32_t opcode;
	uint64_t start_ns;
	bool timed;          /* the thread's clock_ns is as good as now for its end */
	uint32_t open_flags; /* FOPEN_ bits of the reply that struct fuse_file_info has no name for */
	int32_t backing_id;  /* for the reply, with UAPI_FOPEN_PASSTHROUGH; 0: none */
	uint8_t io;          /* enum handle_io of the file being opened */
	/* references, given back at the end */
	struct inode *inode, *inode2;
	int fd, fd2;         /* O_PATH descriptors of them, in use until the end; -1 */
	struct handle *handle, *handle2;
	bool inode_of_handle; /* inode is the handle's: no reference of our own */
	struct inode *changing; /* its data is being changed by this request: coherence.h */
	int changing_fd;
	uint32_t data_seq;
	struct notification notification;
	struct dfile *writing;  /* its write is under way: durable.h */
	struct dfile *altering[2]; /* changed by this request; references */
	/* steps */
	void (*next)(struct request *r);
	op_done_fn moved;    /* zero_copy.c */
	union {
		struct file_handle h;
		char bytes[sizeof(struct file_handle) + INODE_HANDLE_MAX];
	} fh;
	alignas(16) unsigned char scratch[REQUEST_SCRATCH_SIZE];
};

/** REQUEST_STATE() - the handler's own state in the request; the handler sets all of it. */
#define REQUEST_STATE(r, type)                                                                  \
	({                                                                                      \
		_Static_assert(sizeof(type) <= REQUEST_SCRATCH_SIZE, "handler state too large"); \
		(type *)(void *)(r)->scratch;                                                   \
	})

/** request_receive() - check and dispatch what the transport put at @msg (@len bytes). Ends it where no reply is due. */
void request_receive(struct request *r, const void *msg, size_t len);
/** request_taken() - the request that libfuse is dispatching now; binds @req to it. NULL for INIT. */
struct request *request_taken(fuse_req_t req);
/** request_in_codec() - whether this thread is inside libfuse, which then writes a reply; what request_writev() is to be given. */
bool request_in_codec(void **ret_userdata);
/** request_codec_enter() - libfuse is about to reply for @r on this thread; NULL: no longer. Return the request before. */
struct request *request_codec_enter(struct request *r);
/** request_codec_init() - this thread has libfuse answer INIT of @m; NULL: no longer. */
void request_codec_init(struct mount *m);
/** request_writev() - libfuse's write hook. */
ssize_t request_writev(int fd, struct iovec *iov, int count, void *userdata);

/* ---- what a request works on: each replies and returns false when it is not there ---- */

/** The inode @nodeid (a reference until the end); else ESTALE. */
bool request_inode(struct request *r, uint64_t nodeid);
/** request_inode_kept() - the same, also of one that the kernel has forgotten and comes back to by a file handle (option export). */
bool request_inode_kept(struct request *r, uint64_t nodeid);
bool request_inode2(struct request *r, uint64_t nodeid);
/** The handle @fh of the request's inode; else EBADF. */
bool request_handle(struct request *r, uint64_t fh);
/** request_file() - handle @fh, and the inode @nodeid that it has open and holds for us; else EBADF. Takes no lock. */
bool request_file(struct request *r, uint64_t nodeid, uint64_t fh);
/** A name that may be used in a directory: not empty, no slash, not . or ..; else EINVAL, ENAMETOOLONG is the kernel's. */
bool request_name(struct request *r, const char *name);
/**
 * request_with_fds() - call @next when the O_PATH descriptors of inode (and inode2) are there
 * Opens those that the budget had closed; answers ESTALE when the file has gone. Last call of a step.
 */
void request_with_fds(struct request *r, void (*next)(struct request *r));
/**
 * request_wait_for_space() - the filesystem or a quota is full (@res), but a file was closed or unlinked a moment ago: @again is called in a while
 *
 * A caller who unlinks a file sees the kernel close it (RELEASE) and forget it (FORGET) only some time later; in SOURCE
 * itself the space would be there at once. So wait a little for it. @tries: of this request, from 0.
 * Return: false: @res is the answer
 */
bool request_wait_for_space(struct request *r, int64_t res, uint8_t *tries, void (*again)(struct request *r));
/** request_op() - an op of kind @kind with owner r; replies ENOMEM and returns NULL when the pool is empty. */
struct op *request_op(struct request *r, enum op_kind kind, op_done_fn done);
/** request_creds() - the caller's identity, with its umask when @umask is not negative. */
struct creds request_creds(const struct request *r, int umask);
/* ---- the one reply ------------------------------------------------------------ */

/** request_send() - a reply without the codec, not the end of @r yet. @error: 0 or -errno; @data: of a success. Return as transport->reply(). */
int request_send(struct request *r, int error, const void *data, size_t size);
/** request_end() - after the reply: references go, the request returns to its pool. */
void request_end(struct request *r);
/** @err: 0 or -errno. */
void request_reply_err(struct request *r, int64_t err);
/** Reply nothing (forget and the like). */
void request_reply_none(struct request *r);
/** Entry replies: false when the kernel no longer waits, the lookup has been undone then. */
bool request_reply_entry(struct request *r, const struct fuse_entry_param *e);
/** As above; @h is the new handle: when the kernel no longer waits it is released. */
bool request_reply_create(struct request *r, const struct fuse_entry_param *e, struct fuse_file_info *fi, struct handle *h);
bool request_reply_open(struct request *r, struct fuse_file_info *fi, struct handle *h);
void request_reply_attr(struct request *r, const struct stat *st, double timeout);
void request_reply_buf(struct request *r, const void *buf, size_t len);
/** The first @len bytes of the slot are the data. */
void request_reply_slot(struct request *r, size_t len);
/** A listing with attributes, of whole struct fuse_direntplus: each that has a node is a look-up, undone when the kernel no longer waits. */
void request_reply_entries(struct request *r, const void *buf, size_t len);
void request_reply_write(struct request *r, size_t count);
void request_reply_readlink(struct request *r, const char *target);
void request_reply_statfs(struct request *r, const struct statvfs *st);
void request_reply_xattr_size(struct request *r, size_t size);
void request_reply_lseek(struct request *r, off_t off);
void request_reply_lock(struct request *r, const struct flock *lock);
void request_reply_ioctl(struct request *r, const void *out, size_t out_size);
/** @data is the whole body of the reply as the protocol has it. */
void request_reply_raw(struct request *r, const void *data, size_t size);

/** An error without the codec; @err -errno. */
void request_reply_raw_error(struct request *r, int err);

/** request_close_handle() - close a handle that nobody refers to any more, and free it. */
void request_close_handle(struct server_thread *t, struct mount *m, struct handle *h);
/** request_release_handle() - the kernel's reference to @h goes; the last one closes it. */
void request_release_handle(struct server_thread *t, struct mount *m, struct handle *h);

#endif
