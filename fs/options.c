/* SPDX-License-Identifier: MIT */
#include "options.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/backend.h"
#include "backend/util/optable.h"

#define FIELD(f) offsetof(struct options, f)
#define DAY (86400.0 * 365)

static const char *const cache_choices[] = { "none", "auto", "always", NULL };
static const char *const locks_choices[] = { "local", "shared", NULL };
static const char *const transport_choices[] = { "auto", "dev", "uring", NULL };
static const char *const backing_cache_choices[] = { "auto", "on", "off", NULL };
static const char *const io_choices[] = { "daemon", "kernel", NULL };
static const char *const zero_copy_choices[] = { "auto", "on", "off", NULL };
static const char *const taskrun_choices[] = { "auto", "defer", "coop", "none", NULL };
static const char *const fsync_choices[] = { "strict", "flush", "kernel", NULL }; /* enum durability_policy */
static const char *const policy_choices[] = { "auto", "ring", "nowait", NULL };

static const struct opt_row rows[] = {
	{ "cache", OPT_CHOICE, FIELD(cache), .choices = cache_choices, .value = "auto",
	  .help = "What the kernel may keep: none: nothing, changes made in SOURCE are seen at once; auto: names and attributes for 1 s, data while size and mtime agree; always: everything until memory is short, for a SOURCE that nobody else changes" },
	{ "entry_timeout", OPT_SECONDS, FIELD(entry_timeout), 0, DAY, .unit = "seconds",
	  .help = "How long the kernel may trust a name, instead of what cache= says" },
	{ "attr_timeout", OPT_SECONDS, FIELD(attr_timeout), 0, DAY, .unit = "seconds",
	  .help = "How long the kernel may trust attributes, instead of what cache= says" },
	{ "negative_timeout", OPT_SECONDS, FIELD(negative_timeout), 0, DAY, .unit = "seconds",
	  .help = "How long the kernel may trust that a name does not exist; cache=always: 1 s, else 0" },
	{ "writeback", OPT_FLAG, FIELD(writeback), .negatable = true,
	  .help = "Let the kernel collect small writes and send them later; times then come from the kernel, and SOURCE must not be changed by others" },
	{ "direct_io", OPT_FLAG, FIELD(direct_io), .negatable = true,
	  .help = "No data in the mount's page cache: every read and write reaches SOURCE" },
	{ "backing_cache", OPT_CHOICE, FIELD(backing_cache), .choices = backing_cache_choices, .value = "auto",
	  .help = "Whether SOURCE's page cache, too, keeps data that the mount's keeps: off: not (RWF_DONTCACHE, Linux 6.14, ext4 and xfs), for twice the room and slower small writes; auto: as on" },
	{ "io", OPT_CHOICE, FIELD(io), .choices = io_choices, .value = "daemon",
	  .help = "Who reads, writes and maps the data of files: daemon: this program, through io_uring; kernel: the kernel itself, on the file in SOURCE (Linux 6.9 or newer, root only)" },
	{ "locks", OPT_CHOICE, FIELD(locks), .choices = locks_choices, .value = "local",
	  .help = "local: record locks and flock hold among users of this mount; shared: they are also taken on the backing files and respected there" },
	{ "readdirplus", OPT_FLAG, FIELD(readdirplus), .negatable = true, .value = "on",
	  .help = "Send attributes along with directory listings where the kernel asks for them" },
	{ "dir_cache", OPT_FLAG, FIELD(dir_cache), .negatable = true, .value = "on",
	  .help = "Let the kernel keep the names of a directory that it has listed, while nobody changes the directory and as long as names are trusted" },
	{ "export", OPT_UINT, FIELD(export_files), 0, 1 << 25, .value = "0", .unit = "files",
	  .help = "For NFS: so many files that the kernel has forgotten are remembered, so that file handles of the mount find them again (128 bytes each; root only)" },
	{ "dir_ahead", OPT_FLAG, FIELD(dir_ahead), .negatable = true, .value = "on",
	  .help = "While a directory is listed with attributes and the kernel's caches do not have its files, have other CPUs read what follows" },
	{ "write_early", OPT_FLAG, FIELD(write_early), .negatable = true, .value = "on",
	  .help = "Begin the write-back of files that are written one megabyte after the other before their fsync, while the last such files were synced" },
	{ "submounts", OPT_FLAG, FIELD(submounts), .negatable = true, .value = "on",
	  .help = "Show the filesystems mounted inside SOURCE, each with its own device; nosubmounts shows the empty directories below them" },
	{ "acl", OPT_FLAG, FIELD(acl), .negatable = true, .value = "on",
	  .help = "Enforce the POSIX ACLs of SOURCE" },
	{ "xattr", OPT_FLAG, FIELD(xattr), .negatable = true, .value = "on", .help = "Serve extended attributes" },
	{ "allow_other", OPT_FLAG, FIELD(allow_other), .negatable = true,
	  .help = "Let other users in; always on for a mount made by root" },
	{ "allow_root", OPT_FLAG, FIELD(allow_root), .help = "Let root in, besides the user who mounted" },
	{ "idmap", OPT_FLAG, FIELD(idmap),
	  .help = "Let the mount be copied with other user ids (idmapped mounts; Linux 6.12 or newer, root only). The kernel then tells of a caller only when something is made: all else is done as root once the kernel has allowed it" },
	{ "default_permissions", OPT_FLAG, FIELD(default_permissions), .value = "on",
	  .help = "The kernel checks owner, mode and ACLs before a request is sent; always on" },
	{ "fsname", OPT_STRING, FIELD(fsname), .unit = "NAME", .help = "First field of /proc/mounts, instead of SOURCE" },
	{ "subtype", OPT_STRING, FIELD(subtype), .unit = "NAME", .help = "Type shown behind \"fuse.\", instead of uringfs" },
	{ "max_write", OPT_SIZE, FIELD(max_write), 4096, 64 << 20, .value = "1m", .unit = "bytes",
	  .help = "Largest read or write request; more than 1m needs a higher fs.fuse.max_pages_limit" },
	{ "write_size", OPT_SIZE, FIELD(write_size), 4096, 64 << 20, .value = "256k", .unit = "bytes",
	  .help = "Largest write request, if that is less than max_write, while data are copied: so much stays in a CPU's own cache on its way. Not with zero-copy" },
	{ "max_background", OPT_UINT, FIELD(max_background), 1, 65535, .value = "512",
	  .help = "Requests that the kernel may have under way without a waiting caller (readahead, asynchronous direct I/O)" },
	{ "fsync", OPT_CHOICE, FIELD(fsync), .choices = fsync_choices, .value = "strict",
	  .help = "How fsync and fdatasync become durable: strict: what POSIX asks, by an NVMe FLUSH where nothing but overwritten data needs one; flush: the same for an fsync of which only time stamps would be written, they follow within a second; kernel: always the kernel's own sync. See uringfs-durability(7)" },
	{ "transport", OPT_CHOICE, FIELD(transport), .choices = transport_choices, .value = "auto",
	  .help = "How requests come in: dev: reads of /dev/fuse; uring: FUSE-over-io_uring (Linux 6.14, fuse.enable_uring=Y), or no mount; auto: uring where the kernel offers it" },
	{ "zero_copy", OPT_CHOICE, FIELD(zero_copy), .choices = zero_copy_choices, .value = "auto",
	  .help = "Whether data go between the callers' pages and SOURCE without a copy in the daemon (FUSE-over-io_uring, Linux 7.3, root only): on: or no mount; auto: where the kernel offers it" },
	{ "rings", OPT_UINT, FIELD(rings), 0, BACKEND_RINGS_MAX, .value = "0",
	  .help = "Serving threads, each with its ring; 0: one per CPU, at most 16" },
	{ "entries", OPT_UINT, FIELD(entries), 8, 4096, .value = "256", .help = "Submission entries of a ring" },
	{ "queue_depth", OPT_UINT, FIELD(queue_depth), 2, 512, .value = "32", .help = "Requests under way in one ring; by FUSE-over-io_uring in one queue, of which there is one for each possible CPU" },
	{ "taskrun", OPT_CHOICE, FIELD(taskrun), .choices = taskrun_choices, .value = "auto",
	  .help = "How the kernel runs completions: IORING_SETUP_DEFER_TASKRUN, COOP_TASKRUN or neither" },
	{ "sqpoll", OPT_UINT, FIELD(sqpoll), 0, 60000, .value = "0", .unit = "milliseconds",
	  .help = "Submission by a kernel thread that sleeps after this idle time; 0: off" },
	{ "policy", OPT_CHOICE, FIELD(policy), .choices = policy_choices, .value = "auto",
	  .help = "ring: everything that io_uring has goes through it; nowait: what cannot wait is called directly; auto: that, and on a local disk also calls on names and attributes, as long as they are quick" },
	{ "pin", OPT_FLAG, FIELD(pin), .negatable = true, .value = "on", .help = "Keep each serving thread on its CPU" },
	{ "workers", OPT_UINT, FIELD(workers), 1, 256, .value = "8",
	  .help = "Most threads for the calls that io_uring lacks" },
	{ "iowq_bounded", OPT_UINT, FIELD(iowq_bounded), 0, 1024, .value = "8",
	  .help = "Most kernel workers of a ring for files; 0: the kernel's own limit" },
	{ "iowq_unbounded", OPT_UINT, FIELD(iowq_unbounded), 0, 1024, .value = "8",
	  .help = "Most kernel workers of a ring for everything else; 0: the kernel's own limit" },
	{ "file_slots", OPT_UINT, FIELD(file_slots), 0, 65536, .value = "1024",
	  .help = "Registered files of a ring; 0: none" },
	{ "register_after", OPT_UINT, FIELD(register_after), 1, 1000, .value = "3",
	  .help = "An open file is registered in a ring at its Nth operation" },
	{ "fds", OPT_UINT, FIELD(fds), 0, 1 << 30, .value = "0",
	  .help = "Most file descriptors to use; more than RLIMIT_NOFILE: it is raised (root); 0: what it allows" },
	{ "stats", OPT_FLAG, FIELD(stats), .help = "Print the statistics at the end, as text and as one line of JSON" },
	{ "stats_file", OPT_STRING, FIELD(stats_file), .unit = "FILE",
	  .help = "Where SIGUSR1 and stats write, instead of stderr or the log" },
	{ "deny", OPT_STRING, FIELD(deny), .unit = "FEATURE[:FEATURE...]", .hidden = true,
	  .help = "Do without these kernel features (separated by colons or, in --deny, commas)" },
	{ "inject", OPT_STRING, FIELD(inject), .unit = "KIND:NTH:RESULT[/...]", .hidden = true,
	  .help = "Let the NTH backend operation of KIND end with RESULT" },
#ifdef URINGFS_FAULT_INJECTION
	{ "fault", OPT_STRING, FIELD(fault), .unit = "FAULT[:FAULT...]", .hidden = true,
	  .help = "Make a mistake about durability: no_writeback, no_flush, early_flush, keep_proof, no_watch; block_device: take any block device for capable. "
		  "delays: threads wait at random where they go to sleep or wake each other" },
#endif
};
#define ROWS_COUNT (sizeof(rows) / sizeof(rows[0]))

