/*
 * What must hold in the simulated world: at every step, whenever a barrier is said to be reached,
 * and when all is quiet.
 */
#include <stdio.h>
#include "base/mem.h"
#include "base/path.h"
#include "server.h"

struct check {
	/* A barrier that somebody waits for: the source as it was, and what was changed since. */
	bool noted,
	        blind; /* blind: the target lost something; nobody can know before it is quiet */
	uint64_t drain;
	struct model source, touched;
	struct model approved;
	uint64_t peak[2]; /* entries, in this and the previous four minutes */
	int64_t slot;
};

void check_new(struct world *w)
{
	w->check = mem_alloc(sizeof(*w->check));
}

void check_free(struct world *w)
{
	model_clear(&w->check->source);
	model_clear(&w->check->touched);
	model_clear(&w->check->approved);
	free(w->check);
}

void check_forget(struct world *w, bool target_lost)
{
	w->check->noted = false;
	w->check->blind = w->check->blind || target_lost;
	w->check->peak[0] = w->check->peak[1] = 0;
	if (target_lost)
		return;
	model_clear(&w->check->approved);
	w->proven_ns = 0;
}

void check_changed(struct world *w, struct bytes path)
{
	if (w->check->noted)
		(void)model_put(&w->check->touched, path);
}

static bool touched(struct world *w, struct bytes path)
{
	for (; path.n; path = path_parent(path)) {
		if (model_find(&w->check->touched, path))
			return true;
	}
	return false;
}

/* --- the brake --- */

struct brake_count {
	struct world *w;
	uint64_t going, needless, making;
};

static bool count_mark(const struct mark *mark, bool in_flight, void *arg)
{
	struct brake_count *n = arg;
	struct belief belief;

	ledger_get(n->w->ledger, mark->path, &belief);
	n->going += mark->action == MARK_DELETE;
	n->needless += mark->action == MARK_DELETE && belief.state == LEDGER_ABSENT;
	/* A new directory may be known by what is in it before its own answer comes. */
	n->making += in_flight && mark->action < MARK_DELETE &&
	             (belief.state == LEDGER_INTENDED || (mark->flags & MARK_FRESH));
	return true;
}

/* Entries when all deletions that are known have gone out: at least, and at most. What is on its
 * way may turn out to be gone here, and what goes may be gone there. */
static void entries_left(struct world *w, uint64_t *least, uint64_t *most)
{
	struct brake_count n = {.w = w};
	uint64_t entries = ledger_entries(w->ledger);

	engine_each_mark(w->engine, count_mark, &n);
	*least = entries > n.going + n.making ? entries - n.going - n.making : 0;
	*most = entries > n.going - n.needless ? entries - n.going + n.needless : 0;
}

static void count_entries(struct world *w)
{
	struct check *c = w->check;
	int64_t slot = w->now_ns / (240 * S);
	uint64_t entries, most;

	if (!w->mood.brake)
		return;
	entries_left(w, &entries, &most);
	if (slot != c->slot)
		c->peak[1] = slot == c->slot + 1 ? c->peak[0] : 0;
	if (slot != c->slot || entries > c->peak[0])
		c->peak[0] = entries;
	c->slot = slot;
}

static bool find_held(const struct engine_hold *h, void *arg)
{
	struct bytes *path = arg;

	for (size_t i = 0; i < h->count; i++) {
		if (bytes_equal(h->paths[i], *path)) {
			path->n = 0;
			return false;
		}
	}
	return true;
}

/* I8: what is held, and what the brake would hold, goes only when it was approved. */
void check_batch(struct world *w, const struct wire_batch *batch, enum session_class class)
{
	struct check *c = w->check;
	uint64_t peak, least, left, loss;

	if (class != SESSION_DELETE)
		return;
	if (w->mood.keep_deleted)
		world_violation(w, "I8: a deletion, though all is to be kept",
		                batch->items[0].path);
	if (!w->mood.blind && w->now_ns - w->proven_ns > 10 * S)
		world_violation(w, "I8: a deletion without a proof", batch->items[0].path);
	if (w->frozen || w->paused)
		world_violation(w, "I8: a deletion while frozen or paused", batch->items[0].path);
	peak = c->peak[0] > c->peak[1] ? c->peak[0] : c->peak[1];
	entries_left(w, &least, &left);
	loss = peak > left ? peak - left : 0;
	for (size_t i = 0; i < batch->count && w->mood.brake; i++) {
		struct bytes path = batch->items[i].path;

		if (batch->items[i].flags & WIRE_ITEM_SPARE)
			continue;
		if (!model_find(&c->approved, path) && loss > SIM_BRAKE_FILES &&
		    loss * 100 > peak * SIM_BRAKE_PERCENT + 100)
			world_violation(w, "I8: the brake let a deletion go", path);
		engine_each_hold(w->engine, find_held, &path);
		if (!path.n)
			world_violation(w, "I8: a held deletion goes", batch->items[i].path);
	}
}

static bool approve_one(const struct engine_hold *h, void *arg)
{
	struct world *w = arg;

	for (size_t i = 0; i < h->count; i++)
		(void)model_put(&w->check->approved, h->paths[i]);
	return false;
}

