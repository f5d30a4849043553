#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include "rig.h"

static const char stamp0[] = ".lockstep/rig.0", stamp1[] = ".lockstep/rig.1";

static int setup_brake(void **state)
{
	struct rig *r = rig_new();

	r->config.brake = (struct brake_limits){.files = 2, .percent = 10, .absolute = 100};
	rig_start(r);
	*state = r;
	return 0;
}

/* Confirmed at the target, and nothing under way any more. */
static void hold_at_target(struct rig *r, const char *path)
{
	rig_put(r, path, MARK_QUICK, MARK_FRESH);
	rig_confirm_all(r);
	assert_int_equal(rig_belief(r, path), LEDGER_CONFIRMED);
}

static void mark_is_intended_before_it_is_sent(void **state)
{
	struct rig *r = *state;

	rig_put(r, "a", MARK_QUICK, MARK_FRESH);
	assert_non_null(rig_find(r, "a"));
	assert_true(rig_find(r, "a")->intended);
	assert_int_equal(rig_belief(r, "a"), LEDGER_INTENDED);
}

static void ack_enters_the_ledger(void **state)
{
	struct rig *r = *state;

	rig_put(r, "a", MARK_QUICK, MARK_FRESH);
	assert_int_equal(rig_report(r, rig_find(r, "a"), "a", WIRE_ACKED), 0);
	assert_int_equal(rig_belief(r, "a"), LEDGER_CONFIRMED);
	rig_done(r, rig_find(r, "a"), TROUBLE_NONE, false);
	assert_null(rig_find(r, "a"));
	assert_int_equal(engine_settled(r->engine, 1, r->now_ns), ENGINE_SETTLED);
}

static void what_is_confirmed_but_for_an_attribute_is_told(void **state)
{
	struct rig *r = *state;
	struct engine_status s;

	rig_put(r, "a", MARK_QUICK, MARK_FRESH);
	engine_status(r->engine, &s, r->now_ns);
	assert_string_equal(s.note, "");
	assert_int_equal(rig_report(r, rig_find(r, "a"), "a", WIRE_ACKED), 0);
	rig_done(r, rig_find(r, "a"), TROUBLE_NONE, false);
	engine_status(r->engine, &s, r->now_ns);
	assert_non_null(strstr(s.note, "without an attribute: 1"));
	assert_non_null(strstr(s.note, "a: the server's words"));
	assert_int_equal(s.failed, 0);
}

static void vanished_entry_is_looked_at_and_its_intent_withdrawn(void **state)
{
	struct rig *r = *state;

	rig_put(r, "a", MARK_QUICK, MARK_FRESH);
	assert_int_equal(rig_report(r, rig_find(r, "a"), "a", WIRE_VANISHED), 0);
	rig_done(r, rig_find(r, "a"), TROUBLE_NONE, false);
	assert_int_equal(rig_belief(r, "a"), LEDGER_ABSENT);
	rig_wait(r, RIG_SECOND);
	assert_non_null(rig_find_look(r, "a"));
	assert_int_equal(engine_settled(r->engine, 1, r->now_ns), ENGINE_PENDING);
	rig_looked(r);
	assert_int_equal(engine_settled(r->engine, 1, r->now_ns), ENGINE_SETTLED);
}

static void closed_new_file_goes_unasked_where_its_directory_stands(void **state)
{
	struct rig *r = *state;
	const unsigned closed = MARK_FRESH | MARK_CLOSED;

	hold_at_target(r, "old");
	rig_put(r, "a", MARK_QUICK, closed);
	assert_int_equal(rig_find(r, "a")->flags[0], WIRE_ITEM_UNASKED);
	rig_put(r, "moved", MARK_QUICK, MARK_FRESH);
	assert_int_equal(rig_find(r, "moved")->flags[0], 0);
	rig_put(r, "d/a", MARK_QUICK, closed);
	assert_int_equal(rig_find(r, "d/a")->flags[0], 0);
	rig_put(r, "old", MARK_QUICK, closed);
	assert_int_equal(rig_find(r, "old")->flags[0], 0);
	rig_confirm_all(r);
	assert_int_equal(engine_settled(r->engine, 1, r->now_ns), ENGINE_SETTLED);
}

