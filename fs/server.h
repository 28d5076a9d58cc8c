/* SPDX-License-Identifier: MIT */
/*
 * server.h - the daemon: mounts, serving threads and the channels between them.
 *
 * A mount is one FUSE connection with its own inodes and handles; there is one
 * for SOURCE and one for each filesystem mounted inside it. A serving thread
 * owns one ring and serves every mount through a channel: one way in
 * (transport.h) of one mount on one thread.
 *
 * Ownership: main creates and frees everything here; a thread's own fields are
 * touched by that thread only, unless said otherwise.
 */
#ifndef URINGFS_SERVER_H
#define URINGFS_SERVER_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "backend/backend.h"
#include "backend/util/uapi_fuse.h"
#include "fs/handle.h"
#include "fs/inode.h"
#include "fs/options.h"
#include "fs/placement_class.h"
#include "fs/placement_cpu.h"
#include "fs/placement_share.h"
#include "fs/placement_stream.h"
#include "fs/passthrough.h"
#include "fs/zero_copy.h"

#define BACKING_FS_MAX 256u
_Static_assert(BACKING_FS_MAX <= UINT8_MAX + 1u, "struct inode: fs");
#define MOUNTS_MAX 64u

struct notifier;
struct place_guard;
struct placement;
struct request;
struct transport;
struct uring_channel;
struct uring_entry;
struct fuse_session;

/** A filesystem that files of a mount lie on. Constant once published in backing_count. */
struct backing_fs {
	dev_t dev;
	int mount_fd;        /* a directory of it for open_by_handle_at(2), or -1 */
	bool handles;        /* name_to_handle_at(2) works: identity by file handle */
	_Atomic bool no_dontcache; /* it has refused RWF_DONTCACHE */
	uint32_t quick_read_max, quick_write_max; /* bytes: buffered reads and writes up to this are made on the spot (OPF_QUICK) */
	bool in_memory;      /* O_DIRECT waits for no disk either */
	bool local;          /* on a disk of this machine, or in its memory: calls are mostly quick (OPF_QUICK) */
	struct durability *durable; /* the backend's; NULL: no memory for it */
	struct sole *sole;   /* coherence.c; NULL: every change of ours is followed by a look */
	_Atomic bool sole_refused; /* the kernel does not let us watch files here */
	_Atomic uint64_t sole_look_ns; /* the last reading of its events, monotonic */
};

struct channel {
	struct server_thread *thread;
	struct mount *mount;
	struct channel *next;     /* of the same thread */
	const struct transport *transport;
	int fd;                   /* of /dev/fuse, cloned for this thread; -1 once closed */
	struct op *poll;          /* under way, or NULL: the poll of fd; transport_uring: a timeout. The channel does not end before it */
	struct uring_channel *uring; /* transport_uring: its part */
	unsigned held;            /* commands that wait in the kernel for a request */
	bool readable;            /* there may be a request to read */
	bool stopping;            /* takes no more requests */
	bool poll_canceled;       /* while stopping: transport_dev.c */
	bool ended;               /* the connection is over */
	bool eager;               /* the last looks found several requests */
	unsigned lazy;            /* single requests since the last look for a second one */
	uint32_t requests_live;   /* taken and not ended */
	struct ring_post post;    /* main -> thread: add this channel */
	struct ring_post stop_post; /* main -> thread: stop it */
	bool stop_posted;         /* main's */
	/* transport_uring_share.c: entries that other threads hand over */
	pthread_mutex_t given_lock; /* of the next two */
	_Atomic(struct uring_entry *) given; /* looked at without */
	bool given_closed;
};

