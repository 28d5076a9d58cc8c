/* SPDX-License-Identifier: MIT */
/* bugs_replies.c - bugs that change what the kernel is told. */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

#include "bugs.h"

#define ENTRIES FUSE_LOOKUP, FUSE_CREATE, FUSE_MKNOD, FUSE_MKDIR, FUSE_SYMLINK, FUSE_LINK
#define READDIRS { FUSE_READDIR, FUSE_READDIRPLUS }
/** ANSWER() - of a success with a body of @type. */
#define ANSWER(name, type, statement)                       \
	static void name(struct answer *a)                  \
	{                                                   \
		type *out = a->body;                        \
		if (a->error || a->size < sizeof(*out))     \
			return;                             \
		statement;                                  \
	}
/** ATTR() - of the attributes in a reply, wherever they stand. */
#define ATTR(name, statement)                               \
	static void name(struct answer *a)                  \
	{                                                   \
		struct fuse_attr *out = attr_of(a);         \
		if (!out)                                   \
			return;                             \
		statement;                                  \
	}

static struct fuse_attr *attr_of(struct answer *a)
{
	if (a->error)
		return NULL;
	switch (a->r->opcode) {
	case FUSE_LOOKUP:
	case FUSE_CREATE:
	case FUSE_MKNOD:
	case FUSE_MKDIR:
	case FUSE_SYMLINK:
	case FUSE_LINK:
	case UAPI_FUSE_TMPFILE:
		return a->size >= sizeof(struct fuse_entry_out) ? &((struct fuse_entry_out *)a->body)->attr : NULL;
	case FUSE_GETATTR:
	case FUSE_SETATTR:
		return a->size >= sizeof(struct fuse_attr_out) ? &((struct fuse_attr_out *)a->body)->attr : NULL;
	default:
		return NULL;
	}
}

static bool every(unsigned n)
{
	static _Atomic unsigned count;

	return atomic_fetch_add(&count, 1) % n == n - 1;
}

ATTR(nlink, out->nlink = 1)
ATTR(nlink_long, out->nlink++)
ATTR(size, if (S_ISREG(out->mode) && out->size > 100) out->size--)
ATTR(mtime, out->mtime = 1)
ATTR(mtime_coarse, out->mtimensec = 0)
ATTR(atime, out->atime = 1)
ATTR(atime_moves, static _Atomic unsigned n; out->atime += atomic_fetch_add(&n, 1))
ATTR(ctime_old, out->ctime = 1)
ATTR(mode_special, if (!S_ISDIR(out->mode)) out->mode &= ~07000u)
ATTR(mode_dir, if (S_ISDIR(out->mode)) out->mode &= ~(uint32_t)S_ISGID)
ATTR(mode_group, if (S_ISDIR(out->mode)) out->mode &= ~(uint32_t)S_IRWXG)
ATTR(mode_sticky, out->mode &= ~(uint32_t)S_ISVTX)
ATTR(uid, if (out->uid) out->uid = 1)
ATTR(inode_number, out->ino += 1000000)
ATTR(blocks, out->blocks = 0)
ATTR(blocks_full, out->blocks = (out->size + 511) / 512)
ATTR(type_fifo, if (S_ISFIFO(out->mode)) out->mode = S_IFREG | (out->mode & 07777))
ATTR(nlink_wrong_unlinked, if (out->nlink == 0) out->nlink = 1)
ANSWER(cached_long, struct fuse_entry_out, out->entry_valid = out->attr_valid = 3600)
ANSWER(generation, struct fuse_entry_out, static _Atomic uint64_t g; out->generation += atomic_fetch_add(&g, 1))
ANSWER(attr_cached, struct fuse_attr_out, out->attr_valid = 3600)
ANSWER(keep_cache, struct fuse_open_out, out->open_flags |= FOPEN_KEEP_CACHE)
ANSWER(dir_kept, struct fuse_open_out, out->open_flags |= FOPEN_CACHE_DIR | FOPEN_KEEP_CACHE)
ANSWER(io_mixed, struct fuse_open_out, if (every(7)) out->open_flags &= ~UAPI_FOPEN_PASSTHROUGH)
ANSWER(read_flip, uint8_t, *out ^= 1)
ANSWER(read_last, uint8_t, out[a->size - 1] ^= 1)
ANSWER(read_short, uint8_t, if (a->size > 1) a->size -= 1)
ANSWER(read_flaky, uint8_t, if (every(50)) out[a->size / 2] ^= 1)
ANSWER(readlink_short, uint8_t, if (a->size > 1) a->size--)
ANSWER(xattr_value, uint8_t, if (a->size != sizeof(struct fuse_getxattr_out)) out[a->size - 1] ^= 1)
ANSWER(xattr_size, struct fuse_getxattr_out, if (a->size == sizeof(*out) && out->size) out->size--)
ANSWER(write_less, struct fuse_write_out, if (out->size > 1) out->size--)
ANSWER(statfs_free, struct fuse_statfs_out, out->st.bfree = out->st.bavail = 0)
ANSWER(statfs_name, struct fuse_statfs_out, out->st.namelen = 100)
ANSWER(btime, struct uapi_fuse_statx_out, out->stat.btime.tv_sec++)
ANSWER(lock_free, struct fuse_lk_out, out->lk.type = 2)

