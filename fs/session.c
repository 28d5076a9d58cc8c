/* SPDX-License-Identifier: MIT */
#include "session.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/util/cleanup.h"
#include "backend/util/log.h"
#include "fs/dispatch.h"
#include "fs/libfuse_io.h"
#include "fs/outside.h"
#include "fs/request.h"
#include "fs/submount.h"
#include "fs/transport_uring.h"

#define PAGE 4096u
#define INIT_BUFFER 65536u

/* ---- what we ask for in INIT -------------------------------------------------- */

enum { WHEN_ALWAYS, WHEN_LOCKS_SHARED, WHEN_CACHE_NONE, WHEN_CACHE_AUTO, WHEN_READDIRPLUS, WHEN_WRITEBACK, WHEN_ACL, WHEN_IO_KERNEL, WHEN_URING, WHEN_IDMAP, WHEN_ZERO_COPY };

struct init_row {
	uint64_t flag;
	const char *name; /* NULL: too old to be worth a word */
	int when;
	unsigned deny;
};

static const struct init_row init_rows[] = {
	{ FUSE_ASYNC_READ, NULL, WHEN_ALWAYS, 0 },
	{ FUSE_POSIX_LOCKS, "posix_locks", WHEN_LOCKS_SHARED, 0 },
	{ FUSE_FLOCK_LOCKS, "flock_locks", WHEN_LOCKS_SHARED, 0 },
	{ FUSE_ATOMIC_O_TRUNC, NULL, WHEN_ALWAYS, 0 },
	{ FUSE_EXPORT_SUPPORT, NULL, WHEN_ALWAYS, 0 },
	{ FUSE_BIG_WRITES, NULL, WHEN_ALWAYS, 0 },
	{ FUSE_DONT_MASK, NULL, WHEN_ALWAYS, 0 },
	{ FUSE_HAS_IOCTL_DIR, NULL, WHEN_ALWAYS, 0 },
	{ FUSE_AUTO_INVAL_DATA, NULL, WHEN_CACHE_NONE, 0 },
	{ FUSE_DO_READDIRPLUS, "readdirplus", WHEN_READDIRPLUS, SESSION_DENY_READDIRPLUS },
	{ FUSE_READDIRPLUS_AUTO, NULL, WHEN_READDIRPLUS, SESSION_DENY_READDIRPLUS },
	{ FUSE_ASYNC_DIO, "async_dio", WHEN_ALWAYS, 0 },
	{ FUSE_WRITEBACK_CACHE, "writeback_cache", WHEN_WRITEBACK, 0 },
	{ FUSE_PARALLEL_DIROPS, "parallel_dirops", WHEN_ALWAYS, SESSION_DENY_PARALLEL_DIROPS },
	{ FUSE_POSIX_ACL, "posix_acl", WHEN_ACL, 0 },
	{ FUSE_MAX_PAGES, "max_pages", WHEN_ALWAYS, 0 },
	{ FUSE_CACHE_SYMLINKS, NULL, WHEN_ALWAYS, 0 },
	{ FUSE_HANDLE_KILLPRIV_V2, "handle_killpriv_v2", WHEN_ALWAYS, SESSION_DENY_KILLPRIV },
	{ FUSE_SETXATTR_EXT, "setxattr_ext", WHEN_ALWAYS, SESSION_DENY_SETXATTR_EXT },
	{ FUSE_EXPLICIT_INVAL_DATA, "explicit_inval_data", WHEN_CACHE_AUTO, 0 },
	{ FUSE_INIT_EXT, NULL, WHEN_ALWAYS, 0 },
	{ UAPI_FUSE_CREATE_SUPP_GROUP, "create_supp_group", WHEN_ALWAYS, SESSION_DENY_SUPP_GROUP },
	{ UAPI_FUSE_PASSTHROUGH, "passthrough", WHEN_IO_KERNEL, SESSION_DENY_PASSTHROUGH },
	{ UAPI_FUSE_DIRECT_IO_ALLOW_MMAP, "direct_io_allow_mmap", WHEN_ALWAYS, 0 },
	{ UAPI_FUSE_ALLOW_IDMAP, "allow_idmap", WHEN_IDMAP, 0 },
	{ UAPI_FUSE_OVER_IO_URING, "fuse_uring", WHEN_URING, SESSION_DENY_URING },
	{ UAPI_FUSE_HAS_IO_URING_BUFPOOL, "zero_copy", WHEN_ZERO_COPY, SESSION_DENY_ZERO_COPY },
};
#define INIT_ROWS_COUNT (sizeof(init_rows) / sizeof(init_rows[0]))

