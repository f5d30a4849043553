#include "core/pathset_parts.h"

#include "base/mem.h"

void heap_init(struct heap *h, enum heap_slot slot, enum heap_order order)
{
	*h = (struct heap){.slot = slot, .order = order};
}

void heap_done(struct heap *h)
{
	free(h->at);
	h->at = NULL;
	h->n = h->cap = 0;
}

bool entry_older(const struct entry *a, const struct entry *b)
{
	if (a->mark.since_ns != b->mark.since_ns)
		return a->mark.since_ns < b->mark.since_ns;
	return a->seq < b->seq;
}

static bool before(const struct heap *h, const struct entry *a, const struct entry *b)
{
	switch (h->order) {
	case HEAP_BY_AGE:
		return entry_older(a, b);
	case HEAP_BY_DUE:
		return a->due_ns < b->due_ns;
	case HEAP_BY_BORN:
		return a->mark.born < b->mark.born;
	}
	check(false);
}

static void place(struct heap *h, uint32_t i, struct entry *e)
{
	h->at[i] = e;
	e->at[h->slot] = i;
}

static void sift_up(struct heap *h, uint32_t i, struct entry *e)
{
	while (i > 0) {
		uint32_t up = (i - 1) / 2;

		if (!before(h, e, h->at[up]))
			break;
		place(h, i, h->at[up]);
		i = up;
	}
	place(h, i, e);
}

static void sift_down(struct heap *h, uint32_t i, struct entry *e)
{
	for (;;) {
		uint32_t down = 2 * i + 1;

		if (down >= h->n)
			break;
		if (down + 1 < h->n && before(h, h->at[down + 1], h->at[down]))
			down++;
		if (!before(h, h->at[down], e))
			break;
		place(h, i, h->at[down]);
		i = down;
	}
	place(h, i, e);
}

void heap_push(struct heap *h, struct entry *e)
{
	check(e->at[h->slot] == HEAP_NOWHERE);
	if (h->n == h->cap) {
		h->cap = h->cap ? 2 * h->cap : 16;
		h->at = mem_realloc(h->at, h->cap, sizeof(*h->at));
	}
	sift_up(h, h->n++, e);
}

void heap_remove(struct heap *h, struct entry *e)
{
	uint32_t i = e->at[h->slot];
	struct entry *last;

	check(i < h->n && h->at[i] == e);
	e->at[h->slot] = HEAP_NOWHERE;
	last = h->at[--h->n];
	if (last != e) {
		place(h, i, last);
		heap_fix(h, last);
	}
	if (h->cap > 1024 && h->n < h->cap / 8) {
		h->cap /= 4;
		h->at = mem_realloc(h->at, h->cap, sizeof(*h->at));
	}
}

void heap_fix(struct heap *h, struct entry *e)
{
	uint32_t i = e->at[h->slot];

	check(i < h->n && h->at[i] == e);
	if (i > 0 && before(h, e, h->at[(i - 1) / 2]))
		sift_up(h, i, e);
	else
		sift_down(h, i, e);
}
