/* SPDX-License-Identifier: MIT */
/*
 * outside.h - calls of ours that go through our own mount, and so wait for our own serving threads: made by another process.
 *
 * Killed while one of its threads waits for such an answer, the daemon would never end: the kernel lets go of a request that has been
 * sent only when it is answered or the connection ends (fs/fuse/dev.c, request_wait_answer(), Linux 4.2 to 6.18), and the connection
 * ends with the last descriptor of /dev/fuse. That thread would hold it: by the table of descriptors, and by the rings, which stay as
 * long as anybody has them mapped. Everybody who uses the mount would hang until somebody aborts it. A process of its own has neither.
 */
#ifndef URINGFS_OUTSIDE_H
#define URINGFS_OUTSIDE_H

/** First argument of the program, started as that process; then what and on which path. */
#define OUTSIDE_WORD "--outside"

#define OUTSIDE_SYNC "sync"       /* syncfs(2) of the filesystem at the path */
#define OUTSIDE_UNMOUNT "unmount" /* umount2(2) of it */
#define OUTSIDE_DETACH "detach"   /* the same, lazily */
#define OUTSIDE_ASK "ask-%u"      /* statx(2) of the path, sent from that CPU */

/**
 * outside_call() - have the call made, and wait for it
 * @what: OUTSIDE_
 * Where no process can be started it is made here.  Thread: any but a serving one; blocks.  Return: 0 or its -errno
 */
int outside_call(const char *what, const char *path);
/** outside_main() - in that process. Return: its exit status, the errno of the call. */
int outside_main(const char *what, const char *path);

#endif
