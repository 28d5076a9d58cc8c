/* SPDX-License-Identifier: MIT */
/* bugs.h - one deliberate bug: what it does to a request, to a reply or to INIT. See bugs.c. */
#ifndef URINGFS_BUGS_H
#define URINGFS_BUGS_H

#include <string.h>

#include "fs/request.h"

#define BUG_OPCODES 8u

/** What ask() says besides -errno: the request fails with it. */
enum { ASK_GO_ON = 0, ASK_FAKE = 1 /* it succeeds, and its handler is not called */ };

struct answer {
	struct request *r;
	int error;   /* 0 or errno */
	void *body;  /* of a success; may be written to */
	size_t size;
};

struct bug {
	const char *name;
	uint32_t opcode[BUG_OPCODES]; /* none: all */
	/** May change the message; @arg is what stands behind the header. */
	int (*ask)(struct request *r, void *arg);
	void (*answer)(struct answer *a);
	void (*init)(struct fuse_init_out *out);
};

/** bug_find() - the one of @count @bugs that is called @name, or NULL. */
static inline const struct bug *bug_find(const struct bug *bugs, size_t count, const char *name)
{
	for (size_t n = 0; n < count; n++)
		if (!strcmp(bugs[n].name, name))
			return &bugs[n];
	return NULL;
}

/** bug_of_requests(), bug_of_replies(), bug_of_calls() - the bug called @name, or NULL. Thread: main, before all others. */
const struct bug *bug_of_requests(const char *name);
const struct bug *bug_of_replies(const char *name);
const struct bug *bug_of_calls(const char *name);

#endif
