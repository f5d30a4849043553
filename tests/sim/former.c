/*
 * former: names that files had before, and the links that a simulated receiver makes of them. A
 * wrong claim shows as wrong content.
 */
#include "base/path.h"
#include "server.h"

static const struct wire_former *stand_in(const struct wire_batch *batch, struct bytes dir)
{
	for (size_t i = 0; i < batch->formers_n; i++) {
		if (batch->formers[i].item == WIRE_NO_ITEM &&
		    bytes_equal(batch->formers[i].path, dir))
			return &batch->formers[i];
	}
	return NULL;
}

static bool is_borne_out(struct world *w, const struct server *s, const struct wire_former *former,
                         const struct server_item *it)
{
	const struct fingerprint *seen = &it->seen.fp;

	if (!it->exists || !S_ISREG(seen->mode) || model_find(&w->source, former->path))
		return false;
	if (seen->dev != former->fp.dev || seen->ino != former->fp.ino)
		return false;
	return s->class == SESSION_CONTENT || fingerprint_compare(&former->fp, seen) == FP_SAME;
}

void former_list(struct world *w, struct server *s, const struct wire_batch *batch)
{
	for (size_t i = 0; i < batch->formers_n; i++) {
		const struct wire_former *former = &batch->formers[i], *stand;
		struct server_item *it;

		if (former->item == WIRE_NO_ITEM)
			continue;
		it = &s->items[former->item];
		if (!is_borne_out(w, s, former, it))
			continue;
		it->with_former = true;
		memcpy(it->former, former->path.p, former->path.n);
		above_list(w, s, former->path);
		for (struct bytes dir = path_parent(former->path); dir.n; dir = path_parent(dir)) {
			struct entry *e = model_find(&w->source, dir);

			stand = stand_in(batch, dir);
			if (!stand)
				world_violation(w, "a directory above a former name is not told",
				                dir);
			else if (!e || !S_ISDIR(e->fp.mode))
				model_put(&s->stands, dir)->fp = stand->fp;
		}
		world_trace(w, "server %llu lists %s as it was %s", (unsigned long long)s->id,
		            it->path, it->former);
	}
}

void former_set(struct world *w, struct entry *t, const struct fingerprint *fp)
{
	struct entry *e, *next;

	t->fp = *fp;
	if (!t->inode)
		return;
	HASH_ITER (hh, w->target.entries, e, next) {
		if (e->inode == t->inode)
			e->fp = *fp;
	}
}

/* The directories above the former name; false: something else is in the way. */
static bool stand(struct world *w, struct server *s, struct bytes dir)
{
	const struct entry *listed = model_find(&s->stands, dir);
	struct entry *t;

	if (!dir.n)
		return true;
	if (!stand(w, s, path_parent(dir)))
		return false;
	t = model_find(&w->target, dir);
	if (t && !S_ISDIR(t->fp.mode))
		return false;
	if (!t && !listed)
		return false;
	if (!t)
		t = model_put(&w->target, dir);
	if (listed)
		t->fp = listed->fp;
	return true;
}

static void write_file(struct world *w, struct entry *t, const struct server_item *it,
                       uint64_t content)
{
	t->content = content;
	t->inode = ++w->next_inode;
	t->foreign = false;
	t->fp = it->seen.fp;
}

bool former_apply(struct world *w, struct server *s, struct server_item *it, unsigned *flags)
{
	bool late = s->orphan || s->state != SERVER_LISTED;
	const struct entry *now = model_find(&w->source, it->item.path);
	struct entry *t = model_find(&w->target, it->item.path), *o;
	const struct fingerprint *fp = &it->seen.fp;
	bool same = t && S_ISREG(t->fp.mode) && t->fp.size == fp->size &&
	            t->fp.mtime_ns == fp->mtime_ns;
	struct bytes former = bytes_of(it->former);

	if (!it->with_former || (same && s->class == SESSION_QUICK))
		return false;
	if (!late)
		above_ensure(w, s, former);
	if (!stand(w, s, path_parent(former)))
		return false;
	o = model_find(&w->target, former);
	if (o && S_ISDIR(o->fp.mode))
		return false;
	if (s->class == SESSION_CONTENT || !o || !S_ISREG(o->fp.mode) || o->fp.size != fp->size ||
	    o->fp.mtime_ns != fp->mtime_ns)
		write_file(w, o ? o : (o = model_put(&w->target, former)), it,
		           late || !now ? it->seen.content : now->content);
	if (!o->inode)
		o->inode = ++w->next_inode;
	t = model_put(&w->target, it->item.path);
	t->content = o->content;
	t->inode = o->inode;
	t->foreign = false;
	former_set(w, o, fp);
	w->links++;
	*flags |= s->class == SESSION_CONTENT ? WIRE_DATA_SENT : 0;
	return true;
}

void former_end(struct world *w, struct server *s)
{
	struct entry *e, *next;

	HASH_ITER (hh, s->stands.entries, e, next) {
		const struct entry *now = model_find(&w->source, entry_path(e));
		struct wire_result_item item = {.index = UINT32_MAX,
		                                .result = WIRE_CONTEXT_MOVED,
		                                .fp = e->fp,
		                                .path = entry_path(e)};
		struct wire_report m = {s->batch, &item, 1};

		if (!s->orphan && now && S_ISDIR(now->fp.mode) &&
		    engine_report(w->engine, &m, w->now_ns) < 0)
			world_violation(w, "the engine refuses a directory that is there again",
			                entry_path(e));
	}
}

static void check_one(struct world *w, const struct server_item *x, const struct server_item *y)
{
	struct bytes former = bytes_of(x->former), other = bytes_of(y->path);

	if (!x->with_former || y->done || y->item.flags & WIRE_ITEM_STAMP)
		return;
	if (bytes_equal(former, other) || path_below(other, former) ||
	    (y->exclusive && path_below(former, other)))
		world_violation(w, "I6: work at a former name that is listed", former);
}

void former_check(struct world *w, const struct server_item *x, const struct server_item *y)
{
	check_one(w, x, y);
	check_one(w, y, x);
	if (x->with_former && y->with_former && !strcmp(x->former, y->former))
		world_violation(w, "I6: a former name in two batches", bytes_of(x->former));
}
