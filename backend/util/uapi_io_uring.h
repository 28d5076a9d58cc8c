/* SPDX-License-Identifier: MIT */
/*
 * uapi_io_uring.h - io_uring facts that older headers lack.
 *
 * liburing 2.3 (Debian 12) knows the kernel interface of about 6.1. Macros of
 * the header are added under their own names; members of enums get a URINGFS_
 * name, since the preprocessor cannot see whether the header has them.
 * Source of all: include/uapi/linux/io_uring.h of the kernel version named.
 */
#ifndef URINGFS_UAPI_IO_URING_H
#define URINGFS_UAPI_IO_URING_H

#include <liburing.h>

/* enum io_uring_op */
enum {
	URINGFS_OP_READ_MULTISHOT = 49, /* Linux 6.7 */
	URINGFS_OP_FTRUNCATE = 55,      /* Linux 6.9 */
};

/* enum io_uring_register_op */
enum {
	URINGFS_REGISTER_SEND_MSG_RING = 31, /* Linux 6.13 */
};

/* io_uring_setup() flags */
#ifndef IORING_SETUP_SUBMIT_ALL /* Linux 5.18 */
#define IORING_SETUP_SUBMIT_ALL (1U << 7)
#endif
#ifndef IORING_SETUP_NO_MMAP /* Linux 6.5 */
#define IORING_SETUP_NO_MMAP (1U << 14)
#endif
#ifndef IORING_SETUP_REGISTERED_FD_ONLY /* Linux 6.5 */
#define IORING_SETUP_REGISTERED_FD_ONLY (1U << 15)
#endif
#ifndef IORING_SETUP_NO_SQARRAY /* Linux 6.6 */
#define IORING_SETUP_NO_SQARRAY (1U << 16)
#endif

/* sqe->rw_flags of IORING_OP_NOP: complete with the value of sqe->len (Linux 6.10) */
#ifndef IORING_NOP_INJECT_RESULT
#define IORING_NOP_INJECT_RESULT (1U << 0)
#endif

/* sqe->uring_cmd_flags: buf_index names a registered buffer (Linux 6.1) */
#ifndef IORING_URING_CMD_FIXED
#define IORING_URING_CMD_FIXED (1U << 0)
#endif

/*
 * Without the SQ array the library must not fill it in: its offset is then 0,
 * which is the ring's head. liburing knows that from 2.5 on, and IO_URING_CHECK_VERSION
 * came with 2.4.
 */
#if defined(IO_URING_CHECK_VERSION) && defined(IO_URING_VERSION_MAJOR)
#define URINGFS_LIBURING_NO_SQARRAY                                                      \
	(IO_URING_VERSION_MAJOR > 2 || (IO_URING_VERSION_MAJOR == 2 && IO_URING_VERSION_MINOR >= 5))
#else
#define URINGFS_LIBURING_NO_SQARRAY 0
#endif

#endif
