/* Extended attributes and ACLs as bytes; those that stand here were written by rsync 3.5.0. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <errno.h>
#include <stdint.h>
#include <sys/stat.h>
#include <cmocka.h>
#include "base/mem.h"
#include "rsync/attrs.h"
#include "rsync/codec.h"

#define FORTY        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define THIRTY_THREE "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define THIRTY_NINE  THIRTY_THREE "xxxxxx"
#define MD5_OF_FORTY "\x2e\x5a\x5d\xf3\x0e\xbd\x85\x39\x44\x5b\xa6\xe0\xf6\x38\xb6\xf9"

static const struct session_xattr both[] = {
        {{"user.a", 6}, {"1", 1}},
        {{"user.big", 8}, {FORTY, 40}},
};

static struct session_entry entry(const struct session_xattr *xattrs, size_t n)
{
	return (struct session_entry){
	        .path = BYTES("f"), .mode = S_IFREG | 0640, .xattrs = xattrs, .xattrs_n = n};
}

static void assert_bytes(struct buf *got, struct bytes expected)
{
	assert_false(got->overflowed);
	assert_int_equal(got->n, expected.n);
	if (expected.n)
		assert_memory_equal(got->p, expected.p, expected.n);
	buf_clear(got);
}

static void set_is_sent_once_and_then_named(void **state)
{
	struct attrs_tables *t = attrs_new();
	struct session_entry with = entry(both, 2), one = entry(both, 1), none = entry(NULL, 0);
	struct buf out;

	(void)state;
	buf_init(&out, 4096);
	assert_int_equal(attrs_put_xattrs(t, &out, &none), 0);
	assert_bytes(&out, (struct bytes){"\0\0", 2});
	assert_int_equal(attrs_put_xattrs(t, &out, &with), 1);
	assert_bytes(&out, BYTES("\0\2\7\1user.a\0"
	                         "1\11\50user.big\0" MD5_OF_FORTY));
	assert_int_equal(attrs_put_xattrs(t, &out, &one), 2);
	assert_bytes(&out, BYTES("\0\1\7\1user.a\0"
	                         "1"));
	assert_int_equal(attrs_put_xattrs(t, &out, &none), 0);
	assert_bytes(&out, BYTES("\1"));
	assert_int_equal(attrs_put_xattrs(t, &out, &with), 1);
	assert_bytes(&out, BYTES("\2"));
	buf_done(&out);
	attrs_free(t);
}

/* The digest alone does not tell a longer value. */
static void sets_with_other_values_are_others(void **state)
{
	struct attrs_tables *t = attrs_new();
	struct session_xattr x = {{"user.big", 8}, {FORTY, 40}};
	struct session_entry e = entry(&x, 1);
	struct buf out;

	(void)state;
	buf_init(&out, 65536);
	for (uint32_t n = 40; n > 30; n--) {
		x.value.n = n;
		assert_int_equal(attrs_put_xattrs(t, &out, &e), 40 - n);
	}
	buf_done(&out);
	attrs_free(t);
}

static void acl_says_only_what_the_mode_does_not(void **state)
{
	struct session_acl_name names[] = {{1000, 4, true}, {50, 6, false}};
	struct session_acl acl = {6, 4, 4, 0, names, 1},
	                   whole = {7, 5, SESSION_ACL_NONE, 5, NULL, 0};
	struct session_entry e = {.path = BYTES("f"), .mode = S_IFREG | 0640, .acl = &acl};
	struct session_entry plain = {.path = BYTES("g"), .mode = S_IFREG | 0600};
	struct session_entry dir = {
	        .path = BYTES("d"), .mode = S_IFDIR | 0755, .default_acl = &whole};
	struct attrs_tables *t = attrs_new();
	struct buf out;

	(void)state;
	buf_init(&out, 4096);
	attrs_put_acls(t, &out, &e);
	assert_bytes(&out, BYTES("\0\x10\1\x83\xe8\x12"));
	attrs_put_acls(t, &out, &plain);
	assert_bytes(&out, (struct bytes){"\0\0", 2});
	attrs_put_acls(t, &out, &plain);
	assert_bytes(&out, BYTES("\2"));
	acl.mask = 6;
	acl.group = 5;
	acl.names_n = 2;
	e.mode = S_IFREG | 0660;
	attrs_put_acls(t, &out, &e);
	assert_bytes(&out, BYTES("\0\x12\5\2\x83\xe8\x12\x32\x18"));
	/* A directory has a second one, of another list; there nothing is left out. */
	attrs_put_acls(t, &out, &dir);
	assert_bytes(&out, BYTES("\2\0\13\7\5\5"));
	dir.default_acl = NULL;
	attrs_put_acls(t, &out, &dir);
	assert_bytes(&out, (struct bytes){"\2\0\0", 3});
	attrs_put_acls(t, &out, &dir);
	assert_bytes(&out, BYTES("\2\2"));
	/* A mask that is not the mode's, which was mapped. */
	e.mode = S_IFREG | 0640;
	attrs_put_acls(t, &out, &e);
	assert_bytes(&out, BYTES("\0\x16\5\6\2\x83\xe8\x12\x32\x18"));
	buf_done(&out);
	attrs_free(t);
}

