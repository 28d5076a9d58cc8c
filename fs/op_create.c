/* SPDX-License-Identifier: MIT */
/* op_create.c - files are created, with a name or without. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "fs/open_file.h"

/** identify() - the new file's inode. */
static void identify(struct request *r)
{
	struct open_state *s = REQUEST_STATE(r, struct open_state);
	int path_fd = s->path_fd;

	s->path_fd = -1;
	child_of_fd(&s->child, path_fd >= 0 ? path_fd : s->fd, path_fd < 0);
}

static void create_joined(struct request *r)
{
	struct open_state *s = REQUEST_STATE(r, struct open_state);
	struct child *c = &s->child;
	struct fuse_file_info fi = { .flags = (int)s->flags };
	struct handle *h = NULL;

	open_file_cache(r, &fi, c->inode, true); /* there are no pages yet */
	if (c->entry.attr_timeout > 0) /* else they are not to be kept in any case: child.c */
		c->entry.attr_timeout = passthrough_attr_timeout(r->mount, c->inode, c->stx.stx_mode);
	if (r->backing_id >= 0)
		h = open_file_handle(r, s, c->inode, &fi); /* takes over the reference */
	else
		open_file_undo(r, s);
	if (!h) {
		server_close_forgotten(r->thread, inode_forget(r->mount->inodes, c->entry.ino, 1));
		child_put(c);
		request_reply_err(r, r->backing_id < 0 ? r->backing_id : -ENFILE);
		return;
	}
	c->inode = NULL;
	(void)request_reply_create(r, &c->entry, &fi, h); /* a lost one is undone there */
}

static void create_identified(struct child *c)
{
	struct request *r = c->request;

	if (c->res < 0) {
		open_file_fail(r, c->res);
		return;
	}
	(void)inode_data_check(r->mount->inodes, c->inode, &c->stx, inode_data_seq(r->mount->inodes, c->inode), false); /* remembers it */
	open_file_join(r, c->inode, create_joined);
}

static void create_start(struct request *r);

static void create_opened(struct op *op)
{
	struct request *r = op->owner;
	struct open_state *s = REQUEST_STATE(r, struct open_state);

	if (op->res == -EEXIST && !(s->flags & O_EXCL)) {
		/* somebody was faster. Opening his file here would pass by the permission check:
		   ESTALE makes the VFS look the name up again and then open what it finds */
		request_reply_err(r, -ESTALE);
		return;
	}
	if (request_wait_for_space(r, op->res, &s->tries, create_start))
		return;
	if (op->res < 0) {
		request_reply_err(r, op->res);
		return;
	}
	s->fd = (int)op->res;
	open_file_quiet(r, s->fd, false);
	if (r->mount->keep_names) { /* the inode needs an O_PATH descriptor of its own, for it cannot be opened again */
		s->path_fd = server_reopen(r->mount->server, s->fd, O_PATH);
		if (s->path_fd < 0) {
			open_file_fail(r, s->path_fd);
			return;
		}
	}
	if (s->flags & O_DIRECT)
		open_file(r, true);
	else
		identify(r);
}

static void create_start(struct request *r)
{
	struct open_state *s = REQUEST_STATE(r, struct open_state);
	bool tmpfile = !s->child.name;
	struct op *op;

	server_make_room(r->mount);
	op = request_op(r, OP_OPENAT, create_opened);
	if (!op)
		return;
	s->child.parent_fd = r->fd;
	op->fd = r->fd;
	op->path = tmpfile ? "." : s->child.name;
	op->how.flags = open_file_flags(r->mount, s->flags);
	op->how.flags |= tmpfile ? O_TMPFILE | (s->flags & O_EXCL) : (uint64_t)(O_CREAT | O_EXCL | O_NOFOLLOW);
	op->how.mode = s->mode & 07777;
	op->creds = request_creds(r, (int)s->umask);
	ring_submit(op);
}

static void create(struct request *r, uint64_t parent, const char *name, const struct fuse_create_in *in)
{
	struct open_state *s = REQUEST_STATE(r, struct open_state);

	if (!request_inode(r, parent))
		return;
	*s = (struct open_state){ .flags = in->flags, .opened = identify, .mode = S_IFREG | (in->mode & 07777), .umask = in->umask, .fd = -1, .direct_fd = -1, .path_fd = -1 };
	s->child = (struct child){ .request = r, .parent = name ? r->inode : NULL, .name = name, .done = create_identified };
	request_with_fds(r, create_start);
}

void op_create(struct request *r, uint64_t parent, const char *name, const struct fuse_create_in *in)
{
	if (request_name(r, name))
		create(r, parent, name, in);
}

void op_tmpfile(struct request *r, uint64_t parent, const struct fuse_create_in *in)
{
	create(r, parent, NULL, in);
}
