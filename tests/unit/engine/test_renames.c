/* Names that files had before: when they are told to the worker, and what waits for that. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sys/stat.h>
#include "rig.h"

static const struct fingerprint dir_fp = {.mode = S_IFDIR | 0755, .ctime_ns = 5, .dev = 1};

static struct fingerprint file_fp(uint64_t ino)
{
	return (struct fingerprint){.mode = S_IFREG | 0644,
	                            .nlink = 1,
	                            .size = 3,
	                            .mtime_ns = 7,
	                            .ctime_ns = 9,
	                            .dev = 1,
	                            .ino = ino};
}

/* The target has it. */
static void hold(struct rig *r, const char *path, uint64_t ino)
{
	struct fingerprint fp = file_fp(ino);

	ledger_confirm(r->ledger, bytes_of(path), ino ? &fp : &dir_fp);
}

static int make(void **state)
{
	struct rig *r = rig_new();

	r->config.renames = true;
	rig_start(r);
	hold(r, "old", 0);
	hold(r, "old/f", 50);
	*state = r;
	return 0;
}

static int report(struct rig *r, struct rig_batch *b, enum wire_result result, unsigned flags)
{
	struct wire_result_item item = {.index = 0,
	                                .result = (uint8_t)result,
	                                .flags = (uint8_t)flags,
	                                .fp = file_fp(50),
	                                .text = BYTES("no links here")};
	struct wire_report m = {b->id, &item, 1};

	return engine_report(r->engine, &m, r->now_ns);
}

static struct rig_batch *send_moved(struct rig *r)
{
	struct rig_batch *b;

	rig_put_file(r, "new", 50, 9, 3);
	rig_run(r);
	b = rig_find(r, "new");
	assert_non_null(b);
	return b;
}

static void file_of_a_moved_directory_names_where_it_was(void **state)
{
	struct rig *r = *state;
	struct rig_batch *b = send_moved(r);

	assert_int_equal(b->class, SESSION_QUICK);
	assert_int_equal(b->formers_n, 2);
	assert_string_equal(b->former[0], "old");
	assert_string_equal(b->former[1], "old/f");
	assert_int_equal(rig_belief(r, "old/f"), LEDGER_CONFIRMED | LEDGER_INTENDED);
}

static void nothing_is_named_for_a_file_whose_ctime_moved(void **state)
{
	struct rig *r = *state;

	rig_put_file(r, "new", 50, 10, 3);
	rig_run(r);
	assert_non_null(rig_find(r, "new"));
	assert_int_equal(rig_find(r, "new")->class, SESSION_QUICK);
	assert_int_equal(rig_find(r, "new")->formers_n, 0);
}

static void large_file_whose_ctime_moved_goes_as_content(void **state)
{
	struct rig *r = *state;

	rig_put_file(r, "new", 50, 10, 5u << 20);
	rig_run(r);
	assert_non_null(rig_find(r, "new"));
	assert_int_equal(rig_find(r, "new")->class, SESSION_CONTENT);
	assert_int_equal(rig_find(r, "new")->formers_n, 2);
}

static void nothing_is_named_while_the_former_name_is_in_doubt(void **state)
{
	struct rig *r = *state;

	rig_put(r, "old/f", MARK_CONTENT, 0); /* written, and gone before it was sent */
	assert_non_null(rig_find(r, "old/f"));
	rig_put(r, "old/f", MARK_DELETE, 0);
	assert_int_equal(rig_report(r, rig_find(r, "old/f"), "old/f", WIRE_VANISHED), 0);
	rig_done(r, rig_find(r, "old/f"), TROUBLE_NONE, false);
	rig_put_file(r, "new", 50, 9, 3);
	rig_run(r);
	assert_non_null(rig_find(r, "new"));
	assert_int_equal(rig_find(r, "new")->formers_n, 0);
}

