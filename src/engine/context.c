/*
 * context: the ancestors that ride along in a flight's list (I12).
 *
 * One that the target does not have yet as a directory is made by being listed, so it is intended
 * like a member of the batch (I11): otherwise a directory could come into being that nobody would
 * ever delete.
 */
#include "base/log.h"
#include "base/mem.h"
#include "engine/internal.h"

static void context_add(struct engine *e, struct flight *f, struct bytes path)
{
	struct context *c;

	HASH_FIND(hh, f->contexts, path.p, path.n, c);
	if (c)
		return;
	c = mem_alloc(sizeof(*c));
	c->p = mem_dup(path.p, path.n);
	c->n = path.n;
	HASH_ADD_KEYPTR(hh, f->contexts, c->p, c->n, c);
	(void)ledger_intend(e->ledger, &path, 1); /* a failure was told for the members */
}

void context_intend(struct engine *e, struct flight *f, const struct wire_item *items, size_t n)
{
	struct bytes last = {NULL, 0};

	for (size_t i = 0; i < n; i++) {
		struct bytes dir = path_parent(items[i].path);
		struct belief b;

		if (last.p && bytes_equal(dir, last))
			continue;
		last = dir;
		for (; dir.n; dir = path_parent(dir)) {
			ledger_get(e->ledger, dir, &b);
			/* A member has been intended as one. */
			if ((!(b.state & LEDGER_CONFIRMED) || !S_ISDIR(b.fp.mode)) &&
			    (!f->batch || pathset_flight(e->set, dir) != f->batch))
				context_add(e, f, dir);
		}
	}
}

bool context_is_open(const struct engine *e, struct bytes path)
{
	struct flight *f, *next;
	struct context *c = NULL;

	HASH_ITER (hh, e->flights, f, next) {
		HASH_FIND(hh, f->contexts, path.p, path.n, c);
		if (c && !c->listed)
			return true;
	}
	return false;
}

void context_listed(struct flight *f, struct bytes path)
{
	struct context *c = NULL;

	for (path = path_parent(path); path.n && f->contexts; path = path_parent(path)) {
		HASH_FIND(hh, f->contexts, path.p, path.n, c);
		if (c)
			c->listed = true;
	}
}

static bool context_take(struct flight *f, struct bytes path)
{
	struct context *c;

	HASH_FIND(hh, f->contexts, path.p, path.n, c);
	if (!c)
		return false;
	HASH_DEL(f->contexts, c);
	free(c->p);
	free(c);
	return true;
}

/* Something about it is new at the target, and lost when that loses its power. */
bool context_is_news(struct engine *e, const struct wire_result_item *r)
{
	struct belief b;

	if (!path_valid(r->path))
		return false;
	ledger_get(e->ledger, r->path, &b);
	return !(b.state & LEDGER_CONFIRMED) || fingerprint_compare(&b.fp, &r->fp) != FP_SAME;
}

/* Whether it was made nobody can say: it stays intended, and is looked at. */
static void context_doubt(struct engine *e, struct flight *f, struct bytes path, int64_t now_ns)
{
	if (context_take(f, path))
		engine_put_look(e, path, f->born, now_ns, false, now_ns);
}

void context_result(struct engine *e, struct flight *f, const struct wire_result_item *r,
                    int64_t now_ns)
{
	struct mark m = {.path = r->path,
	                 .action = MARK_META,
	                 .flags = MARK_DIR,
	                 .born = f->born,
	                 .since_ns = now_ns};
	struct belief belief;
	bool news = context_is_news(e, r);

	if (e->config.trace)
		engine_say(e, LOG_DEBUG, "item.context", "path=%s batch=%llu result=%s mtime=%lld",
		           path_show(r->path), (unsigned long long)f->id,
		           wire_result_word((enum wire_result)r->result),
		           (long long)r->fp.mtime_ns);
	if (r->path.n && !path_valid(r->path))
		return;
	if (r->result == WIRE_CONTEXT_UNKNOWN) {
		context_doubt(e, f, r->path, now_ns);
		return;
	}
	ledger_get(e->ledger, r->path, &belief);
	/* An intent on it that is not this flight's own belongs to another. What moved is at the
	 * target all the same, as it was when the list was made. */
	if (context_take(f, r->path)) {
		ledger_confirm(e->ledger, r->path, &r->fp);
		zombie_intend(e, r->path, false);
		if (pathset_flight(e->set, r->path))
			(void)ledger_intend(e->ledger, &r->path, 1);
	} else if (r->result == WIRE_CONTEXT && !(belief.state & LEDGER_INTENDED)) {
		ledger_confirm(e->ledger, r->path, &r->fp);
	}
	if (news)
		trust_confirmed(e, r->path, false, now_ns);
	if (r->result == WIRE_CONTEXT_MOVED)
		pathset_put(e->set, &m, now_ns);
}

void context_keep(struct engine *e, struct bytes path, bool below)
{
	struct flight *f, *next;
	struct context *c, *cnext;

	HASH_ITER (hh, e->flights, f, next) {
		HASH_FIND(hh, f->contexts, path.p, path.n, c);
		if (c)
			(void)ledger_intend(e->ledger, &path, 1); /* ledger_trouble() tells */
		if (!below)
			continue;
		HASH_ITER (hh, f->contexts, c, cnext) {
			struct bytes mine = {c->p, c->n};

			if (path_below(mine, path))
				(void)ledger_intend(e->ledger, &mine, 1);
		}
	}
}

void context_end(struct engine *e, struct flight *f, bool unknown, int64_t now_ns)
{
	struct context *c, *next;

	HASH_ITER (hh, f->contexts, c, next) {
		struct bytes path = {c->p, c->n};

		/* Not listed after all, unless nobody can say. */
		if (unknown)
			engine_put_look(e, path, f->born, now_ns, false, now_ns);
		else
			ledger_withdraw(e->ledger, path);
		(void)context_take(f, path);
	}
}
