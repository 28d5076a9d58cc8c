/* SPDX-License-Identifier: MIT */
#include "mount_opts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>

#ifndef MS_NOSYMFOLLOW
#define MS_NOSYMFOLLOW 256 /* linux/mount.h, kernel 5.10; glibc since 2.33 */
#endif

enum word_kind { WORD_OURS, WORD_FLAG, WORD_DROPPED, WORD_SHOWN };

struct word_row {
	const char *word; /* ending with "=": any word that begins so */
	enum word_kind kind;
	unsigned long set, clear; /* MS_* flags of a WORD_FLAG */
};

static const struct word_row word_rows[] = {
	/* mount(2)'s own: handed on, and all that a remount can change */
	{ "ro", WORD_FLAG, MS_RDONLY, 0 },
	{ "rw", WORD_FLAG, 0, MS_RDONLY },
	{ "suid", WORD_FLAG, 0, MS_NOSUID },
	{ "nosuid", WORD_FLAG, MS_NOSUID, 0 },
	{ "dev", WORD_FLAG, 0, MS_NODEV },
	{ "nodev", WORD_FLAG, MS_NODEV, 0 },
	{ "exec", WORD_FLAG, 0, MS_NOEXEC },
	{ "noexec", WORD_FLAG, MS_NOEXEC, 0 },
	{ "async", WORD_FLAG, 0, MS_SYNCHRONOUS },
	{ "sync", WORD_FLAG, MS_SYNCHRONOUS, 0 },
	{ "dirsync", WORD_FLAG, MS_DIRSYNC, 0 },
	{ "atime", WORD_FLAG, 0, MS_NOATIME },
	{ "noatime", WORD_FLAG, MS_NOATIME, MS_RELATIME },
	{ "nodiratime", WORD_FLAG, MS_NODIRATIME, 0 },
	{ "diratime", WORD_FLAG, 0, MS_NODIRATIME },
	{ "relatime", WORD_FLAG, MS_RELATIME, MS_NOATIME | MS_STRICTATIME },
	{ "norelatime", WORD_FLAG, 0, MS_RELATIME },
	{ "strictatime", WORD_FLAG, MS_STRICTATIME, MS_NOATIME | MS_RELATIME },
	{ "nostrictatime", WORD_FLAG, 0, MS_STRICTATIME },
	{ "symfollow", WORD_FLAG, 0, MS_NOSYMFOLLOW },
	{ "nosymfollow", WORD_FLAG, MS_NOSYMFOLLOW, 0 },
	/* for mount(8), systemd or the boot scripts */
	{ "defaults", WORD_DROPPED, 0, 0 },
	{ "auto", WORD_DROPPED, 0, 0 },
	{ "noauto", WORD_DROPPED, 0, 0 },
	{ "_netdev", WORD_DROPPED, 0, 0 },
	{ "user", WORD_DROPPED, 0, 0 },
	{ "users", WORD_DROPPED, 0, 0 },
	{ "user=", WORD_DROPPED, 0, 0 },
	{ "nouser", WORD_DROPPED, 0, 0 },
	{ "nousers", WORD_DROPPED, 0, 0 },
	{ "owner", WORD_DROPPED, 0, 0 },
	{ "noowner", WORD_DROPPED, 0, 0 },
	{ "group", WORD_DROPPED, 0, 0 },
	{ "nogroup", WORD_DROPPED, 0, 0 },
	{ "silent", WORD_DROPPED, 0, 0 },
	{ "loud", WORD_DROPPED, 0, 0 },
	{ "lazytime", WORD_DROPPED, 0, 0 },
	{ "nolazytime", WORD_DROPPED, 0, 0 },
	{ "iversion", WORD_DROPPED, 0, 0 },
	{ "noiversion", WORD_DROPPED, 0, 0 },
	{ "mand", WORD_DROPPED, 0, 0 },
	{ "nomand", WORD_DROPPED, 0, 0 },
	{ "uhelper=", WORD_DROPPED, 0, 0 },
	{ "helper=", WORD_DROPPED, 0, 0 },
	{ "comment", WORD_DROPPED, 0, 0 },
	{ "comment=", WORD_DROPPED, 0, 0 },
	/* labels of SELinux: the kernel's FUSE takes them from no daemon, and xfstests gives them to every mount */
	{ "context=", WORD_DROPPED, 0, 0 },
	{ "fscontext=", WORD_DROPPED, 0, 0 },
	{ "defcontext=", WORD_DROPPED, 0, 0 },
	{ "rootcontext=", WORD_DROPPED, 0, 0 },
	{ "x-", WORD_DROPPED, 0, 0 },
	{ "X-", WORD_DROPPED, 0, 0 },
	/* the kernel shows these for a running mount, and mount(8) gives them back for a remount */
	{ "user_id=", WORD_SHOWN, 0, 0 },
	{ "group_id=", WORD_SHOWN, 0, 0 },
	{ "rootmode=", WORD_SHOWN, 0, 0 },
	{ "fd=", WORD_SHOWN, 0, 0 },
	{ "max_read=", WORD_SHOWN, 0, 0 },
	{ "blksize=", WORD_SHOWN, 0, 0 },
	{ "default_permissions", WORD_SHOWN, 0, 0 },
	{ "allow_other", WORD_SHOWN, 0, 0 },
};

