/*
 * fsstress_ops.c - random operations whose result the model predicts
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "fsstress.h"

#include <fcntl.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

/* A random place in the tree: a directory, a name in it, and what is there now. */
struct spot {
	int dir;
	int name;
	int dent; /* -1: nothing has this name */
	int node; /* -1 likewise */
	char path[8192];
};

static int random_dir(struct worker *w)
{
	for (int tries = 0; tries < 20; tries++) {
		int node = (int)rng_below(&w->rng, NODE_MAX);

		if (w->nodes[node].type == NODE_DIR && model_depth(w, node) < TREE_DEPTH_MAX)
			return node;
	}
	return 0;
}

static void choose_spot(struct worker *w, struct spot *s)
{
	s->dir = random_dir(w);
	s->name = (int)rng_below(&w->rng, NAME_COUNT);
	s->dent = model_find(w, s->dir, s->name);
	s->node = s->dent < 0 ? -1 : w->dents[s->dent].node;
	model_path(w, w->root, s->dir, s->name, s->path, sizeof(s->path));
}

/* A spot that exists and has one of the types, if a few tries find one. */
static bool choose_type(struct worker *w, struct spot *s, enum node_type a, enum node_type b)
{
	for (int tries = 0; tries < 30; tries++) {
		choose_spot(w, s);
		if (s->node >= 0 && (w->nodes[s->node].type == a || w->nodes[s->node].type == b))
			return true;
	}
	return false;
}

/* Checks a result against the set of errors that may happen; an empty set means it must succeed. */
static bool expect(struct worker *w, const char *what, const struct spot *s, int ret, const int *errors, int count)
{
	int err = ret < 0 ? errno : 0;

	if (!err && !count)
		return true;
	for (int i = 0; i < count; i++)
		if (err == errors[i])
			return false;
	worker_fail(w, "%s %s: got %s, expected %s%s", what, s->path, err ? strerror(err) : "success",
		    count ? strerror(errors[0]) : "success", count > 1 ? " (or another error)" : "");
}

static bool expect_one(struct worker *w, const char *what, const struct spot *s, int ret, int error)
{
	return expect(w, what, s, ret, &error, error ? 1 : 0);
}

static bool has_room(const struct worker *w)
{
	int nodes = 0, dents = 0;

	for (int i = 0; i < NODE_MAX; i++)
		nodes += w->nodes[i].type == NODE_NONE;
	for (int i = 0; i < DENT_MAX; i++)
		dents += !w->dents[i].used;
	return nodes > 2 && dents > 2;
}

static mode_t random_mode(struct worker *w)
{
	return (mode_t)rng_below(&w->rng, 01000) | 0400;
}

static void op_creat(struct worker *w)
{
	int flags = O_CREAT | O_WRONLY | O_CLOEXEC | O_NONBLOCK, fd, error = 0;
	bool excl = rng_below(&w->rng, 3) == 0;
	mode_t mode = random_mode(w);
	struct spot s;

	choose_spot(w, &s);
	if (!has_room(w) || (s.node >= 0 && !excl && w->nodes[s.node].type > NODE_DIR))
		return;
	if (s.node >= 0)
		error = excl ? EEXIST : w->nodes[s.node].type == NODE_DIR ? EISDIR : 0;
	worker_log(w, "creat %s%s %o", s.path, excl ? " excl" : "", mode);
	fd = open(s.path, flags | (excl ? O_EXCL : O_TRUNC), mode);
	if (!expect_one(w, "creat", &s, fd, error))
		return;
	if (close(fd) < 0)
		worker_fail(w, "close %s: %s", s.path, strerror(errno));
	if (s.node >= 0) {
		memset(w->nodes[s.node].data, 0, FILE_MAX);
		w->nodes[s.node].size = 0;
		model_touch(w, s.node);
	} else {
		(void)model_add(w, s.dir, s.name, model_new(w, NODE_FILE, mode)); /* has_room() */
	}
}

