#include "rsync/token.h"

#include <zlib.h>
#include "base/mem.h"

#define LITERAL_MAX  32768 /* rsync's CHUNK_SIZE: larger pieces are refused */
#define DEFLATED_MAX 16383 /* 14 bits of length */
#define DEFLATED_OUT 65536
#define RUN_MAX      65536

/* First bytes of the compressed form. */
enum token_flag {
	TOKEN_END = 0x00,
	TOKEN_LONG = 0x20,     /* le32 block */
	TOKEN_LONG_RUN = 0x21, /* le32 block, le16 how many follow it */
	TOKEN_DATA = 0x40,     /* | length >> 8, length & 255, data */
	TOKEN_REL = 0x80,      /* | distance from the end of the last run */
	TOKEN_REL_RUN = 0xc0,
};

struct token_writer {
	struct mux_out *out;
	bool compress;
	z_stream z;
	struct buf deflated;        /* output of one deflate flush */
	bool unflushed;             /* literals went into deflate since the last flush */
	int32_t run_start, run_end; /* blocks not written yet; run_start -1: none */
	int32_t last_run_end;
};

struct token_writer *token_writer_new(bool compress)
{
	struct token_writer *w = mem_alloc(sizeof(*w));

	w->compress = compress;
	buf_init(&w->deflated, 16u << 20);
	if (compress)
		check(deflateInit2(&w->z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -MAX_WBITS, 8,
		                   Z_DEFAULT_STRATEGY) == Z_OK);
	return w;
}

void token_writer_free(struct token_writer *w)
{
	if (!w)
		return;
	if (w->compress)
		(void)deflateEnd(&w->z);
	buf_done(&w->deflated);
	free(w);
}

void token_begin(struct token_writer *w, struct mux_out *out)
{
	w->out = out;
	w->run_start = -1;
	w->last_run_end = 0;
	w->unflushed = false;
	buf_clear(&w->deflated);
	if (w->compress)
		check(deflateReset(&w->z) == Z_OK);
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

static void put_deflated(struct token_writer *w, struct bytes data)
{
	while (data.n) {
		size_t n = data.n < DEFLATED_MAX ? data.n : DEFLATED_MAX;

		put_u8(w->out, TOKEN_DATA | (unsigned)(n >> 8));
		put_u8(w->out, (unsigned)n & 0xff);
		mux_out_data(w->out, (struct bytes){data.p, n});
		data.p += n;
		data.n -= n;
	}
}

static void run_deflate(struct token_writer *w, struct bytes data, int flush)
{
	w->z.next_in = (Bytef *)(uintptr_t)data.p; /* zlib does not write through it */
	w->z.avail_in = (uInt)data.n;
	do {
		char *p = buf_reserve(&w->deflated, DEFLATED_OUT);

		check(p); /* a flush yields little more than the slice that went in */
		w->z.next_out = (Bytef *)p;
		w->z.avail_out = DEFLATED_OUT;
		check(deflate(&w->z, flush) != Z_STREAM_ERROR);
		w->deflated.n += DEFLATED_OUT - w->z.avail_out;
	} while (w->z.avail_out == 0);
}

static void deflate_literal(struct token_writer *w, struct bytes data)
{
	put_run(w);
	while (data.n) {
		size_t n = data.n < LITERAL_MAX ? data.n : LITERAL_MAX;

		run_deflate(w, (struct bytes){data.p, n}, Z_NO_FLUSH);
		put_deflated(w, buf_bytes(&w->deflated));
		buf_clear(&w->deflated);
		data.p += n;
		data.n -= n;
	}
	w->unflushed = true;
}

/* Before a block or the end all literals must be out. The receiver adds the four bytes that end
 * every sync flush by itself. */
static void flush_literals(struct token_writer *w)
{
	struct bytes all;

	if (!w->unflushed)
		return;
	run_deflate(w, (struct bytes){NULL, 0}, Z_SYNC_FLUSH);
	all = buf_bytes(&w->deflated);
	check(all.n >= 4);
	put_deflated(w, (struct bytes){all.p, all.n - 4});
	buf_clear(&w->deflated);
	w->unflushed = false;
}

void token_literal(struct token_writer *w, struct bytes data)
{
	if (!data.n)
		return;
	if (w->compress) {
		deflate_literal(w, data);
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
	if (!w->compress) {
		mux_out_int(w->out, -(block + 1));
		return;
	}
	flush_literals(w);
	if (w->run_start >= 0 && block == w->run_end + 1 && block < w->run_start + RUN_MAX) {
		w->run_end = block;
		return;
	}
	put_run(w);
	w->run_start = w->run_end = block;
}

void token_end(struct token_writer *w)
{
	if (!w->compress) {
		mux_out_int(w->out, 0);
		return;
	}
	put_run(w);
	flush_literals(w);
	put_u8(w->out, TOKEN_END);
}
