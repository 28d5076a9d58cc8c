/* SPDX-License-Identifier: MIT */
/* cleanup.h - resources that are released when their variable leaves scope. */
#ifndef URINGFS_CLEANUP_H
#define URINGFS_CLEANUP_H

#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_free_p(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_close_p(const int *fd)
{
	if (*fd >= 0)
		(void)close(*fd); /* nothing was written through it, or an earlier error is already on its way */
}

/** A pointer from malloc() that is freed at the end of its scope. */
#define CLEANUP_FREE __attribute__((cleanup(cleanup_free_p)))
/** A descriptor (or -1) that is closed at the end of its scope. */
#define CLEANUP_CLOSE __attribute__((cleanup(cleanup_close_p)))

/** take_fd() - hand a CLEANUP_CLOSE descriptor over to another owner. */
static inline int take_fd(int *fd)
{
	int taken = *fd;
	*fd = -1;
	return taken;
}

#endif
