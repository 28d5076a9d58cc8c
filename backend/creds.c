/* SPDX-License-Identifier: MIT */
/* creds.c - see creds.h. */
#include <errno.h>
#include <grp.h>
#include <liburing.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "creds.h"
#include "util/errno_util.h"

#define CAP_BIT(cap) (UINT64_C(1) << (cap))
/* What remains for a caller that is not root. FUSE has checked access already
 * (default_permissions); quota, reserved blocks and the suid and sgid rules
 * are to apply as for the caller. */
#define CAPS_OF_CALLER (CAP_BIT(CAP_DAC_OVERRIDE) | CAP_BIT(CAP_DAC_READ_SEARCH) | CAP_BIT(CAP_MKNOD))

struct caps {
	uint64_t effective, permitted, inheritable;
};

/** The thread's own identity and the one that it acts as. */
struct thread_identity {
	bool known;
	uid_t fsuid;
	gid_t fsgid;
	struct caps caps;
	struct creds now; /* creds_is_own(): its own */
};

static _Thread_local struct thread_identity self;

static int caps_get(struct caps *ret)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &head, data) < 0)
		return (int)errno_result(-1);
	ret->effective = data[0].effective | (uint64_t)data[1].effective << 32;
	ret->permitted = data[0].permitted | (uint64_t)data[1].permitted << 32;
	ret->inheritable = data[0].inheritable | (uint64_t)data[1].inheritable << 32;
	return 0;
}

static int caps_set(const struct caps *c, uint64_t effective)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = {
		{ (uint32_t)effective, (uint32_t)c->permitted, (uint32_t)c->inheritable },
		{ (uint32_t)(effective >> 32), (uint32_t)(c->permitted >> 32), (uint32_t)(c->inheritable >> 32) },
	};

	return (int)errno_result(syscall(SYS_capset, &head, data));
}

/* setfsuid and setfsgid do not report failure: only a second call tells what is in force. */
static int fsuid_set(uid_t uid)
{
	syscall(SYS_setfsuid, uid);
	return (uid_t)syscall(SYS_setfsuid, (uid_t)-1) == uid ? 0 : -EPERM;
}

static int fsgid_set(gid_t gid)
{
	syscall(SYS_setfsgid, gid);
	return (gid_t)syscall(SYS_setfsgid, (gid_t)-1) == gid ? 0 : -EPERM;
}

static int groups_set(size_t count, const gid_t *groups)
{
	return (int)errno_result(syscall(SYS_setgroups, count, groups));
}

int creds_drop_groups(void)
{
	int count = getgroups(0, NULL);

	return count == 0 ? 0 : groups_set(0, NULL);
}

bool creds_can_switch(void)
{
	struct caps c;
	uint64_t need = CAP_BIT(CAP_SETUID) | CAP_BIT(CAP_SETGID);

	return caps_get(&c) == 0 && (c.effective & need) == need;
}

static void learn_self(void)
{
	if (self.known)
		return;
	self.fsuid = (uid_t)syscall(SYS_setfsuid, (uid_t)-1);
	self.fsgid = (gid_t)syscall(SYS_setfsgid, (gid_t)-1);
	if (caps_get(&self.caps) < 0)
		memset(&self.caps, 0, sizeof(self.caps));
	self.known = true;
}

struct creds creds_normalize(const struct creds *c, bool can_switch)
{
	struct creds n = { .flags = c->flags & (CREDS_UMASK | CREDS_NO_FSETID | CREDS_NO_RESOURCE), .umask = c->umask };

	learn_self();
	if (c->flags & CREDS_SET && can_switch) {
		bool group = (c->flags & CREDS_GROUP) != 0 && c->group != c->gid;

		/* the daemon has no supplementary groups: backend_create() dropped them */
		if (c->uid != self.fsuid || c->gid != self.fsgid || group) {
			n.flags |= CREDS_SET | (group ? CREDS_GROUP : 0);
			n.uid = c->uid;
			n.gid = c->gid;
			n.group = group ? c->group : 0;
		}
	}
	if (!(n.flags & CREDS_SET) && !(self.caps.effective & CAP_BIT(CAP_FSETID)))
		n.flags &= (uint16_t)~CREDS_NO_FSETID;
	if (!(n.flags & CREDS_SET) && !(self.caps.effective & CAP_BIT(CAP_SYS_RESOURCE)))
		n.flags &= (uint16_t)~CREDS_NO_RESOURCE;
	if (n.flags & CREDS_SET && n.uid != 0) /* has neither capability anyway */
		n.flags &= (uint16_t) ~(CREDS_NO_FSETID | CREDS_NO_RESOURCE);
	return n;
}

static bool same_identity(const struct creds *a, const struct creds *b)
{
	uint16_t mask = CREDS_SET | CREDS_GROUP | CREDS_NO_FSETID | CREDS_NO_RESOURCE;

	return (a->flags & mask) == (b->flags & mask) && a->uid == b->uid && a->gid == b->gid && a->group == b->group;
}

static _Noreturn void cannot_restore(const char *what)
{
	fprintf(stderr, "uringfs: cannot restore the daemon's %s; ending rather than acting as another user\n", what);
	abort();
}

