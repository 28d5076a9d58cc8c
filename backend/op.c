/* SPDX-License-Identifier: MIT */
/*
 * op.c - the op table and the functions that fill ring entries.
 *
 * Entries are zeroed before a prep function is called; each sets only what its
 * opcode reads. The layout is that of struct io_uring_sqe in
 * include/uapi/linux/io_uring.h; setting the fields here instead of calling
 * io_uring_prep_*() keeps us independent of the library's changing prototypes.
 */
#include <liburing.h>
#include <stdio.h>
#include <string.h>

#include "op.h"
#include "sysops.h"
#include "util/uapi_io_uring.h"

static uint64_t ptr_u64(const void *p)
{
	return (uint64_t)(uintptr_t)p;
}

static void prep_nop(struct io_uring_sqe *sqe, const struct op *op)
{
	(void)op;
	sqe->opcode = IORING_OP_NOP;
	sqe->fd = -1;
}

static void prep_rw(struct io_uring_sqe *sqe, const struct op *op, uint8_t plain, uint8_t fixed)
{
	size_t left = op->len - op->progress;

	sqe->opcode = op->buf_index >= 0 ? fixed : plain;
	sqe->fd = op_fd(op);
	sqe->addr = ptr_u64(op->buf) + op->progress;
	sqe->len = left < OP_RW_MAX ? (uint32_t)left : OP_RW_MAX;
	sqe->off = op->off == UINT64_MAX ? op->off : op->off + op->progress;
	sqe->rw_flags = (int)op->arg;
	if (op->buf_index >= 0)
		sqe->buf_index = (uint16_t)op->buf_index;
}

static void prep_read(struct io_uring_sqe *sqe, const struct op *op)
{
	prep_rw(sqe, op, IORING_OP_READ, IORING_OP_READ_FIXED);
}

static void prep_write(struct io_uring_sqe *sqe, const struct op *op)
{
	prep_rw(sqe, op, IORING_OP_WRITE, IORING_OP_WRITE_FIXED);
}

static void prep_fsync(struct io_uring_sqe *sqe, const struct op *op)
{
	sqe->opcode = IORING_OP_FSYNC;
	sqe->fd = op_fd(op);
	sqe->fsync_flags = op->arg ? IORING_FSYNC_DATASYNC : 0;
}

static void prep_sync_range(struct io_uring_sqe *sqe, const struct op *op)
{
	sqe->opcode = IORING_OP_SYNC_FILE_RANGE;
	sqe->fd = op_fd(op);
	sqe->off = op->off;
	sqe->len = (uint32_t)op->len;
	sqe->sync_range_flags = op->arg;
}

static void prep_fallocate(struct io_uring_sqe *sqe, const struct op *op)
{
	sqe->opcode = IORING_OP_FALLOCATE;
	sqe->fd = op_fd(op);
	sqe->off = op->off;
	sqe->addr = op->len;
	sqe->len = op->arg;
}

static void prep_ftruncate(struct io_uring_sqe *sqe, const struct op *op)
{
	sqe->opcode = URINGFS_OP_FTRUNCATE;
	sqe->fd = op_fd(op);
	sqe->off = op->off;
}

static void prep_fadvise(struct io_uring_sqe *sqe, const struct op *op)
{
	sqe->opcode = IORING_OP_FADVISE;
	sqe->fd = op_fd(op);
	sqe->off = op->off;
	sqe->len = (uint32_t)op->len;
	sqe->fadvise_advice = op->arg;
}

static void prep_openat(struct io_uring_sqe *sqe, const struct op *op)
{
	sqe->opcode = IORING_OP_OPENAT2;
	sqe->fd = op->fd;
	sqe->addr = ptr_u64(op->path);
	sqe->len = sizeof(op->how);
	sqe->addr2 = ptr_u64(&op->how);
}

static void prep_close(struct io_uring_sqe *sqe, const struct op *op)
{
	sqe->opcode = IORING_OP_CLOSE;
	sqe->fd = op->fd;
}

