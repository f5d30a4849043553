#include "rig.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

static void new_entries_of_all_kinds_are_acked(void **state)
{
	struct rig *r = *state;

	rig_write(r, "src/d/file", "hello", OLD);
	rig_write(r, "src/empty", "", OLD);
	assert_int_equal(symlinkat("d/file", r->src_fd, "link"), 0);
	assert_int_equal(mkfifoat(r->src_fd, "fifo", 0600), 0);
	rig_mkdir(r, "src/sub");
	assert_int_equal(fchmodat(r->src_fd, "sub", 0710, 0), 0);
	rig_start(r);
	rig_connect(r, SESSION_QUICK);
	rig_carry(r,
	          (struct wire_item[]){ITEM("d/file", 0), ITEM("empty", 0), ITEM("link", 0),
	                               ITEM("fifo", 0), ITEM("sub", WIRE_ITEM_DIR)},
	          5);
	for (size_t i = 0; i < 5; i++) {
		assert_result(r, i, WIRE_ACKED);
		assert_true(r->items[i].flags & WIRE_WAS_NEW);
		assert_int_not_equal(r->items[i].fp.ino, 0);
	}
	assert_true(r->items[0].flags & WIRE_DATA_SENT);
	assert_false(r->items[4].flags & WIRE_DATA_SENT);
	rig_assert_content(r, "dst/d/file", "hello");
	assert_int_equal(rig_stat(r, "dst/d/file").st_mtime, OLD);
	assert_true(S_ISLNK(rig_stat(r, "dst/link").st_mode));
	assert_true(S_ISFIFO(rig_stat(r, "dst/fifo").st_mode));
	assert_int_equal(rig_stat(r, "dst/sub").st_mode & 07777, 0710);
	assert_non_null(rig_context(r, "d"));
	assert_non_null(rig_context(r, ""));
	assert_int_equal(rig_context(r, "d")->result, WIRE_CONTEXT);
	assert_true(S_ISDIR(rig_context(r, "d")->fp.mode));
	assert_null(rig_context(r, "sub"));
}

static void equal_file_is_acked_without_content(void **state)
{
	struct rig *r = *state;

	rig_write(r, "src/a", "same", OLD);
	rig_write(r, "dst/a", "same", OLD);
	rig_start(r);
	rig_connect(r, SESSION_QUICK);
	rig_carry(r, (struct wire_item[]){ITEM("a", 0)}, 1);
	assert_result(r, 0, WIRE_ACKED);
	assert_false(r->items[0].flags & (WIRE_DATA_SENT | WIRE_WAS_NEW));
}

static void same_size_and_time_is_healed_by_content_class(void **state)
{
	struct rig *r = *state;

	rig_write(r, "src/a", "good", OLD);
	rig_write(r, "dst/a", "evil", OLD);
	rig_start(r);
	rig_connect(r, SESSION_CONTENT);
	rig_carry(r, (struct wire_item[]){ITEM("a", 0)}, 1);
	assert_result(r, 0, WIRE_ACKED);
	assert_true(r->items[0].flags & WIRE_DATA_SENT);
	rig_assert_content(r, "dst/a", "good");
}

static void meta_item_changes_mode_without_content(void **state)
{
	struct rig *r = *state;

	rig_write(r, "src/a", "same", OLD);
	rig_write(r, "dst/a", "same", OLD);
	assert_int_equal(fchmodat(r->src_fd, "a", 0600, 0), 0);
	rig_start(r);
	rig_connect(r, SESSION_QUICK);
	rig_carry(r, (struct wire_item[]){ITEM("a", WIRE_ITEM_META)}, 1);
	assert_result(r, 0, WIRE_ACKED);
	assert_false(r->items[0].flags & WIRE_DATA_SENT);
	assert_int_equal(rig_stat(r, "dst/a").st_mode & 07777, 0600);
}

