/*
 * verdict: what has to be done about one existing entry for one job: pure comparison of what was
 * seen with what the job's target is believed to hold (docs/ARCHITECTURE.md, "What is sent").
 */
#ifndef SOURCE_VERDICT_H
#define SOURCE_VERDICT_H

#include "core/mark.h"
#include "ledger/ledger.h"

struct verdict {
	bool needed;
	enum mark_action action;
	unsigned flags; /* MARK_DIR, MARK_FRESH, MARK_RETYPED, MARK_LOW, MARK_SIGHT */
};

/* bits: enum backlog_bit of the events that led here, 0 for a crawl. racy: fingerprint_racy() of
 * what was seen. */
struct verdict verdict_of(const struct belief *belief, const struct fingerprint *seen,
                          unsigned bits, bool racy);
/* Makes it at least `action` (MARK_META: attributes, MARK_CONTENT: content of regular files, for
 * the asker's reasons: no MARK_SIGHT). */
void verdict_raise(struct verdict *v, enum mark_action action, const struct fingerprint *seen);

#endif
