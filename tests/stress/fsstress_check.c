/*
 * fsstress_check.c - compare a real tree with the model
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "fsstress.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/xattr.h>
#include <unistd.h>

static mode_t type_bits(enum node_type type)
{
	switch (type) {
	case NODE_FILE: return S_IFREG;
	case NODE_DIR: return S_IFDIR;
	case NODE_SYMLINK: return S_IFLNK;
	case NODE_FIFO: return S_IFIFO;
	case NODE_DEVICE: return S_IFCHR;
	case NODE_NONE: break;
	}
	return 0;
}

static void check_content(struct worker *w, const char *label, const char *path, const struct node *n)
{
	static uint8_t buf[FILE_MAX + 1];
	ssize_t got;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		worker_fail(w, "%s: open %s: %s", label, path, strerror(errno));
	got = read(fd, buf, sizeof(buf));
	if (got < 0 || (uint64_t)got != n->size)
		worker_fail(w, "%s: read %s: %zd, expected %llu (%s)", label, path, got, (unsigned long long)n->size,
			    got < 0 ? strerror(errno) : "wrong length");
	for (ssize_t i = 0; i < got; i++)
		if (buf[i] != n->data[i])
			worker_fail(w, "%s: content of %s differs at offset %zd: expected %02x got %02x", label, path, i,
				    n->data[i], buf[i]);
	(void)close(fd); /* was only read */
}

static void check_xattrs(struct worker *w, const char *label, const char *path, const struct node *n)
{
	char want[128], got[128], name[32];
	size_t len;

	for (int i = 0; i < XATTR_COUNT; i++) {
		ssize_t ret;

		snprintf(name, sizeof(name), "user.x%d", i);
		ret = lgetxattr(path, name, got, sizeof(got));
		if (!n->xattr[i]) {
			if (ret >= 0 || errno != ENODATA)
				worker_fail(w, "%s: getxattr %s of %s: %zd (%s), expected ENODATA", label, name, path, ret,
					    ret < 0 ? strerror(errno) : "exists");
			continue;
		}
		model_xattr_value(n->xattr[i], want, &len);
		if (ret < 0 || (size_t)ret != len || memcmp(want, got, len) != 0)
			worker_fail(w, "%s: getxattr %s of %s: %zd (%s), expected %zu bytes", label, name, path, ret,
				    ret < 0 ? strerror(errno) : "wrong value", len);
	}
}

static void check_owner_mode(struct worker *w, const char *label, const char *path, const struct node *n,
			     const struct stat *st)
{
	if ((st->st_mode & S_IFMT) != type_bits(n->type))
		worker_fail(w, "%s: type of %s: expected %o got %o", label, path, type_bits(n->type),
			    st->st_mode & S_IFMT);
	if (n->type != NODE_SYMLINK && (st->st_mode & 07777) != n->mode)
		worker_fail(w, "%s: mode of %s: expected %o got %o", label, path, n->mode, st->st_mode & 07777);
	if (st->st_uid != n->uid || st->st_gid != n->gid)
		worker_fail(w, "%s: owner of %s: expected %u:%u got %u:%u", label, path, n->uid, n->gid, st->st_uid,
			    st->st_gid);
	if (n->mtime_known &&
	    (st->st_mtim.tv_sec != n->mtime.tv_sec || st->st_mtim.tv_nsec != n->mtime.tv_nsec))
		worker_fail(w, "%s: mtime of %s: expected %lld.%09ld got %lld.%09ld", label, path,
			    (long long)n->mtime.tv_sec, n->mtime.tv_nsec, (long long)st->st_mtim.tv_sec,
			    st->st_mtim.tv_nsec);
}

