/* SPDX-License-Identifier: MIT */
/*
 * inode.h - the inodes that the kernel knows of one mount.
 *
 * A nodeid is an index into a table plus a generation, never a pointer; index 1
 * is the root. An inode is found again by (filesystem, inode number, file
 * handle), so that a reused inode number is another inode.
 *
 * Two counts keep an inode: @nlookup, what the kernel holds (lookup and forget),
 * and @refs, what requests and handles hold. At zero of both it is freed, or kept
 * without a descriptor so that a file handle of the mount finds it: inode_kept.c.
 *
 * Descriptors: an inode has an O_PATH descriptor while the budget allows. Those
 * that no request uses wait in an LRU list. One that was dropped is opened again
 * by file handle (root) or by the names on the way to it (others): inode_fd.h.
 *
 * Locks: one mutex per table guards everything here but the constant fields.
 * Lock order: inode table, handle table, lock table; no system call that may
 * wait is made under any of them.
 */
#ifndef URINGFS_INODE_H
#define URINGFS_INODE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

#define INODE_NONE 0u
#define INODE_ROOT 1u
/** Longest file handle kept in the record itself (ext4 8, xfs and tmpfs 12, btrfs 20 bytes). */
#define INODE_HANDLE_INLINE 20u
/** struct inode, told: pages (it was open in a way that fills the page cache); a mode with setuid or setgid; pages that it may not have written back;
 *  a writer, who ends the attributes that the kernel holds. */
#define INODE_TOLD_PAGES 1u
#define INODE_TOLD_SPECIAL 2u
#define INODE_TOLD_DIRTY 4u
#define INODE_TOLD_WRITER 8u
/** MAX_HANDLE_SZ of the kernel (include/linux/exportfs.h). */
#define INODE_HANDLE_MAX 128u

struct inode_table;

/** A file handle as name_to_handle_at(2) gives it; len 0: the filesystem has none. */
struct inode_handle {
	int32_t type;
	uint8_t len;
	uint8_t bytes[INODE_HANDLE_MAX];
};

struct file_handle;

/**
 * inode_handle_from() - what name_to_handle_at(2) has said
 * @res: its result, 0 or -errno; @fh: what it filled in
 * Return: 0, with @ret empty where the filesystem has no handles or too long ones; else -errno.  Thread: any.
 */
int inode_handle_from(int64_t res, const struct file_handle *fh, struct inode_handle *ret);

/** What only some inodes need: a long file handle, the way to it. */
struct inode_extra {
	struct inode_handle *handle; /* longer than INODE_HANDLE_INLINE */
	uint32_t parent;             /* index of the directory, refs held; without file handles */
	char *name;                  /* in it */
};

/** What data_* of an inode say of the kernel's page cache. */
enum inode_data_state {
	DATA_UNKNOWN, /* nothing */
	DATA_KNOWN,   /* what it was filled from */
	DATA_OURS,    /* sole, and changed by us since: that they differ from the file tells nothing */
	DATA_FOREIGN, /* somebody else has been heard of; until the next inode_data_check() says so */
};

struct inode {
	/* constant while the inode lives */
	uint64_t ino;        /* of the backing file */
	int64_t btime_sec;
	uint32_t btime_nsec;
	uint32_t index;
	uint32_t generation; /* of the nodeid */
	int32_t handle_type;
	uint8_t fs;          /* index of the backing filesystem */
	_Atomic uint8_t told; /* not constant: what the kernel may hold of it; no lock */
	uint16_t type;       /* S_IFMT bits of the mode */
	uint8_t handle_bytes[INODE_HANDLE_INLINE];
	uint8_t handle_len;  /* 0: none, or in extra->handle */
	/* guarded by the table's lock */
	bool hashed : 1;
	bool in_lru : 1;
	bool handle_late : 1; /* its file handle has not been asked for yet: it has a descriptor */
	bool kept : 1;       /* nobody holds it; it is in the list of inode_kept.c */
	unsigned char data_state : 2; /* enum inode_data_state */
	bool sole : 1;       /* others' changes make events (backend/sole.h): ours need no looks */
	uint16_t changers : 15; /* requests of ours that are changing its data */
	uint16_t data_going : 1; /* its pages are about to be dropped, and nobody has waited for that */
	uint32_t refs;
	uint64_t nlookup;
	struct inode_extra *extra;
	int64_t data_mtime_sec;
	uint64_t data_size;
	uint32_t data_mtime_nsec;
	int32_t fd;          /* O_PATH, or -1 */
	uint32_t fd_users;   /* requests using fd now */
	_Atomic uint32_t opens; /* open handles; read without the lock */
	uint32_t hash_next, lru_prev, lru_next;
	_Atomic uint32_t data_seq; /* counts their beginnings and ends; read without the lock */
};
_Static_assert(sizeof(struct inode) <= 128, "issue: at most 128 bytes an inode");

