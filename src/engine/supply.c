/*
 * supply: sessions for one job, opened ahead of need.
 *
 * One attempt at a time: a stock daemon's listen backlog is 5, and a burst of connects stalls the
 * rest for a second. Over a long line an attempt takes several round trips: there it is two once
 * a session is open, and one more is kept open for each change that found none.
 *
 * Idle sessions retire by age (a remounted module is only seen by a new one) and, when nothing has
 * needed them for long, without being replaced: an idle job ends with no session.
 *
 * A session that stays open proves that the target's host did not go down meanwhile. So one is kept
 * for minutes after the last confirmation, and its successor is opened a minute before it goes;
 * where the chain breaks, trust_away() is told since when nobody can vouch for the target.
 */
#include "base/log.h"
#include "base/mem.h"
#include "engine/internal.h"

#define SESSION_AGE_NS (120 * NS_PER_S)
#define IDLE_AFTER_NS  (300 * NS_PER_S)
#define EXTRA_AFTER_NS (30 * NS_PER_S) /* classes that nothing has needed since */
#define LONG_OPEN_NS   (NS_PER_S / 40) /* longer than any that is near takes on a calm machine */
#define MORE_FOR_NS    (30 * NS_PER_S)
#define OVERLAP_NS     (60 * NS_PER_S) /* a dead session shows by its keepalives within this */

struct supply_session *supply_idle(struct engine *e, enum session_class class)
{
	struct supply_session *s, *next, *youngest = NULL;

	HASH_ITER (hh, e->sessions, s, next) {
		if (s->state == SUPPLY_IDLE && s->class == class &&
		    (!youngest || s->since_ns > youngest->since_ns))
			youngest = s;
	}
	return youngest;
}

size_t supply_count(const struct engine *e, bool ready_only)
{
	struct supply_session *s, *next;
	size_t n = 0;

	HASH_ITER (hh, e->sessions, s, next) {
		if (s->state == SUPPLY_IDLE || s->state == SUPPLY_BUSY ||
		    (!ready_only && s->state == SUPPLY_CONNECTING))
			n++;
	}
	return n;
}

static size_t supply_of_class(const struct engine *e, enum session_class class, bool aged)
{
	struct supply_session *s, *next;
	size_t n = 0;

	HASH_ITER (hh, e->sessions, s, next) {
		if (s->class == class && s->state <= SUPPLY_IDLE && (aged || !s->aged))
			n++;
	}
	return n;
}

static size_t supply_attempts(const struct engine *e)
{
	struct supply_session *s, *next;
	size_t n = 0;

	HASH_ITER (hh, e->sessions, s, next) {
		n += s->state == SUPPLY_CONNECTING;
	}
	return n;
}

bool supply_connecting(const struct engine *e)
{
	return supply_attempts(e) > 0;
}

static bool supply_is_far(const struct engine *e)
{
	return e->open_ns >= LONG_OPEN_NS;
}

/* Idle quick sessions to be kept. Where a change had to wait for one, one more, for a while. */
static size_t supply_spares(struct engine *e, unsigned needed, int64_t now_ns)
{
	size_t most = e->lanes_now > e->config.warm ? e->lanes_now - e->config.warm : 0;
	int64_t since_ns = now_ns - e->more_ns;

	if (!e->config.warm || !supply_is_far(e)) {
		e->more = 0;
	} else if ((needed & 1u << SESSION_QUICK) && e->more < most &&
	           (!e->more || since_ns > e->open_ns)) {
		e->more++;
		e->more_ns = now_ns;
	} else if (e->more && since_ns > MORE_FOR_NS) {
		e->more--;
		e->more_ns = now_ns;
	}
	return e->config.warm + e->more;
}

/* A target of which nothing is open yet is not pressed. */
static bool supply_waits_for_attempts(const struct engine *e)
{
	size_t most = supply_is_far(e) && supply_count(e, true) ? 2 : 1;

	return supply_attempts(e) >= most;
}

static void supply_open(struct engine *e, enum session_class class, int64_t now_ns)
{
	struct supply_session *s = mem_alloc(sizeof(*s));

	s->class = class;
	s->state = SUPPLY_CONNECTING;
	s->since_ns = now_ns;
	s->id = e->ops->open_session(e->arg, class);
	HASH_ADD(hh, e->sessions, id, sizeof(s->id), s);
}

static bool supply_vouches(const struct supply_session *s)
{
	return s->state == SUPPLY_IDLE || s->state == SUPPLY_BUSY;
}

/* Another session that has been open for so long that the end of `s` would have shown, had the
 * target gone down before that one was opened. */
static bool supply_overlaps(const struct engine *e, const struct supply_session *mine,
                            int64_t now_ns)
{
	struct supply_session *s, *next;

	HASH_ITER (hh, e->sessions, s, next) {
		if (s != mine && supply_vouches(s) && now_ns - s->ready_ns >= OVERLAP_NS)
			return true;
	}
	return false;
}

bool supply_in_sight(const struct engine *e, int64_t now_ns)
{
	return !e->unseen_ns && supply_overlaps(e, NULL, now_ns);
}

