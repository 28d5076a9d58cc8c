/* SPDX-License-Identifier: MIT */
/*
 * inode_table.h - inside of the inode table; for inode.c, inode_fd.c, inode_held.c, inode_kept.c, inode_recent.c and inode_data.c only.
 */
#ifndef URINGFS_INODE_TABLE_H
#define URINGFS_INODE_TABLE_H

#include "fs/inode.h"

#define PAGE_INODES 32u           /* inodes in a 4 KiB page of the record array */
#define INODES_MAX (1u << 26)     /* virtual reservation: 8 GiB of records */
#define INODES_MAX_SMALL (1u << 20) /* where the reservation is refused */
#define PAGES_MAX(t) ((t)->inodes_max / PAGE_INODES)
#define HASH_START 1024u

/* One per page of records: which are in use, and the next page with room. */
struct page_info {
	uint32_t used;
	uint32_t next_room; /* page number + 1; 0: last */
};

/** A list of inodes, by their lru_prev and lru_next: head is the newest; 0: none. */
struct inode_list {
	uint32_t head, tail;
};

/** Marks of inode_table_mark() and when they were taken, the newer one first; at 0: none yet. */
struct inode_recent {
	_Atomic uint64_t next_ns; /* time for another */
	uint64_t at_ns[2];
	uint32_t mark[2];
};

struct inode_table {
	pthread_mutex_t lock;
	struct inode_table_config cfg;
	/* records and their allocation: pages that are empty again go back to the system */
	struct inode *inodes;
	struct page_info *pages;
	uint32_t inodes_max, pages_used, first_room; /* first_room: page number + 1 */
	_Atomic uint32_t generation; /* of the newest record; also read without the lock */
	size_t page_size;         /* of the system: memory goes back only where a page holds whole groups */
	/* linear hashing: one bucket is split per insertion, so that no insertion ever rehashes everything */
	uint32_t *buckets;
	uint32_t buckets_count, buckets_level;
	struct inode_list lru; /* with descriptors that nobody uses */
	struct inode_list kept; /* forgotten by the kernel, kept for file handles; none has a descriptor, so it is in one list at most */
	uint32_t kept_count;
	struct inode_recent recent;
	uint64_t live, live_max, fds, pages_live;
};

/** inode_list_push() - @i, which is in no list, becomes the newest of @l; lock held. */
void inode_list_push(struct inode_table *t, struct inode_list *l, struct inode *i);
/** inode_list_remove() - @i, which is in @l, leaves it; lock held. */
void inode_list_remove(struct inode_table *t, struct inode_list *l, const struct inode *i);
/** inode_drop() - the record of an inode that nobody holds goes; lock held. Return a descriptor to close, or -1. */
int inode_drop(struct inode_table *t, struct inode *i);
/** inode_keep() - what becomes of one that nobody holds in a table that keeps some: inode_kept.c. Lock held. Return a descriptor to close, or -1. */
int inode_keep(struct inode_table *t, struct inode *i);
/** inode_unkeep() - somebody is to hold it again, if it was kept; lock held. */
void inode_unkeep(struct inode_table *t, struct inode *i);

/** inode_fd_take() - inode_fd_use(); lock held. */
int inode_fd_take(struct inode_table *t, struct inode *i);
/** inode_fd_give() - inode_fd_unuse(); lock held. */
void inode_fd_give(struct inode_table *t, struct inode *i);
/** inode_find() - by number; lock held. NULL: unknown. */
struct inode *inode_find(struct inode_table *t, uint16_t fs, uint64_t ino);
/** inode_make() - a new record in the hash, with neither references nor look-ups; NULL: no memory. @handle NULL: it is late. Lock held. */
struct inode *inode_make(struct inode_table *t, uint16_t fs, const struct statx *stx, const struct inode_handle *handle);
/** inode_looked_up() - nlookup + 1, refs + 1, as inode_add() does. Lock held. */
void inode_looked_up(struct inode_table *t, struct inode *i, struct inode *parent, const char *name);
/** inode_extra_of() - i->extra, made if it is not there; NULL: no memory. Lock held. */
struct inode_extra *inode_extra_of(struct inode *i);
/** inode_handle_set() - its file handle. Lock held, or nobody else knows @i. Return 0 or -ENOMEM. */
int inode_handle_set(struct inode *i, const struct inode_handle *h);
/** inode_handle_settle() - ask for the file handle if that is still to be done: inode_held.c. Lock held. Return 0 or -errno, then it stays late. */
int inode_handle_settle(struct inode *i);
/** inode_fd_attach() - give it a descriptor it did not have; lock held. */
void inode_fd_attach(struct inode_table *t, struct inode *i, int fd);
/** inode_fd_detach() - take its descriptor away; lock held. Return it, or -1. */
int inode_fd_detach(struct inode_table *t, struct inode *i);

#endif
