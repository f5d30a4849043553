/* The status JSON and what a person or a monitor sees of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "cli/show.h"
#include "daemon/status.h"

#define S INT64_C(1000000000)

static struct status_tree tree;
static struct status_job job;
static struct status_input input;

static int set_up(void **state)
{
	(void)state;
	tree = (struct status_tree){.name = "main", .root = "/srv/100%\xff", .health = SOURCE_LIVE};
	job = (struct status_job){.name = "main.1", .tree = "main", .target = "b1::up"};
	job.engine.state = ENGINE_IS_LIVE;
	job.engine.last_confirmed_ns = 98 * S;
	input = (struct status_input){
	        .instance = "main",
	        .pid = 7,
	        .started_wall_ns = 1700000000 * S,
	        .now_ns = 100 * S,
	        .now_wall_ns = 1700000100 * S + 250000000,
	        .trees = &tree,
	        .tree_count = 1,
	        .jobs = &job,
	        .job_count = 1,
	};
	return 0;
}

static json_t *first_job(json_t *status)
{
	return json_array_get(json_object_get(status, "jobs"), 0);
}

static void json_names_survive_and_times_are_iso(void **state)
{
	json_t *status = status_json(&input), *j = first_job(status);

	(void)state;
	assert_string_equal(json_string_value(json_object_get(status, "started")),
	                    "2023-11-14T22:13:20.000Z");
	assert_string_equal(json_string_value(json_object_get(status, "now")),
	                    "2023-11-14T22:15:00.250Z");
	assert_string_equal(json_string_value(json_object_get(
	                            json_array_get(json_object_get(status, "trees"), 0), "root")),
	                    "/srv/100%25%FF");
	assert_string_equal(json_string_value(json_object_get(j, "state")), "live");
	assert_string_equal(json_string_value(json_object_get(j, "last_confirmed")),
	                    "2023-11-14T22:14:58.250Z");
	assert_true(json_is_null(json_object_get(j, "trouble")));
	assert_true(json_is_null(json_object_get(j, "retry_in_ms")));
	assert_true(json_is_null(json_object_get(j, "progress")));
	assert_true(json_is_null(json_object_get(j, "compress")));
	assert_int_equal(json_integer_value(json_object_get(j, "extras")), 0);
	json_decref(status);
}

static void extras_that_were_never_counted_are_null(void **state)
{
	json_t *status;

	(void)state;
	job.extras = UINT64_MAX;
	status = status_json(&input);
	assert_true(json_is_null(json_object_get(first_job(status), "extras")));
	json_decref(status);
}

static void json_first_sync_has_progress(void **state)
{
	json_t *status, *progress;

	(void)state;
	job.engine.state = ENGINE_FIRST_SYNC;
	job.engine.confirmed = 250;
	job.sync_began_ns = 90 * S;
	status = status_json(&input);
	progress = json_object_get(first_job(status), "progress");
	assert_true(json_is_null(json_object_get(progress, "percent")));
	json_decref(status);
	job.sync_total = 1000;
	status = status_json(&input);
	progress = json_object_get(first_job(status), "progress");
	assert_true(json_real_value(json_object_get(progress, "percent")) == 25.0);
	assert_int_equal(json_integer_value(json_object_get(progress, "eta_s")), 30);
	json_decref(status);
}

static void json_cut_text_stays_valid(void **state)
{
	json_t *status;

	(void)state;
	(void)snprintf(job.engine.text, sizeof(job.engine.text), "full: caf\xc3");
	status = status_json(&input);
	assert_string_equal(json_string_value(json_object_get(first_job(status), "text")),
	                    "full: caf");
	json_decref(status);
}

static void json_failure_and_hold_name_their_paths(void **state)
{
	struct bytes paths[] = {BYTES("a\nb"), BYTES("c")};
	struct engine_hold hold = {
	        .id = 3, .rule = "too many", .count = 2, .paths = paths, .since_ns = 99 * S};
	struct engine_failure failure = {
	        .path = BYTES("x"), .text = "denied", .source_side = true, .retry_ns = 105 * S};
	json_t *h = status_hold_json("main.1", &hold, input.now_ns, input.now_wall_ns);
	json_t *f = status_failure_json("main.1", &failure, input.now_ns);

	(void)state;
	assert_string_equal(json_string_value(json_array_get(json_object_get(h, "paths"), 0)),
	                    "a%0Ab");
	assert_string_equal(json_string_value(json_object_get(h, "since")),
	                    "2023-11-14T22:14:59.250Z");
	assert_string_equal(json_string_value(json_object_get(f, "side")), "source");
	assert_int_equal(json_integer_value(json_object_get(f, "retry_in_ms")), 5000);
	json_decref(h);
	json_decref(f);
}

/* The text of one picture; by malloc. */
static char *picture(json_t *previous, double seconds)
{
	json_t *status = status_json(&input);
	struct buf out;
	char *text;

	buf_init(&out, 1 << 16);
	show_status(&out, status, previous, seconds);
	text = mem_dup(out.p, out.n);
	buf_done(&out);
	json_decref(status);
	return text;
}

