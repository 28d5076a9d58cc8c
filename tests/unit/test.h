/* SPDX-License-Identifier: MIT */
/* test.h - checks that print both values. A test program returns test_end(): 0 pass, 1 fail; 77 skip. */
#ifndef URINGFS_UNIT_TEST_H
#define URINGFS_UNIT_TEST_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int test_failures __attribute__((unused));

static inline void test_fail(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: %s\n", file, line, what);
	test_failures++;
}

static inline void test_compare(const char *file, int line, const char *text, bool ok, long long a, long long b)
{
	char what[512];

	if (ok)
		return;
	snprintf(what, sizeof(what), "%s: left %lld (0x%llx), right %lld (0x%llx)", text, a, (unsigned long long)a, b,
		 (unsigned long long)b);
	test_fail(file, line, what);
}

static inline void test_compare_text(const char *file, int line, const char *text, const char *a, const char *b)
{
	char what[1024];

	if (a && b && strcmp(a, b) == 0)
		return;
	snprintf(what, sizeof(what), "%s: left '%s', right '%s'", text, a ? a : "(null)", b ? b : "(null)");
	test_fail(file, line, what);
}

#define CHECK(cond) ((cond) ? (void)0 : test_fail(__FILE__, __LINE__, "not true: " #cond))
#define CHECK_OP(a, op, b)                                                                          \
	do {                                                                                        \
		long long check_a_ = (long long)(a), check_b_ = (long long)(b);                     \
		test_compare(__FILE__, __LINE__, #a " " #op " " #b, check_a_ op check_b_, check_a_, \
			     check_b_);                                                             \
	} while (0)
#define CHECK_EQ(a, b) CHECK_OP(a, ==, b)
#define CHECK_NE(a, b) CHECK_OP(a, !=, b)
#define CHECK_GE(a, b) CHECK_OP(a, >=, b)
#define CHECK_LE(a, b) CHECK_OP(a, <=, b)
#define CHECK_TEXT(a, b) test_compare_text(__FILE__, __LINE__, #a " is " #b, (a), (b))
/** For what the rest of the test cannot do without. */
#define REQUIRE(cond)                                                            \
	do {                                                                     \
		if (!(cond)) {                                                   \
			test_fail(__FILE__, __LINE__, "needed: " #cond);         \
			exit(1);                                                 \
		}                                                                \
	} while (0)

static inline _Noreturn void test_skip(const char *why)
{
	printf("SKIP: %s\n", why);
	exit(77);
}

static inline int test_end(void)
{
	if (test_failures)
		fprintf(stderr, "%d checks failed\n", test_failures);
	return test_failures ? 1 : 0;
}

#endif
