/* SPDX-License-Identifier: MIT */
/*
 * daemon.h - going to the background without losing an error.
 *
 * The process that the user started forks first, before there are threads and
 * rings, and waits: it ends with 0 when the daemon says that the mount serves,
 * and with the daemon's own exit status when that ends before.
 */
#ifndef URINGFS_DAEMON_H
#define URINGFS_DAEMON_H

#include <stdbool.h>
#include <sys/types.h>

struct daemon {
	bool foreground;
	int pipe_fd; /* parent: to read, child: to write */
	pid_t child;
};

/** daemon_start() - Return 1 in the parent, 0 in the child (or in the foreground), -errno. */
int daemon_start(struct daemon *d, bool foreground);
/** daemon_wait() - parent: the exit status. */
int daemon_wait(struct daemon *d);
/**
 * daemon_ready() - child: the mount serves. From here on messages go to syslog.
 * Return: false, the process that the user started was ended meanwhile (interrupted, a time limit): nobody has been told
 * of a mount, and there should be none.
 */
bool daemon_ready(struct daemon *d);

#endif