/* Once a session is open again, what was out of sight is dealt with. */
static void supply_seen(struct engine *e, int64_t now_ns)
{
	struct supply_session *s, *next;
	int64_t since_ns = e->unseen_ns;

	if (!since_ns)
		return;
	HASH_ITER (hh, e->sessions, s, next) {
		if (supply_vouches(s) && !s->settled) {
			e->unseen_ns = 0;
			trust_away(e, since_ns, e->unseen, now_ns);
			return;
		}
	}
}

void supply_unseen(struct engine *e, struct supply_session *s, enum sight how, int64_t now_ns)
{
	bool open = supply_vouches(s);

	if (s->settled)
		return;
	s->settled = true;
	if (how == SIGHT_GAP && (!open || supply_overlaps(e, s, now_ns)))
		return;
	if (!open && !e->unseen_ns)
		return; /* it never was open, and others are */
	if (!e->unseen_ns)
		e->unseen = how;
	else if (how > e->unseen)
		e->unseen = how;
	if (open && (!e->unseen_ns || s->heard_ns < e->unseen_ns))
		e->unseen_ns = s->heard_ns;
	supply_seen(e, now_ns);
}

void supply_heard(struct engine *e, uint64_t session, int64_t now_ns)
{
	struct supply_session *s;

	HASH_FIND(hh, e->sessions, &session, sizeof(session), s);
	if (s)
		s->heard_ns = now_ns;
}

static void supply_end(struct engine *e, struct supply_session *s, int64_t now_ns)
{
	supply_unseen(e, s, SIGHT_GAP, now_ns);
	s->state = SUPPLY_ENDING;
	s->since_ns = now_ns;
	e->ops->close_session(e->arg, s->id);
}

/* A lane is wanted for a class that has none left, but all lanes are taken by idle ones of others.
 */
static bool supply_make_room(struct engine *e, enum session_class wanted, int64_t now_ns)
{
	struct supply_session *s, *next;

	HASH_ITER (hh, e->sessions, s, next) {
		if (s->state == SUPPLY_IDLE && s->class != wanted) {
			supply_end(e, s, now_ns);
			return true;
		}
	}
	return false;
}

/* The target's new processes would take the time of the flight that has just left. The next change
 * does not wait: there is one for it. */
static bool supply_spare_waits(struct engine *e, int64_t now_ns)
{
	return e->flights && now_ns < e->sent_ns + e->config.spare_wait_ns &&
	       supply_idle(e, SESSION_QUICK);
}

/* Opens one more session, if one is wanted and may be opened now. */
static bool supply_order_one(struct engine *e, unsigned needed, size_t spares, int64_t now_ns)
{
	static const enum session_class order[] = {SESSION_QUICK, SESSION_CONTENT, SESSION_DELETE};
	bool recently = now_ns - e->last_need_ns < IDLE_AFTER_NS;
	size_t limit = e->lanes_now + (e->lanes_now > 1 ? e->config.warm : 0);

	if (supply_waits_for_attempts(e))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(order); i++) {
		enum session_class class = order[i];

		if (!(needed & 1u << class) || supply_of_class(e, class, true))
			continue;
		if (supply_count(e, false) >= limit && !supply_make_room(e, class, now_ns))
			return false;
		supply_open(e, class, now_ns);
		return true;
	}
	if (!recently || supply_of_class(e, SESSION_QUICK, false) >= spares ||
	    supply_count(e, false) >= limit)
		return false;
	if (!e->more && supply_spare_waits(e, now_ns)) {
		e->spare_ns = e->sent_ns + e->config.spare_wait_ns;
		return false;
	}
	supply_open(e, SESSION_QUICK, now_ns);
	return true;
}

void supply_order(struct engine *e, unsigned needed, int64_t now_ns)
{
	size_t spares = supply_spares(e, needed, now_ns);

	if (needed)
		e->last_need_ns = now_ns;
	if (!engine_can_send(e, now_ns))
		return;
	while (supply_order_one(e, needed, spares, now_ns))
		;
}

void supply_close_idle(struct engine *e, int64_t now_ns)
{
	struct supply_session *s, *next;

	HASH_ITER (hh, e->sessions, s, next) {
		if (s->state == SUPPLY_IDLE)
			supply_end(e, s, now_ns);
	}
}

static int64_t supply_age(const struct supply_session *s)
{
	return s->since_ns + (s->class == SESSION_QUICK ? SESSION_AGE_NS : EXTRA_AFTER_NS);
}

/* An idle session goes when it is of age and a younger one has been vouching for the target, too,
 * for long enough, or when nothing has been sent for so long that nobody needs to. */
static int64_t supply_expiry(const struct engine *e, const struct supply_session *mine)
{
	int64_t idle = e->last_need_ns + IDLE_AFTER_NS, age = supply_age(mine);
	int64_t at = age + 2 * OVERLAP_NS; /* where no second one can be had */
	struct supply_session *s, *next;

	HASH_ITER (hh, e->sessions, s, next) {
		if (s != mine && supply_vouches(s) && s->ready_ns + OVERLAP_NS < at)
			at = s->ready_ns + OVERLAP_NS;
	}
	at = at > age ? at : age;
	return idle < at ? idle : at;
}

