#include <stdarg.h>
#include <stdio.h>
#include "base/mem.h"
#include "base/path.h"
#include "core/pathset.h"
#include "server.h"

uint32_t world_random(struct world *w, uint32_t below)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return below ? (uint32_t)(w->random >> 20) % below : 0;
}

void world_violation(struct world *w, const char *what, struct bytes path)
{
	if (w->violation)
		return;
	w->violation = what;
	(void)snprintf(w->detail, sizeof(w->detail), "%s", path_show(path));
}

void world_trace(struct world *w, const char *fmt, ...)
{
	va_list ap;

	if (!getenv("SIM_LOG"))
		return;
	(void)fprintf(stderr, "%8lld ms   ", (long long)(w->now_ns / MS));
	va_start(ap, fmt);
	(void)vfprintf(stderr, fmt, ap);
	va_end(ap);
	(void)fputc('\n', stderr);
}

/* --- the engine's outputs --- */

static uint64_t ops_open(void *arg, enum session_class class)
{
	struct world *w = arg;
	uint64_t id = ++w->next_session;

	target_open(w, id, class);
	return id;
}

static void ops_close(void *arg, uint64_t session)
{
	target_close(arg, session);
}

static void ops_send(void *arg, const struct wire_batch *batch)
{
	target_batch(arg, batch);
}

static void ops_cancel(void *arg, uint64_t batch)
{
	(void)arg;
	(void)batch;
}

static void ops_look(void *arg, uint64_t token, const struct mark *marks, size_t n)
{
	struct world *w = arg;

	for (size_t i = 0; i < n; i++) {
		struct event *e = mem_alloc(sizeof(*e));

		check(marks[i].path.n < sizeof(e->path));
		if (marks[i].path.n)
			memcpy(e->path, marks[i].path.p, marks[i].path.n);
		e->subtree = marks[i].scope == MARK_SUBTREE;
		e->least = marks[i].action;
		e->born = marks[i].born;
		e->since_ns = marks[i].since_ns;
		e->token = i + 1 == n ? token : 0;
		e->asked = true;
		*w->events_tail = e;
		w->events_tail = &e->next;
		w->event_count++;
	}
}

static void ops_want_root(void *arg)
{
	((struct world *)arg)->root_wanted = true;
}

static void ops_room(void *arg, size_t marks)
{
	((struct world *)arg)->room = marks;
}

static void ops_event(void *arg, int level, const char *id, const char *text)
{
	struct world *w = arg;

	world_trace(w, "%d %s %s", level, id, text);
}

static const struct engine_ops ops = {
        .open_session = ops_open,
        .close_session = ops_close,
        .send_batch = ops_send,
        .cancel_batch = ops_cancel,
        .look = ops_look,
        .want_root = ops_want_root,
        .room = ops_room,
        .event = ops_event,
};

void world_start_daemon(struct world *w)
{
	struct engine_config c = {
	        .job = "sim",
	        .brake = {SIM_BRAKE_FILES, SIM_BRAKE_PERCENT, 1000, !w->mood.brake},
	        .keep_deleted = w->mood.keep_deleted,
	        .renames = w->mood.links,
	        .rename_bytes = 1,
	        .copies = w->mood.copies,
	        .copy_bytes = 1,
	        .lanes = 3,
	        .warm = 1,
	        .spare_wait_ns = world_random(w, 2) ? 20000000 : 0,
	        .marks_limit = w->mood.marks_limit,
	        .batch_marks = 8,
	        .batch_bytes = 1 << 20,
	        .longest_wait_ns = 2 * S,
	        .zombie_ns = 60 * S,
	        .stamp = !w->mood.blind,
	        .first_generation = (uint64_t)(w->now_ns / S) + 1000,
	        .seed = world_random(w, 1u << 30) + 1,
	        .recents = w->recents,
	};

	w->ledger = ledger_new(w->store, w->log);
	w->engine = engine_new(&c, w->ledger, &ops, w, w->now_ns);
	w->root_wanted = w->paused = false;
	source_crawl_all(w);
	engine_crawled(w->engine, w->now_ns);
}

void world_drop_events(struct world *w)
{
	while (w->events) {
		struct event *e = w->events;

		w->events = e->next;
		free(e);
	}
	w->events_tail = &w->events;
	w->event_count = 0;
}

