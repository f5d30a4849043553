#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <regex.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/path.h"

struct place {
	char dir[64];
	char *file;
};

static int make_place(void **state)
{
	struct place *p = mem_alloc(sizeof(*p));

	(void)snprintf(p->dir, sizeof(p->dir), "/tmp/test_log.XXXXXX");
	if (!mkdtemp(p->dir))
		return -1;
	p->file = mem_printf("%s/log", p->dir);
	*state = p;
	return 0;
}

static int drop_place(void **state)
{
	struct place *p = *state;
	autofree char *moved = mem_printf("%s.1", p->file);

	(void)log_open(NULL, LOG_INFO, NULL);
	(void)unlink(p->file);
	(void)unlink(moved);
	(void)rmdir(p->dir);
	free(p->file);
	free(p);
	return 0;
}

static char *file_text(const char *file)
{
	struct buf text;
	struct err err;

	buf_init(&text, 0);
	assert_int_equal(fd_read_file(file, 1 << 20, &text, &err), 0);
	char *s = mem_dup(text.p, text.n);

	buf_done(&text);
	return s;
}

static void log_event_line_has_documented_form(void **state)
{
	struct place *p = *state;
	struct stat st;
	regex_t form;

	assert_int_equal(log_open(p->file, LOG_INFO, NULL), 0);
	log_event(LOG_WARN, "target.full", "job=%s free=%d no room", "backup1", 0);
	autofree char *text = file_text(p->file);
	assert_int_equal(regcomp(&form,
	                         "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}"
	                         "[.][0-9]{3}Z warn target.full job=backup1 free=0 no room\n$",
	                         REG_EXTENDED | REG_NOSUB),
	                 0);
	assert_int_equal(regexec(&form, text, 0, NULL, 0), 0);
	regfree(&form);
	assert_int_equal(stat(p->file, &st), 0);
	assert_int_equal(st.st_mode & 037, 0);
}

static void log_event_below_level_left_out(void **state)
{
	struct place *p = *state;

	assert_int_equal(log_open(p->file, LOG_WARN, NULL), 0);
	log_event(LOG_INFO, "x.info", "%s", "");
	autofree char *text = file_text(p->file);
	assert_string_equal(text, "");
	log_set_level(LOG_DEBUG);
	log_event(LOG_DEBUG, "x.debug", "%s", "");
	autofree char *more = file_text(p->file);
	assert_non_null(strstr(more, " debug x.debug\n"));
}

static void log_event_control_bytes_cannot_forge_a_line(void **state)
{
	struct place *p = *state;

	assert_int_equal(log_open(p->file, LOG_INFO, NULL), 0);
	log_event(LOG_INFO, "x", "path=%s", "a\n2026 error forged\x1b[1m\x7f");
	autofree char *text = file_text(p->file);
	assert_non_null(strstr(text, "path=a\\x0a2026 error forged\\x1b[1m\\x7f\n"));
	assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
}

static void log_event_long_text_one_cut_line(void **state)
{
	struct place *p = *state;
	autofree char *name = mem_alloc(10000);

	memset(name, '\x01', 9999);
	assert_int_equal(log_open(p->file, LOG_INFO, NULL), 0);
	log_event(LOG_INFO, "x", "%s", name);
	autofree char *text = file_text(p->file);
	assert_true(strlen(text) <= 4096);
	assert_int_equal(text[strlen(text) - 1], '\n');
}

static void log_quote_values_with_blanks_quoted(void **state)
{
	(void)state;
	assert_string_equal(log_quote("plain"), "plain");
	assert_string_equal(log_quote(""), "\"\"");
	assert_string_equal(log_quote("a b"), "\"a b\"");
	assert_string_equal(log_quote("a=b"), "\"a=b\"");
	assert_string_equal(log_quote("\" x=\""), "\"\\x22 x=\\x22\"");
}

static void log_reopen_after_rotation_writes_new_file(void **state)
{
	struct place *p = *state;
	autofree char *moved = mem_printf("%s.1", p->file);

	assert_int_equal(log_open(p->file, LOG_INFO, NULL), 0);
	log_event(LOG_INFO, "first", "%s", "");
	assert_int_equal(rename(p->file, moved), 0);
	log_event(LOG_INFO, "second", "%s", "");
	assert_int_equal(log_reopen(NULL), 0);
	log_event(LOG_INFO, "third", "%s", "");
	autofree char *old = file_text(moved), *new = file_text(p->file);
	assert_non_null(strstr(old, "first"));
	assert_non_null(strstr(old, "second"));
	assert_null(strstr(old, "third"));
	assert_non_null(strstr(new, "third"));
}

