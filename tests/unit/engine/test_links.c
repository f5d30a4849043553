/* Names of one inode: what the engine sends together, and what it makes of their answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include "base/mem.h"
#include "rig.h"

/* The other name was confirmed between the look and the batch. */
static void name_of_an_inode_is_not_sent_without_those_confirmed_meanwhile(void **state)
{
	struct rig *r = *state;
	struct mark m = {.path = BYTES("a"), .action = MARK_CONTENT, .born = 1, .link = 77};
	struct fingerprint fp = {.mode = S_IFREG | 0644, .nlink = 2, .ino = 77, .size = 3};

	ledger_confirm(r->ledger, BYTES("a"), &fp);
	ledger_confirm(r->ledger, BYTES("b"), &fp);
	m.since_ns = r->now_ns;
	engine_marks(r->engine, &m, 1, r->now_ns);
	rig_run(r);
	assert_non_null(rig_find(r, "a"));
	assert_ptr_equal(rig_find(r, "a"), rig_find(r, "b"));
	assert_int_equal(rig_find(r, "a")->class, SESSION_CONTENT);
	rig_confirm_all(r);
	assert_int_equal(engine_settled(r->engine, 1, r->now_ns), ENGINE_SETTLED);
}

/* As long as the names are not together, lists with nothing else in them would follow each other.
 */
static void batch_of_which_nothing_is_left_is_not_sent_for_its_stamps(void **state)
{
	struct rig *r = *state;
	struct mark m = {.path = BYTES("a"), .action = MARK_CONTENT, .born = 1, .link = 77};
	struct fingerprint fp = {.mode = S_IFREG | 0644, .nlink = 2, .ino = 77, .size = 3};
	size_t before;

	rig_put(r, "z", MARK_QUICK, MARK_FRESH);
	rig_confirm_all(r);
	ledger_confirm(r->ledger, BYTES("a"), &fp);
	ledger_confirm(r->ledger, BYTES("b"), &fp);
	m.since_ns = r->now_ns;
	before = r->batch_count;
	engine_marks(r->engine, &m, 1, r->now_ns);
	rig_run(r);
	assert_non_null(rig_find(r, "a"));
	assert_ptr_equal(rig_find(r, "a"), rig_find(r, "b"));
	assert_int_equal(r->batch_count, before + 1);
}

/* It was sent without the one that was to go. */
static void link_that_is_back_before_its_deletion_is_joined_with_the_others(void **state)
{
	struct rig *r = *state;
	struct fingerprint fp = {.mode = S_IFREG | 0644, .nlink = 2, .ino = 77, .size = 3};

	ledger_confirm(r->ledger, BYTES("a"), &fp);
	ledger_confirm(r->ledger, BYTES("b"), &fp);
	rig_put(r, "a", MARK_DELETE, 0);
	rig_run(r);
	assert_int_equal(rig_find(r, "a")->class, SESSION_DELETE);
	rig_report(r, rig_find(r, "a"), "a", WIRE_VANISHED);
	rig_done(r, rig_find(r, "a"), TROUBLE_NONE, false);
	rig_run(r);
	rig_report_fp(r, rig_find(r, "a"), "a", &fp);
	rig_done(r, rig_find(r, "a"), TROUBLE_NONE, false);
	rig_wait(r, RIG_SECOND);
	assert_non_null(rig_find(r, "a"));
	assert_ptr_equal(rig_find(r, "a"), rig_find(r, "b"));
}

/* Nobody knows whether the other name is to go along. */
static void name_of_an_inode_waits_while_another_is_looked_at(void **state)
{
	struct rig *r = *state;
	struct mark m = {.path = BYTES("a"), .action = MARK_CONTENT, .born = 1, .link = 77};
	struct fingerprint fp = {.mode = S_IFREG | 0644, .nlink = 2, .ino = 77, .size = 3};

	ledger_confirm(r->ledger, BYTES("a"), &fp);
	ledger_confirm(r->ledger, BYTES("b"), &fp);
	rig_put(r, "b", MARK_LOOK, 0);
	m.since_ns = r->now_ns;
	engine_marks(r->engine, &m, 1, r->now_ns);
	rig_run(r);
	assert_null(rig_find(r, "a"));
	rig_looked(r);
	rig_wait(r, RIG_SECOND);
	assert_non_null(rig_find(r, "a"));
	assert_ptr_equal(rig_find(r, "a"), rig_find(r, "b"));
}

