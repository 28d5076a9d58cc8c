/* SPDX-License-Identifier: MIT */
/*
 * backend.h - files, rings and worker threads behind one call: ring_submit().
 *
 * This is the only header of backend/ (besides backend/util/) that fs/ may
 * include. Nothing here knows of FUSE.
 *
 * An operation is a `struct op` from the pool of one ring. The caller fills in
 * what to do and whom to call; the policy table in op.c decides where it runs:
 * in the ring, on a worker thread, or at once on the calling thread where it
 * cannot wait. The callback always runs on the thread that owns the ring.
 *
 * Errors: every function returns 0 or a count on success and -errno on failure.
 */
#ifndef URINGFS_BACKEND_H
#define URINGFS_BACKEND_H

#include <fcntl.h>
#include <linux/openat2.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "util/stats.h"

/** Most rings (= serving threads) of one daemon. */
#define BACKEND_RINGS_MAX 64u

struct backend;
struct ring;
struct op;

/* ---- kinds of operation ------------------------------------------------ */

/*
 * OP_KINDS(X): X(ENUM, "name") for every kind. Arguments that a kind uses are
 * listed behind it; `file` means op->file (registered slot where it has one)
 * or, when that is NULL, op->fd.
 */
#define OP_KINDS(X)                                                            \
	X(NOP, "nop")                                                          \
	X(READ, "read")           /* file, buf, len, off, arg=RWF_ */          \
	X(WRITE, "write")         /* file, buf, len, off, arg=RWF_ */          \
	X(FSYNC, "fsync")         /* file, arg=1: fdatasync */                 \
	X(SYNC_RANGE, "sync_file_range") /* file, off, len, arg=flags */       \
	X(FALLOCATE, "fallocate") /* file, off, len, arg=mode */               \
	X(FTRUNCATE, "ftruncate") /* file (open for writing), off=new size */  \
	X(FADVISE, "fadvise")     /* file, off, len, arg=advice */             \
	X(OPENAT, "openat2")      /* fd=dirfd, path, how; res=new fd */        \
	X(CLOSE, "close")         /* fd */                                     \
	X(STATX, "statx")         /* fd=dirfd, path, arg=AT_, arg2=mask, buf=struct statx */ \
	X(UNLINKAT, "unlinkat")   /* fd, path, arg=0 or AT_REMOVEDIR */        \
	X(MKDIRAT, "mkdirat")     /* fd, path, arg=mode */                     \
	X(SYMLINKAT, "symlinkat") /* path=target, fd=dirfd, path2=name */      \
	X(LINKAT, "linkat")       /* fd, path, fd2, path2, arg=AT_ flags */    \
	X(RENAMEAT, "renameat2")  /* fd, path, fd2, path2, arg=RENAME_ */      \
	X(GETXATTR, "getxattr")   /* path (absolute, or NULL: file), path2=name, buf, len */ \
	X(SETXATTR, "setxattr")   /* the same, arg=XATTR_ flags */             \
	X(SPLICE, "splice")       /* fd -> fd2, off, off2 (-1: none), len, arg=flags */ \
	X(POLL, "poll")           /* file, arg=poll mask; res=ready mask */    \
	X(TIMEOUT, "timeout")     /* off=nanoseconds from now; res=0 when over */ \
	X(CANCEL, "cancel")       /* buf=the struct op to cancel (same ring) */ \
	X(DEVICE_CMD, "device_cmd") /* file, arg=cmd_op, buf=command bytes (len<=80), iov, iov_count */ \
	/* calls that io_uring lacks */                                        \
	X(MKNODAT, "mknodat")     /* fd, path, arg=mode, off=dev_t */          \
	X(READLINK, "readlink")   /* fd (O_PATH of the link), buf, len */      \
	X(GETDENTS, "getdents")   /* fd, buf, len, off=position or -1: go on */ \
	X(SETATTR, "setattr")     /* fd, buf=struct setattr_args */            \
	X(STATFS, "statfs")       /* fd, buf=struct statvfs */                 \
	X(LISTXATTR, "listxattr") /* path (absolute) or NULL: file, buf, len */ \
	X(REMOVEXATTR, "removexattr") /* path or NULL: file, path2=name */     \
	X(LSEEK, "lseek")         /* fd, off, arg=whence; res=offset */        \
	X(COPY_RANGE, "copy_file_range") /* fd, off, fd2, off2, len */         \
	X(ACCESS, "access")       /* path (absolute), arg=R_OK.. */            \
	X(IOCTL, "ioctl")         /* fd, off=cmd, buf=argument */              \
	X(SYNCFS, "syncfs")       /* fd */                                     \
	X(NAME_TO_HANDLE, "name_to_handle_at") /* fd, path, arg=AT_, buf=struct file_handle; res=mount id */ \
	X(OPEN_BY_HANDLE, "open_by_handle_at") /* fd=mount fd, buf=struct file_handle, arg=open flags; res=fd */ \
	X(CHECK_FILE, "check_file") /* file, arg=1: copy on write, buf=struct proof_extents: see file_check.h */ \
	X(NAMES_READ, "names_read") /* fd (a directory), off=position, buf=struct names; res=how many */ \
	X(NAMES_LOOK, "names_look") /* fd, buf=struct names, off=first, len=how many of them */

