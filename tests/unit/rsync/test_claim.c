/* Files that are claimed to be copies of what the target has, against the installed `rsync
 * --server`. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>
#include "base/mem.h"
#include "talk.h"

#define SIZE (3u * SESSION_CLAIM_BLOCK + 77)

static char *noise(size_t n)
{
	char *p = mem_alloc(n);
	uint64_t x = 0x9e3779b97f4a7c15;

	for (size_t i = 0; i < n; i++) {
		x = x * 6364136223846793005 + 1442695040888963407;
		p[i] = (char)(x >> 56);
	}
	return p;
}

static struct talk_file copy_file(const char *path, const char *content, size_t n,
                                  const char *basis)
{
	struct talk_file f = talk_file(path, "");

	f.content = (struct bytes){content, n};
	f.entry.size = n;
	f.basis = bytes_of(basis);
	return f;
}

static struct session_options options(void)
{
	struct session_options o = talk_options();

	o.copies = true;
	return o;
}

static void check_copy(struct talk *t, const struct session_options *o, const char *from,
                       const char *path, const char *basis, size_t n)
{
	autofree char *content = noise(n);
	struct talk_file f[] = {talk_dir("d"), talk_dir("d/e"), copy_file(path, content, n, basis)};

	assert_int_equal(mkdir(talk_path(t, "d"), 0755), 0);
	assert_int_equal(mkdir(talk_path(t, "d/e"), 0755), 0);
	talk_write(t, from, f[2].content);
	talk_push(t, SESSION_CONTENT, o, f, ARRAY_LEN(f));
	assert_true(f[2].claimed);
	assert_int_equal(f[2].requests, 1);
	assert_int_equal(f[2].successes, 1);
	assert_int_equal(t->errors, 0);
	assert_true(t->literal_out < 1000);
	talk_assert_content(t, path, f[2].content);
}

static void copy_in_the_same_directory_sends_no_content(void **state)
{
	struct session_options o = options();

	check_copy(*state, &o, "d/e/old", "d/e/new", "old", SIZE);
}

static void copy_of_whole_blocks_sends_no_content(void **state)
{
	struct session_options o = options();

	check_copy(*state, &o, "old", "new", "old", 2 * SESSION_CLAIM_BLOCK);
}

static void copy_of_less_than_a_block_sends_no_content(void **state)
{
	struct session_options o = options();

	check_copy(*state, &o, "d/old", "d/new", "old", 5000);
}

static void copy_from_below_sends_no_content(void **state)
{
	struct session_options o = options();

	check_copy(*state, &o, "d/e/old", "new", "d/e/old", SIZE);
}

static void copy_with_protocol_31_sends_no_content(void **state)
{
	struct session_options o = options();

	o.protocol_max = 31;
	check_copy(*state, &o, "d/old", "d/new", "old", SIZE);
}

static void copy_in_a_compressed_session_sends_no_content(void **state)
{
	static const enum session_compress methods[] = {SESSION_COMPRESS_ZSTD, SESSION_COMPRESS_LZ4,
	                                                SESSION_COMPRESS_ZLIBX};
	struct talk *t = *state;

	for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
		struct session_options o = options();

		o.compress = methods[i];
		check_copy(t, &o, "d/e/old", "d/e/new", "old", SIZE);
		talk_done(t);
		talk_init(t);
	}
}

static void wrong_claim_is_asked_for_again_and_sent(void **state)
{
	struct talk *t = *state;
	struct session_options o = options();
	autofree char *content = noise(SIZE);
	struct talk_file f = copy_file("new", content, SIZE, "old");

	content[SIZE / 2] ^= 1;
	talk_write(t, "old", f.content);
	content[SIZE / 2] ^= 1;
	talk_push(t, SESSION_CONTENT, &o, &f, 1);
	assert_true(f.claimed);
	assert_int_equal(f.redos, 1);
	assert_int_equal(f.successes, 1);
	assert_true(t->literal_out > SIZE);
	talk_assert_content(t, "new", f.content);
}

static void claim_of_more_than_there_is_is_sent(void **state)
{
	struct talk *t = *state;
	struct session_options o = options();
	autofree char *content = noise(SIZE);
	struct talk_file f = copy_file("new", content, SIZE, "old");

	talk_write(t, "old", (struct bytes){content, SIZE / 2});
	talk_push(t, SESSION_CONTENT, &o, &f, 1);
	assert_int_equal(f.redos, 1);
	assert_int_equal(f.successes, 1);
	talk_assert_content(t, "new", f.content);
}

static void check_refused(struct talk *t, enum session_class class, const struct session_options *o,
                          const char *basis)
{
	autofree char *content = noise(SIZE);
	struct talk_file f = copy_file("new", content, SIZE, basis);

	talk_write(t, "old", f.content);
	talk_push(t, class, o, &f, 1);
	assert_false(f.claimed);
	assert_int_equal(f.successes, 1);
	talk_assert_content(t, "new", f.content);
}

static void claim_in_the_quick_class_is_refused(void **state)
{
	struct session_options o = options();

	check_refused(*state, SESSION_QUICK, &o, "old");
}

static void claim_without_the_option_is_refused(void **state)
{
	struct session_options o = options();

	session_leave_out(&o, session_without(BYTES("copy-dest")));
	check_refused(*state, SESSION_CONTENT, &o, "old");
}

static void claim_with_protocol_30_is_refused(void **state)
{
	struct session_options o = options();

	o.protocol_max = 30;
	check_refused(*state, SESSION_CONTENT, &o, "old");
}

static void claim_of_too_long_a_name_is_refused(void **state)
{
	struct session_options o = options();
	char name[5000];

	memset(name, 'n', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	check_refused(*state, SESSION_CONTENT, &o, name);
}

static void what_is_there_already_is_built_on_itself(void **state)
{
	struct talk *t = *state;
	struct session_options o = options();
	autofree char *content = noise(SIZE);
	struct talk_file f = copy_file("new", content, SIZE, "old");

	talk_write(t, "old", f.content);
	talk_write(t, "new", f.content);
	talk_push(t, SESSION_CONTENT, &o, &f, 1);
	assert_false(f.claimed);
	assert_int_equal(f.successes, 1);
	assert_true(t->literal_out < SIZE / 2);
	talk_assert_content(t, "new", f.content);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, talk_make, talk_drop)
	const struct CMUnitTest tests[] = {
	        TEST(copy_in_the_same_directory_sends_no_content),
	        TEST(copy_of_whole_blocks_sends_no_content),
	        TEST(copy_of_less_than_a_block_sends_no_content),
	        TEST(copy_from_below_sends_no_content),
	        TEST(copy_with_protocol_31_sends_no_content),
	        TEST(copy_in_a_compressed_session_sends_no_content),
	        TEST(wrong_claim_is_asked_for_again_and_sent),
	        TEST(claim_of_more_than_there_is_is_sent),
	        TEST(claim_in_the_quick_class_is_refused),
	        TEST(claim_without_the_option_is_refused),
	        TEST(claim_with_protocol_30_is_refused),
	        TEST(claim_of_too_long_a_name_is_refused),
	        TEST(what_is_there_already_is_built_on_itself),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
