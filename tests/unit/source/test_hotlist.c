#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/mem.h"
#include "source/hotlist.h"

#define SECOND 1000000000LL
#define MINUTE (60 * SECOND)

static struct hotlist list_new(void)
{
	return (struct hotlist){.period_ns = 5 * SECOND, .longest_ns = 5 * MINUTE};
}

static void add(struct hotlist *l, uint32_t node, int64_t now_ns)
{
	struct fingerprint seen = {.mode = 0100644, .mtime_ns = now_ns};

	hotlist_add(l, node, BYTES("name"), &seen, now_ns);
}

/* Sleeps until something is due, as long as that comes before `until_ns`; every file is unchanged.
 * Returns how often it woke. */
static unsigned sleep_until(struct hotlist *l, int64_t *now_ns, int64_t until_ns)
{
	unsigned woken = 0;

	for (;; woken++) {
		int64_t at_ns = hotlist_deadline(l);

		if (at_ns > until_ns)
			break;
		assert_true(at_ns > *now_ns);
		*now_ns = at_ns;
		for (size_t i = 0; i < l->n; i++) {
			struct fingerprint same = l->v[i].seen;

			if (hotlist_due(&l->v[i], at_ns))
				hotlist_again(l, &l->v[i], &same, at_ns);
		}
	}
	*now_ns = until_ns;
	return woken;
}

static void empty_list_wakes_nobody(void **state)
{
	struct hotlist l = list_new();

	(void)state;
	assert_int_equal(hotlist_deadline(&l), INT64_MAX);
	add(&l, 1, 0);
	assert_int_equal(hotlist_deadline(&l), 5 * SECOND);
	hotlist_keep(&l, &(bool){false});
	assert_int_equal(hotlist_deadline(&l), INT64_MAX);
	hotlist_clear(&l);
}

static void file_at_rest_is_looked_at_more_and_more_rarely(void **state)
{
	struct hotlist l = list_new();
	int64_t now_ns = 0;

	(void)state;
	add(&l, 1, now_ns);
	assert_int_equal(sleep_until(&l, &now_ns, MINUTE), 3);
	assert_in_range(sleep_until(&l, &now_ns, 6 * MINUTE), 1, 4);
	for (int i = 0; i < 20; i++)
		assert_true(sleep_until(&l, &now_ns, now_ns + 5 * MINUTE) <= 1);
	hotlist_clear(&l);
}

static void many_files_at_rest_wake_as_rarely_as_one(void **state)
{
	struct hotlist l = list_new();
	int64_t now_ns = 0;

	(void)state;
	for (uint32_t i = 0; i < 100; i++) {
		(void)sleep_until(&l, &now_ns, now_ns + 7 * SECOND);
		add(&l, i, now_ns);
	}
	(void)sleep_until(&l, &now_ns, now_ns + 15 * MINUTE);
	for (int i = 0; i < 20; i++)
		assert_true(sleep_until(&l, &now_ns, now_ns + 5 * MINUTE) <= 1);
	hotlist_clear(&l);
}

static void changed_file_is_looked_at_soon_again(void **state)
{
	struct hotlist l = list_new();
	struct fingerprint other = {.mode = 0100644, .mtime_ns = -1};
	int64_t now_ns = 0;

	(void)state;
	add(&l, 1, now_ns);
	(void)sleep_until(&l, &now_ns, 60 * MINUTE);
	now_ns = hotlist_deadline(&l);
	hotlist_again(&l, &l.v[0], &other, now_ns);
	assert_int_equal(hotlist_deadline(&l), now_ns + 5 * SECOND);
	/* An event that tells of it does the same. */
	(void)sleep_until(&l, &now_ns, now_ns + 60 * MINUTE);
	add(&l, 1, now_ns);
	assert_true(hotlist_deadline(&l) <= now_ns + 5 * SECOND);
	assert_int_equal(l.n, 1);
	/* And does not put off what is due. */
	now_ns += 4 * SECOND;
	add(&l, 1, now_ns);
	assert_true(hotlist_deadline(&l) <= now_ns + SECOND);
	hotlist_clear(&l);
}

static void list_that_is_full_drops_the_oldest(void **state)
{
	struct hotlist l = list_new();

	(void)state;
	for (uint32_t i = 0; i <= HOTLIST_MAX; i++)
		add(&l, i, 0);
	assert_int_equal(l.n, HOTLIST_MAX);
	assert_int_equal(l.v[0].node, 1);
	assert_int_equal(l.v[l.n - 1].node, HOTLIST_MAX);
	hotlist_clear(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(empty_list_wakes_nobody),
	        cmocka_unit_test(file_at_rest_is_looked_at_more_and_more_rarely),
	        cmocka_unit_test(many_files_at_rest_wake_as_rarely_as_one),
	        cmocka_unit_test(changed_file_is_looked_at_soon_again),
	        cmocka_unit_test(list_that_is_full_drops_the_oldest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
