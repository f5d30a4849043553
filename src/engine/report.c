/*
 * report: what a worker says of the items of a flight, and what follows for their marks.
 */
#include <errno.h>
#include <stdio.h>
#include "base/log.h"
#include "base/mem.h"
#include "engine/internal.h"

void flight_again(struct engine *e, struct flight *f, size_t i, bool doubt, int64_t now_ns,
                  int64_t not_before_ns)
{
	const struct mark *m = batch_mark(f->batch, i);

	engine_content_due(e, m->path, m->born, m->since_ns, doubt);
	batch_nack(f->batch, i, MARK_LOOK, now_ns, not_before_ns);
}

void flight_back(struct engine *e, struct flight *f, size_t i, enum mark_action action, bool linked,
                 int64_t now_ns)
{
	if (linked && action == MARK_CONTENT)
		flight_again(e, f, i, true, now_ns, now_ns);
	else
		batch_nack(f->batch, i, action, now_ns, now_ns);
}

static void flight_failed(struct engine *e, struct flight *f, size_t i,
                          const struct wire_result_item *r, int64_t now_ns)
{
	const struct mark *m = batch_mark(f->batch, i);

	if (rename_refused(e, f, i, r, now_ns) || copy_refused(e, f, i, r, now_ns))
		return;
	f->clean = false;
	if (r->result == WIRE_FAILED && r->trouble != TROUBLE_NONE && r->trouble < TROUBLE_KINDS) {
		engine_trouble(e, (enum trouble)r->trouble, r->text, now_ns);
		e->trouble_sending = true;
		flight_back(e, f, i, m->action, m->link != 0, now_ns);
		return;
	}
	failure_add(e, m, r->text, r->result == WIRE_UNREADABLE, now_ns);
	batch_drop(f->batch, i, now_ns);
}

/* Something of ours is still to be swept below: for that the answer tells what it is, and it is
 * deleted once more. */
static void flight_kept_for_sweep(struct engine *e, struct flight *f, size_t i, int64_t now_ns)
{
	const struct mark *m = batch_mark(f->batch, i);
	struct belief b;

	ledger_get(e->ledger, m->path, &b);
	if (!(b.state & LEDGER_CONFIRMED) || !S_ISDIR(b.fp.mode))
		b.fp = (struct fingerprint){.mode = S_IFDIR};
	ledger_confirm(e->ledger, m->path, &b.fp);
	zombie_intend(e, m->path, false);
	aged_remove(&e->approved, m->path);
	batch_nack(f->batch, i, MARK_LOOK, now_ns, now_ns + NS_PER_S);
}

/* A directory stays at the target because something is in it: somebody else's, unless we know of
 * entries below that have still to go. */
static void flight_kept(struct engine *e, struct flight *f, size_t i, int64_t now_ns)
{
	const struct mark *m = batch_mark(f->batch, i);
	bool ours;

	if (sweep_kept(e, f, m->path)) {
		flight_kept_for_sweep(e, f, i, now_ns);
		return;
	}
	ours = ledger_has_below(e->ledger, m->path);
	if (ours && hold_with_children(e, m)) {
		batch_drop(f->batch, i, now_ns);
		return;
	}
	if (ours) {
		/* Approved was the deletion of what it seemed to be, not of what is in it now. */
		aged_remove(&e->approved, m->path);
		batch_nack(f->batch, i, MARK_LOOK, now_ns, now_ns + NS_PER_S);
		return;
	}
	e->kept++;
	ledger_confirm_gone(e->ledger, m->path);
	zombie_intend(e, m->path, true);
	flight_was_approved(e, m->path);
	failure_gone(e, m->path);
	engine_say(e, LOG_INFO, "target.kept",
	           "path=%s stays: it holds entries that lockstep did not put there",
	           path_show(m->path));
	batch_ack(f->batch, i, now_ns);
}

static void flight_trace(struct engine *e, const struct flight *f, size_t i,
                         const struct wire_result_item *r, int64_t now_ns)
{
	static const char *const classes[SESSION_CLASSES] = {"quick", "content", "delete",
	                                                     "compare", "checksum"};
	const struct mark *m = batch_mark(f->batch, i);

	if (!e->config.trace)
		return;
	engine_say(e, LOG_DEBUG, "item.result",
	           "path=%s batch=%llu session=%llu class=%s result=%s ms=%lld", path_show(m->path),
	           (unsigned long long)f->id, (unsigned long long)f->session, classes[f->class],
	           wire_result_word((enum wire_result)r->result),
	           (long long)((now_ns - m->since_ns) / 1000000));
}

/* A name of several that was to go, and is there again: its other names may have been sent without
 * it, and a look at it alone finds nothing to do. */
static bool flight_back_at_once(struct engine *e, const struct flight *f, const struct mark *m)
{
	struct belief b;

	ledger_get(e->ledger, m->path, &b);
	return f->class == SESSION_DELETE && (b.state & LEDGER_CONFIRMED) && S_ISREG(b.fp.mode) &&
	       b.fp.nlink > 1;
}

/* Confirmed, but for an attribute that cannot be read here or kept there: told now and then. */
static void flight_unkept(struct engine *e, const struct mark *m, struct bytes text)
{
	autofree char *why = mem_strdup(path_show(text));

	(void)snprintf(e->unkept_text, sizeof(e->unkept_text), "%s: %s", path_show(m->path), why);
	if ((e->unkept & (e->unkept + 1)) == 0) /* 1, 2, 4, 8... */
		engine_say(e, LOG_WARN, "item.unkept", "path=%s %s", path_show(m->path), why);
	e->unkept++;
}

/* It may have arrived: whatever a look finds next under this name, however long after, with the
 * same size and time, its content may be another. */
