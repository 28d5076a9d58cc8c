/* SPDX-License-Identifier: MIT */
/*
 * placement.h - which serving thread takes the next request from /dev/fuse.
 *
 * Waking a thread on another CPU costs several times what a small request
 * costs (40 us against 6 on a virtual machine). While requests come one at a
 * time, only the thread on the caller's CPU, the leader, waits for them. As
 * soon as they come together all threads wait. Where the caller runs is looked
 * up in /proc now and then; the wire does not say it.
 *
 * Shared by all threads; atomics only. A wrong guess costs time, never a
 * request: who is not waiting is told to look when it matters.
 */
#ifndef URINGFS_PLACEMENT_H
#define URINGFS_PLACEMENT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct placement;
struct server;

/** placement_create() - Return 0 or -ENOMEM. Thread: main. */
int placement_create(struct placement **ret_p);
void placement_destroy(struct placement *p); /* NULL allowed */
/** placement_waits() - whether thread @index is to wait for requests now. */
bool placement_waits(const struct placement *p, unsigned index);
/**
 * placement_taken() - a request of process @pid was taken by thread @index
 * @together: others were there with it
 * Return: the thread that must look for requests because it is the leader now; threads_count: all of
 * them; -1: nothing changes.
 */
int placement_taken(struct server *srv, unsigned index, pid_t pid, bool together);
/** placement_ended() - it has been answered. */
void placement_ended(struct placement *p);
/** placement_changes() - how often the leader was changed or given up, for the statistics. */
uint64_t placement_changes(const struct placement *p);

#endif