static void op_mkdir(struct worker *w)
{
	mode_t mode = random_mode(w);
	struct spot s;

	choose_spot(w, &s);
	if (!has_room(w))
		return;
	worker_log(w, "mkdir %s %o", s.path, mode);
	if (expect_one(w, "mkdir", &s, mkdir(s.path, mode), s.node >= 0 ? EEXIST : 0))
		(void)model_add(w, s.dir, s.name, model_new(w, NODE_DIR, mode));
}

static void op_mknod(struct worker *w)
{
	bool device = rng_below(&w->rng, 2);
	mode_t mode = random_mode(w);
	struct spot s;
	int ret, node;

	choose_spot(w, &s);
	if (!has_room(w) || !(w->features & FEATURE_MKNOD))
		return;
	worker_log(w, "mknod %s %s %o", s.path, device ? "device" : "fifo", mode);
	ret = mknod(s.path, (device ? S_IFCHR : S_IFIFO) | mode, device ? makedev(1, 3) : 0);
	if (!expect_one(w, "mknod", &s, ret, s.node >= 0 ? EEXIST : 0))
		return;
	node = model_new(w, device ? NODE_DEVICE : NODE_FIFO, mode);
	w->nodes[node].rdev = device ? makedev(1, 3) : 0;
	(void)model_add(w, s.dir, s.name, node);
}

static void op_symlink(struct worker *w)
{
	char target[64];
	struct spot s;
	int node;

	choose_spot(w, &s);
	if (!has_room(w))
		return;
	snprintf(target, sizeof(target), "nowhere/%llx", (unsigned long long)rng_next(&w->rng) >> rng_below(&w->rng, 60));
	worker_log(w, "symlink %s -> %s", s.path, target);
	if (!expect_one(w, "symlink", &s, symlink(target, s.path), s.node >= 0 ? EEXIST : 0))
		return;
	node = model_new(w, NODE_SYMLINK, 0777);
	snprintf(w->nodes[node].target, sizeof(w->nodes[node].target), "%s", target);
	(void)model_add(w, s.dir, s.name, node);
}

static void op_link(struct worker *w)
{
	int errors[3], count = 0;
	struct spot from, to;

	choose_spot(w, &from);
	choose_spot(w, &to);
	if (!has_room(w))
		return;
	if (from.node < 0)
		errors[count++] = ENOENT;
	if (to.node >= 0)
		errors[count++] = EEXIST;
	if (from.node >= 0 && w->nodes[from.node].type == NODE_DIR)
		errors[count++] = EPERM;
	worker_log(w, "link %s to %s", from.path, to.path);
	if (expect(w, "link", &to, link(from.path, to.path), errors, count))
		(void)model_add(w, to.dir, to.name, from.node);
}

static void op_unlink(struct worker *w)
{
	struct spot s;
	int error;

	choose_spot(w, &s);
	error = s.node < 0 ? ENOENT : w->nodes[s.node].type == NODE_DIR ? EISDIR : 0;
	worker_log(w, "unlink %s", s.path);
	if (expect_one(w, "unlink", &s, unlink(s.path), error))
		model_remove(w, s.dent);
}

static void op_rmdir(struct worker *w)
{
	struct spot s;
	int error = 0;

	choose_spot(w, &s);
	if (s.node < 0)
		error = ENOENT;
	else if (w->nodes[s.node].type != NODE_DIR)
		error = ENOTDIR;
	else if (!model_is_empty(w, s.node))
		error = ENOTEMPTY;
	worker_log(w, "rmdir %s", s.path);
	if (expect_one(w, "rmdir", &s, rmdir(s.path), error))
		model_remove(w, s.dent);
}

