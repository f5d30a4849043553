/* What a session that was given up may still write or delete: sent again, waited for, never claimed
 * without need. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "rig.h"

static void zombie_path_is_sent_at_once_and_again_afterwards(void **state)
{
	struct rig *r = *state;
	struct rig_batch *first;

	rig_put(r, "a", MARK_QUICK, MARK_FRESH);
	first = rig_find(r, "a");
	rig_done(r, first, TROUBLE_PROTOCOL, true);
	rig_wait(r, 10 * RIG_SECOND);
	assert_non_null(rig_find(r, "a"));
	rig_confirm_all(r);
	assert_true(rig_belief(r, "a") & LEDGER_INTENDED); /* a restart finds it */
	assert_int_equal(engine_settled(r->engine, 1, r->now_ns), ENGINE_PENDING);
	rig_looked(r);

	struct wire_gone over = {.session = first->session, .zombie_over = true};

	engine_session_gone(r->engine, &over, r->now_ns);
	rig_wait(r, RIG_SECOND);
	assert_non_null(rig_find_look(r, "a"));
	assert_int_equal(rig_find_look(r, "a")->action, MARK_CONTENT);
	rig_put(r, "a", MARK_QUICK, 0);
	rig_looked(r);
	rig_wait(r, RIG_SECOND);
	assert_int_equal(rig_find(r, "a")->class, SESSION_DELETE); /* its temporary file */
	rig_confirm_all(r);
	rig_wait(r, RIG_SECOND);
	assert_int_equal(rig_find(r, "a")->class, SESSION_CONTENT);
	rig_confirm_all(r);
	assert_int_equal(rig_belief(r, "a"), LEDGER_CONFIRMED);
	assert_int_equal(engine_settled(r->engine, 1, r->now_ns), ENGINE_SETTLED);
}

/* Its list names them: it makes anew what was deleted of them meanwhile. */
static void directories_above_a_zombies_path_are_looked_at_when_it_is_over(void **state)
{
	struct rig *r = *state;
	struct rig_batch *first;

	rig_put(r, "d/e/a", MARK_QUICK, MARK_FRESH);
	first = rig_find(r, "d/e/a");
	rig_done(r, first, TROUBLE_PROTOCOL, true);
	rig_wait(r, 10 * RIG_SECOND);
	rig_confirm_all(r);
	rig_looked(r);
	rig_confirm_all(r);
	assert_null(rig_find_look(r, "d"));

	struct wire_gone over = {.session = first->session, .zombie_over = true};

	engine_session_gone(r->engine, &over, r->now_ns);
	rig_wait(r, RIG_SECOND);
	assert_non_null(rig_find_look(r, "d"));
	assert_non_null(rig_find_look(r, "d/e"));
}

static void zombie_that_never_ends_is_over_after_its_time(void **state)
{
	struct rig *r = *state;

	rig_put(r, "a", MARK_QUICK, MARK_FRESH);
	rig_done(r, rig_find(r, "a"), TROUBLE_PROTOCOL, true);
	rig_wait(r, 10 * RIG_SECOND);
	rig_confirm_all(r);
	rig_looked(r);
	rig_wait(r, r->config.zombie_ns);
	assert_non_null(rig_find_look(r, "a"));
}

static void intent_of_an_earlier_run_is_looked_at_now_and_later(void **state)
{
	struct rig *r = *state;

	rig_put(r, "a", MARK_QUICK, MARK_FRESH);
	rig_restart(r);
	rig_run(r);
	assert_int_equal(rig_find_look(r, "a")->action, MARK_CONTENT);
	rig_looked(r);
	assert_int_equal(engine_settled(r->engine, 1, r->now_ns), ENGINE_PENDING);
	rig_wait(r, r->config.zombie_ns);
	assert_non_null(rig_find_look(r, "a"));
}

/* The zombie's last write may have come after it. */
static void deletion_under_way_when_a_zombie_ends_leaves_the_name_intended(void **state)
{
	struct rig *r = *state;
	struct rig_batch *zombie, *deletion;

	rig_put(r, "a", MARK_QUICK, MARK_FRESH);
	zombie = rig_find(r, "a");
	rig_done(r, zombie, TROUBLE_PROTOCOL, true);
	rig_wait(r, 10 * RIG_SECOND);
	rig_confirm_all(r);
	rig_looked(r);
	rig_put(r, "a", MARK_DELETE, 0);
	rig_wait(r, 2 * RIG_SECOND);
	deletion = rig_find(r, "a");
	assert_non_null(deletion);

	struct wire_gone over = {.session = zombie->session, .zombie_over = true};

	engine_session_gone(r->engine, &over, r->now_ns);
	rig_run(r);
	assert_int_equal(rig_report(r, deletion, "a", WIRE_ACKED), 0);
	rig_done(r, deletion, TROUBLE_NONE, false);
	assert_int_equal(rig_belief(r, "a"), LEDGER_INTENDED);
	rig_wait(r, 2 * RIG_SECOND);
	assert_non_null(rig_find_look(r, "a"));
	rig_put(r, "a", MARK_DELETE, 0);
	rig_looked(r);
	rig_wait(r, 2 * RIG_SECOND);
	deletion = rig_find(r, "a");
	assert_non_null(deletion);
	assert_true(deletion->flags[0] & WIRE_ITEM_TEMPS); /* what it left behind */
	rig_confirm_all(r);
	rig_wait(r, 2 * RIG_SECOND);
	rig_confirm_all(r);
	assert_int_equal(rig_belief(r, "a"), LEDGER_ABSENT);
	assert_int_equal(engine_settled(r->engine, 1, r->now_ns), ENGINE_SETTLED);
}

