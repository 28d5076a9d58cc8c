/*
 * twins_check.c - what is compared besides the answers: attributes around a call, and whole trees
 */
#include "twins.h"

#include <dirent.h>
#include <stdarg.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

/* ---- attributes around a call --------------------------------------------------- */

static struct watched {
	bool active, there;
	int fd, dir;
	char path[PATH_SIZE];
	struct stat before;
} watched;

static int look(struct stat *st)
{
	return watched.fd >= 0 ? fstat(watched.fd, st) : fstatat(watched.dir, watched.path, st, AT_SYMLINK_NOFOLLOW);
}

static int order(const struct timespec *a, const struct timespec *b)
{
	if (a->tv_sec != b->tv_sec)
		return a->tv_sec < b->tv_sec ? -1 : 1;
	return a->tv_nsec < b->tv_nsec ? -1 : a->tv_nsec > b->tv_nsec;
}

static void say_after(struct call *c)
{
	struct stat st;

	watched.active = false;
	if (look(&st)) {
		say(c, " | none");
		return;
	}
	say(c, " | %o %u:%u nlink %u", st.st_mode, st.st_uid, st.st_gid, S_ISDIR(st.st_mode) ? 0 : (unsigned)st.st_nlink);
	if (S_ISREG(st.st_mode))
		say(c, " size %lld", (long long)st.st_size);
	if (c->no_times || c->a->coarse || !watched.there || st.st_ino != watched.before.st_ino)
		return;
	say(c, " mtime%+d ctime%+d", order(&st.st_mtim, &watched.before.st_mtim), order(&st.st_ctim, &watched.before.st_ctim));
}

void watch_fd(struct call *c, int fd)
{
	if (fd < 0) {
		if (watched.active)
			say_after(c);
		return;
	}
	watched.active = true;
	watched.fd = fd;
	watched.there = !look(&watched.before);
}

void watch_path(struct call *c, int dir, const char *path)
{
	if (!chance(c, 60))
		return;
	watched.active = true;
	watched.fd = -1;
	watched.dir = dir;
	snprintf(watched.path, sizeof(watched.path), "%s", path);
	watched.there = !look(&watched.before);
}

/* ---- trees ---------------------------------------------------------------------- */

enum { LINES = 1024, NAMES = 256, DEEP = 12 };

struct tree {
	char *line[LINES];
	unsigned lines;
	bool exact; /* the same files seen twice: numbers and times are compared as well */
	bool writeback; /* but times: they are the kernel's own; and files are synced */
	ino_t inode[LINES];
};

