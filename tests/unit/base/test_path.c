#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/path.h"

static void path_valid_odd_forms_refused(void **state)
{
	static const char *const good[] = {"",        "a",  "a/b", "...", ".a",  "..a",
	                                   "a/.../b", "\n", "-e",  "a b", "\xff"};
	static const char *const bad[] = {"/",  "/a",  "a/",     "a//b", ".",
	                                  "..", "a/.", "a/../b", "./a"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		assert_true(path_valid(bytes_of(good[i])));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(path_valid(bytes_of(bad[i])));
	assert_false(path_valid(BYTES("a\0b")));
}

static void path_valid_limits_are_exact(void **state)
{
	char text[PATH_BYTES_MAX + 2];

	(void)state;
	memset(text, 'x', sizeof(text));
	assert_true(path_valid((struct bytes){text, NAME_BYTES_MAX}));
	assert_false(path_valid((struct bytes){text, NAME_BYTES_MAX + 1}));
	for (size_t i = 1; i < sizeof(text); i += 2)
		text[i] = '/';
	assert_true(path_valid((struct bytes){text, PATH_BYTES_MAX}));
	text[PATH_BYTES_MAX] = 'y';
	assert_false(path_valid((struct bytes){text, PATH_BYTES_MAX + 1}));
}

static void name_valid_slash_and_dots_refused(void **state)
{
	(void)state;
	assert_true(name_valid(BYTES("a")));
	assert_true(name_valid(BYTES("...")));
	assert_false(name_valid(BYTES("")));
	assert_false(name_valid(BYTES(".")));
	assert_false(name_valid(BYTES("..")));
	assert_false(name_valid(BYTES("a/b")));
	assert_false(name_valid(BYTES("a\0")));
}

static void path_parts_of_root_empty(void **state)
{
	(void)state;
	assert_int_equal(path_parent(BYTES("")).n, 0);
	assert_int_equal(path_name(BYTES("")).n, 0);
	assert_int_equal(path_parent(BYTES("a")).n, 0);
	assert_true(bytes_equal(path_name(BYTES("a")), BYTES("a")));
	assert_true(bytes_equal(path_parent(BYTES("a/b/c")), BYTES("a/b")));
	assert_true(bytes_equal(path_name(BYTES("a/b/c")), BYTES("c")));
}

static void path_join_inverts_parent_and_name(void **state)
{
	static const char *const paths[] = {"", "a", "a/b", "a/b/c d"};
	struct buf out;

	(void)state;
	buf_init(&out, PATH_BYTES_MAX);
	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		struct bytes p = bytes_of(paths[i]);

		path_join(&out, path_parent(p), path_name(p));
		assert_true(bytes_equal(buf_bytes(&out), p));
	}
	buf_done(&out);
}

static void path_below_needs_whole_component(void **state)
{
	(void)state;
	assert_true(path_below(BYTES("a/b"), BYTES("a")));
	assert_true(path_below(BYTES("a"), BYTES("")));
	assert_false(path_below(BYTES("ab"), BYTES("a")));
	assert_false(path_below(BYTES("a"), BYTES("a")));
	assert_false(path_below(BYTES(""), BYTES("")));
	assert_false(path_below(BYTES("a"), BYTES("a/b")));
}

static void path_compare_directory_directly_before_content(void **state)
{
	static const char *const order[] = {"",   "a",  "a/a", "a/z", "a/z/b",
	                                    "a-", "a0", "ab",  "b",   "\xff"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(order); i++) {
		for (size_t j = 0; j < ARRAY_LEN(order); j++) {
			int got = path_compare(bytes_of(order[i]), bytes_of(order[j]));

			assert_int_equal((got > 0) - (got < 0), (i > j) - (i < j));
		}
	}
}

static void path_next_gives_every_component(void **state)
{
	struct bytes rest = BYTES("a/bc/d");

	(void)state;
	assert_true(bytes_equal(path_next(&rest), BYTES("a")));
	assert_true(bytes_equal(path_next(&rest), BYTES("bc")));
	assert_true(bytes_equal(path_next(&rest), BYTES("d")));
	assert_int_equal(path_next(&rest).n, 0);
	assert_int_equal(rest.n, 0);
}