/* The errors that rename may answer for this pair, in no particular order. */
static int rename_errors(const struct worker *w, const struct spot *from, const struct spot *to, unsigned flags,
			 int *ret_errors)
{
	const struct node *a = from->node < 0 ? NULL : &w->nodes[from->node];
	const struct node *b = to->node < 0 ? NULL : &w->nodes[to->node];
	bool exchange = flags & RENAME_EXCHANGE;
	int count = 0;

	if (!a || (exchange && !b))
		ret_errors[count++] = ENOENT;
	if (b && (flags & RENAME_NOREPLACE))
		ret_errors[count++] = EEXIST;
	if (a && a->type == NODE_DIR && model_is_below(w, to->dir, from->node))
		ret_errors[count++] = EINVAL;
	if (b && b->type == NODE_DIR && model_is_below(w, from->dir, to->node))
		ret_errors[count++] = exchange ? EINVAL : ENOTEMPTY;
	if (!a || !b || exchange || a == b)
		return count;
	if (a->type == NODE_DIR && b->type != NODE_DIR)
		ret_errors[count++] = ENOTDIR;
	if (a->type != NODE_DIR && b->type == NODE_DIR)
		ret_errors[count++] = EISDIR;
	if (a->type == NODE_DIR && b->type == NODE_DIR && !model_is_empty(w, to->node)) {
		ret_errors[count++] = ENOTEMPTY;
		ret_errors[count++] = EEXIST; /* xfs; POSIX allows both */
	}
	return count;
}

static void rename_apply(struct worker *w, const struct spot *from, const struct spot *to, unsigned flags)
{
	int moved = from->node;

	if (from->node == to->node) /* two names of one inode: nothing happens */
		return;
	/* the ".." of a directory that changes its parent is content: xfs counts that as a modification */
	if (from->dir != to->dir && w->nodes[from->node].type == NODE_DIR)
		model_touch(w, from->node);
	if (from->dir != to->dir && to->node >= 0 && w->nodes[to->node].type == NODE_DIR)
		model_touch(w, to->node);
	if (flags & RENAME_EXCHANGE) {
		w->dents[from->dent].node = to->node;
		w->dents[to->dent].node = moved;
		model_touch(w, from->dir);
		model_touch(w, to->dir);
		return;
	}
	if (to->dent >= 0)
		model_remove(w, to->dent);
	(void)model_add(w, to->dir, to->name, moved); /* a rename needs no new room: see has_room() */
	model_remove(w, from->dent);
	if (flags & RENAME_WHITEOUT) {
		int node = model_new(w, NODE_DEVICE, 0);

		(void)model_add(w, from->dir, from->name, node);
	}
}

/* How deep the tree would become: paths must stay shorter than PATH_MAX. */
static bool rename_too_deep(const struct worker *w, const struct spot *from, const struct spot *to)
{
	int base, height = 0;

	if (from->node < 0 || w->nodes[from->node].type != NODE_DIR)
		return false;
	base = model_depth(w, from->node);
	for (int i = 0; i < NODE_MAX; i++) {
		if (w->nodes[i].type != NODE_DIR || !model_is_below(w, i, from->node))
			continue;
		if (model_depth(w, i) - base > height)
			height = model_depth(w, i) - base;
	}
	return model_depth(w, to->dir) + height + 1 >= TREE_DEPTH_MAX;
}

static void op_rename(struct worker *w)
{
	static const struct {
		unsigned flags, feature;
	} kinds[] = {
		{0, 0},
		{0, 0},
		{RENAME_NOREPLACE, FEATURE_NOREPLACE},
		{RENAME_EXCHANGE, FEATURE_EXCHANGE},
		{RENAME_WHITEOUT, FEATURE_WHITEOUT},
		{RENAME_WHITEOUT | RENAME_NOREPLACE, FEATURE_WHITEOUT | FEATURE_NOREPLACE},
	};
	size_t kind = rng_below(&w->rng, sizeof(kinds) / sizeof(kinds[0]));
	unsigned flags = kinds[kind].flags;
	struct spot from, to;
	int errors[8], count;

	choose_spot(w, &from);
	choose_spot(w, &to);
	if (!has_room(w) || (w->features & kinds[kind].feature) != kinds[kind].feature)
		return;
	if (rename_too_deep(w, &from, &to) || ((flags & RENAME_EXCHANGE) && rename_too_deep(w, &to, &from)))
		return;
	count = rename_errors(w, &from, &to, flags, errors);
	worker_log(w, "rename %s to %s flags %u", from.path, to.path, flags);
	if (expect(w, "rename", &from, renameat2(AT_FDCWD, from.path, AT_FDCWD, to.path, flags), errors, count))
		rename_apply(w, &from, &to, flags);
}

