/* SPDX-License-Identifier: MIT */
/* features.c - see features.h. */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "creds.h"
#include "features.h"
#include "op.h"
#include "util/uapi_io_uring.h"
#include "util/uapi_syscalls.h"

#define BIT(feature) (UINT64_C(1) << (feature))

static const char *const plain_names[FEATURE_KINDS] = {
#define X(e, n) n,
	FEATURES(X)
#undef X
};

/* The name of a feature, or NULL when that number stands for a kind the ring never runs. */
static const char *feature_name(unsigned feature)
{
	if (feature < FEATURE_KINDS)
		return plain_names[feature];
	if (!op_table[feature - FEATURE_KINDS].prep || feature == FEATURE_KINDS + OP_NOP)
		return NULL;
	return op_kind_name((enum op_kind)(feature - FEATURE_KINDS));
}

static void append_word(char *text, size_t size, const char *word, const char *between)
{
	size_t used = strlen(text);

	snprintf(text + used, size - used, "%s%s", used ? between : "", word);
}

static char known_text[1024];
static pthread_once_t known_once = PTHREAD_ONCE_INIT;

static void known_fill(void)
{
	for (unsigned i = 0; i < FEATURES_COUNT; i++)
		if (feature_name(i))
			append_word(known_text, sizeof(known_text), feature_name(i), ",");
}

const char *features_known(void)
{
	pthread_once(&known_once, known_fill);
	return known_text;
}

int features_parse_deny(const char *list, uint64_t *ret_denied, char *err, size_t err_size)
{
	uint64_t denied = 0;

	for (const char *p = list ? list : ""; *p;) {
		size_t len = strcspn(p, ",");
		unsigned i;

		for (i = 0; i < FEATURES_COUNT; i++) {
			const char *name = feature_name(i);

			if (name && strlen(name) == len && memcmp(name, p, len) == 0)
				break;
		}
		if (i == FEATURES_COUNT && len > 0) {
			snprintf(err, err_size, "unknown feature '%.*s'; valid are: %s", (int)len, p, features_known());
			return -EINVAL;
		}
		if (len > 0)
			denied |= BIT(i);
		p += len + (p[len] == ',');
	}
	*ret_denied = denied;
	return 0;
}

/* ---- questions to the kernel -------------------------------------------- */

static bool setup_works(unsigned flags)
{
	struct io_uring_params params = { .flags = flags };
	struct io_uring uring;

	if (io_uring_queue_init_params(4, &uring, &params) < 0)
		return false;
	io_uring_queue_exit(&uring);
	return true;
}

static uint64_t ask_setup(void)
{
	uint64_t have = 0;

	if (setup_works(IORING_SETUP_SQE128))
		have |= BIT(FEATURE_SQE128);
	if (setup_works(IORING_SETUP_CQE32))
		have |= BIT(FEATURE_CQE32);
	if (setup_works(IORING_SETUP_SUBMIT_ALL))
		have |= BIT(FEATURE_SUBMIT_ALL);
	if (setup_works(IORING_SETUP_SINGLE_ISSUER))
		have |= BIT(FEATURE_SINGLE_ISSUER);
	if (setup_works(IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG))
		have |= BIT(FEATURE_DEFER_TASKRUN);
	if (setup_works(IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG))
		have |= BIT(FEATURE_COOP_TASKRUN);
	if (URINGFS_LIBURING_NO_SQARRAY && setup_works(IORING_SETUP_NO_SQARRAY))
		have |= BIT(FEATURE_NO_SQARRAY);
	return have;
}

static bool nop_inject_works(struct io_uring *uring)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(uring);
	struct io_uring_cqe *cqe = NULL;
	bool works = false;

	if (!sqe)
		return false;
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = IORING_OP_NOP;
	sqe->fd = -1;
	sqe->rw_flags = IORING_NOP_INJECT_RESULT;
	sqe->len = 42;
	if (io_uring_submit_and_wait(uring, 1) >= 0 && io_uring_peek_cqe(uring, &cqe) == 0) {
		works = cqe->res == 42;
		io_uring_cqe_seen(uring, cqe);
	}
	return works;
}

static bool iowq_aff_works(struct io_uring *uring)
{
	cpu_set_t cpus;

	if (sched_getaffinity(0, sizeof(cpus), &cpus) < 0)
		return false;
	return io_uring_register_iowq_aff(uring, sizeof(cpus), &cpus) >= 0 && io_uring_unregister_iowq_aff(uring) >= 0;
}

static bool buffers_work(struct io_uring *uring)
{
	static char page[4096];
	struct iovec iov = { page, sizeof(page) };

	return io_uring_register_buffers(uring, &iov, 1) >= 0 && io_uring_unregister_buffers(uring) >= 0;
}

