/* SPDX-License-Identifier: MIT */
/* inode_fd.c - the O_PATH descriptors of inodes: use, LRU, eviction; the way to open one again by its name. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/inode_table.h"

void inode_list_push(struct inode_table *t, struct inode_list *l, struct inode *i)
{
	i->lru_prev = 0;
	i->lru_next = l->head;
	if (l->head)
		t->inodes[l->head].lru_prev = i->index;
	else
		l->tail = i->index;
	l->head = i->index;
}

void inode_list_remove(struct inode_table *t, struct inode_list *l, const struct inode *i)
{
	if (i->lru_prev)
		t->inodes[i->lru_prev].lru_next = i->lru_next;
	else
		l->head = i->lru_next;
	if (i->lru_next)
		t->inodes[i->lru_next].lru_prev = i->lru_prev;
	else
		l->tail = i->lru_prev;
}

static void lru_remove(struct inode_table *t, struct inode *i)
{
	if (i->in_lru)
		inode_list_remove(t, &t->lru, i);
	i->in_lru = false;
}

/** lru_update() - in the list exactly when it has a descriptor that may go. */
static void lru_update(struct inode_table *t, struct inode *i)
{
	bool keep = i->fd_users || i->index == INODE_ROOT || (t->cfg.keep_names && i->opens);

	lru_remove(t, i);
	if (i->fd < 0 || keep)
		return;
	inode_list_push(t, &t->lru, i);
	i->in_lru = true;
}

int inode_fd_detach(struct inode_table *t, struct inode *i)
{
	int fd = i->fd;

	if (fd < 0)
		return -1;
	lru_remove(t, i);
	i->fd = -1;
	t->fds--;
	atomic_fetch_sub(&t->cfg.budget->used, 1);
	return fd;
}

void inode_fd_attach(struct inode_table *t, struct inode *i, int fd)
{
	i->fd = fd;
	t->fds++;
	atomic_fetch_add(&t->cfg.budget->used, 1);
	lru_update(t, i);
}

int inode_fd_take(struct inode_table *t, struct inode *i)
{
	if (i->fd < 0)
		return -1;
	i->fd_users++;
	lru_remove(t, i);
	return i->fd;
}

void inode_fd_give(struct inode_table *t, struct inode *i)
{
	assert(i->fd_users > 0);
	if (--i->fd_users == 0)
		lru_update(t, i);
}

int inode_way(struct inode_table *t, struct inode *i, char *buf, size_t size)
{
	size_t at = size - 1;
	int res = 0;

	pthread_mutex_lock(&t->lock);
	buf[at] = 0;
	while (i->index != INODE_ROOT && res == 0) {
		const char *name = i->extra ? i->extra->name : NULL;
		size_t len = name ? strlen(name) : 0;
		if (!name)
			res = -ESTALE;
		else if (len + 1 > at)
			res = -ENAMETOOLONG;
		else {
			if (buf[at])
				buf[--at] = '/';
			at -= len;
			memcpy(buf + at, name, len);
			i = &t->inodes[i->extra->parent];
		}
	}
	pthread_mutex_unlock(&t->lock);
	if (res == 0)
		memmove(buf, buf + at, size - at);
	return res;
}

int inode_fd_use(struct inode_table *t, struct inode *i)
{
	int fd;

	pthread_mutex_lock(&t->lock);
	fd = inode_fd_take(t, i);
	pthread_mutex_unlock(&t->lock);
	return fd;
}

void inode_fd_unuse(struct inode_table *t, struct inode *i)
{
	pthread_mutex_lock(&t->lock);
	inode_fd_give(t, i);
	pthread_mutex_unlock(&t->lock);
}

int inode_fd_install(struct inode_table *t, struct inode *i, int fd, int *ret_close_fd)
{
	*ret_close_fd = -1;
	pthread_mutex_lock(&t->lock);
	i->fd_users++;
	if (i->fd < 0) {
		inode_fd_attach(t, i, fd);
		atomic_fetch_add_explicit(&t->cfg.budget->reopened, 1, memory_order_relaxed);
	} else {
		*ret_close_fd = fd;
		lru_remove(t, i);
		fd = i->fd;
	}
	pthread_mutex_unlock(&t->lock);
	return fd;
}

int inode_fd_evict(struct inode_table *t)
{
	int fd = -1;

	pthread_mutex_lock(&t->lock);
	if (t->lru.tail && inode_handle_settle(&t->inodes[t->lru.tail]) == 0) {
		fd = inode_fd_detach(t, &t->inodes[t->lru.tail]);
		atomic_fetch_add_explicit(&t->cfg.budget->evicted, 1, memory_order_relaxed);
	}
	pthread_mutex_unlock(&t->lock);
	return fd;
}

void inode_open_count(struct inode_table *t, struct inode *i, int delta)
{
	pthread_mutex_lock(&t->lock);
	i->opens = (uint32_t)((int32_t)i->opens + delta);
	if (!i->opens)
		atomic_fetch_and(&i->told, (uint8_t)~INODE_TOLD_DIRTY); /* the kernel writes back at close(2) and munmap(2), before RELEASE */
	lru_update(t, i);
	pthread_mutex_unlock(&t->lock);
}

void inode_handle_get(const struct inode *i, struct inode_handle *ret)
{
	if (i->extra && i->extra->handle) {
		*ret = *i->extra->handle;
		return;
	}
	ret->type = i->handle_type;
	ret->len = i->handle_len;
	memcpy(ret->bytes, i->handle_bytes, i->handle_len);
}

int inode_handle_set(struct inode *i, const struct inode_handle *h)
{
	if (h->len <= INODE_HANDLE_INLINE) {
		i->handle_type = h->type;
		i->handle_len = h->len;
		memcpy(i->handle_bytes, h->bytes, h->len);
		return 0;
	}
	if (!inode_extra_of(i) || !(i->extra->handle = malloc(sizeof(*h))))
		return -ENOMEM;
	*i->extra->handle = *h;
	return 0;
}
