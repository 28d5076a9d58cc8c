/* SPDX-License-Identifier: MIT */
/*
 * watch.h - who else opens or changes a proven file directly in SOURCE (fanotify).
 *
 * Another process with such a file open could move its blocks (EXT4_IOC_MOVE_EXT,
 * XFS_IOC_SWAPEXT), share them (FICLONE) or dedupe them between two syncs, which
 * no time stamp shows. So an open by a process that is not ours ends the proof.
 * So does a write, truncation or fallocate: it may come by a descriptor from
 * before the mark, or without any (truncate(2) by name: such an event has no
 * path, and only a group with FAN_REPORT_FID gets it).
 * The kernel queues the event before the call ends; we read the queue before a
 * FLUSH is decided and once more before it is answered. Our own writes are in
 * it too: the kernel merges them to one event a file until the next reading.
 */
#ifndef URINGFS_WATCH_H
#define URINGFS_WATCH_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define WATCH_HANDLE_MAX 32u /* bytes; ext4 has 8, xfs 12 (include/linux/exportfs.h, enum fid_type) */

/** A file as events name it: its handle. All files of a group are of one filesystem. */
struct watch_id {
	int type;
	uint32_t size; /* bytes */
	unsigned char handle[WATCH_HANDLE_MAX];
};

/**
 * watch_found_fn - called for each file that somebody else has opened or changed
 * @id: of it; NULL: some events were lost, any file may be meant
 */
typedef void (*watch_found_fn)(void *arg, const struct watch_id *id);

struct watch {
	int fd;               /* fanotify group, or -1 */
	pid_t pid;            /* ours */
	pthread_mutex_t lock; /* one reader at a time; held while found() runs */
};

/**
 * watch_init() - a group without marks
 * Thread: main.
 * Return: 0, or -errno (-EPERM without CAP_SYS_ADMIN)
 * Source: fanotify(7), fanotify_init(2)
 */
int watch_init(struct watch *w);
void watch_fini(struct watch *w);
/** watch_add() - watch the file open as @fd. Thread: any. Return: 0 or -errno */
int watch_add(struct watch *w, int fd, struct watch_id *ret_id);
/** watch_remove() - no longer; an error is ignored: the file may have gone. Thread: any. */
void watch_remove(struct watch *w, int fd);
/** watch_take() - read all events; @found is called for those of other processes. Thread: any; does not wait for events. */
void watch_take(struct watch *w, watch_found_fn found, void *arg);
/** watch_same() - whether both name one file. */
bool watch_same(const struct watch_id *a, const struct watch_id *b);

#endif
