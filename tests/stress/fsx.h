/*
 * fsx.h - state shared between the driver (fsx.c) and the operations (fsx_ops.c)
 */
#ifndef TESTS_STRESS_FSX_H
#define TESTS_STRESS_FSX_H

#include "stress.h"

#include <sys/types.h>

enum { FSX_LOG_COUNT = 40, FSX_ALIGN = 4096 };

struct fsx_record {
	uint64_t number;
	const char *name;
	uint64_t offset;
	uint64_t length;
	uint64_t extra; /* second offset of a copy */
	uint64_t size_before;
};

struct fsx {
	struct rng rng;
	uint64_t seed;
	uint64_t ops_count;
	uint64_t op_number;
	uint64_t max_len;
	double deadline; /* 0: none */
	bool direct;
	bool quiet;
	bool strict_seek; /* no fsync before SEEK_DATA/SEEK_HOLE */
	char path[4096];
	char path_other[4096];
	const char *backing; /* same file seen without the mount, or NULL */
	int fd;
	int fd_direct; /* -1: not used */
	uint8_t *good; /* the model: what the file must hold, max_len bytes, zero from size on */
	uint64_t size;
	uint8_t *buf; /* max_len bytes, page aligned */
	struct fsx_record log[FSX_LOG_COUNT];
};

struct fsx_op {
	const char *name;
	void (*run)(struct fsx *f);
	unsigned weight;
	bool direct_only;
	bool unsupported; /* set at the first EOPNOTSUPP */
	uint64_t done_count;
};

extern struct fsx_op fsx_ops[];
extern const size_t fsx_ops_count;

/* Notes what is about to happen; the last FSX_LOG_COUNT records are printed on a failure. */
void fsx_record(struct fsx *f, const char *name, uint64_t offset, uint64_t length, uint64_t extra);

/* Prints the reason and the log, exits 1. */
void fsx_fail(struct fsx *f, const char *fmt, ...) __attribute__((noreturn, format(printf, 2, 3)));

/* Compares len bytes read at offset with the model; fails on the first difference. */
void fsx_compare(struct fsx *f, const char *what, const uint8_t *got, const uint8_t *want,
		 uint64_t offset, uint64_t len);

/* Opens (or reopens) the descriptors of the file. */
void fsx_open(struct fsx *f);
void fsx_close(struct fsx *f);

#endif