static uint64_t ask_register(struct io_uring *uring)
{
	unsigned limits[2] = { 0, 0 }; /* 0: only tell the present values */
	uint64_t have = 0;
	int id;

	if (io_uring_register_ring_fd(uring) == 1)
		have |= BIT(FEATURE_REGISTERED_FD);
	if (io_uring_register_files_sparse(uring, 8) >= 0)
		have |= BIT(FEATURE_REGISTERED_FILES);
	if (buffers_work(uring))
		have |= BIT(FEATURE_REGISTERED_BUFFERS);
	id = io_uring_register_personality(uring);
	if (id > 0 && io_uring_unregister_personality(uring, id) >= 0)
		have |= BIT(FEATURE_PERSONALITY);
	if (iowq_aff_works(uring))
		have |= BIT(FEATURE_IOWQ_AFF);
	if (io_uring_register_iowq_max_workers(uring, limits) >= 0)
		have |= BIT(FEATURE_IOWQ_MAX);
	if (nop_inject_works(uring))
		have |= BIT(FEATURE_NOP_INJECT);
	return have;
}

/** ask_syscalls() - a call that is there finds the descriptor bad; others have ENOSYS, or what a sandbox answers. */
static uint64_t ask_syscalls(void)
{
	struct uapi_xattr_args args = { 0 };
	uint64_t have = 0;

	if (syscall(SYS_getxattrat, -1, "0", 0, "user.0", &args, sizeof(args)) < 0 && errno == EBADF)
		have |= BIT(FEATURE_XATTR_AT);
	if (syscall(SYS_fchmodat2, -1, "", 0, AT_EMPTY_PATH) < 0 && errno == EBADF)
		have |= BIT(FEATURE_CHMOD_AT);
	return have;
}

static uint64_t ask_opcodes(struct io_uring *uring)
{
	struct io_uring_probe *probe = io_uring_get_probe_ring(uring);
	uint64_t have = 0;

	if (!probe) /* Linux before 5.6: nothing that we could use is certain */
		return 0;
	for (unsigned kind = 0; kind < OP_KINDS_COUNT; kind++) {
		const struct op_row *row = &op_table[kind];
		bool all = row->prep != NULL;

		for (unsigned i = 0; i < 2; i++)
			if (row->opcodes[i] >= 0 && !io_uring_opcode_supported(probe, row->opcodes[i]))
				all = false;
		if (all)
			have |= BIT(FEATURE_KINDS + kind);
	}
	/* the sender's completion is suppressed when all went well: needs CQE_SKIP_SUCCESS too */
	if (io_uring_opcode_supported(probe, IORING_OP_MSG_RING) && uring->features & IORING_FEAT_CQE_SKIP)
		have |= BIT(FEATURE_MSG_RING);
	io_uring_free_probe(probe);
	return have;
}

static int explain_setup(int res, char *err, size_t err_size)
{
	if (res == -ENOSYS)
		snprintf(err, err_size, "this kernel has no io_uring (needs Linux 5.11 or newer built with CONFIG_IO_URING)");
	else if (res == -EPERM)
		snprintf(err, err_size, "io_uring is forbidden: set kernel.io_uring_disabled=0 (sysctl), "
			 "or allow it in the seccomp filter of the container");
	else if (res == -ENOMEM)
		snprintf(err, err_size, "no memory for an io_uring: raise the memory lock limit (ulimit -l)");
	else
		snprintf(err, err_size, "cannot make an io_uring: %s", strerror(-res));
	return res;
}

static void fill_texts(struct features *f)
{
	for (unsigned i = 0; i < FEATURES_COUNT; i++) {
		const char *name = feature_name(i);

		if (!name)
			continue;
		if (f->denied >> i & 1)
			append_word(f->denied_text, sizeof(f->denied_text), name, " ");
		else if (features_has(f, i))
			append_word(f->used_text, sizeof(f->used_text), name, " ");
		else
			append_word(f->missing_text, sizeof(f->missing_text), name, " ");
	}
}

int features_probe(uint64_t denied, struct features *f, char *err, size_t err_size)
{
	struct io_uring_params params = { 0 };
	struct io_uring uring;
	int res = io_uring_queue_init_params(8, &uring, &params);

	if (res < 0)
		return explain_setup(res, err, err_size);
	memset(f, 0, sizeof(*f));
	f->have = ask_setup() | ask_register(&uring) | ask_opcodes(&uring);
	io_uring_queue_exit(&uring);
	if (creds_can_switch())
		f->have |= BIT(FEATURE_CALLER_CREDS);
	f->have |= ask_syscalls();
	f->denied = denied;
	f->have &= ~denied;
	/* one needs the other */
	if (!features_has(f, FEATURE_SINGLE_ISSUER))
		f->have &= ~BIT(FEATURE_DEFER_TASKRUN);
	fill_texts(f);
	return 0;
}
