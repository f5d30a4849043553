/*
 * Random operations on a path set against a plain list that does everything the slow way. Checked
 * after every step: no mark lost or invented, merging, counts, born; for every batch: I6, order,
 * groups, times, limits; and that a take which yields nothing had nothing to yield.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/path.h"
#include "core/pathset.h"

#define MS          INT64_C(1000000)
#define SECOND      (1000 * MS)
#define LONGEST     (5 * SECOND)
#define SEEDS       60
#define STEPS       2500
#define SLOTS       4096
#define BATCHES_MAX 6

struct slot {
	bool there;
	struct mark mark;
	int64_t put, ready, not_before, taken;
	bool remark;
	unsigned long batch;      /* in flight: its number */
	enum mark_action stirred; /* in flight: by what was put for its links */
};

/* One name: what is pending, in flight and out for a look. */
struct name {
	char path[64];
	struct slot pending, flight, look;
	int64_t acked, cost; /* cost < 0: never */
};

struct flying {
	struct batch *batch;
	unsigned long number;
	bool looks;
};

struct world {
	uint64_t random;
	struct pathset *set;
	struct name names[SLOTS];
	size_t count;
	struct flying batches[BATCHES_MAX];
	size_t flying;
	unsigned long number;
	int64_t now;
	uint64_t drain;
	size_t seen;
};

static uint64_t rnd(struct world *w, uint64_t below)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return (w->random >> 11) % below;
}

static struct name *name_at(struct world *w, struct bytes path)
{
	for (size_t i = 0; i < w->count; i++) {
		if (bytes_equal(bytes_of(w->names[i].path), path))
			return &w->names[i];
	}
	assert_true(w->count < SLOTS && path.n < sizeof(w->names[0].path));
	memcpy(w->names[w->count].path, path.p, path.n);
	w->names[w->count].cost = -1;
	return &w->names[w->count++];
}

static bool below(const struct name *a, const struct name *b)
{
	return path_below(bytes_of(a->path), bytes_of(b->path));
}

static bool exclusive(const struct mark *m)
{
	if (m->action == MARK_LOOK)
		return false;
	return m->action == MARK_DELETE || (m->flags & MARK_RETYPED) ||
	       (m->flags & (MARK_DIR | MARK_FRESH)) == (MARK_DIR | MARK_FRESH);
}

static bool grouped(const struct mark *m)
{
	return m->link && !(m->flags & MARK_DIR) && m->action != MARK_DELETE &&
	       m->action != MARK_LOOK;
}

static void merge(struct mark *into, const struct mark *next)
{
	unsigned soft = MARK_LOW | MARK_HOT | MARK_AUDIT,
	         hard = MARK_DIR | MARK_FRESH | MARK_RETYPED;
	unsigned kept = into->flags & next->flags & soft;
	enum mark_action was = into->action, is = next->action;

	if (is != MARK_LOOK) {
		kept |= next->flags & hard;
		into->size = next->size;
		into->link = next->link;
	} else {
		kept |= (into->flags | (was == MARK_LOOK ? next->flags : 0)) & hard;
	}
	into->flags = kept;
	if (was == MARK_LOOK || is == MARK_LOOK)
		into->action = MARK_LOOK;
	else if (is == MARK_DELETE)
		into->action = MARK_DELETE;
	else if (was == MARK_DELETE)
		into->action = MARK_CONTENT;
	else if (is > was)
		into->action = is;
	if (next->scope == MARK_SUBTREE) {
		into->scope = MARK_SUBTREE;
		into->action = MARK_LOOK;
	} else if (into->scope == MARK_SUBTREE) {
		into->action = MARK_LOOK;
	}
	into->born = next->born < into->born ? next->born : into->born;
	into->since_ns = next->since_ns < into->since_ns ? next->since_ns : into->since_ns;
}

static int64_t remark_wait(int64_t cost)
{
	return 2 * cost < SECOND ? 2 * cost : SECOND;
}

/* A look does not wait for a file to be closed. */
static void cool(struct world *w)
{
	for (size_t i = 0; i < w->count; i++) {
		struct slot *s = &w->names[i].pending;

		if (s->there && s->mark.action == MARK_LOOK && (s->mark.flags & MARK_HOT)) {
			s->mark.flags &= ~(unsigned)MARK_HOT;
			s->ready = INT64_MIN;
		}
	}
}

