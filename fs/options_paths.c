/* SPDX-License-Identifier: MIT */
/* options_paths.c - what the options name in the system: see options.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/util/cleanup.h"
#include "options.h"

static int check_directory(const char *what, const char *path, char **ret_real, char *err, size_t err_size)
{
	struct stat st;

	*ret_real = realpath(path, NULL);
	if (!*ret_real || stat(*ret_real, &st) < 0) {
		int e = errno;
		snprintf(err, err_size, "%s %s: %s%s", what, path, strerror(e),
			 e == ENOTCONN ? " (a dead mount is there: umount -l it first)" :
			 e == ENOENT   ? " (make the directory first)" : "");
		return -e;
	}
	if (!S_ISDIR(st.st_mode)) {
		snprintf(err, err_size, "%s %s: not a directory (a directory is needed)", what, path);
		return -ENOTDIR;
	}
	return 0;
}

/** below() - whether path @inner lies below @outer (not: is the same). */
static bool below(const char *inner, const char *outer)
{
	size_t len = strlen(outer);

	if (!strcmp(outer, "/"))
		return inner[1] != 0;
	return !strncmp(inner, outer, len) && inner[len] == '/';
}

/** check_stats_file() - it can be written; a relative name is meant here and not in /, where the daemon goes. It is not made yet. */
static int check_stats_file(struct options *o, char *err, size_t err_size)
{
	CLEANUP_FREE char *dir = NULL;
	struct stat st;
	char *absolute, *slash, *cwd;

	if (!o->stats_file)
		return 0;
	if (o->stats_file[0] != '/') {
		cwd = getcwd(NULL, 0);
		if (!cwd || asprintf(&absolute, "%s/%s", cwd, o->stats_file) < 0)
			absolute = NULL;
		free(cwd);
		if (!absolute) {
			snprintf(err, err_size, "stats_file=%s: the current directory has no name: give a path from / on", o->stats_file);
			return -ENOENT;
		}
		free(o->stats_file);
		o->stats_file = absolute;
	}
	if (stat(o->stats_file, &st) == 0)
		errno = S_ISDIR(st.st_mode) ? EISDIR : access(o->stats_file, W_OK) < 0 ? errno : 0;
	else if (errno == ENOENT && (dir = strdup(o->stats_file)) && (slash = strrchr(dir, '/'))) {
		slash[slash == dir] = 0;
		errno = access(dir, W_OK | X_OK) < 0 ? errno : 0;
	}
	if (errno == 0)
		return 0;
	snprintf(err, err_size, "stats_file=%s: %s (it must be a file that the daemon can write, or a name in such a directory)", o->stats_file, strerror(errno));
	return -EINVAL;
}

int options_check_paths(struct options *o, char *err, size_t err_size)
{
	int res = check_directory("source", o->source, &o->source_real, err, err_size);

	if (res < 0)
		return res;
	res = check_directory("mountpoint", o->mountpoint, &o->mountpoint_real, err, err_size);
	if (res < 0)
		return res;
	if (o->submounts && below(o->mountpoint_real, o->source_real)) {
		snprintf(err, err_size, "mountpoint %s lies inside source %s (%s): the mount would contain itself; choose a mountpoint outside, or nosubmounts",
			 o->mountpoint, o->source, o->source_real);
		return -EINVAL;
	}
	if (access(o->source_real, R_OK | X_OK) < 0) {
		int e = errno;
		snprintf(err, err_size, "source %s: %s (it must be readable by the user who mounts)", o->source, strerror(e));
		return -e;
	}
	return check_stats_file(o, err, err_size);
}
