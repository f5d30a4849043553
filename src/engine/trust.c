/*
 * trust: whether the target is still the one that the ledger describes.
 *
 * A generation is the whole-second mtime of a stamp file at the target; n is kept in file n & 1
 * while n + 1 is written to the other, so a crash between cannot mislead. Every list asks for the
 * proof of the present generation; deletions go only with a proof of the last ten seconds. A failed
 * proof, or answers "new" for confirmed names in several directories, drop the trust: the tree is
 * compared, deletions wait, and a new stamp ends it.
 */
#include "base/log.h"
#include "base/mem.h"
#include "engine/internal.h"

#define PROOF_NS         (10 * NS_PER_S)
#define GROWTH_NS        (10 * NS_PER_S)
#define CONTRADICTION_NS (600 * NS_PER_S)
#define RECENT_NS        (120 * NS_PER_S)
#define AWAY_NS          (5 * NS_PER_S)
#define BLIND_NS         (3600 * NS_PER_S)

static bool trust_stamps(const struct engine *e)
{
	return e->config.stamp && !e->stamp_refused;
}

bool trust_allows_deletions(const struct engine *e, int64_t now_ns)
{
	if (e->unproven)
		return false;
	return !trust_stamps(e) || (e->proven_ns && now_ns - e->proven_ns <= PROOF_NS);
}

uint64_t trust_proof(const struct engine *e)
{
	return trust_stamps(e) && !e->unproven ? ledger_generation(e->ledger) : 0;
}

static bool trust_in_flight(const struct engine *e, bool serving, uint64_t parity)
{
	struct flight *f, *next;

	HASH_ITER (hh, e->flights, f, next) {
		if (serving ? f->serve != 0 : f->proof != 0 && (f->proof & 1) == (parity & 1))
			return true;
	}
	return false;
}

/* What the compare found has been sent. Marks that wait for deletions (a directory that became a
 * file) cannot count: deletions wait for this. */
static bool trust_healed(const struct engine *e, int64_t now_ns)
{
	return e->unproven && !e->compare_running && !e->flights && !e->looks &&
	       !(pathset_ready(e->set, now_ns) & ~(1u << BATCH_DELETE));
}

uint64_t trust_serve(const struct engine *e, int64_t now_ns)
{
	uint64_t generation = ledger_generation(e->ledger), next;

	if (!trust_stamps(e) || trust_in_flight(e, true, 0))
		return 0;
	next = generation ? generation + 1 : e->config.first_generation;
	if (trust_in_flight(e, false, next))
		return 0; /* its file is being proven by a batch that is still under way */
	if (e->unproven)
		return trust_healed(e, now_ns) ? next : 0;
	if (generation == 0)
		return next;
	return e->confirmed_since && now_ns - e->generation_ns >= GROWTH_NS ? next : 0;
}

bool trust_wants_probe(const struct engine *e, bool deletions, int64_t now_ns)
{
	if (!trust_stamps(e))
		return false;
	if (trust_serve(e, now_ns) != 0)
		return true;
	return deletions && !e->unproven && !trust_allows_deletions(e, now_ns) &&
	       ledger_generation(e->ledger) != 0;
}

int64_t trust_deadline(const struct engine *e)
{
	if (!trust_stamps(e) || !e->confirmed_since || e->unproven)
		return INT64_MAX;
	return e->generation_ns + GROWTH_NS;
}

void trust_proven(struct engine *e, uint64_t generation, int64_t now_ns)
{
	if (generation == ledger_generation(e->ledger) && !e->unproven)
		e->proven_ns = now_ns;
}

static void trust_compare(struct engine *e, const char *why, int64_t now_ns)
{
	e->proven_ns = 0;
	if (!e->unproven)
		engine_say(e, LOG_WARN, "target.unproven",
		           "%s. The tree is compared with the target; deletions wait until that is "
		           "done",
		           why);
	if (e->compare_running && e->unproven)
		return;
	e->unproven = true;
	supply_close_idle(e);
	engine_compare(e, MARK_QUICK, BORN_NONE, now_ns);
}