/* A directory above is becoming something else: the mark has no group. */
static bool flattened(const struct world *w, const struct name *n)
{
	for (size_t i = 0; i < w->count; i++) {
		const struct mark *m = &w->names[i].pending.mark;

		if (w->names[i].pending.there && below(n, &w->names[i]) && exclusive(m) &&
		    m->action != MARK_DELETE &&
		    (m->flags & (MARK_RETYPED | MARK_DIR)) == MARK_RETYPED)
			return true;
	}
	return false;
}

/* What is put for one name of an inode tells of the content of all. */
static void model_stir(struct world *w, const struct name *n, const struct mark *m)
{
	if (!grouped(&n->pending.mark) || flattened(w, n) || m->action < MARK_QUICK ||
	    m->action > MARK_CONTENT ||
	    (m->action == MARK_QUICK && (m->flags & (MARK_FRESH | MARK_RETYPED))))
		return;
	for (size_t i = 0; i < w->count; i++) {
		struct slot *s[] = {&w->names[i].pending, &w->names[i].flight};

		if (s[0]->there && grouped(&s[0]->mark) &&
		    s[0]->mark.link == n->pending.mark.link && m->action == MARK_CONTENT &&
		    !flattened(w, &w->names[i]))
			s[0]->mark.action = MARK_CONTENT;
		if (s[1]->there && grouped(&s[1]->mark) &&
		    s[1]->mark.link == n->pending.mark.link && m->action > s[1]->stirred)
			s[1]->stirred = m->action;
	}
}

static void model_put(struct world *w, const struct mark *m)
{
	struct name *n = name_at(w, m->path);
	int64_t ready = m->flags & MARK_HOT ? m->since_ns + LONGEST : INT64_MIN;

	if (n->cost >= 0 && w->now - n->acked < SECOND && w->now + remark_wait(n->cost) > ready)
		ready = w->now + remark_wait(n->cost);
	if (n->pending.there) {
		merge(&n->pending.mark, m);
		n->pending.ready = ready < n->pending.ready ? ready : n->pending.ready;
		cool(w);
		model_stir(w, n, m);
		return;
	}
	n->pending = (struct slot){.there = true,
	                           .mark = *m,
	                           .put = w->now,
	                           .ready = ready,
	                           .not_before = INT64_MIN,
	                           .remark = n->flight.there};
	n->pending.mark.path = bytes_of(n->path);
	cool(w);
	model_stir(w, n, m);
}

static bool due(const struct world *w, const struct slot *s)
{
	return s->ready <= w->now && s->not_before <= w->now;
}

static bool conflict(const struct name *a, const struct mark *ma, const struct name *b,
                     const struct mark *mb)
{
	return (exclusive(ma) || exclusive(mb)) && (below(a, b) || below(b, a));
}

/* In flight in another batch and in the way of n's pending mark (I6). */
static bool flight_blocks(const struct world *w, const struct name *n, unsigned long batch)
{
	if (n->flight.there)
		return true;
	for (size_t i = 0; i < w->count; i++) {
		const struct name *o = &w->names[i];

		if (o->flight.there && o->flight.batch != batch &&
		    conflict(n, &n->pending.mark, o, &o->flight.mark))
			return true;
	}
	return false;
}

/* The pending mark of `o` has to go first. */
static bool goes_first(const struct name *o, const struct name *n)
{
	const struct mark *m = &n->pending.mark;

	if (!o->pending.there)
		return false;
	if (below(o, n))
		return o->pending.mark.action == MARK_DELETE &&
		       (m->action == MARK_DELETE ||
		        (m->action != MARK_LOOK && (m->flags & MARK_RETYPED)));
	return below(n, o) && m->action != MARK_DELETE && exclusive(&o->pending.mark);
}

static bool pending_blocks(const struct world *w, const struct name *n)
{
	for (size_t i = 0; i < w->count; i++) {
		if (goes_first(&w->names[i], n))
			return true;
	}
	return false;
}

