/* New small files go with the list that names them (worker/supply.h). */
#include "rig.h"

#include <stdio.h>

#include "base/mem.h"

#define FILES 1500

static void unasked_files_arrive_and_are_known_as_brought(void **state)
{
	struct rig *r = *state;

	rig_write(r, "src/d/a", "hello", OLD);
	rig_write(r, "src/empty", "", OLD);
	rig_write(r, "src/big", "", OLD);
	rig_fill(r, "src/big", 1u << 20);
	rig_mkdir(r, "dst/d");
	rig_start(r);
	rig_connect(r, SESSION_QUICK);
	rig_carry(r,
	          (struct wire_item[]){ITEM("d/a", WIRE_ITEM_UNASKED),
	                               ITEM("empty", WIRE_ITEM_UNASKED),
	                               ITEM("big", WIRE_ITEM_UNASKED)},
	          3);
	for (size_t i = 0; i < 3; i++) {
		assert_result(r, i, WIRE_ACKED);
		assert_true(r->items[i].flags & WIRE_DATA_SENT);
	}
	rig_assert_content(r, "dst/d/a", "hello");
	rig_assert_content(r, "dst/empty", "");
	assert_int_equal(rig_stat(r, "dst/big").st_size, 1u << 20);
	assert_int_equal(rig_stat(r, "dst/d/a").st_mtime, OLD);
	rig_connect(r, SESSION_CONTENT);
	rig_carry(r, (struct wire_item[]){ITEM("d/a", WIRE_ITEM_UNLESS_SAME)}, 1);
	assert_result(r, 0, WIRE_SAME);
}

static void unasked_files_below_new_directories_arrive(void **state)
{
	struct rig *r = *state;
	static char paths[FILES][16];
	struct wire_item *items = mem_array(FILES, sizeof(*items));

	for (size_t i = 0; i < FILES; i++) {
		char src[32];

		(void)snprintf(paths[i], sizeof(paths[i]), "d%zu/f%zu", i % 100, i);
		(void)snprintf(src, sizeof(src), "src/%s", paths[i]);
		rig_write(r, src, paths[i], OLD);
		items[i] = ITEM(paths[i], WIRE_ITEM_UNASKED);
	}
	rig_start(r);
	rig_connect(r, SESSION_QUICK);
	rig_carry(r, items, FILES);
	for (size_t i = 0; i < FILES; i++) {
		char dst[32];

		assert_result(r, i, WIRE_ACKED);
		assert_int_equal(r->items[i].trouble, TROUBLE_NONE);
		(void)snprintf(dst, sizeof(dst), "dst/%s", paths[i]);
		rig_assert_content(r, dst, paths[i]);
	}
	free(items);
}

static void unasked_file_that_is_blocked_fails_alone(void **state)
{
	struct rig *r = *state;

	rig_write(r, "src/a", "x", OLD);
	rig_write(r, "src/blocked", "x", OLD);
	rig_write(r, "dst/blocked/foreign", "x", OLD);
	rig_start(r);
	rig_connect(r, SESSION_QUICK);
	rig_carry(r,
	          (struct wire_item[]){ITEM("a", WIRE_ITEM_UNASKED),
	                               ITEM("blocked", WIRE_ITEM_UNASKED)},
	          2);
	assert_result(r, 0, WIRE_ACKED);
	assert_result(r, 1, WIRE_FAILED);
	rig_assert_content(r, "dst/blocked/foreign", "x");
}

/* Stock servers end the session over a file that their filter excludes. */
static void server_that_excludes_an_unasked_file_is_asked_from_then_on(void **state)
{
	struct rig *r = *state;
	struct wire_item items[] = {ITEM("a", WIRE_ITEM_UNASKED),
	                            ITEM("secret", WIRE_ITEM_UNASKED)};

	rig_write(r, "src/a", "x", OLD);
	rig_write(r, "src/secret", "x", OLD);
	rig_start(r);
	rig_connect_daemon(r, SESSION_QUICK, "exclude = secret");
	rig_wait_ready(r);
	rig_batch(r, items, 2);
	rig_wait_done(r);
	assert_int_equal(r->done.trouble, TROUBLE_PROTOCOL);
	rig_connect_daemon(r, SESSION_QUICK, "exclude = secret");
	rig_wait_ready(r);
	rig_batch(r, items, 2);
	rig_wait_done(r);
	assert_int_equal(r->done.trouble, TROUBLE_NONE);
	assert_result(r, 0, WIRE_ACKED);
	assert_result(r, 1, WIRE_FAILED);
	rig_assert_content(r, "dst/a", "x");
	assert_false(rig_exists(r, "dst/secret"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_make, rig_drop)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(unasked_files_arrive_and_are_known_as_brought),
	        TEST(unasked_files_below_new_directories_arrive),
	        TEST(unasked_file_that_is_blocked_fails_alone),
	        TEST(server_that_excludes_an_unasked_file_is_asked_from_then_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
