/* SPDX-License-Identifier: MIT */
/*
 * umount.h - what umount(8) calls for the types uringfs and fuse.uringfs.
 *
 * umount(2) of a FUSE mount returns before its daemon has ended, and until then
 * the filesystem of SOURCE is in use: a script that unmounts it next, or mounts
 * the same again, meets EBUSY. So the helper waits for the daemon. That umount(8) calls it is utab.h's doing.
 */
#ifndef URINGFS_UMOUNT_H
#define URINGFS_UMOUNT_H

/**
 * umount_main() - MOUNTPOINT [-flnrv] [-N NAMESPACE] [-t TYPE]
 * Return: exit status of umount(8), as enum mount_exit
 */
int umount_main(int argc, char **argv);

#endif
