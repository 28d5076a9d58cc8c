/* SPDX-License-Identifier: MIT */
/* workers.h - a bounded pool of threads that may block, started on demand. */
#ifndef URINGFS_WORKERS_H
#define URINGFS_WORKERS_H

#include <sched.h>
#include <stdbool.h>

#include "backend.h"

#define WORKERS_MAX 256u

struct workers;

/**
 * workers_create() - an empty pool; makes no thread
 * @threads_max: 1..WORKERS_MAX
 * @cpus: where the threads may run (a ring thread that starts one may be pinned)
 * @done: called on the worker with the op whose res is set; hands it to its ring
 * Thread: main.  Return: 0; -ENOMEM
 */
int workers_create(unsigned threads_max, const cpu_set_t *cpus, void (*done)(struct op *op), struct workers **ret_w);

/** workers_destroy() - join all threads. The queue must be empty. NULL allowed. Thread: main. */
void workers_destroy(struct workers *w);

/**
 * workers_submit() - run op_row(op)->sys(op) on a worker, in order of submission
 * @op: creds normalized; borrowed until done
 * Thread: any. Does not wait for the op, but may start a thread.
 * Return: 0; -EAGAIN no thread could be made and none exists: done is not called
 */
int workers_submit(struct workers *w, struct op *op);

/** workers_cancel() - take @op back from the queue. Thread: any.
 *  Return: true: it will not run, done is not called; false: it runs or is done. */
bool workers_cancel(struct workers *w, struct op *op);

/** workers_stats() - figures of now. Thread: any. */
void workers_stats(struct workers *w, struct worker_stats *ret);

#endif
