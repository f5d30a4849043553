#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "core/fingerprint.h"

#define FILE_FP                                                                                    \
	{                                                                                          \
		.mode = S_IFREG | 0644, .uid = 1, .gid = 2, .nlink = 1, .size = 10,                \
		.mtime_ns = 100, .ctime_ns = 200, .dev = 3, .ino = 4                               \
	}
#define DIR_FP                                                                                     \
	{                                                                                          \
		.mode = S_IFDIR | 0755, .uid = 1, .gid = 2, .nlink = 2, .size = 4096,              \
		.mtime_ns = 100, .ctime_ns = 200, .dev = 3, .ino = 4                               \
	}

static void of_stat_takes_nanoseconds_and_negative_times(void **state)
{
	struct stat st;
	struct fingerprint fp;

	(void)state;
	memset(&st, 0, sizeof(st));
	st.st_mode = S_IFREG | 04755;
	st.st_nlink = 3;
	st.st_size = 5;
	st.st_mtim = (struct timespec){-1, 999999999};
	st.st_ctim = (struct timespec){2, 7};
	st.st_dev = 8;
	st.st_ino = 9;
	fingerprint_of(&fp, &st);
	assert_int_equal(fp.mode, S_IFREG | 04755);
	assert_int_equal(fp.nlink, 3);
	assert_int_equal(fp.size, 5);
	assert_int_equal(fp.mtime_ns, -1);
	assert_int_equal(fp.ctime_ns, 2000000007);
	assert_int_equal(fp.dev, 8);
	assert_int_equal(fp.ino, 9);
	st.st_mtim = (struct timespec){INT64_MAX, 0};
	st.st_ctim = (struct timespec){INT64_MIN, 0};
	fingerprint_of(&fp, &st);
	assert_int_equal(fp.mtime_ns, INT64_MAX);
	assert_int_equal(fp.ctime_ns, INT64_MIN);
}

#define COMPARE(base, change, expected)                                                            \
	do {                                                                                       \
		struct fingerprint known = base, seen = base;                                      \
		seen.change;                                                                       \
		assert_int_equal(fingerprint_compare(&known, &seen), expected);                    \
		assert_int_equal(fingerprint_compare(&seen, &known), expected);                    \
	} while (0)

static void compare_names_the_strongest_difference_of_files(void **state)
{
	(void)state;
	COMPARE(FILE_FP, uid = 1, FP_SAME);
	COMPARE(FILE_FP, dev = 77, FP_SAME);
	COMPARE(FILE_FP, mode = S_IFREG | 0600, FP_META);
	COMPARE(FILE_FP, uid = 77, FP_META);
	COMPARE(FILE_FP, gid = 77, FP_META);
	COMPARE(FILE_FP, ctime_ns = 77, FP_HIDDEN);
	COMPARE(FILE_FP, ino = 77, FP_HIDDEN);
	COMPARE(FILE_FP, nlink = 77, FP_HIDDEN);
	COMPARE(FILE_FP, size = 77, FP_DATA);
	COMPARE(FILE_FP, mtime_ns = 99, FP_DATA);
	COMPARE(FILE_FP, mode = S_IFLNK | 0777, FP_RETYPED);
	COMPARE(FILE_FP, mode = S_IFREG | 0600; seen.ctime_ns = 77, FP_META);
	COMPARE(FILE_FP, mode = S_IFREG | 0600; seen.size = 77, FP_DATA);
}

static void compare_leaves_size_links_ctime_and_inode_of_directories_out(void **state)
{
	(void)state;
	COMPARE(DIR_FP, size = 77, FP_SAME);
	COMPARE(DIR_FP, nlink = 77, FP_SAME);
	COMPARE(DIR_FP, ctime_ns = 77, FP_SAME);
	COMPARE(DIR_FP, ino = 77, FP_SAME);
	COMPARE(DIR_FP, mtime_ns = 77, FP_META);
	COMPARE(DIR_FP, mode = S_IFDIR | 0700, FP_META);
	COMPARE(DIR_FP, mode = S_IFREG | 0755, FP_RETYPED);
}

static void compare_with_nothing_known_is_another_type(void **state)
{
	struct fingerprint known = {0}, seen = FILE_FP;

	(void)state;
	assert_int_equal(fingerprint_compare(&known, &seen), FP_RETYPED);
}

#define MOVED(change, expected)                                                                    \
	do {                                                                                       \
		struct fingerprint before = FILE_FP, after = FILE_FP;                              \
		after.change;                                                                      \
		assert_int_equal(fingerprint_moved(&before, &after), expected);                    \
	} while (0)

static void moved_is_any_change_of_type_size_times_or_inode(void **state)
{
	(void)state;
	MOVED(mode = S_IFREG | 0644, false);
	MOVED(dev = 77, false);
	MOVED(mode = S_IFIFO | 0644, true);
	MOVED(size = 77, true);
	MOVED(mtime_ns = 77, true);
	MOVED(ctime_ns = 77, true);
	MOVED(ino = 77, true);
}

static void racy_is_young_or_from_the_future_unless_stamps_are_fine(void **state)
{
	struct fingerprint fp = FILE_FP; /* mtime 100, ctime 200 */

	(void)state;
	assert_true(fingerprint_racy(&fp, 205, 10));
	assert_false(fingerprint_racy(&fp, 210, 10));
	assert_true(fingerprint_racy(&fp, 209, 10));
	assert_true(fingerprint_racy(&fp, 150, 10));
	fp.mtime_ns = 300;
	assert_true(fingerprint_racy(&fp, 250, 10));
	assert_false(fingerprint_racy(&fp, 250, 0));
	assert_true(fingerprint_racy(&fp, INT64_MIN, 10));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(of_stat_takes_nanoseconds_and_negative_times),
	        cmocka_unit_test(compare_names_the_strongest_difference_of_files),
	        cmocka_unit_test(compare_leaves_size_links_ctime_and_inode_of_directories_out),
	        cmocka_unit_test(compare_with_nothing_known_is_another_type),
	        cmocka_unit_test(moved_is_any_change_of_type_size_times_or_inode),
	        cmocka_unit_test(racy_is_young_or_from_the_future_unless_stamps_are_fine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
