/* Extended attributes and ACLs from a tree to a real `rsync --server`. */
#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/mem.h"

#define LONG_BYTES 1500

static char *place(struct rig *r, const char *path)
{
	return mem_printf("%s/%s", r->dir, path);
}

static void set(struct rig *r, const char *path, const char *name, const char *value, size_t n)
{
	autofree char *full = place(r, path);

	if (lsetxattr(full, name, value, n, 0) == 0)
		return;
	if (errno != EOPNOTSUPP)
		fail_msg("%s of %s: %s", name, path, strerror(errno));
	print_message("# SKIPPED: no %s in %s\n", name, r->dir);
	skip();
}

static void assert_xattr(struct rig *r, const char *path, const char *name, const char *value,
                         size_t n)
{
	autofree char *full = place(r, path);
	char got[65536];
	ssize_t have = lgetxattr(full, name, got, sizeof(got));

	if (have < 0)
		fail_msg("%s has no %s: %s", path, name, strerror(errno));
	assert_int_equal(have, n);
	if (n)
		assert_memory_equal(got, value, n);
}

static void assert_none(struct rig *r, const char *path, const char *name)
{
	autofree char *full = place(r, path);

	assert_int_equal(lgetxattr(full, name, NULL, 0), -1);
	assert_int_equal(errno, ENODATA);
}

static void keep(struct rig *r, int protocol)
{
	r->setup.options.xattrs = r->setup.options.acls = r->setup.options.perms = true;
	r->setup.options.protocol_max = protocol;
}

static void attributes_of_all_kinds_arrive_and_go(void **state)
{
	static const char acl[] = {2, 0, 0,  0,  1,  0,  6,  0, -1, -1, -1, -1, 2,  0,  4,
	                           0, 9, 0,  0,  0,  4,  0,  4, 0,  -1, -1, -1, -1, 16, 0,
	                           4, 0, -1, -1, -1, -1, 32, 0, 0,  0,  -1, -1, -1, -1};
	const struct wire_item items[] = {ITEM("d", WIRE_ITEM_DIR), ITEM("d/f", 0), ITEM("fifo", 0),
	                                  ITEM("link", 0)};
	struct rig *r = *state;
	char value[LONG_BYTES];

	keep(r, 32);
	rig_write(r, "src/d/f", "content", OLD);
	assert_int_equal(symlinkat("d/f", r->src_fd, "link"), 0);
	assert_int_equal(mkfifoat(r->src_fd, "fifo", 0600), 0);
	memset(value, 'v', sizeof(value));
	set(r, "src/d", "user.dir", value, sizeof(value));
	set(r, "src/d/f", "user.long", value, sizeof(value) - 1);
	set(r, "src/d/f", "user.short", "s", 1);
	set(r, "src/d/f", "system.posix_acl_access", acl, sizeof(acl));
	set(r, "src/d", "system.posix_acl_default", acl, sizeof(acl));
	rig_start(r);
	rig_connect(r, SESSION_QUICK);
	rig_carry(r, items, 4);
	for (size_t i = 0; i < 4; i++) {
		assert_result(r, i, WIRE_ACKED);
		assert_string_equal(r->texts[i], "");
	}
	assert_xattr(r, "dst/d", "user.dir", value, sizeof(value));
	assert_xattr(r, "dst/d/f", "user.long", value, sizeof(value) - 1);
	assert_xattr(r, "dst/d/f", "user.short", "s", 1);
	assert_xattr(r, "dst/d/f", "system.posix_acl_access", acl, sizeof(acl));
	assert_xattr(r, "dst/d", "system.posix_acl_default", acl, sizeof(acl));
	rig_connect(r, SESSION_COMPARE);
	rig_carry(r, items, 4);
	for (size_t i = 0; i < 4; i++)
		assert_result(r, i, WIRE_PROVEN);
	for (int i = 0; i < 2; i++) {
		autofree char *full = place(r, i ? "src/d" : "src/d/f");

		assert_int_equal(removexattr(full, i ? "system.posix_acl_default" : "user.long"),
		                 0);
	}
	rig_connect(r, SESSION_COMPARE);
	rig_carry(r, items, 4);
	assert_result(r, 0, WIRE_DISPROVED);
	assert_string_equal(r->texts[0], "ACL");
	assert_result(r, 1, WIRE_DISPROVED);
	assert_string_equal(r->texts[1], "extended attributes");
	rig_connect(r, SESSION_QUICK);
	rig_carry(r, items, 4);
	assert_result(r, 1, WIRE_ACKED);
	assert_false(r->items[1].flags & WIRE_DATA_SENT);
	assert_none(r, "dst/d/f", "user.long");
	assert_none(r, "dst/d", "system.posix_acl_default");
	assert_xattr(r, "dst/d/f", "user.short", "s", 1);
}

