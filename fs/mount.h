/* SPDX-License-Identifier: MIT */
/*
 * mount.h - a directory becomes a mount: its root inode, tables and session.
 */
#ifndef URINGFS_MOUNT_H
#define URINGFS_MOUNT_H

#include <stddef.h>

struct mount;
struct server;
struct server_thread;

/**
 * mount_create() - the tables for @root_fd shown at @mountpoint, and the FUSE connection
 * @root_fd: O_PATH descriptor of the directory to show; taken over, also on failure
 * @mountpoint: absolute; copied
 * @target: the path to mount on: the same place
 * @fsname: for /proc/mounts
 * @err: one line for the user on failure
 * Thread: main. Return: 0, or -errno with nothing mounted.
 */
int mount_create(struct server *srv, int root_fd, const char *mountpoint, const char *target, const char *fsname, struct mount **ret_m, char *err,
		 size_t err_size);
/** mount_close() - all channels have ended: close every descriptor of SOURCE. Thread: main. */
void mount_close(struct mount *m);
/** mount_destroy() - all channels have ended; closes what is still open and frees it. NULL allowed. Thread: main, or any when no thread serves. */
void mount_destroy(struct mount *m);

#endif
