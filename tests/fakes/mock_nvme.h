/* SPDX-License-Identifier: MIT */
/* mock_nvme.h - over the fake kernel: the device expects a list of commands, and fails on any other. */
#ifndef URINGFS_FAKES_MOCK_NVME_H
#define URINGFS_FAKES_MOCK_NVME_H

#include <linux/nvme_ioctl.h>

#include "fake_ring.h"
#include "test.h"

#define MOCK_NSID 7u
#define MOCK_FD 77

/** mock_is_flush() - the @i-th held entry is a FLUSH of the right namespace on the right descriptor. */
static inline void mock_is_flush(unsigned i)
{
	const struct io_uring_sqe *sqe = fake_entry(i);
	struct nvme_uring_cmd cmd;

	memcpy(&cmd, (const char *)sqe + 48, 16); /* opcode to cdw3: what the fake keeps of the entry */
	CHECK_EQ(sqe->opcode, IORING_OP_URING_CMD);
	CHECK_EQ(sqe->cmd_op, NVME_URING_CMD_IO);
	CHECK_EQ(sqe->fd, MOCK_FD);
	CHECK_EQ(cmd.opcode, 0);
	CHECK_EQ(cmd.flags, 0);
	CHECK_EQ(cmd.nsid, MOCK_NSID);
}

/** mock_only() - exactly one entry is held, and it has @opcode; @what names the place. */
static inline void mock_only(const char *what, int opcode)
{
	test_compare(what, 0, "entries held", fake_held() == 1, fake_held(), 1);
	REQUIRE(fake_held() == 1);
	test_compare(what, 0, "opcode", fake_entry(0)->opcode == opcode, fake_entry(0)->opcode, opcode);
}

#endif
