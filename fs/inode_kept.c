/* SPDX-License-Identifier: MIT */
/*
 * inode_kept.c - inodes that the kernel has forgotten, kept so that its file handles of them stay good (option export).
 *
 * A file handle of a FUSE mount is the nodeid (fs/fuse/inode.c, fuse_encode_fh). A server of NFS comes with one after the kernel
 * has forgotten the inode, and even after it has dropped all of its caches: the kernel then asks for "." in that nodeid.
 * A kept inode has no descriptor; its own file handle opens it again. The oldest goes when there are too many.
 */
#include <assert.h>
#include <unistd.h>

#include "fs/inode_table.h"

void inode_unkeep(struct inode_table *t, struct inode *i)
{
	if (!i->kept)
		return;
	inode_list_remove(t, &t->kept, i);
	i->kept = false;
	t->kept_count--;
}

int inode_keep(struct inode_table *t, struct inode *i)
{
	struct inode *oldest;
	int fd;

	/* without a handle of its own it could not be opened again */
	if (inode_handle_settle(i) < 0 || !(i->handle_len || (i->extra && i->extra->handle)))
		return inode_drop(t, i);
	if (t->kept_count == t->cfg.kept_max) {
		oldest = &t->inodes[t->kept.tail];
		inode_unkeep(t, oldest);
		fd = inode_drop(t, oldest);
		assert(fd < 0);
	}
	fd = inode_fd_detach(t, i);
	atomic_store_explicit(&i->told, 0, memory_order_relaxed);
	i->data_going = 0; /* the kernel's pages and listings of it have gone */
	i->data_state = DATA_UNKNOWN;
	i->kept = true;
	inode_list_push(t, &t->kept, i);
	t->kept_count++;
	return fd;
}
