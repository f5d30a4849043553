/* Several jobs of one tree: what one of them asks to be looked at is news to the others, too. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/fd.h"
#include "source/inside.h"
#include "live.h"

enum { OTHER = 1 }; /* the job that asks; job 0 is the one that is compared */

static void exchange(struct live *l, const char *a, const char *b)
{
	assert_int_equal(renameat2(AT_FDCWD, at(l, a), AT_FDCWD, at(l, b), RENAME_EXCHANGE), 0);
}

/* Finds moved directories before their events are read, and on behalf of one job only. */
static void other_looks(struct live *l, const char *path, enum mark_scope scope)
{
	struct mark m = {.path = bytes_of(path),
	                 .action = MARK_LOOK,
	                 .scope = scope,
	                 .flags = scope == MARK_SUBTREE ? MARK_DIR : 0,
	                 .born = 1};

	source_look(l->source, OTHER, ++l->token, &m, 1);
	live_await_looked(l, l->token);
}

static void start_with_two_directories(struct live *l)
{
	live_init(l, NULL);
	make(l, "p");
	make(l, "p/a");
	make(l, "p/a/x");
	put(l, "p/a/x/1", "1");
	make(l, "p/b");
	put(l, "p/b/2", "2");
	live_start(l);
	source_attach(l->source, OTHER, l->ledger);
	live_settle(l);
}

/* Of an exchange the second name hears last that something left. */
static void directories_exchanged_that_one_job_looked_at_first_are_crawled_for_all(void **state)
{
	static const char *const asked[] = {"p/a", "p/b", "p"};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct live l;

		start_with_two_directories(&l);
		source_test_stall(l.source, true);
		exchange(&l, "p/a", "p/b");
		other_looks(&l, asked[i], i == 2 ? MARK_SUBTREE : MARK_ENTRY);
		live_resume(&l);
		live_stop(&l);
	}
}

static void directory_moved_that_one_job_looked_at_first_is_crawled_for_all(void **state)
{
	struct live l;

	(void)state;
	start_with_two_directories(&l);
	source_test_stall(l.source, true);
	move(&l, "p/a", "p/b/a");
	other_looks(&l, "p/b/a", MARK_ENTRY);
	live_resume(&l);
	live_stop(&l);
}

/* More names than are remembered one by one: that it is this one is not known any more. */
static void directory_moved_among_many_names_is_crawled_for_all(void **state)
{
	struct live l;

	(void)state;
	start_with_two_directories(&l);
	source_test_stall(l.source, true);
	(void)pthread_mutex_lock(&l.source->lock);
	backlog_free(l.source->filling);
	backlog_free(l.source->taken);
	l.source->filling = backlog_new(1, 8);
	l.source->taken = backlog_new(1, 8);
	(void)pthread_mutex_unlock(&l.source->lock);
	put(&l, "p/b/3", "3");
	put(&l, "p/b/4", "4");
	move(&l, "p/a", "p/b/a");
	other_looks(&l, "p/b/a", MARK_ENTRY);
	live_resume(&l);
	live_stop(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(
	                directories_exchanged_that_one_job_looked_at_first_are_crawled_for_all),
	        cmocka_unit_test(directory_moved_that_one_job_looked_at_first_is_crawled_for_all),
	        cmocka_unit_test(directory_moved_among_many_names_is_crawled_for_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
