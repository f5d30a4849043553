#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "worker/throttle.h"

#define S 1000000000LL

static void no_rate_is_no_limit(void **state)
{
	struct throttle t;

	(void)state;
	throttle_init(&t, 0, 5);
	throttle_spend(&t, SIZE_MAX);
	throttle_divide(&t, 3, 5);
	assert_true(throttle_allowance(&t, SIZE_MAX) == SIZE_MAX);
	assert_int_equal(throttle_ready_ns(&t, 5), 5);
}

/* Whatever the rate: over ten seconds of greedy writing it is kept within a burst, and a sleeper
 * that wakes when told finds something. */
static void rate_is_kept_over_time(void **state)
{
	static const uint64_t rates[] = {1, 7, 1000, 1000003, 1ull << 33};

	(void)state;
	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		struct throttle t;
		uint64_t spent = 0;
		int64_t now = 123456789, end = now + 10 * S;

		throttle_init(&t, rates[i], now);
		while (now < end) {
			size_t n;

			throttle_divide(&t, 1, now);
			n = throttle_allowance(&t, 0);
			if (n) {
				throttle_spend(&t, n);
				spent += n;
			} else {
				int64_t ready = throttle_ready_ns(&t, now);

				assert_true(ready > now);
				now = ready;
				throttle_divide(&t, 1, now);
				assert_true(throttle_allowance(&t, 0) > 0);
			}
		}
		assert_true(spent <= rates[i] * 10 + rates[i] / 10 + 2);
		assert_true(spent >= rates[i] * 9);
	}
}

/* Whoever is asked first. One of them wants little, and what it leaves is not lost. */
static void round_gives_each_writer_as_much(void **state)
{
	static const size_t wants[] = {SIZE_MAX, 4, SIZE_MAX, SIZE_MAX};
	uint64_t got[4] = {0};
	int64_t now = S, end = now + 10 * S;
	struct throttle t;

	(void)state;
	throttle_init(&t, 100000, now);
	for (; now < end; now = throttle_ready_ns(&t, now)) {
		throttle_divide(&t, 4, now);
		for (int i = 0; i < 4; i++) {
			size_t n = throttle_allowance(&t, 0);

			assert_true(n > 0);
			n = n < wants[i] ? n : wants[i];
			throttle_spend(&t, n);
			assert_true(throttle_allowance(&t, n) == 0 || wants[i] == 4);
			got[i] += n;
		}
	}
	assert_true(got[0] == got[2] && got[2] == got[3]);
	assert_true(got[0] + got[1] + got[2] + got[3] >= 900000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(no_rate_is_no_limit),
	        cmocka_unit_test(rate_is_kept_over_time),
	        cmocka_unit_test(round_gives_each_writer_as_much),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
