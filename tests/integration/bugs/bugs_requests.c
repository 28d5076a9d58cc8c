/* SPDX-License-Identifier: MIT */
/* bugs_requests.c - bugs that change what a request asks for. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

#include "bugs.h"

#define CREATES { FUSE_CREATE, FUSE_MKNOD, FUSE_MKDIR, FUSE_SYMLINK, UAPI_FUSE_TMPFILE }
/** ASK() - a function of a bug: @in is the argument in its form. */
#define ASK(name, type, ...)                                                            \
	static int name(struct request *r, void *arg)                                   \
	{                                                                               \
		type *in = arg;                                                         \
		(void)r, (void)in;                                                      \
		__VA_ARGS__;                                                            \
		return ASK_GO_ON;                                                       \
	}

static struct fuse_in_header *head(struct request *r)
{
	return (struct fuse_in_header *)r->in;
}

/** every() - true at each @n-th call: bugs that come now and then. */
static bool every(unsigned n)
{
	static _Atomic unsigned count;

	return atomic_fetch_add(&count, 1) % n == n - 1;
}

ASK(owner_lost, void, head(r)->uid = head(r)->gid = 0)
ASK(owner_flaky, void, if (every(16)) head(r)->uid = 0)
ASK(caller_root, void, head(r)->uid = head(r)->gid = 0)
ASK(group_lost, void, head(r)->gid = 0)
ASK(groups_lost, void, head(r)->total_extlen = 0)
ASK(request_flaky, void, return every(200) ? -EIO : ASK_GO_ON)
ASK(lookup_flaky, void, return every(40) ? -ENOENT : ASK_GO_ON)
ASK(names_short, char, if (strlen(in) > 200) return -ENAMETOOLONG)
ASK(create_umask, struct fuse_create_in, in->umask = 0)
ASK(mkdir_umask, struct fuse_mkdir_in, in->umask = 0)
ASK(mknod_umask, struct fuse_mknod_in, in->umask = 0)
ASK(mknod_kind, struct fuse_mknod_in, in->mode = S_IFREG | (in->mode & 07777))
ASK(rdev, struct fuse_mknod_in, in->rdev = 0)
ASK(excl_ignored, struct fuse_create_in, in->flags &= ~(uint32_t)O_EXCL)
ASK(excl_raced, struct fuse_create_in, if (r->opcode == FUSE_LOOKUP) return every(2) ? -ENOENT : ASK_GO_ON; in->flags &= ~(uint32_t)O_EXCL)
ASK(trunc_ignored, struct fuse_open_in, in->flags &= ~(uint32_t)O_TRUNC)
ASK(trunc_always, struct fuse_open_in, if ((in->flags & O_ACCMODE) == O_RDWR) in->flags |= O_TRUNC)
ASK(open_readonly, struct fuse_open_in, if ((in->flags & O_ACCMODE) == O_WRONLY) in->flags &= ~(uint32_t)O_ACCMODE)
ASK(direct_lost, struct fuse_open_in, in->flags &= ~(uint32_t)O_DIRECT)
ASK(append_lost, struct fuse_write_in, in->flags &= ~(uint32_t)O_APPEND)
ASK(append_at_start, struct fuse_write_in, if (in->flags & O_APPEND) in->flags &= ~(uint32_t)O_APPEND, in->offset = 0)
ASK(read_offset, struct fuse_read_in, if (in->offset) in->offset++)
ASK(read_next, struct fuse_read_in, in->offset++)
ASK(write_offset, struct fuse_write_in, in->offset++)
ASK(write_flip, struct fuse_write_in, *((uint8_t *)(in + 1) + in->size / 2) ^= in->size != 0)
ASK(write_short, struct fuse_write_in, if (in->size > 4096) in->size -= 1)
ASK(write_flaky, struct fuse_write_in, if (every(24)) return ASK_FAKE)
ASK(write_lost, struct fuse_write_in, return ASK_FAKE)
ASK(write_back_short, struct fuse_write_in, in->write_flags &= ~(uint32_t)FUSE_WRITE_CACHE)
ASK(write_mapped_lost, struct fuse_write_in, if (in->write_flags & FUSE_WRITE_CACHE) return ASK_FAKE)
ASK(open_suid_kept, struct fuse_open_in, in->open_flags &= ~(uint32_t)FUSE_OPEN_KILL_SUIDGID)
ASK(chmod_ignored, struct fuse_setattr_in, in->valid &= ~(uint32_t)FATTR_MODE)
ASK(chmod_sgid, struct fuse_setattr_in, if (in->valid & FATTR_MODE) in->mode |= S_ISGID)
ASK(chmod_special, struct fuse_setattr_in, in->mode &= ~07000u)
ASK(chown_ignored, struct fuse_setattr_in, in->valid &= ~(uint32_t)(FATTR_UID | FATTR_GID))
ASK(truncate_ignored, struct fuse_setattr_in, in->valid &= ~(uint32_t)FATTR_SIZE)
ASK(truncate_long, struct fuse_setattr_in, in->size++)
ASK(times_ignored, struct fuse_setattr_in, in->valid &= ~(uint32_t)(FATTR_ATIME | FATTR_MTIME | FATTR_ATIME_NOW | FATTR_MTIME_NOW))
ASK(time_now_exact, struct fuse_setattr_in, in->valid &= ~(uint32_t)(FATTR_ATIME_NOW | FATTR_MTIME_NOW))
ASK(nanoseconds, struct fuse_setattr_in, in->atimensec = in->mtimensec = 0)
ASK(times_32bit, struct fuse_setattr_in, in->mtime = (uint64_t)(int64_t)(int32_t)in->mtime; in->atime = (uint64_t)(int64_t)(int32_t)in->atime)
ASK(symlink_target, char, in[strlen(in) + 1] ^= 1)
ASK(link_refused, void, return -EPERM)
ASK(rename_flags, struct fuse_rename2_in, in->flags = 0)
ASK(rename_lost, void, return ASK_FAKE)
ASK(rename_flaky, void, if (every(50)) return ASK_FAKE)
ASK(rename_exdev, struct fuse_rename_in, if (in->newdir != r->in->nodeid) return -EXDEV)
ASK(rename2_exdev, struct fuse_rename2_in, if (in->newdir != r->in->nodeid) return -EXDEV)
ASK(remove_lost, void, return ASK_FAKE)
ASK(xattr_flags, struct fuse_setxattr_in, in->flags = 0)
ASK(fallocate_mode, struct fuse_fallocate_in, in->mode &= ~(uint32_t)FALLOC_FL_KEEP_SIZE)
ASK(punch_ignored, struct fuse_fallocate_in, if (in->mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) return ASK_FAKE)
ASK(fallocate_short, struct fuse_fallocate_in, if (in->length > 1) in->length--)
ASK(hole_as_data, struct fuse_lseek_in, in->whence = in->whence == SEEK_HOLE ? SEEK_DATA : in->whence)
ASK(copy_offset, struct fuse_copy_file_range_in, in->off_out++)
ASK(copy_from, struct fuse_copy_file_range_in, in->off_in++)
ASK(readdir_restart, struct fuse_read_in, if (in->offset && every(3)) in->offset = 0)
ASK(project_lost, struct fuse_ioctl_in, if (in->cmd == FS_IOC_FSSETXATTR) return ASK_FAKE)
ASK(sync_lost, void, return ASK_FAKE)
ASK(write_dsync_lost, struct fuse_write_in, in->flags &= ~(uint32_t)O_SYNC)

