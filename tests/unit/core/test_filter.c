/* Glob semantics against a table, and against what the installed rsync does with the same patterns.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/path.h"
#include "core/filter.h"

#define RANDOM_GLOBS 40

static struct filter *filter_of(const struct filter_rule *rules, size_t n)
{
	struct filter *f = NULL;
	struct err err = {0};

	if (filter_new(&f, rules, n, &err) < 0)
		fail_msg("%s", err.text);
	return f;
}

static struct filter *excluding(const char *pattern)
{
	return filter_of(&(struct filter_rule){.pattern = pattern}, 1);
}

struct expectation {
	const char *pattern, *path; /* with "/" at the end: a directory */
	bool excluded;
};

static const struct expectation table[] = {
        {"*.o", "a.o", true},
        {"*.o", "d/e/a.o", true},
        {"*.o", "a.o/", true},
        {"*.o", "a.obj", false},
        {"*.o", "a.o/b", true}, /* below an excluded directory */
        {"/a", "a", true},
        {"/a", "d/a", false},
        {"/d/a", "d/a", true},
        {"d/a", "x/d/a", true},
        {"d/a", "xd/a", false},
        {"a/", "a/", true},
        {"a/", "a", false},
        {"/a*/", "abc/", true},
        {"/d/*/a", "d/x/a", true},
        {"/d/*/a", "d/x/y/a", false},
        {"/d/**/a", "d/x/y/a", true},
        {"/d/**/a", "d/a", false},
        {"**/a", "a", true},
        {"**/a", "x/y/a", true},
        {"/d/**", "d/", false},
        {"/d/**", "d/x", true},
        {"/d/***", "d/", true},
        {"/d/***", "d/x", true},
        {"/d/***", "d", false},
        {"a?c", "abc", true},
        {"a?c", "a/c", false},
        {"a[/]c", "a/c", false},
        {"[a-c]x", "bx", true},
        {"[a-c]x", "dx", false},
        {"[!a-c]x", "dx", true},
        {"[^a-c]x", "bx", false},
        {"[]]x", "]x", true},
        {"[!]]x", "]x", false},
        {"[]-a]x", "_x", true}, /* a range from "]" */
        {"[a-]x", "-x", true},
        {"[[:digit:]]x", "1x", true},
        {"[[:digit:]]x", "ax", false},
        {"[[:nonsense:]]x", "nx", false},
        {"[\\]]x", "]x", true},
        {"[abc", "[abc", false}, /* never closed: matches nothing */
        {"a\\*b*", "a*bc", true},
        {"a\\*b*", "aXbc", false},
        {"a\\b", "a\\b", true}, /* no wildcard: a backslash is a backslash */
        {"a\\b", "ab", false},
        {"a*\\", "ab\\", false},
        {"a.c", "abc", false},
        {"(a)+", "(a)+", true},
        {"-x", "-x", true},
        {"--delete", "--delete", true},
        {"*a", "new\nline a", true},
        {"new\nline", "new\nline", true},
        {"a?", "a\n", true},
        {"a*", "a\xff\xfe", true},
        {"?", "\xc3", true},
        {"?", "\xc3\xa9", false}, /* bytes, not characters */
        {"\xff", "\xff", true},
        {"[\x80-\xff]", "\xe9", true},
        {"*[*]", "x*", true},
        {" a ", " a ", true},
        {"$a^", "$a^", true},
        {"\\Qa*\\E", "Qab", false},
        {"**", "a/b", true},
        {"*", "a/", true},
        {"a**b", "x/ayy/zb", true},
        {"regex:^d/.*\\.tmp$", "d/x/a.tmp", true},
        {"regex:^d/.*\\.tmp$", "d/x/a.tmp\n", false}, /* "$" is the very end */
        {"regex:b.d", "ab\nde", true},
        {"regex:^d/$", "d/", true},
        {"regex:^d/$", "d", false},
        {"regex:(.)\\1", "xaay", true},
        {"regex:(.)\\1", "xaby", false},
        {"regex:a|b", "xb", true},
        {"regex:(?i)ABC", "xabcx", true},
        {"regex:^.\\xff$", "a\xff", true},
};

static void globs_match_as_the_table_says(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		struct filter *f = excluding(table[i].pattern);
		struct bytes path = bytes_of(table[i].path);
		bool dir = path.p[path.n - 1] == '/';

		path.n -= dir;
		if (filter_excludes_any(f, path, dir) != table[i].excluded)
			fail_msg("pattern %s path %s", table[i].pattern, table[i].path);
		filter_free(f);
	}
}