void trust_disproved(struct engine *e, int64_t now_ns)
{
	if (e->unproven)
		return;
	trust_compare(e,
	              "the target does not carry the stamp that was left there: it was replaced or "
	              "put back to an earlier state",
	              now_ns);
}

/* The target did not have a name that it had confirmed: its directory is compared. */
void trust_contradiction(struct engine *e, struct bytes path, int64_t now_ns)
{
	struct mark m = {.path = path_parent(path),
	                 .scope = MARK_SUBTREE,
	                 .action = MARK_QUICK,
	                 .flags = MARK_DIR,
	                 .born = BORN_NONE,
	                 .since_ns = now_ns};
	uint64_t token;

	for (size_t i = CONTRADICTIONS - 1; i > 0; i--)
		e->contradiction_ns[i] = e->contradiction_ns[i - 1];
	e->contradiction_ns[0] = now_ns;
	if (e->contradiction_ns[CONTRADICTIONS - 1] &&
	    now_ns - e->contradiction_ns[CONTRADICTIONS - 1] < CONTRADICTION_NS) {
		trust_compare(e, "the target lacks several entries that it had confirmed", now_ns);
		return;
	}
	engine_say(e, LOG_WARN, "target.contradiction",
	           "path=%s was confirmed and is missing at the target; its directory is compared",
	           path_show(path));
	token = ++e->next_token;
	struct look_request *look = mem_alloc(sizeof(*look));

	look->token = token;
	HASH_ADD(hh, e->looks, token, sizeof(look->token), look);
	e->ops->look(e->arg, token, &m, 1);
}

void engine_compare(struct engine *e, enum mark_action action, uint64_t born, int64_t now_ns)
{
	struct mark m = {.path = {"", 0},
	                 .scope = MARK_SUBTREE,
	                 .action = action,
	                 .flags = MARK_DIR,
	                 .born = born,
	                 .since_ns = now_ns};
	struct look_request *look = mem_alloc(sizeof(*look));

	look->token = e->compare_token = ++e->next_token;
	e->compare_running = true;
	HASH_ADD(hh, e->looks, token, sizeof(look->token), look);
	e->ops->look(e->arg, look->token, &m, 1);
}

/* What was confirmed lately may not have reached the target's disk when it lost its power. */
void trust_confirmed(struct engine *e, struct bytes path, int64_t now_ns)
{
	size_t at;

	while (e->recent_count && now_ns - e->recents[e->recent_first].at_ns > RECENT_NS) {
		free(e->recents[e->recent_first].p);
		e->recent_first = (e->recent_first + 1) % RECENT_MAX;
		e->recent_count--;
	}
	if (!e->recents)
		e->recents = mem_array(RECENT_MAX, sizeof(*e->recents));
	if (e->recent_count == RECENT_MAX) {
		e->recent_lost_ns = e->recents[e->recent_first].at_ns;
		free(e->recents[e->recent_first].p);
		e->recent_first = (e->recent_first + 1) % RECENT_MAX;
		e->recent_count--;
	}
	at = (e->recent_first + e->recent_count++) % RECENT_MAX;
	e->recents[at] = (struct recent){mem_dup(path.p, path.n), path.n, now_ns};
}

void trust_reconnected(struct engine *e, int64_t away_ns, int64_t now_ns)
{
	int64_t since = now_ns - away_ns - RECENT_NS;

	if (away_ns < TRUST_AWAY_NS)
		return;
	if (!trust_stamps(e) && away_ns > BLIND_NS) {
		engine_compare(e, MARK_QUICK, BORN_NONE, now_ns);
		return;
	}
	if (e->recent_lost_ns > since)
		engine_compare(e, MARK_QUICK, BORN_NONE, now_ns);
	for (size_t i = 0; i < e->recent_count; i++) {
		struct recent *r = &e->recents[(e->recent_first + i) % RECENT_MAX];

		if (r->at_ns >= since)
			engine_put_look(e, (struct bytes){r->p, r->n}, BORN_NONE, now_ns, true,
			                now_ns);
		free(r->p);
	}
	e->recent_count = 0;
}

void trust_done(struct engine *e)
{
	for (size_t i = 0; i < e->recent_count; i++)
		free(e->recents[(e->recent_first + i) % RECENT_MAX].p);
	free(e->recents);
}
