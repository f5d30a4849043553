/* Deletion and comparison against the installed `rsync --server`: exactly the named entries go. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/mem.h"
#include "rsync/rules.h"
#include "rsync/sums.h"
#include "talk.h"

static void make_dir(struct talk *t, const char *path)
{
	assert_int_equal(mkdir(talk_path(t, path), 0750), 0);
}

static struct talk_file content_dir(const char *path)
{
	struct talk_file f = talk_dir(path);

	f.entry.content_dir = true;
	return f;
}

static struct talk_file ancestor(const char *path)
{
	struct talk_file f = talk_dir(path);

	f.entry.implied = true;
	return f;
}

static struct session_risk risk(const char *path, bool dir)
{
	return (struct session_risk){bytes_of(path), dir};
}

static void delete_all(struct talk *t, const struct session_options *o, struct talk_file *f,
                       size_t n, const struct session_risk *risks, size_t nrisks)
{
	talk_open(t, SESSION_DELETE, o);
	assert_int_equal(session_state(t->s), SESSION_READY);
	talk_list(t, f, n, risks, nrisks);
	if (session_state(t->s) == SESSION_FAILED)
		print_message("# delete: %s\n", session_error(t->s)->text);
	assert_int_equal(session_state(t->s), SESSION_CLOSED);
	assert_true(t->phase);
	talk_close(t);
}

static void only_named_entries_go(void **state)
{
	struct talk *t = *state;

	for (int protocol = 30; protocol <= 32; protocol++) {
		struct session_options o = talk_options();
		struct talk_file f[] = {ancestor("a"), content_dir("a/b")};
		struct session_risk risks[] = {risk("a/b/gone", false), risk("a/b/goner", true),
		                               risk("a/b/goner/in", false),
		                               risk("a/b/never", false)};
		struct stat before, after;

		o.protocol_max = protocol;
		if (protocol == 30) {
			make_dir(t, "a");
			make_dir(t, "a/b");
		}
		make_dir(t, "a/b/goner");
		talk_write(t, "a/b/goner/in", BYTES("x"));
		talk_write(t, "a/b/gone", BYTES("x"));
		talk_write(t, "a/b/gone2", BYTES("x"));
		talk_write(t, "a/b/foreign", BYTES("x"));
		talk_write(t, "a/gone", BYTES("x"));
		talk_write(t, "gone", BYTES("x"));
		assert_int_equal(chown(talk_path(t, "a/b"), 42, 43), 0);
		assert_int_equal(lstat(talk_path(t, "a/b"), &before), 0);
		delete_all(t, &o, f, ARRAY_LEN(f), risks, ARRAY_LEN(risks));
		assert_false(talk_exists(t, "a/b/gone"));
		assert_false(talk_exists(t, "a/b/goner"));
		assert_true(talk_exists(t, "a/b/gone2"));
		assert_true(talk_exists(t, "a/b/foreign"));
		assert_true(talk_exists(t, "a/gone"));
		assert_true(talk_exists(t, "gone"));
		assert_true(talk_deleted(t, "a/b/gone"));
		assert_true(talk_deleted(t, "a/b/goner/"));
		assert_true(talk_deleted(t, "a/b/goner/in"));
		assert_int_equal(t->errors, 0);
		assert_int_equal(lstat(talk_path(t, "a/b"), &after), 0);
		assert_int_equal(after.st_mode, before.st_mode);
		assert_int_equal(after.st_uid, 42);
		assert_int_equal(after.st_gid, 43);
		assert_int_equal(after.st_mtim.tv_sec, 1700000000);
		assert_int_equal(unlink(talk_path(t, "a/b/gone2")), 0);
	}
}

static void entries_of_the_root_go(void **state)
{
	struct talk *t = *state;
	struct session_options o = talk_options();
	struct talk_file f[] = {content_dir("")};
	struct session_risk risks[] = {risk("gone", false), risk("dir", true)};

	talk_write(t, "gone", BYTES("x"));
	talk_write(t, "stays", BYTES("x"));
	make_dir(t, "dir");
	make_dir(t, "other");
	talk_write(t, "other/gone", BYTES("x"));
	delete_all(t, &o, f, ARRAY_LEN(f), risks, ARRAY_LEN(risks));
	assert_false(talk_exists(t, "gone"));
	assert_false(talk_exists(t, "dir"));
	assert_true(talk_exists(t, "stays"));
	assert_true(talk_exists(t, "other/gone"));
	assert_true(talk_deleted(t, "gone"));
	assert_true(talk_deleted(t, "dir/"));
	assert_int_equal(t->deleted_n, 2);
}

static void foreign_files_keep_their_directory(void **state)
{
	struct talk *t = *state;
	struct session_options o = talk_options();
	struct talk_file f[] = {content_dir("")};
	struct session_risk risks[] = {risk("d", true), risk("d/ours", false), risk("d/sub", true),
	                               risk("d/sub/x", false)};

	make_dir(t, "d");
	make_dir(t, "d/sub");
	talk_write(t, "d/ours", BYTES("x"));
	talk_write(t, "d/sub/x", BYTES("x"));
	talk_write(t, "d/foreign", BYTES("x"));
	delete_all(t, &o, f, ARRAY_LEN(f), risks, ARRAY_LEN(risks));
	assert_true(talk_exists(t, "d/foreign"));
	assert_false(talk_exists(t, "d/ours"));
	assert_false(talk_exists(t, "d/sub"));
	assert_true(talk_said(t, "cannot delete non-empty directory: d"));
	assert_false(talk_deleted(t, "d/"));
	assert_int_equal(t->errors, 0);
}

static const char *const odd_names[] = {
        "new\nline",  "*",       "a*b",      "[a]",         "[!a]",      "?",        "back\\slash",
        "\\",         "\\*",     "a\\[b",    "-rf",         "--delete",  " lead",    "trail ",
        "#hash",      "; semi",  "\xff\xfe", "caf\xc3\xa9", "+ plus",    "- minus",  "P *",
        "R x",        "**",      "***",      "a**",         "tab\there", "\x01\x7f", "...",
        "..x",        ".hidden", "!",        "[",           "]",         "[]",       "[[:alpha:]]",
        "{a,b}",      "~",       "$HOME",    "`id`",        "\"quote\"", "'",        "a\rb",
        "trailing\\", "*\\",     "\\\\?",    "_under",      ":",         "merge .x",
};

static void every_odd_name_goes_and_only_it(void **state)
{
	struct talk *t = *state;
	struct session_options o = talk_options();
	struct talk_file f[] = {content_dir(""), content_dir("dir*")};
	struct session_risk risks[2 * ARRAY_LEN(odd_names) + 2];
	size_t n = 0;
	char in_dir[ARRAY_LEN(odd_names)][64];
	char longest[256];

	memset(longest, 'x', 255);
	longest[0] = '*';
	longest[255] = '\0';
	make_dir(t, "dir*");
	make_dir(t, "dirx");
	for (size_t i = 0; i < ARRAY_LEN(odd_names); i++) {
		talk_write(t, odd_names[i], BYTES("x"));
		(void)snprintf(in_dir[i], sizeof(in_dir[i]), "dir*/%s", odd_names[i]);
		make_dir(t, in_dir[i]);
		risks[n++] = risk(odd_names[i], false);
		risks[n++] = risk(in_dir[i], true);
	}
	talk_write(t, longest, BYTES("x"));
	risks[n++] = risk(longest, false);
	/* What a pattern would match that is not taken literally. */
	talk_write(t, "b", BYTES("x"));
	talk_write(t, "a", BYTES("x"));
	talk_write(t, "axb", BYTES("x"));
	talk_write(t, "backslash", BYTES("x"));
	talk_write(t, "dirx/-rf", BYTES("x"));
	talk_write(t, "aa[b", BYTES("x"));
	delete_all(t, &o, f, ARRAY_LEN(f), risks, n);
	for (size_t i = 0; i < ARRAY_LEN(odd_names); i++) {
		if (talk_exists(t, odd_names[i]) || talk_exists(t, in_dir[i]))
			print_message("# still there: %s\n", odd_names[i]);
		assert_false(talk_exists(t, odd_names[i]));
		assert_false(talk_exists(t, in_dir[i]));
		assert_true(talk_deleted(t, odd_names[i]));
	}
	assert_false(talk_exists(t, longest));
	assert_int_equal(t->deleted_n, n);
	assert_true(talk_exists(t, "a") && talk_exists(t, "b") && talk_exists(t, "axb"));
	assert_true(talk_exists(t, "backslash") && talk_exists(t, "dirx/-rf"));
	assert_true(talk_exists(t, "aa[b") && talk_exists(t, "dir*"));
	assert_int_equal(t->errors, 0);
}

