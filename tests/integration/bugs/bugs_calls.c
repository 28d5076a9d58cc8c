/* SPDX-License-Identifier: MIT */
/* bugs_calls.c - bugs of single functions of the daemon: start, end, messages, statistics, proofs, submounts. */
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "backend/durability.h"
#include "backend/file_check.h"
#include "backend/util/log.h"
#include "backend/watch.h"
#include "bugs.h"
#include "fs/daemon.h"
#include "fs/libfuse_io.h"
#include "fs/notify.h"
#include "fs/report.h"
#include "fs/request.h"
#include "fs/session.h"
#include "fs/submount.h"
#include "fs/transport_uring.h"
#include "fs/zero_copy.h"

static const char *const names[] = { "status_zero", "status_bad", "end_lost", "foreground", "unmount_lost", "abort_lost", "words_lost",
				     "statistics_lost", "start_line_lost", "watch_lost", "submounts_lost",
				     "kick_lost", "sync_on_the_spot", "class_kept", "restless", "ends_early", "around_empty", "around_flip",
				     "attributes_kept", "attributes_with_pages", "pages_kept", "waits_always", "kinds_alike" };

static bool is(const char *name)
{
	const char *chosen = getenv("BROKEN");

	return chosen && !strcmp(chosen, name);
}

const struct bug *bug_of_calls(const char *name)
{
	static struct bug found;

	for (size_t n = 0; n < sizeof(names) / sizeof(*names); n++)
		if (!strcmp(names[n], name)) {
			found.name = names[n];
			return &found;
		}
	return NULL;
}

/** WRAP() - of a function without a result: not called with the bug. */
#define WRAP(bug, name, params, args)                   \
	void __real_##name params;                      \
	void __wrap_##name params;                      \
	void __wrap_##name params                       \
	{                                               \
		if (!is(bug))                           \
			__real_##name args;             \
	}

WRAP("statistics_lost", report_write, (const struct server *srv), (srv))
WRAP("start_line_lost", report_start, (const struct server *srv), (srv))
WRAP("submounts_lost", submount_scan, (struct server *srv), (srv))
WRAP("kick_lost", uring_kick, (struct uring_channel *u), (u))
WRAP("watch_lost", watch_take, (struct watch *w, watch_found_fn found, void *arg), (w, found, arg))

/** pages_too() - the pages of @nodeid are dropped on the spot. */
static void pages_too(struct mount *m, uint64_t nodeid)
{
	struct fuse_notify_inval_inode_out body = { .ino = nodeid };
	struct fuse_out_header head = { .len = sizeof(head) + sizeof(body), .error = FUSE_NOTIFY_INVAL_INODE };
	struct iovec iov[2] = { { &head, sizeof(head) }, { &body, sizeof(body) } };

	(void)libfuse_io_writev(session_fd(m), iov, 2);
}

/* attributes_kept: the kernel is told of a file that it does not know. attributes_with_pages: the thread that serves waits for the file's pages. */
void __real_notify_attributes(struct mount *m, uint64_t nodeid);
void __wrap_notify_attributes(struct mount *m, uint64_t nodeid);
void __wrap_notify_attributes(struct mount *m, uint64_t nodeid)
{
	if (is("attributes_with_pages"))
		pages_too(m, nodeid);
	else
		__real_notify_attributes(m, is("attributes_kept") ? UINT64_MAX : nodeid);
}

/* pages_kept: the same for some pages of a file. */
void __real_notify_pages(struct mount *m, uint64_t nodeid, uint64_t off, uint64_t len, struct ring *ring, struct notification *n);
void __wrap_notify_pages(struct mount *m, uint64_t nodeid, uint64_t off, uint64_t len, struct ring *ring, struct notification *n);
void __wrap_notify_pages(struct mount *m, uint64_t nodeid, uint64_t off, uint64_t len, struct ring *ring, struct notification *n)
{
	__real_notify_pages(m, is("pages_kept") ? UINT64_MAX : nodeid, off, len, ring, n);
}

/* waits_always: for a notification, whatever the kernel holds meanwhile, and with the last ring entry. */
bool __real_notify_wait_begin(struct request *r);
void __real_notify_wait_end(struct request *r);
bool __wrap_notify_wait_begin(struct request *r);
void __wrap_notify_wait_end(struct request *r);
bool __wrap_notify_wait_begin(struct request *r)
{
	return is("waits_always") || __real_notify_wait_begin(r);
}

void __wrap_notify_wait_end(struct request *r)
{
	if (!is("waits_always"))
		__real_notify_wait_end(r);
}

