/*
 * sweep: temporary files that a receiver left behind when it was cut off.
 *
 * A name that was in flight when its session ended uncleanly may stand at the target a second time,
 * as ".NAME.XXXXXX". A list of the delete class takes that away, at once and, where a zombie may
 * still write, once more when it is over (I13): together with the deletion of the name or of its
 * directory, else on its own. What is known to be at the target under such a name is spared (I8),
 * and the name itself is not sent meanwhile: its new temporary file would go, too. Until then a
 * name that is there stays intended, so that a daemon that dies finds it again (I11); one whose
 * removal was confirmed does not, since it may be somebody else's by then.
 */
#include "base/log.h"
#include "base/mem.h"
#include "engine/internal.h"
#include "rsync/tempname.h"

#define NAMES_MAX  500   /* of one list */
#define SPARED_MAX 10000 /* of one list */
#define TRIES_MAX  5
#define WAIT_NS    (NS_PER_S / 2)
#define ASTRAY_NS  (30 * NS_PER_S)

struct sweep {
	char *p;
	size_t n;
	uint64_t born;
	uint64_t flight; /* that takes it along, 0: none */
	size_t item;     /* its index there */
	int64_t not_before_ns;
	unsigned tries;
	bool intended; /* once more in the ledger, for our sake */
	bool again;    /* another session ended while it was under way */
	UT_hash_handle hh;
};

/* A directory that has such names below it: its own name waits for them, since a list that spares
 * it goes into nothing below. */
struct sweep_dir {
	char *p;
	size_t n;
	size_t below;
	UT_hash_handle hh;
};

static struct bytes sweep_path(const struct sweep *s)
{
	return (struct bytes){s->p, s->n};
}

static struct sweep *sweep_find(const struct engine *e, struct bytes path)
{
	struct sweep *s = NULL;

	if (e->sweeps)
		HASH_FIND(hh, e->sweeps, path.p, (unsigned)path.n, s);
	return s;
}

static struct sweep_dir *sweep_dir_find(const struct engine *e, struct bytes dir)
{
	struct sweep_dir *d = NULL;

	if (e->sweep_dirs)
		HASH_FIND(hh, e->sweep_dirs, dir.p, (unsigned)dir.n, d);
	return d;
}

static void sweep_dirs_add(struct engine *e, struct bytes path)
{
	for (struct bytes dir = path_parent(path); dir.n; dir = path_parent(dir)) {
		struct sweep_dir *d = sweep_dir_find(e, dir);

		if (!d) {
			d = mem_alloc(sizeof(*d));
			d->p = mem_dup(dir.p, dir.n);
			d->n = dir.n;
			HASH_ADD_KEYPTR(hh, e->sweep_dirs, d->p, (unsigned)d->n, d);
		}
		d->below++;
	}
}

static void sweep_dirs_remove(struct engine *e, struct bytes path)
{
	for (struct bytes dir = path_parent(path); dir.n; dir = path_parent(dir)) {
		struct sweep_dir *d = sweep_dir_find(e, dir);

		if (--d->below)
			continue;
		e->sweep_next_ns = 0;
		/* What was found stands in the table. */
		/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference) */
		HASH_DEL(e->sweep_dirs, d);
		free(d->p);
		free(d);
	}
}

static void sweep_free(struct engine *e, struct sweep *s)
{
	sweep_dirs_remove(e, sweep_path(s));
	HASH_DEL(e->sweeps, s);
	free(s->p);
	free(s);
}

static void sweep_trace(struct engine *e, const struct sweep *s, const char *what)
{
	if (e->config.trace)
		engine_say(e, LOG_DEBUG, "item.sweep", "path=%s batch=%llu result=%s",
		           path_show(sweep_path(s)), (unsigned long long)s->flight, what);
}

static void sweep_over(struct engine *e, struct sweep *s)
{
	if (s->intended)
		ledger_withdraw(e->ledger, sweep_path(s));
	sweep_free(e, s);
}

void sweep_add(struct engine *e, const struct mark *m)
{
	struct sweep *s = sweep_find(e, m->path);

	if (e->config.keep_deleted || m->action == MARK_DELETE || (m->flags & MARK_DIR) ||
	    !m->path.n)
		return;
	e->sweep_next_ns = 0;
	if (s) {
		s->born = m->born < s->born ? m->born : s->born;
		s->again = s->flight != 0;
		return;
	}
	s = mem_alloc(sizeof(*s));
	s->p = mem_dup(m->path.p, m->path.n);
	s->n = m->path.n;
	s->born = m->born;
	HASH_ADD_KEYPTR(hh, e->sweeps, s->p, (unsigned)s->n, s);
	sweep_dirs_add(e, sweep_path(s));
}

