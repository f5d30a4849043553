/* Names that came and went: all that is left of them is the time of their directory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/fd.h"
#include "base/mem.h"
#include "source/inside.h"
#include "live.h"

/* No look sees it away: what it leaves behind is the time of the directory. */
static void name_that_went_and_came_back_leaves_a_time(void **state)
{
	struct live l;
	char out[128];

	(void)state;
	live_init(&l, NULL);
	make(&l, "d");
	make(&l, "d/e");
	live_start(&l);
	live_settle(&l);
	live_forget(&l);
	(void)snprintf(out, sizeof(out), "%s/e", l.outside);
	(void)pthread_mutex_lock(&l.source->lock);
	move(&l, "d/e", out);
	move(&l, out, "d/e");
	(void)pthread_mutex_unlock(&l.source->lock);
	live_barrier(&l);
	assert_non_null(live_mark(&l, "d"));
	assert_int_equal(live_mark(&l, "d")->action, MARK_META);
	live_settle(&l);
	live_assert_equal(&l);
	live_stop(&l);
}

/* Its deletion would have carried the time of its directory; nothing is left to be deleted. */
static void name_that_was_on_its_way_and_never_sent_leaves_the_time_of_its_directory(void **state)
{
	struct live l;
	struct bytes path = BYTES("d/n");
	struct mark m = {.path = path, .action = MARK_LOOK, .born = 1};

	(void)state;
	live_init(&l, NULL);
	make(&l, "d");
	live_start(&l);
	live_settle(&l);
	put(&l, "d/n", "1");
	assert_int_equal(ledger_intend(l.ledger, &path, 1), 0);
	l.apply = false;
	drop(&l, "d/n");
	live_settle(&l);
	assert_non_null(live_mark(&l, "d/n"));
	ledger_withdraw(l.ledger, path);
	live_forget(&l);
	source_look(l.source, 0, ++l.token, &m, 1);
	live_await_looked(&l, l.token);
	assert_non_null(live_mark(&l, "d"));
	assert_int_equal(live_mark(&l, "d")->action, MARK_META);
	live_stop(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(name_that_went_and_came_back_leaves_a_time),
	        cmocka_unit_test(
	                name_that_was_on_its_way_and_never_sent_leaves_the_time_of_its_directory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