struct mount {
	struct server *server;
	struct mount *parent;     /* of a filesystem inside another; NULL: SOURCE itself */
	char *mountpoint;         /* absolute */
	dev_t dev;                /* st_dev of the mount; 0: unknown */
	struct fuse_session *session;
	int root_fd;              /* O_PATH of the root; belongs to the inode table */
	struct inode_table *inodes;
	struct handle_table *handles;
	struct channel *channels; /* one per thread by /dev/fuse, then one per thread by FUSE-over-io_uring */
	unsigned channels_count;  /* that serve it, or did */
	_Atomic unsigned channels_ended;
	bool uring;               /* requests come by FUSE-over-io_uring; constant once threads serve it */
	bool dev_partly;          /* some threads could not open /dev/fuse for it; constant once threads serve it */
	unsigned dev_reader;      /* with uring: the thread that waits for what still comes by /dev/fuse */
	char uring_why[160];      /* why not; empty otherwise */
	bool zero_copy;           /* with uring: its queues have slots for the callers' pages; constant once threads serve it */
	char zero_copy_why[160];  /* why not; empty otherwise */
	uint64_t recent_ns;       /* so long after the kernel was told of a file a listing does not tell it again; 0: it always does */
	bool keep_names;          /* inodes are opened again by name, not by file handle */
	/* what INIT agreed upon */
	uint64_t init_flags;      /* flags | flags2 << 32 as answered */
	uint64_t init_offered;
	uint32_t kernel_minor, max_write, max_pages;
	uint32_t write_size;      /* of a WRITE; max_write is room for any request */
	/* filesystems seen below its root; index 0 is the root's own */
	struct backing_fs backing[BACKING_FS_MAX];
	_Atomic uint32_t backing_count;
	pthread_mutex_t backing_lock; /* adding one */
	struct lock_table *locks;  /* locks=shared */
	struct passthrough *passthrough; /* io=kernel, where it is possible */
	_Atomic unsigned writes_waiting; /* notify.h: WRITEs that wait for a notification */
	_Atomic bool early_not;    /* write_early.h: the last long stream was never synced */
};

/** Figures of one thread: one writer. */
struct thread_stats {
	struct histogram latency[UAPI_FUSE_OPCODE_MAX];
	_Atomic uint64_t errors[UAPI_FUSE_OPCODE_MAX];
	_Atomic uint64_t requests, requests_uring, kicks, replies_lost, bytes_read, bytes_written;
	_Atomic uint64_t in_flight, in_flight_max;
	_Atomic uint64_t bad_requests;   /* refused for their form */
	_Atomic uint64_t interrupts;     /* that ended a wait */
	_Atomic uint64_t dontcache, dontcache_refused; /* reads and writes with RWF_DONTCACHE; that had to do without */
	_Atomic uint64_t passthrough_opens, passthrough_not[PASSTHROUGH_NOT_COUNT];
	/* zero_copy.h: requests whose pages were in a slot, and their bytes; of them: data that went by way of memory; reads whose rest
	   was cleared. READs and WRITEs in the queue's pool: their file was not opened for it */
	_Atomic uint64_t zero_copy_reads, zero_copy_writes, zero_copy_bytes, zero_copy_around, zero_copy_cleared, zero_copy_not;
	_Atomic uint64_t early_pieces, early_bytes; /* write_early.h */
	_Atomic uint64_t drops_late; /* notify.h: answers that could not wait for old pages to go */
	_Atomic uint64_t sole_changes; /* changes of data without a look at the file */
	_Atomic uint64_t lookups_hot, lookups_cold; /* answered at once; by waiting for the disk */
	_Atomic uint64_t dirs_listed, dirs_kept; /* opens of directories: the kernel is to keep the names; it has them */
	_Atomic uint64_t names_known; /* entries of listings sent without the attributes, which the kernel had */
	_Atomic uint64_t dirs_ahead, names_ahead; /* listings begun to be worked ahead of; names looked up so */
	_Atomic uint64_t lookups_again; /* of the first: of known inodes, by one statx */
};

