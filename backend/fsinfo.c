/* SPDX-License-Identifier: MIT */
/* fsinfo.c - see fsinfo.h. */
#include "fsinfo.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "util/cleanup.h"

/** mountinfo_line() - take the fields of one line; false: another device. */
static bool mountinfo_line(char *line, dev_t dev, struct fsinfo *ret)
{
	char *save = NULL, *field = strtok_r(line, " \n", &save), *options;
	unsigned maj = 0, min = 0;

	for (unsigned n = 1; field && n < 3; n++)
		field = strtok_r(NULL, " \n", &save);
	if (!field || sscanf(field, "%u:%u", &maj, &min) != 2 || makedev(maj, min) != dev)
		return false;
	while (field && strcmp(field, "-"))
		field = strtok_r(NULL, " \n", &save);
	field = field ? strtok_r(NULL, " \n", &save) : NULL;
	options = field && strtok_r(NULL, " \n", &save) ? strtok_r(NULL, " \n", &save) : NULL;
	if (!options)
		return false;
	snprintf(ret->type, sizeof(ret->type), "%s", field);
	snprintf(ret->options, sizeof(ret->options), "%s", options);
	return true;
}

int fsinfo_find(const char *proc, dev_t dev, struct fsinfo *ret)
{
	char path[PATH_MAX];
	CLEANUP_FREE char *line = NULL;
	size_t size = 0;
	bool found = false;
	FILE *f;

	memset(ret, 0, sizeof(*ret));
	snprintf(path, sizeof(path), "%s/self/mountinfo", proc);
	f = fopen(path, "re");
	while (f && !found && getline(&line, &size, f) > 0)
		found = mountinfo_line(line, dev, ret);
	if (f)
		(void)fclose(f); /* read only */
	if (found)
		return 0;
	snprintf(ret->why, sizeof(ret->why), "its filesystem (device %u:%u) is not in /proc/self/mountinfo", major(dev), minor(dev));
	return -ENOTSUP;
}

/** option() - whether @word is in the comma-separated @list; one that ends with '=' matches any value. */
static bool option(const char *list, const char *word)
{
	size_t len = strlen(word);

	for (const char *p = list; *p; p += *p == ',') {
		size_t n = strcspn(p, ",");

		if (!strncmp(p, word, len) && (n == len || word[len - 1] == '='))
			return true;
		p += n;
	}
	return false;
}

static int refuse(struct fsinfo *info, const char *why)
{
	snprintf(info->why, sizeof(info->why), "%s", why);
	return -ENOTSUP;
}

/** ext4_lines() - what /proc/fs/ext4/NODE/options says: all options, also the defaults. */
static int ext4_lines(const char *proc, const char *node, struct fsinfo *info)
{
	bool mode = false, barrier = true, journalled = false;
	char path[PATH_MAX], line[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/fs/ext4/%s/options", proc, node);
	f = fopen(path, "re");
	if (!f)
		return refuse(info, "ext4: its options cannot be read in /proc/fs/ext4");
	while (fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = 0;
		mode |= !strcmp(line, "data=ordered") || !strcmp(line, "data=writeback");
		journalled |= !strcmp(line, "data=journal");
		if (!strcmp(line, "nobarrier") || !strcmp(line, "barrier=0"))
			barrier = false;
	}
	(void)fclose(f); /* read only */
	if (journalled)
		return refuse(info, "ext4 with data=journal: the data is in the journal, which a FLUSH does not write");
	if (!mode)
		return refuse(info, "ext4 without a journal");
	if (!barrier)
		return refuse(info, "ext4 with nobarrier: it is mounted without durability");
	return 0;
}

/** ext4_journal_inside() - jbd2 names an internal journal NODE-INODE, an external one by its own device. */
static int ext4_journal_inside(const char *proc, const char *node, struct fsinfo *info)
{
	char path[PATH_MAX];
	size_t len = strlen(node);
	bool inside = false;
	struct dirent *e;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/fs/jbd2", proc);
	dir = opendir(path);
	while (dir && (e = readdir(dir))) {
		const char *rest = e->d_name + len + 1;

		inside |= !strncmp(e->d_name, node, len) && e->d_name[len] == '-' && *rest && strspn(rest, "0123456789") == strlen(rest);
	}
	if (dir)
		(void)closedir(dir); /* read only */
	return inside ? 0 : refuse(info, "ext4 with an external journal, or one that cannot be found in /proc/fs/jbd2");
}

int fsinfo_capable(const char *proc, const char *node, struct fsinfo *info)
{
	int res;

	if (!strcmp(info->type, "ext4")) {
		res = ext4_lines(proc, node, info);
		return res < 0 ? res : ext4_journal_inside(proc, node, info);
	}
	if (!strcmp(info->type, "xfs")) {
		info->cow = true;
		if (option(info->options, "rtdev="))
			return refuse(info, "xfs with a realtime device");
		if (option(info->options, "logdev="))
			return refuse(info, "xfs with an external log");
		if (option(info->options, "nobarrier"))
			return refuse(info, "xfs with nobarrier: it is mounted without durability");
		return 0;
	}
	snprintf(info->why, sizeof(info->why), "%s: overwrites in place are proven for ext4 and xfs only", info->type);
	return -ENOTSUP;
}