/* An older mark that something in flight holds up, and that this one would hold up, too. */
static bool reservation_blocks(const struct world *w, const struct name *n)
{
	for (size_t i = 0; i < w->count; i++) {
		const struct name *o = &w->names[i];

		if (o != n && o->pending.there && o->pending.mark.action != MARK_LOOK &&
		    !(o->pending.mark.flags & MARK_LOW) &&
		    o->pending.mark.since_ns <= n->pending.mark.since_ns &&
		    conflict(o, &o->pending.mark, n, &n->pending.mark) && flight_blocks(w, o, 0))
			return true;
	}
	return false;
}

static bool takeable(const struct world *w, const struct name *n)
{
	return n->pending.there && n->pending.mark.action != MARK_LOOK && due(w, &n->pending) &&
	       !flight_blocks(w, n, 0) && !pending_blocks(w, n) && !reservation_blocks(w, n);
}

static bool see_links(const struct mark *mark, bool in_flight, void *arg)
{
	struct world *w = arg;
	struct name *n = name_at(w, mark->path);

	if (!in_flight && grouped(&n->pending.mark) && mark->link != n->pending.mark.link) {
		assert_int_equal(mark->link, 0);
		assert_true(flattened(w, n));
		n->pending.mark.link = 0;
	}
	return true;
}

static bool group_takeable(const struct world *w, const struct name *n)
{
	if (!grouped(&n->pending.mark))
		return takeable(w, n);
	for (size_t i = 0; i < w->count; i++) {
		const struct name *o = &w->names[i];

		if (o->flight.there && grouped(&o->flight.mark) &&
		    o->flight.mark.link == n->pending.mark.link)
			return false;
		if (o->pending.there && grouped(&o->pending.mark) &&
		    o->pending.mark.link == n->pending.mark.link && !takeable(w, o))
			return false;
	}
	return true;
}

static void check_mark(const struct mark *seen, const struct mark *known)
{
	assert_int_equal(seen->scope, known->scope);
	assert_int_equal(seen->action, known->action);
	assert_int_equal(seen->flags, known->flags);
	assert_int_equal(seen->born, known->born);
	assert_int_equal(seen->since_ns, known->since_ns);
	assert_int_equal(seen->size, known->size);
}

static bool check_each(const struct mark *mark, bool in_flight, void *arg)
{
	struct world *w = arg;
	struct name *n = name_at(w, mark->path);

	if (!in_flight) {
		assert_true(n->pending.there);
		check_mark(mark, &n->pending.mark);
	} else {
		assert_true(n->flight.there || n->look.there);
	}
	w->seen++;
	return true;
}

static void check_counts(struct world *w)
{
	size_t pending = 0, flying = 0;
	uint64_t bytes = 0, born = BORN_NONE;
	int64_t oldest = INT64_MAX;
	bool any = false;

	pathset_each(w->set, BYTES(""), see_links, w);
	for (size_t i = 0; i < w->count; i++) {
		const struct slot *s[] = {&w->names[i].pending, &w->names[i].flight,
		                          &w->names[i].look};

		pending += s[0]->there;
		flying += s[1]->there + s[2]->there;
		bytes += s[0]->there ? s[0]->mark.size : 0;
		for (size_t k = 0; k < 3; k++) {
			if (!s[k]->there)
				continue;
			any = true;
			born = s[k]->mark.born < born ? s[k]->mark.born : born;
			oldest = s[k]->mark.since_ns < oldest ? s[k]->mark.since_ns : oldest;
		}
		assert_int_equal(pathset_has(w->set, bytes_of(w->names[i].path)),
		                 s[0]->there || s[1]->there || s[2]->there);
	}
	assert_int_equal(pathset_pending(w->set), pending);
	assert_int_equal(pathset_in_flight(w->set), flying);
	assert_int_equal(pathset_pending_bytes(w->set), bytes);
	assert_int_equal(pathset_oldest(w->set), oldest);
	if (any) {
		assert_false(pathset_settled(w->set, born));
		assert_true(born == 0 || pathset_settled(w->set, born - 1));
	} else {
		assert_true(pathset_settled(w->set, BORN_NONE));
	}
	w->seen = 0;
	pathset_each(w->set, BYTES(""), check_each, w);
	assert_int_equal(w->seen, pending + flying);
}

