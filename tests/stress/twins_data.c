/*
 * twins_data.c - reading and writing by descriptors
 */
#include "twins.h"

#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/xattr.h>

enum { ROOM = 1 << 17, IOVECS = 5 };

/* What the C library of Debian 12 does not name; include/uapi/linux/fs.h */
enum { NEW_NOAPPEND = 0x20, NEW_ATOMIC = 0x40, NEW_DONTCACHE = 0x80, NEW_NOSIGNAL = 0x100 };

/* Aligned memory, then a page that nobody may touch. */
static uint8_t *memory(void)
{
	static uint8_t *p;

	if (!p) {
		p = mmap(NULL, ROOM + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (p == MAP_FAILED || mprotect(p + ROOM, 4096, PROT_NONE))
			abort();
	}
	return p;
}

static bool is_direct(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags >= 0 && flags & O_DIRECT;
}

/*
 * A direct write behind the end of the file that is refused for its alignment or position (@offset -1: at the descriptor's position). The kernel's
 * FUSE then cuts the file at the size that it has (fuse_do_truncate), which moves times and ends setuid, setgid and capabilities: LIMITS.
 * And xfs, where O_APPEND is what makes the position an odd one, has allocated before it refuses, as it looks at the descriptor's own position
 * first: SEEK_DATA finds those blocks once they were read. A FUSE kernel sends the position, and is refused as pwrite(2) there is in xfs.
 */
static bool cut_again(int fd, off_t offset, size_t size, int rwf)
{
	int flags = fcntl(fd, F_GETFL);
	struct stat st;

	if (flags < 0 || !(flags & O_DIRECT) || fstat(fd, &st))
		return false;
	/* one that is refused for its alignment has ended capabilities where the kernel has pages of the file (fuse_cache_write_iter()): LIMITS */
	if (size & 511 && fgetxattr(fd, "security.capability", NULL, 0) > 0)
		return true;
	if (flags & O_APPEND || rwf & RWF_APPEND)
		offset = st.st_size;
	else if (offset == -1)
		offset = lseek(fd, 0, SEEK_CUR);
	return offset >= 0 && (((uint64_t)offset | size) & 511 || offset > 1LL << 43) && (uint64_t)offset + size > (uint64_t)st.st_size;
}

/* For direct I/O all is aligned most of the time, and the memory always: that it is checked is said in LIMITS. */
static void pick_range(struct call *c, int fd, size_t *size, off_t *offset)
{
	*size = pick_size(c);
	*offset = pick_offset(c);
	if (!is_direct(fd) || chance(c, 10))
		return;
	*size = (*size + 4095) & ~4095UL;
	if (*size > ROOM)
		*size = ROOM;
	if (*offset >= 0)
		*offset &= ~4095LL;
}

/* A file of a length that can still be read as a whole. */
static bool may_grow(int fd, off_t offset)
{
	struct stat st;

	return fstat(fd, &st) || offset > 1 << 22 || st.st_size < 1 << 22 || offset != -1;
}

/* Pipes have times of their own on FUSE (LIMITS), and a file that is copied onto itself is the kernel's affair. */
static void watch_out(struct call *c, int fd)
{
	if (!is_kind(fd, NULL, S_IFIFO))
		watch_fd(c, fd);
}

static bool same_file(int one, int other)
{
	struct stat a, b;

	return !fstat(one, &a) && !fstat(other, &b) && a.st_ino == b.st_ino;
}

bool member_write(const struct call *c, int fd)
{
	struct stat st;

	if (c->a->kernel_io)
		return fgetxattr(fd, "security.capability", NULL, 0) >= 0 || (!fstat(fd, &st) && st.st_mode & (S_ISUID | S_ISGID));
	return c->a->role == ROLE_MEMBER && !fstat(fd, &st) && st.st_mode & S_ISGID && !(st.st_mode & S_IXGRP) && st.st_gid == 1001;
}

static void make_read(struct call *c)
{
	unsigned slot = pick_slot(c);
	int fd = slot_fd(c, slot);
	uint8_t *buf = memory();
	size_t size;
	off_t offset;
	ssize_t n;

	pick_range(c, fd, &size, &offset);
	if (is_kind(fd, NULL, S_IFDIR))
		return; /* EISDIR, or EINVAL for a position that the filesystem has chosen */
	memset(buf, 0xee, size);
	if (chance(c, 50)) {
		say(c, " %u %zu", slot, size);
		n = read(fd, buf, size);
	} else {
		say(c, " %u %zu @%lld", slot, size, (long long)offset);
		n = pread(fd, buf, size, offset);
	}
	say_result(c, n);
	say_data(c, buf, n > 0 ? (size_t)n : 0);
}

/* A write that failed for its memory or alignment has changed times already on some filesystems: LIMITS. */
static void no_times(struct call *c, ssize_t ret)
{
	c->no_times = ret < 0 && (errno == EFAULT || errno == EINVAL);
}

static void make_write(struct call *c)
{
	unsigned slot = pick_slot(c);
	int fd = slot_fd(c, slot);
	uint8_t *buf = memory();
	uint64_t tag = pick(c, 1000);
	size_t size;
	off_t offset;
	ssize_t n;

	pick_range(c, fd, &size, &offset);
	stress_fill(buf, tag, 0, size);
	if (member_write(c, fd))
		return;
	if (chance(c, 40)) {
		say(c, " %u %zu", slot, size);
		if (cut_again(fd, -1, size, 0))
			return;
		watch_out(c, fd);
		n = may_grow(fd, -1) ? write(fd, buf, size) : 0;
	} else {
		say(c, " %u %zu @%lld", slot, size, (long long)offset);
		if (cut_again(fd, offset, size, 0))
			return;
		watch_out(c, fd);
		n = pwrite(fd, buf, size, offset);
	}
	no_times(c, n);
	say_result(c, n);
}

/* Pieces of the memory, some empty; seldom one that nobody may touch, too many, or a length beyond all bounds. */
static int pick_iovecs(struct call *c, struct iovec *iov, bool direct)
{
	uint8_t *p = memory();
	int count = (int)pick(c, IOVECS + 1);
	uint64_t odd = pick(c, 100), which = pick(c, IOVECS);

	for (int n = 0; n < count; n++) {
		size_t len = pick(c, 3) ? pick(c, 9000) : 0;

		if (direct)
			len = (len + 4095) & ~4095UL;
		iov[n] = (struct iovec){ p, len };
		p += (len + 4095) & ~4095UL;
		say(c, " %zu", len);
	}
	if (direct || (int)which >= count)
		return count;
	if (odd < 4) {
		say(c, " %d:bad", (int)which);
		iov[which] = (struct iovec){ memory() + ROOM, 4096 };
	} else if (odd == 5) {
		say(c, " %d:huge", (int)which);
		iov[which].iov_len = (size_t)-1;
	} else if (odd == 6) {
		say(c, " %d:null", (int)which);
		iov[which].iov_base = NULL;
	}
	return odd == 7 ? -1 : count;
}

/* How much of a write is done whose memory can be read in part only is each filesystem's own affair: LIMITS. */
static bool bad_memory(const struct iovec *iov, int count)
{
	for (int n = 0; n < count; n++)
		if (!iov[n].iov_base || iov[n].iov_base == memory() + ROOM)
			return true;
	return false;
}

static size_t bytes(const struct iovec *iov, int count)
{
	size_t sum = 0;

	for (int n = 0; n < count; n++)
		sum += iov[n].iov_len;
	return sum;
}

static int pick_rwf(struct call *c)
{
	static const int flags[] = { 0, 0, RWF_HIPRI, RWF_DSYNC, RWF_SYNC, RWF_NOWAIT, RWF_APPEND, NEW_NOAPPEND, NEW_ATOMIC, NEW_DONTCACHE, NEW_NOSIGNAL,
				     0x10000, RWF_APPEND | NEW_NOAPPEND };
	int f = flags[pick(c, sizeof(flags) / sizeof(*flags))];

	if (chance(c, 10))
		f |= flags[pick(c, sizeof(flags) / sizeof(*flags))];
	say(c, " rwf %#x", f);
	return f;
}

static void make_readv(struct call *c)
{
	unsigned slot = pick_slot(c);
	int fd = slot_fd(c, slot), flags = pick_rwf(c), count;
	struct iovec iov[IOVECS];
	off_t offset = chance(c, 20) ? -1 : pick_offset(c);
	ssize_t n;

	if (is_direct(fd) && offset > 0)
		offset &= ~4095LL;
	say(c, " %u @%lld", slot, (long long)offset);
	count = pick_iovecs(c, iov, is_direct(fd));
	memset(memory(), 0xee, ROOM);
	/* what is in the page cache differs; DONTCACHE and ATOMIC are refused by the kernel's FUSE: LIMITS */
	if (flags & (RWF_NOWAIT | NEW_DONTCACHE | NEW_ATOMIC))
		return;
	/* a file that the kernel cannot read by itself is read past its cache with io=kernel, and memory is looked at before the size */
	if (c->a->kernel_io && bad_memory(iov, count))
		return;
	n = preadv2(fd, iov, count, offset, flags);
	say_result(c, n);
	if (n >= 0 && !is_direct(fd)) /* with it some filesystems clear what lies behind the end of the file */
		say_data(c, memory(), ROOM);
}

static void make_writev(struct call *c)
{
	unsigned slot = pick_slot(c);
	int fd = slot_fd(c, slot), flags = pick_rwf(c), count, open_flags = fcntl(fd, F_GETFL);
	struct iovec iov[IOVECS];
	uint64_t tag = pick(c, 1000);
	off_t offset = chance(c, 20) ? -1 : pick_offset(c);
	ssize_t n;

	if (is_direct(fd) && offset > 0)
		offset &= ~4095LL;
	say(c, " %u @%lld", slot, (long long)offset);
	count = pick_iovecs(c, iov, is_direct(fd));
	stress_fill(memory(), tag, 0, ROOM);
	/* RWF_NOAPPEND on an O_APPEND descriptor is not told to a daemon: LIMITS */
	if (flags & (RWF_NOWAIT | NEW_DONTCACHE | NEW_ATOMIC) || (flags & NEW_NOAPPEND && open_flags >= 0 && open_flags & O_APPEND) ||
	    !may_grow(fd, offset) || member_write(c, fd) || bad_memory(iov, count) || cut_again(fd, offset, bytes(iov, count), flags))
		return;
	watch_out(c, fd);
	n = pwritev2(fd, iov, count, offset, flags);
	no_times(c, n);
	say_result(c, n);
}

static void make_lseek(struct call *c)
{
	unsigned slot = pick_slot(c);
	int whence = (int)pick(c, 6), fd = slot_fd(c, slot);
	off_t offset = pick_offset(c);

	/* A hole that was mapped is data in memory, and which blocks write-back allocates is its affair. */
	/* The largest position of a file (also for sendfile), and SEEK_END and SEEK_DATA of a directory, are FUSE's own: LIMITS */
	if (offset > 1LL << 41 || is_kind(fd, NULL, S_IFDIR) || (whence >= SEEK_DATA && (c->a->in_memory || c->a->writeback)))
		return;
	say(c, " %u %lld %d", slot, (long long)offset, whence);
	say_result(c, lseek(fd, offset, whence));
}

static void make_copy(struct call *c)
{
	unsigned in = pick_slot(c), out = pick_slot(c);
	off_t from = pick_offset(c), to = pick_offset(c);
	size_t size = pick_size(c);
	bool own_from = chance(c, 20), own_to = chance(c, 20);
	unsigned flags = chance(c, 3);
	ssize_t n;

	say(c, " %u@%lld %u@%lld %zu flags %u own %d %d", in, (long long)from, out, (long long)to, size, flags, own_from, own_to);
	/* a copy is not held to the alignment of O_DIRECT, and the largest position is FUSE's: LIMITS */
	if (from > 1LL << 41 || to > 1LL << 41 || is_direct(slot_fd(c, in)) || is_direct(slot_fd(c, out)) ||
	    !may_grow(slot_fd(c, out), own_to ? -1 : 0) || member_write(c, slot_fd(c, out)))
		return;
	watch_out(c, slot_fd(c, out));
	n = copy_file_range(slot_fd(c, in), own_from ? NULL : &from, slot_fd(c, out), own_to ? NULL : &to, size, flags);
	say_result(c, n);
	say(c, " %lld %lld", (long long)from, (long long)to);
}

static void make_sendfile(struct call *c)
{
	unsigned in = pick_slot(c), out = pick_slot(c);
	off_t from = pick_offset(c);
	size_t size = pick_size(c);
	bool own = chance(c, 30);

	say(c, " %u@%lld %u %zu", in, own ? -1 : (long long)from, out, size);
	/* and where a directory's position stands after a failed call is FUSE's: LIMITS */
	if (from > 1LL << 41 || lseek(slot_fd(c, in), 0, SEEK_CUR) > 1LL << 41 || is_kind(slot_fd(c, in), NULL, S_IFDIR) ||
	    !may_grow(slot_fd(c, out), -1) || is_kind(slot_fd(c, in), NULL, S_IFIFO) ||
	    same_file(slot_fd(c, in), slot_fd(c, out)) || member_write(c, slot_fd(c, out)) || cut_again(slot_fd(c, out), -1, size, 0))
		return;
	watch_out(c, slot_fd(c, out));
	say_result(c, sendfile(slot_fd(c, out), slot_fd(c, in), own ? NULL : &from, size));
}

/* Through a pipe: from one file into another. */
static void make_splice(struct call *c)
{
	unsigned in = pick_slot(c), out = pick_slot(c);
	loff_t from = pick_offset(c), to = pick_offset(c);
	size_t size = pick_size(c);
	int ends[2];
	ssize_t n;

	say(c, " %u@%lld %u@%lld %zu", in, (long long)from, out, (long long)to, size);
	if (from > 1LL << 41 || is_direct(slot_fd(c, in)) || is_direct(slot_fd(c, out)) || same_file(slot_fd(c, in), slot_fd(c, out)) ||
	    member_write(c, slot_fd(c, out)) || pipe2(ends, O_CLOEXEC))
		return;
	n = splice(slot_fd(c, in), &from, ends[1], NULL, size, SPLICE_F_NONBLOCK);
	say_result(c, n);
	watch_out(c, slot_fd(c, out));
	if (n > 0) {
		n = splice(ends[0], NULL, slot_fd(c, out), &to, (size_t)n, SPLICE_F_NONBLOCK);
		say_result(c, n);
	}
	close(ends[0]);
	close(ends[1]);
}

static void make_setfl(struct call *c)
{
	static const int flags[] = { O_APPEND, O_DIRECT, O_NONBLOCK, O_NOATIME, O_ASYNC };
	unsigned slot = pick_slot(c);
	int fd = slot_fd(c, slot), old = fcntl(fd, F_GETFL), change = flags[pick(c, 5)];
	int cmd = chance(c, 50) ? old | change : old & ~change;

	say(c, " %u %#x", slot, change);
	if (change == O_DIRECT)
		cmd &= ~O_DIRECT; /* one that comes after open(2) is a buffered one for the daemon: LIMITS */
	/* a fifo would wait; with io=kernel O_DIRECT stays what it was at open(2): LIMITS */
	if (old < 0 || is_kind(fd, NULL, S_IFIFO) || (c->a->kernel_io && change == O_DIRECT))
		return;
	say_result(c, fcntl(fd, F_SETFL, cmd));
	say(c, " %#x", fcntl(fd, F_GETFL));
}

static void make_sync(struct call *c)
{
	unsigned slot = pick_slot(c);
	int fd = slot_fd(c, slot), ret = 0, kind = (int)pick(c, 5);
	off_t from = pick_offset(c), len = pick_offset(c);
	unsigned flags = (unsigned)pick(c, 9);

	say(c, " %u kind %d %lld+%lld", slot, kind, (long long)from, (long long)len);
	switch (kind) {
	case 0: ret = fsync(fd); break;
	case 1: ret = fdatasync(fd); break;
	case 2: ret = sync_file_range(fd, from, len, flags); break;
	case 3: ret = posix_fadvise(fd, from, len, (int)flags); errno = ret; ret = -!!ret; break;
	default: ret = (int)readahead(fd, from, (size_t)len & 0xfffff); break;
	}
	say_result(c, ret);
}

static void make_fionread(struct call *c)
{
	unsigned slot = pick_slot(c);
	int n = -1, ret = ioctl(slot_fd(c, slot), FIONREAD, &n);

	say(c, " %u", slot);
	say_result(c, ret);
	say(c, " %d", n);
}

const struct op ops_data[] = {
	{ "read", 40, make_read }, { "write", 60, make_write }, { "readv", 20, make_readv }, { "writev", 25, make_writev },
	{ "lseek", 14, make_lseek }, { "copy_file_range", 14, make_copy }, { "sendfile", 5, make_sendfile },
	{ "splice", 5, make_splice }, { "setfl", 6, make_setfl }, { "sync", 8, make_sync }, { "fionread", 1, make_fionread },
	{ NULL, 0, NULL },
};
