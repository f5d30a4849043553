/*
 * trust: whether the target is still the one that the ledger describes.
 *
 * A generation is the whole-second mtime of a stamp file at the target; n is kept in file n & 1
 * while n + 1 is written to the other, so a crash between cannot mislead. Every list asks for the
 * proof of the present generation; deletions go only with a proof of the last ten seconds. A failed
 * proof, or answers "new" for confirmed names in several directories, drop the trust: the tree is
 * compared, deletions wait. A stamp written before the compare begins and proven at its end tells
 * that it has been one target throughout.
 *
 * A target that loses its power keeps its stamps and may lose what it confirmed in its last two
 * minutes. Whenever nobody can vouch for a stretch of time (supply.c) that is compared by content.
 */
#include "base/log.h"
#include "base/mem.h"
#include "engine/internal.h"

#define PROOF_NS         (10 * NS_PER_S)
#define GROWTH_NS        (10 * NS_PER_S)
#define CONTRADICTION_NS (600 * NS_PER_S)
#define RECENT_NS        (120 * NS_PER_S)
#define LASTING_NS       (180 * NS_PER_S) /* RECENT_NS, and the time until a dead session shows */
#define AWAY_NS          (5 * NS_PER_S)   /* longer than this a target may have lost its power */
#define KEEP_NS          (600 * NS_PER_S) /* RECENT_NS and the time until a dead session shows */
#define TURN_NS          (240 * NS_PER_S)
#define BLIND_NS         (3600 * NS_PER_S)

static struct recent *trust_recent(const struct engine *e, size_t i)
{
	return &e->recents[(e->recent_first + i) % RECENT_MAX];
}

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
	if (!trust_stamps(e))
		return 0;
	return e->unproven ? e->trial : ledger_generation(e->ledger);
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

/* By a list of its own: any other may take as long as what it carries. */
static bool trust_probing(const struct engine *e)
{
	struct flight *f, *next;

	HASH_ITER (hh, e->flights, f, next) {
		if (f->proof == trust_proof(e) && !f->marks)
			return true;
	}
	return false;
}

/* What the compare found has been sent. Marks that wait for deletions (a directory that became a
 * file) cannot count: deletions wait for this. */
bool trust_healed(const struct engine *e, int64_t now_ns)
{
	return e->unproven && !e->compare_due && !e->compare_running && !e->flights && !e->looks &&
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
		return e->trial ? 0 : next;
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
	if (trust_proof(e) == 0 || trust_probing(e))
		return false;
	if (e->unproven)
		return trust_healed(e, now_ns);
	return e->probe_due || (deletions && !trust_allows_deletions(e, now_ns));
}

/* When what was confirmed lately begins to be in doubt, until the target is in sight again;
 * INT64_MAX: it does not. While paused we may not ask the target. */
static int64_t trust_doubt_ns(const struct engine *e)
{
	if (!e->unseen_ns || !e->recent_count ||
	    trust_recent(e, e->recent_count - 1)->at_ns < e->unseen_ns - RECENT_NS)
		return INT64_MAX;
	if (e->unseen != SIGHT_GAP)
		return e->unseen_ns;
	return e->paused ? INT64_MAX : e->unseen_ns + AWAY_NS;
}

bool trust_doubts(const struct engine *e, int64_t now_ns)
{
	return now_ns >= trust_doubt_ns(e);
}

int64_t trust_deadline(const struct engine *e)
{
	int64_t doubt_ns = trust_doubt_ns(e);

	if (doubt_ns != INT64_MAX)
		return supply_connecting(e) ? INT64_MAX : doubt_ns;
	if (!trust_stamps(e) || !e->confirmed_since || e->unproven)
		return INT64_MAX;
	return e->generation_ns + GROWTH_NS;
}

/* A list that carries more tells at its end what was seen at its beginning. */
static void trust_seen(struct engine *e, const struct flight *f, int64_t now_ns)
{
	int64_t seen_ns = f->marks ? f->sent_ns : now_ns;

	if (seen_ns > e->proven_ns)
		e->proven_ns = seen_ns;
	e->probe_due = false;
}

