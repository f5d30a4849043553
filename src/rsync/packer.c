#include "rsync/packer.h"

#include <lz4.h>
#include <zlib.h>
#include <zstd.h>
#include "base/mem.h"
#include "rsync/codec.h"

#define PIECE_MARK 0x40  /* | length >> 8, length & 255, data */
#define PIECE_MAX  16383 /* 14 bits of length */
#define ZSTD_MOST  19    /* what is beyond takes hundreds of MiB */
#define ZLIB_SLICE 32768
#define ZLIB_OUT   65536
#define ZLIB_TAIL                                                                                  \
	4 /* 00 00 ff ff, the end of each sync flush, which the receiver adds by itself            \
	   */
/* Each piece of lz4 is a block of its own, so what goes into one fits in one even if nothing in it
 * can be compressed. */
#define LZ4_SLICE 16303

_Static_assert(LZ4_COMPRESSBOUND(LZ4_SLICE) <= PIECE_MAX, "a block of lz4 is one piece");

struct packer {
	enum session_compress method;
	struct mux_out *out;
	bool unflushed; /* something was added since the last flush */
	z_stream z;
	ZSTD_CCtx *zstd;
	struct buf held;       /* LZ4: not compressed yet; ZLIBX: output not written yet */
	char piece[PIECE_MAX]; /* output of LZ4 and ZSTD */
};

const char *session_compress_name(enum session_compress method)
{
	switch (method) {
	case SESSION_COMPRESS_NO:
	case SESSION_COMPRESS_YES:
	case SESSION_COMPRESS_KINDS:
		break;
	case SESSION_COMPRESS_ZSTD:
		return "zstd";
	case SESSION_COMPRESS_LZ4:
		return "lz4";
	case SESSION_COMPRESS_ZLIBX:
		return "zlibx";
	}
	return NULL;
}

enum session_compress packer_choose(struct bytes names, enum session_compress wish)
{
	for (unsigned i = SESSION_COMPRESS_ZSTD; i < SESSION_COMPRESS_KINDS; i++) {
		enum session_compress method = (enum session_compress)i;

		if ((wish == SESSION_COMPRESS_YES || wish == method) &&
		    codec_names_hold(names, bytes_of(session_compress_name(method))))
			return method;
	}
	return SESSION_COMPRESS_NO;
}

static void zlib_init(struct packer *p, unsigned level)
{
	int n = (int)(level < Z_BEST_COMPRESSION ? level : Z_BEST_COMPRESSION);

	check(deflateInit2(&p->z, n ? n : Z_DEFAULT_COMPRESSION, Z_DEFLATED, -MAX_WBITS, 8,
	                   Z_DEFAULT_STRATEGY) == Z_OK);
}

static void zstd_init(struct packer *p, unsigned level)
{
	int n = (int)(level < ZSTD_MOST ? level : ZSTD_MOST); /* 0: its default, to zstd, too */

	p->zstd = ZSTD_createCCtx();
	check(p->zstd);
	check(!ZSTD_isError(ZSTD_CCtx_setParameter(p->zstd, ZSTD_c_compressionLevel, n)));
}

struct packer *packer_new(enum session_compress method, unsigned level)
{
	struct packer *p = mem_alloc(sizeof(*p));

	p->method = method;
	buf_init(&p->held, 16u << 20);
	if (method == SESSION_COMPRESS_ZLIBX)
		zlib_init(p, level);
	else if (method == SESSION_COMPRESS_ZSTD)
		zstd_init(p, level);
	else
		check(method == SESSION_COMPRESS_LZ4);
	return p;
}

void packer_free(struct packer *p)
{
	if (!p)
		return;
	if (p->method == SESSION_COMPRESS_ZLIBX)
		(void)deflateEnd(&p->z);
	ZSTD_freeCCtx(p->zstd);
	buf_done(&p->held);
	free(p);
}

/* For zlibx each file is a stream of its own, for zstd the whole session is one. */
void packer_begin(struct packer *p, struct mux_out *out)
{
	p->out = out;
	p->unflushed = false;
	buf_clear(&p->held);
	if (p->method == SESSION_COMPRESS_ZLIBX)
		check(deflateReset(&p->z) == Z_OK);
}