static void mode_map_is_applied_to_files_and_directories(void **state)
{
	struct rig *r = *state;

	rig_write(r, "src/d/a", "x", OLD);
	r->setup.mode_map.file_and = 07666;
	r->setup.mode_map.file_or = 0020;
	r->setup.mode_map.dir_and = 07777;
	r->setup.mode_map.dir_or = 02000;
	rig_start(r);
	rig_connect(r, SESSION_QUICK);
	rig_carry(r, (struct wire_item[]){ITEM("d/a", 0)}, 1);
	assert_int_equal(rig_stat(r, "dst/d/a").st_mode & 07777, 0664);
	assert_int_equal(rig_stat(r, "dst/d").st_mode & 07777, 02755);
	assert_int_equal(r->items[0].fp.mode & 07777, 0644);
}

static void root_attributes_ride_along(void **state)
{
	struct rig *r = *state;

	rig_write(r, "src/a", "x", OLD);
	rig_set_mtime(r, "src", OLD + 5);
	rig_start(r);
	rig_connect(r, SESSION_QUICK);
	rig_carry(r, (struct wire_item[]){ITEM("a", 0)}, 1);
	assert_int_equal(rig_stat(r, "dst").st_mtime, OLD + 5);
}

static void root_as_an_item_is_acked(void **state)
{
	struct rig *r = *state;

	assert_int_equal(fchmodat(r->dir_fd, "src", 0751, 0), 0);
	rig_start(r);
	rig_connect(r, SESSION_QUICK);
	rig_carry(r, (struct wire_item[]){ITEM("", WIRE_ITEM_DIR)}, 1);
	assert_result(r, 0, WIRE_ACKED);
	assert_int_equal(rig_stat(r, "dst").st_mode & 07777, 0751);
	assert_int_equal(r->contexts_n, 0);
}

static void deep_path_beyond_the_open_limit_is_sent(void **state)
{
	struct rig *r = *state;
	char path[1024] = "src", *at = path + 3;

	for (int i = 0; i < 140; i++)
		at += snprintf(at, 8, "/d%d", i);
	memcpy(at, "/f", 3);
	rig_write(r, path, "deep", OLD);
	rig_start(r);
	rig_connect(r, SESSION_QUICK);
	rig_carry(r, (struct wire_item[]){ITEM(path + 4, 0)}, 1);
	assert_result(r, 0, WIRE_ACKED);
	assert_int_equal(r->contexts_n, 141);
	for (size_t i = 0; i < r->contexts_n; i++)
		assert_int_equal(r->contexts[i].result, WIRE_CONTEXT);
}

static void hard_links_stay_one_inode(void **state)
{
	struct rig *r = *state;

	rig_write(r, "src/a", "linked", OLD);
	assert_int_equal(linkat(r->src_fd, "a", r->src_fd, "b", 0), 0);
	rig_start(r);
	rig_connect(r, SESSION_QUICK);
	rig_carry(r, (struct wire_item[]){ITEM("b", 0), ITEM("a", 0)}, 2);
	assert_result(r, 0, WIRE_ACKED);
	assert_result(r, 1, WIRE_ACKED);
	assert_int_equal(rig_stat(r, "dst/a").st_ino, rig_stat(r, "dst/b").st_ino);
}

static void odd_names_arrive(void **state)
{
	struct rig *r = *state;
	static const char *const names[] = {"-rf",      "new\nline", "a\"b\"", "*",        "[x]",
	                                    "\xff\xfe", " lead",     "tail ",  "$(id)",    "#x",
	                                    "R /x",     "\\#012",    ". .",    ".x.ABCDEF"};
	struct wire_item items[ARRAY_LEN(names)];

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		autofree char *path = mem_printf("src/%s", names[i]);

		rig_write(r, path, names[i], OLD);
		items[i] = ITEM(names[i], 0);
	}
	rig_start(r);
	rig_connect(r, SESSION_CONTENT);
	rig_carry(r, items, ARRAY_LEN(names));
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		autofree char *path = mem_printf("dst/%s", names[i]);

		assert_result(r, i, WIRE_ACKED);
		rig_assert_content(r, path, names[i]);
	}
}

