/* SPDX-License-Identifier: MIT */
/*
 * main.c - the order of start and stop, nothing more: options, checks, source,
 * background, backend, mount, threads, serve, unmount, drain.
 *
 * Everything that can go wrong with what the user gave is checked before the
 * mount is made; the process that the user started ends only when the mount
 * serves, or with the error.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/util/cleanup.h"
#include "backend/util/errno_util.h"
#include "backend/util/log.h"
#include "backend/util/std_fds.h"
#include "fs/daemon.h"
#include "fs/lock.h"
#include "fs/mount.h"
#include "fs/notify.h"
#include "fs/outside.h"
#include "fs/placement.h"
#include "fs/report.h"
#include "fs/serve.h"
#include "fs/server.h"
#include "fs/session.h"
#include "fs/submount.h"
#include "fs/transport_uring.h"
#include "fs/version.h"

#define EXIT_SYSTEM 1
#define EXIT_USAGE 2
#define RINGS_DEFAULT_MAX 16u
#define STOP_WAIT_MS 5000
/** For so many descriptors there is room from the start: half a megabyte. */
#define FDS_TABLE 65536u

/* ---- before the mount ------------------------------------------------------------ */

/**
 * table_grow() - the kernel's table of our descriptors grows now, and not with the files that are looked up
 *
 * It doubles each time, and in a process of several threads each time waits for a grace period (expand_fdtable() in
 * fs/file.c, Linux 2.6.12 to 6.18): 5 to 15 ms, during which a serving thread would answer nobody. After the last fork,
 * which copies only what is in use.
 */
static void table_grow(const struct server *srv)
{
	int fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, (int)(srv->budget.max < FDS_TABLE ? srv->budget.max : FDS_TABLE) - 1);

	if (fd >= 0)
		(void)close(fd); /* a duplicate */
}

/** budget_set() - raise RLIMIT_NOFILE to what is allowed and keep a reserve for ourselves. */
static int budget_set(struct server *srv, char *err, size_t err_size)
{
	uint64_t most, reserve;
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim) < 0)
		lim.rlim_cur = lim.rlim_max = 1024;
	if (lim.rlim_cur < lim.rlim_max || lim.rlim_max < srv->opt.fds) {
		struct rlimit more = { srv->opt.fds, srv->opt.fds };

		if (lim.rlim_max < srv->opt.fds && setrlimit(RLIMIT_NOFILE, &more) == 0) /* CAP_SYS_RESOURCE, up to fs.nr_open */
			lim = more;
		lim.rlim_cur = lim.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &lim) < 0 && getrlimit(RLIMIT_NOFILE, &lim) < 0)
			lim.rlim_cur = 1024;
	}
	most = lim.rlim_cur == RLIM_INFINITY || lim.rlim_cur > 1u << 30 ? 1u << 30 : lim.rlim_cur;
	if (srv->opt.fds && srv->opt.fds < most)
		most = srv->opt.fds;
	/* rings, clones, event descriptors, mounts of other filesystems, and opens under way */
	reserve = 48 + 7u * srv->threads_count + most / 16;
	if (most < reserve + 64) {
		snprintf(err, err_size, "only %llu file descriptors may be open: at least %llu are needed (raise RLIMIT_NOFILE or fds=)",
			 (unsigned long long)most, (unsigned long long)reserve + 64);
		return -EMFILE;
	}
	srv->budget.max = (uint32_t)(most - reserve);
	return 0;
}

/** can_open_handles() - open_by_handle_at(2) wants CAP_DAC_READ_SEARCH; acting as the caller wants CAP_SETUID. */
static bool is_root(void)
{
	return geteuid() == 0;
}

static unsigned rings_count(const struct options *opt)
{
	cpu_set_t set;
	unsigned cpus = 1;

	if (opt->rings)
		return opt->rings;
	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		cpus = (unsigned)CPU_COUNT(&set);
	return cpus < RINGS_DEFAULT_MAX ? cpus : RINGS_DEFAULT_MAX;
}

