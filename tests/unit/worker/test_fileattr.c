#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "worker/fileattr.h"
#include "worker/manifest.h"

static struct fileattr *read_of(struct rig *r, const char *path)
{
	struct fileattr_reader *reader = fileattr_reader_new();
	autoclose int fd = fd_open_beneath(r->src_fd, bytes_of(path), O_PATH | O_NOFOLLOW, false);
	struct fileattr *a;
	struct stat st;

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	a = fileattr_read(reader, fd, st.st_mode, true, true);
	fileattr_reader_free(reader);
	return a;
}

static const char *full(struct rig *r, const char *path)
{
	static char text[4200];

	(void)snprintf(text, sizeof(text), "%s/src/%s", r->dir, path);
	return text;
}

/* Sets it, or skips the test loudly where the file system has none. */
static void set(struct rig *r, const char *path, const char *name, const char *value)
{
	if (lsetxattr(full(r, path), name, value, strlen(value), 0) == 0)
		return;
	if (errno != EOPNOTSUPP && errno != EPERM && errno != ENOSPC)
		fail_msg("%s: %s", name, strerror(errno));
	print_message("# SKIPPED: %s in %s: %s\n", name, r->dir, strerror(errno));
	skip();
}

static void attributes_are_read_in_order(void **state)
{
	struct rig *r = *state;
	struct fileattr *a;

	rig_write(r, "src/f", "x", OLD);
	set(r, "f", "user.b", "second");
	set(r, "f", "user.a", "first");
	set(r, "f", "user.c", "");
	set(r, "f", "user.rsync.%stat", "100644 0,0 0:0");
	set(r, "f", "user.rsync.other", "kept");
	a = read_of(r, "f");
	assert_null(a->trouble);
	assert_int_equal(a->xattrs_n, 4);
	assert_true(bytes_equal(a->xattrs[0].name, BYTES("user.a")));
	assert_true(bytes_equal(a->xattrs[0].value, BYTES("first")));
	assert_true(bytes_equal(a->xattrs[1].value, BYTES("second")));
	assert_true(bytes_equal(a->xattrs[2].value, BYTES("")));
	assert_true(bytes_equal(a->xattrs[3].name, BYTES("user.rsync.other")));
	assert_false(a->has_acl || a->has_default);
	fileattr_free(a);
}

/* What a link leads to has its own. */
static void links_and_specials_are_not_followed_or_opened(void **state)
{
	struct rig *r = *state;
	struct fileattr *a;

	rig_write(r, "src/f", "x", OLD);
	set(r, "f", "user.file", "x");
	assert_int_equal(symlinkat("f", r->src_fd, "link"), 0);
	assert_int_equal(mkfifoat(r->src_fd, "fifo", 0600), 0);
	a = read_of(r, "link");
	assert_null(a->trouble);
	assert_int_equal(a->xattrs_n, 0);
	fileattr_free(a);
	if (getuid() != 0) {
		print_message("# SKIPPED: trusted.* needs root\n");
		skip();
	}
	set(r, "link", "trusted.link", "y");
	set(r, "fifo", "trusted.fifo", "z");
	a = read_of(r, "link");
	assert_int_equal(a->xattrs_n, 1);
	assert_true(bytes_equal(a->xattrs[0].name, BYTES("trusted.link")));
	fileattr_free(a);
	a = read_of(r, "fifo");
	assert_null(a->trouble);
	assert_int_equal(a->xattrs_n, 1);
	fileattr_free(a);
}

static void file_system_without_attributes_is_told(void **state)
{
	struct fileattr_reader *reader = fileattr_reader_new();
	autoclose int fd = open("/proc/self/status", O_PATH | O_CLOEXEC);
	struct fileattr *a = fileattr_read(reader, fd, S_IFREG | 0444, true, true);

	(void)state;
	assert_int_equal(a->xattrs_n, 0);
	assert_false(a->has_acl);
	if (listxattr("/proc/self/status", NULL, 0) < 0)
		assert_non_null(a->trouble);
	fileattr_free(a);
	fileattr_reader_free(reader);
}

/* Without /proc nothing would be found anywhere, and be removed at the target. */
static void what_cannot_be_reached_is_an_error_and_no_empty_set(void **state)
{
	struct fileattr_reader *reader = fileattr_reader_new();
	struct fileattr *a = fileattr_read(reader, -1, S_IFREG | 0644, true, true);

	(void)state;
	assert_int_equal(a->error, EIO);
	assert_null(a->trouble);
	fileattr_free(a);
	fileattr_reader_free(reader);
}

static int make_in_memory(void **state)
{
	int r;

	assert_int_equal(setenv("TMPDIR", "/dev/shm", 1), 0);
	r = rig_make(state);
	assert_int_equal(unsetenv("TMPDIR"), 0);
	return r;
}

/* Files of almost as much as one may have. What is too much for one list goes with the next, but
 * for a further name of an inode, which must not be left behind. */
