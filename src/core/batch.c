/* Taking marks into batches, and their way out: ack, nack, drop. */
#include "core/pathset_parts.h"

#include "base/mem.h"

static struct batch *batch_new(struct pathset *set)
{
	struct batch *b = mem_alloc(sizeof(*b));

	b->set = set;
	b->number = ++set->batches;
	b->class = BATCH_CLASSES;
	return b;
}

static void batch_add(struct batch *b, struct entry *e, int64_t now_ns)
{
	struct batch_item *item;

	if (b->count == b->cap) {
		b->cap = b->cap ? 2 * b->cap : 8;
		b->items = mem_realloc(b->items, b->cap, sizeof(*b->items));
	}
	item = &b->items[b->count++];
	item->mark = e->mark;
	item->mark.path = node_path(e->node);
	item->entry = e;
	b->bytes += e->mark.size;
	e->batch = b;
	e->state = ENTRY_FLYING;
	e->taken_ns = now_ns;
	b->set->flying++;
}

static void take_one(struct batch *b, struct entry *e, int64_t now_ns)
{
	struct pathset *set = b->set;
	struct node *node = e->node;
	struct group *g = e->group;

	if (!g && b->class != BATCH_DELETE && e->mark.ino)
		g = pending_group(set, e->mark.ino);
	/* What stirred it before is in the marks that are pending now. */
	if (g && g->flying++ == 0)
		g->stirred = MARK_META;
	pending_detach(set, e);
	e->stirred = MARK_META;
	e->group = g;
	node->flight = e;
	batch_add(b, e, now_ns);
	scope_count_flight(set, e, 1);
	/* Some may come along, as what lies in a new directory; the others now wait for a flight
	 * and may reserve. */
	pending_wake_list(set, &node->waiters);
}

static void take_all(struct batch *b, struct entry *e, int64_t now_ns)
{
	struct group *g = e->group;

	b->class = (enum batch_class)pending_kind(e);
	if (!g) {
		take_one(b, e, now_ns);
		return;
	}
	while (g->members)
		take_one(b, g->members, now_ns);
}

static bool fits(const struct batch *b, const struct entry *e, const struct take_limits *limits)
{
	uint64_t bytes = e->mark.size;
	size_t marks = 1, max = limits->max_marks;

	if (!b->count)
		return true;
	if (b->class == BATCH_DELETE && max > DELETE_MARKS_MAX)
		max = DELETE_MARKS_MAX;
	if (b->count >= max)
		return false;
	if (e->group) {
		marks = e->group->pending;
		bytes = 0;
		for (const struct entry *m = e->group->members; m; m = m->group_next)
			bytes += m->mark.size;
	}
	return b->count + marks <= max && b->bytes + bytes <= limits->max_bytes;
}

/* The oldest ready mark of the classes a batch may still have. */
static struct entry *oldest_ready(struct pathset *set, const struct batch *b, unsigned classes,
                                  bool low)
{
	struct entry *oldest = NULL;

	if (b->count)
		classes = 1u << b->class;
	for (unsigned kind = 0; kind < BATCH_CLASSES; kind++) {
		struct entry *e = classes & (1u << kind) ? heap_top(&set->ready[low][kind]) : NULL;

		if (e && (!oldest || entry_older(e, oldest)))
			oldest = e;
	}
	return oldest;
}

/* Returns false when the batch is full. */
static bool fill(struct pathset *set, struct batch *b, const struct take_limits *limits, bool low,
                 int64_t now_ns)
{
	struct entry *e;

	while ((e = oldest_ready(set, b, limits->classes, low))) {
		struct heap *queue = e->queue;

		if (!fits(b, e, limits))
			return false;
		if (!scope_admits(set, e, b))
			continue;
		/* The class of its group may have changed since it was queued, even just now. */
		if (queue == &set->ready[low][pending_kind(e)])
			take_all(b, e, now_ns);
		else
			pending_schedule(set, e);
	}
	return true;
}

static int by_depth(const void *a, const void *b)
{
	const struct batch_item *x = a, *y = b;

	if (x->entry->node->depth != y->entry->node->depth)
		return x->entry->node->depth < y->entry->node->depth ? -1 : 1;
	return entry_older(x->entry, y->entry) ? -1 : entry_older(y->entry, x->entry);
}

struct batch *pathset_take(struct pathset *set, const struct take_limits *limits, int64_t now_ns)
{
	struct batch *b = batch_new(set);

	check(limits->max_marks > 0);
	pathset_tell(set, now_ns);
	if (fill(set, b, limits, false, now_ns) && limits->low)
		fill(set, b, limits, true, now_ns);
	if (!b->count) {
		free(b);
		return NULL;
	}
	/* Deletions are in order already: a directory is taken after all that lies below it. */
	if (b->class != BATCH_DELETE)
		qsort(b->items, b->count, sizeof(*b->items), by_depth);
	return b;
}

struct batch *pathset_take_looks(struct pathset *set, size_t max, bool subtrees, int64_t now_ns)
{
	struct heap *looks = &set->ready[0][QUEUE_LOOK], *trees = &set->ready[0][QUEUE_SUBTREE];
	struct batch *b = NULL;

	pathset_tell(set, now_ns);
	while (!b || b->count < max) {
		struct entry *look = heap_top(looks), *tree = subtrees ? heap_top(trees) : NULL;
		struct entry *e = look && (!tree || entry_older(look, tree)) ? look : tree;

		if (!e || !max)
			break;
		if (!b)
			b = batch_new(set);
		pending_detach(set, e);
		e->node->look = e;
		batch_add(b, e, now_ns);
		pending_wake_list(set, &e->node->waiters);
	}
	return b;
}

enum batch_class batch_class(const struct batch *b)
{
	return b->class;
}

