/*
 * twins_xattr.c - extended attributes and ACLs, sound and malformed
 */
#include "twins.h"

#include <sys/xattr.h>

static const char *const names[] = { "user.a", "user.a", "user.b", "trusted.t", "security.s", "security.capability", "system.posix_acl_access",
				     "system.posix_acl_access", "system.posix_acl_default", "system.posix_acl_default", "system.other", "user.", "nothing", "" };

struct entry {
	uint16_t tag, perm;
	uint32_t id;
};

/* ACL entries of the xattr form: mostly in order and whole, now and then with one that does not belong. */
static size_t pick_acl(struct call *c, uint8_t *value)
{
	static const struct entry sound[] = { { 1, 6, ~0U }, { 2, 7, 1001 }, { 2, 4, 1002 }, { 4, 5, ~0U }, { 8, 7, 1001 }, { 8, 2, 1003 }, { 16, 7, ~0U }, { 32, 4, ~0U } };
	struct entry e[16];
	unsigned count = 0;
	uint64_t kind = pick(c, 100);
	uint32_t version = kind == 99 ? 3 : 2;

	for (unsigned n = 0; n < 8; n++) {
		bool always = sound[n].id == ~0U, masked = sound[n].tag == 16;

		if (kind < 20 ? always && !masked : always || chance(c, 50)) {
			e[count] = sound[n];
			e[count].perm = (uint16_t)pick(c, 8);
			count++;
		}
	}
	if (kind >= 90 && kind < 98 && count) {
		struct entry *bad = &e[pick(c, count)];
		uint64_t which = pick(c, 5);

		if (which == 0)
			bad->tag = 64;
		else if (which == 1)
			bad->perm = 9;
		else if (which == 2)
			bad->id = 77;
		else if (which == 3)
			count--;
		else
			count = 0;
	}
	memcpy(value, &version, sizeof(version));
	memcpy(value + sizeof(version), e, count * sizeof(*e));
	return sizeof(version) + count * sizeof(*e) - (kind == 98);
}

static size_t pick_value(struct call *c, const char *name, uint8_t *value)
{
	static const size_t sizes[] = { 0, 1, 5, 100, 1000, 4000, 65536, 65537 };
	/* VFS_CAP_REVISION_2, one capability */
	static const uint8_t capability[20] = { 1, 0, 0, 2, 0, 4 };
	uint64_t which = pick(c, chance(c, 10) ? 8 : 5), tag = pick(c, 100);

	if (strstr(name, "posix_acl") && chance(c, 95))
		return pick_acl(c, value);
	if (strstr(name, "capability") && chance(c, 80)) {
		memcpy(value, capability, sizeof(capability));
		return sizeof(capability);
	}
	stress_fill(value, tag, 0, sizes[which]);
	return sizes[which];
}

static void make_set(struct call *c)
{
	uint8_t *value = stress_alloc(1, 70000);
	const char *name = names[pick(c, sizeof(names) / sizeof(*names))];
	unsigned slot = pick_slot(c);
	char path[PATH_SIZE], full[PATH_SIZE + 64];
	int flags = chance(c, 20) ? XATTR_CREATE : chance(c, 20) ? XATTR_REPLACE : chance(c, 3) ? 4 : 0;
	size_t size = pick_value(c, name, value);
	bool open = chance(c, 40), follow = chance(c, 50);

	pick_path(c, path);
	snprintf(full, sizeof(full), "/proc/self/fd/%d/%s", c->a->top[c->side], path);
	say(c, " %s size %zu flags %d open %d %u follow %d", name, size, flags, open, slot, follow);
	if (open) {
		watch_fd(c, slot_fd(c, slot));
		say_result(c, fsetxattr(slot_fd(c, slot), name, value, size, flags));
	} else {
		watch_path(c, c->a->top[c->side], path);
		say_result(c, follow ? setxattr(full, name, value, size, flags) : lsetxattr(full, name, value, size, flags));
	}
	free(value);
}

static void make_get(struct call *c)
{
	uint8_t *value = stress_alloc(1, 70000);
	const char *name = names[pick(c, sizeof(names) / sizeof(*names))];
	unsigned slot = pick_slot(c);
	char path[PATH_SIZE], full[PATH_SIZE + 64];
	size_t size = chance(c, 60) ? 65536 : pick(c, 50);
	bool open = chance(c, 40);
	ssize_t n;

	pick_path(c, path);
	snprintf(full, sizeof(full), "/proc/self/fd/%d/%s", c->a->top[c->side], path);
	say(c, " %s size %zu open %d %u", name, size, open, slot);
	n = open ? fgetxattr(slot_fd(c, slot), name, value, size) : lgetxattr(full, name, value, size);
	say_result(c, n);
	if (n > 0 && size)
		say_data(c, value, (size_t)n);
	free(value);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void make_list(struct call *c)
{
	char path[PATH_SIZE], full[PATH_SIZE + 64], buf[4096], *name[64];
	size_t size = chance(c, 70) ? sizeof(buf) : pick(c, 20);
	unsigned count = 0;
	ssize_t n;

	pick_path(c, path);
	snprintf(full, sizeof(full), "/proc/self/fd/%d/%s", c->a->top[c->side], path);
	say(c, " %zu", size);
	if (c->a->role == ROLE_FSUID) /* has CAP_SYS_ADMIN, which FUSE does not tell: LIMITS */
		return;
	n = llistxattr(full, buf, size);
	say_result(c, n);
	if (n <= 0 || !size)
		return;
	for (char *p = buf; p < buf + n && count < 64; p += strlen(p) + 1)
		name[count++] = p;
	qsort(name, count, sizeof(*name), by_text);
	for (unsigned at = 0; at < count; at++)
		say(c, " %s", name[at]);
}

static void make_remove(struct call *c)
{
	const char *name = names[pick(c, sizeof(names) / sizeof(*names))];
	unsigned slot = pick_slot(c);
	char path[PATH_SIZE], full[PATH_SIZE + 64];
	bool open = chance(c, 40);

	pick_path(c, path);
	snprintf(full, sizeof(full), "/proc/self/fd/%d/%s", c->a->top[c->side], path);
	say(c, " %s open %d %u", name, open, slot);
	if (!open)
		watch_path(c, c->a->top[c->side], path);
	say_result(c, open ? fremovexattr(slot_fd(c, slot), name) : lremovexattr(full, name));
}

const struct op ops_xattr[] = {
	{ "setxattr", 30, make_set }, { "getxattr", 14, make_get }, { "listxattr", 6, make_list }, { "removexattr", 8, make_remove }, { NULL, 0, NULL },
};
