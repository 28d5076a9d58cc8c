/*
 * fsstress_shared.c - all processes in one tree: races are allowed, unsound answers are not
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "fsstress.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { PATH_SIZE = 4608, SEEN_MAX = 65536 };

/* Errors that a race between names may give; all others are failures. */
static const int race_errors[] = {ENOENT, EEXIST, ENOTDIR, EISDIR, ENOTEMPTY, ELOOP, ENODATA, EPERM, EMLINK};

static void allow(struct worker *w, const char *what, const char *path, long ret, int also)
{
	if (ret >= 0 || errno == also)
		return;
	for (size_t i = 0; i < sizeof(race_errors) / sizeof(race_errors[0]); i++)
		if (errno == race_errors[i])
			return;
	worker_fail(w, "%s %s: unexpected error %d (%s)", what, path, errno, strerror(errno));
}

static void random_path(struct worker *w, char *path)
{
	size_t used = (size_t)snprintf(path, PATH_SIZE, "%s", w->root);
	uint64_t depth = rng_below(&w->rng, 3);

	while (depth--)
		used += (size_t)snprintf(path + used, PATH_SIZE - used, "/d%d", (int)rng_below(&w->rng, 3));
	snprintf(path + used, PATH_SIZE - used, "/%c%d", rng_below(&w->rng, 3) ? 'f' : 'd',
		 (int)rng_below(&w->rng, 5) % (rng_below(&w->rng, 2) ? 5 : 3));
}

static void shared_io(struct worker *w, const char *path)
{
	static uint8_t buf[40000];
	size_t len = 1 + rng_below(&w->rng, sizeof(buf) - 1);
	off_t offset = (off_t)rng_below(&w->rng, 60000);
	/* a fifo or a device may have this name: do not block, and a fifo without reader is ENXIO */
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
	struct stat st;

	allow(w, "open", path, fd, ENXIO);
	if (fd < 0)
		return;
	if (fstat(fd, &st) < 0)
		worker_fail(w, "fstat %s: %s", path, strerror(errno));
	if (S_ISREG(st.st_mode)) {
		stress_fill(buf, w->op_number, 0, len);
		if (pwrite(fd, buf, len, offset) != (ssize_t)len)
			worker_fail(w, "pwrite %s: %s", path, strerror(errno));
		if (pread(fd, buf, len, offset) < 0)
			worker_fail(w, "pread %s: %s", path, strerror(errno));
		if (rng_below(&w->rng, 4) == 0 && (w->features & FEATURE_FALLOCATE) &&
		    fallocate(fd, FALLOC_FL_KEEP_SIZE, offset, (off_t)len) < 0)
			worker_fail(w, "fallocate %s: %s", path, strerror(errno));
		if (rng_below(&w->rng, 30) == 0 && fsync(fd) < 0)
			worker_fail(w, "fsync %s: %s", path, strerror(errno));
	}
	if (close(fd) < 0)
		worker_fail(w, "close %s: %s", path, strerror(errno));
}

static void shared_readdir(struct worker *w, char *path)
{
	struct dirent *e;
	char *slash = strrchr(path, '/');
	DIR *d;

	*slash = '\0';
	d = opendir(path);
	allow(w, "opendir", path, d ? 0 : -1, 0);
	if (!d)
		return;
	while (errno = 0, (e = readdir(d))) {
		struct stat st;

		allow(w, "fstatat", e->d_name, fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW), 0);
	}
	allow(w, "readdir", path, errno ? -1 : 0, 0);
	if (closedir(d) < 0)
		worker_fail(w, "closedir %s: %s", path, strerror(errno));
}

static unsigned shared_rename_flags(struct worker *w)
{
	static const unsigned flags[] = {0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE};
	size_t i = rng_below(&w->rng, sizeof(flags) / sizeof(flags[0]));

	if ((flags[i] == RENAME_NOREPLACE && !(w->features & FEATURE_NOREPLACE)) ||
	    (flags[i] == RENAME_EXCHANGE && !(w->features & FEATURE_EXCHANGE)))
		return 0;
	return flags[i];
}

static void shared_namespace(struct worker *w, uint64_t kind, char *path, char *other)
{
	unsigned flags = shared_rename_flags(w);
	mode_t mode = (mode_t)rng_below(&w->rng, 01000);

	worker_log(w, "kind %llu %s %s flags %u", (unsigned long long)kind, path, other, flags);
	switch (kind) {
	case 0: allow(w, "mkdir", path, mkdir(path, mode | 0700), 0); break;
	case 1: allow(w, "mknod", path, mknod(path, S_IFIFO | mode, 0), 0); break;
	case 2: allow(w, "symlink", path, symlink("f0", path), 0); break;
	case 3: allow(w, "link", path, link(path, other), 0); break;
	case 4: allow(w, "rmdir", path, rmdir(path), 0); break;
	case 5: allow(w, "unlink", path, unlink(path), 0); break;
	/* EINVAL: a directory into itself */
	case 6: allow(w, "rename", path, renameat2(AT_FDCWD, path, AT_FDCWD, other, flags), EINVAL); break;
	case 7: allow(w, "chmod", path, chmod(path, mode | 0700), 0); break;
	case 8: allow(w, "lchown", path, lchown(path, (uid_t)mode, (gid_t)mode), 0); break;
	case 9: allow(w, "utimens", path, utimensat(AT_FDCWD, path, NULL, AT_SYMLINK_NOFOLLOW), 0); break;
	/* EINVAL: a fifo */
	case 10: allow(w, "truncate", path, truncate(path, (off_t)mode * 40), EINVAL); break;
	case 11: allow(w, "setxattr", path, (w->features & FEATURE_XATTR) ? lsetxattr(path, "user.a", "value", 5, 0) : 0, 0); break;
	case 12: allow(w, "removexattr", path, (w->features & FEATURE_XATTR) ? lremovexattr(path, "user.a") : 0, 0); break;
	case 13: allow(w, "listxattr", path, llistxattr(path, NULL, 0), 0); break;
	default: shared_readdir(w, path); break;
	}
}