static void prep_statx(struct io_uring_sqe *sqe, const struct op *op)
{
	sqe->opcode = IORING_OP_STATX;
	sqe->fd = op->fd;
	sqe->addr = ptr_u64(op->path);
	sqe->len = op->arg2;
	sqe->addr2 = ptr_u64(op->buf);
	sqe->statx_flags = op->arg;
}

static void prep_unlinkat(struct io_uring_sqe *sqe, const struct op *op)
{
	sqe->opcode = IORING_OP_UNLINKAT;
	sqe->fd = op->fd;
	sqe->addr = ptr_u64(op->path);
	sqe->unlink_flags = op->arg;
}

static void prep_mkdirat(struct io_uring_sqe *sqe, const struct op *op)
{
	sqe->opcode = IORING_OP_MKDIRAT;
	sqe->fd = op->fd;
	sqe->addr = ptr_u64(op->path);
	sqe->len = op->arg;
}

static void prep_symlinkat(struct io_uring_sqe *sqe, const struct op *op)
{
	sqe->opcode = IORING_OP_SYMLINKAT;
	sqe->fd = op->fd;
	sqe->addr = ptr_u64(op->path);
	sqe->addr2 = ptr_u64(op->path2);
}

static void prep_two_names(struct io_uring_sqe *sqe, const struct op *op)
{
	sqe->fd = op->fd;
	sqe->addr = ptr_u64(op->path);
	sqe->len = (uint32_t)op->fd2;
	sqe->addr2 = ptr_u64(op->path2);
}

static void prep_linkat(struct io_uring_sqe *sqe, const struct op *op)
{
	prep_two_names(sqe, op);
	sqe->opcode = IORING_OP_LINKAT;
	sqe->hardlink_flags = op->arg;
}

static void prep_renameat(struct io_uring_sqe *sqe, const struct op *op)
{
	prep_two_names(sqe, op);
	sqe->opcode = IORING_OP_RENAMEAT;
	sqe->rename_flags = op->arg;
}

static void prep_xattr(struct io_uring_sqe *sqe, const struct op *op, uint8_t by_path, uint8_t by_fd)
{
	sqe->opcode = op->path ? by_path : by_fd;
	sqe->fd = op->path ? 0 : op_fd(op);
	sqe->addr = ptr_u64(op->path2);
	sqe->len = (uint32_t)op->len;
	sqe->addr2 = ptr_u64(op->buf);
	sqe->addr3 = ptr_u64(op->path);
}

static void prep_getxattr(struct io_uring_sqe *sqe, const struct op *op)
{
	prep_xattr(sqe, op, IORING_OP_GETXATTR, IORING_OP_FGETXATTR);
}

static void prep_setxattr(struct io_uring_sqe *sqe, const struct op *op)
{
	prep_xattr(sqe, op, IORING_OP_SETXATTR, IORING_OP_FSETXATTR);
	sqe->xattr_flags = op->arg;
}

static void prep_splice(struct io_uring_sqe *sqe, const struct op *op)
{
	sqe->opcode = IORING_OP_SPLICE;
	sqe->fd = op->fd2;
	sqe->off = op->off2;
	sqe->splice_off_in = op->off;
	sqe->splice_fd_in = op->fd;
	sqe->len = op->len < OP_RW_MAX ? (uint32_t)op->len : OP_RW_MAX;
	sqe->splice_flags = op->arg;
}

static void prep_poll(struct io_uring_sqe *sqe, const struct op *op)
{
	sqe->opcode = IORING_OP_POLL_ADD;
	sqe->fd = op_fd(op);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	sqe->poll32_events = op->arg << 16 | op->arg >> 16; /* the kernel swaps the halves back */
#else
	sqe->poll32_events = op->arg;
#endif
}

static void prep_timeout(struct io_uring_sqe *sqe, const struct op *op)
{
	sqe->opcode = IORING_OP_TIMEOUT;
	sqe->fd = -1;
	sqe->addr = ptr_u64(&op->ts);
	sqe->len = 1;
}

