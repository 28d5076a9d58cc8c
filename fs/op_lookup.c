/* SPDX-License-Identifier: MIT */
/* op_lookup.c - names become inodes, and inodes are forgotten. */
#include <errno.h>
#include <string.h>

#include "fs/child.h"
#include "fs/ops.h"

static void lookup_done(struct child *c)
{
	struct request *r = c->request;
	double negative = r->mount->server->opt.negative_timeout;

	if (c->res == -ENOENT && negative > 0) {
		/* node 0: the kernel remembers that there is no such name */
		const struct fuse_entry_param none = { .entry_timeout = negative };
		(void)request_reply_entry(r, &none); /* nothing to undo */
		return;
	}
	if (c->res < 0) {
		request_reply_err(r, c->res);
		return;
	}
	child_put(c);
	(void)request_reply_entry(r, &c->entry); /* a lost one is undone there */
}

/**
 * lookup_self_done() - a file without a name is gone, as it is for who has a file handle of SOURCE: while somebody has it open the
 * kernel knows the inode and does not ask. (Its FORGET may be on the way, and a descriptor of ours hold the file.)
 */
static void lookup_self_done(struct child *c)
{
	struct request *r = c->request;

	if (c->res == 0 && c->entry.attr.st_nlink == 0) {
		server_close_forgotten(r->thread, inode_forget(r->mount->inodes, c->entry.ino, 1));
		child_put(c);
		c->res = -ESTALE;
	}
	lookup_done(c);
}

static void lookup_start(struct request *r)
{
	struct child *c = REQUEST_STATE(r, struct child);

	c->parent_fd = r->fd;
	child_lookup(c);
}

/** lookup_self() - ".": the kernel has a file handle of the mount and wants the inode, of a file of any kind (fuse_get_dentry()). */
static void lookup_self(struct request *r)
{
	child_of_fd(REQUEST_STATE(r, struct child), r->fd, true);
}

/** lookup_up() - "..": the kernel has found a directory by its file handle and goes up from there. No way to remember an inode by. */
static void lookup_up(struct request *r)
{
	struct child *c = REQUEST_STATE(r, struct child);

	c->parent_fd = r->fd;
	c->parent = NULL;
	child_lookup(c);
}

void op_lookup(struct request *r, uint64_t parent, const char *name)
{
	struct child *c = REQUEST_STATE(r, struct child);
	bool self = !strcmp(name, "."), up = !strcmp(name, "..");

	if (!(self ? request_inode_kept(r, parent) : request_inode(r, parent)))
		return;
	*c = (struct child){ .request = r, .parent = r->inode, .name = name, .done = lookup_done };
	if (r->mount->recent_ns)
		inode_recent_tick(r->mount->inodes, r->start_ns, r->mount->recent_ns);
	if (self) {
		c->parent = NULL;
		c->done = lookup_self_done;
	}
	if (!name[0] || strchr(name, '/')) {
		request_reply_err(r, -EINVAL);
		return;
	}
	if (up && r->inode->index == INODE_ROOT) {
		request_reply_err(r, -ENOENT); /* nothing above SOURCE is shown */
		return;
	}
	request_with_fds(r, self ? lookup_self : up ? lookup_up : lookup_start);
}

void op_forget(struct request *r, uint64_t nodeid, uint64_t nlookup)
{
	server_close_forgotten(r->thread, inode_forget(r->mount->inodes, nodeid, nlookup));
	request_reply_none(r);
}

void op_forget_multi(struct request *r, size_t count, const struct fuse_forget_data *forgets)
{
	for (size_t n = 0; n < count; n++)
		server_close_forgotten(r->thread, inode_forget(r->mount->inodes, forgets[n].ino, forgets[n].nlookup));
	request_reply_none(r);
}