static void odd_rule_spares_all_that_is_odd_otherwise(void **state)
{
	struct talk *t = *state;
	struct session_options o = talk_options();

	/* Each name alone at risk: every other one survives. */
	for (size_t i = 0; i < ARRAY_LEN(odd_names); i++)
		talk_write(t, odd_names[i], BYTES("x"));
	for (size_t i = 0; i < ARRAY_LEN(odd_names); i++) {
		struct talk_file f[] = {content_dir("")};
		struct session_risk one = risk(odd_names[i], false);

		t->deleted_n = 0;
		delete_all(t, &o, f, 1, &one, 1);
		assert_int_equal(t->deleted_n, 1);
		for (size_t k = 0; k < ARRAY_LEN(odd_names); k++)
			assert_int_equal(talk_exists(t, odd_names[k]), k > i);
	}
}

static struct session_risk temps_of(const char *path)
{
	return (struct session_risk){bytes_of(path), false, SESSION_RISK_TEMPS};
}

static void temporary_files_of_a_name_go_and_nothing_else(void **state)
{
	static const char *const stay[] = {
	        "d/a",         "d/.a.backup", "d/.a.241231", "d/.a.aBcDeFg",    "d/.a.aBcDe",
	        "d/.b.aBcDeF", "d/a.aBcDeF",  "d/.a.known1", "d/sub/.a.aBcDeF", ".a.aBcDeF"};
	struct talk *t = *state;
	struct session_options o = talk_options();
	struct talk_file f[] = {content_dir("d")};
	struct session_risk risks[] = {temps_of("d/a"),
	                               {BYTES("d/.a.known1"), false, SESSION_RISK_SPARED}};

	make_dir(t, "d");
	make_dir(t, "d/sub");
	make_dir(t, "d/.a.DirDir");
	for (size_t i = 0; i < ARRAY_LEN(stay); i++)
		talk_write(t, stay[i], BYTES("x"));
	talk_write(t, "d/.a.aBcDeF", BYTES("x"));
	talk_write(t, "d/.a.00000x", BYTES("x"));
	delete_all(t, &o, f, ARRAY_LEN(f), risks, ARRAY_LEN(risks));
	assert_false(talk_exists(t, "d/.a.aBcDeF"));
	assert_false(talk_exists(t, "d/.a.00000x"));
	assert_int_equal(t->deleted_n, 2);
	for (size_t i = 0; i < ARRAY_LEN(stay); i++)
		assert_true(talk_exists(t, stay[i]));
	assert_true(talk_exists(t, "d/.a.DirDir"));
	assert_int_equal(t->errors, 0);
}

