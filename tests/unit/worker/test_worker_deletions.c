#include "rig.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

static void deletion_removes_names_and_keeps_what_is_foreign(void **state)
{
	struct rig *r = *state;

	rig_write(r, "dst/gone", "x", OLD);
	rig_write(r, "dst/keep", "x", OLD);
	rig_write(r, "dst/tree/sub/a", "x", OLD);
	rig_write(r, "dst/tree/b", "x", OLD);
	rig_write(r, "dst/mixed/ours", "x", OLD);
	rig_write(r, "dst/mixed/foreign", "x", OLD);
	rig_write(r, "src/keep", "x", OLD);
	rig_start(r);
	rig_connect(r, SESSION_DELETE);
	rig_carry(r,
	          (struct wire_item[]){ITEM("tree/sub/a", 0), ITEM("tree/b", 0),
	                               ITEM("tree/sub", WIRE_ITEM_DIR), ITEM("tree", WIRE_ITEM_DIR),
	                               ITEM("mixed/ours", 0), ITEM("mixed", WIRE_ITEM_DIR),
	                               ITEM("gone", 0), ITEM("never_was", 0)},
	          8);
	for (size_t i = 0; i < 8; i++)
		assert_result(r, i, i == 5 ? WIRE_KEPT : WIRE_ACKED);
	assert_false(rig_exists(r, "dst/gone"));
	assert_false(rig_exists(r, "dst/tree"));
	assert_false(rig_exists(r, "dst/mixed/ours"));
	assert_true(rig_exists(r, "dst/mixed/foreign"));
	assert_true(rig_exists(r, "dst/keep"));
}

static void temporary_files_go_and_their_name_stays(void **state)
{
	struct rig *r = *state;

	rig_write(r, "src/d/a", "x", OLD);
	rig_write(r, "dst/d/a", "x", OLD);
	rig_write(r, "dst/d/.a.aBcDeF", "x", OLD);
	rig_write(r, "dst/d/.a.kNown1", "x", OLD);
	rig_write(r, "dst/lost/.b.aBcDeF", "x", OLD);
	rig_write(r, "dst/gone/.c.aBcDeF", "x", OLD);
	rig_write(r, "dst/.e.aBcDeF", "x", OLD);
	rig_start(r);
	rig_connect(r, SESSION_DELETE);
	rig_carry(r,
	          (struct wire_item[]){ITEM("d/a", WIRE_ITEM_TEMPS | WIRE_ITEM_SPARE),
	                               ITEM("d/.a.kNown1", WIRE_ITEM_SPARE),
	                               ITEM("lost/b", WIRE_ITEM_TEMPS | WIRE_ITEM_SPARE),
	                               ITEM("gone", WIRE_ITEM_DIR),
	                               ITEM("gone/c", WIRE_ITEM_TEMPS | WIRE_ITEM_SPARE),
	                               ITEM("e", WIRE_ITEM_TEMPS)},
	          6);
	for (size_t i = 0; i < 6; i++)
		assert_result(r, i, WIRE_ACKED);
	assert_true(rig_exists(r, "dst/d/a"));
	assert_true(rig_exists(r, "dst/d/.a.kNown1"));
	assert_false(rig_exists(r, "dst/d/.a.aBcDeF"));
	assert_false(rig_exists(r, "dst/gone"));
	assert_false(rig_exists(r, "dst/.e.aBcDeF"));
	assert_true(rig_exists(r, "dst/lost"));
	assert_false(rig_exists(r, "dst/lost/.b.aBcDeF"));
}

/* The name that is spared may be a directory at the target. */
static void what_is_below_a_name_that_is_spared_is_not_answered_as_deleted(void **state)
{
	struct rig *r = *state;

	rig_write(r, "dst/n/a", "x", OLD);
	rig_write(r, "dst/n/.b.aBcDeF", "x", OLD);
	rig_start(r);
	rig_connect(r, SESSION_DELETE);
	rig_carry(r,
	          (struct wire_item[]){ITEM("n", WIRE_ITEM_TEMPS | WIRE_ITEM_SPARE), ITEM("n/a", 0),
	                               ITEM("n/b", WIRE_ITEM_TEMPS | WIRE_ITEM_SPARE)},
	          3);
	assert_result(r, 0, WIRE_ACKED);
	assert_result(r, 1, WIRE_VANISHED);
	assert_result(r, 2, WIRE_VANISHED);
	assert_true(rig_exists(r, "dst/n/a"));
}

