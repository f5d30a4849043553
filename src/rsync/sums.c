#include "rsync/sums.h"

#include <errno.h>
#include <openssl/evp.h>
#include <xxhash.h>
#include "base/mem.h"
#include "rsync/codec.h"

const struct strong strong_table[STRONG_IDS] = {
        [STRONG_XXH128] = {"xxh128", 16},
        [STRONG_XXH3] = {"xxh3", 8},
        [STRONG_XXH64] = {"xxh64", 8},
        [STRONG_MD5] = {"md5", 16},
};

struct weak weak_of(struct bytes block)
{
	const signed char *p = (const signed char *)block.p;
	struct weak w = {0, 0};
	size_t i = 0;

	/* Four bytes at a time: the compiler keeps all in registers. */
	for (; i + 4 <= block.n; i += 4) {
		w.b += 4 * w.a + (uint32_t)(4 * p[i] + 3 * p[i + 1] + 2 * p[i + 2] + p[i + 3]);
		w.a += (uint32_t)(p[i] + p[i + 1] + p[i + 2] + p[i + 3]);
	}
	for (; i < block.n; i++) {
		w.a += (uint32_t)p[i];
		w.b += w.a;
	}
	return w;
}

int strong_choose(struct bytes names)
{
	for (int i = 0; i < STRONG_IDS; i++)
		if (codec_names_hold(names, bytes_of(strong_table[i].name)))
			return i;
	return -1;
}

struct hasher {
	enum strong_id id;
	XXH3_state_t *xxh3;
	XXH64_state_t *xxh64;
	EVP_MD_CTX *md5;
};

struct hasher *hasher_new(enum strong_id id)
{
	struct hasher *h = mem_alloc(sizeof(*h));

	h->id = id;
	switch (id) {
	case STRONG_XXH128:
	case STRONG_XXH3:
		h->xxh3 = XXH3_createState();
		check(h->xxh3);
		break;
	case STRONG_XXH64:
		h->xxh64 = XXH64_createState();
		check(h->xxh64);
		break;
	case STRONG_MD5:
		h->md5 = EVP_MD_CTX_new();
		/* Without md5 in the crypto library the session could not be served at all. */
		check(h->md5 && EVP_DigestInit_ex(h->md5, EVP_md5(), NULL) == 1);
		break;
	case STRONG_IDS:
		break;
	}
	return h;
}

void hasher_free(struct hasher *h)
{
	if (!h)
		return;
	XXH3_freeState(h->xxh3);
	XXH64_freeState(h->xxh64);
	EVP_MD_CTX_free(h->md5);
	free(h);
}

void hasher_begin(struct hasher *h)
{
	switch (h->id) {
	case STRONG_XXH128:
		XXH3_128bits_reset(h->xxh3);
		break;
	case STRONG_XXH3:
		XXH3_64bits_reset(h->xxh3);
		break;
	case STRONG_XXH64:
		XXH64_reset(h->xxh64, 0);
		break;
	case STRONG_MD5:
		/* NULL: the digest it was set up with, no look-up by name again. */
		check(EVP_DigestInit_ex(h->md5, NULL, NULL) == 1);
		break;
	case STRONG_IDS:
		break;
	}
}

void hasher_update(struct hasher *h, struct bytes data)
{
	if (!data.n)
		return;
	switch (h->id) {
	case STRONG_XXH128:
		XXH3_128bits_update(h->xxh3, data.p, data.n);
		break;
	case STRONG_XXH3:
		XXH3_64bits_update(h->xxh3, data.p, data.n);
		break;
	case STRONG_XXH64:
		XXH64_update(h->xxh64, data.p, data.n);
		break;
	case STRONG_MD5:
		check(EVP_DigestUpdate(h->md5, data.p, data.n) == 1);
		break;
	case STRONG_IDS:
		break;
	}
}

static void put_le64(unsigned char *p, uint64_t v)
{
	for (int i = 0; i < 8; i++)
		p[i] = (unsigned char)(v >> (8 * i));
}

static void put_128(unsigned char *p, XXH128_hash_t v)
{
	put_le64(p, v.low64);
	put_le64(p + 8, v.high64);
}