/* A lane that is idle adds no delay; only the session after the next waits for the flight. */
static void spare_session_waits_for_the_flight_and_no_mark_does(void **state)
{
	struct rig *r = rig_new();
	size_t before;

	(void)state;
	r->config.warm = 2;
	r->config.spare_wait_ns = RIG_SECOND / 50;
	rig_start(r);
	rig_put(r, "a", MARK_QUICK, MARK_FRESH);
	rig_confirm_all(r);
	rig_wait(r, RIG_SECOND);
	before = r->session_count;
	rig_put(r, "b", MARK_QUICK, MARK_FRESH);
	assert_non_null(rig_find(r, "b"));
	assert_int_equal(r->session_count, before);
	assert_true(engine_deadline(r->engine) <= r->now_ns + r->config.spare_wait_ns);
	rig_put(r, "c", MARK_QUICK, MARK_FRESH);
	assert_non_null(rig_find(r, "c"));
	rig_wait(r, r->config.spare_wait_ns);
	assert_true(r->session_count > before);
	rig_confirm_all(r);
	assert_int_equal(engine_settled(r->engine, 1, r->now_ns), ENGINE_SETTLED);
	rig_free(r);
}

static void content_in_doubt_is_sent_whatever_was_brought_before(void **state)
{
	struct rig *r = *state;
	struct rig_batch *b;

	hold_at_target(r, "a");
	rig_put(r, "a", MARK_CONTENT, 0);
	b = rig_find(r, "a");
	assert_int_equal(b->flags[0], 0);
	rig_put(r, "a", MARK_CONTENT, MARK_SIGHT); /* meanwhile */
	rig_done(r, b, TROUBLE_PROTOCOL, true);
	rig_wait(r, 10 * RIG_SECOND);
	b = rig_find(r, "a");
	assert_int_equal(b->class, SESSION_CONTENT);
	assert_int_equal(b->flags[0], 0);
}

static void content_that_is_the_same_leaves_attributes_to_be_sent(void **state)
{
	struct rig *r = *state;
	struct rig_batch *b;

	hold_at_target(r, "a");
	rig_put(r, "a", MARK_CONTENT, MARK_SIGHT);
	b = rig_find(r, "a");
	assert_int_equal(b->flags[0], WIRE_ITEM_UNLESS_SAME);
	assert_int_equal(rig_report(r, b, "a", WIRE_SAME), 0);
	assert_int_equal(rig_belief(r, "a"), LEDGER_CONFIRMED);
	rig_done(r, b, TROUBLE_NONE, false);
	rig_wait(r, RIG_SECOND);
	b = rig_find(r, "a");
	assert_int_equal(b->class, SESSION_QUICK);
	assert_int_equal(b->flags[0], WIRE_ITEM_META);
	rig_confirm_all(r);
	assert_int_equal(engine_settled(r->engine, 1, r->now_ns), ENGINE_SETTLED);
}

static void confirmed_lately_is_compared_after_a_restart(void **state)
{
	struct rig *r = *state;

	hold_at_target(r, "a");
	rig_restart(r);
	rig_run(r);
	assert_non_null(rig_find_look(r, "a"));
	assert_int_equal(rig_find_look(r, "a")->action, MARK_CONTENT);
}

static bool count_one(struct bytes path, void *arg)
{
	(void)path;
	++*(size_t *)arg;
	return true;
}

/* Long enough after, with the target in sight all the time, it is on the target's disk. */
static void confirmed_long_ago_is_forgotten(void **state)
{
	struct rig *r = *state;
	size_t noted = 0;

	hold_at_target(r, "a");
	r->recents->each(r->recents, count_one, &noted);
	assert_int_equal(noted, 1);
	for (int i = 0; i < 31; i++) {
		rig_wait(r, 10 * RIG_SECOND);
		rig_confirm_all(r);
	}
	noted = 0;
	r->recents->each(r->recents, count_one, &noted);
	assert_int_equal(noted, 0);
}

/* What is noted for the next start must not grow with each start. */
static void confirmed_lately_is_forgotten_when_compared(void **state)
{
	struct rig *r = *state;
	size_t noted = 0;

	rig_put(r, "a", MARK_QUICK, MARK_FRESH);
	rig_confirm_all(r);
	for (int i = 0; i < 8; i++) {
		rig_restart(r);
		rig_confirm_all(r); /* what an earlier run may have left is swept */
		rig_put(r, "a", MARK_CONTENT, 0);
		rig_looked(r);
		rig_wait(r, RIG_SECOND);
		rig_confirm_all(r);
		rig_put(r, "b", MARK_QUICK, 0);
		rig_wait(r, RIG_SECOND);
		rig_confirm_all(r);
		rig_looked(r);
	}
	r->recents->each(r->recents, count_one, &noted);
	assert_in_range(noted, 2, 6);
}

static void break_idle_session(struct rig *r)
{
	struct rig_session *idle = NULL;

	for (size_t i = 0; i < r->session_count; i++)
		idle = r->sessions[i].ready && !r->sessions[i].closed ? &r->sessions[i] : idle;
	assert_non_null(idle);
	idle->closed = true;

	struct wire_gone gone = {
	        .session = idle->id, .trouble = TROUBLE_PROTOCOL, .text = BYTES("reset")};

	engine_session_gone(r->engine, &gone, r->now_ns);
}

