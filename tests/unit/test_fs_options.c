/* SPDX-License-Identifier: MIT */
/* test_fs_options.c - the command line of the daemon. */
#include <errno.h>
#include <unistd.h>

#include "fs/options.h"
#include "tests/unit/test.h"

static char err[1024];

/** parse() - "uringfs" and the arguments, split at spaces. */
static int parse(struct options *o, const char *line)
{
	char copy[16384], *argv[64] = { "uringfs" }, *save = NULL;
	int argc = 1;

	snprintf(copy, sizeof(copy), "%s", line);
	for (char *w = strtok_r(copy, " ", &save); w && argc < 63; w = strtok_r(NULL, " ", &save))
		argv[argc++] = w;
	err[0] = 0;
	return options_parse(o, argc, argv, err, sizeof(err));
}

/* lines that are refused, and what the message must name */
static const char *const refused[][2] = {
	{ "", "SOURCE" }, { "/a", "MOUNTPOINT" }, { "/a /b /c", "/c" }, { "/a /b -x", "-x" }, { "/a /b -o", "-o" },
	{ "/a /b -o bogus", "bogus" }, { "/a /b --bogus", "bogus" }, { "/a /b --bogus=3", "bogus" }, { "/a /b -obogus=1", "bogus" },
	{ "/a /b -o cache", "cache" }, { "/a /b -o cache=", "none|auto|always" }, { "/a /b -o cache=some", "cache=some" },
	{ "/a /b --cache", "cache" }, { "/a /b -o nocache", "nocache" }, { "/a /b -o locks=remote", "local|shared" },
	{ "/a /b -o transport=usb", "transport=usb" }, { "/a /b -o taskrun=x", "taskrun=x" }, { "/a /b -o policy=x", "policy=x" },
	{ "/a /b -o writeback=1", "writeback" }, { "/a /b -o noallow_root", "noallow_root" }, { "/a /b -o nostats", "nostats" },
	{ "/a /b -o nodefault_permissions", "nodefault_permissions" }, { "/a /b -o fsname", "fsname" }, { "/a /b -o nofsname", "nofsname" },
	{ "/a /b -o writeback,direct_io", "direct_io" }, { "/a /b -o direct_io -o writeback", "writeback" },
	{ "/a /b -o writeback,cache=none", "cache=none" }, { "/a /b -o allow_other,allow_root", "allow_root" }, { "/a /b -o ro,rw", "ro" },
	{ "/a /b -o cache=none,attr_timeout=1", "cache=none" }, { "/a /b --cache none --entry-timeout 0.1", "timeout" },
	{ "/a /b -o cache=none,negative_timeout=1", "cache=none" }, { "/a /b -o rings=1,rings=x", "rings=x" },
};

static const struct {
	const char *name;
	double low, high; /* ends of the range */
	bool whole;
} ranges[] = {
	{ "entry_timeout", 0, 31536000, false }, { "attr_timeout", 0, 31536000, false }, { "negative_timeout", 0, 31536000, false },
	{ "max_write", 4096, 64 << 20, true }, { "write_size", 4096, 64 << 20, true }, { "max_background", 1, 65535, true }, { "rings", 0, 64, true }, { "entries", 8, 4096, true },
	{ "queue_depth", 2, 512, true }, { "sqpoll", 0, 60000, true }, { "workers", 1, 256, true }, { "iowq_bounded", 0, 1024, true },
	{ "iowq_unbounded", 0, 1024, true }, { "file_slots", 0, 65536, true }, { "register_after", 1, 1000, true }, { "fds", 0, 1 << 30, true },
	{ "export", 0, 1 << 25, true },
};

static void test_refused(void)
{
	for (size_t n = 0; n < sizeof(refused) / sizeof(refused[0]); n++) {
		struct options o;
		CHECK_EQ(parse(&o, refused[n][0]), -EINVAL);
		if (!strstr(err, refused[n][1])) {
			fprintf(stderr, "'%s': the message '%s' does not name '%s'\n", refused[n][0], err, refused[n][1]);
			CHECK(false);
		}
		options_free(&o);
	}
}

