#include "unpack.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <lz4.h>
#include <zlib.h>
#include <zstd.h>
#include "base/mem.h"

#define ROOM 65536
/* What stock rsync has room for behind a piece of lz4: the bound of 32 KiB. */
#define LZ4_ROOM LZ4_COMPRESSBOUND(32768)

struct unpack {
	enum session_compress method;
	z_stream z;
	ZSTD_DCtx *zstd;
};

struct unpack *unpack_new(enum session_compress method)
{
	struct unpack *u = mem_alloc(sizeof(*u));

	u->method = method;
	if (method == SESSION_COMPRESS_ZLIBX)
		assert_int_equal(inflateInit2(&u->z, -15), Z_OK);
	if (method == SESSION_COMPRESS_ZSTD)
		assert_non_null(u->zstd = ZSTD_createDCtx());
	return u;
}

void unpack_free(struct unpack *u)
{
	if (u->method == SESSION_COMPRESS_ZLIBX)
		inflateEnd(&u->z);
	ZSTD_freeDCtx(u->zstd);
	free(u);
}

static void inflate_more(z_stream *z, struct bytes in, struct buf *out)
{
	z->next_in = (Bytef *)(uintptr_t)in.p;
	z->avail_in = (uInt)in.n;
	do {
		char *p = buf_reserve(out, ROOM);
		int rc;

		assert_non_null(p);
		z->next_out = (Bytef *)p;
		z->avail_out = ROOM;
		rc = inflate(z, Z_SYNC_FLUSH);
		assert_true(rc == Z_OK || rc == Z_BUF_ERROR);
		out->n += ROOM - z->avail_out;
	} while (z->avail_out == 0);
}

static void zstd_more(ZSTD_DCtx *zstd, struct bytes in, struct buf *out)
{
	ZSTD_inBuffer from = {in.p, in.n, 0};
	size_t made;

	do {
		char *p = buf_reserve(out, ROOM);
		ZSTD_outBuffer to = {p, ROOM, 0};

		assert_non_null(p);
		assert_false(ZSTD_isError(ZSTD_decompressStream(zstd, &to, &from)));
		made = to.pos;
		out->n += made;
	} while (from.pos < from.size || made == ROOM);
}

static void take_piece(struct unpack *u, struct bytes piece, struct buf *out)
{
	if (u->method == SESSION_COMPRESS_ZLIBX) {
		inflate_more(&u->z, piece, out);
	} else if (u->method == SESSION_COMPRESS_ZSTD) {
		zstd_more(u->zstd, piece, out);
	} else {
		char *p = buf_reserve(out, LZ4_ROOM);
		int n = LZ4_decompress_safe(piece.p, p, (int)piece.n, LZ4_ROOM);

		assert_true(n > 0);
		out->n += (size_t)n;
	}
}

static void take_blocks(struct cursor *c, uint8_t flag, int32_t *block, struct bytes old,
                        size_t size, struct buf *out)
{
	int32_t run;

	if (flag & 0x80)
		*block += flag & 0x3f;
	else
		*block = (int32_t)cursor_le32(c);
	run = (flag & 0xc0) == 0xc0 || flag == 0x21 ? cursor_le16(c) : 0;
	for (;; ++*block) {
		size_t at = (size_t)*block * size;

		assert_true(at < old.n);
		buf_add(out, old.p + at, old.n - at < size ? old.n - at : size);
		if (!run--)
			break;
	}
}

void unpack_file(struct unpack *u, struct bytes tokens, struct bytes old, size_t block,
                 struct buf *out)
{
	struct cursor c = cursor_of(tokens);
	bool inflated = false;
	int32_t at = 0;
	uint8_t flag;

	if (u->method == SESSION_COMPRESS_ZLIBX)
		assert_int_equal(inflateReset(&u->z), Z_OK);
	while ((flag = cursor_u8(&c)) != 0) {
		assert_false(c.bad);
		if ((flag & 0xc0) == 0x40) {
			size_t n = (size_t)(flag & 0x3f) << 8 | cursor_u8(&c);

			assert_true(n > 0);
			take_piece(u, cursor_take(&c, n), out);
			inflated = u->method == SESSION_COMPRESS_ZLIBX;
			continue;
		}
		if (inflated) /* the end of the flush, which does not travel */
			inflate_more(&u->z, (struct bytes){"\0\0\xff\xff", 4}, out);
		inflated = false;
		take_blocks(&c, flag, &at, old, block, out);
	}
	assert_false(c.bad);
	assert_int_equal(cursor_left(&c), 0);
}
