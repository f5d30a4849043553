#include "base/bytes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

enum { BUF_FIRST_BYTES = 64, PRINTF_STACK_BYTES = 512 };

bool bytes_starts(struct bytes a, struct bytes prefix)
{
	return a.n >= prefix.n && (prefix.n == 0 || memcmp(a.p, prefix.p, prefix.n) == 0);
}

int bytes_compare(struct bytes a, struct bytes b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int order = n ? memcmp(a.p, b.p, n) : 0;

	if (order)
		return order;
	return (a.n > b.n) - (a.n < b.n);
}

void buf_init(struct buf *b, size_t max)
{
	*b = (struct buf){.max = max};
}

void buf_done(struct buf *b)
{
	free(b->p);
	*b = (struct buf){.max = b->max};
}

void buf_clear(struct buf *b)
{
	b->n = 0;
	b->overflowed = false;
}

char *buf_reserve(struct buf *b, size_t n)
{
	/* An addition behind a dropped one would hide the hole. */
	if (b->overflowed || n > b->max - b->n) {
		b->overflowed = true;
		return NULL;
	}
	size_t need = b->n + n;
	if (need > b->cap || !b->p) {
		size_t cap = b->cap > b->max / 2 ? b->max : b->cap * 2;

		if (cap < BUF_FIRST_BYTES)
			cap = BUF_FIRST_BYTES;
		if (cap < need)
			cap = need;
		b->p = mem_realloc(b->p, cap, 1);
		b->cap = cap;
	}
	return b->p + b->n;
}

void buf_add(struct buf *b, const void *p, size_t n)
{
	if (n == 0)
		return;
	char *to = buf_reserve(b, n);

	if (!to)
		return;
	memcpy(to, p, n);
	b->n += n;
}

void buf_add_bytes(struct buf *b, struct bytes s)
{
	buf_add(b, s.p, s.n);
}

static void add_le(struct buf *b, uint64_t v, size_t size)
{
	unsigned char out[8];

	for (size_t i = 0; i < size; i++)
		out[i] = (unsigned char)(v >> (8 * i));
	buf_add(b, out, size);
}

void buf_add_u8(struct buf *b, uint8_t v)
{
	add_le(b, v, 1);
}

void buf_add_le16(struct buf *b, uint16_t v)
{
	add_le(b, v, 2);
}

void buf_add_le32(struct buf *b, uint32_t v)
{
	add_le(b, v, 4);
}

void buf_add_le64(struct buf *b, uint64_t v)
{
	add_le(b, v, 8);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
	char small[PRINTF_STACK_BYTES];
	va_list ap, again;

	va_start(ap, fmt);
	va_copy(again, ap);
	int n = vsnprintf(small, sizeof(small), fmt, ap);
	check(n >= 0);
	if ((size_t)n < sizeof(small)) {
		buf_add(b, small, (size_t)n);
	} else {
		autofree char *large = mem_alloc((size_t)n + 1);

		(void)vsnprintf(large, (size_t)n + 1, fmt, again);
		buf_add(b, large, (size_t)n);
	}
	va_end(again);
	va_end(ap);
}

void buf_drop(struct buf *b, size_t n)
{
	check(n <= b->n);
	b->n -= n;
	if (b->n && n)
		memmove(b->p, b->p + n, b->n);
}

struct bytes cursor_take(struct cursor *c, size_t n)
{
	if (c->bad || n > cursor_left(c)) {
		c->bad = true;
		return (struct bytes){NULL, 0};
	}
	struct bytes taken = {(const char *)c->p, n};

	if (n)
		c->p += n;
	return taken;
}

static uint64_t take_le(struct cursor *c, size_t size)
{
	struct bytes raw = cursor_take(c, size);
	uint64_t v = 0;

	for (size_t i = raw.n; i-- > 0;)
		v = v << 8 | (unsigned char)raw.p[i];
	return v;
}

uint8_t cursor_u8(struct cursor *c)
{
	return (uint8_t)take_le(c, 1);
}

uint16_t cursor_le16(struct cursor *c)
{
	return (uint16_t)take_le(c, 2);
}

uint32_t cursor_le32(struct cursor *c)
{
	return (uint32_t)take_le(c, 4);
}

uint64_t cursor_le64(struct cursor *c)
{
	return take_le(c, 8);
}
