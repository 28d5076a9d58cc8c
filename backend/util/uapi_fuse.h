/* SPDX-License-Identifier: MIT */
/*
 * uapi_fuse.h - FUSE protocol facts that Debian 12's <linux/fuse.h> (7.37) lacks.
 *
 * Source of all of them: include/uapi/linux/fuse.h of the kernel version named.
 */
#ifndef URINGFS_UAPI_FUSE_H
#define URINGFS_UAPI_FUSE_H

#include <linux/fuse.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>

/* INIT flags as one 64-bit word: flags | flags2 << 32 */
#define UAPI_FUSE_CREATE_SUPP_GROUP (1ull << 34)    /* 6.3: the group of a setgid parent comes in an extension */
#define UAPI_FUSE_HAS_EXPIRE_ONLY (1ull << 35)      /* 6.4 */
#define UAPI_FUSE_DIRECT_IO_ALLOW_MMAP (1ull << 36) /* 6.6 */
#define UAPI_FUSE_PASSTHROUGH (1ull << 37)          /* 6.9 */
#define UAPI_FUSE_NO_EXPORT_SUPPORT (1ull << 38)    /* 6.9 */
#define UAPI_FUSE_HAS_RESEND (1ull << 39)           /* 6.9 */
#define UAPI_FUSE_ALLOW_IDMAP (1ull << 40)          /* 6.12 */
#define UAPI_FUSE_OVER_IO_URING (1ull << 41)        /* 6.14 */
#define UAPI_FUSE_REQUEST_TIMEOUT (1ull << 42)      /* 6.15 */
#define UAPI_FUSE_HAS_IO_URING_BUFPOOL (1ull << 43) /* 7.3 (7.46) */

/* opcodes */
#define UAPI_FUSE_TMPFILE 51u            /* 6.1 (7.37) */
#define UAPI_FUSE_STATX 52u              /* 6.6 (7.39) */
#define UAPI_FUSE_COPY_FILE_RANGE_64 53u /* 6.18 (7.45) */
#define UAPI_FUSE_OPCODE_MAX 64u

/* open_flags of fuse_open_out */
#define UAPI_FOPEN_NOFLUSH (1u << 5)               /* 5.16 (7.35) */
#define UAPI_FOPEN_PARALLEL_DIRECT_WRITES (1u << 6) /* 6.2 (7.38) */
#define UAPI_FOPEN_IO_URING_ZERO_COPY (1u << 8)    /* 7.3 (7.46) */

/*
 * Passthrough (6.9, 7.40). INIT answers with FUSE_PASSTHROUGH and, behind flags2, with the number of
 * stacked filesystems that the mount may be on top of, 1 or 2; not with FUSE_WRITEBACK_CACHE
 * (fs/fuse/inode.c process_init_reply()). BACKING_OPEN, on /dev/fuse, makes an id for an open file;
 * the answer of an open names it where fuse_open_out had padding.
 */
#define UAPI_FOPEN_PASSTHROUGH (1u << 7)
struct uapi_fuse_backing_map {
	int32_t fd;
	uint32_t flags;
	uint64_t padding;
};
#define UAPI_FUSE_BACKING_OPEN _IOW(229, 1, struct uapi_fuse_backing_map)
#define UAPI_FUSE_BACKING_CLOSE _IOW(229, 2, uint32_t)
#define UAPI_FUSE_INIT_OUT_STACK_DEPTH (offsetof(struct fuse_init_out, flags2) + 4u)
#define UAPI_FUSE_OPEN_OUT_BACKING_ID (offsetof(struct fuse_open_out, open_flags) + 4u)

/* fuse_setattr_in.valid; named FATTR_KILL_SUIDGID there */
#define UAPI_FATTR_KILL_SUIDGID (1u << 11)

/* extensions behind create requests (6.3, 7.38) */
#define UAPI_FUSE_EXT_GROUPS 32u
struct uapi_fuse_ext_header {
	uint32_t size; /* with this header, a multiple of 8 */
	uint32_t type;
};
struct uapi_fuse_supp_groups {
	uint32_t nr_groups;
	uint32_t groups[];
};

