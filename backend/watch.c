/* SPDX-License-Identifier: MIT */
/* watch.c - see watch.h. */
#include "watch.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/fanotify.h>
#include <unistd.h>

#include "util/errno_util.h"

#define EVENTS (FAN_OPEN | FAN_MODIFY)

int watch_init(struct watch *w)
{
	w->pid = getpid();
	w->fd = (int)errno_result(fanotify_init(FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_NONBLOCK | FAN_UNLIMITED_MARKS | FAN_REPORT_FID, O_RDONLY));
	if (w->fd < 0)
		return w->fd;
	pthread_mutex_init(&w->lock, NULL);
	return 0;
}

void watch_fini(struct watch *w)
{
	if (w->fd < 0)
		return;
	(void)close(w->fd); /* its marks go with it */
	w->fd = -1;
	pthread_mutex_destroy(&w->lock);
}

/** take_id() - false: such a handle is not known here. */
static bool take_id(struct watch_id *id, int type, const unsigned char *bytes, uint32_t size)
{
	if (size > WATCH_HANDLE_MAX)
		return false;
	*id = (struct watch_id){ .type = type, .size = size };
	memcpy(id->handle, bytes, size);
	return true;
}

bool watch_same(const struct watch_id *a, const struct watch_id *b)
{
	return a->type == b->type && a->size == b->size && !memcmp(a->handle, b->handle, a->size);
}

int watch_add(struct watch *w, int fd, struct watch_id *ret_id)
{
	union {
		struct file_handle h;
		char room[sizeof(struct file_handle) + WATCH_HANDLE_MAX];
	} u = { .h.handle_bytes = WATCH_HANDLE_MAX };
	int mount_id, res;

	res = (int)errno_result(name_to_handle_at(fd, "", &u.h, &mount_id, AT_EMPTY_PATH));
	if (res < 0)
		return res;
	if (!take_id(ret_id, u.h.handle_type, u.h.f_handle, u.h.handle_bytes))
		return -EOVERFLOW;
	return (int)errno_result(fanotify_mark(w->fd, FAN_MARK_ADD, EVENTS, fd, NULL));
}

void watch_remove(struct watch *w, int fd)
{
	(void)fanotify_mark(w->fd, FAN_MARK_REMOVE, EVENTS, fd, NULL); /* see watch.h */
}

/** event_id() - the file that an event of @len bytes is about; false: it says none. */
static bool event_id(const char *event, size_t len, size_t at, struct watch_id *ret)
{
	struct fanotify_event_info_header info;
	struct file_handle h;
	const size_t handle = offsetof(struct fanotify_event_info_fid, handle);

	for (; at + sizeof(info) <= len; at += info.len) {
		memcpy(&info, event + at, sizeof(info));
		if (info.len < sizeof(info) || info.len > len - at)
			return false;
		if (info.info_type != FAN_EVENT_INFO_TYPE_FID || info.len < handle + sizeof(h))
			continue;
		memcpy(&h, event + at + handle, sizeof(h));
		return h.handle_bytes <= info.len - handle - sizeof(h) &&
		       take_id(ret, h.handle_type, (const unsigned char *)event + at + handle + sizeof(h), h.handle_bytes);
	}
	return false;
}

/** take_event() - @e: a copy of what @event begins with, which has no alignment behind another event */
static void take_event(const struct watch *w, const struct fanotify_event_metadata *e, const char *event, watch_found_fn found, void *arg)
{
	struct watch_id id;

	if (e->mask & FAN_Q_OVERFLOW)
		found(arg, NULL);
	else if (e->pid != w->pid)
		found(arg, event_id(event, e->event_len, e->metadata_len, &id) ? &id : NULL);
}

void watch_take(struct watch *w, watch_found_fn found, void *arg)
{
	char buf[4096];

	if (w->fd < 0)
		return;
	pthread_mutex_lock(&w->lock);
	for (;;) {
		ssize_t len = read(w->fd, buf, sizeof(buf));
		struct fanotify_event_metadata e;

		if (len < 0 && errno == EINTR)
			continue;
		if (len < 0 && errno != EAGAIN)
			found(arg, NULL); /* events may be lost */
		if (len <= 0)
			break;
		for (ssize_t at = 0; len - at >= (ssize_t)sizeof(e); at += e.event_len) {
			memcpy(&e, buf + at, sizeof(e));
			if (e.event_len < sizeof(e) || e.event_len > (size_t)(len - at))
				break;
			take_event(w, &e, buf + at, found, arg);
		}
	}
	pthread_mutex_unlock(&w->lock);
}
