/*
 * fsstress_model.c - names, inodes and contents that a worker's subtree must have
 */
#include "fsstress.h"

static const char *const names[NAME_COUNT] = {
	"a", "b", "c", "d", "e",
	"with space", "new\nline", "\xc3\xa4\xc3\xb6\xc3\xbc", "\xff\xfe not utf-8", ".hidden", "-dash", "tab\t\\x",
	"long-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789"
	"-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-0123456"
	"789-0123456789-0123456789-0123456789-01234567",
	"z.txt",
};

const char *model_name(int name)
{
	return names[name];
}

int model_find(const struct worker *w, int dir, int name)
{
	for (int i = 0; i < DENT_MAX; i++)
		if (w->dents[i].used && w->dents[i].parent == dir && w->dents[i].name == name)
			return i;
	return -1;
}

int model_add(struct worker *w, int dir, int name, int node)
{
	for (int i = 0; i < DENT_MAX; i++) {
		if (w->dents[i].used)
			continue;
		w->dents[i] = (struct dent){true, dir, node, name};
		w->nodes[node].names_count++;
		model_touch(w, dir);
		return i;
	}
	return -1;
}

void model_remove(struct worker *w, int dent)
{
	struct node *n = &w->nodes[w->dents[dent].node];

	w->dents[dent].used = false;
	model_touch(w, w->dents[dent].parent);
	if (--n->names_count)
		return;
	free(n->data);
	memset(n, 0, sizeof(*n));
}

int model_new(struct worker *w, enum node_type type, mode_t mode)
{
	for (int i = 0; i < NODE_MAX; i++) {
		struct node *n = &w->nodes[i];

		if (n->type != NODE_NONE)
			continue;
		memset(n, 0, sizeof(*n));
		n->type = type;
		n->mode = mode;
		if (type == NODE_FILE)
			n->data = stress_alloc(FILE_MAX, 1);
		return i;
	}
	return -1;
}

int model_dent_of_dir(const struct worker *w, int dir)
{
	for (int i = 0; i < DENT_MAX; i++)
		if (w->dents[i].used && w->dents[i].node == dir)
			return i;
	return -1;
}

bool model_is_below(const struct worker *w, int dir, int above)
{
	while (dir != above) {
		if (dir == 0)
			return false;
		dir = w->dents[model_dent_of_dir(w, dir)].parent;
	}
	return true;
}

bool model_is_empty(const struct worker *w, int dir)
{
	for (int i = 0; i < DENT_MAX; i++)
		if (w->dents[i].used && w->dents[i].parent == dir)
			return false;
	return true;
}

unsigned model_subdirs(const struct worker *w, int dir)
{
	unsigned count = 0;

	for (int i = 0; i < DENT_MAX; i++)
		if (w->dents[i].used && w->dents[i].parent == dir && w->nodes[w->dents[i].node].type == NODE_DIR)
			count++;
	return count;
}

void model_touch(struct worker *w, int node)
{
	w->nodes[node].mtime_known = false;
}

int model_depth(const struct worker *w, int dir)
{
	int depth = 0;

	for (; dir != 0; depth++)
		dir = w->dents[model_dent_of_dir(w, dir)].parent;
	return depth;
}

void model_path(const struct worker *w, const char *root, int dir, int name, char *ret_path, size_t size)
{
	int chain[DENT_MAX];
	int count = 0;
	size_t used;

	for (int at = dir; at != 0; at = w->dents[chain[count - 1]].parent)
		chain[count++] = model_dent_of_dir(w, at);
	used = (size_t)snprintf(ret_path, size, "%s", root);
	while (count-- > 0 && used < size)
		used += (size_t)snprintf(ret_path + used, size - used, "/%s", names[w->dents[chain[count]].name]);
	if (name >= 0 && used < size)
		used += (size_t)snprintf(ret_path + used, size - used, "/%s", names[name]);
	if (used >= size) {
		fprintf(stderr, "path too long\n");
		exit(EXIT_USAGE);
	}
}

void model_xattr_value(uint32_t tag, char *ret_value, size_t *ret_len)
{
	*ret_len = tag % 97;
	stress_fill((uint8_t *)ret_value, tag, 0, *ret_len);
}
