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

/* What manifest_build() makes of items below src. */
struct made {
	struct cargo *cargo;
	struct manifest list;
};

static struct made build(struct rig *r, struct wire_item *items, size_t n)
{
	struct wire_batch m = {1, 2, items, n, 0};
	struct made made;
	struct buf b;

	buf_init(&b, FRAME_PAYLOAD_MAX);
	wire_put_batch(&b, &m);
	made.cargo = cargo_new(buf_bytes(&b), fcntl(r->src_fd, F_DUPFD_CLOEXEC, 3));
	assert_non_null(made.cargo);
	made.cargo->xattrs = r->setup.options.xattrs = true;
	manifest_build(&made.list, made.cargo, &r->setup, SESSION_QUICK, clock_wall_ns());
	buf_done(&b);
	return made;
}

static void drop(struct made *made)
{
	manifest_done(&made->list);
	cargo_free(made->cargo);
}

/* 0: it is listed. */
static uint8_t result_of(const struct made *made, size_t item)
{
	for (size_t i = 0; i < made->cargo->answers_n; i++)
		if (made->cargo->answers[i].index == item)
			return made->cargo->answers[i].result;
	return 0;
}

static size_t results(const struct made *made, uint8_t result)
{
	size_t n = 0;

	for (size_t i = 0; i < made->cargo->batch.count; i++)
		n += result_of(made, i) == result;
	return n;
}

static bool is_listed(const struct made *made, const char *path, size_t xattrs_n)
{
	for (size_t i = 0; i < made->list.count; i++)
		if (bytes_equal(made->list.entries[i].path, bytes_of(path)))
			return made->list.entries[i].xattrs_n == xattrs_n;
	return false;
}

#define HEAVY_VALUES 100 /* 6.25 MiB, almost as much as one may have: ten fit into a list */

static void make_heavy(struct rig *r, const char *path)
{
	autofree char *value = mem_array(SESSION_XATTR_VALUE_MAX + 1, 1);

	memset(value, 'v', SESSION_XATTR_VALUE_MAX);
	for (int k = 0; k < HEAVY_VALUES; k++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "user.%d", k);
		set(r, path, name, value);
	}
}

/* What is too much for one list goes with the next. A further name of an inode that is listed must
 * not be left behind, and has what the first one has. */
static void attributes_beyond_what_a_list_holds_wait(void **state)
{
	enum { FILES = 12 };
	struct rig *r = *state;
	struct wire_item items[FILES + 2];
	char names[FILES][8];
	struct made made;

	for (int i = 0; i < FILES; i++) {
		autofree char *path = mem_printf("src/f%02d", i);

		(void)snprintf(names[i], sizeof(names[i]), "f%02d", i);
		items[i] = ITEM(names[i], 0);
		rig_write(r, path, "x", OLD);
		make_heavy(r, names[i]);
	}
	items[FILES] = ITEM("zz00", 0);
	items[FILES + 1] = ITEM("zz11", 0);
	assert_int_equal(linkat(r->src_fd, "f00", r->src_fd, "zz00", 0), 0);
	assert_int_equal(linkat(r->src_fd, "f11", r->src_fd, "zz11", 0), 0);
	for (int outside = 0; outside < 2; outside++) {
		/* Names that are not in the list are no reason to go beyond its limit. */
		for (int i = 0; i < FILES && outside; i++) {
			autofree char *other = mem_printf("other%d", i);

			assert_int_equal(linkat(r->src_fd, names[i], r->src_fd, other, 0), 0);
		}
		made = build(r, items, FILES + 2);
		assert_int_equal(results(&made, 0), 11);
		assert_int_equal(results(&made, WIRE_UNSENT), 3);
		assert_int_equal(result_of(&made, 10), WIRE_UNSENT);
		assert_int_equal(result_of(&made, 11), WIRE_UNSENT);
		assert_int_equal(result_of(&made, FILES + 1), WIRE_UNSENT); /* zz11 */
		assert_true(is_listed(&made, "zz00", HEAVY_VALUES));
		assert_true(made.list.attrs.bytes <= LISTATTR_BYTES_MAX);
		drop(&made);
	}
}

