/*
 * twins_names.c - names: made, moved, linked, removed, listed
 */
#include "twins.h"

#include <dirent.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

static mode_t any_mode(struct call *c)
{
	static const mode_t modes[] = { 0755, 0777, 0777, 0777, 0777, 0700, 02777, 02777, 01777, 0, 0555, 03777, 07777, 0666 };

	return modes[pick(c, sizeof(modes) / sizeof(*modes))];
}

static void make_mkdir(struct call *c)
{
	char path[PATH_SIZE];
	int dir = pick_dir(c);
	mode_t mode = any_mode(c);

	pick_path(c, path);
	if (chance(c, 60)) {
		snprintf(path, PATH_SIZE, "%s", chance(c, 50) ? "d" : chance(c, 50) ? "e" : "d/e");
		say(c, " no: \"%s\"", path);
	}
	say(c, " %o", mode);
	say_result(c, mkdirat(dir, path, mode));
}

static void make_mknod(struct call *c)
{
	static const mode_t types[] = { S_IFREG, S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK, S_IFDIR, 0, S_IFLNK, 0x3000 };
	char path[PATH_SIZE];
	int dir = pick_dir(c);
	mode_t mode = types[pick(c, sizeof(types) / sizeof(*types))] | any_mode(c);
	/* null, full, a whiteout, none */
	unsigned dev = (unsigned)pick(c, 4);
	dev_t number = dev == 0 ? makedev(1, 3) : dev == 1 ? makedev(1, 7) : dev == 2 ? 0 : makedev(4000, 70000);

	pick_path(c, path);
	say(c, " %o dev %u", mode, dev);
	say_result(c, mknodat(dir, path, mode, number));
}

static void make_symlink(struct call *c)
{
	char path[PATH_SIZE], target[PATH_SIZE];
	int dir = pick_dir(c);

	pick_path(c, target);
	pick_path(c, path);
	if (chance(c, 60)) {
		snprintf(path, PATH_SIZE, "s");
		say(c, " no: s");
	}
	say_result(c, symlinkat(target, dir, path));
}

static void make_readlink(struct call *c)
{
	char path[PATH_SIZE], target[PATH_SIZE];
	int dir = pick_dir(c);
	size_t size = chance(c, 80) ? PATH_SIZE : pick(c, 3);
	ssize_t n;

	pick_path(c, path);
	say(c, " %zu", size);
	n = readlinkat(dir, path, target, size);
	say_result(c, n);
	if (n > 0)
		say_data(c, target, (size_t)n);
}

static void make_unlink(struct call *c)
{
	char path[PATH_SIZE];
	int dir = pick_dir(c), flags = chance(c, 30) ? AT_REMOVEDIR : chance(c, 2) ? 0x1234 : 0;

	pick_path(c, path);
	say(c, " %#x", flags);
	say_result(c, unlinkat(dir, path, flags));
}

static void make_rename(struct call *c)
{
	static const unsigned flags[] = { 0, 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT, RENAME_WHITEOUT | RENAME_NOREPLACE,
					  RENAME_EXCHANGE | RENAME_NOREPLACE, RENAME_EXCHANGE | RENAME_WHITEOUT, 8 };
	char from[PATH_SIZE], to[PATH_SIZE];
	int dir = pick_dir(c), other = pick_dir(c);
	unsigned f = flags[pick(c, sizeof(flags) / sizeof(*flags))];

	pick_path(c, from);
	pick_path(c, to);
	say(c, " %#x", f);
	watch_path(c, dir, from);
	say_result(c, renameat2(dir, from, other, to, f));
}

static void make_link(struct call *c)
{
	char from[PATH_SIZE], to[PATH_SIZE];
	int dir = pick_dir(c), other = pick_dir(c), flags = chance(c, 30) ? AT_SYMLINK_FOLLOW : 0;

	pick_path(c, from);
	pick_path(c, to);
	say(c, " %#x", flags);
	watch_path(c, dir, from);
	say_result(c, linkat(dir, from, other, to, flags));
}

