/* SPDX-License-Identifier: MIT */
/* inode_data.c - what the kernel's page cache of an inode was filled from: see coherence.h. */
#include <assert.h>

#include "fs/inode_table.h"

uint32_t inode_data_seq(struct inode_table *t, struct inode *i)
{
	(void)t;
	return atomic_load_explicit(&i->data_seq, memory_order_acquire);
}

static bool data_equal(const struct inode *i, const struct statx *stx)
{
	return i->data_mtime_sec == stx->stx_mtime.tv_sec && i->data_mtime_nsec == stx->stx_mtime.tv_nsec &&
	       i->data_size == stx->stx_size;
}

static void remember(struct inode *i, const struct statx *stx)
{
	if (i->data_state != DATA_FOREIGN)
		i->data_state = DATA_KNOWN;
	i->data_mtime_sec = stx->stx_mtime.tv_sec;
	i->data_mtime_nsec = stx->stx_mtime.tv_nsec;
	i->data_size = stx->stx_size;
}

enum inode_data inode_data_check(struct inode_table *t, struct inode *i, const struct statx *stx, uint32_t seq, bool waits)
{
	enum inode_data res = INODE_DATA_UNSETTLED;

	pthread_mutex_lock(&t->lock);
	if (!i->changers && i->data_seq == seq) {
		/* nothing known: nothing was cached yet, or our own change was the last and could not be looked at */
		res = i->data_state == DATA_FOREIGN || (i->data_state == DATA_KNOWN && !data_equal(i, stx)) ? INODE_DATA_CHANGED : INODE_DATA_SAME;
		if (!waits && res == INODE_DATA_CHANGED)
			i->data_going = 1;
		i->data_state = DATA_KNOWN;
		remember(i, stx);
	}
	/* whatever this look tells: it may be a write-back for those very pages that unsettles it */
	if (waits && i->data_going) {
		res = INODE_DATA_CHANGED;
		i->data_going = 0;
	}
	pthread_mutex_unlock(&t->lock);
	return res;
}

void inode_data_goes(struct inode_table *t, struct inode *i)
{
	pthread_mutex_lock(&t->lock);
	i->data_going = 1;
	pthread_mutex_unlock(&t->lock);
}

enum inode_dir inode_dir_listing(struct inode_table *t, struct inode *i, const struct statx *stx, uint64_t now_ns, uint64_t keep_ns,
				 bool settled)
{
	enum inode_dir res = INODE_DIR_UNSETTLED;

	/* data_mtime is the directory's ctime, data_size the time of the listing */
	pthread_mutex_lock(&t->lock);
	if (i->data_state == DATA_KNOWN && i->data_mtime_sec == stx->stx_ctime.tv_sec && i->data_mtime_nsec == stx->stx_ctime.tv_nsec &&
	    now_ns - i->data_size < keep_ns) {
		res = INODE_DIR_AS_LISTED;
	} else if (settled) {
		res = INODE_DIR_LIST;
		i->data_mtime_sec = stx->stx_ctime.tv_sec;
		i->data_mtime_nsec = stx->stx_ctime.tv_nsec;
		i->data_size = now_ns;
	}
	i->data_state = res != INODE_DIR_UNSETTLED ? DATA_KNOWN : DATA_UNKNOWN;
	pthread_mutex_unlock(&t->lock);
	return res;
}

bool inode_change_begin(struct inode_table *t, struct inode *i)
{
	bool first;

	pthread_mutex_lock(&t->lock);
	first = i->changers++ == 0;
	i->data_seq++;
	pthread_mutex_unlock(&t->lock);
	return first;
}

bool inode_change_alone(struct inode_table *t, struct inode *i, uint32_t *ret_seq)
{
	bool alone;

	pthread_mutex_lock(&t->lock);
	alone = i->changers == 1;
	*ret_seq = i->data_seq;
	pthread_mutex_unlock(&t->lock);
	return alone;
}

bool inode_change_end(struct inode_table *t, struct inode *i, const struct statx *stx, uint32_t seq)
{
	bool again;

	pthread_mutex_lock(&t->lock);
	assert(i->changers > 0);
	again = stx && i->changers == 1 && i->data_seq != seq;
	if (!again) {
		if (i->changers == 1 && stx)
			remember(i, stx);
		else if (i->changers == 1 && i->data_state != DATA_FOREIGN)
			i->data_state = DATA_UNKNOWN;
		i->changers--;
		i->data_seq++;
	}
	pthread_mutex_unlock(&t->lock);
	return !again;
}

bool inode_change_end_sole(struct inode_table *t, struct inode *i)
{
	bool sole;

	pthread_mutex_lock(&t->lock);
	assert(i->changers > 0);
	sole = i->sole;
	if (sole) {
		i->data_state = DATA_OURS;
		i->changers--;
		i->data_seq++;
	}
	pthread_mutex_unlock(&t->lock);
	return sole;
}

bool inode_sole(struct inode_table *t, struct inode *i)
{
	bool sole;

	pthread_mutex_lock(&t->lock);
	sole = i->sole;
	pthread_mutex_unlock(&t->lock);
	return sole;
}

void inode_sole_begin(struct inode_table *t, struct inode *i, const _Atomic uint64_t *events, uint64_t events_seen)
{
	pthread_mutex_lock(&t->lock);
	/* who is counted later comes to inode_sole_lost() after this */
	i->sole = atomic_load(events) == events_seen;
	pthread_mutex_unlock(&t->lock);
}

void inode_sole_lost(struct inode_table *t, struct inode *i)
{
	pthread_mutex_lock(&t->lock);
	if (i->sole)
		i->data_state = DATA_FOREIGN;
	i->sole = false;
	pthread_mutex_unlock(&t->lock);
}

void inode_sole_end(struct inode_table *t, struct inode *i)
{
	pthread_mutex_lock(&t->lock);
	if (i->data_state == DATA_OURS)
		i->data_state = DATA_FOREIGN;
	i->sole = false;
	pthread_mutex_unlock(&t->lock);
}

uint32_t inode_opens(struct inode_table *t, struct inode *i)
{
	(void)t;
	return atomic_load_explicit(&i->opens, memory_order_acquire);
}

void inode_writer_set(struct inode *i)
{
	if (!(atomic_load_explicit(&i->told, memory_order_relaxed) & INODE_TOLD_WRITER))
		atomic_fetch_or_explicit(&i->told, INODE_TOLD_WRITER, memory_order_relaxed);
}

void inode_dirty_set(struct inode *i)
{
	atomic_fetch_or(&i->told, INODE_TOLD_DIRTY);
}

bool inode_dirty(const struct inode *i)
{
	return atomic_load(&i->told) & INODE_TOLD_DIRTY;
}

void inode_mode_told(struct inode *i, uint16_t mode)
{
	if (S_ISREG(mode) && mode & (S_ISUID | S_ISGID))
		atomic_fetch_or_explicit(&i->told, INODE_TOLD_SPECIAL, memory_order_relaxed);
}

bool inode_mode_ended(struct inode *i)
{
	return atomic_load_explicit(&i->told, memory_order_relaxed) & INODE_TOLD_SPECIAL && atomic_fetch_and(&i->told, (uint8_t)~INODE_TOLD_SPECIAL) & INODE_TOLD_SPECIAL;
}

void inode_cached_set(struct inode *i)
{
	atomic_fetch_or(&i->told, INODE_TOLD_PAGES);
}

bool inode_cached(const struct inode *i)
{
	return atomic_load(&i->told) & INODE_TOLD_PAGES;
}