static void flight_doubt(struct engine *e, const struct mark *m)
{
	if ((m->action == MARK_QUICK || m->action == MARK_CONTENT) && !(m->flags & MARK_DIR))
		engine_content_due(e, m->path, m->born, m->since_ns, true);
}

void flight_mark_result(struct engine *e, struct flight *f, size_t i,
                        const struct wire_result_item *r, int64_t now_ns)
{
	const struct mark *m = batch_mark(f->batch, i);

	flight_trace(e, f, i, r, now_ns);
	if (r->result == WIRE_ACKED || r->result == WIRE_MOVED)
		context_listed(f, m->path);
	if (r->text.n && (r->result == WIRE_ACKED || r->result == WIRE_MOVED))
		flight_unkept(e, m, r->text);
	switch ((enum wire_result)r->result) {
	case WIRE_ACKED:
		f->brought = true;
		flight_acked(e, f, i, r, now_ns);
		return;
	case WIRE_MOVED:
		if (f->class != SESSION_DELETE)
			(void)flight_confirm(e, f, m, r,
			                     now_ns); /* if not, then at the next time */
		flight_again(e, f, i, false, now_ns, now_ns);
		return;
	case WIRE_SAME:
		ledger_withdraw(e->ledger, m->path);
		batch_nack(f->batch, i, MARK_META, now_ns, now_ns);
		return;
	case WIRE_VANISHED:
		ledger_withdraw(e->ledger, m->path);
		if (m->action == MARK_CONTENT)
			engine_content_due(e, m->path, m->born, m->since_ns,
			                   !(m->flags & MARK_SIGHT));
		batch_nack(f->batch, i, flight_back_at_once(e, f, m) ? MARK_QUICK : MARK_LOOK,
		           now_ns, now_ns);
		return;
	case WIRE_KEPT:
		flight_kept(e, f, i, now_ns);
		return;
	case WIRE_UNSENT:
		ledger_withdraw(e->ledger, m->path);
		batch_nack(f->batch, i, m->action, now_ns, now_ns);
		return;
	case WIRE_UNKNOWN:
		flight_doubt(e, m);
		flight_back(e, f, i, m->action == MARK_META ? MARK_QUICK : m->action, m->link != 0,
		            now_ns);
		return;
	case WIRE_FAILED:
	case WIRE_UNREADABLE:
		flight_failed(e, f, i, r, now_ns);
		return;
	case WIRE_CONTEXT:
	case WIRE_CONTEXT_MOVED:
	case WIRE_CONTEXT_UNKNOWN:
	case WIRE_PROVEN:
	case WIRE_DISPROVED:
	case WIRE_RESULTS:
		break;
	}
	flight_back(e, f, i, m->action, m->link != 0,
	            now_ns); /* no result for a mark: send again */
}

/* A worker is not to be believed blindly: what it reports must make sense for the batch. */
static bool flight_credible(const struct flight *f, const struct wire_result_item *r)
{
	bool context = wire_result_is_context((enum wire_result)r->result);
	bool content = r->result == WIRE_ACKED || r->result == WIRE_MOVED;
	size_t more = f->swept + (f->proof != 0) + (f->serve != 0);

	if (context)
		return S_ISDIR(r->fp.mode);
	if (r->index >= f->marks + more || f->answered[r->index])
		return false;
	if (r->result == WIRE_SAME)
		return f->class == SESSION_CONTENT && r->index < f->marks;
	return !content || f->class == SESSION_DELETE || r->index >= f->marks || r->fp.mode != 0;
}

/* Whether the target itself said so, just now. */
static bool flight_spoke(const struct wire_result_item *r)
{
	return r->result == WIRE_ACKED || r->result == WIRE_MOVED || r->result == WIRE_KEPT ||
	       r->result == WIRE_PROVEN || r->result == WIRE_DISPROVED;
}

/* What is new at the target, and lost when that loses its power. */
static void flight_note(struct engine *e, const struct flight *f, const struct wire_report *m,
                        int64_t now_ns)
{
	struct bytes *paths = mem_array(m->count + 1, sizeof(*paths));
	size_t n = 0;

	for (size_t k = 0; k < m->count; k++) {
		const struct wire_result_item *r = &m->items[k];

		if (r->result == WIRE_CONTEXT || r->result == WIRE_CONTEXT_MOVED) {
			if (context_is_news(e, r))
				paths[n++] = r->path;
		} else if ((r->result == WIRE_ACKED || r->result == WIRE_MOVED) &&
		           f->class != SESSION_DELETE && r->index < f->marks &&
		           !f->answered[r->index]) {
			paths[n++] = batch_mark(f->batch, f->mark_of[r->index])->path;
		}
	}
	trust_note(e, paths, n, now_ns);
	free(paths);
}

int engine_report(struct engine *e, const struct wire_report *m, int64_t now_ns)
{
	struct flight *f;

	HASH_FIND(hh, e->flights, &m->batch, sizeof(m->batch), f);
	if (!f)
		return -EPROTO;
	flight_note(e, f, m, now_ns);
	for (size_t k = 0; k < m->count; k++) {
		const struct wire_result_item *r = &m->items[k];

		if (!flight_credible(f, r))
			return -EPROTO;
		if (wire_result_is_context((enum wire_result)r->result)) {
			context_result(e, f, r, now_ns);
			continue;
		}
		if (flight_spoke(r))
			supply_heard(e, f->session, now_ns);
		flight_answer(f, r);
		if (r->index >= f->marks && f->swept)
			sweep_result(e, f, r, now_ns);
		else if (r->index >= f->marks)
			stamp_result(e, f, r->index, r, now_ns);
		else {
			rename_result(e, f, r);
			copy_result(e, f, r, now_ns);
			flight_mark_result(e, f, f->mark_of[r->index], r, now_ns);
		}
	}
	return 0;
}
