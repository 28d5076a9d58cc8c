/* SPDX-License-Identifier: MIT */
#include "version.h"

#include <stdio.h>

#include "fs/request.h"

void version_print(void)
{
	printf("uringfs %s\nlibfuse %s\nliburing and libnvme as of build: %s, %s\n", URINGFS_VERSION, fuse_pkgversion(),
	       URINGFS_LIBURING_VERSION, URINGFS_LIBNVME_VERSION);
}