static void put_pieces(struct packer *p, struct bytes data)
{
	while (data.n) {
		size_t n = data.n < PIECE_MAX ? data.n : PIECE_MAX;
		char head[2] = {(char)(PIECE_MARK | n >> 8), (char)(n & 0xff)};

		mux_out_data(p->out, (struct bytes){head, sizeof(head)});
		mux_out_data(p->out, (struct bytes){data.p, n});
		data.p += n;
		data.n -= n;
	}
}

/* --- zlibx --- */

static void zlib_run(struct packer *p, struct bytes data, int flush)
{
	p->z.next_in = (Bytef *)(uintptr_t)data.p; /* zlib does not write through it */
	p->z.avail_in = (uInt)data.n;
	do {
		char *at = buf_reserve(&p->held, ZLIB_OUT);

		check(at); /* a flush yields little more than the slice that went in */
		p->z.next_out = (Bytef *)at;
		p->z.avail_out = ZLIB_OUT;
		check(deflate(&p->z, flush) != Z_STREAM_ERROR);
		p->held.n += ZLIB_OUT - p->z.avail_out;
	} while (p->z.avail_out == 0);
}

static void zlib_add(struct packer *p, struct bytes data)
{
	while (data.n) {
		size_t n = data.n < ZLIB_SLICE ? data.n : ZLIB_SLICE;

		zlib_run(p, (struct bytes){data.p, n}, Z_NO_FLUSH);
		put_pieces(p, buf_bytes(&p->held));
		buf_clear(&p->held);
		data.p += n;
		data.n -= n;
	}
}

static void zlib_flush(struct packer *p)
{
	zlib_run(p, (struct bytes){NULL, 0}, Z_SYNC_FLUSH);
	check(p->held.n >= ZLIB_TAIL);
	put_pieces(p, (struct bytes){p->held.p, p->held.n - ZLIB_TAIL});
	buf_clear(&p->held);
}

/* --- lz4 --- */

static void lz4_flush(struct packer *p)
{
	int n;

	if (!p->held.n)
		return;
	n = LZ4_compress_default(p->held.p, p->piece, (int)p->held.n, PIECE_MAX);
	check(n > 0);
	put_pieces(p, (struct bytes){p->piece, (size_t)n});
	buf_clear(&p->held);
}

static void lz4_add(struct packer *p, struct bytes data)
{
	while (data.n) {
		size_t room = LZ4_SLICE - p->held.n, n = data.n < room ? data.n : room;

		buf_add(&p->held, data.p, n);
		data.p += n;
		data.n -= n;
		if (p->held.n == LZ4_SLICE)
			lz4_flush(p);
	}
}

/* --- zstd --- */

static void zstd_run(struct packer *p, struct bytes data, ZSTD_EndDirective end)
{
	ZSTD_inBuffer in = {data.p, data.n, 0};
	bool more;

	do {
		ZSTD_outBuffer out = {p->piece, PIECE_MAX, 0};
		size_t left = ZSTD_compressStream2(p->zstd, &out, &in, end);

		check(!ZSTD_isError(left));
		put_pieces(p, (struct bytes){p->piece, out.pos});
		more = end == ZSTD_e_continue ? in.pos < in.size : left > 0;
	} while (more);
}

/* --- all --- */

void packer_add(struct packer *p, struct bytes data)
{
	if (!data.n)
		return;
	p->unflushed = true;
	if (p->method == SESSION_COMPRESS_ZLIBX)
		zlib_add(p, data);
	else if (p->method == SESSION_COMPRESS_LZ4)
		lz4_add(p, data);
	else
		zstd_run(p, data, ZSTD_e_continue);
}

void packer_flush(struct packer *p)
{
	if (!p->unflushed)
		return;
	p->unflushed = false;
	if (p->method == SESSION_COMPRESS_ZLIBX)
		zlib_flush(p);
	else if (p->method == SESSION_COMPRESS_LZ4)
		lz4_flush(p);
	else
		zstd_run(p, (struct bytes){NULL, 0}, ZSTD_e_flush);
}