static void prep_cancel(struct io_uring_sqe *sqe, const struct op *op)
{
	sqe->opcode = IORING_OP_ASYNC_CANCEL;
	sqe->fd = -1;
	sqe->addr = op->off; /* ring.c has put the target's tag here */
}

static void prep_device_cmd(struct io_uring_sqe *sqe, const struct op *op)
{
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = op_fd(op);
	sqe->cmd_op = op->arg;
	sqe->addr = ptr_u64(op->iov);
	sqe->len = op->iov_count;
	if (op->buf_index >= 0) {
		sqe->rw_flags = IORING_URING_CMD_FIXED; /* uring_cmd_flags shares the place */
		sqe->buf_index = (uint16_t)op->buf_index;
	}
	/* the command area begins at byte 48 and runs into the second half of a large entry */
	if (op->buf)
		memcpy((unsigned char *)sqe + 48, op->buf, op->len);
}

#define ROW_RING(kind, fall, op1, op2, fl, prepfn, sysfn)                                   \
	[OP_##kind] = { .place = OP_PLACE_RING, .fallback = OP_PLACE_##fall,                \
			.opcodes = { op1, op2 }, .flags = fl, .prep = prepfn, .sys = sysfn }
#define ROW_INLINE(kind, op1, fl, prepfn, sysfn)                                            \
	[OP_##kind] = { .place = OP_PLACE_INLINE, .fallback = OP_PLACE_INLINE,              \
			.opcodes = { op1, -1 }, .flags = fl, .prep = prepfn, .sys = sysfn }
#define ROW_WORKER(kind, fl, sysfn)                                                         \
	[OP_##kind] = { .place = OP_PLACE_WORKER, .fallback = OP_PLACE_WORKER,              \
			.opcodes = { -1, -1 }, .flags = fl, .prep = NULL, .sys = sysfn }

