/* Whole configurations: from a file, conf.d and the command line; each kind of mistake; reload. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "daemon/config.h"
#include "daemon/config_state.h"

static char dir[64];

static int set_up(void **state)
{
	(void)state;
	(void)snprintf(dir, sizeof(dir), "/tmp/lockstep-config-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
	static const char *const names[] = {"conf.d/10-a.conf",
	                                    "conf.d/20-b.conf",
	                                    "conf.d/no.txt",
	                                    "conf.d",
	                                    "link",
	                                    "src/in",
	                                    "src",
	                                    "dst",
	                                    "state/lock",
	                                    "state",
	                                    "secret",
	                                    "lockstep.conf"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		autofree char *path = mem_printf("%s/%s", dir, names[i]);

		(void)remove(path); /* most tests make only some of them */
	}
	return rmdir(dir);
}

/* "%" in the text stands for the test's directory. By malloc. */
static char *expand(const char *text)
{
	struct buf out;
	char *result;

	buf_init(&out, 1 << 16);
	for (; *text; text++) {
		if (*text == '%')
			buf_add(&out, dir, strlen(dir));
		else
			buf_add(&out, text, 1);
	}
	result = mem_dup(out.p ? out.p : "", out.n);
	buf_done(&out);
	return result;
}

static void make_dir(const char *name)
{
	autofree char *path = mem_printf("%s/%s", dir, name);

	assert_int_equal(mkdir(path, 0755), 0);
}

static void write_file(const char *name, const char *text)
{
	autofree char *path = mem_printf("%s/%s", dir, name), *all = expand(text);
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	assert_int_equal(fwrite(all, 1, strlen(all), f), strlen(all));
	assert_int_equal(fclose(f), 0);
}

struct problems {
	char *texts[16];
	size_t count;
};

static void keep_problem(const char *text, void *arg)
{
	struct problems *p = arg;

	assert_true(p->count < ARRAY_LEN(p->texts));
	p->texts[p->count++] = mem_strdup(text);
}

static int load_file(struct config **ret, struct err *err, struct problems *problems)
{
	autofree char *file = mem_printf("%s/lockstep.conf", dir),
	              *state = mem_printf("%s/state", dir);
	struct config_request request = {.file = file,
	                                 .state = state,
	                                 .problem = problems ? keep_problem : NULL,
	                                 .problem_arg = problems};

	return config_load(ret, &request, err);
}

static struct config *load_good(const char *text)
{
	struct config *c = NULL;
	struct err err = {0};

	write_file("lockstep.conf", text);
	if (load_file(&c, &err, NULL) != 0)
		fail_msg("%s", err.text);
	return c;
}

static const char whole[] = "# comment\n"
                            "log_level = debug\n"
                            "lanes = 3\n"
                            "exclude = *.bak\n"
                            "\n"
                            "[tree uploads]\n"
                            "root = /srv/uploads/\n"
                            "target = rsync://me@b1/uploads\n"
                            "target = /backup/uploads\n"
                            "exclude = /cache/*\n"
                            "include = /cache/keep\n"
                            "keep = mode, times\n"
                            "audit-period = 12h\n"
                            "[target web2]\n"
                            "target = web@b2:/srv/uploads\n"
                            "ssh port = 2222\n"
                            "ssh_option = A=1\n"
                            "ssh_option = B=2\n"
                            "rsync_path = sudo  rsync\n"
                            "lanes = 1\n"
                            "chmod = D755,F644\n"
                            "delete = no\n"
                            "[target far]\n"
                            "tree = uploads\n"
                            "target = b3::uploads\n";

static void load_file_builds_trees_and_jobs(void **state)
{
	struct config *c = load_good(whole);
	const struct config_tree *t;

	(void)state;
	assert_int_equal(c->log_level, LOG_DEBUG);
	assert_int_equal(c->tree_count, 1);
	t = config_find_tree(c, "uploads");
	assert_string_equal(t->root, "/srv/uploads");
	assert_int_equal(t->job_count, 4);
	assert_string_equal(t->jobs[0].name, "uploads.1");
	assert_string_equal(t->jobs[1].name, "uploads.2");
	assert_int_equal(t->jobs[0].options.lanes, 3);
	assert_int_equal(t->jobs[0].options.keep, CONFIG_KEEP_MODE | CONFIG_KEEP_TIMES);
	assert_int_equal(t->jobs[0].options.timeout_ns, INT64_C(30000000000));
	assert_true(t->jobs[0].options.delete);
	assert_int_equal(t->jobs[0].line, 8);
	assert_int_equal(t->audit_period_ns, INT64_C(43200000000000));
	/* The tree's own rules come first, in their order. */
	assert_int_equal(t->rule_count, 3);
	assert_string_equal(t->rules[0].pattern, "/cache/*");
	assert_true(t->rules[1].include);
	assert_string_equal(t->rules[2].pattern, "*.bak");
	assert_int_equal(t->rules[2].line, 4);
	assert_null(config_find_job(c, "nobody", NULL));
	assert_non_null(config_find_job(c, "far", NULL));
	config_free(c);
}