/* The oldest of all has something in flight in its way: nothing of its class passes it. */
static const struct name *find_reserving(const struct world *w)
{
	const struct name *oldest = NULL;
	bool tie = false;

	for (size_t i = 0; i < w->count; i++) {
		const struct name *n = &w->names[i];

		if (!n->pending.there || n->pending.mark.action == MARK_LOOK)
			continue;
		if (!oldest || n->pending.mark.since_ns < oldest->pending.mark.since_ns) {
			oldest = n;
			tie = false;
		} else if (n->pending.mark.since_ns == oldest->pending.mark.since_ns) {
			tie = true;
		}
	}
	if (!oldest || tie || grouped(&oldest->pending.mark) ||
	    (oldest->pending.mark.flags & MARK_LOW) || !due(w, &oldest->pending) ||
	    oldest->flight.there || pending_blocks(w, oldest) || !flight_blocks(w, oldest, 0))
		return NULL;
	return oldest;
}

static enum batch_class class_of(const struct mark *m)
{
	return m->action == MARK_DELETE    ? BATCH_DELETE
	       : m->action == MARK_CONTENT ? BATCH_CONTENT
	                                   : BATCH_QUICK;
}

static void check_item(struct world *w, const struct batch *b, size_t i, unsigned long number,
                       bool content_links)
{
	const struct mark *m = batch_mark(b, i);
	struct name *n = name_at(w, m->path);
	enum batch_class class = class_of(m);

	assert_true(batch_open(b, i));
	assert_true(n->pending.there);
	check_mark(m, &n->pending.mark);
	assert_true(m->link == n->pending.mark.link || m->action == MARK_DELETE ||
	            (m->link == 0 && flattened(w, n)));
	assert_true(due(w, &n->pending));
	assert_false(flight_blocks(w, n, number));
	assert_int_not_equal(m->action, MARK_LOOK);
	if (grouped(m) && class == BATCH_QUICK && batch_class(b) == BATCH_CONTENT)
		assert_true(content_links);
	else
		assert_int_equal(class, batch_class(b));
	for (size_t k = 0; k < i; k++) {
		struct name *o = name_at(w, batch_mark(b, k)->path);

		if (batch_class(b) == BATCH_DELETE)
			assert_false(below(n, o));
		else
			assert_false(below(o, n));
	}
}

static void model_take(struct world *w, struct batch *b, const struct name *reserving)
{
	unsigned long number = ++w->number;
	size_t count = batch_count(b);
	bool content_links = false;

	assert_true(count > 0);
	for (size_t i = 0; i < count; i++)
		content_links |=
		        grouped(batch_mark(b, i)) && batch_mark(b, i)->action == MARK_CONTENT;
	for (size_t i = 0; i < count; i++) {
		struct name *n = name_at(w, batch_mark(b, i)->path);

		if (reserving && class_of(&reserving->pending.mark) == batch_class(b) &&
		    n != reserving)
			assert_true(!conflict(reserving, &reserving->pending.mark, n,
			                      &n->pending.mark) ||
			            goes_first(n, reserving));
		check_item(w, b, i, number, content_links);
	}
	for (size_t i = 0; i < count; i++) {
		struct name *n = name_at(w, batch_mark(b, i)->path);

		n->flight = n->pending;
		n->flight.mark.link = batch_mark(b, i)->link;
		n->flight.batch = number;
		n->flight.taken = w->now;
		n->flight.stirred = MARK_META;
		n->pending.there = false;
	}
	for (size_t i = 0; i < count; i++) {
		struct name *n = name_at(w, batch_mark(b, i)->path);
		struct name probe = *n;

		/* What had to go first has gone, at the latest in this batch. */
		probe.pending = probe.flight;
		assert_false(pending_blocks(w, &probe));
		for (size_t k = 0; grouped(&n->flight.mark) && k < w->count; k++) {
			const struct name *o = &w->names[k];

			if (o->pending.there && grouped(&o->pending.mark))
				assert_int_not_equal(o->pending.mark.link, n->flight.mark.link);
			if (o->flight.there && grouped(&o->flight.mark) &&
			    o->flight.mark.link == n->flight.mark.link)
				assert_int_equal(o->flight.batch, number);
		}
	}
	w->batches[w->flying++] = (struct flying){b, number, false};
}

