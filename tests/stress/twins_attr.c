/*
 * twins_attr.c - attributes: changed, asked for, permitted
 */
#include "twins.h"

#include <sys/ioctl.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <linux/fs.h>

enum { SYS_NEW_FCHMODAT2 = 452 };

static mode_t pick_bits(struct call *c)
{
	static const mode_t modes[] = { 0644, 0755, 0600, 0666, 0666, 0777, 0777, 0777, 0777, 0, 02777, 04777, 02755, 04755, 06755, 01777, 02644, 07777,
					0170644, 0444, 02775, 02770 };

	return modes[pick(c, sizeof(modes) / sizeof(*modes))];
}

static void make_chmod(struct call *c)
{
	char path[PATH_SIZE];
	int dir = pick_dir(c), flags = chance(c, 10) ? AT_SYMLINK_NOFOLLOW : chance(c, 5) ? AT_EMPTY_PATH : 0;
	mode_t mode = pick_bits(c);

	pick_path(c, path);
	say(c, " %o %#x", mode, flags);
	watch_path(c, dir, path);
	say_result(c, flags ? syscall(SYS_NEW_FCHMODAT2, dir, path, mode, flags) : fchmodat(dir, path, mode, 0));
}

static void make_fchmod(struct call *c)
{
	unsigned slot = pick_slot(c);
	mode_t mode = pick_bits(c);

	say(c, " %u %o", slot, mode);
	watch_fd(c, slot_fd(c, slot));
	say_result(c, fchmod(slot_fd(c, slot), mode));
}

static uid_t pick_id(struct call *c)
{
	static const uid_t ids[] = { 0, 1001, 1002, (uid_t)-1, (uid_t)-1, 65534, (uid_t)-2, 1003 };

	return ids[pick(c, sizeof(ids) / sizeof(*ids))];
}

static void make_chown(struct call *c)
{
	char path[PATH_SIZE];
	int dir = pick_dir(c), flags = chance(c, 20) ? AT_SYMLINK_NOFOLLOW : chance(c, 10) ? AT_EMPTY_PATH : 0;
	uid_t uid = pick_id(c);
	gid_t gid = pick_id(c);

	pick_path(c, path);
	say(c, " %d:%d %#x", (int)uid, (int)gid, flags);
	if (uid == (uid_t)-1 && gid == (gid_t)-1) /* the same message as for a write by root: LIMITS */
		return;
	watch_path(c, dir, path);
	say_result(c, fchownat(dir, path, uid, gid, flags));
}

static void make_fchown(struct call *c)
{
	unsigned slot = pick_slot(c);
	uid_t uid = pick_id(c);
	gid_t gid = pick_id(c);

	say(c, " %u %d:%d", slot, (int)uid, (int)gid);
	if (uid == (uid_t)-1 && gid == (gid_t)-1)
		return;
	watch_fd(c, slot_fd(c, slot));
	say_result(c, fchown(slot_fd(c, slot), uid, gid));
}

static struct timespec pick_time(struct call *c)
{
	static const int64_t seconds[] = { 0, 1, -1, 1000000000, INT32_MAX, 1LL << 31, 1LL << 32, -(1LL << 31), -(1LL << 31) - 1, 1LL << 34,
					   (1LL << 34) - (1LL << 31) - 1, 1LL << 40, INT64_MAX, INT64_MIN };
	static const long nanoseconds[] = { 0, 1, 999999999, 123456789, UTIME_NOW, UTIME_OMIT, UTIME_OMIT, 1000000000, -1 };
	struct timespec ts;

	ts.tv_sec = seconds[pick(c, sizeof(seconds) / sizeof(*seconds))];
	ts.tv_nsec = nanoseconds[pick(c, sizeof(nanoseconds) / sizeof(*nanoseconds))];
	say(c, " %lld.%ld", (long long)ts.tv_sec, ts.tv_nsec);
	return ts;
}