void world_crash(struct world *w)
{
	w->crashes++;
	world_trace(w, "the daemon crashes");
	check_forget(w, false);
	target_orphan_all(w);
	world_drop_events(w);
	engine_free(w->engine);
	ledger_drop(w->ledger);
	world_start_daemon(w);
	target_claim(w);
}

static void world_run_engine(struct world *w)
{
	bool root = w->root_wanted && !w->frozen;

	w->root_wanted = false;
	engine_run(w->engine, w->now_ns, root);
	if (w->root_wanted && !w->frozen && world_random(w, 2)) {
		w->root_wanted = false;
		engine_run(w->engine, w->now_ns, true);
	}
}

void world_step(struct world *w)
{
	uint32_t dice = world_random(w, 100);

	w->steps++;
	w->now_ns += (int64_t)world_random(w, 40) * MS;
	if (world_random(w, 50) == 0)
		w->now_ns += (int64_t)world_random(w, 20) * S;
	if (dice < 30)
		source_change(w);
	else if (dice < 60)
		(void)source_step(w);
	else if (dice < 90)
		(void)target_step(w);
	else if (dice < 92)
		target_fault(w);
	else if (dice < 95 && ledger_commit(w->ledger) >= 0)
		w->kept_generation = ledger_generation(w->ledger);
	if (world_random(w, 400) == 0)
		world_crash(w);
	target_heal(w);
	world_run_engine(w);
	if (w->steps % 8 == 0)
		check_superset(w);
	check_barrier(w);
}

static bool explain_mark(const struct mark *m, bool in_flight, void *arg)
{
	(void)arg;
	(void)printf("#   %s action=%d scope=%d flags=%u born=%llu%s\n", path_show(m->path),
	             (int)m->action, (int)m->scope, m->flags, (unsigned long long)m->born,
	             in_flight ? " in flight" : "");
	return true;
}

static void world_explain(struct world *w)
{
	struct engine_status s;

	engine_status(w->engine, &s, w->now_ns);
	(void)printf(
	        "# state=%s pending=%zu in_flight=%zu failed=%zu held=%zu zombies=%zu sessions=%zu "
	        "proven=%d %s\n",
	        engine_state_word(s.state), s.pending, s.in_flight, s.failed, s.held, s.zombies,
	        s.sessions, s.stamp_proven, s.text);
	engine_each_mark(w->engine, explain_mark, NULL);
	for (struct server *v = w->servers; v; v = v->next)
		(void)printf("#   server %llu state=%d class=%d at=%zu/%zu%s\n",
		             (unsigned long long)v->id, (int)v->state, (int)v->class, v->at,
		             v->count, v->orphan ? " orphan" : "");
	(void)printf("#   events=%zu root_wanted=%d settled=%d\n", w->event_count, w->root_wanted,
	             (int)engine_settled(w->engine, w->drain, w->now_ns));
}

void world_settle(struct world *w)
{
	int64_t limit_ns = w->now_ns + 7200 * S;
	unsigned idle = 0;
	bool unnoticed;

	w->quiet = true;
	w->frozen = false;
	engine_set_frozen(w->engine, false, w->now_ns);
	w->paused = false;
	engine_set_paused(w->engine, false, w->now_ns);
	/* A target that was swapped is found out by the next list of a new session. */
	if (w->replaced) {
		target_forget_past(w);
		source_touch(w);
	}
	w->replaced = false;
	while (w->now_ns < limit_ns && !w->violation) {
		bool busy = source_step(w);

		busy = target_step(w) || busy;
		unnoticed = target_unnoticed(w);
		target_heal(w);
		world_run_engine(w);
		if (busy || w->root_wanted) {
			idle = 0;
			w->now_ns += MS;
			continue;
		}
		enum engine_settled settled = engine_settled(w->engine, BORN_NONE, w->now_ns);

		check_approve_all(w);
		if (settled == ENGINE_SETTLED && !unnoticed && ++idle > 3)
			return;
		/* What fails for good is tried again for ever; ten minutes are enough. */
		if (settled == ENGINE_STUCK && !unnoticed && w->now_ns > limit_ns - 6600 * S)
			return;
		int64_t next = engine_deadline(w->engine);

		w->now_ns = next > w->now_ns && next < limit_ns ? next : w->now_ns + 100 * MS;
	}
	if (getenv("SIM_LOG"))
		world_explain(w);
	world_violation(w, "I14: not settled after two quiet hours", BYTES(""));
}
