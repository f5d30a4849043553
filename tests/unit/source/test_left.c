/* What was written under a name that has left the tree stands under its other names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/fd.h"
#include "source/inside.h"
#include "live.h"

/* Its directory was found gone before the events of the write and of the removal were read. */
static void file_written_and_removed_in_a_directory_that_was_lost_is_told_to_its_links(void **state)
{
	struct live l;
	struct mark m = {.path = BYTES("d"), .action = MARK_LOOK, .born = 1};

	(void)state;
	live_init(&l, NULL);
	make(&l, "d");
	put(&l, "d/f", "1");
	assert_int_equal(link(at(&l, "d/f"), at(&l, "g")), 0);
	live_start(&l);
	live_settle(&l);
	live_forget(&l);
	l.apply = false;                           /* deletions take their time */
	(void)pthread_mutex_lock(&l.source->lock); /* the look comes before the events */
	move(&l, "d", "e");
	put(&l, "e/f", "2");
	drop(&l, "e/f");
	drop(&l, "e");
	source_look(l.source, 0, ++l.token, &m, 1);
	(void)pthread_mutex_unlock(&l.source->lock);
	live_barrier(&l);
	assert_non_null(live_mark(&l, "g"));
	assert_int_equal(live_mark(&l, "g")->action, MARK_CONTENT);
	live_stop(&l);
}

/* Links of it may be on their way, and the ledger does not know them yet. */
static void tell_those_on_their_way(void (*change)(struct live *l), enum mark_action action)
{
	struct live l;
	bool told = false;

	live_init(&l, NULL);
	put(&l, "f", "1");
	live_start(&l);
	live_settle(&l);
	live_forget(&l);
	(void)pthread_mutex_lock(&l.source->lock); /* one drain for all */
	assert_int_equal(link(at(&l, "f"), at(&l, "g")), 0);
	change(&l);
	drop(&l, "f");
	(void)pthread_mutex_unlock(&l.source->lock);
	live_barrier(&l);
	for (size_t i = 0; i < l.nmarks; i++)
		told |= bytes_equal(l.marks[i].path, BYTES("f")) && l.marks[i].action == action &&
		        (l.marks[i].flags & MARK_IF_PENDING);
	assert_true(told);
	live_settle(&l);
	live_assert_equal(&l);
	live_stop(&l);
}

static void write_it(struct live *l)
{
	put(l, "f", "2");
}

static void file_that_was_written_and_removed_is_told_to_those_on_their_way(void **state)
{
	(void)state;
	tell_those_on_their_way(write_it, MARK_CONTENT);
}

static void change_its_mode(struct live *l)
{
	assert_int_equal(chmod(at(l, "f"), 0600), 0);
}

static void file_that_was_changed_and_removed_is_told_to_those_on_their_way(void **state)
{
	(void)state;
	tell_those_on_their_way(change_its_mode, MARK_QUICK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(
	                file_written_and_removed_in_a_directory_that_was_lost_is_told_to_its_links),
	        cmocka_unit_test(file_that_was_written_and_removed_is_told_to_those_on_their_way),
	        cmocka_unit_test(file_that_was_changed_and_removed_is_told_to_those_on_their_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
