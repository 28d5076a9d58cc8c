/* SPDX-License-Identifier: MIT */
#include "request_pool.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#define PAGE 4096u
/** Registered buffers are pinned memory: at most this much for the whole daemon. */
#define PINNED_MAX (64u << 20)
/** Requests that ring entries leave to /dev/fuse, by which only FORGETs and INTERRUPTs come then. */
#define DEV_MIN 2u
/** Arguments, and one page in front of the payload for the header of a WRITE. */
#define SLOT_HEAD (REQUEST_ARGS_SIZE + PAGE)

static struct request *add(struct server_thread *t)
{
	struct request *r = calloc(1, sizeof(*r));
	char *memory;

	if (!r)
		return NULL;
	memory = mmap(NULL, t->slot_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED) {
		free(r);
		return NULL;
	}
	r->thread = t;
	r->args_buf = memory;
	r->payload = memory + SLOT_HEAD;
	r->payload_size = t->slot_size - SLOT_HEAD;
	r->buf_index = r->slot = -1;
	r->next_all = t->requests;
	t->requests = r;
	t->requests_count++;
	return r;
}

static struct request *free_take(struct server_thread *t)
{
	struct request *r = t->requests_free;

	t->requests_free = r->next_free;
	t->requests_free_count--;
	return r;
}

/** register_some() - the first of the free list, which are used most, as the ring's registered buffers. */
static void register_some(struct server_thread *t, unsigned count)
{
	struct iovec iov[64];
	unsigned most = PINNED_MAX / t->server->threads_count / (unsigned)t->slot_size, n = 0;
	struct request *r;

	if (most > count)
		most = count;
	if (most > 64)
		most = 64;
	for (r = t->requests_free; r && n < most; r = r->next_free)
		iov[n++] = (struct iovec){ r->payload, r->payload_size };
	if (!n || ring_register_buffers(t->ring, iov, n) < 0)
		return; /* refused (memory lock limit): they work unregistered; the features line says so */
	t->registered_count = n;
	t->buffers_version++;
	n = 0;
	for (r = t->requests_free; r && n < t->registered_count; r = r->next_free)
		r->buf_index = (int32_t)n++;
}

int request_pool_slots(struct server_thread *t, unsigned count)
{
	struct iovec *iov = calloc(count ? count : 1, sizeof(*iov));
	int res;

	if (!iov)
		return -ENOMEM;
	for (struct request *r = t->requests; r; r = r->next_all)
		r->buf_index = -1;
	t->registered_count = 0;
	t->buffers_version++;
	res = ring_register_buffers(t->ring, iov, count);
	free(iov);
	if (!count || res < 0)
		register_some(t, t->requests_count);
	return count ? res : 0;
}

int request_pool_create(struct server_thread *t, unsigned count, size_t payload_size)
{
	t->slot_size = SLOT_HEAD + (payload_size + PAGE - 1) / PAGE * PAGE;
	for (unsigned n = 0; n < count; n++) {
		struct request *r = add(t);
		if (!r)
			return -ENOMEM;
		request_pool_put(r);
	}
	register_some(t, count);
	return 0;
}

void request_pool_destroy(struct server_thread *t)
{
	while (t->requests) {
		struct request *r = t->requests;
		t->requests = r->next_all;
		(void)munmap(r->args_buf, t->slot_size); /* a whole mapping */
		free(r);
	}
	t->requests_free = NULL;
	t->requests_free_count = 0;
}

struct request *request_pool_get(struct channel *c)
{
	struct server_thread *t = c->thread;
	struct request *r = t->requests_free;

	if (r)
		free_take(t);
	else if (t->parked >= t->requests_count / 2 && t->requests_count < REQUESTS_MAX)
		r = add(t);
	if (!r)
		return NULL;
	r->channel = c;
	r->mount = c->mount;
	return r;
}

void request_pool_put(struct request *r)
{
	struct server_thread *t = r->thread;

	r->next_free = t->requests_free;
	t->requests_free = r;
	t->requests_free_count++;
}

struct request *request_pool_keep(struct channel *c)
{
	struct server_thread *t = c->thread;
	struct request *r;

	/* those that other threads have borrowed with their entries are missing here: only a count of the free ones tells */
	r = t->requests_free_count > DEV_MIN ? free_take(t) : add(t);
	if (!r)
		return NULL;
	t->requests_kept++;
	r->channel = c;
	r->mount = c->mount;
	return r;
}

void request_pool_unkeep(struct request *r)
{
	r->thread->requests_kept--;
	r->entry = NULL;
	request_pool_put(r);
}

void request_pool_leave(struct request *r)
{
	struct server_thread *t = r->thread;
	struct request **at = &t->requests;

	while (*at != r)
		at = &(*at)->next_all;
	*at = r->next_all;
	t->requests_count--;
	t->requests_kept--;
	r->buf_index = -1; /* of that thread's ring */
}

void request_pool_join(struct request *r, struct channel *c)
{
	struct server_thread *t = c->thread;

	r->thread = t;
	r->channel = c;
	r->next_all = t->requests;
	t->requests = r;
	t->requests_count++;
	t->requests_kept++;
}