static void add(struct tree *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void add(struct tree *t, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (t->lines < LINES && vasprintf(&t->line[t->lines], fmt, ap) >= 0)
		t->lines++;
	va_end(ap);
}

static uint64_t hash(uint64_t h, const void *data, size_t len)
{
	const uint8_t *p = data;

	for (size_t i = 0; i < len; i++)
		h = (h ^ p[i]) * 1099511628211ULL;
	return h;
}

/* Of what is not zero only: which blocks are holes is the filesystem's affair, and files may be huge and empty. */
static uint64_t content(int fd, off_t size)
{
	static uint8_t buf[65536], zero[4096];
	uint64_t h = 1469598103934665603ULL;
	off_t at = 0, end;

	while (at < size && (at = lseek(fd, at, SEEK_DATA)) >= 0) {
		end = lseek(fd, at, SEEK_HOLE);
		if (end <= at) /* btrfs answers INT64_MIN (FUSE then EINVAL) for data written up to the last byte a file can have */
			end = size;
		at &= ~4095LL;
		while (at < end) {
			ssize_t n = pread(fd, buf, sizeof(buf), at);

			if (n <= 0)
				return hash(h, "unread", 6);
			for (ssize_t p = 0; p < n; p += 4096) {
				size_t len = n - p < 4096 ? (size_t)(n - p) : 4096;
				off_t where = at + p;

				if (memcmp(buf + p, zero, len))
					h = hash(hash(h, &where, sizeof(where)), buf + p, len);
			}
			at += n;
		}
	}
	return h;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void add_xattrs(struct tree *t, const char *shown, const char *full)
{
	static char list[65536], value[70000];
	char *name[NAMES];
	ssize_t n = llistxattr(full, list, sizeof(list));
	unsigned count = 0;

	if (n < 0)
		add(t, "%s xattrs %s", shown, strerrorname_np(errno));
	for (char *p = list; n > 0 && p < list + n && count < NAMES; p += strlen(p) + 1)
		name[count++] = p;
	qsort(name, count, sizeof(*name), by_name);
	for (unsigned i = 0; i < count; i++) {
		ssize_t len = lgetxattr(full, name[i], value, sizeof(value));

		add(t, "%s xattr %s %zd %llx", shown, name[i], len, (unsigned long long)hash(1, value, len > 0 ? (size_t)len : 0));
	}
}

static void add_file(struct tree *t, int top, const char *path, const struct stat *st)
{
	char target[PATH_SIZE] = "", full[PATH_SIZE + 64];
	struct stat now;
	unsigned first = 0;
	uint64_t sum = 0;
	ssize_t n;
	int fd;

	snprintf(full, sizeof(full), "/proc/self/fd/%d/%s", top, path);
	if (S_ISREG(st->st_mode)) {
		fd = open(full, O_RDONLY | O_CLOEXEC);
		if (fd >= 0 && t->writeback)
			(void)fsync(fd); /* what failed shows in the data */
		sum = fd < 0 ? (uint64_t)-errno : content(fd, st->st_size);
		if (fd >= 0)
			close(fd);
	} else if (S_ISLNK(st->st_mode)) {
		n = readlink(full, target, sizeof(target) - 1);
		target[n < 0 ? 0 : n] = 0;
	}
	while (first < t->lines && t->inode[first] != st->st_ino)
		first++;
	if (t->lines < LINES)
		t->inode[t->lines] = st->st_ino;
	add(t, "%s %o %u:%u nlink %u size %lld rdev %u:%u data %llx -> %s; like line %u", path, st->st_mode, st->st_uid, st->st_gid,
	    S_ISDIR(st->st_mode) && !t->exact ? 0 : (unsigned)st->st_nlink, S_ISDIR(st->st_mode) && !t->exact ? 0LL : (long long)st->st_size,
	    major(st->st_rdev), minor(st->st_rdev),
	    (unsigned long long)sum, target, first);
	/* opening wrote back what mappings had stored, which moves the times on the mount: in the kernel's FUSE they move then, not at the store */
	if (t->exact && !t->writeback && !fstatat(top, path, &now, AT_SYMLINK_NOFOLLOW))
		add(t, "%s ino %llu mtime %lld.%09ld ctime %lld.%09ld", path, (unsigned long long)now.st_ino, (long long)now.st_mtim.tv_sec,
		    now.st_mtim.tv_nsec, (long long)now.st_ctim.tv_sec, now.st_ctim.tv_nsec);
	add_xattrs(t, path, full);
}

static void add_dir(struct tree *t, int top, const char *path, unsigned depth)
{
	char full[PATH_SIZE + 64], child[PATH_SIZE], *name[NAMES];
	unsigned count = 0;
	struct dirent *e;
	struct stat st;
	DIR *d;

	snprintf(full, sizeof(full), "/proc/self/fd/%d/%s", top, path);
	d = opendir(full);
	if (!d) {
		add(t, "%s: %s", path, strerrorname_np(errno));
		return;
	}
	while ((e = readdir(d)) && count < NAMES)
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			name[count++] = strdup(e->d_name);
	closedir(d);
	qsort(name, count, sizeof(*name), by_name);
	for (unsigned n = 0; n < count; n++) {
		snprintf(child, sizeof(child), "%s/%s", path, name[n]);
		free(name[n]);
		if (fstatat(top, child, &st, AT_SYMLINK_NOFOLLOW)) {
			add(t, "%s: %s", child, strerrorname_np(errno));
			continue;
		}
		add_file(t, top, child, &st);
		if (S_ISDIR(st.st_mode) && depth < DEEP)
			add_dir(t, top, child, depth + 1);
	}
}

static void read_tree(struct tree *t, int top, bool exact, bool writeback)
{
	memset(t, 0, sizeof(*t));
	t->exact = exact;
	t->writeback = writeback;
	add_dir(t, top, ".", 0);
}

static int compare(struct tree *a, struct tree *b, const char *what, char *why, size_t why_size)
{
	int ret = 0;

	for (unsigned n = 0; n < a->lines || n < b->lines; n++) {
		const char *x = n < a->lines ? a->line[n] : "nothing", *y = n < b->lines ? b->line[n] : "nothing";

		if (strcmp(x, y)) {
			snprintf(why, why_size, "trees, mount and %s:\n  mount: %.600s\n  other: %.600s", what, x, y);
			ret = 1;
			break;
		}
	}
	for (unsigned n = 0; n < a->lines; n++)
		free(a->line[n]);
	for (unsigned n = 0; n < b->lines; n++)
		free(b->line[n]);
	return ret;
}

int tree_compare(int mount, int twin, int source, bool writeback, char *why, size_t why_size)
{
	static struct tree a, b;

	read_tree(&a, mount, false, false); /* without a sync: data that the kernel still has must be seen */
	read_tree(&b, twin, false, false);
	if (compare(&a, &b, "plain directory", why, why_size))
		return 1;
	read_tree(&a, mount, true, writeback);
	read_tree(&b, source, true, writeback);
	return compare(&a, &b, "source", why, why_size);
}
