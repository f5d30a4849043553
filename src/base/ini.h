/*
 * ini: sections, keys and values with line numbers; knows no meaning.
 *
 *     # comment, only on a line of its own (also ;)
 *     [kind name]
 *     key = value to the end of the line
 *
 * Keys are lower-cased words in which blanks and "-" read as "_". No quoting, no escapes, no
 * expansion: globs and "#" inside values are plain bytes. A byte-order mark and CRLF are
 * accepted. Lines of more than 64 KiB and NUL bytes are errors.
 */
#ifndef BASE_INI_H
#define BASE_INI_H

#include "base/bytes.h"
#include "base/err.h"

struct ini_line {
	const char *file;        /* borrowed from the caller */
	int line;                /* from 1 */
	const char *section;     /* kind, "" before the first section */
	const char *name;        /* section name, "" if none */
	const char *key, *value; /* both NULL for the section line itself */
};
/* Returns 0 to go on, or -errno with err set to stop. Strings are valid during the call. */
typedef int ini_fn(const struct ini_line *line, void *arg, struct err *err);

/* Syntax errors are reported as "FILE:LINE: what is wrong". */
int ini_parse(const char *file, struct bytes text, ini_fn *fn, void *arg, struct err *err);

/* The candidate nearest to `word` by edit distance (at most a third of its length), or NULL. */
const char *ini_did_you_mean(const char *word, const char *const *candidates, size_t n);

#endif
