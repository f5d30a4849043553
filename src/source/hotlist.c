#include "source/hotlist.h"

#include "base/mem.h"

static void forget(struct hot *h)
{
	free((char *)(uintptr_t)h->name.p);
}

static void begin(const struct hotlist *l, struct hot *h, const struct fingerprint *seen,
                  int64_t now_ns)
{
	h->seen = *seen;
	h->wait_ns = l->period_ns;
	if (h->at_ns > now_ns + h->wait_ns)
		h->at_ns = now_ns + h->wait_ns;
}

int64_t hotlist_add(struct hotlist *l, uint32_t node, struct bytes name,
                    const struct fingerprint *seen, int64_t now_ns)
{
	struct hot *h;

	for (size_t i = 0; i < l->n; i++) {
		h = &l->v[i];
		if (h->node == node && bytes_equal(h->name, name)) {
			begin(l, h, seen, now_ns);
			return h->since_ns;
		}
	}
	if (l->n == HOTLIST_MAX) {
		forget(&l->v[0]);
		memmove(l->v, l->v + 1, --l->n * sizeof(*l->v));
	}
	if (!l->v)
		l->v = mem_array(HOTLIST_MAX, sizeof(*l->v));
	h = &l->v[l->n++];
	*h = (struct hot){.node = node,
	                  .name = {mem_dup(name.p, name.n), name.n},
	                  .since_ns = now_ns,
	                  .at_ns = INT64_MAX};
	begin(l, h, seen, now_ns);
	return now_ns;
}

int64_t hotlist_deadline(const struct hotlist *l)
{
	int64_t at_ns = INT64_MAX;

	for (size_t i = 0; i < l->n; i++) {
		if (l->v[i].at_ns < at_ns)
			at_ns = l->v[i].at_ns;
	}
	return at_ns;
}

bool hotlist_due(const struct hot *h, int64_t now_ns)
{
	return h->at_ns - now_ns <= h->wait_ns / 2;
}

void hotlist_again(const struct hotlist *l, struct hot *h, const struct fingerprint *seen,
                   int64_t now_ns)
{
	h->wait_ns = fingerprint_compare(&h->seen, seen) == FP_SAME ? h->wait_ns * 2 : l->period_ns;
	if (h->wait_ns > l->longest_ns)
		h->wait_ns = l->longest_ns;
	h->at_ns = now_ns + h->wait_ns;
	h->seen = *seen;
}

void hotlist_keep(struct hotlist *l, const bool *keep)
{
	size_t kept = 0;

	for (size_t i = 0; i < l->n; i++) {
		if (keep[i])
			l->v[kept++] = l->v[i];
		else
			forget(&l->v[i]);
	}
	l->n = kept;
}

void hotlist_clear(struct hotlist *l)
{
	while (l->n)
		forget(&l->v[--l->n]);
	free(TAKE(l->v));
}
