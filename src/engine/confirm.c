/*
 * confirm: what an acknowledgement is worth, and what it does to the ledger (I9, I11).
 */
#include "base/mem.h"
#include "engine/internal.h"

#define PROTOCOL_WITH_NS 31

static int64_t whole_second(int64_t ns)
{
	int64_t rest = ns % NS_PER_S;

	return ns - rest - (rest < 0 ? NS_PER_S : 0);
}

static bool whole_seconds_only(const struct engine *e)
{
	return e->whole_seconds || e->protocol < PROTOCOL_WITH_NS;
}

/* The receiver's quick check saw the size and time that the target was known to have, and sent
 * nothing; but the source's ctime says that the file was written since: its time was put back
 * between look and list. Or an earlier content of that size and time may have arrived without our
 * being told. Or the times differ by less than the receiver can tell; then what it has may also be
 * what somebody else left there. */
static bool flight_fooled(const struct engine *e, const struct belief *known, const struct mark *m,
                          const struct wire_result_item *r)
{
	const struct aged_path *due = aged_find(e->content_due, m->path);

	if (m->action != MARK_QUICK || (r->flags & WIRE_DATA_SENT) || !S_ISREG(r->fp.mode))
		return false;
	if (due && due->doubt)
		return !(r->flags & WIRE_WAS_NEW);
	if (whole_seconds_only(e) && known->state != LEDGER_CONFIRMED)
		return !(r->flags & WIRE_WAS_NEW);
	if (!(known->state & LEDGER_CONFIRMED) || known->fp.size != r->fp.size)
		return false;
	if (known->fp.mtime_ns != r->fp.mtime_ns)
		return e->whole_seconds ||
		       (e->protocol < PROTOCOL_WITH_NS &&
		        whole_second(known->fp.mtime_ns) == whole_second(r->fp.mtime_ns));
	return !(m->flags & MARK_FRESH) &&
	       (known->fp.ctime_ns != r->fp.ctime_ns || known->fp.ino != r->fp.ino);
}

/* Attributes alone were compared, but the file has changed once more between look and list, maybe
 * in its content, with its time put back. An event will tell; should that be lost, the old ctime
 * does. */
static void confirm_keep_doubt(const struct belief *known, const struct mark *m,
                               const struct wire_result_item *r, struct fingerprint *fp)
{
	if (m->action != MARK_META || !S_ISREG(r->fp.mode) || m->ctime_ns == r->fp.ctime_ns ||
	    (r->flags & WIRE_DATA_SENT))
		return;
	if ((known->state & LEDGER_CONFIRMED) && known->fp.size == r->fp.size &&
	    known->fp.mtime_ns == r->fp.mtime_ns)
		fp->ctime_ns = known->fp.ctime_ns;
}

/* A later write may leave the same stamps (I3). That it is looked at again is known in memory only:
 * until then no crawl finds it in order, nor does it vouch for another name. */
static void confirm_keep_race(const struct wire_result_item *r, struct fingerprint *fp)
{
	if ((r->flags & WIRE_RACY) && S_ISREG(r->fp.mode) && r->fp.nlink == 1)
		fp->ctime_ns ^= 1;
}

/* It was sent because the target was in doubt, and is what the target was believed to hold. What
 * changed here meanwhile is new there, whatever else it was sent for. */
static bool confirm_compared(struct engine *e, const struct belief *known, const struct mark *m,
                             const struct wire_result_item *r)
{
	const struct aged_path *due = aged_find(e->content_due, m->path);

	return due && due->doubt && (known->state & LEDGER_CONFIRMED) &&
	       fingerprint_compare(&known->fp, &r->fp) == FP_SAME;
}

/* Confirmed as sent. But what is no directory cannot stand above names that are believed held: the
 * answer is older than they are, and recording it would forget them (I11). */