static const struct {
	const char *name;
	unsigned bit;
} deny_rows[] = {
	{ "file_handles", SESSION_DENY_FILE_HANDLES },
	{ "handle_killpriv_v2", SESSION_DENY_KILLPRIV },
	{ "readdirplus", SESSION_DENY_READDIRPLUS },
	{ "parallel_dirops", SESSION_DENY_PARALLEL_DIROPS },
	{ "setxattr_ext", SESSION_DENY_SETXATTR_EXT },
	{ "create_supp_group", SESSION_DENY_SUPP_GROUP },
	{ "clone", SESSION_DENY_CLONE },
	{ "passthrough", SESSION_DENY_PASSTHROUGH },
	{ "fuse_uring", SESSION_DENY_URING },
	{ "idle_class", SESSION_DENY_IDLE_CLASS },
	{ "sharing", SESSION_DENY_SHARING },
	{ "unshared", SESSION_DENY_UNSHARED },
	{ "far", SESSION_DENY_FAR },
	{ "near", SESSION_DENY_NEAR },
	{ "zero_copy", SESSION_DENY_ZERO_COPY },
	{ "sole", SESSION_DENY_SOLE },
};

const char *session_deny_names(void)
{
	return "file_handles,handle_killpriv_v2,readdirplus,parallel_dirops,setxattr_ext,create_supp_group,clone,passthrough,fuse_uring,idle_class,sharing,unshared,far,near,zero_copy,sole";
}

unsigned session_deny_split(const char *list, char *rest, size_t rest_size)
{
	unsigned bits = 0;

	rest[0] = 0;
	while (list && *list) {
		size_t len = strcspn(list, ","), used = strlen(rest);
		unsigned bit = 0;
		for (size_t n = 0; n < sizeof(deny_rows) / sizeof(deny_rows[0]); n++)
			if (strlen(deny_rows[n].name) == len && !strncmp(deny_rows[n].name, list, len))
				bit = deny_rows[n].bit;
		if (!bit)
			snprintf(rest + used, rest_size - used, "%s%.*s", used ? "," : "", (int)len, list);
		bits |= bit;
		list += len + (list[len] == ',');
	}
	return bits;
}

static bool wanted(const struct mount *m, const struct init_row *row)
{
	const struct options *opt = &m->server->opt;

	if (row->deny & m->server->deny)
		return false;
	switch (row->when) {
	case WHEN_LOCKS_SHARED:
		return opt->locks == LOCKS_SHARED;
	case WHEN_CACHE_NONE:
		return opt->cache == CACHE_NONE;
	case WHEN_CACHE_AUTO:
		return opt->cache == CACHE_AUTO && !opt->writeback;
	case WHEN_READDIRPLUS:
		return opt->readdirplus;
	case WHEN_WRITEBACK:
		return opt->writeback;
	case WHEN_IO_KERNEL:
		return opt->io == IO_KERNEL;
	case WHEN_URING:
		return m->uring;
	case WHEN_IDMAP:
		return opt->idmap && m->server->root;
	case WHEN_ZERO_COPY:
		return m->zero_copy;
	case WHEN_ACL:
		return opt->acl && opt->xattr;
	default:
		return true;
	}
}

void session_features(const struct mount *m, bool missing, char *buf, size_t size)
{
	size_t used = 0;

	buf[0] = 0;
	for (size_t n = 0; n < INIT_ROWS_COUNT; n++) {
		const struct init_row *row = &init_rows[n];
		bool there = missing ? wanted(m, row) && !(m->init_offered & row->flag) : m->init_flags & row->flag;
		if (row->name && there && used < size)
			used += (size_t)snprintf(buf + used, size - used, "%s%s", used ? " " : "", row->name);
	}
}