enum op_kind {
#define X(e, n) OP_##e,
	OP_KINDS(X)
#undef X
	OP_KINDS_COUNT
};

/** Where an operation runs. */
enum op_place {
	OP_PLACE_INLINE, /* on the calling thread, at once: cannot wait */
	OP_PLACE_RING,   /* io_uring */
	OP_PLACE_WORKER, /* the pool of blocking threads */
	OP_PLACES_COUNT
};

/** What a piece of a directory takes at most, and how many names it has: an entry of linux_dirent64 has 24 bytes at least. */
#define NAMES_BYTES 32768u
#define NAMES_MAX (NAMES_BYTES / 24u)

/** linux_dirent64 of getdents64(2). */
struct names_entry {
	uint64_t ino;
	int64_t off;      /* position of the next one */
	uint16_t reclen;
	uint8_t type;     /* DT_ */
	char name[];
};

/** Flags of one operation. */
enum {
	OPF_ONCE = 1 << 0,   /* a short result is the result: do not continue */
	OPF_ASYNC = 1 << 1,  /* in the ring: straight to a kernel worker */
	OPF_WORKER = 1 << 2, /* this one on a worker thread, whatever the policy says */
	OPF_INLINE = 1 << 3, /* this one cannot wait: on the calling thread
	                        (unless the backend was told to force the ring) */
	OPF_QUICK = 1 << 5,  /* on a local filesystem: kinds that are mostly quick (op.c) are done at once on the
	                        calling thread as long as they have been quick (quick.h); with OPENAT's RESOLVE_CACHED:
	                        then without that */
	OPF_SLOT = 1 << 6,   /* READ and WRITE: buf is an offset in registered buffer buf_index, which has no address of
	                        ours; -EFAULT where it cannot be done in the ring */
	OPF_AHEAD = 1 << 7,  /* nobody waits for it yet: on the threads that all rings share for such, wherever there is a CPU */
	OPF_LINK = 1 << 4,   /* in the ring: the next op submitted on this ring is linked
	                        behind this one (IOSQE_IO_LINK); it ends with
	                        -ECANCELED when this one fails or is short */
};

/** What the caller may act as. A value type: copied into the op. */
struct creds {
	uid_t uid;
	gid_t gid;
	gid_t group;      /* one supplementary group, valid with CREDS_GROUP */
	uint16_t flags;   /* CREDS_ */
	uint16_t umask;   /* 0..0777; used by operations that create */
};

enum {
	CREDS_SET = 1 << 0,       /* act as uid/gid; without it as the daemon */
	CREDS_GROUP = 1 << 1,     /* group is valid */
	CREDS_NO_FSETID = 1 << 2, /* without CAP_FSETID: writes kill suid and sgid */
	CREDS_UMASK = 1 << 3,     /* apply umask (backing default ACLs win, as in the VFS) */
	CREDS_NO_RESOURCE = 1 << 4, /* without CAP_SYS_RESOURCE: quotas bind */
};