/* Written once more within the tick it has the same stamps, and what says so may be lost. */
static void name_that_was_confirmed_within_a_tick_vouches_for_no_other(void **state)
{
	struct rig *r = *state;

	rig_put(r, "old/f", MARK_CONTENT, 0);
	assert_int_equal(report(r, rig_find(r, "old/f"), WIRE_ACKED, WIRE_RACY | WIRE_DATA_SENT),
	                 0);
	rig_done(r, rig_find(r, "old/f"), TROUBLE_NONE, false);
	rig_wait(r, RIG_SECOND);
	rig_looked(r);
	assert_int_equal(rig_belief(r, "old/f"), LEDGER_CONFIRMED);
	rig_put_file(r, "new", 50, 9, 3);
	rig_run(r);
	assert_non_null(rig_find(r, "new"));
	assert_int_equal(rig_find(r, "new")->formers_n, 0);
}

static void nothing_is_named_where_all_is_kept(void **state)
{
	struct rig *r = *state;

	rig_free(r);
	r = *state = rig_new();
	r->config.renames = r->config.keep_deleted = true;
	rig_start(r);
	hold(r, "old", 0);
	hold(r, "old/f", 50);
	assert_int_equal(send_moved(r)->formers_n, 0);
}

static void nothing_is_named_for_one_of_several_names(void **state)
{
	struct rig *r = *state;

	hold(r, "old/g", 50);
	assert_int_equal(send_moved(r)->formers_n, 0);
}

static void deletion_waits_for_the_new_name_and_then_goes(void **state)
{
	struct rig *r = *state;
	struct rig_batch *b;

	rig_put_file(r, "new", 50, 9, 3);
	rig_put(r, "old/f", MARK_DELETE, 0);
	b = rig_find(r, "new");
	assert_non_null(b);
	rig_wait(r, RIG_SECOND);
	assert_null(rig_find(r, "old/f"));
	assert_int_equal(report(r, b, WIRE_ACKED, WIRE_FORMER | WIRE_WAS_NEW), 0);
	rig_wait(r, RIG_SECOND); /* the receiver may still link it */
	assert_null(rig_find(r, "old/f"));
	rig_done(r, b, TROUBLE_NONE, false);
	rig_wait(r, RIG_SECOND);
	assert_non_null(rig_find(r, "old/f"));
	assert_int_equal(rig_find(r, "old/f")->class, SESSION_DELETE);
	rig_confirm_all(r);
	assert_int_equal(rig_belief(r, "old/f"), LEDGER_ABSENT);
	assert_int_equal(rig_belief(r, "new"), LEDGER_CONFIRMED);
	assert_int_equal(engine_settled(r->engine, 1, r->now_ns), ENGINE_SETTLED);
}

static void deletion_above_what_waits_waits(void **state)
{
	struct rig *r = *state;

	rig_put_file(r, "new", 50, 9, 3);
	rig_put(r, "old/f", MARK_DELETE, 0);
	rig_put(r, "old", MARK_DELETE, MARK_DIR);
	rig_wait(r, RIG_SECOND);
	assert_null(rig_find(r, "old"));
	rig_confirm_all(r);
	rig_wait(r, RIG_SECOND);
	assert_non_null(rig_find(r, "old"));
	assert_ptr_equal(rig_find(r, "old"), rig_find(r, "old/f"));
}

static void deletion_does_not_wait_for_what_waits_for_it(void **state)
{
	struct rig *r = *state;

	rig_put_file(r, "old/g/f", 50, 9, 3); /* stale: its directory is going */
	rig_put(r, "old/f", MARK_DELETE, 0);
	rig_put(r, "old", MARK_DELETE, MARK_DIR);
	rig_wait(r, RIG_SECOND);
	rig_confirm_all(r);
	rig_wait(r, RIG_SECOND);
	rig_confirm_all(r);
	assert_int_equal(rig_belief(r, "old"), LEDGER_ABSENT);
}

