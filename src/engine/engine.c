/*
 * engine: inputs and the run. See engine.h and internal.h.
 */
#include <stdarg.h>
#include <stdio.h>
#include "base/log.h"
#include "base/mem.h"
#include "engine/internal.h"
#include "rsync/tempname.h"

void engine_say(struct engine *e, int level, const char *id, const char *fmt, ...)
{
	char text[1200];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap); /* a cut line still says it */
	va_end(ap);
	e->ops->event(e->arg, level, id, text);
}

/* xorshift: jitter needs no more, and the simulator needs it repeatable. */
uint32_t engine_random(struct engine *e)
{
	uint32_t x = e->random;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	return e->random = x;
}

static void engine_defaults(struct engine_config *c)
{
	c->lanes = c->lanes ? c->lanes : 4;
	c->marks_limit = c->marks_limit ? c->marks_limit : 65536;
	c->batch_marks = c->batch_marks ? c->batch_marks : 1000;
	c->batch_bytes = c->batch_bytes ? c->batch_bytes : 64u << 20;
	c->longest_wait_ns = c->longest_wait_ns ? c->longest_wait_ns : 30 * NS_PER_S;
	c->zombie_ns = c->zombie_ns ? c->zombie_ns : 60 * NS_PER_S;
	c->rename_bytes = c->rename_bytes ? c->rename_bytes : 1u << 20;
	c->copy_bytes = c->copy_bytes ? c->copy_bytes : 1u << 20;
	c->first_generation = c->first_generation ? c->first_generation : 1;
}

struct start {
	struct engine *e;
	int64_t now_ns;
};

static bool engine_read_intent(struct bytes path, void *arg)
{
	struct start *s = arg;
	struct mark m = {.path = path, .action = MARK_LOOK, .since_ns = s->now_ns};

	engine_put_look(s->e, path, 0, s->now_ns, true, s->now_ns);
	zombie_add(s->e, 0, &m, s->now_ns);
	return true;
}

struct engine *engine_new(const struct engine_config *config, struct ledger *ledger,
                          const struct engine_ops *ops, void *arg, int64_t now_ns)
{
	struct engine *e = mem_alloc(sizeof(*e));
	struct start start = {.e = e, .now_ns = now_ns};

	e->config = *config;
	engine_defaults(&e->config);
	e->job = mem_strdup(config->job);
	e->config.job = e->job;
	e->ledger = ledger;
	e->ops = ops;
	e->arg = arg;
	e->random = config->seed ? config->seed : 1;
	/* An answer to a predecessor of the same job must not be taken for one of ours. */
	e->next_token = (uint64_t)engine_random(e) << 32;
	e->lanes_now = e->config.lanes;
	e->failed_next_ns = e->recheck_ns = e->spare_ns = INT64_MAX;
	e->last_need_ns = now_ns;
	e->generation_ns = now_ns;
	e->types_unsure = true; /* as it may have been before */
	e->set = pathset_new(e->config.marks_limit, e->config.longest_wait_ns);
	brake_init(&e->brake, &config->brake);
	loss_count(e, now_ns);
	ledger_each_intended(ledger, engine_read_intent, &start);
	trust_recall(e, now_ns);
	return e;
}

void engine_free(struct engine *e)
{
	struct flight *f, *fnext;
	struct look_request *l, *lnext;

	if (!e)
		return;
	HASH_ITER (hh, e->flights, f, fnext) {
		flight_lost(e, f, false, 0);
	}
	HASH_ITER (hh, e->looks, l, lnext) {
		HASH_DEL(e->looks, l);
		if (l->batch)
			batch_end(l->batch, 0, 0);
		free(l);
	}
	supply_clear(e);
	zombie_clear(e);
	sweep_clear(e);
	rename_clear(e);
	copy_clear(e);
	failure_clear(e);
	hold_clear(e);
	aged_clear(&e->content_due);
	aged_clear(&e->approved);
	trust_done(e);
	pathset_free(e->set);
	free(e->held_why);
	free(e->job);
	free(e);
}

bool engine_can_send(const struct engine *e, int64_t now_ns)
{
	return !e->frozen && !e->paused && !e->held_why && now_ns >= e->retry_ns;
}