static void table_fits_eighty_columns(void **state)
{
	autofree char *text = NULL;

	(void)state;
	job.engine.state = ENGINE_CONNECTING;
	job.engine.lag_ns = 3000 * S;
	job.engine.pending = 12345678;
	job.engine.pending_bytes = UINT64_C(123456789012);
	job.engine.bytes_out = UINT64_C(999000000000000);
	job.engine.last_confirmed_ns = 1;
	text = picture(NULL, 0);
	for (const char *line = text; *line; line += strcspn(line, "\n") + 1)
		assert_true(strcspn(line, "\n") <= 80);
	assert_non_null(strstr(text, "50m00s"));
	assert_non_null(strstr(text, "12345678"));
}

static void table_tells_trouble_and_rate(void **state)
{
	json_t *before = status_json(&input);
	autofree char *text = NULL;

	(void)state;
	job.engine.state = ENGINE_RETRYING;
	job.engine.trouble = TROUBLE_FULL;
	(void)snprintf(job.engine.text, sizeof(job.engine.text), "No space left on device (28)");
	job.engine.retry_ns = 103 * S;
	job.engine.bytes_out = 4 << 20;
	tree.health = SOURCE_FROZEN;
	tree.text = "not mounted";
	text = picture(before, 2.0);
	assert_non_null(strstr(text, "full: No space left on device (28); next try in 3.0s"));
	assert_non_null(strstr(text, "2.0M/s"));
	assert_non_null(strstr(text, "tree main is frozen: not mounted"));
	json_decref(before);
}

static int verdict_of(struct show_limits limits, const char *part)
{
	json_t *status = status_json(&input);
	struct buf out;
	int level;

	buf_init(&out, 1 << 16);
	level = show_check(&out, status, limits);
	buf_add(&out, "", 1);
	if (!strstr(out.p, part))
		fail_msg("%s: no \"%s\"", out.p, part);
	assert_ptr_equal(strchr(out.p, '|'), strrchr(out.p, '|'));
	buf_done(&out);
	json_decref(status);
	return level;
}

static int verdict(const char *part)
{
	return verdict_of((struct show_limits){30000, 300000}, part);
}

/* A build that asks for the warning's limit first takes `--lag-crit 10s` alone for no limit. */
static void monitoring_critical_below_warning_is_critical(void **state)
{
	(void)state;
	job.engine.lag_ns = 15 * S;
	assert_int_equal(verdict_of((struct show_limits){30000, 10000}, "main.1 lags"), 2);
}

static void monitoring_levels_follow_lag_and_state(void **state)
{
	(void)state;
	assert_int_equal(verdict("LOCKSTEP OK - 1 jobs, worst lag 0ms |"), 0);
	job.engine.lag_ns = 30 * S;
	assert_int_equal(verdict("LOCKSTEP WARNING"), 1);
	job.engine.lag_ns = 300 * S;
	assert_int_equal(verdict("LOCKSTEP CRITICAL"), 2);
	job.engine.lag_ns = 0;
	job.engine.failed = 1;
	assert_int_equal(verdict("main.1 has 1 failed, 0 held"), 1);
	job.engine.failed = 0;
	job.engine.state = ENGINE_PAUSED;
	(void)snprintf(job.engine.text, sizeof(job.engine.text), "a|b");
	assert_int_equal(verdict("main.1 is paused: a/b"), 1);
	job.engine.state = ENGINE_IS_LIVE;
	tree.health = SOURCE_FROZEN;
	assert_int_equal(verdict("tree main is frozen"), 2);
}

#define TEST(fn) cmocka_unit_test_setup(fn, set_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(json_names_survive_and_times_are_iso),
	        TEST(extras_that_were_never_counted_are_null),
	        TEST(json_first_sync_has_progress),
	        TEST(json_cut_text_stays_valid),
	        TEST(json_failure_and_hold_name_their_paths),
	        TEST(table_fits_eighty_columns),
	        TEST(table_tells_trouble_and_rate),
	        TEST(monitoring_levels_follow_lag_and_state),
	        TEST(monitoring_critical_below_warning_is_critical),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
