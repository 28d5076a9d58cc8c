/* SPDX-License-Identifier: MIT */
/* device.c - see device.h. */
#include "device.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libnvme.h>
#include <limits.h>
#include <linux/netlink.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "util/cleanup.h"

#define UEVENT_GROUP_KERNEL 1u

static int refuse(struct device *d, const char *format, ...) __attribute__((format(printf, 2, 3)));

static int refuse(struct device *d, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(d->why, sizeof(d->why), format, args);
	va_end(args);
	return -ENOTSUP;
}

/** copy_name() - cut where it is too long: it is only shown, or then found nowhere. */
static void copy_name(char *buf, size_t size, const char *name)
{
	size_t len = strnlen(name, size - 1);

	memcpy(buf, name, len);
	buf[len] = 0;
}

/* ---- sysfs ------------------------------------------------------------------------ */

/** read_attr() - one line of a sysfs file, without its end. Return: whether there was one */
static bool read_attr(const char *dir, const char *name, char *buf, size_t size)
{
	char path[PATH_MAX];
	CLEANUP_CLOSE int fd = -1;
	ssize_t n;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd >= 0 ? read(fd, buf, size - 1) : -1;
	if (n < 0)
		return false;
	buf[n] = 0;
	buf[strcspn(buf, "\n")] = 0;
	return true;
}

/** first_entry() - some name in a sysfs directory, "" when it is empty or missing. */
static void first_entry(const char *dir, const char *name, char *buf, size_t size)
{
	char path[PATH_MAX];
	struct dirent *e;
	DIR *list;

	buf[0] = 0;
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	list = opendir(path);
	while (list && (e = readdir(list)))
		if (e->d_name[0] != '.') {
			copy_name(buf, size, e->d_name);
			break;
		}
	if (list)
		(void)closedir(list); /* read only */
}

/** link_name() - last part of where a link leads. */
static bool link_name(const char *dir, const char *name, char *buf, size_t size)
{
	char path[PATH_MAX], target[PATH_MAX];
	const char *slash;
	ssize_t n;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return false;
	target[n] = 0;
	slash = strrchr(target, '/');
	copy_name(buf, size, slash ? slash + 1 : target);
	return true;
}