static int check_fuse_device(char *err, size_t err_size)
{
	/* for a user without rights on it fusermount3 opens it: then it need only be there */
	int fd = open("/dev/fuse", (geteuid() ? O_PATH : O_RDWR) | O_CLOEXEC), e = errno;

	if (fd < 0) {
		snprintf(err, err_size, "/dev/fuse: %s (%s)", strerror(e),
			 e == ENOENT || e == ENODEV || e == ENXIO ? "load the kernel's fuse module, or give the container the device" :
								   "the daemon must be allowed to open it");
		return -e;
	}
	(void)close(fd); /* only looked */
	return 0;
}

/** check_transport() - what was asked for; the kernel's own offer is seen only in INIT. */
static int check_transport(const struct server *srv, char *err, size_t err_size)
{
	char why[160];

	if (srv->opt.transport != TRANSPORT_URING || transport_uring_possible(srv, why, sizeof(why)))
		return 0;
	snprintf(err, err_size, "transport=uring: %s (transport=auto takes what there is)", why);
	return -EOPNOTSUPP;
}

/** open_copy() - @path in a copy of its mount, without the mounts inside; private: what is mounted later, ours too, does not come in. */
static int open_copy(const char *path)
{
	struct mount_attr attr = { .propagation = MS_PRIVATE };
	int res, fd = (int)errno_result(syscall(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));

	if (fd < 0)
		return fd;
	res = (int)errno_result(syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &attr, sizeof(attr))); /* Linux 5.12 */
	if (res >= 0)
		return fd;
	(void)close(fd); /* not used */
	return res;
}

/** open_source() - an O_PATH descriptor of it. With nosubmounts in a copy of its mount. */
static int open_source(const struct options *opt, char *err, size_t err_size)
{
	const struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC };
	int fd = opt->submounts ? sys_openat2(AT_FDCWD, opt->source_real, &how) : open_copy(opt->source_real);

	if (fd < 0)
		snprintf(err, err_size, "source %s: %s%s", opt->source, strerror(-fd),
			 opt->submounts ? "" : " (nosubmounts needs CAP_SYS_ADMIN)");
	return fd;
}

/** without_callers() - root, but not allowed to act as others: then others must not be served, for their files would be root's. */
static void without_callers(struct server *srv)
{
	srv->root = false;
	if (srv->opt.allow_other)
		log_warning("acting as the caller is not possible (it needs CAP_SETUID and CAP_SETGID): serving this user only, without allow_other");
	srv->opt.allow_other = false;
}

static int make_backend(struct server *srv, char *err, size_t err_size)
{
	const struct options *o = &srv->opt;
	char rest[512], why[512];
	struct backend_config cfg = {
		.rings_count = srv->threads_count,
		.entries = o->entries,
		.ops_count = o->queue_depth * 4 + 256 + LOCK_WAITS_MAX + transport_uring_ops(srv->threads_count, o->queue_depth),
		.file_slots = o->file_slots,
		.register_after = o->register_after,
		.workers_max = o->workers,
		.iowq_bounded = o->iowq_bounded,
		.iowq_unbounded = o->iowq_unbounded,
		.sqpoll_idle_ms = o->sqpoll,
		.taskrun = (enum backend_taskrun)o->taskrun,
		.pin = o->pin,
		.force_ring = o->policy == POLICY_RING,
		.no_quick = o->policy == POLICY_NOWAIT,
		.inject = o->inject,
	};
	int res;

	srv->deny = session_deny_split(o->deny, rest, sizeof(rest));
	if (srv->deny & SESSION_DENY_FILE_HANDLES)
		srv->open_handles = false;
	cfg.deny = rest[0] ? rest : NULL;
	if (durability_faults_parse(o->fault, &srv->faults) < 0) {
		snprintf(err, err_size, "unknown fault '%s'", o->fault);
		return -EINVAL;
	}
	res = backend_create(&cfg, &srv->backend, why, sizeof(why));
	if (res < 0)
		snprintf(err, err_size, "%s", why);
	else if (srv->root && !strstr(backend_features_used(srv->backend), "caller_creds"))
		without_callers(srv);
	return res;
}

/* ---- stop --------------------------------------------------------------------------- */

static bool ended(const struct mount *m)
{
	return atomic_load(&m->channels_ended) == m->channels_count;
}

