/* SPDX-License-Identifier: MIT */
/* file_check.c - see file_check.h. */
#include "file_check.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "util/errno_util.h"

#ifndef STATX_ATTR_VERITY
#define STATX_ATTR_VERITY 0x00100000
#endif
#ifndef STATX_ATTR_DAX
#define STATX_ATTR_DAX 0x00200000
#endif

#define EXTENTS_AT_ONCE 64u

/* FIEMAP flags with which a block is not where an overwrite will go */
#define EXTENT_BAD (FIEMAP_EXTENT_UNKNOWN | FIEMAP_EXTENT_DELALLOC | FIEMAP_EXTENT_ENCODED | FIEMAP_EXTENT_DATA_ENCRYPTED | \
		    FIEMAP_EXTENT_NOT_ALIGNED | FIEMAP_EXTENT_DATA_INLINE | FIEMAP_EXTENT_DATA_TAIL | FIEMAP_EXTENT_SHARED)

static void add_range(struct proof_extents *out, uint64_t start, uint64_t end)
{
	struct proof_range *last = out->count ? &out->range[out->count - 1] : NULL;

	if (last && last->end == start)
		last->end = end;
	else if (out->count < PROOF_RANGES_MAX)
		out->range[out->count++] = (struct proof_range){ .start = start, .end = end };
}

/** map_add() - FNV-1a, by words: nobody chooses where extents lie in order to deceive it. */
static uint64_t map_add(uint64_t map, uint64_t word)
{
	return (map ^ word) * UINT64_C(0x100000001b3);
}

void extent_sum_add(struct extent_sum *s, const struct fiemap_extent *e)
{
	uint64_t end = e->fe_logical + e->fe_length;

	if (end < e->fe_logical || e->fe_flags & EXTENT_BAD) {
		/* a delayed block beyond the end is no data; anything else here can change how the file is written */
		s->bad = true;
		return;
	}
	s->mapped_bytes += e->fe_length;
	s->out->map = map_add(map_add(map_add(s->out->map, e->fe_logical), e->fe_physical), e->fe_length);
	s->out->map = map_add(s->out->map, e->fe_flags & FIEMAP_EXTENT_UNWRITTEN);
	if (e->fe_flags & FIEMAP_EXTENT_UNWRITTEN || e->fe_logical >= s->size)
		return;
	add_range(s->out, e->fe_logical, end < s->size ? end : s->size);
}

static int sum_extents(int fd, struct extent_sum *s)
{
	union {
		struct fiemap map;
		char room[sizeof(struct fiemap) + EXTENTS_AT_ONCE * sizeof(struct fiemap_extent)];
	} u;
	uint64_t from = 0;

	for (unsigned seen = 0; seen < FILE_CHECK_EXTENTS_MAX && !s->bad; seen += u.map.fm_mapped_extents) {
		int res;

		memset(&u.map, 0, sizeof(u.map));
		u.map.fm_start = from;
		u.map.fm_length = FIEMAP_MAX_OFFSET - from;
		u.map.fm_extent_count = EXTENTS_AT_ONCE;
		res = (int)errno_result(ioctl(fd, FS_IOC_FIEMAP, &u.map));
		if (res < 0)
			return res;
		if (u.map.fm_mapped_extents > EXTENTS_AT_ONCE)
			return -EIO;
		for (unsigned n = 0; n < u.map.fm_mapped_extents; n++) {
			const struct fiemap_extent *e = &u.map.fm_extents[n];

			extent_sum_add(s, e);
			from = e->fe_logical + e->fe_length;
			if (e->fe_flags & FIEMAP_EXTENT_LAST)
				return 0;
		}
		if (u.map.fm_mapped_extents == 0)
			return 0;
	}
	s->bad = true;
	return 0;
}

/** flags_allow() - per file: extents, no journalled data, nothing that a write takes away. */
static bool flags_allow(int fd, bool cow, const struct statx *stx)
{
	struct fsxattr attr;
	const uint64_t never = STATX_ATTR_ENCRYPTED | STATX_ATTR_COMPRESSED | STATX_ATTR_VERITY | STATX_ATTR_DAX;
	int flags = 0;

	if (!S_ISREG(stx->stx_mode) || stx->stx_attributes & never || stx->stx_mode & (S_ISUID | S_ISGID))
		return false;
	if (ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0 || flags & (FS_JOURNAL_DATA_FL | FS_INLINE_DATA_FL | FS_COMPR_FL))
		return false;
	if (!cow && !(flags & FS_EXTENT_FL)) /* ext4's old block maps: not tested */
		return false;
	/* xfs: of a realtime section that no mount option tells of (it may lie on the same device), where zones never overwrite in place */
	if (cow && (ioctl(fd, FS_IOC_FSGETXATTR, &attr) < 0 || attr.fsx_xflags & FS_XFLAG_REALTIME))
		return false;
	return fgetxattr(fd, "security.capability", NULL, 0) < 0 && errno == ENODATA;
}

static int look(int fd, struct statx *ret_stx)
{
	return (int)errno_result(statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, ret_stx));
}

int file_check(int fd, bool cow, struct proof_extents *ret)
{
	struct extent_sum s = { .out = ret };
	struct statx before, after = { 0 };
	int res;

	memset(ret, 0, sizeof(*ret));
	res = look(fd, &before);
	if (res < 0 || !flags_allow(fd, cow, &before))
		return res;
	s.size = before.stx_size;
	res = sum_extents(fd, &s);
	if (res == 0)
		res = look(fd, &after);
	if (res < 0)
		return res;
	ret->size = before.stx_size;
	ret->blocks = before.stx_blocks;
	ret->good = !s.bad && ret->count > 0 && before.stx_size == after.stx_size && before.stx_blocks == after.stx_blocks &&
		    (!cow || s.mapped_bytes == before.stx_blocks * 512);
	return 0;
}