static void op_chmod(struct worker *w)
{
	mode_t mode = random_mode(w);
	struct spot s;

	choose_spot(w, &s);
	if (s.node >= 0 && w->nodes[s.node].type == NODE_SYMLINK)
		return;
	worker_log(w, "chmod %s %o", s.path, mode);
	if (expect_one(w, "chmod", &s, chmod(s.path, mode), s.node < 0 ? ENOENT : 0))
		w->nodes[s.node].mode = mode;
}

static void op_chown(struct worker *w)
{
	uid_t uid = (uid_t)rng_below(&w->rng, 3) * 1000;
	gid_t gid = (gid_t)rng_below(&w->rng, 3) * 1001;
	struct spot s;

	choose_spot(w, &s);
	worker_log(w, "lchown %s %u:%u", s.path, uid, gid);
	if (expect_one(w, "lchown", &s, lchown(s.path, uid, gid), s.node < 0 ? ENOENT : 0)) {
		w->nodes[s.node].uid = uid;
		w->nodes[s.node].gid = gid;
	}
}

static void op_utimens(struct worker *w)
{
	struct timespec ts[2] = {
		{.tv_sec = (time_t)rng_below(&w->rng, INT32_MAX), .tv_nsec = (long)rng_below(&w->rng, 1000000000)},
		{.tv_sec = (time_t)rng_below(&w->rng, INT32_MAX), .tv_nsec = (long)rng_below(&w->rng, 1000000000)},
	};
	struct spot s;
	int ret;

	choose_spot(w, &s);
	worker_log(w, "utimens %s %lld.%09ld", s.path, (long long)ts[1].tv_sec, ts[1].tv_nsec);
	ret = utimensat(AT_FDCWD, s.path, ts, AT_SYMLINK_NOFOLLOW);
	if (expect_one(w, "utimens", &s, ret, s.node < 0 ? ENOENT : 0)) {
		w->nodes[s.node].mtime = ts[1];
		w->nodes[s.node].mtime_known = true;
	}
}

static void op_truncate(struct worker *w)
{
	uint64_t size = rng_below(&w->rng, FILE_MAX);
	int error = 0;
	struct node *n;
	struct spot s;

	choose_spot(w, &s);
	n = s.node < 0 ? NULL : &w->nodes[s.node];
	if (n && n->type == NODE_SYMLINK)
		return;
	if (!n)
		error = ENOENT;
	else if (n->type != NODE_FILE)
		error = n->type == NODE_DIR ? EISDIR : EINVAL;
	worker_log(w, "truncate %s %llu", s.path, (unsigned long long)size);
	if (!expect_one(w, "truncate", &s, truncate(s.path, (off_t)size), error))
		return;
	if (size < n->size)
		memset(n->data + size, 0, n->size - size);
	n->size = size;
	model_touch(w, s.node);
}

static void op_setxattr(struct worker *w)
{
	uint32_t tag = 1 + (uint32_t)rng_below(&w->rng, 1000000);
	int index = (int)rng_below(&w->rng, XATTR_COUNT), error = 0;
	unsigned kind = (unsigned)rng_below(&w->rng, 3);
	char name[32], value[128];
	size_t len;
	struct spot s;

	if (!(w->features & FEATURE_XATTR) || !choose_type(w, &s, NODE_FILE, NODE_DIR))
		return;
	snprintf(name, sizeof(name), "user.x%d", index);
	model_xattr_value(tag, value, &len);
	if (kind == 1 && w->nodes[s.node].xattr[index])
		error = EEXIST;
	if (kind == 2 && !w->nodes[s.node].xattr[index])
		error = ENODATA;
	worker_log(w, "setxattr %s %s %zu flags %u", s.path, name, len, kind);
	if (expect_one(w, "setxattr", &s,
		       setxattr(s.path, name, value, len, kind == 1 ? XATTR_CREATE : kind == 2 ? XATTR_REPLACE : 0), error))
		w->nodes[s.node].xattr[index] = tag;
}

