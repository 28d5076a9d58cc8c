/* SPDX-License-Identifier: MIT */
/*
 * dispatch.h - from opcode to handler.
 *
 * Two tables: one row per opcode with what its message must look like (checked
 * before anything decodes it) and who decodes it, and libfuse's table of handlers.
 */
#ifndef URINGFS_DISPATCH_H
#define URINGFS_DISPATCH_H

#include "fs/request.h"

struct opcode_row {
	const char *name;
	uint16_t arg_size;  /* least size behind the header */
	uint8_t strings;    /* NUL-terminated strings behind that */
	void (*decode)(struct request *r); /* decode.h; NULL: libfuse decodes it */
};

extern const struct fuse_lowlevel_ops dispatch_ops;

/** dispatch_opcode_name() - lower-case name, "?" if unknown. */
const char *dispatch_opcode_name(uint32_t opcode);
/** dispatch_check() - the form of the message: lengths, strings. Return 0, -ENOSYS unknown opcode, -EINVAL bad form. */
int dispatch_check(const struct request *r, const struct opcode_row **ret_row);

#endif