/* Figures: DESIGN.md section 3, xfs, hot cache; "one" and "batched" are in the ring. */
const struct op_row op_table[OP_KINDS_COUNT] = {
	ROW_RING(NOP, INLINE, IORING_OP_NOP, -1, 0, prep_nop, sysop_nop),
	/*
	 * 0.75 us batched against 0.66: runs inline; cold data stays in flight. But tmpfs has no FMODE_NOWAIT (Linux 6.18), so all of
	 * its reads are punted: OPT_QUICK for it (4 KiB through a mount: 12.4 us of our CPU time by the ring, 7.4 by a call). Where the ring
	 * does not punt, a call with RWF_NOWAIT first is no better (xfs, ext4: 4 KiB 7.3 against 6.5 us, 128 KiB equal).
	 */
	ROW_RING(READ, WORKER, IORING_OP_READ, IORING_OP_READ_FIXED,
		 OPT_CONTINUE | OPT_RETRY | OPT_FILE | OPT_BUFFER | OPT_QUICK, prep_read, sysop_read),
	/*
	 * Buffered 4 KiB overwrite, us: by a call, alone in the ring, 16 batched; 1 MiB in brackets (tests/bench/write_paths, 6.18)
	 *   xfs 1.6, 1.8, 1.5 [123, 122, 139]: tried without waiting, and done *    tmpfs 2.1, 18.5, 3.3 [262, 323, 334]: punted
	 *   ext4 9.4, 12.6, 11.5 [152, 167, 162]: punted, it has no RWF_NOWAIT      btrfs 5.1, 8.5, 7.9 [676, 661, 770]: punted
	 * (*: unless somebody has read the file's times since the last write (multigrain timestamps, Linux 6.13, fs/inode.c): the write then
	 * has to log new ones, which RWF_NOWAIT refuses. fs/coherence.c reads them after each write. So on a mount xfs always punts, too.)
	 * May wait for memory, the journal or the rest of a page: OPT_QUICK, where write_way() of fs/op_io.c says so. On a mount, writes/s
	 * by 1 and 4 callers (row bufwrite): ext4 23,900 and 24,400 by the ring, 31,700 and 34,000 so; tmpfs 37,900 and 31,600, 47,000
	 * and 56,100; btrfs 7,400 and 7,100, 6,500 and 7,000, with three times the p99: it stays in the ring.
	 * RWF_DONTCACHE makes 4 KiB cost 1.8 to 3 times as much, it starts the write-back of each.
	 */
	ROW_RING(WRITE, WORKER, IORING_OP_WRITE, IORING_OP_WRITE_FIXED,
		 OPT_CONTINUE | OPT_RETRY | OPT_FILE | OPT_BUFFER | OPT_QUICK, prep_write, sysop_write),
	/* always punted (43..76 us against 30..50), but waits for the disk: OPT_QUICK where sync_call.c says so */
	ROW_RING(FSYNC, WORKER, IORING_OP_FSYNC, -1, OPT_RETRY | OPT_FILE | OPT_QUICK, prep_fsync, sysop_fsync),
	/* punted, waits for write-back */
	ROW_RING(SYNC_RANGE, WORKER, IORING_OP_SYNC_FILE_RANGE, -1, OPT_RETRY | OPT_FILE | OPT_LEN32 | OPT_QUICK,
		 prep_sync_range, sysop_sync_range),
	/* punted (5.7 us against 1.6), may wait for the journal */
	ROW_RING(FALLOCATE, WORKER, IORING_OP_FALLOCATE, -1, OPT_RETRY | OPT_FILE, prep_fallocate,
		 sysop_fallocate),
	/* punted, may wait for the journal */
	ROW_RING(FTRUNCATE, WORKER, URINGFS_OP_FTRUNCATE, -1, OPT_RETRY | OPT_FILE, prep_ftruncate,
		 sysop_ftruncate),
	/* WILLNEED may read */
	ROW_RING(FADVISE, WORKER, IORING_OP_FADVISE, -1, OPT_FILE | OPT_LEN32, prep_fadvise, sysop_fadvise),
	/*
	 * 1.3 us batched against 1.0; cold directories wait, creating is punted (+5..35 us) and journals. Of a name that is not there the
	 * kernel's caches mostly know nothing: its look-up is always punted, and takes 2 us where the directory's blocks are in memory
	 */
	ROW_RING(OPENAT, WORKER, IORING_OP_OPENAT2, -1, OPT_RETRY | OPT_NAMES | OPT_QUICK, prep_openat, sysop_openat),
	/* last close of a written file may wait. Not retried: the descriptor is gone whatever the answer */
	ROW_RING(CLOSE, WORKER, IORING_OP_CLOSE, -1, OPT_QUICK, prep_close, sysop_close),
	/* by name; a held descriptor (0.33 us against 4.4..49) goes inline, see ring_place_of() */
	ROW_RING(STATX, WORKER, IORING_OP_STATX, -1, OPT_RETRY | OPT_QUICK, prep_statx, sysop_statx),
	/* names: punted (7..12 us, +5 on the same CPU..35), they may wait for the journal and for cold blocks: OPT_QUICK */
	ROW_RING(UNLINKAT, WORKER, IORING_OP_UNLINKAT, -1, OPT_RETRY | OPT_QUICK, prep_unlinkat, sysop_unlinkat),
	ROW_RING(MKDIRAT, WORKER, IORING_OP_MKDIRAT, -1, OPT_RETRY | OPT_NAMES | OPT_QUICK, prep_mkdirat, sysop_mkdirat),
	ROW_RING(SYMLINKAT, WORKER, IORING_OP_SYMLINKAT, -1, OPT_RETRY | OPT_QUICK, prep_symlinkat, sysop_symlinkat),
	ROW_RING(LINKAT, WORKER, IORING_OP_LINKAT, -1, OPT_RETRY | OPT_QUICK, prep_linkat, sysop_linkat),
	ROW_RING(RENAMEAT, WORKER, IORING_OP_RENAMEAT, -1, OPT_RETRY | OPT_QUICK, prep_renameat, sysop_renameat),
	/* punted (4.7..67 us against 0.6): may read a block of attributes */
	ROW_RING(GETXATTR, WORKER, IORING_OP_GETXATTR, IORING_OP_FGETXATTR, OPT_RETRY | OPT_FILE | OPT_QUICK,
		 prep_getxattr, sysop_getxattr),
	ROW_RING(SETXATTR, WORKER, IORING_OP_SETXATTR, IORING_OP_FSETXATTR, OPT_RETRY | OPT_FILE | OPT_QUICK,
		 prep_setxattr, sysop_setxattr),
	/* always punted; waits for pipe or disk */
	ROW_RING(SPLICE, WORKER, IORING_OP_SPLICE, -1, 0, prep_splice, sysop_splice),
	ROW_RING(POLL, WORKER, IORING_OP_POLL_ADD, -1, OPT_FILE | OPT_WAITS, prep_poll, sysop_poll),
	ROW_RING(TIMEOUT, WORKER, IORING_OP_TIMEOUT, -1, OPT_WAITS, prep_timeout, sysop_timeout),
	ROW_RING(CANCEL, INLINE, IORING_OP_ASYNC_CANCEL, -1, 0, prep_cancel, sysop_cancel),
	ROW_RING(DEVICE_CMD, INLINE, IORING_OP_URING_CMD, -1, OPT_FILE | OPT_NO_SYS | OPT_WAITS,
		 prep_device_cmd, sysop_refuse),
	/* calls that io_uring lacks; each may wait for the disk; by a worker thread they cost 10..50 us more: OPT_QUICK */
	ROW_WORKER(MKNODAT, OPT_RETRY | OPT_NAMES | OPT_QUICK, sysop_mknodat),
	ROW_WORKER(READLINK, OPT_RETRY | OPT_QUICK, sysop_readlink),
	ROW_WORKER(GETDENTS, OPT_RETRY | OPT_QUICK, sysop_getdents),
	ROW_WORKER(SETATTR, OPT_QUICK, sysop_setattr),
	ROW_WORKER(STATFS, OPT_RETRY | OPT_QUICK, sysop_statfs),
	ROW_WORKER(LISTXATTR, OPT_RETRY | OPT_QUICK, sysop_listxattr),
	ROW_WORKER(REMOVEXATTR, OPT_RETRY | OPT_QUICK, sysop_removexattr),
	ROW_WORKER(LSEEK, OPT_RETRY | OPT_QUICK, sysop_lseek),
	ROW_WORKER(COPY_RANGE, OPT_RETRY, sysop_copy_range),
	ROW_WORKER(ACCESS, OPT_RETRY | OPT_QUICK, sysop_access),
	ROW_WORKER(IOCTL, 0, sysop_ioctl),
	ROW_WORKER(SYNCFS, OPT_RETRY, sysop_syncfs),
	/* encodes what the inode in memory knows: cannot wait */
	ROW_INLINE(NAME_TO_HANDLE, -1, 0, NULL, sysop_name_to_handle),
	ROW_WORKER(OPEN_BY_HANDLE, OPT_RETRY | OPT_QUICK, sysop_open_by_handle),
	/* reads extents that are not in memory */
	ROW_WORKER(CHECK_FILE, OPT_QUICK, sysop_check_file),
	/* wait for the disk, for those who do not have to then */
	ROW_WORKER(NAMES_READ, 0, sysop_names_read),
	ROW_WORKER(NAMES_LOOK, 0, sysop_names_look),
};

static const char *const kind_names[OP_KINDS_COUNT] = {
#define X(e, n) n,
	OP_KINDS(X)
#undef X
};

const char *op_kind_name(enum op_kind kind)
{
	return (unsigned)kind < OP_KINDS_COUNT ? kind_names[kind] : "unknown";
}

bool op_makes_name(const struct op *op)
{
	if (!(op_row(op)->flags & OPT_NAMES))
		return false;
	if (op->kind != OP_OPENAT)
		return true;
	return (op->how.flags & O_CREAT) || (op->how.flags & O_TMPFILE) == O_TMPFILE;
}

void op_path_of_fd(struct op *op, int fd)
{
	snprintf(op->procpath, sizeof(op->procpath), "/proc/self/fd/%d", fd);
	op->path = op->procpath;
}