static void op_removexattr(struct worker *w)
{
	int index = (int)rng_below(&w->rng, XATTR_COUNT);
	char name[32];
	struct spot s;

	if (!(w->features & FEATURE_XATTR) || !choose_type(w, &s, NODE_FILE, NODE_DIR))
		return;
	snprintf(name, sizeof(name), "user.x%d", index);
	worker_log(w, "removexattr %s %s", s.path, name);
	if (expect_one(w, "removexattr", &s, removexattr(s.path, name), w->nodes[s.node].xattr[index] ? 0 : ENODATA))
		w->nodes[s.node].xattr[index] = 0;
}

static void op_readdir(struct worker *w)
{
	int dir = random_dir(w);

	worker_log(w, "readdir of node %d", dir);
	check_dir(w, "readdir", w->root, dir);
}

static void op_stat(struct worker *w)
{
	struct spot s;
	struct stat st;

	choose_spot(w, &s);
	worker_log(w, "stat %s", s.path);
	if (s.node < 0)
		(void)expect_one(w, "lstat", &s, lstat(s.path, &st), ENOENT);
	else
		check_node(w, "stat", s.path, s.node);
}

static int open_file(struct worker *w, const struct spot *s, int flags)
{
	int fd = open(s->path, flags | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		worker_fail(w, "open %s: %s", s->path, strerror(errno));
	return fd;
}

static void op_write(struct worker *w)
{
	uint64_t offset = rng_below(&w->rng, FILE_MAX - 1);
	uint64_t len = 1 + rng_below(&w->rng, FILE_MAX - offset);
	bool sync = rng_below(&w->rng, 40) == 0;
	struct node *n;
	struct spot s;
	ssize_t done;
	int fd;

	if (!choose_type(w, &s, NODE_FILE, NODE_FILE))
		return;
	n = &w->nodes[s.node];
	worker_log(w, "write %s %llu at %llu", s.path, (unsigned long long)len, (unsigned long long)offset);
	fd = open_file(w, &s, O_WRONLY);
	stress_fill(n->data + offset, w->op_number + 1, offset, len);
	done = pwrite(fd, n->data + offset, len, (off_t)offset);
	if (done < 0 || (uint64_t)done != len)
		worker_fail(w, "pwrite %s: %zd %s", s.path, done, strerror(errno));
	if (sync && fsync(fd) < 0)
		worker_fail(w, "fsync %s: %s", s.path, strerror(errno));
	if (close(fd) < 0)
		worker_fail(w, "close %s: %s", s.path, strerror(errno));
	if (offset + len > n->size)
		n->size = offset + len;
	model_touch(w, s.node);
}

static void op_fallocate(struct worker *w)
{
	uint64_t offset = rng_below(&w->rng, FILE_MAX - 1);
	uint64_t len = 1 + rng_below(&w->rng, FILE_MAX - offset);
	bool punch = rng_below(&w->rng, 2);
	struct node *n;
	struct spot s;
	int fd;

	if (!(w->features & (punch ? FEATURE_PUNCH : FEATURE_FALLOCATE)) || !choose_type(w, &s, NODE_FILE, NODE_FILE))
		return;
	n = &w->nodes[s.node];
	worker_log(w, "fallocate%s %s %llu at %llu", punch ? " punch" : "", s.path, (unsigned long long)len,
		   (unsigned long long)offset);
	fd = open_file(w, &s, O_RDWR);
	if (fallocate(fd, punch ? FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE : 0, (off_t)offset, (off_t)len) < 0)
		worker_fail(w, "fallocate %s: %s", s.path, strerror(errno));
	if (close(fd) < 0)
		worker_fail(w, "close %s: %s", s.path, strerror(errno));
	if (punch)
		memset(n->data + offset, 0, len);
	else if (offset + len > n->size)
		n->size = offset + len;
	model_touch(w, s.node);
}

/* A file stays whole for those who have it open when one of its names, or the last one, goes away. */
static void op_orphan(struct worker *w)
{
	static uint8_t buf[FILE_MAX];
	struct stat st;
	struct spot s;
	ssize_t got;
	int fd;

	if (!choose_type(w, &s, NODE_FILE, NODE_FILE))
		return;
	worker_log(w, "unlink while open %s", s.path);
	fd = open_file(w, &s, O_RDWR);
	if (unlink(s.path) < 0)
		worker_fail(w, "unlink of the open file %s: %s", s.path, strerror(errno));
	if (fstat(fd, &st) < 0)
		worker_fail(w, "fstat after unlink of %s: %s", s.path, strerror(errno));
	if (st.st_nlink != w->nodes[s.node].names_count - 1)
		worker_fail(w, "nlink after unlink of the open file %s: expected %u got %u", s.path,
			    w->nodes[s.node].names_count - 1, (unsigned)st.st_nlink);
	got = pread(fd, buf, sizeof(buf), 0);
	if (got < 0 || (uint64_t)got != w->nodes[s.node].size || memcmp(buf, w->nodes[s.node].data, (size_t)got) != 0)
		worker_fail(w, "read of the unlinked file %s: %zd (%s)", s.path, got,
			    got < 0 ? strerror(errno) : "wrong data");
	if (w->nodes[s.node].names_count == 1 && (ftruncate(fd, 10) < 0 || pwrite(fd, "orphan", 6, 100) != 6))
		worker_fail(w, "write to the unlinked file %s: %s", s.path, strerror(errno));
	if (close(fd) < 0)
		worker_fail(w, "close of the unlinked file %s: %s", s.path, strerror(errno));
	model_remove(w, s.dent);
}

static void op_tmpfile(struct worker *w)
{
	char dir[8192], fd_path[64];
	mode_t mode = random_mode(w);
	struct spot s;
	int fd, node;

	choose_spot(w, &s);
	if (!(w->features & FEATURE_TMPFILE) || !has_room(w))
		return;
	model_path(w, w->root, s.dir, -1, dir, sizeof(dir));
	worker_log(w, "O_TMPFILE linked as %s %o", s.path, mode);
	fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, mode);
	if (fd < 0)
		worker_fail(w, "O_TMPFILE in %s: %s", dir, strerror(errno));
	if (pwrite(fd, "tmpfile", 7, 0) != 7)
		worker_fail(w, "write to O_TMPFILE: %s", strerror(errno));
	snprintf(fd_path, sizeof(fd_path), "/proc/self/fd/%d", fd);
	if (expect_one(w, "linkat of O_TMPFILE", &s, linkat(AT_FDCWD, fd_path, AT_FDCWD, s.path, AT_SYMLINK_FOLLOW),
		       s.node >= 0 ? EEXIST : 0)) {
		node = model_new(w, NODE_FILE, mode);
		memcpy(w->nodes[node].data, "tmpfile", 7);
		w->nodes[node].size = 7;
		(void)model_add(w, s.dir, s.name, node);
	}
	if (close(fd) < 0)
		worker_fail(w, "close of O_TMPFILE: %s", strerror(errno));
}