void hasher_end(struct hasher *h, unsigned char ret[SUM_BYTES_MAX])
{
	memset(ret, 0, SUM_BYTES_MAX);
	switch (h->id) {
	case STRONG_XXH128:
		put_128(ret, XXH3_128bits_digest(h->xxh3));
		break;
	case STRONG_XXH3:
		put_le64(ret, XXH3_64bits_digest(h->xxh3));
		break;
	case STRONG_XXH64:
		put_le64(ret, XXH64_digest(h->xxh64));
		break;
	case STRONG_MD5:
		check(EVP_DigestFinal_ex(h->md5, ret, NULL) == 1);
		break;
	case STRONG_IDS:
		break;
	}
}

static void md5_block(struct hasher *h, struct sum_seed seed, struct bytes block,
                      unsigned char *ret)
{
	char le[4];
	struct bytes salt = {le, seed.value ? sizeof(le) : 0};

	for (int i = 0; i < 4; i++)
		le[i] = (char)(seed.value >> (8 * i));
	hasher_begin(h);
	if (seed.first)
		hasher_update(h, salt);
	hasher_update(h, block);
	if (!seed.first)
		hasher_update(h, salt);
	hasher_end(h, ret);
}

void hasher_block(struct hasher *h, struct sum_seed seed, struct bytes block,
                  unsigned char ret[SUM_BYTES_MAX])
{
	/* The seed is a signed number at the peer and grows to 64 bits with its sign. */
	uint64_t wide = (uint64_t)(int64_t)(int32_t)seed.value;

	memset(ret, 0, SUM_BYTES_MAX);
	switch (h->id) {
	case STRONG_XXH128:
		put_128(ret, XXH3_128bits_withSeed(block.p, block.n, wide));
		break;
	case STRONG_XXH3:
		put_le64(ret, XXH3_64bits_withSeed(block.p, block.n, wide));
		break;
	case STRONG_XXH64:
		put_le64(ret, XXH64(block.p, block.n, wide));
		break;
	case STRONG_MD5:
		md5_block(h, seed, block, ret);
		break;
	case STRONG_IDS:
		break;
	}
}

int sum_head_get(struct cursor *in, size_t digest_bytes, struct sum_head *ret)
{
	struct sum_head h;

	h.count = (int32_t)cursor_le32(in);
	h.block = (int32_t)cursor_le32(in);
	h.strong = (int32_t)cursor_le32(in);
	h.remainder = (int32_t)cursor_le32(in);
	if (in->bad)
		return -EAGAIN;
	if (h.count < 0 || h.block < 0 || h.block > SUM_BLOCK_MAX)
		return -EPROTO;
	if (h.strong < 0 || (size_t)h.strong > digest_bytes)
		return -EPROTO;
	if (h.remainder < 0 || h.remainder > h.block)
		return -EPROTO;
	if (h.count && (!h.block || h.strong < SUM_STRONG_LEAST))
		return -EPROTO;
	*ret = h;
	return 0;
}

void sum_head_put(struct buf *out, const struct sum_head *head)
{
	buf_add_le32(out, (uint32_t)head->count);
	buf_add_le32(out, (uint32_t)head->block);
	buf_add_le32(out, (uint32_t)head->strong);
	buf_add_le32(out, (uint32_t)head->remainder);
}

void sums_init(struct sums *s, const struct sum_head *head)
{
	*s = (struct sums){.head = *head};
	if (!head->count)
		return;
	s->weak = mem_array((size_t)head->count, sizeof(*s->weak));
	s->strong = mem_array((size_t)head->count, (size_t)head->strong);
}

void sums_done(struct sums *s)
{
	free(s->weak);
	free(s->strong);
	*s = (struct sums){0};
}

bool sums_get(struct sums *s, struct cursor *in)
{
	size_t strong = (size_t)s->head.strong;

	for (; s->got < s->head.count && cursor_left(in) >= 4 + strong; s->got++) {
		s->weak[s->got] = cursor_le32(in);
		memcpy(s->strong + (size_t)s->got * strong, cursor_take(in, strong).p, strong);
	}
	return s->got == s->head.count;
}
