#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>

#include "base/ini.h"
#include "base/mem.h"

/* Writes each line as "N kind|name|key=value;". */
static int collect(const struct ini_line *line, void *arg, struct err *err)
{
	struct buf *out = arg;

	if (line->key && strcmp(line->key, "stop") == 0)
		return err_set(err, ECANCELED, "%s:%d: stopped", line->file, line->line);
	buf_printf(out, "%d %s|%s|", line->line, line->section, line->name);
	if (line->key)
		buf_printf(out, "%s=%s", line->key, line->value);
	buf_add_bytes(out, BYTES(";"));
	return 0;
}

static void assert_parsed(struct bytes text, const char *expected)
{
	struct buf out;
	struct err err = {0};

	buf_init(&out, 1 << 20);
	assert_int_equal(ini_parse("f.conf", text, collect, &out, &err), 0);
	buf_add_u8(&out, 0);
	assert_string_equal(out.p, expected);
	buf_done(&out);
}

static void assert_refused(struct bytes text, const char *message)
{
	struct buf out;
	struct err err = {0};

	buf_init(&out, 1 << 20);
	assert_int_equal(ini_parse("f.conf", text, collect, &out, &err), -EINVAL);
	assert_string_equal(err.text, message);
	buf_done(&out);
}

static void ini_parse_sections_and_keys_with_numbers(void **state)
{
	(void)state;
	assert_parsed(BYTES("log = x\n"
	                    "# comment\n"
	                    "\n"
	                    "[tree uploads]\n"
	                    "  ; comment\n"
	                    "\tpath = /srv/a\n"
	                    "exclude = *.tmp\n"
	                    "exclude = /b\n"
	                    "[ Daemon ]\n"
	                    "x=1"),
	              "1 ||log=x;4 tree|uploads|;6 tree|uploads|path=/srv/a;"
	              "7 tree|uploads|exclude=*.tmp;8 tree|uploads|exclude=/b;"
	              "9 daemon||;10 daemon||x=1;");
}

static void ini_parse_values_are_plain_bytes(void **state)
{
	(void)state;
	assert_parsed(BYTES("a = /srv/a/* # not a comment \n"
	                    "b = \"q\" \\n $HOME %h = ; \n"
	                    "c =\n"
	                    "d = \xff\xc3\n"),
	              "1 ||a=/srv/a/* # not a comment;2 ||b=\"q\" \\n $HOME %h = ;;3 ||c=;"
	              "4 ||d=\xff\xc3;");
}

static void ini_parse_keys_in_every_spelling_are_one(void **state)
{
	(void)state;
	assert_parsed(BYTES("Max-Size=1\nmax size = 2\nMAX_SIZE =3\nmax \t size = 4\n"),
	              "1 ||max_size=1;2 ||max_size=2;3 ||max_size=3;4 ||max_size=4;");
}

static void ini_parse_windows_text_accepted(void **state)
{
	(void)state;
	assert_parsed(BYTES("\xef\xbb\xbf[tree a]\r\nk = v\r\n\r\n"), "1 tree|a|;2 tree|a|k=v;");
}

static void ini_parse_section_name_keeps_blanks_and_case(void **state)
{
	(void)state;
	assert_parsed(BYTES("[tree  My Files/ü]\n"), "1 tree|My Files/ü|;");
	assert_parsed(BYTES("[tree a]b]\n"), "1 tree|a]b|;");
}

static void ini_parse_syntax_errors_name_file_and_line(void **state)
{
	(void)state;
	assert_refused(BYTES("\nno equals\n"),
	               "f.conf:2: expected \"key = value\" or \"[kind name]\"");
	assert_refused(BYTES("[tree a\n"), "f.conf:1: section line without \"]\" at its end");
	assert_refused(BYTES("[]\n"), "f.conf:1: expected [kind] or [kind name]");
	assert_refused(BYTES("["), "f.conf:1: section line without \"]\" at its end");
	assert_refused(BYTES("k = v\n = v\n"),
	               "f.conf:2: before \"=\" must stand a key: letters, digits, \"_\"");
	assert_refused(BYTES("k.x = v\n"),
	               "f.conf:1: before \"=\" must stand a key: letters, digits, \"_\"");
	assert_refused(BYTES("k = a\0b\n"), "f.conf:1: NUL byte in line");
}

