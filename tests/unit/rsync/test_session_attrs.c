/* Extended attributes and ACLs against the installed `rsync --server`. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/mem.h"
#include "talk.h"

#define LONG_BYTES 3000 /* ext4 has room for one block of all of them */

/* Whether the target's file system has them; said loudly. */
static void need(struct talk *t, const char *name)
{
	const char *path = talk_path(t, "probe");

	talk_write(t, "probe", BYTES(""));
	if (setxattr(path, name, "x", 1, 0) && errno == EOPNOTSUPP) {
		print_message("# SKIPPED: no %s in %s\n", name, t->dir);
		skip();
	}
	assert_int_equal(unlink(path), 0);
}

static void assert_xattr(struct talk *t, const char *path, const char *name, struct bytes value)
{
	char got[65536];
	ssize_t n = lgetxattr(talk_path(t, path), name, got, sizeof(got));

	if (n < 0)
		fail_msg("%s has no %s: %s", path, name, strerror(errno));
	assert_int_equal(n, value.n);
	assert_memory_equal(got, value.p, value.n);
}

static void assert_xattrs(struct talk *t, const char *path, size_t n)
{
	char names[65536];
	ssize_t left = llistxattr(talk_path(t, path), names, sizeof(names));
	size_t found = 0;

	assert_true(left >= 0);
	for (const char *at = names; left > 0; found++) {
		left -= (ssize_t)strlen(at) + 1;
		at += strlen(at) + 1;
	}
	assert_int_equal(found, n);
}

static struct bytes long_value(char *p, char fill)
{
	memset(p, fill, LONG_BYTES);
	p[0] = 'a';
	return (struct bytes){p, LONG_BYTES};
}

static struct session_options attr_options(int protocol)
{
	struct session_options o = talk_options();

	o.protocol_max = protocol;
	o.xattrs = true;
	return o;
}

static void set(struct talk_file *f, const struct session_xattr *xattrs, size_t n)
{
	f->entry.xattrs = xattrs;
	f->entry.xattrs_n = n;
}

static void values_small_and_long_arrive_with_every_protocol(void **state)
{
	struct talk *t = *state;
	char p[LONG_BYTES], q[LONG_BYTES];
	struct session_xattr two[] = {{BYTES("user.long"), long_value(p, '1')},
	                              {BYTES("user.short"), BYTES("s")}},
	                     one = {BYTES("user.long"), long_value(q, '2')},
	                     empty = {BYTES("user.none"), BYTES("")};

	need(t, "user.x");
	for (int protocol = 30; protocol <= 32; protocol++) {
		struct session_options o = attr_options(protocol);
		struct talk_file f[] = {talk_dir("d"),
		                        talk_file("d/f", "content"),
		                        talk_file("d/same", "content"),
		                        talk_file("g", "x"),
		                        talk_file("h", ""),
		                        talk_dir("none")};

		for (size_t i = 0; i < ARRAY_LEN(f); i++)
			f[i].entry.mtime_ns += protocol;
		set(&f[0], two, 2);
		set(&f[1], two, 2);
		set(&f[2], two, 2);
		set(&f[3], &one, 1);
		set(&f[4], &empty, 1);
		two[1].value.p = &"abcd"[protocol - 30];
		talk_push(t, SESSION_QUICK, &o, f, ARRAY_LEN(f));
		assert_int_equal(t->errors, 0);
		for (size_t i = 0; i < 3; i++) {
			assert_xattr(t, f[i].entry.path.p, "user.long", two[0].value);
			assert_xattr(t, f[i].entry.path.p, "user.short", two[1].value);
			assert_xattrs(t, f[i].entry.path.p, 2);
		}
		assert_xattr(t, "g", "user.long", one.value);
		assert_xattr(t, "h", "user.none", BYTES(""));
		assert_xattrs(t, "none", 0);
		for (size_t i = 0; i < ARRAY_LEN(f); i++)
			f[i].items = f[i].requests = 0;
		talk_push(t, SESSION_QUICK, &o, f, ARRAY_LEN(f));
		for (size_t i = 0; i < ARRAY_LEN(f); i++)
			assert_int_equal(f[i].items + f[i].requests, 0);
	}
}