/* Each odd name's alone: those of the others stay, and all the names themselves. */
static void temporary_files_of_an_odd_name_are_its_own(void **state)
{
	struct talk *t = *state;
	struct session_options o = talk_options();
	char temp[ARRAY_LEN(odd_names)][32];

	for (size_t i = 0; i < ARRAY_LEN(odd_names); i++) {
		const char *name = odd_names[i];

		(void)snprintf(temp[i], sizeof(temp[i]), ".%s.aBcDe%c", name + (*name == '.'),
		               'A' + (int)(i % 26));
		talk_write(t, name, BYTES("x"));
		talk_write(t, temp[i], BYTES("x"));
	}
	for (size_t i = 0; i < ARRAY_LEN(odd_names); i++) {
		struct talk_file f[] = {content_dir("")};
		struct session_risk one = temps_of(odd_names[i]);

		t->deleted_n = 0;
		delete_all(t, &o, f, 1, &one, 1);
		assert_int_equal(t->deleted_n, 1);
		for (size_t k = 0; k < ARRAY_LEN(odd_names); k++) {
			assert_true(talk_exists(t, odd_names[k]));
			assert_int_equal(talk_exists(t, temp[k]), k > i);
		}
	}
}

static void directory_goes_with_temporary_files_in_it(void **state)
{
	struct talk *t = *state;
	struct session_options o = talk_options();
	struct talk_file f[] = {content_dir("")};
	struct session_risk risks[] = {risk("d", true), risk("d/a", false), temps_of("d/a")};

	make_dir(t, "d");
	talk_write(t, "d/a", BYTES("x"));
	talk_write(t, "d/.a.aBcDeF", BYTES("x"));
	delete_all(t, &o, f, ARRAY_LEN(f), risks, ARRAY_LEN(risks));
	assert_false(talk_exists(t, "d"));
	assert_int_equal(t->errors, 0);
}

