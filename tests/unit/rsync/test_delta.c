/* Block sums, block search and tokens, against a receiver of a few lines. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <errno.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/mem.h"
#include "rsync/delta.h"
#include "random.h"
#include "unpack.h"

#define SEED 77

static uint64_t random_state = SEED;

static uint32_t next_random(void)
{
	return (uint32_t)(random_next(&random_state) >> 32);
}

static const struct sum_seed seed = {0x89abcdef, true};

static struct sums sums_of(enum strong_id id, struct bytes old, int32_t block, int32_t strong)
{
	struct sum_head head = {.block = block, .strong = strong};
	struct hasher *h = hasher_new(id);
	struct sums s;

	head.count = (int32_t)((old.n + (size_t)block - 1) / (size_t)block);
	head.remainder = (int32_t)(old.n % (size_t)block);
	sums_init(&s, &head);
	for (int32_t i = 0; i < head.count; i++) {
		size_t at = (size_t)i * (size_t)block;
		struct bytes b = {old.p + at,
		                  old.n - at < (size_t)block ? old.n - at : (size_t)block};
		unsigned char sum[SUM_BYTES_MAX];

		s.weak[i] = weak_value(weak_of(b));
		hasher_block(h, seed, b, sum);
		memcpy(s.strong + (size_t)i * (size_t)strong, sum, (size_t)strong);
	}
	s.got = head.count;
	hasher_free(h);
	return s;
}

/* What a receiver without compression makes of the tokens. Returns literal bytes. */
static size_t rebuild(struct bytes tokens, struct bytes old, const struct sum_head *head,
                      struct buf *out)
{
	struct cursor c = cursor_of(tokens);
	size_t literal = 0;

	for (;;) {
		int32_t n = (int32_t)cursor_le32(&c);

		assert_false(c.bad);
		if (!n)
			break;
		if (n > 0) {
			assert_true(n <= 32768);
			buf_add_bytes(out, cursor_take(&c, (size_t)n));
			literal += (size_t)n;
		} else {
			size_t at = (size_t)(-(n + 1)) * (size_t)head->block;

			assert_true(at < old.n);
			buf_add(out, old.p + at,
			        old.n - at < (size_t)head->block ? old.n - at
			                                         : (size_t)head->block);
		}
	}
	assert_int_equal(cursor_left(&c), 0);
	return literal;
}

/* Sends `now` over `old` in slices and rebuilds it. Returns the bytes of tokens. */
static size_t transfer(enum strong_id id, struct bytes old, struct bytes now, int32_t block,
                       enum session_compress method, size_t slice)
{
	struct sums s = sums_of(id, old, block, strong_table[id].size < 8 ? 2 : 8);
	struct token_writer *w = token_writer_new(method, 0);
	struct hasher *h = hasher_new(id);
	struct mux_out o;
	struct bytes rest = now;
	struct delta *d;
	struct buf got;
	size_t n;

	mux_out_init(&o);
	buf_init(&got, 64u << 20);
	token_begin(w, &o);
	d = delta_new(&s, seed, h, w);
	while (rest.n) {
		size_t part = slice < rest.n ? slice : rest.n;

		delta_feed(d, (struct bytes){rest.p, part});
		rest.p += part;
		rest.n -= part;
	}
	delta_end(d);
	token_end(w);
	n = mux_out_pending(&o).n;
	if (method == SESSION_COMPRESS_NO) {
		(void)rebuild(mux_out_pending(&o), old, &s.head, &got);
	} else {
		struct unpack *u = unpack_new(method);

		unpack_file(u, mux_out_pending(&o), old, (size_t)block, &got);
		unpack_free(u);
	}
	assert_int_equal(got.n, now.n);
	assert_true(bytes_equal(buf_bytes(&got), now));
	buf_done(&got);
	delta_free(d);
	sums_done(&s);
	token_writer_free(w);
	hasher_free(h);
	mux_out_done(&o);
	return n;
}

