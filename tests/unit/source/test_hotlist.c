#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/mem.h"
#include "source/inside.h"

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

/* What is longer than at the target is shown before its close: soon if it began to grow just now,
 * else when it was shown long enough ago. */
static void only_what_grew_may_be_shown_early_and_big_files_less_often(void **state)
{
	const uint64_t mb = 1 << 20;
	const struct {
		enum ledger_state belief;
		mode_t mode;
		uint64_t was, is;
		int64_t hot_s,
		        shown_s; /* since when it is open, and since when it is shown like that */
		bool grew;
	} rows[] = {
	        {LEDGER_CONFIRMED, S_IFREG, 1, 2, 0, 0, true},
	        {LEDGER_CONFIRMED, S_IFREG, 2, 2, 0, 100, false},
	        {LEDGER_CONFIRMED, S_IFREG, 3, 2, 0, 100, false},
	        {LEDGER_CONFIRMED, S_IFLNK, 1, 2, 0, 100, false},
	        {LEDGER_INTENDED, 0, 0, 2, 0, 100, false},
	        {LEDGER_ABSENT, 0, 0, 2, 0, 100, false},
	        {LEDGER_CONFIRMED, S_IFREG, 1, 3000 * mb, 20, 0, true},
	        {LEDGER_CONFIRMED, S_IFREG, 1, 3000 * mb, 40, 100, false},
	        {LEDGER_CONFIRMED, S_IFREG, 1, 3000 * mb, 40, 200, true},
	        {LEDGER_CONFIRMED, S_IFREG, 1, UINT64_MAX >> 1, 40, 200, false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct belief belief = {
		        .state = rows[i].belief,
		        .fp = {.mode = rows[i].mode,
		               .size = rows[i].was,
		               .ctime_ns = clock_wall_ns() - rows[i].shown_s * SECOND}};
		struct fingerprint seen = {.mode = S_IFREG, .size = rows[i].is};
		unsigned flags =
		        hot_flags(&belief, &seen, clock_boot_ns() - rows[i].hot_s * SECOND);

		assert_int_equal(flags, MARK_HOT | (rows[i].grew ? MARK_GREW : 0));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(empty_list_wakes_nobody),
	        cmocka_unit_test(file_at_rest_is_looked_at_more_and_more_rarely),
	        cmocka_unit_test(many_files_at_rest_wake_as_rarely_as_one),
	        cmocka_unit_test(changed_file_is_looked_at_soon_again),
	        cmocka_unit_test(list_that_is_full_drops_the_oldest),
	        cmocka_unit_test(only_what_grew_may_be_shown_early_and_big_files_less_often),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
