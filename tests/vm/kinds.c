/* SPDX-License-Identifier: MIT */
/*
 * kinds.c - what no program of the guest can make of a file: kinds verity FILE | journalled FILE | hold FILE
 *
 * verity: nobody can write to it any more. journalled: its data goes through the journal. hold: opens it for writing, prints "open", and
 * does the latter by that descriptor when a line is read from standard input. Ends with 1 at an error, naming it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/fsverity.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static int fail(const char *what)
{
	fprintf(stderr, "kinds: %s: %s\n", what, strerror(errno));
	return 1;
}

static int verity(const char *path)
{
	struct fsverity_enable_arg arg = { .version = 1, .hash_algorithm = FS_VERITY_HASH_ALG_SHA256, .block_size = 4096 };
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd < 0 || ioctl(fd, FS_IOC_ENABLE_VERITY, &arg) < 0 ? fail(path) : 0;
}

static int journalled(int fd)
{
	int flags = 0;

	if (ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0)
		return fail("FS_IOC_GETFLAGS");
	flags |= FS_JOURNAL_DATA_FL;
	return ioctl(fd, FS_IOC_SETFLAGS, &flags) < 0 ? fail("FS_IOC_SETFLAGS") : 0;
}

int main(int argc, char **argv)
{
	int fd;

	if (argc != 3)
		return 2;
	if (!strcmp(argv[1], "verity"))
		return verity(argv[2]);
	fd = open(argv[2], O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return fail(argv[2]);
	if (!strcmp(argv[1], "hold")) {
		puts("open");
		fflush(stdout);
		if (getchar() == EOF)
			return 1;
	}
	return journalled(fd);
}