/** The last name of a list of names is lost. */
static void xattr_list(struct answer *a)
{
	char *list = a->body;
	size_t n = a->size;

	if (a->error || n < 2 || list[n - 1])
		return;
	for (n--; n > 0 && list[n - 1]; n--)
		;
	a->size = n;
}

/** A lock that somebody else holds is granted. */
static void lock_ignored(struct answer *a)
{
	if (a->error == EAGAIN)
		a->error = 0;
}

/** What could not be read is the end of the file; what could not be written was. */
static void error_lost(struct answer *a)
{
	static _Thread_local struct fuse_write_out out;

	if (!a->error)
		return;
	a->error = 0;
	if (a->r->opcode != FUSE_WRITE)
		return;
	out.size = ((const struct fuse_write_in *)a->r->arg)->size;
	a->body = &out;
	a->size = sizeof(out);
}

static void not_empty(struct answer *a)
{
	if (a->error == ENOTEMPTY)
		a->error = EBUSY;
}

/* ---- listings ------------------------------------------------------------------- */

static size_t entry_head(const struct answer *a)
{
	return a->r->opcode == FUSE_READDIRPLUS ? sizeof(struct fuse_entry_out) : 0;
}

/** next_entry() - the entry at *@ret_at, which moves behind it; NULL at the end. */
static struct fuse_dirent *next_entry(struct answer *a, size_t *ret_at)
{
	struct fuse_dirent *d = (void *)((char *)a->body + *ret_at + entry_head(a));

	if (a->error || *ret_at + entry_head(a) + FUSE_NAME_OFFSET > a->size)
		return NULL;
	*ret_at += FUSE_DIRENT_ALIGN(entry_head(a) + FUSE_NAME_OFFSET + d->namelen);
	return d;
}

static bool dots(const struct fuse_dirent *d)
{
	return d->name[0] == '.' && (d->namelen == 1 || (d->namelen == 2 && d->name[1] == '.'));
}

static void dirent_ino(struct answer *a)
{
	size_t at = 0;

	for (struct fuse_dirent *d; (d = next_entry(a, &at));)
		d->ino += 1000000;
}

static void dirent_type(struct answer *a)
{
	size_t at = 0;

	for (struct fuse_dirent *d; (d = next_entry(a, &at));)
		d->type = 0;
}

/** The last entry of each buffer is lost: the one before takes its position. */
static void dirent_lost(struct answer *a)
{
	size_t at = 0, start = 0, last_start = 0;
	struct fuse_dirent *d, *before = NULL, *last = NULL;

	while ((d = next_entry(a, &at))) {
		before = last;
		last = d;
		last_start = start;
		start = at;
	}
	if (before && last && !dots(last)) {
		before->off = last->off;
		a->size = last_start;
	}
}

/** Each position is that of the entry before. */
static void dirent_position(struct answer *a)
{
	size_t at = 0;
	uint64_t was = 0;

	for (struct fuse_dirent *d; (d = next_entry(a, &at));) {
		uint64_t off = d->off;
		if (was && at < a->size)
			d->off = was;
		was = off;
	}
}

