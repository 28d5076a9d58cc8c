/* SPDX-License-Identifier: MIT */
/*
 * device.h - from a filesystem's device number to the NVMe namespace below it.
 *
 * By device numbers and links in sysfs, and libnvme; never by the form of a
 * name. Whatever is not one whole namespace or a partition of one is "not
 * capable", with the reason.
 */
#ifndef URINGFS_DEVICE_H
#define URINGFS_DEVICE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define DEVICE_NAME_MAX 64u

struct device {
	/* device_resolve() */
	dev_t dev;                     /* of the filesystem */
	char node[DEVICE_NAME_MAX];    /* the kernel's name of it: disk or partition */
	char disk[DEVICE_NAME_MAX];    /* of the whole disk */
	char cache_path[256];          /* queue/write_cache of the disk */
	char parent[256];              /* sysfs directory of the controller or subsystem */
	uint32_t nsid;
	_Atomic bool write_back;       /* the kernel flushes this disk */
	bool write_back_known;
	/* device_open() */
	int fd;                        /* the generic character device, or -1 */
	dev_t generic_dev;
	char generic[DEVICE_NAME_MAX];
	bool vwc;                      /* Identify Controller: a volatile write cache is present */
	/* why not, when one of them failed */
	char why[200];
};

/**
 * device_resolve() - find the disk below @dev
 * @sys: "/sys", or a captured tree
 * @dev: st_dev of the filesystem
 * Thread: main. Reads sysfs only.
 * Return: 0, or -ENOTSUP with ret->why set (one line, no full stop)
 */
int device_resolve(const char *sys, dev_t dev, struct device *ret);

/**
 * device_open() - open the namespace's generic character device and identify the controller
 * @d: resolved; d->fd belongs to the caller afterwards
 * Thread: main, before privileges are dropped.
 * Return: 0, or -errno with d->why set
 * Source: libnvme tree.h nvme_scan_namespace(), ioctl.h nvme_identify_ctrl(); NVMe base specification,
 * Identify Controller, byte 525
 */
int device_open(struct device *d);

/** device_volatile() - whether completed writes may be lost in a power cut without a FLUSH. Thread: any. */
bool device_volatile(const struct device *d);

/**
 * device_cache_look() - read queue/write_cache again
 * Thread: any.  Return: whether the kernel flushes this disk now; what was known where it cannot be read
 */
bool device_cache_look(struct device *d);

/**
 * device_events_open() - a socket that tells of the kernel's device events
 * Thread: main.  Return: descriptor (non-blocking), owned by the caller, or -errno
 * Source: NETLINK_KOBJECT_UEVENT; drivers/nvme/host/core.c, nvme_start_ctrl() sends a change event after each reset
 */
int device_events_open(void);

/**
 * device_event_concerns() - whether an event is about the controller, subsystem or disk of @d
 * @text, @len: as received: strings, each ended by a zero byte
 * @sys: as for device_resolve()
 * Thread: any; pure.
 */
bool device_event_concerns(const struct device *d, const char *sys, const char *text, size_t len);

/** device_events_take() - read all that came; true: one of them concerns @d, or some were lost. Thread: any. */
bool device_events_take(const struct device *d, int fd);

#endif
