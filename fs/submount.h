/* SPDX-License-Identifier: MIT */
/*
 * submount.h - the filesystems mounted inside SOURCE.
 *
 * The kernel's FUSE knows submounts within one connection for virtiofs only
 * (fs/fuse/virtio_fs.c sets auto_submounts, nobody else does). So each gets a
 * connection of its own, mounted at the same place below MOUNTPOINT: with its
 * own device number, inode numbers as in SOURCE, statfs, and EXDEV in between.
 * That needs the right to mount; for an unprivileged user all is shown in one
 * filesystem, with inode numbers made unique.
 */
#ifndef URINGFS_SUBMOUNT_H
#define URINGFS_SUBMOUNT_H

struct server;

/**
 * submount_scan() - mount what is mounted inside SOURCE and not yet shown
 *
 * Called at start, and again when the kernel says that the mount table has changed
 * (poll of /proc/self/mountinfo). Thread: main, while the threads serve.
 */
void submount_scan(struct server *srv);

/** submount_unescape() - in place: mountinfo writes blanks, newlines and backslashes as \ooo (proc(5)). Thread: any. */
void submount_unescape(char *s);

#endif
