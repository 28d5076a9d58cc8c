/* SPDX-License-Identifier: MIT */
#include "std_fds.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

int std_fds_open(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", O_RDWR) < 0) /* the lowest that is free; inherited as they are */
			return -errno;
	return 0;
}
