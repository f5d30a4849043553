/* Deletions that the brake would hold, and what may still make up for them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include <sys/stat.h>
#include "rig.h"

/* Names are letters: those of `names` one by one. More than two of ten are a mass. */
static int make(void **state)
{
	struct rig *r = rig_new();

	r->config.brake = (struct brake_limits){.files = 2, .percent = 10, .absolute = 100};
	rig_start(r);
	*state = r;
	return 0;
}

static void name_of(char *out, const char *dir, char letter)
{
	size_t n = strlen(dir);

	memcpy(out, dir, n);
	out[n] = letter;
	out[n + 1] = '\0';
}

/* The target has them. */
static void hold(struct rig *r, const char *dir, const char *names)
{
	const struct fingerprint fp = {.mode = S_IFREG | 0644, .nlink = 1, .size = 3};
	char path[16];

	for (; *names; names++) {
		name_of(path, dir, *names);
		ledger_confirm(r->ledger, bytes_of(path), &fp);
	}
	rig_run(r);
}

/* As marks that were made a minute ago, or just now. */
static void put_all(struct rig *r, const char *dir, const char *names, enum mark_action action,
                    unsigned flags, int64_t since_ns)
{
	char path[16];

	for (; *names; names++) {
		struct mark m = {.path = {path, 0},
		                 .action = action,
		                 .flags = flags,
		                 .born = 1,
		                 .since_ns = since_ns};

		name_of(path, dir, *names);
		m.path.n = strlen(path);
		engine_marks(r->engine, &m, 1, r->now_ns);
	}
}

static void delete (struct rig *r, const char *names)
{
	put_all(r, "", names, MARK_DELETE, 0, r->now_ns - 60 * RIG_SECOND);
}

static void create(struct rig *r, const char *names)
{
	put_all(r, "", names, MARK_QUICK, MARK_FRESH, r->now_ns - 60 * RIG_SECOND);
	rig_run(r);
	assert_non_null(rig_find(r, (char[2]){*names}));
}

static size_t held(struct rig *r)
{
	struct engine_status s;

	engine_status(r->engine, &s, r->now_ns);
	return s.held;
}

static void assert_waits(struct rig *r, const char *names)
{
	for (; *names; names++) {
		assert_null(rig_find(r, (char[2]){*names}));
		assert_true(rig_belief(r, (char[2]){*names}) & LEDGER_CONFIRMED);
	}
	assert_int_equal(held(r), 0);
}

static void assert_goes(struct rig *r, const char *names)
{
	for (int i = 0; i < 4; i++) {
		rig_wait(r, 2 * RIG_SECOND);
		rig_looked(r);
		rig_confirm_all(r);
	}
	for (; *names; names++)
		assert_int_equal(rig_belief(r, (char[2]){*names}), LEDGER_ABSENT);
	assert_int_equal(held(r), 0);
}

/* They were gone here before their turn came. */
static void vanish(struct rig *r, const char *names)
{
	struct rig_batch *b = rig_find(r, (char[2]){*names});

	for (; *names; names++)
		assert_int_equal(rig_report(r, b, (char[2]){*names}, WIRE_VANISHED), 0);
	rig_done(r, b, TROUBLE_NONE, false);
	rig_wait(r, 2 * RIG_SECOND);
	rig_looked(r);
}

static void names_that_never_arrived_were_no_peak(void **state)
{
	struct rig *r = *state;

	hold(r, "", "abcde");
	create(r, "vwxyz");
	vanish(r, "vwxyz");
	delete (r, "a");
	assert_goes(r, "a");
}

static void deletions_wait_while_more_is_owed(void **state)
{
	struct rig *r = *state;

	hold(r, "", "abcdefghij");
	engine_set_owed(r->engine, 5); /* a to e */
	create(r, "pqrst");
	rig_confirm_all(r);
	delete (r, "abcde");
	engine_set_owed(r->engine, 5); /* f to j: their new names are not marked yet */
	rig_wait(r, 2 * RIG_SECOND);
	assert_waits(r, "abcde");
	create(r, "uvwxy");
	delete (r, "fghij");
	engine_set_owed(r->engine, 0);
	rig_wait(r, 2 * RIG_SECOND);
	assert_waits(r, "abcdefghij");
	rig_confirm_all(r);
	assert_goes(r, "abcdefghij");
}

static void deletions_wait_for_what_is_looked_at(void **state)
{
	struct mark n = {.path = BYTES("n"), .scope = MARK_SUBTREE, .action = MARK_LOOK};
	struct rig *r = *state;

	hold(r, "", "abcde");
	delete (r, "abcde");
	engine_marks(r->engine, &n, 1, r->now_ns);
	rig_wait(r, 2 * RIG_SECOND);
	assert_non_null(rig_find_look(r, "n"));
	assert_waits(r, "abcde");
	create(r, "vwxyz");
	rig_looked(r);
	rig_wait(r, 2 * RIG_SECOND);
	assert_waits(r, "abcde");
	rig_confirm_all(r);
	assert_goes(r, "abcde");
}