/* A look alone would find it as it was confirmed, a copy. */
static void name_that_was_sent_without_its_links_is_joined_by_a_look_that_is_due(void **state)
{
	struct rig *r = *state;
	struct fingerprint fp = {.mode = S_IFREG | 0644, .nlink = 2, .ino = 77, .size = 3};
	struct rig_batch *list;

	ledger_confirm(r->ledger, BYTES("b"), &fp);
	rig_put(r, "a", MARK_QUICK, MARK_FRESH);
	list = rig_find(r, "a");
	rig_put(r, "a", MARK_LOOK, 0);
	rig_report_fp(r, list, "a", &fp);
	rig_done(r, list, TROUBLE_NONE, false);
	rig_wait(r, RIG_SECOND);
	assert_non_null(rig_find_look(r, "a"));
	assert_int_equal(rig_find_look(r, "a")->action, MARK_CONTENT);
}

/* Its answer comes after that of another name, which changes what the ledger says of both. */
static void link_whose_time_was_put_back_is_sent_again_with_its_content(void **state)
{
	struct rig *r = *state;
	struct mark m = {.path = BYTES("b"), .action = MARK_QUICK, .born = 1, .link = 77};
	struct fingerprint fp = {.mode = S_IFREG | 0644, .nlink = 2, .ino = 77, .size = 3};

	ledger_confirm(r->ledger, BYTES("b"), &fp);
	m.since_ns = r->now_ns;
	engine_marks(r->engine, &m, 1, r->now_ns);
	m.path = BYTES("a");
	m.flags = MARK_FRESH;
	engine_marks(r->engine, &m, 1, r->now_ns);
	rig_run(r);
	fp.ctime_ns = 5;
	rig_report_fp(r, rig_find(r, "b"), "a", &fp);
	rig_report_fp(r, rig_find(r, "b"), "b", &fp);
	rig_done(r, rig_find(r, "b"), TROUBLE_NONE, false);
	rig_run(r);
	assert_non_null(rig_find_look(r, "b"));
	assert_int_equal(rig_find_look(r, "b")->action, MARK_CONTENT);
}

static void put_link(struct rig *r, const char *path, enum mark_action action, unsigned flags,
                     const struct fingerprint *seen)
{
	struct mark m = {.path = bytes_of(path),
	                 .action = action,
	                 .flags = flags,
	                 .born = 1,
	                 .since_ns = r->now_ns,
	                 .link = seen->ino,
	                 .ino = seen->ino,
	                 .ctime_ns = seen->ctime_ns};

	engine_marks(r->engine, &m, 1, r->now_ns);
}

static bool goes_with_its_content(struct rig *r, const char *path)
{
	struct rig_look *l;

	rig_run(r);
	l = rig_find_look(r, path);
	return l ? l->action == MARK_CONTENT
	         : rig_find(r, path) && rig_find(r, path)->class == SESSION_CONTENT;
}

/* What was compared under no name is due under all that are there, also when the one that told of
 * it leaves before it can be looked at. */
static void link_is_due_when_the_name_whose_time_was_put_back_leaves(void **state)
{
	const char *const order[][2] = {{"a", "b"}, {"b", "a"}};
	struct fingerprint fp = {.mode = S_IFREG | 0644, .nlink = 1, .ino = 77, .size = 3};

	(void)state;
	for (int i = 0; i < 2; i++) {
		void *made;
		struct rig *r;
		struct rig_batch *list;

		rig_make(&made);
		r = made;
		fp.ctime_ns = 1;
		ledger_confirm(r->ledger, BYTES("b"), &fp);
		fp.nlink = 2;
		fp.ctime_ns = 5;
		put_link(r, "b", MARK_QUICK, 0, &fp);
		put_link(r, "a", MARK_QUICK, MARK_FRESH, &fp);
		rig_run(r);
		list = rig_find(r, "b");
		assert_ptr_equal(list, rig_find(r, "a"));
		rig_put(r, "b", MARK_DELETE, 0);
		rig_report_fp(r, list, order[i][0], &fp);
		rig_run(r);
		rig_report_fp(r, list, order[i][1], &fp);
		rig_done(r, list, TROUBLE_NONE, false);
		rig_put(r, "b", MARK_DELETE, 0); /* the look's answer */
		assert_true(goes_with_its_content(r, "a"));
		rig_drop(&made);
	}
}

/* Its answer came between the look that saw it written and the mark that was made of it. */
static void link_confirmed_meanwhile_is_due_when_the_name_that_was_written_leaves(void **state)
{
	struct rig *r = *state;
	struct fingerprint fp = {
	        .mode = S_IFREG | 0644, .nlink = 2, .ino = 77, .size = 3, .ctime_ns = 1};

	ledger_confirm(r->ledger, BYTES("a"), &fp);
	ledger_confirm(r->ledger, BYTES("b"), &fp);
	fp.ctime_ns = 5;
	put_link(r, "b", MARK_CONTENT, 0, &fp);
	rig_put(r, "b", MARK_DELETE, 0);
	assert_true(goes_with_its_content(r, "a"));
}

