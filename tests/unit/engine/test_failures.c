/* Items that fail by themselves: what is listed, what is counted, and when they are tried again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "rig.h"

static void refuse(struct rig *r, const char *path)
{
	struct rig_batch *b = rig_find(r, path);

	assert_non_null(b);
	assert_int_equal(rig_report(r, b, path, WIRE_FAILED), 0);
	rig_done(r, b, TROUBLE_NONE, false);
}

static size_t failed(struct rig *r)
{
	struct engine_status status;

	engine_status(r->engine, &status, r->now_ns);
	return status.failed;
}

static bool take_failure(const struct engine_failure *f, void *arg)
{
	assert_true(bytes_equal(f->path, BYTES("a")));
	assert_string_equal(f->text, "the server's words");
	++*(unsigned *)arg;
	return true;
}

static void failed_item_is_listed_and_tried_again(void **state)
{
	struct rig *r = *state;
	unsigned failures = 0;

	rig_put(r, "a", MARK_QUICK, MARK_FRESH);
	rig_report(r, rig_find(r, "a"), "a", WIRE_FAILED);
	rig_done(r, rig_find(r, "a"), TROUBLE_NONE, false);
	engine_each_failure(r->engine, take_failure, &failures);
	assert_int_equal(failures, 1);
	assert_int_equal(engine_settled(r->engine, 1, r->now_ns), ENGINE_STUCK);
	rig_wait(r, 5 * RIG_SECOND);
	assert_non_null(rig_find_look(r, "a"));
	rig_put(r, "a", MARK_QUICK, MARK_FRESH);
	rig_looked(r);
	rig_wait(r, RIG_SECOND);
	rig_confirm_all(r);
	assert_int_equal(engine_settled(r->engine, 1, r->now_ns), ENGINE_SETTLED);
}

/* Changed while it was on its way: both flights fail before it is due. */
static void item_that_fails_twice_before_its_retry_is_counted_once(void **state)
{
	struct rig *r = *state;

	rig_put(r, "a", MARK_QUICK, MARK_FRESH);
	rig_put(r, "a", MARK_QUICK, MARK_FRESH);
	refuse(r, "a");
	rig_wait(r, RIG_SECOND / 10);
	refuse(r, "a");
	rig_wait(r, RIG_SECOND / 10);
	assert_null(rig_find(r, "a"));
	assert_int_equal(failed(r), 1);
	assert_int_equal(engine_settled(r->engine, 1, r->now_ns), ENGINE_STUCK);
	rig_put(r, "a", MARK_QUICK, MARK_FRESH);
	rig_wait(r, RIG_SECOND);
	rig_confirm_all(r);
	assert_int_equal(failed(r), 0);
	assert_int_equal(engine_settled(r->engine, 1, r->now_ns), ENGINE_SETTLED);
}

static const struct fingerprint linked = {.mode = S_IFREG | 0644, .nlink = 2, .ino = 77, .size = 3};

static void put_linked(struct rig *r, const char *path, enum mark_action action, uint64_t link)
{
	struct mark m = {.path = bytes_of(path),
	                 .action = action,
	                 .born = 1,
	                 .since_ns = r->now_ns,
	                 .link = link};

	engine_marks(r->engine, &m, 1, r->now_ns);
}

static void confirm_linked(struct rig *r, const char *path)
{
	struct rig_batch *b = rig_find(r, path);

	assert_non_null(b);
	assert_int_equal(rig_report_fp(r, b, path, &linked), 0);
	rig_done(r, b, TROUBLE_NONE, false);
}

/* What is sent of the inode meanwhile goes without it; its own retry takes the others along. */
static void link_that_fails_waits_for_its_retry_whatever_becomes_of_the_others(void **state)
{
	struct rig *r = *state;
	struct rig_batch *b;

	ledger_confirm(r->ledger, BYTES("a"), &linked);
	ledger_confirm(r->ledger, BYTES("b"), &linked);
	put_linked(r, "a", MARK_CONTENT, 77);
	put_linked(r, "b", MARK_CONTENT, 77);
	rig_run(r);
	b = rig_find(r, "b");
	assert_int_equal(rig_report_fp(r, b, "a", &linked), 0);
	refuse(r, "b");
	put_linked(r, "a", MARK_CONTENT, 77);
	rig_wait(r, RIG_SECOND / 10);
	assert_null(rig_find(r, "b"));
	confirm_linked(r, "a");
	/* Another link was found only when it was sent: all names are due. */
	put_linked(r, "a", MARK_QUICK, 0);
	rig_wait(r, RIG_SECOND / 10);
	confirm_linked(r, "a");
	rig_wait(r, RIG_SECOND / 10);
	assert_null(rig_find(r, "b"));
	confirm_linked(r, "a");
	assert_null(rig_find_look(r, "b"));
	assert_int_equal(failed(r), 1);
	assert_int_equal(engine_settled(r->engine, 1, r->now_ns), ENGINE_STUCK);

	rig_wait(r, 5 * RIG_SECOND);
	assert_non_null(rig_find_look(r, "b"));
	put_linked(r, "b", MARK_CONTENT, 77);
	rig_looked(r);
	rig_wait(r, RIG_SECOND);
	assert_non_null(rig_find(r, "b"));
	assert_ptr_equal(rig_find(r, "b"), rig_find(r, "a"));
	assert_int_equal(rig_report_fp(r, rig_find(r, "b"), "a", &linked), 0);
	confirm_linked(r, "b");
	assert_int_equal(failed(r), 0);
	assert_int_equal(engine_settled(r->engine, 1, r->now_ns), ENGINE_SETTLED);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_make, rig_drop)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(failed_item_is_listed_and_tried_again),
	        TEST(item_that_fails_twice_before_its_retry_is_counted_once),
	        TEST(link_that_fails_waits_for_its_retry_whatever_becomes_of_the_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
