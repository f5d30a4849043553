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
	assert_true(throttle_allowance(&t, 5) == SIZE_MAX);
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
			size_t n = throttle_allowance(&t, now);

			if (n) {
				throttle_spend(&t, n);
				spent += n;
			} else {
				int64_t ready = throttle_ready_ns(&t, now);

				assert_true(ready > now);
				now = ready;
				assert_true(throttle_allowance(&t, now) > 0);
			}
		}
		assert_true(spent <= rates[i] * 10 + rates[i] / 10 + 2);
		assert_true(spent >= rates[i] * 9);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(no_rate_is_no_limit),
	        cmocka_unit_test(rate_is_kept_over_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
