#include "worker/blame.h"

#include "base/mem.h"
#include "base/path.h"
#include "rsync/tempname.h"

#define QUOTES_MAX 12
#define COLONS_MAX 16
/* A temporary name longer than this may have been cut to fit. */
#define TEMP_CUT_MIN 200

static void add(struct blame *b, struct part *part)
{
	if (!part || b->n == BLAME_MAX)
		return;
	for (size_t i = 0; i < b->n; i++) {
		if (b->parts[i] == part)
			return;
	}
	b->parts[b->n++] = part;
}

static struct bytes from(struct bytes s, size_t at)
{
	return (struct bytes){s.p + at, s.n - at};
}

static bool contains(struct bytes text, const char *words)
{
	return memmem(text.p, text.n, words, strlen(words)) != NULL;
}

/* The part with exactly this path; "." is the root. */
static struct part *find_exact(struct cargo *c, struct bytes path)
{
	if (bytes_equal(path, BYTES(".")))
		path = BYTES("");
	else if (path.n == 0)
		return NULL;
	return path_valid(path) ? cargo_find(c, path) : NULL;
}

/* The same for one of many guesses. A text is made by the peer, and may be nothing but slashes and
 * quotes. */
static void guess(struct blame *b, struct cargo *c, struct bytes path)
{
	if (b->looks == BLAME_LOOKS_MAX)
		return;
	b->looks++;
	add(b, find_exact(c, path));
}

/* A name with an unknown directory in front: every suffix that begins behind a "/" may be meant. */
static void add_suffixes(struct blame *b, struct cargo *c, struct bytes name)
{
	guess(b, c, name);
	if (name.n == 0 || name.p[0] != '/')
		return;
	for (size_t i = 0; i < name.n; i++) {
		if (name.p[i] == '/')
			guess(b, c, from(name, i + 1));
	}
}

static void add_in_dir(struct blame *b, struct cargo *c, struct bytes dir, const char *dot,
                       struct bytes name)
{
	struct buf full;

	buf_init(&full, 2 * PATH_BYTES_MAX + 2);
	buf_add_bytes(&full, dir);
	buf_add_bytes(&full, bytes_of(dot));
	buf_add_bytes(&full, name);
	if (!full.overflowed)
		add_suffixes(b, c, buf_bytes(&full));
	buf_done(&full);
}

/* Names that begin with what is left of a cut temporary name, in the directory that ends `dir`. */
static void add_cut(struct blame *b, struct cargo *c, struct bytes dir, struct bytes cut)
{
	if (b->cuts == BLAME_CUTS_MAX)
		return;
	b->cuts++;
	for (size_t i = 0; i < c->parts_n; i++) {
		struct bytes name = path_name(c->parts[i].path);

		if (name.n && name.p[0] == '.')
			name = from(name, 1);
		if (bytes_starts(name, cut))
			add_in_dir(b, c, dir, "", path_name(c->parts[i].path));
	}
}

/* If the last component is a temporary name, the name it stands for. A name that begins with "."
 * does not get a second one. */
static void add_temporary(struct blame *b, struct cargo *c, struct bytes path)
{
	size_t slash = path.n;
	struct bytes dir, name;

	while (slash && path.p[slash - 1] != '/')
		slash--;
	dir = (struct bytes){path.p, slash};
	name = from(path, slash);
	if (!tempname_split(name, &name))
		return;
	add_in_dir(b, c, dir, "", name);
	add_in_dir(b, c, dir, ".", name);
	if (name.n >= TEMP_CUT_MIN)
		add_cut(b, c, dir, name);
}

static void add_candidate(struct blame *b, struct cargo *c, struct bytes name)
{
	add_suffixes(b, c, name);
	add_temporary(b, c, name);
}

static bool is_octal(char ch)
{
	return ch >= '0' && ch <= '7';
}

/* "\#ooo" back to bytes; false: there was none. */
static bool unescape(struct buf *out, struct bytes s)
{
	bool any = false;

	for (size_t i = 0; i < s.n; i++) {
		if (s.n - i >= 5 && s.p[i] == '\\' && s.p[i + 1] == '#' && is_octal(s.p[i + 2]) &&
		    is_octal(s.p[i + 3]) && is_octal(s.p[i + 4])) {
			buf_add_u8(out, (uint8_t)((s.p[i + 2] - '0') << 6 |
			                          (s.p[i + 3] - '0') << 3 | (s.p[i + 4] - '0')));
			i += 4;
			any = true;
		} else {
			buf_add_u8(out, (uint8_t)s.p[i]);
		}
	}
	return any;
}

/* Between any two quotes: the name itself may contain quotes. */
static void add_quoted(struct blame *b, struct cargo *c, struct bytes text)
{
	size_t quotes[QUOTES_MAX], n = 0;

	for (size_t i = 0; i < text.n && n < QUOTES_MAX; i++) {
		if (text.p[i] == '"')
			quotes[n++] = i;
	}
	for (size_t i = 0; i < n; i++) {
		for (size_t j = i + 1; j < n; j++)
			add_candidate(
			        b, c,
			        (struct bytes){text.p + quotes[i] + 1, quotes[j] - quotes[i] - 1});
	}
}

