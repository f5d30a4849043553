/* The life of a pending entry: where it waits, what wakes it, and how marks merge into it. */
#include "core/pathset_parts.h"

#include "base/mem.h"

void pathset_tell(struct pathset *set, int64_t now_ns)
{
	struct entry *e;

	if (now_ns > set->now_ns)
		set->now_ns = now_ns;
	recent_purge(set, set->now_ns);
	while ((e = heap_top(&set->timed)) && e->due_ns <= set->now_ns)
		pending_schedule(set, e);
}

enum queue_kind pending_kind(const struct entry *e)
{
	switch (e->mark.action) {
	case MARK_META:
	case MARK_QUICK:
		return e->group && e->group->content ? QUEUE_CONTENT : QUEUE_QUICK;
	case MARK_CONTENT:
		return QUEUE_CONTENT;
	case MARK_DELETE:
		return QUEUE_DELETE;
	case MARK_LOOK:
		return e->mark.scope == MARK_SUBTREE ? QUEUE_SUBTREE : QUEUE_LOOK;
	}
	check(false);
}

static void entry_set_able(struct entry *e, bool able)
{
	if (e->group && e->able != able)
		e->group->able += able ? 1 : (size_t)-1;
	e->able = able;
}

/* The link number says nothing about what is gone or unknown, and directories have no links; a
 * group with one could wait for itself. */
bool pending_groups(const struct entry *e)
{
	return e->mark.link && !(e->mark.flags & MARK_DIR) && e->mark.action != MARK_DELETE &&
	       e->mark.action != MARK_LOOK;
}

struct group *pending_group(struct pathset *set, uint64_t link)
{
	struct group *g;

	HASH_FIND(hh, set->groups, &link, sizeof(link), g);
	if (!g) {
		g = mem_alloc(sizeof(*g));
		g->link = link;
		g->stirred = MARK_META;
		HASH_ADD(hh, set->groups, link, sizeof(g->link), g);
	}
	return g;
}

static void group_join(struct pathset *set, struct entry *e)
{
	struct group *g = pending_group(set, e->mark.link);

	e->group = g;
	e->group_prev = NULL;
	e->group_next = g->members;
	if (g->members)
		g->members->group_prev = e;
	g->members = e;
	g->pending++;
	g->content += e->mark.action == MARK_CONTENT;
	g->able += e->able;
}

void pending_free_group(struct pathset *set, struct group *g)
{
	if (g->pending || g->flying)
		return;
	HASH_DEL(set->groups, g);
	free(g);
}

static void group_leave(struct pathset *set, struct entry *e)
{
	struct group *g = e->group;

	*(e->group_prev ? &e->group_prev->group_next : &g->members) = e->group_next;
	if (e->group_next)
		e->group_next->group_prev = e->group_prev;
	g->pending--;
	g->content -= e->mark.action == MARK_CONTENT;
	g->able -= e->able;
	e->group = NULL;
	pending_wake_list(set, &g->waiters);
	pending_free_group(set, g);
}

static void entry_unplace(struct entry *e)
{
	if (e->queue) {
		heap_remove(e->queue, e);
		e->queue = NULL;
	}
	if (e->waits_on) {
		*(e->wait_prev ? &e->wait_prev->wait_next : e->waits_on) = e->wait_next;
		if (e->wait_next)
			e->wait_next->wait_prev = e->wait_prev;
		e->wait_prev = e->wait_next = NULL;
		e->waits_on = NULL;
	}
}

static void entry_enqueue(struct entry *e, struct heap *queue, enum entry_state state)
{
	entry_unplace(e);
	e->queue = queue;
	heap_push(queue, e);
	e->state = state;
	entry_set_able(e, state == ENTRY_READY);
}

void pending_park(struct pathset *set, struct entry *e, enum entry_wait wait, struct entry **list)
{
	(void)set;
	entry_unplace(e);
	e->state = ENTRY_PARKED;
	e->wait = wait;
	if (list) {
		e->waits_on = list;
		e->wait_next = *list;
		if (*list)
			(*list)->wait_prev = e;
		*list = e;
	}
	entry_set_able(e, e->group && list == &e->group->waiters);
}