static void two_thousand_names_go(void **state)
{
	struct talk *t = *state;
	struct session_options o = talk_options();
	size_t n = 2000;
	autofree struct session_risk *risks = mem_array(n, sizeof(*risks));
	autofree char *names = mem_alloc(n * 24);
	struct talk_file f[] = {content_dir("d")};

	make_dir(t, "d");
	for (size_t i = 0; i < n; i++) {
		char *name = names + i * 24;

		(void)snprintf(name, 24, "d/name[%zu]*", i);
		talk_write(t, name, BYTES(""));
		risks[i] = risk(name, false);
	}
	talk_write(t, "d/foreign", BYTES("x"));
	delete_all(t, &o, f, 1, risks, n);
	assert_int_equal(t->deleted_n, n);
	assert_false(talk_exists(t, "d/name[1999]*"));
	assert_true(talk_exists(t, "d/foreign"));
}

static void broken_rules_are_refused_unsent(void **state)
{
	struct talk *t = *state;
	struct session_options o = talk_options();
	struct session_entry entry = content_dir("d").entry, file = talk_file("f", "").entry;
	char stars[3001];
	struct err err;

	memset(stars, '*', 3000);
	for (size_t i = 200; i < 3000; i += 200)
		stars[i] = '/';
	stars[3000] = '\0';
	talk_open(t, SESSION_DELETE, &o);
	const struct session_risk bad[] = {risk("", false), risk("d/../x", false),
	                                   risk("other", false), risk("d/sub/x", false)};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(session_list(t->s, &entry, 1, &bad[i], 1, &err), -EINVAL);
	assert_int_equal(session_list(t->s, &file, 1, NULL, 0, &err), -EINVAL);
	assert_int_equal(session_output_pending(t->s), 0);

	struct buf out;
	struct session_risk long_one = risk(stars, false);
	buf_init(&out, 1u << 20);
	assert_int_equal(rules_put(&out, &long_one, 1, &err), -ENAMETOOLONG);
	buf_done(&out);
}

static void rules_are_always_closed(void **state)
{
	struct session_risk one = risk("a\\b/c*", true), plain = risk("a\\b", false);
	struct buf out;
	struct err err;

	(void)state;
	buf_init(&out, 4096);
	assert_int_equal(rules_put(&out, NULL, 0, &err), 0);
	assert_int_equal(out.n, 11);
	assert_memory_equal(out.p, "\3\0\0\0P *\0\0\0\0", 11);
	buf_clear(&out);
	assert_int_equal(rules_put(&out, &one, 1, &err), 0);
	assert_memory_equal(out.p, "\14\0\0\0R /a\\\\b/c\\*/\3\0\0\0P *\0\0\0\0", 4 + 12 + 11);
	buf_clear(&out);
	assert_int_equal(rules_put(&out, &plain, 1, &err), 0);
	assert_memory_equal(out.p, "\6\0\0\0R /a\\b\3\0\0\0P *", 4 + 6 + 7);
	buf_done(&out);
}

