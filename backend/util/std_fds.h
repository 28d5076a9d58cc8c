/* SPDX-License-Identifier: MIT */
/* std_fds.h - descriptors 0, 1 and 2 are somebody's, whoever started us. */
#ifndef URINGFS_STD_FDS_H
#define URINGFS_STD_FDS_H

/**
 * std_fds_open() - what of stdin, stdout and stderr is closed becomes /dev/null
 * Else the next descriptor that is made gets the number: a pipe that dup2() then takes away, /dev/fuse that messages are
 * written to. Thread: main, before anything is opened.
 * Return: 0; -errno, /dev/null cannot be opened.
 */
int std_fds_open(void);

#endif
