/* SPDX-License-Identifier: MIT */
/* op_namespace.c - names are made, moved and removed; symbolic links are read. */
#include <errno.h>
#include <limits.h>
#include <linux/fs.h>
#include <string.h>

#include "fs/child.h"
#include "fs/durable.h"
#include "fs/ops.h"

/* ---- things that end with a new entry ----------------------------------------- */

/** Arguments of a step that makes a name, then looks it up. */
struct make_state {
	struct child child;
	enum op_kind kind;
	mode_t mode, umask;
	dev_t rdev;
	const char *target; /* of a symlink */
	uint8_t tries;      /* request_wait_for_space() */
};

static void make_looked_up(struct child *c)
{
	if (c->res < 0) {
		request_reply_err(c->request, c->res);
		return;
	}
	child_put(c);
	(void)request_reply_entry(c->request, &c->entry); /* a lost one is undone there */
}

static void make_start(struct request *r);

static void make_made(struct op *op)
{
	struct request *r = op->owner;
	struct make_state *s = REQUEST_STATE(r, struct make_state);

	if (r->opcode != FUSE_LINK && request_wait_for_space(r, op->res, &s->tries, make_start))
		return;
	if (op->res < 0) {
		request_reply_err(r, op->res);
		return;
	}
	child_lookup(&s->child);
}

static void make_start(struct request *r)
{
	struct make_state *s = REQUEST_STATE(r, struct make_state);
	struct op *op = request_op(r, s->kind, make_made);

	if (!op)
		return;
	s->child.parent_fd = r->fd;
	op->fd = r->fd;
	op->creds = request_creds(r, s->kind == OP_SYMLINKAT ? -1 : (int)s->umask);
	op->arg = s->mode;
	op->off = s->rdev;
	if (s->kind == OP_SYMLINKAT) {
		op->path = s->target;
		op->path2 = s->child.name;
	} else {
		op->path = s->child.name;
	}
	ring_submit(op);
}

static void make(struct request *r, uint64_t parent, const char *name, const struct make_state *args)
{
	struct make_state *s = REQUEST_STATE(r, struct make_state);

	if (!request_name(r, name) || !request_inode(r, parent))
		return;
	*s = *args;
	s->child = (struct child){ .request = r, .parent = r->inode, .name = name, .made = true, .done = make_looked_up };
	request_with_fds(r, make_start);
}

void op_mknod(struct request *r, uint64_t parent, const char *name, mode_t mode, dev_t rdev, mode_t umask)
{
	make(r, parent, name, &(struct make_state){ .kind = OP_MKNODAT, .mode = mode, .rdev = rdev, .umask = umask });
}

void op_mkdir(struct request *r, uint64_t parent, const char *name, mode_t mode, mode_t umask)
{
	make(r, parent, name, &(struct make_state){ .kind = OP_MKDIRAT, .mode = mode & 07777, .umask = umask });
}

void op_symlink(struct request *r, const char *target, uint64_t parent, const char *name)
{
	make(r, parent, name, &(struct make_state){ .kind = OP_SYMLINKAT, .target = target });
}

static void link_start(struct request *r)
{
	struct make_state *s = REQUEST_STATE(r, struct make_state);
	struct op *op = request_op(r, OP_LINKAT, make_made);

	if (!op)
		return;
	/* inode is the new directory, inode2 the file: AT_EMPTY_PATH needs CAP_DAC_READ_SEARCH, the proc link does not */
	s->child.parent_fd = r->fd;
	op_path_of_fd(op, r->fd2);
	op->fd = AT_FDCWD;
	op->fd2 = r->fd;
	op->path2 = s->child.name;
	op->arg = AT_SYMLINK_FOLLOW;
	durable_change(r, r->inode2, PROOF_NAME);
	ring_submit(op);
}

void op_link(struct request *r, uint64_t nodeid, uint64_t new_parent, const char *new_name)
{
	struct make_state *s = REQUEST_STATE(r, struct make_state);

	if (!request_name(r, new_name) || !request_inode(r, new_parent) || !request_inode2(r, nodeid))
		return;
	s->child = (struct child){ .request = r, .parent = r->inode, .name = new_name, .done = make_looked_up };
	request_with_fds(r, link_start);
}

/* ---- removing and moving ---------------------------------------------------------- */

struct names_state {
	const char *name, *new_name;
	unsigned flags;
};

struct rename_state {
	struct names_state names;
	struct child child;
};