/** Words of mount(8) that are handed to the kernel or to fusermount3. */
static const char *const mount_words[] = { "ro", "rw", "suid", "nosuid", "dev", "nodev", "exec", "noexec", "async", "sync", "atime",
					   "noatime", "nodiratime", "norelatime", "nostrictatime", "symfollow", "nosymfollow",
					   "dirsync", NULL };
/** Of these, what libfuse 3.14 does not know; mount.c sets them on the mount. */
static const char *const late_words[] = { "nodiratime", "norelatime", "nostrictatime", "symfollow", "nosymfollow", NULL };
/** Words of fstab(5) that mean nothing to a running filesystem. */
static const char *const ignored_words[] = { "defaults", "auto", "noauto", "user", "nouser", "users", "nousers", "owner", "group",
					     "_netdev", "nofail", "relatime", "strictatime", "diratime", "lazytime", "nolazytime",
					     "mand", "nomand", "iversion", "noiversion", "silent", "loud", "remount", "bind", NULL };
/** Pairs of which only one may be given. */
static const char *const contradictions[][2] = { { "writeback", "direct_io" }, { "writeback", "cache=none" },
						 { "writeback", "io=kernel" },
						 { "allow_other", "allow_root" }, { "idmap", "allow_root" }, { "ro", "rw" },
						 { "acl", "noxattr" } };

