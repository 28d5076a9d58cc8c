/* SPDX-License-Identifier: MIT */
/*
 * trees.h - the parts of /sys and /proc that discovery reads, as kernels 6.1 to 6.18 show them.
 *
 * Written by hand after what the VM lab shows (nvme0n1 and its partitions, dm-0, loop3, vda, zram0); the multipath head after the layout of
 * drivers/nvme/host/multipath.c, which QEMU's subsystem shows with native multipath.
 */
#ifndef URINGFS_FAKES_TREES_H
#define URINGFS_FAKES_TREES_H

#include <errno.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test.h"

static inline void tree_folders(char *path)
{
	for (char *p = strchr(path + 1, '/'); p; p = strchr(p + 1, '/')) {
		*p = 0;
		REQUIRE(mkdir(path, 0755) == 0 || errno == EEXIST);
		*p = '/';
	}
}

/** tree_file() - @name below @root with @text in it; one that ends with / is a folder; "-> X" makes a link to X. */
static inline void tree_file(const char *root, const char *name, const char *text)
{
	char path[PATH_MAX];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", root, name);
	tree_folders(path);
	if (path[strlen(path) - 1] == '/')
		return;
	if (!strncmp(text, "-> ", 3)) {
		REQUIRE(symlink(text + 3, path) == 0);
		return;
	}
	f = fopen(path, "w");
	REQUIRE(f != NULL);
	fputs(text, f);
	REQUIRE(fclose(f) == 0);
}

static const char *const tree_sys[][2] = {
#define NVME0 "devices/pci0000:00/0000:00:04.0/nvme/nvme0/"
#define HEAD "devices/virtual/nvme-subsystem/nvme-subsys3/"
	{ NVME0 "subsystem", "-> ../../../../../class/nvme" },
	{ NVME0 "transport", "pcie\n" },
	{ NVME0 "nvme0n1/device", "-> ../../nvme0" },
	{ NVME0 "nvme0n1/nsid", "1\n" },
	{ NVME0 "nvme0n1/queue/write_cache", "write back\n" },
	{ NVME0 "nvme0n1/slaves/", "" },
	{ NVME0 "nvme0n1/holders/", "" },
	{ NVME0 "nvme0n1/nvme0n1p1/partition", "1\n" },
	{ NVME0 "nvme0n1/nvme0n1p1/holders/", "" },
	{ NVME0 "nvme0n1/nvme0n1p2/partition", "2\n" },
	{ NVME0 "nvme0n1/nvme0n1p2/holders/dm-0", "-> ../../../../../../../../virtual/block/dm-0" },
	{ "dev/block/259:0", "-> ../../" NVME0 "nvme0n1" },
	{ "dev/block/259:1", "-> ../../" NVME0 "nvme0n1/nvme0n1p1" },
	{ "dev/block/259:2", "-> ../../" NVME0 "nvme0n1/nvme0n1p2" },
	{ HEAD "subsystem", "-> ../../../../class/nvme-subsystem" },
	{ "devices/pci0000:00/0000:00:05.0/nvme/nvme4/transport", "pcie\n" },
	{ HEAD "nvme4", "-> ../../../pci0000:00/0000:00:05.0/nvme/nvme4" },
	{ HEAD "nvme3n2/device", "-> ../../nvme-subsys3" },
	{ HEAD "nvme3n2/nsid", "7\n" },
	{ HEAD "nvme3n2/queue/write_cache", "write through\n" },
	{ HEAD "nvme3n2/slaves/", "" },
	{ HEAD "nvme3n2/holders/", "" },
	{ "dev/block/259:5", "-> ../../" HEAD "nvme3n2" },
#define REMOTE "devices/virtual/nvme-fabrics/ctl/nvme5/"
	{ REMOTE "subsystem", "-> ../../../../../class/nvme" },
	{ REMOTE "transport", "tcp\n" },
	{ REMOTE "nvme5n1/device", "-> ../../nvme5" },
	{ REMOTE "nvme5n1/nsid", "1\n" },
	{ REMOTE "nvme5n1/queue/write_cache", "write back\n" },
	{ "dev/block/259:7", "-> ../../" REMOTE "nvme5n1" },
#define MIXED "devices/virtual/nvme-subsystem/nvme-subsys6/"
	{ MIXED "subsystem", "-> ../../../../class/nvme-subsystem" },
	{ MIXED "nvme6n1/device", "-> ../../nvme-subsys6" },
	{ MIXED "nvme6n1/nsid", "1\n" },
	{ MIXED "nvme6n1/queue/write_cache", "write back\n" },
	{ MIXED "nvme4", "-> ../../../pci0000:00/0000:00:05.0/nvme/nvme4" },
	{ MIXED "nvme5", "-> ../../nvme-fabrics/ctl/nvme5" },
	{ "dev/block/259:8", "-> ../../" MIXED "nvme6n1" },
#define ALONE "devices/virtual/nvme-subsystem/nvme-subsys7/"
	{ ALONE "subsystem", "-> ../../../../class/nvme-subsystem" },
	{ ALONE "nvme7n1/device", "-> ../../nvme-subsys7" },
	{ ALONE "nvme7n1/nsid", "4294967295\n" },
	{ ALONE "nvme7n1/queue/write_cache", "write back\n" },
	{ ALONE "nvme7n2/device", "-> ../../nvme-subsys7" },
	{ ALONE "nvme7n2/nsid", "2\n" },
	{ ALONE "nvme7n2/queue/write_cache", "write back\n" },
	{ "dev/block/259:9", "-> ../../" ALONE "nvme7n1" },
	{ "dev/block/259:10", "-> ../../" ALONE "nvme7n2" },
	{ "devices/pci0000:00/0000:00:05.0/virtio2/subsystem", "-> ../../../../bus/virtio" },
	{ "devices/pci0000:00/0000:00:05.0/virtio2/block/nvme9n1/device", "-> ../../../virtio2" },
	{ "devices/pci0000:00/0000:00:05.0/virtio2/block/nvme9n1/queue/write_cache", "write back\n" },
	{ "dev/block/259:6", "-> ../../devices/pci0000:00/0000:00:05.0/virtio2/block/nvme9n1" },
	{ "devices/virtual/block/dm-0/slaves/nvme0n1p2", "-> ../../../../pci0000:00" },
	{ "devices/virtual/block/dm-0/holders/", "" },
	{ "dev/block/253:0", "-> ../../devices/virtual/block/dm-0" },
	{ "devices/virtual/block/loop3/loop/backing_file", "/x\n" },
	{ "devices/virtual/block/loop3/slaves/", "" },
	{ "dev/block/7:3", "-> ../../devices/virtual/block/loop3" },
	{ "devices/virtual/block/zram0/queue/write_cache", "write through\n" },
	{ "dev/block/252:0", "-> ../../devices/virtual/block/zram0" },
};

