/* Trouble of a target: how long a job waits before it tries again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/mem.h"
#include "rig.h"

static void trouble_backs_off_and_kick_ends_it(void **state)
{
	struct rig *r = *state;

	rig_put(r, "a", MARK_QUICK, MARK_FRESH);
	rig_done(r, rig_find(r, "a"), TROUBLE_READONLY, false);
	rig_wait(r, RIG_SECOND);
	assert_null(rig_find(r, "a"));
	assert_true(engine_deadline(r->engine) > r->now_ns + 10 * RIG_SECOND);
	engine_kick(r->engine, r->now_ns);
	rig_wait(r, RIG_SECOND);
	assert_non_null(rig_find(r, "a"));
}

/* The batch that is under way breaks off; false: it is not sent within the shortest wait. */
static bool breaks(struct rig *r, const char *path, const char *confirmed)
{
	struct rig_batch *b;

	rig_wait(r, 2 * RIG_SECOND);
	b = rig_find(r, path);
	if (!b)
		return false;
	if (confirmed)
		assert_int_equal(rig_report(r, b, confirmed, WIRE_ACKED), 0);
	rig_done(r, b, TROUBLE_PROTOCOL, false);
	return true;
}

static void waits_begin_anew_with_a_kick(void **state)
{
	struct rig *r = *state;

	rig_put(r, "a", MARK_QUICK, MARK_FRESH);
	for (int i = 0; i < 8; i++) {
		assert_true(breaks(r, "a", NULL));
		rig_looked(r);
		engine_kick(r->engine, r->now_ns);
	}
	assert_true(breaks(r, "a", NULL));
	assert_true(breaks(r, "a", NULL));
}

static void line_that_breaks_and_brings_nothing_is_tried_less_and_less(void **state)
{
	struct rig *r = *state;
	int tries = 0;

	rig_put(r, "a", MARK_QUICK, MARK_FRESH);
	for (int i = 0; i < 60; i++) {
		tries += breaks(r, "a", NULL);
		rig_looked(r);
	}
	assert_in_range(tries, 5, 10);
}

static void line_that_breaks_and_brings_something_each_time_is_tried_soon(void **state)
{
	static const char *const names[] = {"1", "2", "3", "4", "5", "6", "7", "8"};
	struct rig *r = *state;

	rig_put(r, "a", MARK_QUICK, MARK_FRESH);
	assert_true(breaks(r, "a", NULL));
	rig_looked(r);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		rig_put(r, names[i], MARK_QUICK, MARK_FRESH);
		assert_true(breaks(r, "a", names[i]));
		rig_looked(r);
	}
}

static struct rig_batch *probe(struct rig *r)
{
	struct rig_batch *b = rig_find(r, ".lockstep/rig.0");

	return b ? b : rig_find(r, ".lockstep/rig.1");
}

/* Not only what was left behind of it is swept. */
static bool is_sent(struct rig *r, const char *path)
{
	struct rig_batch *b = rig_find(r, path);

	return b && b->class != SESSION_DELETE;
}

/* The proof that the deletion waits for is no content: the target takes it, full as it is. */
static void full_target_is_not_well_because_it_proves_its_stamp(void **state)
{
	struct rig *r = *state;

	rig_put(r, "old", MARK_QUICK, MARK_FRESH);
	for (int i = 0; i < 3; i++) {
		rig_confirm_all(r);
		rig_wait(r, 60 * RIG_SECOND);
	}
	rig_put(r, "new", MARK_QUICK, MARK_FRESH);
	rig_done(r, rig_find(r, "new"), TROUBLE_FULL, false);
	rig_put(r, "old", MARK_DELETE, 0);
	rig_wait(r, 20 * RIG_SECOND);
	assert_false(is_sent(r, "new"));
	assert_non_null(probe(r));
	rig_report(r, probe(r), probe(r)->path[0], WIRE_PROVEN);
	rig_done(r, probe(r), TROUBLE_NONE, false);
	assert_false(is_sent(r, "new"));
	assert_non_null(rig_find(r, "old"));
	for (size_t i = 0; i < rig_find(r, "old")->count; i++)
		rig_report(r, rig_find(r, "old"), rig_find(r, "old")->path[i], WIRE_ACKED);
	rig_done(r, rig_find(r, "old"), TROUBLE_NONE, false);
	assert_true(is_sent(r, "new"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_make, rig_drop)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(trouble_backs_off_and_kick_ends_it),
	        TEST(waits_begin_anew_with_a_kick),
	        TEST(line_that_breaks_and_brings_nothing_is_tried_less_and_less),
	        TEST(line_that_breaks_and_brings_something_each_time_is_tried_soon),
	        cmocka_unit_test_setup_teardown(full_target_is_not_well_because_it_proves_its_stamp,
	                                        rig_make_stamped, rig_drop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
