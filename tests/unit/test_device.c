/* SPDX-License-Identifier: MIT */
/* test_device.c - from a device number to a namespace, over trees of /sys and /proc as kernels show them (tests/fakes/trees.h). */
#include <errno.h>
#include <sys/sysmacros.h>

#include "backend/device.h"
#include "backend/fsinfo.h"
#include "real.h"
#include "trees.h"

static char root[64];

static void expect(unsigned minor_number, int res, const char *why)
{
	struct device d;

	CHECK_EQ(device_resolve(root, makedev(259, minor_number), &d), res);
	if (why && !strstr(d.why, why))
		CHECK_TEXT(d.why, why);
}

static void test_resolve(void)
{
	struct device d;

	CHECK_EQ(device_resolve(root, makedev(259, 0), &d), 0);
	CHECK_TEXT(d.disk, "nvme0n1");
	CHECK_TEXT(d.node, "nvme0n1");
	CHECK_EQ(d.nsid, 1);
	CHECK(d.write_back);
	CHECK(strstr(d.parent, "/nvme/nvme0") != NULL);
	CHECK_EQ(device_resolve(root, makedev(259, 1), &d), 0); /* its first partition */
	CHECK_TEXT(d.node, "nvme0n1p1");
	CHECK_TEXT(d.disk, "nvme0n1");
	CHECK_EQ(device_resolve(root, makedev(259, 5), &d), 0); /* a multipath head of namespace 7, written through */
	CHECK_TEXT(d.disk, "nvme3n2");
	CHECK_EQ(d.nsid, 7);
	CHECK(!d.write_back);
	CHECK(!device_volatile(&d));
	CHECK(strstr(d.parent, "nvme-subsys3") != NULL);
	/* a name that looks like one, on another bus */
	expect(6, -ENOTSUP, "no NVMe namespace");
	expect(2, -ENOTSUP, "in use by another device (dm-0)");
	expect(77, -ENOTSUP, "not in sysfs");
	/* over a network, also as one of several ways; no controller at all; the number that means all namespaces */
	expect(7, -ENOTSUP, "transport tcp");
	expect(8, -ENOTSUP, "transport tcp");
	expect(9, -ENOTSUP, "namespace number");
	expect(10, -ENOTSUP, "transport of its controller");
	CHECK_EQ(device_resolve(root, makedev(253, 0), &d), -ENOTSUP);
	CHECK(strstr(d.why, "dm-0 is made of other devices (nvme0n1p2)") != NULL);
	CHECK_EQ(device_resolve(root, makedev(7, 3), &d), -ENOTSUP);
	CHECK(strstr(d.why, "loop device") != NULL);
	CHECK_EQ(device_resolve(root, makedev(252, 0), &d), -ENOTSUP);
	CHECK(strstr(d.why, "virtual device") != NULL);
	CHECK_EQ(device_resolve(root, makedev(0, 44), &d), -ENOTSUP);
	CHECK(strstr(d.why, "anonymous") != NULL);
}

static void test_cache(void)
{
	struct device d;

	REQUIRE(device_resolve(root, makedev(259, 0), &d) == 0);
	tree_file(root, "devices/pci0000:00/0000:00:04.0/nvme/nvme0/nvme0n1/queue/write_cache", "write through\n");
	CHECK(!device_cache_look(&d));
	CHECK(!device_volatile(&d));
	tree_file(root, "devices/pci0000:00/0000:00:04.0/nvme/nvme0/nvme0n1/queue/write_cache", "write back\n");
	CHECK(device_cache_look(&d));
}

#define EVENT(text) device_event_concerns(&d, root, text, sizeof(text))

static void test_events(void)
{
	struct device d;

	REQUIRE(device_resolve(root, makedev(259, 1), &d) == 0);
	CHECK(EVENT("change@/x\0ACTION=change\0DEVPATH=/devices/pci0000:00/0000:00:04.0/nvme/nvme0\0SUBSYSTEM=nvme\0NVME_EVENT=connected"));
	CHECK(EVENT("remove@/x\0ACTION=remove\0DEVPATH=/devices/pci0000:00/0000:00:04.0/nvme/nvme0/nvme0n1\0SUBSYSTEM=block"));
	CHECK(!EVENT("change@/x\0ACTION=change\0DEVPATH=/devices/pci0000:00/0000:00:05.0/nvme/nvme1\0SUBSYSTEM=nvme"));
	CHECK(!EVENT("change@/x\0ACTION=change\0DEVPATH=/devices/pci0000:00/0000:00:04.0/nvme/nvme01\0SUBSYSTEM=nvme"));
	CHECK(!EVENT("add@/x\0ACTION=add\0DEVPATH=/devices/virtual/block/dm-0\0SUBSYSTEM=block"));
	REQUIRE(device_resolve(root, makedev(259, 5), &d) == 0); /* a multipath head: its controllers are elsewhere in sysfs */
	CHECK(EVENT("change@/x\0ACTION=change\0DEVPATH=/devices/pci0000:00/0000:00:05.0/nvme/nvme4\0SUBSYSTEM=nvme\0NVME_EVENT=connected"));
	CHECK(!EVENT("change@/x\0ACTION=change\0DEVPATH=/devices/virtual/block/dm-0\0SUBSYSTEM=block"));
	CHECK(!device_event_concerns(&d, root, "garbage without an end", 22));
	CHECK(!device_event_concerns(&d, root, "", 0));
}

static void fs_case(unsigned minor_number, const char *node, int res, const char *why)
{
	struct fsinfo info;

	CHECK_EQ(fsinfo_find(root, makedev(259, minor_number), &info), 0);
	CHECK_EQ(fsinfo_capable(root, node, &info), res);
	if (why && !strstr(info.why, why))
		CHECK_TEXT(info.why, why);
}

static void test_fsinfo(void)
{
	struct fsinfo info;

	fs_case(0, "good", 0, NULL);
	fs_case(1, "journalled", -ENOTSUP, "data=journal");
	fs_case(2, "nojournal", -ENOTSUP, "without a journal");
	fs_case(3, "nobarrier", -ENOTSUP, "nobarrier");
	fs_case(4, "external", -ENOTSUP, "external journal");
	fs_case(5, "unlisted", -ENOTSUP, "cannot be read");
	fs_case(10, "x", 0, NULL);
	fs_case(11, "x", -ENOTSUP, "realtime");
	fs_case(12, "x", -ENOTSUP, "external log");
	fs_case(13, "x", -ENOTSUP, "nobarrier");
	fs_case(14, "x", -ENOTSUP, "btrfs");
	CHECK_EQ(fsinfo_find(root, makedev(259, 99), &info), -ENOTSUP);
	CHECK_EQ(fsinfo_find(root, makedev(259, 10), &info), 0);
	CHECK_EQ(fsinfo_capable(root, "x", &info), 0);
	CHECK(info.cow);
}

int main(void)
{
	int fd = real_dir(root);

	trees_make(root);
	test_resolve();
	test_cache();
	test_events();
	test_fsinfo();
	real_dir_remove(root, fd);
	return test_end();
}