static const char *const tree_proc[][2] = {
	{ "fs/ext4/good/options", "rw\nbarrier\ndata=ordered\n" },
	{ "fs/ext4/journalled/options", "rw\nbarrier\ndata=journal\n" },
	{ "fs/ext4/nojournal/options", "rw\nbarrier\n" },
	{ "fs/ext4/nobarrier/options", "rw\nnobarrier\ndata=writeback\n" },
	{ "fs/ext4/external/options", "rw\nbarrier\ndata=ordered\n" },
	{ "fs/jbd2/good-8/info", "" },
	{ "fs/jbd2/journalled-8/info", "" },
	{ "fs/jbd2/nobarrier-8/info", "" },
	{ "fs/jbd2/external2-8/info", "" },
	{ "fs/jbd2/external-x/info", "" },
	{ "self/mountinfo",
	  "20 1 259:0 / / rw,noatime shared:1 - ext4 /dev/a rw,errors=remount-ro\n"
	  "21 1 259:1 / /a rw - ext4 /dev/a rw,data=journal\n"
	  "22 1 259:2 / /b\\040c rw shared:2 master:3 - ext4 /dev/a rw\n"
	  "23 1 259:3 / /d rw - ext4 /dev/a rw,nobarrier\n"
	  "24 1 259:4 / /e rw - ext4 /dev/a rw\n"
	  "25 1 259:5 / /f rw - ext4 /dev/a rw\n"
	  "30 1 259:10 / /g rw - xfs /dev/a rw,attr2,inode64,logbufs=8,noquota\n"
	  "31 1 259:11 / /h rw - xfs /dev/a rw,rtdev=/dev/b\n"
	  "32 1 259:12 / /i rw - xfs /dev/a rw,logdev=/dev/b\n"
	  "33 1 259:13 / /j rw - xfs /dev/a rw,nobarrier\n"
	  "34 1 259:14 / /k rw - btrfs /dev/a rw\n"
	  "broken line\n" },
};

static inline void trees_make(const char *root)
{
	for (size_t n = 0; n < sizeof(tree_sys) / sizeof(tree_sys[0]); n++)
		tree_file(root, tree_sys[n][0], tree_sys[n][1]);
	for (size_t n = 0; n < sizeof(tree_proc) / sizeof(tree_proc[0]); n++)
		tree_file(root, tree_proc[n][0], tree_proc[n][1]);
}

#endif
