/* SPDX-License-Identifier: MIT */
/*
 * request_pool.h - the requests of one serving thread and their buffers.
 *
 * A fixed number (option queue_depth), made at start. Requests that wait for a
 * lock may add to it, up to REQUESTS_MAX: their number is not ours to choose,
 * and the request that would end their wait must find a buffer. So may ring
 * entries of FUSE-over-io_uring, whose number transport_uring.c bounds. Memory
 * is real only where a request has touched it.
 */
#ifndef URINGFS_REQUEST_POOL_H
#define URINGFS_REQUEST_POOL_H

#include "fs/request.h"

#define REQUESTS_MAX 1024u

/** request_pool_create() - @count requests with payload buffers of @payload_size bytes, of which some are
 *  registered in the thread's ring. Thread: owner. Return 0 or -ENOMEM. */
int request_pool_create(struct server_thread *t, unsigned count, size_t payload_size);
/**
 * request_pool_slots() - the ring's buffer table is @count empty slots, and payload buffers are not registered; 0: again as it was
 * No op on a registered buffer may be under way. Thread: owner.  Return 0; -errno: refused, as it was
 */
int request_pool_slots(struct server_thread *t, unsigned count);
/** request_pool_destroy() - all are free. Thread: owner. */
void request_pool_destroy(struct server_thread *t);
/** request_pool_get() - a free request for @c, or NULL. */
struct request *request_pool_get(struct channel *c);
void request_pool_put(struct request *r);
/**
 * request_pool_keep() - a request that belongs to @c until request_pool_unkeep(): a ring entry has it for good
 * Those of the pool are given away first, for some of their buffers are registered; a few stay for the other transport.
 * Thread: owner.  Return: the request; NULL no memory
 */
struct request *request_pool_keep(struct channel *c);
void request_pool_unkeep(struct request *r);
/** request_pool_leave() - @r, which is kept and free, is about to go to another thread; its payload is not in the ring's buffer table any more. Thread: owner. */
void request_pool_leave(struct request *r);
/** request_pool_join() - it belongs to @c and its thread, which has kept it. Thread: the new owner. */
void request_pool_join(struct request *r, struct channel *c);

#endif