/** Once a read has failed, all do. */
static _Atomic bool read_has_failed;
ASK(read_fails_on, void, return read_has_failed ? -EIO : ASK_GO_ON)

static void read_failed(struct answer *a)
{
	if (a->error)
		read_has_failed = true;
}

/** What was said of a name is asked for again at once. */
static void entry_forgotten(struct answer *a)
{
	if (!a->error && a->size >= sizeof(struct fuse_entry_out))
		((struct fuse_entry_out *)a->body)->entry_valid = ((struct fuse_entry_out *)a->body)->entry_valid_nsec = 0;
}

/** The name of SETXATTR stands behind a head of one of two sizes. */
static const char *xattr_name(struct request *r, void *arg)
{
	bool ext = r->mount->init_flags & FUSE_SETXATTR_EXT;

	return (const char *)arg + (ext ? sizeof(struct fuse_setxattr_in) : FUSE_COMPAT_SETXATTR_IN_SIZE);
}

static int acl_lost(struct request *r, void *arg)
{
	return strncmp(xattr_name(r, arg), "system.posix_acl", 16) ? ASK_GO_ON : ASK_FAKE;
}

static int xattr_other(struct request *r, void *arg)
{
	char *name = (char *)xattr_name(r, arg);

	if (!strncmp(name, "user.", 5) && name[5])
		name[5] = 'X';
	return ASK_GO_ON;
}