static bool all_ended(const struct server *srv)
{
	for (unsigned n = 0; n < srv->mounts_count; n++)
		if (!ended(srv->mounts[n]))
			return false;
	return true;
}

/** unmount_busy() - take away a mount that is in use: write back what the kernel holds for it first. */
static void unmount_busy(struct server *srv, struct mount *m)
{
	int res = outside_call(OUTSIDE_SYNC, m->mountpoint);

	if (res < 0)
		log_warning("%s: data could not be written back before the unmount: %s", m->mountpoint, strerror(-res));
	res = session_unmount(m, true);
	if (res < 0)
		log_warning("%s: cannot unmount: %s; ending all the same", m->mountpoint, strerror(-res));
	else
		log_info("%s was in use and has been detached", m->mountpoint);
	serve_stop(srv, m);
}

static void unmount_all(struct server *srv)
{
	for (unsigned n = srv->mounts_count; n-- > 0;) {
		struct mount *m = srv->mounts[n];
		if (ended(m))
			continue;
		if (session_unmount(m, false) < 0)
			unmount_busy(srv, m);
	}
}

/** stop_all() - unmounted, and yet the connections live: somebody else holds the mount. */
static void stop_all(struct server *srv)
{
	for (unsigned n = 0; n < srv->mounts_count; n++) {
		struct mount *m = srv->mounts[n];
		/* what waits for pages to be dropped may wait for a request that is not taken any more */
		if (!ended(m) && m->channels[0].stop_posted && notify_busy(srv->notifier, m) && session_abort(m))
			log_info("%s: requests under way have been aborted", m->mountpoint);
		serve_stop(srv, m);
	}
}

/** watch() - until the mount has gone: signals, and the ends of channels. */
static void watch(struct server *srv, int signal_fd)
{
	CLEANUP_CLOSE int mounts_fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	struct pollfd fds[3] = { { .fd = signal_fd, .events = POLLIN },
				 { .fd = srv->event_fd, .events = POLLIN },
				 { .fd = mounts_fd, .events = POLLPRI } }; /* proc(5): the table has changed */
	struct signalfd_siginfo si;
	uint64_t events;
	bool stopping = false;

	while (!all_ended(srv)) {
		int res = poll(fds, 3, stopping ? STOP_WAIT_MS : -1);
		if (res == 0)
			stop_all(srv);
		if (fds[1].revents & POLLIN && read(srv->event_fd, &events, sizeof(events)) < 0)
			log_warning("event descriptor: %s", strerror(errno));
		if (fds[2].revents & POLLPRI && !stopping && !ended(srv->mounts[0]))
			submount_scan(srv);
		if (!(fds[0].revents & POLLIN) || read(signal_fd, &si, sizeof(si)) != (ssize_t)sizeof(si))
			continue;
		if (si.ssi_signo == SIGUSR1)
			report_write(srv);
		else if (!stopping) {
			stopping = true;
			unmount_all(srv);
		}
	}
}

/* ---- the whole ------------------------------------------------------------------------- */

static int block_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a write beyond our own RLIMIT_FSIZE is an error of that write */
	return signalfd(-1, &set, SFD_CLOEXEC);
}

