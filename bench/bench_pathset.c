/*
 * Marks a second and bytes a mark of the path set: a million marks over a hundred thousand
 * directories with a limit of 65,536 (so most of it is collapsing), and the same number put, taken
 * and acked in full batches. Prints one JSON line.
 */
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <time.h>

#include "core/pathset.h"

#define MARKS   1000000
#define DIRS    100000
#define LIMIT   65536
#define BATCH   500
#define LONGEST INT64_C(10000000000)

static int64_t clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static void put(struct pathset *set, uint32_t i, int64_t now)
{
	uint32_t dir = i * UINT32_C(2654435761) % DIRS;
	char path[64];
	int n = snprintf(path, sizeof(path), "top%u/dir%u/file%u", dir % 100, dir, i);
	struct mark m = {.path = {path, (size_t)n},
	                 .action = MARK_QUICK,
	                 .born = i,
	                 .since_ns = now,
	                 .size = 4096};

	pathset_put(set, &m, now);
}

static double put_over_limit(size_t *left)
{
	struct pathset *set = pathset_new(LIMIT, LONGEST);
	int64_t start = clock_ns();
	double rate;

	for (uint32_t i = 0; i < MARKS; i++)
		put(set, i, i);
	rate = MARKS / ((double)(clock_ns() - start) / 1e9);
	*left = pathset_pending(set);
	pathset_free(set);
	return rate;
}

static double bytes_per_mark(void)
{
	struct pathset *set = pathset_new(LIMIT, LONGEST);
	size_t before = mallinfo2().uordblks, after;

	for (uint32_t i = 0; i < LIMIT; i++)
		put(set, i, i);
	after = mallinfo2().uordblks;
	pathset_free(set);
	return (double)(after - before) / LIMIT;
}

static double put_take_ack(void)
{
	const struct take_limits limits = {1u << BATCH_QUICK, BATCH, UINT64_MAX, false};
	struct pathset *set = pathset_new(LIMIT, LONGEST);
	int64_t start = clock_ns(), now = 0;
	struct batch *b;

	for (uint32_t i = 0; i < MARKS;) {
		for (uint32_t k = 0; k < 20000 && i < MARKS; k++)
			put(set, i++, ++now);
		while ((b = pathset_take(set, &limits, ++now))) {
			for (size_t k = 0; k < batch_count(b); k++)
				batch_ack(b, k, ++now);
			batch_end(b, ++now, 0);
		}
	}
	pathset_free(set);
	return MARKS / ((double)(clock_ns() - start) / 1e9);
}

int main(void)
{
	size_t left;
	double over = put_over_limit(&left), cycle = put_take_ack();

	printf("{\"bench\":\"pathset\",\"put_over_limit_per_s\":%.0f,\"left\":%zu,"
	       "\"put_take_ack_per_s\":%.0f,\"bytes_per_mark\":%.0f}\n",
	       over, left, cycle, bytes_per_mark());
	return 0;
}
