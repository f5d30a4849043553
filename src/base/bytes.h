/*
 * bytes: borrowed slices, owned bounded buffers, and a checked reading cursor.
 *
 * Any byte is allowed and no terminator is promised. A buffer has a maximum that it never passes:
 * growing beyond it marks the buffer as overflowed and drops the addition, so a writer may check
 * once at the end. A cursor that was asked for more than there is turns bad and yields zeros.
 */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bytes {
	const char *p;
	size_t n;
};

#define BYTES(literal) ((struct bytes){(literal), sizeof(literal) - 1})

static inline struct bytes bytes_of(const char *s)
{
	return (struct bytes){s, s ? strlen(s) : 0};
}
static inline bool bytes_equal(struct bytes a, struct bytes b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}
bool bytes_starts(struct bytes a, struct bytes prefix);
static inline struct bytes bytes_without_newline(struct bytes a)
{
	return (struct bytes){a.p, a.n - (a.n && a.p[a.n - 1] == '\n')};
}
/* memcmp order, the shorter first. */
int bytes_compare(struct bytes a, struct bytes b);

struct buf {
	char *p;
	size_t n, cap, max;
	bool overflowed;
};

void buf_init(struct buf *b, size_t max);
void buf_done(struct buf *b);  /* frees; the buffer may be initialised again */
void buf_clear(struct buf *b); /* keeps the memory and forgets an overflow */
/* Room for n more bytes behind b->n, or NULL (and overflowed) beyond the maximum. */
char *buf_reserve(struct buf *b, size_t n);
void buf_add(struct buf *b, const void *p, size_t n);
void buf_add_bytes(struct buf *b, struct bytes s);
void buf_add_u8(struct buf *b, uint8_t v);
void buf_add_le16(struct buf *b, uint16_t v);
void buf_add_le32(struct buf *b, uint32_t v);
void buf_add_le64(struct buf *b, uint64_t v);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Drops n bytes from the front; O(rest), so callers drop in large steps. */
void buf_drop(struct buf *b, size_t n);
static inline struct bytes buf_bytes(const struct buf *b)
{
	return (struct bytes){b->p, b->n};
}

struct cursor {
	const unsigned char *p, *end;
	bool bad;
};

static inline struct cursor cursor_of(struct bytes s)
{
	const unsigned char *p = (const unsigned char *)s.p;

	return (struct cursor){p, s.n ? p + s.n : p, false};
}
static inline size_t cursor_left(const struct cursor *c)
{
	return (size_t)(c->end - c->p);
}
struct bytes cursor_take(struct cursor *c, size_t n); /* borrowed; empty and bad when short */
uint8_t cursor_u8(struct cursor *c);
uint16_t cursor_le16(struct cursor *c);
uint32_t cursor_le32(struct cursor *c);
uint64_t cursor_le64(struct cursor *c);

#endif
