/* SPDX-License-Identifier: MIT */
/* durability_priv.h - shared by durability.c (what there is) and sync_call.c (one call); included inside backend/ only. */
#ifndef URINGFS_DURABILITY_PRIV_H
#define URINGFS_DURABILITY_PRIV_H

#include "backend_priv.h"
#include "device.h"
#include "durability.h"
#include "flush.h"
#include "fsinfo.h"
#include "watch.h"

#define DFILE_BUCKETS 1024u
/** Timestamps follow a FLUSH after so long (policy flush promises one second). */
#define BACKGROUND_NS 500000000u
/** Descriptors kept for that; files beyond have the kernel sync them. */
#define BACKGROUND_FDS_MAX 256u

/** One NVMe namespace, shared by the filesystems on it. Lives as long as the backend. */
struct namespace {
	struct namespace *next;
	struct device device;
	struct flusher flusher;
	int events_fd;               /* device.h, or -1 */
	pthread_mutex_t events_lock; /* reading and acting on them */
};

struct dfile {
	struct dfile *next;      /* in its bucket: table lock */
	struct durability *d;
	uint64_t ino;
	uint32_t refs;           /* table lock */
	bool watched;            /* table lock */
	struct watch_id watch_id; /* valid with watched: table lock */
	pthread_mutex_t lock;    /* guards proof */
	struct proof proof;
	/* background: guarded by background_lock */
	struct dfile *background_next;
	bool background_due;     /* in the list, with a reference */
	bool background_running; /* its sync is under way */
	bool background_again;   /* times changed meanwhile */
	int background_fd;       /* of our own: a caller's open must not lose its error to us; -1 */
	struct proof_mark background_mark; /* of the thread whose op is under way */
	struct proof_times background_times;
};

struct durability {
	struct durability *next; /* of the backend */
	struct backend *b;
	enum durability_policy policy;
	unsigned faults;
	bool capable;
	bool untold; /* under table_lock: a file is, or was, open for writing without a dfile, so no new ones are made */
	bool counts_namespace;   /* the first filesystem on it shows its figures */
	char text[512];
	dev_t dev;
	struct fsinfo fs;
	struct namespace *ns;
	struct watch watch;
	pthread_mutex_t table_lock;
	struct dfile *bucket[DFILE_BUCKETS];
	pthread_mutex_t background_lock;
	struct dfile *background;    /* due, each with a reference */
	bool background_timer;
	unsigned background_fds;
	/* figures: added to by all ring threads */
	_Atomic uint64_t flush, no_cache, clean, kernel[PROOF_REASONS_COUNT], errors, proofs, looks, background_syncs, untold_opens;
	pthread_mutex_t latency_lock; /* both histograms */
	struct histogram kernel_latency, flush_latency;
};

/** dfile_lock() - take the lock; with the fault keep_proof what happens until dfile_unlock() leaves a proof as it is. */
void dfile_lock(struct dfile *f, struct proof *saved);
void dfile_unlock(struct dfile *f, const struct proof *saved);
/** dfile_watch() - have others' opens and changes of it reported; @fd: any descriptor of it. Return: 0 or -errno. Thread: any. */
int dfile_watch(struct dfile *f, int fd);
/** durability_look() - learn what others did: opens and changes in SOURCE, resets of the device. Thread: any; no dfile lock held. */
void durability_look(struct durability *d);
/** background_add() - sync the timestamps of @f soon. Thread: owner of @r. Return: false: not possible, sync now. */
bool background_add(struct ring *r, struct dfile *f, int fd);
/** file_times() - read them, and size and blocks when @ret_stx is not NULL. Thread: any; a held descriptor does not wait. */
int file_times(int fd, struct proof_times *ret, struct statx *ret_stx);

#endif
