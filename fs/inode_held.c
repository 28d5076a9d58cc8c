/* SPDX-License-Identifier: MIT */
/* inode_held.c - inodes that are known by their number, because a descriptor holds their file: see inode.h. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "backend/backend.h"
#include "fs/inode_table.h"

int inode_handle_from(int64_t res, const struct file_handle *fh, struct inode_handle *ret)
{
	*ret = (struct inode_handle){ .len = 0 };
	if (res >= 0 && fh->handle_bytes <= INODE_HANDLE_MAX) {
		ret->len = (uint8_t)fh->handle_bytes;
		ret->type = fh->handle_type;
		memcpy(ret->bytes, fh->f_handle, ret->len);
	}
	return res >= 0 || res == -EOPNOTSUPP || res == -EOVERFLOW ? 0 : (int)res;
}

int inode_handle_settle(struct inode *i)
{
	struct inode_handle handle;
	union {
		struct file_handle h;
		char bytes[sizeof(struct file_handle) + INODE_HANDLE_MAX];
	} fh = { .h.handle_bytes = INODE_HANDLE_MAX };
	int res, mount_id;

	if (!i->handle_late)
		return 0;
	/* encodes what the inode in memory knows: does not wait */
	res = sys_name_to_handle(i->fd, "", AT_EMPTY_PATH, &fh.h, &mount_id);
	res = inode_handle_from(res, &fh.h, &handle);
	if (res < 0)
		return res;
	res = inode_handle_set(i, &handle);
	i->handle_late = res < 0;
	return res;
}

uint32_t inode_table_mark(struct inode_table *t)
{
	return atomic_load_explicit(&t->generation, memory_order_acquire);
}

/** same_number() - the inode with a descriptor that has this number, in @ret_i; false: one without it has, or another kind of file. */
static bool same_number(struct inode_table *t, uint16_t fs, const struct statx *stx, struct inode **ret_i)
{
	struct inode *i = inode_find(t, fs, stx->stx_ino);

	*ret_i = i;
	return !i || (i->fd >= 0 && i->type == (stx->stx_mode & S_IFMT) && i->btime_sec == stx->stx_btime.tv_sec &&
		      i->btime_nsec == stx->stx_btime.tv_nsec);
}

struct inode *inode_held_known(struct inode_table *t, uint16_t fs, const struct statx *stx, uint32_t mark, struct inode *parent,
			       const char *name)
{
	struct inode *i;

	pthread_mutex_lock(&t->lock);
	/*
	 * A record from before the look stands for a file that was there before it, and that is still there, for it is held now:
	 * in between the number was its own. (Its descriptor may have gone and come meanwhile, by its handle.)
	 */
	if (!same_number(t, fs, stx, &i) || !i || (int32_t)(mark - i->generation) < 0)
		i = NULL;
	if (i)
		inode_looked_up(t, i, parent, name);
	pthread_mutex_unlock(&t->lock);
	return i;
}

struct inode *inode_held_add(struct inode_table *t, uint16_t fs, const struct statx *stx, int fd, struct inode *parent,
			     const char *name, int *ret_close_fd)
{
	struct inode *i;

	*ret_close_fd = fd;
	pthread_mutex_lock(&t->lock);
	/* both are held now: with one number they are one file */
	if (!same_number(t, fs, stx, &i)) {
		i = NULL;
	} else if (!i) {
		i = inode_make(t, fs, stx, NULL);
		if (i) {
			inode_fd_attach(t, i, fd);
			*ret_close_fd = -1;
		}
	}
	if (i)
		inode_looked_up(t, i, parent, name);
	pthread_mutex_unlock(&t->lock);
	return i;
}
