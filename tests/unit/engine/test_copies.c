/* Names that new files may be copies of: when they are told to the worker, and what becomes of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include <sys/stat.h>
#include "rig.h"

#define BIG (5u << 20)

static struct fingerprint file_fp(uint64_t size, uint64_t ino)
{
	return (struct fingerprint){.mode = S_IFREG | 0644,
	                            .nlink = 1,
	                            .size = size,
	                            .mtime_ns = 7,
	                            .ctime_ns = 9,
	                            .dev = 1,
	                            .ino = ino};
}

/* The target has it. */
static void hold(struct rig *r, const char *path, uint64_t size)
{
	static const struct fingerprint dir = {.mode = S_IFDIR | 0755, .ctime_ns = 5, .dev = 1};
	struct fingerprint fp = file_fp(size, 50);

	ledger_confirm(r->ledger, bytes_of(path), size ? &fp : &dir);
}

static void put_new(struct rig *r, const char *path, uint64_t size)
{
	rig_put_file(r, path, 60, 11, size);
	rig_run(r);
}

static int make(void **state)
{
	struct rig *r = rig_new();

	r->config.copies = true;
	r->fp_size = BIG;
	rig_start(r);
	hold(r, "d", 0);
	hold(r, "d/big", BIG);
	rig_run(r); /* the first sync is over */
	rig_run(r);
	*state = r;
	return 0;
}

static void report(struct rig *r, struct rig_batch *b, enum wire_result result, unsigned flags,
                   const char *text)
{
	struct wire_result_item item = {.index = 0,
	                                .result = (uint8_t)result,
	                                .flags = (uint8_t)flags,
	                                .fp = file_fp(BIG, 60),
	                                .text = bytes_of(text)};
	struct wire_report m = {b->id, &item, 1};

	assert_int_equal(engine_report(r->engine, &m, r->now_ns), 0);
}

static struct rig_batch *send_copy(struct rig *r, const char *path)
{
	struct rig_batch *b;

	put_new(r, path, BIG);
	b = rig_find(r, path);
	assert_non_null(b);
	return b;
}

static void assert_sent_plainly(struct rig *r, const char *path)
{
	assert_non_null(rig_find(r, path));
	assert_int_equal(rig_find(r, path)->class, SESSION_QUICK);
	assert_int_equal(rig_find(r, path)->bases_n, 0);
}

static void large_new_file_names_another_of_its_size(void **state)
{
	struct rig_batch *b = send_copy(*state, "d/new");

	assert_int_equal(b->class, SESSION_CONTENT);
	assert_int_equal(b->bases_n, 1);
	assert_string_equal(b->basis[0], "d/big");
}

static void file_in_the_root_names_another_there(void **state)
{
	struct rig *r = *state;
	struct rig_batch *b;

	hold(r, "big", BIG);
	b = send_copy(r, "new");
	assert_int_equal(b->bases_n, 1);
	assert_string_equal(b->basis[0], "big");
}

static void file_of_another_size_is_sent(void **state)
{
	put_new(*state, "d/new", BIG + 1);
	assert_sent_plainly(*state, "d/new");
}

static void small_file_is_sent(void **state)
{
	struct rig *r = *state;

	hold(r, "d/small", 1000);
	put_new(r, "d/new", 1000);
	assert_sent_plainly(r, "d/new");
}

static void file_of_another_directory_is_not_named(void **state)
{
	struct rig *r = *state;

	hold(r, "e", 0);
	put_new(r, "e/new", BIG);
	assert_sent_plainly(r, "e/new");
}

static void at_most_three_of_a_size_are_named(void **state)
{
	struct rig *r = *state;
	char path[16];

	for (int i = 0; i < 9; i++) {
		(void)snprintf(path, sizeof(path), "d/more%d", i);
		hold(r, path, BIG);
	}
	assert_int_equal(send_copy(r, "d/new")->bases_n, 3);
}