static void path_quote_odd_bytes_escaped(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
	        {"", "."},
	        {"a b/ü€😀", "a b/ü€😀"},
	        {"new\nline\x1b[2J", "new\\x0aline\\x1b[2J"},
	        {"\x7f\\", "\\x7f\\x5c"},
	        {"\xc2\x9b", "\\xc2\\x9b"},                            /* C1: CSI */
	        {"\xe2\x80\xaegpj", "\\xe2\\x80\\xaegpj"},             /* bidi override */
	        {"\xff\xc3", "\\xff\\xc3"},                            /* no UTF-8, cut UTF-8 */
	        {"\xc0\x80\xed\xa0\x80", "\\xc0\\x80\\xed\\xa0\\x80"}, /* overlong, surrogate */
	        {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"},          /* beyond U+10FFFF */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_string_equal(path_show(bytes_of(cases[i].in)), cases[i].out);
	assert_string_equal(path_show(BYTES("a\0b")), "a\\x00b");
}

static void path_quote_long_name_cut_at_character(void **state)
{
	char text[1200];

	(void)state;
	for (size_t i = 0; i < sizeof(text); i += 2)
		memcpy(text + i, "\xc3\xbc", 2);
	text[0] = 'a';
	text[1] = 'b';
	text[2] = 'c';
	text[3] = 'd';
	const char *shown = path_show((struct bytes){text + 1, sizeof(text) - 1});
	/* 3 + 254 * 2 = 511 bytes, and no half character to make it 512. */
	assert_int_equal(strlen(shown), 511 + strlen("…"));
	assert_string_equal(shown + 511, "…");
	memset(text, 'x', 512);
	assert_int_equal(strlen(path_show((struct bytes){text, 512})), 512);
}

static void path_show_several_arguments_stay_apart(void **state)
{
	const char *a = path_show(BYTES("a")), *b = path_show(BYTES("b")),
	           *c = path_show(BYTES("c"));

	(void)state;
	assert_string_equal(a, "a");
	assert_string_equal(b, "b");
	assert_string_equal(c, "c");
}

static void path_percent_known_forms(void **state)
{
	struct buf out;

	(void)state;
	buf_init(&out, 1000);
	path_percent(&out, BYTES("100%/ü\n\xff"));
	assert_true(bytes_equal(buf_bytes(&out), BYTES("100%25/ü%0A%FF")));
	buf_done(&out);
}

static void path_percent_random_bytes_round_trip(void **state)
{
	const unsigned seed = 20260102;
	unsigned next = seed;
	struct buf text, back;

	(void)state;
	print_message("# seed %u\n", seed);
	buf_init(&text, 4096);
	buf_init(&back, 4096);
	for (int round = 0; round < 2000; round++) {
		char raw[64];
		size_t n = (size_t)rand_r(&next) % sizeof(raw);

		for (size_t i = 0; i < n; i++) {
			raw[i] = (char)(1 + rand_r(&next) % 255);
			if (round % 2)
				raw[i] = "%41\xc3\xbc\n\xe2\x82\xac"[(unsigned char)raw[i] % 9];
		}
		buf_clear(&text);
		buf_clear(&back);
		path_percent(&text, (struct bytes){raw, n});
		assert_int_equal(path_from_percent(&back, buf_bytes(&text)), 0);
		assert_true(bytes_equal(buf_bytes(&back), (struct bytes){raw, n}));
	}
	buf_done(&text);
	buf_done(&back);
}

static void path_from_percent_malformed_refused(void **state)
{
	static const char *const bad[] = {"%", "a%4", "%4g", "%g4", "%%41", "%00"};
	struct buf out;

	(void)state;
	buf_init(&out, 100);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(path_from_percent(&out, bytes_of(bad[i])), -EINVAL);
	buf_clear(&out);
	assert_int_equal(path_from_percent(&out, BYTES("%aF")), 0);
	assert_true(bytes_equal(buf_bytes(&out), BYTES("\xaf")));
	buf_done(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(path_valid_odd_forms_refused),
	        cmocka_unit_test(path_valid_limits_are_exact),
	        cmocka_unit_test(name_valid_slash_and_dots_refused),
	        cmocka_unit_test(path_parts_of_root_empty),
	        cmocka_unit_test(path_join_inverts_parent_and_name),
	        cmocka_unit_test(path_below_needs_whole_component),
	        cmocka_unit_test(path_compare_directory_directly_before_content),
	        cmocka_unit_test(path_next_gives_every_component),
	        cmocka_unit_test(path_quote_odd_bytes_escaped),
	        cmocka_unit_test(path_quote_long_name_cut_at_character),
	        cmocka_unit_test(path_show_several_arguments_stay_apart),
	        cmocka_unit_test(path_percent_known_forms),
	        cmocka_unit_test(path_percent_random_bytes_round_trip),
	        cmocka_unit_test(path_from_percent_malformed_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
