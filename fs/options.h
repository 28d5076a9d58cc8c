/* SPDX-License-Identifier: MIT */
/* options.h - the command line, checked once and read-only afterwards. */
#ifndef URINGFS_OPTIONS_H
#define URINGFS_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum cache_mode { CACHE_NONE, CACHE_AUTO, CACHE_ALWAYS };
enum backing_cache_mode { BACKING_CACHE_AUTO, BACKING_CACHE_ON, BACKING_CACHE_OFF };
enum io_mode { IO_DAEMON, IO_KERNEL };
enum locks_mode { LOCKS_LOCAL, LOCKS_SHARED };
enum transport_kind { TRANSPORT_AUTO, TRANSPORT_DEV, TRANSPORT_URING };
enum zero_copy_mode { ZERO_COPY_AUTO, ZERO_COPY_ON, ZERO_COPY_OFF };
enum policy_mode { POLICY_AUTO, POLICY_RING, POLICY_NOWAIT };

struct options {
	char *source;     /* as given; source_real is resolved */
	char *mountpoint; /* as given; mountpoint_real is resolved */
	char *source_real, *mountpoint_real;
	bool foreground, debug, help, help_man, version;
	bool only_paths; /* behind "--" */

	/* what is shown, and how it is cached */
	int cache;
	double entry_timeout, attr_timeout, negative_timeout; /* seconds; < 0: by cache mode */
	bool writeback, direct_io;
	int io, backing_cache;
	int locks;
	bool readdirplus, dir_cache, dir_ahead, write_early, submounts, acl, xattr;

	/* mounting */
	bool allow_other, allow_root, default_permissions, idmap;
	char *fsname, *subtype;
	unsigned max_write, write_size, max_background;
	char mount_words[1024]; /* words for mount(2), comma-separated: ro, nosuid, ... */
	bool ro, noatime, nodiratime, nosymfollow; /* what some of them mean for the daemon */

	/* the rings */
	int transport, zero_copy, taskrun, policy;
	unsigned rings, entries, queue_depth, workers, iowq_bounded, iowq_unbounded, sqpoll, file_slots, register_after;
	bool pin;
	unsigned fds;
	unsigned export_files;

	/* durability */
	int fsync;  /* enum durability_policy */

	/* tests and figures */
	char *deny, *inject, *fault;
	bool stats;
	char *stats_file;
};

/**
 * options_parse() - defaults, then the words of the command line, then all checks that need no system
 * @err: one line for the user on failure
 * Return: 0; -EINVAL (exit status 2)
 */
int options_parse(struct options *o, int argc, char **argv, char *err, size_t err_size);
/**
 * options_check_paths() - source and mountpoint exist, are directories, and source does not contain the mountpoint (but with nosubmounts); stats_file can be written
 * Return: 0, or -errno with @err set (exit status 1)
 */
int options_check_paths(struct options *o, char *err, size_t err_size);
void options_help(FILE *f);
/** options_man() - the OPTIONS section of uringfs.8 as roff. */
void options_man(FILE *f);
void options_free(struct options *o);

#endif
