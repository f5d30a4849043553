#include "rig.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

static void compare_tells_equal_from_different_and_changes_nothing(void **state)
{
	struct rig *r = *state;

	rig_write(r, "src/same", "x", OLD);
	rig_write(r, "dst/same", "x", OLD);
	rig_write(r, "src/other", "new", OLD);
	rig_write(r, "dst/other", "old!", OLD);
	rig_write(r, "src/missing", "x", OLD);
	rig_write(r, "src/hidden", "good", OLD);
	rig_write(r, "dst/hidden", "evil", OLD);
	rig_write(r, "src/mode", "x", OLD);
	rig_write(r, "dst/mode", "x", OLD);
	assert_int_equal(fchmodat(r->src_fd, "mode", 0600, 0), 0);
	rig_start(r);
	for (int checksum = 0; checksum < 2; checksum++) {
		rig_connect(r, checksum ? SESSION_CHECKSUM : SESSION_COMPARE);
		rig_carry(r,
		          (struct wire_item[]){ITEM("same", 0), ITEM("other", 0),
		                               ITEM("missing", 0), ITEM("hidden", 0),
		                               ITEM("mode", 0), ITEM("gone", 0)},
		          6);
		assert_result(r, 0, WIRE_PROVEN);
		assert_result(r, 1, WIRE_DISPROVED);
		assert_result(r, 2, WIRE_DISPROVED);
		assert_true(r->items[2].flags & WIRE_WAS_NEW);
		assert_result(r, 3, checksum ? WIRE_DISPROVED : WIRE_PROVEN);
		assert_result(r, 4, WIRE_DISPROVED);
		assert_result(r, 5, WIRE_VANISHED);
		assert_int_equal(r->contexts_n, 0);
	}
	rig_assert_content(r, "dst/hidden", "evil");
	rig_assert_content(r, "dst/other", "old!");
	assert_false(rig_exists(r, "dst/missing"));
}

static void extras_of_whole_directories_are_told_and_stay(void **state)
{
	struct rig *r = *state;

	rig_write(r, "src/a/same", "x", OLD);
	rig_write(r, "dst/a/same", "x", OLD);
	rig_write(r, "src/a/late", "x", OLD); /* in the tree, though not in the batch */
	rig_write(r, "dst/a/late", "x", OLD);
	rig_write(r, "dst/a/extra", "x", OLD);
	rig_write(r, "dst/their/own", "x", OLD);
	rig_mkdir(r, "src/part");
	rig_write(r, "dst/part/unseen", "x", OLD);
	rig_write(r, "dst/.lockstep/stamp", "x", OLD);
	rig_start(r);
	r->extras = true;
	for (int checksum = 0; checksum < 2; checksum++) {
		rig_connect(r, checksum ? SESSION_CHECKSUM : SESSION_COMPARE);
		rig_carry(r,
		          (struct wire_item[]){
		                  ITEM("", WIRE_ITEM_DIR | WIRE_ITEM_WHOLE),
		                  ITEM("a", WIRE_ITEM_DIR | WIRE_ITEM_WHOLE),
		                  ITEM("a/same", 0),
		                  ITEM("part", WIRE_ITEM_DIR),
		          },
		          4);
		assert_result(r, 2, WIRE_PROVEN);
		assert_int_equal(r->contexts_n, 3);
		assert_int_equal(rig_context(r, "a/extra")->result, WIRE_DISPROVED);
		assert_true(S_ISREG(rig_context(r, "a/extra")->fp.mode));
		assert_true(S_ISDIR(rig_context(r, "their")->fp.mode));
		assert_non_null(rig_context(r, "their/own"));
	}
	rig_assert_content(r, "dst/a/extra", "x");
	rig_assert_content(r, "dst/their/own", "x");
	rig_assert_content(r, "dst/part/unseen", "x");
}

static void difference_is_told_in_words(void **state)
{
	struct rig *r = *state;

	rig_write(r, "src/size", "xx", OLD);
	rig_write(r, "dst/size", "x", OLD);
	rig_write(r, "src/none", "x", OLD);
	rig_write(r, "src/content", "x", OLD);
	rig_write(r, "dst/content", "y", OLD);
	assert_int_equal(symlinkat("here", r->src_fd, "link"), 0);
	assert_int_equal(symlinkat("there", r->dst_fd, "link"), 0);
	rig_start(r);
	rig_connect(r, SESSION_CHECKSUM);
	rig_carry(r,
	          (struct wire_item[]){ITEM("size", 0), ITEM("none", 0), ITEM("content", 0),
	                               ITEM("link", 0)},
	          4);
	assert_string_equal(r->texts[0], "content, size");
	assert_string_equal(r->texts[1], "missing");
	assert_string_equal(r->texts[2], "content");
	assert_memory_equal(r->texts[3], "link target", 11);
}

static void checksum_of_an_unreadable_file_is_left_out(void **state)
{
	struct rig *r = *state;

	if (getuid() != 0)
		skip();
	r->uid = 65534;
	rig_write(r, "src/a", "x", OLD);
	rig_write(r, "src/b", "x", OLD);
	rig_write(r, "dst/b", "x", OLD);
	rig_fill(r, "src/c", 700000);
	rig_fill(r, "dst/c", 700000);
	rig_set_mtime(r, "src/c", OLD);
	rig_set_mtime(r, "dst/c", OLD);
	assert_int_equal(fchmodat(r->src_fd, "a", 0, 0), 0);
	rig_start(r);
	rig_connect(r, SESSION_CHECKSUM);
	rig_carry(r, (struct wire_item[]){ITEM("a", 0), ITEM("b", 0), ITEM("c", 0)}, 3);
	assert_result(r, 0, WIRE_UNREADABLE);
	assert_result(r, 1, WIRE_PROVEN);
	assert_result(r, 2, WIRE_PROVEN);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_make, rig_drop)
	const struct CMUnitTest tests[] = {
	        TEST(compare_tells_equal_from_different_and_changes_nothing),
	        TEST(extras_of_whole_directories_are_told_and_stay),
	        TEST(difference_is_told_in_words),
	        TEST(checksum_of_an_unreadable_file_is_left_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
