/*
 * twins_lock.c - locks of all three kinds, leases, none of which waits
 */
#include "twins.h"

#include <sys/file.h>
#include <sys/wait.h>

static struct flock pick_lock(struct call *c, int fd)
{
	static const short types[] = { F_RDLCK, F_WRLCK, F_UNLCK };
	static const off_t starts[] = { 0, 1, 10, 100, 4096, -1, INT64_MAX, INT64_MAX - 5 };
	static const off_t lengths[] = { 0, 1, 10, 100, -5, 4096, INT64_MAX, INT64_MIN };
	struct flock l = { 0 };

	l.l_type = types[pick(c, 3)];
	l.l_whence = (short)pick(c, chance(c, 5) ? 4 : 3);
	if (l.l_whence != SEEK_SET && is_kind(fd, NULL, S_IFDIR))
		l.l_whence = SEEK_SET; /* where that is depends on how the names are stored, and on what a listing that failed has read */
	l.l_start = starts[pick(c, chance(c, 10) ? 8 : 5)];
	l.l_len = lengths[pick(c, chance(c, 20) ? 8 : 4)];
	say(c, " type %d whence %d %lld+%lld", l.l_type, l.l_whence, (long long)l.l_start, (long long)l.l_len);
	return l;
}

static void say_lock(struct call *c, const struct flock *l)
{
	if (l->l_type != F_UNLCK)
		say(c, " held %d %d %lld+%lld by %s", l->l_type, l->l_whence, (long long)l->l_start, (long long)l->l_len, l->l_pid == -1 ? "open file" : "process");
	else
		say(c, " free");
}

static void make_fcntl(struct call *c)
{
	static const int cmds[] = { F_SETLK, F_SETLK, F_GETLK, F_OFD_SETLK, F_OFD_SETLK, F_OFD_GETLK };
	unsigned slot = pick_slot(c);
	int cmd = cmds[pick(c, 6)], ret;
	struct flock l = pick_lock(c, slot_fd(c, slot));

	say(c, " %u cmd %d", slot, cmd);
	ret = fcntl(slot_fd(c, slot), cmd, &l);
	say_result(c, ret);
	if (!ret && (cmd == F_GETLK || cmd == F_OFD_GETLK))
		say_lock(c, &l);
}

static void make_flock(struct call *c)
{
	static const int kinds[] = { LOCK_SH, LOCK_EX, LOCK_UN, LOCK_UN | LOCK_SH, 32 };
	unsigned slot = pick_slot(c);
	int kind = kinds[pick(c, chance(c, 10) ? 5 : 3)];

	say(c, " %u %d", slot, kind);
	say_result(c, flock(slot_fd(c, slot), kind | LOCK_NB));
}

/* What a child may do with the locks of its parent: it has the open files, not the process's locks. */
static void make_child(struct call *c)
{
	unsigned slot = pick_slot(c);
	int fd = slot_fd(c, slot), status = 0, cmd = chance(c, 50) ? F_SETLK : F_OFD_SETLK;
	struct flock l = pick_lock(c, fd);
	pid_t pid;

	say(c, " %u cmd %d", slot, cmd);
	pid = fork();
	if (!pid) {
		int ret = fcntl(fd, cmd, &l) ? errno : 0;

		_exit(ret);
	}
	if (pid > 0 && waitpid(pid, &status, 0) == pid) {
		errno = WEXITSTATUS(status);
		say_result(c, errno ? -1 : 0);
	}
}

static void make_lease(struct call *c)
{
	unsigned slot = pick_slot(c);
	int fd = slot_fd(c, slot);

	say(c, " %u", slot);
	say_result(c, fcntl(fd, F_GETLEASE));
}

const struct op ops_lock[] = {
	{ "fcntl", 14, make_fcntl }, { "flock", 8, make_flock }, { "child", 4, make_child }, { "lease", 1, make_lease }, { NULL, 0, NULL },
};