static void ini_parse_line_length_limit_is_exact(void **state)
{
	struct buf text;
	struct buf out;
	struct err err;

	(void)state;
	buf_init(&text, 1 << 20);
	buf_init(&out, 1 << 20);
	buf_add_bytes(&text, BYTES("k = "));
	while (text.n < 64 * 1024)
		buf_add_u8(&text, 'x');
	buf_add_u8(&text, '\n');
	assert_int_equal(ini_parse("f", buf_bytes(&text), collect, &out, &err), 0);
	text.p[text.n - 1] = 'x';
	assert_int_equal(ini_parse("f", buf_bytes(&text), collect, &out, &err), -EINVAL);
	assert_string_equal(err.text, "f:1: line longer than 64 KiB");
	buf_done(&text);
	buf_done(&out);
}

static void ini_parse_callback_error_stops(void **state)
{
	struct buf out;
	struct err err;

	(void)state;
	buf_init(&out, 1000);
	assert_int_equal(ini_parse("f", BYTES("a=1\nstop=1\nb=2\n"), collect, &out, &err),
	                 -ECANCELED);
	assert_string_equal(err.text, "f:2: stopped");
	assert_true(bytes_equal(buf_bytes(&out), BYTES("1 ||a=1;")));
	buf_done(&out);
}

static void ini_did_you_mean_near_word_found(void **state)
{
	static const char *const keys[] = {"exclude", "include", "target", "keep", "delete"};

	(void)state;
	assert_string_equal(ini_did_you_mean("exlude", keys, ARRAY_LEN(keys)), "exclude");
	assert_string_equal(ini_did_you_mean("excldue", keys, ARRAY_LEN(keys)), "exclude");
	assert_string_equal(ini_did_you_mean("incude", keys, ARRAY_LEN(keys)), "include");
	assert_string_equal(ini_did_you_mean("targets", keys, ARRAY_LEN(keys)), "target");
	assert_string_equal(ini_did_you_mean("kep", keys, ARRAY_LEN(keys)), "keep");
	assert_string_equal(ini_did_you_mean("keep", keys, ARRAY_LEN(keys)), "keep");
}

static void ini_did_you_mean_far_word_null(void **state)
{
	static const char *const keys[] = {"exclude", "keep", "delete"};
	char word[200];

	(void)state;
	assert_null(ini_did_you_mean("password", keys, ARRAY_LEN(keys)));
	assert_null(ini_did_you_mean("ex", keys, ARRAY_LEN(keys)));
	assert_null(ini_did_you_mean("", keys, ARRAY_LEN(keys)));
	assert_null(ini_did_you_mean("keep", NULL, 0));
	memset(word, 'x', sizeof(word) - 1);
	word[sizeof(word) - 1] = '\0';
	assert_null(ini_did_you_mean(word, keys, ARRAY_LEN(keys)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(ini_parse_sections_and_keys_with_numbers),
	        cmocka_unit_test(ini_parse_values_are_plain_bytes),
	        cmocka_unit_test(ini_parse_keys_in_every_spelling_are_one),
	        cmocka_unit_test(ini_parse_windows_text_accepted),
	        cmocka_unit_test(ini_parse_section_name_keeps_blanks_and_case),
	        cmocka_unit_test(ini_parse_syntax_errors_name_file_and_line),
	        cmocka_unit_test(ini_parse_line_length_limit_is_exact),
	        cmocka_unit_test(ini_parse_callback_error_stops),
	        cmocka_unit_test(ini_did_you_mean_near_word_found),
	        cmocka_unit_test(ini_did_you_mean_far_word_null),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