void pending_schedule(struct pathset *set, struct entry *e)
{
	enum queue_kind kind = pending_kind(e);
	bool low = (e->mark.flags & MARK_LOW) && kind < QUEUE_LOOK;

	if (e->node->flight || (e->mark.action == MARK_LOOK && e->node->look)) {
		pending_park(set, e, WAIT_LIST, &e->node->waiters);
		return;
	}
	e->due_ns = e->ready_ns > e->not_before_ns ? e->ready_ns : e->not_before_ns;
	if (e->due_ns > set->now_ns) {
		entry_enqueue(e, &set->timed, ENTRY_TIMED);
		pending_unreserve(set, e);
	} else {
		entry_enqueue(e, &set->ready[low][kind], ENTRY_READY);
	}
}

void pending_wake_list(struct pathset *set, struct entry **list)
{
	struct entry *kept = *list;

	/* Whoever has to wait for the same again parks in the list anew, so it is emptied first. */
	*list = NULL;
	for (struct entry *e = kept; e; e = e->wait_next)
		e->waits_on = NULL;
	while (kept) {
		struct entry *e = kept;

		kept = e->wait_next;
		e->wait_prev = e->wait_next = NULL;
		pending_schedule(set, e);
	}
}

void pending_reserve(struct pathset *set, struct entry *e)
{
	/* A low-priority mark may go last for as long as it takes. */
	if (e->at[HEAP_RESERVED] == HEAP_NOWHERE && !(e->mark.flags & MARK_LOW))
		heap_push(&set->reserved, e);
}

void pending_unreserve(struct pathset *set, struct entry *e)
{
	if (e->at[HEAP_RESERVED] == HEAP_NOWHERE)
		return;
	heap_remove(&set->reserved, e);
	pending_wake_list(set, &e->node->waiters);
}

struct entry *pending_new(struct pathset *set, struct node *node, const struct mark *mark,
                          int64_t now_ns)
{
	struct entry *e = mem_alloc(sizeof(*e));

	e->mark = *mark;
	e->mark.path = (struct bytes){NULL, 0};
	e->node = node;
	e->seq = set->seq++;
	e->put_ns = now_ns;
	e->not_before_ns = INT64_MIN;
	for (unsigned i = 0; i < HEAP_SLOTS; i++)
		e->at[i] = HEAP_NOWHERE;
	heap_push(&set->born, e);
	return e;
}

void pending_free(struct pathset *set, struct entry *e)
{
	heap_remove(&set->born, e);
	free(e);
}

/* A directory is becoming something else: what is pending below it is stale. */
static bool entry_flattens(const struct entry *e)
{
	return mark_exclusive(&e->mark) && e->mark.action != MARK_DELETE &&
	       (e->mark.flags & (MARK_RETYPED | MARK_DIR)) == MARK_RETYPED;
}

static bool below_flattened(const struct node *node)
{
	while ((node = node->parent)) {
		if (node->pending && entry_flattens(node->pending))
			return true;
	}
	return false;
}

static void pending_ungroup(struct pathset *set, struct entry *e)
{
	pending_unreserve(set, e);
	pending_detach(set, e);
	e->mark.link = 0;
	pending_attach(set, e);
}

void pending_attach(struct pathset *set, struct entry *e)
{
	struct node *node = e->node;

	check(!node->pending);
	/* A look does not wait for a file to be closed. */
	if (e->mark.action == MARK_LOOK && (e->mark.flags & MARK_HOT)) {
		e->mark.flags &= ~(unsigned)MARK_HOT;
		e->ready_ns = INT64_MIN;
	}
	node->pending = e;
	e->batch = NULL;
	e->able = false;
	set->pending++;
	set->pending_bytes += e->mark.size;
	scope_count_pending(set, e, 1);
	/* A flattening mark waits for its group; stale marks below, which wait for it, must not
	 * hold up that group or another that holds up this one. */
	if (pending_groups(e) && below_flattened(node))
		e->mark.link = 0;
	if (pending_groups(e))
		group_join(set, e);
	if (entry_flattens(e)) {
		struct node *below = node;

		while ((below = node_next(below, node, below->pending_below > 0))) {
			if (below->pending && below->pending->group)
				pending_ungroup(set, below->pending);
		}
	}
	pending_schedule(set, e);
}

