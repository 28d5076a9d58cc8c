/* SPDX-License-Identifier: MIT */
/* features.h - what the running kernel's io_uring can do, asked once. */
#ifndef URINGFS_FEATURES_H
#define URINGFS_FEATURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend.h"

/* FEATURES(X): X(ENUM, "name"); one per op kind that the ring may run follows after these. */
#define FEATURES(X)                              \
	X(DEFER_TASKRUN, "defer_taskrun")        \
	X(SINGLE_ISSUER, "single_issuer")        \
	X(COOP_TASKRUN, "coop_taskrun")          \
	X(SQE128, "sqe128")                      \
	X(CQE32, "cqe32")                        \
	X(SUBMIT_ALL, "submit_all")              \
	X(NO_SQARRAY, "no_sqarray")              \
	X(REGISTERED_FD, "registered_fd")        \
	X(REGISTERED_FILES, "registered_files")  \
	X(REGISTERED_BUFFERS, "registered_buffers") \
	X(PERSONALITY, "personality")            \
	X(IOWQ_AFF, "iowq_aff")                  \
	X(IOWQ_MAX, "iowq_max")                  \
	X(MSG_RING, "msg_ring")                  \
	X(NOP_INJECT, "nop_inject")              \
	X(CALLER_CREDS, "caller_creds")          \
	X(XATTR_AT, "xattrat")                   \
	X(CHMOD_AT, "fchmodat2")

enum feature {
#define X(e, n) FEATURE_##e,
	FEATURES(X)
#undef X
	FEATURE_KINDS, /* + enum op_kind */
	FEATURES_COUNT = FEATURE_KINDS + OP_KINDS_COUNT
};

_Static_assert((int)FEATURES_COUNT <= 64, "features fit one bitmap");

/** The result of a probe; read-only afterwards. All are sets of 1 << enum feature. */
struct features {
	uint64_t have;   /* the kernel has it and it is not denied */
	uint64_t denied; /* named in the deny list */
	char used_text[1024], missing_text[1024], denied_text[1024];
};

static inline bool features_has(const struct features *f, unsigned feature)
{
	return (f->have >> feature & 1) != 0;
}

/**
 * features_parse_deny() - read a comma-separated list of feature names
 * @list: NULL or "" for none
 * @ret_denied: set of 1 << enum feature
 * @err: gets one line that lists the valid names, on failure
 * Thread: any.
 * Return: 0; -EINVAL unknown name
 */
int features_parse_deny(const char *list, uint64_t *ret_denied, char *err, size_t err_size);

/**
 * features_probe() - make small rings and see what they accept
 * @denied: from features_parse_deny()
 * @f: filled in
 * @err: one line with the remedy, on failure
 * Thread: main; no other thread of the daemon is needed or made.
 * Return: 0; -ENOSYS no io_uring; -EPERM forbidden (sysctl, seccomp); -ENOMEM, -EMFILE
 * Source: io_uring_setup(2), io_uring_register(2)
 */
int features_probe(uint64_t denied, struct features *f, char *err, size_t err_size);

/**
 * features_known() - all names, comma-separated
 * Thread: any.  Return: a static string.
 */
const char *features_known(void);

#endif