static void confirmed_lately_is_compared_after_an_outage(void **state)
{
	struct rig *r = *state;

	hold_at_target(r, "a");
	rig_wait(r, 20 * RIG_SECOND);
	break_idle_session(r);
	assert_int_equal(engine_settled(r->engine, 1, r->now_ns), ENGINE_PENDING);
	rig_run(r);
	rig_wait(r, 2 * RIG_SECOND);
	assert_non_null(rig_find_look(r, "a"));
	assert_int_equal(rig_find_look(r, "a")->action, MARK_CONTENT);
}

/* Whether the target lost its power at that time nobody has seen: also what a compare confirmed may
 * be lost. */
static void confirmed_lately_is_compared_after_the_worker_died(void **state)
{
	struct rig *r = *state;

	hold_at_target(r, "a");
	rig_wait(r, 20 * RIG_SECOND);
	break_idle_session(r);
	rig_run(r);
	rig_wait(r, 2 * RIG_SECOND);
	rig_put(r, "a", MARK_CONTENT, 0);
	rig_looked(r);
	rig_wait(r, RIG_SECOND);
	rig_confirm_all(r);
	rig_wait(r, 20 * RIG_SECOND);
	rig_confirm_all(r);
	assert_null(rig_find_look(r, "a"));
	assert_int_equal(engine_settled(r->engine, 1, r->now_ns), ENGINE_SETTLED);

	for (size_t i = 0; i < r->session_count; i++)
		r->sessions[i].closed = true;
	engine_worker_died(r->engine, BYTES("it died"), r->now_ns);
	assert_int_equal(engine_settled(r->engine, 1, r->now_ns), ENGINE_PENDING);
	rig_wait(r, 5 * RIG_SECOND);
	assert_non_null(rig_find_look(r, "a"));
	assert_int_equal(rig_find_look(r, "a")->action, MARK_CONTENT);
}

/* Nobody has a session open for a while, and none breaks. */
static void pass_unseen(struct rig *r)
{
	engine_set_paused(r->engine, true, r->now_ns);
	rig_wait(r, 20 * RIG_SECOND);
	engine_set_paused(r->engine, false, r->now_ns);
	rig_run(r);
	rig_run(r);
}

/* What was confirmed before it is on the target's disk when the compare goes. */
static void compare_late(struct rig *r, const char *path)
{
	assert_non_null(rig_find_look(r, path));
	for (int i = 0; i < 25; i++)
		rig_wait(r, 10 * RIG_SECOND);
	rig_put(r, path, MARK_CONTENT, 0);
	rig_looked(r);
	rig_wait(r, RIG_SECOND);
	rig_confirm_all(r);
}

static void content_that_changed_here_is_compared_after_a_gap(void **state)
{
	struct rig *r = *state;

	hold_at_target(r, "a");
	pass_unseen(r);
	compare_late(r, "a");
	rig_wait(r, 150 * RIG_SECOND);
	rig_put(r, "a", MARK_CONTENT, MARK_SIGHT);
	rig_confirm_all(r);
	pass_unseen(r);
	assert_non_null(rig_find_look(r, "a"));
	assert_int_equal(rig_find_look(r, "a")->action, MARK_CONTENT);
}

static void barrier_after_a_pause_waits_until_the_target_is_in_sight(void **state)
{
	struct rig *r = *state;

	hold_at_target(r, "a");
	engine_set_paused(r->engine, true, r->now_ns);
	rig_wait(r, 20 * RIG_SECOND);
	assert_int_equal(engine_settled(r->engine, 1, r->now_ns), ENGINE_SETTLED);
	engine_set_paused(r->engine, false, r->now_ns); /* no session is ready yet */
	assert_int_equal(engine_settled(r->engine, 1, r->now_ns), ENGINE_PENDING);
	rig_run(r);
	assert_non_null(rig_find_look(r, "a"));
	assert_int_equal(engine_settled(r->engine, 1, r->now_ns), ENGINE_PENDING);
	rig_looked(r);
	rig_confirm_all(r);
	assert_int_equal(engine_settled(r->engine, 1, r->now_ns), ENGINE_SETTLED);
}

static void content_that_was_compared_is_not_compared_after_each_gap(void **state)
{
	struct rig *r = *state;

	hold_at_target(r, "a");
	pass_unseen(r);
	compare_late(r, "a");
	pass_unseen(r);
	assert_null(rig_find_look(r, "a"));
	assert_int_equal(engine_settled(r->engine, 1, r->now_ns), ENGINE_SETTLED);
}

/* In doubt, and changed here before the compare of it went. */
static void content_that_changed_before_its_compare_is_compared_again(void **state)
{
	struct rig *r = *state;

	hold_at_target(r, "a");
	pass_unseen(r);
	r->fp_size = 4;
	compare_late(r, "a");
	pass_unseen(r);
	assert_non_null(rig_find_look(r, "a"));
}

