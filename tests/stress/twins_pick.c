/*
 * twins_pick.c - what a call says, and what it picks
 */
#include "twins.h"

#include <stdarg.h>

void say(struct call *c, const char *fmt, ...)
{
	struct text *t = c->out;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(t->s + t->len, sizeof(t->s) - t->len, fmt, ap);
	va_end(ap);
	if (n > 0)
		t->len += (size_t)n < sizeof(t->s) - t->len ? (size_t)n : sizeof(t->s) - t->len - 1;
}

void say_result(struct call *c, long ret)
{
	int err = errno;

	if (ret >= 0)
		say(c, " = %ld", ret);
	else
		say(c, " = %s", strerrorname_np(err) ? strerrorname_np(err) : "?");
}

void say_data(struct call *c, const void *data, size_t len)
{
	const uint8_t *p = data;
	uint64_t h = 1469598103934665603ULL;

	for (size_t i = 0; i < len; i++)
		h = (h ^ p[i]) * 1099511628211ULL;
	say(c, " %zu:%08x", len, (unsigned)h);
}

uint64_t pick(struct call *c, uint64_t limit)
{
	return rng_below(&c->rng, limit);
}

bool chance(struct call *c, unsigned percent)
{
	return pick(c, 100) < percent;
}

unsigned pick_slot(struct call *c)
{
	unsigned slot = (unsigned)pick(c, SLOTS);

	/* mostly one that is open */
	if (chance(c, 90))
		for (unsigned n = 0; n < SLOTS && !(c->a->open >> slot & 1); n++)
			slot = (slot + 1) % SLOTS;
	return slot;
}

int slot_fd(const struct call *c, unsigned slot)
{
	return c->a->slot[slot][c->side];
}

void slot_put(struct call *c, unsigned slot, int fd)
{
	int *at = &c->a->slot[slot][c->side];

	if (*at >= 0)
		close(*at);
	*at = fd;
}

int pick_dir(struct call *c)
{
	unsigned slot = pick_slot(c);

	if (chance(c, 85))
		return c->a->top[c->side];
	say(c, " at:%u", slot);
	return slot_fd(c, slot);
}

void pick_path(struct call *c, char *path)
{
	static const char *const dirs[] = { "", "", "", "d/", "d/", "e/", "d/e/", "s/", "./", "d//", "d/../" };
	static const char *const odd[] = { "", ".", "..", "d/..", "a/", "d/", "e/", "a/x", "s", "d/.", "s/", "no/a", "d/s/b" };
	const char *dir = dirs[pick(c, sizeof(dirs) / sizeof(*dirs))];
	uint64_t kind = pick(c, 100), name = pick(c, 7), which = pick(c, sizeof(odd) / sizeof(*odd));

	if (kind < 88) {
		snprintf(path, PATH_SIZE, "%s%c", dir, "abcdefs"[name]);
	} else if (kind < 97) {
		snprintf(path, PATH_SIZE, "%s", odd[which]);
	} else {
		size_t len = kind == 97 ? 255 : kind == 98 ? 256 : 4096;

		memset(path, 'L', len);
		path[len] = 0;
		say(c, " L*%zu", len);
		return;
	}
	say(c, " \"%s\"", path);
}

off_t pick_offset(struct call *c)
{
	static const off_t base[] = { 0, 0, 1, 511, 512, 4095, 4096, 4097, 8192, 12288, 65536, 131072, 1 << 20 };
	static const off_t far[] = { -1, -4096, INT32_MAX, 1LL << 32, (1LL << 32) - 1, 1LL << 40, 1LL << 44, INT64_MAX, INT64_MAX - 4095,
				     INT64_MAX - 1, INT64_MIN };
	uint64_t kind = pick(c, 100), which = pick(c, 1 << 20);

	if (kind < 60)
		return base[which % (sizeof(base) / sizeof(*base))];
	if (kind < 94)
		return (off_t)(which % 200000);
	return far[which % (sizeof(far) / sizeof(*far))];
}

off_t pick_file_size(struct call *c)
{
	static const off_t far[] = { -1, 1LL << 31, 1LL << 32, 1LL << 40, 1LL << 44, 1LL << 45, INT64_MAX, INT64_MAX - 4095, INT64_MAX & ~4095LL };
	uint64_t kind = pick(c, 100), which = pick(c, 1 << 20);

	if (kind < 92)
		return kind < 40 ? (off_t)(which % 9 * 4096 + which / 9 % 3) - (which % 5 == 0) : (off_t)(which % 200000);
	return far[which % (sizeof(far) / sizeof(*far))];
}

size_t pick_size(struct call *c)
{
	static const size_t base[] = { 0, 1, 7, 511, 512, 4095, 4096, 4097, 8192, 65536 };
	uint64_t kind = pick(c, 100), which = pick(c, 1 << 20);

	return kind < 60 ? base[which % (sizeof(base) / sizeof(*base))] : which % 20000;
}

bool is_kind(int dir, const char *path, mode_t kind)
{
	struct stat st;
	int ret = path ? fstatat(dir, path, &st, 0) : fstat(dir, &st);

	return !ret && (st.st_mode & S_IFMT) == kind;
}
