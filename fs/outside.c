/* SPDX-License-Identifier: MIT */
#include "outside.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/util/errno_util.h"

extern char **environ;

static int sync_all(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), res;

	if (fd < 0)
		return 0; /* what cannot be reached holds nothing of ours */
	res = (int)errno_result(syncfs(fd));
	(void)close(fd); /* a directory */
	return res;
}

static int ask(unsigned cpu, const char *path)
{
	struct statx stx;
	cpu_set_t one;

	if (cpu >= CPU_SETSIZE)
		return -EINVAL;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	/* where we may not run (a cpuset) nothing can be done */
	if (sched_setaffinity(0, sizeof(one), &one) == 0)
		(void)statx(AT_FDCWD, path, AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &stx); /* only that it is asked matters */
	return 0;
}

/** make() - the call. */
static int make(const char *what, const char *path)
{
	unsigned cpu;

	if (!strcmp(what, OUTSIDE_SYNC))
		return sync_all(path);
	if (!strcmp(what, OUTSIDE_UNMOUNT) || !strcmp(what, OUTSIDE_DETACH))
		return (int)errno_result(umount2(path, UMOUNT_NOFOLLOW | (strcmp(what, OUTSIDE_UNMOUNT) ? MNT_DETACH : 0)));
	return sscanf(what, OUTSIDE_ASK, &cpu) == 1 ? ask(cpu, path) : -EINVAL;
}

int outside_main(const char *what, const char *path)
{
	return -make(what, path);
}

/** start() - Return: the process, or -errno. */
static pid_t start(const char *what, const char *path)
{
	char *argv[] = { (char *)"uringfs", (char *)OUTSIDE_WORD, (char *)what, (char *)path, NULL };
	posix_spawnattr_t attr;
	sigset_t none;
	pid_t pid;
	int res;

	sigemptyset(&none);
	posix_spawnattr_init(&attr);
	(void)posix_spawnattr_setsigmask(&attr, &none); /* valid arguments: these three cannot fail */
	(void)posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	res = posix_spawn(&pid, "/proc/self/exe", NULL, &attr, argv, environ);
	(void)posix_spawnattr_destroy(&attr);
	return res ? -res : pid;
}

int outside_call(const char *what, const char *path)
{
	pid_t pid = start(what, path);
	int status;

	if (pid < 0)
		return make(what, path);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EINTR;
}