/** Arguments of OP_SETATTR; each step is done in this order, the first error ends it. */
struct setattr_args {
	uint32_t valid; /* SETATTR_ */
	mode_t mode;    /* permission bits */
	uid_t uid;
	gid_t gid;
	uint64_t size; /* bytes */
	struct timespec atime, mtime; /* tv_nsec may be UTIME_NOW or UTIME_OMIT */
};

enum {
	SETATTR_UID = 1 << 0,
	SETATTR_GID = 1 << 1,
	SETATTR_SIZE = 1 << 2,
	SETATTR_MODE = 1 << 3,
	SETATTR_TIMES = 1 << 4,
	SETATTR_FD_OPEN = 1 << 5, /* fd is no O_PATH descriptor and is open for writing */
};

/**
 * struct names - a piece of a directory that is looked up before anybody asks for it
 *
 * NAMES_READ reads it and sorts it by inode number, so that tables of inodes are read in order; several NAMES_LOOK look up a part
 * each, so that the kernel has names and inodes in its caches. Belongs to who submits them, till all are done.
 */
struct names {
	int64_t next;      /* NAMES_READ: position of what follows; it may be read from there */
	bool cached;       /* NAMES_READ: those that were tried were in the kernel's caches already */
	_Atomic bool stop; /* set by anybody: nobody will ask any more */
	unsigned count;
	const struct names_entry *sorted[NAMES_MAX];
	_Alignas(8) char entries[NAMES_BYTES];
};

/* ---- opened backing files ----------------------------------------------- */

/**
 * struct bfile - an opened backing file, known to the rings by slots
 *
 * Embedded in its owner (an fs/ handle). @fd belongs to the bfile from
 * bfile_init() to bfile_close(). The slots are private to the backend: each is
 * read and written only by the thread of its ring, except at bfile_close().
 */
struct bfile {
	int fd;
	_Atomic uint32_t uses;                   /* operations so far, saturating */
	int32_t *slots;                          /* one per ring, -1: none; NULL until wanted */
	_Atomic(uint64_t) slot_rings;            /* bit i: ring i holds a slot */
};

/** bfile_init() - take over @fd. Thread: any. */
void bfile_init(struct bfile *f, int fd);

enum bfile_close_how {
	BFILE_CLOSE_NOW,   /* at once, on this thread: the last close has nothing to wait for */
	BFILE_CLOSE_SLOW,  /* it may have to wait (much to free, a network filesystem): by a kernel worker */
	BFILE_CLOSE_QUICK, /* a file of a local filesystem that was written to: as OPF_QUICK says */
};

/**
 * bfile_close() - give back all slots in all rings, then close the descriptor
 * @r: ring of the calling thread
 * @f: no operation on it may be in flight; may be reused or freed on return
 * @how: on which thread the descriptor is closed; not BFILE_CLOSE_NOW, and other rings hold slots:
 *       the last of them closes it on a kernel worker
 * Slots of other rings are given back by their own threads soon after (they are woken).
 * Return: nothing; an error of close(2) after a successful flush has no one to go to and is counted.
 */
void bfile_close(struct ring *r, struct bfile *f, enum bfile_close_how how);

/* ---- one operation ------------------------------------------------------- */

/**
 * op_done_fn - called once, on the thread of the op's ring
 * @op: the op with @op->res set: 0 or a count, or -errno. It returns to the pool
 *      when the callback returns, unless the callback submitted it again
 *      (op_reuse() then ring_submit()).
 */
typedef void (*op_done_fn)(struct op *op);

