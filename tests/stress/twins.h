/*
 * twins.h - one random sequence of system calls on two directories, compared call by call
 *
 * A step is a call with arguments that depend on the seed and the number of the step only: the same step does the
 * same on both sides, and any subset of steps can be run again. It is made by one of several processes (enum role),
 * first on side 0 (the mount), then on side 1 (a plain directory of the same filesystem as the mount's source), and
 * says what came of it as text: what differs in that text is a difference.
 */
#ifndef TESTS_STRESS_TWINS_H
#define TESTS_STRESS_TWINS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include "stress.h"

enum { SIDES = 2, SLOTS = 8, MAPS = 3, TEXT_SIZE = 16384, PATH_SIZE = 4200 };

enum role { ROLE_ROOT, ROLE_USER, ROLE_MEMBER, ROLE_FSUID, ROLE_LESSER, ROLE_NAMESPACE, ROLE_LIMITED, ROLE_COUNT };

struct mapping {
	uint8_t *at; /* NULL: none */
	size_t len;
	off_t offset;
	bool shared, writable;
	int fd; /* a descriptor of its own, for the size */
};

/* What one process has: descriptors and mappings by number, the same on both sides. */
struct actor {
	enum role role;
	int top[SIDES];         /* the two directories */
	int slot[SLOTS][SIDES]; /* -1: none */
	unsigned open;          /* slots that were in use when the step began */
	struct mapping map[MAPS][SIDES];
	int mailbox[2]; /* descriptors that one process gives to any other */
	uint64_t seed;
	bool in_memory; /* tmpfs */
	bool coarse;    /* times may stay as they are at a change */
	bool writeback; /* -w: the mount has writeback, times are the kernel's own */
	bool kernel_io; /* -k: the mount has io=kernel, which ends setuid and setgid for root, too (LIMITS) */
};

struct text {
	size_t len;
	char s[TEXT_SIZE];
};

/* One call on one side. */
struct call {
	struct actor *a;
	int side;
	struct rng rng; /* the same on both sides */
	struct text *out;
	bool no_times; /* when the times change is the filesystem's own affair here */
};

void say(struct call *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/** say_result() - " = 0" or " = ENOENT": @ret as a system call returns it, errno when negative. */
void say_result(struct call *c, long ret);

/** say_data() - length and a hash. */
void say_data(struct call *c, const void *data, size_t len);

uint64_t pick(struct call *c, uint64_t limit);
bool chance(struct call *c, unsigned percent);

/** pick_path() - a path relative to pick_dir()'s answer, seldom an odd one; @path holds PATH_SIZE bytes. */
void pick_path(struct call *c, char *path);
int pick_dir(struct call *c);

/** pick_slot() - a number of a slot; its descriptor may be none, which is said by the call's EBADF. */
unsigned pick_slot(struct call *c);
int slot_fd(const struct call *c, unsigned slot);

/** slot_put() - the slot's descriptor of this side is @fd from now on (or none); the old one is closed. */
void slot_put(struct call *c, unsigned slot, int fd);

/** pick_offset(), pick_size() - near borders of pages, blocks and types. */
off_t pick_offset(struct call *c);
size_t pick_size(struct call *c);
off_t pick_file_size(struct call *c);

/** is_kind() - what is at a path, or open at a descriptor (@path NULL), is of this type (S_IFIFO ...). */
bool is_kind(int dir, const char *path, mode_t kind);

/** member_write() - a member by a supplementary group only would end this file's setgid bit on the mount: LIMITS; -k: any would. */
bool member_write(const struct call *c, int fd);

struct op {
	const char *name;
	unsigned weight;
	void (*make)(struct call *c);
};

/* The calls by subject; each ends with a row without a name. */
extern const struct op ops_open[], ops_data[], ops_space[], ops_map[], ops_names[], ops_attr[], ops_xattr[], ops_lock[];

/** watch_fd(), watch_path() - the attributes of this file before and after belong to the call's text. */
void watch_fd(struct call *c, int fd);
void watch_path(struct call *c, int dir, const char *path);

/** tree_compare() - both trees, and the mount's with its source's: 0 the same, 1 not, and why in @why. @writeback: no times, files are synced first. */
int tree_compare(int mount, int twin, int source, bool writeback, char *why, size_t why_size);

#endif
