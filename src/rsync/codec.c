#include "rsync/codec.h"

#include <errno.h>
#include "base/mem.h"

/* Little-endian bytes of `value`; returns how many are needed, at least `min`. */
static unsigned split(uint64_t value, unsigned width, unsigned min, unsigned char v[8])
{
	unsigned n = width;

	for (unsigned i = 0; i < 8; i++)
		v[i] = (unsigned char)(value >> (8 * i));
	while (n > min && v[n - 1] == 0)
		n--;
	return n;
}

/* The first byte tells by its leading ones how many bytes follow, and holds the highest bits of the
 * value where they fit. */
static void put_marked(struct buf *out, const unsigned char *v, unsigned n, unsigned min)
{
	unsigned limit = 1u << (7 - n + min);

	if (v[n - 1] >= limit) {
		buf_add_u8(out, (uint8_t) ~(limit - 1));
		buf_add(out, v, n);
	} else {
		unsigned mark = n > min ? ~(2 * limit - 1) : 0;

		buf_add_u8(out, (uint8_t)(v[n - 1] | mark));
		buf_add(out, v, n - 1);
	}
}

void codec_put_varint(struct buf *out, uint32_t value)
{
	unsigned char v[8];
	unsigned n = split(value, 4, 1, v);

	put_marked(out, v, n, 1);
}

void codec_put_varlong(struct buf *out, int64_t value, unsigned min)
{
	unsigned char v[8];
	unsigned n = split((uint64_t)value, 8, min, v);

	put_marked(out, v, n, min);
}

void codec_put_vstring(struct buf *out, struct bytes text)
{
	check(text.n <= VSTRING_MAX);
	if (text.n >= 0x80)
		buf_add_u8(out, (uint8_t)(0x80 + (text.n >> 8)));
	buf_add_u8(out, (uint8_t)text.n);
	buf_add_bytes(out, text);
}

void codec_put_ndx(struct buf *out, struct ndx_state *state, int32_t ndx)
{
	int32_t *prev = &state->positive;
	int64_t diff;

	if (ndx == NDX_DONE) {
		buf_add_u8(out, 0);
		return;
	}
	if (ndx < 0) {
		buf_add_u8(out, 0xff);
		ndx = -ndx;
		prev = &state->negative;
	}
	diff = (int64_t)ndx - *prev;
	*prev = ndx;
	if (diff > 0 && diff < 0xfe) {
		buf_add_u8(out, (uint8_t)diff);
		return;
	}
	buf_add_u8(out, 0xfe);
	if (diff >= 0 && diff <= 0x7fff) {
		buf_add_u8(out, (uint8_t)(diff >> 8));
		buf_add_u8(out, (uint8_t)diff);
	} else {
		buf_add_u8(out, (uint8_t)(((uint32_t)ndx >> 24) | 0x80));
		buf_add_u8(out, (uint8_t)ndx);
		buf_add_u8(out, (uint8_t)(ndx >> 8));
		buf_add_u8(out, (uint8_t)(ndx >> 16));
	}
}

int codec_get_u8(struct cursor *in, uint8_t *ret)
{
	*ret = cursor_u8(in);
	return in->bad ? -EAGAIN : 0;
}

int codec_get_le16(struct cursor *in, uint16_t *ret)
{
	*ret = cursor_le16(in);
	return in->bad ? -EAGAIN : 0;
}

int codec_get_int(struct cursor *in, int32_t *ret)
{
	*ret = (int32_t)cursor_le32(in);
	return in->bad ? -EAGAIN : 0;
}

/* Number of bytes that follow, by the leading ones of a first byte. */
static unsigned extra_bytes(uint8_t first)
{
	if (first < 0x80)
		return 0;
	if (first < 0xc0)
		return 1;
	if (first < 0xe0)
		return 2;
	if (first < 0xf0)
		return 3;
	if (first < 0xf8)
		return 4;
	return first < 0xfc ? 5 : 6;
}

int codec_get_varint(struct cursor *in, uint32_t *ret)
{
	uint8_t first = cursor_u8(in);
	unsigned extra = extra_bytes(first);
	uint64_t value = 0;
	struct bytes rest;

	if (in->bad)
		return -EAGAIN;
	if (extra > 4)
		return -EPROTO;
	rest = cursor_take(in, extra);
	if (in->bad)
		return -EAGAIN;
	for (unsigned i = 0; i < extra; i++)
		value |= (uint64_t)(unsigned char)rest.p[i] << (8 * i);
	value |= (uint64_t)(first & ((1u << (8 - extra)) - 1)) << (8 * extra);
	if (value > UINT32_MAX)
		return -EPROTO;
	*ret = (uint32_t)value;
	return 0;
}

int codec_get_varlong(struct cursor *in, unsigned min, int64_t *ret)
{
	uint8_t first = cursor_u8(in);
	unsigned extra = extra_bytes(first);
	unsigned low = min - 1 + extra; /* bytes behind the first */
	uint64_t value = 0, high;
	struct bytes rest;

	if (in->bad)
		return -EAGAIN;
	if (low > 8)
		return -EPROTO;
	rest = cursor_take(in, low);
	if (in->bad)
		return -EAGAIN;
	for (unsigned i = 0; i < low; i++)
		value |= (uint64_t)(unsigned char)rest.p[i] << (8 * i);
	high = first & ((1u << (8 - extra)) - 1);
	if (low < 8)
		value |= high << (8 * low);
	else if (high)
		return -EPROTO;
	*ret = (int64_t)value;
	return 0;
}

int codec_get_vstring(struct cursor *in, size_t max, struct bytes *ret)
{
	size_t n = cursor_u8(in);

	if (n & 0x80)
		n = ((n & 0x7f) << 8) | cursor_u8(in);
	if (in->bad)
		return -EAGAIN;
	if (n > max)
		return -EPROTO;
	*ret = cursor_take(in, n);
	return in->bad ? -EAGAIN : 0;
}

int codec_get_ndx(struct cursor *in, struct ndx_state *state, int32_t *ret)
{
	uint8_t b = cursor_u8(in);
	bool negative = b == 0xff;
	int32_t *prev = negative ? &state->negative : &state->positive;
	int64_t value;

	if (in->bad)
		return -EAGAIN;
	if (b == 0) {
		*ret = NDX_DONE;
		return 0;
	}
	if (negative)
		b = cursor_u8(in);
	if (b == 0xfe) {
		uint8_t high = cursor_u8(in), next = cursor_u8(in);

		if (high & 0x80) {
			value = (int64_t)(high & 0x7f) << 24 | next;
			value |= (int64_t)cursor_le16(in) << 8;
		} else {
			value = *prev + (int64_t)((unsigned)high << 8 | next);
		}
	} else {
		value = *prev + (int64_t)b;
	}
	if (in->bad)
		return -EAGAIN;
	if (value < 0 || value > INT32_MAX)
		return -EPROTO;
	*prev = (int32_t)value;
	*ret = negative ? -(int32_t)value : (int32_t)value;
	return 0;
}

bool codec_names_hold(struct bytes names, struct bytes name)
{
	while (names.n) {
		const char *blank = memchr(names.p, ' ', names.n);
		size_t n = blank ? (size_t)(blank - names.p) : names.n;

		if (bytes_equal((struct bytes){names.p, n}, name))
			return true;
		n += blank ? 1 : 0;
		names.p += n;
		names.n -= n;
	}
	return false;
}