static void names_done(struct op *op)
{
	struct request *r = op->owner;

	if (op->res == 0)
		server_space_coming(r->mount->server); /* with the kernel's FORGET */
	request_reply_err(r, op->res);
}

static void remove_start(struct request *r)
{
	const struct names_state *s = REQUEST_STATE(r, struct names_state);
	struct op *op = request_op(r, OP_UNLINKAT, names_done);

	if (!op)
		return;
	op->fd = r->fd;
	op->path = s->name;
	op->arg = s->flags;
	ring_submit(op);
}

static void remove_name(struct request *r, uint64_t parent, const char *name, unsigned flags)
{
	if (!request_name(r, name) || !request_inode(r, parent))
		return;
	*REQUEST_STATE(r, struct names_state) = (struct names_state){ .name = name, .flags = flags };
	request_with_fds(r, remove_start);
}

void op_unlink(struct request *r, uint64_t parent, const char *name)
{
	remove_name(r, parent, name, 0);
}

void op_rmdir(struct request *r, uint64_t parent, const char *name)
{
	remove_name(r, parent, name, AT_REMOVEDIR);
}

/*
 * Without file handles an inode is opened again along its names, so the new ones must be known:
 * look the moved names up once, which records them, and forget that look-up at once.
 */
static void renamed_looked_up(struct child *c)
{
	struct request *r = c->request;
	struct rename_state *s = REQUEST_STATE(r, struct rename_state);

	if (c->res == 0) {
		server_close_forgotten(r->thread, inode_forget(r->mount->inodes, c->entry.ino, 1));
		child_put(c);
	}
	if (s->names.flags & RENAME_EXCHANGE && c->name == s->names.new_name) {
		*c = (struct child){ .request = r, .parent = r->inode, .parent_fd = r->fd, .name = s->names.name, .done = renamed_looked_up };
		child_lookup(c);
		return;
	}
	request_reply_err(r, 0);
}

static void renamed(struct op *op)
{
	struct request *r = op->owner;
	struct rename_state *s = REQUEST_STATE(r, struct rename_state);

	if (op->res == 0)
		durable_moved(r, r->inode2, r->fd2, s->names.new_name);
	if (op->res == 0 && s->names.flags & RENAME_EXCHANGE)
		durable_moved(r, r->inode, r->fd, s->names.name);
	if (op->res < 0 || !r->mount->keep_names) {
		request_reply_err(r, op->res);
		return;
	}
	s->child = (struct child){ .request = r, .parent = r->inode2, .parent_fd = r->fd2, .name = s->names.new_name, .done = renamed_looked_up };
	child_lookup(&s->child);
}

static void rename_start(struct request *r)
{
	const struct names_state *s = &REQUEST_STATE(r, struct rename_state)->names;
	struct op *op = request_op(r, OP_RENAMEAT, renamed);

	if (!op)
		return;
	op->fd = r->fd;
	op->path = s->name;
	op->fd2 = r->fd2;
	op->path2 = s->new_name;
	op->arg = s->flags;
	if (s->flags & RENAME_WHITEOUT)
		op->creds = request_creds(r, -1); /* the whiteout left behind is the caller's */
	ring_submit(op);
}

void op_rename(struct request *r, uint64_t parent, const char *name, uint64_t new_parent, const char *new_name, unsigned flags)
{
	if (!request_name(r, name) || !request_name(r, new_name) || !request_inode(r, parent) || !request_inode2(r, new_parent))
		return;
	REQUEST_STATE(r, struct rename_state)->names = (struct names_state){ .name = name, .new_name = new_name, .flags = flags };
	request_with_fds(r, rename_start);
}

/* ---- symbolic links ------------------------------------------------------------------ */

static void readlink_done(struct op *op)
{
	struct request *r = op->owner;
	char *target = op->buf;

	if (op->res < 0) {
		request_reply_err(r, op->res);
		return;
	}
	target[op->res] = 0;
	request_reply_readlink(r, target);
}

static void readlink_start(struct request *r)
{
	struct op *op = request_op(r, OP_READLINK, readlink_done);

	if (!op)
		return;
	op->fd = r->fd;
	op->buf = r->payload;
	op->len = PATH_MAX;
	ring_submit(op);
}

void op_readlink(struct request *r, uint64_t nodeid)
{
	if (request_inode(r, nodeid))
		request_with_fds(r, readlink_start);
}