static bool step_take(struct world *w, const struct take_limits *limits)
{
	const struct name *reserving = find_reserving(w);
	struct batch *b;
	bool grouped_any = false;
	uint64_t bytes = 0;

	if (w->flying == BATCHES_MAX)
		return false;
	b = pathset_take(w->set, limits, w->now);
	if (!b)
		return false;
	for (size_t i = 0; i < batch_count(b); i++) {
		grouped_any |= grouped(batch_mark(b, i));
		bytes += batch_mark(b, i)->size;
		assert_true(limits->low || !(batch_mark(b, i)->flags & MARK_LOW) || grouped_any);
	}
	assert_true(limits->classes & (1u << batch_class(b)));
	if (!grouped_any) {
		assert_true(batch_count(b) <= limits->max_marks);
		assert_true(batch_count(b) == 1 || bytes <= limits->max_bytes);
	}
	model_take(w, b, reserving);
	return true;
}

static bool step_looks(struct world *w, size_t max, bool subtrees)
{
	struct batch *b;

	if (w->flying == BATCHES_MAX)
		return false;
	b = pathset_take_looks(w->set, max, subtrees, w->now);
	if (!b)
		return false;
	assert_true(batch_count(b) <= max);
	assert_int_equal(batch_class(b), BATCH_CLASSES);
	for (size_t i = 0; i < batch_count(b); i++) {
		const struct mark *m = batch_mark(b, i);
		struct name *n = name_at(w, m->path);

		assert_true(n->pending.there && due(w, &n->pending));
		check_mark(m, &n->pending.mark);
		assert_int_equal(m->action, MARK_LOOK);
		assert_true(subtrees || m->scope == MARK_ENTRY);
		assert_false(n->look.there || n->flight.there);
		n->look = n->pending;
		n->look.taken = w->now;
		n->pending.there = false;
	}
	w->batches[w->flying++] = (struct flying){b, 0, true};
	return true;
}

static void model_stale(struct world *w, struct name *n, const struct mark *done)
{
	if (done->action != MARK_DELETE && !(done->flags & MARK_RETYPED))
		return;
	if (done->action == MARK_DELETE && n->pending.there &&
	    n->pending.mark.action != MARK_DELETE)
		n->pending.mark.action = MARK_LOOK;
	for (size_t i = 0; i < w->count; i++) {
		struct mark *m = &w->names[i].pending.mark;

		if (w->names[i].pending.there && below(&w->names[i], n) && m->action != MARK_DELETE)
			m->action = MARK_LOOK;
	}
	cool(w);
}

static void model_landed(struct world *w, struct name *n, int64_t taken)
{
	int64_t ready = n->pending.put + remark_wait(w->now - taken);

	if (!n->pending.there || !n->pending.remark || n->flight.there)
		return;
	n->pending.remark = false;
	n->pending.ready = ready > n->pending.ready ? ready : n->pending.ready;
}

static void model_back(struct world *w, struct name *n, struct slot *from, enum mark_action action,
                       int64_t not_before)
{
	struct slot back = *from;

	back.mark.action = back.mark.scope == MARK_SUBTREE ? MARK_LOOK : action;
	if (back.mark.action < back.stirred)
		back.mark.action = back.stirred;
	back.not_before = not_before;
	back.remark = false;
	if (n->pending.there) {
		merge(&back.mark, &n->pending.mark);
		back.put = n->pending.put;
		back.ready = n->pending.mark.flags & ~back.mark.flags & MARK_HOT ? INT64_MIN
		                                                                 : n->pending.ready;
		back.remark = n->pending.remark;
		if (n->pending.not_before > not_before)
			back.not_before = n->pending.not_before;
	}
	from->there = false;
	n->pending = back;
	model_landed(w, n, from->taken);
	cool(w);
}

/* A name whose group has been marked again meanwhile goes along with those marks, or after them
 * where they told of the content. */