void engine_trouble(struct engine *e, enum trouble t, struct bytes text, int64_t now_ns)
{
	const char *step = trouble_step(t);
	struct buf shown;

	/* Batches that were under way when it began tell the same thing again, or just break off.
	 */
	if (now_ns < e->retry_ns && (e->trouble == t || t == TROUBLE_PROTOCOL))
		return;
	buf_init(&shown, sizeof(e->text) - 1);
	path_quote(&shown, text);
	if (e->trouble == TROUBLE_NONE)
		e->trouble_since_ns = now_ns;
	e->trusted_from_ns = now_ns;
	e->proven_ns = 0;
	e->trouble = t;
	e->trouble_sending = false;
	e->failures++;
	e->retry_ns = now_ns + pace_backoff_ns(t, e->failures, engine_random(e));
	(void)snprintf(e->text, sizeof(e->text), "%.*s", (int)shown.n, shown.n ? shown.p : "");
	buf_done(&shown);
	engine_say(e, LOG_WARN, "target.trouble",
	           "trouble=%s %s%s %s%s%zu entries wait; retrying in %lld s", trouble_word(t),
	           e->text, err_stop(e->text), step, *step ? " " : "",
	           pathset_pending(e->set) + pathset_in_flight(e->set),
	           (long long)((e->retry_ns - now_ns + NS_PER_S / 2) / NS_PER_S));
}

void engine_well(struct engine *e, int64_t now_ns)
{
	if (e->trouble != TROUBLE_NONE) {
		engine_say(e, LOG_INFO, "target.well",
		           "the target takes changes again after %lld s",
		           (long long)((now_ns - e->trouble_since_ns) / NS_PER_S));
		failure_step(e, true, now_ns);
	}
	e->trouble = TROUBLE_NONE;
	e->trouble_sending = false;
	e->failures = 0;
	e->retry_ns = 0;
	e->text[0] = '\0';
}

static void engine_let_go(struct bytes path, void *arg)
{
	struct engine *e = arg;

	aged_remove(&e->content_due, path);
	failure_gone(e, path);
}

/* Whether a mark that only says something about a pending one is to be put. A name that is neither
 * at the source nor at the target settles what was pending for it, and below: what is in a
 * directory that was never sent before it left has no deletion of its own. */
static bool engine_concerns_pending(struct engine *e, const struct mark *m, int64_t now_ns)
{
	if (m->action == MARK_DELETE) {
		pathset_settle(e->set, m->path, engine_let_go, e, now_ns);
		engine_let_go(m->path, e);
		return false;
	}
	if (m->action == MARK_CONTENT || m->action == MARK_QUICK) {
		group_left(e, m, now_ns);
		return false;
	}
	if (m->flags & MARK_DIR) {
		pathset_hurry(e->set, m->path, now_ns);
		return false;
	}
	if (m->action == MARK_LOOK)
		return pathset_goes(e->set, m->path);
	return pathset_has(e->set, m->path);
}

static bool engine_set_aside(struct engine *e, const struct mark *m)
{
	if (!e->unproven || pathset_pending_deletions(e->set) < e->config.marks_limit / 4)
		return false;
	if (!e->aside || m->born < e->aside_born)
		e->aside_born = m->born;
	if (!e->aside || m->since_ns < e->aside_since_ns)
		e->aside_since_ns = m->since_ns;
	e->aside = true;
	return true;
}

void engine_take_up(struct engine *e, int64_t now_ns)
{
	struct mark m = {.path = {"", 0},
	                 .scope = MARK_SUBTREE,
	                 .action = MARK_LOOK,
	                 .flags = MARK_DIR,
	                 .born = e->aside_born,
	                 .since_ns = e->aside_since_ns};

	if (e->aside)
		pathset_put(e->set, &m, now_ns);
	e->aside = false;
}

/* ".name.XXXXXX": where another host mirrors into this tree, its files stand under such names for a
 * moment. Sent, they would come back, and the two would never fall silent. */
static bool engine_is_brief(const struct mark *m)
{
	return (m->flags & (MARK_FRESH | MARK_DIR)) == MARK_FRESH &&
	       tempname_split(path_name(m->path), NULL);
}

static void engine_trace_mark(struct engine *e, const struct mark *m)
{
	if (e->config.trace)
		engine_say(e, LOG_DEBUG, "mark", "path=%s action=%s flags=%u born=%llu link=%llu",
		           path_show(m->path), mark_action_word(m->action), m->flags,
		           (unsigned long long)m->born, (unsigned long long)m->link);
}

/* What a look was asked for comes out of it: content, and whether the target is in doubt. */
static void engine_raise_content(struct engine *e, struct mark *m)
{
	const struct aged_path *due = aged_find(e->content_due, m->path);

	if (!due || (m->flags & MARK_DIR))
		return;
	m->action = MARK_CONTENT;
	if (due->doubt)
		m->flags &= ~(unsigned)MARK_SIGHT;
	else if (!e->comparing)
		m->flags |= MARK_SIGHT;
}