struct op {
	/* set by the caller between ring_op_get() and ring_submit() */
	uint16_t kind;      /* enum op_kind */
	uint16_t flags;     /* OPF_ */
	int32_t fd, fd2;
	struct bfile *file; /* borrowed until done */
	const char *path, *path2; /* borrowed until done */
	void *buf;          /* borrowed until done */
	const struct iovec *iov;  /* DEVICE_CMD only, borrowed until done */
	uint32_t iov_count;
	int32_t buf_index;  /* registered buffer that holds buf, or -1 */
	size_t len;
	uint64_t off, off2;
	uint32_t arg, arg2;
	struct open_how how;
	struct creds creds;
	char procpath[32];  /* room for op_path_of_fd() */
	op_done_fn done;
	void *owner;        /* the caller's */
	/* result */
	int64_t res;
	int cut;            /* READ and WRITE, with what was moved before in res: -errno that ended it, or 0 */
	/* private to the backend */
	struct ring *ring;
	struct op *next;
	uint32_t index, generation;
	uint8_t state, retries, place, sqe_flags;
	size_t progress;
	uint64_t start_ns;
	struct { int64_t sec; long long nsec; } ts; /* struct __kernel_timespec of TIMEOUT */
};

/** op_path_of_fd() - point op->path at "/proc/self/fd/N" in the op itself. */
void op_path_of_fd(struct op *op, int fd);

/* ---- the backend ---------------------------------------------------------- */

enum backend_taskrun { TASKRUN_AUTO, TASKRUN_DEFER, TASKRUN_COOP, TASKRUN_NONE };

struct backend_config {
	unsigned rings_count;     /* 1..BACKEND_RINGS_MAX */
	unsigned entries;         /* submission entries per ring, 8..4096; completions 4 times that */
	unsigned ops_count;       /* op pool per ring, 16..65536 */
	unsigned file_slots;      /* registered file table per ring, 0 (none)..65536 */
	unsigned register_after;  /* a file gets a slot at its Nth operation, 1..1000 */
	unsigned workers_max;     /* 1..256 threads, shared out among the rings (at least one each), started on demand */
	unsigned iowq_bounded, iowq_unbounded; /* kernel workers per ring, 0: the kernel's default */
	unsigned sqpoll_idle_ms;  /* 0: no SQPOLL */
	enum backend_taskrun taskrun;
	bool pin;                 /* ring i on the i-th CPU of the daemon's affinity mask */
	bool force_ring;          /* everything that io_uring has goes through it */
	bool no_quick;            /* OPF_QUICK means nothing */
	const char *deny;         /* comma-separated features not to use, or NULL */
	const char *inject;       /* tests: "KIND:NTH:RES[,..]" the NTH op of KIND completes through
	                             a NOP with RES as result (or through the worker path), or NULL;
	                             NTH may be "N+" : that one and all later ones */
};

/**
 * backend_create() - probe the kernel, check the configuration, make the shared parts
 * @cfg: copied
 * @ret_b: the backend; backend_destroy() frees it
 * @err, @err_size: one line that names what is wrong and the remedy, on failure
 * Thread: main, before any ring; makes no thread itself.
 * Return: 0; -EINVAL bad value or unknown feature name in deny; -ENOSYS, -EPERM no io_uring; -ENOMEM
 */
int backend_create(const struct backend_config *cfg, struct backend **ret_b, char *err, size_t err_size);
void backend_destroy(struct backend *b); /* all rings destroyed; NULL allowed */

/** One word per feature: in use, missing in this kernel, denied by option. Space-separated lists,
 *  for the start line. The strings belong to the backend. */
const char *backend_features_used(const struct backend *b);
const char *backend_features_missing(const struct backend *b);
const char *backend_features_denied(const struct backend *b);
/** All names that --deny knows, comma-separated (static string; for --help). */
const char *backend_features_known(void);

/** Where operations of @kind go under the present policy and features. */
enum op_place backend_op_place(const struct backend *b, enum op_kind kind);
const char *op_kind_name(enum op_kind kind);

/* ---- rings ---------------------------------------------------------------- */

/**
 * ring_create() - the ring of the calling thread
 * @index: 0..rings_count-1, each once
 * Thread: the one that will own it. Pins the thread when configured, takes its own fs_struct
 * (unshare(CLONE_FS)), so that its umask is its own.
 */
int ring_create(struct backend *b, unsigned index, struct ring **ret_r);

