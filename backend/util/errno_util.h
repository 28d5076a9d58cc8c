/* SPDX-License-Identifier: MIT */
/* errno_util.h - the one place where a libc -1 and errno become -errno. */
#ifndef URINGFS_ERRNO_UTIL_H
#define URINGFS_ERRNO_UTIL_H

#include <errno.h>

/** errno_result() - the result of a system call, -errno when it failed (and never 0 for a failure). */
static inline long errno_result(long res)
{
	if (res >= 0)
		return res;
	return errno > 0 ? -errno : -EIO;
}

#endif
