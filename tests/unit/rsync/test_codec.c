#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <errno.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/mem.h"
#include "rsync/codec.h"
#include "rsync/mux.h"
#include "random.h"

#define SEED   12345
#define ROUNDS 200000

static uint64_t random_state = SEED;

static uint64_t next_random(void)
{
	return random_next(&random_state);
}

/* All magnitudes alike. */
static uint64_t random_number(void)
{
	uint64_t v = next_random();

	return v >> (next_random() % 64);
}

static void assert_bytes(struct buf *b, const char *want, size_t n)
{
	assert_int_equal(b->n, n);
	assert_memory_equal(b->p, want, n);
	buf_clear(b);
}

static void varint_vectors_match(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 64);
	codec_put_varint(&b, 0);
	assert_bytes(&b, "\0", 1);
	codec_put_varint(&b, 127);
	assert_bytes(&b, "\x7f", 1);
	codec_put_varint(&b, 128);
	assert_bytes(&b, "\x80\x80", 2);
	codec_put_varint(&b, 16383);
	assert_bytes(&b, "\xbf\xff", 2);
	codec_put_varint(&b, 16384);
	assert_bytes(&b, "\xc0\x00\x40", 3);
	codec_put_varint(&b, 1000000);
	assert_bytes(&b, "\xcf\x40\x42", 3);
	codec_put_varint(&b, (uint32_t)-2);
	assert_bytes(&b, "\xf0\xfe\xff\xff\xff", 5);
	buf_done(&b);
}

static void varlong_vectors_match(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 64);
	codec_put_varlong(&b, 0, 3);
	assert_bytes(&b, "\0\0\0", 3);
	codec_put_varlong(&b, 128, 3);
	assert_bytes(&b, "\0\x80\0", 3);
	codec_put_varlong(&b, 1000000, 3);
	assert_bytes(&b, "\x0f\x40\x42", 3);
	codec_put_varlong(&b, 1000000, 4);
	assert_bytes(&b, "\0\x40\x42\x0f", 4);
	codec_put_varlong(&b, -1, 4);
	assert_bytes(&b, "\xf8\xff\xff\xff\xff\xff\xff\xff\xff", 9);
	buf_done(&b);
}

static void numbers_survive_a_round_trip(void **state)
{
	struct buf b;

	(void)state;
	print_message("# seed %d\n", SEED);
	buf_init(&b, 64);
	for (int i = 0; i < ROUNDS; i++) {
		uint64_t v = random_number();
		unsigned min = 3 + (unsigned)(next_random() & 1);
		struct cursor c;
		uint32_t small;
		int64_t large;

		buf_clear(&b);
		codec_put_varint(&b, (uint32_t)v);
		codec_put_varlong(&b, (int64_t)v, min);
		c = cursor_of(buf_bytes(&b));
		assert_int_equal(codec_get_varint(&c, &small), 0);
		assert_int_equal(small, (uint32_t)v);
		assert_int_equal(codec_get_varlong(&c, min, &large), 0);
		assert_true(large == (int64_t)v);
		assert_int_equal(cursor_left(&c), 0);
	}
	buf_done(&b);
}

static void indexes_survive_a_round_trip(void **state)
{
	struct ndx_state out = ndx_state_start(), in = ndx_state_start();
	struct buf b;

	(void)state;
	buf_init(&b, 64);
	for (int i = 0; i < ROUNDS; i++) {
		int32_t ndx = (int32_t)(random_number() & INT32_MAX), got;
		struct cursor c;

		if (i % 7 == 0)
			ndx = -1 - (int32_t)(random_number() & 0xffff);
		if (i % 3 == 0)
			ndx = out.positive + (int32_t)(next_random() % 300);
		if (ndx < -INT32_MAX || ndx == INT32_MAX)
			ndx = 0;
		buf_clear(&b);
		codec_put_ndx(&b, &out, ndx);
		for (size_t cut = 0; cut < b.n; cut++) {
			struct ndx_state before = in;

			c = cursor_of((struct bytes){b.p, cut});
			assert_int_equal(codec_get_ndx(&c, &in, &got), -EAGAIN);
			assert_memory_equal(&before, &in, sizeof(in));
		}
		c = cursor_of(buf_bytes(&b));
		assert_int_equal(codec_get_ndx(&c, &in, &got), 0);
		assert_int_equal(got, ndx);
		assert_int_equal(cursor_left(&c), 0);
	}
	buf_done(&b);
}

static void impossible_numbers_are_breaches(void **state)
{
	struct ndx_state ndx = ndx_state_start();
	struct cursor c;
	uint32_t v;
	int64_t l;
	int32_t i;

	(void)state;
	c = cursor_of(BYTES("\xf8\0\0\0\0\0\0"));
	assert_int_equal(codec_get_varint(&c, &v), -EPROTO);
	c = cursor_of(BYTES("\xfc\0\0\0\0\0\0\0\0\0\0"));
	assert_int_equal(codec_get_varlong(&c, 4, &l), -EPROTO);
	c = cursor_of(BYTES("\xfe\xff\xff\xff\xff\x05"));
	assert_int_equal(codec_get_ndx(&c, &ndx, &i), 0);
	assert_int_equal(i, INT32_MAX);
	assert_int_equal(codec_get_ndx(&c, &ndx, &i), -EPROTO);
}

