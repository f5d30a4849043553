/* The command line's table: parsing, help, and the manual pages made from the tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/fd.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "daemon/config_keys.h"

static int parse(struct cli_args *args, struct err *err, const char *line)
{
	static char text[512];
	static char *argv[32];
	int argc = 0;

	argv[argc++] = (char *)"lockstep";
	memcpy(text, line, strlen(line) + 1);
	for (char *p = text; *p;) {
		size_t n = strcspn(p, " ");

		argv[argc++] = p;
		p += n;
		if (*p)
			*p++ = '\0';
	}
	argv[argc] = NULL;
	*err = (struct err){0};
	return cli_parse(args, argc, argv, err);
}

static void parse_global_options_stand_anywhere(void **state)
{
	static const char *const lines[] = {
	        "--state /s --name=web -c f status -w",
	        "status --state=/s --name web --config f --watch",
	        "--name web status -cf -w --state /s",
	};
	struct cli_args a;
	struct err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		assert_int_equal(parse(&a, &err, lines[i]), 0);
		assert_string_equal(a.verb->name, "status");
		assert_string_equal(a.state, "/s");
		assert_string_equal(a.name, "web");
		assert_string_equal(a.config, "f");
		assert_true(cli_given(&a, "watch"));
		assert_int_equal(a.word_count, 0);
		cli_args_done(&a);
	}
}

static void parse_run_takes_sources_targets_and_sets(void **state)
{
	struct cli_args a;
	struct err err;

	(void)state;
	assert_int_equal(parse(&a, &err, "run --once /src h::m --set a=1 --set b=2 -- --x"), 0);
	assert_int_equal(a.word_count, 3);
	assert_string_equal(a.words[0], "/src");
	assert_string_equal(a.words[2], "--x");
	assert_int_equal(a.given_count, 3);
	assert_string_equal(cli_value(&a, "set"), "b=2");
	cli_args_done(&a);
}

static const struct mistake {
	const char *line, *problem;
} mistakes[] = {
        {"", "say what to do; \"lockstep help\" lists it"},
        {"stauts", "\"stauts\" is no verb; did you mean \"status\"?; \"lockstep help\" lists them"},
        {"/src /dst", "\"/src\" is no verb; to mirror it: lockstep run SRC TARGET..."},
        {"status --wach", "--wach is no option of status; did you mean --watch?"},
        {"wait --timeout", "--timeout needs a value: --timeout TIME"},
        {"status --watch=1", "--watch takes no value"},
        {"status --w", "--w is no option of status"},
        {"reload now", "\"now\" is too much: lockstep reload"},
        {"approve", "something is missing: lockstep approve ID [JOB]"},
        {"approve 1 j k", "\"k\" is too much: lockstep approve ID [JOB]"},
};

static void parse_mistakes_say_what_is_right(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(mistakes); i++) {
		struct cli_args a;
		struct err err;

		if (parse(&a, &err, mistakes[i].line) == 0)
			fail_msg("taken: %s", mistakes[i].line);
		assert_string_equal(err.text, mistakes[i].problem);
	}
}

static void help_of_each_verb_names_its_options(void **state)
{
	struct buf overview;

	(void)state;
	buf_init(&overview, 1 << 16);
	cli_print_help(NULL, &overview);
	buf_add(&overview, "", 1);
	for (size_t i = 0; i < cli_verb_count; i++) {
		const struct cli_verb *v = &cli_verbs[i];
		autofree char *line = mem_printf("%s --help", v->name);
		struct cli_args a;
		struct err err;
		struct buf help;

		assert_int_equal(parse(&a, &err, line), 0);
		assert_true(a.wants_help);
		cli_args_done(&a);
		buf_init(&help, 1 << 16);
		cli_print_help(v, &help);
		buf_add(&help, "", 1);
		for (size_t f = 0; f < CLI_FLAGS_MAX && v->flags[f].name; f++) {
			autofree char *flag = mem_printf("--%s", v->flags[f].name);

			assert_non_null(strstr(help.p, flag));
		}
		for (const char *p = help.p; *p; p += strcspn(p, "\n") + (p[strcspn(p, "\n")] != 0))
			assert_true(strcspn(p, "\n") <= 80);
		if (!v->hidden)
			assert_non_null(strstr(overview.p, v->line));
		buf_done(&help);
	}
	for (size_t i = 0; i < cli_exit_code_count; i++)
		assert_non_null(strstr(overview.p, cli_exit_codes[i].meaning));
	buf_done(&overview);
}

/* A page that differs is made again from `lockstep config-doc`. */
static void contains_generated(const char *page, void (*generate)(struct buf *out))
{
	autofree char *path = mem_printf("%s/%s", MAN_DIR, page);
	struct buf text, part;
	struct err err = {0};

	buf_init(&text, 1 << 20);
	buf_init(&part, 1 << 20);
	if (fd_read_file(path, 1 << 20, &text, &err) < 0)
		fail_msg("%s", err.text);
	generate(&part);
	assert_false(part.overflowed);
	if (!memmem(text.p, text.n, part.p, part.n))
		fail_msg("%s does not hold what the table says", path);
	buf_done(&text);
	buf_done(&part);
}

static void manual_pages_match_the_tables(void **state)
{
	(void)state;
	contains_generated("lockstep.1", cli_doc_man);
	contains_generated("lockstep.conf.5", config_doc_man);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(parse_global_options_stand_anywhere),
	        cmocka_unit_test(parse_run_takes_sources_targets_and_sets),
	        cmocka_unit_test(parse_mistakes_say_what_is_right),
	        cmocka_unit_test(help_of_each_verb_names_its_options),
	        cmocka_unit_test(manual_pages_match_the_tables),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
