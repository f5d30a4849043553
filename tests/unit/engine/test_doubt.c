/* What an answer that never came, a list that was broken off, or a target that was lost, leaves in
 * doubt under a name that has left meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "rig.h"

static void hold_at_target(struct rig *r, const char *path, unsigned flags)
{
	rig_put(r, path, MARK_QUICK, flags | MARK_FRESH);
	rig_confirm_all(r);
	assert_int_equal(rig_belief(r, path), LEDGER_CONFIRMED);
}

static struct fingerprint believed(struct rig *r, const char *path)
{
	struct belief b;

	ledger_get(r->ledger, bytes_of(path), &b);
	assert_true(b.state & LEDGER_CONFIRMED);
	return b.fp;
}

static void report_context(struct rig *r, const struct rig_batch *b, const char *path,
                           int64_t mtime_ns)
{
	struct wire_result_item item = {
	        .path = bytes_of(path),
	        .result = WIRE_CONTEXT,
	        .fp = {.mode = S_IFDIR | 0755, .nlink = 2, .ino = 7, .mtime_ns = mtime_ns}};
	struct wire_report m = {b->id, &item, 1};

	assert_int_equal(engine_report(r->engine, &m, r->now_ns), 0);
}

/* The list need not have named it: all that is below it here had left before. What stands there at
 * the target may be somebody else's (I8). */
static void directory_that_only_rode_along_is_not_deleted_before_its_list_has_ended(void **state)
{
	struct rig *r = *state;
	struct rig_batch *list;

	rig_put(r, "d/a", MARK_QUICK, MARK_FRESH);
	list = rig_find(r, "d/a");
	assert_int_equal(rig_report(r, list, "d/a", WIRE_VANISHED), 0);
	rig_put(r, "d", MARK_DELETE, MARK_DIR);
	rig_wait(r, RIG_SECOND);
	assert_null(rig_find(r, "d"));
	rig_done(r, list, TROUBLE_NONE, false);
	rig_wait(r, RIG_SECOND);
	assert_null(rig_find(r, "d"));
	assert_int_equal(rig_belief(r, "d"), LEDGER_ABSENT);
}

static bool was_deleted(const struct rig *r, const char *path)
{
	for (size_t i = 0; i < r->batch_count; i++) {
		const struct rig_batch *b = &r->batches[i];

		for (size_t k = 0; k < b->count && b->class == SESSION_DELETE; k++) {
			if (!strcmp(b->path[k], path))
				return true;
		}
	}
	return false;
}

static void directory_that_a_broken_list_may_have_made_is_deleted(void **state)
{
	struct rig *r = *state;

	rig_put(r, "d/a", MARK_QUICK, MARK_FRESH);
	rig_done(r, rig_find(r, "d/a"), TROUBLE_PROTOCOL, false);
	rig_put(r, "d/a", MARK_DELETE, 0);
	rig_wait(r, 10 * RIG_SECOND);
	assert_non_null(rig_find_look(r, "d"));
	rig_put(r, "d", MARK_DELETE, MARK_DIR);
	rig_looked(r);
	for (int i = 0; i < 3; i++) {
		rig_confirm_all(r);
		rig_wait(r, RIG_SECOND);
	}
	assert_true(was_deleted(r, "d"));
	assert_int_equal(rig_belief(r, "d"), LEDGER_ABSENT);
}

/* It makes way for the directory, and nobody may take it for a file any longer. */
static void file_that_is_listed_as_a_directory_is_intended(void **state)
{
	struct rig *r = *state;

	hold_at_target(r, "a", 0);
	rig_put(r, "a/e", MARK_QUICK, MARK_FRESH);
	assert_non_null(rig_find(r, "a/e"));
	assert_true(rig_belief(r, "a") & LEDGER_INTENDED);
}

/* It may stand there with what it held then, and come back here with the same size and time. */
static void content_is_due_when_a_name_without_an_answer_left_and_is_back(void **state)
{
	struct rig *r = *state;

	rig_put(r, "a", MARK_QUICK, MARK_FRESH);
	rig_done(r, rig_find(r, "a"), TROUBLE_PROTOCOL, false);
	rig_put(r, "a", MARK_DELETE, 0);
	rig_wait(r, 10 * RIG_SECOND);
	assert_non_null(rig_find(r, "a"));
	assert_int_equal(rig_report(r, rig_find(r, "a"), "a", WIRE_VANISHED), 0);
	rig_done(r, rig_find(r, "a"), TROUBLE_NONE, false);
	rig_wait(r, RIG_SECOND);
	assert_non_null(rig_find_look(r, "a"));
	assert_int_equal(rig_find_look(r, "a")->action, MARK_CONTENT);
}

