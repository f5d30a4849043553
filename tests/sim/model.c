#include "base/mem.h"
#include "base/path.h"
#include "model.h"

struct entry *model_find(const struct model *m, struct bytes path)
{
	struct entry *e = NULL;

	if (m->entries)
		HASH_FIND(hh, m->entries, path.p, (unsigned)path.n, e);
	return e;
}

struct entry *model_put(struct model *m, struct bytes path)
{
	struct entry *e = model_find(m, path);

	if (e)
		return e;
	check(path.n < sizeof(e->path));
	e = mem_alloc(sizeof(*e));
	memcpy(e->path, path.p, path.n);
	HASH_ADD_KEYPTR(hh, m->entries, e->path, (unsigned)path.n, e);
	return e;
}

void model_remove(struct model *m, struct entry *e)
{
	HASH_DEL(m->entries, e);
	free(e);
}

void model_remove_tree(struct model *m, struct bytes path)
{
	char keep[64] = {0};
	struct bytes copy = {keep, path.n};
	struct entry *e, *next;

	memcpy(keep, path.p, path.n);
	HASH_ITER (hh, m->entries, e, next) {
		if (bytes_equal(entry_path(e), copy) || path_below(entry_path(e), copy))
			model_remove(m, e);
	}
}

void model_clear(struct model *m)
{
	struct entry *e, *next;

	HASH_ITER (hh, m->entries, e, next) {
		model_remove(m, e);
	}
}

void model_copy(struct model *to, const struct model *from)
{
	struct entry *e, *next;

	model_clear(to);
	HASH_ITER (hh, from->entries, e, next) {
		struct entry *n = model_put(to, entry_path(e));

		n->fp = e->fp;
		n->content = e->content;
		n->inode = e->inode;
		n->foreign = e->foreign;
		n->unclaimed = e->unclaimed;
		n->temp = e->temp;
	}
}

bool model_has_below(const struct model *m, struct bytes dir)
{
	struct entry *e, *next;

	HASH_ITER (hh, m->entries, e, next) {
		if (path_below(entry_path(e), dir))
			return true;
	}
	return false;
}

bool model_has_foreign(const struct model *m, struct bytes dir)
{
	struct entry *e, *next;

	HASH_ITER (hh, m->entries, e, next) {
		if (e->foreign && path_below(entry_path(e), dir))
			return true;
	}
	return false;
}

size_t model_count(const struct model *m)
{
	return HASH_COUNT(m->entries);
}

static int model_order(const void *a, const void *b)
{
	return path_compare(entry_path(*(struct entry *const *)a),
	                    entry_path(*(struct entry *const *)b));
}

size_t model_sorted(const struct model *m, struct entry ***ret)
{
	struct entry **all = mem_array(model_count(m) + 1, sizeof(*all));
	struct entry *e, *next;
	size_t n = 0;

	HASH_ITER (hh, m->entries, e, next) {
		all[n++] = e;
	}
	qsort(all, n, sizeof(struct entry *), model_order);
	*ret = all;
	return n;
}