static void model_rejoin(struct world *w, struct name *n, const struct slot *done)
{
	bool again = done->stirred != MARK_META;

	for (size_t i = 0; i < w->count; i++) {
		const struct slot *o = &w->names[i].pending;

		again |= o->there && grouped(&o->mark) && o->mark.link == done->mark.link;
	}
	if (n->pending.there || !grouped(&done->mark) || !again)
		return;
	n->pending = *done;
	n->pending.there = true;
	n->pending.mark.action = done->stirred;
	n->pending.mark.flags &= MARK_AUDIT;
	n->pending.mark.size = 0;
	n->pending.remark = false;
}

static void close_item(struct world *w, struct flying *f, size_t i)
{
	struct name *n = name_at(w, batch_mark(f->batch, i)->path);
	struct slot *from = f->looks ? &n->look : &n->flight;
	enum mark_action action = f->looks ? MARK_LOOK : (enum mark_action)rnd(w, 5);
	int64_t not_before = w->now + (int64_t)rnd(w, 3) * SECOND;

	assert_true(from->there);
	switch (rnd(w, 6)) {
	case 0:
		batch_nack(f->batch, i, action, w->now, not_before);
		model_back(w, n, from, action, not_before);
		break;
	case 1:
		batch_drop(f->batch, i, w->now);
		from->there = false;
		model_landed(w, n, from->taken);
		break;
	default:
		batch_ack(f->batch, i, w->now);
		from->there = false;
		if (!f->looks) {
			n->acked = w->now;
			n->cost = w->now - from->taken;
			model_stale(w, n, &from->mark);
			model_rejoin(w, n, from);
		}
		model_landed(w, n, from->taken);
		break;
	}
	assert_false(batch_open(f->batch, i));
}

static void end_batch(struct world *w, size_t which)
{
	struct flying f = w->batches[which];

	for (size_t i = 0; i < batch_count(f.batch); i++) {
		struct name *n = name_at(w, batch_mark(f.batch, i)->path);

		if (batch_open(f.batch, i))
			model_back(w, n, f.looks ? &n->look : &n->flight, MARK_LOOK, w->now);
	}
	batch_end(f.batch, w->now, w->now);
	w->batches[which] = w->batches[--w->flying];
}

static void step_close(struct world *w)
{
	size_t which = w->flying ? rnd(w, w->flying) : 0;
	struct flying *f = &w->batches[which];
	size_t open = 0;

	if (!w->flying)
		return;
	for (size_t i = 0; i < batch_count(f->batch); i++) {
		if (batch_open(f->batch, i) && rnd(w, 2))
			close_item(w, f, i);
		open += batch_open(f->batch, i);
	}
	if (!open || rnd(w, 5) == 0)
		end_batch(w, which);
}

static struct mark random_mark(struct world *w, char *path)
{
	struct mark m = {.action = (enum mark_action)rnd(w, 5), .born = ++w->drain};
	size_t depth = rnd(w, 5), n = 0;

	for (size_t i = 0; i < depth; i++) {
		if (n)
			path[n++] = '/';
		path[n++] = (char)('a' + rnd(w, 3));
	}
	path[n] = 0;
	m.path = (struct bytes){path, n};
	m.flags = (unsigned)rnd(w, 64);
	if (rnd(w, 3))
		m.flags &= ~(unsigned)(MARK_HOT | MARK_LOW | MARK_RETYPED);
	if (m.flags & MARK_AUDIT)
		m.born = BORN_NONE;
	if (m.action == MARK_LOOK && rnd(w, 3) == 0)
		m.scope = MARK_SUBTREE;
	if (rnd(w, 5) == 0)
		m.link = 1 + rnd(w, 3);
	m.size = rnd(w, 1000);
	m.since_ns = w->now - (int64_t)rnd(w, 4) * SECOND;
	return m;
}

static void step_put(struct world *w)
{
	char path[32];
	struct mark m = random_mark(w, path);

	pathset_put(w->set, &m, w->now);
	model_put(w, &m);
}

/* Everything is due: take until nothing comes, then look for what should have come. */
static void step_exhaust(struct world *w)
{
	const struct take_limits all = {7, 50, UINT64_MAX, true};

	w->now += 100 * SECOND;
	while (step_take(w, &all) || step_looks(w, 50, true))
		;
	if (w->flying == BATCHES_MAX)
		return;
	for (size_t i = 0; i < w->count; i++) {
		const struct name *n = &w->names[i];

		if (!n->pending.there)
			continue;
		if (n->pending.mark.action == MARK_LOOK)
			assert_true(n->look.there || n->flight.there);
		else
			assert_false(group_takeable(w, n));
	}
}

