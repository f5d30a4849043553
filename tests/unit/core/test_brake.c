#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/brake.h"

#define SECOND INT64_C(1000000000)
#define MINUTE (60 * SECOND)

static const struct brake_limits defaults = {.files = 1000, .percent = 10, .absolute = 100000};

static struct brake brake_with(uint64_t entries, int64_t now_ns)
{
	struct brake b;

	brake_init(&b, &defaults);
	brake_count(&b, entries, now_ns);
	return b;
}

static void few_deletions_go_even_when_they_are_all_there_is(void **state)
{
	struct brake b = brake_with(1000, MINUTE);

	(void)state;
	assert_false(brake_holds(&b, 1000, 1000, MINUTE));
}

static void more_than_files_and_percent_is_held(void **state)
{
	struct brake b = brake_with(20000, MINUTE);

	(void)state;
	assert_false(brake_holds(&b, 20000, 1001, MINUTE)); /* 5 % */
	assert_false(brake_holds(&b, 20000, 2000, MINUTE));
	assert_true(brake_holds(&b, 20000, 2001, MINUTE));
	b = brake_with(5000, MINUTE);
	assert_false(brake_holds(&b, 5000, 1000, MINUTE)); /* 20 %, but not many */
	assert_true(brake_holds(&b, 5000, 1001, MINUTE));
}

static void more_than_absolute_is_held_whatever_the_percentage(void **state)
{
	struct brake b = brake_with(10000000, MINUTE);

	(void)state;
	assert_false(brake_holds(&b, 10000000, 100000, MINUTE));
	assert_true(brake_holds(&b, 10000000, 100001, MINUTE));
}

static void slow_loss_adds_up_over_ten_minutes(void **state)
{
	struct brake b = brake_with(20000, 10 * MINUTE);

	(void)state;
	for (int i = 1; i <= 19; i++)
		brake_count(&b, 20000 - (uint64_t)i * 100, 10 * MINUTE + i * 20 * SECOND);
	assert_int_equal(brake_peak(&b, 17 * MINUTE), 20000);
	assert_false(brake_holds(&b, 18100, 100, 17 * MINUTE));
	assert_true(brake_holds(&b, 18100, 101, 17 * MINUTE));
}

static void a_peak_is_forgotten_after_ten_minutes(void **state)
{
	struct brake b = brake_with(20000, MINUTE);

	(void)state;
	assert_int_equal(brake_peak(&b, 10 * MINUTE), 20000);
	brake_count(&b, 100, 6 * MINUTE);
	assert_int_equal(brake_peak(&b, 11 * MINUTE), 100);
	assert_int_equal(brake_peak(&b, 30 * MINUTE), 0);
}

static void a_slot_used_again_starts_anew(void **state)
{
	struct brake b = brake_with(20000, MINUTE);

	(void)state;
	brake_count(&b, 7, 11 * MINUTE);
	assert_int_equal(brake_peak(&b, 11 * MINUTE), 7);
}

static void without_a_count_the_present_one_is_the_peak(void **state)
{
	struct brake b;

	(void)state;
	brake_init(&b, &defaults);
	assert_int_equal(brake_peak(&b, 0), 0);
	assert_true(brake_holds(&b, 5000, 5000, 0));
	assert_false(brake_holds(&b, 5000, 900, 0));
	assert_true(brake_holds(&b, 5000, 999999999, 0));
	assert_false(brake_holds(&b, 10, 999999999, 0));
}

static void loss_is_what_is_missing_of_the_peak(void **state)
{
	struct brake b = brake_with(5000, MINUTE);

	(void)state;
	assert_int_equal(brake_loss(&b, 5000, 0, MINUTE), 0);
	assert_int_equal(brake_loss(&b, 4000, 500, MINUTE), 1500);
	assert_int_equal(brake_loss(&b, 9000, 500, MINUTE), 0);
	assert_int_equal(brake_loss(&b, 10, 500, MINUTE), 5000);
}

static void huge_numbers_do_not_wrap(void **state)
{
	struct brake b = brake_with(UINT64_MAX, MINUTE);

	(void)state;
	assert_false(brake_holds(&b, UINT64_MAX, 1000, MINUTE));
	assert_true(brake_holds(&b, UINT64_MAX, UINT64_MAX, MINUTE));
}

static void off_holds_nothing(void **state)
{
	struct brake_limits limits = defaults;
	struct brake b;

	(void)state;
	limits.off = true;
	brake_init(&b, &limits);
	brake_count(&b, 1000000, MINUTE);
	assert_false(brake_holds(&b, 1000000, 1000000, MINUTE));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(few_deletions_go_even_when_they_are_all_there_is),
	        cmocka_unit_test(more_than_files_and_percent_is_held),
	        cmocka_unit_test(more_than_absolute_is_held_whatever_the_percentage),
	        cmocka_unit_test(slow_loss_adds_up_over_ten_minutes),
	        cmocka_unit_test(a_peak_is_forgotten_after_ten_minutes),
	        cmocka_unit_test(a_slot_used_again_starts_anew),
	        cmocka_unit_test(without_a_count_the_present_one_is_the_peak),
	        cmocka_unit_test(loss_is_what_is_missing_of_the_peak),
	        cmocka_unit_test(huge_numbers_do_not_wrap),
	        cmocka_unit_test(off_holds_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