void shared_run(struct worker *w)
{
	char path[PATH_SIZE], other[PATH_SIZE];

	for (w->op_number = 0; w->op_number < w->ops_count; w->op_number++) {
		uint64_t kind = rng_below(&w->rng, 24);
		struct stat st;
		int fd;

		if (w->op_number % 64 == 0 && w->deadline > 0 && stress_now() > w->deadline)
			break;
		random_path(w, path);
		random_path(w, other);
		if (kind < 15) {
			shared_namespace(w, kind, path, other);
		} else if (kind < 18) {
			worker_log(w, "creat %s", path);
			fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC | O_NONBLOCK, 0644);
			allow(w, "creat", path, fd, ENXIO);
			if (fd >= 0 && close(fd) < 0)
				worker_fail(w, "close %s: %s", path, strerror(errno));
		} else if (kind < 20) {
			worker_log(w, "stat %s", path);
			allow(w, "lstat", path, lstat(path, &st), 0);
		} else {
			worker_log(w, "io %s", path);
			shared_io(w, path);
		}
	}
}

/* State of the final walk; nftw gives no other way to hand it over. */
static struct {
	const char *root, *backing;
	uint64_t differences;
	size_t count;
	struct seen {
		ino_t ino;
		nlink_t nlink, found;
	} seen[SEEN_MAX];
} walk;

static void differ(const char *path, const char *what)
{
	printf("FAIL fsstress: %s: %s\n", path, what);
	walk.differences++;
}

static void count_name(const struct stat *st)
{
	size_t i = 0;

	while (i < walk.count && walk.seen[i].ino != st->st_ino)
		i++;
	if (i == SEEN_MAX)
		return;
	if (i == walk.count)
		walk.seen[walk.count++] = (struct seen){st->st_ino, st->st_nlink, 0};
	walk.seen[i].found++;
}

static void compare_content(const char *a, const char *b)
{
	static uint8_t x[200000], y[200000];
	int fa = open(a, O_RDONLY | O_CLOEXEC), fb = open(b, O_RDONLY | O_CLOEXEC);
	ssize_t na = read(fa, x, sizeof(x)), nb = read(fb, y, sizeof(y));

	if (na < 0 || na != nb || memcmp(x, y, (size_t)na) != 0)
		differ(a, "content differs from the backing file");
	(void)close(fa); /* were only read */
	(void)close(fb);
}

static int walk_one(const char *path, const struct stat *given, int kind, struct FTW *ftw)
{
	char twin[PATH_SIZE];
	struct stat st, back;

	(void)given;
	(void)ftw;
	if (kind == FTW_NS || kind == FTW_DNR)
		differ(path, "readdir shows it, but it cannot be read");
	if (lstat(path, &st) < 0) {
		differ(path, strerror(errno));
		return 0;
	}
	if (!S_ISDIR(st.st_mode))
		count_name(&st);
	if (!walk.backing)
		return 0;
	snprintf(twin, sizeof(twin), "%s%s", walk.backing, path + strlen(walk.root));
	if (lstat(twin, &back) < 0) {
		differ(path, "not in the backing directory");
		return 0;
	}
	if (st.st_mode != back.st_mode || st.st_nlink != back.st_nlink || st.st_uid != back.st_uid ||
	    st.st_gid != back.st_gid || st.st_size != back.st_size || st.st_rdev != back.st_rdev)
		differ(path, "mode, nlink, owner, size or rdev differ from the backing");
	if (st.st_mtim.tv_sec != back.st_mtim.tv_sec || st.st_mtim.tv_nsec != back.st_mtim.tv_nsec)
		differ(path, "mtime differs from the backing");
	if (S_ISREG(st.st_mode))
		compare_content(path, twin);
	return 0;
}

static int count_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)path;
	(void)st;
	(void)kind;
	(void)ftw;
	walk.count++;
	return 0;
}

uint64_t shared_check(const char *root, const char *backing)
{
	size_t names;

	walk.root = root;
	walk.backing = backing;
	if (nftw(root, walk_one, 32, FTW_PHYS) < 0)
		differ(root, strerror(errno));
	for (size_t i = 0; i < walk.count; i++)
		if (walk.seen[i].nlink != walk.seen[i].found) {
			printf("inode %llu: nlink %lu, names found %lu\n", (unsigned long long)walk.seen[i].ino,
			       (unsigned long)walk.seen[i].nlink, (unsigned long)walk.seen[i].found);
			differ(root, "link count and names do not agree");
		}
	if (!backing)
		return walk.differences;
	walk.count = 0;
	(void)nftw(root, count_one, 32, FTW_PHYS); /* walked above without error */
	names = walk.count;
	walk.count = 0;
	if (nftw(backing, count_one, 32, FTW_PHYS) < 0 || walk.count != names) {
		printf("%zu names in the mount, %zu in the backing\n", names, walk.count);
		differ(root, "number of names differs from the backing");
	}
	return walk.differences;
}