/** Limits of descriptors, shared by all tables of the daemon. */
struct fd_budget {
	_Atomic uint32_t used;   /* descriptors of inodes and handles */
	uint32_t max;            /* of both; the rest of RLIMIT_NOFILE is kept in reserve */
	_Atomic uint64_t evicted, reopened;
};

struct inode_table_config {
	struct fd_budget *budget; /* borrowed for the table's life */
	bool keep_names;          /* no file handles can be opened: remember parent and name */
	uint32_t kept_max;        /* inodes that are still known after the kernel has forgotten them; 0 with keep_names */
};

/** inode_table_create() - with the root in it: @root_fd (O_PATH, taken over), @stx and @handle of it.
 *  Return 0 or -ENOMEM. Thread: main. */
int inode_table_create(const struct inode_table_config *cfg, int root_fd, uint16_t fs, const struct statx *stx,
		       const struct inode_handle *handle, struct inode_table **ret_t);
/** inode_table_destroy() - closes all descriptors; NULL allowed. Thread: main, all others ended. */
void inode_table_destroy(struct inode_table *t);

/** The nodeid for the kernel. */
static inline uint64_t inode_nodeid(const struct inode *i)
{
	return i->index == INODE_ROOT ? INODE_ROOT : (uint64_t)i->generation << 32 | i->index;
}

/**
 * inode_get_fd() - inode_get() and inode_fd_use() in one: *@ret_fd is its descriptor, in use, or -1
 * @kept: also one that the kernel has forgotten and comes back to by a file handle
 */
struct inode *inode_get_fd(struct inode_table *t, uint64_t nodeid, bool kept, int *ret_fd);
/** inode_get() - +1 ref on the inode of @nodeid; NULL when there is none (stale or forged). Thread: any. */
struct inode *inode_get(struct inode_table *t, uint64_t nodeid);
/** inode_put() - give a reference back; may free it. Returns a descriptor to close, or -1. Thread: any. */
int inode_put(struct inode_table *t, struct inode *i);
/** inode_put_fd() - inode_fd_unuse() and inode_put() in one. */
int inode_put_fd(struct inode_table *t, struct inode *i);

/**
 * inode_add() - find the inode of a looked-up file or make it; nlookup + 1, refs + 1
 * @fd:     O_PATH descriptor of it, or -1; kept, or returned in *@ret_close_fd (else -1 there)
 * @parent: directory it was found in and @name in it, for tables that keep names; may be NULL
 * Return: the inode, or NULL: out of memory (fd is in *ret_close_fd then)
 */
struct inode *inode_add(struct inode_table *t, uint16_t fs, const struct statx *stx, const struct inode_handle *handle,
			int fd, struct inode *parent, const char *name, int *ret_close_fd);
/*
 * inode_held.c. The descriptor that an inode has keeps its file from being freed, and so its number from being given to another:
 * on a filesystem where numbers are unique (struct backing_fs, local) the number alone tells the file then. Its file handle is
 * asked for only when the descriptor is to go.
 */