static void check_one(const char *name, double value, int wanted)
{
	static const char *const forms[] = { "/a /b -o %s=%.15g", "/a /b --%s=%.15g", "/a /b --%s %.15g", "-o%s=%.15g /a /b" };

	for (size_t f = 0; f < sizeof(forms) / sizeof(forms[0]); f++) {
		struct options o;
		char line[256];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(line, sizeof(line), forms[f], name, value);
#pragma GCC diagnostic pop
		int res = parse(&o, line);
		if (res != wanted)
			fprintf(stderr, "'%s': %d '%s'\n", line, res, err);
		CHECK_EQ(res, wanted);
		if (res < 0)
			CHECK(strstr(err, name));
		options_free(&o);
	}
}

static void test_ranges(void)
{
	for (size_t n = 0; n < sizeof(ranges) / sizeof(ranges[0]); n++) {
		check_one(ranges[n].name, ranges[n].low, 0);
		check_one(ranges[n].name, ranges[n].high, 0);
		check_one(ranges[n].name, ranges[n].high + 1, -EINVAL);
		check_one(ranges[n].name, ranges[n].low - 1, -EINVAL);
		check_one(ranges[n].name, ranges[n].low + 0.5, ranges[n].whole ? -EINVAL : 0);
	}
}

static void test_defaults(void)
{
	struct options o;

	CHECK_EQ(parse(&o, "/a /b"), 0);
	CHECK_TEXT(o.source, "/a");
	CHECK_TEXT(o.mountpoint, "/b");
	CHECK(o.cache == CACHE_AUTO && o.entry_timeout == 1 && o.attr_timeout == 1 && o.negative_timeout == 0);
	CHECK(!o.writeback && !o.direct_io && o.locks == LOCKS_LOCAL && o.readdirplus && o.dir_cache && o.dir_ahead && o.write_early && o.submounts && o.acl && o.xattr);
	CHECK(o.allow_other == (geteuid() == 0) && !o.allow_root && o.default_permissions && !o.fsname && !o.subtype);
	CHECK(o.max_write == 1 << 20 && o.write_size == 256 << 10 && o.max_background == 512 && o.transport == TRANSPORT_AUTO && o.rings == 0);
	CHECK(o.entries == 256 && o.queue_depth == 32 && o.taskrun == 0 && o.sqpoll == 0 && o.policy == POLICY_AUTO && o.pin);
	CHECK(o.workers == 8 && o.iowq_bounded == 8 && o.iowq_unbounded == 8 && o.file_slots == 1024 && o.register_after == 3);
	CHECK(o.fds == 0 && !o.stats && !o.stats_file && !o.deny && !o.inject && !o.foreground && !o.debug);
	CHECK_TEXT(o.mount_words, "");
	options_free(&o);
}

static void test_modes(void)
{
	struct options o;

	CHECK_EQ(parse(&o, "/a /b -o cache=none"), 0);
	CHECK(o.entry_timeout == 0 && o.attr_timeout == 0 && o.negative_timeout == 0);
	options_free(&o);
	CHECK_EQ(parse(&o, "/a /b -o cache=always,attr_timeout=5"), 0);
	CHECK(o.entry_timeout == 86400 && o.attr_timeout == 5 && o.negative_timeout == 1);
	options_free(&o);
	CHECK_EQ(parse(&o, "/a /b --cache=none --entry-timeout=0"), 0);
	options_free(&o);
	CHECK_EQ(parse(&o, "-f /a -d /b"), 0); /* anywhere on the line */
	CHECK(o.foreground && o.debug);
	options_free(&o);
	CHECK_EQ(parse(&o, "--help"), 0);
	CHECK(o.help);
	options_free(&o);
	CHECK_EQ(parse(&o, "-V"), 0);
	CHECK(o.version);
	options_free(&o);
	CHECK_EQ(parse(&o, "/a /b --noacl --noxattr -o nopin,noreaddirplus,nodir_cache,nodir_ahead,nowrite_early,nosubmounts,noallow_other"), 0);
	CHECK(!o.xattr && !o.pin && !o.readdirplus && !o.dir_cache && !o.dir_ahead && !o.write_early && !o.submounts && !o.allow_other);
	options_free(&o);
	CHECK_EQ(parse(&o, "/a /b -o writeback,nowriteback"), 0); /* the last word counts */
	CHECK(!o.writeback);
	options_free(&o);
}

