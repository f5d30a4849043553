/*
 * codec: the integers and strings of the rsync wire.
 *
 * Encoders append to a buffer. Decoders read from a cursor over what has arrived so far and return
 * 0, -EAGAIN when the value is not complete yet (the cursor is then of no more use: start over from
 * the same place with more bytes), or -EPROTO for a value that no honest peer sends.
 *
 * Indexes ("ndx") are coded against the previous one of their direction, so each direction has its
 * own state; a decoder that returns anything but 0 leaves the state as it was.
 */
#ifndef RSYNC_CODEC_H
#define RSYNC_CODEC_H

#include "base/bytes.h"

#define NDX_DONE      (-1)
#define NDX_DEL_STATS (-3)

#define VSTRING_MAX 0x7fff

struct ndx_state {
	int32_t positive, negative;
};

static inline struct ndx_state ndx_state_start(void)
{
	return (struct ndx_state){-1, 1};
}

/* 1 to 5 bytes; negative numbers are passed as their two's complement. */
void codec_put_varint(struct buf *out, uint32_t value);
/* At least `min` (3 or 4) and at most 9 bytes. */
void codec_put_varlong(struct buf *out, int64_t value, unsigned min);
/* At most VSTRING_MAX bytes, checked by the caller. */
void codec_put_vstring(struct buf *out, struct bytes text);
void codec_put_ndx(struct buf *out, struct ndx_state *state, int32_t ndx);

int codec_get_u8(struct cursor *in, uint8_t *ret);
int codec_get_le16(struct cursor *in, uint16_t *ret);
int codec_get_int(struct cursor *in, int32_t *ret);
int codec_get_varint(struct cursor *in, uint32_t *ret);
int codec_get_varlong(struct cursor *in, unsigned min, int64_t *ret);
/* Borrowed from the cursor's bytes; -EPROTO beyond max. */
int codec_get_vstring(struct cursor *in, size_t max, struct bytes *ret);
int codec_get_ndx(struct cursor *in, struct ndx_state *state, int32_t *ret);

/* Whether `name` is one of these blank-separated ones. */
bool codec_names_hold(struct bytes names, struct bytes name);

#endif