/* Unquoted: "...: NAME" and "...: NAME failed verification...". */
static void add_trailing(struct blame *b, struct cargo *c, struct bytes text)
{
	static const char verification[] = " failed verification";
	const char *cut = memmem(text.p, text.n, verification, sizeof(verification) - 1);
	size_t seen = 0;

	for (size_t i = 0; i + 1 < text.n && seen < COLONS_MAX; i++) {
		struct bytes rest;

		if (text.p[i] != ':' || text.p[i + 1] != ' ')
			continue;
		seen++;
		rest = from(text, i + 2);
		guess(b, c, rest);
		if (cut && cut > rest.p)
			guess(b, c, (struct bytes){rest.p, (size_t)(cut - rest.p)});
	}
}

/* "...set_acl: acl_set_file_at(NAME, ACL_TYPE_ACCESS): ..." */
static void add_acl(struct blame *b, struct cargo *c, struct bytes text)
{
	static const char tail[] = ", ACL_TYPE_";
	const char *call = memmem(text.p, text.n, "et_acl: ", 8);
	const char *end = memmem(text.p, text.n, tail, sizeof(tail) - 1);
	const char *open =
	        call && end && call < end ? memchr(call, '(', (size_t)(end - call)) : NULL;

	if (open)
		add_candidate(b, c, (struct bytes){open + 1, (size_t)(end - open - 1)});
}

void blame_find(struct blame *ret, struct cargo *c, struct bytes text)
{
	struct buf plain;

	*ret = (struct blame){.n = 0};
	text = bytes_without_newline(text);
	add_quoted(ret, c, text);
	add_trailing(ret, c, text);
	add_acl(ret, c, text);
	buf_init(&plain, text.n + 1);
	if (unescape(&plain, text)) {
		add_quoted(ret, c, buf_bytes(&plain));
		add_trailing(ret, c, buf_bytes(&plain));
		add_acl(ret, c, buf_bytes(&plain));
	}
	buf_done(&plain);
}

enum trouble blame_trouble(struct bytes text)
{
	if (contains(text, "No space left on device") || contains(text, "Disk quota exceeded"))
		return TROUBLE_FULL;
	if (contains(text, "Read-only file system") || contains(text, "read only") ||
	    contains(text, "read-only"))
		return TROUBLE_READONLY;
	return TROUBLE_NONE;
}

bool blame_attributes_only(struct bytes text)
{
	return contains(text, "failed to set times on ") ||
	       contains(text, "failed to set permissions on ") || contains(text, "chown ") ||
	       contains(text, "set_acl: ") || contains(text, "setxattr(") ||
	       blame_attribute(text) != BLAME_NO_ATTRIBUTE;
}

/* "rsync: [generator] set_acl: ..." from where it says what failed: a name further in may be
 * anything. */
static struct bytes sentence(struct bytes text)
{
	const char *end;

	if (bytes_starts(text, BYTES("rsync: ")))
		text = from(text, 7);
	end = text.n && text.p[0] == '[' ? memchr(text.p, ' ', text.n) : NULL;
	return end ? from(text, (size_t)(end + 1 - text.p)) : text;
}

/* What stands behind the last colon. */
static bool reason_is(struct bytes text, const char *words)
{
	for (size_t i = text.n; i >= 2; i--)
		if (text.p[i - 2] == ':' && text.p[i - 1] == ' ')
			return bytes_starts(from(text, i), bytes_of(words));
	return false;
}

enum blame_attribute blame_attribute(struct bytes text)
{
	static const char *const starts[] = {"set_acl: ", "rsync_xal_set: ", "get_xattr_names: "};
	static const char *const never[] = {"Operation not supported", "Operation not permitted",
	                                    "Permission denied"};
	bool about = false;

	text = sentence(text);
	if (bytes_starts(text, BYTES("Missing abbreviated xattr value, ")))
		return BLAME_MISSING;
	for (size_t i = 0; i < ARRAY_LEN(starts); i++)
		about = about || bytes_starts(text, bytes_of(starts[i]));
	if (!about)
		return BLAME_NO_ATTRIBUTE;
	for (size_t i = 0; i < ARRAY_LEN(never); i++)
		if (reason_is(text, never[i]))
			return BLAME_NOT_KEPT;
	return BLAME_MISSING;
}

struct part *blame_kept(struct cargo *c, struct bytes text)
{
	static const struct bytes words = {"cannot delete non-empty directory: ", 35};
	struct buf plain;
	struct part *part;

	text = bytes_without_newline(text);
	if (!bytes_starts(text, words))
		return NULL;
	text = from(text, words.n);
	part = find_exact(c, text);
	if (part)
		return part;
	buf_init(&plain, text.n + 1);
	if (unescape(&plain, text))
		part = find_exact(c, buf_bytes(&plain));
	buf_done(&plain);
	return part;
}

bool blame_is_echo(struct bytes text)
{
	return bytes_starts(text, BYTES("*** Skipping ")) ||
	       bytes_starts(text, BYTES("rsync error: ")) ||
	       bytes_starts(text, BYTES("rsync warning: "));
}

bool blame_is_harmless(struct bytes text)
{
	return bytes_starts(sentence(text), BYTES("get_acl: "));
}

bool blame_skips_deletions(struct bytes text)
{
	return bytes_starts(text, BYTES("IO error encountered -- skipping file deletion")) ||
	       bytes_starts(text, BYTES("Deletions stopped"));
}