static void compare_tells_what_differs_and_changes_nothing(void **state)
{
	struct talk *t = *state;

	for (int protocol = 30; protocol <= 32; protocol++) {
		struct session_options o = talk_options();
		struct talk_file first[] = {talk_dir("d"), talk_file("d/same", "content"),
		                            talk_file("d/size", "content"),
		                            talk_file("d/mode", "content")};
		struct talk_file now[] = {talk_dir("d"),
		                          talk_file("d/same", "CONTENT"),
		                          talk_file("d/size", "more content"),
		                          talk_file("d/mode", "content"),
		                          talk_file("d/new", "x"),
		                          talk_dir("newdir"),
		                          talk_file("link", "")};

		o.protocol_max = protocol;
		talk_push(t, SESSION_QUICK, &o, first, ARRAY_LEN(first));
		now[3].entry.mode = S_IFREG | 0600;
		now[6].entry.mode = S_IFLNK | 0777;
		now[6].entry.link_target = BYTES("x");
		talk_push(t, SESSION_COMPARE, &o, now, ARRAY_LEN(now));
		for (size_t i = 0; i < ARRAY_LEN(now); i++)
			assert_int_equal(now[i].requests + now[i].successes, 0);
		assert_int_equal(now[0].items, 0);
		assert_int_equal(now[1].items, 0);
		assert_int_equal(now[2].items, 1);
		assert_true(now[2].item_flags & SESSION_ITEM_TRANSFER);
		assert_true(now[2].item_flags & SESSION_ITEM_SIZE);
		assert_true(now[3].item_flags & SESSION_ITEM_PERMS);
		assert_false(now[3].item_flags & SESSION_ITEM_TRANSFER);
		assert_true(now[4].item_flags & SESSION_ITEM_NEW);
		assert_true(now[4].item_flags & SESSION_ITEM_TRANSFER);
		assert_true(now[5].item_flags & SESSION_ITEM_NEW);
		assert_true(now[6].item_flags & SESSION_ITEM_NEW);
		assert_false(talk_exists(t, "newdir"));
		assert_false(talk_exists(t, "link"));
		talk_assert_content(t, "d/size", BYTES("content"));
		assert_int_equal(t->errors, 0);
	}
}

static void checksum_finds_what_size_and_time_hide(void **state)
{
	struct talk *t = *state;

	for (int protocol = 30; protocol <= 32; protocol++) {
		struct session_options o = talk_options();
		struct talk_file first[] = {talk_file("a", "content"), talk_file("b", "content")};
		struct talk_file now[] = {talk_file("a", "content"), talk_file("b", "CONTENT")};
		unsigned char sum[2][SUM_BYTES_MAX];

		o.protocol_max = protocol;
		talk_push(t, SESSION_QUICK, &o, first, ARRAY_LEN(first));
		talk_open(t, SESSION_CHECKSUM, &o);
		assert_int_equal(session_state(t->s), SESSION_READY);
		for (size_t i = 0; i < 2; i++) {
			struct hasher *h = hasher_new((enum strong_id)strong_choose(
			        bytes_of(session_checksum_name(t->s))));

			hasher_begin(h);
			hasher_update(h, now[i].content);
			hasher_end(h, sum[i]);
			hasher_free(h);
			now[i].entry.checksum =
			        (struct bytes){(char *)sum[i], session_checksum_size(t->s)};
		}
		talk_list(t, now, 2, NULL, 0);
		assert_int_equal(session_state(t->s), SESSION_CLOSED);
		talk_close(t);
		assert_int_equal(now[0].items, 0);
		assert_int_equal(now[1].items, 1);
		assert_true(now[1].item_flags & SESSION_ITEM_TRANSFER);
		assert_true(now[1].item_flags & SESSION_ITEM_CHANGE);
		talk_assert_content(t, "b", BYTES("content"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(only_named_entries_go, talk_make, talk_drop),
	        cmocka_unit_test_setup_teardown(entries_of_the_root_go, talk_make, talk_drop),
	        cmocka_unit_test_setup_teardown(foreign_files_keep_their_directory, talk_make,
	                                        talk_drop),
	        cmocka_unit_test_setup_teardown(every_odd_name_goes_and_only_it, talk_make,
	                                        talk_drop),
	        cmocka_unit_test_setup_teardown(odd_rule_spares_all_that_is_odd_otherwise,
	                                        talk_make, talk_drop),
	        cmocka_unit_test_setup_teardown(temporary_files_of_a_name_go_and_nothing_else,
	                                        talk_make, talk_drop),
	        cmocka_unit_test_setup_teardown(temporary_files_of_an_odd_name_are_its_own,
	                                        talk_make, talk_drop),
	        cmocka_unit_test_setup_teardown(directory_goes_with_temporary_files_in_it,
	                                        talk_make, talk_drop),
	        cmocka_unit_test_setup_teardown(two_thousand_names_go, talk_make, talk_drop),
	        cmocka_unit_test_setup_teardown(broken_rules_are_refused_unsent, talk_make,
	                                        talk_drop),
	        cmocka_unit_test(rules_are_always_closed),
	        cmocka_unit_test_setup_teardown(compare_tells_what_differs_and_changes_nothing,
	                                        talk_make, talk_drop),
	        cmocka_unit_test_setup_teardown(checksum_finds_what_size_and_time_hide, talk_make,
	                                        talk_drop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