static const struct bug bugs[] = {
#define ALL_ATTR { ENTRIES, FUSE_GETATTR, FUSE_SETATTR }
	{ "nlink", ALL_ATTR, .answer = nlink },
	{ "nlink_long", ALL_ATTR, .answer = nlink_long },
	{ "nlink_unlinked", ALL_ATTR, .answer = nlink_wrong_unlinked },
	{ "size", ALL_ATTR, .answer = size },
	{ "mtime", ALL_ATTR, .answer = mtime },
	{ "mtime_coarse", ALL_ATTR, .answer = mtime_coarse },
	{ "atime", ALL_ATTR, .answer = atime },
	{ "atime_moves", ALL_ATTR, .answer = atime_moves },
	{ "ctime", ALL_ATTR, .answer = ctime_old },
	{ "mode_special", ALL_ATTR, .answer = mode_special },
	{ "mode_dir", ALL_ATTR, .answer = mode_dir },
	{ "mode_group", ALL_ATTR, .answer = mode_group },
	{ "mode_sticky", ALL_ATTR, .answer = mode_sticky },
	{ "uid", ALL_ATTR, .answer = uid },
	{ "inode_number", ALL_ATTR, .answer = inode_number },
	{ "blocks", ALL_ATTR, .answer = blocks },
	{ "blocks_full", ALL_ATTR, .answer = blocks_full },
	{ "type_fifo", ALL_ATTR, .answer = type_fifo },
	{ "cached_long", { ENTRIES }, .answer = cached_long },
	{ "generation", { ENTRIES }, .answer = generation },
	{ "attr_cached", { FUSE_GETATTR, FUSE_SETATTR }, .answer = attr_cached },
	{ "keep_cache", { FUSE_OPEN }, .answer = keep_cache },
	{ "dir_kept", { FUSE_OPENDIR }, .answer = dir_kept },
	{ "io_mixed", { FUSE_OPEN }, .answer = io_mixed },
	{ "read_flip", { FUSE_READ }, .answer = read_flip },
	{ "read_last", { FUSE_READ }, .answer = read_last },
	{ "read_short", { FUSE_READ }, .answer = read_short },
	{ "read_flaky", { FUSE_READ }, .answer = read_flaky },
	{ "read_error_lost", { FUSE_READ }, .answer = error_lost },
	{ "write_error_lost", { FUSE_WRITE }, .answer = error_lost },
	{ "readlink_short", { FUSE_READLINK }, .answer = readlink_short },
	{ "xattr_value", { FUSE_GETXATTR }, .answer = xattr_value },
	{ "xattr_size", { FUSE_GETXATTR, FUSE_LISTXATTR }, .answer = xattr_size },
	{ "xattr_list", { FUSE_LISTXATTR }, .answer = xattr_list },
	{ "write_less", { FUSE_WRITE }, .answer = write_less },
	{ "copy_less", { FUSE_COPY_FILE_RANGE }, .answer = write_less },
	{ "statfs_free", { FUSE_STATFS }, .answer = statfs_free },
	{ "statfs_name", { FUSE_STATFS }, .answer = statfs_name },
	{ "btime", { UAPI_FUSE_STATX }, .answer = btime },
	{ "lock_free", { FUSE_GETLK }, .answer = lock_free },
	{ "lock_ignored", { FUSE_SETLK, FUSE_SETLKW }, .answer = lock_ignored },
	{ "not_empty", { FUSE_RMDIR, FUSE_RENAME, FUSE_RENAME2 }, .answer = not_empty },
	{ "dirent_ino", READDIRS, .answer = dirent_ino },
	{ "dirent_type", READDIRS, .answer = dirent_type },
	{ "dirent_lost", READDIRS, .answer = dirent_lost },
	{ "dirent_position", READDIRS, .answer = dirent_position },
	{ "entry_lost", .answer = NULL }, /* bugs.c */
};

const struct bug *bug_of_replies(const char *name)
{
	return bug_find(bugs, sizeof(bugs) / sizeof(*bugs), name);
}
