/*
 * twins_open.c - calls that make and pass on descriptors
 */
#include "twins.h"

#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <linux/openat2.h>

struct word {
	int flag;
	unsigned percent;
};

static int pick_flags(struct call *c)
{
	static const int modes[] = { O_RDONLY, O_WRONLY, O_RDWR, O_RDWR, O_RDWR, O_ACCMODE };
	static const struct word words[] = {
		{ O_CREAT, 45 }, { O_EXCL, 8 }, { O_TRUNC, 8 }, { O_APPEND, 12 }, { O_DIRECT, 12 }, { O_NOFOLLOW, 6 }, { O_DIRECTORY, 5 },
		{ O_PATH, 6 }, { O_SYNC, 3 }, { O_DSYNC, 3 }, { O_NOATIME, 3 }, { O_CLOEXEC, 50 }, { O_ASYNC, 1 }, { __O_TMPFILE, 3 },
		{ O_NONBLOCK, 10 },
	};
	uint64_t mode = pick(c, chance(c, 3) ? 6 : 5), kind = pick(c, 100);
	int flags = modes[mode];

	if (kind < 6)
		return flags | O_TMPFILE;
	if (kind < 14)
		return O_RDONLY | O_DIRECTORY | O_CLOEXEC;
	if (kind == 99)
		return (int)(pick(c, 1ULL << 31) & ~0ULL);
	for (unsigned n = 0; n < sizeof(words) / sizeof(*words); n++)
		if (chance(c, words[n].percent))
			flags |= words[n].flag;
	return flags;
}

static mode_t pick_mode(struct call *c)
{
	static const mode_t modes[] = { 0644, 0666, 0666, 0600, 0777, 0777, 0666, 0, 0444, 02777, 04777, 01777, 06777, 02666, 07777 };

	return modes[pick(c, sizeof(modes) / sizeof(*modes))];
}

/* An open of a fifo waits for the other end. */
static int without_wait(int dir, const char *path, int flags)
{
	return is_kind(dir, path, S_IFIFO) ? flags | O_NONBLOCK : flags;
}

/* A result of an open into a slot: what the descriptor is, in words that do not depend on its number. */
static void opened(struct call *c, unsigned slot, int fd)
{
	struct stat st;

	say_result(c, fd < 0 ? -1 : 0);
	if (fd >= 0 && is_kind(fd, NULL, S_IFIFO))
		(void)fcntl(fd, F_SETFL, O_NONBLOCK); /* not for O_PATH, which does not read */
	if (fd >= 0 && !fstat(fd, &st))
		say(c, " mode %o size %lld fl %#x", st.st_mode, S_ISREG(st.st_mode) ? (long long)st.st_size : 0,
		    fcntl(fd, F_GETFL));
	slot_put(c, slot, fd);
}

static void make_open(struct call *c)
{
	unsigned slot = (unsigned)pick(c, SLOTS);
	char path[PATH_SIZE];
	int dir = pick_dir(c), flags, fd;
	mode_t mode;

	pick_path(c, path);
	flags = without_wait(dir, path, pick_flags(c));
	mode = pick_mode(c);
	say(c, " %#o mode %o ->%u", flags, mode, slot);
	watch_path(c, dir, path);
	fd = openat(dir, path, flags, mode);
	opened(c, slot, fd);
}

static void make_openat2(struct call *c)
{
	unsigned slot = (unsigned)pick(c, SLOTS);
	char path[PATH_SIZE];
	struct open_how how = { 0 };
	int dir = pick_dir(c), fd;

	pick_path(c, path);
	how.flags = (unsigned)without_wait(dir, path, pick_flags(c));
	if (how.flags & (O_CREAT | __O_TMPFILE) || chance(c, 5))
		how.mode = pick_mode(c);
	how.resolve = chance(c, 50) ? 1ULL << pick(c, 6) : chance(c, 20) ? pick(c, 64) : 0;
	say(c, " %#llo mode %llo resolve %llx ->%u", (unsigned long long)how.flags, (unsigned long long)how.mode, (unsigned long long)how.resolve,
	    slot);
	if (how.resolve & 0x20) /* RESOLVE_CACHED: EAGAIN where something is not in the kernel's cache, which differs */
		return;
	fd = (int)syscall(SYS_openat2, dir, path, &how, sizeof(how));
	opened(c, slot, fd);
}

/* The same file once more, by /proc/self/fd: other modes, truncation, also of nameless and of O_PATH descriptors. */
static void make_reopen(struct call *c)
{
	unsigned from = pick_slot(c), slot = (unsigned)pick(c, SLOTS);
	char path[64];
	int fd = slot_fd(c, from), flags = pick_flags(c);

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	flags &= ~O_NOFOLLOW;
	if (fd < 0)
		return;
	if (is_kind(fd, NULL, S_IFIFO))
		flags |= O_NONBLOCK;
	say(c, " %u %#o ->%u", from, flags, slot);
	opened(c, slot, open(path, flags, 0644));
}