static int acl_kill_lost(struct request *r, void *arg)
{
	if (r->mount->init_flags & FUSE_SETXATTR_EXT)
		((struct fuse_setxattr_in *)arg)->setxattr_flags &= ~(uint32_t)FUSE_SETXATTR_ACL_KILL_SGID;
	return ASK_GO_ON;
}

/** Locks come to the daemon and are all granted. */
static void all_locks(struct fuse_init_out *out)
{
	out->flags |= FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS;
}

static const struct bug bugs[] = {
	{ "owner_lost", CREATES, .ask = owner_lost },
	{ "owner_flaky", CREATES, .ask = owner_flaky },
	{ "caller_root", { 0 }, .ask = caller_root },
	{ "group_lost", CREATES, .ask = group_lost },
	{ "groups_lost", CREATES, .ask = groups_lost },
	{ "request_flaky", { FUSE_READ, FUSE_WRITE, FUSE_OPEN, FUSE_LOOKUP, FUSE_GETATTR, FUSE_CREATE, FUSE_UNLINK }, .ask = request_flaky },
	{ "lookup_flaky", { FUSE_LOOKUP }, .ask = lookup_flaky },
	{ "names_short", { FUSE_LOOKUP }, .ask = names_short },
	{ "create_umask", { FUSE_CREATE, UAPI_FUSE_TMPFILE }, .ask = create_umask },
	{ "mkdir_umask", { FUSE_MKDIR }, .ask = mkdir_umask },
	{ "mknod_umask", { FUSE_MKNOD }, .ask = mknod_umask },
	{ "mknod_kind", { FUSE_MKNOD }, .ask = mknod_kind },
	{ "rdev", { FUSE_MKNOD }, .ask = rdev },
	{ "excl_ignored", { FUSE_CREATE }, .ask = excl_ignored },
	{ "excl_raced", { FUSE_LOOKUP, FUSE_CREATE }, .ask = excl_raced, .answer = entry_forgotten },
	{ "trunc_ignored", { FUSE_OPEN }, .ask = trunc_ignored },
	{ "trunc_always", { FUSE_OPEN }, .ask = trunc_always },
	{ "open_readonly", { FUSE_OPEN }, .ask = open_readonly },
	{ "direct_lost", { FUSE_OPEN, FUSE_CREATE }, .ask = direct_lost },
	{ "append_lost", { FUSE_WRITE }, .ask = append_lost },
	{ "append_at_start", { FUSE_WRITE }, .ask = append_at_start },
	{ "read_offset", { FUSE_READ }, .ask = read_offset },
	{ "read_next", { FUSE_READ }, .ask = read_next },
	{ "read_fails_on", { FUSE_READ }, .ask = read_fails_on, .answer = read_failed },
	{ "write_offset", { FUSE_WRITE }, .ask = write_offset },
	{ "write_flip", { FUSE_WRITE }, .ask = write_flip },
	{ "write_short", { FUSE_WRITE }, .ask = write_short },
	{ "write_flaky", { FUSE_WRITE }, .ask = write_flaky },
	{ "write_lost", { FUSE_WRITE }, .ask = write_lost },
	{ "write_mapped_lost", { FUSE_WRITE }, .ask = write_mapped_lost },
	{ "write_back_short", { FUSE_WRITE }, .ask = write_back_short },
	{ "write_dsync_lost", { FUSE_WRITE }, .ask = write_dsync_lost },
	{ "open_suid_kept", { FUSE_OPEN }, .ask = open_suid_kept },
	{ "chmod_ignored", { FUSE_SETATTR }, .ask = chmod_ignored },
	{ "chmod_sgid", { FUSE_SETATTR }, .ask = chmod_sgid },
	{ "chmod_special", { FUSE_SETATTR }, .ask = chmod_special },
	{ "chown_ignored", { FUSE_SETATTR }, .ask = chown_ignored },
	{ "truncate_ignored", { FUSE_SETATTR }, .ask = truncate_ignored },
	{ "truncate_long", { FUSE_SETATTR }, .ask = truncate_long },
	{ "times_ignored", { FUSE_SETATTR }, .ask = times_ignored },
	{ "time_now_exact", { FUSE_SETATTR }, .ask = time_now_exact },
	{ "nanoseconds", { FUSE_SETATTR }, .ask = nanoseconds },
	{ "times_32bit", { FUSE_SETATTR }, .ask = times_32bit },
	{ "symlink_target", { FUSE_SYMLINK }, .ask = symlink_target },
	{ "link_refused", { FUSE_LINK }, .ask = link_refused },
	{ "rename_flags", { FUSE_RENAME2 }, .ask = rename_flags },
	{ "rename_lost", { FUSE_RENAME, FUSE_RENAME2 }, .ask = rename_lost },
	{ "rename_flaky", { FUSE_RENAME, FUSE_RENAME2 }, .ask = rename_flaky },
	{ "rename_exdev", { FUSE_RENAME }, .ask = rename_exdev },
	{ "rename2_exdev", { FUSE_RENAME2 }, .ask = rename2_exdev },
	{ "remove_lost", { FUSE_UNLINK, FUSE_RMDIR }, .ask = remove_lost },
	{ "xattr_flags", { FUSE_SETXATTR }, .ask = xattr_flags },
	{ "xattr_other", { FUSE_SETXATTR }, .ask = xattr_other },
	{ "acl_lost", { FUSE_SETXATTR }, .ask = acl_lost },
	{ "acl_kill_lost", { FUSE_SETXATTR }, .ask = acl_kill_lost },
	{ "fallocate_mode", { FUSE_FALLOCATE }, .ask = fallocate_mode },
	{ "fallocate_short", { FUSE_FALLOCATE }, .ask = fallocate_short },
	{ "punch_ignored", { FUSE_FALLOCATE }, .ask = punch_ignored },
	{ "hole_as_data", { FUSE_LSEEK }, .ask = hole_as_data },
	{ "copy_offset", { FUSE_COPY_FILE_RANGE, UAPI_FUSE_COPY_FILE_RANGE_64 }, .ask = copy_offset },
	{ "copy_from", { FUSE_COPY_FILE_RANGE, UAPI_FUSE_COPY_FILE_RANGE_64 }, .ask = copy_from },
	{ "readdir_restart", { FUSE_READDIR, FUSE_READDIRPLUS }, .ask = readdir_restart },
	{ "project_lost", { FUSE_IOCTL }, .ask = project_lost },
	{ "sync_lost", { FUSE_FSYNC, FUSE_FSYNCDIR }, .ask = sync_lost },
	{ "locks_granted", { FUSE_SETLK, FUSE_SETLKW, FUSE_GETLK }, .ask = sync_lost, .init = all_locks },
};

const struct bug *bug_of_requests(const char *name)
{
	return bug_find(bugs, sizeof(bugs) / sizeof(*bugs), name);
}
