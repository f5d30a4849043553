/* The session against the installed `rsync --server`. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/mem.h"
#include "talk.h"

/* Reproducible bytes without repetition. */
static char *noise(size_t n)
{
	char *p = mem_alloc(n);
	uint64_t x = 0x9e3779b97f4a7c15;

	for (size_t i = 0; i < n; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		p[i] = (char)(x >> 32);
	}
	return p;
}

static struct talk_file big_file(const char *path, const char *content, size_t n, int64_t at)
{
	struct talk_file f = talk_file(path, "");

	f.content = (struct bytes){content, n};
	f.entry.size = n;
	f.entry.mtime_ns += at;
	return f;
}

static void push_new_tree_arrives(void **state)
{
	struct talk *t = *state;
	struct session_options o = talk_options();
	struct talk_file f[] = {talk_dir("a"), talk_file("a/hello", "hello"),
	                        talk_file("a/empty", ""), talk_file("top", "top of it")};

	talk_push(t, SESSION_QUICK, &o, f, ARRAY_LEN(f));
	talk_assert_content(t, "a/hello", BYTES("hello"));
	talk_assert_content(t, "a/empty", BYTES(""));
	talk_assert_content(t, "top", BYTES("top of it"));
	for (size_t i = 1; i < ARRAY_LEN(f); i++) {
		assert_int_equal(f[i].requests, 1);
		assert_int_equal(f[i].successes, 1);
		assert_true(f[i].request_flags & SESSION_ITEM_NEW);
	}
	assert_true(f[0].item_flags & SESSION_ITEM_LOCAL);
	assert_int_equal(t->errors, 0);
}

static void push_with_every_protocol_arrives(void **state)
{
	struct talk *t = *state;

	for (int protocol = 30; protocol <= 32; protocol++) {
		struct session_options o = talk_options();
		struct talk_file f[] = {talk_dir("d"), talk_file("d/file", "content"),
		                        talk_file("fifo", ""), talk_dir("d/sub"),
		                        talk_file("d/last", "x")};

		o.protocol_max = protocol;
		f[2].entry.mode = S_IFIFO | 0600;
		f[1].entry.mtime_ns += protocol;
		talk_open(t, SESSION_QUICK, &o);
		assert_int_equal(session_protocol(t->s), protocol);
		talk_list(t, f, ARRAY_LEN(f), NULL, 0);
		assert_int_equal(session_state(t->s), SESSION_CLOSED);
		talk_close(t);
		talk_assert_content(t, "d/file", BYTES("content"));
		assert_int_equal(f[1].successes, 1);
		assert_int_equal(f[2].successes, 1);
		assert_int_equal(f[4].successes, 1);
		assert_int_equal(t->errors, 0);
	}
}

