#include "core/filter.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <errno.h>
#include <xxhash.h>

#include "base/mem.h"
#include "base/path.h"
#include "core/glob.h"

#define REGEX_PREFIX   "regex:"
#define PIECE_BYTES    8192 /* of source text; PCRE2 programs end at 64 KB */
#define PATTERN_MAX    8192
#define TRANSLATED_MAX (64 * PATTERN_MAX) /* a class of two bytes may grow most */
#define MATCH_LIMIT    100000             /* some milliseconds for one path */
#define OWN_NAME       ".lockstep"
#define COMPILE_OPTIONS                                                                            \
	(PCRE2_NEVER_UTF | PCRE2_NEVER_UCP | PCRE2_NEVER_BACKSLASH_C | PCRE2_DOTALL |              \
	 PCRE2_DOLLAR_ENDONLY)

/* All rules for one kind of entry, as alternatives in their order. */
struct program {
	pcre2_code **pieces;
	size_t count;
};

struct filter {
	struct program files, dirs;
	pcre2_match_context *limits;
	bool *include;
	size_t rules;
	uint64_t hash;
};

static pcre2_code *compile(struct bytes text, uint32_t options, int *code, size_t *offset)
{
	return pcre2_compile((PCRE2_SPTR)text.p, text.n, COMPILE_OPTIONS | options, code, offset,
	                     NULL);
}

static int rule_error(const struct filter_rule *rule, struct err *err, const char *what)
{
	const char *pattern = path_show(bytes_of(rule->pattern));

	if (rule->file)
		return err_set(err, EINVAL, "%s:%d: pattern \"%s\": %s", rule->file, rule->line,
		               pattern, what);
	return err_set(err, EINVAL, "pattern \"%s\": %s", pattern, what);
}

/* What would see or change the alternatives around it. Inside a class it is harmless, but refused
 * as well. */
static bool regex_reaches_out(const char *s)
{
	for (; *s; s++) {
		if (*s == '\\' && s[1]) {
			s++;
			if (*s == 'Q' || (*s == 'g' && (s[1] == '<' || s[1] == '\'')))
				return true;
		} else if (*s == '(' && s[1] == '*') {
			return true; /* verbs */
		} else if (*s == '(' && s[1] == '?') {
			size_t options = strspn(s + 2, "^imnsxJU-");

			if (s[2] && strchr("R0123456789+&P", s[2]))
				return true; /* recursion */
			if (s[2] == '-' && s[3] >= '0' && s[3] <= '9')
				return true;
			if (memchr(s + 2, 'x', options))
				return true; /* a comment would run on into the next rule */
		}
	}
	return false;
}

/* Each expression is tried alone first, so that an error is that of its own line, and no closing
 * bracket of one rule closes one of ours. */
static int regex_check(const struct filter_rule *rule, const char *regex, struct err *err)
{
	PCRE2_UCHAR text[200];
	uint32_t names = 0;
	size_t offset;
	int code;
	pcre2_code *alone = compile(bytes_of(regex), 0, &code, &offset);

	if (!alone) {
		pcre2_get_error_message(code, text, sizeof(text));
		return rule_error(rule, err, (const char *)text);
	}
	(void)pcre2_pattern_info(alone, PCRE2_INFO_NAMECOUNT, &names);
	pcre2_code_free(alone);
	if (names || regex_reaches_out(regex))
		return rule_error(rule, err,
		                  "named groups, \\Q, (?x), verbs and recursion are refused");
	return 0;
}

/* Appends the alternative of one rule; nothing for a kind that it can never match. */
static int rule_translate(struct buf *out, const struct filter_rule *rule, size_t number, bool dir,
                          struct err *err)
{
	struct bytes pattern = bytes_of(rule->pattern);
	size_t before = out->n;

	buf_add_bytes(out, before ? BYTES("|(?:") : BYTES("(?|(?:"));
	if (bytes_starts(pattern, BYTES(REGEX_PREFIX))) {
		const char *regex = rule->pattern + sizeof(REGEX_PREFIX) - 1;
		int r = regex_check(rule, regex, err);

		if (r < 0)
			return r;
		buf_printf(out, ".*?(?:%s)", regex);
	} else if (!glob_translate(out, pattern, dir)) {
		out->n = before;
		return 0;
	}
	buf_printf(out, ")(*MARK:%zu)", number);
	return 0;
}

/* Alternatives are numbered from 1 each ("(?|"), so that back references stay with their rule. */
static int piece_close(struct program *prog, struct buf *text, const struct filter_rule *last,
                       struct err *err)
{
	PCRE2_UCHAR words[200];
	pcre2_code *code;
	size_t offset;
	int error;

	if (!text->n)
		return 0;
	buf_add_u8(text, ')');
	if (text->overflowed)
		return rule_error(last, err, "too long");
	code = compile(buf_bytes(text), PCRE2_ANCHORED, &error, &offset);
	buf_clear(text);
	if (!code) {
		pcre2_get_error_message(error, words, sizeof(words));
		return rule_error(last, err, (const char *)words);
	}
	prog->pieces = mem_realloc(prog->pieces, prog->count + 1, sizeof(*prog->pieces));
	prog->pieces[prog->count++] = code;
	return 0;
}

