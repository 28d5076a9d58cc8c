/*
 * twins_space.c - sizes, allocation, shared blocks, mappings
 */
#include "twins.h"

#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/xattr.h>
#include <linux/falloc.h>

static void make_ftruncate(struct call *c)
{
	unsigned slot = pick_slot(c);
	int fd = slot_fd(c, slot);
	off_t size = pick_file_size(c);

	say(c, " %u %lld", slot, (long long)size);
	watch_fd(c, fd);
	if (member_write(c, fd))
		return;
	say_result(c, ftruncate(fd, size));
}

static void make_truncate(struct call *c)
{
	char path[PATH_SIZE], full[PATH_SIZE + 64];
	int dir = c->a->top[c->side];
	off_t size = pick_file_size(c);

	pick_path(c, path);
	snprintf(full, sizeof(full), "/proc/self/fd/%d/%s", dir, path);
	say(c, " %lld", (long long)size);
	watch_path(c, dir, path);
	say_result(c, truncate(full, size));
}

static void make_fallocate(struct call *c)
{
	static const int modes[] = { 0, 0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				     FALLOC_FL_ZERO_RANGE, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, 0x80, 0x100 };
	unsigned slot = pick_slot(c);
	int fd = slot_fd(c, slot), mode = modes[pick(c, sizeof(modes) / sizeof(*modes))];
	off_t offset = pick_offset(c), len = (off_t)pick_size(c);
	uint64_t odd = pick(c, 100);
	struct stat st;
	int ret;

	if (odd < 3)
		len = -1;
	else if (odd < 6)
		len = INT64_MAX - pick_offset(c) % 4096;
	else if (offset > 1LL << 41)
		offset = INT64_MAX - 100;
	say(c, " %u mode %#x %lld+%lld", slot, mode, (long long)offset, (long long)len);
	/* which comes first, and whether KEEP_SIZE counts against RLIMIT_FSIZE, differs between filesystems: LIMITS */
	if (c->a->role == ROLE_LIMITED && mode && (offset > 90000 || len > 10000))
		return;
	/* a hole behind the end ends setuid and capabilities on some filesystems, and not on others: LIMITS */
	if (mode & FALLOC_FL_PUNCH_HOLE && !fstat(fd, &st) && offset >= st.st_size)
		return;
	if (member_write(c, fd))
		return;
	watch_fd(c, fd);
	ret = fallocate(fd, mode, offset, len);
	c->no_times = ret < 0; /* some filesystems have changed them by then: LIMITS */
	say_result(c, ret);
}

/* ---- mappings ------------------------------------------------------------------- */

static sigjmp_buf bus;

static void on_bus(int sig)
{
	siglongjmp(bus, sig);
}

static void unmap(struct mapping *m)
{
	if (!m->at)
		return;
	munmap(m->at, m->len);
	close(m->fd);
	m->at = NULL;
}

static void make_map(struct call *c)
{
	unsigned slot = pick_slot(c);
	struct mapping *m = &c->a->map[pick(c, MAPS)][c->side];
	int prot = chance(c, 70) ? PROT_READ | PROT_WRITE : PROT_READ, fd = slot_fd(c, slot);
	bool shared = chance(c, 70), validate = chance(c, 10);
	size_t len = 4096 * (1 + pick(c, 20));
	off_t offset = 4096 * (off_t)(pick(c, 3) ? 0 : pick(c, 10));
	void *at;

	if (chance(c, 3))
		offset = INT64_MAX & ~4095LL;
	say(c, " %u prot %d shared %d %lld+%zu", slot, prot, shared, (long long)offset, len);
	at = mmap(NULL, len, prot, validate ? MAP_SHARED_VALIDATE : shared ? MAP_SHARED : MAP_PRIVATE, fd, offset);
	say_result(c, at == MAP_FAILED ? -1 : 0);
	unmap(m);
	if (at == MAP_FAILED)
		return;
	m->at = at;
	m->fd = dup(fd);
	m->len = len;
	m->offset = offset;
	m->shared = shared || validate;
	m->writable = prot & PROT_WRITE;
}

