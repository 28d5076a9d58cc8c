/* SPDX-License-Identifier: MIT */
/* test_mount_opts.c - mount(8)'s words and the daemon's. */
#include <errno.h>
#include <sys/mount.h>

#include "mount-helpers/mount_opts.h"
#include "test.h"

#define ARGS_MAX 16

static bool known(const char *word)
{
	return !strcmp(word, "cache=none") || !strncmp(word, "fsname=", 7);
}

/** make() - a command line, separated by blanks, becomes a plan. */
static int make(const char *line, struct mount_plan *plan, char *err, size_t err_size)
{
	char copy[512], *argv[ARGS_MAX] = { "mount.uringfs" }, *save = NULL;
	struct mount_args args;
	int argc = 1, res;

	snprintf(copy, sizeof(copy), "%s", line);
	for (char *p = strtok_r(copy, " ", &save); p && argc < ARGS_MAX; p = strtok_r(NULL, " ", &save))
		argv[argc++] = p;
	res = mount_args_parse(&args, argc, argv, err, err_size);
	if (res == 0)
		res = mount_plan_make(plan, &args, known, err, err_size);
	mount_args_free(&args);
	return res;
}

static void good(const char *line, const char *source, const char *words, const char *ignored)
{
	struct mount_plan plan;
	char err[512] = "";

	if (make(line, &plan, err, sizeof(err)) != 0) {
		fprintf(stderr, "%s: %s\n", line, err);
		CHECK(!"a good line was refused");
		return;
	}
	CHECK_TEXT(plan.source, source);
	CHECK_TEXT(plan.words, words);
	CHECK_TEXT(plan.ignored, ignored);
	CHECK(!plan.remount);
	mount_plan_free(&plan);
}

static void bad(const char *line, const char *part_of_message)
{
	struct mount_plan plan;
	char err[512] = "";

	CHECK_EQ(make(line, &plan, err, sizeof(err)), -EINVAL);
	if (!strstr(err, part_of_message))
		test_fail(__FILE__, __LINE__, err);
}

static void remount(const char *line, unsigned long set, unsigned long clear, const char *ignored)
{
	struct mount_plan plan;
	char err[512] = "";

	REQUIRE(make(line, &plan, err, sizeof(err)) == 0);
	CHECK(plan.remount);
	CHECK_EQ(plan.remount_set, set);
	CHECK_EQ(plan.remount_clear, clear);
	CHECK_TEXT(plan.ignored, ignored);
	CHECK_TEXT(plan.words, "");
	mount_plan_free(&plan);
}

static void sources(void)
{
	good("/data /mnt -o rw", "/data", "", "");
	good("/a:/b /mnt", "/a:/b", "", "");
	good("data /mnt", "data", "", "");
	good("home:/srv/home /mnt", "/srv/home", "fsname=home:/srv/home", "");
	good("home:/srv/home /mnt -o fsname=x,cache=none", "/srv/home", "fsname=x,cache=none", "");
	good("photos /mnt -o source=/srv/p", "/srv/p", "fsname=photos", "");
	good("pho,tos /mnt -o source=/srv/p\\,q", "/srv/p,q", "fsname=pho\\,tos", "");
	good("photos /mnt -o source=-x", "./-x", "fsname=photos", "");
	good("none /mnt -o source=/a,source=/b", "/b", "fsname=none", "");
	bad("none /mnt", "source=");
	bad("x /mnt -o source=", "empty");
	bad("/data", "mountpoint is missing");
	bad("", "source is missing");
	bad("/a /b /c", "too many");
}

static void words(void)
{
	good("/d /m -o rw,ro,noexec,cache=none", "/d", "ro,noexec,cache=none", "");
	good("/d /m -o ro -o rw", "/d", "", "");
	good("/d /m -r -o rw", "/d", "ro", "");
	good("/d /m -w -o ro", "/d", "", "");
	good("/d /m -o ,,nosuid,,", "/d", "nosuid", "");
	good("/d /m -o nofail,_netdev,noauto,user=bob,users,x-systemd.automount,X-mount.mkdir,comment=a,defaults,uhelper=x", "/d",
	     "", "");
	good("/d /m -ofsname=a\\,b,cache=none", "/d", "fsname=a\\,b,cache=none", "");
	good("/d /m -nv -t fuse.uringfs -o unknown=1", "/d", "unknown=1", "");
	good("/d /m -s -o unknown=1,cache=none,other", "/d", "cache=none", "unknown=1,other");
	good("-sfnv -N 12 /d /m -o ro", "/d", "ro", "");
	bad("/d /m -x", "unknown argument '-x'");
	bad("/d /m -o", "-o needs a value");
	bad("/d /m --unknown", "unknown argument");
}

static void nofail(void)
{
	struct mount_plan plan;
	char err[512];

	REQUIRE(make("/d /m -o ro,nofail", &plan, err, sizeof(err)) == 0);
	CHECK(plan.nofail);
	mount_plan_free(&plan);
	REQUIRE(make("/d /m -o ro", &plan, err, sizeof(err)) == 0);
	CHECK(!plan.nofail);
	mount_plan_free(&plan);
}

static void remounts(void)
{
	remount("/d /m -o remount,ro", MS_RDONLY, 0, "");
	remount("/d /m -o ro,remount,rw,noexec", MS_NOEXEC, MS_RDONLY, "");
	remount("none /m -o remount,rw,user_id=0,group_id=0,default_permissions,allow_other,max_read=4096", 0, MS_RDONLY, "");
	remount("/d /m -o remount,nosuid,cache=none,rings=2", MS_NOSUID, 0, "cache=none,rings=2");
	remount("/d /m -r -o remount", MS_RDONLY, 0, "");
}

static void flags(void)
{
	char *argv[] = { "mount.uringfs", "-sfvrw", "-N", "/proc/1/ns/mnt", "-turingfs", "/d", "/m", NULL };
	char *help[] = { "mount.uringfs", "--help", NULL }, *version[] = { "mount.uringfs", "-V", NULL };
	struct mount_args a;
	char err[512];

	CHECK_EQ(mount_args_parse(&a, 7, argv, err, sizeof(err)), 0);
	CHECK(a.sloppy && a.fake && a.verbose && a.read_only && a.read_write && !a.help && !a.version);
	CHECK_TEXT(a.ns, "/proc/1/ns/mnt");
	CHECK_TEXT(a.type, "uringfs");
	CHECK_TEXT(a.device, "/d");
	CHECK_TEXT(a.dir, "/m");
	mount_args_free(&a);
	CHECK_EQ(mount_args_parse(&a, 2, help, err, sizeof(err)), 0);
	CHECK(a.help);
	mount_args_free(&a);
	CHECK_EQ(mount_args_parse(&a, 2, version, err, sizeof(err)), 0);
	CHECK(a.version);
	mount_args_free(&a);
}

static void statuses(void)
{
	/* the wait status of exit(n) is n << 8, that of a signal its number */
	CHECK_EQ(mount_exit_status(0), MOUNT_EX_OK);
	CHECK_EQ(mount_exit_status(1 << 8), MOUNT_EX_FAILURE);
	CHECK_EQ(mount_exit_status(2 << 8), MOUNT_EX_USAGE);
	CHECK_EQ(mount_exit_status(127 << 8), MOUNT_EX_SYSTEM);
	CHECK_EQ(mount_exit_status(9), MOUNT_EX_INTERNAL);
}

int main(void)
{
	sources();
	words();
	nofail();
	remounts();
	flags();
	statuses();
	return test_end();
}
