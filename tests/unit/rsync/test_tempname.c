#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "rsync/tempname.h"

static bool matches(const char *path, const char *name)
{
	struct tempname t;

	tempname_of(&t, bytes_of(path));
	return tempname_matches(&t, bytes_of(name));
}

static void name_with_dot_and_suffix_is_temporary(void **state)
{
	(void)state;
	assert_true(matches("a", ".a.aBcDeF"));
	assert_true(matches("dir/name.txt", ".name.txt.x0Y1z2"));
	assert_false(matches("a", "a.aBcDeF"));
	assert_false(matches("a", ".a.aBcDe"));
	assert_false(matches("a", ".a.aBcDe-"));
	assert_false(matches("a", ".b.aBcDeF"));
	assert_false(matches("a", ".a.b.aBcDeF"));
	assert_false(matches("a", "..aBcDeF"));
}

/* 3.0 puts a dot before every name and leaves those at the end. */
static void dots_of_the_name_are_treated_as_by_any_version(void **state)
{
	(void)state;
	assert_true(matches(".rc", ".rc.aBcDeF"));
	assert_true(matches(".rc", "..rc.aBcDeF"));
	assert_true(matches("end.", ".end.aBcDeF"));
	assert_true(matches("end.", ".end..aBcDeF"));
	assert_false(matches("end..", ".end.aBcDeF"));
}

static void long_name_is_cut(void **state)
{
	char name[256], temp[256];

	(void)state;
	memset(name, 'n', 255);
	name[255] = '\0';
	memset(temp, 'n', sizeof(temp));
	temp[0] = '.';
	memcpy(temp + 247, ".aBcDeF", 8);
	assert_int_equal(strlen(temp), 254);
	assert_true(matches(name, temp));
	/* Not in the middle of a character: all bytes of it go, and of those before it. */
	memset(name + 240, '\xc3', 15);
	memcpy(temp + 241, ".aBcDeF", 8);
	assert_true(matches(name, temp));
}

static void name_that_is_cut_to_nothing_has_no_temporary_one(void **state)
{
	char name[256];
	struct tempname t;

	(void)state;
	memset(name, '\xc3', 255);
	name[255] = '\0';
	tempname_of(&t, bytes_of(name));
	assert_int_equal(t.n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(name_with_dot_and_suffix_is_temporary),
	        cmocka_unit_test(dots_of_the_name_are_treated_as_by_any_version),
	        cmocka_unit_test(long_name_is_cut),
	        cmocka_unit_test(name_that_is_cut_to_nothing_has_no_temporary_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