/* Store or load one byte, or a few; behind the last page of the file that is SIGBUS. */
static int touch(uint8_t *at, size_t len, uint8_t *data, bool store)
{
	struct sigaction act = { .sa_handler = on_bus }, old;
	int sig;

	sigaction(SIGBUS, &act, &old);
	sig = sigsetjmp(bus, 1);
	if (!sig) {
		for (size_t n = 0; n < len; n++)
			if (store)
				*(volatile uint8_t *)(at + n) = data[n];
			else
				data[n] = *(volatile uint8_t *)(at + n);
	}
	sigaction(SIGBUS, &old, NULL);
	return sig;
}

static void make_touch(struct call *c)
{
	unsigned which = (unsigned)pick(c, MAPS);
	struct mapping *m = &c->a->map[which][c->side];
	bool store = chance(c, 60);
	size_t at = pick(c, m->len ? m->len : 1), len = 1 + pick(c, 6000);
	uint8_t data[6001];
	struct stat st;
	int sig;

	say(c, " %u %s at %zu len %zu", which, store ? "store" : "load", at, len);
	if (!m->at)
		return;
	if (at + len > m->len)
		len = m->len - at;
	/* what is stored behind the end comes to light when a FUSE file grows: LIMITS */
	if (store && m->shared && !fstat(m->fd, &st)) {
		off_t left = st.st_size - m->offset - (off_t)at;
		bool outside = left <= 0 && (st.st_size & 4095 ? m->offset + (off_t)at >= ((st.st_size | 4095) + 1) : true);

		if (left <= 0 && !outside)
			return;
		if (left > 0 && left < (off_t)len)
			len = (size_t)left;
	}
	/* the write-back of a FUSE page is a write, which ends capabilities: LIMITS */
	if (store && (!m->writable || (m->shared && fgetxattr(m->fd, "security.capability", NULL, 0) > 0)))
		return;
	stress_fill(data, at, 0, len);
	c->no_times = true;
	watch_fd(c, m->fd);
	sig = touch(m->at + at, len, data, store);
	say(c, sig ? " SIGBUS" : " ok");
	if (!sig && !store)
		say_data(c, data, len);
	if (store && m->shared) /* when a mapping's bytes reach the file is the kernel's affair */
		say_result(c, msync(m->at, m->len, MS_SYNC));
}

static void make_unmap(struct call *c)
{
	unsigned which = (unsigned)pick(c, MAPS);

	say(c, " %u", which);
	unmap(&c->a->map[which][c->side]);
}

static void make_advise(struct call *c)
{
	static const int advice[] = { MADV_DONTNEED, MADV_WILLNEED, MADV_RANDOM, MADV_REMOVE, MADV_COLD, MADV_PAGEOUT, MADV_POPULATE_READ,
				      MADV_POPULATE_WRITE, MADV_FREE };
	struct mapping *m = &c->a->map[pick(c, MAPS)][c->side];
	uint64_t which = pick(c, sizeof(advice) / sizeof(*advice)), pages = pick(c, 20);
	int ret;

	if (!m->at || pages * 4096 >= m->len || fgetxattr(m->fd, "security.capability", NULL, 0) > 0)
		return;
	c->no_times = true;
	say(c, " %llu pages %llu", (unsigned long long)which, (unsigned long long)pages);
	ret = madvise(m->at + pages * 4096, m->len - pages * 4096, advice[which]);
	say_result(c, ret);
	if (m->shared && m->writable)
		(void)msync(m->at, m->len, MS_SYNC); /* as above */
}

const struct op ops_space[] = {
	{ "ftruncate", 22, make_ftruncate }, { "truncate", 8, make_truncate }, { "fallocate", 24, make_fallocate },
	{ NULL, 0, NULL },
};

const struct op ops_map[] = {
	{ "map", 14, make_map }, { "touch", 24, make_touch }, { "unmap", 3, make_unmap }, { "advise", 4, make_advise }, { NULL, 0, NULL },
};
