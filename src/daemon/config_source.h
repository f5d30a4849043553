/*
 * config_source: the text of a configuration as sections and lines, before it has a meaning.
 *
 * Part 0 is the top; the top of every file belongs to it. Later lines are later in `lines`, so
 * order within a part is the order in which they were written. Private to config*.c.
 */
#ifndef DAEMON_CONFIG_SOURCE_H
#define DAEMON_CONFIG_SOURCE_H

#include "daemon/config_keys.h"

#define CONFIG_LINES_MAX 20000

struct config_line {
	const char *file; /* or what it was on the command line; line is 0 then */
	int line;
	size_t part;
	const struct config_key *key;
	char *value;
	bool told; /* its problem has been reported: values may be looked at more than once */
};

struct config_part {
	unsigned bit; /* enum config_section_bit */
	char *name;   /* "" for the top */
	const char *file;
	int line;
};

/* Where problems go: the first into `first`, all of them to fn. */
struct config_problems {
	config_problem_fn *fn;
	void *arg;
	struct err *first;
	size_t count;
};

struct config_source {
	/* The request, for config_reload(). */
	char *request_file, *request_name, *request_state, *request_root;
	struct config_list targets, sets;
	char **texts; /* names that lines and parts point to */
	size_t text_count;
	struct config_line *lines;
	size_t line_count;
	struct config_part *parts;
	size_t part_count;
};

struct config_source *config_source_new(const struct config_request *request);
void config_source_free(struct config_source *s);
/* Reads file and conf.d, or turns the command line into lines. Problems are told and reading goes
 * on; -errno only if the file itself cannot be read. */
int config_source_read(struct config_source *s, struct config_problems *problems, struct err *err);

/* "FILE:LINE: text" or, for line 0, "FILE: text". */
void config_problem(struct config_problems *p, const char *file, int line, const char *fmt, ...)
        __attribute__((format(printf, 4, 5)));

/* Makes instance, trees and jobs of the lines. */
void config_build(struct config *c, struct config_problems *problems);
/* What concerns more than one value: names, nested paths, state inside a tree. */
void config_check(const struct config *c, struct config_problems *problems);

/* The options of a job, one value each, from the parts given, narrowest first. */
void config_options_free(struct config_options *o);

#endif
