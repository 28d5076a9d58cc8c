/* SPDX-License-Identifier: MIT */
/* inject.c - see inject.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend.h"
#include "inject.h"

static int errno_by_name(const char *name)
{
	for (int e = 1; e < 134; e++) {
		const char *known = strerrorname_np(e);

		if (known && strcmp(known, name) == 0)
			return e;
	}
	return 0;
}

static bool parse_res(const char *text, int32_t *ret)
{
	char *end;
	long n;

	if (text[0] == '-' && text[1] == 'E') {
		*ret = -errno_by_name(text + 1);
		return *ret != 0;
	}
	n = strtol(text, &end, 10);
	*ret = (int32_t)n;
	return end != text && *end == '\0' && n >= INT32_MIN && n <= INT32_MAX;
}

static bool parse_kind(const char *text, uint16_t *ret)
{
	for (unsigned i = 0; i < OP_KINDS_COUNT; i++) {
		if (strcmp(op_kind_name((enum op_kind)i), text) == 0) {
			*ret = (uint16_t)i;
			return true;
		}
	}
	return false;
}

static bool parse_rule(char *text, struct inject_rule *rule)
{
	char *save = NULL, *end;
	char *kind = strtok_r(text, ":", &save);
	char *nth = strtok_r(NULL, ":", &save);
	char *res = strtok_r(NULL, ":", &save);

	if (!res || strtok_r(NULL, ":", &save) || !parse_kind(kind, &rule->kind) || !parse_res(res, &rule->res))
		return false;
	rule->nth = strtoull(nth, &end, 10);
	rule->and_later = *end == '+';
	return end != nth && end[rule->and_later] == '\0' && rule->nth > 0;
}

int inject_parse(const char *text, struct inject *in, char *err, size_t err_size)
{
	memset(in, 0, sizeof(*in));
	for (const char *p = text ? text : ""; *p;) {
		size_t len = strcspn(p, ",");
		char one[64];

		snprintf(one, sizeof(one), "%.*s", (int)len, p);
		if (len >= sizeof(one) || in->rules_count == INJECT_RULES_MAX ||
		    !parse_rule(one, &in->rule[in->rules_count])) {
			snprintf(err, err_size, "bad injection rule '%.*s': write KIND:NTH:RES or KIND:NTH+:RES, "
				 "RES a number or a name such as -EIO, at most %u rules", (int)len, p, INJECT_RULES_MAX);
			return -EINVAL;
		}
		in->rules_count++;
		p += len + (p[len] == ',');
	}
	return 0;
}

bool inject_match(struct inject *in, unsigned kind, int32_t *ret_res)
{
	bool hit = false;

	for (unsigned i = 0; i < in->rules_count; i++) {
		struct inject_rule *rule = &in->rule[i];
		uint64_t n;

		if (rule->kind != kind)
			continue;
		n = atomic_fetch_add_explicit(&rule->seen, 1, memory_order_relaxed) + 1;
		if (!hit && (n == rule->nth || (rule->and_later && n > rule->nth))) {
			*ret_res = rule->res;
			hit = true;
		}
	}
	return hit;
}
