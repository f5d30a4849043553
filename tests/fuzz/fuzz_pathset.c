/*
 * The path set under any sequence of operations: no check fails, nothing leaks, and whatever is
 * left gets through once nothing new comes. Each operation is a few bytes of the input.
 */
#include "target.h"

#include "base/mem.h"
#include "core/pathset.h"

#define SECOND  INT64_C(1000000000)
#define BATCHES 4
#define ROUNDS  5000

struct input {
	struct cursor c;
	struct pathset *set;
	struct batch *batches[BATCHES];
	int64_t now;
	uint64_t drain;
};

static void put(struct input *in)
{
	uint8_t shape = cursor_u8(&in->c), names = cursor_u8(&in->c), flags = cursor_u8(&in->c);
	struct mark m = {.action = shape % 5, .flags = flags % 64, .born = ++in->drain};
	char path[8];
	size_t n = 0;

	for (unsigned depth = shape / 5 % 5; depth > 0; depth--, names /= 3) {
		if (n)
			path[n++] = '/';
		path[n++] = (char)('a' + names % 3);
	}
	m.path = (struct bytes){path, n};
	m.scope = m.action == MARK_LOOK && shape >= 128 ? MARK_SUBTREE : MARK_ENTRY;
	m.link = flags >> 6;
	m.since_ns = in->now;
	m.size = names;
	pathset_put(in->set, &m, in->now);
}

static void take(struct input *in, unsigned slot)
{
	uint8_t how = cursor_u8(&in->c);
	struct take_limits limits = {how % 8, 1 + how / 32, 200, how & 16};

	if (in->batches[slot])
		return;
	if (how & 8)
		in->batches[slot] = pathset_take_looks(in->set, 1 + how / 32, how & 16, in->now);
	else
		in->batches[slot] = pathset_take(in->set, &limits, in->now);
}

static void answer(struct input *in, unsigned slot)
{
	uint8_t how = cursor_u8(&in->c);
	struct batch *b = in->batches[slot];
	size_t i = b ? how / 8 % batch_count(b) : 0;

	if (!b || how % 8 == 0) {
		if (b)
			batch_end(b, in->now, in->now);
		in->batches[slot] = NULL;
	} else if (batch_open(b, i)) {
		if (how % 8 == 1)
			batch_drop(b, i, in->now);
		else if (how % 8 == 2)
			batch_nack(b, i, how / 8 % 5, in->now, in->now + SECOND);
		else
			batch_ack(b, i, in->now);
	}
}

static void finish(struct batch *b, int64_t now)
{
	for (size_t i = 0; i < batch_count(b); i++)
		batch_ack(b, i, now);
	batch_end(b, now, now);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct take_limits all = {7, 100, UINT64_MAX, true};
	struct input in = {.c = cursor_of((struct bytes){(const char *)data, size}), .now = SECOND};
	unsigned rounds = 0;

	in.set = pathset_new(1 + cursor_u8(&in.c), SECOND);
	while (cursor_left(&in.c)) {
		uint8_t op = cursor_u8(&in.c);

		if (op % 8 < 4)
			put(&in);
		else if (op % 8 < 6)
			take(&in, op / 8 % BATCHES);
		else if (op % 8 < 7)
			answer(&in, op / 8 % BATCHES);
		else
			in.now += op / 8 * (SECOND / 10);
	}
	for (unsigned i = 0; i < BATCHES; i++) {
		if (in.batches[i])
			batch_end(in.batches[i], in.now, in.now);
	}
	while (pathset_pending(in.set)) {
		struct batch *b;

		check(rounds++ < ROUNDS);
		in.now += 100 * SECOND;
		b = pathset_take(in.set, &all, in.now);
		if (!b)
			b = pathset_take_looks(in.set, 100, true, in.now);
		check(b);
		finish(b, in.now);
	}
	check(pathset_in_flight(in.set) == 0 && pathset_pending_bytes(in.set) == 0);
	check(pathset_settled(in.set, BORN_NONE));
	pathset_free(in.set);
	return 0;
}
