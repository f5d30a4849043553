/*
 * rename: what has left one name and stands under another is not sent again.
 *
 * A mark of a new name carries its inode. If the ledger knows that inode under exactly one other
 * name, that one is named in the same list as the name the file had before (struct wire_former):
 * the worker lists both as links of one inode if the source bears it out, and the receiver links
 * them. In the quick class that asks for everything the look could see to be as confirmed, the
 * ctime included, as it is of what lies in a directory that was renamed. rename(2) moves the ctime
 * of the file that it is about; then nobody can say that it was not written before with its time
 * put back, so such a one goes in the content class: the old name's content is what the receiver
 * builds on, and the digest of the whole decides. Too small a file is simply sent.
 *
 * The former name stays what it was to the ledger, a name that the target holds; its deletion is an
 * ordinary one (I8), and waits only as long as a mark that may need it is there (I14). From its
 * listing to its end it is intended (I11): the two names may be one inode at the target, so
 * whatever comes to stand there again goes as content, which parts them. While the list is under
 * way nothing else is sent at that name or above it (I6): the receiver links by name.
 */
#include "base/log.h"
#include "base/mem.h"
#include "engine/internal.h"

#define LOAD_BYTES_MAX (4u << 20) /* of names and fingerprints in one list */
#define REFUSALS_MAX   3
#define AWAIT_NS       (300 * NS_PER_S) /* longest that a deletion waits for what needs the name */

struct former {
	char *p;
	size_t n;
	uint64_t flight; /* that may list it; 0: over */
	enum former_state {
		FORMER_OPEN,     /* no answer yet */
		FORMER_UNLISTED, /* the target has not heard of it */
		FORMER_LINKED,   /* confirmed together with the new name */
		FORMER_UNSURE,
	} state;
	UT_hash_handle hh;
};

/* A name that is needed for another until that has been sent. */
struct awaited {
	char *p;
	size_t n;
	char *by;
	size_t by_n;
	int64_t since_ns;
	UT_hash_handle hh;
};

static struct bytes former_path(const struct former *o)
{
	return (struct bytes){o->p, o->n};
}

static struct former *former_find(const struct engine *e, struct bytes path)
{
	struct former *o = NULL;

	if (e->formers)
		HASH_FIND(hh, e->formers, path.p, (unsigned)path.n, o);
	return o;
}

static void former_free(struct engine *e, struct former *o)
{
	HASH_DEL(e->formers, o);
	free(o->p);
	free(o);
}

static struct awaited *awaited_find(const struct engine *e, struct bytes path)
{
	struct awaited *a = NULL;

	if (e->awaited)
		HASH_FIND(hh, e->awaited, path.p, (unsigned)path.n, a);
	return a;
}

static void awaited_free(struct engine *e, struct awaited *a)
{
	HASH_DEL(e->awaited, a);
	free(a->p);
	free(a->by);
	free(a);
}

static void awaited_add(struct engine *e, struct bytes path, struct bytes by, int64_t now_ns)
{
	struct awaited *a = awaited_find(e, path);

	if (a) {
		now_ns = a->since_ns;
		awaited_free(e, a);
	}
	a = mem_alloc(sizeof(*a));
	a->p = mem_dup(path.p, path.n);
	a->n = path.n;
	a->by = mem_dup(by.p, by.n);
	a->by_n = by.n;
	a->since_ns = now_ns;
	HASH_ADD_KEYPTR(hh, e->awaited, a->p, (unsigned)a->n, a);
}

/* --- the name that an inode had before --- */

struct alias {
	struct buf path;
	size_t n;
};

static bool alias_take(struct bytes path, void *arg)
{
	struct alias *a = arg;

	if (a->n++ == 0)
		buf_add_bytes(&a->path, path);
	return a->n < 2;
}

/* The one other name that is surely believed for the file of `m`; buf_done() the path. False: none,
 * or several. */
static bool rename_find(struct engine *e, const struct mark *m, struct buf *path,
                        struct belief *ret)
{
	struct alias a = {.n = 0};
	bool found;