void engine_marks(struct engine *e, const struct mark *marks, size_t n, int64_t now_ns)
{
	for (size_t i = 0; i < n; i++) {
		struct mark m = marks[i];

		engine_trace_mark(e, &m);
		if ((m.flags & MARK_IF_PENDING) && !engine_concerns_pending(e, &m, now_ns))
			continue;
		m.flags &= ~(unsigned)MARK_IF_PENDING;
		if (m.action == MARK_DELETE) {
			/* Why content is due survives: the name may be back before it goes. */
			confirm_doubt_kept(e, m.path);
			if (hold_has(e, m.path) || e->config.keep_deleted ||
			    engine_set_aside(e, &m))
				continue;
		} else if (m.action != MARK_LOOK) {
			hold_leave(e, m.path);
			aged_remove(&e->approved, m.path);
			if (engine_is_brief(&m))
				m.flags |= MARK_BRIEF;
			engine_raise_content(e, &m);
			rename_marked(e, &m, now_ns);
			copy_marked(e, &m, now_ns);
			/* Never confirmed as another type, but names below were confirmed since the
			 * look: they go first. */
			if ((m.flags & (MARK_FRESH | MARK_DIR)) == MARK_FRESH &&
			    ledger_has_below(e->ledger, m.path))
				m.flags |= MARK_RETYPED;
			/* Kept aside: a look that swallows the mark does not know why. */
			if (m.action == MARK_CONTENT && !(m.flags & MARK_LOW))
				engine_content_due(e, m.path, m.born, m.since_ns,
				                   !(m.flags & MARK_SIGHT));
		}
		failure_marked(e, &m);
		if ((m.action == MARK_DELETE && (m.flags & MARK_DIR)) || (m.flags & MARK_RETYPED))
			pathset_hurry(e->set, m.path, now_ns);
		pathset_put(e->set, &m, now_ns);
	}
	group_catch_up(e, marks, n, now_ns);
}

void engine_worker_died(struct engine *e, struct bytes why, int64_t now_ns)
{
	struct flight *f, *next;
	bool sending = e->flights != NULL;

	HASH_ITER (hh, e->flights, f, next) {
		flight_lost(e, f, true, now_ns);
	}
	supply_lost_all(e);
	engine_trouble(e, TROUBLE_LOCAL, why, now_ns);
	e->trouble_sending = e->trouble_sending || sending;
}

void engine_set_frozen(struct engine *e, bool frozen, int64_t now_ns)
{
	(void)now_ns;
	e->frozen = frozen;
}

void engine_set_owed(struct engine *e, uint64_t names)
{
	e->owed = names;
	e->owed_told = true;
}

void engine_set_racy_window(struct engine *e, int64_t racy_window_ns)
{
	e->config.racy_window_ns = racy_window_ns;
}

void engine_set_paused(struct engine *e, bool paused, int64_t now_ns)
{
	e->paused = paused;
	if (paused)
		supply_close_idle(e, now_ns);
	else
		e->last_need_ns = now_ns;
}

void engine_set_held(struct engine *e, const char *why, int64_t now_ns)
{
	(void)now_ns;
	free(e->held_why);
	e->held_why = mem_strdup(why);
}

void engine_crawled(struct engine *e, int64_t now_ns)
{
	(void)now_ns;
	e->crawled = true;
}

void engine_kick(struct engine *e, int64_t now_ns)
{
	e->retry_ns = 0;
	e->failures = 0; /* what was repaired may take more than this try */
	failure_step(e, true, now_ns);
}

static void engine_step_phase(struct engine *e)
{
	enum ledger_phase phase = ledger_phase(e->ledger);

	if (phase == LEDGER_NEVER)
		ledger_set_phase(e->ledger, LEDGER_FIRST_SYNC);
	else if (phase == LEDGER_FIRST_SYNC && e->crawled && pathset_pending(e->set) == 0 &&
	         pathset_in_flight(e->set) == 0) {
		ledger_set_phase(e->ledger, LEDGER_LIVE);
		e->compare_open = true;
		engine_say(e, LOG_INFO, "job.live", "the first sync is complete: %llu entries",
		           (unsigned long long)ledger_entries(e->ledger));
	}
}

static size_t engine_busy_lanes(const struct engine *e)
{
	return HASH_COUNT(e->flights);
}