static void vanished_and_retyped_items_are_not_listed(void **state)
{
	struct rig *r = *state;

	rig_write(r, "src/a", "x", OLD);
	rig_mkdir(r, "src/now_dir");
	rig_write(r, "src/now_file", "x", OLD);
	rig_write(r, "src/file_in_the_way", "x", OLD);
	rig_start(r);
	rig_connect(r, SESSION_QUICK);
	rig_carry(r,
	          (struct wire_item[]){ITEM("a", 0), ITEM("gone", 0), ITEM("gone_dir/x", 0),
	                               ITEM("now_dir", 0), ITEM("now_file", WIRE_ITEM_DIR),
	                               ITEM("file_in_the_way/x", 0)},
	          6);
	assert_result(r, 0, WIRE_ACKED);
	for (size_t i = 1; i < 6; i++)
		assert_result(r, i, WIRE_VANISHED);
	assert_false(rig_exists(r, "dst/now_dir"));
	assert_false(rig_exists(r, "dst/gone_dir"));
}

static void batch_with_nothing_left_ends_at_once(void **state)
{
	struct rig *r = *state;

	rig_start(r);
	rig_connect(r, SESSION_QUICK);
	rig_carry(r, (struct wire_item[]){ITEM("gone", 0)}, 1);
	assert_result(r, 0, WIRE_VANISHED);
}

static void unreadable_file_is_reported_and_the_rest_goes_on(void **state)
{
	struct rig *r = *state;

	if (getuid() != 0)
		skip();
	r->uid = 65534;
	rig_write(r, "src/secret", "x", OLD);
	rig_write(r, "src/open", "y", OLD);
	assert_int_equal(fchmodat(r->src_fd, "secret", 0600, 0), 0);
	rig_start(r);
	rig_connect(r, SESSION_QUICK);
	rig_carry(r, (struct wire_item[]){ITEM("secret", 0), ITEM("open", 0)}, 2);
	assert_result(r, 0, WIRE_UNREADABLE);
	assert_string_equal(r->texts[0], "Permission denied");
	assert_result(r, 1, WIRE_ACKED);
	assert_false(rig_exists(r, "dst/secret"));
}

/* The server is held while the list waits for it, so what happens now happens between the look and
 * the request. */
static void file_gone_after_the_list_is_vanished(void **state)
{
	struct rig *r = *state;

	rig_write(r, "src/a", "x", OLD);
	rig_start(r);
	rig_connect(r, SESSION_QUICK);
	rig_signal_server(r, SIGSTOP);
	rig_batch(r, (struct wire_item[]){ITEM("a", 0)}, 1);
	rig_sync(r);
	assert_int_equal(unlinkat(r->src_fd, "a", 0), 0);
	rig_signal_server(r, SIGCONT);
	rig_wait_done(r);
	assert_result(r, 0, WIRE_VANISHED);
	assert_int_equal(r->done.trouble, TROUBLE_NONE);
	assert_false(rig_exists(r, "dst/a"));
}

static void directory_swapped_for_a_link_leaks_nothing(void **state)
{
	struct rig *r = *state;
	autofree char *outside = mem_printf("%s/outside", r->dir);

	rig_write(r, "src/d/f", "mine", OLD);
	rig_write(r, "outside/f", "secret", OLD);
	rig_start(r);
	rig_connect(r, SESSION_QUICK);
	rig_signal_server(r, SIGSTOP);
	rig_batch(r, (struct wire_item[]){ITEM("d/f", 0)}, 1);
	rig_sync(r);
	assert_int_equal(renameat(r->src_fd, "d", r->src_fd, "was_d"), 0);
	assert_int_equal(symlinkat(outside, r->src_fd, "d"), 0);
	rig_signal_server(r, SIGCONT);
	rig_wait_done(r);
	assert_result(r, 0, WIRE_VANISHED);
	assert_false(rig_exists(r, "dst/d/f"));
}