	buf_init(&a.path, PATH_BYTES_MAX + 1);
	ledger_aliases(e->ledger, m->dev, m->ino, alias_take, &a);
	*path = a.path;
	found = a.n == 1 && !bytes_equal(buf_bytes(path), m->path);
	if (found)
		ledger_get(e->ledger, buf_bytes(path), ret);
	return found && ret->state == LEDGER_CONFIRMED && S_ISREG(ret->fp.mode) &&
	       ret->fp.nlink == 1 && ret->fp.dev == m->dev && ret->fp.ino == m->ino;
}

static bool rename_possible(const struct engine *e, const struct mark *m)
{
	return e->config.renames && !e->config.keep_deleted && !e->renames_off && m->ino &&
	       !m->link && (m->action == MARK_QUICK || m->action == MARK_CONTENT) &&
	       (m->flags & (MARK_FRESH | MARK_RETYPED | MARK_DIR | MARK_LOW)) == MARK_FRESH;
}

void rename_marked(struct engine *e, struct mark *m, int64_t now_ns)
{
	struct belief b;
	struct buf path;

	if (former_find(e, m->path) && m->ino) {
		m->action = MARK_CONTENT;
		m->flags &= ~(unsigned)(MARK_SIGHT | MARK_LOW);
		return;
	}
	if (!rename_possible(e, m))
		return;
	if (rename_find(e, m, &path, &b) &&
	    (b.fp.ctime_ns == m->ctime_ns || m->size >= e->config.rename_bytes)) {
		awaited_add(e, buf_bytes(&path), m->path, now_ns);
		if (b.fp.ctime_ns != m->ctime_ns && m->action == MARK_QUICK) {
			m->action = MARK_CONTENT;
			m->flags |= MARK_SIGHT;
		}
	}
	buf_done(&path);
}

/* --- what waits for it --- */

struct coming {
	struct bytes path;
	bool found;
};

/* What changes its type waits itself for deletions, and a name of several for the others, which may
 * do so. What is below is something else. */
static bool rename_comes(const struct mark *mark, bool in_flight, void *arg)
{
	struct coming *c = arg;
	bool sent = mark->action == MARK_QUICK || mark->action == MARK_CONTENT;

	if (!bytes_equal(mark->path, c->path))
		return false;
	c->found |=
	        sent && !(mark->flags & (MARK_RETYPED | MARK_DIR)) && (in_flight || !mark->link);
	return true;
}

/* What is below a name that is going waits itself for deletions; and where there is no room they go
 * first. */
static bool rename_is_awaited(struct engine *e, struct bytes path, int64_t now_ns)
{
	struct awaited *a = awaited_find(e, path);
	struct coming by = {.found = false};

	if (!a)
		return false;
	by.path = (struct bytes){a->by, a->by_n};
	if (e->trouble != TROUBLE_FULL && now_ns - a->since_ns < AWAIT_NS &&
	    !(pathset_above(e->set, by.path) & PATHSET_GOING))
		pathset_each(e->set, by.path, rename_comes, &by);
	if (!by.found)
		awaited_free(e, a);
	return by.found;
}

static bool rename_under_way(const struct engine *e, const struct mark *m,
                             const struct belief *known)
{
	const struct flight *f, *next;

	for (struct bytes path = m->path; path.n; path = path_parent(path)) {
		const struct former *o = former_find(e, path);

		if (o && o->flight)
			return true;
	}
	if (!mark_exclusive(m) || ((known->state & LEDGER_CONFIRMED) && S_ISREG(known->fp.mode)))
		return false;
	HASH_ITER (hh, e->flights, f, next) {
		for (size_t i = 0; i < f->marks; i++) {
			const struct former *o = f->former_of[i];

			if (o && path_below(former_path(o), m->path))
				return true;
		}
	}
	return false;
}

bool rename_blocks(struct engine *e, const struct mark *m, const struct belief *known,
                   int64_t now_ns)
{
	bool deletion = m->action == MARK_DELETE;
	bool blocks = (e->formers && rename_under_way(e, m, known)) ||
	              (deletion && e->awaited && rename_is_awaited(e, m->path, now_ns)) ||
	              (deletion && aged_has(e->rename_dirs, m->path));

	for (struct bytes dir = path_parent(m->path); blocks && deletion && dir.n;
	     dir = path_parent(dir))
		(void)aged_add(&e->rename_dirs, dir, m->born, m->since_ns);
	return blocks;
}

/* --- what a list names --- */

static bool rename_only_goes(const struct mark *mark, bool in_flight, void *arg)
{
	*(bool *)arg &= mark->action == MARK_DELETE && !in_flight;
	return true;
}

