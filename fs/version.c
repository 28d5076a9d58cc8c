/* SPDX-License-Identifier: MIT */
#include "version.h"

#include <stdio.h>

#include "fs/request.h"

void version_print(void)
{
	printf("uringfs %s (libfuse %s; built with liburing %s, libnvme %s)\n", URINGFS_VERSION, fuse_pkgversion(),
	       URINGFS_LIBURING_VERSION, URINGFS_LIBNVME_VERSION);
}