/* It changes its type, and its deletions wait, in turn, for another such one. */
static void deletions_do_not_wait_in_a_ring(void **state)
{
	struct rig *r = *state;

	hold(r, "x", 0);
	hold(r, "x/f", 51);
	rig_put_file(r, "x", 50, 9, 3);
	rig_put_file(r, "old", 51, 9, 3);
	rig_put(r, "x/f", MARK_DELETE, 0);
	rig_put(r, "old/f", MARK_DELETE, 0);
	for (int i = 0; i < 4; i++) {
		rig_wait(r, RIG_SECOND);
		rig_confirm_all(r);
	}
	assert_int_equal(rig_belief(r, "x/f"), LEDGER_ABSENT);
	assert_int_equal(rig_belief(r, "old/f"), LEDGER_ABSENT);
}

/* For 1000 s. */
static void put_hot(struct rig *r, const char *path, uint64_t ino, uint64_t link)
{
	struct mark hot = {.path = bytes_of(path),
	                   .action = MARK_QUICK,
	                   .flags = MARK_FRESH | MARK_HOT,
	                   .born = 1,
	                   .since_ns = r->now_ns,
	                   .link = link,
	                   .dev = 1,
	                   .ino = ino,
	                   .ctime_ns = 9};

	engine_marks(r->engine, &hot, 1, r->now_ns);
}

static struct rig *make_patient(void **state)
{
	struct rig *r = *state;

	rig_free(r);
	r = *state = rig_new();
	r->config.renames = true;
	r->config.longest_wait_ns = 1000 * RIG_SECOND;
	rig_start(r);
	hold(r, "old", 0);
	hold(r, "old/f", 50);
	return r;
}

static void deletion_does_not_wait_for_ever(void **state)
{
	struct rig *r = make_patient(state);

	put_hot(r, "new", 50, 0);
	rig_put(r, "old/f", MARK_DELETE, 0);
	rig_wait(r, 200 * RIG_SECOND);
	assert_null(rig_find(r, "old/f"));
	assert_null(rig_find(r, "new"));
	rig_wait(r, 101 * RIG_SECOND);
	assert_non_null(rig_find(r, "old/f"));
}

/* What came has left again, and a directory has its name. */
static void deletion_does_not_wait_for_what_is_below_the_new_name(void **state)
{
	struct rig *r = make_patient(state);

	rig_put_file(r, "new", 50, 9, 3);
	put_hot(r, "another", 51, 0);
	rig_run(r);
	assert_int_equal(report(r, rig_find(r, "new"), WIRE_ACKED, WIRE_FORMER | WIRE_WAS_NEW), 0);
	rig_done(r, rig_find(r, "new"), TROUBLE_NONE, false);
	put_hot(r, "new/x", 52, 0);
	rig_put(r, "old/f", MARK_DELETE, 0);
	rig_wait(r, RIG_SECOND);
	assert_non_null(rig_find(r, "old/f"));
}

/* Its others may wait for that very deletion. */
static void deletion_does_not_wait_for_one_of_several_names(void **state)
{
	struct rig *r = make_patient(state);

	put_hot(r, "new", 50, 0);
	put_hot(r, "new", 50, 50);
	rig_put(r, "old/f", MARK_DELETE, 0);
	rig_wait(r, RIG_SECOND);
	assert_non_null(rig_find(r, "old/f"));
}

static void nothing_else_is_sent_at_a_name_that_is_listed_as_former(void **state)
{
	struct rig *r = *state;
	struct rig_batch *b = send_moved(r);
	struct mark back = {.path = BYTES("old/f"),
	                    .action = MARK_META,
	                    .born = 2,
	                    .since_ns = r->now_ns,
	                    .dev = 1,
	                    .ino = 50,
	                    .ctime_ns = 11};

	engine_marks(r->engine, &back, 1, r->now_ns);
	rig_wait(r, RIG_SECOND);
	assert_null(rig_find(r, "old/f"));
	assert_int_equal(report(r, b, WIRE_ACKED, WIRE_FORMER | WIRE_WAS_NEW), 0);
	rig_done(r, b, TROUBLE_NONE, false);
	rig_wait(r, RIG_SECOND);
	/* Attributes alone would reach the other name, too. */
	assert_non_null(rig_find(r, "old/f"));
	assert_int_equal(rig_find(r, "old/f")->class, SESSION_CONTENT);
}

