#include "rsync/rules.h"

#include <errno.h>
#include <string.h>
#include "base/mem.h"
#include "rsync/tempname.h"

#define RULE_MAX         4096 /* receivers of all versions take this much */
#define VERB_BYTES       2    /* "R " */
#define TEMP_LETTER      "[0-9A-Za-z]"
#define TEMPNAME_LETTERS (TEMPNAME_SUFFIX_BYTES - 1)

/* A receiver takes backslashes as escapes only in patterns with a wildcard; in all others they
 * stand for themselves (rsync(1), FILTER RULES IN DEPTH). */
static bool has_wildcard(struct bytes path)
{
	for (size_t i = 0; i < path.n; i++)
		if (path.p[i] == '*' || path.p[i] == '?' || path.p[i] == '[')
			return true;
	return false;
}

static bool needs_escape(char c)
{
	return c == '*' || c == '?' || c == '[' || c == '\\';
}

static void add_quoted(struct buf *out, struct bytes path, bool escape)
{
	for (size_t i = 0; i < path.n; i++) {
		if (escape && needs_escape(path.p[i]))
			buf_add_u8(out, '\\');
		buf_add_u8(out, (uint8_t)path.p[i]);
	}
}

void rules_quote(struct buf *out, struct bytes path, bool dir)
{
	buf_add_u8(out, '/');
	add_quoted(out, path, has_wildcard(path));
	if (dir)
		buf_add_u8(out, '/');
}

static size_t quoted_bytes(struct bytes path, bool escape)
{
	size_t n = path.n;

	for (size_t i = 0; escape && i < path.n; i++)
		n += needs_escape(path.p[i]);
	return n;
}

static bool temps_fit(struct bytes path)
{
	struct bytes dir = path_parent(path);
	struct tempname temp;

	tempname_of(&temp, path);
	for (size_t i = 0; i < temp.n; i++) {
		struct bytes stem = {temp.stems[i].p, temp.stems[i].n};

		if (VERB_BYTES + 1 + quoted_bytes(dir, true) + (dir.n != 0) +
		            quoted_bytes(stem, true) + 1 + TEMPNAME_LETTERS * strlen(TEMP_LETTER) >
		    RULE_MAX)
			return false;
	}
	return true;
}

bool rules_fit(const struct session_risk *risk)
{
	switch (risk->kind) {
	case SESSION_RISK_ENTRY:
	case SESSION_RISK_SPARED:
		return VERB_BYTES + 1 + quoted_bytes(risk->path, has_wildcard(risk->path)) +
		               risk->dir <=
		       RULE_MAX;
	case SESSION_RISK_TEMPS:
		return temps_fit(risk->path);
	}
	return false;
}

static void put_rule(struct buf *out, struct bytes rule)
{
	buf_add_le32(out, (uint32_t)rule.n);
	buf_add_bytes(out, rule);
}

static int put_path(struct buf *out, struct buf *rule, const char *verb,
                    const struct session_risk *risk, struct err *err)
{
	if (!risk->path.n || !path_valid(risk->path))
		return err_set(err, EINVAL, "not a path that can be deleted: %s",
		               path_show(risk->path));
	if (!rules_fit(risk))
		return err_set(err, ENAMETOOLONG, "too long for a receiver's rule: %s",
		               path_show(risk->path));
	buf_clear(rule);
	buf_add_bytes(rule, bytes_of(verb));
	rules_quote(rule, risk->path, risk->dir);
	put_rule(out, buf_bytes(rule));
	return 0;
}

/* Those of one kind. */
static int put_paths(struct buf *out, const char *verb, enum session_risk_kind kind,
                     const struct session_risk *risks, size_t n, struct err *err)
{
	struct buf rule;
	int rc = 0;

	buf_init(&rule, 3 * PATH_BYTES_MAX);
	for (size_t i = 0; i < n && rc == 0; i++) {
		if (risks[i].kind == kind)
			rc = put_path(out, &rule, verb, &risks[i], err);
	}
	buf_done(&rule);
	return rc;
}

static void put_temps_of(struct buf *out, struct buf *rule, struct bytes path)
{
	struct bytes dir = path_parent(path);
	struct tempname temp;

	tempname_of(&temp, path);
	for (size_t i = 0; i < temp.n; i++) {
		buf_clear(rule);
		buf_add(rule, "R /", 3);
		add_quoted(rule, dir, true);
		if (dir.n)
			buf_add_u8(rule, '/');
		add_quoted(rule, (struct bytes){temp.stems[i].p, temp.stems[i].n}, true);
		buf_add_u8(rule, '.');
		for (int k = 0; k < TEMPNAME_LETTERS; k++)
			buf_add_bytes(rule, BYTES(TEMP_LETTER));
		if (rule->n <= RULE_MAX)
			put_rule(out, buf_bytes(rule));
	}
}

/* In front of the patterns, what they shall not mean: a directory, a word, a date. */
static void put_temps(struct buf *out, const struct session_risk *risks, size_t n)
{
	static const char *const never[] = {
	        "P .*/",
	        "P .*.[a-z][a-z][a-z][a-z][a-z][a-z]",
	        "P .*.[0-9][0-9][0-9][0-9][0-9][0-9]",
	};
	struct buf rule;
	bool any = false;

	buf_init(&rule, 3 * PATH_BYTES_MAX);
	for (size_t i = 0; i < n; i++) {
		if (risks[i].kind != SESSION_RISK_TEMPS)
			continue;
		for (size_t k = 0; k < ARRAY_LEN(never) && !any; k++)
			put_rule(out, bytes_of(never[k]));
		any = true;
		put_temps_of(out, &rule, risks[i].path);
	}
	buf_done(&rule);
}

int rules_put(struct buf *out, const struct session_risk *risks, size_t n, struct err *err)
{
	int rc = put_paths(out, "R ", SESSION_RISK_ENTRY, risks, n, err);

	if (rc == 0)
		rc = put_paths(out, "P ", SESSION_RISK_SPARED, risks, n, err);
	if (rc == 0)
		put_temps(out, risks, n);
	put_rule(out, BYTES("P *"));
	buf_add_le32(out, 0);
	return rc;
}

int rules_put_protected(struct buf *out, const struct session_risk *paths, size_t n,
                        struct err *err)
{
	int rc = put_paths(out, "P ", SESSION_RISK_ENTRY, paths, n, err);

	buf_add_le32(out, 0);
	return rc;
}