static void load_target_section_overrides_its_tree(void **state)
{
	struct config *c = load_good(whole);
	const struct config_tree *t = NULL;
	const struct config_job *web2 = config_find_job(c, "web2", &t);

	(void)state;
	assert_ptr_equal(t, &c->trees[0]);
	assert_non_null(web2);
	assert_int_equal(web2->options.lanes, 1);
	assert_int_equal(web2->target.port, 2222);
	assert_int_equal(web2->options.ssh_option.count, 2);
	assert_int_equal(web2->options.rsync_path.count, 2);
	assert_string_equal(web2->options.rsync_path.items[0], "sudo");
	assert_string_equal(web2->options.ssh_command.items[0], "ssh");
	assert_int_equal(web2->options.chmod.dir_or, 0755);
	assert_false(web2->options.delete);
	config_free(c);
}

static void load_conf_d_is_read_in_order(void **state)
{
	struct config *c;

	(void)state;
	make_dir("conf.d");
	write_file("conf.d/20-b.conf", "[tree b]\nroot = /b\ntarget = h::b\n");
	write_file("conf.d/10-a.conf", "lanes = 7\n[tree a]\nroot = /a\ntarget = h::a\n");
	write_file("conf.d/no.txt", "nonsense\n");
	c = load_good("lanes = 2\n");
	assert_int_equal(c->tree_count, 2);
	assert_string_equal(c->trees[0].name, "a");
	assert_string_equal(c->trees[1].name, "b");
	assert_int_equal(c->trees[1].jobs[0].options.lanes, 7);
	config_free(c);
}