/* Nobody else has to do with it, nor with what is above. */
static bool rename_is_free(struct engine *e, struct bytes path)
{
	bool ok = !former_find(e, path) && !aged_has(e->content_due, path) &&
	          !zombie_has(e, path) && !sweep_has(e, path) && !hold_has(e, path) &&
	          !(pathset_above(e->set, path) & PATHSET_SHUT);

	if (ok)
		pathset_each(e->set, path, rename_only_goes, &ok);
	return ok;
}

static struct wire_former *rename_add(struct rename_load *l, struct bytes path, uint32_t item,
                                      const struct fingerprint *fp)
{
	if (l->count == l->cap) {
		l->cap = l->cap ? 2 * l->cap : 64;
		l->formers = mem_realloc(l->formers, l->cap, sizeof(*l->formers));
	}
	l->formers[l->count] = (struct wire_former){path, item, *fp};
	l->bytes += path.n + sizeof(l->formers[0]);
	return &l->formers[l->count++];
}

/* The directories above, as they are believed to be: the source may not have them any more. */
static bool rename_add_dirs(struct engine *e, struct rename_load *l, struct bytes path)
{
	struct bytes dir = path_parent(path);

	if (l->last.p && bytes_equal(dir, l->last))
		return true;
	for (struct bytes at = dir; at.n; at = path_parent(at)) {
		struct belief b;

		ledger_get(e->ledger, at, &b);
		if (!(b.state & LEDGER_CONFIRMED) || !S_ISDIR(b.fp.mode) || !b.fp.ctime_ns)
			return false;
		(void)rename_add(l, at, WIRE_NO_ITEM, &b.fp);
	}
	l->last = dir;
	return true;
}

static struct former *rename_add_former(struct engine *e, const struct flight *f, struct bytes path)
{
	struct former *o = mem_alloc(sizeof(*o));

	o->p = mem_dup(path.p, path.n);
	o->n = path.n;
	o->flight = f->id;
	HASH_ADD_KEYPTR(hh, e->formers, o->p, (unsigned)o->n, o);
	(void)ledger_intend(e->ledger, &path, 1); /* a failure was told for the members */
	return o;
}

static void rename_load_one(struct engine *e, struct flight *f, struct rename_load *l, size_t item)
{
	const struct mark *m = batch_mark(f->batch, f->mark_of[item]);
	struct belief b;
	struct buf path;

	if (!rename_possible(e, m) || f->known[item].state != LEDGER_ABSENT ||
	    zombie_has(e, m->path) || sweep_has(e, m->path))
		return;
	if (f->class == SESSION_QUICK && aged_has(e->content_due, m->path))
		return;
	if (rename_find(e, m, &path, &b) && rename_is_free(e, buf_bytes(&path)) &&
	    (f->class == SESSION_CONTENT || b.fp.ctime_ns == m->ctime_ns)) {
		struct former *o = rename_add_former(e, f, buf_bytes(&path));

		f->former_of[item] = o;
		if (rename_add_dirs(e, l, former_path(o)))
			(void)rename_add(l, former_path(o), (uint32_t)item, &b.fp);
		else
			o->state = FORMER_UNLISTED;
	}
	buf_done(&path);
}

void rename_load(struct engine *e, struct flight *f, struct rename_load *l)
{
	*l = (struct rename_load){.count = 0};
	aged_clear(&e->rename_dirs);
	f->former_of = mem_array(f->marks + 1, sizeof(struct former *));
	if (!f->marks || (f->class != SESSION_QUICK && f->class != SESSION_CONTENT) ||
	    e->comparing || e->unproven || e->aside)
		return;
	for (size_t i = 0; i < f->marks && l->bytes < LOAD_BYTES_MAX; i++)
		rename_load_one(e, f, l, i);
}

void rename_load_done(struct rename_load *l)
{
	free(l->formers);
}

/* --- what became of it --- */

