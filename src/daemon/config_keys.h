/*
 * config_keys: every key of the configuration, in one table.
 *
 * The parser, `lockstep check`, the manual page lockstep.conf(5) and the comparison for `reload`
 * are made from it: a key exists once. A value lives at `offset` in the struct that `of` names.
 */
#ifndef DAEMON_CONFIG_KEYS_H
#define DAEMON_CONFIG_KEYS_H

#include "daemon/config.h"

enum config_section_bit {
	CONFIG_TOP = 1,    /* before the first section */
	CONFIG_TREE = 2,   /* [tree NAME] */
	CONFIG_TARGET = 4, /* [target NAME] */
};

enum config_of {
	CONFIG_OF_INSTANCE, /* struct config */
	CONFIG_OF_TREE,     /* struct config_tree */
	CONFIG_OF_JOB,      /* struct config_options */
	CONFIG_OF_NOTHING,  /* read by config_build.c itself: root, target, tree, rules */
};

enum config_type {
	CONFIG_BOOL,     /* bool */
	CONFIG_SIZE,     /* uint64_t, bytes */
	CONFIG_DURATION, /* int64_t, ns */
	CONFIG_COUNT,    /* uint64_t */
	CONFIG_PERCENT,  /* uint64_t */
	CONFIG_STRING,   /* char *, NULL without a value */
	CONFIG_PATH,     /* char *, absolute and normalised */
	CONFIG_ENUM,     /* int, index into words */
	CONFIG_SET,      /* unsigned, bit n: words[n] */
	CONFIG_LIST,     /* struct config_list, one element a line */
	CONFIG_WORDS,    /* struct config_list, one line split on blanks */
	CONFIG_OWNER,    /* struct config_chown */
	CONFIG_MODE,     /* struct config_chmod */
	CONFIG_RULE,     /* struct filter_rule, one a line */
	CONFIG_ADDRESS,  /* struct target */
};

struct config_key {
	const char *name;
	unsigned sections; /* enum config_section_bit */
	enum config_of of;
	enum config_type type;
	size_t offset;
	const char *preset;       /* as it would be written; NULL: none */
	uint64_t min, max;        /* of numbers; durations in ns */
	const char *const *words; /* ENUM, SET; NULL-terminated */
	const char *example;
	const char *help; /* roff-free plain sentences */
};

extern const struct config_key config_keys[];
extern const size_t config_key_count;

/* NULL: no such key. */
const struct config_key *config_key_find(const char *name);
/* The nearest key that may stand in `section`, or NULL. */
const char *config_key_guess(const char *name, unsigned section);
static inline bool config_key_adds_up(const struct config_key *key)
{
	return key->type == CONFIG_LIST || key->type == CONFIG_RULE;
}

/* The key part of lockstep.conf(5), in man(7) macros. */
void config_doc_man(struct buf *out);

#endif
