/* SPDX-License-Identifier: MIT */
#include "daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/util/log.h"

int daemon_start(struct daemon *d, bool foreground)
{
	int fds[2];

	*d = (struct daemon){ .foreground = foreground, .pipe_fd = -1 };
	if (foreground)
		return 0;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	d->child = fork();
	if (d->child < 0) {
		int e = errno;
		(void)close(fds[0]); /* never used */
		(void)close(fds[1]); /* never used */
		return -e;
	}
	d->pipe_fd = d->child ? fds[0] : fds[1];
	(void)close(d->child ? fds[1] : fds[0]); /* the other side's */
	if (d->child)
		return 1;
	(void)setsid(); /* cannot fail in a fresh child */
	return 0;
}

int daemon_wait(struct daemon *d)
{
	int status = 0;
	char ready;
	ssize_t n;

	do {
		n = read(d->pipe_fd, &ready, 1);
	} while (n < 0 && errno == EINTR);
	if (n == 1)
		return 0;
	while (waitpid(d->child, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) && WEXITSTATUS(status) ? WEXITSTATUS(status) : 1;
}

bool daemon_ready(struct daemon *d)
{
	bool told;
	int null;

	if (d->foreground)
		return true;
	log_to_syslog();
	if (chdir("/") < 0)
		log_warning("cannot leave the current directory: it stays in use");
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null >= 0) {
		(void)dup2(null, STDIN_FILENO);  /* our messages no longer go here */
		(void)dup2(null, STDOUT_FILENO); /* as above */
		(void)dup2(null, STDERR_FILENO); /* as above */
		if (null > STDERR_FILENO)
			(void)close(null); /* a copy is in use */
	}
	told = write(d->pipe_fd, "", 1) == 1;
	(void)close(d->pipe_fd); /* said all */
	d->pipe_fd = -1;
	return told;
}
