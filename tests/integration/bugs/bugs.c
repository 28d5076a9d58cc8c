/* SPDX-License-Identifier: MIT */
/*
 * bugs.c - the daemon with one deliberate bug, for `prove`
 *
 * This program is uringfs itself, linked with --wrap: what is named __wrap_x here is called in the place of x. So a bug
 * changes a request before its handler sees it (dispatch_check()), or its reply before the kernel gets it (the transport's
 * reply()), or what was agreed upon in INIT, or the options; nothing of that is in the program that is installed.
 *
 * BROKEN names the bug: one of bugs_requests.c, bugs_replies.c, bugs_calls.c, or one of these with a value
 *   errno:EOLD:ENEW   replies with the one error say the other
 *   fail:OPCODE:ENAME a request of that opcode fails, fake:OPCODE it does nothing and succeeds
 *   lost:OPCODE       successes of that opcode are lost: the caller gets EIO, and the daemon hears that nobody waits
 *   init:BIT          INIT is answered without this bit
 *   option:WORD       the option WORD (with or without a value) is not heard, option:WORD=VALUE another value is
 * Empty: no bug. A name that does not exist ends the program.
 */
#include "bugs.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/dispatch.h"
#include "fs/libfuse_io.h"
#include "fs/options.h"
#include "fs/transport.h"

int __real_dispatch_check(const struct request *r, const struct opcode_row **ret_row);
int __wrap_dispatch_check(const struct request *r, const struct opcode_row **ret_row);
ssize_t __real_libfuse_io_writev(int fd, const struct iovec *iov, int count);
ssize_t __wrap_libfuse_io_writev(int fd, const struct iovec *iov, int count);
int __real_options_parse(struct options *o, int argc, char **argv, char *err, size_t err_size);
int __wrap_options_parse(struct options *o, int argc, char **argv, char *err, size_t err_size);

static const struct bug *chosen;
static char text[128];          /* BROKEN, cut at its colons */
static const char *word[3];     /* the parts */
static unsigned words;
static uint64_t faked[64];      /* unique of requests that are to succeed without their handler, by a hash of it */
static uint32_t faked_size[64];

static int error_named(const char *name)
{
	for (int e = 1; e < 134; e++)
		if (strerrorname_np(e) && !strcmp(strerrorname_np(e), name))
			return e;
	fprintf(stderr, "bugs: no error %s\n", name);
	exit(1);
}

static bool is(const char *kind)
{
	return words && !strcmp(word[0], kind);
}

__attribute__((constructor)) static void choose(void)
{
	static const char *const general[] = { "errno", "fail", "fake", "lost", "init", "option" };
	const char *name = getenv("BROKEN");

	if (!name || !name[0])
		return;
	snprintf(text, sizeof(text), "%s", name);
	for (char *p = text, *part; words < 3 && (part = strsep(&p, ":"));)
		word[words++] = part;
	for (size_t n = 0; n < sizeof(general) / sizeof(*general); n++)
		if (words > 1 && is(general[n]))
			return;
	chosen = words == 1 ? bug_of_requests(name) : NULL;
	if (!chosen)
		chosen = words == 1 ? bug_of_replies(name) : NULL;
	if (!chosen)
		chosen = words == 1 ? bug_of_calls(name) : NULL;
	if (!chosen) {
		fprintf(stderr, "bugs: there is no bug '%s'\n", name);
		exit(1);
	}
}

static bool concerns(const struct bug *b, uint32_t opcode)
{
	if (!b->opcode[0])
		return true;
	for (unsigned n = 0; n < BUG_OPCODES && b->opcode[n]; n++)
		if (b->opcode[n] == opcode)
			return true;
	return false;
}

/* ---- replies ------------------------------------------------------------------- */

extern const struct transport __real_transport_dev, __real_transport_uring;
struct transport __wrap_transport_dev, __wrap_transport_uring;

static void change_answer(struct request *r, struct fuse_out_header *out, struct iovec *body)
{
	struct answer a = { .r = r, .error = -out->error, .body = body->iov_base, .size = body->iov_len };

	if (is("errno") && words == 3 && a.error == error_named(word[1]))
		a.error = error_named(word[2]);
	if (chosen && chosen->answer && concerns(chosen, r->opcode))
		chosen->answer(&a);
	out->error = -a.error;
	body->iov_base = a.error ? NULL : a.body;
	body->iov_len = a.error ? 0 : a.size;
	out->len = (uint32_t)(sizeof(*out) + body->iov_len);
}

