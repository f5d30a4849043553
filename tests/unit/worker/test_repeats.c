#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "worker/repeats.h"

static const unsigned char one[REPEATS_DIGEST_BYTES] = {1}, two[REPEATS_DIGEST_BYTES] = {2};

static void latest_digest_of_a_path_is_found(void **state)
{
	struct repeats *r = repeats_new(10);

	(void)state;
	assert_null(repeats_find(r, BYTES("a")));
	repeats_note(r, BYTES("a"), one);
	repeats_note(r, BYTES("a"), two);
	assert_memory_equal(repeats_find(r, BYTES("a")), two, sizeof(two));
	assert_null(repeats_find(r, BYTES("a/b")));
	repeats_forget(r, BYTES("a"));
	repeats_forget(r, BYTES("a"));
	assert_null(repeats_find(r, BYTES("a")));
	repeats_free(r);
}

static void oldest_is_forgotten_beyond_the_bound(void **state)
{
	struct repeats *r = repeats_new(2);

	(void)state;
	repeats_note(r, BYTES("a"), one);
	repeats_note(r, BYTES("b"), one);
	repeats_note(r, BYTES("a"), two); /* younger than b now */
	repeats_note(r, BYTES("c"), one);
	assert_null(repeats_find(r, BYTES("b")));
	assert_memory_equal(repeats_find(r, BYTES("a")), two, sizeof(two));
	assert_non_null(repeats_find(r, BYTES("c")));
	repeats_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(latest_digest_of_a_path_is_found),
	        cmocka_unit_test(oldest_is_forgotten_beyond_the_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