/* Nothing goes without its directories (I12), so theirs count as well. */
static void attributes_of_directories_count(void **state)
{
	enum { DIRS = 12 };
	struct rig *r = *state;
	struct wire_item items[DIRS + 1];
	char names[DIRS][16], deep[2 * DIRS + 2] = "";
	struct made made;

	for (int i = 0; i < DIRS; i++) {
		char *end = deep + strlen(deep);
		autofree char *path = NULL, *file = NULL;

		(void)snprintf(end, sizeof(deep) - (size_t)(end - deep), "%sd", i ? "/" : "");
		path = mem_printf("src/%s", deep);
		rig_mkdir(r, path);
		make_heavy(r, deep);
		(void)snprintf(names[i], sizeof(names[i]), "s%02d/f", i);
		file = mem_printf("src/%s", names[i]);
		rig_write(r, file, "x", OLD);
		names[i][3] = '\0';
		make_heavy(r, names[i]);
		names[i][3] = '/';
		items[i] = ITEM(names[i], 0);
	}
	made = build(r, items, DIRS);
	assert_int_equal(results(&made, 0), 10);
	assert_int_equal(results(&made, WIRE_UNSENT), 2);
	assert_false(is_listed(&made, "s11", HEAVY_VALUES));
	assert_true(made.list.attrs.bytes <= LISTATTR_BYTES_MAX);
	drop(&made);

	/* No list ever has room for that. */
	items[0] = ITEM(deep, WIRE_ITEM_DIR);
	made = build(r, items, 1);
	assert_int_equal(result_of(&made, 0), WIRE_FAILED);
	assert_int_equal(made.list.count, 0);
	assert_true(made.list.attrs.bytes <= LISTATTR_BYTES_MAX);
	drop(&made);
}

static ino_t broken_ino; /* its attributes cannot be read */
static ino_t double_ino; /* each of its attributes is told twice */

ssize_t __real_listxattr(const char *path, char *list, size_t size);
ssize_t __wrap_listxattr(const char *path, char *list, size_t size);

ssize_t __wrap_listxattr(const char *path, char *list, size_t size)
{
	ssize_t n = __real_listxattr(path, list, size);
	struct stat st = {0};

	(void)stat(path, &st);
	if (broken_ino && st.st_ino == broken_ino) {
		errno = EIO;
		return -1;
	}
	if (n > 0 && double_ino && st.st_ino == double_ino) {
		memcpy(list + n, list, (size_t)n);
		n *= 2;
	}
	return n;
}

/* Sent without them, the target would remove those that it has. */
static void nothing_goes_below_a_directory_whose_attributes_cannot_be_read(void **state)
{
	struct wire_item items[] = {ITEM("d/a", 0), ITEM("d/sub", WIRE_ITEM_DIR),
	                            ITEM("d/sub/b", 0), ITEM("e/c", 0)};
	struct rig *r = *state;
	struct made made;

	rig_write(r, "src/d/a", "x", OLD);
	rig_write(r, "src/d/sub/b", "x", OLD);
	rig_write(r, "src/e/c", "x", OLD);
	broken_ino = rig_stat(r, "src/d").st_ino;
	made = build(r, items, 4);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(result_of(&made, i), WIRE_UNREADABLE);
	assert_int_equal(result_of(&made, 3), 0);
	assert_int_equal(made.list.count, 3); /* the root, e, e/c */
	drop(&made);

	made = build(r, items, 3);
	assert_int_equal(made.list.count, 0);
	drop(&made);
	broken_ino = 0;
}

/* The session would not take the list. */
static void what_a_list_cannot_carry_is_refused_alone(void **state)
{
	struct wire_item items[] = {ITEM("bad", 0), ITEM("good", 0)};
	struct rig *r = *state;
	struct made made;

	rig_write(r, "src/bad", "x", OLD);
	rig_write(r, "src/good", "x", OLD);
	set(r, "bad", "user.a", "1");
	set(r, "good", "user.a", "1");
	double_ino = rig_stat(r, "src/bad").st_ino;
	made = build(r, items, 2);
	double_ino = 0;
	assert_int_equal(result_of(&made, 0), WIRE_FAILED);
	assert_int_equal(result_of(&made, 1), 0);
	assert_true(is_listed(&made, "good", 1));
	assert_false(is_listed(&made, "bad", 2));
	drop(&made);
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
	        cmocka_unit_test_setup_teardown(attributes_of_directories_count, make_in_memory,
	                                        rig_drop),
	        cmocka_unit_test_setup_teardown(
	                nothing_goes_below_a_directory_whose_attributes_cannot_be_read, rig_make,
	                rig_drop),
	        cmocka_unit_test_setup_teardown(what_a_list_cannot_carry_is_refused_alone, rig_make,
	                                        rig_drop),
	        cmocka_unit_test(acl_is_parsed_and_put_in_order),
	        cmocka_unit_test(acl_that_is_none_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