static void the_first_match_decides_and_no_match_includes(void **state)
{
	const struct filter_rule rules[] = {
	        {.include = true, .pattern = "keep.o"},
	        {.include = false, .pattern = "*.o"},
	        {.include = true, .pattern = "regex:\\.(o|c)$"},
	        {.include = false, .pattern = "regex:(x)\\1"},
	        {.include = false, .pattern = "*.c"},
	        {.include = false, .pattern = "only/"},
	};
	struct filter *f = filter_of(rules, ARRAY_LEN(rules));

	(void)state;
	assert_int_equal(filter_rule(f, BYTES("d/keep.o"), false), 0);
	assert_int_equal(filter_rule(f, BYTES("d/a.o"), false), 1);
	assert_int_equal(filter_rule(f, BYTES("a.c"), false), 2);
	assert_int_equal(filter_rule(f, BYTES("axx"), false), 3);
	assert_int_equal(filter_rule(f, BYTES("a.c"), true), 4);
	assert_int_equal(filter_rule(f, BYTES("only"), true), 5);
	assert_int_equal(filter_rule(f, BYTES("only"), false), -1);
	assert_false(filter_excludes(f, BYTES("keep.o"), false));
	assert_true(filter_excludes(f, BYTES("a.o"), false));
	assert_false(filter_excludes(f, BYTES("else"), false));
	filter_free(f);
}

static void more_rules_than_one_program_holds_keep_their_order(void **state)
{
	enum { RULES = 3000 };
	struct filter_rule *rules autofree = mem_array(RULES, sizeof(*rules));
	struct filter *f;

	(void)state;
	for (size_t i = 0; i < RULES; i++) {
		rules[i].pattern = mem_printf("/file-[0-9]*-number-%zu", i / 2);
		rules[i].include = i % 2;
	}
	f = filter_of(rules, RULES);
	for (size_t i = 0; i < RULES; i += 250) {
		char *path = mem_printf("file-7-number-%zu", i / 2);

		assert_int_equal(filter_rule(f, bytes_of(path), false), i / 2 * 2);
		free(path);
	}
	for (size_t i = 0; i < RULES; i++)
		free((char *)rules[i].pattern);
	filter_free(f);
}

static void own_directory_at_the_root_is_always_excluded(void **state)
{
	struct filter *f = filter_of(&(struct filter_rule){.include = true, .pattern = "**"}, 1);
	struct filter *none = filter_of(NULL, 0);

	(void)state;
	assert_true(filter_excludes(f, BYTES(".lockstep"), true));
	assert_true(filter_excludes(none, BYTES(".lockstep/job.0"), false));
	assert_false(filter_excludes(none, BYTES("d/.lockstep"), true));
	assert_false(filter_excludes(none, BYTES(".lockstep2"), true));
	assert_false(filter_excludes(none, BYTES(""), true));
	filter_free(f);
	filter_free(none);
}

static void malformed_rules_are_refused_with_file_and_line(void **state)
{
	static const char *const bad[] = {"",
	                                  "/",
	                                  "regex:",
	                                  "regex:(a",
	                                  "regex:a)",
	                                  "regex:a)|(b",
	                                  "regex:(?<n>a)",
	                                  "regex:a(*ACCEPT)",
	                                  "regex:(a)(?1)",
	                                  "regex:(?R)",
	                                  "regex:(?x)a #",
	                                  "regex:(?i-x:a)",
	                                  "regex:(?-1)(a)",
	                                  "regex:\\Qa",
	                                  "regex:(*UTF)a",
	                                  "regex:[a"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct filter_rule rules[] = {{.pattern = "fine"},
		                              {.pattern = bad[i], .file = "jobs.conf", .line = 17}};
		struct filter *f = NULL;
		struct err err = {0};

		assert_int_equal(filter_new(&f, rules, 2, &err), -EINVAL);
		assert_null(f);
		assert_non_null(strstr(err.text, "jobs.conf:17: "));
	}
}

static void hash_tells_rules_and_their_order_apart(void **state)
{
	static const struct filter_rule ab[] = {{.pattern = "a"}, {.pattern = "b"}};
	static const struct filter_rule ba[] = {{.pattern = "b"}, {.pattern = "a"}};
	static const struct filter_rule inc[] = {{.pattern = "a", .include = true},
	                                         {.pattern = "b"}};
	static const struct filter_rule same[] = {{.pattern = "a", .line = 3}, {.pattern = "b"}};
	struct filter *f[] = {filter_of(ab, 2), filter_of(ba, 2),   filter_of(inc, 2),
	                      filter_of(ab, 1), filter_of(NULL, 0), filter_of(same, 2)};

	(void)state;
	assert_int_equal(filter_hash(f[0]), filter_hash(f[5]));
	for (size_t i = 0; i < 5; i++) {
		for (size_t k = 0; k < i; k++)
			assert_int_not_equal(filter_hash(f[i]), filter_hash(f[k]));
	}
	for (size_t i = 0; i < ARRAY_LEN(f); i++)
		filter_free(f[i]);
}

