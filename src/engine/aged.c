/*
 * aged: sets of paths with the age of the mark they came from.
 */
#include "base/mem.h"
#include "engine/internal.h"

struct aged_path *aged_find(struct aged_path *set, struct bytes path)
{
	struct aged_path *a = NULL;

	if (set)
		HASH_FIND(hh, set, path.p, (unsigned)path.n, a);
	return a;
}

struct aged_path *aged_add(struct aged_path **set, struct bytes path, uint64_t born,
                           int64_t since_ns)
{
	struct aged_path *a = aged_find(*set, path);

	if (a) {
		a->born = born < a->born ? born : a->born;
		a->since_ns = since_ns < a->since_ns ? since_ns : a->since_ns;
		return a;
	}
	a = mem_alloc(sizeof(*a));
	a->p = mem_dup(path.p, path.n);
	a->n = path.n;
	a->born = born;
	a->since_ns = since_ns;
	HASH_ADD_KEYPTR(hh, *set, a->p, (unsigned)a->n, a);
	return a;
}

bool aged_has(struct aged_path *set, struct bytes path)
{
	return aged_find(set, path) != NULL;
}

bool aged_has_below(struct aged_path *set, struct bytes dir)
{
	struct aged_path *a, *next;

	HASH_ITER (hh, set, a, next) {
		if (path_below((struct bytes){a->p, a->n}, dir))
			return true;
	}
	return false;
}

void aged_remove(struct aged_path **set, struct bytes path)
{
	struct aged_path *a = aged_find(*set, path);

	if (!a)
		return;
	HASH_DEL(*set, a);
	free(a->p);
	free(a);
}

void aged_clear(struct aged_path **set)
{
	struct aged_path *a, *next;

	HASH_ITER (hh, *set, a, next) {
		HASH_DEL(*set, a);
		free(a->p);
		free(a);
	}
}

struct mark mark_copy(const struct mark *m)
{
	struct mark copy = *m;

	copy.path.p = mem_dup(m->path.p, m->path.n);
	return copy;
}