void supply_retire(struct engine *e, int64_t now_ns)
{
	struct supply_session *s, *next;

	HASH_ITER (hh, e->sessions, s, next) {
		if (s->state != SUPPLY_IDLE)
			continue;
		s->aged = now_ns >= supply_age(s);
		if (now_ns >= supply_expiry(e, s))
			supply_end(e, s, now_ns);
	}
	if (e->lanes_now < e->config.lanes && now_ns >= e->lanes_grow_ns) {
		e->lanes_now++;
		e->lanes_grow_ns = now_ns + 60 * NS_PER_S;
	}
}

int64_t supply_deadline(const struct engine *e)
{
	struct supply_session *s, *next;
	int64_t deadline = INT64_MAX;

	HASH_ITER (hh, e->sessions, s, next) {
		int64_t at = s->aged ? supply_expiry(e, s) : supply_age(s);

		if (s->state == SUPPLY_IDLE && at < deadline)
			deadline = at;
	}
	return deadline;
}

/* The worker has taken all sessions with it. That says nothing about the target, which may have
 * gone at that time, or before, without anybody having heard of it: as when they had broken off. */
void supply_lost_all(struct engine *e)
{
	struct supply_session *s, *next;

	HASH_ITER (hh, e->sessions, s, next) {
		if (!supply_vouches(s) || s->settled)
			continue;
		if (!e->unseen_ns || e->unseen < SIGHT_BROKEN)
			e->unseen = SIGHT_BROKEN;
		if (!e->unseen_ns || s->heard_ns < e->unseen_ns)
			e->unseen_ns = s->heard_ns;
	}
	supply_clear(e);
}

void supply_clear(struct engine *e)
{
	struct supply_session *s, *next;

	HASH_ITER (hh, e->sessions, s, next) {
		HASH_DEL(e->sessions, s);
		free(s);
	}
}

static struct supply_session *supply_find(struct engine *e, uint64_t id)
{
	struct supply_session *s;

	HASH_FIND(hh, e->sessions, &id, sizeof(id), s);
	return s;
}

void engine_set_whole_seconds(struct engine *e)
{
	e->whole_seconds = true;
}

void engine_session_ready(struct engine *e, const struct wire_ready *m, int64_t now_ns)
{
	struct supply_session *s = supply_find(e, m->session);

	if (!s || s->state != SUPPLY_CONNECTING)
		return;
	if (s->class == SESSION_QUICK) /* follows what is new by a quarter */
		e->open_ns += (now_ns - s->since_ns - e->open_ns) / (e->open_ns ? 4 : 1);
	s->state = SUPPLY_IDLE;
	s->since_ns = s->ready_ns = s->heard_ns = now_ns;
	e->protocol = m->protocol;
	supply_seen(e, now_ns);
	if (e->paused) /* it was asked for before */
		supply_end(e, s, now_ns);
	/* Trouble that batches meet is not over because the target talks to us. */
	if (e->trouble == TROUBLE_NONE || e->trouble == TROUBLE_READONLY)
		return;
	if (pathset_pending(e->set) + pathset_in_flight(e->set) == 0 ||
	    (!e->trouble_sending && e->trouble != TROUBLE_FULL))
		engine_well(e, now_ns);
}

/* "max connections" while others of ours work: fewer lanes, no outage. */
static bool supply_shrink(struct engine *e, int64_t now_ns)
{
	size_t have = supply_count(e, true);

	if (have == 0)
		return false;
	e->lanes_now = (unsigned)have;
	e->lanes_grow_ns = now_ns + 60 * NS_PER_S;
	return true;
}

void engine_session_gone(struct engine *e, const struct wire_gone *m, int64_t now_ns)
{
	struct supply_session *s = supply_find(e, m->session);

	if (m->zombie_over)
		zombie_over(e, m->session, now_ns);
	if (!s)
		return;

	bool connecting = s->state == SUPPLY_CONNECTING, idle = s->state == SUPPLY_IDLE;
	bool broken = trouble_is_break((enum trouble)m->trouble);

	supply_unseen(e, s,
	              !broken      ? SIGHT_GAP
	              : connecting ? SIGHT_REFUSED
	                           : SIGHT_BROKEN,
	              now_ns);
	HASH_DEL(e->sessions, s);
	free(s);
	if (m->trouble == TROUBLE_NONE || m->trouble >= TROUBLE_KINDS)
		return;
	/* An idle session that the server let go is simply replaced; what the server said late
	 * about its options or its disk counts. */
	if (idle && broken)
		return;
	if (!connecting && !idle)
		return; /* its batch tells */
	if (m->trouble == TROUBLE_BUSY && supply_shrink(e, now_ns))
		return;
	engine_trouble(e, (enum trouble)m->trouble, m->text, now_ns);
}
