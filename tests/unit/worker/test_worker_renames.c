/* Names that files had before, against a real receiver. */
#include "rig.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define BIG (2u << 20)

static void add_former(struct rig *r, const char *path, uint32_t item, const struct stat *st)
{
	struct wire_former *former = &r->formers[r->formers_n++];

	former->path = (struct bytes){path, strlen(path)};
	former->item = item;
	fingerprint_of(&former->fp, st);
}

/* `old`/f is on both sides; at the source its directory gets another name. */
static void move_dir(struct rig *r, const char *old, const char *now)
{
	char src[32], dst[32];
	struct stat dir;

	(void)snprintf(src, sizeof(src), "src/%s/f", old);
	(void)snprintf(dst, sizeof(dst), "dst/%s/f", old);
	rig_write(r, src, "content", OLD);
	rig_write(r, dst, "content", OLD);
	src[strlen(src) - 2] = dst[strlen(dst) - 2] = '\0';
	assert_int_equal(fchmodat(r->dir_fd, src, 0710, 0), 0);
	assert_int_equal(fchmodat(r->dir_fd, dst, 0710, 0), 0);
	rig_set_mtime(r, src, OLD + 7);
	rig_set_mtime(r, dst, OLD + 7);
	dir = rig_stat(r, src);
	add_former(r, old, WIRE_NO_ITEM, &dir);
	src[strlen(src)] = '/';
	dir = rig_stat(r, src);
	r->formers_n++; /* its path is the caller's */
	fingerprint_of(&r->formers[1].fp, &dir);
	r->formers[1].item = 1;
	assert_int_equal(renameat(r->src_fd, old, r->src_fd, now), 0);
}

static void move_a_to_b(struct rig *r)
{
	move_dir(r, "a", "b");
	r->formers[1].path = BYTES("a/f");
}

static void carry_dir(struct rig *r, const char *dir, const char *file)
{
	rig_start(r);
	rig_connect(r, SESSION_QUICK);
	rig_carry(r, (struct wire_item[]){ITEM(dir, WIRE_ITEM_DIR), ITEM(file, 0)}, 2);
	assert_result(r, 1, WIRE_ACKED);
}

static void assert_linked(struct rig *r, const char *old, const char *now)
{
	struct stat a = rig_stat(r, old), b = rig_stat(r, now);

	assert_int_equal(a.st_ino, b.st_ino);
}

static void check_moved_dir(struct rig *r, const char *old, const char *now, int protocol)
{
	char file[16], was[16], src[32], dst[32];

	(void)snprintf(file, sizeof(file), "%s/f", now);
	(void)snprintf(was, sizeof(was), "%s/f", old);
	(void)snprintf(dst, sizeof(dst), "dst/%s", file);
	(void)snprintf(src, sizeof(src), "dst/%s", was);
	r->setup.options.protocol_max = protocol;
	move_dir(r, old, now);
	r->formers[1].path = (struct bytes){was, strlen(was)};
	carry_dir(r, now, file);
	assert_result(r, 0, WIRE_ACKED);
	assert_true(r->items[1].flags & WIRE_FORMER);
	assert_false(r->items[0].flags & WIRE_FORMER);
	assert_false(r->items[1].flags & WIRE_DATA_SENT);
	rig_assert_content(r, dst, "content");
	assert_linked(r, dst, src);
	/* What the source does not have any more stays as it was. */
	src[strlen(src) - 2] = '\0';
	assert_int_equal(rig_stat(r, src).st_mode & 07777, 0710);
	assert_int_equal(rig_stat(r, src).st_mtime, OLD + 7);
	assert_null(rig_context(r, old));
}

static void file_of_a_moved_directory_is_linked(void **state)
{
	check_moved_dir(*state, "a", "b", 32);
}

static void name_before_the_former_one_is_linked(void **state)
{
	check_moved_dir(*state, "b", "a", 32);
}