static void dead_worker_makes_its_paths_zombies(void **state)
{
	struct rig *r = *state;
	struct engine_status s;

	rig_put(r, "a", MARK_QUICK, MARK_FRESH);
	rig_find(r, "a")->ended = true;
	engine_worker_died(r->engine, BYTES("it died"), r->now_ns);
	engine_status(r->engine, &s, r->now_ns);
	assert_int_equal(s.zombies, 2); /* it, and its directory for the time */
	rig_wait(r, 5 * RIG_SECOND);
	assert_non_null(rig_find(r, "a"));
}

static void hold_directory(struct rig *r, const char *path)
{
	const struct fingerprint fp = {.mode = S_IFDIR | 0755, .nlink = 2};
	struct rig_batch *b;

	rig_put(r, path, MARK_QUICK, MARK_FRESH | MARK_DIR);
	b = rig_find(r, path);
	assert_int_equal(rig_report_fp(r, b, path, &fp), 0);
	rig_done(r, b, TROUBLE_NONE, false);
	rig_run(r);
}

/* Its directory goes later, and somebody else has put the name there meanwhile. */
static void name_that_a_zombie_deleted_is_not_claimed_again(void **state)
{
	struct rig *r = *state;
	struct rig_batch *b;

	hold_directory(r, "d");
	hold_directory(r, "d/s");
	rig_put(r, "d/s/x", MARK_QUICK, MARK_FRESH);
	rig_confirm_all(r);
	engine_set_paused(r->engine, true, r->now_ns);
	rig_put(r, "d/s/x", MARK_DELETE, 0);
	rig_put(r, "d/s", MARK_DELETE, MARK_DIR);
	rig_put(r, "d", MARK_DELETE, MARK_DIR);
	engine_set_paused(r->engine, false, r->now_ns);
	rig_run(r);
	b = rig_find(r, "d/s/x");
	assert_non_null(b);
	assert_int_equal(b->count, 3);
	assert_int_equal(rig_report(r, b, "d/s/x", WIRE_ACKED), 0);
	assert_int_equal(rig_report(r, b, "d/s", WIRE_ACKED), 0);
	b->ended = true;
	for (size_t i = 0; i < r->session_count; i++)
		r->sessions[i].closed = true;
	engine_worker_died(r->engine, BYTES("it died"), r->now_ns);
	rig_wait(r, 5 * RIG_SECOND);
	rig_put(r, "d", MARK_DELETE, MARK_DIR);
	rig_looked(r);
	rig_wait(r, RIG_SECOND);
	b = rig_find(r, "d");
	assert_non_null(b);
	assert_int_equal(b->class, SESSION_DELETE);
	assert_int_equal(rig_report(r, b, "d", WIRE_KEPT), 0);
	assert_int_equal(rig_belief(r, "d/s"), LEDGER_ABSENT);
	assert_int_equal(rig_belief(r, "d"), LEDGER_ABSENT);
}

/* It was deleted after the last answer of a list that names it, and is under way. */
static void directory_that_a_list_under_way_may_make_stays_intended(void **state)
{
	struct rig *r = *state;
	struct rig_batch *list, *deletion;

	rig_put(r, "d/a", MARK_QUICK, MARK_FRESH);
	list = rig_find(r, "d/a");
	assert_int_equal(rig_report(r, list, "d/a", WIRE_ACKED), 0);
	assert_true(rig_belief(r, "d") & LEDGER_INTENDED);
	for (size_t i = 0; i < 2; i++) {
		const char *path = i ? "d" : "d/a";

		rig_put(r, path, MARK_DELETE, i ? MARK_DIR : 0);
		deletion = NULL;
		for (size_t k = 0; k < r->batch_count; k++) {
			if (!r->batches[k].ended && r->batches[k].class == SESSION_DELETE)
				deletion = &r->batches[k];
		}
		assert_non_null(deletion);
		assert_int_equal(rig_report(r, deletion, path, WIRE_ACKED), 0);
		rig_done(r, deletion, TROUBLE_NONE, false);
		rig_run(r);
	}
	assert_int_equal(rig_belief(r, "d"), LEDGER_INTENDED);
	rig_done(r, list, TROUBLE_NONE, false);
	assert_int_equal(rig_belief(r, "d"), LEDGER_ABSENT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_make, rig_drop)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(zombie_path_is_sent_at_once_and_again_afterwards),
	        TEST(directories_above_a_zombies_path_are_looked_at_when_it_is_over),
	        TEST(zombie_that_never_ends_is_over_after_its_time),
	        TEST(intent_of_an_earlier_run_is_looked_at_now_and_later),
	        TEST(deletion_under_way_when_a_zombie_ends_leaves_the_name_intended),
	        TEST(dead_worker_makes_its_paths_zombies),
	        TEST(name_that_a_zombie_deleted_is_not_claimed_again),
	        TEST(directory_that_a_list_under_way_may_make_stays_intended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