void sweep_intend(struct engine *e, struct bytes path)
{
	struct sweep *s = sweep_find(e, path);

	if (!s)
		return;
	(void)ledger_intend(e->ledger, &path, 1); /* ledger_trouble() tells */
	s->intended = true;
}

/* The name itself: swept, if it went with that list. */
static void sweep_unnamed(struct engine *e, const struct flight *f, struct bytes path)
{
	struct sweep *s = sweep_find(e, path);

	if (s && s->flight == f->id && !s->again)
		sweep_free(e, s);
	else if (s)
		s->intended = false;
}

void sweep_deleted(struct engine *e, const struct flight *f, struct bytes path)
{
	struct sweep *s, *next;

	sweep_unnamed(e, f, path);
	if (!sweep_dir_find(e, path))
		return;
	HASH_ITER (hh, e->sweeps, s, next) {
		if (!path_below(sweep_path(s), path))
			continue;
		sweep_trace(e, s, "deleted");
		sweep_free(e, s);
	}
}

bool sweep_kept(struct engine *e, const struct flight *f, struct bytes path)
{
	struct sweep *s, *next;
	bool more = false;

	sweep_unnamed(e, f, path);
	if (!sweep_dir_find(e, path))
		return false;
	HASH_ITER (hh, e->sweeps, s, next) {
		if (path_below(sweep_path(s), path))
			more = more || s->flight != f->id || s->again;
	}
	return more;
}

bool sweep_has(const struct engine *e, struct bytes path)
{
	return sweep_find(e, path) != NULL;
}

bool sweep_blocks(const struct engine *e, const struct mark *m)
{
	struct sweep *s = sweep_find(e, m->path), *next;

	if (s && s->flight)
		return true;
	if (!mark_exclusive(m) || !sweep_dir_find(e, m->path))
		return false;
	HASH_ITER (hh, e->sweeps, s, next) {
		if (s->flight && path_below(sweep_path(s), m->path))
			return true;
	}
	return false;
}

/* --- what goes with which list --- */

enum sweep_when {
	SWEEP_NOW,
	SWEEP_LATER,
	SWEEP_NEVER, /* the target has no such directory */
	SWEEP_ASTRAY /* nobody knows whether it has, and nobody is about to find out */
};

/* Something below it is to be swept first. What is confirmed as no directory has nothing below:
 * those names may be waiting for its own intent to end. */
static bool sweep_waits_for_below(const struct engine *e, const struct sweep *s)
{
	struct belief b;

	if (!sweep_dir_find(e, sweep_path(s)))
		return false;
	ledger_get(e->ledger, sweep_path(s), &b);
	return !(b.state & LEDGER_CONFIRMED) || S_ISDIR(b.fp.mode);
}

/* Now, if nobody is sending it, nothing below it is to be swept, and none of its directories is
 * being made or deleted. */
static enum sweep_when sweep_when(struct engine *e, const struct sweep *s, int64_t now_ns)
{
	struct bytes dir = path_parent(sweep_path(s));

	if (s->flight || now_ns < s->not_before_ns || pathset_flight(e->set, sweep_path(s)) ||
	    sweep_waits_for_below(e, s))
		return SWEEP_LATER;
	for (; dir.n; dir = path_parent(dir)) {
		struct belief b;

		ledger_get(e->ledger, dir, &b);
		if (b.state == LEDGER_ABSENT ||
		    (b.state == LEDGER_CONFIRMED && !S_ISDIR(b.fp.mode)))
			return SWEEP_NEVER;
		if (b.state == LEDGER_INTENDED && !pathset_has(e->set, dir))
			return SWEEP_ASTRAY;
		if (!(b.state & LEDGER_CONFIRMED) || !S_ISDIR(b.fp.mode) ||
		    pathset_flight(e->set, dir))
			return SWEEP_LATER;
	}
	return SWEEP_NOW;
}

/* Its directories are sent, or deleted once more. */
static void sweep_look(struct engine *e, struct sweep *s, int64_t now_ns)
{
	struct bytes dir = path_parent(sweep_path(s));

	s->not_before_ns = now_ns + ASTRAY_NS;
	for (; dir.n; dir = path_parent(dir))
		engine_put_look(e, dir, s->born, now_ns, false, now_ns);
}