/** inode_table_mark() - to be taken before the statx whose answer is given to inode_held_known(). Thread: any. */
uint32_t inode_table_mark(struct inode_table *t);
/**
 * inode_held_known() - the inode of a file that was looked at by its name; nlookup + 1, refs + 1
 * @mark: from before that
 * Return: NULL: it is not known, or has no descriptor, or has been known only since then; open it to find out
 */
struct inode *inode_held_known(struct inode_table *t, uint16_t fs, const struct statx *stx, uint32_t mark, struct inode *parent,
			       const char *name);
/**
 * inode_held_add() - as inode_add(), for a file whose handle has not been asked for
 * @fd: O_PATH descriptor of it
 * Return: NULL: inode_add() with its file handle must decide
 */
struct inode *inode_held_add(struct inode_table *t, uint16_t fs, const struct statx *stx, int fd, struct inode *parent,
			     const char *name, int *ret_close_fd);
/*
 * inode_recent.c. The kernel has names and attributes of a file that it was told of less than their timeouts ago. When that was is not
 * kept for each file: records are numbered as they are made, so the newest number of some time ago tells those that are younger.
 */
/** inode_recent_tick() - before a request that may make records, at @now_ns; @window_ns as below, not 0. Thread: any. */
void inode_recent_tick(struct inode_table *t, uint64_t now_ns, uint64_t window_ns);
/**
 * inode_recent() - whether the kernel was told of regular file @ino for the first time less than @window_ns before @now_ns, and nobody has had it
 * open for writing
 * It may be by another name, and may have been told by a reply that is still on its way.  Thread: any.
 */
bool inode_recent(struct inode_table *t, uint16_t fs, uint64_t ino, uint64_t now_ns, uint64_t window_ns);
/** inode_forget() - nlookup - @n (a too large @n counts as all). Returns a descriptor to close, or -1. */
int inode_forget(struct inode_table *t, uint64_t nodeid, uint64_t n);
/** inode_handle_get() - copy the file handle; len 0: it has none. */
void inode_handle_get(const struct inode *i, struct inode_handle *ret);
/** inode_way() - the path from the root to @i, without a leading slash, into @buf.
 *  Return 0; -ESTALE no way known; -ENAMETOOLONG. */
int inode_way(struct inode_table *t, struct inode *i, char *buf, size_t size);

/** inode_fd_use() - the descriptor, kept from eviction until inode_fd_unuse(); -1: it has none now. */
int inode_fd_use(struct inode_table *t, struct inode *i);
void inode_fd_unuse(struct inode_table *t, struct inode *i);
/** inode_fd_install() - give it a fresh O_PATH descriptor and use it; another thread may have been
 *  faster: *ret_close_fd is then @fd. Return the descriptor to use. */
int inode_fd_install(struct inode_table *t, struct inode *i, int fd, int *ret_close_fd);
/** inode_fd_evict() - take the least recently used descriptor out; -1: none is free. To be closed by the caller. */
int inode_fd_evict(struct inode_table *t);
/** inode_open_count() - an open handle more (+1) or less (-1); without file handles an open file keeps its descriptor. */
void inode_open_count(struct inode_table *t, struct inode *i, int delta);

/* What the kernel's page cache was filled from: see coherence.h. @stx needs STATX_MTIME and STATX_SIZE. */
enum inode_data { INODE_DATA_SAME, INODE_DATA_CHANGED, INODE_DATA_UNSETTLED };
/** inode_data_seq() - to be taken before the statx that inode_data_check() is given. */
uint32_t inode_data_seq(struct inode_table *t, struct inode *i);
/**
 * inode_data_check() - whether somebody else has changed the file since the state remembered; remembers @stx
 * @waits: the caller drops the pages, if so, before he answers; then it has changed, too, when one who did not wait was told so since
 * UNSETTLED: requests of ours were changing it around that statx, so it tells nothing; nothing is remembered.
 */