int __real_ring_wait(struct ring *r, bool sleep);
int __wrap_ring_wait(struct ring *r, bool sleep);
/** restless: looks ten times a second. class_kept: of class SCHED_IDLE always, whoever ends that. */
int __wrap_ring_wait(struct ring *r, bool sleep)
{
	const struct timespec tenth = { .tv_nsec = 100000000 };
	const struct sched_param none = { 0 };

	if (is("class_kept") && sched_getscheduler(0) != SCHED_IDLE && sched_setscheduler(0, SCHED_IDLE, &none) < 0)
		abort();
	if (!sleep || !is("restless"))
		return __real_ring_wait(r, sleep);
	(void)nanosleep(&tenth, NULL);
	return __real_ring_wait(r, false);
}

/** ends_early - the last byte that a short READ brings is cleared with what it does not fill of the caller's pages: tests/vm/zero-copy. */
void __real_zero_copy_clear(struct request *r, size_t from, size_t len, op_done_fn done);
void __wrap_zero_copy_clear(struct request *r, size_t from, size_t len, op_done_fn done);
void __wrap_zero_copy_clear(struct request *r, size_t from, size_t len, op_done_fn done)
{
	if (is("ends_early") && from)
		__real_zero_copy_clear(r, from - 1, len + 1, done);
	else
		__real_zero_copy_clear(r, from, len, done);
}

/** around_empty - what was read by way of memory does not reach the caller's pages, but for its first byte. */
void __real_zero_copy_store(struct request *r, size_t len, op_done_fn done);
void __wrap_zero_copy_store(struct request *r, size_t len, op_done_fn done);
void __wrap_zero_copy_store(struct request *r, size_t len, op_done_fn done)
{
	__real_zero_copy_store(r, is("around_empty") ? 1 : len, done);
}

/** around_flip - what goes to the source by way of memory has one bit changed. */
static op_done_fn loaded;
static void flipped(struct op *op)
{
	struct request *r = op->owner;

	((uint8_t *)r->payload)[0] ^= 1;
	loaded(op);
}

void __real_zero_copy_load(struct request *r, size_t len, op_done_fn done);
void __wrap_zero_copy_load(struct request *r, size_t len, op_done_fn done);
void __wrap_zero_copy_load(struct request *r, size_t len, op_done_fn done)
{
	loaded = done; /* always the same */
	__real_zero_copy_load(r, len, is("around_flip") ? flipped : done);
}

int __real_main(int argc, char **argv);
int __wrap_main(int argc, char **argv);
int __wrap_main(int argc, char **argv)
{
	int res = __real_main(argc, argv);

	while (is("end_lost") && getppid() == 1)
		pause(); /* the mount has gone, the daemon stays */
	return is("status_zero") ? 0 : is("status_bad") ? res + 1 : res;
}

int __real_daemon_start(struct daemon *d, bool foreground);
int __wrap_daemon_start(struct daemon *d, bool foreground);
int __wrap_daemon_start(struct daemon *d, bool foreground)
{
	return __real_daemon_start(d, foreground && !is("foreground"));
}

int __real_session_unmount(struct mount *m, bool lazy);
int __wrap_session_unmount(struct mount *m, bool lazy);
int __wrap_session_unmount(struct mount *m, bool lazy)
{
	return is("unmount_lost") ? 0 : __real_session_unmount(m, lazy);
}

bool __real_session_abort(const struct mount *m);
bool __wrap_session_abort(const struct mount *m);
bool __wrap_session_abort(const struct mount *m)
{
	return is("abort_lost") ? true : __real_session_abort(m);
}

/** Each fsync is made by the serving thread itself, whatever there is to write. */
void __real_durability_sync(struct sync_call *c);
void __wrap_durability_sync(struct sync_call *c);
void __wrap_durability_sync(struct sync_call *c)
{
	c->quick |= is("sync_on_the_spot");
	__real_durability_sync(c);
}

/** Whatever a file is made of: overwriting it changes no metadata. */
int __real_file_check(int fd, bool cow, struct proof_extents *ret);
int __wrap_file_check(int fd, bool cow, struct proof_extents *ret);
int __wrap_file_check(int fd, bool cow, struct proof_extents *ret)
{
	int res = __real_file_check(fd, cow, ret);
	struct stat st;

	if (is("kinds_alike") && res == 0 && !ret->good && fstat(fd, &st) == 0)
		*ret = (struct proof_extents){ .good = true, .size = (uint64_t)st.st_size, .blocks = (uint64_t)st.st_blocks, .count = 1,
					       .range = { { 0, (uint64_t)st.st_size } } };
	return res;
}

void __wrap_log_message(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
void __real_log_message(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
void __wrap_log_message(enum log_level level, const char *format, ...)
{
	char line[2048];
	va_list ap;

	if (is("words_lost"))
		return;
	va_start(ap, format);
	vsnprintf(line, sizeof(line), format, ap);
	va_end(ap);
	__real_log_message(level, "%s", line);
}