void sweep_step(struct engine *e, int64_t now_ns)
{
	struct sweep *s, *next;

	e->sweep_due = false;
	if (now_ns < e->sweep_next_ns)
		return;
	HASH_ITER (hh, e->sweeps, s, next) {
		switch (sweep_when(e, s, now_ns)) {
		case SWEEP_NOW:
			e->sweep_due = true;
			return;
		case SWEEP_LATER:
			break;
		case SWEEP_NEVER:
			sweep_trace(e, s, "nowhere");
			sweep_over(e, s);
			break;
		case SWEEP_ASTRAY:
			sweep_look(e, s, now_ns);
			break;
		}
	}
	e->sweep_next_ns = now_ns + WAIT_NS;
}

static void load_add(struct sweep_load *l, struct bytes path, unsigned flags)
{
	if (l->count == l->cap) {
		l->cap = l->cap ? 2 * l->cap : 64;
		l->items = mem_realloc(l->items, l->cap, sizeof(*l->items));
	}
	l->items[l->count++] = (struct wire_item){path, (uint16_t)flags, 0};
}

static void load_name(struct sweep_load *l, const struct flight *f, struct sweep *s)
{
	s->flight = f->id;
	s->item = l->count;
	s->again = false;
	load_add(l, sweep_path(s), WIRE_ITEM_TEMPS | WIRE_ITEM_SPARE);
}

static int compare_paths(const void *a, const void *b)
{
	return bytes_compare(*(const struct bytes *)a, *(const struct bytes *)b);
}

/* Names that are deleted by this list, and those in directories that are. */
static void load_deleted(struct engine *e, const struct flight *f, struct sweep_load *l)
{
	struct bytes *dirs = mem_array(f->marks + 1, sizeof(*dirs));
	struct sweep *s, *next;
	size_t n = 0;

	for (size_t i = 0; i < f->marks; i++) {
		s = sweep_find(e, l->items[i].path);
		if (s && !s->flight) {
			s->flight = f->id;
			s->item = i;
			s->again = false;
			l->items[i].flags |= WIRE_ITEM_TEMPS;
		}
		if (l->items[i].flags & WIRE_ITEM_DIR)
			dirs[n++] = l->items[i].path;
	}
	qsort(dirs, n, sizeof(*dirs), compare_paths);
	HASH_ITER (hh, e->sweeps, s, next) {
		struct bytes dir = path_parent(sweep_path(s));

		if (!s->flight && bsearch(&dir, dirs, n, sizeof(*dirs), compare_paths))
			load_name(l, f, s);
	}
	free(dirs);
}

/* What is known to be in one directory and looks like a temporary file of a name in the list. */
struct spare {
	struct sweep_load *load;
	struct bytes dir;
	const struct wire_item *const *swept;
	size_t n;
};

static bool spare_name(struct bytes name, const struct belief *belief, void *arg)
{
	struct spare *sp = arg;
	struct tempname temp;
	struct buf path;
	bool ours = false;

	(void)belief;
	if (!tempname_split(name, NULL))
		return true;
	for (size_t i = 0; i < sp->n && !ours; i++) {
		tempname_of(&temp, sp->swept[i]->path);
		ours = tempname_matches(&temp, name);
	}
	if (!ours)
		return true;
	buf_init(&path, 2 * PATH_BYTES_MAX);
	path_join(&path, sp->dir, name);
	load_add(sp->load, (struct bytes){mem_dup(path.p, path.n), path.n}, WIRE_ITEM_SPARE);
	buf_done(&path);
	return sp->load->count - sp->load->owned < SPARED_MAX;
}

static int compare_dirs(const void *a, const void *b)
{
	const struct wire_item *const *x = a, *const *y = b;

	return bytes_compare(path_parent((*x)->path), path_parent((*y)->path));
}