/* FUSE_STATX (6.6, 7.39) */
struct uapi_fuse_sx_time {
	int64_t tv_sec;
	uint32_t tv_nsec;
	int32_t reserved;
};
struct uapi_fuse_statx {
	uint32_t mask, blksize;
	uint64_t attributes;
	uint32_t nlink, uid, gid;
	uint16_t mode, spare0;
	uint64_t ino, size, blocks, attributes_mask;
	struct uapi_fuse_sx_time atime, btime, ctime, mtime;
	uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
	uint64_t spare2[14];
};
struct uapi_fuse_statx_in {
	uint32_t getattr_flags, reserved;
	uint64_t fh;
	uint32_t sx_flags, sx_mask;
};
struct uapi_fuse_statx_out {
	uint64_t attr_valid;
	uint32_t attr_valid_nsec, flags;
	uint64_t spare[2];
	struct uapi_fuse_statx stat;
};

/* answer of FUSE_COPY_FILE_RANGE_64 (6.18, 7.45) */
struct uapi_fuse_copy_file_range_out {
	uint64_t bytes_copied;
};

/* FUSE-over-io_uring (6.14, 7.42): what a ring entry and its command hold */
#define UAPI_FUSE_IO_URING_CMD_REGISTER 1u
#define UAPI_FUSE_IO_URING_CMD_COMMIT_AND_FETCH 2u
#define UAPI_FUSE_IO_URING_CMD_ADD_QUEUE 3u   /* 7.3 (7.46) */
#define UAPI_FUSE_IO_URING_CMD_ADD_BUFPOOL 4u /* 7.3 (7.46) */
#define UAPI_FUSE_URING_ZERO_COPY 1u          /* flags of ADD_QUEUE */
#define UAPI_FUSE_URING_ENT_ZERO_COPY 1u      /* flags of a request: its pages are in the entry's slot */
#define UAPI_FUSE_URING_HEADER_PART 128u
struct uapi_fuse_uring_ent_in_out {
	uint64_t flags;
	uint64_t commit_id;  /* names the request when it is answered */
	uint32_t payload_sz; /* bytes in the payload buffer, both ways; with pages in a slot those too */
	uint32_t offset;     /* 7.3: of the payload buffer in the queue's pool; padding before */
	uint64_t reserved;
};
struct uapi_fuse_uring_req_header {
	char in_out[UAPI_FUSE_URING_HEADER_PART]; /* fuse_in_header, then fuse_out_header */
	char op_in[UAPI_FUSE_URING_HEADER_PART];  /* first argument */
	struct uapi_fuse_uring_ent_in_out ent;
};
struct uapi_fuse_uring_cmd_req { /* at byte 48 of a large submission entry */
	uint64_t flags;
	uint64_t commit_id;
	uint16_t qid;
	uint8_t padding[6];
	union { /* 7.3; ignored before */
		struct {
			uint64_t uaddr;
			uint32_t len;
			uint32_t reserved;
		} bufpool; /* ADD_BUFPOOL */
		uint16_t ent_zero_copy_buf_index; /* REGISTER, in a queue with FUSE_URING_ZERO_COPY: not 0 */
	};
};
/** The kernel asks for at least this payload (FUSE_MIN_READ_BUFFER). */
#define UAPI_FUSE_URING_PAYLOAD_MIN 8192u

_Static_assert(sizeof(struct uapi_fuse_uring_req_header) == 288, "fuse_uring_req_header is 288 bytes");
_Static_assert(sizeof(struct uapi_fuse_uring_cmd_req) == 40 && offsetof(struct uapi_fuse_uring_cmd_req, bufpool) == 24,
	       "fuse_uring_cmd_req is 24 bytes, and 16 more from 7.46 on");
_Static_assert(sizeof(struct uapi_fuse_statx) == 256, "fuse_statx is 256 bytes");
_Static_assert(sizeof(struct uapi_fuse_statx_out) == 288, "fuse_statx_out is 288 bytes");

#endif