void pending_detach(struct pathset *set, struct entry *e)
{
	struct node *node = e->node;

	check(node->pending == e);
	entry_unplace(e);
	if (e->at[HEAP_RESERVED] != HEAP_NOWHERE)
		heap_remove(&set->reserved, e);
	node->pending = NULL;
	set->pending--;
	set->pending_bytes -= e->mark.size;
	scope_count_pending(set, e, -1);
	if (e->group)
		group_leave(set, e);
	e->able = false;
}

/* What decides where an entry waits and who waits for it. */
static bool same_shape(const struct entry *e, const struct mark *m)
{
	const struct mark *was = &e->mark;
	bool actions =
	        was->action == m->action || (was->action <= MARK_QUICK && m->action <= MARK_QUICK);

	return actions && was->scope == m->scope && was->link == m->link &&
	       !((was->flags ^ m->flags) & (MARK_LOW | MARK_RETYPED | MARK_DIR)) &&
	       mark_exclusive(was) == mark_exclusive(m);
}

/* Only its numbers change: it stays where it is, and nobody is woken. */
static void merge_in_place(struct pathset *set, struct entry *e, const struct mark *m,
                           int64_t ready_ns)
{
	set->pending_bytes += m->size - e->mark.size;
	e->mark = *m;
	heap_fix(&set->born, e);
	if (e->at[HEAP_RESERVED] != HEAP_NOWHERE)
		heap_fix(&set->reserved, e);
	if (ready_ns < e->ready_ns)
		e->ready_ns = ready_ns;
	switch (e->state) {
	case ENTRY_TIMED:
		pending_schedule(set, e);
		break;
	case ENTRY_READY:
		heap_fix(e->queue, e);
		break;
	case ENTRY_PARKED:
	case ENTRY_FLYING:
		break;
	}
}

void pending_merge(struct pathset *set, struct entry *e, const struct mark *next, int64_t ready_ns)
{
	struct mark merged = e->mark;
	bool lost;

	mark_merge(&merged, next);
	merged.path = (struct bytes){NULL, 0};
	if (same_shape(e, &merged)) {
		merge_in_place(set, e, &merged, ready_ns);
		return;
	}
	lost = e->at[HEAP_RESERVED] != HEAP_NOWHERE ||
	       (mark_exclusive(&e->mark) && !mark_exclusive(&merged));
	pending_detach(set, e);
	e->mark = merged;
	heap_fix(&set->born, e);
	if (ready_ns < e->ready_ns)
		e->ready_ns = ready_ns;
	pending_attach(set, e);
	if (lost)
		pending_wake_list(set, &e->node->waiters);
}

void pending_stir(struct pathset *set, struct entry *e, enum mark_action action)
{
	struct group *g = e->group;

	if (!g)
		return;
	if (g->flying && action > g->stirred)
		g->stirred = action;
	if (action != MARK_CONTENT || g->content == g->pending)
		return;
	for (struct entry *m = g->members; m; m = m->group_next)
		m->mark.action = MARK_CONTENT;
	g->content = g->pending;
	for (struct entry *m = g->members; m; m = m->group_next)
		if (m->state == ENTRY_READY)
			pending_schedule(set, m); /* in the queue of its class */
}

void pending_hurry(struct pathset *set, struct entry *e)
{
	e->mark.flags &= ~(unsigned)(MARK_HOT | MARK_BRIEF);
	e->ready_ns = INT64_MIN;
	if (e->state == ENTRY_TIMED)
		pending_schedule(set, e);
}

void pending_turn_look(struct pathset *set, struct entry *e)
{
	if (e->mark.action == MARK_LOOK)
		return;
	pending_detach(set, e);
	e->mark.action = MARK_LOOK;
	e->mark.link = 0;
	pending_attach(set, e);
	pending_wake_list(set, &e->node->waiters);
}
