/*
 * look: what the engine asks the look thread for, and how much it lets it put.
 *
 * A mark may become a mere look by merging or collapsing; what it was put for is kept aside
 * (content_due, least), so that precision may drop and a mark never (I2).
 */
#include "base/mem.h"
#include "engine/internal.h"

void engine_content_due(struct engine *e, struct bytes path, uint64_t born, int64_t since_ns,
                        bool doubt)
{
	aged_add(&e->content_due, path, born, since_ns)->doubt |= doubt;
}

void engine_put_look(struct engine *e, struct bytes path, uint64_t born, int64_t since_ns,
                     bool content, int64_t now_ns)
{
	struct mark m = {.path = path, .action = MARK_LOOK, .born = born, .since_ns = since_ns};

	if (content)
		engine_content_due(e, path, born, since_ns, true);
	pathset_put(e->set, &m, now_ns);
}

/* A look that found nothing to do has settled its path. */
static void look_over(struct engine *e, struct batch *b, int64_t now_ns)
{
	for (size_t i = 0; i < batch_count(b); i++) {
		struct bytes path = batch_mark(b, i)->path;

		batch_ack(b, i, now_ns);
		if (!pathset_has(e->set, path)) {
			aged_remove(&e->content_due, path);
			failure_looked(e, path);
		}
	}
	batch_end(b, now_ns, now_ns);
}

void engine_looked(struct engine *e, uint64_t token, int64_t now_ns)
{
	struct look_request *l;

	HASH_FIND(hh, e->looks, &token, sizeof(token), l);
	if (!l)
		return;
	HASH_DEL(e->looks, l);
	if (l->batch)
		look_over(e, l->batch, now_ns);
	if (token == e->compare_token)
		e->compare_running = false;
	free(l);
}

void engine_comparing(struct engine *e, enum mark_action least)
{
	e->least = e->comparing && e->least > least ? e->least : least;
	e->comparing = true;
}

uint64_t engine_compared(const struct engine *e)
{
	return e->compared;
}

void look_step_compare(struct engine *e)
{
	if (pathset_pending(e->set) || pathset_in_flight(e->set) || e->looks)
		return;
	if (e->crawled && !e->unproven && !e->aside && !e->holds)
		e->types_unsure = false;
	e->comparing = false;
	e->compared += e->compare_open;
	e->compare_open = false;
	aged_clear(&e->content_due);
	rename_quiet(e);
}

static void look_send(struct engine *e, struct batch *b)
{
	size_t n = batch_count(b);
	struct mark *marks = mem_array(n, sizeof(*marks));
	struct look_request *l = mem_alloc(sizeof(*l));

	for (size_t i = 0; i < n; i++) {
		marks[i] = *batch_mark(b, i);
		if (e->comparing)
			marks[i].action = e->least;
		if (aged_has(e->content_due, marks[i].path) ||
		    (marks[i].scope == MARK_SUBTREE &&
		     aged_has_below(e->content_due, marks[i].path)))
			marks[i].action = MARK_CONTENT;
	}
	l->token = ++e->next_token;
	l->batch = b;
	HASH_ADD(hh, e->looks, token, sizeof(l->token), l);
	e->ops->look(e->arg, l->token, marks, n);
	free(marks);
}

/* Nothing else can make room in the path set. */
static bool look_alone(struct engine *e, int64_t now_ns)
{
	return !e->flights &&
	       !(pathset_ready(e->set, now_ns) & (1u << BATCH_QUICK | 1u << BATCH_CONTENT));
}

/* Looks that path set marks ask for. Subtrees only while there is room for what they unfold to, or
 * one by one when they alone take the room (I14); and never in one request with others: those would
 * wait, with the marks behind them that take the room, for a crawl that waits for room. */
void look_send_all(struct engine *e, int64_t now_ns)
{
	while (pathset_ready(e->set, now_ns) & 1u << BATCH_CLASSES) {
		bool few = pathset_pending(e->set) - pathset_pending_deletions(e->set) <
		           e->config.marks_limit / 4;
		struct batch *b = pathset_take_looks(e->set, 1024, false, now_ns);

		if (!b && engine_can_send(e, now_ns) &&
		    (few || (!e->looks && look_alone(e, now_ns))))
			b = pathset_take_looks(e->set, few ? 16 : 1, true, now_ns);
		if (!b)
			return;
		look_send(e, b);
	}
}

/* Marks that the look thread may put. A target in trouble gets marks, too: beyond its limit the
 * path set collapses. Deletions that wait for a compare must not keep it from going on. */
void look_tell_room(struct engine *e, int64_t now_ns)
{
	size_t pending = pathset_pending(e->set), half = e->config.marks_limit / 2, room;

	pending -= e->unproven ? pathset_pending_deletions(e->set) : 0;
	room = pending < half ? half - pending : 0;
	if (room == 0 && look_alone(e, now_ns))
		room = e->config.marks_limit / 8 + 1;
	e->ops->room(e->arg, room);
}