static void log_reopen_failure_keeps_old_file(void **state)
{
	struct place *p = *state;
	autofree char *moved = mem_printf("%s.1", p->file);
	struct err err;

	assert_int_equal(log_open(p->file, LOG_INFO, NULL), 0);
	assert_int_equal(rename(p->file, moved), 0);
	assert_int_equal(symlink("/dev/null", p->file), 0);
	assert_int_equal(log_reopen(&err), -ELOOP);
	assert_non_null(strstr(err.text, "cannot open log file"));
	log_event(LOG_INFO, "kept", "%s", "");
	autofree char *old = file_text(moved);
	assert_non_null(strstr(old, "kept"));
}

static void log_open_directory_refused(void **state)
{
	struct place *p = *state;
	struct err err;

	assert_true(log_open(p->dir, LOG_INFO, &err) < 0);
	assert_int_equal(err.code, EISDIR);
}

static void log_level_parse_known_words_only(void **state)
{
	enum log_level level;

	(void)state;
	assert_int_equal(log_level_parse("warn", &level), 0);
	assert_int_equal(level, LOG_WARN);
	assert_int_equal(log_level_parse("debug", &level), 0);
	assert_int_equal(level, LOG_DEBUG);
	assert_int_equal(log_level_parse("loud", &level), -EINVAL);
}

static void write_through_pipe(int keep_reader, struct buf *seen)
{
	int ends[2], saved = dup(STDERR_FILENO);
	char text[8192];

	assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
	assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
	struct stat st;
	assert_int_equal(fstat(STDERR_FILENO, &st), 0);
	autofree char *stream = mem_printf("%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	assert_int_equal(setenv("JOURNAL_STREAM", stream, 1), 0);
	assert_int_equal(log_open(NULL, LOG_INFO, NULL), 0);
	if (keep_reader) {
		log_event(LOG_WARN, "x.y", "%s", "words");
	} else {
		/* Full: nobody reads. */
		for (int i = 0; i < 100000 && log_dropped() == 0; i++)
			log_event(LOG_INFO, "x.y", "%s", "words");
	}
	ssize_t n = read(ends[0], text, sizeof(text));
	assert_true(n > 0);
	buf_add(seen, text, (size_t)n);
	assert_true(dup2(saved, STDERR_FILENO) >= 0);
	(void)close(saved);
	(void)close(ends[0]);
	(void)close(ends[1]);
	assert_int_equal(unsetenv("JOURNAL_STREAM"), 0);
	assert_int_equal(log_open(NULL, LOG_INFO, NULL), 0);
}

static void log_event_under_journal_has_priority_and_no_time(void **state)
{
	struct buf seen;

	(void)state;
	buf_init(&seen, 10000);
	write_through_pipe(1, &seen);
	assert_true(bytes_equal(buf_bytes(&seen), BYTES("<4>x.y words\n")));
	buf_done(&seen);
}

static void log_event_full_pipe_counted_not_waited_for(void **state)
{
	uint64_t before = log_dropped();
	struct buf seen;

	(void)state;
	assert_int_equal(before, 0);
	buf_init(&seen, 10000);
	write_through_pipe(0, &seen);
	assert_int_equal(log_dropped(), 1);
	buf_done(&seen);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(log_event_line_has_documented_form, make_place,
	                                        drop_place),
	        cmocka_unit_test_setup_teardown(log_event_below_level_left_out, make_place,
	                                        drop_place),
	        cmocka_unit_test_setup_teardown(log_event_control_bytes_cannot_forge_a_line,
	                                        make_place, drop_place),
	        cmocka_unit_test_setup_teardown(log_event_long_text_one_cut_line, make_place,
	                                        drop_place),
	        cmocka_unit_test(log_quote_values_with_blanks_quoted),
	        cmocka_unit_test_setup_teardown(log_reopen_after_rotation_writes_new_file,
	                                        make_place, drop_place),
	        cmocka_unit_test_setup_teardown(log_reopen_failure_keeps_old_file, make_place,
	                                        drop_place),
	        cmocka_unit_test_setup_teardown(log_open_directory_refused, make_place, drop_place),
	        cmocka_unit_test(log_level_parse_known_words_only),
	        cmocka_unit_test(log_event_under_journal_has_priority_and_no_time),
	        cmocka_unit_test(log_event_full_pipe_counted_not_waited_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
