/* SPDX-License-Identifier: MIT */
/*
 * mount.uringfs.c - what mount(8) calls for the types uringfs and fuse.uringfs.
 *
 * Finds the daemon, gives it the options that fstab has for it, waits until the
 * mount serves, and ends with mount(8)'s exit statuses. Not set-uid: a normal
 * user's mount goes through fusermount3, which the daemon calls.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/util/cleanup.h"
#include "backend/util/log.h"
#include "backend/util/std_fds.h"
#include "fs/options.h"
#include "mount_opts.h"
#include "umount.h"
#include "utab.h"

#ifndef FUSE_SUPER_MAGIC
#define FUSE_SUPER_MAGIC 0x65735546 /* linux/magic.h, kernel 5.16 */
#endif

#ifndef MS_NOSYMFOLLOW
#define MS_NOSYMFOLLOW 256 /* linux/mount.h, kernel 5.10 */
#endif
#ifndef ST_NOSYMFOLLOW
#define ST_NOSYMFOLLOW 0x2000 /* linux/statfs.h, kernel 5.10 */
#endif

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
	(void)sig;
	interrupted = 1;
}

static void usage(FILE *f)
{
	fprintf(f, "usage: mount.uringfs SOURCE MOUNTPOINT [-sfnvrw] [-N NAMESPACE] [-o option[,option...]] [-t TYPE]\n"
		   "Called by mount -t uringfs; see mount.uringfs(8) and uringfs(8).\n");
}

/* ---- the daemon ------------------------------------------------------------------------ */

static bool runnable(char *path, size_t size, const char *dir, size_t dir_len, const char *name)
{
	int n = snprintf(path, size, "%.*s/%s", (int)dir_len, dir, name);

	return n > 0 && (size_t)n < size && access(path, X_OK) == 0;
}

/** find_beside() - in the build tree, or in the folder that we are in. */
static bool find_beside(char *path, size_t size)
{
	char self[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	if (len <= 0)
		return false;
	self[len] = 0;
	slash = strrchr(self, '/');
	if (!slash)
		return false;
	*slash = 0;
	if (runnable(path, size, self, strlen(self), "uringfs"))
		return true;
	slash = strrchr(self, '/');
	return slash && !strcmp(slash + 1, "mount-helpers") && runnable(path, size, self, (size_t)(slash - self), "fs/uringfs");
}

static bool find_daemon(char *path, size_t size)
{
	if (find_beside(path, size) || runnable(path, size, URINGFS_SBINDIR, strlen(URINGFS_SBINDIR), "uringfs"))
		return true;
	for (const char *p = getenv("PATH"); p && *p; p += strcspn(p, ":"), p += *p == ':')
		if (*p == '/' && runnable(path, size, p, strcspn(p, ":"), "uringfs"))
			return true;
	return false;
}

/** options_of() - what the daemon makes of the plan. Return: 0, or -errno with @err set. */
static int options_of(struct options *opt, const char *source, const char *dir, const char *words, char *err, size_t err_size)
{
	char *argv[] = { "uringfs", (char *)source, (char *)dir, "-o", (char *)words, NULL };

	return options_parse(opt, 5, argv, err, err_size);
}

/** known_word() - for -s: only words that no option is named like are unknown; a bad value stays an error. */
static bool known_word(const char *word)
{
	struct options opt;
	char err[512] = "";
	int res = options_of(&opt, "/", "/", word, err, sizeof(err));

	options_free(&opt);
	return res == 0 || strncmp(err, "unknown option", strlen("unknown option")) != 0;
}

/* ---- what is asked for ------------------------------------------------------------------- */

static enum mount_exit enter_namespace(const char *ns)
{
	char path[64];
	CLEANUP_CLOSE int fd = -1;

	if (ns[strspn(ns, "0123456789")] == 0 && snprintf(path, sizeof(path), "/proc/%.20s/ns/mnt", ns) > 0)
		ns = path;
	fd = open(ns, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNS) < 0) {
		log_error("cannot enter the mount namespace %s: %s", ns, strerror(errno));
		return MOUNT_EX_SYSTEM;
	}
	return MOUNT_EX_OK;
}