/* It was on its way when the look found it written and gone, and all have been confirmed since. */
static void
link_confirmed_meanwhile_is_due_when_what_was_under_way_was_written_and_left(void **state)
{
	struct rig *r = *state;
	struct fingerprint fp = {.mode = S_IFREG | 0644, .nlink = 2, .ino = 77, .size = 3};

	ledger_confirm(r->ledger, BYTES("a"), &fp);
	ledger_confirm(r->ledger, BYTES("b"), &fp);
	rig_put(r, "b", MARK_CONTENT, MARK_IF_PENDING);
	rig_put(r, "b", MARK_DELETE, 0);
	assert_true(goes_with_its_content(r, "a"));
}

/* Their answers tell of what they were before. */
static void link_that_flies_with_what_was_written_and_left_goes_again(void **state)
{
	struct rig *r = *state;
	struct fingerprint fp = {
	        .mode = S_IFREG | 0644, .nlink = 2, .ino = 77, .size = 3, .ctime_ns = 5};
	struct rig_batch *list;

	ledger_confirm(r->ledger, BYTES("a"), &fp);
	put_link(r, "b", MARK_QUICK, MARK_FRESH, &fp);
	rig_run(r);
	list = rig_find(r, "b");
	assert_ptr_equal(list, rig_find(r, "a"));
	rig_report_fp(r, list, "a", &fp);
	rig_put(r, "b", MARK_CONTENT, MARK_IF_PENDING);
	rig_put(r, "b", MARK_DELETE, 0);
	rig_report_fp(r, list, "b", &fp);
	rig_done(r, list, TROUBLE_NONE, false);
	rig_wait(r, RIG_SECOND);
	assert_true(goes_with_its_content(r, "a"));
}

/* A list says of a name what it was when the list was made. */
static void link_that_flies_is_looked_at_when_the_name_that_was_changed_has_left(void **state)
{
	struct rig *r = *state;
	struct fingerprint fp = {
	        .mode = S_IFREG | 0644, .nlink = 2, .ino = 77, .size = 3, .ctime_ns = 5};
	struct rig_batch *list;

	ledger_confirm(r->ledger, BYTES("b"), &fp);
	put_link(r, "b", MARK_META, 0, &fp);
	put_link(r, "a", MARK_QUICK, MARK_FRESH, &fp);
	rig_run(r);
	list = rig_find(r, "a");
	assert_ptr_equal(list, rig_find(r, "b"));
	rig_put(r, "b", MARK_QUICK, MARK_IF_PENDING);
	rig_put(r, "b", MARK_DELETE, 0);
	rig_report_fp(r, list, "a", &fp);
	rig_report_fp(r, list, "b", &fp);
	rig_done(r, list, TROUBLE_NONE, false);
	rig_wait(r, RIG_SECOND);
	rig_run(r);
	assert_non_null(rig_find_look(r, "a"));
}

/* It was listed when it had been written. */
static void link_that_is_as_it_was_seen_is_not_sent_again(void **state)
{
	struct rig *r = *state;
	struct fingerprint fp = {
	        .mode = S_IFREG | 0644, .nlink = 2, .ino = 77, .size = 3, .ctime_ns = 5};

	ledger_confirm(r->ledger, BYTES("a"), &fp);
	put_link(r, "b", MARK_CONTENT, MARK_FRESH, &fp);
	rig_put(r, "b", MARK_DELETE, 0);
	assert_false(goes_with_its_content(r, "a"));
	assert_null(rig_find(r, "a"));
}

/* Sends `path` once, as it was known and with another time; whether it goes again, as content. */
static bool is_sent_again(struct rig *r, const char *path, const int64_t times[2])
{
	struct fingerprint fp = {
	        .mode = S_IFREG | 0644, .nlink = 1, .size = 3, .mtime_ns = times[0]};
	struct rig_batch *again;

	ledger_confirm(r->ledger, bytes_of(path), &fp);
	rig_put(r, path, MARK_QUICK, 0);
	rig_run(r);
	fp.mtime_ns = times[1];
	rig_report_fp(r, rig_find(r, path), path, &fp);
	rig_done(r, rig_find(r, path), TROUBLE_NONE, false);
	rig_wait(r, RIG_SECOND);
	again = rig_find(r, path);
	if (!again)
		return false;
	assert_int_equal(again->class, SESSION_CONTENT);
	rig_report_fp(r, again, path, &fp);
	rig_done(r, again, TROUBLE_NONE, false);
	return true;
}

