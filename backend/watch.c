/* SPDX-License-Identifier: MIT */
/* watch.c - see watch.h. */
#include "watch.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/fanotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/errno_util.h"

int watch_init(struct watch *w)
{
	w->pid = getpid();
	w->fd = (int)errno_result(fanotify_init(FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_NONBLOCK | FAN_UNLIMITED_MARKS,
						O_RDONLY | O_CLOEXEC | O_LARGEFILE | O_NOATIME));
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

int watch_add(struct watch *w, int fd)
{
	return (int)errno_result(fanotify_mark(w->fd, FAN_MARK_ADD, FAN_OPEN, fd, NULL));
}

void watch_remove(struct watch *w, int fd)
{
	(void)fanotify_mark(w->fd, FAN_MARK_REMOVE, FAN_OPEN, fd, NULL); /* see watch.h */
}

static void take_event(const struct watch *w, const struct fanotify_event_metadata *e, watch_found_fn found, void *arg)
{
	struct stat st;

	if (e->mask & FAN_Q_OVERFLOW || e->fd < 0)
		found(arg, 0);
	else if (e->pid != w->pid)
		found(arg, fstat(e->fd, &st) == 0 ? (uint64_t)st.st_ino : 0);
	if (e->fd >= 0)
		(void)close(e->fd); /* read only */
}

void watch_take(struct watch *w, watch_found_fn found, void *arg)
{
	union {
		struct fanotify_event_metadata first;
		char bytes[4096];
	} buf;

	if (w->fd < 0)
		return;
	pthread_mutex_lock(&w->lock);
	for (;;) {
		ssize_t len = read(w->fd, &buf, sizeof(buf));
		const struct fanotify_event_metadata *e = &buf.first;

		if (len < 0 && errno == EINTR)
			continue;
		if (len < 0 && errno != EAGAIN)
			found(arg, 0); /* an event that could not be opened is lost */
		if (len <= 0)
			break;
		for (; FAN_EVENT_OK(e, len); e = FAN_EVENT_NEXT(e, len))
			take_event(w, e, found, arg);
	}
	pthread_mutex_unlock(&w->lock);
}