static bool word_in(const char *word, const char *const *list)
{
	for (; *list; list++)
		if (!strcmp(word, *list))
			return true;
	return false;
}

/** comma_add() - append @word to a comma-separated list in @buf. */
static int comma_add(char *buf, size_t size, const char *word)
{
	size_t used = strlen(buf);
	int n = snprintf(buf + used, size - used, "%s%s", used ? "," : "", word);

	return n < 0 || (size_t)n >= size - used ? -ENOSPC : 0;
}

/** unescape() - mount(8) writes a comma inside a value as "\,". */
static void unescape(char *word)
{
	char *to = word;

	for (char *from = word; *from; from++) {
		if (*from == '\\' && (from[1] == ',' || from[1] == '\\'))
			from++;
		*to++ = *from;
	}
	*to = 0;
}

/** flag_word() - what a word of mount(8) means for us: access times of SOURCE are changed by our reads. */
static void flag_word(struct options *o, const char *word)
{
	if (!strcmp(word, "ro") || !strcmp(word, "rw"))
		o->ro = word[1] == 'o';
	else if (!strcmp(word, "noatime"))
		o->noatime = true;
	else if (!strcmp(word, "atime") || !strcmp(word, "relatime") || !strcmp(word, "strictatime"))
		o->noatime = false;
	else if (!strcmp(word, "nodiratime") || !strcmp(word, "diratime"))
		o->nodiratime = word[0] == 'n';
	else if (!strcmp(word, "nosymfollow") || !strcmp(word, "symfollow"))
		o->nosymfollow = word[0] == 'n';
}