/**
 * ring_move() - from now on the thread of @r, and its kernel workers, run on CPU @cpu only
 * Thread: owner.  Return: 0; -errno when the thread may not run there (offline, not in the cpuset): nothing has changed
 */
int ring_move(struct ring *r, int cpu);

/**
 * ring_destroy() - end it: all ops must be done (ring_outstanding() == 0)
 * Thread: owner. The backend keeps the address valid (ring_post() to it is refused) until
 * backend_destroy().
 */
void ring_destroy(struct ring *r);

/** Buffers that READ and WRITE may name by index, instead of those that were registered. @count 0..RING_BUFFERS_MAX; with address
 *  NULL: a slot that somebody else will fill (OPF_SLOT). Pinned memory. Thread: owner.
 *  Return 0, or -errno when refused (memory lock limit): the buffers then work unregistered. */
int ring_register_buffers(struct ring *r, const struct iovec *iov, unsigned count);
/** Source: IORING_MAX_REG_BUFFERS in io_uring/rsrc.c of Linux 5.13 and later. */
#define RING_BUFFERS_MAX (1u << 14)
/** ring_clear_buffer() - slot @index holds nothing any more, whoever filled it. Thread: owner.  Return 0 or -errno. */
int ring_clear_buffer(struct ring *r, unsigned index);

/** ring_op_get() - an op with all fields zero, buf_index, fd and fd2 -1; NULL: pool empty. Owner only. */
struct op *ring_op_get(struct ring *r);
/** ring_ops_free() - how many ops the pool has left. Owner only. */
unsigned ring_ops_free(const struct ring *r);
/** ring_op_put() - give back an op that was not submitted. Owner only. */
void ring_op_put(struct op *op);
/** op_reuse() - in its callback: make the op fresh again (as from ring_op_get()), keeping it. */
void op_reuse(struct op *op);
/** op_keep() - in its callback: keep the op as it is, for ring_submit_again() now or later, or for ring_op_put(). */
void op_keep(struct op *op);

/**
 * ring_submit() - do it
 * Never fails: what cannot be started completes with an error. When the submission queue is full the
 * op waits in a list. For an inline op the callback runs before this returns; so the call is the last
 * thing that a step of a handler does.
 * Thread: owner.
 */
void ring_submit(struct op *op);

/**
 * ring_submit_again() - ring_submit() of a kept op that is to do the same once more: only what lies at op->buf may be different
 * For ops that are not linked and made no name. Thread: owner.
 */
void ring_submit_again(struct op *op);

/** ring_quick_now() - whether an op of @kind (look-ups: STATX) with OPF_QUICK would be done at once just now. Owner only. */
bool ring_quick_now(const struct ring *r, enum op_kind kind);
/**
 * ring_quick_data() - what an OP_READ or OP_WRITE with OPF_QUICK does on the spot, without an op: for data that are in memory
 * that is a good part of its cost
 * @kind: OP_READ or OP_WRITE, by the daemon itself, without RWF_ flags
 * @f, @buf, @len, @off: as the op's; @off 0..INT64_MAX - @len
 * @clock_ns: monotonic time of now; becomes that of the end
 * Thread: owner; may wait, as OPF_QUICK says.
 * Return: bytes moved, less than @len at the end of the file only; -1: submit an op, which begins anew
 */
int64_t ring_quick_data(struct ring *r, enum op_kind kind, const struct bfile *f, void *buf, size_t len, uint64_t off, uint64_t *clock_ns);

/**
 * ring_sleep_short() - whether ring_wait() wakes up after a second in any case
 * @on: for whoever waits for an end that other threads bring about: should one of them forget to say so, it is late and not lost
 * Thread: owner.
 */
void ring_sleep_short(struct ring *r, bool on);
/**
 * ring_wait() - submit what is queued, collect completions, then run their callbacks
 * @sleep: true: wait until there is at least one (or a post; while ops are with worker threads, or as ring_sleep_short() says: or one second is over)
 * Thread: owner; not from a callback.
 * Return: number of callbacks run, or -errno when the ring itself is broken (-EBADF, -ENXIO..)
 */
int ring_wait(struct ring *r, bool sleep);

