/* SPDX-License-Identifier: MIT */
/*
 * watch.h - who else opens a proven file directly in SOURCE (fanotify).
 *
 * Another process with such a file open could move its blocks (EXT4_IOC_MOVE_EXT,
 * XFS_IOC_SWAPEXT), share them (FICLONE) or dedupe them between two syncs, which
 * no time stamp shows. So an open by a process that is not ours ends the proof.
 * The kernel queues the event before the opener gets its descriptor; we read the
 * queue before a FLUSH is decided and once more before it is answered.
 */
#ifndef URINGFS_WATCH_H
#define URINGFS_WATCH_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/**
 * watch_found_fn - called for each file that somebody else has opened
 * @ino: of it; 0: some events were lost, any file may be meant
 */
typedef void (*watch_found_fn)(void *arg, uint64_t ino);

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
int watch_add(struct watch *w, int fd);
/** watch_remove() - no longer; an error is ignored: the file may have gone. Thread: any. */
void watch_remove(struct watch *w, int fd);
/** watch_take() - read all events; @found is called for those of other processes. Thread: any; does not wait for events. */
void watch_take(struct watch *w, watch_found_fn found, void *arg);

#endif
