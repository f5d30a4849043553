/*
 * failure: items that failed by themselves (immutable at the target, unreadable here, refused by
 * the daemon's filter). They leave the path set, stay listed with the server's own words, and are
 * tried again at growing intervals, all that are due at once: one attempt a target, not one a file.
 */
#include "base/log.h"
#include "base/mem.h"
#include "engine/internal.h"

static struct failure *failure_find(const struct engine *e, struct bytes path)
{
	struct failure *f;

	HASH_FIND(hh, e->failed, path.p, (unsigned)path.n, f);
	return f;
}

static void failure_next(struct engine *e)
{
	struct failure *f, *next;

	e->failed_next_ns = INT64_MAX;
	HASH_ITER (hh, e->failed, f, next) {
		if (f->waiting && f->retry_ns < e->failed_next_ns)
			e->failed_next_ns = f->retry_ns;
	}
}

void failure_add(struct engine *e, const struct mark *m, struct bytes text, bool source_side,
                 int64_t now_ns)
{
	struct failure *f = failure_find(e, m->path);
	struct buf shown;

	buf_init(&shown, 4096);
	path_quote(&shown, text);
	if (!f) {
		f = mem_alloc(sizeof(*f));
		f->p = mem_dup(m->path.p, m->path.n);
		f->n = m->path.n;
		f->born = m->born;
		f->since_ns = m->since_ns;
		HASH_ADD_KEYPTR(hh, e->failed, f->p, (unsigned)f->n, f);
	}
	f->born = m->born < f->born ? m->born : f->born;
	if (f->tries == 0 || !f->text || !bytes_equal(bytes_of(f->text), buf_bytes(&shown)))
		engine_say(e, LOG_WARN, source_side ? "source.unreadable" : "item.failed",
		           "path=%s %.*s", path_show(m->path), (int)shown.n,
		           shown.n ? shown.p : "");
	free(f->text);
	f->text = mem_dup(shown.p, shown.n);
	f->source_side = source_side;
	f->tries++;
	if (!f->waiting) /* it may have been marked again on its way, and fail again */
		e->failed_waiting++;
	f->waiting = true;
	f->retry_ns = now_ns + pace_backoff_ns(TROUBLE_UNREACHABLE, f->tries, engine_random(e));
	if (f->retry_ns < e->failed_next_ns)
		e->failed_next_ns = f->retry_ns;
	buf_done(&shown);
}

bool failure_waits(const struct engine *e, struct bytes path)
{
	const struct failure *f = e->failed ? failure_find(e, path) : NULL;

	return f && f->waiting;
}

static void failure_free(struct engine *e, struct failure *f)
{
	if (f->waiting)
		e->failed_waiting--;
	HASH_DEL(e->failed, f);
	free(f->p);
	free(f->text);
	free(f);
}

/* Confirmed after all, or gone at the source. */
void failure_gone(struct engine *e, struct bytes path)
{
	struct failure *f = e->failed ? failure_find(e, path) : NULL;

	if (f)
		failure_free(e, f);
}

/* A look found nothing to do. One that failed meanwhile keeps its retry time. */
void failure_looked(struct engine *e, struct bytes path)
{
	struct failure *f = e->failed ? failure_find(e, path) : NULL;

	if (f && !f->waiting)
		failure_free(e, f);
}

/* A newer mark for it is in the path set: it does not wait any more, and the mark is as old as it.
 */
void failure_marked(struct engine *e, struct mark *m)
{
	struct failure *f = e->failed ? failure_find(e, m->path) : NULL;

	if (!f)
		return;
	m->born = f->born < m->born ? f->born : m->born;
	m->since_ns = f->since_ns < m->since_ns ? f->since_ns : m->since_ns;
	if (f->waiting) {
		f->waiting = false;
		e->failed_waiting--;
	}
}

void failure_step(struct engine *e, bool all, int64_t now_ns)
{
	struct failure *f, *next;

	if (!all && now_ns < e->failed_next_ns)
		return;
	HASH_ITER (hh, e->failed, f, next) {
		/* A little ahead of time: what failed together is tried together. */
		if (!f->waiting || (!all && f->retry_ns > now_ns + NS_PER_S / 2))
			continue;
		f->waiting = false;
		e->failed_waiting--;
		engine_put_look(e, (struct bytes){f->p, f->n}, f->born, f->since_ns, true, now_ns);
	}
	failure_next(e);
}

void failure_clear(struct engine *e)
{
	struct failure *f, *next;

	HASH_ITER (hh, e->failed, f, next) {
		failure_free(e, f);
	}
}

void engine_each_failure(struct engine *e, bool (*fn)(const struct engine_failure *f, void *arg),
                         void *arg)
{
	struct failure *f, *next;

	HASH_ITER (hh, e->failed, f, next) {
		struct engine_failure shown = {{f->p, f->n}, f->text, f->source_side, f->retry_ns};

		if (!fn(&shown, arg))
			return;
	}
}
