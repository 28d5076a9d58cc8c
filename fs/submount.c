/* SPDX-License-Identifier: MIT */
#include "submount.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/util/cleanup.h"
#include "backend/util/log.h"
#include "fs/mount.h"
#include "fs/serve.h"
#include "fs/server.h"

void submount_unescape(char *s)
{
	char *to = s;

	for (; *s; s++) {
		if (*s == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] && s[3]) {
			*to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 3;
		} else {
			*to++ = *s;
		}
	}
	*to = 0;
}

/** below() - the part of @path below directory @dir, or NULL. */
static const char *below(const char *path, const char *dir)
{
	size_t len = strcmp(dir, "/") ? strlen(dir) : 0;

	return !strncmp(path, dir, len) && path[len] == '/' && path[len + 1] ? path + len + 1 : NULL;
}

static bool known(const struct server *srv, const char *mountpoint)
{
	for (unsigned n = 0; n < srv->mounts_count; n++)
		if (!strcmp(srv->mounts[n]->mountpoint, mountpoint))
			return true;
	return false;
}

/** show() - the mount at @rel inside SOURCE. */
static void show(struct server *srv, const char *rel)
{
	const struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS };
	const struct open_how there = { .flags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS };
	char mountpoint[8192], name[8192], err[1024];
	CLEANUP_CLOSE int target_fd = -1;
	char target[32];
	int root_fd, res;

	snprintf(mountpoint, sizeof(mountpoint), "%s/%s", strcmp(srv->opt.mountpoint_real, "/") ? srv->opt.mountpoint_real : "", rel);
	snprintf(name, sizeof(name), "%s/%s", srv->opt.fsname ? srv->opt.fsname : srv->opt.source_real, rel);
	if (known(srv, mountpoint) || srv->mounts_count == MOUNTS_MAX)
		return;
	root_fd = sys_openat2(srv->mounts[0]->root_fd, rel, &how);
	if (root_fd < 0)
		return; /* a file with another one bound over it, or hidden below another mount: shown in its parent */
	/* the place is opened without following links, and mounted on by descriptor: nobody can lead us elsewhere */
	target_fd = sys_openat2(AT_FDCWD, mountpoint, &there);
	if (target_fd < 0) {
		(void)close(root_fd); /* O_PATH */
		return;
	}
	snprintf(target, sizeof(target), "/proc/self/fd/%d", target_fd);
	atomic_store(&srv->several_mounts, true); /* it may show a directory of SOURCE again: coherence.c */
	res = mount_create(srv, root_fd, mountpoint, target, name, &srv->mounts[srv->mounts_count], err, sizeof(err));
	if (res < 0) {
		log_warning("%s: the filesystem mounted there is shown without a device of its own: %s", name, err);
		return;
	}
	if (serve_add(srv, srv->mounts[srv->mounts_count++]) < 0) {
		log_warning("%s: the kernel refused FUSE-over-io_uring after it had been agreed: this filesystem cannot be reached (transport=dev does without)",
			    name);
		return;
	}
	log_info("%s on %s, with its own device", name, mountpoint);
}

/** mountinfo_point() - the mount point and type in a line of mountinfo; false when it is none that we show. */
static bool mountinfo_point(char *line, char **ret_point)
{
	char *save = NULL, *field = strtok_r(line, " ", &save);
	const char *type;
	unsigned n;

	for (n = 1; field && n < 5; n++)
		field = strtok_r(NULL, " ", &save);
	*ret_point = field;
	while (field && strcmp(field, "-"))
		field = strtok_r(NULL, " ", &save);
	type = field ? strtok_r(NULL, " ", &save) : NULL;
	/* an autofs trigger must not be pulled by looking */
	if (!type || !strcmp(type, "autofs"))
		return false;
	submount_unescape(*ret_point);
	return true;
}

void submount_scan(struct server *srv)
{
	CLEANUP_FREE char *line = NULL;
	const char *rel;
	size_t size = 0;
	char *point;
	FILE *f;

	if (!srv->opt.submounts || !srv->root)
		return;
	f = fopen("/proc/self/mountinfo", "re");
	if (!f) {
		log_warning("/proc/self/mountinfo: %s: filesystems mounted inside the source are shown without devices of their own", strerror(errno));
		return;
	}
	/* in the order of the table a mount comes before those inside it */
	while (getline(&line, &size, f) > 0) {
		if (!mountinfo_point(line, &point))
			continue;
		rel = below(point, srv->opt.source_real);
		/* what lies below the mountpoint too is our own, where SOURCE is mounted over itself */
		if (rel && !(below(point, srv->opt.mountpoint_real) && known(srv, point)))
			show(srv, rel);
	}
	(void)fclose(f); /* read only */
}