static void file_swapped_for_another_is_not_sent(void **state)
{
	struct rig *r = *state;

	rig_write(r, "src/f", "mine", OLD);
	rig_write(r, "src/g", "other", OLD);
	rig_start(r);
	rig_connect(r, SESSION_QUICK);
	rig_signal_server(r, SIGSTOP);
	rig_batch(r, (struct wire_item[]){ITEM("f", 0)}, 1);
	rig_sync(r);
	assert_int_equal(renameat(r->src_fd, "g", r->src_fd, "f"), 0);
	rig_signal_server(r, SIGCONT);
	rig_wait_done(r);
	assert_result(r, 0, WIRE_VANISHED);
	assert_false(rig_exists(r, "dst/f"));
}

/* The receiver asks for one name of an inode and links the others to it. */
static void link_whose_other_name_vanished_is_not_failed(void **state)
{
	static const char *const names[] = {"d/a", "e/b", "f"};

	for (size_t gone = 0; gone < 7; gone++) {
		struct rig *r = *state;

		rig_mkdir(r, "src/d");
		rig_mkdir(r, "src/e");
		rig_write(r, "src/d/a", "mine", OLD);
		assert_int_equal(linkat(r->src_fd, "d/a", r->src_fd, "e/b", 0), 0);
		assert_int_equal(linkat(r->src_fd, "d/a", r->src_fd, "f", 0), 0);
		rig_start(r);
		rig_connect(r, SESSION_QUICK);
		rig_signal_server(r, SIGSTOP);
		rig_batch(r, (struct wire_item[]){ITEM("d/a", 0), ITEM("e/b", 0), ITEM("f", 0)}, 3);
		rig_sync(r);
		for (size_t i = 0; i < 3; i++) {
			if (gone & 1u << i)
				assert_int_equal(unlinkat(r->src_fd, names[i], 0), 0);
		}
		rig_signal_server(r, SIGCONT);
		rig_wait_done(r);
		for (size_t i = 0; i < 3; i++)
			assert_int_not_equal(r->items[i].result, WIRE_FAILED);
		assert_int_equal(rig_drop(state), 0);
		assert_int_equal(rig_make(state), 0);
	}
}

static void file_changed_after_the_list_is_moved(void **state)
{
	struct rig *r = *state;

	rig_write(r, "src/a", "old", OLD);
	rig_start(r);
	rig_connect(r, SESSION_QUICK);
	rig_signal_server(r, SIGSTOP);
	rig_batch(r, (struct wire_item[]){ITEM("a", 0)}, 1);
	rig_sync(r);
	rig_write(r, "src/a", "newer content", 0);
	rig_signal_server(r, SIGCONT);
	rig_wait_done(r);
	assert_result(r, 0, WIRE_MOVED);
	assert_int_equal(r->items[0].fp.size, 3);
}

static void directory_changed_after_the_list_is_moved(void **state)
{
	struct rig *r = *state;

	rig_write(r, "src/d/a", "old", OLD);
	rig_mkdir(r, "src/e");
	rig_start(r);
	rig_connect(r, SESSION_QUICK);
	rig_signal_server(r, SIGSTOP);
	rig_batch(r, (struct wire_item[]){ITEM("d/a", 0), ITEM("e", WIRE_ITEM_DIR)}, 2);
	rig_sync(r);
	assert_int_equal(fchmodat(r->src_fd, "d", 0700, 0), 0);
	assert_int_equal(fchmodat(r->src_fd, "e", 0700, 0), 0);
	rig_signal_server(r, SIGCONT);
	rig_wait_done(r);
	assert_result(r, 0, WIRE_ACKED);
	assert_result(r, 1, WIRE_MOVED);
	assert_int_equal(rig_context(r, "d")->result, WIRE_CONTEXT_MOVED);
	assert_int_equal(rig_context(r, "")->result, WIRE_CONTEXT);
}

/* The root may have come back on a file system with coarser stamps since the worker began. */
static void fresh_file_is_racy_by_the_window_of_its_batch(void **state)
{
	struct rig *r = *state;

	rig_write(r, "src/a", "x", 0);
	rig_start(r);
	rig_connect(r, SESSION_QUICK);
	rig_carry(r, (struct wire_item[]){ITEM("a", 0)}, 1);
	assert_result(r, 0, WIRE_ACKED);
	assert_false(r->items[0].flags & WIRE_RACY);
	r->racy_window_ns = 3600 * INT64_C(1000000000);
	rig_connect(r, SESSION_QUICK);
	rig_carry(r, (struct wire_item[]){ITEM("a", 0)}, 1);
	assert_result(r, 0, WIRE_ACKED);
	assert_true(r->items[0].flags & WIRE_RACY);
}

