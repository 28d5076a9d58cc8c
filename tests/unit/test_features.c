/* SPDX-License-Identifier: MIT */
/* test_features.c - the deny list, what the policy makes of it, and messages with a remedy. */
#include <errno.h>

#include "backend/features.h"
#include "faked.h"

static struct backend_config cfg;
static char err[2048];

static int try_create(struct backend **ret_b)
{
	err[0] = '\0';
	return backend_create(&cfg, ret_b, err, sizeof(err));
}

static bool has_word(const char *list, const char *word)
{
	size_t len = strlen(word);

	for (const char *p = list; (p = strstr(p, word)); p += len)
		if ((p == list || p[-1] == ' ' || p[-1] == ',') && (!p[len] || p[len] == ' ' || p[len] == ','))
			return true;
	return false;
}

static void test_parse(void)
{
	uint64_t denied = 99;

	CHECK_EQ(features_parse_deny(NULL, &denied, err, sizeof(err)), 0);
	CHECK_EQ(denied, 0);
	CHECK_EQ(features_parse_deny("msg_ring,read,", &denied, err, sizeof(err)), 0);
	CHECK_EQ(denied, UINT64_C(1) << FEATURE_MSG_RING | UINT64_C(1) << (FEATURE_KINDS + OP_READ));
	denied = 7;
	CHECK_EQ(features_parse_deny("msg_ring,rea", &denied, err, sizeof(err)), -EINVAL);
	CHECK_EQ(denied, 7); /* untouched on failure */
	CHECK(strstr(err, "'rea'") && strstr(err, "registered_files"));
	CHECK_EQ(features_parse_deny("readlink", &denied, err, sizeof(err)), -EINVAL); /* never in the ring */
	CHECK_EQ(features_parse_deny(features_known(), &denied, err, sizeof(err)), 0);
	CHECK(has_word(features_known(), "openat2") && has_word(features_known(), "ftruncate"));
	CHECK(!has_word(features_known(), "nop"));
}

static void test_places(void)
{
	struct backend *b = NULL;

	cfg.deny = NULL;
	CHECK_EQ(try_create(&b), 0);
	CHECK_EQ(backend_op_place(b, OP_READ), OP_PLACE_RING);
	CHECK_EQ(backend_op_place(b, OP_SETATTR), OP_PLACE_WORKER);
	CHECK_EQ(backend_op_place(b, OP_NAME_TO_HANDLE), OP_PLACE_INLINE);
	CHECK(has_word(backend_features_used(b), "read"));
	CHECK_TEXT(backend_features_denied(b), "");
	backend_destroy(b);
	cfg.deny = "read,fsync,cancel,single_issuer";
	CHECK_EQ(try_create(&b), 0);
	CHECK_EQ(backend_op_place(b, OP_READ), OP_PLACE_WORKER);
	CHECK_EQ(backend_op_place(b, OP_FSYNC), OP_PLACE_WORKER);
	CHECK_EQ(backend_op_place(b, OP_CANCEL), OP_PLACE_INLINE);
	CHECK_EQ(backend_op_place(b, OP_WRITE), OP_PLACE_RING);
	CHECK(has_word(backend_features_denied(b), "fsync"));
	CHECK(!has_word(backend_features_used(b), "fsync"));
	CHECK(!has_word(backend_features_used(b), "defer_taskrun")); /* needs the other */
	backend_destroy(b);
	cfg.deny = NULL;
	fake.missing_opcode = 55; /* IORING_OP_FTRUNCATE */
	CHECK_EQ(try_create(&b), 0);
	CHECK_EQ(backend_op_place(b, OP_FTRUNCATE), OP_PLACE_WORKER);
	CHECK(has_word(backend_features_missing(b), "ftruncate"));
	backend_destroy(b);
	fake.missing_opcode = -1;
	fake.refused_flags = IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQE32;
	CHECK_EQ(try_create(&b), 0);
	CHECK(has_word(backend_features_missing(b), "defer_taskrun"));
	CHECK(has_word(backend_features_missing(b), "cqe32"));
	CHECK(has_word(backend_features_used(b), "sqe128"));
	{
		struct ring *r = NULL;

		CHECK_EQ(ring_create(b, 0, &r), 0); /* asks for none of the refused */
		CHECK_EQ(ring_create(b, 0, &r), -EINVAL);
		CHECK_EQ(ring_create(b, 1, &r), -EINVAL);
		ring_destroy(r);
	}
	backend_destroy(b);
	fake.refused_flags = 0;
}

static void test_messages(void)
{
	struct backend *b = NULL;

	fake.queue_init_error = -ENOSYS;
	CHECK_EQ(try_create(&b), -ENOSYS);
	CHECK(strstr(err, "CONFIG_IO_URING") != NULL);
	fake.queue_init_error = -EPERM;
	CHECK_EQ(try_create(&b), -EPERM);
	CHECK(strstr(err, "kernel.io_uring_disabled=0") != NULL);
	fake.queue_init_error = 0;
	cfg.deny = "nonsense";
	CHECK_EQ(try_create(&b), -EINVAL);
	cfg.deny = NULL;
	cfg.entries = 4;
	CHECK_EQ(try_create(&b), -EINVAL);
	CHECK(strstr(err, "8 to 4096") != NULL);
	cfg = faked_config();
	cfg.inject = "read:1:-EIO";
	cfg.deny = "nop_inject";
	CHECK_EQ(try_create(&b), -EINVAL);
	CHECK(strstr(err, "inject") != NULL);
	CHECK(b == NULL);
}

int main(void)
{
	fake_reset();
	cfg = faked_config();
	test_parse();
	test_places();
	test_messages();
	return test_end();
}