/* What is told of a directory that was listed along may be lost with the target's power, too, if it
 * is new there. */
static void directory_that_rode_along_is_looked_at_after_a_restart(void **state)
{
	struct rig *r = *state;

	hold_at_target(r, "d", MARK_DIR);
	hold_at_target(r, "d/e", MARK_DIR);
	memlog_cut_power(r->recents); /* that is on disk */
	rig_put(r, "d/e/a", MARK_CONTENT, 0);
	assert_non_null(rig_find(r, "d/e/a"));
	report_context(r, rig_find(r, "d/e/a"), "d", 0);
	report_context(r, rig_find(r, "d/e/a"), "d/e", 5);
	rig_confirm_all(r);
	assert_true(ledger_commit(r->ledger) >= 0);
	rig_restart(r);
	rig_run(r);
	assert_non_null(rig_find_look(r, "d/e/a"));
	assert_non_null(rig_find_look(r, "d/e"));
	assert_null(rig_find_look(r, "d"));
}

/* The target is compared with what is here; what is kept there is not, and may be lost. */
/* What arrived then may have been an earlier content of the same size and time. */
static void file_without_an_answer_that_passes_the_quick_check_is_compared(void **state)
{
	struct rig *r = *state;
	struct rig_batch *list;

	rig_put(r, "a", MARK_QUICK, MARK_FRESH);
	rig_done(r, rig_find(r, "a"), TROUBLE_PROTOCOL, true);
	rig_wait(r, 2 * RIG_SECOND);
	list = rig_find(r, "a");
	assert_non_null(list);
	assert_int_equal(list->class, SESSION_QUICK);
	assert_int_equal(rig_report(r, list, "a", WIRE_ACKED), 0);
	rig_done(r, list, TROUBLE_NONE, false);
	rig_wait(r, RIG_SECOND);
	list = rig_find(r, "a");
	assert_non_null(list);
	assert_int_equal(list->class, SESSION_CONTENT);
}

static void kept_name_that_was_not_compared_is_sent_should_it_come_back(void **state)
{
	struct rig *r = *state;
	struct fingerprint before[2], after;
	const char *const paths[] = {"d", "d/a"};

	hold_at_target(r, "d", MARK_DIR);
	hold_at_target(r, "d/a", 0);
	for (size_t i = 0; i < 2; i++) {
		before[i] = believed(r, paths[i]);
		rig_put(r, paths[i], MARK_DELETE, i ? 0 : MARK_DIR);
		after = believed(r, paths[i]);
		assert_int_equal(fingerprint_compare(&after, &before[i]), FP_SAME);
	}
	engine_compare(r->engine, MARK_QUICK, BORN_NONE, r->now_ns);
	for (size_t i = 0; i < 2; i++) {
		rig_put(r, paths[i], MARK_DELETE, i ? 0 : MARK_DIR);
		assert_int_equal(rig_belief(r, paths[i]), LEDGER_CONFIRMED);
		after = believed(r, paths[i]);
		assert_int_equal(fingerprint_compare(&after, &before[i]), i ? FP_HIDDEN : FP_META);
	}
}

#define TEST(name, setup) cmocka_unit_test_setup_teardown(name, setup, rig_drop)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(directory_that_only_rode_along_is_not_deleted_before_its_list_has_ended,
	             rig_make),
	        TEST(directory_that_a_broken_list_may_have_made_is_deleted, rig_make),
	        TEST(file_that_is_listed_as_a_directory_is_intended, rig_make),
	        TEST(content_is_due_when_a_name_without_an_answer_left_and_is_back, rig_make),
	        TEST(file_without_an_answer_that_passes_the_quick_check_is_compared, rig_make),
	        TEST(directory_that_rode_along_is_looked_at_after_a_restart, rig_make),
	        TEST(kept_name_that_was_not_compared_is_sent_should_it_come_back, rig_make_keeping),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
