#include "rsync/rules.h"

#include <errno.h>
#include "base/path.h"

#define RULE_MAX 4096 /* receivers of all versions take this much */

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

void rules_quote(struct buf *out, struct bytes path, bool dir)
{
	bool escape = has_wildcard(path);

	buf_add_u8(out, '/');
	for (size_t i = 0; i < path.n; i++) {
		if (escape && needs_escape(path.p[i]))
			buf_add_u8(out, '\\');
		buf_add_u8(out, (uint8_t)path.p[i]);
	}
	if (dir)
		buf_add_u8(out, '/');
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
	buf_clear(rule);
	buf_add_bytes(rule, bytes_of(verb));
	rules_quote(rule, risk->path, risk->dir);
	if (rule->n > RULE_MAX)
		return err_set(err, ENAMETOOLONG, "too long for a receiver's rule: %s",
		               path_show(risk->path));
	put_rule(out, buf_bytes(rule));
	return 0;
}

static int put_paths(struct buf *out, const char *verb, const struct session_risk *risks, size_t n,
                     struct err *err)
{
	struct buf rule;
	int rc = 0;

	buf_init(&rule, 3 * PATH_BYTES_MAX);
	for (size_t i = 0; i < n && rc == 0; i++)
		rc = put_path(out, &rule, verb, &risks[i], err);
	buf_done(&rule);
	return rc;
}

int rules_put(struct buf *out, const struct session_risk *risks, size_t n, struct err *err)
{
	int rc = put_paths(out, "R ", risks, n, err);

	put_rule(out, BYTES("P *"));
	buf_add_le32(out, 0);
	return rc;
}

int rules_put_protected(struct buf *out, const struct session_risk *paths, size_t n,
                        struct err *err)
{
	int rc = put_paths(out, "P ", paths, n, err);

	buf_add_le32(out, 0);
	return rc;
}
