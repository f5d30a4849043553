#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ini.h"
#include "base/mem.h"
#include "base/path.h"
#include "cli/cli.h"
#include "daemon/config_value.h"

void cli_complain(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)fputs("lockstep: ", stderr);
	(void)vfprintf(stderr, fmt, ap);
	(void)fputc('\n', stderr);
	va_end(ap);
}

static const struct cli_flag *find_in(const struct cli_flag *flags, size_t n, const char *name,
                                      size_t length)
{
	for (size_t i = 0; i < n && flags[i].name; i++) {
		bool by_letter = length == 1 && flags[i].letter == name[0];

		if (by_letter ||
		    (strlen(flags[i].name) == length && strncmp(flags[i].name, name, length) == 0))
			return &flags[i];
	}
	return NULL;
}

static const struct cli_flag *find_flag(const struct cli_verb *verb, const char *name,
                                        size_t length)
{
	const struct cli_flag *f = NULL;

	if (verb)
		f = find_in(verb->flags, CLI_FLAGS_MAX, name, length);
	return f ? f : find_in(cli_global_flags, cli_global_flag_count, name, length);
}

static int unknown_flag(const struct cli_verb *verb, const char *word, struct err *err)
{
	const char *names[CLI_FLAGS_MAX + 8];
	const char *guess;
	size_t n = 0;

	for (size_t i = 0; verb && i < CLI_FLAGS_MAX && verb->flags[i].name; i++)
		names[n++] = verb->flags[i].name;
	for (size_t i = 0; i < cli_global_flag_count; i++)
		names[n++] = cli_global_flags[i].name;
	guess = ini_did_you_mean(word + strspn(word, "-"), names, n);
	return err_set(err, EINVAL, "%s is no option%s%s%s%s%s", path_show(bytes_of(word)),
	               verb ? " of " : "", verb ? verb->name : "", guess ? "; did you mean --" : "",
	               guess ? guess : "", guess ? "?" : "");
}

/* The verb decides about the flags before it, too: it is the first word that is none of them. */
static const struct cli_verb *find_verb(int argc, char **argv, int *ret_at)
{
	for (int i = 1; i < argc; i++) {
		const struct cli_flag *f;

		if (argv[i][0] != '-' || argv[i][1] == '\0') {
			*ret_at = i;
			return cli_verb_find(argv[i]);
		}
		f = find_flag(NULL, argv[i] + strspn(argv[i], "-"),
		              strlen(argv[i] + strspn(argv[i], "-")));
		if (f && f->value)
			i++;
	}
	*ret_at = 0;
	return NULL;
}

static void set_flag(struct cli_args *args, const struct cli_flag *flag, const char *value)
{
	if (flag == &cli_global_flags[0])
		args->state = value;
	else if (flag == &cli_global_flags[1])
		args->name = value;
	else if (flag == &cli_global_flags[2])
		args->config = value;
	else {
		args->given[args->given_count].flag = flag;
		args->given[args->given_count++].value = value;
	}
}

static bool is_global(const struct cli_flag *flag)
{
	for (size_t i = 0; i < cli_global_flag_count; i++) {
		if (flag == &cli_global_flags[i])
			return true;
	}
	return false;
}

/* One flag at argv[*i]; moves on to its value. */
static int take_flag(struct cli_args *args, int argc, char **argv, int *i, struct err *err)
{
	const char *word = argv[*i], *name = word + 1 + (word[1] == '-');
	size_t length = word[1] == '-' ? strcspn(name, "=") : 1;
	const char *value = name[length] ? name + length + (name[length] == '=') : NULL;
	const struct cli_flag *flag;

	if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
		args->wants_help = true;
		return 0;
	}
	if (word[1] == '-' && length == 1)
		return unknown_flag(args->verb, word, err);
	flag = find_flag(args->verb, name, length);
	if (!flag)
		return unknown_flag(args->verb, word, err);
	if (!flag->value && value)
		return err_set(err, EINVAL, "--%s takes no value", flag->name);
	if (flag->value && !value) {
		if (*i + 1 >= argc)
			return err_set(err, EINVAL, "--%s needs a value: --%s %s", flag->name,
			               flag->name, flag->value);
		value = argv[++*i];
	}
	/* As by an unset variable: nothing is not the working directory. */
	if (flag->value && value[0] == '\0' && is_global(flag))
		return err_set(err, EINVAL, "--%s is empty: --%s %s", flag->name, flag->name,
		               flag->value);
	if (args->given_count == CLI_GIVEN_MAX)
		return err_set(err, E2BIG, "more than %d options", CLI_GIVEN_MAX);
	set_flag(args, flag, value);
	return 0;
}

