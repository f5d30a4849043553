#include "core/pathset_parts.h"

#include "base/mem.h"
#include "base/path.h"

struct pathset *pathset_new(size_t limit, int64_t longest_wait_ns)
{
	struct pathset *set = mem_alloc(sizeof(*set));

	check(limit > 0);
	set->limit = limit;
	set->longest_wait_ns = longest_wait_ns;
	set->now_ns = INT64_MIN;
	node_table_init(set);
	heap_init(&set->timed, HEAP_QUEUE, HEAP_BY_DUE);
	for (unsigned low = 0; low < 2; low++) {
		for (unsigned kind = 0; kind < QUEUE_KINDS; kind++)
			heap_init(&set->ready[low][kind], HEAP_QUEUE, HEAP_BY_AGE);
	}
	heap_init(&set->reserved, HEAP_RESERVED, HEAP_BY_AGE);
	heap_init(&set->born, HEAP_BORN, HEAP_BY_BORN);
	return set;
}

void pathset_free(struct pathset *set)
{
	if (!set)
		return;
	check(set->flying == 0);
	while (set->recent_first)
		recent_forget(set, set->recent_first);
	while (set->born.n) {
		struct entry *e = set->born.at[set->born.n - 1];
		struct node *node = e->node;

		pending_detach(set, e);
		pending_wake_list(set, &node->waiters);
		pending_free(set, e);
		node_release(set, node);
	}
	heap_done(&set->timed);
	for (unsigned low = 0; low < 2; low++) {
		for (unsigned kind = 0; kind < QUEUE_KINDS; kind++)
			heap_done(&set->ready[low][kind]);
	}
	heap_done(&set->reserved);
	heap_done(&set->born);
	node_table_done(set);
	free(set);
}

#define BRIEF_NS      INT64_C(1000000000)
#define GREW_LEAST_NS INT64_C(1000000000)
#define MS_NS         1000000

static int64_t hot_wait_ns(const struct pathset *set, const struct mark *mark)
{
	int64_t ms = (int64_t)(mark->size >> 18), wait = GREW_LEAST_NS;

	if (!(mark->flags & MARK_GREW) || ms > set->longest_wait_ns / MS_NS)
		return set->longest_wait_ns;
	if (ms * MS_NS > wait)
		wait = ms * MS_NS;
	return wait < set->longest_wait_ns ? wait : set->longest_wait_ns;
}

/* When a mark put now is ready, as far as is known: a path in flight adds its cost at its end. */
static int64_t ready_at(const struct pathset *set, const struct node *node, const struct mark *mark,
                        int64_t now_ns)
{
	int64_t ready = INT64_MIN;

	if (mark->flags & MARK_HOT)
		ready = mark->since_ns + hot_wait_ns(set, mark);
	else if (mark->flags & MARK_BRIEF)
		ready = mark->since_ns + BRIEF_NS;
	if (node->recent) {
		int64_t wait = now_ns + pending_remark_ns(node->recent->cost_ns);

		if (wait > ready)
			ready = wait;
	}
	return ready;
}

/* What is put for one name may tell of the content of all. */
static void stir(struct pathset *set, struct entry *e, const struct mark *put)
{
	if (put->action == MARK_CONTENT ||
	    (put->action == MARK_QUICK && !(put->flags & (MARK_FRESH | MARK_RETYPED))))
		pending_stir(set, e, put->action);
}

void pathset_put(struct pathset *set, const struct mark *mark, int64_t now_ns)
{
	struct mark m = *mark;
	struct node *node;
	struct entry *e;
	int64_t ready;

	if (m.scope == MARK_SUBTREE)
		m.action = MARK_LOOK;
	pathset_tell(set, now_ns);
	node = node_make(set, m.path);
	ready = ready_at(set, node, &m, now_ns);
	if (node->pending) {
		pending_merge(set, node->pending, &m, ready);
		stir(set, node->pending, &m);
		return;
	}
	e = pending_new(set, node, &m, now_ns);
	e->ready_ns = ready;
	e->remark = node->flight != NULL;
	pending_attach(set, e);
	stir(set, e, &m);
	collapse_to_limit(set);
}

static bool settle(struct pathset *set, struct node *node)
{
	struct entry *e = node->pending;

	if (!e || node->flight || e->mark.action == MARK_DELETE)
		return false;
	pending_detach(set, e);
	pending_free(set, e);
	pending_wake_list(set, &node->waiters);
	return true;
}

void pathset_settle(struct pathset *set, struct bytes path,
                    void (*settled)(struct bytes path, void *arg), void *arg, int64_t now_ns)
{
	struct node *top, **below = NULL;
	size_t n = 0, cap = 0;

	pathset_tell(set, now_ns); /* may release nodes */
	top = node_find(set, path);
	if (!top)
		return;
	/* Released at the end: a node without marks takes its empty parents along. */
	for (struct node *node = top; node; node = node_next(node, top, node->pending_below > 0)) {
		if (!node->pending)
			continue;
		if (n == cap) {
			cap = cap ? 2 * cap : 8;
			below = mem_realloc(below, cap, sizeof(*below));
		}
		node->pins++;
		below[n++] = node;
	}
	for (size_t i = 0; i < n; i++) {
		struct bytes at;

		if (!settle(set, below[i]))
			continue;
		at = node_path(below[i]);
		settled(at, arg);
		free((char *)at.p);
	}
	for (size_t i = 0; i < n; i++) {
		below[i]->pins--;
		node_release(set, below[i]);
	}
	free(below);
}

