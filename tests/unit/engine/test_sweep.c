/* What a receiver that was cut off left behind: asked for, spared, carried along, never forgotten.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "rig.h"

#define SWEPT (WIRE_ITEM_TEMPS | WIRE_ITEM_SPARE)

static void hold_at_target(struct rig *r, const char *path, unsigned flags)
{
	rig_put(r, path, MARK_QUICK, MARK_FRESH | flags);
	rig_wait(r, 2 * RIG_SECOND); /* what looks temporary is not sent at once */
	rig_confirm_all(r);
	assert_int_equal(rig_belief(r, path), LEDGER_CONFIRMED);
}

/* The list under way that deletes or sweeps the path; NULL: none. *ret_flags: as what. */
static struct rig_batch *find_sweep(struct rig *r, const char *path, unsigned *ret_flags)
{
	for (size_t i = 0; i < r->batch_count; i++) {
		struct rig_batch *b = &r->batches[i];

		for (size_t k = 0; k < b->count && !b->ended && b->class == SESSION_DELETE; k++) {
			*ret_flags = b->flags[k];
			if (!strcmp(b->path[k], path))
				return b;
		}
	}
	return NULL;
}

/* Its session breaks off in the middle and is over. */
static void lose(struct rig *r, const char *path)
{
	rig_put(r, path, MARK_QUICK, MARK_FRESH);
	rig_done(r, rig_find(r, path), TROUBLE_PROTOCOL, false);
}

/* Everything that is asked for is carried out, but what is swept. */
static void go_on(struct rig *r)
{
	rig_wait(r, 2 * RIG_SECOND);
	rig_looked(r);
	for (size_t i = 0; i < r->batch_count; i++) {
		struct rig_batch *b = &r->batches[i];

		for (size_t k = 0; k < b->count && !b->ended && b->class != SESSION_DELETE; k++)
			assert_int_equal(rig_report(r, b, b->path[k], WIRE_ACKED), 0);
		if (!b->ended && b->class != SESSION_DELETE)
			rig_done(r, b, TROUBLE_NONE, false);
	}
	rig_run(r);
}

static void name_lost_in_flight_is_swept_when_it_is_not_sent(void **state)
{
	struct rig *r = *state;
	struct rig_batch *sweep;
	unsigned flags;

	lose(r, "a");
	rig_wait(r, 2 * RIG_SECOND);
	assert_non_null(rig_find(r, "a"));
	assert_null(find_sweep(r, "a", &flags)); /* it would lose what is just being written */
	go_on(r);
	rig_wait(r, RIG_SECOND);
	sweep = find_sweep(r, "a", &flags);
	assert_non_null(sweep);
	assert_int_equal(flags, SWEPT);
	assert_int_equal(engine_settled(r->engine, 1, r->now_ns), ENGINE_PENDING);
	assert_int_equal(rig_report(r, sweep, "a", WIRE_ACKED), 0);
	rig_done(r, sweep, TROUBLE_NONE, false);
	go_on(r);
	assert_int_equal(rig_belief(r, "a"), LEDGER_CONFIRMED);
	assert_null(find_sweep(r, "a", &flags));
	assert_int_equal(engine_settled(r->engine, 1, r->now_ns), ENGINE_SETTLED);
}

static void name_waits_while_it_is_swept(void **state)
{
	struct rig *r = *state;
	struct rig_batch *sweep;
	unsigned flags;

	lose(r, "a");
	go_on(r);
	go_on(r);
	sweep = find_sweep(r, "a", &flags);
	assert_non_null(sweep);
	rig_put(r, "a", MARK_QUICK, 0);
	rig_put(r, "b", MARK_QUICK, MARK_FRESH);
	rig_wait(r, 2 * RIG_SECOND);
	assert_ptr_equal(rig_find(r, "a"), sweep);
	assert_non_null(rig_find(r, "b"));
	rig_report(r, sweep, "a", WIRE_ACKED);
	rig_done(r, sweep, TROUBLE_NONE, false);
	rig_wait(r, RIG_SECOND);
	assert_non_null(rig_find(r, "a"));
}

static void zombie_is_swept_at_once_and_when_it_is_over(void **state)
{
	struct rig *r = *state;
	struct rig_batch *first, *sweep;
	unsigned flags;

	rig_put(r, "a", MARK_QUICK, MARK_FRESH);
	first = rig_find(r, "a");
	rig_done(r, first, TROUBLE_PROTOCOL, true);
	go_on(r);
	go_on(r);
	sweep = find_sweep(r, "a", &flags);
	assert_non_null(sweep);
	assert_int_equal(rig_report(r, sweep, "a", WIRE_ACKED), 0);
	rig_done(r, sweep, TROUBLE_NONE, false);
	go_on(r);
	assert_null(find_sweep(r, "a", &flags)); /* not in circles */
	engine_session_gone(r->engine,
	                    &(struct wire_gone){.session = first->session, .zombie_over = true},
	                    r->now_ns);
	go_on(r);
	go_on(r);
	assert_non_null(find_sweep(r, "a", &flags));
}