void creds_leave(void)
{
	if (!self.known || creds_is_own(&self.now))
		return;
	/* first the capabilities: the other calls need them */
	if (caps_set(&self.caps, self.caps.effective) < 0)
		cannot_restore("capabilities");
	if (self.now.flags & CREDS_SET) {
		if (fsuid_set(self.fsuid) < 0)
			cannot_restore("user id");
		if (fsgid_set(self.fsgid) < 0)
			cannot_restore("group id");
		if (self.now.flags & CREDS_GROUP && groups_set(0, NULL) < 0)
			cannot_restore("groups");
		/* going back to fsuid 0 raised the file-system capabilities: set exactly what was */
		if (caps_set(&self.caps, self.caps.effective) < 0)
			cannot_restore("capabilities");
	}
	memset(&self.now, 0, sizeof(self.now));
}

static uint64_t effective_for(const struct creds *c)
{
	uint64_t effective = self.caps.effective;

	if (c->flags & CREDS_SET)
		effective = c->uid == 0 ? self.caps.permitted : self.caps.permitted & CAPS_OF_CALLER;
	if (c->flags & CREDS_NO_FSETID)
		effective &= ~CAP_BIT(CAP_FSETID);
	if (c->flags & CREDS_NO_RESOURCE)
		effective &= ~CAP_BIT(CAP_SYS_RESOURCE);
	return effective;
}

int creds_enter(const struct creds *c)
{
	int res = 0;

	learn_self();
	if (same_identity(c, &self.now))
		return 0;
	creds_leave();
	if (creds_is_own(c))
		return 0;
	/* from here creds_leave() undoes all, also what was not reached */
	self.now = *c;
	if (c->flags & CREDS_SET) {
		if (c->flags & CREDS_GROUP)
			res = groups_set(1, &c->group);
		if (res == 0)
			res = fsgid_set(c->gid);
		if (res == 0)
			res = fsuid_set(c->uid);
	}
	if (res == 0)
		res = caps_set(&self.caps, effective_for(c));
	if (res < 0)
		creds_leave();
	return res;
}

/* ---- personalities ------------------------------------------------------- */

void personalities_init(struct personalities *p)
{
	memset(p, 0, sizeof(*p));
	for (unsigned i = 0; i < PERSONALITY_BUCKETS; i++)
		p->bucket[i] = -1;
	p->newest = p->oldest = -1;
}

static int16_t *bucket_of(struct personalities *p, const struct creds *c)
{
	uint32_t h = c->uid * 2654435761u ^ c->gid * 2246822519u ^ c->group * 3266489917u;

	return &p->bucket[(h ^ h >> 16) % PERSONALITY_BUCKETS];
}

static void list_remove(struct personalities *p, int16_t i)
{
	struct personality *e = &p->entry[i];

	*(e->newer >= 0 ? &p->entry[e->newer].older : &p->newest) = e->older;
	*(e->older >= 0 ? &p->entry[e->older].newer : &p->oldest) = e->newer;
}

static void list_add_newest(struct personalities *p, int16_t i)
{
	p->entry[i].newer = -1;
	p->entry[i].older = p->newest;
	*(p->newest >= 0 ? &p->entry[p->newest].newer : &p->oldest) = i;
	p->newest = i;
}

/* The least recently used entry, unregistered and out of all lists. */
static int16_t evict_oldest(struct personalities *p, struct io_uring *uring)
{
	int16_t i = p->oldest;
	struct personality *e = &p->entry[i];
	int16_t *link = bucket_of(p, &e->creds);

	while (*link != i)
		link = &p->entry[*link].hash_next;
	*link = e->hash_next;
	list_remove(p, i);
	/* entries in the kernel hold their own reference; a failure only keeps the id alive */
	(void)io_uring_unregister_personality(uring, e->id);
	e->id = 0;
	return i;
}

int personalities_get(struct personalities *p, struct io_uring *uring, const struct creds *c,
		      bool (*flush)(void *arg), void *arg, bool *ret_new)
{
	int16_t *bucket = bucket_of(p, c), i;
	int id;

	*ret_new = false;
	for (i = *bucket; i >= 0; i = p->entry[i].hash_next) {
		if (!same_identity(&p->entry[i].creds, c))
			continue;
		if (p->newest != i) {
			list_remove(p, i);
			list_add_newest(p, i);
		}
		return p->entry[i].id;
	}
	if (p->used_count == (int16_t)PERSONALITIES_MAX && !flush(arg))
		return -EBUSY;
	id = creds_enter(c);
	if (id < 0)
		return id;
	id = io_uring_register_personality(uring);
	creds_leave();
	if (id <= 0)
		return id < 0 ? id : -EINVAL;
	if (p->used_count < (int16_t)PERSONALITIES_MAX)
		i = p->used_count++;
	else
		i = evict_oldest(p, uring);
	p->entry[i] = (struct personality){ .creds = *c, .id = id, .hash_next = *bucket };
	p->entry[i].creds.flags &= (uint16_t)~CREDS_UMASK;
	*bucket = i;
	list_add_newest(p, i);
	*ret_new = true;
	return id;
}
