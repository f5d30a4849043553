/*
 * cli: the command line. One table names every verb with its flags; parser, help and manual page
 * are made from it. Verbs that speak to a daemon do so through its control API only.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/bytes.h"
#include "base/err.h"

enum cli_exit {
	CLI_OK = 0,
	CLI_FAILURE = 1,
	CLI_USAGE = 2,
	CLI_STUCK = 3,
	CLI_TIMEOUT = 4,
	CLI_NO_DAEMON = 5,
	CLI_RUNNING = 6,
};

struct cli_exit_code {
	enum cli_exit code;
	const char *meaning;
};
extern const struct cli_exit_code cli_exit_codes[];
extern const size_t cli_exit_code_count;

#define CLI_FLAGS_MAX 6 /* of a verb */
#define CLI_GIVEN_MAX 64

struct cli_flag {
	const char *name;  /* without "--" */
	char letter;       /* 0: none */
	const char *value; /* what its value is called; NULL: takes none */
	const char *help;
};
/* Of every verb: --state, --name, --config. */
extern const struct cli_flag cli_global_flags[];
extern const size_t cli_global_flag_count;

struct cli_args;

struct cli_verb {
	const char *name;
	const char *words; /* what stands behind the flags */
	const char *line;  /* one line */
	const char *help;  /* paragraphs separated by an empty line */
	struct cli_flag flags[CLI_FLAGS_MAX];
	size_t words_min, words_max;
	int (*run)(const struct cli_args *args);
	bool hidden;
};
extern const struct cli_verb cli_verbs[];
extern const size_t cli_verb_count;
const struct cli_verb *cli_verb_find(const char *name);

/* A parsed command line; borrows from argv. */
struct cli_args {
	const struct cli_verb *verb;
	const char *state, *name, *config;
	struct {
		const struct cli_flag *flag;
		const char *value;
	} given[CLI_GIVEN_MAX];
	size_t given_count;
	const char **words;
	size_t word_count;
	bool wants_help;
};

/* Flags may stand before or behind the verb; "--" ends them. -EINVAL with err set. */
int cli_parse(struct cli_args *ret, int argc, char **argv, struct err *err);
void cli_args_done(struct cli_args *args);
bool cli_given(const struct cli_args *args, const char *flag);
const char *cli_value(const struct cli_args *args,
                      const char *flag); /* the last; NULL: not given */
/* A duration flag in ms; `preset` when not given. -EINVAL is told on stderr. */
int cli_duration_ms(const struct cli_args *args, const char *flag, int64_t preset, int64_t *ret);

/* "lockstep: text" on stderr. */
void cli_complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

void cli_print_help(const struct cli_verb *verb, struct buf *out); /* NULL: the overview */
/* Verbs and exit codes for lockstep(1). */
void cli_doc_man(struct buf *out);

/* The whole program behind main(). */
int cli_main(int argc, char **argv);

int cmd_run(const struct cli_args *args);
int cmd_check(const struct cli_args *args);
int cmd_status(const struct cli_args *args);
int cmd_wait(const struct cli_args *args);
int cmd_verify(const struct cli_args *args);
int cmd_held(const struct cli_args *args);
int cmd_failed(const struct cli_args *args);
int cmd_approve(const struct cli_args *args);
int cmd_pause(const struct cli_args *args);
int cmd_resume(const struct cli_args *args);
int cmd_retry(const struct cli_args *args);
int cmd_reload(const struct cli_args *args);
int cmd_stop(const struct cli_args *args);
int cmd_help(const struct cli_args *args);
int cmd_version(const struct cli_args *args);
int cmd_doc(const struct cli_args *args);

#endif
