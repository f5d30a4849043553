#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "base/bytes.h"

static void bytes_compare_shorter_first(void **state)
{
	(void)state;
	assert_true(bytes_compare(BYTES("a"), BYTES("ab")) < 0);
	assert_true(bytes_compare(BYTES("b"), BYTES("ab")) > 0);
	assert_true(bytes_compare(BYTES("\xff"), BYTES("a")) > 0);
	assert_int_equal(bytes_compare(BYTES(""), (struct bytes){NULL, 0}), 0);
	assert_true(bytes_equal(BYTES("a\0b"), BYTES("a\0b")));
	assert_false(bytes_equal(BYTES("a\0b"), BYTES("a\0c")));
}

static void bytes_starts_empty_prefix_true(void **state)
{
	(void)state;
	assert_true(bytes_starts(BYTES("abc"), BYTES("")));
	assert_true(bytes_starts((struct bytes){NULL, 0}, BYTES("")));
	assert_true(bytes_starts(BYTES("abc"), BYTES("ab")));
	assert_false(bytes_starts(BYTES("ab"), BYTES("abc")));
}

static void buf_add_up_to_maximum_kept(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 5);
	buf_add(&b, "abc", 3);
	buf_add(&b, "de", 2);
	assert_false(b.overflowed);
	assert_true(bytes_equal(buf_bytes(&b), BYTES("abcde")));
	buf_done(&b);
}

static void buf_add_beyond_maximum_dropped_and_marked(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 5);
	buf_add(&b, "abc", 3);
	buf_add(&b, "def", 3);
	assert_true(b.overflowed);
	buf_add(&b, "g", 1);
	assert_true(bytes_equal(buf_bytes(&b), BYTES("abc")));
	assert_null(buf_reserve(&b, 1));
	buf_clear(&b);
	assert_false(b.overflowed);
	buf_add(&b, "vwxyz", 5);
	assert_true(bytes_equal(buf_bytes(&b), BYTES("vwxyz")));
	assert_null(buf_reserve(&b, SIZE_MAX));
	buf_done(&b);
	assert_null(b.p);
	buf_add(&b, "12345", 5);
	assert_true(bytes_equal(buf_bytes(&b), BYTES("12345")));
	buf_done(&b);
}

static void buf_reserve_grows_and_keeps_content(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 1 << 20);
	for (uint32_t i = 0; i < 50000; i++)
		buf_add_le32(&b, i);
	assert_int_equal(b.n, 200000);
	struct cursor c = cursor_of(buf_bytes(&b));
	for (uint32_t i = 0; i < 50000; i++)
		assert_int_equal(cursor_le32(&c), i);
	assert_int_equal(cursor_left(&c), 0);
	assert_false(c.bad);
	buf_done(&b);
}

static void buf_printf_longer_than_stack_whole(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 5000);
	buf_printf(&b, "%d:%*d", 7, 3000, 9);
	assert_int_equal(b.n, 3002);
	assert_memory_equal(b.p, "7:  ", 4);
	assert_int_equal(b.p[3001], '9');
	buf_clear(&b);
	buf_printf(&b, "%s", "short");
	assert_true(bytes_equal(buf_bytes(&b), BYTES("short")));
	buf_done(&b);
}

static void buf_drop_front_keeps_rest(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 100);
	buf_add(&b, "abcdef", 6);
	buf_drop(&b, 0);
	buf_drop(&b, 4);
	assert_true(bytes_equal(buf_bytes(&b), BYTES("ef")));
	buf_drop(&b, 2);
	assert_int_equal(b.n, 0);
	buf_done(&b);
}

static void cursor_numbers_little_endian(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 100);
	buf_add_u8(&b, 0xfe);
	buf_add_le16(&b, 0x1234);
	buf_add_le32(&b, 0x89abcdef);
	buf_add_le64(&b, 0xfedcba9876543210);
	assert_memory_equal(b.p + 1, "\x34\x12\xef\xcd\xab\x89\x10", 7);
	struct cursor c = cursor_of(buf_bytes(&b));
	assert_int_equal(cursor_u8(&c), 0xfe);
	assert_int_equal(cursor_le16(&c), 0x1234);
	assert_int_equal(cursor_le32(&c), 0x89abcdef);
	assert_true(cursor_le64(&c) == 0xfedcba9876543210);
	assert_false(c.bad);
	buf_done(&b);
}

static void cursor_beyond_end_bad_and_zero(void **state)
{
	(void)state;
	struct cursor c = cursor_of(BYTES("\x01\x02\x03"));

	assert_int_equal(cursor_le32(&c), 0);
	assert_true(c.bad);
	/* It stays bad: a shorter read behind a failed one would be out of step. */
	assert_int_equal(cursor_u8(&c), 0);
	assert_int_equal(cursor_take(&c, 0).n, 0);
	c = cursor_of((struct bytes){NULL, 0});
	assert_int_equal(cursor_take(&c, 0).n, 0);
	assert_false(c.bad);
	assert_int_equal(cursor_take(&c, SIZE_MAX).n, 0);
	assert_true(c.bad);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(bytes_compare_shorter_first),
	        cmocka_unit_test(bytes_starts_empty_prefix_true),
	        cmocka_unit_test(buf_add_up_to_maximum_kept),
	        cmocka_unit_test(buf_add_beyond_maximum_dropped_and_marked),
	        cmocka_unit_test(buf_reserve_grows_and_keeps_content),
	        cmocka_unit_test(buf_printf_longer_than_stack_whole),
	        cmocka_unit_test(buf_drop_front_keeps_rest),
	        cmocka_unit_test(cursor_numbers_little_endian),
	        cmocka_unit_test(cursor_beyond_end_bad_and_zero),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