static void strings_have_one_or_two_bytes_of_length(void **state)
{
	char text[300] = {1};
	struct bytes got;
	struct cursor c;
	struct buf b;

	(void)state;
	buf_init(&b, 1024);
	codec_put_vstring(&b, (struct bytes){text, 127});
	assert_int_equal(b.n, 128);
	codec_put_vstring(&b, (struct bytes){text, 300});
	assert_int_equal(b.n, 128 + 302);
	c = cursor_of(buf_bytes(&b));
	assert_int_equal(codec_get_vstring(&c, 255, &got), 0);
	assert_int_equal(got.n, 127);
	assert_int_equal(codec_get_vstring(&c, 255, &got), -EPROTO);
	buf_done(&b);
}

static void frames_gather_until_they_are_looked_at(void **state)
{
	struct mux_out o;

	(void)state;
	mux_out_init(&o);
	mux_out_data(&o, BYTES("raw"));
	o.framed = true;
	mux_out_data(&o, BYTES("ab"));
	mux_out_data(&o, BYTES("c"));
	mux_out_message_int(&o, MUX_NO_SEND, 5);
	mux_out_data(&o, BYTES("d"));
	mux_out_seal(&o);
	mux_out_data(&o, BYTES("e"));
	assert_int_equal(mux_out_pending(&o).n, 3 + 7 + 8 + 5 + 5);
	assert_memory_equal(mux_out_pending(&o).p,
	                    "raw\3\0\0\7abc\4\0\0\x6d\5\0\0\0\1\0\0\7d\1\0\0\7e", 28);
	mux_out_sent(&o, 27);
	assert_int_equal(mux_out_pending(&o).n, 1);
	mux_out_sent(&o, 1);
	assert_int_equal(mux_out_pending(&o).n, 0);
	mux_out_done(&o);
}

/* Pieces of an input cut into feeds of `step` bytes, written out one after the other. */
static void read_cut(struct bytes all, size_t step, struct buf *out)
{
	struct mux_in in;

	mux_in_init(&in);
	while (all.n) {
		struct bytes part = {all.p, step < all.n ? step : all.n};
		struct mux_piece piece;

		all.p += part.n;
		all.n -= part.n;
		for (;;) {
			assert_int_equal(mux_in_next(&in, &part, &piece), 0);
			if (piece.kind == MUX_PIECE_NONE)
				break;
			if (piece.kind == MUX_PIECE_MESSAGE)
				buf_printf(out, "<%u:", piece.code);
			buf_add_bytes(out, piece.payload);
			if (piece.kind == MUX_PIECE_MESSAGE)
				buf_printf(out, ">");
		}
	}
	mux_in_done(&in);
}

static void frames_cut_anywhere_read_the_same(void **state)
{
	static const struct bytes all = {
	        "\3\0\0\7abc\0\0\0\7\4\0\0\x6b\1\2\3\4\2\0\0\7de\0\0\0\x31\1\0\0\7f",
	        7 + 4 + 8 + 6 + 4 + 5};
	struct buf out;

	(void)state;
	buf_init(&out, 256);
	for (size_t step = 1; step <= all.n; step++) {
		buf_clear(&out);
		read_cut(all, step, &out);
		assert_int_equal(out.n, 21);
		assert_memory_equal(out.p, "abc<100:\1\2\3\4>de<42:>f", 21);
	}
	buf_done(&out);
}

static void frames_out_of_bounds_are_breaches(void **state)
{
	struct mux_piece piece;
	struct mux_in in;
	struct bytes low = {"\0\0\0\6", 4}, large = {"\1\x18\0\x09", 4};

	(void)state;
	mux_in_init(&in);
	assert_int_equal(mux_in_next(&in, &low, &piece), -EPROTO);
	mux_in_done(&in);
	mux_in_init(&in);
	assert_int_equal(mux_in_next(&in, &large, &piece), -EPROTO);
	mux_in_done(&in);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(varint_vectors_match),
	        cmocka_unit_test(varlong_vectors_match),
	        cmocka_unit_test(numbers_survive_a_round_trip),
	        cmocka_unit_test(indexes_survive_a_round_trip),
	        cmocka_unit_test(impossible_numbers_are_breaches),
	        cmocka_unit_test(strings_have_one_or_two_bytes_of_length),
	        cmocka_unit_test(frames_gather_until_they_are_looked_at),
	        cmocka_unit_test(frames_cut_anywhere_read_the_same),
	        cmocka_unit_test(frames_out_of_bounds_are_breaches),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
