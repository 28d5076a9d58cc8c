/* SPDX-License-Identifier: MIT */
/*
 * utab.h - what makes umount(8) call our helper.
 *
 * umount(8) of util-linux asks statfs(2) for the type of what is mounted, is told "fuse" without a subtype, and looks for
 * umount.fuse only (libmount/src/context_umount.c, lookup_umount_fs_by_statfs()). But it looks for a mount's own words in
 * /run/mount/utab first, and uhelper=NAME there makes it call umount.NAME. That file is libmount's own, so libmount writes it:
 * it is loaded where it is wanted, for where mount(8) is of another making (busybox) there is neither.
 */
#ifndef URINGFS_UTAB_H
#define URINGFS_UTAB_H

#include <stdbool.h>

/**
 * utab_note() - write down that umount.uringfs unmounts what is mounted on @dir
 * @dir: a mount point, as the caller knows it
 * Thread: main, as root.
 * Return: whether it is written; where not, umount(8) does not wait for the daemon
 * Source: libmount's reference, "update mount tables"
 */
bool utab_note(const char *dir);
/** utab_forget() - @dir, absolute and without symbolic links, is no mount of ours any more. A line that stays does no harm. */
void utab_forget(const char *dir);

#endif