static void deletion_waits_for_a_proof(void **state)
{
	struct rig *r = *state;

	hold_at_target(r, "a");
	rig_wait(r, 60 * RIG_SECOND);
	rig_confirm_all(r);
	rig_wait(r, 60 * RIG_SECOND);
	rig_confirm_all(r);
	rig_put(r, "a", MARK_DELETE, 0);
	assert_null(rig_find(r, "a"));

	struct rig_batch *probe = rig_find(r, rig_find(r, stamp0) ? stamp0 : stamp1);

	assert_non_null(probe);
	rig_report(r, probe, probe->path[0], WIRE_PROVEN);
	rig_run(r);
	assert_non_null(rig_find(r, "a"));
	assert_int_equal(rig_find(r, "a")->class, SESSION_DELETE);
	rig_report(r, rig_find(r, "a"), "a", WIRE_ACKED);
	assert_int_equal(rig_belief(r, "a"), LEDGER_ABSENT);
}

static void disproved_stamp_compares_and_deletions_wait_for_that(void **state)
{
	struct rig *r = *state;
	struct rig_batch *b;

	hold_at_target(r, "a");
	hold_at_target(r, "b");
	rig_wait(r, 5 * RIG_SECOND);
	rig_put(r, "b", MARK_QUICK, 0);
	b = rig_find(r, "b");
	assert_int_equal(b->count, 2);
	assert_int_equal(rig_report(r, b, b->path[1], WIRE_DISPROVED), 0);
	rig_put(r, "a", MARK_DELETE, 0);
	assert_int_equal(rig_report(r, b, "b", WIRE_ACKED), 0);
	rig_done(r, b, TROUBLE_NONE, false);
	rig_wait(r, RIG_SECOND);
	/* Another target may still come, to which the compare would not speak. */
	assert_null(rig_find_look(r, ""));
	assert_int_equal(engine_settled(r->engine, BORN_NONE, r->now_ns), ENGINE_PENDING);
	rig_confirm_all(r);
	assert_non_null(rig_find_look(r, ""));
	assert_int_equal(rig_find_look(r, "")->action, MARK_QUICK);
	assert_int_equal(rig_find_look(r, "")->scope, MARK_SUBTREE);
	assert_int_equal(rig_belief(r, "a") & LEDGER_CONFIRMED, LEDGER_CONFIRMED);
	rig_looked(r); /* the compare found nothing more */
	rig_wait(r, RIG_SECOND);
	rig_confirm_all(r);
	rig_confirm_all(r);
	assert_int_equal(rig_belief(r, "a"), LEDGER_ABSENT);
}

static void stamp_of_an_unproven_batch_does_not_count(void **state)
{
	struct rig *r = *state;
	struct engine_status s;
	struct rig_batch *b;

	hold_at_target(r, "a");
	rig_put(r, "b", MARK_QUICK, MARK_FRESH);
	rig_confirm_all(r);
	rig_wait(r, 11 * RIG_SECOND);
	b = rig_find(r, stamp0);
	assert_non_null(b);
	assert_int_equal(b->count, 2);
	engine_status(r->engine, &s, r->now_ns);

	uint64_t before = s.generation;

	for (size_t i = 0; i < b->count; i++) {
		if (b->flags[i] & WIRE_ITEM_SERVE)
			rig_report(r, b, b->path[i], WIRE_ACKED);
	}
	engine_status(r->engine, &s, r->now_ns);
	assert_int_equal(s.generation, before);
	for (size_t i = 0; i < b->count; i++) {
		if (!(b->flags[i] & WIRE_ITEM_SERVE))
			rig_report(r, b, b->path[i], WIRE_PROVEN);
	}
	engine_status(r->engine, &s, r->now_ns);
	assert_int_equal(s.generation, before + 1);
}

static bool take_hold(const struct engine_hold *h, void *arg)
{
	*(struct engine_hold *)arg = *h;
	return false;
}