/* An ancestor that rides along keeps what it has, and gets what has changed. */
static void ancestors_carry_their_attributes(void **state)
{
	struct rig *r = *state;

	keep(r, 30);
	for (int i = 0; i < 3; i++) {
		autofree char *name = mem_printf("d/f%d", i);
		autofree char *path = mem_printf("src/%s", name);

		rig_write(r, path, "x", OLD);
		set(r, "src/d", "user.dir", &"abc"[i], 1);
		set(r, "src", "user.root", &"abc"[i], 1);
		if (i == 0)
			rig_start(r);
		rig_connect(r, SESSION_QUICK);
		rig_carry(r, (struct wire_item[]){ITEM(name, 0)}, 1);
		assert_result(r, 0, WIRE_ACKED);
		assert_xattr(r, "dst/d", "user.dir", &"abc"[i], 1);
		assert_xattr(r, "dst", "user.root", &"abc"[i], 1);
	}
}

/* Long values, each another, behind many requests. */
static void many_sets_find_their_files(void **state)
{
	enum { FILES = 300 };
	struct wire_item items[FILES];
	char names[FILES][16], value[LONG_BYTES];
	struct rig *r = *state;

	keep(r, 31);
	for (int i = 0; i < FILES; i++) {
		autofree char *path = NULL;

		(void)snprintf(names[i], sizeof(names[i]), "f%03d", i);
		path = mem_printf("src/%s", names[i]);
		rig_write(r, path, i % 3 ? "x" : "", OLD);
		memset(value, 'a' + i / 2 % 7, sizeof(value));
		(void)snprintf(value, sizeof(value), "%d", i / 2); /* two share a set */
		set(r, path, i % 5 ? "user.value" : "user.other", value, sizeof(value));
		items[i] = ITEM(names[i], 0);
	}
	rig_start(r);
	rig_connect(r, SESSION_QUICK);
	rig_carry(r, items, FILES);
	for (int i = 0; i < FILES; i++) {
		autofree char *path = mem_printf("dst/%s", names[i]);

		assert_result(r, (size_t)i, WIRE_ACKED);
		memset(value, 'a' + i / 2 % 7, sizeof(value));
		(void)snprintf(value, sizeof(value), "%d", i / 2);
		assert_xattr(r, path, i % 5 ? "user.value" : "user.other", value, sizeof(value));
	}
}

/* The sandbox and another user do not stand in the way. */
static void plain_user_reads_its_attributes(void **state)
{
	struct rig *r = *state;

	if (getuid() != 0) {
		print_message("# SKIPPED: needs root to become another user\n");
		skip();
	}
	keep(r, 32);
	r->uid = 65534;
	r->setup.sandbox = true;
	rig_write(r, "src/f", "x", OLD);
	rig_write(r, "src/unreadable", "x", OLD);
	rig_write(r, "dst/unreadable", "x", OLD);
	set(r, "src/f", "user.a", "1", 1);
	set(r, "src/unreadable", "user.a", "1", 1);
	assert_int_equal(fchmodat(r->src_fd, "unreadable", 0600, 0), 0);
	assert_int_equal(chmod(r->dir, 0755), 0);
	rig_start(r);
	rig_connect(r, SESSION_QUICK);
	rig_carry(r, (struct wire_item[]){ITEM("f", 0), ITEM("unreadable", 0)}, 2);
	assert_result(r, 0, WIRE_ACKED);
	assert_string_equal(r->texts[0], "");
	assert_xattr(r, "dst/f", "user.a", "1", 1);
	/* Its content is the same, and it goes without the attribute, which is told. */
	assert_result(r, 1, WIRE_ACKED);
	assert_non_null(strstr(r->texts[1], "user.a cannot be read"));
	assert_int_equal(rig_stat(r, "dst/unreadable").st_mode & 07777, 0600);
}

static void refused_option_is_named(void **state)
{
	static const char *const options[] = {"xattrs", "acls"};
	struct rig *r = *state;

	keep(r, 32);
	rig_start(r);
	for (size_t i = 0; i < ARRAY_LEN(options); i++) {
		autofree char *text = mem_printf("refuse options = %s", options[i]);

		rig_connect_daemon(r, SESSION_QUICK, text);
		rig_wait_gone(r);
		assert_int_equal(r->gone.trouble, TROUBLE_REFUSED);
		assert_string_equal(r->refused, options[i]);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_make, rig_drop)
	const struct CMUnitTest tests[] = {
	        TEST(attributes_of_all_kinds_arrive_and_go),
	        TEST(ancestors_carry_their_attributes),
	        TEST(many_sets_find_their_files),
	        TEST(plain_user_reads_its_attributes),
	        TEST(refused_option_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
