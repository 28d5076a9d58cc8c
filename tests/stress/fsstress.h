/*
 * fsstress.h - state of one worker process and the model of its subtree
 */
#ifndef TESTS_STRESS_FSSTRESS_H
#define TESTS_STRESS_FSSTRESS_H

#include "stress.h"

#include <sys/stat.h>
#include <sys/types.h>

enum {
	NODE_MAX = 160,
	DENT_MAX = 400,
	NAME_COUNT = 14, /* names tried in each directory */
	FILE_MAX = 32 * 1024,
	XATTR_COUNT = 4,
	LOG_COUNT = 40,
	LOG_LEN = 256,
	TREE_DEPTH_MAX = 10,
};

enum feature {
	FEATURE_NOREPLACE = 1 << 0,
	FEATURE_EXCHANGE = 1 << 1,
	FEATURE_WHITEOUT = 1 << 2,
	FEATURE_XATTR = 1 << 3,
	FEATURE_MKNOD = 1 << 4,
	FEATURE_FALLOCATE = 1 << 5,
	FEATURE_PUNCH = 1 << 6,
	FEATURE_TMPFILE = 1 << 7,
	FEATURE_DIR_NLINK = 1 << 8, /* a directory's link count is 2 + its directories */
	FEATURE_ALL = (1 << 9) - 1,
};

enum node_type { NODE_NONE, NODE_FILE, NODE_DIR, NODE_SYMLINK, NODE_FIFO, NODE_DEVICE };

/* What must be true of one inode. Node 0 is the worker's own root directory. */
struct node {
	enum node_type type;
	unsigned names_count;
	mode_t mode; /* permission bits */
	uid_t uid;
	gid_t gid;
	dev_t rdev;
	bool mtime_known;
	struct timespec mtime;
	uint64_t size;
	uint8_t *data; /* FILE_MAX bytes, zero from size on */
	char target[64];
	uint32_t xattr[XATTR_COUNT]; /* 0: not set, else the tag of its value */
};

struct dent {
	bool used;
	int parent;
	int node;
	int name;
};

struct worker {
	int id;
	struct rng rng;
	uint64_t seed;
	uint64_t ops_count;
	uint64_t op_number;
	double deadline;
	unsigned features;
	char root[4096];
	struct node nodes[NODE_MAX];
	struct dent dents[DENT_MAX];
	char log[LOG_COUNT][LOG_LEN];
	uint64_t log_count;
};

/* fsstress.c */
void worker_fail(struct worker *w, const char *fmt, ...) __attribute__((noreturn, format(printf, 2, 3)));
void worker_log(struct worker *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* fsstress_model.c */
const char *model_name(int name);
int model_find(const struct worker *w, int dir, int name);       /* index of the dent, or -1 */
int model_add(struct worker *w, int dir, int name, int node);    /* the dent, or -1 when full */
void model_remove(struct worker *w, int dent);                   /* frees the node with its last name */
int model_new(struct worker *w, enum node_type type, mode_t mode); /* the node, or -1 when full */
int model_dent_of_dir(const struct worker *w, int dir);          /* the one dent of a directory */
bool model_is_below(const struct worker *w, int dir, int above); /* dir is above or inside it */
bool model_is_empty(const struct worker *w, int dir);
unsigned model_subdirs(const struct worker *w, int dir);
void model_touch(struct worker *w, int node); /* its mtime is no longer known */
int model_depth(const struct worker *w, int dir);
void model_path(const struct worker *w, const char *root, int dir, int name, char *ret_path, size_t size);
void model_xattr_value(uint32_t tag, char *ret_value, size_t *ret_len);

/* fsstress_ops.c: n random operations, each predicted by the model */
void ops_run(struct worker *w);

/* fsstress_check.c: the tree at root must be what the model says */
void check_tree(struct worker *w, const char *root, const char *label);
void check_node(struct worker *w, const char *label, const char *path, int node);
void check_dir(struct worker *w, const char *label, const char *root, int dir);

/* fsstress_shared.c: many processes in one tree; only unexpected errors count */
void shared_run(struct worker *w);
uint64_t shared_check(const char *root, const char *backing); /* number of differences, each printed */

#endif