static const struct mistake {
	const char *text, *problem;
} mistakes[] = {
        {"[tree uploads]\nroot = /a\ntarget = h::m\nexlude = x\n",
         "%/lockstep.conf:4: unknown key \"exlude\" in [tree uploads]; did you mean \"exclude\"?"},
        {"zzzzzz = 1\n[tree a]\nroot = /a\ntarget = h::m\n",
         "%/lockstep.conf:1: unknown key \"zzzzzz\" in the top of the file"},
        {"[tree a]\nroot = /a\ntarget = h::m\nlog_level = info\n",
         "%/lockstep.conf:4: \"log_level\" cannot stand in [tree a], only in the top of the file"},
        {"[tree a]\nroot = /a\ntarget = h::m\n[target t]\ntarget = h::n\nexclude = x\n",
         "%/lockstep.conf:6: \"exclude\" cannot stand in [target t], only in the top of the file "
         "and "
         "[tree ...]"},
        {"[tre a]\nroot = /a\n",
         "%/lockstep.conf:1: unknown section [tre]; did you mean [tree ...]?"},
        {"[tree]\nroot = /a\n", "%/lockstep.conf:1: [tree ]: a name has 1 to 64 letters, digits, "
                                "\"_\", \".\" or \"-\" and "
                                "does not begin with \".\" or \"-\""},
        {"[tree a/b]\nroot = /a\n",
         "%/lockstep.conf:1: [tree a/b]: a name has 1 to 64 letters, digits, \"_\", \".\" or \"-\" "
         "and does not begin with \".\" or \"-\""},
        {"[tree a]\nroot = /a\ntarget = h::m\n[tree a]\nroot = /b\ntarget = h::n\n",
         "%/lockstep.conf:4: [tree a] exists already at %/lockstep.conf:1"},
        {"[tree a]\ntarget = h::m\n",
         "%/lockstep.conf:1: [tree a] has no root: write \"root = /...\" into it"},
        {"[tree a]\nroot = /a\n",
         "%/lockstep.conf:1: [tree a] has no target: write \"target = ...\" into it"},
        {"[tree a]\nroot =\ntarget = h::m\n", "%/lockstep.conf:2: root = : the path is empty"},
        {"[tree a]\nroot = a\ntarget = h::m\n",
         "%/lockstep.conf:2: root = a: \"a\" is a relative path: write it from \"/\" on"},
        {"[tree a]\nroot = /\ntarget = h::m\n",
         "%/lockstep.conf:2: root = /: \"/\" is refused: name a directory below it"},
        {"[tree a]\nroot = /a\nroot = /b\ntarget = h::m\n",
         "%/lockstep.conf:3: \"root\" is given twice, first in line 2"},
        {"[tree a]\nroot = /a\ntarget = h::m\nlanes = 99\n",
         "%/lockstep.conf:4: lanes = 99: too large: 1 to 32"},
        {"lanes = x\n[tree a]\nroot = /a\ntarget = h::m\ntarget = h::n\n",
         "%/lockstep.conf:1: lanes = x: \"x\" is no whole number"},
        {"[tree a]\nroot = /a\ntarget = rsync://u:pw@h/m\n",
         "%/lockstep.conf:3: target: a password in the address is refused: write rsync://u@h/m and "
         "put the password into a file of mode 0600, named by password_file"},
        {"[tree a]\nroot = /a\ntarget = u:pw@h::m\n",
         "%/lockstep.conf:3: target: a password in the address is refused: write u@h::m and "
         "put the password into a file of mode 0600, named by password_file"},
        {"[tree a]\nroot = %/src\ntarget = %/src\n",
         "%/lockstep.conf:3: the target %/src is its own source"},
        {"[tree a]\nroot = /a\ntarget = %\n",
         "%/lockstep.conf:3: the state directory %/state lies inside the target %: put it "
         "elsewhere"},
        {"[tree a]\nroot = /a\ntarget = /a/b\n",
         "%/lockstep.conf:3: the target /a/b lies inside its own source /a"},
        {"[tree a]\nroot = /a/b\ntarget = /a\n",
         "%/lockstep.conf:3: the source /a/b lies inside its own target /a"},
        {"[tree a]\nroot = %/src\ntarget = %/link\n",
         "%/lockstep.conf:3: the target %/link lies inside its own source %/src"},
        {"[tree a]\nroot = /a\ntarget = h::m\ntarget = rsync://h/m/x\n",
         "%/lockstep.conf:4: the targets of a.1 (h::m) and a.2 (rsync://h/m/x) are the same place "
         "or "
         "one lies inside the other"},
        {"[tree a]\nroot = /a\ntarget = %/dst\n[tree b]\nroot = /b\ntarget = %/dst/x\n",
         "%/lockstep.conf:6: the targets of a.1 (%/dst) and b.1 (%/dst/x) are the same place or "
         "one "
         "lies inside the other"},
        {"[tree a]\nroot = /a\ntarget = h::m\n[target a.1]\ntarget = h::n\n",
         "%/lockstep.conf:5: two jobs are named \"a.1\""},
        {"[target t]\ntarget = h::n\n",
         "%/lockstep.conf:1: [target t] belongs to no tree: write \"tree = NAME\" into it"},
        {"[tree a]\nroot = /a\n[target t]\ntree = b\ntarget = h::n\n",
         "%/lockstep.conf:4: there is no [tree b]"},
        {"[tree a]\nroot = /a\n[target t]\n",
         "%/lockstep.conf:3: [target t] has no address: write \"target = ...\" into it"},
        {"", "%/lockstep.conf: there is nothing to mirror: write [tree NAME] with root and target"},
        {"[tree a]\nroot = %\ntarget = h::m\n",
         "%/lockstep.conf:1: the state directory %/state lies inside the root of [tree a]: each "
         "write there would be a change to mirror"},
        {"log_file = %/src/log\n[tree a]\nroot = %/src\ntarget = h::m\n",
         "%/lockstep.conf:2: the log file %/src/log lies inside the root of [tree a]: each write "
         "there would be a change to mirror"},
        {"[tree a]\nroot = %/lockstep.conf\ntarget = h::m\n",
         "%/lockstep.conf:1: the root %/lockstep.conf is no directory"},
};

static void load_mistake_is_told_with_file_and_line(void **state)
{
	autofree char *link = mem_printf("%s/link", dir), *in = mem_printf("%s/src/in", dir);

	(void)state;
	make_dir("src");
	make_dir("src/in");
	assert_int_equal(symlink(in, link), 0);
	for (size_t i = 0; i < ARRAY_LEN(mistakes); i++) {
		autofree char *expected = expand(mistakes[i].problem);
		struct config *c = NULL;
		struct err err = {0};

		write_file("lockstep.conf", mistakes[i].text);
		if (load_file(&c, &err, NULL) == 0)
			fail_msg("taken:\n%s", mistakes[i].text);
		assert_string_equal(err.text, expected);
		assert_null(c);
	}
}