static void deletion_keeps_all_directories_above_a_foreign_file(void **state)
{
	struct rig *r = *state;

	rig_write(r, "dst/a/b/ours", "x", OLD);
	rig_write(r, "dst/a/b/foreign", "x", OLD);
	rig_start(r);
	rig_connect(r, SESSION_DELETE);
	rig_carry(r,
	          (struct wire_item[]){ITEM("a/b/ours", 0), ITEM("a/b", WIRE_ITEM_DIR),
	                               ITEM("a", WIRE_ITEM_DIR)},
	          3);
	assert_result(r, 0, WIRE_ACKED);
	assert_result(r, 1, WIRE_KEPT);
	assert_result(r, 2, WIRE_KEPT);
	assert_true(rig_exists(r, "dst/a/b/foreign"));
}

static void deletion_of_what_is_there_again_is_refused(void **state)
{
	struct rig *r = *state;

	rig_write(r, "src/d/back", "x", OLD);
	rig_write(r, "dst/d/back", "x", OLD);
	rig_write(r, "dst/d/gone", "x", OLD);
	rig_start(r);
	rig_connect(r, SESSION_DELETE);
	rig_carry(r,
	          (struct wire_item[]){ITEM("d/back", 0), ITEM("d/gone", 0),
	                               ITEM("d", WIRE_ITEM_DIR)},
	          3);
	assert_result(r, 0, WIRE_VANISHED);
	assert_result(r, 1, WIRE_ACKED);
	assert_result(r, 2, WIRE_VANISHED);
	assert_true(rig_exists(r, "dst/d/back"));
	assert_false(rig_exists(r, "dst/d/gone"));
}

static void deletion_below_a_directory_that_is_gone_works(void **state)
{
	struct rig *r = *state;

	rig_write(r, "dst/a/b/x", "x", OLD);
	rig_write(r, "dst/a/b/foreign", "x", OLD);
	rig_start(r);
	rig_connect(r, SESSION_DELETE);
	rig_carry(r, (struct wire_item[]){ITEM("a/b/x", 0)}, 1);
	assert_result(r, 0, WIRE_ACKED);
	assert_false(rig_exists(r, "dst/a/b/x"));
	assert_true(rig_exists(r, "dst/a/b/foreign"));
	assert_null(rig_context(r, "a"));
}

static void deletion_with_a_gap_in_the_chain_is_looked_at_again(void **state)
{
	struct rig *r = *state;

	rig_write(r, "dst/a/b/x", "x", OLD);
	rig_start(r);
	rig_connect(r, SESSION_DELETE);
	rig_carry(r, (struct wire_item[]){ITEM("a/b/x", 0), ITEM("a", WIRE_ITEM_DIR)}, 2);
	assert_result(r, 0, WIRE_VANISHED);
	assert_result(r, 1, WIRE_KEPT);
	assert_true(rig_exists(r, "dst/a/b/x"));
}

static void deletion_of_odd_names_removes_exactly_them(void **state)
{
	struct rig *r = *state;
	static const char *const names[] = {"*",  "?",   "[a]",      "\\",     "a\\*", "new\nline",
	                                    "- ", "+ x", "\xff\xfe", "-rf",    "#x",   "**",
	                                    " ",  "a\"", "!",        ". merge"};
	struct wire_item items[ARRAY_LEN(names)];

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		autofree char *path = mem_printf("dst/%s", names[i]);

		rig_write(r, path, "x", OLD);
		items[i] = ITEM(names[i], 0);
	}
	rig_write(r, "dst/a", "x", OLD);
	rig_write(r, "dst/ab", "x", OLD);
	rig_start(r);
	rig_connect(r, SESSION_DELETE);
	rig_carry(r, items, ARRAY_LEN(names));
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		autofree char *path = mem_printf("dst/%s", names[i]);

		assert_result(r, i, WIRE_ACKED);
		assert_false(rig_exists(r, path));
	}
	assert_true(rig_exists(r, "dst/a"));
	assert_true(rig_exists(r, "dst/ab"));
}

/* "dst/" and names of nothing but brackets below each other. */
static void make_brackets(char *ret, size_t depth, size_t name)
{
	memcpy(ret, "dst/", 4);
	memset(ret + 4, '[', depth * (name + 1));
	for (size_t i = 1; i <= depth; i++)
		ret[3 + i * (name + 1)] = i < depth ? '/' : '\0';
}

/* Each bracket is escaped in a rule. The others go, and the directories above are not taken for
 * those that foreign files keep. */
