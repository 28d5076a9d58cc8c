/* SPDX-License-Identifier: MIT */
/* utab.c - see utab.h. */
#include "utab.h"

#include <dlfcn.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>

#define WORDS "uhelper=uringfs"
#define BACKWARD 1 /* MNT_ITER_BACKWARD: what was mounted last is on top */

/** libmount's functions, as <libmount/libmount.h> has them; its structures are opaque to its callers. */
struct libmount {
	void *handle;
	void *(*new_table_from_file)(const char *filename);
	void *(*table_find_target)(void *table, const char *path, int direction);
	void (*unref_table)(void *table);
	int (*fs_append_options)(void *fs, const char *words);
	void *(*new_update)(void);
	int (*update_set_fs)(void *update, unsigned long mountflags, const char *target, void *fs);
	int (*update_table)(void *update, void *lock);
	void (*free_update)(void *update);
};

static bool load(struct libmount *l)
{
	const struct {
		const char *name;
		void *fn;
	} rows[] = {
		{ "mnt_new_table_from_file", &l->new_table_from_file }, { "mnt_table_find_target", &l->table_find_target },
		{ "mnt_unref_table", &l->unref_table },			{ "mnt_fs_append_options", &l->fs_append_options },
		{ "mnt_new_update", &l->new_update },			{ "mnt_update_set_fs", &l->update_set_fs },
		{ "mnt_update_table", &l->update_table },		{ "mnt_free_update", &l->free_update },
	};

	l->handle = dlopen("libmount.so.1", RTLD_NOW | RTLD_LOCAL);
	for (size_t n = 0; l->handle && n < sizeof(rows) / sizeof(rows[0]); n++) {
		*(void **)rows[n].fn = dlsym(l->handle, rows[n].name); /* POSIX's way to a function */
		if (*(void **)rows[n].fn)
			continue;
		(void)dlclose(l->handle);
		l->handle = NULL;
	}
	return l->handle;
}

/** update() - @fs: a mount to be written down; NULL: that of @target is taken out. */
static bool update(const struct libmount *l, const char *target, void *fs)
{
	void *u = l->new_update();
	bool done = u && l->update_set_fs(u, 0, target, fs) == 0 && l->update_table(u, NULL) == 0;

	if (u)
		l->free_update(u);
	return done;
}

bool utab_note(const char *dir)
{
	struct libmount l;
	char path[PATH_MAX];
	bool done = false;
	void *table, *fs;

	if (!realpath(dir, path) || !load(&l))
		return false;
	table = l.new_table_from_file("/proc/self/mountinfo");
	fs = table ? l.table_find_target(table, path, BACKWARD) : NULL;
	if (fs && l.fs_append_options(fs, WORDS) == 0)
		done = update(&l, NULL, fs);
	if (table)
		l.unref_table(table);
	(void)dlclose(l.handle);
	return done;
}

void utab_forget(const char *dir)
{
	struct libmount l;

	if (!load(&l))
		return;
	(void)update(&l, dir, NULL); /* most likely there was none */
	(void)dlclose(l.handle);
}