/* Times that were set are said, those of now are not. */
static void say_times(struct call *c, const struct stat *st, bool read_time)
{
	time_t now = time(NULL);

	if (read_time && (st->st_atim.tv_sec < now - 100000 || st->st_atim.tv_sec > now + 100000))
		say(c, " a %lld.%ld", (long long)st->st_atim.tv_sec, st->st_atim.tv_nsec);
	if (c->a->writeback) /* the kernel keeps what it was given, the filesystem what it has room for */
		return;
	if (st->st_mtim.tv_sec < now - 100000 || st->st_mtim.tv_sec > now + 100000)
		say(c, " m %lld.%ld", (long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec);
}

static void make_utimens(struct call *c)
{
	char path[PATH_SIZE];
	unsigned slot = pick_slot(c);
	int dir = pick_dir(c), flags = chance(c, 20) ? AT_SYMLINK_NOFOLLOW : chance(c, 5) ? AT_EMPTY_PATH : 0;
	struct timespec ts[2];
	bool now = chance(c, 10), open = chance(c, 40);
	struct stat st;
	int ret, err;

	pick_path(c, path);
	ts[0] = pick_time(c);
	ts[1] = pick_time(c);
	say(c, " %#x now %d open %d %u", flags, now, open, slot);
	if (open) {
		watch_fd(c, slot_fd(c, slot));
		ret = futimens(slot_fd(c, slot), now ? NULL : ts);
		say_result(c, ret);
		err = fstat(slot_fd(c, slot), &st);
	} else {
		watch_path(c, dir, path);
		ret = utimensat(dir, path, now ? NULL : ts, flags);
		say_result(c, ret);
		err = fstatat(dir, path, &st, flags & AT_SYMLINK_NOFOLLOW);
	}
	/* reading moves an access time that was not just set, but not what the mount's cache answers; writing to a fifo moves no times: LIMITS */
	if (!err && S_ISFIFO(st.st_mode))
		c->no_times = true;
	else if (!err)
		say_times(c, &st, !ret && ts[0].tv_nsec != UTIME_OMIT);
}

static void make_access(struct call *c)
{
	static const int flags[] = { 0, AT_EACCESS, AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH, AT_EACCESS | AT_EMPTY_PATH, 0x8000 };
	char path[PATH_SIZE];
	int dir = pick_dir(c), mode = (int)pick(c, chance(c, 5) ? 16 : 8), f = flags[pick(c, sizeof(flags) / sizeof(*flags))];

	pick_path(c, path);
	say(c, " %d %#x", mode, f);
	say_result(c, syscall(SYS_faccessat2, dir, path, mode, f));
}

static void make_statx(struct call *c)
{
	static const int flags[] = { 0, AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH, AT_NO_AUTOMOUNT, AT_STATX_FORCE_SYNC, AT_STATX_DONT_SYNC, AT_STATX_SYNC_TYPE, 0x8000 };
	static const unsigned masks[] = { STATX_BASIC_STATS, STATX_ALL, STATX_SIZE, STATX_MODE, 0, STATX_BTIME, STATX__RESERVED };
	char path[PATH_SIZE];
	int dir = pick_dir(c), f = flags[pick(c, sizeof(flags) / sizeof(*flags))];
	unsigned mask = masks[pick(c, sizeof(masks) / sizeof(*masks))];
	struct statx x = { 0 };
	int ret;

	pick_path(c, path);
	say(c, " %#x mask %#x", f, mask);
	ret = statx(dir, path, f, mask, &x);
	say_result(c, ret);
	if (!ret && f != AT_STATX_DONT_SYNC)
		say(c, " %o %u:%u size %llu dev %u:%u blk %u", x.stx_mode, x.stx_uid, x.stx_gid, S_ISDIR(x.stx_mode) ? 0ULL : (unsigned long long)x.stx_size,
		    x.stx_rdev_major, x.stx_rdev_minor, x.stx_blksize);
}

static void make_statfs(struct call *c)
{
	struct statfs s;
	unsigned slot = pick_slot(c);
	int ret = fstatfs(slot_fd(c, slot), &s);

	say(c, " %u", slot);
	say_result(c, ret);
	if (!ret)
		say(c, " namelen %ld bsize %ld", (long)s.f_namelen, (long)s.f_bsize);
}

/* The kernel's FUSE has flags for files and directories only: LIMITS. */
static int regular(int fd)
{
	return is_kind(fd, NULL, S_IFREG) || is_kind(fd, NULL, S_IFDIR) ? fd : -1;
}

static void make_flags(struct call *c)
{
	static const int bits[] = { FS_NODUMP_FL, FS_NOATIME_FL, FS_SYNC_FL, FS_DIRSYNC_FL, FS_APPEND_FL, FS_IMMUTABLE_FL, FS_NOCOW_FL, FS_TOPDIR_FL, FS_PROJINHERIT_FL };
	unsigned slot = pick_slot(c);
	int fd = regular(slot_fd(c, slot)), bit = bits[pick(c, sizeof(bits) / sizeof(*bits))], v = 0, ret;
	bool set = chance(c, 40), keep = chance(c, 3);

	ret = ioctl(fd, FS_IOC_GETFLAGS, &v);
	say(c, " %u %#x", slot, bit);
	say_result(c, ret);
	if (ret)
		return;
	say(c, " %#x", v);
	if (!set)
		return;
	v ^= bit;
	/* access(2), mappings and ctime after these are in LIMITS: they go again at once, mostly */
	say_result(c, ioctl(fd, FS_IOC_SETFLAGS, &v));
	if (bit & (FS_APPEND_FL | FS_IMMUTABLE_FL) && !keep) {
		v &= ~(FS_APPEND_FL | FS_IMMUTABLE_FL);
		say_result(c, ioctl(fd, FS_IOC_SETFLAGS, &v));
	}
}

static void make_fsx(struct call *c)
{
	static const unsigned bits[] = { FS_XFLAG_NODUMP, FS_XFLAG_NOATIME, FS_XFLAG_SYNC, FS_XFLAG_EXTSIZE, FS_XFLAG_PROJINHERIT, FS_XFLAG_NODEFRAG, FS_XFLAG_DAX, 1U << 30 };
	unsigned slot = pick_slot(c), bit = bits[pick(c, sizeof(bits) / sizeof(*bits))];
	bool set = chance(c, 40), project = chance(c, 20);
	struct fsxattr x;
	struct stat st;
	int fd = regular(slot_fd(c, slot)), ret = ioctl(fd, FS_IOC_FSGETXATTR, &x);

	say(c, " %u %#x", slot, bit);
	say_result(c, ret);
	if (ret)
		return;
	say(c, " %#x project %u", x.fsx_xflags & ~0x80000000U, x.fsx_projid);
	/* setuid ends for who has no CAP_FSETID, and one that counts in a user namespace only is not seen by a daemon: LIMITS */
	if (!set || (c->a->role == ROLE_NAMESPACE && !fstat(fd, &st) && st.st_mode & (S_ISUID | S_ISGID)))
		return;
	x.fsx_xflags ^= bit;
	if (project)
		x.fsx_projid = (uint32_t)pick(c, 3);
	say_result(c, ioctl(fd, FS_IOC_FSSETXATTR, &x));
}

const struct op ops_attr[] = {
	{ "chmod", 18, make_chmod }, { "fchmod", 8, make_fchmod }, { "chown", 14, make_chown }, { "fchown", 6, make_fchown },
	{ "utimens", 14, make_utimens }, { "access", 8, make_access }, { "statx", 10, make_statx }, { "statfs", 1, make_statfs },
	{ "flags", 5, make_flags }, { "fsxattr", 4, make_fsx }, { NULL, 0, NULL },
};
