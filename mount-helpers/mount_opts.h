/* SPDX-License-Identifier: MIT */
/*
 * mount_opts.h - what mount(8) and fstab(5) say becomes what the daemon understands.
 *
 * Pure: no system call, no global state. Thread: any.
 */
#ifndef URINGFS_MOUNT_OPTS_H
#define URINGFS_MOUNT_OPTS_H

#include <stdbool.h>
#include <stddef.h>

/** Exit statuses of mount(8). */
enum mount_exit {
	MOUNT_EX_OK = 0,
	MOUNT_EX_USAGE = 1,       /* incorrect invocation or permissions */
	MOUNT_EX_SYSTEM = 2,      /* out of memory, cannot fork, no daemon */
	MOUNT_EX_INTERNAL = 4,    /* a bug: the daemon died */
	MOUNT_EX_INTERRUPTED = 8, /* by the user */
	MOUNT_EX_FAILURE = 32,    /* the mount failed */
};

/** The command line of a mount helper: SPEC DIR [-sfnvrw] [-N NAMESPACE] [-o OPTIONS]... [-t TYPE]. */
struct mount_args {
	const char *device, *dir; /* borrowed from argv */
	const char *ns, *type;    /* as above, or NULL */
	char *options;            /* all -o joined by commas; owned */
	bool sloppy, fake, verbose, read_only, read_write, help, version;
};

/** What is to be done. The strings are owned. */
struct mount_plan {
	char *source;  /* first argument of the daemon */
	char *words;   /* its -o list, or "" */
	char *ignored; /* words dropped because of -s, or of no effect in a remount, or "" */
	bool nofail; /* a source that is missing is no error */
	bool remount;
	unsigned long remount_set, remount_clear; /* MS_* flags for mount(2) */
};

/**
 * mount_args_parse() - read the command line
 * @err: one line for the user on failure
 * Return: 0; -EINVAL; -ENOMEM
 */
int mount_args_parse(struct mount_args *args, int argc, char **argv, char *err, size_t err_size);
void mount_args_free(struct mount_args *args);

/**
 * mount_plan_make() - translate device and options
 * @known: whether the daemon has a word; asked only with -s (NULL: all are known)
 * @err: one line for the user on failure
 * Return: 0; -EINVAL; -ENOMEM
 */
int mount_plan_make(struct mount_plan *plan, const struct mount_args *args, bool (*known)(const char *word), char *err,
		    size_t err_size);
void mount_plan_free(struct mount_plan *plan);

/**
 * mount_exit_status() - exit status for mount(8) from the daemon's wait status
 * @wait_status: from waitpid(2)
 */
enum mount_exit mount_exit_status(int wait_status);

#endif