static void load_several_mistakes_tells_all(void **state)
{
	struct problems p = {.count = 0};
	struct config *c = NULL;
	struct err err = {0};

	(void)state;
	write_file("lockstep.conf", "lanes = 0\nfoo = 1\n[tree a]\ntimeout = 1\ntarget = x\n");
	assert_int_equal(load_file(&c, &err, &p), -22);
	/* foo; lanes never is looked at without a job. */
	assert_int_equal(p.count, 3);
	assert_non_null(strstr(p.texts[0], ":2: unknown key \"foo\""));
	assert_non_null(strstr(p.texts[1], ":3: [tree a] has no root"));
	assert_non_null(strstr(p.texts[2], ":5: target: \"x\" is a relative path"));
	assert_string_equal(err.text, p.texts[0]);
	for (size_t i = 0; i < p.count; i++)
		free(p.texts[i]);
}

static void load_missing_file_says_so(void **state)
{
	struct config *c = NULL;
	struct err err = {0};

	(void)state;
	assert_int_equal(load_file(&c, &err, NULL), -2);
	assert_non_null(strstr(err.text, "lockstep.conf"));
}

static int load_arguments(struct config **ret, const char *root, const char *target,
                          const char *set, struct err *err)
{
	autofree char *state = mem_printf("%s/state", dir);
	struct config_request request = {.state = state,
	                                 .root = root,
	                                 .targets = &target,
	                                 .target_count = 1,
	                                 .sets = &set,
	                                 .set_count = set ? 1 : 0};

	return config_load(ret, &request, err);
}

static void load_command_line_makes_tree_main(void **state)
{
	autofree char *src = mem_printf("%s/src", dir);
	struct config *c = NULL;
	struct err err = {0};

	(void)state;
	make_dir("src");
	assert_int_equal(load_arguments(&c, src, "b1::m", "batch-size=16M", &err), 0);
	assert_string_equal(c->trees[0].name, "main");
	assert_string_equal(c->trees[0].jobs[0].name, "main.1");
	assert_int_equal(c->trees[0].jobs[0].options.batch_bytes, 16 << 20);
	config_free(c);
	assert_int_equal(load_arguments(&c, "/nowhere/at/all", "b1::m", NULL, &err), -22);
	assert_string_equal(err.text,
	                    "command line: the source /nowhere/at/all: No such file or directory");
	assert_int_equal(load_arguments(&c, src, "b1::m", "lane=2", &err), -22);
	assert_string_equal(err.text,
	                    "--set lane=2: unknown key \"lane\" in the top of the file; did "
	                    "you mean \"lanes\"?");
	assert_int_equal(load_arguments(&c, src, "b1::m", "lanes", &err), -22);
	assert_string_equal(err.text, "--set lanes: write KEY=VALUE");
	assert_int_equal(load_arguments(&c, src, "dst", NULL, &err), -22);
	assert_non_null(strstr(err.text, "command line: target: \"dst\" is a relative path"));
}

struct changes {
	char text[1024];
};

static void note_change(const struct config_difference *d, void *arg)
{
	static const char marks[] = "=~+-";
	struct changes *c = arg;
	size_t n = strlen(c->text);
	const struct config_job *job = d->now ? d->now : d->was;
	const struct config_tree *tree = d->now_tree ? d->now_tree : d->was_tree;

	(void)snprintf(c->text + n, sizeof(c->text) - n, "%c%s%s%s%s ", marks[d->change],
	               job ? job->name : tree->name, d->root_changed ? "(root)" : "",
	               d->rules_changed ? "(rules)" : "", d->target_changed ? "(target)" : "");
}

static void diff_tells_what_changed_and_nothing_else(void **state)
{
	static const char before[] = "[tree a]\nroot = /a\ntarget = h::a\ntarget = h::b\n"
	                             "[tree b]\nroot = /b\ntarget = h::c\nexclude = x\n"
	                             "[tree gone]\nroot = /g\ntarget = h::g\n";
	struct config *was = load_good(before), *now = NULL;
	struct changes c = {""};
	struct err err = {0};

	(void)state;
	write_file("lockstep.conf", "# the same, written otherwise\n[tree a]\nroot = /a/\n"
	                            "target = h::a\ntarget = h::b\nlanes = 4\n"
	                            "[tree b]\nroot = /b\ntarget = h::c\nexclude = x\n"
	                            "[tree gone]\nroot = /g\ntarget = h::g\n");
	assert_int_equal(config_reload(&now, was, &err), 0);
	config_diff(was, now, note_change, &c);
	assert_string_equal(c.text, "=a =a.1 =a.2 =b =b.1 =gone =gone.1 ");
	assert_null(config_diff_instance(was, now));
	config_free(now);
	write_file("lockstep.conf", "log_level = debug\n[tree a]\nroot = /a2\ntarget = h::a\n"
	                            "target = h::z\ntarget = h::y\nlanes = 5\n"
	                            "[tree b]\nroot = /b\ntarget = h::c\ninclude = x\n"
	                            "[tree new]\nroot = /n\ntarget = h::n\n");
	assert_int_equal(config_reload(&now, was, &err), 0);
	c.text[0] = '\0';
	config_diff(was, now, note_change, &c);
	assert_string_equal(c.text, "~a(root) ~a.1 ~a.2(target) +a.3 ~b(rules) =b.1 -gone -gone.1 "
	                            "+new +new.1 ");
	assert_string_equal(config_diff_instance(was, now), "log_level");
	config_free(now);
	write_file("lockstep.conf", "[tree a]\nroot = /a\n");
	assert_int_equal(config_reload(&now, was, &err), -22);
	config_free(was);
}

