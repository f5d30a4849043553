/*
 * hotlist: which files somebody has open for writing, and when each is to be looked at again.
 *
 * Plain memory; `now` is passed in. After a change a file is looked at after the period, and then
 * each time after twice as long, up to the longest wait: a change is seen late by about as long as
 * the file had been at rest, and what is at rest wakes nobody. Looks that are due soon are made
 * together, so that many such files wake no more often than one.
 *
 * Bounded: beyond the bound the oldest is left to the next audit.
 */
#ifndef SOURCE_HOTLIST_H
#define SOURCE_HOTLIST_H

#include "base/bytes.h"
#include "core/fingerprint.h"

enum { HOTLIST_MAX = 1024 };

struct hot {
	uint32_t node;     /* one that was given again meanwhile costs a look */
	struct bytes name; /* owned */
	struct fingerprint seen;
	int64_t since_ns, at_ns, wait_ns;
};

struct hotlist {
	struct hot *v; /* the oldest first */
	size_t n;
	int64_t period_ns, longest_ns;
};

/* It was written just now, or begins to be watched; looked like `seen` afterwards. Since when it is
 * in the list. */
int64_t hotlist_add(struct hotlist *l, uint32_t node, struct bytes name,
                    const struct fingerprint *seen, int64_t now_ns);
/* When the next one is due; INT64_MAX: none is there. */
int64_t hotlist_deadline(const struct hotlist *l);
/* To be looked at in a turn that takes place now. */
bool hotlist_due(const struct hot *h, int64_t now_ns);
/* It looks like `seen`, and is still open. */
void hotlist_again(const struct hotlist *l, struct hot *h, const struct fingerprint *seen,
                   int64_t now_ns);
/* Those that `keep` (as long as the list) is false for go. */
void hotlist_keep(struct hotlist *l, const bool *keep);
void hotlist_clear(struct hotlist *l);

#endif