static void what_was_confirmed_since_is_named(void **state)
{
	struct rig *r = *state;
	struct rig_batch *b;

	put_new(r, "d/other", BIG + 1); /* its directory has been read */
	rig_confirm_all(r);
	r->fp_size = BIG + 2;
	put_new(r, "d/newest", BIG + 2);
	rig_confirm_all(r);
	put_new(r, "d/copy", BIG + 2);
	b = rig_find(r, "d/copy");
	assert_int_equal(b->bases_n, 1);
	assert_string_equal(b->basis[0], "d/newest");
}

/* As much as each holds, again and again, is too much. */
static void large_directories_are_not_read_in_quick_turns(void **state)
{
	struct rig *r = *state;
	char path[32];

	hold(r, "e", 0);
	for (int i = 0; i < 1200; i++) {
		(void)snprintf(path, sizeof(path), "%c/%d", i % 2 ? 'd' : 'e', i / 2);
		hold(r, path, BIG + 1 + (unsigned)i);
		(void)snprintf(path, sizeof(path), "d/more%d", i);
		hold(r, path, BIG + 2000 + (unsigned)i);
	}
	hold(r, "e/big", BIG);
	assert_int_equal(send_copy(r, "d/new")->bases_n, 1);
	put_new(r, "e/new", BIG);
	assert_sent_plainly(r, "e/new");
	rig_confirm_all(r);
	rig_wait(r, RIG_SECOND);
	assert_int_equal(send_copy(r, "e/newer")->bases_n, 2);
}

static void what_is_pending_itself_is_not_named(void **state)
{
	struct rig *r = *state;

	rig_put(r, "d/big", MARK_CONTENT, 0);
	put_new(r, "d/new", BIG);
	assert_sent_plainly(r, "d/new");
}

static void what_has_gone_is_not_named(void **state)
{
	struct rig *r = *state;

	put_new(r, "d/other", BIG + 1);
	ledger_confirm_gone(r->ledger, BYTES("d/big"));
	put_new(r, "d/new", BIG);
	assert_sent_plainly(r, "d/new");
}

static void link_is_neither_named_nor_a_copy(void **state)
{
	struct rig *r = *state;
	struct fingerprint fp = file_fp(BIG, 50);
	struct mark m = {.path = BYTES("d/link"),
	                 .action = MARK_QUICK,
	                 .flags = MARK_FRESH,
	                 .size = BIG,
	                 .dev = 1,
	                 .ino = 60,
	                 .link = 60};

	engine_marks(r->engine, &m, 1, r->now_ns);
	rig_run(r);
	assert_int_equal(rig_find(r, "d/link")->bases_n, 0);
	fp.nlink = 2;
	ledger_confirm(r->ledger, BYTES("d/big"), &fp);
	put_new(r, "d/new", BIG);
	assert_sent_plainly(r, "d/new");
}

static void older_receiver_gets_it_whole(void **state)
{
	struct rig *r = rig_new();

	r->config.copies = true;
	r->protocol = 30;
	rig_start(r);
	hold(r, "big", BIG);
	rig_run(r);
	put_new(r, "new", BIG);
	assert_sent_plainly(r, "new");
	rig_free(r);
	(void)state;
}

static void deletion_of_what_is_built_on_waits_for_the_list(void **state)
{
	struct rig *r = *state;
	struct rig_batch *b = send_copy(r, "d/new");

	rig_put(r, "d/big", MARK_DELETE, 0);
	rig_wait(r, RIG_SECOND);
	assert_null(rig_find(r, "d/big"));
	report(r, b, WIRE_ACKED, WIRE_DATA_SENT | WIRE_CLAIMED, "");
	rig_done(r, b, TROUBLE_NONE, false);
	rig_wait(r, RIG_SECOND);
	assert_non_null(rig_find(r, "d/big"));
	assert_int_equal(rig_belief(r, "d/new"), LEDGER_CONFIRMED);
}

