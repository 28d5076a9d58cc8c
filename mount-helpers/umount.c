/* SPDX-License-Identifier: MIT */
/* umount.c - see umount.h. */
#include "umount.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "backend/util/cleanup.h"
#include "backend/util/log.h"
#include "mount_opts.h"
#include "utab.h"

/** A daemon that still has requests to end (a slow disk) may take its time; then we say so and leave it. */
#define DAEMON_WAIT_MS 30000
/** The mount may be seen elsewhere still: then the daemon stays. */
#define ELSEWHERE_WAIT_MS 500

struct umount_args {
	const char *dir, *ns;
	bool lazy, force, read_only, verbose;
};

/** parse() - false: wrong usage. The flags of one argument may be together; umount(8) gives them apart. */
static bool parse(struct umount_args *args, int argc, char **argv)
{
	*args = (struct umount_args){ 0 };
	for (int i = 1; i < argc; i++) {
		if (argv[i][0] != '-') {
			if (args->dir)
				return false;
			args->dir = argv[i];
			continue;
		}
		for (const char *p = argv[i] + 1; *p; p++) {
			if (*p == 'N' || *p == 't') {
				const char *value = p[1] ? p + 1 : ++i < argc ? argv[i] : NULL;

				if (!value)
					return false;
				if (*p == 'N')
					args->ns = value;
				break;
			}
			args->lazy |= *p == 'l';
			args->force |= *p == 'f';
			args->read_only |= *p == 'r';
			args->verbose |= *p == 'v';
			if (!strchr("lfrvn", *p)) /* -n: there is no mtab to leave alone */
				return false;
		}
	}
	return args->dir && args->dir[0];
}

/** serves() - the connections that process @pid has open: its /dev/fuse descriptors name them in their fdinfo. */
static bool serves(int pid, unsigned connection, bool *ret_others)
{
	char path[64 + 256], line[128];
	bool found = false;
	struct dirent *e;
	unsigned n;
	DIR *d;

	*ret_others = false;
	snprintf(path, sizeof(path), "/proc/%d/fdinfo", pid);
	d = opendir(path);
	while (d && (e = readdir(d))) {
		FILE *f;

		snprintf(path, sizeof(path), "/proc/%d/fdinfo/%s", pid, e->d_name);
		f = fopen(path, "re");
		while (f && fgets(line, sizeof(line), f)) {
			if (sscanf(line, "fuse_connection: %u", &n) != 1)
				continue;
			found = found || n == connection;
			*ret_others = *ret_others || n != connection;
		}
		if (f)
			(void)fclose(f); /* read only */
	}
	if (d)
		closedir(d);
	return found;
}

static bool is_uringfs(const char *pid)
{
	char path[64], exe[4096];
	ssize_t len;

	snprintf(path, sizeof(path), "/proc/%.20s/exe", pid);
	len = readlink(path, exe, sizeof(exe) - 1);
	if (len <= 0)
		return false;
	exe[len] = 0;
	return strstr(exe, "uringfs") != NULL; /* "(deleted)" may follow */
}

struct daemon {
	int pid, pidfd; /* pidfd -1: not found (another pid namespace, a kernel that does not tell) */
	unsigned connection;
};

static struct daemon daemon_of(const char *dir)
{
	struct daemon d = { .pidfd = -1 };
	struct statx stx;
	struct dirent *e;
	bool others;
	DIR *proc;

	/* a daemon that hangs must not hang us: no attributes are asked for */
	if (syscall(SYS_statx, AT_FDCWD, dir, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT | AT_SYMLINK_NOFOLLOW, 0, &stx) < 0)
		return d;
	d.connection = stx.stx_dev_minor;
	proc = stx.stx_dev_major == 0 ? opendir("/proc") : NULL;
	while (proc && d.pidfd < 0 && (e = readdir(proc))) {
		d.pid = atoi(e->d_name);
		if (d.pid > 0 && is_uringfs(e->d_name) && serves(d.pid, d.connection, &others))
			d.pidfd = (int)syscall(SYS_pidfd_open, d.pid, 0);
	}
	if (proc)
		closedir(proc);
	return d;
}

/** wait_for() - until it has ended, or has ended this mount of several (filesystems inside SOURCE), or the mount lives elsewhere. */
static void wait_for(const struct daemon *d)
{
	struct pollfd pfd = { .fd = d->pidfd, .events = POLLIN };
	int limit = DAEMON_WAIT_MS;
	char path[64];
	bool others;

	if (access("/sys/fs/fuse/connections/.", F_OK) < 0)
		return;
	snprintf(path, sizeof(path), "/sys/fs/fuse/connections/%u", d->connection);
	if (access(path, F_OK) == 0)
		limit = ELSEWHERE_WAIT_MS; /* a bind mount or another namespace keeps it, or it is just going */
	for (int waited = 0; waited < limit && poll(&pfd, 1, 5) == 0; waited += 5)
		if (!serves(d->pid, d->connection, &others) && others)
			return;
}

static enum mount_exit read_only(const char *dir)
{
	if (mount(NULL, dir, NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0) {
		log_warning("%s is busy: it was made read-only", dir);
		return MOUNT_EX_OK;
	}
	log_error("%s: cannot make it read-only: %s", dir, strerror(errno));
	return MOUNT_EX_FAILURE;
}

static enum mount_exit unmount(const struct umount_args *args)
{
	struct daemon daemon = args->lazy ? (struct daemon){ .pidfd = -1 } : daemon_of(args->dir);
	CLEANUP_CLOSE int pidfd = daemon.pidfd;
	int flags = UMOUNT_NOFOLLOW | (args->lazy ? MNT_DETACH : 0) | (args->force ? MNT_FORCE : 0);

	if (umount2(args->dir, flags) < 0) {
		if (errno == EBUSY && args->read_only)
			return read_only(args->dir);
		log_error("%s: cannot unmount: %s", args->dir, strerror(errno));
		return MOUNT_EX_FAILURE;
	}
	utab_forget(args->dir); /* umount(8) gives it as it stands there */
	if (args->verbose)
		printf("%s unmounted\n", args->dir);
	if (pidfd >= 0)
		wait_for(&daemon);
	return MOUNT_EX_OK;
}

int umount_main(int argc, char **argv)
{
	struct umount_args args;

	log_init("umount.uringfs", false);
	if (!parse(&args, argc, argv)) {
		fprintf(stderr, "usage: umount.uringfs MOUNTPOINT [-flnrv] [-N NAMESPACE] [-t TYPE]\n");
		return MOUNT_EX_USAGE;
	}
	if (geteuid() != 0) {
		execlp("fusermount3", "fusermount3", args.lazy ? "-uz" : "-u", "--", args.dir, (char *)NULL);
		log_error("cannot execute fusermount3: %s", strerror(errno));
		return MOUNT_EX_SYSTEM;
	}
	return (int)unmount(&args);
}
