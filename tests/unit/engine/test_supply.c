/* Sessions opened ahead of need: how many, and how many at a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include "rig.h"

#define MS (RIG_SECOND / 1000)

static size_t opening(const struct rig *r)
{
	size_t n = 0;

	for (size_t i = 0; i < r->session_count; i++)
		n += !r->sessions[i].ready && !r->sessions[i].closed;
	return n;
}

/* The engine alone: sessions that it asks for stay in their opening. */
static void step(struct rig *r, int64_t ns)
{
	r->now_ns += ns;
	for (int i = 0; i < 8; i++)
		engine_run(r->engine, r->now_ns, true);
}

static void opened(struct rig *r)
{
	for (size_t i = 0; i < r->session_count; i++) {
		struct rig_session *s = &r->sessions[i];
		struct wire_ready m = {s->id, 31, 0};

		if (s->ready || s->closed)
			continue;
		s->ready = true;
		engine_session_ready(r->engine, &m, r->now_ns);
	}
	step(r, 0);
}

static void change(struct rig *r, const char *path)
{
	struct mark m = {.path = bytes_of(path),
	                 .action = MARK_QUICK,
	                 .flags = MARK_FRESH,
	                 .born = 1,
	                 .since_ns = r->now_ns};

	engine_marks(r->engine, &m, 1, r->now_ns);
	step(r, 0);
}

/* Changes that come `gap_ns` apart, through sessions that take `open_ns` until they are ready. */
static void change_often(struct rig *r, int64_t open_ns, int64_t gap_ns)
{
	char path[16];

	change(r, "first");
	for (int i = 0; i < 6; i++) {
		step(r, open_ns);
		opened(r);
		step(r, gap_ns);
		(void)snprintf(path, sizeof(path), "f%d", i);
		change(r, path);
		assert_true(opening(r) <= 2);
		rig_confirm_all(r);
	}
}

static void first_session_is_the_only_attempt(void **state)
{
	struct rig *r = *state;

	change(r, "a");
	assert_int_equal(opening(r), 1);
	change(r, "b");
	step(r, 100 * MS);
	assert_int_equal(opening(r), 1);
}

static void near_target_gets_one_attempt_at_a_time(void **state)
{
	struct rig *r = *state;

	change(r, "a");
	for (int i = 0; i < 4; i++) {
		step(r, 5 * MS);
		assert_true(opening(r) <= 1);
		opened(r);
		change(r, i % 2 ? "a" : "b");
	}
}

/* A change that found none to leave with keeps one more for those to come. */
static void over_a_long_line_two_are_opened_at_a_time(void **state)
{
	struct rig *r = *state;

	change(r, "a");
	step(r, 100 * MS);
	opened(r);
	assert_non_null(rig_find(r, "a"));
	assert_int_equal(opening(r), 1);
	change(r, "b");
	assert_null(rig_find(r, "b"));
	assert_int_equal(opening(r), 2);
	step(r, 100 * MS);
	opened(r);
	assert_non_null(rig_find(r, "b"));
	change(r, "c");
	assert_non_null(rig_find(r, "c"));
}

static void quiet_job_goes_back_to_the_sessions_that_were_asked_for(void **state)
{
	struct rig *r = *state;
	size_t before;

	change_often(r, 100 * MS, 10 * MS);
	step(r, 60 * RIG_SECOND);
	opened(r);
	before = r->session_count;
	for (int i = 0; i < 6; i++) {
		step(r, RIG_SECOND);
		opened(r);
	}
	assert_int_equal(r->session_count, before);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_make, rig_drop)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(first_session_is_the_only_attempt),
	        TEST(near_target_gets_one_attempt_at_a_time),
	        TEST(over_a_long_line_two_are_opened_at_a_time),
	        TEST(quiet_job_goes_back_to_the_sessions_that_were_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