static void known_name_that_looks_temporary_is_spared(void **state)
{
	struct rig *r = *state;
	unsigned flags;

	hold_at_target(r, ".a.aBcDeF", 0);
	hold_at_target(r, ".a.aBcDeFg", 0);
	hold_at_target(r, ".other.aBcDeF", 0);
	lose(r, "a");
	go_on(r);
	go_on(r);
	assert_non_null(find_sweep(r, "a", &flags));
	assert_non_null(find_sweep(r, ".a.aBcDeF", &flags));
	assert_int_equal(flags, WIRE_ITEM_SPARE);
	assert_null(find_sweep(r, ".a.aBcDeFg", &flags));
	assert_null(find_sweep(r, ".other.aBcDeF", &flags));
}

static void deletion_of_the_directory_takes_it_along(void **state)
{
	struct rig *r = *state;
	struct rig_batch *b;
	unsigned flags;

	hold_at_target(r, "d", MARK_DIR);
	lose(r, "d/a");
	engine_set_paused(r->engine, true, r->now_ns);
	rig_wait(r, 2 * RIG_SECOND);
	rig_looked(r);
	rig_put(r, "d/a", MARK_DELETE, 0);
	rig_put(r, "d", MARK_DELETE, MARK_DIR);
	engine_set_paused(r->engine, false, r->now_ns);
	rig_wait(r, 2 * RIG_SECOND);
	b = find_sweep(r, "d", &flags);
	assert_non_null(b);
	assert_int_equal(flags, WIRE_ITEM_DIR);
	assert_ptr_equal(find_sweep(r, "d/a", &flags), b);
	assert_int_equal(flags, WIRE_ITEM_TEMPS);
	assert_int_equal(b->count, 2);
	rig_confirm_all(r);
	go_on(r);
	assert_int_equal(rig_belief(r, "d/a"), LEDGER_ABSENT);
	assert_int_equal(rig_belief(r, "d"), LEDGER_ABSENT);
	assert_int_equal(engine_settled(r->engine, 1, r->now_ns), ENGINE_SETTLED);
}

/* The target's directory is of a type that nobody knows for sure: the list cannot go into it. The
 * name in it is gone, and is not deleted again: it may be somebody else's by now (I8). */
static void name_in_a_directory_that_stayed_without_it_is_swept_alone(void **state)
{
	struct rig *r = *state;
	struct rig_batch *b;
	unsigned flags;

	rig_put(r, "d", MARK_QUICK, MARK_FRESH | MARK_DIR);
	rig_done(r, rig_find(r, "d"), TROUBLE_PROTOCOL, false);
	rig_put(r, "d/a", MARK_QUICK, MARK_FRESH);
	rig_wait(r, 2 * RIG_SECOND);
	rig_done(r, rig_find(r, "d/a"), TROUBLE_PROTOCOL, false);
	engine_set_paused(r->engine, true, r->now_ns);
	rig_wait(r, 2 * RIG_SECOND);
	rig_looked(r);
	rig_put(r, "d/a", MARK_DELETE, 0);
	ledger_confirm_gone(r->ledger, BYTES("d/a"));
	rig_put(r, "d", MARK_DELETE, 0);
	engine_set_paused(r->engine, false, r->now_ns);
	rig_wait(r, 2 * RIG_SECOND);
	b = find_sweep(r, "d", &flags);
	assert_non_null(b);
	assert_null(find_sweep(r, "d/a", &flags));
	assert_int_equal(rig_report(r, b, "d", WIRE_KEPT), 0);
	rig_done(r, b, TROUBLE_NONE, false);
	assert_int_equal(rig_belief(r, "d"), LEDGER_CONFIRMED);
	assert_int_equal(rig_belief(r, "d/a"), LEDGER_ABSENT);
	rig_wait(r, RIG_SECOND);
	assert_non_null(find_sweep(r, "d/a", &flags));
	assert_int_equal(flags, SWEPT);
	rig_confirm_all(r);
	rig_wait(r, RIG_SECOND);
	assert_non_null(rig_find_look(r, "d"));
	assert_int_equal(rig_belief(r, "d/a"), LEDGER_ABSENT);
}

static void restart_before_the_sweep_finds_the_name_again(void **state)
{
	struct rig *r = *state;
	unsigned flags;

	lose(r, "a");
	go_on(r);
	go_on(r);
	assert_non_null(find_sweep(r, "a", &flags));
	assert_true(rig_belief(r, "a") & LEDGER_CONFIRMED);
	rig_restart(r);
	rig_run(r);
	go_on(r);
	rig_wait(r, r->config.zombie_ns);
	go_on(r);
	go_on(r);
	assert_non_null(find_sweep(r, "a", &flags));
	assert_int_equal(flags, SWEPT);
}