static void step(struct world *w)
{
	unsigned what = (unsigned)rnd(w, 100);

	if (what < 50) {
		step_put(w);
	} else if (what < 65) {
		struct take_limits limits = {(unsigned)rnd(w, 8), 1 + rnd(w, 12), rnd(w, 4000),
		                             rnd(w, 2)};

		step_take(w, &limits);
	} else if (what < 70) {
		step_looks(w, 1 + rnd(w, 4), rnd(w, 2));
	} else if (what < 90) {
		step_close(w);
	} else if (what < 97) {
		w->now += (int64_t)rnd(w, 400) * MS;
	} else {
		step_exhaust(w);
	}
}

/* Without anything new all of it gets through, however it was entangled. */
static void drain(struct world *w)
{
	const struct take_limits all = {7, 5, UINT64_MAX, true};
	size_t rounds = 0;

	while (pathset_pending(w->set) || w->flying) {
		assert_true(rounds++ < 10000);
		w->now += 100 * SECOND;
		while (step_take(w, &all) || step_looks(w, 5, true))
			;
		assert_true(w->flying > 0);
		for (size_t i = 0; i < batch_count(w->batches[0].batch); i++) {
			struct flying *f = &w->batches[0];
			struct name *n = name_at(w, batch_mark(f->batch, i)->path);
			struct slot *from = f->looks ? &n->look : &n->flight;

			if (!batch_open(f->batch, i))
				continue;
			batch_ack(f->batch, i, w->now);
			from->there = false;
			if (!f->looks) {
				model_stale(w, n, &from->mark);
				model_rejoin(w, n, from);
			}
			model_landed(w, n, from->taken);
		}
		end_batch(w, 0);
		check_counts(w);
	}
}

static void random_operations_agree_with_a_plain_list(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed <= SEEDS; seed++) {
		struct world *w = mem_alloc(sizeof(*w));

		print_message("# seed %u\n", seed);
		w->random = seed * UINT64_C(0x9e3779b97f4a7c15);
		w->now = 1000 * SECOND;
		w->set = pathset_new(SLOTS, LONGEST);
		for (unsigned i = 0; i < STEPS; i++) {
			step(w);
			check_counts(w);
		}
		drain(w);
		pathset_free(w->set);
		free(w);
	}
}

static void check_covered(const struct world *w)
{
	for (size_t i = 0; i < w->count; i++) {
		struct bytes path = bytes_of(w->names[i].path);
		bool covered = pathset_has(w->set, path);

		while (!covered && path.n) {
			path = path_parent(path);
			covered = pathset_has(w->set, path);
		}
		assert_true(covered || !w->names[i].pending.there);
	}
}

/* With a small limit marks collapse: each stays covered by one at or above it, never younger. */
static void a_small_limit_keeps_every_mark_covered(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed <= SEEDS; seed++) {
		struct world *w = mem_alloc(sizeof(*w));
		uint64_t born = BORN_NONE;
		int64_t since = INT64_MAX;

		print_message("# seed %u\n", seed);
		w->random = seed * UINT64_C(0x9e3779b97f4a7c15);
		w->now = 1000 * SECOND;
		w->set = pathset_new(1 + seed % 30, LONGEST);
		for (unsigned i = 0; i < 400; i++) {
			char path[32];
			struct mark m = random_mark(w, path);

			born = m.born < born ? m.born : born;
			since = m.since_ns < since ? m.since_ns : since;
			pathset_put(w->set, &m, w->now);
			name_at(w, m.path)->pending.there = true;
			assert_true(pathset_pending(w->set) <= 1 + seed % 30);
			assert_int_equal(pathset_oldest(w->set), since);
			assert_false(pathset_settled(w->set, born));
			check_covered(w);
		}
		pathset_free(w->set);
		free(w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(random_operations_agree_with_a_plain_list),
	        cmocka_unit_test(a_small_limit_keeps_every_mark_covered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