/* Nothing is asked for but the values that differ. */
static void change_of_an_attribute_alone_sends_no_content(void **state)
{
	struct talk *t = *state;
	struct session_options o = attr_options(32);
	char p[LONG_BYTES], q[LONG_BYTES];
	struct session_xattr x[] = {{BYTES("user.a"), long_value(p, '1')},
	                            {BYTES("user.b"), long_value(q, '2')}};
	struct talk_file f = talk_file("f", "content");

	need(t, "user.x");
	x[1].value.n = x[0].value.n = 500;
	set(&f, x, 2);
	talk_push(t, SESSION_QUICK, &o, &f, 1);
	assert_int_equal(f.requests, 1);
	q[1] = 'x';
	f = talk_file("f", "content");
	set(&f, x, 2);
	talk_push(t, SESSION_QUICK, &o, &f, 1);
	assert_int_equal(f.requests, 0);
	assert_int_equal(f.items, 1);
	assert_true(f.item_flags & SESSION_ITEM_XATTR);
	assert_int_equal(f.successes, 1);
	assert_true(t->literal_out > 500 && t->literal_out < 900);
	assert_xattr(t, "f", "user.a", x[0].value);
	assert_xattr(t, "f", "user.b", x[1].value);
	f = talk_file("f", "content");
	set(&f, x, 1);
	talk_push(t, SESSION_QUICK, &o, &f, 1);
	assert_xattrs(t, "f", 1);
	f = talk_file("f", "content");
	talk_push(t, SESSION_QUICK, &o, &f, 1);
	assert_xattrs(t, "f", 0);
}

static void links_have_the_attributes_of_their_inode(void **state)
{
	/* The second claims less than we understand, as older clients do. */
	static const char *const caps[] = {NULL, "LsfCIvu"};
	struct talk *t = *state;
	char p[LONG_BYTES];
	struct session_xattr x = {BYTES("user.long"), {NULL, 0}};

	need(t, "user.x");
	for (int i = 0; i < 4; i++) {
		struct session_options o = attr_options(i % 2 ? 30 : 32);
		struct talk_file f[] = {talk_file("a", "content"), talk_file("b", "content"),
		                        talk_file("c", "other")};

		x.value = long_value(p, (char)('0' + i));
		t->caps = caps[i / 2];
		for (size_t k = 0; k < ARRAY_LEN(f); k++) {
			set(&f[k], &x, 1);
			/* Stock receivers stop by an assertion where an older client changes the
			 * attributes of names that exist. */
			if (t->caps)
				assert_int_equal(unlink(talk_path(t, f[k].entry.path.p)), 0);
		}
		f[0].entry.link_group = f[1].entry.link_group = 1;
		talk_push(t, SESSION_QUICK, &o, f, ARRAY_LEN(f));
		assert_int_equal(t->errors, 0);
		assert_xattr(t, "a", "user.long", x.value);
		assert_xattr(t, "b", "user.long", x.value);
		assert_xattr(t, "c", "user.long", x.value);
		if (t->caps)
			continue;
		assert_int_equal(unlink(talk_path(t, "b")), 0);
		talk_push(t, SESSION_QUICK, &o, f, ARRAY_LEN(f));
		assert_xattr(t, "b", "user.long", x.value);
	}
}

/* The receiver asks once for a value that several files have, of the first: also when that is not
 * sent. */
static void value_of_a_file_that_is_not_sent_reaches_the_others(void **state)
{
	struct talk *t = *state;
	char p[LONG_BYTES];
	struct session_xattr x = {BYTES("user.long"), long_value(p, '1')};

	need(t, "user.x");
	for (int protocol = 30; protocol <= 32; protocol++) {
		struct session_options o = attr_options(protocol);
		struct talk_file f[] = {talk_file("a", "content"), talk_file("b", "content"),
		                        talk_file("c", "content")};

		for (size_t i = 0; i < ARRAY_LEN(f); i++) {
			f[i].entry.mtime_ns += protocol;
			set(&f[i], &x, 1);
		}
		x.value = long_value(p, (char)('0' + protocol));
		f[0].answer = TALK_NO_SEND;
		talk_push(t, SESSION_QUICK, &o, f, ARRAY_LEN(f));
		assert_int_equal(t->errors, 0);
		assert_false(talk_exists(t, "a"));
		assert_int_equal(f[0].successes, 0);
		for (size_t i = 1; i < ARRAY_LEN(f); i++) {
			assert_int_equal(f[i].successes, 1);
			assert_xattr(t, f[i].entry.path.p, "user.long", x.value);
		}
	}
}

static void dry_run_tells_attributes_that_differ(void **state)
{
	struct talk *t = *state;
	struct session_options o = attr_options(32);
	struct session_xattr x = {BYTES("user.a"), BYTES("1")};
	struct talk_file f[] = {talk_file("f", "content"), talk_file("same", "content")};

	need(t, "user.x");
	o.acls = true;
	talk_push(t, SESSION_QUICK, &o, f, 2);
	set(&f[0], &x, 1);
	f[0].item_flags = f[1].items = 0;
	talk_push(t, SESSION_COMPARE, &o, f, 2);
	assert_int_equal(f[0].item_flags, SESSION_ITEM_XATTR);
	assert_int_equal(f[1].items, 0);
	assert_xattrs(t, "f", 0);
}