ssize_t session_init_reply(void *userdata, struct iovec *iov, int count)
{
	struct mount *m = userdata;
	struct server *srv = m->server;
	struct fuse_out_header head;
	struct fuse_init_out out = { 0 };
	struct iovec ours[2] = { { &head, sizeof(head) }, { &out, sizeof(out) } };

	memcpy(&head, iov[0].iov_base, sizeof(head));
	if (head.error || count < 2)
		return libfuse_io_writev(session_fd(m), iov, count);
	memcpy(&out, iov[1].iov_base, iov[1].iov_len < sizeof(out) ? iov[1].iov_len : sizeof(out));
	m->init_flags = 0;
	for (size_t n = 0; n < INIT_ROWS_COUNT; n++)
		if (wanted(m, &init_rows[n]))
			m->init_flags |= init_rows[n].flag & m->init_offered;
	out.flags = (uint32_t)m->init_flags;
	out.flags2 = (uint32_t)(m->init_flags >> 32);
	/* requests that carry what is new since libfuse's own version are decoded by dispatch.c */
	out.minor = m->kernel_minor < SESSION_MINOR ? m->kernel_minor : SESSION_MINOR;
	m->write_size = m->zero_copy || srv->opt.write_size > m->max_write ? m->max_write : srv->opt.write_size / PAGE * PAGE; /* direct I/O is aligned */
	out.max_write = m->write_size;
	out.max_pages = (uint16_t)m->max_pages;
	out.max_background = (uint16_t)srv->opt.max_background;
	out.congestion_threshold = (uint16_t)(srv->opt.max_background * 3 / 4 ? srv->opt.max_background * 3 / 4 : 1);
	out.time_gran = 1;
	if (m->init_flags & UAPI_FUSE_PASSTHROUGH) {
		uint32_t depth = passthrough_stack_depth(m);
		memcpy((char *)&out + UAPI_FUSE_INIT_OUT_STACK_DEPTH, &depth, sizeof(depth));
	}
	head.len = sizeof(head) + sizeof(out);
	return libfuse_io_writev(session_fd(m), ours, 2) < 0 ? -1 : (ssize_t)((struct fuse_out_header *)iov[0].iov_base)->len;
}

/* ---- libfuse's words become ours ---------------------------------------------------- */

static char last_log[512];

__attribute__((format(printf, 2, 0))) static void keep_log(enum fuse_log_level level, const char *format, va_list ap)
{
	char line[512];

	vsnprintf(line, sizeof(line), format, ap);
	line[strcspn(line, "\n")] = 0;
	log_trace("libfuse: %s", line);
	if (level <= FUSE_LOG_ERR && line[0])
		memcpy(last_log, line, sizeof(last_log));
}

/* ---- mount ------------------------------------------------------------------------------ */

/** escape() - a value inside a comma-separated list of libfuse. */
static void escape(const char *from, char *to, size_t size)
{
	size_t n = 0;

	for (; *from && n + 2 < size; from++) {
		if (*from == ',' || *from == '\\')
			to[n++] = '\\';
		to[n++] = *from;
	}
	to[n] = 0;
}

/** source_read_only() - then the mount is too: what the VFS answers by itself (access(2) for one) is then right. */
static bool source_read_only(const struct mount *m)
{
	struct statvfs st;

	return fstatvfs(m->root_fd, &st) == 0 && st.f_flag & ST_RDONLY;
}

/** mounted_dev() - device of the topmost mount at exactly @path, from /proc/self/mountinfo (a stat would ask the mount); 0: none. */
static dev_t mounted_dev(const char *path)
{
	CLEANUP_FREE char *line = NULL;
	FILE *f = fopen("/proc/self/mountinfo", "re");
	unsigned maj, min;
	size_t size = 0;
	dev_t dev = 0;
	int at;

	while (f && getline(&line, &size, f) > 0) {
		char *point, *end;
		if (sscanf(line, "%*d %*d %u:%u %*s %n", &maj, &min, &at) != 2)
			continue;
		point = line + at;
		end = strchr(point, ' ');
		if (!end)
			continue;
		*end = 0;
		submount_unescape(point);
		if (!strcmp(point, path))
			dev = makedev(maj, min);
	}
	if (f)
		(void)fclose(f); /* read only */
	return dev;
}

static struct fuse_session *new_session(struct mount *m, const char *fsname)
{
	const struct options *opt = &m->server->opt;
	char words[12000], name[8400], type[256];
	char *argv[] = { "uringfs", "-o", words, NULL };
	struct fuse_args args = FUSE_ARGS_INIT(3, argv);
	struct fuse_session *se;
	int len;
	/* the subtype may be empty: /proc/mounts then says plain "fuse" */
	bool subtype = opt->subtype ? opt->subtype[0] : true;
	/* libfuse mounts with nosuid and nodev by itself; root's mount is as SOURCE is, unless told otherwise */
	const char *defaults = geteuid() == 0 ? ",suid,dev" : "";