static void former_name_that_was_not_listed_is_as_before(void **state)
{
	struct rig *r = *state;
	struct rig_batch *b = send_moved(r);

	assert_int_equal(report(r, b, WIRE_VANISHED, 0), 0);
	rig_done(r, b, TROUBLE_NONE, false);
	assert_int_equal(rig_belief(r, "old/f"), LEDGER_CONFIRMED);
	assert_null(rig_find_look(r, "old/f"));
}

static void target_that_refuses_links_gets_the_content_at_once(void **state)
{
	struct rig *r = *state;
	struct rig_batch *b = send_moved(r);
	struct engine_status s;

	assert_int_equal(report(r, b, WIRE_FAILED, WIRE_FORMER), 0);
	rig_done(r, b, TROUBLE_NONE, false);
	rig_wait(r, RIG_SECOND);
	assert_non_null(rig_find(r, "new"));
	assert_int_equal(rig_find(r, "new")->formers_n, 0);
	engine_status(r->engine, &s, r->now_ns);
	assert_int_equal(s.failed, 0);
}

static void former_name_of_a_broken_session_is_looked_at(void **state)
{
	struct rig *r = *state;

	rig_done(r, send_moved(r), TROUBLE_PROTOCOL, false);
	assert_non_null(rig_find_look(r, "old/f"));
	assert_int_equal(rig_find_look(r, "old/f")->action, MARK_CONTENT);
	assert_true(rig_belief(r, "old/f") & LEDGER_INTENDED);
}

static void former_name_of_a_zombie_may_still_be_written(void **state)
{
	struct rig *r = *state;

	rig_done(r, send_moved(r), TROUBLE_TIMEOUT, true);
	assert_int_equal(engine_settled(r->engine, 1, r->now_ns), ENGINE_PENDING);
	rig_looked(r);
	r->look_count = 0;
	rig_wait(r, 61 * RIG_SECOND);
	assert_non_null(rig_find_look(r, "old/f"));
}

static void restart_looks_at_a_former_name_that_was_linked(void **state)
{
	struct rig *r = *state;
	struct rig_batch *b = send_moved(r);

	assert_int_equal(report(r, b, WIRE_ACKED, WIRE_FORMER | WIRE_WAS_NEW), 0);
	rig_done(r, b, TROUBLE_NONE, false);
	assert_int_equal(ledger_commit(r->ledger), 0);
	rig_restart(r);
	rig_run(r);
	assert_non_null(rig_find_look(r, "old/f"));
	assert_int_equal(rig_find_look(r, "old/f")->action, MARK_CONTENT);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, make, rig_drop)
	const struct CMUnitTest tests[] = {
	        TEST(file_of_a_moved_directory_names_where_it_was),
	        TEST(nothing_is_named_for_a_file_whose_ctime_moved),
	        TEST(large_file_whose_ctime_moved_goes_as_content),
	        TEST(nothing_is_named_while_the_former_name_is_in_doubt),
	        TEST(name_that_was_confirmed_within_a_tick_vouches_for_no_other),
	        TEST(nothing_is_named_where_all_is_kept),
	        TEST(nothing_is_named_for_one_of_several_names),
	        TEST(deletion_waits_for_the_new_name_and_then_goes),
	        TEST(deletion_above_what_waits_waits),
	        TEST(deletion_does_not_wait_for_what_waits_for_it),
	        TEST(deletions_do_not_wait_in_a_ring),
	        TEST(deletion_does_not_wait_for_ever),
	        TEST(deletion_does_not_wait_for_what_is_below_the_new_name),
	        TEST(deletion_does_not_wait_for_one_of_several_names),
	        TEST(nothing_else_is_sent_at_a_name_that_is_listed_as_former),
	        TEST(former_name_that_was_not_listed_is_as_before),
	        TEST(target_that_refuses_links_gets_the_content_at_once),
	        TEST(former_name_of_a_broken_session_is_looked_at),
	        TEST(former_name_of_a_zombie_may_still_be_written),
	        TEST(restart_looks_at_a_former_name_that_was_linked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