static int get(const struct attrs_tables *t, struct bytes bytes, struct attrs_wanted *ret)
{
	struct cursor c = cursor_of(bytes);

	*ret = (struct attrs_wanted){0};
	return attrs_get_wanted(t, 0, &c, ret);
}

static void wanted_values_are_those_that_were_listed(void **state)
{
	static const struct session_xattr four[] = {
	        {{"user.a", 6}, {FORTY, 39}},
	        {{"user.b", 6}, {"small", 5}},
	        {{"user.c", 6}, {FORTY, 33}},
	        {{"user.d", 6}, {FORTY, 32}},
	};
	/* Steps: 1, +2; backwards 3, -2; nothing */
	static const struct bytes good[] = {
	        {"\1\2\0", 3}, {"\3\xf0\xfe\xff\xff\xff\0", 7}, {"\0", 1}};
	/* A small one, none, beyond, before, twice */
	static const struct bytes bad[] = {{"\2\0", 2},
	                                   {"\4\0", 2},
	                                   {"\5\0", 2},
	                                   {"\xf0\xff\xff\xff\xff\0", 6},
	                                   {"\1\2\xf0\xfe\xff\xff\xff\0", 8},
	                                   {"\3\xf0\xff\xff\xff\xff\0", 7}};
	struct session_entry e = entry(four, 4);
	struct attrs_tables *t = attrs_new();
	struct attrs_wanted w;
	struct buf out;

	(void)state;
	buf_init(&out, 4096);
	(void)attrs_put_xattrs(t, &out, &e);
	buf_clear(&out);
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		assert_int_equal(get(t, good[i], &w), 0);
		assert_true(w.follow);
		attrs_put_wanted(t, 0, &out, &w);
		if (i < 2)
			assert_bytes(&out, BYTES("\1\47" THIRTY_NINE "\2\41" THIRTY_THREE "\0"));
		else
			assert_bytes(&out, (struct bytes){"\0", 1});
		free(w.places);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(get(t, bad[i], &w), -EPROTO);
	for (size_t n = 0; n < good[1].n; n++)
		assert_int_equal(get(t, (struct bytes){good[1].p, n}, &w), -EAGAIN);
	buf_done(&out);
	attrs_free(t);
}

static void value_is_not_sent_again_and_again(void **state)
{
	struct session_entry e = entry(both, 2);
	struct attrs_tables *t = attrs_new();
	struct attrs_wanted w;
	struct buf out;

	(void)state;
	buf_init(&out, 4096);
	(void)attrs_put_xattrs(t, &out, &e);
	assert_int_equal(get(t, BYTES("\2\0"), &w), 0);
	assert_int_equal(attrs_note_wanted(t, 0, &w), 0);
	assert_int_equal(attrs_note_wanted(t, 0, &w), 0);
	assert_int_equal(attrs_note_wanted(t, 0, &w), -EPROTO);
	free(w.places);
	buf_done(&out);
	attrs_free(t);
}

static void what_cannot_be_listed_is_refused(void **state)
{
	static const struct session_xattr unsorted[] = {{{"user.b", 6}, {"", 0}},
	                                                {{"user.a", 6}, {"", 0}}},
	                                  same[] = {{{"user.b", 6}, {"", 0}},
	                                            {{"user.b", 6}, {"", 0}}},
	                                  nameless = {{"", 0}, {"", 0}},
	                                  nul = {{"a\0b", 3}, {"", 0}},
	                                  huge = {{"user.h", 6}, {"", SESSION_XATTR_VALUE_MAX + 1}};
	struct session_entry e;

	(void)state;
	e = entry(both, 2);
	assert_null(attrs_fault(&e));
	e = entry(unsorted, 2);
	assert_non_null(attrs_fault(&e));
	e = entry(same, 2);
	assert_non_null(attrs_fault(&e));
	e = entry(&nameless, 1);
	assert_non_null(attrs_fault(&e));
	e = entry(&nul, 1);
	assert_non_null(attrs_fault(&e));
	e = entry(&huge, 1);
	assert_non_null(attrs_fault(&e));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(set_is_sent_once_and_then_named),
	        cmocka_unit_test(sets_with_other_values_are_others),
	        cmocka_unit_test(acl_says_only_what_the_mode_does_not),
	        cmocka_unit_test(wanted_values_are_those_that_were_listed),
	        cmocka_unit_test(value_is_not_sent_again_and_again),
	        cmocka_unit_test(what_cannot_be_listed_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
