/*
 * above: the directories above its items that a simulated list names.
 */
#include "base/path.h"
#include "server.h"

void above_list(struct world *w, struct server *s, struct bytes path)
{
	for (struct bytes dir = path_parent(path); dir.n; dir = path_parent(dir)) {
		const struct entry *e = model_find(&w->source, dir);

		if (e && S_ISDIR(e->fp.mode) && !model_find(&s->above, dir))
			model_put(&s->above, dir)->fp = e->fp;
	}
}

void above_claim(struct world *w, struct bytes path)
{
	for (struct bytes dir = path_parent(path); dir.n; dir = path_parent(dir)) {
		struct entry *t = model_find(&w->target, dir);

		if (t)
			t->unclaimed = false;
	}
}

void above_make_way(struct world *w, const struct server *s, struct bytes path)
{
	struct bytes dir = path_parent(path);
	struct entry *t;

	if (!dir.n)
		return;
	above_make_way(w, s, dir);
	t = model_find(&w->target, dir);
	if (t && !S_ISDIR(t->fp.mode) && model_find(&s->above, dir))
		model_remove(&w->target, t);
}

void above_leave(struct server *s, struct bytes dir)
{
	struct entry *listed = model_find(&s->above, dir);

	if (listed)
		model_remove(&s->above, listed);
}

void above_ensure(struct world *w, struct server *s, struct bytes path)
{
	struct bytes dir = path_parent(path);

	if (!dir.n)
		return;
	above_ensure(w, s, dir);
	struct entry *e = model_find(&w->source, dir), *t = model_find(&w->target, dir);
	struct wire_result_item item = {.index = UINT32_MAX, .result = WIRE_CONTEXT, .path = dir};
	struct wire_report m = {s->batch, &item, 1};

	above_leave(s, dir);
	if (!e || !S_ISDIR(e->fp.mode))
		return;
	if (!t || !S_ISDIR(t->fp.mode)) {
		t = model_put(&w->target, dir);
		t->foreign = false;
	}
	t->fp = item.fp = e->fp;
	if (world_random(w, 12) == 0) /* an error that names it, or nobody */
		item.result = WIRE_CONTEXT_UNKNOWN;
	if (engine_report(w->engine, &m, w->now_ns) < 0)
		world_violation(w, "the engine refuses a directory that rode along", dir);
}

void above_ensure_late(struct world *w, struct server *s, struct bytes path)
{
	struct bytes dir = path_parent(path), above = path_parent(dir);
	const struct entry *t;

	if (!dir.n)
		return;
	above_ensure_late(w, s, dir);
	t = above.n ? model_find(&w->target, above) : NULL;
	if (!model_find(&s->above, dir) || (above.n && (!t || !S_ISDIR(t->fp.mode))))
		return;
	if (!model_find(&w->target, dir)) {
		struct entry *made = model_put(&w->target, dir);

		made->fp = model_find(&s->above, dir)->fp;
		world_trace(w, "server %llu makes %s late", (unsigned long long)s->id, made->path);
	}
	above_leave(s, dir);
}
