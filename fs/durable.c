/* SPDX-License-Identifier: MIT */
/* durable.c - see durable.h. */
#include "durable.h"

#include <fcntl.h>
#include <sys/stat.h>

void durable_handle(struct mount *m, struct handle *h, const struct inode *i)
{
	uint64_t seen = 0;

	/* by a backing id the kernel writes without us, for whoever has the file open */
	if (!h->writable || i->type != S_IFREG || m->passthrough)
		return;
	h->dfile = durability_open(m->backing[i->fs].durable, i->ino, &seen);
	atomic_store(&h->sync_seen, seen);
}

void durable_write_begin(struct request *r, uint64_t off, uint64_t len, unsigned flags)
{
	r->writing = r->handle->dfile;
	dfile_write_begin(r->writing, off, len, flags);
}

void durable_write_end(struct request *r, int64_t res)
{
	dfile_write_end(r->writing, res);
	r->writing = NULL;
}

void durable_change(struct request *r, const struct inode *i, enum proof_reason reason)
{
	struct dfile *f = durability_find(r->mount->backing[i->fs].durable, i->ino);

	if (!f)
		return;
	dfile_change_begin(f, reason);
	r->altering[r->altering[0] ? 1 : 0] = f;
}

void durable_moved(struct request *r, const struct inode *dir, int dir_fd, const char *name)
{
	struct durability *d = r->mount->backing[dir->fs].durable;
	struct statx stx;
	struct dfile *f;

	if (!d || !durability_capable(d))
		return;
	/* its dentry is in the cache since a moment ago: this does not wait */
	if (sys_statx(dir_fd, name, AT_SYMLINK_NOFOLLOW, STATX_INO, &stx) < 0)
		return; /* moved on: whoever did that tells of it, or it was removed */
	f = durability_find(d, stx.stx_ino);
	if (!f)
		return;
	dfile_change_begin(f, PROOF_NAME);
	dfile_change_end(f);
	durability_put(f, -1);
}

void durable_end(struct request *r)
{
	if (r->writing) /* never started */
		durable_write_end(r, 0);
	for (unsigned n = 0; n < 2; n++) {
		if (!r->altering[n])
			continue;
		dfile_change_end(r->altering[n]);
		durability_put(r->altering[n], -1);
		r->altering[n] = NULL;
	}
}