static const char *last_part(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/** stacked() - the disk or partition at @dir is made of others, or others are made of it. */
static int stacked(struct device *d, const char *dir)
{
	char other[DEVICE_NAME_MAX];

	first_entry(dir, "slaves", other, sizeof(other));
	if (other[0])
		return refuse(d, "%s is made of other devices (%s): dm, md, LUKS or bcache", last_part(dir), other);
	first_entry(dir, "holders", other, sizeof(other));
	if (other[0])
		return refuse(d, "%s is in use by another device (%s)", last_part(dir), other);
	return 0;
}

static bool exists(const char *dir, const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return access(path, F_OK) == 0;
}

/** local() - whether @text names a controller of this machine; a network's end comes back with an empty cache and a FLUSH that has waited. */
static bool local(const char *text)
{
	return !strcmp(text, "pcie") || !strcmp(text, "apple-nvme");
}

/** transports() - the controller's, or those of all controllers of the subsystem, are local. */
static int transports(struct device *d)
{
	char path[PATH_MAX], text[32];
	unsigned count = 0;
	struct dirent *e;
	DIR *list;

	if (read_attr(d->parent, "transport", text, sizeof(text)))
		return local(text) ? 0 : refuse(d, "%s is not on a controller of this machine (transport %s)", d->disk, text);
	list = opendir(d->parent);
	while (list && (e = readdir(list))) {
		if (e->d_name[0] == '.' || snprintf(path, sizeof(path), "%s/%s", d->parent, e->d_name) >= (int)sizeof(path) ||
		    !read_attr(path, "transport", text, sizeof(text)))
			continue;
		count++;
		if (!local(text))
			break;
	}
	if (list)
		(void)closedir(list); /* read only */
	if (count == 0)
		return refuse(d, "%s: the transport of its controller cannot be read", d->disk);
	return local(text) ? 0 : refuse(d, "%s is not on a controller of this machine (transport %s)", d->disk, text);
}

/** resolve_disk() - @disk is the whole disk's directory. */
static int resolve_disk(struct device *d, const char *disk)
{
	char path[PATH_MAX], text[64], *real;

	copy_name(d->disk, sizeof(d->disk), last_part(disk));
	snprintf(path, sizeof(path), "%s/device", disk);
	if (exists(disk, "loop"))
		return refuse(d, "%s is a loop device", d->disk);
	if (!link_name(path, "subsystem", text, sizeof(text)))
		return refuse(d, "%s is a virtual device", d->disk);
	if ((strcmp(text, "nvme") && strcmp(text, "nvme-subsystem")) || !read_attr(disk, "nsid", text, sizeof(text)))
		return refuse(d, "%s is no NVMe namespace", d->disk);
	d->nsid = (uint32_t)strtoul(text, NULL, 10);
	real = realpath(path, NULL);
	if (!real || d->nsid == 0 || d->nsid == UINT32_MAX || snprintf(d->parent, sizeof(d->parent), "%s", real) >= (int)sizeof(d->parent)) {
		free(real);
		return refuse(d, "%s: its namespace number or controller cannot be read", d->disk);
	}
	free(real);
	if (snprintf(d->cache_path, sizeof(d->cache_path), "%s/queue/write_cache", disk) >= (int)sizeof(d->cache_path))
		return refuse(d, "%s: its path is too long", d->disk);
	d->write_back_known = true;
	if (!read_attr(disk, "queue/write_cache", text, sizeof(text)))
		return refuse(d, "%s: queue/write_cache cannot be read", d->disk);
	d->write_back = strcmp(text, "write through") != 0;
	return transports(d);
}

int device_resolve(const char *sys, dev_t dev, struct device *ret)
{
	char path[PATH_MAX], *real, *slash;
	int res;

	*ret = (struct device){ .dev = dev, .fd = -1 };
	if (major(dev) == 0)
		return refuse(ret, "its device number %u:%u is anonymous: several devices, a network or memory", major(dev), minor(dev));
	snprintf(path, sizeof(path), "%s/dev/block/%u:%u", sys, major(dev), minor(dev));
	real = realpath(path, NULL);
	if (!real)
		return refuse(ret, "device %u:%u is not in sysfs", major(dev), minor(dev));
	copy_name(ret->node, sizeof(ret->node), last_part(real));
	res = stacked(ret, real);
	if (res == 0 && exists(real, "partition")) {
		slash = strrchr(real, '/');
		*slash = 0;
		res = stacked(ret, real);
	}
	if (res == 0)
		res = resolve_disk(ret, real);
	free(real);
	return res;
}

bool device_cache_look(struct device *d)
{
	char text[64];

	if (d->cache_path[0] && read_attr("", d->cache_path + 1, text, sizeof(text)))
		d->write_back = strcmp(text, "write through") != 0;
	return d->write_back;
}

bool device_volatile(const struct device *d)
{
	/* the kernel's own view, which the administrator may have set: it flushes exactly then */
	return d->write_back;
}

/* ---- the character device ----------------------------------------------------------- */

/** same_parent() - the character device @rdev belongs to the controller or subsystem of the disk. */
static bool same_parent(const struct device *d, dev_t rdev)
{
	char path[128], class_name[32], *real;
	bool same;

	snprintf(path, sizeof(path), "/sys/dev/char/%u:%u", major(rdev), minor(rdev));
	if (!link_name(path, "subsystem", class_name, sizeof(class_name)) || strcmp(class_name, "nvme-generic"))
		return false;
	snprintf(path, sizeof(path), "/sys/dev/char/%u:%u/device", major(rdev), minor(rdev));
	real = realpath(path, NULL);
	same = real && !strcmp(real, d->parent);
	free(real);
	return same;
}

static int open_generic(struct device *d)
{
	char path[DEVICE_NAME_MAX + 8];
	struct stat st;
	__u32 nsid = 0;
	int fd, res;

	snprintf(path, sizeof(path), "/dev/%s", d->generic);
	fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0) {
		res = -errno;
		(void)refuse(d, "%s: %s", path, strerror(-res));
		return res;
	}
	d->fd = fd;
	if (fstat(fd, &st) < 0 || !S_ISCHR(st.st_mode) || !same_parent(d, st.st_rdev))
		return refuse(d, "%s is not the character device of %s", path, d->disk);
	d->generic_dev = st.st_rdev;
	if (nvme_get_nsid(fd, &nsid) != 0 || nsid != d->nsid)
		return refuse(d, "%s: the kernel names namespace %u, sysfs %u", path, nsid, d->nsid);
	return 0;
}

