#include "base/ini.h"

#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"

enum { LINE_BYTES_MAX = 64 * 1024, WORD_BYTES_MAX = 64 };

struct parser {
	struct ini_line at;
	char *section, *name; /* owned; at.section and at.name point to them */
	ini_fn *fn;
	void *arg;
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static struct bytes trimmed(struct bytes s)
{
	while (s.n && is_blank(s.p[0])) {
		s.p++;
		s.n--;
	}
	while (s.n && is_blank(s.p[s.n - 1]))
		s.n--;
	return s;
}

/* The everyday spellings of one key: "Max-Size", "max size" and "max_size". NULL: not a key. */
static char *normalized_word(struct bytes raw)
{
	autofree char *word = mem_dup(raw.p, raw.n);
	size_t n = 0;

	for (size_t i = 0; i < raw.n; i++) {
		char c = raw.p[i];

		if (c >= 'A' && c <= 'Z')
			c = (char)(c - 'A' + 'a');
		if (is_blank(c) && is_blank(raw.p[i - 1]))
			continue;
		if (is_blank(c) || c == '-')
			c = '_';
		if (c != '_' && !(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9'))
			return NULL;
		word[n++] = c;
	}
	word[n] = '\0';
	return n ? TAKE(word) : NULL;
}

static int syntax_error(const struct parser *p, struct err *err, const char *what)
{
	return err_set(err, EINVAL, "%s:%d: %s", p->at.file, p->at.line, what);
}

static int parse_section(struct parser *p, struct bytes line, struct err *err)
{
	if (line.p[line.n - 1] != ']')
		return syntax_error(p, err, "section line without \"]\" at its end");
	struct bytes inner = trimmed((struct bytes){line.p + 1, line.n - 2});
	size_t n = 0;

	while (n < inner.n && !is_blank(inner.p[n]))
		n++;
	struct bytes name = trimmed((struct bytes){inner.p + n, inner.n - n});
	char *kind = normalized_word((struct bytes){inner.p, n});

	if (!kind)
		return syntax_error(p, err, "expected [kind] or [kind name]");
	free(p->section);
	free(p->name);
	p->at.section = p->section = kind;
	p->at.name = p->name = mem_dup(name.p, name.n);
	p->at.key = p->at.value = NULL;
	return p->fn(&p->at, p->arg, err);
}

static int parse_line(struct parser *p, struct bytes line, struct err *err)
{
	if (line.n > LINE_BYTES_MAX)
		return syntax_error(p, err, "line longer than 64 KiB");
	if (line.n && memchr(line.p, '\0', line.n))
		return syntax_error(p, err, "NUL byte in line");
	if (line.n && line.p[line.n - 1] == '\r')
		line.n--;
	line = trimmed(line);
	if (line.n == 0 || line.p[0] == '#' || line.p[0] == ';')
		return 0;
	if (line.p[0] == '[')
		return parse_section(p, line, err);
	const char *equals = memchr(line.p, '=', line.n);

	if (!equals)
		return syntax_error(p, err, "expected \"key = value\" or \"[kind name]\"");
	size_t n = (size_t)(equals - line.p);
	struct bytes raw = trimmed((struct bytes){equals + 1, line.n - n - 1});
	autofree char *key = normalized_word(trimmed((struct bytes){line.p, n}));
	autofree char *value = mem_dup(raw.p, raw.n);

	if (!key)
		return syntax_error(p, err,
		                    "before \"=\" must stand a key: letters, digits, \"_\"");
	p->at.key = key;
	p->at.value = value;
	return p->fn(&p->at, p->arg, err);
}

int ini_parse(const char *file, struct bytes text, ini_fn *fn, void *arg, struct err *err)
{
	struct parser p = {.at = {.file = file, .section = "", .name = ""}, .fn = fn, .arg = arg};
	struct bytes mark = BYTES("\xef\xbb\xbf");
	int r = 0;

	if (bytes_starts(text, mark)) {
		text.p += mark.n;
		text.n -= mark.n;
	}
	while (text.n && r == 0) {
		const char *end = memchr(text.p, '\n', text.n);
		size_t n = end ? (size_t)(end - text.p) : text.n;

		p.at.line++;
		r = parse_line(&p, (struct bytes){text.p, n}, err);
		n += end != NULL;
		text.p += n;
		text.n -= n;
	}
	free(p.section);
	free(p.name);
	return r;
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Optimal string alignment: insertion, deletion, replacement, exchange of neighbours. */
static size_t edit_distance(const char *a, size_t an, const char *b, size_t bn)
{
	size_t rows[3][WORD_BYTES_MAX + 1];

	for (size_t j = 0; j <= bn; j++)
		rows[0][j] = j;
	for (size_t i = 1; i <= an; i++) {
		size_t *row = rows[i % 3], *up = rows[(i + 2) % 3], *up2 = rows[(i + 1) % 3];

		row[0] = i;
		for (size_t j = 1; j <= bn; j++) {
			row[j] = least(least(up[j], row[j - 1]) + 1,
			               up[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				row[j] = least(row[j], up2[j - 2] + 1);
		}
	}
	return rows[an % 3][bn];
}

const char *ini_did_you_mean(const char *word, const char *const *candidates, size_t n)
{
	size_t wn = strlen(word), best = wn / 3 + 1;
	const char *nearest = NULL;

	if (wn > WORD_BYTES_MAX)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		size_t cn = strlen(candidates[i]);

		if (cn > WORD_BYTES_MAX)
			continue;
		size_t distance = edit_distance(word, wn, candidates[i], cn);

		if (distance < best) {
			best = distance;
			nearest = candidates[i];
		}
	}
	return nearest;
}
