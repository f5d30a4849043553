#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#include "source/backlog.h"

static bool find(struct backlog *b, int wd, const char *name, struct backlog_name *ret)
{
	for (size_t i = 0; i < backlog_dirs(b); i++) {
		const struct backlog_dir *d = backlog_dir(b, i);
		uint32_t at = d->first;

		if (d->wd != wd)
			continue;
		while (backlog_next(b, &at, ret))
			if (bytes_equal(ret->name, bytes_of(name)))
				return true;
	}
	return false;
}

static void same_name_merges_to_lowest_drain_and_oldest_time(void **state)
{
	struct backlog *b = backlog_new(10, 10);
	struct backlog_name n;

	(void)state;
	backlog_put(b, 1, BYTES("a"), BACKLOG_CREATED, 5, 100);
	backlog_put(b, 2, BYTES("a"), BACKLOG_META, 5, 101);
	backlog_put(b, 1, BYTES("a"), BACKLOG_WRITTEN, 6, 102);
	assert_int_equal(backlog_dirs(b), 2);
	assert_true(find(b, 1, "a", &n));
	assert_int_equal(n.drain, 5);
	assert_int_equal(n.since_ns, 100);
	assert_int_equal(n.bits, BACKLOG_CREATED | BACKLOG_WRITTEN);
	backlog_free(b);
}

static void closed_counts_only_after_the_last_write(void **state)
{
	struct backlog *b = backlog_new(10, 10);
	struct backlog_name n;

	(void)state;
	backlog_put(b, 1, BYTES("a"), BACKLOG_WRITTEN, 1, 1);
	backlog_put(b, 1, BYTES("a"), BACKLOG_CLOSED, 1, 1);
	assert_true(find(b, 1, "a", &n));
	assert_true(n.bits & BACKLOG_CLOSED);
	backlog_put(b, 1, BYTES("a"), BACKLOG_WRITTEN, 1, 1);
	assert_true(find(b, 1, "a", &n));
	assert_false(n.bits & BACKLOG_CLOSED);
	backlog_free(b);
}

static void disappearing_takes_what_was_written_along(void **state)
{
	struct backlog *b = backlog_new(10, 10);
	struct backlog_name n;

	(void)state;
	backlog_put(b, 1, BYTES("a"), BACKLOG_WRITTEN, 1, 1);
	backlog_put(b, 1, BYTES("a"), BACKLOG_GONE, 1, 1);
	backlog_put(b, 1, BYTES("a"), BACKLOG_MOVED, 1, 1);
	assert_true(find(b, 1, "a", &n));
	assert_int_equal(n.bits, BACKLOG_GONE | BACKLOG_MOVED | BACKLOG_LEFT);
	backlog_put(b, 1, BYTES("b"), BACKLOG_CREATED, 1, 1);
	backlog_put(b, 1, BYTES("b"), BACKLOG_GONE, 1, 1);
	assert_true(find(b, 1, "b", &n));
	assert_int_equal(n.bits, BACKLOG_GONE);
	backlog_free(b);
}

static void too_many_names_make_the_directory_whole(void **state)
{
	struct backlog *b = backlog_new(2, 10);
	struct backlog_name n;
	uint64_t drain;
	int64_t since;

	(void)state;
	backlog_put(b, 1, BYTES("a"), BACKLOG_CREATED, 1, 1);
	backlog_put(b, 1, BYTES("b"), BACKLOG_CREATED, 1, 1);
	backlog_put(b, 2, BYTES("c"), BACKLOG_CREATED, 3, 30);
	backlog_put(b, 2, BYTES("d"), BACKLOG_CREATED, 4, 40);
	assert_false(backlog_dir(b, 0)->whole);
	assert_true(backlog_dir(b, 1)->whole);
	assert_int_equal(backlog_dir(b, 1)->drain, 3);
	assert_int_equal(backlog_dir(b, 1)->since_ns, 30);
	assert_true(find(b, 1, "b", &n));
	assert_false(backlog_tree(b, &drain, &since));
	backlog_free(b);
}

static void too_many_directories_make_the_tree(void **state)
{
	struct backlog *b = backlog_new(100, 2);
	uint64_t drain;
	int64_t since;

	(void)state;
	backlog_put(b, 1, BYTES("a"), BACKLOG_CREATED, 1, 10);
	backlog_put(b, 2, BYTES("a"), BACKLOG_CREATED, 2, 20);
	backlog_put(b, 3, BYTES("a"), BACKLOG_CREATED, 3, 30);
	assert_true(backlog_tree(b, &drain, &since));
	assert_int_equal(drain, 1);
	assert_int_equal(since, 10);
	backlog_clear(b);
	assert_true(backlog_empty(b));
	assert_false(backlog_tree(b, &drain, &since));
	backlog_free(b);
}

static void many_names_are_all_kept_across_growth_and_clear(void **state)
{
	struct backlog *b = backlog_new(100000, 1000);
	struct backlog_name n;
	char text[16];

	(void)state;
	for (int round = 0; round < 3; round++) {
		int count = round == 1 ? 10 : 20000;

		for (int i = 0; i < count; i++) {
			(void)snprintf(text, sizeof(text), "f%d", i);
			backlog_put(b, i % 100, bytes_of(text), BACKLOG_META, 1, 1);
		}
		assert_int_equal(backlog_dirs(b), count < 100 ? count : 100);
		for (int i = 0; i < count; i += 7) {
			(void)snprintf(text, sizeof(text), "f%d", i);
			assert_true(find(b, i % 100, text, &n));
		}
		backlog_clear(b);
	}
	backlog_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(same_name_merges_to_lowest_drain_and_oldest_time),
	        cmocka_unit_test(closed_counts_only_after_the_last_write),
	        cmocka_unit_test(disappearing_takes_what_was_written_along),
	        cmocka_unit_test(too_many_names_make_the_directory_whole),
	        cmocka_unit_test(too_many_directories_make_the_tree),
	        cmocka_unit_test(many_names_are_all_kept_across_growth_and_clear),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