static int identify(struct device *d)
{
	struct nvme_id_ctrl *id = aligned_alloc(4096, sizeof(*id) < 4096 ? 4096 : sizeof(*id));
	int res;

	if (!id)
		return refuse(d, "out of memory");
	res = nvme_identify_ctrl(d->fd, id);
	d->vwc = res == 0 && id->vwc & NVME_CTRL_VWC_PRESENT;
	free(id);
	if (res == 0)
		return 0;
	return res < 0 ? refuse(d, "Identify Controller: %s", strerror(errno)) : refuse(d, "Identify Controller: status 0x%x", (unsigned)res);
}

int device_open(struct device *d)
{
	nvme_ns_t ns = nvme_scan_namespace(d->disk);
	const char *name = ns ? nvme_ns_get_generic_name(ns) : NULL;
	int res;

	d->fd = -1;
	if (!name || !*name || snprintf(d->generic, sizeof(d->generic), "%s", name) >= (int)sizeof(d->generic))
		res = refuse(d, "libnvme finds no character device of %s: %s", d->disk, ns ? "too old a kernel" : strerror(errno));
	else
		res = open_generic(d);
	if (ns)
		nvme_free_ns(ns);
	if (res == 0)
		res = identify(d);
	if (res < 0 && d->fd >= 0) {
		(void)close(d->fd); /* nothing was sent */
		d->fd = -1;
	}
	return res;
}

/* ---- events --------------------------------------------------------------------------- */

int device_events_open(void)
{
	struct sockaddr_nl addr = { .nl_family = AF_NETLINK, .nl_groups = UEVENT_GROUP_KERNEL };
	int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT);
	int res;

	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0)
		return fd;
	res = -errno;
	(void)close(fd); /* never used */
	return res;
}

/** below() - @path is @dir or lies in it. */
static bool below(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	return !strncmp(path, dir, len) && (path[len] == 0 || path[len] == '/');
}

bool device_event_concerns(const struct device *d, const char *sys, const char *text, size_t len)
{
	const char *action = "", *path = "", *kind = "", *parent = d->parent;
	size_t sys_len = strlen(sys);

	for (size_t at = 0; at < len; at += strnlen(text + at, len - at) + 1) {
		const char *word = text + at;

		if (memchr(word, 0, len - at) == NULL)
			break;
		if (!strncmp(word, "ACTION=", 7))
			action = word + 7;
		else if (!strncmp(word, "DEVPATH=", 8))
			path = word + 8;
		else if (!strncmp(word, "SUBSYSTEM=", 10))
			kind = word + 10;
	}
	if (!strncmp(parent, sys, sys_len))
		parent += sys_len;
	/* the controller's own: it was reset, or goes; the disk's: it goes, or has another size. A multipath head belongs to its
	   subsystem, and which controllers do cannot be looked up when they have gone: then it is any controller. */
	if (!strcmp(kind, "nvme") && strstr(parent, "/nvme-subsystem/"))
		return true;
	if (!strcmp(kind, "nvme") || !strcmp(kind, "nvme-subsystem"))
		return below(path, parent) || below(parent, path);
	return !strcmp(kind, "block") && !strcmp(last_part(path), d->disk) && (!strcmp(action, "remove") || !strcmp(action, "change"));
}

bool device_events_take(const struct device *d, int fd)
{
	char text[8192];
	bool concerns = false;

	while (fd >= 0) {
		ssize_t n = recv(fd, text, sizeof(text), MSG_DONTWAIT | MSG_TRUNC);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return concerns || (errno != EAGAIN && errno != EWOULDBLOCK); /* ENOBUFS: some were lost */
		concerns |= (size_t)n > sizeof(text) || device_event_concerns(d, "/sys", text, (size_t)n);
	}
	return concerns;
}
