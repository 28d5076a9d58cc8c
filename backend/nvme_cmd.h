/* SPDX-License-Identifier: MIT */
/* nvme_cmd.h - one FLUSH to one namespace. */
#ifndef URINGFS_NVME_CMD_H
#define URINGFS_NVME_CMD_H

#include <linux/nvme_ioctl.h>
#include <stdbool.h>
#include <stdint.h>

#include "backend.h"

/** What a FLUSH is sent to; at most one is under way. Owned by the flusher; @fd by its device. */
struct nvme_target {
	int fd;                 /* the generic character device; with @block: the block device */
	uint32_t nsid;
	uint32_t timeout_ms;    /* the kernel aborts the command then; 0: after its own time */
	bool block;             /* tests: fsync(2) of a block device, which is the same FLUSH */
	union {
		struct nvme_uring_cmd ring;
		struct nvme_passthru_cmd sys;
	} cmd;
};

/**
 * nvme_cmd_send_flush() - ask the namespace to make its volatile cache durable
 * @r:    ring of the calling thread; the command goes through it, or by ioctl(2) on a worker where the ring has no
 *        entries of that size
 * @t:    borrowed until @done is called
 * @done: called once on this thread; nvme_cmd_result() tells what came of it
 * Thread: owner of @r. Does not block.
 * Return: 0 queued; -ENOMEM no op is free
 * Source: NVMe base specification, Flush; drivers/nvme/host/ioctl.c, nvme_uring_cmd_io()
 */
int nvme_cmd_send_flush(struct ring *r, struct nvme_target *t, op_done_fn done, void *owner);

/**
 * nvme_cmd_result() - 0, or -errno: an NVMe status (a positive result) is -EIO
 * @ret_status: the status, 0 when there was none
 */
int nvme_cmd_result(const struct op *op, unsigned *ret_status);

#endif
