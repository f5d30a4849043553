#include <stdio.h>

#include "engine/internal.h"

/* The receiver restores the times of directories at the end of a batch, after its last file. */
static bool engine_landed(const struct engine *e, uint64_t born)
{
	struct flight *f, *next;

	HASH_ITER (hh, e->flights, f, next) {
		if (f->born <= born)
			return false;
	}
	return true;
}

enum engine_settled engine_settled(struct engine *e, uint64_t born, int64_t now_ns)
{
	bool idle = engine_landed(e, born) && pathset_settled(e->set, born) &&
	            zombie_settled(e, born) && !trust_doubts(e, now_ns) &&
	            (sweep_settled(e, born) || hold_count(e) || e->failed_waiting) &&
	            !(e->compare_due && born == BORN_NONE) && !(e->aside && e->aside_born <= born);

	if (!idle)
		return e->paused || e->held_why || e->frozen ? ENGINE_STUCK : ENGINE_PENDING;
	if (e->failed_waiting || hold_count(e) || e->frozen || e->held_why)
		return ENGINE_STUCK;
	return ENGINE_SETTLED;
}

bool engine_idle(const struct engine *e)
{
	return e->paused || e->held_why;
}

const char *engine_state_word(enum engine_state s)
{
	static const char *const words[ENGINE_STATES] = {
	        "connecting", "first sync", "live", "retrying", "frozen", "paused", "held"};

	return s < ENGINE_STATES ? words[s] : "?";
}

static enum engine_state engine_state(const struct engine *e)
{
	if (e->held_why)
		return ENGINE_HELD;
	if (e->paused)
		return ENGINE_PAUSED;
	if (e->frozen)
		return ENGINE_FROZEN;
	if (e->trouble != TROUBLE_NONE)
		return ENGINE_RETRYING;
	if (e->protocol == 0)
		return ENGINE_CONNECTING;
	return ledger_phase(e->ledger) == LEDGER_LIVE ? ENGINE_IS_LIVE : ENGINE_FIRST_SYNC;
}

void engine_status(struct engine *e, struct engine_status *ret, int64_t now_ns)
{
	int64_t oldest = pathset_oldest(e->set);

	*ret = (struct engine_status){
	        .state = engine_state(e),
	        .trouble = e->trouble,
	        .lag_ns = oldest == INT64_MAX || oldest > now_ns ? 0 : now_ns - oldest,
	        .retry_ns = e->trouble != TROUBLE_NONE ? e->retry_ns : 0,
	        .pending = pathset_pending(e->set),
	        .in_flight = pathset_in_flight(e->set),
	        .failed = HASH_COUNT(e->failed),
	        .held = hold_count(e),
	        .kept = e->kept,
	        .zombies = zombie_count(e),
	        .sessions = supply_count(e, true),
	        .pending_bytes = pathset_pending_bytes(e->set),
	        .confirmed = e->confirmed,
	        .bytes_out = e->bytes_out,
	        .bytes_in = e->bytes_in,
	        .entries = ledger_entries(e->ledger),
	        .last_confirmed_ns = e->last_confirmed_ns,
	        .generation = ledger_generation(e->ledger),
	        .stamp_proven = e->proven_ns != 0 && !e->unproven,
	        .protocol = e->protocol,
	};
	if (e->unkept)
		(void)snprintf(ret->note, sizeof(ret->note),
		               "confirmed without an attribute: %llu, the last one %s",
		               (unsigned long long)e->unkept, e->unkept_text);
	(void)snprintf(ret->text, sizeof(ret->text), "%s", e->held_why ? e->held_why : e->text);
}

size_t engine_left(const struct engine *e)
{
	return pathset_pending(e->set) + pathset_in_flight(e->set);
}

uint64_t engine_heaviest_flight(const struct engine *e)
{
	struct flight *f, *next;
	uint64_t heaviest = 0;

	HASH_ITER (hh, e->flights, f, next) {
		uint64_t bytes = 0;

		for (size_t i = 0; f->batch && i < batch_count(f->batch); i++)
			bytes += batch_mark(f->batch, i)->size;
		heaviest = bytes > heaviest ? bytes : heaviest;
	}
	return heaviest;
}

void engine_each_mark(struct engine *e,
                      bool (*fn)(const struct mark *mark, bool in_flight, void *arg), void *arg)
{
	pathset_each(e->set, (struct bytes){"", 0}, fn, arg);
}