static void file_with_a_former_name_is_not_sent_unasked(void **state)
{
	struct rig *r = *state;

	rig_write(r, "src/b/g", "another", OLD);
	rig_write(r, "dst/b/other", "other", OLD);
	assert_int_equal(renameat(r->src_fd, "b", r->src_fd, "c"), 0);
	move_dir(r, "a", "b");
	assert_int_equal(renameat(r->src_fd, "c/g", r->src_fd, "b/g"), 0);
	r->formers[1].path = BYTES("a/f");
	r->formers[1].item = 0;
	rig_start(r);
	rig_connect(r, SESSION_QUICK);
	rig_carry(r,
	          (struct wire_item[]){ITEM("b/f", WIRE_ITEM_UNASKED),
	                               ITEM("b/g", WIRE_ITEM_UNASKED)},
	          2);
	assert_result(r, 0, WIRE_ACKED);
	assert_int_equal(r->items[0].flags & (WIRE_FORMER | WIRE_DATA_SENT), WIRE_FORMER);
	assert_result(r, 1, WIRE_ACKED);
	assert_true(r->items[1].flags & WIRE_DATA_SENT);
	assert_linked(r, "dst/b/f", "dst/a/f");
	rig_assert_content(r, "dst/b/g", "another");
}

static void protocol_31_links(void **state)
{
	check_moved_dir(*state, "a", "b", 31);
}

static void protocol_30_links(void **state)
{
	check_moved_dir(*state, "b", "a", 30);
}

static void file_that_was_written_with_its_time_put_back_is_sent(void **state)
{
	struct rig *r = *state;

	move_a_to_b(r);
	rig_write(r, "src/b/f", "CONTENT", OLD);
	carry_dir(r, "b", "b/f");
	assert_true(r->items[1].flags & WIRE_DATA_SENT);
	assert_false(r->items[1].flags & WIRE_FORMER);
	rig_assert_content(r, "dst/b/f", "CONTENT");
	rig_assert_content(r, "dst/a/f", "content");
}

static void what_stands_under_the_former_name_again_is_left_alone(void **state)
{
	struct rig *r = *state;

	move_a_to_b(r);
	rig_write(r, "src/a/f", "another", OLD);
	carry_dir(r, "b", "b/f");
	assert_false(r->items[1].flags & WIRE_FORMER);
	rig_assert_content(r, "dst/b/f", "content");
	rig_assert_content(r, "dst/a/f", "content");
}

static void target_that_lost_the_former_name_gets_the_content(void **state)
{
	struct rig *r = *state;

	move_a_to_b(r);
	assert_int_equal(unlinkat(r->dst_fd, "a/f", 0), 0);
	assert_int_equal(unlinkat(r->dst_fd, "a", AT_REMOVEDIR), 0);
	carry_dir(r, "b", "b/f");
	rig_assert_content(r, "dst/b/f", "content");
}

static void stale_former_name_is_not_linked_as_it_is(void **state)
{
	struct rig *r = *state;

	move_dir(r, "b", "a");
	r->formers[1].path = BYTES("b/f");
	rig_write(r, "dst/b/f", "older", OLD - 5);
	carry_dir(r, "a", "a/f");
	rig_assert_content(r, "dst/a/f", "content");
}

static void directory_in_the_place_of_the_former_name_is_no_harm(void **state)
{
	struct rig *r = *state;

	move_a_to_b(r);
	assert_int_equal(unlinkat(r->dst_fd, "a/f", 0), 0);
	rig_write(r, "dst/a/f/theirs", "theirs", OLD);
	rig_start(r);
	rig_connect(r, SESSION_QUICK);
	rig_batch(r, (struct wire_item[]){ITEM("b", WIRE_ITEM_DIR), ITEM("b/f", 0)}, 2);
	rig_wait_done(r);
	assert_true(r->items[1].flags & WIRE_FORMER);
	rig_assert_content(r, "dst/a/f/theirs", "theirs");
	if (r->items[1].result == WIRE_ACKED)
		rig_assert_content(r, "dst/b/f", "content");
	else
		assert_result(r, 1, WIRE_FAILED);
}

static void without_hard_links_it_is_sent(void **state)
{
	struct rig *r = *state;

	r->setup.options.hard_links = false;
	move_a_to_b(r);
	carry_dir(r, "b", "b/f");
	assert_true(r->items[1].flags & WIRE_DATA_SENT);
	assert_false(r->items[1].flags & WIRE_FORMER);
	assert_int_not_equal(rig_stat(r, "dst/a/f").st_ino, rig_stat(r, "dst/b/f").st_ino);
}