/* Classes that have both something due and a session at hand; `*needed` gets those without one. */
static unsigned engine_classes(struct engine *e, unsigned *needed, int64_t now_ns)
{
	unsigned due = pathset_ready(e->set, now_ns), classes = 0;
	bool deletions = due & 1u << BATCH_DELETE;

	*needed = 0;
	/* A full target gets its deletions alone: anything else would fail before they free room.
	 */
	if (e->trouble == TROUBLE_FULL && !e->unproven && (deletions || flight_deletions(e)))
		due &= 1u << BATCH_DELETE;
	if (deletions && !trust_allows_deletions(e, now_ns))
		due &= ~(1u << BATCH_DELETE);
	for (enum batch_class c = BATCH_QUICK; c < BATCH_CLASSES; c++) {
		if (!(due & 1u << c))
			continue;
		if (supply_idle(e, flight_class(c)))
			classes |= 1u << c;
		else
			*needed |= 1u << flight_class(c);
	}
	if (e->sweep_due && trust_allows_deletions(e, now_ns) && !supply_idle(e, SESSION_DELETE))
		*needed |= 1u << SESSION_DELETE;
	if ((trust_doubts(e, now_ns) || trust_wants_probe(e, deletions || e->sweep_due, now_ns)) &&
	    !supply_idle(e, SESSION_QUICK))
		*needed |= 1u << SESSION_QUICK;
	return classes;
}

static bool engine_send_one(struct engine *e, unsigned classes, int64_t now_ns)
{
	struct take_limits limits = {classes, e->config.batch_marks, e->config.batch_bytes,
	                             engine_busy_lanes(e) + 1 < e->lanes_now || e->lanes_now == 1};
	struct batch *b;

	if (classes == 1u << BATCH_DELETE)
		limits.max_marks = 2000;
	b = pathset_take(e->set, &limits, now_ns);
	if (!b)
		return false;
	if (batch_class(b) == BATCH_DELETE && !loss_allows(e, b, now_ns))
		return true;
	flight_send(e, supply_idle(e, flight_class(batch_class(b))), b, now_ns);
	return true;
}

/* A list without marks: stamps, or names that are swept. */
static void engine_send_alone(struct engine *e, enum session_class class, int64_t now_ns,
                              bool root_ok)
{
	struct supply_session *s = supply_idle(e, class);

	if (!engine_can_send(e, now_ns) || !s || engine_busy_lanes(e) >= e->lanes_now)
		return;
	if (root_ok)
		flight_send(e, s, NULL, now_ns);
	else
		e->ops->want_root(e->arg);
}

static void engine_send(struct engine *e, int64_t now_ns, bool root_ok)
{
	unsigned needed = 0, classes, all_needed = 0;

	while (engine_busy_lanes(e) < e->lanes_now && engine_can_send(e, now_ns)) {
		classes = engine_classes(e, &needed, now_ns);
		all_needed |= needed;
		if (!classes)
			break;
		if (!root_ok) {
			e->ops->want_root(e->arg);
			break;
		}
		if (!engine_send_one(e, classes, now_ns))
			break;
	}
	bool deletions = pathset_ready(e->set, now_ns) & 1u << BATCH_DELETE;

	if (trust_wants_probe(e, deletions || e->sweep_due, now_ns))
		engine_send_alone(e, SESSION_QUICK, now_ns, root_ok);
	if (e->sweep_due && trust_allows_deletions(e, now_ns))
		engine_send_alone(e, SESSION_DELETE, now_ns, root_ok);
	/* A target in trouble is tried again, also when nothing waits for it any more (I14). */
	if (e->trouble != TROUBLE_NONE && !supply_idle(e, SESSION_QUICK))
		all_needed |= 1u << SESSION_QUICK;
	if (engine_can_send(e, now_ns))
		supply_order(e, all_needed, now_ns);
}

void engine_run(struct engine *e, int64_t now_ns, bool root_ok)
{
	if (now_ns >= e->retry_ns)
		e->retry_ns = 0;
	e->spare_ns = INT64_MAX;
	loss_count(e, now_ns);
	zombie_step(e, now_ns);
	sweep_step(e, now_ns);
	failure_step(e, false, now_ns);
	trust_forget(e, now_ns); /* before its witnesses retire */
	supply_retire(e, now_ns);
	engine_step_phase(e);
	trust_step(e, now_ns);
	look_step_compare(e);
	look_send_all(e, now_ns);
	engine_send(e, now_ns, root_ok);
	loss_count(e, now_ns); /* without what turned out to be gone */
	look_tell_room(e, now_ns);
}

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

int64_t engine_deadline(const struct engine *e)
{
	int64_t at = earlier(zombie_deadline(e), e->failed_next_ns);

	at = earlier(at, supply_deadline(e));
	if (e->frozen || e->paused || e->held_why)
		return at;
	/* Nothing is sent before, and then whatever waits has been due for long (I14). */
	if (e->retry_ns)
		return earlier(at, e->retry_ns);
	at = earlier(at, earlier(sweep_deadline(e), e->spare_ns));
	return earlier(at, earlier(pathset_deadline(e->set), trust_deadline(e)));
}