/* What was wanted is no loss. */
void check_gone(struct world *w, struct bytes path)
{
	struct check *c = w->check;
	struct entry *e = model_find(&c->approved, path);

	struct belief belief;

	ledger_get(w->ledger, path, &belief);
	if (!e || belief.state & LEDGER_CONFIRMED)
		return;
	model_remove(&c->approved, e);
	c->peak[0] -= c->peak[0] > 0;
	c->peak[1] -= c->peak[1] > 0;
}

static bool first_hold(const struct engine_hold *h, void *arg)
{
	*(unsigned *)arg = h->id;
	return false;
}

void check_approve_all(struct world *w)
{
	unsigned id = 0;

	engine_each_hold(w->engine, first_hold, &id);
	if (!id)
		return;
	engine_each_hold(w->engine, approve_one, w);
	if (engine_approve(w->engine, id, w->now_ns) < 0)
		world_violation(w, "a hold cannot be approved", BYTES(""));
}

/* --- the ledger --- */

/* I11: whatever the target holds by our doing, the ledger knows. */
void check_superset(struct world *w)
{
	struct entry *e, *next;

	if (w->mood.keep_deleted) /* then nothing depends on it */
		return;
	HASH_ITER (hh, w->target.entries, e, next) {
		struct belief belief;

		if (e->foreign || e->temp || e->path[0] == '.')
			continue;
		ledger_get(w->ledger, entry_path(e), &belief);
		if (belief.state == LEDGER_ABSENT)
			world_violation(w, "I11: the target holds a name that the ledger forgot",
			                entry_path(e));
	}
}

/* --- equality --- */

static bool entry_differs(const struct entry *a, const struct entry *b)
{
	if (a->fp.mode != b->fp.mode || a->fp.uid != b->fp.uid)
		return true;
	return !S_ISDIR(a->fp.mode) &&
	       (a->content != b->content || a->fp.mtime_ns != b->fp.mtime_ns ||
	        a->fp.size != b->fp.size);
}

/* A file cannot take the place of a directory in which somebody else keeps something, or in which
 * everything is kept. */
static bool blocked(struct world *w, struct bytes path)
{
	for (; path.n; path = path_parent(path)) {
		struct entry *e = model_find(&w->source, path), *t = model_find(&w->target, path);

		if (e && t && !S_ISDIR(e->fp.mode) && S_ISDIR(t->fp.mode) &&
		    (w->mood.keep_deleted || model_has_foreign(&w->target, path)))
			return true;
	}
	return false;
}

static void check_entry(struct world *w, const struct entry *e)
{
	struct entry *t = model_find(&w->target, entry_path(e));

	if (blocked(w, entry_path(e)))
		return;
	if (!t) {
		world_violation(w, "an entry is missing at the target", entry_path(e));
	} else if (entry_differs(e, t)) {
		world_trace(w,
		            "source mode %o uid %u content %llu mtime %lld, target mode %o uid %u "
		            "content %llu mtime %lld",
		            e->fp.mode, e->fp.uid, (unsigned long long)e->content,
		            (long long)e->fp.mtime_ns, t->fp.mode, t->fp.uid,
		            (unsigned long long)t->content, (long long)t->fp.mtime_ns);
		world_violation(w, "an entry differs at the target", entry_path(e));
	}
}

void check_equal(struct world *w)
{
	struct entry *e, *next;

	HASH_ITER (hh, w->source.entries, e, next) {
		check_entry(w, e);
	}
	HASH_ITER (hh, w->target.entries, e, next) {
		if (!e->foreign && (e->temp || e->path[0] != '.') &&
		    !model_find(&w->source, entry_path(e)) && !w->mood.keep_deleted)
			world_violation(w, "an entry was not removed at the target", entry_path(e));
	}
	w->check->blind = false;
}

/* --- barriers --- */

static bool looked_at(struct world *w)
{
	for (struct event *e = w->events; e; e = e->next) {
		if (!e->asked && e->born <= w->check->drain)
			return false;
	}
	return true;
}

static void reached(struct world *w)
{
	struct check *c = w->check;
	struct entry *e, *next;

	world_trace(w, "barrier %llu is reached", (unsigned long long)c->drain);
	HASH_ITER (hh, w->source.entries, e, next) {
		if (model_find(&c->source, entry_path(e)) && !touched(w, entry_path(e)))
			check_entry(w, e);
	}
	HASH_ITER (hh, w->target.entries, e, next) {
		if (!e->foreign && !e->temp && e->path[0] != '.' &&
		    !model_find(&w->source, entry_path(e)) && !touched(w, entry_path(e)) &&
		    !w->mood.keep_deleted)
			world_violation(w, "a barrier is reached before a deletion", entry_path(e));
	}
}

/* engine_settled() tells the truth: every change up to the barrier is at the target, or the path
 * was changed again since. */
void check_barrier(struct world *w)
{
	struct check *c = w->check;

	count_entries(w);
	if (c->noted && looked_at(w) &&
	    engine_settled(w->engine, c->drain, w->now_ns) == ENGINE_SETTLED) {
		reached(w);
		c->noted = false;
	}
	if (!c->noted && !c->blind && world_random(w, 20) == 0) {
		c->noted = true;
		c->drain = w->drain;
		model_clear(&c->touched);
		model_copy(&c->source, &w->source);
	}
}