/** serve_mounts() - everything that follows the checks; returns the exit status. */
static int serve_mounts(struct server *srv, struct daemon *d)
{
	CLEANUP_CLOSE int signal_fd = block_signals();
	char err[1024] = "";
	int root_fd, res;

	umask(0); /* the callers' umasks apply, see backend creds */
	srv->event_fd = eventfd(0, EFD_CLOEXEC);
	srv->proc_fd = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (srv->event_fd < 0 || srv->proc_fd < 0 || signal_fd < 0) {
		log_error("cannot start: %s: %s", srv->proc_fd < 0 ? "/proc/self/fd (mount /proc)" : "event descriptor", strerror(errno));
		return EXIT_SYSTEM;
	}
	res = make_backend(srv, err, sizeof(err));
	if (res < 0) {
		log_error("%s", err);
		return res == -EINVAL ? EXIT_USAGE : EXIT_SYSTEM;
	}
	res = check_transport(srv, err, sizeof(err));
	if (res < 0) {
		log_error("%s", err);
		return EXIT_SYSTEM;
	}
	res = notifier_create(&srv->notifier);
	if (res == 0)
		res = placement_create(&srv->placement);
	if (res < 0) {
		log_error("cannot start a thread: %s", strerror(-res));
		return EXIT_SYSTEM;
	}
	root_fd = open_source(&srv->opt, err, sizeof(err));
	if (root_fd >= 0 && (res = serve_start(srv, err, sizeof(err))) < 0)
		(void)close(root_fd); /* O_PATH */
	if (root_fd >= 0 && res >= 0) {
		res = mount_create(srv, root_fd, srv->opt.mountpoint_real, srv->opt.mountpoint_real, srv->opt.fsname ? srv->opt.fsname : srv->opt.source_real,
				   &srv->mounts[0], err, sizeof(err));
		if (res < 0)
			serve_end(srv);
	}
	if (root_fd < 0 || res < 0) {
		log_error("%s", err);
		return EXIT_SYSTEM;
	}
	srv->mounts_count = 1;
	res = serve_add(srv, srv->mounts[0]);
	if (res < 0) {
		/* nothing will be answered: our end, right now, ends the connection for everybody who waits */
		log_error("the kernel refused FUSE-over-io_uring after it had been agreed: %s; use transport=dev", strerror(-res));
		(void)session_unmount(srv->mounts[0], true); /* the error has been reported */
		_exit(EXIT_SYSTEM);
	}
	submount_scan(srv);
	report_start(srv);
	if (!daemon_ready(d)) {
		log_warning("the process that started us was ended before the mount served: unmounting");
		(void)kill(getpid(), SIGTERM); /* watch() hears it */
	}
	watch(srv, signal_fd);
	if (srv->opt.stats)
		report_write(srv);
	/* let go of SOURCE before the rings, whose end takes longer: it may be about to be unmounted */
	for (unsigned n = 0; n < srv->mounts_count; n++)
		mount_close(srv->mounts[n]);
	serve_end(srv);
	notifier_destroy(srv->notifier);
	placement_destroy(srv->placement);
	while (srv->mounts_count)
		mount_destroy(srv->mounts[--srv->mounts_count]);
	return 0;
}

static int run(struct server *srv)
{
	char err[1024] = "";
	struct daemon d;
	int res;

	srv->root = srv->open_handles = is_root();
	srv->threads_count = rings_count(&srv->opt);
	if (options_check_paths(&srv->opt, err, sizeof(err)) < 0 || check_fuse_device(err, sizeof(err)) < 0 ||
	    budget_set(srv, err, sizeof(err)) < 0) {
		log_error("%s", err);
		return EXIT_SYSTEM;
	}
	srv->start_ns = stats_now_ns();
	res = daemon_start(&d, srv->opt.foreground);
	if (res > 0)
		return daemon_wait(&d); /* the process that the user started */
	if (res < 0) {
		log_error("cannot go to the background: %s", strerror(-res));
		return EXIT_SYSTEM;
	}
	table_grow(srv);
	res = serve_mounts(srv, &d);
	backend_destroy(srv->backend);
	return res;
}

int main(int argc, char **argv)
{
	static struct server srv;
	char err[1024];
	int res;

	if (std_fds_open() < 0)
		return EXIT_SYSTEM; /* there is nobody to tell */
	if (argc == 4 && !strcmp(argv[1], OUTSIDE_WORD))
		return outside_main(argv[2], argv[3]);
	srv.event_fd = srv.proc_fd = -1;
	log_init("uringfs", false);
	res = options_parse(&srv.opt, argc, argv, err, sizeof(err));
	if (res < 0) {
		log_error("%s", err);
		options_free(&srv.opt);
		return EXIT_USAGE;
	}
	log_init("uringfs", srv.opt.debug);
	if (srv.opt.help)
		options_help(stdout);
	else if (srv.opt.help_man)
		options_man(stdout);
	else if (srv.opt.version)
		version_print();
	else
		res = run(&srv);
	if (fflush(stdout) != 0) {
		log_error("standard output: %s", strerror(errno));
		res = EXIT_SYSTEM;
	}
	options_free(&srv.opt);
	return res;
}
