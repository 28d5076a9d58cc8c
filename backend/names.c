/* SPDX-License-Identifier: MIT */
/* names.c - the system calls of NAMES_READ and NAMES_LOOK: a piece of a directory is read, and looked up before anybody asks. */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "op.h"
#include "sysops.h"
#include "util/errno_util.h"

/** So many names of a piece, spread over it, are tried. */
#define NAMES_TRIED 4u

struct names_entry *names_entry_at(char *buf, uint32_t len, uint32_t pos)
{
	struct names_entry *e = (struct names_entry *)(void *)(buf + pos);
	const uint32_t head = offsetof(struct names_entry, name);

	return pos < len && len - pos > head && e->reclen > head && e->reclen <= len - pos ? e : NULL;
}

bool names_cold(int dirfd, const char *name)
{
	const struct open_how how = { .flags = O_PATH | O_NOFOLLOW | O_CLOEXEC, .resolve = RESOLVE_CACHED };
	int fd = sys_openat2(dirfd, name, &how);

	if (fd >= 0)
		(void)close(fd); /* O_PATH: nothing to lose */
	return fd == -EAGAIN;
}

static int by_inode(const void *a, const void *b)
{
	uint64_t x = (*(const struct names_entry *const *)a)->ino, y = (*(const struct names_entry *const *)b)->ino;

	return x < y ? -1 : x > y;
}

static bool all_cached(int dirfd, const struct names *n)
{
	for (unsigned i = 0; i < NAMES_TRIED; i++)
		if (names_cold(dirfd, n->sorted[(uint64_t)n->count * i / NAMES_TRIED]->name))
			return false;
	return true;
}

int64_t sysop_names_read(struct op *op)
{
	struct names *n = op->buf;
	const struct names_entry *e;
	int64_t len;

	n->count = 0;
	if (lseek(op->fd, (off_t)op->off, SEEK_SET) < 0)
		return errno_result(-1);
	len = errno_result(syscall(SYS_getdents64, op->fd, n->entries, sizeof(n->entries)));
	if (len < 0)
		return len;
	for (uint32_t pos = 0; n->count < NAMES_MAX && (e = names_entry_at(n->entries, (uint32_t)len, pos)); pos += e->reclen) {
		n->sorted[n->count++] = e;
		n->next = e->off;
	}
	qsort(n->sorted, n->count, sizeof(n->sorted[0]), by_inode);
	n->cached = n->count > 0 && all_cached(op->fd, n);
	return n->count;
}

int64_t sysop_names_look(struct op *op)
{
	const struct names *n = op->buf;
	struct statx stx;
	int64_t looked = 0;

	/* what is not there any more, or may not be looked at, is told to who asks for it */
	for (size_t i = 0; i < op->len && !atomic_load_explicit(&n->stop, memory_order_relaxed); i++)
		looked += sys_statx(op->fd, n->sorted[op->off + i]->name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_BASIC_STATS, &stx) == 0;
	return looked;
}