static int program_compile(struct program *prog, const struct filter_rule *rules, size_t n,
                           bool dir, struct err *err)
{
	struct buf text;
	int r = 0;

	buf_init(&text, PIECE_BYTES + TRANSLATED_MAX);
	for (size_t i = 0; r == 0 && i < n; i++) {
		r = rule_translate(&text, &rules[i], i, dir, err);
		if (r == 0 && (i + 1 == n || text.n >= PIECE_BYTES))
			r = piece_close(prog, &text, &rules[i], err);
	}
	buf_done(&text);
	return r;
}

static void program_free(struct program *prog)
{
	for (size_t i = 0; i < prog->count; i++)
		pcre2_code_free(prog->pieces[i]);
	free(prog->pieces);
}

static int rule_check(const struct filter_rule *rule, struct err *err)
{
	struct bytes pattern = bytes_of(rule->pattern);

	if (pattern.n > PATTERN_MAX)
		return rule_error(rule, err, "too long");
	if (pattern.n == 0 || bytes_equal(pattern, BYTES("/")) ||
	    bytes_equal(pattern, BYTES(REGEX_PREFIX)))
		return rule_error(rule, err, "empty");
	return 0;
}

static void hash_rules(struct filter *f, const struct filter_rule *rules, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		/* The NUL between two patterns counts. */
		f->hash = XXH3_64bits_withSeed(rules[i].pattern, strlen(rules[i].pattern) + 1,
		                               f->hash * 2 + rules[i].include);
	}
}

int filter_new(struct filter **ret, const struct filter_rule *rules, size_t n, struct err *err)
{
	struct filter *f = mem_alloc(sizeof(*f));
	int r = 0;

	f->rules = n;
	f->limits = pcre2_match_context_create(NULL);
	check(f->limits);
	pcre2_set_match_limit(f->limits, MATCH_LIMIT);
	f->include = mem_array(n + 1, sizeof(*f->include));
	f->hash = n;
	for (size_t i = 0; r == 0 && i < n; i++) {
		f->include[i] = rules[i].include;
		r = rule_check(&rules[i], err);
	}
	if (r == 0)
		r = program_compile(&f->files, rules, n, false, err);
	if (r == 0)
		r = program_compile(&f->dirs, rules, n, true, err);
	if (r < 0) {
		filter_free(f);
		return r;
	}
	hash_rules(f, rules, n);
	*ret = f;
	return 0;
}

void filter_free(struct filter *f)
{
	if (!f)
		return;
	program_free(&f->files);
	program_free(&f->dirs);
	pcre2_match_context_free(f->limits);
	free(f->include);
	free(f);
}

static int marked_rule(const struct filter *f, pcre2_match_data *data)
{
	PCRE2_SPTR mark = pcre2_get_mark(data);
	size_t rule = 0;

	check(mark && *mark);
	for (; *mark; mark++)
		rule = rule * 10 + (size_t)(*mark - '0');
	check(rule < f->rules);
	return (int)rule;
}

static int program_match(const struct filter *f, const struct program *prog, struct bytes path)
{
	pcre2_match_data *data;
	int rule = -1;

	if (!prog->count)
		return -1;
	/* One for each call: the filter is shared by threads. */
	data = pcre2_match_data_create(1, NULL);
	check(data);
	for (size_t i = 0; rule < 0 && i < prog->count; i++) {
		if (pcre2_match(prog->pieces[i], (PCRE2_SPTR)path.p, path.n, 0, 0, data,
		                f->limits) >= 0)
			rule = marked_rule(f, data);
	}
	pcre2_match_data_free(data);
	return rule;
}

int filter_rule(const struct filter *f, struct bytes path, bool is_dir)
{
	char slashed[PATH_BYTES_MAX + 1];

	if (!is_dir || path.n == 0 || path.n > PATH_BYTES_MAX)
		return path.n ? program_match(f, &f->files, path) : -1;
	memcpy(slashed, path.p, path.n);
	slashed[path.n] = '/';
	return program_match(f, &f->dirs, (struct bytes){slashed, path.n + 1});
}

bool filter_excludes(const struct filter *f, struct bytes path, bool is_dir)
{
	int rule;

	if (bytes_equal(path, BYTES(OWN_NAME)) || path_below(path, BYTES(OWN_NAME)))
		return true;
	rule = filter_rule(f, path, is_dir);
	return rule >= 0 && !f->include[rule];
}

bool filter_excludes_any(const struct filter *f, struct bytes path, bool is_dir)
{
	for (size_t i = 1; i < path.n; i++) {
		if (path.p[i] == '/' && filter_excludes(f, (struct bytes){path.p, i}, true))
			return true;
	}
	return filter_excludes(f, path, is_dir);
}

uint64_t filter_hash(const struct filter *f)
{
	return f->hash;
}