/** word_row() - NULL: the daemon's, or unknown. */
static const struct word_row *word_row(const char *word)
{
	for (size_t n = 0; n < sizeof(word_rows) / sizeof(word_rows[0]); n++) {
		const char *w = word_rows[n].word;
		size_t len = strlen(w);
		bool begins = w[len - 1] == '=' || w[len - 1] == '-';

		if (begins ? !strncmp(word, w, len) : !strcmp(word, w))
			return &word_rows[n];
	}
	return NULL;
}

/** append() - *@list gets ",@text" (or becomes @text). */
static int append(char **list, const char *text)
{
	size_t used = *list ? strlen(*list) : 0, more = strlen(text);
	char *grown = realloc(*list, used + more + 2);

	if (!grown)
		return -ENOMEM;
	if (used && more)
		grown[used++] = ',';
	memcpy(grown + used, text, more + 1);
	*list = grown;
	return 0;
}

static int no_memory(char *err, size_t err_size)
{
	snprintf(err, err_size, "out of memory");
	return -ENOMEM;
}

/* ---- the command line ---------------------------------------------------------------- */

/** set_flag() - one letter of a group like -sfv. */
static bool set_flag(struct mount_args *args, char letter)
{
	switch (letter) {
	case 's':
		args->sloppy = true;
		return true;
	case 'f':
		args->fake = true;
		return true;
	case 'v':
		args->verbose = true;
		return true;
	case 'r':
		args->read_only = true;
		return true;
	case 'w':
		args->read_write = true;
		return true;
	case 'n': /* there is no mtab to leave alone */
		return true;
	case 'h':
		args->help = true;
		return true;
	case 'V':
		args->version = true;
		return true;
	default:
		return false;
	}
}

static int set_value(struct mount_args *args, char letter, const char *value)
{
	if (letter == 'o')
		return append(&args->options, value);
	if (letter == 'N')
		args->ns = value;
	else
		args->type = value;
	return 0;
}

/** parse_group() - letters behind a dash, of which the last may take a value. */
static int parse_group(struct mount_args *args, int argc, char **argv, int *i, char *err, size_t err_size)
{
	for (const char *p = argv[*i] + 1; *p; p++) {
		if (set_flag(args, *p))
			continue;
		if (!strchr("oNt", *p)) {
			snprintf(err, err_size, "unknown argument '%s'", argv[*i]);
			return -EINVAL;
		}
		const char *value = p[1] ? p + 1 : *i + 1 < argc ? argv[++*i] : NULL;
		if (!value) {
			snprintf(err, err_size, "-%c needs a value", *p);
			return -EINVAL;
		}
		return set_value(args, *p, value) < 0 ? no_memory(err, err_size) : 0;
	}
	return 0;
}

