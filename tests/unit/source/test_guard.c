#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "base/mem.h"
#include "source/guard.h"

static char dir[64];

static int setup(void **state)
{
	(void)state;
	(void)snprintf(dir, sizeof(dir), "/tmp/lockstep-guard-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	return rmdir(dir);
}

static const char *below(const char *name)
{
	static char paths[4][128];
	static unsigned next;
	char *p = paths[next++ % 4];

	(void)snprintf(p, sizeof(paths[0]), "%s/%s", dir, name);
	return p;
}

static void missing_root_is_said_with_its_name(void **state)
{
	struct guard_root now;
	struct err err = {0};

	(void)state;
	assert_int_equal(guard_open(below("none"), &now, &err), -ENOENT);
	assert_non_null(strstr(err.text, "none cannot be opened"));
}

static void same_root_is_same_and_replaced_is_foreign(void **state)
{
	struct guard g = {.path = mem_strdup(below("r"))};
	struct guard_root now;
	int fd;

	(void)state;
	assert_int_equal(mkdir(below("r"), 0755), 0);
	fd = guard_open(g.path, &now, NULL);
	assert_true(fd >= 0);
	guard_learn(&g, fd, &now);
	assert_int_equal(guard_compare(&g, fd, &now), GUARD_SAME);
	assert_true(guard_is_empty(fd));
	(void)close(fd);
	assert_int_equal(rename(below("r"), below("old")), 0);
	assert_int_equal(mkdir(below("r"), 0755), 0);
	fd = guard_open(g.path, &now, NULL);
	assert_true(fd >= 0);
	assert_int_equal(guard_compare(&g, fd, &now), GUARD_FOREIGN);
	(void)close(fd);
	assert_int_equal(rmdir(below("r")), 0);
	assert_int_equal(rmdir(below("old")), 0);
	free(g.path);
}

static void explanation_names_both_sides(void **state)
{
	struct guard g = {.path = mem_strdup("/data"), .known = {.dev = 8u << 8 | 17, .ino = 2}};
	struct guard_root now = {.dev = 8u << 8 | 1, .ino = 131073};
	struct buf text;

	(void)state;
	buf_init(&text, 600);
	guard_explain(&g, &now, &text);
	buf_add_u8(&text, 0);
	assert_string_equal(
	        text.p,
	        "/data is not the file system that was mirrored (was dev 8:17 ino 2, is "
	        "dev 8:1 ino 131073). Nothing is sent or deleted. It goes on by itself "
	        "when the known file system is back; if this one is right: lockstep approve 0");
	buf_done(&text);
	free(g.path);
}

static void lost_and_found_alone_is_empty(void **state)
{
	struct guard_root now;
	int fd;

	(void)state;
	assert_int_equal(mkdir(below("lost+found"), 0755), 0);
	fd = guard_open(dir, &now, NULL);
	assert_true(guard_is_empty(fd));
	assert_int_equal(mkdir(below("x"), 0755), 0);
	assert_false(guard_is_empty(fd));
	(void)close(fd);
	assert_int_equal(rmdir(below("x")), 0);
	assert_int_equal(rmdir(below("lost+found")), 0);
}

static void mounts_below_are_strictly_below(void **state)
{
	struct buf first;

	(void)state;
	buf_init(&first, 4096);
	assert_int_equal(guard_mounts_below(dir, &first), 0);
	assert_int_equal(guard_mounts_below("/proc/", &first) == 0, first.n == 0);
	assert_true(guard_mounts_below("/", &first) != 0);
	assert_true(first.n > 0 && first.p[0] != '/');
	buf_done(&first);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(missing_root_is_said_with_its_name),
	        cmocka_unit_test(same_root_is_same_and_replaced_is_foreign),
	        cmocka_unit_test(explanation_names_both_sides),
	        cmocka_unit_test(lost_and_found_alone_is_empty),
	        cmocka_unit_test(mounts_below_are_strictly_below),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
