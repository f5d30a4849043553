#include "rsync/delta.h"

#include "base/mem.h"

#define LITERAL_FLUSH (32u << 10)
#define WASTE_FREE    (64u << 20) /* bytes of strong sums in vain that nobody minds */
#define WASTE_FACTOR  4
#define STEPS_FREE    (64u << 20) /* the same for blocks that were passed by in their buckets */
#define STEPS_FACTOR  8

struct delta {
	const struct sums *sums;
	struct sum_seed seed;
	struct hasher *hasher;
	struct token_writer *out;
	bool tired; /* too much was looked at in vain: literals only */

	uint32_t mask;  /* of the hash table */
	int32_t *heads; /* first block of a bucket, -1: none */
	int32_t *nexts;
	int32_t last; /* block matched last: its successor is tried first */

	struct buf window; /* [0, pos) unsent literals, [pos, n) not searched yet */
	size_t pos;
	struct weak weak; /* of the block at pos */
	bool weak_known;
	uint64_t fed, wasted, steps;
};

static uint32_t bucket_of(const struct delta *d, uint32_t weak)
{
	return ((weak ^ weak >> 16) * 0x9e3779b1u) >> 4 & d->mask;
}

struct delta *delta_new(const struct sums *sums, struct sum_seed seed, struct hasher *hasher,
                        struct token_writer *out)
{
	struct delta *d = mem_alloc(sizeof(*d));
	int32_t full = sums->head.count - (sums->head.remainder ? 1 : 0);
	uint32_t size = 256;

	d->sums = sums;
	d->seed = seed;
	d->hasher = hasher;
	d->out = out;
	d->last = -2;
	while (size < (uint32_t)sums->head.count && size < 1u << 26)
		size *= 2;
	d->mask = size - 1;
	d->heads = mem_array(size, sizeof(*d->heads));
	d->nexts = mem_array((size_t)sums->head.count, sizeof(*d->nexts));
	memset(d->heads, 0xff, size * sizeof(*d->heads));
	/* Backwards, so that a bucket lists its blocks from the front. */
	for (int32_t i = full - 1; i >= 0; i--) {
		uint32_t b = bucket_of(d, sums->weak[i]);

		d->nexts[i] = d->heads[b];
		d->heads[b] = i;
	}
	buf_init(&d->window, SIZE_MAX / 2);
	return d;
}

void delta_free(struct delta *d)
{
	if (!d)
		return;
	buf_done(&d->window);
	free(d->heads);
	free(d->nexts);
	free(d);
}

static bool same_strong(const struct delta *d, int32_t i, const unsigned char *sum)
{
	size_t n = (size_t)d->sums->head.strong;

	return memcmp(d->sums->strong + (size_t)i * n, sum, n) == 0;
}

/* The receiver's block that equals `block`, by weak and strong sum, or -1. */
static int32_t find_block(struct delta *d, uint32_t weak, struct bytes block)
{
	int32_t full = d->sums->head.count - (d->sums->head.remainder ? 1 : 0);
	int32_t successor = d->last + 1;
	unsigned char sum[SUM_BYTES_MAX];
	bool summed = false;
	int tries = 0;

	if (successor > 0 && successor < full && d->sums->weak[successor] == weak) {
		hasher_block(d->hasher, d->seed, block, sum);
		summed = true;
		if (same_strong(d, successor, sum))
			return successor;
	}
	for (int32_t i = d->heads[bucket_of(d, weak)]; i >= 0 && tries < DELTA_CANDIDATES;
	     i = d->nexts[i], tries++) {
		if (d->sums->weak[i] != weak)
			continue;
		if (!summed)
			hasher_block(d->hasher, d->seed, block, sum);
		summed = true;
		if (same_strong(d, i, sum))
			return i;
	}
	if (summed)
		d->wasted += block.n;
	d->steps += (uint64_t)tries;
	d->tired = d->wasted > WASTE_FREE + WASTE_FACTOR * d->fed ||
	           d->steps > STEPS_FREE + STEPS_FACTOR * d->fed;
	return -1;
}

/* Sends window[0, pos) as literals, then drops it and `skip` bytes behind it. */
static void flush(struct delta *d, size_t skip)
{
	token_literal(d->out, (struct bytes){d->window.p, d->pos});
	buf_drop(&d->window, d->pos + skip);
	d->pos = 0;
}

/* Goes on as long as there is a whole block at pos. Matched blocks and literals that were sent stay
 * in front of the window until the end: one move of the rest instead of many. */
static void search(struct delta *d)
{
	size_t n = (size_t)d->sums->head.block;
	size_t start = 0; /* window[start, pos) are unsent literals */

	while (!d->tired && d->window.n - d->pos >= n) {
		struct bytes block = {d->window.p + d->pos, n};
		int32_t i;

		if (!d->weak_known)
			d->weak = weak_of(block);
		d->weak_known = true;
		i = find_block(d, weak_value(d->weak), block);
		if (i >= 0) {
			token_literal(d->out, (struct bytes){d->window.p + start, d->pos - start});
			token_block(d->out, i);
			d->last = i;
			d->pos += n;
			start = d->pos;
			d->weak_known = false;
			continue;
		}
		if (d->window.n - d->pos == n)
			break; /* the byte to roll in has not come yet */
		weak_roll(&d->weak, n, block.p[0], block.p[n]);
		d->pos++;
		if (d->pos - start >= LITERAL_FLUSH) {
			token_literal(d->out, (struct bytes){d->window.p + start, d->pos - start});
			start = d->pos;
		}
	}
	d->pos -= start;
	buf_drop(&d->window, start);
}

void delta_feed(struct delta *d, struct bytes slice)
{
	d->fed += slice.n;
	buf_add_bytes(&d->window, slice);
	check(!d->window.overflowed);
	search(d);
	if (d->tired) {
		d->pos = d->window.n;
		flush(d, 0);
	}
}

/* The receiver's last block is shorter than the others and can only be the end of the content. */
static bool end_is_last_block(struct delta *d)
{
	const struct sum_head *head = &d->sums->head;
	size_t n = (size_t)head->remainder;
	int32_t i = head->count - 1;
	unsigned char sum[SUM_BYTES_MAX];
	struct bytes block;

	if (d->tired || !n || d->window.n - d->pos < n)
		return false;
	block = (struct bytes){d->window.p + d->window.n - n, n};
	if (weak_value(weak_of(block)) != d->sums->weak[i])
		return false;
	hasher_block(d->hasher, d->seed, block, sum);
	return same_strong(d, i, sum);
}

void delta_end(struct delta *d)
{
	if (end_is_last_block(d)) {
		d->pos = d->window.n - (size_t)d->sums->head.remainder;
		flush(d, (size_t)d->sums->head.remainder);
		token_block(d->out, d->sums->head.count - 1);
	} else {
		d->pos = d->window.n;
		flush(d, 0);
	}
}