/** ring_outstanding() - ops submitted and not yet called back (all places). Owner only. */
unsigned ring_outstanding(const struct ring *r);
unsigned ring_index(const struct ring *r);

/** A message to the thread of a ring; owned by the sender until fn is called. */
struct ring_post {
	struct ring_post *next;
	void (*fn)(struct ring_post *p);
};
/**
 * ring_post() - have p->fn run on the thread of @to, soon
 * @from: ring of the calling thread, or NULL if it has none (then an eventfd wakes @to)
 * Thread: any.  Return: 0; -ESHUTDOWN the ring has been destroyed
 */
int ring_post(struct ring *from, struct ring *to, struct ring_post *p);

/**
 * ring_has_work() - whether something waits for the owner of @r to run, or it is in the middle of something
 * Sees completions that the kernel holds back for it, too, but only where ring_tells_work().
 * Thread: any; the ring must not be ending. No system call.
 */
bool ring_has_work(const struct ring *r);
/** ring_tells_work() - whether the kernel shows in memory that it holds completions back (IORING_SETUP_TASKRUN_FLAG, Linux 5.19). Thread: any. */
bool ring_tells_work(const struct ring *r);

/* ---- figures --------------------------------------------------------------- */

struct ring_stats {
	uint64_t enters;         /* io_uring_enter calls */
	uint64_t sqes;           /* entries submitted */
	uint64_t cqes;           /* completions reaped */
	uint64_t punted;         /* ops completed by a kernel worker as far as it can be told: not done when submit returned */
	uint64_t waited;         /* ops that found the submission queue full */
	uint64_t waiting_max;    /* longest waiting list */
	uint64_t overflows;      /* completion queue overflow seen */
	uint64_t short_continued, retried;
	uint64_t posts, wakes, late_posts; /* cross-thread messages; wake-ups sent; found without a wake-up */
	uint64_t slots_installed, slots_retired, slots_used; /* ops on registered files */
	uint64_t fixed_buffers;  /* ops on registered buffers */
	uint64_t personalities;  /* registered so far */
	uint64_t close_errors;
	uint64_t bad_tags;       /* completions that match no live op: always 0 */
	uint64_t injected;
	uint64_t quick, quick_slow; /* ops done at once because such ops have been quick; those that were not */
	uint64_t place[OP_PLACES_COUNT]; /* ops by place */
	uint64_t kind_count[OP_KINDS_COUNT];
	uint64_t kind_errors[OP_KINDS_COUNT];
};
/** ring_stats_add() - add the figures of @r to @sum. Thread: any (relaxed reads; single figures are exact, sums not). */
void ring_stats_add(const struct ring *r, struct ring_stats *sum);

struct worker_stats { uint64_t done; unsigned threads, busy, queued, queued_max; };
/** backend_worker_stats() - figures of now. Thread: any. */
void backend_worker_stats(const struct backend *b, struct worker_stats *ret);

/* ---- direct calls ---------------------------------------------------------- */

/*
 * For start-up and for threads without a ring; each is one system call with -errno. They may wait.
 */
int sys_openat2(int dirfd, const char *path, const struct open_how *how);
int sys_statx(int fd, const char *path, int at_flags, unsigned mask, struct statx *stx);
int sys_name_to_handle(int fd, const char *path, int at_flags, void *file_handle, int *ret_mount_id);
int sys_open_by_handle(int mount_fd, const void *file_handle, int flags);
/**
 * names_entry_at() - the entry at byte @pos of @len bytes that getdents64(2) has filled; NULL: there is none
 * names_cold() - whether the kernel would have to ask the filesystem for @name in @dirfd. Does not wait. A kernel without RESOLVE_CACHED
 *   (before 5.12) never says so.
 * Thread: any.
 */
struct names_entry *names_entry_at(char *buf, uint32_t len, uint32_t pos);
bool names_cold(int dirfd, const char *name);

/* ---- durability -------------------------------------------------------------- */

#include "durability.h"

/* ---- who else changes a file --------------------------------------------------- */

#include "sole.h"

#endif
