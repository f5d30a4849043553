/* How a method of compression is settled, and what goes by it to the installed `rsync --server`. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>
#include "base/mem.h"
#include "talk.h"

#define BIG 3000000

static const enum session_compress methods[] = {SESSION_COMPRESS_ZSTD, SESSION_COMPRESS_LZ4,
                                                SESSION_COMPRESS_ZLIBX};

static struct session_options compressed(enum session_compress method)
{
	struct session_options o = talk_options();

	o.compress = method;
	return o;
}

/* Opens a session by the method; false: the installed rsync was built without it. */
static bool open_by(struct talk *t, enum session_class class, const struct session_options *o)
{
	talk_open(t, class, o);
	if (session_state(t->s) == SESSION_READY)
		return true;
	assert_string_equal(session_refused_option(t->s), "compress-choice");
	print_message("# SKIPPED: the installed rsync has no %s\n",
	              session_compress_name(o->compress));
	talk_close(t);
	return false;
}

static void push(struct talk *t, struct talk_file *f, size_t n)
{
	talk_list(t, f, n, NULL, 0);
	assert_int_equal(session_state(t->s), SESSION_CLOSED);
	talk_close(t);
	assert_int_equal(t->errors, 0);
	for (size_t i = 0; i < n; i++) {
		if (!S_ISREG(f[i].entry.mode))
			continue;
		/* What came unasked may be found to be there, too. */
		assert_in_range(f[i].successes, 1, f[i].unasked ? 2 : 1);
		talk_assert_content(t, (const char *)f[i].entry.path.p, f[i].content);
	}
}

static struct talk_file file_of(const char *path, struct bytes content, int64_t mtime_s)
{
	struct talk_file f = talk_file(path, "");

	f.content = content;
	f.entry.size = content.n;
	f.entry.mtime_ns = mtime_s * 1000000000;
	return f;
}

/* `which` makes another one, without a block of the others. */
static void fill_text(char *p, size_t n, size_t which)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (char)('a' + i % (21 + which) + i / 1000 % 3);
}

static void fill_noise(char *p, size_t n, size_t which)
{
	uint64_t x = 88172645463325252u + which;

	for (size_t i = 0; i < n; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		p[i] = (char)(x >> 32);
	}
}

static void content_of_all_kinds_arrives_by_each_method(void **state)
{
	struct talk *t = *state;
	autofree char *text = mem_alloc(BIG), *noise = mem_alloc(500000), *zeros = mem_alloc(BIG);

	for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
		struct session_options o = compressed(methods[i]);
		int64_t when = 1000 + (int64_t)i;
		struct talk_file f[] = {file_of("empty", BYTES(""), when),
		                        file_of("noise", (struct bytes){noise, 500000}, when),
		                        file_of("one", BYTES("1"), when),
		                        file_of("text", (struct bytes){text, BIG}, when),
		                        file_of("zeros", (struct bytes){zeros, BIG}, when)};

		fill_text(text, BIG, i);
		fill_noise(noise, 500000, i);
		o.sparse = i % 2;
		if (!open_by(t, SESSION_CONTENT, &o))
			continue;
		assert_int_equal(session_compress(t->s), methods[i]);
		push(t, f, ARRAY_LEN(f));
		assert_true(t->literal_out > 500000);
		assert_true(t->literal_out < 500000 + 500000 / 50 + BIG / 20);
	}
}

static void difference_arrives_by_each_method(void **state)
{
	struct talk *t = *state;
	autofree char *content = mem_alloc(BIG);

	for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
		struct session_options o = compressed(methods[i]);
		struct talk_file f[3];

		fill_noise(content, BIG, i);
		f[0] = file_of("a", (struct bytes){content, BIG}, 10);
		if (!open_by(t, SESSION_CONTENT, &o))
			continue;
		push(t, f, 1);
		memcpy(content + 1000000, "changed in the middle", 21);
		memmove(content + 2000000, content + 2000007, BIG - 2000007);
		f[0] = file_of("a", (struct bytes){content, BIG - 7}, 11);
		f[1] = file_of("b", BYTES("new, between"), 11);
		f[2] = file_of("c", (struct bytes){content, 5000}, 11);
		assert_true(open_by(t, SESSION_CONTENT, &o));
		push(t, f, ARRAY_LEN(f));
		assert_true(t->literal_out < 40000);
	}
}

/* What was sent in vain is a part of the stream all the same. */
static void stream_goes_on_behind_a_file_that_failed(void **state)
{
	struct talk *t = *state;
	autofree char *text = mem_alloc(BIG);

	fill_text(text, BIG, 0);
	for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
		struct session_options o = compressed(methods[i]);
		struct talk_file f[] = {file_of("a", (struct bytes){text, BIG}, 20 + (int64_t)i),
		                        file_of("b", (struct bytes){text, 70000}, 20 + (int64_t)i),
		                        file_of("c", (struct bytes){text, 7000}, 20 + (int64_t)i)};

		f[0].answer = TALK_ABORT_ONCE;
		f[1].unasked = i == 0;
		if (!open_by(t, SESSION_QUICK, &o))
			continue;
		push(t, f, ARRAY_LEN(f));
		assert_int_equal(f[0].redos, 1);
	}
}

