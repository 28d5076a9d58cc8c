/* SPDX-License-Identifier: MIT */
/*
 * transport.h - one way for requests to come in and for replies to go out.
 *
 * All calls are made on the thread of the channel.
 */
#ifndef URINGFS_TRANSPORT_H
#define URINGFS_TRANSPORT_H

#include <stdbool.h>
#include <sys/uio.h>

struct channel;
struct request;

struct transport {
	const char *name;
	/** open() - get ready to take requests. Return 0 or -errno. */
	int (*open)(struct channel *c);
	/** poll() - take what has come in and dispatch it. Return true when more may be there already. */
	bool (*poll)(struct channel *c);
	/**
	 * reply() - send header and data; the request is ended by the caller afterwards
	 * @iov: element 0 is the struct fuse_out_header; borrowed
	 * Return: 0; -ENOENT the kernel no longer waits for it; other -errno: the reply is lost
	 */
	int (*reply)(struct request *r, const struct iovec *iov, int iov_count);
	/** end() - the request's memory may take the next one. */
	void (*end)(struct request *r);
	/** may_wait() - whether the request may stay unanswered until another one comes; false: none could come then. */
	bool (*may_wait)(struct request *r);
	/** stop() - take no more requests; those taken are answered. */
	void (*stop)(struct channel *c);
	/** close() - after the last request: give everything back. */
	void (*close)(struct channel *c);
};

extern const struct transport transport_dev;   /* reads of /dev/fuse */
extern const struct transport transport_uring; /* FUSE-over-io_uring: transport_uring.h */

#endif
