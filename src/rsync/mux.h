/*
 * mux: the frames that carry the stream and the messages, both directions.
 *
 * A frame is a little-endian word (7 + code) << 24 | length, then the payload. Code 0 is stream
 * data; where its frames end means nothing. All other codes are messages of limited size.
 *
 * Outgoing stream bytes are gathered into one growing frame until the output is looked at; from
 * then on that frame is sealed, because its header may be on the wire already.
 */
#ifndef RSYNC_MUX_H
#define RSYNC_MUX_H

#include "base/bytes.h"

enum mux_code {
	MUX_DATA = 0,
	MUX_ERROR_XFER = 1,
	MUX_INFO = 2,
	MUX_ERROR = 3,
	MUX_WARNING = 4,
	MUX_IO_ERROR = 22,
	MUX_IO_TIMEOUT = 33,
	MUX_NOOP = 42,
	MUX_ERROR_EXIT = 86,
	MUX_SUCCESS = 100,
	MUX_DELETED = 101,
	MUX_NO_SEND = 102,
};

#define MUX_MESSAGE_MAX 6144 /* a path, its quotes and a sentence: rsync's own limit is 5 KiB */

struct mux_out {
	struct buf bytes;
	size_t at;    /* sent so far */
	size_t frame; /* header of the open data frame, SIZE_MAX: none */
	uint64_t total;
	bool framed; /* the stream is multiplexed from here on */
};

void mux_out_init(struct mux_out *o);
void mux_out_done(struct mux_out *o);
/* Stream bytes: as they are before `framed`, in data frames afterwards. */
void mux_out_data(struct mux_out *o, struct bytes data);
/* The same for one little-endian word. */
void mux_out_int(struct mux_out *o, int32_t value);
void mux_out_message(struct mux_out *o, enum mux_code code, struct bytes payload);
void mux_out_message_int(struct mux_out *o, enum mux_code code, int32_t value);
void mux_out_keepalive(struct mux_out *o);
/* Nothing more joins the open frame. */
void mux_out_seal(struct mux_out *o);
struct bytes mux_out_pending(const struct mux_out *o);
void mux_out_sent(struct mux_out *o, size_t n);
/* Drops all that was not sent. */
void mux_out_discard(struct mux_out *o);

struct mux_in {
	struct buf head;    /* header and payload of an incomplete message */
	uint32_t data_left; /* of the current data frame */
};

enum mux_piece_kind { MUX_PIECE_NONE, MUX_PIECE_DATA, MUX_PIECE_MESSAGE };

struct mux_piece {
	enum mux_piece_kind kind;
	unsigned code;        /* MESSAGE */
	struct bytes payload; /* DATA: borrowed from the input; MESSAGE: until the next call */
};

void mux_in_init(struct mux_in *in);
void mux_in_done(struct mux_in *in);
/* Takes the next piece from the front of *input, which is advanced; NONE when it is used up.
 * -EPROTO: not a frame, or a message beyond the limit. */
int mux_in_next(struct mux_in *in, struct bytes *input, struct mux_piece *ret);

#endif