static void brake_holds_until_exactly_that_set_is_approved(void **state)
{
	static const char *const names[] = {"a", "b", "c", "d", "e"};
	struct rig *r = *state;
	struct engine_hold h = {0};
	struct mark m[5];

	for (size_t i = 0; i < 5; i++)
		hold_at_target(r, names[i]);
	rig_wait(r, 2 * RIG_SECOND);
	for (size_t i = 0; i < 5; i++)
		m[i] = (struct mark){.path = bytes_of(names[i]), .action = MARK_DELETE, .born = 1};
	engine_marks(r->engine, m, 5, r->now_ns);
	rig_wait(r, 61 * RIG_SECOND);
	rig_looked(r);
	engine_each_hold(r->engine, take_hold, &h);
	assert_int_equal(h.count, 5);
	assert_null(rig_find(r, "a"));
	assert_int_equal(engine_settled(r->engine, 1, r->now_ns), ENGINE_STUCK);
	rig_put(r, "c", MARK_QUICK, 0); /* reappears: leaves the set by itself */
	rig_confirm_all(r);
	assert_int_equal(engine_approve(r->engine, 77, r->now_ns), -ENOENT);
	assert_int_equal(engine_approve(r->engine, h.id, r->now_ns), 0);
	rig_run(r); /* they are looked at once more */
	for (size_t i = 0; i < 5; i++) {
		if (i != 2)
			engine_marks(r->engine, &m[i], 1, r->now_ns);
	}
	rig_looked(r);
	rig_confirm_all(r);
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(rig_belief(r, names[i]),
		                 i == 2 ? LEDGER_CONFIRMED : LEDGER_ABSENT);
}

static void put_deletions(struct rig *r, const char *const *names, size_t n)
{
	struct mark m[5];

	for (size_t i = 0; i < n; i++)
		m[i] = (struct mark){.path = bytes_of(names[i]), .action = MARK_DELETE, .born = 1};
	engine_marks(r->engine, m, n, r->now_ns);
}

/* A rename is told by its new names first. */
static void what_stands_twice_until_its_deletion_is_told_is_no_loss(void **state)
{
	static const char *const old[] = {"a", "b", "c", "d", "e"}, *const new[] = {"v", "w", "x",
	                                                                            "y", "z"};
	struct engine_hold h = {0};
	struct rig *r = *state;

	for (size_t i = 0; i < 5; i++)
		hold_at_target(r, old[i]);
	engine_set_owed(r->engine, 5);
	for (size_t i = 0; i < 5; i++)
		hold_at_target(r, new[i]);
	rig_wait(r, 2 * RIG_SECOND);
	put_deletions(r, old, 5);
	engine_set_owed(r->engine, 0);
	rig_looked(r);
	rig_confirm_all(r);
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(rig_belief(r, old[i]), LEDGER_ABSENT);
	engine_each_hold(r->engine, take_hold, &h);
	assert_int_equal(h.count, 0);
}

/* What came by a rename does not make up for what goes. */
static void losses_are_held_while_others_stand_twice(void **state)
{
	static const char *const old[] = {"a", "b", "c", "d", "e"}, *const new[] = {"x", "y", "z"};
	struct engine_hold h = {0};
	struct rig *r = *state;

	for (size_t i = 0; i < 5; i++)
		hold_at_target(r, old[i]);
	hold_at_target(r, "f");
	hold_at_target(r, "g");
	engine_set_owed(r->engine, 3); /* e, f and g */
	for (size_t i = 0; i < 3; i++)
		hold_at_target(r, new[i]);
	rig_wait(r, 2 * RIG_SECOND);
	put_deletions(r, old, 4);
	rig_wait(r, 61 * RIG_SECOND);
	rig_looked(r);
	engine_each_hold(r->engine, take_hold, &h);
	assert_int_equal(h.count, 4);
	assert_int_equal(rig_belief(r, "a") & LEDGER_CONFIRMED, LEDGER_CONFIRMED);
}

static void session_that_hangs_takes_the_idle_ones_with_it(void **state)
{
	struct rig *r = *state;
	uint64_t used;
	size_t idle = 0;

	rig_put(r, "a", MARK_QUICK, MARK_FRESH);
	rig_run(r); /* and another session in advance */
	used = rig_find(r, "a")->session;
	rig_done(r, rig_find(r, "a"), TROUBLE_TIMEOUT, true);
	for (size_t i = 0; i < r->session_count; i++) {
		if (r->sessions[i].id == used)
			continue;
		idle++;
		assert_true(r->sessions[i].closed);
	}
	assert_int_not_equal(idle, 0);
	rig_wait(r, 10 * RIG_SECOND);
	assert_non_null(rig_find(r, "a")); /* by a session opened since */
}

static void lying_report_is_refused(void **state)
{
	struct rig *r = *state;
	struct wire_result_item item = {.index = 9, .result = WIRE_ACKED, .fp.mode = S_IFREG};
	struct wire_report m = {0, &item, 1};

	rig_put(r, "a", MARK_QUICK, MARK_FRESH);
	m.batch = rig_find(r, "a")->id;
	assert_int_equal(engine_report(r->engine, &m, r->now_ns), -EPROTO); /* no such item */
	item.index = 0;
	item.fp.mode = 0;
	assert_int_equal(engine_report(r->engine, &m, r->now_ns), -EPROTO); /* confirmed as what? */
	item.fp.mode = S_IFREG | 0644;
	m.batch += 100;
	assert_int_equal(engine_report(r->engine, &m, r->now_ns), -EPROTO); /* no such batch */
	m.batch -= 100;
	assert_int_equal(engine_report(r->engine, &m, r->now_ns), 0);
	assert_int_equal(engine_report(r->engine, &m, r->now_ns), -EPROTO); /* twice */
}