static void a_match_that_is_given_up_counts_as_none(void **state)
{
	struct filter *f = excluding("regex:^(?:(?:a?){30}){30}$");
	char path[240];

	(void)state;
	memset(path, 'a', sizeof(path));
	path[sizeof(path) - 1] = 'b';
	assert_false(filter_excludes(f, (struct bytes){path, sizeof(path)}, false));
	filter_free(f);
}

static void *ask_often(void *arg)
{
	for (int i = 0; i < 2000; i++) {
		if (!filter_excludes(arg, BYTES("d/x.o"), false) ||
		    filter_excludes(arg, BYTES("d/x.c"), false))
			return arg;
	}
	return NULL;
}

static void threads_may_ask_at_the_same_time(void **state)
{
	struct filter *f = excluding("*.o");
	pthread_t t[3];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(t); i++)
		assert_int_equal(pthread_create(&t[i], NULL, ask_often, f), 0);
	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		void *bad;

		assert_int_equal(pthread_join(t[i], &bad), 0);
		assert_null(bad);
	}
	filter_free(f);
}

/* A tree whose names meet the patterns below; directories end in "/", parents come first. */
static const char *const tree[] = {
        "a",     "b",       "ab",       "ba",   "a-b",   "-a",    "*",      "a*",
        "?",     "[",       "[a]",      "]",    "a]",    "!",     "\\",     "a\\b",
        "a\nb",  "\xff",    "a\xff",    "d/",   "d/a",   "d/b",   "d/ab",   "d/d/",
        "d/d/a", "d/d/b",   "d/a\\",    "e/",   "e/a/",  "e/a/b", "e/a/b*", "e/b/",
        "e/b/a", "e/b/ab/", "e/b/ab/a", "a.b/", "a.b/a", "e/[a",
};

static const char *const patterns[] = {
        "a",       "/a",          "a/",
        "d/a",     "/d/a",        "/d/",
        "d/",      "*",           "/*",
        "*/",      "**",          "***",
        "?",       "??",          "/?",
        "a*",      "*a",          "a?b",
        "a**b",    "**a",         "**/a",
        "/**/a",   "d/**",        "/d/**",
        "/d/***",  "d/***",       "e/**/a",
        "e/*/a",   "/e/**/a",     "e/*",
        "/e/*/",   "*/a",         "*/*/a",
        "[ab]",    "[!ab]",       "[^a]",
        "[a-b]*",  "[]]",         "[]a]*",
        "[!]]",    "[\\]]",       "\\[*",
        "\\*",     "a\\*",        "a\\b",
        "\\",      "\\\\*",       "[[]",
        "[[]a]",   "[[:alpha:]]", "[[:alpha:]b]*",
        "[[:x:]]", "[[:alpha:]",  "[a",
        "[",       "]",           "a]",
        "[!",      "[a-",         "[a-]*",
        "[-a]*",   "[b-a]",       "[a-a]",
        "*[",      "*[*]",        "d/d/",
        "/d/d/a",  "d*d",         "d**d",
        "**d/",    "**/",         "d//",
        "//a",     "d//a",        "/d",
        "?/a",     "d/?",         "d?a",
        "d[/]a",   "[!x]a",       "e/b/ab",
        "b/ab/",   "/b/ab",       "**b**",
        "*b*",     "**[ab]",      "[*]",
        "[?]",     "a\nb",        "a?b*",
        "\xff",    "?\xff",       "[\x80-\xff]",
        "a.b",     "a.?",         "***/a",
        "****",    "**/**",       "e***",
        "/e***",   "**/a/",       "/**",
        "a/b",     "e/a/b**",     "*\\",
        "*\\\\",
};

static char *tree_make(void)
{
	const char *base = getenv("TMPDIR");
	char *root = mem_printf("%s/lockstep-filter-XXXXXX", base ? base : "/tmp");

	assert_non_null(mkdtemp(root));
	for (size_t i = 0; i < ARRAY_LEN(tree); i++) {
		char *path = mem_printf("%s/%s", root, tree[i]);

		if (path[strlen(path) - 1] == '/') {
			assert_int_equal(mkdir(path, 0700), 0);
		} else {
			int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

			assert_true(fd >= 0);
			close(fd);
		}
		free(path);
	}
	return root;
}

