/* Order of what a rename leads to: the new name is marked before the old one goes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include "base/path.h"
#include "live.h"

/* Where the first mark for the path stands: of a deletion, or of anything else. */
static size_t place(const struct live *l, const char *path, bool deletion)
{
	for (size_t i = 0; i < l->nmarks; i++)
		if (bytes_equal(l->marks[i].path, bytes_of(path)) &&
		    (l->marks[i].action == MARK_DELETE) == deletion)
			return i;
	fail_msg("no mark for %s", path);
	return 0;
}

static void begin(struct live *l)
{
	live_init(l, NULL);
	l->config.renames = true;
	make(l, "a");
	make(l, "a/e");
	put(l, "a/e/f", "one");
	put(l, "a/e/g", "two");
	put(l, "b", "three");
	live_start(l);
	live_settle(l);
	live_forget(l);
}

/* What happens meanwhile comes in one piece. */
static void move_at_once(struct live *l, const char *from, const char *to)
{
	source_test_stall(l->source, true);
	move(l, from, to);
	live_resume(l);
}

static void move_out_at_once(struct live *l, const char *from)
{
	char out[128];

	(void)snprintf(out, sizeof(out), "%s/n", l->outside);
	move_at_once(l, from, out);
}

static void renamed_file_is_marked_before_its_old_name_goes(void **state)
{
	struct live l;

	(void)state;
	begin(&l);
	move_at_once(&l, "b", "z");
	assert_true(place(&l, "z", false) < place(&l, "b", true));
	live_stop(&l);
}

static void files_of_a_renamed_directory_are_marked_before_their_old_names_go(void **state)
{
	struct live l;

	(void)state;
	begin(&l);
	move_at_once(&l, "a", "z");
	assert_true(place(&l, "z/e/f", false) < place(&l, "a/e/f", true));
	assert_true(place(&l, "z/e/g", false) < place(&l, "a/e/f", true));
	assert_true(live_mark(&l, "z/e/g")->born > 0);
	assert_true(live_mark(&l, "z/e/g")->since_ns > 0);
	live_stop(&l);
}

static void what_was_renamed_unseen_is_marked_before_its_old_name_goes(void **state)
{
	struct live l;

	(void)state;
	begin(&l);
	live_end(&l);
	move(&l, "a", "z");
	move(&l, "b", "y");
	live_start(&l);
	live_settle(&l);
	live_assert_equal(&l);
	assert_true(place(&l, "z/e/f", false) < place(&l, "a/e/f", true));
	assert_true(place(&l, "y", false) < place(&l, "b", true));
	live_stop(&l);
}

static void names_that_are_put_off_are_told_at_once(void **state)
{
	struct live l;

	(void)state;
	begin(&l);
	move_at_once(&l, "a", "z");
	assert_int_equal(l.owed_most, 4); /* a, a/e and its two files */
	assert_int_equal(l.owed, 0);
	live_stop(&l);
}

static void names_that_were_found_missing_are_told_at_once(void **state)
{
	struct live l;

	(void)state;
	begin(&l);
	live_end(&l);
	move(&l, "a", "z");
	move(&l, "b", "y");
	l.config.letter_marks = 1;
	live_start(&l);
	live_settle(&l);
	assert_int_equal(l.owed_most, 5);
	assert_int_equal(l.owed, 0);
	live_stop(&l);
}

static void large_subtree_is_owed_until_all_of_it_is_marked(void **state)
{
	struct live l;
	char name[32];

	(void)state;
	begin(&l);
	for (int i = 0; i < 3000; i++) {
		(void)snprintf(name, sizeof(name), "a/f%d", i);
		put(&l, name, "x");
	}
	live_settle(&l);
	live_forget(&l);
	move_at_once(&l, "a", "z");
	assert_int_equal(l.owed_most, 3004);
	assert_int_equal(l.owed, 0);
	live_stop(&l);
}

static void removed_subtree_is_owed_until_all_of_it_is_marked(void **state)
{
	char name[32];
	struct live l;

	(void)state;
	live_init(&l, NULL);
	l.config.letter_marks = 1;
	put(&l, "stays", "x");
	make(&l, "a");
	for (int i = 0; i < 3000; i++) {
		(void)snprintf(name, sizeof(name), "a/f%d", i);
		put(&l, name, "x");
	}
	live_start(&l);
	live_settle(&l);
	live_forget(&l);
	move_out_at_once(&l, "a");
	assert_int_equal(l.owed_most, 3000); /* less the one in the first letter */
	assert_int_equal(l.owed, 0);
	live_stop(&l);
}

static void name_that_is_there_again_is_not_owed(void **state)
{
	struct live l;

	(void)state;
	begin(&l);
	source_test_stall(l.source, true);
	move(&l, "a", "z");
	move(&l, "z", "a");
	live_resume(&l);
	assert_int_equal(l.owed, 0);
	live_stop(&l);
}

/* Its names may be about to go: nothing else would end their deletions before they are sent. */
static void directory_that_is_back_is_told_to_its_deletions(void **state)
{
	struct live l;

	(void)state;
	begin(&l);
	l.apply = false;
	move(&l, "a", "z");
	live_barrier(&l);
	live_forget(&l);
	move(&l, "z", "a");
	live_barrier(&l);
	assert_non_null(live_mark(&l, "a/e/f"));
	assert_int_equal(live_mark(&l, "a/e/f")->action, MARK_LOOK);
	assert_int_equal(live_mark(&l, "a/e/f")->flags, MARK_IF_PENDING);
	live_stop(&l);
}

static void directory_that_leaves_the_tree_is_deleted(void **state)
{
	struct live l;

	(void)state;
	begin(&l);
	move_out_at_once(&l, "a");
	assert_true(place(&l, "a/e/f", true) < place(&l, "a", true));
	live_stop(&l);
}

static void name_that_is_taken_again_at_once_is_not_deleted(void **state)
{
	struct live l;

	(void)state;
	begin(&l);
	source_test_stall(l.source, true);
	move(&l, "b", "z");
	put(&l, "b", "four");
	live_resume(&l);
	assert_int_not_equal(live_mark(&l, "b")->action, MARK_DELETE);
	live_stop(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(renamed_file_is_marked_before_its_old_name_goes),
	        cmocka_unit_test(files_of_a_renamed_directory_are_marked_before_their_old_names_go),
	        cmocka_unit_test(what_was_renamed_unseen_is_marked_before_its_old_name_goes),
	        cmocka_unit_test(names_that_are_put_off_are_told_at_once),
	        cmocka_unit_test(names_that_were_found_missing_are_told_at_once),
	        cmocka_unit_test(large_subtree_is_owed_until_all_of_it_is_marked),
	        cmocka_unit_test(removed_subtree_is_owed_until_all_of_it_is_marked),
	        cmocka_unit_test(name_that_is_there_again_is_not_owed),
	        cmocka_unit_test(directory_that_is_back_is_told_to_its_deletions),
	        cmocka_unit_test(directory_that_leaves_the_tree_is_deleted),
	        cmocka_unit_test(name_that_is_taken_again_at_once_is_not_deleted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
