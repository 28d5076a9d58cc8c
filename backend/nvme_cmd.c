/* SPDX-License-Identifier: MIT */
/* nvme_cmd.c - see nvme_cmd.h. */
#include "nvme_cmd.h"

#include <errno.h>
#include <string.h>

#include "ring.h"

/* NVMe base specification, I/O commands; libnvme.h has it too, but not beside <linux/nvme_ioctl.h> */
#define OPCODE_FLUSH 0x00

int nvme_cmd_send_flush(struct ring *r, struct nvme_target *t, op_done_fn done, void *owner)
{
	struct op *op = ring_op_get(r);

	if (!op)
		return -ENOMEM;
	op->fd = t->fd;
	op->done = done;
	op->owner = owner;
	if (t->block) {
		op->kind = OP_FSYNC;
	} else if (ring_has(r, FEATURE_KINDS + OP_DEVICE_CMD) && ring_has(r, FEATURE_SQE128) && ring_has(r, FEATURE_CQE32)) {
		t->cmd.ring = (struct nvme_uring_cmd){ .opcode = OPCODE_FLUSH, .nsid = t->nsid, .timeout_ms = t->timeout_ms };
		op->kind = OP_DEVICE_CMD;
		op->arg = NVME_URING_CMD_IO;
		op->buf = &t->cmd.ring;
		op->len = sizeof(t->cmd.ring);
	} else {
		t->cmd.sys = (struct nvme_passthru_cmd){ .opcode = OPCODE_FLUSH, .nsid = t->nsid, .timeout_ms = t->timeout_ms };
		op->kind = OP_IOCTL;
		op->off = NVME_IOCTL_IO_CMD;
		op->buf = &t->cmd.sys;
	}
	ring_submit(op);
	return 0;
}

int nvme_cmd_result(const struct op *op, unsigned *ret_status)
{
	*ret_status = op->res > 0 ? (unsigned)op->res : 0;
	return op->res > 0 ? -EIO : (int)op->res;
}