static void tree_remove(char *root)
{
	for (size_t i = ARRAY_LEN(tree); i-- > 0;) {
		char *path = mem_printf("%s/%s", root, tree[i]);

		assert_int_equal(remove(path), 0);
		free(path);
	}
	assert_int_equal(rmdir(root), 0);
	free(root);
}

/* Output of `rsync -nr8 --exclude PATTERN ROOT/ ROOT/none/`; false: there is no rsync. */
static bool rsync_lists(const char *root, const char *pattern, struct buf *out)
{
	char *exclude autofree = mem_printf("--exclude=%s", pattern);
	char *from autofree = mem_printf("%s/", root), *to autofree = mem_printf("%s/none/", root);
	char *argv[] = {"rsync", "-nr8", "--out-format=%n", exclude, from, to, NULL};
	posix_spawn_file_actions_t actions;
	int pipes[2], status, r;
	ssize_t got;
	pid_t pid;

	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, pipes[1], 1);
	r = posix_spawnp(&pid, "rsync", &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(pipes[1]);
	while (r == 0 && (got = read(pipes[0], buf_reserve(out, 4096), 4096)) > 0)
		out->n += (size_t)got;
	close(pipes[0]);
	if (r != 0)
		return false;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	return true;
}

/* rsync shows control characters as "\#ooo". */
static bool listed(struct bytes out, const char *name)
{
	while (out.n) {
		const char *end = memchr(out.p, '\n', out.n);
		char line[256];
		size_t n = 0;

		assert_non_null(end);
		for (const char *p = out.p; p < end; p++) {
			unsigned byte;

			if (end - p >= 5 && sscanf(p, "\\#%3o", &byte) == 1) {
				line[n++] = (char)byte;
				p += 4;
			} else {
				line[n++] = *p;
			}
		}
		if (bytes_equal((struct bytes){line, n}, bytes_of(name)))
			return true;
		out.n -= (size_t)(end + 1 - out.p);
		out.p = end + 1;
	}
	return false;
}

static bool compare_with_rsync(const char *root, const char *pattern)
{
	struct filter *f = excluding(pattern);
	struct buf out;
	bool there;

	buf_init(&out, 1 << 20);
	there = rsync_lists(root, pattern, &out);
	for (size_t i = 0; there && i < ARRAY_LEN(tree); i++) {
		struct bytes path = bytes_of(tree[i]);
		bool dir = path.p[path.n - 1] == '/';

		path.n -= dir;
		if (filter_excludes_any(f, path, dir) == listed(buf_bytes(&out), tree[i]))
			fail_msg("pattern %s path %s: rsync %s it", pattern, tree[i],
			         listed(buf_bytes(&out), tree[i]) ? "takes" : "leaves");
	}
	buf_done(&out);
	filter_free(f);
	return there;
}

static void globs_match_as_rsync_does(void **state)
{
	char *root = tree_make();
	bool there = true;

	(void)state;
	for (size_t i = 0; there && i < ARRAY_LEN(patterns); i++)
		there = compare_with_rsync(root, patterns[i]);
	tree_remove(root);
	if (!there)
		skip();
}

static void random_globs_match_as_rsync_does(void **state)
{
	static const char alphabet[] = "aabbde/**?[]!\\-";
	char *root = tree_make();
	uint64_t random = 20240601;
	bool there = true;

	(void)state;
	print_message("# seed %llu\n", (unsigned long long)random);
	for (int i = 0; there && i < RANDOM_GLOBS; i++) {
		char pattern[9];
		size_t n;

		random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
		n = 1 + (random >> 33) % 8;
		for (size_t k = 0; k < n; k++) {
			random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
			pattern[k] = alphabet[(random >> 33) % (sizeof(alphabet) - 1)];
		}
		pattern[n] = 0;
		/* "!" alone clears rsync's list; an empty pattern is refused here. */
		if (strcmp(pattern, "/") != 0 && strcmp(pattern, "!") != 0)
			there = compare_with_rsync(root, pattern);
	}
	tree_remove(root);
	if (!there)
		skip();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(globs_match_as_the_table_says),
	        cmocka_unit_test(the_first_match_decides_and_no_match_includes),
	        cmocka_unit_test(more_rules_than_one_program_holds_keep_their_order),
	        cmocka_unit_test(own_directory_at_the_root_is_always_excluded),
	        cmocka_unit_test(malformed_rules_are_refused_with_file_and_line),
	        cmocka_unit_test(hash_tells_rules_and_their_order_apart),
	        cmocka_unit_test(a_match_that_is_given_up_counts_as_none),
	        cmocka_unit_test(threads_may_ask_at_the_same_time),
	        cmocka_unit_test(globs_match_as_rsync_does),
	        cmocka_unit_test(random_globs_match_as_rsync_does),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