static int check_words(const struct cli_args *args, struct err *err)
{
	const struct cli_verb *v = args->verb;

	if (args->wants_help)
		return 0;
	if (args->word_count < v->words_min)
		return err_set(err, EINVAL, "something is missing: lockstep %s %s", v->name,
		               v->words);
	if (args->word_count > v->words_max)
		return err_set(err, EINVAL, "\"%s\" is too much: lockstep %s%s%s",
		               path_show(bytes_of(args->words[v->words_max])), v->name,
		               v->words[0] ? " " : "", v->words);
	return 0;
}

static int no_verb(struct cli_args *args, int argc, char **argv, int at, struct err *err)
{
	const char *names[32];
	const char *guess;
	size_t n = 0;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
			args->wants_help = true;
		if (strcmp(argv[i], "--version") == 0)
			args->verb = cli_verb_find("version");
	}
	if (args->wants_help || args->verb)
		return 0;
	if (at == 0)
		return err_set(err, EINVAL, "say what to do; \"lockstep help\" lists it");
	for (size_t i = 0; i < cli_verb_count && n < ARRAY_LEN(names); i++)
		names[n++] = cli_verbs[i].name;
	guess = ini_did_you_mean(argv[at], names, n);
	if (strchr(argv[at], '/'))
		return err_set(err, EINVAL,
		               "\"%s\" is no verb; to mirror it: lockstep run SRC TARGET...",
		               path_show(bytes_of(argv[at])));
	return err_set(err, EINVAL, "\"%s\" is no verb%s%s%s; \"lockstep help\" lists them",
	               path_show(bytes_of(argv[at])), guess ? "; did you mean \"" : "",
	               guess ? guess : "", guess ? "\"?" : "");
}

int cli_parse(struct cli_args *ret, int argc, char **argv, struct err *err)
{
	struct cli_args args = {.words = mem_array((size_t)argc + 1, sizeof(char *))};
	bool only_words = false;
	int at, rc = 0;

	args.verb = find_verb(argc, argv, &at);
	if (!args.verb)
		rc = no_verb(&args, argc, argv, at, err);
	for (int i = 1; rc == 0 && at > 0 && args.verb && i < argc; i++) {
		if (i == at)
			continue;
		if (!only_words && strcmp(argv[i], "--") == 0)
			only_words = true;
		else if (!only_words && argv[i][0] == '-' && argv[i][1])
			rc = take_flag(&args, argc, argv, &i, err);
		else
			args.words[args.word_count++] = argv[i];
	}
	if (rc == 0 && args.verb)
		rc = check_words(&args, err);
	if (rc < 0)
		free(args.words);
	else
		*ret = args;
	return rc;
}

void cli_args_done(struct cli_args *args)
{
	free(args->words);
	*args = (struct cli_args){0};
}

const char *cli_value(const struct cli_args *args, const char *flag)
{
	for (size_t i = args->given_count; i-- > 0;) {
		if (strcmp(args->given[i].flag->name, flag) == 0)
			return args->given[i].value;
	}
	return NULL;
}

bool cli_given(const struct cli_args *args, const char *flag)
{
	for (size_t i = 0; i < args->given_count; i++) {
		if (strcmp(args->given[i].flag->name, flag) == 0)
			return true;
	}
	return false;
}

int cli_duration_ms(const struct cli_args *args, const char *flag, int64_t preset, int64_t *ret)
{
	const char *text = cli_value(args, flag);
	struct err err = {0};
	int64_t ns;

	*ret = preset;
	if (!text)
		return 0;
	if (config_parse_duration(text, &ns, &err) < 0) {
		cli_complain("--%s: %s", flag, err.text);
		return -EINVAL;
	}
	*ret = ns / 1000000;
	return 0;
}