void check_node(struct worker *w, const char *label, const char *path, int node)
{
	const struct node *n = &w->nodes[node];
	struct stat st;

	if (lstat(path, &st) < 0)
		worker_fail(w, "%s: lstat %s: %s", label, path, strerror(errno));
	check_owner_mode(w, label, path, n, &st);
	if (n->type == NODE_DIR) {
		if ((w->features & FEATURE_DIR_NLINK) && st.st_nlink != 2 + model_subdirs(w, node))
			worker_fail(w, "%s: nlink of directory %s: expected %u got %u", label, path,
				    2 + model_subdirs(w, node), (unsigned)st.st_nlink);
	} else if (st.st_nlink != n->names_count) {
		worker_fail(w, "%s: nlink of %s: expected %u got %u", label, path, n->names_count,
			    (unsigned)st.st_nlink);
	}
	if (n->type == NODE_DEVICE && st.st_rdev != n->rdev)
		worker_fail(w, "%s: rdev of %s: expected %llx got %llx", label, path, (unsigned long long)n->rdev,
			    (unsigned long long)st.st_rdev);
	if (n->type == NODE_FILE && (uint64_t)st.st_size != n->size)
		worker_fail(w, "%s: size of %s: expected %llu got %llu", label, path, (unsigned long long)n->size,
			    (unsigned long long)st.st_size);
	if (n->type == NODE_FILE)
		check_content(w, label, path, n);
	if (n->type == NODE_SYMLINK) {
		char target[128];
		ssize_t len = readlink(path, target, sizeof(target));

		if (len < 0 || (size_t)len != strlen(n->target) || memcmp(target, n->target, (size_t)len) != 0)
			worker_fail(w, "%s: readlink %s: %zd (%s), expected '%s'", label, path, len,
				    len < 0 ? strerror(errno) : "wrong target", n->target);
		if (st.st_size != len)
			worker_fail(w, "%s: size of the symlink %s: expected %zd got %lld", label, path, len,
				    (long long)st.st_size);
	}
	if ((w->features & FEATURE_XATTR) && (n->type == NODE_FILE || n->type == NODE_DIR))
		check_xattrs(w, label, path, n);
}

static int name_index(const char *name)
{
	for (int i = 0; i < NAME_COUNT; i++)
		if (strcmp(model_name(i), name) == 0)
			return i;
	return -1;
}

/* readdir gives each of the model's names once, with the right type, and nothing else. */
void check_dir(struct worker *w, const char *label, const char *root, int dir)
{
	bool seen[NAME_COUNT] = {false};
	char path[8192];
	struct dirent *e;
	DIR *d;

	model_path(w, root, dir, -1, path, sizeof(path));
	d = opendir(path);
	if (!d)
		worker_fail(w, "%s: opendir %s: %s", label, path, strerror(errno));
	while (errno = 0, (e = readdir(d))) {
		int name, dent;

		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		name = name_index(e->d_name);
		dent = name < 0 ? -1 : model_find(w, dir, name);
		if (dent < 0)
			worker_fail(w, "%s: %s has the entry '%s', which should not exist", label, path, e->d_name);
		if (seen[name])
			worker_fail(w, "%s: %s has the entry '%s' twice", label, path, e->d_name);
		seen[name] = true;
		if (e->d_type != DT_UNKNOWN && (mode_t)DTTOIF(e->d_type) != type_bits(w->nodes[w->dents[dent].node].type))
			worker_fail(w, "%s: d_type of '%s' in %s is %d", label, e->d_name, path, e->d_type);
	}
	if (errno)
		worker_fail(w, "%s: readdir %s: %s", label, path, strerror(errno));
	(void)closedir(d); /* was only read */
	for (int i = 0; i < NAME_COUNT; i++)
		if (!seen[i] && model_find(w, dir, i) >= 0)
			worker_fail(w, "%s: readdir of %s misses '%s'", label, path, model_name(i));
}

void check_tree(struct worker *w, const char *root, const char *label)
{
	char path[8192];

	for (int node = 0; node < NODE_MAX; node++)
		if (w->nodes[node].type == NODE_DIR)
			check_dir(w, label, root, node);
	check_node(w, label, root, 0);
	for (int i = 0; i < DENT_MAX; i++) {
		if (!w->dents[i].used)
			continue;
		model_path(w, root, w->dents[i].parent, w->dents[i].name, path, sizeof(path));
		check_node(w, label, path, w->dents[i].node);
	}
}