static void name_too_long_for_a_rule_fails_alone(void **state)
{
	enum { DEPTH = 10, NAME = 250 };
	struct rig *r = *state;
	char path[4 + DEPTH * (NAME + 1)];
	struct wire_item items[DEPTH + 1];

	make_brackets(path, DEPTH, NAME);
	for (size_t i = 0; i < DEPTH; i++)
		items[i] = (struct wire_item){.path = {path + 4, i * (NAME + 1) + NAME},
		                              .flags = i + 1 < DEPTH ? WIRE_ITEM_DIR : 0};
	items[DEPTH] = ITEM("gone", 0);
	rig_write(r, path, "x", OLD);
	rig_write(r, "dst/gone", "x", OLD);
	rig_start(r);
	rig_connect(r, SESSION_DELETE);
	rig_carry(r, items, DEPTH + 1);
	for (size_t i = 0; i < DEPTH; i++)
		assert_result(r, i, WIRE_FAILED);
	assert_non_null(strstr(r->texts[DEPTH - 1], "too long"));
	assert_true(rig_exists(r, path));
	assert_result(r, DEPTH, WIRE_ACKED);
	assert_false(rig_exists(r, "dst/gone"));
	rig_connect(r, SESSION_DELETE);
	rig_carry(r, &items[DEPTH - 1], 1);
	assert_result(r, 0, WIRE_FAILED);
}

/* Nothing of it can be swept, which is told; a deletion goes without. */
static void sweeping_that_has_no_rule_fails_alone(void **state)
{
	enum { DEPTH = 8, NAME = 255 };
	struct rig *r = *state;
	char path[4 + DEPTH * (NAME + 1)];
	struct wire_item items[2];

	make_brackets(path, DEPTH, NAME);
	items[0] = ITEM(path + 4, WIRE_ITEM_TEMPS | WIRE_ITEM_SPARE);
	items[1] = ITEM("gone", WIRE_ITEM_TEMPS);
	rig_write(r, path, "x", OLD);
	rig_write(r, "dst/.gone.aBcDeF", "x", OLD);
	rig_start(r);
	rig_connect(r, SESSION_DELETE);
	rig_carry(r, items, 2);
	assert_result(r, 0, WIRE_FAILED);
	assert_result(r, 1, WIRE_ACKED);
	assert_false(rig_exists(r, "dst/.gone.aBcDeF"));
	items[0].flags = WIRE_ITEM_TEMPS;
	rig_connect(r, SESSION_DELETE);
	rig_carry(r, items, 1);
	assert_result(r, 0, WIRE_ACKED);
	assert_false(rig_exists(r, path));
}

static void hundreds_of_names_come_and_go(void **state)
{
	struct rig *r = *state;
	struct wire_item *items = mem_array(600, sizeof(*items));
	char(*paths)[16] = mem_array(600, sizeof(*paths));

	for (int i = 0; i < 600; i++) {
		char path[24];

		(void)snprintf(paths[i], sizeof(paths[i]), "d%d/f%d", i % 7, i);
		(void)snprintf(path, sizeof(path), "src/%s", paths[i]);
		rig_write(r, path, "x", OLD);
		items[i] = ITEM(paths[i], 0);
	}
	rig_start(r);
	rig_connect(r, SESSION_QUICK);
	rig_carry(r, items, 600);
	for (size_t i = 0; i < 600; i++) {
		assert_result(r, i, WIRE_ACKED);
		assert_int_equal(unlinkat(r->src_fd, paths[i], 0), 0);
	}
	rig_connect(r, SESSION_DELETE);
	rig_carry(r, items, 600);
	for (size_t i = 0; i < 600; i++) {
		assert_result(r, i, WIRE_ACKED);
		assert_int_equal(faccessat(r->dst_fd, paths[i], F_OK, 0), -1);
	}
	free(items);
	free(paths);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_make, rig_drop)
	const struct CMUnitTest tests[] = {
	        TEST(deletion_removes_names_and_keeps_what_is_foreign),
	        TEST(temporary_files_go_and_their_name_stays),
	        TEST(what_is_below_a_name_that_is_spared_is_not_answered_as_deleted),
	        TEST(deletion_keeps_all_directories_above_a_foreign_file),
	        TEST(deletion_of_what_is_there_again_is_refused),
	        TEST(deletion_below_a_directory_that_is_gone_works),
	        TEST(deletion_with_a_gap_in_the_chain_is_looked_at_again),
	        TEST(deletion_of_odd_names_removes_exactly_them),
	        TEST(name_too_long_for_a_rule_fails_alone),
	        TEST(sweeping_that_has_no_rule_fails_alone),
	        TEST(hundreds_of_names_come_and_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
