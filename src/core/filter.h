/*
 * filter: which paths of a tree are mirrored.
 *
 * Rules in order, the first match decides, no match: included. A pattern is rsync's glob: "*" and
 * "?" stop at "/", "**" does not, "[...]" classes; a backslash escapes in patterns that have one of
 * these; with a "/" at the front it is anchored at the root, otherwise it matches at any depth;
 * with a "/" at the end it matches directories only; "dir/" followed by three stars matches the
 * directory and everything in it. An excluded directory excludes what lies below.
 *
 * "regex:" in front gives a PCRE2 expression that is searched in the whole path ("dir/name",
 * directories with "/" at the end); "." matches any byte. Named groups, verbs and recursion are
 * refused: all rules are compiled into one program, one for directories and one for the rest (in
 * pieces, should they be too many for PCRE2).
 *
 * ".lockstep" at the root is always excluded. Paths are bytes; a match that PCRE2 gives up (its
 * match limit) counts as none.
 */
#ifndef CORE_FILTER_H
#define CORE_FILTER_H

#include "base/bytes.h"
#include "base/err.h"

struct filter;

struct filter_rule {
	bool include;
	const char *pattern; /* bytes, NUL-terminated */
	const char *file;    /* where it was written, for errors; may be NULL */
	int line;
};

/* Copies the rules. -EINVAL: a pattern is empty or malformed; err names file, line and pattern. */
int filter_new(struct filter **ret, const struct filter_rule *rules, size_t n, struct err *err);
void filter_free(struct filter *f);
/* Asked from the top down: the caller has asked for the parents before. Thread-safe. */
bool filter_excludes(const struct filter *f, struct bytes path, bool is_dir);
/* Asks for each ancestor, too. */
bool filter_excludes_any(const struct filter *f, struct bytes path, bool is_dir);
/* Index of the rule that decides about `path` itself; -1: none of them. */
int filter_rule(const struct filter *f, struct bytes path, bool is_dir);
/* Stable hash of the rules: the ledger remembers it. */
uint64_t filter_hash(const struct filter *f);

#endif
