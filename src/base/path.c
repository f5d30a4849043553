#include "base/path.h"

#include <errno.h>
#include <stdio.h>

#include "base/mem.h"

enum { SHOWN_BYTES_MAX = 512, SHOW_BUFFERS = 8 };

static bool name_bytes_valid(const char *p, size_t n)
{
	if (n == 0 || n > NAME_BYTES_MAX || memchr(p, '\0', n))
		return false;
	if (p[0] == '.' && (n == 1 || (n == 2 && p[1] == '.')))
		return false;
	return true;
}

bool name_valid(struct bytes name)
{
	return name_bytes_valid(name.p, name.n) && !memchr(name.p, '/', name.n);
}

bool path_valid(struct bytes path)
{
	if (path.n == 0)
		return true;
	if (path.n > PATH_BYTES_MAX)
		return false;
	const char *p = path.p, *end = path.p + path.n;

	for (;;) {
		const char *slash = memchr(p, '/', (size_t)(end - p));
		const char *stop = slash ? slash : end;

		if (!name_bytes_valid(p, (size_t)(stop - p)))
			return false;
		if (!slash)
			return true;
		p = slash + 1;
	}
}

void path_join(struct buf *out, struct bytes dir, struct bytes name)
{
	buf_clear(out);
	buf_add_bytes(out, dir);
	if (dir.n && name.n)
		buf_add_u8(out, '/');
	buf_add_bytes(out, name);
}

struct bytes path_parent(struct bytes path)
{
	const char *slash = path.n ? memrchr(path.p, '/', path.n) : NULL;

	return (struct bytes){path.p, slash ? (size_t)(slash - path.p) : 0};
}

struct bytes path_name(struct bytes path)
{
	const char *slash = path.n ? memrchr(path.p, '/', path.n) : NULL;

	if (!slash)
		return path;
	return (struct bytes){slash + 1, path.n - (size_t)(slash + 1 - path.p)};
}

bool path_below(struct bytes path, struct bytes dir)
{
	if (dir.n == 0)
		return path.n > 0;
	return path.n > dir.n && path.p[dir.n] == '/' && memcmp(path.p, dir.p, dir.n) == 0;
}

int path_compare(struct bytes a, struct bytes b)
{
	size_t n = a.n < b.n ? a.n : b.n;

	for (size_t i = 0; i < n; i++) {
		if (a.p[i] == b.p[i])
			continue;
		/* "/" sorts before every byte of a name, so "a/z" stands before "a-". */
		if (a.p[i] == '/')
			return -1;
		if (b.p[i] == '/')
			return 1;
		return (unsigned char)a.p[i] < (unsigned char)b.p[i] ? -1 : 1;
	}
	return (a.n > b.n) - (a.n < b.n);
}

struct bytes path_next(struct bytes *rest)
{
	const char *slash = rest->n ? memchr(rest->p, '/', rest->n) : NULL;
	struct bytes first = {rest->p, slash ? (size_t)(slash - rest->p) : rest->n};
	size_t used = slash ? first.n + 1 : first.n;

	if (used)
		*rest = (struct bytes){rest->p + used, rest->n - used};
	return first;
}

/* Length of the well-formed UTF-8 character at p (RFC 3629: no surrogates, no overlong forms), 0
 * when there is none; *ret its code point. */
static size_t utf8_character(const unsigned char *p, size_t n, uint32_t *ret)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t len = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;

	if (len == 0 || p[0] > 0xf4 || len > n)
		return 0;
	uint32_t c = len == 1 ? p[0] : p[0] & (0x7fu >> len);
	for (size_t i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3fu);
	}
	if (c < least[len] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	*ret = c;
	return len;
}

static bool is_control(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0);
}

/* Characters that are invisible or change how the rest of a line is shown: line separators, zero
 * width, bidirectional marks and overrides, byte-order mark. */
static bool is_deceptive(uint32_t c)
{
	return c == 0x61c || (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
	       (c >= 0x2060 && c <= 0x206f) || c == 0xfeff;
}

static void add_escapes(struct buf *out, const char *lead, const unsigned char *p, size_t n)
{
	static const char digits[] = "0123456789abcdef", upper[] = "0123456789ABCDEF";
	const char *hex = lead[0] == '%' ? upper : digits;

	for (size_t i = 0; i < n; i++) {
		buf_add_bytes(out, bytes_of(lead));
		buf_add_u8(out, (uint8_t)hex[p[i] >> 4]);
		buf_add_u8(out, (uint8_t)hex[p[i] & 15]);
	}
}

void path_quote(struct buf *out, struct bytes path)
{
	const unsigned char *p = (const unsigned char *)path.p;
	size_t left = path.n, shown = 0;

	if (left == 0)
		buf_add_u8(out, '.');
	while (left) {
		uint32_t c = 0;
		size_t len = utf8_character(p, left, &c);
		bool plain = len && !is_control(c) && !is_deceptive(c) && c != '\\';

		if (len == 0)
			len = 1;
		shown += plain ? len : 4 * len;
		if (shown > SHOWN_BYTES_MAX) {
			buf_add_bytes(out, BYTES("…"));
			return;
		}
		if (plain)
			buf_add(out, p, len);
		else
			add_escapes(out, "\\x", p, len);
		p += len;
		left -= len;
	}
}

const char *path_show(struct bytes path)
{
	static _Thread_local char shown[SHOW_BUFFERS][SHOWN_BYTES_MAX + sizeof("…")];
	static _Thread_local unsigned turn;
	struct buf out;
	char *text = shown[turn++ % SHOW_BUFFERS];

	buf_init(&out, sizeof(shown[0]) - 1);
	path_quote(&out, path);
	memcpy(text, out.p, out.n);
	text[out.n] = '\0';
	buf_done(&out);
	return text;
}

void path_percent(struct buf *out, struct bytes path)
{
	const unsigned char *p = (const unsigned char *)path.p;
	size_t left = path.n;

	while (left) {
		uint32_t c = 0;
		size_t len = utf8_character(p, left, &c);

		if (len && !is_control(c) && c != '%') {
			buf_add(out, p, len);
		} else {
			len = len ? len : 1;
			add_escapes(out, "%", p, len);
		}
		p += len;
		left -= len;
	}
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int path_from_percent(struct buf *out, struct bytes text)
{
	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] != '%') {
			buf_add_u8(out, (uint8_t)text.p[i]);
			continue;
		}
		if (text.n - i < 3)
			return -EINVAL;
		int high = hex_digit(text.p[i + 1]), low = hex_digit(text.p[i + 2]);

		if (high < 0 || low < 0 || (high == 0 && low == 0))
			return -EINVAL;
		buf_add_u8(out, (uint8_t)(high * 16 + low));
		i += 2;
	}
	return 0;
}