static void push_all_types_arrive_with_attributes(void **state)
{
	struct talk *t = *state;
	struct session_options o = talk_options();
	struct talk_file f[] = {talk_dir("d"),           talk_file("d/link", ""),
	                        talk_file("d/fifo", ""), talk_file("d/null", ""),
	                        talk_file("d/disk", ""), talk_file("d/file", "1"),
	                        talk_file("d/sock", "")};
	struct stat st;
	char target[64];
	ssize_t n;

	f[0].entry.mode = S_IFDIR | 02751;
	f[1].entry.mode = S_IFLNK | 0777;
	f[1].entry.link_target = BYTES("../where ever*");
	f[2].entry.mode = S_IFIFO | 0620;
	f[3].entry.mode = S_IFCHR | 0666;
	f[3].entry.rdev_major = 1;
	f[3].entry.rdev_minor = 3;
	f[4].entry.mode = S_IFBLK | 0660;
	f[4].entry.rdev_major = 259;
	f[4].entry.rdev_minor = 70000;
	f[5].entry.mode = S_IFREG | 04755;
	f[5].entry.uid = 1234;
	f[5].entry.gid = 70000;
	f[5].entry.mtime_ns = -1234567890123456789;
	f[6].entry.mode = S_IFSOCK | 0755;
	talk_push(t, SESSION_QUICK, &o, f, ARRAY_LEN(f));
	for (size_t i = 1; i < ARRAY_LEN(f); i++)
		assert_int_equal(f[i].successes, 1);

	assert_int_equal(lstat(talk_path(t, "d"), &st), 0);
	assert_int_equal(st.st_mode, S_IFDIR | 02751);
	assert_int_equal(st.st_mtim.tv_sec, 1700000000);
	n = readlink(talk_path(t, "d/link"), target, sizeof(target));
	assert_int_equal(n, 14);
	assert_memory_equal(target, "../where ever*", 14);
	assert_int_equal(lstat(talk_path(t, "d/fifo"), &st), 0);
	assert_int_equal(st.st_mode, S_IFIFO | 0620);
	assert_int_equal(lstat(talk_path(t, "d/null"), &st), 0);
	assert_int_equal(st.st_mode, S_IFCHR | 0666);
	assert_int_equal(st.st_rdev, makedev(1, 3));
	assert_int_equal(lstat(talk_path(t, "d/disk"), &st), 0);
	assert_int_equal(st.st_rdev, makedev(259, 70000));
	assert_int_equal(lstat(talk_path(t, "d/sock"), &st), 0);
	assert_int_equal(st.st_mode, S_IFSOCK | 0755);
	assert_int_equal(lstat(talk_path(t, "d/file"), &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 04755);
	assert_int_equal(st.st_uid, 1234);
	assert_int_equal(st.st_gid, 70000);
	assert_int_equal(st.st_mtim.tv_sec, -1234567891);
	assert_int_equal(st.st_mtim.tv_nsec, 876543211);
}

/* Without "v" the list's flags are bytes and md5 is the checksum, as up to rsync 3.1; without "C"
 * its seed comes last, as in 3.0. */
static void push_to_an_older_server_arrives(void **state)
{
	static const char *const caps[] = {"LsfxC", "Lsf", "LsfxCIv", ""};
	struct talk *t = *state;
	size_t n = 300000;
	autofree char *content = noise(n);

	for (size_t i = 0; i < 2 * ARRAY_LEN(caps); i++) {
		struct session_options o = talk_options();
		struct talk_file f[] = {talk_dir("d"),
		                        talk_dir("d/sub"),
		                        talk_file("d/fifo", ""),
		                        talk_file("d/null", ""),
		                        talk_file("d/link", ""),
		                        talk_file("d/a", "linked"),
		                        talk_file("d/sub/b", "linked"),
		                        talk_file("big", ""),
		                        talk_file("bih", "very small")};

		t->caps = caps[i / 2];
		o.protocol_max = 30 + (int)(i % 2);
		o.numeric_ids = i % 3;
		content[i * 1000] ^= 1;
		f[2].entry.mode = S_IFIFO | 0644;
		f[3].entry.mode = S_IFCHR | 0644;
		f[3].entry.rdev_major = 1;
		f[3].entry.rdev_minor = 3;
		f[4].entry.mode = S_IFLNK | 0777;
		f[4].entry.link_target = BYTES("a");
		f[5].entry.link_group = f[6].entry.link_group = 9;
		f[7] = big_file("big", content, n, 0);
		talk_push(t, SESSION_CONTENT, &o, f, ARRAY_LEN(f));
		for (size_t k = 2; k < ARRAY_LEN(f); k++)
			assert_int_equal(f[k].successes, 1);
		talk_assert_content(t, "d/sub/b", BYTES("linked"));
		talk_assert_content(t, "big", f[7].content);
		talk_assert_content(t, "bih", f[8].content);
		assert_int_equal(f[7].redos, 0);
		if (i)
			assert_true(t->literal_out < 6000);
		assert_int_equal(t->errors, 0);
	}
}

static void push_root_entry_sets_the_roots_attributes(void **state)
{
	struct talk *t = *state;
	struct session_options o = talk_options();
	struct talk_file f[] = {talk_dir(""), talk_file("x", "x")};
	struct stat st;

	talk_write(t, "foreign", BYTES("stays"));
	f[0].entry.mode = S_IFDIR | 0711;
	f[0].entry.mtime_ns = 1234567890 * INT64_C(1000000000);
	talk_push(t, SESSION_QUICK, &o, f, ARRAY_LEN(f));
	assert_int_equal(lstat(t->dir, &st), 0);
	assert_int_equal(st.st_mode, S_IFDIR | 0711);
	assert_int_equal(st.st_mtim.tv_sec, 1234567890);
	talk_assert_content(t, "foreign", BYTES("stays"));
	talk_assert_content(t, "x", BYTES("x"));
}

static void push_unchanged_file_is_confirmed_without_request(void **state)
{
	struct talk *t = *state;
	struct session_options o = talk_options();
	struct talk_file first[] = {talk_file("same", "content"), talk_file("mode", "content")};
	struct talk_file again[] = {talk_file("same", "content"), talk_file("mode", "content")};

	talk_push(t, SESSION_QUICK, &o, first, ARRAY_LEN(first));
	again[1].entry.mode = S_IFREG | 0600;
	talk_push(t, SESSION_QUICK, &o, again, ARRAY_LEN(again));
	assert_int_equal(again[0].requests, 0);
	assert_int_equal(again[0].items, 0);
	assert_int_equal(again[0].successes, 1);
	assert_int_equal(again[1].requests, 0);
	assert_true(again[1].item_flags & SESSION_ITEM_PERMS);
	assert_int_equal(again[1].successes, 1);
}

static void push_changed_nanosecond_is_requested(void **state)
{
	struct talk *t = *state;
	struct session_options o = talk_options();
	struct talk_file first[] = {talk_file("f", "old")};
	struct talk_file again[] = {talk_file("f", "new")};

	talk_push(t, SESSION_QUICK, &o, first, 1);
	again[0].entry.mtime_ns++;
	talk_push(t, SESSION_QUICK, &o, again, 1);
	assert_int_equal(again[0].requests, 1);
	talk_assert_content(t, "f", BYTES("new"));
}

static void content_class_same_size_same_time_is_sent(void **state)
{
	struct talk *t = *state;
	struct session_options o = talk_options();
	struct talk_file first[] = {talk_file("f", "old")};
	struct talk_file quick[] = {talk_file("f", "new")};
	struct talk_file again[] = {talk_file("f", "new")};

	talk_push(t, SESSION_QUICK, &o, first, 1);
	talk_push(t, SESSION_QUICK, &o, quick, 1);
	talk_assert_content(t, "f", BYTES("old"));
	talk_push(t, SESSION_CONTENT, &o, again, 1);
	talk_assert_content(t, "f", BYTES("new"));
	assert_int_equal(again[0].successes, 1);
}

static void push_hard_links_become_one_inode(void **state)
{
	struct talk *t = *state;

	for (int protocol = 30; protocol <= 32; protocol++) {
		struct session_options o = talk_options();
		struct talk_file f[] = {talk_file("z", "linked"),   talk_dir("d"),
		                        talk_file("d/a", "linked"), talk_file("d/b", "linked"),
		                        talk_file("d/c", "single"), talk_dir("e"),
		                        talk_file("e/x", "other")};
		struct stat one, two;

		o.protocol_max = protocol;
		f[0].entry.link_group = f[2].entry.link_group = f[3].entry.link_group = 77;
		f[4].entry.link_group = 5; /* its partners are not in the list */
		f[6].entry.mode = S_IFREG | 0600;
		for (size_t i = 0; i < ARRAY_LEN(f); i++)
			f[i].entry.mtime_ns += protocol;
		talk_push(t, SESSION_QUICK, &o, f, ARRAY_LEN(f));
		assert_int_equal(lstat(talk_path(t, "z"), &one), 0);
		assert_int_equal(lstat(talk_path(t, "d/b"), &two), 0);
		assert_int_equal(one.st_ino, two.st_ino);
		assert_int_equal(one.st_nlink, 3);
		talk_assert_content(t, "d/a", BYTES("linked"));
		talk_assert_content(t, "d/c", BYTES("single"));
		assert_int_equal(lstat(talk_path(t, "e"), &one), 0);
		assert_int_equal(one.st_mode, S_IFDIR | 0755);
		assert_int_equal(f[0].requests + f[2].requests + f[3].requests, 1);
		for (size_t i = 0; i < ARRAY_LEN(f); i++)
			assert_int_equal(f[i].successes, S_ISREG(f[i].entry.mode));
	}
}

static void rename_claimed_as_hard_link_sends_nothing(void **state)
{
	struct talk *t = *state;
	struct session_options o = talk_options();
	struct talk_file first[] = {talk_file("old", "content")};
	struct talk_file pair[] = {talk_file("old", "content"), talk_dir("d"),
	                           talk_file("d/new", "content")};

	talk_push(t, SESSION_QUICK, &o, first, 1);
	pair[0].entry.link_group = pair[2].entry.link_group = 1;
	talk_push(t, SESSION_QUICK, &o, pair, ARRAY_LEN(pair));
	assert_int_equal(pair[0].requests + pair[2].requests, 0);
	assert_int_equal(pair[0].successes, 1);
	assert_int_equal(pair[2].successes, 1);
	talk_assert_content(t, "d/new", BYTES("content"));
}

static void delta_case(struct talk *t, enum session_compress compress)
{
	size_t n = 5000000 + 123;
	autofree char *content = noise(n);
	struct session_options o = talk_options();
	struct talk_file first = big_file("big", content, n, 0), again;

	o.compress = compress;
	talk_push(t, SESSION_QUICK, &o, &first, 1);
	talk_assert_content(t, "big", first.content);
	memcpy(content + 1000000, "changed in the middle", 21);
	memmove(content + 3000000, content + 3000007, n - 3000007);
	again = big_file("big", content, n - 7, 1);
	talk_open(t, SESSION_CONTENT, &o);
	talk_list(t, &again, 1, NULL, 0);
	assert_int_equal(session_state(t->s), SESSION_CLOSED);
	talk_close(t);
	talk_assert_content(t, "big", again.content);
	assert_int_equal(again.requests, 1);
	assert_int_equal(again.redos, 0);
	assert_int_equal(again.successes, 1);
	assert_true(t->literal_out < 40000);
	assert_int_equal(t->errors, 0);
}

static void delta_of_5_mb_sends_little(void **state)
{
	delta_case(*state, SESSION_COMPRESS_NO);
}

static void delta_compressed_sends_little(void **state)
{
	delta_case(*state, SESSION_COMPRESS_ZLIBX);
}

static void delta_with_old_checksums_sends_little(void **state)
{
	struct talk *t = *state;
	size_t n = 300000;
	autofree char *content = noise(n);
	struct session_options o = talk_options();
	struct talk_file f = big_file("big", content, n, 0);

	o.protocol_max = 30;
	talk_push(t, SESSION_QUICK, &o, &f, 1);
	memcpy(content + n - 5, "tail!", 5);
	f = big_file("big", content, n, 0);
	talk_push(t, SESSION_CONTENT, &o, &f, 1);
	talk_assert_content(t, "big", f.content);
	assert_true(t->literal_out < 4000);
}

static void compressed_text_sends_less(void **state)
{
	struct talk *t = *state;
	size_t n = 1000000;
	autofree char *content = mem_alloc(n);
	struct session_options o = talk_options();
	struct talk_file f[] = {talk_file("a", ""), talk_file("b", "short one"),
	                        talk_file("c", "")};

	for (size_t i = 0; i < n; i++)
		content[i] = (char)('a' + i % 23 + i / 1000 % 3);
	o.compress = SESSION_COMPRESS_ZLIBX;
	f[0] = big_file("a", content, n, 0);
	talk_push(t, SESSION_QUICK, &o, f, ARRAY_LEN(f));
	talk_assert_content(t, "a", f[0].content);
	talk_assert_content(t, "b", f[1].content);
	talk_assert_content(t, "c", f[2].content);
	assert_true(t->literal_out < n / 20);
}

static void wrong_digest_is_asked_again(void **state)
{
	struct talk *t = *state;
	struct session_options o = talk_options();
	struct talk_file f[] = {talk_file("f", "content"), talk_file("g", "other")};

	f[0].answer = TALK_ABORT_ONCE;
	talk_push(t, SESSION_QUICK, &o, f, ARRAY_LEN(f));
	assert_int_equal(f[0].requests, 2);
	assert_int_equal(f[0].redos, 1);
	assert_int_equal(f[0].successes, 1);
	talk_assert_content(t, "f", BYTES("content"));
	talk_assert_content(t, "g", BYTES("other"));
}

static void unasked_files_arrive_without_an_answer(void **state)
{
	struct talk *t = *state;

	for (int protocol = 30; protocol <= 32; protocol++) {
		struct session_options o = talk_options();
		struct talk_file f[] = {talk_dir("d"), talk_file("d/a", "content"),
		                        talk_file("b", ""), talk_file("c", "asked for")};

		o.protocol_max = protocol;
		for (size_t i = 1; i < 4; i++)
			f[i].entry.mtime_ns += protocol;
		f[1].unasked = f[2].unasked = true;
		(void)mkdir(talk_path(t, "d"), 0755);
		talk_push(t, SESSION_QUICK, &o, f, ARRAY_LEN(f));
		talk_assert_content(t, "d/a", BYTES("content"));
		talk_assert_content(t, "b", BYTES(""));
		talk_assert_content(t, "c", BYTES("asked for"));
		assert_int_equal(f[1].requests + f[2].requests, 0);
		assert_int_equal(f[3].requests, 1);
		assert_true(f[1].successes && f[2].successes && f[3].successes);
		assert_int_equal(t->errors, 0);
		assert_int_equal(t->unasked, 0);
	}
}

/* It is confirmed as up to date while our copy waits behind others. */
static void unasked_file_that_the_target_has_is_confirmed_twice(void **state)
{
	struct talk *t = *state;
	struct session_options o = talk_options();
	autofree char *much = mem_alloc(120001);
	struct talk_file f[9];

	memset(much, 'x', 120000);
	for (size_t i = 0; i < 8; i++) {
		static char names[8][4];

		(void)snprintf(names[i], sizeof(names[i]), "f%zu", i);
		f[i] = talk_file(names[i], much);
		f[i].unasked = true;
	}
	f[8] = talk_file("z", "content");
	talk_push(t, SESSION_QUICK, &o, &f[8], 1);
	f[8] = talk_file("z", "content");
	f[8].unasked = true;
	talk_push(t, SESSION_QUICK, &o, f, ARRAY_LEN(f));
	for (size_t i = 0; i < 9; i++)
		assert_in_range(f[i].successes, i == 8 ? 2 : 1, 2);
	assert_int_equal(t->errors, 0);
}

/* The half that writes may be faster than the one that makes the directory. */
static void unasked_file_in_a_new_directory_arrives_in_any_case(void **state)
{
	struct talk *t = *state;
	struct session_options o = talk_options();
	char dirs[16][8], files[16][16];

	for (int i = 0; i < 16; i++) {
		(void)snprintf(dirs[i], sizeof(dirs[i]), "d%d", i);
		(void)snprintf(files[i], sizeof(files[i]), "d%d/file", i);
		struct talk_file f[] = {talk_dir(dirs[i]), talk_file(files[i], "content")};

		f[1].unasked = true;
		talk_push(t, SESSION_QUICK, &o, f, ARRAY_LEN(f));
		talk_assert_content(t, files[i], BYTES("content"));
		assert_true(f[1].successes);
	}
}

static void unasked_file_with_a_wrong_digest_is_asked_for(void **state)
{
	struct talk *t = *state;
	struct session_options o = talk_options();
	struct talk_file f[] = {talk_file("a", "content"), talk_file("b", "other")};

	f[0].unasked = f[1].unasked = true;
	f[0].answer = TALK_ABORT_ONCE;
	talk_push(t, SESSION_QUICK, &o, f, ARRAY_LEN(f));
	talk_assert_content(t, "a", BYTES("content"));
	assert_int_equal(f[0].redos, 1);
	assert_int_equal(f[0].successes, 1);
	assert_int_equal(f[1].requests, 0);
}

static void unasked_file_that_is_blocked_is_not_confirmed(void **state)
{
	struct talk *t = *state;
	struct session_options o = talk_options();
	struct talk_file f[] = {talk_file("blocked", "content"), talk_file("free", "content")};

	assert_int_equal(mkdir(talk_path(t, "blocked"), 0755), 0);
	talk_write(t, "blocked/foreign", BYTES("x"));
	f[0].unasked = f[1].unasked = true;
	talk_push(t, SESSION_QUICK, &o, f, ARRAY_LEN(f));
	talk_assert_content(t, "free", BYTES("content"));
	assert_true(talk_exists(t, "blocked/foreign"));
	assert_int_equal(f[0].successes, 0);
	assert_true(f[1].successes);
	assert_true(t->errors > 0);
}

static void no_send_leaves_the_file_out(void **state)
{
	struct talk *t = *state;
	struct session_options o = talk_options();
	struct talk_file f[] = {talk_file("gone", "content"), talk_file("g", "other")};

	f[0].answer = TALK_NO_SEND;
	talk_push(t, SESSION_QUICK, &o, f, ARRAY_LEN(f));
	assert_int_equal(f[0].successes, 0);
	assert_false(talk_exists(t, "gone"));
	assert_int_equal(f[1].successes, 1);
	talk_assert_content(t, "g", BYTES("other"));
}

static void grown_file_arrives_whole(void **state)
{
	struct talk *t = *state;
	struct session_options o = talk_options();
	struct talk_file f[] = {talk_file("f", "grown since it was looked at")};

	f[0].entry.size = 3;
	talk_push(t, SESSION_QUICK, &o, f, 1);
	talk_assert_content(t, "f", f[0].content);
	assert_int_equal(f[0].successes, 1);
}

static void blocked_file_is_told_and_not_confirmed(void **state)
{
	struct talk *t = *state;
	struct session_options o = talk_options();
	struct talk_file f[] = {talk_file("blocked", "file"), talk_file("free", "file")};

	assert_int_equal(mkdir(talk_path(t, "blocked"), 0755), 0);
	talk_write(t, "blocked/foreign", BYTES("x"));
	talk_push(t, SESSION_QUICK, &o, f, ARRAY_LEN(f));
	assert_int_equal(f[0].successes, 0);
	assert_int_equal(f[1].successes, 1);
	assert_true(talk_said(t, "blocked"));
	assert_true(t->errors > 0);
	assert_true(talk_exists(t, "blocked/foreign"));
}

static void server_killed_in_the_middle_is_a_hangup(void **state)
{
	struct talk *t = *state;
	size_t n = 30000000;
	autofree char *content = noise(n);
	struct session_options o = talk_options();
	struct talk_file f[] = {talk_file("a", "1"), big_file("big", content, n, 0)};

	f[1].answer = TALK_KILL_SERVER;
	talk_open(t, SESSION_QUICK, &o);
	talk_list(t, f, ARRAY_LEN(f), NULL, 0);
	assert_int_equal(session_state(t->s), SESSION_FAILED);
	assert_int_equal(session_fault(t->s), SESSION_FAULT_HANGUP);
	assert_int_equal(f[1].successes, 0);
	assert_true(session_list_begun(t->s));
}

static void unused_session_ends_politely(void **state)
{
	struct talk *t = *state;
	struct session_options o = talk_options();

	for (int class = 0; class < SESSION_CLASSES; class ++) {
		talk_open(t, (enum session_class) class, &o);
		assert_int_equal(session_state(t->s), SESSION_READY);
		session_keepalive(t->s);
		assert_false(session_list_begun(t->s));
		talk_write(t, "stays", BYTES("x"));
		t->closed = false;
		talk_list(t, NULL, 0, NULL, 0);
		assert_true(t->closed);
		assert_int_equal(t->errors, 0);
		talk_close(t);
		assert_true(talk_exists(t, "stays"));
	}
}

static void many_files_arrive(void **state)
{
	struct talk *t = *state;
	struct session_options o = talk_options();
	size_t n = 3000;
	autofree struct talk_file *f = mem_array(n, sizeof(*f));
	autofree char *names = mem_alloc(n * 16);

	for (size_t i = 0; i < n; i++) {
		char *name = names + i * 16;

		if (i % 100 == 0) {
			(void)snprintf(name, 16, "d%04zu", i);
			f[i] = talk_dir(name);
		} else {
			(void)snprintf(name, 16, "d%04zu/f%04zu", i - i % 100, (i * 7919) % 10000);
			f[i] = talk_file(name, name);
		}
	}
	o.no_ack = false;
	talk_push(t, SESSION_QUICK, &o, f, n);
	for (size_t i = 0; i < n; i++) {
		if (i % 100 == 0)
			continue;
		assert_int_equal(f[i].successes, 1);
		talk_assert_content(t, names + i * 16, f[i].content);
	}
}

static void id_names_are_mapped_by_the_receiver(void **state)
{
	struct talk *t = *state;
	struct session_options o = talk_options();
	struct talk_file f[] = {talk_file("f", "x"), talk_file("g", "x"), talk_file("h", "x")};
	struct session_id_name users[] = {{4711, BYTES("daemon")}, {0, BYTES("root")}};
	struct session_id_name groups[] = {{4712, BYTES("daemon")}};
	struct stat st;

	for (int protocol = 30; protocol <= 32; protocol++) {
		o.numeric_ids = false;
		o.protocol_max = protocol;
		f[0].entry.uid = 4711;
		f[0].entry.gid = 4712;
		f[1].entry.uid = 4713;
		talk_open(t, SESSION_QUICK, &o);
		session_set_names(t->s, users, 2, groups, 1);
		talk_list(t, f, ARRAY_LEN(f), NULL, 0);
		assert_int_equal(session_state(t->s), SESSION_CLOSED);
		talk_close(t);
		assert_int_equal(lstat(talk_path(t, "f"), &st), 0);
		assert_int_equal(st.st_uid, 1);
		assert_int_equal(st.st_gid, 1);
		assert_int_equal(lstat(talk_path(t, "g"), &st), 0);
		assert_int_equal(st.st_uid, 4713);
		assert_int_equal(unlink(talk_path(t, "f")), 0);
	}
}

static void bytes_of_the_server_split_anywhere_mean_the_same(void **state)
{
	struct talk *t = *state;
	struct session_options o = talk_options();
	size_t n = 20000;
	autofree char *content = noise(n);

	for (size_t read_max = 1; read_max <= 7; read_max += 2) {
		struct talk_file f[] = {talk_dir("d"),
		                        big_file("d/f", content, n, (int64_t)read_max),
		                        talk_file("d/g", "g")};

		t->read_max = read_max;
		content[5000] ^= 1;
		talk_push(t, SESSION_QUICK, &o, f, ARRAY_LEN(f));
		assert_int_equal(f[1].successes, 1);
		talk_assert_content(t, "d/f", f[1].content);
	}
}

static void list_that_breaks_a_rule_is_refused_unsent(void **state)
{
	struct talk *t = *state;
	struct session_options o = talk_options();
	struct session_entry ok = talk_file("a", "").entry;
	struct session_entry e[2];
	struct err err;

	talk_open(t, SESSION_QUICK, &o);
	e[0] = e[1] = ok;
	assert_int_equal(session_list(t->s, e, 2, NULL, 0, &err), -EINVAL);
	e[1] = talk_file("d/without", "").entry;
	assert_int_equal(session_list(t->s, e, 2, NULL, 0, &err), -EINVAL);
	e[1] = talk_dir("a").entry;
	assert_int_equal(session_list(t->s, e, 2, NULL, 0, &err), -EINVAL);
	e[1] = talk_file("../x", "").entry;
	assert_int_equal(session_list(t->s, e, 2, NULL, 0, &err), -EINVAL);
	e[1] = talk_dir("c").entry;
	e[1].content_dir = true;
	assert_int_equal(session_list(t->s, e, 2, NULL, 0, &err), -EINVAL);
	assert_int_equal(
	        session_list(t->s, e, 1, &(struct session_risk){BYTES("a"), false}, 1, &err),
	        -EINVAL);
	assert_int_equal(session_output_pending(t->s), 0);
	talk_list(t, NULL, 0, NULL, 0);
	assert_true(t->closed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(push_new_tree_arrives, talk_make, talk_drop),
	        cmocka_unit_test_setup_teardown(push_with_every_protocol_arrives, talk_make,
	                                        talk_drop),
	        cmocka_unit_test_setup_teardown(push_all_types_arrive_with_attributes, talk_make,
	                                        talk_drop),
	        cmocka_unit_test_setup_teardown(push_to_an_older_server_arrives, talk_make,
	                                        talk_drop),
	        cmocka_unit_test_setup_teardown(push_root_entry_sets_the_roots_attributes,
	                                        talk_make, talk_drop),
	        cmocka_unit_test_setup_teardown(push_unchanged_file_is_confirmed_without_request,
	                                        talk_make, talk_drop),
	        cmocka_unit_test_setup_teardown(push_changed_nanosecond_is_requested, talk_make,
	                                        talk_drop),
	        cmocka_unit_test_setup_teardown(content_class_same_size_same_time_is_sent,
	                                        talk_make, talk_drop),
	        cmocka_unit_test_setup_teardown(push_hard_links_become_one_inode, talk_make,
	                                        talk_drop),
	        cmocka_unit_test_setup_teardown(rename_claimed_as_hard_link_sends_nothing,
	                                        talk_make, talk_drop),
	        cmocka_unit_test_setup_teardown(delta_of_5_mb_sends_little, talk_make, talk_drop),
	        cmocka_unit_test_setup_teardown(delta_compressed_sends_little, talk_make,
	                                        talk_drop),
	        cmocka_unit_test_setup_teardown(delta_with_old_checksums_sends_little, talk_make,
	                                        talk_drop),
	        cmocka_unit_test_setup_teardown(compressed_text_sends_less, talk_make, talk_drop),
	        cmocka_unit_test_setup_teardown(wrong_digest_is_asked_again, talk_make, talk_drop),
	        cmocka_unit_test_setup_teardown(unasked_files_arrive_without_an_answer, talk_make,
	                                        talk_drop),
	        cmocka_unit_test_setup_teardown(unasked_file_that_the_target_has_is_confirmed_twice,
	                                        talk_make, talk_drop),
	        cmocka_unit_test_setup_teardown(unasked_file_in_a_new_directory_arrives_in_any_case,
	                                        talk_make, talk_drop),
	        cmocka_unit_test_setup_teardown(unasked_file_with_a_wrong_digest_is_asked_for,
	                                        talk_make, talk_drop),
	        cmocka_unit_test_setup_teardown(unasked_file_that_is_blocked_is_not_confirmed,
	                                        talk_make, talk_drop),
	        cmocka_unit_test_setup_teardown(no_send_leaves_the_file_out, talk_make, talk_drop),
	        cmocka_unit_test_setup_teardown(grown_file_arrives_whole, talk_make, talk_drop),
	        cmocka_unit_test_setup_teardown(blocked_file_is_told_and_not_confirmed, talk_make,
	                                        talk_drop),
	        cmocka_unit_test_setup_teardown(server_killed_in_the_middle_is_a_hangup, talk_make,
	                                        talk_drop),
	        cmocka_unit_test_setup_teardown(unused_session_ends_politely, talk_make, talk_drop),
	        cmocka_unit_test_setup_teardown(many_files_arrive, talk_make, talk_drop),
	        cmocka_unit_test_setup_teardown(id_names_are_mapped_by_the_receiver, talk_make,
	                                        talk_drop),
	        cmocka_unit_test_setup_teardown(bytes_of_the_server_split_anywhere_mean_the_same,
	                                        talk_make, talk_drop),
	        cmocka_unit_test_setup_teardown(list_that_breaks_a_rule_is_refused_unsent,
	                                        talk_make, talk_drop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
