/* SPDX-License-Identifier: MIT */
/*
 * session.h - one FUSE connection: mount, INIT, unmount.
 */
#ifndef URINGFS_SESSION_H
#define URINGFS_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

struct mount;
struct server;

/** The newest FUSE 7.x that we speak. */
#define SESSION_MINOR 46u

/** Bits of server.deny: FUSE features that --deny can switch off. */
enum session_deny {
	SESSION_DENY_FILE_HANDLES = 1 << 0,
	SESSION_DENY_KILLPRIV = 1 << 1,
	SESSION_DENY_READDIRPLUS = 1 << 2,
	SESSION_DENY_PARALLEL_DIROPS = 1 << 3,
	SESSION_DENY_SETXATTR_EXT = 1 << 4,
	SESSION_DENY_SUPP_GROUP = 1 << 5,
	SESSION_DENY_CLONE = 1 << 6,
	SESSION_DENY_PASSTHROUGH = 1 << 7,
	SESSION_DENY_URING = 1 << 8,
	SESSION_DENY_IDLE_CLASS = 1 << 9, /* not of FUSE: placement_class.h */
	SESSION_DENY_ZERO_COPY = 1 << 10,
	SESSION_DENY_SOLE = 1 << 11, /* not of FUSE: coherence.c */
	SESSION_DENY_FAR = 1 << 14, /* not of FUSE: placement_stream.h, streams stay on their callers' CPU */
	SESSION_DENY_NEAR = 1 << 15, /* the opposite, for tests: they are served elsewhere, worth it or not */
	SESSION_DENY_SHARING = 1 << 13, /* not of FUSE: placement_share.h */
	SESSION_DENY_UNSHARED = 1 << 12, /* the opposite, for tests: whenever batches are large, worth it or not */
};

/**
 * session_deny_split() - take the FUSE features out of a --deny list
 * @list: comma-separated; what is not known here is copied to @rest for the backend
 */
unsigned session_deny_split(const char *list, char *rest, size_t rest_size);
/** The names that session_deny_split() knows, comma-separated. */
const char *session_deny_names(void);

/**
 * session_mount() - mount m->mountpoint and agree with the kernel on INIT
 * @target: the same place as a path to mount on
 * @fsname: first field of /proc/mounts
 * @err: one line for the user on failure
 * Thread: main. Return: 0, or -errno with nothing mounted.
 */
int session_mount(struct mount *m, const char *target, const char *fsname, char *err, size_t err_size);
/** session_init_reply() - libfuse's answer to INIT on its way out; @userdata is the mount. As writev(2). */
ssize_t session_init_reply(void *userdata, struct iovec *iov, int count);
/**
 * session_unmount() - take the mount away
 * @lazy: detach it even when it is busy
 * Thread: main; requests must be served meanwhile. Return: 0; -EBUSY; other -errno
 */
int session_unmount(struct mount *m, bool lazy);
/**
 * session_abort() - end the connection of @m: all of its requests, also those to come, end with an error
 * Thread: any.  Return: false when that is not possible from here (no fusectl filesystem)
 */
bool session_abort(const struct mount *m);
/** session_destroy() - free the session; the mount is gone or is taken away. NULL session allowed. */
void session_destroy(struct mount *m);
/** session_fd() - the descriptor of the connection. */
int session_fd(const struct mount *m);
/** session_features() - names of the FUSE features agreed upon and, with @missing, of those that the kernel lacks. */
void session_features(const struct mount *m, bool missing, char *buf, size_t size);

#endif
