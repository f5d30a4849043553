/*
 * sums: the two block checksums of rsync's delta algorithm, and the digest of a whole file.
 *
 * The weak sum rolls: one byte out and one byte in costs four additions. The strong sum is one of a
 * table, in our order of preference; which one is settled per session. Block sums are seeded, file
 * digests are not. A receiver's block sums are untrusted: counts and sizes are checked before
 * anything is allocated for them.
 */
#ifndef RSYNC_SUMS_H
#define RSYNC_SUMS_H

#include "base/bytes.h"

#define SUM_BYTES_MAX    16
#define SUM_BLOCK_MAX    131072
#define SUM_HEAD_BYTES   16
#define SUM_STRONG_LEAST 2 /* shorter ones would match anything */

/* --- weak --- */
struct weak {
	uint32_t a, b; /* modulo 2^16 when read */
};

struct weak weak_of(struct bytes block);
static inline uint32_t weak_value(struct weak w)
{
	return (w.a & 0xffff) | w.b << 16;
}
/* `out` leaves the front of a window of n bytes, `in` enters behind it. */
static inline void weak_roll(struct weak *w, size_t n, char out, char in)
{
	uint32_t x = (uint32_t)(signed char)out, y = (uint32_t)(signed char)in;

	w->a += y - x;
	w->b += w->a - (uint32_t)n * x;
}

/* --- strong --- */
enum strong_id { STRONG_XXH128, STRONG_XXH3, STRONG_XXH64, STRONG_MD5, STRONG_IDS };

struct strong {
	const char *name;
	size_t size; /* bytes of a digest */
};

extern const struct strong strong_table[STRONG_IDS];
/* First of our order that is among the blank-separated names, or -1. */
int strong_choose(struct bytes names);

/* How block sums are seeded. */
struct sum_seed {
	uint32_t value;
	bool first; /* md5: in front of the block (CF 0x20), else behind it */
};

struct hasher;
struct hasher *hasher_new(enum strong_id id);
void hasher_free(struct hasher *h);
/* A running digest without seed. */
void hasher_begin(struct hasher *h);
void hasher_update(struct hasher *h, struct bytes data);
void hasher_end(struct hasher *h, unsigned char ret[SUM_BYTES_MAX]);
/* The seeded sum of one block; ends a running digest. */
void hasher_block(struct hasher *h, struct sum_seed seed, struct bytes block,
                  unsigned char ret[SUM_BYTES_MAX]);

/* --- what a receiver tells of its old copy --- */
struct sum_head {
	int32_t count;     /* blocks; 0: it has no copy */
	int32_t block;     /* bytes of each */
	int32_t strong;    /* bytes sent of each strong sum */
	int32_t remainder; /* bytes of the last block, 0: full */
};

/* 0, -EAGAIN or -EPROTO, as the codec; `digest_bytes` bounds the strong sums. */
int sum_head_get(struct cursor *in, size_t digest_bytes, struct sum_head *ret);
void sum_head_put(struct buf *out, const struct sum_head *head);
static inline size_t sum_head_cost(const struct sum_head *h)
{
	return (size_t)h->count * (4 + (size_t)h->strong);
}

/* Block sums as they come in. */
struct sums {
	struct sum_head head;
	int32_t got;
	uint32_t *weak;
	unsigned char *strong; /* count times head.strong bytes */
};

/* Allocates for head.count blocks; the caller has checked the cost. */
void sums_init(struct sums *s, const struct sum_head *head);
void sums_done(struct sums *s);
/* Takes as many complete block sums as there are; true once all are here. */
bool sums_get(struct sums *s, struct cursor *in);

#endif