int mount_args_parse(struct mount_args *args, int argc, char **argv, char *err, size_t err_size)
{
	int res = 0;

	*args = (struct mount_args){ 0 };
	for (int i = 1; i < argc && res == 0; i++) {
		if (!strcmp(argv[i], "--help"))
			args->help = true;
		else if (!strcmp(argv[i], "--version"))
			args->version = true;
		else if (argv[i][0] == '-' && argv[i][1])
			res = parse_group(args, argc, argv, &i, err, err_size);
		else if (!args->device)
			args->device = argv[i];
		else if (!args->dir)
			args->dir = argv[i];
		else {
			snprintf(err, err_size, "one argument too many: '%s'", argv[i]);
			res = -EINVAL;
		}
	}
	if (res < 0 || args->help || args->version)
		return res;
	if (!args->device || !args->device[0] || !args->dir || !args->dir[0]) {
		snprintf(err, err_size, "%s is missing", args->device && args->device[0] ? "the mountpoint" : "the source");
		return -EINVAL;
	}
	return 0;
}

void mount_args_free(struct mount_args *args)
{
	free(args->options);
	args->options = NULL;
}

/* ---- the options ------------------------------------------------------------------------ */

/** State while the words are read. */
struct reading {
	const struct mount_args *args;
	struct mount_plan *plan;
	bool (*known)(const char *word);
	char *flags;  /* words of mount(2), without ro and rw */
	char *ours;   /* words of the daemon */
	char *source; /* from source= */
	bool read_only, fsname;
};

static int read_flag(struct reading *r, const struct word_row *row)
{
	r->plan->remount_set = (r->plan->remount_set & ~row->clear) | row->set;
	r->plan->remount_clear = (r->plan->remount_clear & ~row->set) | row->clear;
	if (!strcmp(row->word, "ro") || !strcmp(row->word, "rw")) {
		r->read_only = row->set != 0; /* the last one counts: the daemon would see a contradiction */
		return 0;
	}
	return append(&r->flags, row->word);
}

/** unescape() - "\," and "\\" in a value. */
static char *unescape(const char *from)
{
	char *text = strdup(from), *to = text;

	for (; text && *from; from++) {
		if (*from == '\\' && (from[1] == ',' || from[1] == '\\'))
			from++;
		*to++ = *from;
	}
	if (text)
		*to = 0;
	return text;
}

static int read_word(struct reading *r, const char *word)
{
	const struct word_row *row = word_row(word);

	if (!*word)
		return 0;
	if (row && row->kind == WORD_FLAG)
		return read_flag(r, row);
	if (row && row->kind == WORD_DROPPED)
		return 0;
	if (!strcmp(word, "remount")) {
		r->plan->remount = true;
		return 0;
	}
	if (!strcmp(word, "nofail")) {
		r->plan->nofail = true;
		return 0;
	}
	if (!strncmp(word, "source=", 7)) {
		free(r->source);
		r->source = unescape(word + 7);
		return r->source ? 0 : -ENOMEM;
	}
	if (r->args->sloppy && r->known && !r->known(word))
		return append(&r->plan->ignored, word);
	if (!strncmp(word, "fsname=", 7))
		r->fsname = true;
	return append(&r->ours, word);
}

static int read_words(struct reading *r, const char *options)
{
	char *copy = strdup(options ? options : "");
	char *word = copy, *end;
	int res = copy ? 0 : -ENOMEM;

	while (word && res == 0) {
		for (end = word; *end && *end != ','; end++)
			if (*end == '\\' && end[1])
				end++;
		char *next = *end ? end + 1 : NULL;
		*end = 0;
		res = read_word(r, word);
		word = next;
	}
	free(copy);
	if (res == 0 && r->args->read_write)
		res = read_word(r, "rw");
	if (res == 0 && r->args->read_only)
		res = read_word(r, "ro");
	return res;
}

