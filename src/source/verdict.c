#include "source/verdict.h"

#include "source/backlog.h"

static struct verdict need(enum mark_action action, unsigned flags)
{
	return (struct verdict){true, action, flags};
}

/* Size and mtime are as confirmed, and yet something was written: the time may have been put back,
 * or the writer's data landed after the stamp. A descriptor that was open for writing and changed
 * nothing leaves the ctime alone, which proves it unless the stamp is young. */
static bool maybe_written(enum fingerprint_difference d, unsigned bits, bool racy)
{
	if (!(bits & BACKLOG_DATA))
		return false;
	return d != FP_SAME || racy || (bits & BACKLOG_DATA) != BACKLOG_CLOSED;
}

static struct verdict need_content(unsigned flags)
{
	return need(MARK_CONTENT, flags | MARK_SIGHT);
}

struct verdict verdict_of(const struct belief *belief, const struct fingerprint *seen,
                          unsigned bits, bool racy)
{
	unsigned dir = S_ISDIR(seen->mode) ? MARK_DIR : 0;
	bool regular = S_ISREG(seen->mode);
	bool confirmed = belief->state & LEDGER_CONFIRMED;
	enum mark_action action = MARK_QUICK;
	enum fingerprint_difference d;

	if (belief->state == LEDGER_ABSENT)
		return need(MARK_QUICK, dir | MARK_FRESH);
	/* An earlier write may have arrived without an answer, and its time been put back. */
	if (regular && (belief->state & LEDGER_INTENDED) && (bits & BACKLOG_DATA))
		action = MARK_CONTENT;
	d = confirmed ? fingerprint_compare(&belief->fp, seen) : FP_DATA;
	if (d == FP_RETYPED)
		return need(action, dir | MARK_RETYPED);
	if (belief->state & LEDGER_INTENDED)
		return need(action, dir | (confirmed ? 0 : MARK_FRESH));
	/* A link's target or a device's number is in no stamp: the receiver compares those. */
	if (!regular && !dir && d != FP_SAME && d != FP_META)
		return need(MARK_QUICK, 0);
	switch (d) {
	case FP_SAME:
		if (regular && maybe_written(d, bits, racy))
			return need_content(0);
		break;
	case FP_META:
		if (regular && maybe_written(d, bits, racy))
			return need_content(0);
		return need(MARK_META, dir);
	case FP_HIDDEN:
		if (regular && maybe_written(d, bits, racy))
			return need_content(0);
		if (regular && !bits)
			return need_content(MARK_LOW);
		return need(MARK_META, dir);
	case FP_DATA:
		return need(MARK_QUICK, dir);
	case FP_RETYPED:
		break;
	}
	return (struct verdict){0};
}

void verdict_raise(struct verdict *v, enum mark_action action, const struct fingerprint *seen)
{
	if (action == MARK_LOOK || action == MARK_DELETE)
		return;
	if (action == MARK_CONTENT && !S_ISREG(seen->mode))
		action = MARK_QUICK;
	if (action == MARK_CONTENT)
		v->flags &= ~(unsigned)MARK_SIGHT;
	if (!v->needed) {
		*v = need(action, S_ISDIR(seen->mode) ? MARK_DIR : 0);
	} else if (v->action < action) {
		v->action = action;
		v->flags &= ~(unsigned)MARK_LOW;
	}
}