static void best_of_both_is_taken_whatever_the_order_of_the_server(void **state)
{
	static const struct {
		const char *sums, *methods, *sum;
		enum session_compress wish, method;
	} cases[] = {
	        {"md5 xxh64", "zlib zlibx lz4", "xxh64", SESSION_COMPRESS_YES,
	         SESSION_COMPRESS_LZ4},
	        {"md5", "zlibx zstd", "md5", SESSION_COMPRESS_YES, SESSION_COMPRESS_ZSTD},
	        {"sha1 md4 md5", "zlib zlibx", "md5", SESSION_COMPRESS_YES, SESSION_COMPRESS_ZLIBX},
	        {"xxh64 md5", "zstd zlibx lz4", "xxh64", SESSION_COMPRESS_LZ4,
	         SESSION_COMPRESS_LZ4},
	};
	struct talk *t = *state;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct session_options o = compressed(cases[i].wish);
		struct talk_file f[] = {file_of("f", BYTES("content"), (int64_t)i)};

		assert_int_equal(setenv("RSYNC_CHECKSUM_LIST", cases[i].sums, 1), 0);
		assert_int_equal(setenv("RSYNC_COMPRESS_LIST", cases[i].methods, 1), 0);
		talk_open(t, SESSION_CONTENT, &o);
		assert_int_equal(unsetenv("RSYNC_CHECKSUM_LIST"), 0);
		assert_int_equal(unsetenv("RSYNC_COMPRESS_LIST"), 0);
		assert_int_equal(session_state(t->s), SESSION_READY);
		assert_string_equal(session_checksum_name(t->s), cases[i].sum);
		assert_int_equal(session_compress(t->s), cases[i].method);
		push(t, f, 1);
	}
}

static void assert_refused(struct talk *t, enum session_compress wish, const char *option)
{
	struct session_options o = compressed(wish);

	talk_open(t, SESSION_QUICK, &o);
	assert_int_equal(session_state(t->s), SESSION_FAILED);
	assert_int_equal(session_fault(t->s), SESSION_FAULT_REFUSED);
	assert_string_equal(session_refused_option(t->s), option);
	talk_close(t);
}

static void server_without_the_method_refuses_the_choice(void **state)
{
	struct talk *t = *state;

	assert_int_equal(setenv("RSYNC_COMPRESS_LIST", "zlib lz4", 1), 0);
	assert_refused(t, SESSION_COMPRESS_ZSTD, "compress-choice");
	assert_int_equal(setenv("RSYNC_COMPRESS_LIST", "zlib", 1), 0);
	assert_refused(t, SESSION_COMPRESS_YES, "compress-choice");
	assert_int_equal(unsetenv("RSYNC_COMPRESS_LIST"), 0);
}

static void server_too_old_for_names_refuses_the_choice(void **state)
{
	static const char *const caps[] = {"LsfxCIu", "Ls", ""};
	struct talk *t = *state;

	for (size_t i = 0; i < ARRAY_LEN(caps); i++) {
		struct session_options o = compressed(SESSION_COMPRESS_YES);
		struct talk_file f[] = {file_of("f", BYTES("content"), (int64_t)i)};

		t->caps = caps[i];
		assert_refused(t, SESSION_COMPRESS_YES, "compress-choice");
		session_leave_out(&o, SESSION_WITHOUT_CHOICE);
		assert_int_equal(o.compress, SESSION_COMPRESS_ZLIBX);
		talk_open(t, SESSION_CONTENT, &o);
		push(t, f, 1);
		session_leave_out(&o, SESSION_WITHOUT_COMPRESS);
		assert_int_equal(o.compress, SESSION_COMPRESS_NO);
	}
}

/* --- scripted --- */

static struct session *set_up_to_flags(enum session_class class, enum session_compress wish)
{
	struct session_options o = talk_plain_options;
	struct session *s;

	o.compress = wish;
	s = session_new(SESSION_PIPE, class, &o, "/x", NULL);
	session_sent(s, session_output(s).n);
	assert_int_equal(session_feed(s, BYTES("\x20\0\0\0\x81\xfe")), 0);
	return s;
}

