/* What need not be sent again: the worker knows what it brought (worker/repeats.h). */
#include "rig.h"

#include <fcntl.h>
#include <unistd.h>

static void content_brought_last_is_not_sent_again(void **state)
{
	struct rig *r = *state;
	struct wire_item again[] = {ITEM("a", WIRE_ITEM_UNLESS_SAME),
	                            ITEM("b", WIRE_ITEM_UNLESS_SAME), ITEM("c", 0)};

	rig_write(r, "src/a", "good", OLD);
	rig_write(r, "src/b", "1111", OLD);
	rig_write(r, "src/c", "2222", OLD);
	rig_start(r);
	rig_connect(r, SESSION_CONTENT);
	rig_carry(r, again, 3);
	for (size_t i = 0; i < 3; i++)
		assert_result(r, i, WIRE_ACKED); /* nothing is known yet */
	rig_write(r, "src/b", "3333", OLD);
	rig_connect(r, SESSION_CONTENT);
	rig_carry(r, again, 3);
	assert_result(r, 0, WIRE_SAME);
	assert_result(r, 1, WIRE_ACKED);
	assert_result(r, 2, WIRE_ACKED);
	assert_true(r->items[2].flags & WIRE_DATA_SENT);
	rig_assert_content(r, "dst/a", "good");
	rig_assert_content(r, "dst/b", "3333");
	rig_connect(r, SESSION_CONTENT);
	rig_carry(r, again, 2);
	assert_result(r, 0, WIRE_SAME);
	assert_result(r, 1, WIRE_SAME);
}

static void content_brought_before_something_else_is_sent_again(void **state)
{
	struct rig *r = *state;
	struct wire_item again[] = {ITEM("a", WIRE_ITEM_UNLESS_SAME)};

	rig_write(r, "src/a", "good", OLD);
	rig_start(r);
	rig_connect(r, SESSION_CONTENT);
	rig_carry(r, again, 1);
	rig_write(r, "src/a", "else", OLD + 1);
	rig_connect(r, SESSION_QUICK);
	rig_carry(r, (struct wire_item[]){ITEM("a", 0)}, 1);
	rig_write(r, "src/a", "good", OLD + 1);
	rig_connect(r, SESSION_CONTENT);
	rig_carry(r, again, 1);
	assert_result(r, 0, WIRE_ACKED);
	rig_assert_content(r, "dst/a", "good");
	assert_int_equal(unlinkat(r->src_fd, "a", 0), 0);
	rig_connect(r, SESSION_DELETE);
	rig_carry(r, (struct wire_item[]){ITEM("a", 0)}, 1);
	assert_result(r, 0, WIRE_ACKED);
	rig_write(r, "src/a", "good", OLD + 1);
	rig_connect(r, SESSION_CONTENT);
	rig_carry(r, again, 1);
	assert_result(r, 0, WIRE_ACKED);
	rig_assert_content(r, "dst/a", "good");
}

static void names_of_one_inode_are_the_same_together_or_not_at_all(void **state)
{
	struct rig *r = *state;
	struct wire_item again[] = {ITEM("a", WIRE_ITEM_UNLESS_SAME),
	                            ITEM("b", WIRE_ITEM_UNLESS_SAME),
	                            ITEM("c", WIRE_ITEM_UNLESS_SAME)};

	rig_write(r, "src/a", "good", OLD);
	assert_int_equal(linkat(r->src_fd, "a", r->src_fd, "b", 0), 0);
	rig_start(r);
	rig_connect(r, SESSION_CONTENT);
	rig_carry(r, again, 2);
	rig_connect(r, SESSION_CONTENT);
	rig_carry(r, again, 2);
	assert_result(r, 0, WIRE_SAME);
	assert_result(r, 1, WIRE_SAME);
	assert_int_equal(linkat(r->src_fd, "a", r->src_fd, "c", 0), 0);
	rig_connect(r, SESSION_CONTENT);
	rig_carry(r, again, 3);
	for (size_t i = 0; i < 3; i++)
		assert_result(r, i, WIRE_ACKED);
	assert_int_equal(rig_stat(r, "dst/c").st_nlink, 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_make, rig_drop)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(content_brought_last_is_not_sent_again),
	        TEST(content_brought_before_something_else_is_sent_again),
	        TEST(names_of_one_inode_are_the_same_together_or_not_at_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