static void paused_job_sends_nothing(void **state)
{
	struct rig *r = *state;

	engine_set_paused(r->engine, true, r->now_ns);
	rig_put(r, "a", MARK_QUICK, MARK_FRESH);
	assert_null(rig_find(r, "a"));
	assert_int_equal(engine_settled(r->engine, 1, r->now_ns), ENGINE_STUCK);
	assert_int_equal(engine_settled(r->engine, 0, r->now_ns), ENGINE_SETTLED);
	engine_set_paused(r->engine, false, r->now_ns);
	rig_wait(r, RIG_SECOND);
	assert_non_null(rig_find(r, "a"));
}

/* Its receiver would keep the target's file system busy for as long as the job is paused. */
static void session_that_gets_ready_when_paused_is_closed(void **state)
{
	struct rig *r = *state;

	engine_run(r->engine, r->now_ns, true); /* wants one ahead of need */
	assert_int_equal(r->session_count, 1);
	engine_set_paused(r->engine, true, r->now_ns);
	assert_false(r->sessions[0].closed);
	rig_run(r);
	assert_true(r->sessions[0].ready && r->sessions[0].closed);
	assert_int_equal(r->session_count, 1);
}

static void frozen_source_sends_nothing(void **state)
{
	struct rig *r = *state;

	hold_at_target(r, "a");
	engine_set_frozen(r->engine, true, r->now_ns);
	rig_put(r, "a", MARK_DELETE, 0);
	rig_put(r, "b", MARK_QUICK, MARK_FRESH);
	rig_wait(r, 5 * RIG_SECOND);
	assert_null(rig_find(r, "a"));
	assert_null(rig_find(r, "b"));
	assert_int_equal(engine_settled(r->engine, 1, r->now_ns), ENGINE_STUCK);
}

static void deletion_of_a_name_that_is_not_believed_held_is_not_sent(void **state)
{
	struct rig *r = *state;

	rig_put(r, "foreign", MARK_DELETE, 0);
	rig_wait(r, RIG_SECOND);
	assert_null(rig_find(r, "foreign"));
	assert_int_equal(engine_settled(r->engine, 1, r->now_ns), ENGINE_SETTLED);
}

static int report_context(struct rig *r, const struct rig_batch *b, const char *path,
                          enum wire_result result)
{
	struct wire_result_item item = {.path = bytes_of(path),
	                                .result = (uint8_t)result,
	                                .fp = {.mode = S_IFDIR | 0755, .nlink = 2, .ino = 7}};
	struct wire_report m = {b->id, &item, 1};

	return engine_report(r->engine, &m, r->now_ns);
}

static void ancestor_that_the_target_lacks_is_intended_with_what_is_below(void **state)
{
	struct rig *r = *state;
	struct rig_batch *b;

	rig_put(r, "d/e/a", MARK_QUICK, MARK_FRESH);
	b = rig_find(r, "d/e/a");
	assert_int_equal(rig_belief(r, "d"), LEDGER_INTENDED);
	assert_int_equal(rig_belief(r, "d/e"), LEDGER_INTENDED);
	assert_int_equal(rig_report(r, b, "d/e/a", WIRE_VANISHED), 0);
	assert_int_equal(report_context(r, b, "d", WIRE_CONTEXT_MOVED), 0);
	rig_done(r, b, TROUBLE_NONE, false);
	assert_true(rig_belief(r, "d") & LEDGER_CONFIRMED);
	assert_int_equal(rig_belief(r, "d/e"), LEDGER_ABSENT);
	assert_int_equal(rig_belief(r, "d/e/a"), LEDGER_ABSENT);
}

/* An error that may be about it: the directory may have been made. */
static void ancestor_of_which_nobody_knows_stays_intended_and_is_looked_at(void **state)
{
	struct rig *r = *state;
	struct rig_batch *b;

	rig_put(r, "d/a", MARK_QUICK, MARK_FRESH);
	b = rig_find(r, "d/a");
	assert_int_equal(rig_report(r, b, "d/a", WIRE_FAILED), 0);
	assert_int_equal(report_context(r, b, "d", WIRE_CONTEXT_UNKNOWN), 0);
	rig_done(r, b, TROUBLE_NONE, false);
	assert_int_equal(rig_belief(r, "d"), LEDGER_INTENDED);
	rig_wait(r, RIG_SECOND);
	assert_non_null(rig_find_look(r, "d"));
}

