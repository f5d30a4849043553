#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "core/pace.h"

#define SECOND INT64_C(1000000000)
#define MIDDLE 0x80000000u /* factor 1 */

static void backoff_doubles_from_one_second_to_sixty(void **state)
{
	static const int seconds[] = {1, 2, 4, 8, 16, 32, 60, 60};

	(void)state;
	for (unsigned i = 0; i < 8; i++)
		assert_in_range(pace_backoff_ns(TROUBLE_UNREACHABLE, i + 1, MIDDLE),
		                seconds[i] * SECOND - SECOND / 1000, seconds[i] * SECOND);
	assert_int_equal(pace_backoff_ns(TROUBLE_UNREACHABLE, UINT32_MAX, 0), 45 * SECOND);
}

static void random_spreads_by_a_quarter_either_way(void **state)
{
	(void)state;
	for (unsigned t = 0; t < TROUBLE_KINDS; t++) {
		int64_t middle = pace_backoff_ns((enum trouble)t, 3, MIDDLE);

		assert_in_range(pace_backoff_ns((enum trouble)t, 3, 0), middle * 74 / 100,
		                middle * 76 / 100);
		assert_in_range(pace_backoff_ns((enum trouble)t, 3, UINT32_MAX), middle * 124 / 100,
		                middle * 126 / 100);
	}
}

static void what_only_a_person_ends_is_retried_slowly(void **state)
{
	(void)state;
	assert_in_range(pace_backoff_ns(TROUBLE_LOGIN, 1, MIDDLE), 299 * SECOND, 300 * SECOND);
	assert_in_range(pace_backoff_ns(TROUBLE_LOGIN, 9, MIDDLE), 299 * SECOND, 300 * SECOND);
	assert_in_range(pace_backoff_ns(TROUBLE_REFUSED, 1, MIDDLE), 299 * SECOND, 300 * SECOND);
	assert_in_range(pace_backoff_ns(TROUBLE_READONLY, 9, MIDDLE), 59 * SECOND, 60 * SECOND);
	assert_in_range(pace_backoff_ns(TROUBLE_FULL, 1, MIDDLE), 9 * SECOND, 10 * SECOND);
}

static void words_are_all_there_and_different(void **state)
{
	(void)state;
	for (unsigned a = 0; a < TROUBLE_KINDS; a++) {
		assert_string_not_equal(trouble_word((enum trouble)a), "unknown");
		for (unsigned b = 0; b < a; b++)
			assert_string_not_equal(trouble_word((enum trouble)a),
			                        trouble_word((enum trouble)b));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(backoff_doubles_from_one_second_to_sixty),
	        cmocka_unit_test(random_spreads_by_a_quarter_either_way),
	        cmocka_unit_test(what_only_a_person_ends_is_retried_slowly),
	        cmocka_unit_test(words_are_all_there_and_different),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