static int parse_word(struct options *o, char *word, char *given, size_t given_size, char *err, size_t err_size)
{
	int res;

	unescape(word);
	if (!*word)
		return 0;
	if (comma_add(given, given_size, word) < 0) {
		snprintf(err, err_size, "too many options");
		return -EINVAL;
	}
	flag_word(o, word);
	if (word_in(word, late_words))
		return 0;
	if (word_in(word, mount_words)) {
		if (comma_add(o->mount_words, sizeof(o->mount_words), word) == 0)
			return 0;
		snprintf(err, err_size, "too many mount options");
		return -EINVAL;
	}
	if (word_in(word, ignored_words) || !strncmp(word, "x-", 2) || !strncmp(word, "X-", 2) || !strncmp(word, "comment=", 8))
		return 0;
	if (!strcmp(word, "fsname=") || !strcmp(word, "stats_file=")) {
		snprintf(err, err_size, "option %s: the value is empty: give one, or leave the option out", word);
		return -EINVAL;
	}
	res = optable_parse(rows, ROWS_COUNT, o, word, err, err_size);
	if (res == -ENOENT) {
		snprintf(err, err_size, "unknown option '%s' (uringfs --help lists them)", word);
		return -EINVAL;
	}
	return res < 0 ? res : 0;
}

static int parse_list(struct options *o, const char *list, char *given, size_t given_size, char *err, size_t err_size)
{
	char *copy = strdup(list), *word = copy, *end;
	int res = 0;

	if (!copy) {
		snprintf(err, err_size, "out of memory");
		return -ENOMEM;
	}
	while (word && res == 0) {
		for (end = word; *end && *end != ','; end++)
			if (*end == '\\' && end[1])
				end++;
		char *next = *end ? end + 1 : NULL;
		*end = 0;
		res = parse_word(o, word, given, given_size, err, err_size);
		word = next;
	}
	free(copy);
	return res;
}