static void acls_arrive_with_every_protocol(void **state)
{
	struct talk *t = *state;
	struct session_acl_name names[] = {{33, 6, true}, {1000, 4, true}, {50, 5, false}};
	struct session_acl own = {6, 4, 7, 0, names, 3}, whole = {7, 5, 7, 0, names, 2};

	need(t, "system.posix_acl_access");
	for (int protocol = 30; protocol <= 32; protocol++) {
		struct session_options o = attr_options(protocol);
		struct talk_file f[] = {talk_dir("d"), talk_file("d/f", "content"),
		                        talk_file("plain", "content")};

		o.acls = true;
		o.xattrs = protocol == 31;
		names[0].access = (uint8_t)(protocol - 28);
		f[0].entry.mode = S_IFDIR | 0770;
		f[0].entry.default_acl = &whole;
		f[1].entry.mode = S_IFREG | 0670;
		f[1].entry.acl = &own;
		talk_push(t, SESSION_QUICK, &o, f, ARRAY_LEN(f));
		assert_int_equal(t->errors, 0);
		assert_xattr(t, "d/f", "system.posix_acl_access",
		             (struct bytes){(char[]){2,  0,  0,  0,  1,
		                                     0,  6,  0,  -1, -1,
		                                     -1, -1, 2,  0,  (char)(protocol - 28),
		                                     0,  33, 0,  0,  0,
		                                     2,  0,  4,  0,  (char)0xe8,
		                                     3,  0,  0,  4,  0,
		                                     4,  0,  -1, -1, -1,
		                                     -1, 8,  0,  5,  0,
		                                     50, 0,  0,  0,  16,
		                                     0,  7,  0,  -1, -1,
		                                     -1, -1, 32, 0,  0,
		                                     0,  -1, -1, -1, -1},
		                            60});
		assert_xattr(t, "d", "system.posix_acl_default",
		             (struct bytes){(char[]){2,  0,  0,  0,  1,
		                                     0,  7,  0,  -1, -1,
		                                     -1, -1, 2,  0,  (char)(protocol - 28),
		                                     0,  33, 0,  0,  0,
		                                     2,  0,  4,  0,  (char)0xe8,
		                                     3,  0,  0,  4,  0,
		                                     5,  0,  -1, -1, -1,
		                                     -1, 16, 0,  7,  0,
		                                     -1, -1, -1, -1, 32,
		                                     0,  0,  0,  -1, -1,
		                                     -1, -1},
		                            52});
		assert_xattrs(t, "plain", 0);
		f[0].items = f[1].items = f[2].items = 0;
		talk_push(t, SESSION_QUICK, &o, f, ARRAY_LEN(f));
		assert_int_equal(f[0].items + f[1].items + f[2].items, 0);
	}
}

static void without_acls_they_are_removed(void **state)
{
	struct talk *t = *state;
	struct session_options o = attr_options(32);
	struct session_acl_name names[] = {{33, 6, true}};
	struct session_acl own = {6, 4, 6, 0, names, 1}, whole = {7, 5, 7, 0, names, 1};
	struct talk_file f[] = {talk_dir("d"), talk_file("f", "content")};

	need(t, "system.posix_acl_access");
	o.acls = true;
	o.xattrs = false;
	f[0].entry.default_acl = &whole;
	f[1].entry.mode = S_IFREG | 0660;
	f[1].entry.acl = &own;
	talk_push(t, SESSION_QUICK, &o, f, 2);
	assert_xattrs(t, "f", 1);
	assert_xattrs(t, "d", 1);
	f[0].entry.default_acl = NULL;
	f[1].entry.mode = S_IFREG | 0640;
	f[1].entry.acl = NULL;
	talk_push(t, SESSION_QUICK, &o, f, 2);
	assert_xattrs(t, "f", 0);
	assert_xattrs(t, "d", 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, talk_make, talk_drop)
	const struct CMUnitTest tests[] = {
	        TEST(values_small_and_long_arrive_with_every_protocol),
	        TEST(change_of_an_attribute_alone_sends_no_content),
	        TEST(links_have_the_attributes_of_their_inode),
	        TEST(value_of_a_file_that_is_not_sent_reaches_the_others),
	        TEST(dry_run_tells_attributes_that_differ),
	        TEST(acls_arrive_with_every_protocol),
	        TEST(without_acls_they_are_removed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
