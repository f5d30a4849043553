/* What may fly together (I6): the counters along the ancestors, and the verdict on one entry. */
#include "core/pathset_parts.h"

#include "base/mem.h"

void scope_count_pending(struct pathset *set, const struct entry *e, int step)
{
	bool deletion = e->mark.action == MARK_DELETE;

	for (struct node *up = e->node->parent; up; up = up->parent) {
		up->pending_below += (uint32_t)step;
		if (!deletion)
			continue;
		up->deletes_below += (uint32_t)step;
		if (!up->deletes_below && up->pending && up->pending->state == ENTRY_PARKED &&
		    up->pending->wait == WAIT_BELOW_DELETE)
			pending_schedule(set, up->pending);
	}
}

static bool below_is_clear(const struct node *node)
{
	const struct entry *e = node->pending;

	if (!e || e->state != ENTRY_PARKED)
		return false;
	switch (e->wait) {
	case WAIT_BELOW_FLIGHT:
		return !node->flying_below;
	case WAIT_BELOW_EXCLUSIVE:
		return !node->exclusive_below;
	case WAIT_LIST:
	case WAIT_BELOW_DELETE:
		return false;
	}
	return false;
}

void scope_count_flight(struct pathset *set, const struct entry *e, int step)
{
	bool exclusive = mark_exclusive(&e->mark);

	for (struct node *up = e->node->parent; up; up = up->parent) {
		up->flying_below += (uint32_t)step;
		up->exclusive_below += exclusive ? (uint32_t)step : 0;
		if (step < 0) {
			if (below_is_clear(up))
				pending_schedule(set, up->pending);
			continue;
		}
		if (up->taken_by != e->batch->number) {
			up->taken_by = e->batch->number;
			up->taken_below = up->taken_exclusive = 0;
		}
		up->taken_below++;
		up->taken_exclusive += exclusive;
	}
}

/* Deletions go before what stands above them, everything else after it. */
static bool waits_for(const struct entry *e, const struct entry *other)
{
	if (node_below(other->node, e->node))
		return other->mark.action == MARK_DELETE &&
		       (e->mark.action == MARK_DELETE || (e->mark.flags & MARK_RETYPED));
	return e->mark.action != MARK_DELETE && mark_exclusive(&other->mark) &&
	       node_below(e->node, other->node);
}

static bool conflict(const struct entry *a, const struct entry *b)
{
	if (!mark_exclusive(&a->mark) && !mark_exclusive(&b->mark))
		return false;
	return node_below(a->node, b->node) || node_below(b->node, a->node);
}

/* The mark that has reserved its scope against e, unless it is waiting for e itself. */
static struct entry *reserved_against(const struct pathset *set, const struct entry *e)
{
	struct entry *top = heap_top(&set->reserved);

	if (!top || top == e || !entry_older(top, e) || (e->group && top->group == e->group) ||
	    !conflict(top, e) || waits_for(top, e))
		return NULL;
	return top;
}

static void park_pending(struct pathset *set, struct entry *e, enum entry_wait wait,
                         struct entry **list)
{
	pending_park(set, e, wait, list);
	pending_unreserve(set, e);
}

static void park_flight(struct pathset *set, struct entry *e, enum entry_wait wait,
                        struct entry **list)
{
	pending_park(set, e, wait, list);
	pending_reserve(set, e);
}

/* The verdict on e alone. What is pending comes first: a mark that waits for another must not
 * reserve a scope against it. */
static bool admits_one(struct pathset *set, struct entry *e, const struct batch *b)
{
	struct node *node = e->node, *flight = NULL;
	bool exclusive = mark_exclusive(&e->mark), deletion = e->mark.action == MARK_DELETE;
	uint32_t flying, flying_exclusive;
	bool mine = node->taken_by == b->number;
	struct entry *top;

	check(!node->flight);
	if ((deletion || (e->mark.flags & MARK_RETYPED)) && node->deletes_below) {
		park_pending(set, e, WAIT_BELOW_DELETE, NULL);
		return false;
	}
	for (struct node *up = node->parent; up; up = up->parent) {
		if (!deletion && up->pending && mark_exclusive(&up->pending->mark)) {
			park_pending(set, e, WAIT_LIST, &up->waiters);
			return false;
		}
		if (up->flight && up->flight->batch != b &&
		    (exclusive || mark_exclusive(&up->flight->mark)))
			flight = up;
	}
	flying = node->flying_below - (mine ? node->taken_below : 0);
	flying_exclusive = node->exclusive_below - (mine ? node->taken_exclusive : 0);
	if (flight)
		park_flight(set, e, WAIT_LIST, &flight->waiters);
	else if (exclusive && flying)
		park_flight(set, e, WAIT_BELOW_FLIGHT, NULL);
	else if (flying_exclusive)
		park_flight(set, e, WAIT_BELOW_EXCLUSIVE, NULL);
	else if ((top = reserved_against(set, e)))
		park_pending(set, e, WAIT_LIST, &top->node->waiters);
	else
		return true;
	return false;
}

/* All of a group or none: the others are asked only when each of them could be taken as far as
 * time and earlier verdicts go, so that a group costs its size once and not for every member. */
static bool admits_group(struct pathset *set, struct entry *e, const struct batch *b)
{
	struct group *g = e->group;

	if (!g->flying && g->able == g->pending) {
		struct entry *m = g->members;

		while (m && (m == e || admits_one(set, m, b)))
			m = m->group_next;
		if (!m)
			return true;
	}
	park_pending(set, e, WAIT_LIST, &g->waiters);
	return false;
}

bool scope_admits(struct pathset *set, struct entry *e, const struct batch *b)
{
	return admits_one(set, e, b) && (!e->group || admits_group(set, e, b));
}