static void make_close(struct call *c)
{
	unsigned slot = pick_slot(c);
	int fd = slot_fd(c, slot), ret;

	say(c, " %u", slot);
	if (chance(c, 50))
		watch_fd(c, fd);
	ret = fd < 0 ? 0 : close(fd);
	say_result(c, ret);
	c->a->slot[slot][c->side] = -1;
}

static void make_dup(struct call *c)
{
	unsigned from = pick_slot(c), to = (unsigned)pick(c, SLOTS);
	int fd = dup(slot_fd(c, from));

	say(c, " %u %u", from, to);
	say_result(c, fd < 0 ? -1 : 0);
	slot_put(c, to, fd);
}

/* A message of one byte and both sides' descriptors. It points into itself. */
struct parcel {
	char byte;
	struct iovec iov;
	struct msghdr msg;
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(SIDES * sizeof(int))];
	} control;
};

static void wrap(struct parcel *p)
{
	*p = (struct parcel){ .byte = 'g', .iov = { &p->byte, 1 } };
	p->msg = (struct msghdr){ .msg_iov = &p->iov, .msg_iovlen = 1, .msg_control = &p->control, .msg_controllen = sizeof(p->control) };
}

/* Both sides' descriptors of a slot in one message, put into the mailbox once both sides have come by. */
static void make_give(struct call *c)
{
	unsigned slot = pick_slot(c);
	const int *fds = c->a->slot[slot];
	struct parcel p;

	if (c->side != SIDES - 1 || fds[0] < 0 || fds[1] < 0)
		return;
	wrap(&p);
	p.control.head = (struct cmsghdr){ .cmsg_len = CMSG_LEN(2 * sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
	memcpy(CMSG_DATA(&p.control.head), fds, 2 * sizeof(int));
	(void)sendmsg(c->a->mailbox[0], &p.msg, MSG_DONTWAIT); /* a full mailbox is the same for both sides */
}

static void make_take(struct call *c)
{
	unsigned slot = (unsigned)pick(c, SLOTS);
	static int fds[SIDES];
	struct parcel p;

	if (c->side == 0) {
		fds[0] = fds[1] = -1;
		wrap(&p);
		if (recvmsg(c->a->mailbox[1], &p.msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) == 1 && p.control.head.cmsg_type == SCM_RIGHTS)
			memcpy(fds, CMSG_DATA(&p.control.head), sizeof(fds));
	}
	if (fds[0] >= 0 && fds[1] >= 0)
		slot_put(c, slot, fds[c->side]);
}

static void make_handle(struct call *c)
{
	unsigned slot = (unsigned)pick(c, SLOTS);
	struct {
		struct file_handle head;
		unsigned char room[128];
	} h = { 0 };
	char path[PATH_SIZE];
	int dir = pick_dir(c), id, how, flags, ret, fd;

	pick_path(c, path);
	how = chance(c, 30) ? AT_SYMLINK_FOLLOW : chance(c, 20) ? AT_EMPTY_PATH : 0;
	flags = without_wait(dir, path, pick_flags(c));
	flags &= ~(O_CREAT | O_EXCL | __O_TMPFILE | O_ASYNC); /* those are not looked at by this call in the same way */
	h.head.handle_bytes = 128;
	say(c, " %#x %#o ->%u", how, flags, slot);
	ret = name_to_handle_at(dir, path, &h.head, &id, how);
	say_result(c, ret);
	if (ret)
		return;
	fd = open_by_handle_at(c->a->top[c->side], &h.head, flags);
	if (fd < 0 && errno == ENXIO) /* a device or socket */
		say(c, " odd");
	opened(c, slot, fd);
}

/* A process whose root directory is the tree's opens an absolute path. */
static void make_chroot(struct call *c)
{
	char path[PATH_SIZE + 1] = "/";
	int flags, fd, status = 0;
	pid_t pid;

	pick_path(c, path + 1);
	flags = pick_flags(c) | O_NONBLOCK;
	say(c, " %#o", flags);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		if (fchdir(c->a->top[c->side]) || chroot("."))
			_exit(errno);
		fd = open(path, flags, 0640);
		_exit(fd < 0 ? errno : 0);
	}
	if (pid > 0 && waitpid(pid, &status, 0) == pid) {
		errno = WEXITSTATUS(status);
		say_result(c, errno ? -1 : 0);
	}
}

const struct op ops_open[] = {
	{ "open", 130, make_open }, { "openat2", 12, make_openat2 }, { "reopen", 16, make_reopen },
	{ "close", 8, make_close }, { "dup", 3, make_dup }, { "give", 6, make_give }, { "take", 6, make_take },
	{ "handle", 5, make_handle }, { "chroot", 2, make_chroot }, { NULL, 0, NULL },
};