/* A list that spares the directory's name would go into nothing below it. */
static void name_of_a_directory_is_swept_after_what_is_below_it(void **state)
{
	struct rig *r = *state;
	struct rig_batch *b;
	unsigned flags;

	rig_put(r, "d/a", MARK_QUICK, MARK_FRESH);
	rig_restart(r);
	rig_run(r);
	rig_looked(r);
	rig_put(r, "d", MARK_QUICK, MARK_FRESH | MARK_DIR);
	rig_wait(r, RIG_SECOND);
	rig_confirm_all(r);
	assert_true(rig_belief(r, "d") & LEDGER_CONFIRMED);
	rig_wait(r, r->config.zombie_ns);
	for (unsigned i = 0; i < 5 && !find_sweep(r, "d/a", &flags); i++)
		go_on(r);
	b = find_sweep(r, "d/a", &flags);
	assert_non_null(b);
	assert_int_equal(flags, SWEPT);
	assert_null(find_sweep(r, "d", &flags));
	assert_int_equal(rig_report(r, b, "d/a", WIRE_ACKED), 0);
	rig_done(r, b, TROUBLE_NONE, false);
	for (unsigned i = 0; i < 5 && !find_sweep(r, "d", &flags); i++)
		go_on(r);
	assert_non_null(find_sweep(r, "d", &flags));
}

/* The names below wait until it is sure that it is none, which its own sweep keeps from being sure.
 */
static void name_of_what_is_no_directory_does_not_wait_for_what_was_below_it(void **state)
{
	struct rig *r = *state;
	struct rig_batch *b;
	unsigned flags;

	lose(r, "n/a");
	rig_wait(r, 2 * RIG_SECOND);
	b = rig_find(r, "n/a");
	assert_non_null(b);
	assert_int_equal(rig_report(r, b, "n/a", WIRE_VANISHED), 0);
	rig_done(r, b, TROUBLE_NONE, false);
	rig_looked(r);
	ledger_withdraw(r->ledger, BYTES("n/a"));
	assert_int_equal(rig_belief(r, "n/a"), LEDGER_ABSENT);
	lose(r, "n");
	for (unsigned i = 0; i < 10 && !find_sweep(r, "n", &flags); i++)
		go_on(r);
	b = find_sweep(r, "n", &flags);
	assert_non_null(b);
	assert_null(find_sweep(r, "n/a", &flags));
	assert_int_equal(rig_report(r, b, "n", WIRE_ACKED), 0);
	rig_done(r, b, TROUBLE_NONE, false);
	go_on(r);
	assert_int_equal(rig_belief(r, "n"), LEDGER_CONFIRMED);
	assert_int_equal(engine_settled(r->engine, 1, r->now_ns), ENGINE_SETTLED);
}

static void sweep_that_breaks_off_is_tried_again(void **state)
{
	struct rig *r = *state;
	unsigned flags;

	lose(r, "a");
	go_on(r);
	go_on(r);
	rig_done(r, find_sweep(r, "a", &flags), TROUBLE_PROTOCOL, false);
	rig_wait(r, 3 * RIG_SECOND);
	go_on(r);
	assert_non_null(find_sweep(r, "a", &flags));
}

static void sweep_that_fails_is_given_up_in_the_end(void **state)
{
	struct rig *r = *state;
	unsigned flags, tries = 0;

	lose(r, "a");
	for (unsigned i = 0; i < 200; i++) {
		struct rig_batch *b;

		go_on(r);
		b = find_sweep(r, "a", &flags);
		if (!b)
			continue;
		tries++;
		assert_int_equal(rig_report(r, b, "a", WIRE_FAILED), 0);
		rig_done(r, b, TROUBLE_NONE, false);
	}
	assert_int_equal(tries, 5);
	assert_int_equal(rig_belief(r, "a"), LEDGER_CONFIRMED);
	assert_int_equal(engine_settled(r->engine, 1, r->now_ns), ENGINE_SETTLED);
}

static void job_that_deletes_nothing_sweeps_nothing(void **state)
{
	struct rig *r = *state;
	unsigned flags;

	lose(r, "a");
	for (unsigned i = 0; i < 5; i++)
		go_on(r);
	assert_null(find_sweep(r, "a", &flags));
	assert_int_equal(engine_settled(r->engine, 1, r->now_ns), ENGINE_SETTLED);
}

#define TEST(name, setup) cmocka_unit_test_setup_teardown(name, setup, rig_drop)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(name_lost_in_flight_is_swept_when_it_is_not_sent, rig_make),
	        TEST(name_waits_while_it_is_swept, rig_make),
	        TEST(zombie_is_swept_at_once_and_when_it_is_over, rig_make),
	        TEST(known_name_that_looks_temporary_is_spared, rig_make),
	        TEST(deletion_of_the_directory_takes_it_along, rig_make),
	        TEST(name_in_a_directory_that_stayed_without_it_is_swept_alone, rig_make),
	        TEST(restart_before_the_sweep_finds_the_name_again, rig_make),
	        TEST(name_of_a_directory_is_swept_after_what_is_below_it, rig_make),
	        TEST(name_of_what_is_no_directory_does_not_wait_for_what_was_below_it, rig_make),
	        TEST(sweep_that_breaks_off_is_tried_again, rig_make),
	        TEST(sweep_that_fails_is_given_up_in_the_end, rig_make),
	        TEST(job_that_deletes_nothing_sweeps_nothing, rig_make_keeping),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
