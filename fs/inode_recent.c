/* SPDX-License-Identifier: MIT */
/* inode_recent.c - which files the kernel was told of a moment ago, by the order in which their records were made: see inode.h. */
#include "fs/inode_table.h"

void inode_recent_tick(struct inode_table *t, uint64_t now_ns, uint64_t window_ns)
{
	struct inode_recent *recent = &t->recent;

	if (now_ns < atomic_load_explicit(&recent->next_ns, memory_order_relaxed))
		return;
	pthread_mutex_lock(&t->lock);
	if (now_ns >= atomic_load_explicit(&recent->next_ns, memory_order_relaxed)) {
		recent->at_ns[1] = recent->at_ns[0];
		recent->mark[1] = recent->mark[0];
		recent->at_ns[0] = now_ns;
		recent->mark[0] = atomic_load_explicit(&t->generation, memory_order_relaxed);
		atomic_store_explicit(&recent->next_ns, now_ns + window_ns / 4, memory_order_relaxed);
	}
	pthread_mutex_unlock(&t->lock);
}

bool inode_recent(struct inode_table *t, uint16_t fs, uint64_t ino, uint64_t now_ns, uint64_t window_ns)
{
	const struct inode_recent *recent = &t->recent;
	const struct inode *i = NULL;
	unsigned n;
	bool res;

	pthread_mutex_lock(&t->lock);
	for (n = 2; n > 0; n--) /* the older mark if it will do: more is younger than that */
		if (recent->at_ns[n - 1] && now_ns - recent->at_ns[n - 1] <= window_ns)
			break;
	if (n)
		i = inode_find(t, fs, ino);
	res = i && i->nlookup && i->type == S_IFREG && (int32_t)(i->generation - recent->mark[n - 1]) > 0 &&
	      !(atomic_load_explicit(&i->told, memory_order_relaxed) & INODE_TOLD_WRITER);
	pthread_mutex_unlock(&t->lock);
	return res;
}