enum inode_data inode_data_check(struct inode_table *t, struct inode *i, const struct statx *stx, uint32_t seq, bool waits);
/** inode_data_goes() - the kernel is told to drop its pages, and nobody waits for that: the next inode_data_check() whose caller waits says CHANGED. */
void inode_data_goes(struct inode_table *t, struct inode *i);
/* While a file is sole, those who change it say so: coherence.c reads the events before inode_data_check() and before it relies on inode_sole(). */
/** inode_sole() - it is. Thread: any. */
bool inode_sole(struct inode_table *t, struct inode *i);
/** inode_sole_begin() - it is from now on, unless *@events, which counts those others who were heard of, is no longer @events_seen. */
void inode_sole_begin(struct inode_table *t, struct inode *i, const _Atomic uint64_t *events, uint64_t events_seen);
/** inode_sole_lost() - somebody else was heard of: if it was sole, it is not, and its data are taken for changed. */
void inode_sole_lost(struct inode_table *t, struct inode *i);
/** inode_sole_end() - no more events will come. What is not known by a look is taken for changed. */
void inode_sole_end(struct inode_table *t, struct inode *i);
/** inode_change_end_sole() - as inode_change_end(), without a look; false, and nothing done: it is not sole, a look is needed. */
bool inode_change_end_sole(struct inode_table *t, struct inode *i);
/* Of a directory those fields hold what dir_cache.h asks for. */
enum inode_dir { INODE_DIR_AS_LISTED, INODE_DIR_LIST, INODE_DIR_UNSETTLED };
/**
 * inode_dir_listing() - whether directory @i is as it was when it was last listed, and that was less than @keep_ns before @now_ns
 * LIST: it is not; the listing that begins now is remembered, if @settled; else UNSETTLED.
 */
enum inode_dir inode_dir_listing(struct inode_table *t, struct inode *i, const struct statx *stx, uint64_t now_ns, uint64_t keep_ns,
				 bool settled);
/** inode_change_begin() - a request starts to change the data; true: it is the only one. */
bool inode_change_begin(struct inode_table *t, struct inode *i);
/** inode_change_alone() - whether no other request is changing it now; *@ret_seq for inode_change_end(). */
bool inode_change_alone(struct inode_table *t, struct inode *i, uint32_t *ret_seq);
/**
 * inode_change_end() - it has ended
 * @stx: how the file is now, looked at after inode_change_alone() gave @seq; NULL: not looked at
 * Return false when another change came and went meanwhile: nothing is done, look again.
 */
bool inode_change_end(struct inode_table *t, struct inode *i, const struct statx *stx, uint32_t seq);
/** inode_cached_set() - from now on the kernel may hold pages of it. Thread: any. */
void inode_cached_set(struct inode *i);
/**
 * inode_mode_told() - the kernel is about to be told that this is the mode
 * inode_mode_ended() - whether it has been told of setuid or setgid since this was last asked: they have ended now
 *
 * After a write that ended them, or an open that truncated, the kernel takes size and times for old, not the mode
 * (FUSE_STATX_MODSIZE in fs/fuse/file.c, Linux 6.18): it would run the new content with the old bits for as long as attributes
 * are trusted. So it has to be told. Thread: any.
 */
void inode_mode_told(struct inode *i, uint16_t mode);
bool inode_mode_ended(struct inode *i);
/** inode_cached() - whether it may, but for those of mappings made by openers with O_DIRECT. Thread: any. */
bool inode_cached(const struct inode *i);
/** inode_opens() - open handles. */
uint32_t inode_opens(struct inode_table *t, struct inode *i);
/** inode_writer_set() - it is open for writing, or was: INODE_TOLD_WRITER. Thread: any. */
void inode_writer_set(struct inode *i);
/** inode_dirty_set() - an open handle, counted already, lets the kernel hold data that we have not been sent, until all are closed. Thread: any. */
void inode_dirty_set(struct inode *i);
/** inode_dirty() - whether it may hold some. Thread: any. */
bool inode_dirty(const struct inode *i);

struct inode_table_stats {
	uint64_t inodes, inodes_max, kept, fds, memory_bytes; /* kept: of inodes, those that the kernel has forgotten */
};
/** inode_table_stats() - figures of now. Thread: any. */
void inode_table_stats(struct inode_table *t, struct inode_table_stats *ret);

#endif