	escape(fsname, name, sizeof(name));
	escape(opt->subtype ? opt->subtype : "uringfs", type, sizeof(type));
	len = snprintf(words, sizeof(words), "fsname=%s%s%s,default_permissions%s%s%s%s%s%s", name, subtype ? ",subtype=" : "",
		 subtype ? type : "", opt->allow_other ? ",allow_other" : "",
		 opt->allow_root ? ",allow_root" : "", defaults, source_read_only(m) ? ",ro" : "", opt->mount_words[0] ? "," : "", opt->mount_words);
	if (len < 0 || (size_t)len >= sizeof(words)) {
		snprintf(last_log, sizeof(last_log), "they are too long");
		return NULL;
	}
	se = fuse_session_new(&args, &dispatch_ops, sizeof(dispatch_ops), m);
	fuse_opt_free_args(&args);
	return se;
}

/** kernel_max_pages() - fs.fuse.max_pages_limit (kernel 6.14; 256 pages before). */
static unsigned kernel_max_pages(void)
{
	unsigned limit = 256;
	FILE *f = fopen("/proc/sys/fs/fuse/max_pages_limit", "re");

	if (f) {
		if (fscanf(f, "%u", &limit) != 1)
			limit = 256;
		(void)fclose(f); /* read only */
	}
	return limit;
}

static void choose_sizes(struct mount *m)
{
	unsigned limit = kernel_max_pages(), pages = (m->server->opt.max_write + PAGE - 1) / PAGE;

	if (pages > limit) {
		log_warning("max_write=%u is more than fs.fuse.max_pages_limit (%u pages) allows: serving %u byte requests",
			    m->server->opt.max_write, limit, limit * PAGE);
		pages = limit;
	}
	m->max_pages = pages;
	m->max_write = pages * PAGE;
}

/** prepare() - the rings' part of it: with slots for the callers' pages, or without. Return 0 or -errno. */
static int prepare(struct mount *m)
{
	int res;

	m->zero_copy = zero_copy_possible(m, m->zero_copy_why, sizeof(m->zero_copy_why));
	res = transport_uring_prepare(m);
	if (res < 0 && m->zero_copy) {
		m->zero_copy = false;
		snprintf(m->zero_copy_why, sizeof(m->zero_copy_why), "not enough for it: %s", strerror(-res));
		res = transport_uring_prepare(m);
	}
	return res;
}

/**
 * choose_transport() - may INIT promise rings? Only when they are there: the kernel then waits for them.
 * Return: 0; -errno when transport=uring or zero_copy=on asks for what cannot be, m->uring_why or m->zero_copy_why says what
 */
static int choose_transport(struct mount *m)
{
	const struct server *srv = m->server;
	int res;

	m->uring = m->zero_copy = false;
	snprintf(m->zero_copy_why, sizeof(m->zero_copy_why), "it needs FUSE-over-io_uring");
	if (transport_uring_possible(srv, m->uring_why, sizeof(m->uring_why))) {
		if (!(m->init_offered & UAPI_FUSE_OVER_IO_URING))
			snprintf(m->uring_why, sizeof(m->uring_why), "the kernel does not offer FUSE-over-io_uring for this mount");
		else if ((res = prepare(m)) < 0)
			snprintf(m->uring_why, sizeof(m->uring_why), "not enough for FUSE-over-io_uring: %s", strerror(-res));
		else
			m->uring = true;
	}
	if (!m->zero_copy && srv->opt.zero_copy == ZERO_COPY_ON)
		return -EOPNOTSUPP;
	return m->uring || srv->opt.transport != TRANSPORT_URING ? 0 : -EOPNOTSUPP;
}

/** exchange_init() - the first message of the kernel is INIT; libfuse answers it through our hook. */
static int exchange_init(struct mount *m)
{
	CLEANUP_FREE char *buf = malloc(INIT_BUFFER);
	struct fuse_buf fbuf = { .mem = buf };
	struct fuse_in_header head;
	struct fuse_init_in in = { 0 };
	ssize_t len;
	int res;

	if (!buf)
		return -ENOMEM;
	do {
		len = read(session_fd(m), buf, INIT_BUFFER);
	} while (len < 0 && (errno == EINTR || errno == EAGAIN));
	if (len < 0)
		return -errno;
	if ((size_t)len < sizeof(head) + 16)
		return -EPROTO;
	memcpy(&head, buf, sizeof(head));
	memcpy(&in, buf + sizeof(head), (size_t)len - sizeof(head) < sizeof(in) ? (size_t)len - sizeof(head) : sizeof(in));
	if (head.opcode != FUSE_INIT || head.len != (uint32_t)len)
		return -EPROTO;
	m->kernel_minor = in.minor;
	m->init_offered = in.flags | (in.flags & FUSE_INIT_EXT ? (uint64_t)in.flags2 << 32 : 0);
	res = choose_transport(m);
	if (res < 0)
		return res;
	fbuf.size = (size_t)len;
	request_codec_init(m);
	fuse_session_process_buf(m->session, &fbuf);
	request_codec_init(NULL);
	return fuse_session_exited(m->session) || !m->init_flags ? -EPROTO : 0;
}

