/* SPDX-License-Identifier: MIT */
/*
 * uapi_syscalls.h - system calls that older C libraries have no name for.
 *
 * Their numbers are the same on all architectures but alpha (scripts/syscall.tbl of the kernel).
 */
#ifndef URINGFS_UAPI_SYSCALLS_H
#define URINGFS_UAPI_SYSCALLS_H

#include <stdint.h>
#include <sys/syscall.h>

/** fchmodat2(dirfd, path, mode, flags): Linux 6.6 */
#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif
/** setxattrat(dirfd, path, flags, name, args, size of args) and the same for get, listxattrat(dirfd, path, flags, list, size): Linux 6.13 */
#ifndef SYS_setxattrat
#define SYS_setxattrat 463
#endif
#ifndef SYS_getxattrat
#define SYS_getxattrat 464
#endif
#ifndef SYS_listxattrat
#define SYS_listxattrat 465
#endif
#ifndef SYS_removexattrat
#define SYS_removexattrat 466
#endif

/** struct xattr_args, include/uapi/linux/xattr.h */
struct uapi_xattr_args {
	_Alignas(8) uint64_t value;
	uint32_t size, flags;
};

#endif