static void kinds_that_are_not_kept_fail_by_themselves(void **state)
{
	struct rig *r = *state;

	r->setup.options.links = r->setup.options.devices = false;
	assert_int_equal(symlinkat("x", r->src_fd, "link"), 0);
	assert_int_equal(mkfifoat(r->src_fd, "fifo", 0600), 0);
	rig_write(r, "src/a", "x", OLD);
	rig_start(r);
	rig_connect(r, SESSION_QUICK);
	rig_carry(r, (struct wire_item[]){ITEM("link", 0), ITEM("fifo", 0), ITEM("a", 0)}, 3);
	assert_result(r, 0, WIRE_FAILED);
	assert_result(r, 1, WIRE_FAILED);
	assert_result(r, 2, WIRE_ACKED);
}

static void without_acks_the_phase_confirms(void **state)
{
	struct rig *r = *state;

	r->without = SESSION_WITHOUT_ACKS;
	rig_write(r, "src/a", "x", OLD);
	rig_write(r, "src/blocked", "x", OLD);
	rig_write(r, "dst/blocked/foreign", "x", OLD);
	rig_start(r);
	rig_connect(r, SESSION_QUICK);
	rig_carry(r, (struct wire_item[]){ITEM("a", 0), ITEM("blocked", 0)}, 2);
	assert_result(r, 0, WIRE_ACKED);
	assert_result(r, 1, WIRE_FAILED);
	rig_assert_content(r, "dst/a", "x");
	rig_assert_content(r, "dst/blocked/foreign", "x");
}

static void big_file_under_a_bandwidth_limit_arrives_whole(void **state)
{
	struct rig *r = *state;

	r->setup.bwlimit_bytes = 8u << 20;
	rig_fill(r, "src/big", 3u << 20);
	rig_start(r);
	rig_connect(r, SESSION_QUICK);
	rig_carry(r, (struct wire_item[]){ITEM("big", 0)}, 1);
	assert_result(r, 0, WIRE_ACKED);
	assert_int_equal(rig_stat(r, "dst/big").st_size, 3u << 20);
	assert_true(r->done.bytes_out > 3u << 20);
}

static void changed_big_file_is_sent_as_differences(void **state)
{
	struct rig *r = *state;
	autoclose int fd = -1;

	rig_fill(r, "src/big", 8u << 20);
	rig_fill(r, "dst/big", 8u << 20);
	rig_set_mtime(r, "dst/big", OLD);
	fd = openat(r->src_fd, "big", O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "changed", 7, 4u << 20), 7);
	rig_start(r);
	rig_connect(r, SESSION_QUICK);
	rig_carry(r, (struct wire_item[]){ITEM("big", 0)}, 1);
	assert_result(r, 0, WIRE_ACKED);
	assert_true(r->done.bytes_out < 1u << 20);
}

/* --- stamps --- */

#define STAMP(g, f)                                                                                \
	((struct wire_item){BYTES(".lockstep/job.0"), (uint8_t)(WIRE_ITEM_STAMP | (f)), (g)})

static void stamp_is_written_then_proven_then_disproved(void **state)
{
	struct rig *r = *state;

	rig_start(r);
	rig_connect(r, SESSION_QUICK);
	rig_carry(r, (struct wire_item[]){STAMP(42, WIRE_ITEM_SERVE)}, 1);
	assert_result(r, 0, WIRE_ACKED);
	assert_int_equal(rig_stat(r, "dst/.lockstep/job.0").st_mtime, 42);
	assert_int_equal(rig_stat(r, "dst/.lockstep/job.0").st_size, 0);
	assert_int_equal(rig_stat(r, "dst/.lockstep").st_mode & 07777, 0700);
	rig_connect(r, SESSION_QUICK);
	rig_carry(r, (struct wire_item[]){STAMP(42, 0)}, 1);
	assert_result(r, 0, WIRE_PROVEN);
	rig_connect(r, SESSION_CONTENT);
	rig_carry(r, (struct wire_item[]){STAMP(42, 0)}, 1);
	assert_result(r, 0, WIRE_PROVEN);
	rig_connect(r, SESSION_QUICK);
	rig_carry(r, (struct wire_item[]){STAMP(44, 0)}, 1);
	assert_result(r, 0, WIRE_DISPROVED);
	assert_int_equal(rig_stat(r, "dst/.lockstep/job.0").st_mtime, 42);
}