static void test_fstab(void)
{
	struct options o;

	CHECK_EQ(parse(&o, "/a /b -o ro,nosuid,nodev,noatime,defaults,_netdev,noauto,user,nofail,x-systemd.automount,X-mount.mkdir,comment=q"), 0);
	CHECK_TEXT(o.mount_words, "ro,nosuid,nodev,noatime");
	options_free(&o);
	CHECK_EQ(parse(&o, "/a /b -o ,,rw,,"), 0);
	CHECK_TEXT(o.mount_words, "rw");
	options_free(&o);
	/* commas inside a value */
	CHECK_EQ(parse(&o, "/a /b -o fsname=a\\,b\\\\c,subtype=s,ro"), 0);
	CHECK_TEXT(o.fsname, "a,b\\c");
	CHECK_TEXT(o.subtype, "s");
	CHECK_TEXT(o.mount_words, "ro");
	options_free(&o);
	CHECK_EQ(parse(&o, "/a /b --fsname=a=b -o subtype="), 0);
	CHECK_TEXT(o.fsname, "a=b");
	CHECK_TEXT(o.subtype, "");
	options_free(&o);
	CHECK_EQ(parse(&o, "/a /b -o deny=a:b:c,inject=read:1:5/write:2:-EIO --stats-file=/x-y"), 0);
	CHECK_TEXT(o.deny, "a,b,c");
	CHECK_TEXT(o.inject, "read:1:5,write:2:-EIO");
	CHECK_TEXT(o.stats_file, "/x-y"); /* dashes of the name only become underscores */
	options_free(&o);
}

static void test_long(void)
{
	char line[16000];
	struct options o;

	/* too much is an error, never a cut */
	snprintf(line, sizeof(line), "/a /b -o ro");
	for (int n = 0; n < 200; n++)
		strcat(line, ",nosuid");
	CHECK_EQ(parse(&o, line), -EINVAL);
	CHECK(strstr(err, "too many"));
	options_free(&o);
	snprintf(line, sizeof(line), "/a /b --fsname=");
	memset(line + strlen(line), 'x', 5000);
	line[5014] = 0;
	CHECK_EQ(parse(&o, line), -EINVAL);
	options_free(&o);
}

static void test_paths(void)
{
	static const struct {
		const char *source, *mountpoint;
		int res;
		const char *named;
	} rows[] = {
		{ "/nonexistent", "/", -ENOENT, "/nonexistent" }, { "/proc", "/nonexistent", -ENOENT, "/nonexistent" },
		{ "/proc/version", "/tmp", -ENOTDIR, "/proc/version" }, { "/tmp", "/proc/version", -ENOTDIR, "/proc/version" },
		{ "/", "/tmp", -EINVAL, "/tmp" }, { "/usr", "/usr/bin/..", 0, "" }, { "/usr", "/usr/lib", -EINVAL, "inside" }, { "/usr", "/tmp", 0, "" },
	};

	for (size_t n = 0; n < sizeof(rows) / sizeof(rows[0]); n++) {
		struct options o;
		char line[256];
		snprintf(line, sizeof(line), "%s %s", rows[n].source, rows[n].mountpoint);
		CHECK_EQ(parse(&o, line), 0);
		CHECK_EQ(options_check_paths(&o, err, sizeof(err)), rows[n].res);
		CHECK(strstr(err, rows[n].named));
		options_free(&o);
	}
}

int main(void)
{
	test_refused();
	test_ranges();
	test_defaults();
	test_modes();
	test_fstab();
	test_long();
	test_paths();
	return test_end();
}