static void trust_grown(struct engine *e, const struct flight *f, uint64_t generation,
                        int64_t now_ns)
{
	ledger_set_generation(e->ledger, generation);
	e->generation_ns = now_ns;
	e->confirmed_since = false;
	e->unproven = false;
	e->trial = 0;
	trust_seen(e, f, now_ns);
	engine_take_up(e, now_ns);
}

static void trust_begin_compare(struct engine *e, int64_t now_ns)
{
	if (!e->compare_due)
		return;
	e->compare_due = false;
	engine_compare(e, MARK_QUICK, BORN_NONE, now_ns);
}

/* While trust is lost the ledger keeps the old generation: a daemon that dies now finds it
 * disproved at its next start. */
void trust_served(struct engine *e, const struct flight *f, int64_t now_ns)
{
	if (!e->unproven) {
		trust_grown(e, f, f->serve, now_ns);
		return;
	}
	e->trial = f->serve;
	trust_begin_compare(e, now_ns);
}

void trust_proven(struct engine *e, const struct flight *f, int64_t now_ns)
{
	if (f->ready_ns < e->trusted_from_ns || f->proof != trust_proof(e))
		return;
	if (!e->unproven)
		trust_seen(e, f, now_ns);
	else if (f->heals)
		trust_grown(e, f, f->proof, now_ns);
}

void trust_step(struct engine *e, int64_t now_ns)
{
	if (!e->unproven || trust_stamps(e))
		return;
	/* Without stamps the compare alone ends it. */
	trust_begin_compare(e, now_ns);
	if (!trust_healed(e, now_ns))
		return;
	e->unproven = false;
	engine_take_up(e, now_ns);
}

static void trust_compare(struct engine *e, const char *why, int64_t now_ns)
{
	e->proven_ns = 0;
	e->probe_due = false;
	if (!e->unproven)
		engine_say(e, LOG_WARN, "target.unproven",
		           "%s. The tree is compared with the target; deletions wait until that is "
		           "done",
		           why);
	e->unproven = e->types_unsure = e->compare_due = true;
	e->trial = 0;
	supply_close_idle(e, now_ns);
}

void trust_disproved(struct engine *e, const struct flight *f, int64_t now_ns)
{
	if (f->proof != trust_proof(e))
		return; /* of an earlier target */
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
		if (!e->unproven || !(e->compare_due || e->compare_running))
			trust_compare(e, "the target lacks several entries that it had confirmed",
			              now_ns);
		return;
	}
	engine_say(e, LOG_WARN, "target.contradiction",
	           "path=%s was confirmed and is missing at the target; its directory is compared",
	           path_show(path));
	token = ++e->next_token;
	engine_comparing(e, MARK_QUICK);
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
	e->compare_running = e->compare_open = true;
	engine_comparing(e, action);
	HASH_ADD(hh, e->looks, token, sizeof(look->token), look);
	e->ops->look(e->arg, look->token, &m, 1);
}

static void trust_drop_oldest(struct engine *e)
{
	free(e->recents[e->recent_first].p);
	e->recent_first = (e->recent_first + 1) % RECENT_MAX;
	e->recent_count--;
}

void trust_confirmed(struct engine *e, struct bytes path, bool compared, int64_t now_ns)
{
	if (!e->recents)
		e->recents = mem_array(RECENT_MAX, sizeof(*e->recents));
	while (e->recent_count && now_ns - trust_recent(e, 0)->at_ns > KEEP_NS)
		trust_drop_oldest(e);
	if (e->recent_count == RECENT_MAX) {
		e->recent_lost_ns = trust_recent(e, 0)->at_ns;
		trust_drop_oldest(e);
	}
	*trust_recent(e, e->recent_count++) =
	        (struct recent){mem_dup(path.p, path.n), path.n, now_ns, compared};
}

/* Two files in turn: what the older one holds has been confirmed for long, except for what still
 * waits for its compare. What was recalled needs no longer than that. */
static bool trust_turns(const struct engine *e, int64_t now_ns)
{
	return now_ns - e->recent_turned_ns > TURN_NS || (e->recalled && !e->content_due);
}

static size_t trust_turn(struct engine *e, struct bytes *paths, size_t n, int64_t now_ns)
{
	struct aged_path *a, *next;

	e->recent_turned_ns = now_ns;
	e->recalled = false;
	if (e->config.recents->discard_old(e->config.recents) < 0 ||
	    e->config.recents->switch_over(e->config.recents) < 0)
		e->recent_failed = true; /* then they grow up to their bound */
	HASH_ITER (hh, e->content_due, a, next) {
		paths[n++] = (struct bytes){a->p, a->n};
	}
	return n;
}