void pathset_stir(struct pathset *set, struct bytes path, int64_t now_ns)
{
	struct node *node;

	pathset_tell(set, now_ns); /* may release nodes */
	node = node_find(set, path);
	if (node && node->flight)
		pending_stir(set, node->flight, MARK_CONTENT);
	if (node && node->pending)
		pending_stir(set, node->pending, MARK_CONTENT);
}

void pathset_hurry(struct pathset *set, struct bytes path, int64_t now_ns)
{
	struct node *top;

	pathset_tell(set, now_ns); /* may release nodes */
	top = node_find(set, path);
	if (!top || !set->timed.n)
		return;
	for (struct node *node = top; (node = node_next(node, top, node->pending_below > 0));) {
		if (node->pending && pending_waits(&node->pending->mark))
			pending_hurry(set, node->pending);
	}
}

size_t pathset_pending(const struct pathset *set)
{
	return set->pending;
}

size_t pathset_in_flight(const struct pathset *set)
{
	return set->flying;
}

uint64_t pathset_pending_bytes(const struct pathset *set)
{
	return set->pending_bytes;
}

int64_t pathset_oldest(const struct pathset *set)
{
	int64_t oldest = INT64_MAX;

	for (uint32_t i = 0; i < set->born.n; i++) {
		if (set->born.at[i]->mark.since_ns < oldest)
			oldest = set->born.at[i]->mark.since_ns;
	}
	return oldest;
}

bool pathset_settled(struct pathset *set, uint64_t born)
{
	const struct entry *witness = heap_top(&set->born);

	return !witness || witness->mark.born > born;
}

int64_t pathset_deadline(const struct pathset *set)
{
	const struct entry *e = heap_top(&set->timed);

	return e ? e->due_ns : INT64_MAX;
}

void pathset_each(struct pathset *set, struct bytes dir,
                  bool (*fn)(const struct mark *mark, bool in_flight, void *arg), void *arg)
{
	const struct node *top = node_find(set, dir);

	for (const struct node *node = top; node; node = node_next(node, top, true)) {
		const struct entry *at[] = {node->flight, node->look, node->pending};

		for (size_t i = 0; i < ARRAY_LEN(at); i++) {
			struct mark mark;
			bool more;

			if (!at[i])
				continue;
			mark = at[i]->mark;
			mark.path = node_path(node);
			more = fn(&mark, at[i]->state == ENTRY_FLYING, arg);
			free((char *)mark.path.p);
			if (!more)
				return;
		}
	}
}

static bool is_going(const struct entry *e)
{
	return e && (e->mark.action == MARK_DELETE || (e->mark.flags & MARK_RETYPED));
}

unsigned pathset_above(const struct pathset *set, struct bytes path)
{
	const struct node *node = node_find(set, path);
	unsigned above = node && node->flight ? PATHSET_SHUT : 0;

	while (path.n) {
		path = path_parent(path);
		node = node_find(set, path);
		if (node && node->flight && mark_exclusive(&node->flight->mark))
			above |= PATHSET_SHUT;
		if (node && (is_going(node->pending) || is_going(node->flight)))
			above |= PATHSET_GOING;
	}
	return above;
}

static bool is_deletion(const struct entry *e)
{
	return e && e->mark.action == MARK_DELETE;
}

bool pathset_goes(const struct pathset *set, struct bytes path)
{
	const struct node *node = node_find(set, path);

	return node && (is_deletion(node->pending) || is_deletion(node->flight));
}

const struct batch *pathset_flight(const struct pathset *set, struct bytes path)
{
	const struct node *node = node_find(set, path);

	return node && node->flight ? node->flight->batch : NULL;
}

bool pathset_has(const struct pathset *set, struct bytes path)
{
	const struct node *node = node_find(set, path);

	return node && (node->pending || node->flight || node->look);
}

static bool queue_filled(const struct pathset *set, enum queue_kind kind)
{
	return set->ready[0][kind].n || set->ready[1][kind].n;
}

unsigned pathset_ready(struct pathset *set, int64_t now_ns)
{
	unsigned ready = 0;

	pathset_tell(set, now_ns);
	for (unsigned kind = QUEUE_QUICK; kind <= QUEUE_DELETE; kind++)
		ready |= queue_filled(set, (enum queue_kind)kind) ? 1u << kind : 0;
	if (queue_filled(set, QUEUE_LOOK) || queue_filled(set, QUEUE_SUBTREE))
		ready |= 1u << BATCH_CLASSES;
	return ready;
}

bool pathset_stirs(struct pathset *set, int64_t now_ns)
{
	if (pathset_ready(set, now_ns) & ~(1u << BATCH_DELETE))
		return true;
	for (uint32_t i = 0; i < set->timed.n; i++) {
		if (!is_deletion(set->timed.at[i]))
			return true;
	}
	return false;
}

size_t pathset_pending_deletions(const struct pathset *set)
{
	return set->root->deletes_below;
}