/* False: too many. */
static bool load_spared(struct engine *e, struct sweep_load *l)
{
	struct wire_item *names = mem_array(l->count + 1, sizeof(*names));
	const struct wire_item **swept = mem_array(l->count + 1, sizeof(*swept));
	size_t n = 0, same;

	l->owned = l->count;
	for (size_t i = 0; i < l->count; i++) {
		names[i] = l->items[i]; /* the list grows */
		if (names[i].flags & WIRE_ITEM_TEMPS)
			swept[n++] = &names[i];
	}
	qsort(swept, n, sizeof(struct wire_item *), compare_dirs);
	for (size_t i = 0; i < n; i += same) {
		struct spare sp = {l, path_parent(swept[i]->path), swept + i, 0};

		for (same = 1; i + same < n && !compare_dirs(&swept[i], &swept[i + same]); same++)
			;
		sp.n = same;
		ledger_list(e->ledger, sp.dir, spare_name, &sp);
	}
	free(swept);
	free(names);
	return l->count - l->owned < SPARED_MAX;
}

void sweep_load(struct engine *e, const struct flight *f, struct sweep_load *l, int64_t now_ns)
{
	struct sweep *s, *next;

	l->cap = l->owned = l->count;
	if (!e->sweeps || f->class != SESSION_DELETE)
		return;
	load_deleted(e, f, l);
	HASH_ITER (hh, e->sweeps, s, next) {
		if (l->count - f->marks < NAMES_MAX && sweep_when(e, s, now_ns) == SWEEP_NOW)
			load_name(l, f, s);
	}
	if (load_spared(e, l))
		return;
	/* Too much that must not be touched: what was left behind stays. */
	sweep_load_done(l);
	l->count = l->owned = f->marks;
	for (size_t i = 0; i < f->marks; i++)
		l->items[i].flags &= (uint16_t)~WIRE_ITEM_TEMPS;
	HASH_ITER (hh, e->sweeps, s, next) {
		if (s->flight == f->id)
			sweep_over(e, s);
	}
}

void sweep_load_done(struct sweep_load *l)
{
	while (l->count > l->owned)
		free((char *)l->items[--l->count].path.p);
}

/* --- what became of it --- */

static void sweep_failed(struct engine *e, struct sweep *s, struct bytes text, int64_t now_ns)
{
	s->flight = 0;
	s->not_before_ns = now_ns + (NS_PER_S << s->tries);
	if (++s->tries < TRIES_MAX)
		return;
	engine_say(e, LOG_WARN, "target.unswept",
	           "path=%s a temporary file of it may be left at the target: %.*s",
	           path_show(sweep_path(s)), (int)text.n, text.n ? text.p : "");
	sweep_over(e, s);
}

void sweep_result(struct engine *e, const struct flight *f, const struct wire_result_item *r,
                  int64_t now_ns)
{
	struct sweep *s, *next;

	HASH_ITER (hh, e->sweeps, s, next) {
		if (s->flight == f->id && s->item == r->index)
			break;
	}
	if (!s)
		return; /* spared, or gone with its directory */
	sweep_trace(e, s, wire_result_word((enum wire_result)r->result));
	switch ((enum wire_result)r->result) {
	case WIRE_ACKED:
		if (!s->again)
			sweep_over(e, s);
		return;
	case WIRE_FAILED:
	case WIRE_UNREADABLE:
	case WIRE_KEPT:
		sweep_failed(e, s, r->text, now_ns);
		return;
	case WIRE_VANISHED: /* not with its directory, as it turned out */
		s->not_before_ns = now_ns + NS_PER_S;
		return;
	case WIRE_MOVED:
	case WIRE_SAME:
	case WIRE_UNSENT:
	case WIRE_UNKNOWN:
	case WIRE_CONTEXT:
	case WIRE_CONTEXT_MOVED:
	case WIRE_CONTEXT_UNKNOWN:
	case WIRE_PROVEN:
	case WIRE_DISPROVED:
	case WIRE_RESULTS:
		return; /* again, when the flight has ended */
	}
}

void sweep_landed(struct engine *e, const struct flight *f)
{
	struct sweep *s, *next;

	HASH_ITER (hh, e->sweeps, s, next) {
		if (s->flight == f->id)
			s->flight = 0;
	}
}

int64_t sweep_deadline(const struct engine *e)
{
	return e->sweeps && !e->sweep_due ? e->sweep_next_ns : INT64_MAX;
}

bool sweep_settled(const struct engine *e, uint64_t born)
{
	struct sweep *s, *next;

	HASH_ITER (hh, e->sweeps, s, next) {
		if (s->born <= born)
			return false;
	}
	return true;
}

void sweep_clear(struct engine *e)
{
	struct sweep *s, *next;

	HASH_ITER (hh, e->sweeps, s, next) {
		sweep_free(e, s);
	}
}
