/* SPDX-License-Identifier: MIT */
/*
 * creds.h - acting as a caller: per-thread identities and ring personalities.
 *
 * Only the file-system identity of the calling thread changes: supplementary
 * groups, fsgid, fsuid and the effective capabilities, by raw system calls
 * (libc's wrappers would change every thread). Real, effective and saved ids
 * stay, and so do the permitted capabilities, from which all is restored.
 */
#ifndef URINGFS_CREDS_H
#define URINGFS_CREDS_H

#include <stdbool.h>
#include <stdint.h>

#include "backend.h"

struct io_uring;

/**
 * creds_can_switch() - whether this thread may take other identities
 * Thread: any.  Return: true with CAP_SETUID and CAP_SETGID
 */
bool creds_can_switch(void);

/**
 * creds_drop_groups() - give up the supplementary groups of the calling thread
 * Thread: main, before others are made (they inherit).
 * Return: 0 (also when there are none); -EPERM
 */
int creds_drop_groups(void);

/**
 * creds_normalize() - bring @c into its simplest equal form
 * @can_switch: false: CREDS_SET is ignored
 * Return: flags 0 (besides CREDS_UMASK) when it is the daemon's own identity
 * Thread: any, at its own identity or not.
 */
struct creds creds_normalize(const struct creds *c, bool can_switch);

/** creds_is_own() - whether normalized @c is the daemon's own identity. */
static inline bool creds_is_own(const struct creds *c)
{
	return !(c->flags & (CREDS_SET | CREDS_NO_FSETID | CREDS_NO_RESOURCE));
}

/**
 * creds_enter() - make the calling thread act as @c (normalized)
 * Nothing happens when it already does: so a worker may leave late.
 * Thread: any; affects this thread only.
 * Return: 0; -errno, then the thread has its own identity. Aborts if that cannot be restored.
 */
int creds_enter(const struct creds *c);

/** creds_leave() - back to the thread's own identity. Aborts when that fails: going on
 *  would act as the wrong user. Thread: any. */
void creds_leave(void);

#define PERSONALITIES_MAX 128u
#define PERSONALITY_BUCKETS 64u

/** One registered identity. */
struct personality {
	struct creds creds; /* normalized, without umask */
	int32_t id;         /* > 0; 0: entry unused */
	int16_t hash_next, newer, older; /* indices, -1: none */
};

/** The personalities of one ring: a hash and a list by last use. Owned by the ring's thread. */
struct personalities {
	struct personality entry[PERSONALITIES_MAX];
	int16_t bucket[PERSONALITY_BUCKETS];
	int16_t newest, oldest, used_count;
};

/** personalities_init() - empty. Thread: owner. */
void personalities_init(struct personalities *p);

/**
 * personalities_get() - the id to put into sqe->personality for @c (normalized, not the own identity)
 * @flush: called with @arg before an id is unregistered that queued entries may name; false: not possible now
 * @ret_new: true when it was registered now
 * Thread: owner of the ring.
 * Return: id > 0; -EBUSY no room and @flush failed; -errno of the switch or of the registration
 * Source: io_uring_register(2), IORING_REGISTER_PERSONALITY
 */
int personalities_get(struct personalities *p, struct io_uring *uring, const struct creds *c,
		      bool (*flush)(void *arg), void *arg, bool *ret_new);

#endif
