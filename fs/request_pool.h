/* SPDX-License-Identifier: MIT */
/*
 * request_pool.h - the requests of one serving thread and their buffers.
 *
 * A fixed number (option queue_depth), made at start. Only requests that wait
 * for a lock may add to it, up to REQUESTS_MAX: their number is not ours to
 * choose, and the request that would end their wait must find a buffer.
 */
#ifndef URINGFS_REQUEST_POOL_H
#define URINGFS_REQUEST_POOL_H

#include "fs/request.h"

#define REQUESTS_MAX 1024u

/** request_pool_create() - @count requests with payload buffers of @payload_size bytes, of which some are
 *  registered in the thread's ring. Thread: owner. Return 0 or -ENOMEM. */
int request_pool_create(struct server_thread *t, unsigned count, size_t payload_size);
/** request_pool_destroy() - all are free. Thread: owner. */
void request_pool_destroy(struct server_thread *t);
/** request_pool_get() - a free request for @c, or NULL. */
struct request *request_pool_get(struct channel *c);
void request_pool_put(struct request *r);

#endif