/* That it is gone was read a moment before what it has become. */
static void deletion_that_is_news_waits_for_more_of_it(void **state)
{
	struct rig *r = *state;

	hold(r, "", "abcde");
	put_all(r, "", "abcde", MARK_DELETE, 0, r->now_ns);
	rig_wait(r, RIG_SECOND / 2);
	assert_waits(r, "abcde");
	create(r, "vwxyz");
	rig_confirm_all(r);
	assert_goes(r, "abcde");
}

static void deletions_do_not_wait_for_what_waits_for_them(void **state)
{
	struct rig *r = *state;

	hold(r, "d/", "abcde");
	put_all(r, "d/", "abcde", MARK_DELETE, 0, r->now_ns - 60 * RIG_SECOND);
	put_all(r, "", "d", MARK_QUICK, MARK_RETYPED, r->now_ns - 60 * RIG_SECOND);
	rig_wait(r, 2 * RIG_SECOND);
	assert_int_equal(held(r), 5);
}

static void deletions_do_not_wait_for_what_cannot_make_up_for_them(void **state)
{
	struct rig *r = *state;

	hold(r, "", "abcdefghij");
	create(r, "z");
	delete (r, "abcde");
	rig_wait(r, RIG_SECOND);
	assert_int_equal(held(r), 5);
}

static void deletions_wait_for_creations_for_a_minute_without_progress(void **state)
{
	struct rig *r = *state;

	hold(r, "", "abcde");
	create(r, "vwxyz");
	delete (r, "abcde");
	rig_run(r);
	rig_wait(r, 59 * RIG_SECOND);
	assert_waits(r, "abcde");
	rig_wait(r, 2 * RIG_SECOND);
	assert_int_equal(held(r), 5);
}

static void deletions_wait_as_long_as_creations_get_on(void **state)
{
	struct rig *r = *state;
	struct rig_batch *b;

	hold(r, "", "abcde");
	create(r, "vwxyz");
	b = rig_find(r, "v");
	delete (r, "abcde");
	rig_run(r);
	for (int i = 0; i < 3; i++) {
		rig_wait(r, 40 * RIG_SECOND);
		assert_waits(r, "abcde");
		assert_int_equal(rig_report(r, b, (char[2]){"vwx"[i]}, WIRE_ACKED), 0);
		rig_run(r);
	}
	rig_wait(r, RIG_SECOND);
	assert_non_null(rig_find(r, "a")); /* two are left, which may go */
	assert_int_equal(held(r), 0);
}

/* The first time it came to nothing: they were back. */
static void deletions_wait_anew_each_time(void **state)
{
	struct rig *r = *state;

	hold(r, "", "abcde");
	create(r, "vwxyz");
	delete (r, "abcde");
	rig_wait(r, RIG_SECOND);
	put_all(r, "", "abcde", MARK_LOOK, MARK_IF_PENDING, r->now_ns);
	rig_run(r);
	rig_looked(r);
	vanish(r, "vwxyz");
	rig_wait(r, 100 * RIG_SECOND);
	create(r, "klmno");
	delete (r, "abcde");
	rig_wait(r, 2 * RIG_SECOND);
	assert_waits(r, "abcde");
	rig_confirm_all(r);
	assert_goes(r, "abcde");
}

static void name_that_is_back_is_looked_at_only_when_it_was_to_go(void **state)
{
	struct rig *r = *state;

	hold(r, "", "ab");
	delete (r, "a");
	put_all(r, "", "abc", MARK_LOOK, MARK_IF_PENDING, r->now_ns);
	rig_run(r);
	assert_non_null(rig_find_look(r, "a"));
	assert_null(rig_find_look(r, "b"));
	assert_null(rig_find_look(r, "c"));
	assert_null(rig_find(r, "a"));
}

static void deletion_of_what_the_target_does_not_have_is_no_loss(void **state)
{
	struct rig *r = *state;

	hold(r, "", "abcde");
	delete (r, "avwx");
	assert_goes(r, "a");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, make, rig_drop)
	const struct CMUnitTest tests[] = {
	        TEST(names_that_never_arrived_were_no_peak),
	        TEST(deletions_wait_while_more_is_owed),
	        TEST(deletions_wait_for_what_is_looked_at),
	        TEST(deletion_that_is_news_waits_for_more_of_it),
	        TEST(deletions_do_not_wait_for_what_waits_for_them),
	        TEST(deletions_do_not_wait_for_what_cannot_make_up_for_them),
	        TEST(deletions_wait_for_creations_for_a_minute_without_progress),
	        TEST(deletions_wait_as_long_as_creations_get_on),
	        TEST(deletions_wait_anew_each_time),
	        TEST(name_that_is_back_is_looked_at_only_when_it_was_to_go),
	        TEST(deletion_of_what_the_target_does_not_have_is_no_loss),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
