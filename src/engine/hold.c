/*
 * hold: deletions that the brake took out of the path set, until a person approves exactly that
 * set. A name that reappears at the source leaves its set by itself: what is held stands as
 * intended in the ledger, so that any look that finds it again brings out a mark.
 */
#include <errno.h>
#include "base/log.h"
#include "base/mem.h"
#include "engine/internal.h"

bool hold_with_children(struct engine *e, const struct mark *m)
{
	struct aged_path *a, *next;

	HASH_ITER (hh, e->held_paths, a, next) {
		if (!path_below((struct bytes){a->p, a->n}, m->path))
			continue;
		for (struct hold *h = e->holds; h; h = h->next) {
			if (h->id == a->hold)
				h->count++;
		}
		aged_add(&e->held_paths, m->path, m->born, m->since_ns)->hold = a->hold;
		return true;
	}
	return false;
}

static void hold_free(struct hold *h)
{
	free(h->rule);
	free(h);
}

/* Looked at once more: it may have reappeared before it was known to be held. */
static void hold_path(struct engine *e, struct hold *h, const struct mark *m, int64_t now_ns)
{
	struct belief belief;

	/* What went meanwhile is no deletion any more, and may be somebody else's by now (I8). */
	ledger_get(e->ledger, m->path, &belief);
	if (belief.state == LEDGER_ABSENT || hold_has(e, m->path))
		return;
	aged_add(&e->held_paths, m->path, m->born, m->since_ns)->hold = h->id;
	h->count++;
	(void)ledger_intend(e->ledger, &m->path, 1); /* ledger_trouble() tells */
	engine_put_look(e, m->path, m->born, m->since_ns, false, now_ns);
}

void hold_add(struct engine *e, struct batch *b, const char *rule, int64_t now_ns)
{
	struct hold *h = e->holds;

	/* What one rule holds in a row is one decision, until a person has seen it. */
	if (!h || h->shown || strcmp(h->rule, rule) != 0) {
		h = mem_alloc(sizeof(*h));
		h->id = ++e->next_hold;
		h->rule = mem_strdup(rule);
		h->since_ns = now_ns;
		h->next = e->holds;
		e->holds = h;
	}
	for (size_t i = 0; i < batch_count(b); i++) {
		struct mark m = mark_copy(batch_mark(b, i));

		batch_drop(b, i, now_ns);
		hold_path(e, h, &m, now_ns);
		free((char *)m.path.p);
	}
	batch_end(b, now_ns, now_ns);
	if (h->count == 0) {
		e->holds = h->next;
		hold_free(h);
		return;
	}
	if (h->count < 2 * h->told)
		return;
	h->told = h->count;
	engine_say(
	        e, LOG_WARN, "brake.held",
	        "id=%u %zu deletions are held (%s). See: lockstep held. To let them go: lockstep "
	        "approve %u %s",
	        h->id, h->count, rule, h->id, e->config.job);
}

bool hold_has(const struct engine *e, struct bytes path)
{
	return e->held_paths && aged_has(e->held_paths, path);
}

void hold_leave(struct engine *e, struct bytes path)
{
	struct aged_path *held = NULL;

	if (e->held_paths)
		HASH_FIND(hh, e->held_paths, path.p, (unsigned)path.n, held);
	if (!held)
		return;
	for (struct hold **p = &e->holds; *p; p = &(*p)->next) {
		struct hold *h = *p;

		if (h->id == held->hold) {
			if (--h->count == 0) {
				*p = h->next;
				hold_free(h);
			}
			break;
		}
	}
	aged_remove(&e->held_paths, path);
}

size_t hold_count(const struct engine *e)
{
	return HASH_COUNT(e->held_paths);
}

/* The end of the engine: the next one finds them again. */
void hold_clear(struct engine *e)
{
	struct aged_path *a, *next;

	HASH_ITER (hh, e->held_paths, a, next)
		ledger_withdraw(e->ledger, (struct bytes){a->p, a->n});
	aged_clear(&e->held_paths);
	while (e->holds) {
		struct hold *h = e->holds;

		e->holds = h->next;
		hold_free(h);
	}
}

void engine_each_hold(struct engine *e, bool (*fn)(const struct engine_hold *h, void *arg),
                      void *arg)
{
	bool more = true;

	for (struct hold *h = e->holds; h && more; h = h->next) {
		struct bytes *paths = mem_array(h->count + 1, sizeof(*paths));
		struct aged_path *a, *next;
		size_t n = 0;

		h->shown = true;
		HASH_ITER (hh, e->held_paths, a, next) {
			if (a->hold == h->id && n < h->count)
				paths[n++] = (struct bytes){a->p, a->n};
		}
		more = fn(&(struct engine_hold){h->id, h->rule, n, paths, h->since_ns}, arg);
		free(paths);
	}
}

int engine_approve(struct engine *e, unsigned id, int64_t now_ns)
{
	if (id == 0) {
		if (!e->held_why)
			return -ENOENT;
		engine_set_held(e, NULL, now_ns);
		return 0;
	}
	for (struct hold **p = &e->holds; *p; p = &(*p)->next) {
		struct hold *h = *p;

		if (h->id != id)
			continue;
		struct aged_path *a, *next;

		HASH_ITER (hh, e->held_paths, a, next) {
			struct bytes path = {a->p, a->n};

			if (a->hold != id)
				continue;
			aged_add(&e->approved, path, a->born, a->since_ns);
			engine_put_look(e, path, a->born, a->since_ns, false, now_ns);
			aged_remove(&e->held_paths, path);
		}
		*p = h->next;
		hold_free(h);
		return 0;
	}
	return -ENOENT;
}
