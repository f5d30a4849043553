#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#include "source/backlog.h"
#include "source/verdict.h"

static const struct fingerprint file = {.mode = S_IFREG | 0644,
                                        .nlink = 1,
                                        .size = 10,
                                        .mtime_ns = 1000,
                                        .ctime_ns = 2000,
                                        .ino = 5};

static struct belief confirmed(const struct fingerprint *fp)
{
	return (struct belief){LEDGER_CONFIRMED, *fp};
}

static void expect(struct verdict v, enum mark_action action, unsigned flags)
{
	assert_true(v.needed);
	assert_int_equal(v.action, action);
	assert_int_equal(v.flags, flags);
}

static void unknown_names_are_fresh(void **state)
{
	struct belief none = {0};
	struct fingerprint dir = file;

	(void)state;
	dir.mode = S_IFDIR | 0755;
	expect(verdict_of(&none, &file, 0, false), MARK_QUICK, MARK_FRESH);
	expect(verdict_of(&none, &dir, 0, false), MARK_QUICK, MARK_FRESH | MARK_DIR);
}

static void intended_names_are_sent_again(void **state)
{
	struct belief b = {.state = LEDGER_INTENDED};

	(void)state;
	expect(verdict_of(&b, &file, BACKLOG_WRITTEN, false), MARK_CONTENT, MARK_FRESH);
	expect(verdict_of(&b, &file, BACKLOG_META, false), MARK_QUICK, MARK_FRESH);
	b = confirmed(&file);
	b.state |= LEDGER_INTENDED;
	expect(verdict_of(&b, &file, 0, false), MARK_QUICK, 0);
}

static void same_file_needs_content_only_if_written(void **state)
{
	struct belief b = confirmed(&file);

	(void)state;
	assert_false(verdict_of(&b, &file, 0, false).needed);
	assert_false(verdict_of(&b, &file, BACKLOG_META, false).needed);
	assert_false(verdict_of(&b, &file, BACKLOG_CLOSED, false).needed);
	assert_false(verdict_of(&b, &file, BACKLOG_CLOSED | BACKLOG_META, false).needed);
	expect(verdict_of(&b, &file, BACKLOG_CLOSED, true), MARK_CONTENT, MARK_SIGHT);
	expect(verdict_of(&b, &file, BACKLOG_WRITTEN, false), MARK_CONTENT, MARK_SIGHT);
	expect(verdict_of(&b, &file, BACKLOG_MOVED, false), MARK_CONTENT, MARK_SIGHT);
}

static void changed_attributes_are_meta(void **state)
{
	struct belief b = confirmed(&file);
	struct fingerprint seen = file;

	(void)state;
	seen.mode = S_IFREG | 0600;
	seen.ctime_ns++;
	expect(verdict_of(&b, &seen, BACKLOG_META, false), MARK_META, 0);
	expect(verdict_of(&b, &seen, 0, false), MARK_META, 0);
	expect(verdict_of(&b, &seen, BACKLOG_WRITTEN, false), MARK_CONTENT, MARK_SIGHT);
}

static void hidden_change_depends_on_who_found_it(void **state)
{
	struct belief b = confirmed(&file);
	struct fingerprint seen = file;

	(void)state;
	seen.ctime_ns++;
	expect(verdict_of(&b, &seen, BACKLOG_META, false), MARK_META, 0);
	expect(verdict_of(&b, &seen, BACKLOG_CLOSED, false), MARK_CONTENT, MARK_SIGHT);
	expect(verdict_of(&b, &seen, 0, false), MARK_CONTENT, MARK_LOW | MARK_SIGHT);
}

static void changed_size_or_time_is_quick(void **state)
{
	struct belief b = confirmed(&file);
	struct fingerprint seen = file;

	(void)state;
	seen.mtime_ns++;
	expect(verdict_of(&b, &seen, BACKLOG_WRITTEN, false), MARK_QUICK, 0);
	expect(verdict_of(&b, &seen, 0, false), MARK_QUICK, 0);
}

static void another_type_is_retyped(void **state)
{
	struct belief b = confirmed(&file);
	struct fingerprint seen = file;

	(void)state;
	seen.mode = S_IFDIR | 0755;
	expect(verdict_of(&b, &seen, BACKLOG_CREATED, false), MARK_QUICK, MARK_RETYPED | MARK_DIR);
	b = confirmed(&seen);
	expect(verdict_of(&b, &file, BACKLOG_WRITTEN, false), MARK_QUICK, MARK_RETYPED);
	b.state |= LEDGER_INTENDED; /* sent, and not answered */
	expect(verdict_of(&b, &file, BACKLOG_WRITTEN, false), MARK_CONTENT, MARK_RETYPED);
}

static void replaced_symlink_is_compared_by_the_receiver(void **state)
{
	struct fingerprint link = file, seen;
	struct belief b;

	(void)state;
	link.mode = S_IFLNK | 0777;
	b = confirmed(&link);
	seen = link;
	assert_false(verdict_of(&b, &seen, BACKLOG_MOVED, false).needed);
	seen.ino++;
	expect(verdict_of(&b, &seen, 0, false), MARK_QUICK, 0);
}

static void raising_gives_at_least_what_was_asked(void **state)
{
	struct verdict v = {0};
	struct fingerprint dir = file;

	(void)state;
	dir.mode = S_IFDIR | 0755;
	verdict_raise(&v, MARK_LOOK, &file);
	assert_false(v.needed);
	verdict_raise(&v, MARK_META, &dir);
	expect(v, MARK_META, MARK_DIR);
	verdict_raise(&v, MARK_CONTENT, &dir);
	expect(v, MARK_QUICK, MARK_DIR);
	v = (struct verdict){true, MARK_CONTENT, MARK_LOW};
	verdict_raise(&v, MARK_META, &file);
	expect(v, MARK_CONTENT, MARK_LOW);
}

static void content_that_was_asked_for_is_not_for_what_was_seen(void **state)
{
	struct verdict v = {true, MARK_CONTENT, MARK_SIGHT};

	(void)state;
	verdict_raise(&v, MARK_QUICK, &file);
	expect(v, MARK_CONTENT, MARK_SIGHT);
	verdict_raise(&v, MARK_CONTENT, &file);
	expect(v, MARK_CONTENT, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(unknown_names_are_fresh),
	        cmocka_unit_test(intended_names_are_sent_again),
	        cmocka_unit_test(same_file_needs_content_only_if_written),
	        cmocka_unit_test(changed_attributes_are_meta),
	        cmocka_unit_test(hidden_change_depends_on_who_found_it),
	        cmocka_unit_test(changed_size_or_time_is_quick),
	        cmocka_unit_test(another_type_is_retyped),
	        cmocka_unit_test(replaced_symlink_is_compared_by_the_receiver),
	        cmocka_unit_test(raising_gives_at_least_what_was_asked),
	        cmocka_unit_test(content_that_was_asked_for_is_not_for_what_was_seen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