/** fake() - every check that does not need a mount. */
static enum mount_exit fake(const struct mount_args *args, const struct mount_plan *plan)
{
	struct options opt;
	char err[1024] = "";
	enum mount_exit status = MOUNT_EX_OK;

	if (options_of(&opt, plan->source, args->dir, plan->words, err, sizeof(err)) < 0)
		status = MOUNT_EX_USAGE;
	else if (options_check_paths(&opt, err, sizeof(err)) < 0)
		status = MOUNT_EX_FAILURE;
	if (status != MOUNT_EX_OK)
		log_error("%s", err);
	options_free(&opt);
	return status;
}

/** current_flags() - of a mount, as mount(2) has them. */
static unsigned long current_flags(const struct statvfs *vfs)
{
	static const struct {
		unsigned long st, ms;
	} rows[] = {
		{ ST_RDONLY, MS_RDONLY },	  { ST_NOSUID, MS_NOSUID },	{ ST_NODEV, MS_NODEV },
		{ ST_NOEXEC, MS_NOEXEC },	  { ST_SYNCHRONOUS, MS_SYNCHRONOUS }, { ST_NOATIME, MS_NOATIME },
		{ ST_NODIRATIME, MS_NODIRATIME }, { ST_RELATIME, MS_RELATIME }, { ST_NOSYMFOLLOW, MS_NOSYMFOLLOW },
	};
	unsigned long flags = 0;

	for (size_t n = 0; n < sizeof(rows) / sizeof(rows[0]); n++)
		if (vfs->f_flag & rows[n].st)
			flags |= rows[n].ms;
	return flags;
}

/** remount() - the flags of mount(2) only: the kernel takes nothing else for a running FUSE mount. */
static enum mount_exit remount(const struct mount_args *args, const struct mount_plan *plan)
{
	struct statfs fs;
	struct statvfs vfs;
	unsigned long flags;

	if (geteuid() != 0) {
		log_error("%s: only root can remount", args->dir);
		return MOUNT_EX_USAGE;
	}
	if (plan->ignored[0])
		log_warning("%s: options of a running mount stay as they are: %s (unmount and mount again to change them)", args->dir,
			    plan->ignored);
	if (statfs(args->dir, &fs) < 0 || statvfs(args->dir, &vfs) < 0) {
		log_error("%s: %s", args->dir, strerror(errno));
		return MOUNT_EX_FAILURE;
	}
	if ((unsigned long)fs.f_type != FUSE_SUPER_MAGIC) {
		log_error("%s is not mounted (there is no FUSE filesystem)", args->dir);
		return MOUNT_EX_FAILURE;
	}
	flags = (current_flags(&vfs) & ~plan->remount_clear) | plan->remount_set;
	if (args->fake)
		return MOUNT_EX_OK;
	if (mount(NULL, args->dir, NULL, MS_REMOUNT | flags, NULL) < 0) {
		log_error("%s: cannot remount: %s", args->dir, strerror(errno));
		return MOUNT_EX_FAILURE;
	}
	return MOUNT_EX_OK;
}

