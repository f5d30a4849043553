/* Literals by each method, made content again by the libraries that compressed them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include "base/mem.h"
#include "rsync/packer.h"
#include "rsync/token.h"
#include "random.h"
#include "unpack.h"

#define SEED 1977
#define BIG  (1u << 20)

static const enum session_compress methods[] = {SESSION_COMPRESS_ZSTD, SESSION_COMPRESS_LZ4,
                                                SESSION_COMPRESS_ZLIBX};

static uint64_t random_state = SEED;

static uint32_t next_random(void)
{
	return (uint32_t)(random_next(&random_state) >> 32);
}

static void fill_noise(char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (char)next_random();
}

static void fill_text(char *p, size_t n)
{
	static const char *const words[] = {"mark ", "batch ", "session ", "ledger\n", "look "};

	for (size_t at = 0; at < n;) {
		const char *w = words[next_random() % ARRAY_LEN(words)];

		for (; *w && at < n; w++)
			p[at++] = *w;
	}
}

/* One session's line, with nothing but literals. */
struct line {
	struct token_writer *w;
	struct unpack *u;
	enum session_compress method;
};

static struct line line_open(enum session_compress method, unsigned level)
{
	return (struct line){token_writer_new(method, level), unpack_new(method), method};
}

static void line_close(struct line *l)
{
	token_writer_free(l->w);
	unpack_free(l->u);
}

/* Returns the bytes on the wire. */
static size_t line_send(struct line *l, struct bytes content, size_t slice)
{
	struct mux_out o;
	struct bytes rest = content;
	struct buf got;
	size_t n;

	mux_out_init(&o);
	buf_init(&got, 4u * BIG);
	token_begin(l->w, &o);
	while (rest.n) {
		size_t part = rest.n < slice ? rest.n : slice;

		token_literal(l->w, (struct bytes){rest.p, part});
		rest.p += part;
		rest.n -= part;
	}
	token_end(l->w);
	n = mux_out_pending(&o).n;
	unpack_file(l->u, mux_out_pending(&o), BYTES(""), 1, &got);
	assert_int_equal(got.n, content.n);
	assert_true(bytes_equal(buf_bytes(&got), content));
	buf_done(&got);
	mux_out_done(&o);
	return n;
}

static void files_of_a_session_are_rebuilt_one_after_the_other(void **state)
{
	autofree char *noise = mem_alloc(BIG), *text = mem_alloc(BIG), *zeros = mem_alloc(BIG);
	const char *const contents[] = {noise, text, zeros};

	(void)state;
	print_message("# seed %d\n", SEED);
	fill_noise(noise, BIG);
	fill_text(text, BIG);
	for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
		struct line l = line_open(methods[i], 0);

		for (unsigned k = 0; k < 120; k++) {
			size_t max = k % 8 == 0 ? BIG : 40000, n = next_random() % (max + 1);

			if (k % 7 == 0)
				n = 0;
			(void)line_send(&l, (struct bytes){contents[k % 3], n},
			                1 + next_random() % 262144);
		}
		line_close(&l);
	}
}

/* Where a piece ends of what cannot be compressed: at its length, and beside it. */
static void noise_around_the_size_of_a_piece_is_rebuilt(void **state)
{
	static const size_t around[] = {1, 16303, 16383, 16384, 32606, 32768, 65536, 131072};
	autofree char *noise = mem_alloc(BIG);

	(void)state;
	fill_noise(noise, BIG);
	for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
		struct line l = line_open(methods[i], 0);

		for (size_t k = 0; k < ARRAY_LEN(around); k++)
			for (size_t n = around[k] - 1; n <= around[k] + 1; n++)
				assert_true(line_send(&l, (struct bytes){noise, n}, BIG) <
				            n + n / 100 + 64);
		line_close(&l);
	}
}

static void text_shrinks_and_noise_hardly_grows(void **state)
{
	autofree char *noise = mem_alloc(BIG), *text = mem_alloc(BIG);

	(void)state;
	fill_noise(noise, BIG);
	fill_text(text, BIG);
	for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
		struct line l = line_open(methods[i], 0);

		assert_true(line_send(&l, (struct bytes){text, BIG}, 262144) < BIG / 2);
		assert_true(line_send(&l, (struct bytes){noise, BIG}, 262144) < BIG + BIG / 100);
		line_close(&l);
	}
}

/* zstd has one stream for the session: what one file told, the next need not repeat. */
static void zstd_knows_the_files_before(void **state)
{
	struct line l = line_open(SESSION_COMPRESS_ZSTD, 0);
	char text[8000];
	size_t first, again;

	(void)state;
	fill_noise(text, sizeof(text));
	first = line_send(&l, (struct bytes){text, sizeof(text)}, sizeof(text));
	again = line_send(&l, (struct bytes){text, sizeof(text)}, sizeof(text));
	assert_true(first > sizeof(text));
	assert_true(again < sizeof(text) / 20);
	line_close(&l);
}

static void every_level_is_understood(void **state)
{
	static const unsigned levels[] = {1, 9, 19, 20};
	size_t n = 100000;
	autofree char *text = mem_alloc(n);

	(void)state;
	fill_text(text, n);
	for (size_t i = 0; i < ARRAY_LEN(methods); i++)
		for (size_t k = 0; k < ARRAY_LEN(levels); k++) {
			struct line l = line_open(methods[i], levels[k]);

			assert_true(line_send(&l, (struct bytes){text, n}, 30000) < n / 2);
			line_close(&l);
		}
}

static void method_is_the_one_wished_or_the_best_of_both(void **state)
{
	static const struct {
		const char *names;
		enum session_compress wish, choice;
	} cases[] = {
	        {"zstd lz4 zlibx zlib none", SESSION_COMPRESS_YES, SESSION_COMPRESS_ZSTD},
	        {"none zlib zlibx lz4", SESSION_COMPRESS_YES, SESSION_COMPRESS_LZ4},
	        {"zlibx zlib none", SESSION_COMPRESS_YES, SESSION_COMPRESS_ZLIBX},
	        {"zlib none", SESSION_COMPRESS_YES, SESSION_COMPRESS_NO},
	        {"", SESSION_COMPRESS_YES, SESSION_COMPRESS_NO},
	        {"zst zstdx", SESSION_COMPRESS_YES, SESSION_COMPRESS_NO},
	        {"zstd lz4", SESSION_COMPRESS_LZ4, SESSION_COMPRESS_LZ4},
	        {"lz4 zlibx", SESSION_COMPRESS_ZSTD, SESSION_COMPRESS_NO},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_int_equal(packer_choose(bytes_of(cases[i].names), cases[i].wish),
		                 cases[i].choice);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(files_of_a_session_are_rebuilt_one_after_the_other),
	        cmocka_unit_test(noise_around_the_size_of_a_piece_is_rebuilt),
	        cmocka_unit_test(text_shrinks_and_noise_hardly_grows),
	        cmocka_unit_test(zstd_knows_the_files_before),
	        cmocka_unit_test(every_level_is_understood),
	        cmocka_unit_test(method_is_the_one_wished_or_the_best_of_both),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