/** add_fsname() - "fsname=DEVICE" with the commas escaped. */
static int add_fsname(char **list, const char *device)
{
	char *word = malloc(strlen(device) * 2 + sizeof("fsname="));
	char *to;
	int res;

	if (!word)
		return -ENOMEM;
	to = stpcpy(word, "fsname=");
	for (; *device; device++) {
		if (*device == ',' || *device == '\\')
			*to++ = '\\';
		*to++ = *device;
	}
	*to = 0;
	res = append(list, word);
	free(word);
	return res;
}

/** choose_source() - from source=, "name:/path" or a path; the first two make DEVICE the fsname. */
static int choose_source(struct reading *r, char *err, size_t err_size)
{
	const char *device = r->args->device, *path = device;

	if (r->source) {
		if (!*r->source) {
			snprintf(err, err_size, "option source= is empty: give it a directory");
			return -EINVAL;
		}
		path = r->source;
	} else if (device[0] != '/' && strstr(device, ":/")) {
		path = strstr(device, ":/") + 1;
	} else if (!strcmp(device, "none") || !strcmp(device, "uringfs") || !strcmp(device, "fuse")) {
		snprintf(err, err_size, "'%s' is not a directory: name the source, or add the option source=/directory", device);
		return -EINVAL;
	}
	/* the daemon would take a dash for an argument */
	if (asprintf(&r->plan->source, "%s%s", path[0] == '-' ? "./" : "", path) < 0) {
		r->plan->source = NULL;
		return no_memory(err, err_size);
	}
	if (path != device && !r->fsname && add_fsname(&r->ours, device) < 0)
		return no_memory(err, err_size);
	return 0;
}

/** words_for_remount() - what the daemon would have to change is not possible: say so, unless the kernel showed it. */
static int words_for_remount(struct reading *r)
{
	char *save = NULL;
	int res = 0;

	for (char *word = r->ours ? strtok_r(r->ours, ",", &save) : NULL; word && res == 0; word = strtok_r(NULL, ",", &save)) {
		const struct word_row *row = word_row(word);
		if (!row || row->kind != WORD_SHOWN)
			res = append(&r->plan->ignored, word);
	}
	return res;
}

static int finish(struct reading *r)
{
	int res = 0;

	if (r->plan->remount)
		return words_for_remount(r);
	if (r->read_only)
		res = append(&r->plan->words, "ro");
	if (res == 0 && r->flags)
		res = append(&r->plan->words, r->flags);
	if (res == 0 && r->ours)
		res = append(&r->plan->words, r->ours);
	return res;
}

int mount_plan_make(struct mount_plan *plan, const struct mount_args *args, bool (*known)(const char *word), char *err,
		    size_t err_size)
{
	struct reading r = { .args = args, .plan = plan, .known = known };
	int res;

	*plan = (struct mount_plan){ 0 };
	if (append(&plan->words, "") < 0 || append(&plan->ignored, "") < 0 || read_words(&r, args->options) < 0)
		res = no_memory(err, err_size);
	else
		res = plan->remount ? 0 : choose_source(&r, err, err_size);
	if (res == 0 && finish(&r) < 0)
		res = no_memory(err, err_size);
	free(r.flags);
	free(r.ours);
	free(r.source);
	if (res < 0)
		mount_plan_free(plan);
	return res;
}

void mount_plan_free(struct mount_plan *plan)
{
	free(plan->source);
	free(plan->words);
	free(plan->ignored);
	*plan = (struct mount_plan){ 0 };
}

enum mount_exit mount_exit_status(int wait_status)
{
	if (!WIFEXITED(wait_status))
		return MOUNT_EX_INTERNAL;
	switch (WEXITSTATUS(wait_status)) {
	case 0:
		return MOUNT_EX_OK;
	case 2: /* the daemon: wrong usage */
		return MOUNT_EX_USAGE;
	case 127: /* it could not be executed */
		return MOUNT_EX_SYSTEM;
	default:
		return MOUNT_EX_FAILURE;
	}
}