bool flight_confirm(struct engine *e, const struct flight *f, const struct mark *m,
                    const struct wire_result_item *r, int64_t now_ns)
{
	const struct belief *known = &f->known[r->index];
	struct fingerprint fp = r->fp;
	bool compared;

	if (!S_ISDIR(r->fp.mode) && !e->config.keep_deleted && ledger_has_below(e->ledger, m->path))
		return false;
	compared = confirm_compared(e, known, m, r);
	confirm_keep_doubt(known, m, r, &fp);
	confirm_keep_race(r, &fp);
	ledger_confirm(e->ledger, m->path, &fp);
	rename_confirmed(e, m->path, r);
	copy_confirmed(e, m->path, &r->fp);
	zombie_intend(e, m->path, false);
	trust_confirmed(e, m->path, compared, now_ns);
	return true;
}

void confirm_doubt_kept(struct engine *e, struct bytes path)
{
	const struct aged_path *due = aged_find(e->content_due, path);
	struct belief b;

	if (!e->config.keep_deleted || (!e->comparing && !(due && due->doubt)))
		return;
	ledger_get(e->ledger, path, &b);
	if (b.state != LEDGER_CONFIRMED || b.fp.ctime_ns == INT64_MIN)
		return;
	/* Whatever comes back is another inode, and its content compared. */
	b.fp.nlink = 1;
	b.fp.ino = 0;
	b.fp.ctime_ns = INT64_MIN;
	if (S_ISDIR(b.fp.mode))
		b.fp.mtime_ns = INT64_MIN;
	ledger_confirm(e->ledger, path, &b.fp);
}

/* What a person let go is no loss: it does not hold up what is deleted afterwards. */
void flight_was_approved(struct engine *e, struct bytes path)
{
	if (!aged_has(e->approved, path))
		return;
	aged_remove(&e->approved, path);
	brake_forgive(&e->brake, 1);
}

void flight_acked(struct engine *e, struct flight *f, size_t i, const struct wire_result_item *r,
                  int64_t now_ns)
{
	size_t item = r->index;
	const struct mark *m = batch_mark(f->batch, i);

	e->confirmed++;
	e->last_confirmed_ns = now_ns;
	e->confirmed_since = true;
	failure_gone(e, m->path);
	if (f->class == SESSION_DELETE) {
		ledger_confirm_gone(e->ledger, m->path);
		sweep_deleted(e, f, m->path);
		zombie_intend(e, m->path, true);
		rename_parted(e, m->path);
		flight_was_approved(e, m->path);
		batch_ack(f->batch, i, now_ns);
		if (!pathset_has(e->set, m->path))
			aged_remove(&e->content_due, m->path);
		return;
	}
	if (flight_fooled(e, &f->known[item], m, r)) {
		if (r->fp.nlink > 1)
			group_doubt(e, f, m, &r->fp, now_ns);
		flight_back(e, f, i, MARK_CONTENT, r->fp.nlink > 1, now_ns);
		return;
	}
	if (!flight_confirm(e, f, m, r, now_ns)) { /* their deletion goes first */
		flight_again(e, f, i, true, now_ns, now_ns + NS_PER_S);
		return;
	}
	if ((r->fp.nlink > 1 || (m->flags & MARK_FRESH)) && !S_ISDIR(r->fp.mode) &&
	    !(r->flags & WIRE_FORMER))
		group_join(e, &f->known[item], m, &r->fp, now_ns);
	/* A name that joins its other links is made anew, too. */
	if ((r->flags & WIRE_WAS_NEW) &&
	    flight_sure_type(&f->known[item]) == (r->fp.mode & S_IFMT) &&
	    (S_ISDIR(r->fp.mode) || r->fp.nlink == 1))
		trust_contradiction(e, m->path, now_ns);
	if (r->flags & WIRE_RACY) {
		flight_again(e, f, i, false, now_ns, now_ns + e->config.racy_window_ns);
		return;
	}
	batch_ack(f->batch, i, now_ns);
	/* A mark put meanwhile may be a look that must not lose why it was put. */
	if (!pathset_has(e->set, m->path))
		aged_remove(&e->content_due, m->path);
}