/* Edits of all kinds: bytes overwritten, cut out, put in. */
static size_t edit(char *p, size_t n, size_t max)
{
	for (unsigned edits = next_random() % 6; edits; edits--) {
		size_t at = n ? next_random() % n : 0, k = next_random() % 200;

		switch (next_random() % 3) {
		case 0:
			if (n)
				p[at] ^= 0x55;
			break;
		case 1:
			if (k > n - at)
				k = n - at;
			memmove(p + at, p + at + k, n - at - k);
			n -= k;
			break;
		default:
			if (n + k > max)
				break;
			memmove(p + at + k, p + at, n - at);
			memset(p + at, 'x', k);
			n += k;
			break;
		}
	}
	return n;
}

static const enum session_compress methods[] = {SESSION_COMPRESS_NO, SESSION_COMPRESS_ZSTD,
                                                SESSION_COMPRESS_LZ4, SESSION_COMPRESS_ZLIBX};

static void random_edits_are_rebuilt(void **state)
{
	enum { MAX = 40000 };
	autofree char *old = mem_alloc(MAX), *now = mem_alloc(MAX);

	(void)state;
	print_message("# seed %d\n", SEED);
	for (int i = 0; i < 300; i++) {
		enum strong_id id = (enum strong_id)(i % STRONG_IDS);
		size_t n = 1 + next_random() % 30000, m;
		int32_t block = (int32_t)(1 + next_random() % 1500);
		bool alike = i % 5 == 0; /* many equal blocks */

		for (size_t k = 0; k < n; k++)
			old[k] = (char)(alike ? k % 3 : next_random());
		memcpy(now, old, n);
		m = edit(now, n, MAX);
		(void)transfer(id, (struct bytes){old, n}, (struct bytes){now, m}, block,
		               methods[(i / STRONG_IDS) % (int)ARRAY_LEN(methods)],
		               1 + next_random() % 20000);
	}
}

static void unchanged_content_is_all_blocks(void **state)
{
	size_t n = 1000000;
	autofree char *p = mem_alloc(n);

	(void)state;
	for (size_t i = 0; i < n; i++)
		p[i] = (char)next_random();
	for (int id = 0; id < STRONG_IDS; id++) {
		struct bytes all = {p, n};

		assert_int_equal(
		        transfer((enum strong_id)id, all, all, 1000, SESSION_COMPRESS_NO, 262144),
		        4 * 1000 + 4);
		for (size_t i = 1; i < ARRAY_LEN(methods); i++)
			assert_true(transfer((enum strong_id)id, all, all, 1000, methods[i], 7777) <
			            10);
		assert_int_equal(
		        transfer((enum strong_id)id, all, all, 999, SESSION_COMPRESS_NO, 262144),
		        4 * 1002 + 4);
	}
}

static void equal_weak_sums_do_not_make_it_quadratic(void **state)
{
	enum { BLOCK = 4096, COUNT = 50000 };
	size_t n = 4u << 20;
	autofree char *p = mem_alloc(n); /* zeros: weak sum 0 at every offset */
	struct sum_head head = {COUNT, BLOCK, 16, 0};
	struct token_writer *w = token_writer_new(SESSION_COMPRESS_NO, 0);
	struct hasher *h = hasher_new(STRONG_XXH128);
	struct mux_out o;
	struct delta *d;
	struct sums s;
	struct buf got;

	(void)state;
	sums_init(&s, &head); /* all weak sums 0, no strong one right */
	mux_out_init(&o);
	buf_init(&got, 2 * n);
	token_begin(w, &o);
	d = delta_new(&s, seed, h, w);
	for (size_t i = 0; i < n; i += 1u << 18)
		delta_feed(d, (struct bytes){p + i, 1u << 18});
	delta_end(d);
	token_end(w);
	assert_int_equal(rebuild(mux_out_pending(&o), (struct bytes){p, 0}, &head, &got), n);
	buf_done(&got);
	delta_free(d);
	sums_done(&s);
	token_writer_free(w);
	hasher_free(h);
	mux_out_done(&o);
}

/* Blocks whose weak sums fall into one bucket without being equal cost no strong sum, but the walk
 * past them; so that a block that comes after too many of them is not looked for any more. */