static void missing_stamp_is_disproved_and_not_created(void **state)
{
	struct rig *r = *state;

	rig_write(r, "src/a", "x", OLD);
	rig_start(r);
	rig_connect(r, SESSION_QUICK);
	rig_carry(r, (struct wire_item[]){ITEM("a", 0), STAMP(42, 0)}, 2);
	assert_result(r, 0, WIRE_ACKED);
	assert_result(r, 1, WIRE_DISPROVED);
	assert_false(rig_exists(r, "dst/.lockstep/job.0"));
	rig_connect(r, SESSION_CONTENT);
	rig_carry(r, (struct wire_item[]){STAMP(42, 0)}, 1);
	assert_result(r, 0, WIRE_DISPROVED);
}

static void two_stamps_beside_files_are_told_apart(void **state)
{
	struct rig *r = *state;
	struct wire_item other = STAMP(43, WIRE_ITEM_SERVE);

	other.path = BYTES(".lockstep/job.1");
	rig_write(r, "src/.a", "x", OLD);
	rig_write(r, "src/z", "x", OLD);
	rig_write(r, "dst/.lockstep/job.0", "", 42);
	rig_start(r);
	rig_connect(r, SESSION_QUICK);
	rig_carry(r, (struct wire_item[]){ITEM("z", 0), ITEM(".a", 0), STAMP(42, 0), other}, 4);
	assert_result(r, 0, WIRE_ACKED);
	assert_result(r, 1, WIRE_ACKED);
	assert_result(r, 2, WIRE_PROVEN);
	assert_result(r, 3, WIRE_ACKED);
	assert_int_equal(rig_stat(r, "dst/.lockstep/job.1").st_mtime, 43);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_make, rig_drop)
	const struct CMUnitTest tests[] = {
	        TEST(new_entries_of_all_kinds_are_acked),
	        TEST(equal_file_is_acked_without_content),
	        TEST(same_size_and_time_is_healed_by_content_class),
	        TEST(meta_item_changes_mode_without_content),
	        TEST(mode_map_is_applied_to_files_and_directories),
	        TEST(root_attributes_ride_along),
	        TEST(root_as_an_item_is_acked),
	        TEST(deep_path_beyond_the_open_limit_is_sent),
	        TEST(hard_links_stay_one_inode),
	        TEST(odd_names_arrive),
	        TEST(vanished_and_retyped_items_are_not_listed),
	        TEST(batch_with_nothing_left_ends_at_once),
	        TEST(unreadable_file_is_reported_and_the_rest_goes_on),
	        TEST(file_gone_after_the_list_is_vanished),
	        TEST(directory_swapped_for_a_link_leaks_nothing),
	        TEST(link_whose_other_name_vanished_is_not_failed),
	        TEST(file_swapped_for_another_is_not_sent),
	        TEST(file_changed_after_the_list_is_moved),
	        TEST(directory_changed_after_the_list_is_moved),
	        TEST(fresh_file_is_racy_by_the_window_of_its_batch),
	        TEST(kinds_that_are_not_kept_fail_by_themselves),
	        TEST(without_acks_the_phase_confirms),
	        TEST(big_file_under_a_bandwidth_limit_arrives_whole),
	        TEST(changed_big_file_is_sent_as_differences),
	        TEST(stamp_is_written_then_proven_then_disproved),
	        TEST(missing_stamp_is_disproved_and_not_created),
	        TEST(two_stamps_beside_files_are_told_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