static bool was_given(const char *given, const char *word)
{
	size_t len = strlen(word);

	for (const char *p = given; (p = strstr(p, word)); p += len)
		if ((p == given || p[-1] == ',') && (p[len] == 0 || p[len] == ','))
			return true;
	return false;
}

static int check_contradictions(const struct options *o, const char *given, char *err, size_t err_size)
{
	for (size_t i = 0; i < sizeof(contradictions) / sizeof(contradictions[0]); i++) {
		const char *const *c = contradictions[i];
		if (was_given(given, c[0]) && was_given(given, c[1])) {
			snprintf(err, err_size, "options %s and %s contradict each other: give one of them", c[0], c[1]);
			return -EINVAL;
		}
	}
	if (o->cache == CACHE_NONE && (o->entry_timeout > 0 || o->attr_timeout > 0 || o->negative_timeout > 0)) {
		snprintf(err, err_size, "options cache=none and a timeout above 0 contradict each other: use cache=auto with the timeout");
		return -EINVAL;
	}
	if (o->sqpoll && (o->taskrun == TASKRUN_DEFER || o->taskrun == TASKRUN_COOP)) {
		snprintf(err, err_size, "options sqpoll and taskrun=%s contradict each other: the kernel refuses both together", taskrun_choices[o->taskrun]);
		return -EINVAL;
	}
	return 0;
}

/** long_option() - `--name=value`, `--name value` or `--name` of a table row becomes a word of -o. */
static int long_option(struct options *o, int argc, char **argv, int *i, char *given, size_t given_size, char *err,
		       size_t err_size)
{
	char word[4096];
	const char *name = argv[*i] + 2;
	int n = snprintf(word, sizeof(word), "%s", name);

	for (size_t r = 0; r < ROWS_COUNT; r++)
		if (!strcmp(rows[r].name, name) && rows[r].type != OPT_FLAG && *i + 1 < argc)
			n = snprintf(word, sizeof(word), "%s=%s", name, argv[++*i]);
	if (n < 0 || (size_t)n >= sizeof(word)) {
		snprintf(err, err_size, "option --%.40s... is too long", name);
		return -EINVAL;
	}
	for (char *p = word; *p && *p != '='; p++)
		if (*p == '-')
			*p = '_';
	return parse_word(o, word, given, given_size, err, err_size);
}

/** name_long() - an error about a --NAME argument names it as it was given. */
static int name_long(int res, const char *arg, char *err, size_t err_size)
{
	char why[512];

	if (res >= 0 || strstr(err, arg))
		return res;
	snprintf(why, sizeof(why), "%s", err);
	snprintf(err, err_size, "%s: %s", arg, why);
	return res;
}

static int parse_path(struct options *o, const char *path, char *err, size_t err_size)
{
	char **field = !o->source ? &o->source : &o->mountpoint;

	if (!path[0]) {
		snprintf(err, err_size, "%s is empty: give the path of a directory", o->source ? "MOUNTPOINT" : "SOURCE");
		return -EINVAL;
	}
	if (o->mountpoint) {
		snprintf(err, err_size, "one argument too many: '%s' (usage: uringfs SOURCE MOUNTPOINT [-o options])", path);
		return -EINVAL;
	}
	*field = strdup(path);
	if (*field)
		return 0;
	snprintf(err, err_size, "out of memory");
	return -ENOMEM;
}

