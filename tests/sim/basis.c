/* Names that new files may be copies of: as the worker claims it, and the receiver finds out. */
#include "base/mem.h"
#include "base/path.h"
#include "server.h"

void basis_copy(struct world *w, struct entry *e)
{
	struct bytes dir = path_parent(entry_path(e));
	struct entry *o, *next;

	HASH_ITER (hh, w->source.entries, o, next) {
		if (o == e || !S_ISREG(o->fp.mode) || !bytes_equal(path_parent(entry_path(o)), dir))
			continue;
		e->content = o->content;
		e->fp.size = o->fp.size;
		return;
	}
}

void basis_list(struct server *s, const struct wire_batch *batch)
{
	for (size_t i = 0; i < batch->bases_n; i++) {
		const struct wire_basis *basis = &batch->bases[i];
		struct server_item *it = &s->items[basis->item];

		check(basis->path.n < sizeof(it->basis));
		memset(it->basis, 0, sizeof(it->basis));
		memcpy(it->basis, basis->path.p, basis->path.n);
	}
}

unsigned basis_apply(struct world *w, const struct server_item *it, uint64_t content)
{
	const struct entry *e = it->basis[0] ? model_find(&w->source, bytes_of(it->basis)) : NULL;
	const struct entry *t;

	/* What is not the same here is not claimed. */
	if (!e || !S_ISREG(e->fp.mode) || e->content != content)
		return 0;
	w->copies++;
	t = model_find(&w->target, bytes_of(it->basis));
	if (t && S_ISREG(t->fp.mode) && t->content == content)
		return WIRE_CLAIMED;
	return WIRE_CLAIMED | WIRE_MISTAKEN;
}
