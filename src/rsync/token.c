#include "rsync/token.h"

#include "base/mem.h"
#include "rsync/packer.h"

#define LITERAL_MAX 32768 /* rsync's CHUNK_SIZE: larger pieces are refused */
#define RUN_MAX     65536

/* First bytes of the compressed form, beside those of the packer's pieces. */
enum token_flag {
	TOKEN_END = 0x00,
	TOKEN_LONG = 0x20,     /* le32 block */
	TOKEN_LONG_RUN = 0x21, /* le32 block, le16 how many follow it */
	TOKEN_REL = 0x80,      /* | distance from the end of the last run */
	TOKEN_REL_RUN = 0xc0,
};

struct token_writer {
	struct mux_out *out;
	struct packer *packer;      /* NULL: the plain form */
	int32_t run_start, run_end; /* blocks not written yet; run_start -1: none */
	int32_t last_run_end;
};

struct token_writer *token_writer_new(enum session_compress method, unsigned level)
{
	struct token_writer *w = mem_alloc(sizeof(*w));

	if (method != SESSION_COMPRESS_NO)
		w->packer = packer_new(method, level);
	return w;
}

void token_writer_free(struct token_writer *w)
{
	if (!w)
		return;
	packer_free(w->packer);
	free(w);
}

void token_begin(struct token_writer *w, struct mux_out *out)
{
	w->out = out;
	w->run_start = -1;
	w->last_run_end = 0;
	if (w->packer)
		packer_begin(w->packer, out);
}

static void put_u8(struct mux_out *out, unsigned v)
{
	char c = (char)v;

	mux_out_data(out, (struct bytes){&c, 1});
}

/* The run of consecutive blocks that was gathered, as one token. */
static void put_run(struct token_writer *w)
{
	int32_t more, distance;

	if (w->run_start < 0)
		return;
	more = w->run_end - w->run_start;
	distance = w->run_start - w->last_run_end;
	if (distance >= 0 && distance <= 63) {
		put_u8(w->out, (more ? TOKEN_REL_RUN : TOKEN_REL) | (unsigned)distance);
	} else {
		put_u8(w->out, more ? TOKEN_LONG_RUN : TOKEN_LONG);
		mux_out_int(w->out, w->run_start);
	}
	if (more) {
		put_u8(w->out, (unsigned)more & 0xff);
		put_u8(w->out, (unsigned)more >> 8);
	}
	w->last_run_end = w->run_end;
	w->run_start = -1;
}

void token_literal(struct token_writer *w, struct bytes data)
{
	if (!data.n)
		return;
	if (w->packer) {
		put_run(w);
		packer_add(w->packer, data);
		return;
	}
	while (data.n) {
		size_t n = data.n < LITERAL_MAX ? data.n : LITERAL_MAX;

		mux_out_int(w->out, (int32_t)n);
		mux_out_data(w->out, (struct bytes){data.p, n});
		data.p += n;
		data.n -= n;
	}
}

void token_block(struct token_writer *w, int32_t block)
{
	if (!w->packer) {
		mux_out_int(w->out, -(block + 1));
		return;
	}
	packer_flush(w->packer); /* the literals before it */
	if (w->run_start >= 0 && block == w->run_end + 1 && block < w->run_start + RUN_MAX) {
		w->run_end = block;
		return;
	}
	put_run(w);
	w->run_start = w->run_end = block;
}

void token_end(struct token_writer *w)
{
	if (!w->packer) {
		mux_out_int(w->out, 0);
		return;
	}
	put_run(w);
	packer_flush(w->packer);
	put_u8(w->out, TOKEN_END);
}