/** take_back() - the user interrupted us, and the daemon had mounted already. */
static void take_back(const char *dir)
{
	pid_t pid;
	int status;

	if (geteuid() == 0) {
		if (umount2(dir, UMOUNT_NOFOLLOW | MNT_DETACH) < 0)
			log_warning("%s stays mounted: %s", dir, strerror(errno));
		return;
	}
	pid = fork();
	if (pid == 0) {
		execlp("fusermount3", "fusermount3", "-u", "-z", "--", dir, (char *)NULL);
		_exit(127);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
}

static enum mount_exit start(const char *daemon, const struct mount_args *args, const struct mount_plan *plan)
{
	const char *argv[] = { "uringfs", plan->source, args->dir, plan->words[0] ? "-o" : NULL, plan->words, NULL };
	struct sigaction act = { .sa_handler = on_signal }; /* no SA_RESTART; the daemon checks its own signals */
	int status = 0;
	pid_t pid;

	if (args->verbose)
		printf("%s %s %s%s%s\n", daemon, plan->source, args->dir, plan->words[0] ? " -o " : "", plan->words);
	(void)fflush(stdout); /* nothing of it may be left for the child to print again */
	pid = fork();
	if (pid < 0) {
		log_error("cannot start %s: %s", daemon, strerror(errno));
		return MOUNT_EX_SYSTEM;
	}
	if (pid == 0) {
		execv(daemon, (char *const *)argv);
		log_error("cannot execute %s: %s", daemon, strerror(errno));
		_exit(127);
	}
	sigaction(SIGINT, &act, NULL);
	sigaction(SIGTERM, &act, NULL);
	sigaction(SIGHUP, &act, NULL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		if (interrupted)
			(void)kill(pid, SIGTERM); /* it may have ended meanwhile */
	if (!interrupted) {
		if (WIFSIGNALED(status))
			log_error("the daemon was ended by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
		if (status == 0 && geteuid() == 0 && !utab_note(args->dir) && args->verbose)
			log_warning("%s: /run/mount/utab is not written: umount(8) will not wait for the daemon", args->dir);
		return mount_exit_status(status);
	}
	take_back(args->dir);
	return MOUNT_EX_INTERRUPTED;
}

static enum mount_exit run(const struct mount_args *args, const struct mount_plan *plan)
{
	char daemon[PATH_MAX];
	enum mount_exit status;

	if (!plan->remount && !args->fake && !find_daemon(daemon, sizeof(daemon))) {
		log_error("there is no uringfs: neither beside this program nor in %s nor in PATH", URINGFS_SBINDIR);
		return MOUNT_EX_SYSTEM;
	}
	if (args->ns) {
		status = enter_namespace(args->ns);
		if (status != MOUNT_EX_OK)
			return status;
	}
	if (plan->remount)
		return remount(args, plan);
	if (plan->nofail && access(plan->source, F_OK) < 0 && errno == ENOENT) {
		log_warning("%s does not exist: nothing is mounted on %s (nofail)", plan->source, args->dir);
		return MOUNT_EX_OK; /* as mount(8) does for a device */
	}
	if (plan->ignored[0] && args->verbose)
		log_warning("unknown options are left out (-s): %s", plan->ignored);
	return args->fake ? fake(args, plan) : start(daemon, args, plan);
}

int main(int argc, char **argv)
{
	struct mount_args args;
	struct mount_plan plan = { 0 };
	char err[1024] = "";
	enum mount_exit status;
	int res;
	const char *name = argc > 0 ? strrchr(argv[0], '/') : NULL;

	if (std_fds_open() < 0)
		return MOUNT_EX_SYSTEM; /* there is nobody to tell */
	if (argc > 0 && !strncmp(name ? name + 1 : argv[0], "umount.", 7))
		return umount_main(argc, argv);
	log_init("mount.uringfs", false);
	res = mount_args_parse(&args, argc, argv, err, sizeof(err));
	if (res == 0 && (args.help || args.version)) {
		if (args.help)
			usage(stdout);
		else
			printf("mount.uringfs %s\n", URINGFS_VERSION);
		mount_args_free(&args);
		return MOUNT_EX_OK;
	}
	if (res == 0)
		res = mount_plan_make(&plan, &args, known_word, err, sizeof(err));
	if (res != 0) {
		log_error("%s", err);
		mount_args_free(&args);
		return res == -ENOMEM ? MOUNT_EX_SYSTEM : MOUNT_EX_USAGE;
	}
	status = run(&args, &plan);
	mount_plan_free(&plan);
	mount_args_free(&args);
	return (int)status;
}