int session_mount(struct mount *m, const char *target, const char *fsname, char *err, size_t err_size)
{
	int res;

	fuse_set_log_func(keep_log);
	last_log[0] = 0;
	m->session = new_session(m, fsname);
	if (!m->session) {
		snprintf(err, err_size, "libfuse refused the mount options: %s", last_log);
		return -EINVAL;
	}
	if (fuse_session_mount(m->session, target) != 0) {
		snprintf(err, err_size, "cannot mount on %s: %s%s", m->mountpoint, last_log[0] ? last_log : "mount failed",
			 geteuid() ? " (an unprivileged mount needs fusermount3 and write access to the mountpoint)" : "");
		fuse_session_destroy(m->session);
		m->session = NULL;
		return -EPERM;
	}
	m->dev = mounted_dev(m->mountpoint);
	choose_sizes(m);
	res = libfuse_io_attach(m->session);
	if (res == 0)
		res = exchange_init(m);
	if (res == -EOPNOTSUPP && !m->zero_copy && m->server->opt.zero_copy == ZERO_COPY_ON)
		snprintf(err, err_size, "zero_copy=on: %s%s (zero_copy=auto takes what there is)",
			 m->uring_why[0] ? "no FUSE-over-io_uring, " : m->zero_copy_why, m->uring_why);
	else if (res == -EOPNOTSUPP && m->uring_why[0])
		snprintf(err, err_size, "transport=uring: %s (transport=auto takes what there is)", m->uring_why);
	else if (res < 0)
		snprintf(err, err_size, "%s: the kernel and the daemon could not agree on the FUSE protocol: %s %s", m->mountpoint,
			 strerror(-res), last_log);
	else if (m->server->opt.io == IO_KERNEL)
		res = passthrough_start(m, err, err_size);
	if (res < 0) {
		if (m->uring)
			transport_uring_discard(m);
		m->uring = false;
		(void)session_unmount(m, true); /* the error is already being reported */
		session_destroy(m);
	}
	return res;
}

int session_fd(const struct mount *m)
{
	return fuse_session_fd(m->session);
}

/** fusermount() - unprivileged: the set-uid helper unmounts. Return 0 or -EBUSY. */
static int fusermount(const char *mountpoint, bool lazy)
{
	int status = 0;
	pid_t pid = fork();

	if (pid < 0)
		return -errno;
	if (pid == 0) {
		int null = open("/dev/null", O_RDWR | O_CLOEXEC);
		if (null >= 0)
			(void)dup2(null, STDERR_FILENO); /* its words are not for our user */
		execlp("fusermount3", "fusermount3", "-u", "-q", lazy ? "-z" : "--", lazy ? "--" : mountpoint,
		       lazy ? mountpoint : NULL, NULL);
		_exit(127);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EBUSY;
}

int session_unmount(struct mount *m, bool lazy)
{
	int res;

	/* somebody may have unmounted it, and mounted something else there */
	if (m->dev && mounted_dev(m->mountpoint) != m->dev)
		return 0;
	if (geteuid() != 0)
		return fusermount(m->mountpoint, lazy);
	res = outside_call(lazy ? OUTSIDE_DETACH : OUTSIDE_UNMOUNT, m->mountpoint);
	return res == -EINVAL ? 0 : res; /* EINVAL: it is no mountpoint any more */
}

bool session_abort(const struct mount *m)
{
	char path[64];
	ssize_t res;
	int fd;

	snprintf(path, sizeof(path), "/sys/fs/fuse/connections/%u/abort", minor(m->dev));
	fd = m->dev ? open(path, O_WRONLY | O_CLOEXEC) : -1;
	if (fd < 0)
		return false;
	res = write(fd, "1", 1);
	(void)close(fd); /* the write has done it */
	return res == 1;
}

void session_destroy(struct mount *m)
{
	if (!m->session)
		return;
	/* not fuse_session_unmount(): it would unmount whatever is at the mountpoint now */
	fuse_session_destroy(m->session);
	m->session = NULL;
}
