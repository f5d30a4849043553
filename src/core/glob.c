#include "core/glob.h"

#define NEVER BYTES("(?!)")

struct byte_set {
	bool has[256];
};

static void add_range(struct byte_set *set, unsigned char first, unsigned char last)
{
	for (unsigned c = first; c <= last; c++)
		set->has[c] = true;
}

/* "[:name:]" in the C locale. */
static bool add_class(struct byte_set *set, struct bytes name)
{
	static const struct {
		const char *name;
		unsigned char ranges[8]; /* pairs */
		unsigned char pairs;
	} classes[] = {
	        {"alnum", {'0', '9', 'A', 'Z', 'a', 'z'}, 3},
	        {"alpha", {'A', 'Z', 'a', 'z'}, 2},
	        {"blank", {' ', ' ', '\t', '\t'}, 2},
	        {"cntrl", {0, 31, 127, 127}, 2},
	        {"digit", {'0', '9'}, 1},
	        {"graph", {33, 126}, 1},
	        {"lower", {'a', 'z'}, 1},
	        {"print", {32, 126}, 1},
	        {"punct", {33, 47, 58, 64, 91, 96, 123, 126}, 4},
	        {"space", {' ', ' ', '\t', '\r'}, 2},
	        {"upper", {'A', 'Z'}, 1},
	        {"xdigit", {'0', '9', 'A', 'F', 'a', 'f'}, 3},
	};

	for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
		if (!bytes_equal(name, bytes_of(classes[i].name)))
			continue;
		for (unsigned char k = 0; k < classes[i].pairs; k++)
			add_range(set, classes[i].ranges[2 * k], classes[i].ranges[2 * k + 1]);
		return true;
	}
	return false;
}

/* One "[:name:]" at *i, which stands on its "[". Moves *i to the closing "]". 1: read, 0: it is an
 * ordinary "[", -1: malformed. */
static int read_class(struct byte_set *set, struct bytes pat, size_t *i)
{
	size_t start = *i + 2, end = start;

	while (end < pat.n && pat.p[end] != ']')
		end++;
	if (end == pat.n)
		return -1;
	if (end < start + 1 || pat.p[end - 1] != ':')
		return 0;
	if (!add_class(set, (struct bytes){pat.p + start, end - 1 - start}))
		return -1;
	*i = end;
	return 1;
}

/* A bracket expression, *i on its "[". Moves *i to the closing "]". False: malformed. */
static bool read_brackets(struct byte_set *set, struct bytes pat, size_t *i)
{
	size_t at = *i + 1;
	unsigned char last = 0; /* what a "-" would continue; 0: nothing */
	bool negated = at < pat.n && (pat.p[at] == '!' || pat.p[at] == '^');

	at += negated;
	for (bool first = true; at < pat.n && (first || pat.p[at] != ']'); first = false, at++) {
		unsigned char c = (unsigned char)pat.p[at];
		bool range = c == '-' && last && at + 1 < pat.n && pat.p[at + 1] != ']';

		if (c == '[' && at + 1 < pat.n && pat.p[at + 1] == ':') {
			int r = read_class(set, pat, &at);

			if (r < 0)
				return false;
			set->has['['] |= r == 0;
			last = r ? 0 : c;
			continue;
		}
		at += range;
		if (pat.p[at] == '\\' && ++at == pat.n)
			return false;
		c = (unsigned char)pat.p[at];
		add_range(set, range ? last : c, c);
		last = range ? 0 : c;
	}
	if (at >= pat.n)
		return false;
	for (unsigned c = 0; negated && c < 256; c++)
		set->has[c] = !set->has[c];
	set->has['/'] = false;
	*i = at;
	return true;
}

static void put_set(struct buf *out, const struct byte_set *set)
{
	size_t start = out->n;

	buf_add_u8(out, '[');
	for (unsigned c = 0; c < 256; c++) {
		unsigned last = c;

		if (!set->has[c])
			continue;
		while (last < 255 && set->has[last + 1])
			last++;
		buf_printf(out, last > c ? "\\x%02x-\\x%02x" : "\\x%02x", c, last);
		c = last;
	}
	if (out->n == start + 1) {
		out->n = start;
		buf_add_bytes(out, NEVER);
		return;
	}
	buf_add_u8(out, ']');
}

static void put_byte(struct buf *out, unsigned char c)
{
	if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '/')
		buf_add_u8(out, c);
	else
		buf_printf(out, "\\x%02x", c);
}

/* Without "*", "?" and "[" a backslash is a byte like others (rsync(1)). */
static bool is_wild(struct bytes pat)
{
	return memchr(pat.p, '*', pat.n) || memchr(pat.p, '?', pat.n) || memchr(pat.p, '[', pat.n);
}

static void put_body(struct buf *out, struct bytes pat, size_t i)
{
	bool wild = is_wild(pat);

	for (; i < pat.n; i++) {
		unsigned char c = (unsigned char)pat.p[i];
		struct byte_set set = {{false}};

		if (!wild || !strchr("*?[\\", c)) {
			put_byte(out, c);
		} else if (c == '?') {
			buf_add_bytes(out, BYTES("[^/]"));
		} else if (c == '*') {
			bool deep = i + 1 < pat.n && pat.p[i + 1] == '*';

			while (i + 1 < pat.n && pat.p[i + 1] == '*')
				i++;
			buf_add_bytes(out, deep ? BYTES(".*") : BYTES("[^/]*"));
		} else if (c == '[' ? !read_brackets(&set, pat, &i) : ++i == pat.n) {
			buf_add_bytes(out, NEVER);
			return;
		} else if (c == '[') {
			put_set(out, &set);
		} else {
			put_byte(out, (unsigned char)pat.p[i]);
		}
	}
}

bool glob_translate(struct buf *out, struct bytes pat, bool dir)
{
	bool dirs_only = pat.n > 1 && pat.p[pat.n - 1] == '/';
	bool anchored = pat.n > 0 && pat.p[0] == '/', contents;
	size_t i = 0;

	if (dirs_only && !dir)
		return false;
	pat.n -= dirs_only;
	contents = pat.n > 2 && memcmp(pat.p + pat.n - 3, "***", 3) == 0;
	if (anchored) {
		i = 1;
	} else if (bytes_starts(pat, BYTES("**"))) {
		/* A leading slash in what follows also stands for the root. */
		while (i < pat.n && pat.p[i] == '*')
			i++;
		if (i < pat.n && pat.p[i] == '/') {
			buf_add_bytes(out, BYTES("(?:.*/)?"));
			i++;
		} else {
			buf_add_bytes(out, BYTES(".*"));
		}
	} else {
		buf_add_bytes(out, BYTES("(?:.*/)?"));
	}
	put_body(out, pat, i);
	/* Three stars at the end match a directory's own slash as well. */
	buf_add_bytes(out, !dir ? BYTES("\\z") : contents ? BYTES("/?\\z") : BYTES("/\\z"));
	return true;
}