static void ancestor_of_a_broken_session_is_looked_at(void **state)
{
	struct rig *r = *state;

	rig_put(r, "d/a", MARK_QUICK, MARK_FRESH);
	rig_done(r, rig_find(r, "d/a"), TROUBLE_PROTOCOL, true);
	assert_true(rig_belief(r, "d") & LEDGER_INTENDED);
	rig_wait(r, 5 * RIG_SECOND);
	assert_non_null(rig_find_look(r, "d"));
}

/* The deletion was marked while the name was being turned into a file. */
static void deletion_goes_by_the_type_that_was_confirmed_last(void **state)
{
	struct rig *r = *state;

	hold_at_target(r, "a");
	rig_put(r, "a", MARK_DELETE, MARK_DIR);
	rig_wait(r, RIG_SECOND);
	assert_non_null(rig_find(r, "a"));
	assert_int_equal(rig_find(r, "a")->class, SESSION_DELETE);
	assert_int_equal(rig_find(r, "a")->flags[0] & WIRE_ITEM_DIR, 0);
}

/* Only attributes were compared, and the file had changed once more since the look. */
static void ctime_that_nobody_looked_at_is_not_confirmed_with_attributes(void **state)
{
	struct rig *r = *state;
	struct belief before, after;
	struct mark m = {.path = BYTES("a"), .action = MARK_META, .born = 1, .ctime_ns = 5};

	hold_at_target(r, "a");
	ledger_get(r->ledger, BYTES("a"), &before);
	m.since_ns = r->now_ns;
	for (unsigned turn = 0; turn < 2; turn++) {
		struct rig_batch *b;
		struct wire_result_item item = {.result = WIRE_ACKED, .fp = before.fp};
		struct wire_report report = {.items = &item, .count = 1};

		item.fp.ctime_ns = 6;
		m.ctime_ns = turn ? 6 : 5;
		rig_wait(r, 2 * RIG_SECOND);
		engine_marks(r->engine, &m, 1, r->now_ns);
		rig_run(r);
		b = rig_find(r, "a");
		assert_non_null(b);
		report.batch = b->id;
		assert_int_equal(engine_report(r->engine, &report, r->now_ns), 0);
		ledger_get(r->ledger, BYTES("a"), &after);
		assert_int_equal(after.fp.ctime_ns, turn ? 6 : before.fp.ctime_ns);
		rig_done(r, b, TROUBLE_NONE, false);
	}
}

/* A directory that left and came back while its removal waited. */
static void content_stays_due_while_a_deletion_waits(void **state)
{
	struct rig *r = *state;

	hold_at_target(r, "a");
	engine_set_paused(r->engine, true, r->now_ns);
	rig_put(r, "a", MARK_CONTENT, 0);
	rig_put(r, "a", MARK_DELETE, 0);
	engine_set_paused(r->engine, false, r->now_ns);
	rig_wait(r, 2 * RIG_SECOND);
	assert_non_null(rig_find(r, "a"));
	assert_int_equal(rig_report(r, rig_find(r, "a"), "a", WIRE_VANISHED), 0);
	rig_done(r, rig_find(r, "a"), TROUBLE_NONE, false);
	rig_wait(r, 2 * RIG_SECOND);
	assert_non_null(rig_find_look(r, "a"));
	assert_int_equal(rig_find_look(r, "a")->action, MARK_CONTENT);
}

/* The deletion below was answered with "kept": it is looked at before it goes again. */
static void type_change_waits_for_what_is_looked_at_below(void **state)
{
	struct rig *r = *state;
	struct fingerprint dir = {.mode = S_IFDIR | 0755, .nlink = 2, .ino = 7};

	ledger_confirm(r->ledger, BYTES("d"), &dir);
	ledger_confirm(r->ledger, BYTES("d/e"), &dir);
	rig_put(r, "d/e", MARK_LOOK, 0);
	rig_put(r, "d", MARK_QUICK, MARK_RETYPED);
	rig_run(r);
	assert_null(rig_find(r, "d"));
	rig_put(r, "d/e", MARK_DELETE, MARK_DIR);
	rig_looked(r);
	rig_confirm_all(r);
	assert_int_equal(rig_belief(r, "d/e"), LEDGER_ABSENT);
	rig_wait(r, RIG_SECOND);
	assert_non_null(rig_find_look(r, "d"));
}

/* Nobody closes the file under a name that it has not any more. */
static void hot_mark_below_a_directory_that_left_does_not_wait(void **state)
{
	static const struct {
		enum mark_action action;
		unsigned flags;
	} leaves[] = {
	        {MARK_META, MARK_DIR | MARK_IF_PENDING},
	        {MARK_DELETE, MARK_DIR},
	        {MARK_QUICK, MARK_RETYPED},
	};
	struct rig *r = *state;

	for (size_t i = 0; i < sizeof(leaves) / sizeof(leaves[0]); i++) {
		char dir[] = {'d', (char)('0' + i), 0}, hot[] = {'d', (char)('0' + i), '/', 'h', 0};

		rig_put(r, hot, MARK_QUICK, MARK_HOT);
		rig_run(r);
		assert_null(rig_find(r, hot));
		rig_put(r, dir, leaves[i].action, leaves[i].flags);
		rig_run(r);
		rig_confirm_all(r);
		rig_looked(r);
		rig_wait(r, 2 * RIG_SECOND);
		rig_confirm_all(r);
		rig_looked(r);
		assert_int_equal(engine_settled(r->engine, UINT64_MAX - 1, r->now_ns),
		                 ENGINE_SETTLED);
	}
}