void trust_note(struct engine *e, const struct bytes *confirmed, size_t count, int64_t now_ns)
{
	bool turn = trust_turns(e, now_ns);
	struct bytes *paths;
	size_t n = 0;

	if (!e->config.recents || !count)
		return;
	paths = mem_array(count + (turn ? HASH_COUNT(e->content_due) : 0), sizeof(*paths));
	if (turn)
		n = trust_turn(e, paths, n, now_ns);
	for (size_t i = 0; i < count; i++)
		paths[n++] = confirmed[i];
	bool failed = e->config.recents->append(e->config.recents, paths, n) < 0;

	if (failed && !e->recent_failed)
		engine_say(e, LOG_WARN, "ledger.recents",
		           "what the target confirms cannot be noted: after a power loss at the "
		           "target together with a restart here, run a compare");
	e->recent_failed = failed;
	free(paths);
}

static bool trust_recall_one(struct bytes path, void *arg)
{
	struct engine *e = arg;

	if (e->recent_count == RECENT_MAX)
		return false;
	trust_confirmed(e, path, false, e->recent_turned_ns);
	return true;
}

/* What was confirmed is on the target's disk by now, since the target has been in sight for long
 * enough after the last of it: neither a gap nor the next start has to doubt it. */
static bool trust_lasting(const struct engine *e, int64_t now_ns)
{
	return e->recent_count && !e->content_due && !e->looks && !pathset_pending(e->set) &&
	       !pathset_in_flight(e->set) && supply_in_sight(e, now_ns) &&
	       now_ns - trust_recent(e, e->recent_count - 1)->at_ns >= LASTING_NS;
}

void trust_forget(struct engine *e, int64_t now_ns)
{
	if (!trust_lasting(e, now_ns))
		return;
	/* Two files in turn: the first turn leaves the younger one. */
	for (int i = 0; e->config.recents && i < 2; i++)
		(void)trust_turn(e, NULL, 0, now_ns);
	trust_done(e);
	e->recents = NULL;
	e->recent_first = 0;
}

/* What an earlier run noted: the target may have lost its power while nobody watched. Its born is
 * that of the oldest change: a barrier does not promise what is in doubt. */
void trust_recall(struct engine *e, int64_t now_ns)
{
	e->recent_turned_ns = now_ns;
	if (!e->config.recents)
		return;
	e->config.recents->each(e->config.recents, trust_recall_one, e);
	e->recalled = e->recent_count > 0;
	(void)e->config.recents->switch_over(e->config.recents); /* failing, the file grows */
	if (e->recent_count == RECENT_MAX)
		engine_compare(e, MARK_QUICK, BORN_NONE, now_ns);
	for (size_t i = 0; i < e->recent_count; i++) {
		struct recent *r = trust_recent(e, i);

		engine_put_look(e, (struct bytes){r->p, r->n}, 0, now_ns, true, now_ns);
	}
}

void trust_away(struct engine *e, int64_t since_ns, enum sight how, int64_t now_ns)
{
	int64_t away_ns = now_ns - since_ns, from_ns = since_ns - RECENT_NS;

	if (away_ns < AWAY_NS && how != SIGHT_REFUSED)
		return;
	e->types_unsure = true;
	if (how != SIGHT_GAP) {
		e->probe_due = true; /* another one? not only the next change is to tell */
		e->proven_ns = 0;
		e->trusted_from_ns = now_ns;
	}
	if ((!trust_stamps(e) && away_ns > BLIND_NS) || e->recent_lost_ns > from_ns)
		engine_compare(e, MARK_QUICK, BORN_NONE, now_ns);
	for (size_t i = 0; i < e->recent_count; i++) {
		struct recent *r = trust_recent(e, i);

		if (r->at_ns >= from_ns && (how != SIGHT_GAP || !r->compared))
			engine_put_look(e, (struct bytes){r->p, r->n}, 0, now_ns, true, now_ns);
	}
}

void trust_done(struct engine *e)
{
	while (e->recent_count)
		trust_drop_oldest(e);
	free(e->recents);
}