static int reply(struct request *r, const struct iovec *iov, int count,
		 int (*real)(struct request *, const struct iovec *, int))
{
	static char nothing[4096];
	struct fuse_out_header out = *(const struct fuse_out_header *)iov[0].iov_base;
	unsigned slot = (unsigned)(out.unique / 2 % 64);
	struct iovec ours[2] = { { &out, sizeof(out) }, { NULL, 0 } };

	if (!out.error && is("lost") && words == 2 && !strcmp(dispatch_opcode_name(r->opcode), word[1])) {
		out = (struct fuse_out_header){ .len = sizeof(out), .error = -EIO, .unique = out.unique };
		(void)real(r, ours, 1); /* the caller shall not hang */
		return -ENOENT;
	}
	if (count > 1)
		ours[1] = iov[1];
	/* libfuse's, and data that are in the caller's pages already; none of the bugs is about those */
	if (count > 2 || (count == 1 && out.len > sizeof(out)))
		return real(r, iov, count);
	if (faked[slot] == out.unique && out.unique) {
		out.error = 0;
		ours[1] = (struct iovec){ nothing, faked_size[slot] };
		if (r->opcode == FUSE_WRITE)
			((struct fuse_write_out *)(void *)nothing)->size = faked_size[slot], ours[1].iov_len = sizeof(struct fuse_write_out);
		out.len = (uint32_t)(sizeof(out) + ours[1].iov_len);
		faked[slot] = 0;
	}
	change_answer(r, &out, &ours[1]);
	return real(r, ours, ours[1].iov_len ? 2 : 1);
}

static int reply_dev(struct request *r, const struct iovec *iov, int count)
{
	return reply(r, iov, count, __real_transport_dev.reply);
}

static int reply_uring(struct request *r, const struct iovec *iov, int count)
{
	return reply(r, iov, count, __real_transport_uring.reply);
}

/** end_uring() - with the bug entry_lost now and then an entry is never given back. */
static void end_uring(struct request *r)
{
	static _Atomic unsigned count;

	if (!is("entry_lost") || atomic_fetch_add(&count, 1) % 400 != 399)
		__real_transport_uring.end(r);
}

/** The transports as all others see them: the daemon's, with our functions. */
__attribute__((constructor)) static void our_transports(void)
{
	__wrap_transport_dev = __real_transport_dev;
	__wrap_transport_dev.reply = reply_dev;
	__wrap_transport_uring = __real_transport_uring;
	__wrap_transport_uring.reply = reply_uring;
	__wrap_transport_uring.end = end_uring;
}

/* ---- requests ------------------------------------------------------------------ */

/** fake() - the request succeeds with a body of zeros, of a WRITE with its size. Return what makes request_receive() end it. */
static int fake(const struct request *r, uint32_t size)
{
	unsigned slot = (unsigned)(r->in->unique / 2 % 64);

	faked_size[slot] = size;
	faked[slot] = r->in->unique;
	return -ENOSYS;
}

static uint32_t size_of_answer(const struct request *r)
{
	switch (r->opcode) {
	case FUSE_WRITE: return ((const struct fuse_write_in *)r->arg)->size;
	case FUSE_POLL: return sizeof(struct fuse_poll_out);
	case FUSE_IOCTL: return sizeof(struct fuse_ioctl_out);
	case FUSE_GETLK: return sizeof(struct fuse_lk_out);
	case FUSE_STATFS: return sizeof(struct fuse_statfs_out);
	default: return 0;
	}
}

int __wrap_dispatch_check(const struct request *r, const struct opcode_row **ret_row)
{
	int res = __real_dispatch_check(r, ret_row), ask = ASK_GO_ON;

	if (res < 0 && !(r->opcode == FUSE_POLL && is("fake")))
		return res;
	if (chosen && chosen->ask && concerns(chosen, r->opcode))
		ask = chosen->ask((struct request *)r, (void *)r->arg);
	if (words > 1 && (is("fake") || is("fail")) && !strcmp(dispatch_opcode_name(r->opcode), word[1]))
		ask = is("fake") ? ASK_FAKE : -error_named(words == 3 ? word[2] : "EIO");
	if (ask == ASK_FAKE)
		return fake(r, size_of_answer(r));
	return ask < 0 ? ask : res;
}

/* ---- INIT and options ------------------------------------------------------------ */

ssize_t __wrap_libfuse_io_writev(int fd, const struct iovec *iov, int count)
{
	struct fuse_init_out *out = count == 2 && iov[1].iov_len == sizeof(*out) ? iov[1].iov_base : NULL;

	if (out && out->major == FUSE_KERNEL_VERSION && is("init")) {
		uint64_t bit = 1ull << strtoul(word[1], NULL, 10);
		out->flags &= ~(uint32_t)bit;
		out->flags2 &= ~(uint32_t)(bit >> 32);
	}
	if (out && out->major == FUSE_KERNEL_VERSION && chosen && chosen->init)
		chosen->init(out);
	return __real_libfuse_io_writev(fd, iov, count);
}

/** without() - the comma list @list without the option, or with another value, in new memory. */
static char *without(const char *list, const char *option)
{
	char *copy = strdup(list), *rest = copy, *one, *out = calloc(1, strlen(list) + strlen(option) + 8);
	size_t name = strcspn(option, "=");

	while ((one = strsep(&rest, ","))) {
		bool it = !strncmp(one, option, name) && (!one[name] || one[name] == '=');
		if (it && !option[name])
			continue;
		if (*out)
			strcat(out, ",");
		strcat(out, it ? option : one);
	}
	free(copy);
	return out;
}

int __wrap_options_parse(struct options *o, int argc, char **argv, char *err, size_t err_size)
{
	if (is("option"))
		for (int n = 1; n < argc; n++)
			if (!strcmp(argv[n - 1], "-o"))
				argv[n] = without(argv[n], word[1]); /* lives as long as the program */
	return __real_options_parse(o, argc, argv, err, err_size);
}