#define TEST(name, setup) cmocka_unit_test_setup_teardown(name, setup, rig_drop)

static void heaviest_flight_is_that_with_most_content(void **state)
{
	struct rig *r = *state;
	struct mark m = {.action = MARK_QUICK, .flags = MARK_FRESH, .born = 1};

	assert_int_equal(engine_heaviest_flight(r->engine), 0);
	m.since_ns = r->now_ns;
	m.path = BYTES("large");
	m.size = 3u << 20;
	engine_marks(r->engine, &m, 1, r->now_ns);
	rig_run(r);
	m.path = BYTES("small");
	m.size = 10;
	engine_marks(r->engine, &m, 1, r->now_ns);
	rig_run(r);
	assert_ptr_not_equal(rig_find(r, "large"), rig_find(r, "small"));
	assert_int_equal(engine_heaviest_flight(r->engine), 3u << 20);
	rig_confirm_all(r);
	assert_int_equal(engine_heaviest_flight(r->engine), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(mark_is_intended_before_it_is_sent, rig_make),
	        TEST(ack_enters_the_ledger, rig_make),
	        TEST(heaviest_flight_is_that_with_most_content, rig_make),
	        TEST(what_is_confirmed_but_for_an_attribute_is_told, rig_make),
	        TEST(vanished_entry_is_looked_at_and_its_intent_withdrawn, rig_make),
	        TEST(closed_new_file_goes_unasked_where_its_directory_stands, rig_make),
	        cmocka_unit_test(spare_session_waits_for_the_flight_and_no_mark_does),
	        TEST(content_in_doubt_is_sent_whatever_was_brought_before, rig_make),
	        TEST(content_that_is_the_same_leaves_attributes_to_be_sent, rig_make),
	        TEST(confirmed_lately_is_compared_after_a_restart, rig_make),
	        TEST(confirmed_long_ago_is_forgotten, rig_make),
	        TEST(confirmed_lately_is_forgotten_when_compared, rig_make),
	        TEST(confirmed_lately_is_compared_after_an_outage, rig_make),
	        TEST(confirmed_lately_is_compared_after_the_worker_died, rig_make),
	        TEST(content_that_changed_here_is_compared_after_a_gap, rig_make),
	        TEST(barrier_after_a_pause_waits_until_the_target_is_in_sight, rig_make),
	        TEST(content_that_was_compared_is_not_compared_after_each_gap, rig_make),
	        TEST(content_that_changed_before_its_compare_is_compared_again, rig_make),
	        TEST(deletion_waits_for_a_proof, rig_make_stamped),
	        TEST(disproved_stamp_compares_and_deletions_wait_for_that, rig_make_stamped),
	        TEST(stamp_of_an_unproven_batch_does_not_count, rig_make_stamped),
	        TEST(brake_holds_until_exactly_that_set_is_approved, setup_brake),
	        TEST(what_stands_twice_until_its_deletion_is_told_is_no_loss, setup_brake),
	        TEST(losses_are_held_while_others_stand_twice, setup_brake),
	        TEST(session_that_hangs_takes_the_idle_ones_with_it, rig_make),
	        TEST(lying_report_is_refused, rig_make),
	        TEST(paused_job_sends_nothing, rig_make),
	        TEST(session_that_gets_ready_when_paused_is_closed, rig_make),
	        TEST(frozen_source_sends_nothing, rig_make),
	        TEST(deletion_of_a_name_that_is_not_believed_held_is_not_sent, rig_make),
	        TEST(ancestor_that_the_target_lacks_is_intended_with_what_is_below, rig_make),
	        TEST(ancestor_of_which_nobody_knows_stays_intended_and_is_looked_at, rig_make),
	        TEST(ancestor_of_a_broken_session_is_looked_at, rig_make),
	        TEST(deletion_goes_by_the_type_that_was_confirmed_last, rig_make),
	        TEST(ctime_that_nobody_looked_at_is_not_confirmed_with_attributes, rig_make),
	        TEST(content_stays_due_while_a_deletion_waits, rig_make),
	        TEST(type_change_waits_for_what_is_looked_at_below, rig_make),
	        TEST(hot_mark_below_a_directory_that_left_does_not_wait, rig_make),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