/* Both sides have it under `old`. */
static void move_big(struct rig *r, const char *old, const char *now)
{
	char path[32];
	struct stat st;

	(void)snprintf(path, sizeof(path), "dst/%s", old);
	rig_fill(r, path, BIG);
	rig_set_mtime(r, path, OLD);
	(void)snprintf(path, sizeof(path), "src/%s", old);
	rig_fill(r, path, BIG);
	rig_set_mtime(r, path, OLD);
	st = rig_stat(r, path);
	add_former(r, old, 0, &st);
	assert_int_equal(renameat(r->src_fd, old, r->src_fd, now), 0);
}

static void check_renamed_big(struct rig *r, const char *old, const char *now)
{
	char dst[32], src[32];

	(void)snprintf(dst, sizeof(dst), "dst/%s", now);
	(void)snprintf(src, sizeof(src), "src/%s", now);
	move_big(r, old, now);
	rig_start(r);
	rig_connect(r, SESSION_CONTENT);
	rig_carry(r, (struct wire_item[]){ITEM(now, 0)}, 1);
	assert_result(r, 0, WIRE_ACKED);
	assert_true(r->items[0].flags & WIRE_FORMER);
	assert_true(r->done.bytes_out < BIG / 16);
	assert_int_equal(rig_stat(r, dst).st_size, BIG);
}

static void renamed_big_file_goes_as_differences(void **state)
{
	check_renamed_big(*state, "a", "b");
}

static void big_file_renamed_to_an_earlier_name_goes_as_differences(void **state)
{
	check_renamed_big(*state, "b", "a");
}

static void big_file_that_was_changed_and_renamed_arrives_as_it_is(void **state)
{
	struct rig *r = *state;
	char end[6] = {0};
	int fd;

	move_big(r, "a", "b");
	fd = openat(r->src_fd, "b", O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "other", 5, 1000), 5);
	(void)close(fd);
	rig_set_mtime(r, "src/b", OLD);
	rig_start(r);
	rig_connect(r, SESSION_CONTENT);
	rig_carry(r, (struct wire_item[]){ITEM("b", 0)}, 1);
	assert_result(r, 0, WIRE_ACKED);
	assert_true(r->done.bytes_out < BIG / 16);
	fd = openat(r->dst_fd, "b", O_RDONLY | O_CLOEXEC);
	assert_int_equal(pread(fd, end, 5, 1000), 5);
	(void)close(fd);
	assert_string_equal(end, "other");
}

static void file_that_is_gone_again_is_vanished(void **state)
{
	struct rig *r = *state;

	move_big(r, "a", "b");
	assert_int_equal(unlinkat(r->src_fd, "b", 0), 0);
	rig_start(r);
	rig_connect(r, SESSION_CONTENT);
	rig_batch(r, (struct wire_item[]){ITEM("b", 0)}, 1);
	rig_wait_done(r);
	assert_result(r, 0, WIRE_VANISHED);
	assert_false(r->items[0].flags & WIRE_FORMER);
	assert_false(rig_exists(r, "dst/b"));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_make, rig_drop)
	const struct CMUnitTest tests[] = {
	        TEST(file_of_a_moved_directory_is_linked),
	        TEST(name_before_the_former_one_is_linked),
	        TEST(file_with_a_former_name_is_not_sent_unasked),
	        TEST(protocol_31_links),
	        TEST(protocol_30_links),
	        TEST(file_that_was_written_with_its_time_put_back_is_sent),
	        TEST(what_stands_under_the_former_name_again_is_left_alone),
	        TEST(target_that_lost_the_former_name_gets_the_content),
	        TEST(stale_former_name_is_not_linked_as_it_is),
	        TEST(directory_in_the_place_of_the_former_name_is_no_harm),
	        TEST(without_hard_links_it_is_sent),
	        TEST(renamed_big_file_goes_as_differences),
	        TEST(big_file_renamed_to_an_earlier_name_goes_as_differences),
	        TEST(big_file_that_was_changed_and_renamed_arrives_as_it_is),
	        TEST(file_that_is_gone_again_is_vanished),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
