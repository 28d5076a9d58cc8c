/* SPDX-License-Identifier: MIT */
/* inject.h - test results put in the place of real ones: "KIND:NTH:RES[,..]". */
#ifndef URINGFS_INJECT_H
#define URINGFS_INJECT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INJECT_RULES_MAX 32u

struct inject_rule {
	uint16_t kind; /* enum op_kind */
	bool and_later;
	uint64_t nth; /* from 1 */
	int32_t res;
	_Atomic uint64_t seen; /* ops of that kind so far, in all rings */
};

struct inject {
	unsigned rules_count;
	struct inject_rule rule[INJECT_RULES_MAX];
};

/**
 * inject_parse() - read the rules
 * @text: "KIND:NTH:RES" or "KIND:NTH+:RES", comma-separated; RES a number or "-ENAME"; NULL: none
 * @err: one line, on failure
 * Thread: main.
 * Return: 0; -EINVAL
 */
int inject_parse(const char *text, struct inject *in, char *err, size_t err_size);

/**
 * inject_match() - count one op of @kind and see whether its result is to be replaced
 * @ret_res: the result, when true
 * Thread: any.
 */
bool inject_match(struct inject *in, unsigned kind, int32_t *ret_res);

#endif