static void attributes_beyond_what_a_list_holds_wait(void **state)
{
	enum { FILES = 12, VALUES = 100 };
	struct rig *r = *state;
	struct wire_item items[FILES + 1];
	struct wire_batch m = {1, 2, items, FILES + 1, 0};
	autofree char *value = mem_array(SESSION_XATTR_VALUE_MAX + 1, 1);
	char names[FILES][8];
	struct manifest list;
	struct cargo *c;
	size_t unsent = 0;
	struct buf b;

	memset(value, 'v', SESSION_XATTR_VALUE_MAX);
	for (int i = 0; i < FILES; i++) {
		autofree char *path = mem_printf("src/f%d", i);

		(void)snprintf(names[i], sizeof(names[i]), "f%d", i);
		items[i] = ITEM(names[i], 0);
		rig_write(r, path, "x", OLD);
		for (int k = 0; k < VALUES; k++) {
			char name[16];

			(void)snprintf(name, sizeof(name), "user.%d", k);
			set(r, names[i], name, value);
		}
	}
	items[FILES] = ITEM("zz", 0);
	assert_int_equal(linkat(r->src_fd, "f0", r->src_fd, "zz", 0), 0);
	buf_init(&b, FRAME_PAYLOAD_MAX);
	wire_put_batch(&b, &m);
	c = cargo_new(buf_bytes(&b), fcntl(r->src_fd, F_DUPFD_CLOEXEC, 3));
	c->xattrs = true;
	manifest_build(&list, c, &r->setup, SESSION_QUICK, clock_wall_ns());
	for (size_t i = 0; i < c->answers_n; i++) {
		assert_int_equal(c->answers[i].result, WIRE_UNSENT);
		assert_in_range(c->answers[i].index, 1, FILES - 1);
		unsent++;
	}
	assert_int_equal(unsent, 2);                            /* 6.25 MiB each: ten fit */
	assert_true(list.attr_bytes > MANIFEST_ATTR_BYTES_MAX); /* with the second name */
	manifest_done(&list);
	cargo_free(c);
	buf_done(&b);
}

#define ENTRY(tag, access, id) (char)(tag), 0, (char)(access), 0, (char)(id), 0, 0, 0
#define HEAD                   2, 0, 0, 0
#define PARSE(acl, ...)                                                                            \
	fileattr_parse_acl((struct bytes){(char[]){__VA_ARGS__}, sizeof((char[]){__VA_ARGS__})},   \
	                   (acl))

static void acl_is_parsed_and_put_in_order(void **state)
{
	struct session_acl acl;

	(void)state;
	assert_int_equal(PARSE(&acl, HEAD, ENTRY(1, 7, 0), ENTRY(8, 1, 3), ENTRY(2, 4, 9),
	                       ENTRY(2, 6, 5), ENTRY(4, 5, 0), ENTRY(16, 6, 0), ENTRY(32, 0, 0)),
	                 0);
	assert_int_equal(acl.user, 7);
	assert_int_equal(acl.group, 5);
	assert_int_equal(acl.mask, 6);
	assert_int_equal(acl.other, 0);
	assert_int_equal(acl.names_n, 3);
	assert_true(acl.names[0].user && acl.names[1].user && !acl.names[2].user);
	assert_int_equal(acl.names[0].id, 5);
	assert_int_equal(acl.names[1].id, 9);
	assert_int_equal(acl.names[2].access, 1);
	free(acl.names);
	assert_int_equal(PARSE(&acl, HEAD), 0);
	assert_int_equal(acl.mask, SESSION_ACL_NONE);
	free(acl.names);
}

static void acl_that_is_none_is_refused(void **state)
{
	struct session_acl acl;

	(void)state;
	assert_int_equal(fileattr_parse_acl(BYTES(""), &acl), -EINVAL);
	assert_int_equal(PARSE(&acl, 1, 0, 0, 0, ENTRY(1, 7, 0)), -EINVAL);
	assert_int_equal(PARSE(&acl, HEAD, 1, 0), -EINVAL);
	assert_int_equal(PARSE(&acl, HEAD, ENTRY(64, 7, 0)), -EINVAL);
	assert_int_equal(PARSE(&acl, HEAD, ENTRY(2, 8, 0)), -EINVAL);
	assert_int_equal(PARSE(&acl, HEAD, ENTRY(1, 7, 0), ENTRY(1, 7, 0)), -EINVAL);
	assert_null(acl.names);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(attributes_are_read_in_order, rig_make, rig_drop),
	        cmocka_unit_test_setup_teardown(links_and_specials_are_not_followed_or_opened,
	                                        rig_make, rig_drop),
	        cmocka_unit_test(file_system_without_attributes_is_told),
	        cmocka_unit_test(what_cannot_be_reached_is_an_error_and_no_empty_set),
	        cmocka_unit_test_setup_teardown(attributes_beyond_what_a_list_holds_wait,
	                                        make_in_memory, rig_drop),
	        cmocka_unit_test(acl_is_parsed_and_put_in_order),
	        cmocka_unit_test(acl_that_is_none_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
