/* SPDX-License-Identifier: MIT */
/*
 * serve.h - the serving threads: each owns a ring and serves a channel of every mount.
 */
#ifndef URINGFS_SERVE_H
#define URINGFS_SERVE_H

#include <stddef.h>

struct mount;
struct server;
struct server_thread;

/** serve_start() - make the threads, their rings and buffers. Thread: main. Return 0; -errno with @err set and none left. */
int serve_start(struct server *srv, char *err, size_t err_size);
/**
 * serve_call() - have @fn run on every serving thread, and wait for all
 * Thread: main.  Return: 0, or the first -errno that @fn returned
 */
int serve_call(struct server *srv, int (*fn)(struct server_thread *t, void *arg), void *arg);
/** serve_open_uring() - descriptors for the rings' part of @m; those that have one keep it. Thread: main.  Return 0 or -errno. */
int serve_open_uring(struct server *srv, struct mount *m);
/**
 * serve_add() - have every thread serve @m from now on
 * Thread: main.  Return: 0; -errno of a ring entry that the kernel refused after INIT had promised it: no request of
 * the mount will be answered, its connection has been aborted where that is possible
 */
int serve_add(struct server *srv, struct mount *m);
/** serve_stop() - no more requests of @m are taken; those under way are answered. Thread: main. */
void serve_stop(struct server *srv, struct mount *m);
/** serve_look() - have thread @index (threads_count: all but the caller's) look for requests in all its channels.
 *  @from: the calling thread, one of them. */
void serve_look(struct server_thread *from, unsigned index);
/** serve_end() - when every channel has ended: stop the threads and free them. Thread: main. */
void serve_end(struct server *srv);

#endif
