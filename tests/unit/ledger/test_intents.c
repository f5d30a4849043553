#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>
#include "base/mem.h"
#include "ledger/store.h"
#include "scratch.h"

static struct intent_log *open_log(const char *dir, bool expect_found)
{
	struct intent_log *log;
	struct err err = {0};
	bool found;

	assert_int_equal(intents_open(&log, dir, &found, &err), 0);
	assert_int_equal(found, expect_found);
	return log;
}

static bool gather(struct bytes path, void *arg)
{
	struct buf *out = arg;

	buf_add_bytes(out, path);
	buf_add_u8(out, '|');
	return true;
}

static void assert_names(struct intent_log *log, const char *expected)
{
	struct buf out;

	buf_init(&out, 1u << 20);
	log->each(log, gather, &out);
	buf_add_u8(&out, '\0');
	assert_string_equal(out.p, expected);
	buf_done(&out);
}

static void append(struct intent_log *log, const char *path)
{
	struct bytes b = bytes_of(path);

	assert_int_equal(log->append(log, &b, 1), 0);
}

static void intents_appended_survive_reopening(void **state)
{
	struct bytes batch[] = {BYTES("a"), BYTES("b/\xff\n"), BYTES("")};
	char *dir = scratch_make();
	struct intent_log *log = open_log(dir, false);

	(void)state;
	assert_int_equal(log->append(log, batch, 3), 0);
	append(log, "c");
	log->close(log);
	log = open_log(dir, true);
	assert_names(log, "a|b/\xff\n||c|");
	append(log, "d");
	assert_names(log, "a|b/\xff\n||c|d|");
	log->close(log);
	scratch_remove(dir);
}

static void intents_after_a_commit_keeps_only_newer_names(void **state)
{
	char *dir = scratch_make();
	struct intent_log *log = open_log(dir, false);

	(void)state;
	append(log, "old");
	assert_int_equal(log->switch_over(log), 0);
	append(log, "new");
	assert_names(log, "old|new|");
	assert_int_equal(log->discard_old(log), 0);
	assert_names(log, "new|");
	log->close(log);
	scratch_remove(dir);
}

static void intents_both_files_full_at_open_loses_nothing_by_switching(void **state)
{
	char *dir = scratch_make();
	struct intent_log *log = open_log(dir, false);

	(void)state;
	append(log, "a");
	assert_int_equal(log->switch_over(log), 0);
	append(log, "b");
	log->close(log);
	log = open_log(dir, true);
	assert_int_equal(log->switch_over(log), 0);
	append(log, "c");
	assert_names(log, "a|c|b|");
	assert_int_equal(log->discard_old(log), 0);
	assert_names(log, "a|c|");
	assert_int_equal(log->switch_over(log), 0);
	append(log, "d");
	assert_int_equal(log->discard_old(log), 0);
	assert_names(log, "d|");
	log->close(log);
	scratch_remove(dir);
}

static void intents_torn_at_any_byte_keeps_the_whole_records(void **state)
{
	char *dir = scratch_make();
	struct intent_log *log = open_log(dir, false);
	struct buf text;

	(void)state;
	append(log, "first");
	append(log, "second/name");
	append(log, "third");
	log->close(log);
	buf_init(&text, 1u << 20);
	scratch_read(dir, "intents.0", &text);
	assert_int_equal(text.n, 11 + 17 + 11);
	for (size_t n = 1; n <= text.n; n++) {
		scratch_write(dir, "intents.0", (struct bytes){text.p, n});
		log = open_log(dir, true);
		append(log, "next");
		assert_names(log, n < 11        ? "next|"
		                  : n < 11 + 17 ? "first|next|"
		                  : n < text.n  ? "first|second/name|next|"
		                                : "first|second/name|third|next|");
		log->close(log);
	}
	buf_done(&text);
	scratch_remove(dir);
}

static bool count(struct bytes path, void *arg)
{
	(void)path;
	++*(size_t *)arg;
	return true;
}

static void intents_flipped_at_any_byte_loses_only_that_record(void **state)
{
	char *dir = scratch_make();
	struct intent_log *log = open_log(dir, false);
	struct buf text;

	(void)state;
	append(log, "first");
	append(log, "second/name");
	append(log, "third");
	log->close(log);
	buf_init(&text, 1u << 20);
	scratch_read(dir, "intents.0", &text);
	for (size_t i = 0; i < text.n; i++) {
		size_t names = 0;

		text.p[i] = (char)(text.p[i] ^ (1 << (i % 8)));
		scratch_write(dir, "intents.0", buf_bytes(&text));
		log = open_log(dir, true);
		log->each(log, count, &names);
		assert_int_equal(names, 2);
		log->close(log);
		text.p[i] = (char)(text.p[i] ^ (1 << (i % 8)));
	}
	buf_done(&text);
	scratch_remove(dir);
}

static void intents_garbage_file_holds_nothing(void **state)
{
	char *dir = scratch_make();
	struct intent_log *log;
	char garbage[5000];

	(void)state;
	for (size_t i = 0; i < sizeof(garbage); i++)
		garbage[i] = (char)(i * i * 31 >> 3);
	scratch_write(dir, "intents.0", (struct bytes){garbage, sizeof(garbage)});
	memset(garbage, 0, sizeof(garbage));
	scratch_write(dir, "intents.1", (struct bytes){garbage, sizeof(garbage)});
	log = open_log(dir, true);
	assert_names(log, "");
	append(log, "a");
	assert_names(log, "a|");
	log->close(log);
	scratch_remove(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(intents_appended_survive_reopening),
	        cmocka_unit_test(intents_after_a_commit_keeps_only_newer_names),
	        cmocka_unit_test(intents_both_files_full_at_open_loses_nothing_by_switching),
	        cmocka_unit_test(intents_torn_at_any_byte_keeps_the_whole_records),
	        cmocka_unit_test(intents_flipped_at_any_byte_loses_only_that_record),
	        cmocka_unit_test(intents_garbage_file_holds_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