/* An open file gets a name: by AT_EMPTY_PATH or by /proc. */
static void make_link_open(struct call *c)
{
	unsigned slot = pick_slot(c);
	char from[64] = "", to[PATH_SIZE];
	int fd = slot_fd(c, slot), dir = c->a->top[c->side], flags = AT_EMPTY_PATH;

	pick_path(c, to);
	if (chance(c, 50)) {
		snprintf(from, sizeof(from), "/proc/self/fd/%d", fd);
		flags = chance(c, 80) ? AT_SYMLINK_FOLLOW : 0;
	}
	say(c, " %u %#x", slot, flags);
	if (fd < 0)
		return;
	watch_fd(c, fd);
	say_result(c, linkat(fd, from, dir, to, flags));
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* All names and types, sorted: the order is the filesystem's affair; seeks to a position that was told before. */
static void make_list(struct call *c)
{
	char path[PATH_SIZE], *names[64];
	int dir = pick_dir(c), fd;
	unsigned count = 0;
	bool again = chance(c, 30);
	uint64_t stop = pick(c, 5);
	struct dirent *e;
	DIR *d;

	pick_path(c, path);
	fd = openat(dir, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	say_result(c, fd < 0 ? -1 : 0);
	d = fd < 0 ? NULL : fdopendir(fd);
	if (!d)
		return;
	if (again) {
		while (stop-- && readdir(d))
			;
		rewinddir(d);
	}
	while ((e = readdir(d)) && count < 64)
		if (asprintf(&names[count], "%s:%d", e->d_name, e->d_type) > 0)
			count++;
	closedir(d);
	qsort(names, count, sizeof(*names), by_name);
	for (unsigned n = 0; n < count; n++) {
		say(c, " %s", names[n]);
		free(names[n]);
	}
}

/* getdents by a descriptor that stays: what comes after an end, a change, a small buffer, odd positions. */
static void make_getdents(struct call *c)
{
	unsigned slot = pick_slot(c);
	int fd = slot_fd(c, slot);
	static const size_t sizes[] = { 0, 10, 24, 4096, 32768 };
	size_t size = sizes[pick(c, 5)];
	bool rewind = chance(c, 70);
	uint8_t *buf;
	long n;

	say(c, " %u %zu", slot, size);
	if (fd < 0)
		return;
	if (rewind && is_kind(fd, NULL, S_IFDIR))
		say_result(c, lseek(fd, 0, SEEK_SET));
	buf = stress_alloc(1, 32768);
	n = syscall(SYS_getdents64, fd, buf, size);
	if (n > 0 && size == 32768 && rewind) {
		unsigned count = 0;

		for (long at = 0; at < n; at += *(uint16_t *)(buf + at + 16))
			count++;
		say(c, " = %u names", count);
	} else if (n <= 0) {
		say_result(c, n);
	}
	free(buf);
}

static void make_bind(struct call *c)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	char path[PATH_SIZE];
	int s = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	pick_path(c, path);
	if (s < 0)
		return;
	if (strlen(path) < 20) {
		snprintf(name.sun_path, sizeof(name.sun_path), "/proc/self/fd/%d/%.20s", c->a->top[c->side], path);
		say_result(c, bind(s, (struct sockaddr *)&name, sizeof(name)));
	}
	close(s);
}

const struct op ops_names[] = {
	{ "mkdir", 18, make_mkdir }, { "mknod", 12, make_mknod }, { "symlink", 10, make_symlink }, { "readlink", 5, make_readlink },
	{ "unlink", 26, make_unlink }, { "rename", 34, make_rename }, { "link", 16, make_link }, { "link_open", 8, make_link_open },
	{ "list", 8, make_list }, { "getdents", 6, make_getdents }, { "bind", 2, make_bind }, { NULL, 0, NULL },
};