/* Nothing is said before the server has told all its names: then it is one of each. */
static void one_name_of_each_list_goes_out(void **state)
{
	struct session *s = set_up_to_flags(SESSION_QUICK, SESSION_COMPRESS_YES);
	struct bytes in = BYTES("\x0amd4 xxh128\x0dnone lz4 zstd"), out;

	(void)state;
	for (; in.n > 1; in.p++, in.n--) {
		assert_int_equal(session_feed(s, (struct bytes){in.p, 1}), 0);
		assert_int_equal(session_output(s).n, 0);
	}
	assert_int_equal(session_feed(s, in), 0);
	out = session_output(s);
	assert_true(bytes_equal(out, BYTES("\6xxh128\4zstd")));
	assert_int_equal(session_feed(s, BYTES("\1\2\3\4")), 0);
	assert_int_equal(session_state(s), SESSION_READY);
	assert_int_equal(session_compress(s), SESSION_COMPRESS_ZSTD);
	session_free(s);
}

static void no_names_of_methods_where_none_is_chosen(void **state)
{
	static const struct {
		enum session_class class;
		enum session_compress wish, method;
	} cases[] = {
	        {SESSION_QUICK, SESSION_COMPRESS_NO, SESSION_COMPRESS_NO},
	        {SESSION_QUICK, SESSION_COMPRESS_ZLIBX, SESSION_COMPRESS_ZLIBX},
	        {SESSION_DELETE, SESSION_COMPRESS_YES, SESSION_COMPRESS_NO},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct session *s = set_up_to_flags(cases[i].class, cases[i].wish);

		assert_int_equal(session_feed(s, BYTES("\3md5\1\2\3\4")), 0);
		assert_true(bytes_equal(session_output(s), BYTES("\3md5")));
		assert_int_equal(session_state(s), SESSION_READY);
		assert_int_equal(session_compress(s), cases[i].method);
		session_free(s);
	}
}

static void endless_names_are_a_breach(void **state)
{
	struct session *s = set_up_to_flags(SESSION_QUICK, SESSION_COMPRESS_YES);

	(void)state;
	(void)session_feed(s, BYTES("\3md5\x81\0zstd"));
	assert_int_equal(session_state(s), SESSION_FAILED);
	assert_int_equal(session_fault(s), SESSION_FAULT_PROTOCOL);
	session_free(s);
}

static struct session *daemon_up_to_arguments(const char *greeting)
{
	static const struct session_login login = {.module = "m"};
	struct session_options o = talk_plain_options;
	struct session *s;

	o.compress = SESSION_COMPRESS_YES;
	s = session_new(SESSION_DAEMON, SESSION_QUICK, &o, "m/", &login);
	assert_int_equal(session_feed(s, bytes_of(greeting)), 0);
	assert_int_equal(session_feed(s, BYTES("@RSYNCD: OK\n")), 0);
	return s;
}

/* One that has read our letters tells so by the flags; with protocol 30 it may know no such flag.
 */
static void daemon_without_names_is_old_or_about_to_refuse(void **state)
{
	static const struct {
		const char *greeting;
		struct bytes flags;
		bool old;
	} cases[] = {
	        {"@RSYNCD: 31.0\n", {"\x3e", 1}, true},    {"@RSYNCD: 30.0\n", {"\x0e", 1}, true},
	        {"@RSYNCD: 30.0\n", {"\6", 1}, true},      {"@RSYNCD: 31.0\n", {"\6", 1}, false},
	        {"@RSYNCD: 32.0 md5\n", {"\0", 1}, false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct session *s = daemon_up_to_arguments(cases[i].greeting);

		(void)session_feed(s, cases[i].flags);
		(void)session_feed(s, BYTES("\1\2\3\4"));
		assert_int_equal(session_state(s), cases[i].old ? SESSION_FAILED : SESSION_READY);
		assert_string_equal(session_refused_option(s),
		                    cases[i].old ? "compress-choice" : "");
		session_free(s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(content_of_all_kinds_arrives_by_each_method,
	                                        talk_make, talk_drop),
	        cmocka_unit_test_setup_teardown(difference_arrives_by_each_method, talk_make,
	                                        talk_drop),
	        cmocka_unit_test_setup_teardown(stream_goes_on_behind_a_file_that_failed, talk_make,
	                                        talk_drop),
	        cmocka_unit_test_setup_teardown(
	                best_of_both_is_taken_whatever_the_order_of_the_server, talk_make,
	                talk_drop),
	        cmocka_unit_test_setup_teardown(server_without_the_method_refuses_the_choice,
	                                        talk_make, talk_drop),
	        cmocka_unit_test_setup_teardown(server_too_old_for_names_refuses_the_choice,
	                                        talk_make, talk_drop),
	        cmocka_unit_test(one_name_of_each_list_goes_out),
	        cmocka_unit_test(no_names_of_methods_where_none_is_chosen),
	        cmocka_unit_test(endless_names_are_a_breach),
	        cmocka_unit_test(daemon_without_names_is_old_or_about_to_refuse),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