static const struct {
	void (*run)(struct worker *w);
	unsigned weight;
} ops[] = {
	{op_creat, 12},     {op_mkdir, 7},       {op_mknod, 4},   {op_symlink, 4},   {op_link, 6},
	{op_unlink, 9},     {op_rmdir, 6},       {op_rename, 14}, {op_chmod, 4},     {op_chown, 4},
	{op_utimens, 4},    {op_truncate, 4},    {op_readdir, 5}, {op_stat, 10},     {op_write, 12},
	{op_setxattr, 4},   {op_removexattr, 3}, {op_orphan, 2},  {op_fallocate, 4}, {op_tmpfile, 2},
};

void ops_run(struct worker *w)
{
	const size_t count = sizeof(ops) / sizeof(ops[0]);
	uint64_t total = 0;

	for (size_t i = 0; i < count; i++)
		total += ops[i].weight;
	for (w->op_number = 0; w->op_number < w->ops_count; w->op_number++) {
		uint64_t at = rng_below(&w->rng, total);
		size_t i = 0;

		if (w->op_number % 64 == 0 && w->deadline > 0 && stress_now() > w->deadline)
			break;
		while (at >= ops[i].weight)
			at -= ops[i++].weight;
		ops[i].run(w);
		if (w->op_number % 2048 == 2047)
			check_tree(w, w->root, "mount, during the run");
	}
}