bool rename_refused(struct engine *e, struct flight *f, size_t i, const struct wire_result_item *r,
                    int64_t now_ns)
{
	const struct mark *m = batch_mark(f->batch, i);

	if (!(r->flags & WIRE_FORMER) || !f->former_of[r->index] || r->result != WIRE_FAILED ||
	    r->trouble != TROUBLE_NONE)
		return false;
	if (e->rename_refusals++ == 0)
		engine_say(e, LOG_INFO, "rename.refused",
		           "path=%s the target does not take it as a link of its former name, "
		           "so it is sent: %.*s",
		           path_show(m->path), (int)r->text.n, r->text.n ? r->text.p : "");
	e->renames_off = e->rename_refusals >= REFUSALS_MAX;
	/* Intended by now, it is not tried that way again. */
	batch_nack(f->batch, i, MARK_QUICK, now_ns, now_ns);
	return true;
}

void rename_result(struct engine *e, struct flight *f, const struct wire_result_item *r)
{
	struct former *o = f->former_of[r->index];

	if (!o)
		return;
	if (e->config.trace)
		engine_say(e, LOG_DEBUG, "item.former", "path=%s batch=%llu result=%s listed=%d",
		           path_show(former_path(o)), (unsigned long long)f->id,
		           wire_result_word((enum wire_result)r->result),
		           (r->flags & WIRE_FORMER) != 0);
	if (r->result == WIRE_UNKNOWN)
		o->state = FORMER_UNSURE;
	else if (!(r->flags & WIRE_FORMER) || r->result == WIRE_UNSENT)
		o->state = FORMER_UNLISTED;
	else
		o->state = r->result == WIRE_ACKED ? FORMER_LINKED : FORMER_UNSURE;
	if (o->state == FORMER_LINKED)
		e->rename_refusals = 0;
}

/* They were listed, too, maybe as they had been, and may be there again. */
static void rename_look_above(struct engine *e, const struct mark *m, int64_t now_ns)
{
	for (struct bytes dir = path_parent(m->path); dir.n; dir = path_parent(dir))
		engine_put_look(e, dir, m->born, m->since_ns, true, now_ns);
}

static void rename_land_one(struct engine *e, struct flight *f, struct former *o, bool zombie,
                            int64_t now_ns)
{
	struct mark m = {
	        .path = former_path(o), .action = MARK_LOOK, .born = f->born, .since_ns = now_ns};

	o->flight = 0;
	if (o->state == FORMER_UNLISTED) {
		ledger_withdraw(e->ledger, m.path);
		former_free(e, o);
		return;
	}
	if (zombie)
		zombie_add(e, f->session, &m, now_ns); /* with all that is above */
	else if (f->broken) {
		rename_look_above(e, &m, now_ns);
		sweep_add(e, &m);
	}
	if (zombie || f->broken || o->state != FORMER_LINKED)
		engine_put_look(e, m.path, m.born, m.since_ns, true, now_ns);
}

void rename_landed(struct engine *e, struct flight *f, bool zombie, int64_t now_ns)
{
	for (size_t i = 0; i < f->marks; i++) {
		if (f->former_of[i])
			rename_land_one(e, f, f->former_of[i], zombie, now_ns);
	}
}

void rename_parted(struct engine *e, struct bytes path)
{
	struct former *o = former_find(e, path);
	struct awaited *a = awaited_find(e, path);

	if (o && !o->flight)
		former_free(e, o);
	if (a)
		awaited_free(e, a);
}

void rename_confirmed(struct engine *e, struct bytes path, const struct wire_result_item *r)
{
	const struct former *o = former_find(e, path);

	if (!o)
		return;
	if (!S_ISREG(r->fp.mode) || (r->flags & (WIRE_DATA_SENT | WIRE_WAS_NEW)))
		rename_parted(e, path);
	else
		(void)ledger_intend(e->ledger, &path, 1); /* ledger_trouble() tells */
}

void rename_quiet(struct engine *e)
{
	struct former *o, *next;
	struct awaited *a, *anext;

	HASH_ITER (hh, e->awaited, a, anext) {
		awaited_free(e, a);
	}
	HASH_ITER (hh, e->formers, o, next) {
		struct belief b;

		ledger_get(e->ledger, former_path(o), &b);
		if (!o->flight && !(b.state & LEDGER_INTENDED))
			former_free(e, o);
	}
}

void rename_clear(struct engine *e)
{
	struct former *o, *next;
	struct awaited *a, *anext;

	HASH_ITER (hh, e->awaited, a, anext) {
		awaited_free(e, a);
	}
	HASH_ITER (hh, e->formers, o, next) {
		former_free(e, o);
	}
}
