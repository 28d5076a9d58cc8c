/* SPDX-License-Identifier: MIT */
/* fsinfo.h - which filesystem a directory lies on, and whether its overwrites are in place and flushed. */
#ifndef URINGFS_FSINFO_H
#define URINGFS_FSINFO_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct fsinfo {
	char type[32];      /* as /proc/self/mountinfo has it; "" unknown */
	char options[1024]; /* of the superblock */
	bool cow;           /* may write blocks elsewhere: file_check() must look closer */
	char why[200];      /* not capable: one line */
};

/**
 * fsinfo_find() - type and options of the filesystem with device number @dev
 * @proc: "/proc", or a captured tree
 * Thread: main.  Return: 0, or -ENOTSUP with ret->why set
 */
int fsinfo_find(const char *proc, dev_t dev, struct fsinfo *ret);

/**
 * fsinfo_capable() - whether write-back and a FLUSH of its one device are enough for overwrites
 * @node: the kernel's name of that device
 * Thread: main.  Return: 0, or -ENOTSUP with info->why set
 * Source: fs/ext4/super.c _ext4_show_options(), fs/jbd2/journal.c jbd2_journal_init_dev(); fs/xfs/xfs_super.c xfs_fs_show_options()
 */
int fsinfo_capable(const char *proc, const char *node, struct fsinfo *info);

#endif
