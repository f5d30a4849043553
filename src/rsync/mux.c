#include "rsync/mux.h"

#include <errno.h>

#define MUX_BASE      7
#define MUX_HEADER    4
#define MUX_FRAME_MAX 65536      /* of what we send */
#define MUX_OUT_MAX   (1u << 30) /* callers pause long before; a list is the largest single piece */
#define MUX_COMPACT   (256u << 10) /* sent bytes are dropped in steps of this */

void mux_out_init(struct mux_out *o)
{
	*o = (struct mux_out){.frame = SIZE_MAX};
	buf_init(&o->bytes, MUX_OUT_MAX);
}

void mux_out_done(struct mux_out *o)
{
	buf_done(&o->bytes);
}

static void put_header(char *p, enum mux_code code, size_t n)
{
	uint32_t word = (uint32_t)(MUX_BASE + code) << 24 | (uint32_t)n;

	for (int i = 0; i < MUX_HEADER; i++)
		p[i] = (char)(word >> (8 * i));
}

static void open_frame(struct mux_out *o)
{
	char *p = buf_reserve(&o->bytes, MUX_HEADER);

	if (!p)
		return;
	o->frame = o->bytes.n;
	put_header(p, MUX_DATA, 0);
	o->bytes.n += MUX_HEADER;
}

void mux_out_data(struct mux_out *o, struct bytes data)
{
	if (!o->framed) {
		buf_add_bytes(&o->bytes, data);
		return;
	}
	while (data.n) {
		size_t have, n;

		if (o->frame == SIZE_MAX)
			open_frame(o);
		if (o->bytes.overflowed)
			return;
		have = o->bytes.n - o->frame - MUX_HEADER;
		n = MUX_FRAME_MAX - have;
		if (n > data.n)
			n = data.n;
		buf_add(&o->bytes, data.p, n);
		if (o->bytes.overflowed)
			return;
		put_header(o->bytes.p + o->frame, MUX_DATA, have + n);
		if (have + n == MUX_FRAME_MAX)
			mux_out_seal(o);
		data.p += n;
		data.n -= n;
	}
}

/* Four bytes for a value of the wire; `p` has room for them. */
static struct bytes le32(char p[4], int32_t value)
{
	for (int i = 0; i < 4; i++)
		p[i] = (char)((uint32_t)value >> (8 * i));
	return (struct bytes){p, 4};
}

void mux_out_int(struct mux_out *o, int32_t value)
{
	char p[4];

	mux_out_data(o, le32(p, value));
}

void mux_out_message(struct mux_out *o, enum mux_code code, struct bytes payload)
{
	char header[MUX_HEADER];

	mux_out_seal(o);
	put_header(header, code, payload.n);
	buf_add(&o->bytes, header, sizeof(header));
	buf_add_bytes(&o->bytes, payload);
}

void mux_out_message_int(struct mux_out *o, enum mux_code code, int32_t value)
{
	char p[4];

	mux_out_message(o, code, le32(p, value));
}

void mux_out_keepalive(struct mux_out *o)
{
	mux_out_message(o, MUX_DATA, (struct bytes){NULL, 0});
}

void mux_out_seal(struct mux_out *o)
{
	o->frame = SIZE_MAX;
}

struct bytes mux_out_pending(const struct mux_out *o)
{
	if (o->at == o->bytes.n)
		return (struct bytes){NULL, 0};
	return (struct bytes){o->bytes.p + o->at, o->bytes.n - o->at};
}

void mux_out_sent(struct mux_out *o, size_t n)
{
	o->at += n;
	o->total += n;
	mux_out_seal(o);
	if (o->at == o->bytes.n) {
		o->bytes.n = o->at = 0;
	} else if (o->at >= MUX_COMPACT && o->at >= o->bytes.n / 2) {
		buf_drop(&o->bytes, o->at);
		o->at = 0;
	}
}

void mux_out_discard(struct mux_out *o)
{
	mux_out_seal(o);
	o->bytes.n = o->at;
}

void mux_in_init(struct mux_in *in)
{
	*in = (struct mux_in){0};
	buf_init(&in->head, MUX_HEADER + MUX_MESSAGE_MAX);
}

void mux_in_done(struct mux_in *in)
{
	buf_done(&in->head);
}

/* Moves bytes from *input until the head buffer holds `want`; true when it does. */
static bool fill(struct mux_in *in, struct bytes *input, size_t want)
{
	size_t n = want - in->head.n;

	if (n > input->n)
		n = input->n;
	buf_add(&in->head, input->p, n);
	input->p += n;
	input->n -= n;
	return in->head.n == want;
}

int mux_in_next(struct mux_in *in, struct bytes *input, struct mux_piece *ret)
{
	*ret = (struct mux_piece){.kind = MUX_PIECE_NONE};
	while (input->n) {
		struct cursor c;
		uint32_t word, tag, n;

		if (in->data_left) {
			n = input->n < in->data_left ? (uint32_t)input->n : in->data_left;
			*ret = (struct mux_piece){MUX_PIECE_DATA, MUX_DATA, {input->p, n}};
			input->p += n;
			input->n -= n;
			in->data_left -= n;
			return 0;
		}
		if (in->head.n < MUX_HEADER && !fill(in, input, MUX_HEADER))
			return 0;
		c = cursor_of(buf_bytes(&in->head));
		word = cursor_le32(&c);
		tag = word >> 24;
		n = word & 0xffffff;
		if (tag < MUX_BASE)
			return -EPROTO;
		if (tag == MUX_BASE + MUX_DATA) {
			in->data_left = n;
			buf_clear(&in->head);
			continue;
		}
		if (n > MUX_MESSAGE_MAX)
			return -EPROTO;
		if (!fill(in, input, MUX_HEADER + n))
			return 0;
		*ret = (struct mux_piece){
		        MUX_PIECE_MESSAGE, tag - MUX_BASE, {in->head.p + MUX_HEADER, n}};
		/* The bytes stay where they are until the next fill. */
		in->head.n = 0;
		return 0;
	}
	return 0;
}