static int parse_argument(struct options *o, int argc, char **argv, int *i, char *given, size_t given_size, char *err,
			  size_t err_size)
{
	const char *a = argv[*i];

	if (o->only_paths || a[0] != '-')
		return parse_path(o, a, err, err_size);
	if (!strcmp(a, "--"))
		o->only_paths = true;
	else if (!strcmp(a, "-f"))
		o->foreground = true;
	else if (!strcmp(a, "-d"))
		o->foreground = o->debug = true;
	else if (!strcmp(a, "-h") || !strcmp(a, "--help"))
		o->help = true;
	else if (!strcmp(a, "--help-man"))
		o->help_man = true;
	else if (!strcmp(a, "-V") || !strcmp(a, "--version"))
		o->version = true;
	else if (!strcmp(a, "-o") && *i + 1 < argc)
		return parse_list(o, argv[++*i], given, given_size, err, err_size);
	else if (!strncmp(a, "-o", 2) && a[2])
		return parse_list(o, a + 2, given, given_size, err, err_size);
	else if (!strncmp(a, "--", 2) && a[2])
		return name_long(long_option(o, argc, argv, i, given, given_size, err, err_size), a, err, err_size);
	else {
		snprintf(err, err_size, "unknown or incomplete argument '%s' (uringfs --help lists them)", a);
		return -EINVAL;
	}
	return 0;
}

/** by_mode() - a timeout that was not given is the cache mode's. */
static void by_mode(double *timeout, int cache, double value_auto, double value_always)
{
	if (*timeout >= 0)
		return;
	*timeout = cache == CACHE_NONE ? 0 : cache == CACHE_AUTO ? value_auto : value_always;
}

int options_parse(struct options *o, int argc, char **argv, char *err, size_t err_size)
{
	char given[8192] = "";
	int res = 0;

	*o = (struct options){ .entry_timeout = -1, .attr_timeout = -1, .negative_timeout = -1, .allow_other = geteuid() == 0 };
	optable_defaults(rows, ROWS_COUNT, o);
	for (int i = 1; i < argc && res == 0; i++)
		res = parse_argument(o, argc, argv, &i, given, sizeof(given), err, err_size);
	if (res < 0)
		return res;
	if (o->help || o->help_man || o->version)
		return 0;
	if (!o->source || !o->mountpoint) {
		snprintf(err, err_size, "%s is missing (usage: uringfs SOURCE MOUNTPOINT [-o options])",
			 o->source ? "MOUNTPOINT" : "SOURCE");
		return -EINVAL;
	}
	if (o->allow_root)
		o->allow_other = false;
	res = check_contradictions(o, given, err, err_size);
	by_mode(&o->entry_timeout, o->cache, 1.0, 86400.0);
	by_mode(&o->attr_timeout, o->cache, 1.0, 86400.0);
	by_mode(&o->negative_timeout, o->cache, 0.0, 1.0);
	for (char *p = o->deny; p && *p; p++)
		if (*p == ':')
			*p = ',';
	for (char *p = o->inject; p && *p; p++)
		if (*p == '/')
			*p = ',';
	return res;
}

void options_help(FILE *f)
{
	fprintf(f,
		"usage: uringfs SOURCE MOUNTPOINT [-o option[,option...]] [-f] [-d]\n\n"
		"Shows the directory SOURCE at MOUNTPOINT. Every operation goes through io_uring.\n\n"
		"  -f                             stay in the foreground\n"
		"  -d                             trace every request to stderr (implies -f)\n"
		"  -h, --help                     print this help\n"
		"  -V, --version                  print the versions of uringfs and its libraries\n"
		"  --                             what follows is SOURCE and MOUNTPOINT\n\n"
		"options (each also as --NAME or --NAME=VALUE):\n");
	optable_help(rows, ROWS_COUNT, f);
	fprintf(f, "\nmount options: ");
	for (const char *const *w = mount_words; *w; w++)
		fprintf(f, "%s%s", w == mount_words ? "" : ", ", *w);
	fprintf(f, "\naccepted and without effect here: ");
	for (const char *const *w = ignored_words; *w; w++)
		fprintf(f, "%s%s", w == ignored_words ? "" : ", ", *w);
	fprintf(f, ", x-*\n\nExit status: 0 mounted (or, with -f, ended well), 1 the system refused, 2 wrong usage.\n");
}

void options_man(FILE *f)
{
	optable_man(rows, ROWS_COUNT, f);
}

void options_free(struct options *o)
{
	optable_free(rows, ROWS_COUNT, o);
	free(o->source);
	free(o->mountpoint);
	free(o->source_real);
	free(o->mountpoint_real);
}