size_t batch_count(const struct batch *b)
{
	return b->count;
}

const struct mark *batch_mark(const struct batch *b, size_t i)
{
	check(i < b->count);
	return &b->items[i].mark;
}

bool batch_open(const struct batch *b, size_t i)
{
	check(i < b->count);
	return b->items[i].entry != NULL;
}

/* What is known about names under a directory that is no directory any more is stale, and so is
 * what was found at a name whose deletion was on its way. That a name is gone stays true. */
static void turn_stale(struct pathset *set, const struct entry *done)
{
	struct node *top = done->node, *node = top;

	if (done->mark.action != MARK_DELETE && !(done->mark.flags & MARK_RETYPED))
		return;
	if (done->mark.action == MARK_DELETE && top->pending &&
	    top->pending->mark.action != MARK_DELETE)
		pending_turn_look(set, top->pending);
	while ((node = node_next(node, top, node->pending_below > 0))) {
		if (node->pending && node->pending->mark.action != MARK_DELETE)
			pending_turn_look(set, node->pending);
	}
}

/* Takes the i-th mark out of flight. What waits for it is woken by flight_over(). */
static struct entry *flight_close(struct batch *b, size_t i, int64_t now_ns)
{
	struct pathset *set = b->set;
	struct entry *e;

	check(i < b->count && b->items[i].entry);
	pathset_tell(set, now_ns);
	e = b->items[i].entry;
	b->items[i].entry = NULL;
	set->flying--;
	if (b->class == BATCH_CLASSES) {
		e->node->look = NULL;
		return e;
	}
	e->node->flight = NULL;
	scope_count_flight(set, e, -1);
	if (e->group) {
		struct group *g = e->group;

		e->group = NULL;
		e->stirred = g->stirred;
		if (--g->flying == 0) {
			pending_wake_list(set, &g->waiters);
			pending_free_group(set, g);
		}
	}
	return e;
}

static void flight_over(struct pathset *set, struct node *node, int64_t taken_ns, int64_t now_ns)
{
	struct entry *next = node->pending;

	if (next && next->remark && !node->flight) {
		int64_t ready = next->put_ns + pending_remark_ns(now_ns - taken_ns);

		next->remark = false;
		if (ready > next->ready_ns)
			next->ready_ns = ready;
		pending_schedule(set, next);
	}
	pending_wake_list(set, &node->waiters);
	node_release(set, node);
	collapse_to_limit(set);
}

/* A name whose group has been marked again meanwhile goes along with those marks: a list without it
 * could replace the inode and leave this name behind. Where they told of a change it goes also when
 * they have left. */
static bool rejoin(struct pathset *set, struct entry *e)
{
	struct group *g;

	if (!e->mark.link)
		e->mark.link = e->mark.ino;
	if (e->node->pending || !pending_groups(e))
		return false;
	HASH_FIND(hh, set->groups, &e->mark.link, sizeof(e->mark.link), g);
	if ((!g || !g->pending) && e->stirred == MARK_META)
		return false;
	e->mark.action = e->stirred;
	e->mark.flags &= MARK_AUDIT;
	e->mark.size = 0;
	e->remark = false;
	pending_attach(set, e);
	return true;
}

void batch_ack(struct batch *b, size_t i, int64_t now_ns)
{
	struct entry *e = flight_close(b, i, now_ns);
	struct node *node = e->node;
	int64_t taken_ns = e->taken_ns;

	if (b->class != BATCH_CLASSES) {
		recent_note(b->set, node, now_ns, now_ns - taken_ns);
		turn_stale(b->set, e);
	}
	if (b->class == BATCH_CLASSES || !rejoin(b->set, e))
		pending_free(b->set, e);
	flight_over(b->set, node, taken_ns, now_ns);
}

void batch_drop(struct batch *b, size_t i, int64_t now_ns)
{
	struct entry *e = flight_close(b, i, now_ns);
	struct node *node = e->node;
	int64_t taken_ns = e->taken_ns;

	pending_free(b->set, e);
	flight_over(b->set, node, taken_ns, now_ns);
}

void batch_nack(struct batch *b, size_t i, enum mark_action action, int64_t now_ns,
                int64_t not_before_ns)
{
	struct entry *e = flight_close(b, i, now_ns);
	struct pathset *set = b->set;
	struct node *node = e->node;
	struct entry *newer = node->pending;
	int64_t taken_ns = e->taken_ns;

	e->mark.action = e->mark.scope == MARK_SUBTREE ? MARK_LOOK : action;
	if (e->mark.action < e->stirred)
		e->mark.action = e->stirred;
	e->remark = false;
	e->not_before_ns = not_before_ns;
	if (newer) {
		/* The older entry stays, for its age; the newer one's times go with its mark. */
		pending_detach(set, newer);
		mark_merge(&e->mark, &newer->mark);
		heap_fix(&set->born, e);
		e->remark = newer->remark;
		e->put_ns = newer->put_ns;
		e->ready_ns = pending_waits(&newer->mark) && !pending_waits(&e->mark)
		                      ? INT64_MIN
		                      : newer->ready_ns;
		if (newer->not_before_ns > not_before_ns)
			e->not_before_ns = newer->not_before_ns;
		pending_free(set, newer);
	}
	pending_attach(set, e);
	flight_over(set, node, taken_ns, now_ns);
}

void batch_end(struct batch *b, int64_t now_ns, int64_t not_before_ns)
{
	for (size_t i = 0; i < b->count; i++) {
		if (b->items[i].entry)
			batch_nack(b, i, MARK_LOOK, now_ns, not_before_ns);
	}
	for (size_t i = 0; i < b->count; i++)
		free((char *)b->items[i].mark.path.p);
	free(b->items);
	free(b);
}