static void password_comes_from_a_private_file_only(void **state)
{
	autofree char *path = mem_printf("%s/secret", dir);
	struct config *c;
	char *password = NULL;
	struct err err = {0};

	(void)state;
	write_file("secret", "canary\n");
	assert_int_equal(chmod(path, 0600), 0);
	c = load_good("[tree a]\nroot = /a\ntarget = h::a\npassword_file = %/secret\n");
	assert_int_equal(config_read_password(&c->trees[0].jobs[0], &password, &err), 0);
	assert_string_equal(password, "canary");
	mem_free_secret(password);
	assert_int_equal(chmod(path, 0644), 0);
	password = NULL;
	assert_true(config_read_password(&c->trees[0].jobs[0], &password, &err) < 0);
	assert_null(password);
	assert_null(strstr(err.text, "canary"));
	config_free(c);
}

static void lock_second_instance_learns_the_pid(void **state)
{
	autofree char *path = mem_printf("%s/state", dir);
	autofree char *part =
	        mem_printf("another lockstep (pid %d) runs on the state", (int)getpid());
	int first = -1, second = -1;
	struct err err = {0};

	(void)state;
	assert_int_equal(state_lock(path, &first, &err), 0);
	assert_int_equal(state_lock(path, &second, &err), -16);
	assert_non_null(strstr(err.text, part));
	assert_int_equal(second, -1);
	assert_int_equal(close(first), 0);
	assert_int_equal(state_lock(path, &second, &err), 0);
	assert_int_equal(close(second), 0);
}

static void state_paths_follow_the_option(void **state)
{
	char *where, *socket;
	struct err err = {0};

	(void)state;
	assert_int_equal(state_paths("main", "/x/y", &where, &socket, &err), 0);
	assert_string_equal(where, "/x/y");
	assert_string_equal(socket, "/x/y/control.sock");
	free(where);
	free(socket);
	assert_int_equal(state_paths("../x", NULL, &where, &socket, &err), -22);
	assert_int_equal(state_paths("", NULL, &where, &socket, &err), -22);
}

/* Bytes changed, lines doubled, cut and moved: an error or a config, never worse. */
static void load_random_damage_is_survived(void **state)
{
	unsigned seed = 20240611;
	size_t n = strlen(whole), taken = 0;

	(void)state;
	print_message("# seed %u\n", seed);
	for (int round = 0; round < 1000; round++) {
		autofree char *text = mem_dup(whole, n);
		struct config *c = NULL;
		struct err err = {0};
		int rc;

		for (int hit = rand_r(&seed) % 4; hit >= 0; hit--) {
			size_t at = (size_t)rand_r(&seed) % n, from = (size_t)rand_r(&seed) % n;
			size_t length = (size_t)rand_r(&seed) % 40;

			if (rand_r(&seed) % 2)
				text[at] = (char)(1 + rand_r(&seed) % 255);
			else if (at + length < n && from + length < n)
				memmove(text + at, text + from, length);
		}
		write_file("lockstep.conf", text);
		rc = load_file(&c, &err, NULL);
		assert_true(rc == 0 || err.text[0]);
		taken += rc == 0;
		config_free(c);
	}
	assert_true(taken > 0 && taken < 1000);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(load_file_builds_trees_and_jobs),
	        TEST(load_target_section_overrides_its_tree),
	        TEST(load_conf_d_is_read_in_order),
	        TEST(load_mistake_is_told_with_file_and_line),
	        TEST(load_several_mistakes_tells_all),
	        TEST(load_missing_file_says_so),
	        TEST(load_command_line_makes_tree_main),
	        TEST(diff_tells_what_changed_and_nothing_else),
	        TEST(password_comes_from_a_private_file_only),
	        TEST(lock_second_instance_learns_the_pid),
	        TEST(state_paths_follow_the_option),
	        TEST(load_random_damage_is_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