static void what_the_target_has_otherwise_is_looked_at(void **state)
{
	struct rig *r = *state;
	struct rig_batch *b = send_copy(r, "d/new");

	report(r, b, WIRE_ACKED, WIRE_DATA_SENT | WIRE_CLAIMED | WIRE_MISTAKEN, "");
	rig_done(r, b, TROUBLE_NONE, false);
	assert_int_equal(rig_belief(r, "d/new"), LEDGER_CONFIRMED);
	assert_non_null(rig_find_look(r, "d/big"));
	assert_int_equal(rig_find_look(r, "d/big")->action, MARK_CONTENT);
}

/* As receivers since 3.5.0 say it. */
#define LACKS "got a block match with no basis file for \"d/new\" (in m) [receiver]"

static void session_that_ends_over_what_is_lacking_is_no_trouble(void **state)
{
	struct rig *r = *state;
	struct rig_batch *b = send_copy(r, "d/new");
	struct wire_done done = {.batch = b->id,
	                         .session = b->session,
	                         .trouble = TROUBLE_PROTOCOL,
	                         .text = BYTES(LACKS)};
	struct engine_status st;

	report(r, b, WIRE_FAILED, WIRE_DATA_SENT | WIRE_CLAIMED, LACKS);
	b->ended = true;
	assert_int_equal(engine_batch_done(r->engine, &done, r->now_ns), 0);
	rig_run(r);
	engine_status(r->engine, &st, r->now_ns);
	assert_int_equal(st.trouble, TROUBLE_NONE);
	assert_int_equal(st.failed, 0);
	assert_non_null(rig_find_look(r, "d/big"));
	/* It goes again, and whole. */
	rig_wait(r, RIG_SECOND);
	assert_non_null(rig_find(r, "d/new"));
	assert_int_equal(rig_find(r, "d/new")->bases_n, 0);
}

static void other_failure_of_a_copy_is_its_own(void **state)
{
	struct rig *r = *state;
	struct rig_batch *b = send_copy(r, "d/new");
	struct engine_status st;

	report(r, b, WIRE_FAILED, WIRE_DATA_SENT | WIRE_CLAIMED, "something else");
	rig_done(r, b, TROUBLE_NONE, false);
	engine_status(r->engine, &st, r->now_ns);
	assert_int_equal(st.failed, 1);
}

static void after_three_mistakes_copies_are_sent(void **state)
{
	struct rig *r = *state;
	char path[16];

	for (int i = 0; i < 3; i++) {
		struct rig_batch *b;

		(void)snprintf(path, sizeof(path), "d/new%d", i);
		b = send_copy(r, path);
		assert_true(b->bases_n > 0);
		report(r, b, WIRE_ACKED, WIRE_DATA_SENT | WIRE_CLAIMED | WIRE_MISTAKEN, "");
		rig_done(r, b, TROUBLE_NONE, false);
		rig_looked(r);
	}
	put_new(r, "d/last", BIG);
	assert_sent_plainly(r, "d/last");
}

static void refused_option_ends_copies(void **state)
{
	struct rig *r = *state;

	engine_set_copies_off(r->engine);
	put_new(r, "d/new", BIG);
	assert_sent_plainly(r, "d/new");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, make, rig_drop)
	const struct CMUnitTest tests[] = {
	        TEST(large_new_file_names_another_of_its_size),
	        TEST(file_in_the_root_names_another_there),
	        TEST(file_of_another_size_is_sent),
	        TEST(small_file_is_sent),
	        TEST(file_of_another_directory_is_not_named),
	        TEST(at_most_three_of_a_size_are_named),
	        TEST(what_was_confirmed_since_is_named),
	        TEST(large_directories_are_not_read_in_quick_turns),
	        TEST(what_is_pending_itself_is_not_named),
	        TEST(what_has_gone_is_not_named),
	        TEST(link_is_neither_named_nor_a_copy),
	        TEST(older_receiver_gets_it_whole),
	        TEST(deletion_of_what_is_built_on_waits_for_the_list),
	        TEST(what_the_target_has_otherwise_is_looked_at),
	        TEST(session_that_ends_over_what_is_lacking_is_no_trouble),
	        TEST(other_failure_of_a_copy_is_its_own),
	        TEST(after_three_mistakes_copies_are_sent),
	        TEST(refused_option_ends_copies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