static void crowded_bucket_does_not_make_it_quadratic(void **state)
{
	enum { BLOCK = 16, COUNT = 2000 };
	static const char needle[BLOCK] = "needle in hay..";
	size_t n = (256u << 10) + BLOCK;
	autofree char *p = mem_alloc(n); /* zeros: weak sum 0, and the needle at the end */
	struct sum_head head = {COUNT, BLOCK, 16, 0};
	struct token_writer *w = token_writer_new(SESSION_COMPRESS_NO, 0);
	struct hasher *h = hasher_new(STRONG_XXH128);
	struct mux_out o;
	struct delta *d;
	struct sums s;
	struct buf got;

	(void)state;
	sums_init(&s, &head);
	for (int32_t i = 0; i < COUNT; i++)
		s.weak[i] = 0x80008000u; /* shares the bucket of 0, whatever their number */
	s.weak[COUNT - 1] = weak_value(weak_of((struct bytes){needle, BLOCK}));
	hasher_block(h, seed, (struct bytes){needle, BLOCK}, s.strong + (COUNT - 1) * 16);
	memcpy(p + n - BLOCK, needle, BLOCK);
	mux_out_init(&o);
	buf_init(&got, 2 * n);
	token_begin(w, &o);
	d = delta_new(&s, seed, h, w);
	delta_feed(d, (struct bytes){p, n});
	delta_end(d);
	token_end(w);
	assert_int_equal(rebuild(mux_out_pending(&o), (struct bytes){p, 0}, &head, &got), n);
	buf_done(&got);
	delta_free(d);
	sums_done(&s);
	token_writer_free(w);
	hasher_free(h);
	mux_out_done(&o);
}

static void weak_sum_rolls_to_the_same_value(void **state)
{
	char p[3000];
	struct weak w;

	(void)state;
	for (size_t i = 0; i < sizeof(p); i++)
		p[i] = (char)next_random();
	w = weak_of((struct bytes){p, 701});
	for (size_t i = 0; i + 701 < sizeof(p); i++) {
		weak_roll(&w, 701, p[i], p[i + 701]);
		assert_int_equal(weak_value(w),
		                 weak_value(weak_of((struct bytes){p + i + 1, 701})));
	}
}

static void digest_in_pieces_is_the_digest_of_the_whole(void **state)
{
	char p[5000];

	(void)state;
	for (size_t i = 0; i < sizeof(p); i++)
		p[i] = (char)next_random();
	for (int id = 0; id < STRONG_IDS; id++) {
		struct hasher *h = hasher_new((enum strong_id)id);
		unsigned char one[SUM_BYTES_MAX], two[SUM_BYTES_MAX], block[SUM_BYTES_MAX];

		hasher_begin(h);
		hasher_update(h, (struct bytes){p, sizeof(p)});
		hasher_end(h, one);
		hasher_block(h, (struct sum_seed){0, true}, (struct bytes){p, sizeof(p)}, block);
		hasher_begin(h);
		for (size_t i = 0; i < sizeof(p); i += 7)
			hasher_update(h,
			              (struct bytes){p + i, sizeof(p) - i < 7 ? sizeof(p) - i : 7});
		hasher_end(h, two);
		assert_memory_equal(one, two, sizeof(one));
		/* Without a seed the block sum is the plain digest. */
		assert_memory_equal(one, block, sizeof(one));
		hasher_free(h);
	}
}

static void sum_heads_out_of_bounds_are_breaches(void **state)
{
	static const struct sum_head bad[] = {{-1, 700, 2, 0},  {1, 0, 2, 0},    {1, 131073, 2, 0},
	                                      {1, 700, 1, 0},   {1, 700, 17, 0}, {1, 700, -1, 0},
	                                      {1, 700, 2, 701}, {1, 700, 2, -1}, {1, -700, 2, 0}};
	struct sum_head ret;
	struct buf b;

	(void)state;
	buf_init(&b, 64);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct cursor c;

		buf_clear(&b);
		sum_head_put(&b, &bad[i]);
		c = cursor_of(buf_bytes(&b));
		assert_int_equal(sum_head_get(&c, 16, &ret), -EPROTO);
	}
	buf_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(random_edits_are_rebuilt),
	        cmocka_unit_test(unchanged_content_is_all_blocks),
	        cmocka_unit_test(equal_weak_sums_do_not_make_it_quadratic),
	        cmocka_unit_test(crowded_bucket_does_not_make_it_quadratic),
	        cmocka_unit_test(weak_sum_rolls_to_the_same_value),
	        cmocka_unit_test(digest_in_pieces_is_the_digest_of_the_whole),
	        cmocka_unit_test(sum_heads_out_of_bounds_are_breaches),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