/* To the receiver nothing has changed: the old protocol has whole seconds only. */
static void rewritten_within_a_second_is_sent_again_where_seconds_are_all_there_is(void **state)
{
	static const int64_t within[][2] = {{1500000000, 1900000000}, {-1, -999999999}};
	static const int64_t across[][2] = {{1900000000, 2100000000}, {-1, 1}};
	struct rig *r = *state;

	assert_false(is_sent_again(r, "a", within[0]));
	r->protocol = 30;
	for (int i = 0; i < 4; i++) /* by the sessions that were open before */
		assert_false(is_sent_again(r, "b", across[0]));
	assert_true(is_sent_again(r, "c", within[0]));
	assert_true(is_sent_again(r, "d", within[1]));
	assert_false(is_sent_again(r, "e", across[0]));
	assert_false(is_sent_again(r, "f", across[1]));
}

/* An older receiver, or one whose times are its own: nor is what it says of a name that it had from
 * somebody else, or from a session that broke off. */
static void quick_check_in_whole_seconds_is_not_believed(void **state)
{
	static const int64_t within[] = {1500000000, 1900000000};
	static const int64_t same[] = {1500000000, 1500000000};
	static const char *const paths[] = {"absent", "intended"};
	struct rig *r = *state;

	assert_false(is_sent_again(r, "a", within));
	engine_set_whole_seconds(r->engine);
	assert_true(is_sent_again(r, "b", within));
	assert_false(is_sent_again(r, "c", same));
	for (int i = 0; i < 2; i++) {
		struct fingerprint fp = {.mode = S_IFREG | 0644, .nlink = 1, .size = 3};
		struct bytes path = bytes_of(paths[i]);

		if (i == 1)
			ledger_intend(r->ledger, &path, 1);
		rig_put(r, paths[i], MARK_QUICK, MARK_FRESH);
		rig_run(r);
		rig_report_fp(r, rig_find(r, paths[i]), paths[i], &fp);
		rig_done(r, rig_find(r, paths[i]), TROUBLE_NONE, false);
		rig_wait(r, RIG_SECOND);
		assert_non_null(rig_find(r, paths[i]));
		assert_int_equal(rig_find(r, paths[i])->class, SESSION_CONTENT);
	}
}

static unsigned asked;
static void (*ask)(struct store *s, struct store_view *v, uint64_t dev, uint64_t ino,
                   bool (*fn)(struct bytes path, void *arg), void *arg);

static void count_asked(struct store *s, struct store_view *v, uint64_t dev, uint64_t ino,
                        bool (*fn)(struct bytes path, void *arg), void *arg)
{
	asked++;
	ask(s, v, dev, ino, fn, arg);
}

/* Of two groups in one list, whose names come in turn. */
static void names_of_an_inode_are_asked_for_once_a_list(void **state)
{
	struct rig *r = *state;
	struct mark m = {.action = MARK_CONTENT, .born = 1, .since_ns = r->now_ns};
	char path[16] = "";

	for (int i = 0; i < 40; i++) {
		m.link = 77 + i % 2;
		m.path = (struct bytes){path, (size_t)snprintf(path, sizeof(path), "name%d", i)};
		engine_marks(r->engine, &m, 1, r->now_ns);
	}
	ask = r->store->aliases;
	r->store->aliases = count_asked;
	asked = 0;
	rig_run(r);
	assert_non_null(rig_find(r, "name0"));
	assert_ptr_equal(rig_find(r, "name0"), rig_find(r, "name39"));
	assert_int_equal(asked, 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_make, rig_drop)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(name_of_an_inode_is_not_sent_without_those_confirmed_meanwhile),
	        cmocka_unit_test_setup_teardown(
	                batch_of_which_nothing_is_left_is_not_sent_for_its_stamps, rig_make_stamped,
	                rig_drop),
	        TEST(link_that_is_back_before_its_deletion_is_joined_with_the_others),
	        TEST(name_of_an_inode_waits_while_another_is_looked_at),
	        TEST(name_that_was_sent_without_its_links_is_joined_by_a_look_that_is_due),
	        TEST(link_whose_time_was_put_back_is_sent_again_with_its_content),
	        cmocka_unit_test(link_is_due_when_the_name_whose_time_was_put_back_leaves),
	        TEST(link_confirmed_meanwhile_is_due_when_the_name_that_was_written_leaves),
	        TEST(link_confirmed_meanwhile_is_due_when_what_was_under_way_was_written_and_left),
	        TEST(link_that_flies_with_what_was_written_and_left_goes_again),
	        TEST(link_that_flies_is_looked_at_when_the_name_that_was_changed_has_left),
	        TEST(link_that_is_as_it_was_seen_is_not_sent_again),
	        TEST(rewritten_within_a_second_is_sent_again_where_seconds_are_all_there_is),
	        TEST(quick_check_in_whole_seconds_is_not_believed),
	        TEST(names_of_an_inode_are_asked_for_once_a_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