struct server_thread {
	struct server *server;
	unsigned index;
	pthread_t tid;
	struct ring *ring;
	struct channel *channels;
	/* request_pool.h */
	struct request *requests, *requests_free;
	size_t slot_size;
	unsigned requests_count, requests_free_count, registered_count;
	unsigned buffers_version; /* changes with the ring's buffer table */
	unsigned requests_kept;   /* that belong to ring entries */
	/* transport_uring.h */
	struct uring_channel *uring_left; /* closed while the kernel still held commands of them */
	struct zero_copy_slots slots;
	unsigned uring_held;      /* commands in the kernel that end with a request, or with the ring */
	struct place place;       /* placement_cpu.h */
	struct place_share_thread share; /* placement_share.h */
	struct place_stream_thread stream; /* placement_stream.h */
	struct place_class class; /* placement_class.h */
	_Atomic uint64_t uring_entries; /* ring entries; one writer */
	int cpu;                  /* that it is pinned to, or -1 */
	struct ring_post look_post; /* another thread -> this one: look for requests */
	atomic_bool look_posted;
	bool dirs_opened;         /* dir_cache.h: there may be directories to look after, and no timer of this thread tells when */
	struct op *dirs_timer;    /* under way, or NULL */
	unsigned parked;          /* requests that wait for a lock, or for a notification (notify.h) */
	bool lookups_again;       /* the last look-up met a known inode: child.c tries a shorter way first */
	uint64_t clock_ns;        /* end of the last request of this turn of the loop, monotonic; 0: none yet */
	sem_t started;            /* posted once: start_error is set */
	int start_error;          /* -errno, set before the start barrier is passed */
	_Atomic bool quit;        /* main: end when all channels have ended */
	struct thread_stats stats;
};

struct server {
	struct options opt;
	struct backend *backend;
	struct fd_budget budget;
	struct placement *placement; /* placement.h */
	struct place_share share; /* placement_share.h */
	struct place_stream stream; /* placement_stream.h */
	struct place_guard *guard; /* placement_class.h; while threads serve */
	bool root;                /* acts as the caller (CAP_SETUID) */
	bool open_handles;        /* open_by_handle_at(2) is allowed */
	uint64_t deny;            /* SERVER_DENY_ */
	unsigned faults;          /* DURABILITY_FAULT_ */
	struct server_thread *threads;
	unsigned threads_count;
	struct notifier *notifier; /* notify.h */
	struct mount *mounts[MOUNTS_MAX];
	_Atomic bool several_mounts; /* there are submounts, or one is about to be made */
	unsigned mounts_count;
	int event_fd;             /* threads -> main: a channel has ended */
	int proc_fd;              /* /proc/self/fd */
	uint64_t start_ns;
	_Atomic uint32_t dirs_cached; /* open directories whose names the kernel may keep */
	_Atomic uint64_t dirs_look_ns; /* dir_cache.h: no look before */
	_Atomic unsigned early_pieces; /* write_early.h: under way */
	_Atomic bool remote;      /* a filesystem was seen that is not local (struct backing_fs) */
	_Atomic uint64_t slow_close_ns; /* when a close or unlink was last made that may free space; 0: never */
};

/** server_evict() - make room for one more descriptor when the budget is used up. Thread: any. */
void server_make_room(struct mount *m);
/** server_close() - close @fd in the ring of @t; @slow: the last close may wait (see bfile_close()). -1 is ignored. */
void server_close(struct server_thread *t, int fd, bool slow);
/** server_close_speed() - how the last descriptor of a file that was written or unlinked is to be closed. @fd: of it. Thread: any. */
enum bfile_close_how server_close_speed(const struct server *srv, int fd);
/** server_close_forgotten() - close the descriptor of a forgotten inode: not on this thread when the file was unlinked and is large. */
void server_close_forgotten(struct server_thread *t, int fd);
/**
 * server_reopen() - open the file behind descriptor @fd (O_PATH or not) once more, by its magic link (proc(5))
 * @flags: O_ flags; close-on-exec is added
 * Thread: any; may wait where opening the file may.  Return: descriptor, owned by the caller, or -errno
 */
int server_reopen(const struct server *srv, int fd, int flags);
/** server_backing() - index of the backing filesystem @dev of @m; adds a new one, probed with @fd on it (O_PATH).
 *  Return the index or -ENFILE. Thread: any; adding one makes a few system calls. */
int server_backing(struct mount *m, dev_t dev, int fd);
/** server_backing_known() - the same, -1 for one that has not been added. */
int server_backing_known(const struct mount *m, dev_t dev);
/** server_space_coming() - something was closed or unlinked: space may be freed from now on. Thread: any. */
void server_space_coming(struct server *srv);
/** server_space_may_come() - whether closes of the last moments may still be freeing space on a full filesystem. */
bool server_space_may_come(const struct server *srv);
/** server_ino() - the inode number to show: unique over the filesystems below the mount. */
uint64_t server_ino(uint16_t fs, uint64_t ino);

#endif
