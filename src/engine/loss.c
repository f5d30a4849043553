/*
 * loss: what the target would lose by the deletions that are known of, and whether they go, wait or
 * are held (I8).
 *
 * What has moved stands under both names for a while, or under none that is confirmed yet. So
 * deletions that the brake would hold wait for what may still make up for them: what is on its way,
 * what is looked at, and what was found gone and is told behind what it may have become. What waits
 * itself for a deletion is not waited for, nor is what cannot make up for enough, and nothing for
 * longer than DEFER_NS unless the loss shrinks meanwhile (I14).
 */
#include <stdio.h>
#include "base/mem.h"
#include "engine/internal.h"

#define DEFER_NS (60 * NS_PER_S)
#define AGAIN_NS (NS_PER_S / 5)
/* The two events of a rename may be read apart: that the one name is gone is known a moment before
 * the other is. */
#define GRACE_NS NS_PER_S

/* Names whose deletion is known of. */
static uint64_t loss_going(const struct engine *e)
{
	return e->owed + pathset_pending_deletions(e->set) + flight_deletions(e);
}

/* Names that the target holds. What was intended just now, and was not known there before, may turn
 * out to be gone here: it counts as soon as there is an answer. */
static uint64_t loss_entries(const struct engine *e)
{
	uint64_t entries = ledger_entries(e->ledger), making = flight_creations(e);

	return entries > making ? entries - making : 0;
}

/* While deletions wait, creations raise the count only as far as it exceeds what is to go: what was
 * moved stands under both names for a while, and that is no peak. Deletions that wait do not lower
 * it, for however long. */
void loss_count(struct engine *e, int64_t now_ns)
{
	uint64_t entries = loss_entries(e), going = loss_going(e);
	uint64_t left = entries > going ? entries - going : 0;

	if (e->owed_told)
		e->owed_ns = now_ns;
	e->owed_told = false;
	if (e->standing > entries)
		e->standing = entries;
	if (e->standing < left)
		e->standing = left;
	brake_count(&e->brake, e->standing, now_ns);
	/* What waited has gone, or is there again. */
	if (pathset_pending_deletions(e->set) == 0)
		e->defer_since_ns = 0;
}

/* What a person approved goes, whatever else is in the batch. True when something is left of it. */
static bool loss_only_approved(struct engine *e, struct batch *b, int64_t now_ns)
{
	bool some = false;

	for (size_t i = 0; i < batch_count(b); i++)
		some = some || aged_has(e->approved, batch_mark(b, i)->path);
	for (size_t i = 0; some && i < batch_count(b); i++) {
		if (!aged_has(e->approved, batch_mark(b, i)->path))
			batch_nack(b, i, MARK_DELETE, now_ns, now_ns);
	}
	return some;
}

static bool loss_is_new(const struct batch *b, int64_t now_ns)
{
	for (size_t i = 0; i < batch_count(b); i++) {
		if (now_ns - batch_mark(b, i)->since_ns < GRACE_NS)
			return true;
	}
	return false;
}

/* What is owed may have a new name that is not marked yet. But a look thread that gets on says so.
 */
static uint64_t loss_owed(const struct engine *e, int64_t now_ns)
{
	return now_ns - e->owed_ns < DEFER_NS ? e->owed : 0;
}

/* Whether what moves, and does not wait for a deletion, may make up for enough. A deletion under
 * way may be answered by a name that is there again, and nobody knows what looks bring out. */
static bool loss_may_be_made_up(struct engine *e, const struct batch *b, int64_t now_ns)
{
	uint64_t owed = loss_owed(e, now_ns);
	uint64_t coming = owed + pathset_pending(e->set) - pathset_pending_deletions(e->set) +
	                  pathset_in_flight(e->set) - batch_count(b);

	if (!e->flights && !e->looks && !owed && !pathset_stirs(e->set, now_ns))
		return false;
	if (e->looks || (pathset_ready(e->set, now_ns) & 1u << BATCH_CLASSES))
		return true;
	return !brake_holds(&e->brake, loss_entries(e) + coming, batch_count(b) + loss_going(e),
	                    now_ns);
}

static bool loss_waits(struct engine *e, const struct batch *b, uint64_t loss, int64_t now_ns)
{
	if (e->defer_since_ns == 0 || loss < e->defer_loss) {
		e->defer_since_ns = now_ns;
		e->defer_loss = loss;
	}
	return now_ns - e->defer_since_ns < DEFER_NS &&
	       (loss_is_new(b, now_ns) || loss_may_be_made_up(e, b, now_ns));
}

/* What the target is not believed to hold any more is no loss. True when there was any. */
static bool loss_drop_needless(struct engine *e, struct batch *b, int64_t now_ns)
{
	bool some = false;

	for (size_t i = 0; i < batch_count(b); i++) {
		struct belief belief;

		ledger_get(e->ledger, batch_mark(b, i)->path, &belief);
		if (belief.state != LEDGER_ABSENT)
			continue;
		batch_ack(b, i, now_ns);
		some = true;
	}
	return some;
}

static void loss_defer(struct batch *b, int64_t now_ns)
{
	for (size_t i = 0; i < batch_count(b); i++) {
		if (batch_open(b, i))
			batch_nack(b, i, MARK_DELETE, now_ns, now_ns + AGAIN_NS);
	}
	batch_end(b, now_ns, now_ns);
}

bool loss_allows(struct engine *e, struct batch *b, int64_t now_ns)
{
	uint64_t entries = loss_entries(e), deletions = batch_count(b) + loss_going(e);
	char rule[160];

	if (!brake_holds(&e->brake, entries, deletions, now_ns) ||
	    loss_only_approved(e, b, now_ns)) {
		e->defer_since_ns = 0;
		return true;
	}
	if (loss_waits(e, b, brake_loss(&e->brake, entries, deletions, now_ns), now_ns) ||
	    loss_drop_needless(e, b, now_ns)) {
		loss_defer(b, now_ns);
		return false;
	}
	(void)snprintf(rule, sizeof(rule),
	               "more than %llu entries and %u %% of the tree, or more than %llu",
	               (unsigned long long)e->brake.limits.files, e->brake.limits.percent,
	               (unsigned long long)e->brake.limits.absolute);
	hold_add(e, b, rule, now_ns);
	return false;
}
