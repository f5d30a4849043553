/*
 * The simulated source: random operations, the events they cause, and the look, which follows the
 * rules of src/source with the real verdict on what is to be done.
 */
#include <stdio.h>
#include "base/mem.h"
#include "base/path.h"
#include "source/backlog.h"
#include "source/verdict.h"
#include "world.h"

#define QUEUE_MAX 24

static void name_random(struct world *w, char *out, size_t size)
{
	uint32_t depth = 1 + world_random(w, 3);
	size_t n = 0;

	for (uint32_t i = 0; i < depth; i++)
		n += (size_t)snprintf(out + n, size - n, "%s%c", i ? "/" : "",
		                      'a' + (int)world_random(w, w->mood.letters));
}

static void stamp_now(struct world *w, struct entry *e, bool written)
{
	e->fp.ctime_ns = w->now_ns + (int64_t)(++w->next_content); /* never twice the same */
	if (written)
		e->fp.mtime_ns = e->fp.ctime_ns;
}

static void touch_parent(struct world *w, struct bytes path)
{
	struct bytes dir = path_parent(path);
	struct entry *d = dir.n ? model_find(&w->source, dir) : NULL;

	if (d)
		stamp_now(w, d, true);
}

void source_event(struct world *w, struct bytes path, unsigned bits)
{
	struct event *e;

	world_trace(w, "change %s bits %u", path_show(path), bits);
	check_changed(w, path);
	w->drain++;
	if (w->event_count > QUEUE_MAX) { /* the kernel queue overflows: everything later is lost */
		for (e = w->events; e; e = e->next) {
			if (e->subtree && !e->path[0] && !e->asked) {
				e->wary_ns = e->wary_ns ? e->wary_ns : w->now_ns;
				return;
			}
		}
		e = mem_alloc(sizeof(*e));
		e->subtree = true;
		e->wary_ns = w->now_ns;
	} else {
		for (e = w->events; e; e = e->next) { /* merged with an earlier one */
			if (!e->asked && !e->walk && !e->subtree &&
			    bytes_equal(bytes_of(e->path), path)) {
				e->bits |= bits;
				return;
			}
		}
		e = mem_alloc(sizeof(*e));
		memcpy(e->path, path.p, path.n);
		e->bits = bits;
	}
	e->born = w->drain;
	e->least = MARK_LOOK;
	e->since_ns = w->now_ns;
	*w->events_tail = e;
	w->events_tail = &e->next;
	w->event_count++;
}

void source_crawl_all(struct world *w)
{
	struct event *e = mem_alloc(sizeof(*e));

	e->subtree = true;
	e->born = ++w->drain;
	e->least = MARK_LOOK;
	e->since_ns = w->now_ns;
	*w->events_tail = e;
	w->events_tail = &e->next;
	w->event_count++;
}

/* --- operations --- */

static struct entry *make(struct world *w, struct bytes path, uint32_t type)
{
	struct entry *e = model_put(&w->source, path);

	e->fp = (struct fingerprint){
	        .mode = type | 0644, .nlink = 1, .ino = ++w->next_ino, .dev = 1};
	e->content = 0;
	stamp_now(w, e, true);
	touch_parent(w, path);
	return e;
}

static bool parent_is_dir(struct world *w, struct bytes path)
{
	struct bytes dir = path_parent(path);
	struct entry *d = dir.n ? model_find(&w->source, dir) : NULL;

	return dir.n == 0 || (d && S_ISDIR(d->fp.mode));
}

/* To a crawl a file with another mode or owner and another ctime has had a chmod (fingerprint.h): a
 * time that was put back by hand besides would be found by a compare by content only. */
static bool attributes_known(struct world *w, struct bytes path, const struct entry *e)
{
	struct entry *t = model_find(&w->target, path);

	return t && t->fp.mode == e->fp.mode && t->fp.uid == e->fp.uid;
}

static void change_write(struct world *w, struct bytes path, struct entry *e)
{
	uint32_t how = world_random(w, 4);
	int64_t before = e ? e->fp.mtime_ns : 0;
	bool fresh = !e;

	if (e && S_ISDIR(e->fp.mode))
		return;
	if (!e)
		e = make(w, path, S_IFREG);
	e->content = ++w->next_content;
	stamp_now(w, e, true);
	if (fresh && w->mood.copies && world_random(w, 2))
		basis_copy(w, e);
	if (how == 0 && !fresh && attributes_known(w, path, e))
		e->fp.mtime_ns = before; /* put back: only the ctime tells */
	else if (how == 1)
		e->fp.size = 100 + world_random(w, 5);
	source_event(w, path, BACKLOG_DATA);
}

static void change_remove(struct world *w, struct bytes path)
{
	model_remove_tree(&w->source, path);
	touch_parent(w, path);
	source_event(w, path, BACKLOG_META);
}

/* What is at `from` and below, as it stands at `to`. */
static void copy_part(const struct model *m, struct bytes from, struct bytes to, struct model *part)
{
	struct entry *e, *next;
	char moved[128];

	HASH_ITER (hh, m->entries, e, next) {
		struct bytes path = entry_path(e);

		if (!bytes_equal(path, from) && !path_below(path, from))
			continue;
		(void)snprintf(moved, sizeof(moved), "%.*s%s", (int)to.n, to.p, e->path + from.n);
		struct entry *n = model_put(part, bytes_of(moved));

		n->fp = e->fp;
		n->content = e->content;
	}
}

static void put_part(struct world *w, struct model *part)
{
	struct entry *e, *next;

	HASH_ITER (hh, part->entries, e, next) {
		struct entry *n = model_put(&w->source, entry_path(e));

		n->fp = e->fp;
		n->content = e->content;
	}
	model_clear(part);
}

static bool apart(struct bytes a, struct bytes b)
{
	return !bytes_equal(a, b) && !path_below(a, b) && !path_below(b, a);
}

static void change_rename(struct world *w, struct bytes path)
{
	struct model part = {0};
	char to[64] = {0};
	struct bytes target;

	name_random(w, to, sizeof(to));
	target = bytes_of(to);
	if (!apart(path, target) || !parent_is_dir(w, target) ||
	    model_has_below(&w->source, target))
		return;
	copy_part(&w->source, path, target, &part);
	if (!w->mood.renames || world_random(w, 2))
		stamp_now(w, model_find(&part, target), false);
	model_remove_tree(&w->source, path);
	model_remove_tree(&w->source, target);
	put_part(w, &part);
	touch_parent(w, path);
	touch_parent(w, target);
	/* The new place is looked at first, as a rule (src/source/late.c). */
	bool first = world_random(w, 4) != 0;

	if (first)
		source_event(w, target, BACKLOG_DATA);
	source_event(w, path, BACKLOG_META);
	if (!first)
		source_event(w, target, BACKLOG_DATA);
}

/* renameat2() with RENAME_EXCHANGE. Not every file system touches the ctime of what it moves. */
static void change_exchange(struct world *w, struct bytes path)
{
	struct model parts = {0};
	char other[64] = {0};
	struct bytes target;

	name_random(w, other, sizeof(other));
	target = bytes_of(other);
	if (!apart(path, target) || !model_find(&w->source, target))
		return;
	copy_part(&w->source, path, target, &parts);
	copy_part(&w->source, target, path, &parts);
	if (world_random(w, 2)) {
		stamp_now(w, model_find(&parts, path), false);
		stamp_now(w, model_find(&parts, target), false);
	}
	model_remove_tree(&w->source, path);
	model_remove_tree(&w->source, target);
	put_part(w, &parts);
	touch_parent(w, path);
	touch_parent(w, target);
	source_event(w, target, BACKLOG_DATA);
	source_event(w, path, BACKLOG_DATA);
}

/* What stands in a directory is not touched when that is renamed. */
static void change_rename_dir(struct world *w)
{
	struct entry **all;
	size_t n = model_sorted(&w->source, &all);
	const struct entry *e = n ? all[world_random(w, (uint32_t)n)] : NULL;
	char old[64] = {0};

	if (e)
		memcpy(old, e->path, sizeof(old));
	free(all);
	for (int i = 0; i < 4 && old[0] && model_has_below(&w->source, bytes_of(old)); i++)
		change_rename(w, bytes_of(old));
}

void source_touch(struct world *w)
{
	struct bytes path = BYTES("z");

	change_write(w, path, model_find(&w->source, path));
}

/* Its time was put back, and the target does not have its content yet. */
static bool put_back(struct world *w, struct bytes path, const struct entry *e)
{
	struct entry *t = model_find(&w->target, path);

	return t && S_ISREG(e->fp.mode) && t->fp.mtime_ns == e->fp.mtime_ns &&
	       t->content != e->content;
}

void source_change(struct world *w)
{
	char name[64] = {0};
	struct bytes path;
	struct entry *e;

	if (w->quiet || w->frozen)
		return;
	name_random(w, name, sizeof(name));
	path = bytes_of(name);
	e = model_find(&w->source, path);
	if (!parent_is_dir(w, path))
		return;
	switch (world_random(w, w->mood.renames ? 14 : 9)) {
	case 0:
	case 1:
	case 2:
		change_write(w, path, e);
		return;
	case 3:
	case 4:
		if (!e) {
			(void)make(w, path, S_IFDIR);
			source_event(w, path, BACKLOG_META);
		}
		return;
	case 5:
		if (e)
			change_remove(w, path);
		return;
	case 6:
	case 9:
		if (e)
			change_rename(w, path);
		return;
	case 10:
		change_rename_dir(w);
		return;
	case 11:
	case 12:
	case 13:
		if (e)
			change_exchange(w, path);
		return;
	case 7: /* another type under the same name */
		if (e && world_random(w, 3) == 0) {
			uint32_t type = S_ISDIR(e->fp.mode) ? S_IFREG : S_IFDIR;

			model_remove_tree(&w->source, path);
			e = make(w, path, type);
			e->content = type == S_IFREG ? ++w->next_content : 0;
			source_event(w, path, BACKLOG_DATA);
		}
		return;
	default:
		if (e && !put_back(w, path, e)) {
			e->fp.mode ^= 0111;
			e->fp.uid = world_random(w, 3);
			stamp_now(w, e, false);
			source_event(w, path, BACKLOG_META);
		}
		return;
	}
}

void source_grow(struct world *w, unsigned changes)
{
	while (changes--)
		source_change(w);
	world_drop_events(w);
}

/* --- looks --- */

struct names {
	struct bytes dir;
	struct world *w;
	const struct event *e;
	char found[256][64];
	bool dirs[256];
	size_t count;
};

static void put_mark(struct world *w, const struct event *e, struct bytes path,
                     enum mark_action action, unsigned flags, uint64_t size)
{
	struct mark m = {.path = path,
	                 .action = action,
	                 .flags = flags,
	                 .born = e->born,
	                 .since_ns = e->since_ns,
	                 .size = size};
	const struct entry *seen = model_find(&w->source, path);

	if (seen && S_ISREG(seen->fp.mode) && action < MARK_DELETE) {
		m.dev = seen->fp.dev;
		m.ino = seen->fp.ino;
		m.ctime_ns = seen->fp.ctime_ns;
	}
	world_trace(w, "look: %s action %d flags %u", path_show(path), (int)action, flags);
	engine_marks(w->engine, &m, 1, w->now_ns);
	w->room -= w->room > 0;
}

static bool collect_name(struct bytes name, const struct belief *belief, void *arg)
{
	struct names *n = arg;
	struct buf path;

	buf_init(&path, 64);
	path_join(&path, n->dir, name);
	check(n->count < ARRAY_LEN(n->found));
	memset(n->found[n->count], 0, sizeof(n->found[0]));
	memcpy(n->found[n->count], path.p, path.n);
	n->dirs[n->count++] = S_ISDIR(belief->fp.mode);
	buf_done(&path);
	return true;
}

static struct event **add_gone(const struct event *e, struct bytes top, const struct mark *gone,
                               struct event **tail)
{
	struct event *name = *tail = mem_alloc(sizeof(*name));

	*name = *e;
	memset(name->path, 0, sizeof(name->path));
	memcpy(name->path, gone->path.p, gone->path.n);
	memset(name->gone_top, 0, sizeof(name->gone_top));
	memcpy(name->gone_top, top.p, top.n);
	name->gone = *gone;
	name->replaced = false;
	name->token = name->bits = 0;
	name->walk = true;
	name->subtree = false;
	name->next = NULL;
	return &name->next;
}

/* What the ledger holds below `dir`, deepest first, as events at *tail. */
static struct event **list_gone(struct world *w, const struct event *e, struct bytes top,
                                struct bytes dir, struct event **tail)
{
	struct names *n = mem_alloc(sizeof(*n));

	n->dir = dir;
	n->w = w;
	ledger_list(w->ledger, dir, collect_name, n);
	for (size_t i = 0; i < n->count; i++) {
		struct mark m = {.path = bytes_of(n->found[i]),
		                 .action = MARK_DELETE,
		                 .flags = n->dirs[i] ? MARK_DIR : 0};

		tail = list_gone(w, e, top, m.path, tail);
		tail = add_gone(e, top, &m, tail);
	}
	free(n);
	return tail;
}

/* As many at once as the smallest path set takes; the rest is a crawl, and waits for room
 * (src/source/gone.c). */
static void mark_gone(struct world *w, struct event *gone)
{
	struct event **at = &gone;

	for (size_t i = 0; gone && i < w->mood.marks_limit; i++) {
		struct event *e = gone;

		gone = e->next;
		put_mark(w, e, bytes_of(e->path), e->gone.action, e->gone.flags, e->gone.size);
		free(e);
	}
	while (*at)
		at = &(*at)->next;
	*at = w->events;
	w->events = gone;
	for (at = &w->events; *at;)
		at = &(*at)->next;
	w->events_tail = at;
}

static void gone(struct world *w, const struct event *e, struct bytes path)
{
	struct event *first = NULL, **tail = list_gone(w, e, path, path, &first);
	struct mark m = {.path = path, .action = MARK_DELETE};
	struct belief belief;

	ledger_get(w->ledger, path, &belief);
	m.flags = S_ISDIR(belief.fp.mode) ? MARK_DIR : 0;
	if (belief.state != LEDGER_ABSENT)
		add_gone(e, path, &m, tail);
	mark_gone(w, first);
}

static void look(struct world *w, const struct event *e);
static void look_dir(struct world *w, const struct event *e, struct bytes dir);

static void look_entry(struct world *w, const struct event *e, struct bytes path, unsigned bits,
                       bool subtree)
{
	struct entry *s = model_find(&w->source, path);
	struct belief belief;
	struct verdict v;

	if (!s) {
		gone(w, e, path);
		return;
	}
	ledger_get(w->ledger, path, &belief);
	if (e->wary_ns && S_ISREG(s->fp.mode) && s->fp.ctime_ns >= e->wary_ns)
		v = verdict_of(&belief, &s->fp, bits | BACKLOG_WRITTEN, false);
	else
		v = verdict_of(&belief, &s->fp, bits, false);
	verdict_raise(&v, e->least, &s->fp);
	if (!S_ISDIR(s->fp.mode)) {
		struct event *below = NULL, **tail = list_gone(w, e, path, path, &below);
		struct mark m = {
		        .path = path, .action = v.action, .flags = v.flags, .size = s->fp.size};

		if (v.needed)
			add_gone(e, path, &m, tail);
		for (struct event *x = below; x; x = x->next)
			x->replaced = true;
		mark_gone(w, below);
	} else if (v.needed) {
		put_mark(w, e, path, v.action, v.flags, s->fp.size);
	}
	if (!v.needed && !e->asked) /* it may be back */
		put_mark(w, e, path, MARK_LOOK, MARK_IF_PENDING, 0);
	if (S_ISDIR(s->fp.mode) && (subtree || bits))
		look_dir(w, e, path);
}

/* What a crawl finds in a directory is looked at one by one, before anything younger. */
static void look_dir(struct world *w, const struct event *e, struct bytes dir)
{
	struct names *n = mem_alloc(sizeof(*n));
	struct event **at = &w->events;
	struct entry *s, *next;

	HASH_ITER (hh, w->source.entries, s, next) {
		if (!bytes_equal(path_parent(entry_path(s)), dir) || !s->path[0])
			continue;
		struct event *child = mem_alloc(sizeof(*child));

		*child = *e;
		memcpy(child->path, s->path, sizeof(child->path));
		child->token = child->bits = 0;
		child->walk = child->subtree = true;
		child->next = *at;
		*at = child;
		at = &child->next;
	}
	n->dir = dir;
	ledger_list(w->ledger, dir, collect_name, n);
	for (size_t i = 0; i < n->count; i++) {
		if (!model_find(&w->source, bytes_of(n->found[i])))
			gone(w, e, bytes_of(n->found[i]));
	}
	free(n);
	while (*at)
		at = &(*at)->next;
	w->events_tail = at;
}

/* One name of a removed subtree. What is there again is looked at anew, and the rest dropped. */
static void look_gone(struct world *w, const struct event *e)
{
	struct entry *s = model_find(&w->source, bytes_of(e->gone_top));
	struct event again = *e, **at = &w->events;

	if (e->replaced ? s && !S_ISDIR(s->fp.mode) : !s) {
		put_mark(w, e, bytes_of(e->path), e->gone.action, e->gone.flags, e->gone.size);
		return;
	}
	while (*at) {
		struct event *x = *at;

		if (x->owner != e->owner || strcmp(x->gone_top, e->gone_top) != 0) {
			at = &x->next;
			continue;
		}
		*at = x->next;
		free(x);
	}
	w->events_tail = at;
	memcpy(again.path, e->gone_top, sizeof(again.path));
	memset(again.gone_top, 0, sizeof(again.gone_top));
	again.subtree = true;
	look(w, &again);
}

static void look(struct world *w, const struct event *e)
{
	struct bytes path = bytes_of(e->path), dir = path_parent(path);

	if (e->gone_top[0]) {
		look_gone(w, e);
		return;
	}
	/* ENOENT counts only in a directory that is there (R3): otherwise the directory is looked
	 * at. */
	while (path.n && dir.n) {
		struct entry *d = model_find(&w->source, dir);

		if (d && S_ISDIR(d->fp.mode))
			break;
		path = dir;
		dir = path_parent(path);
	}
	/* Who asks about a path below a name that is gone is told about that path. */
	if (e->asked && !e->walk && path.n && !model_find(&w->source, path))
		path = bytes_of(e->path);
	if (path.n == 0 && (e->subtree || e->bits))
		look_dir(w, e, path);
	else if (path.n)
		look_entry(w, e, path, e->bits, e->subtree);
}

/* The answer to a look comes after all that it led to. */
static void put_over(struct world *w, const struct event *e)
{
	struct event *over = mem_alloc(sizeof(*over)), **after = &w->events;

	over->token = e->token;
	over->owner = e->owner;
	over->asked = over->over = over->walk = true;
	for (struct event **at = &w->events; *at; at = &(*at)->next) {
		if ((*at)->owner == e->owner)
			after = &(*at)->next;
	}
	over->next = *after;
	*after = over;
	if (!over->next)
		w->events_tail = &over->next;
}

/* The end of a crawl of which nothing is left. */
static bool answerable(const struct world *w, const struct event *over)
{
	for (const struct event *e = w->events; e != over; e = e->next) {
		if (e->owner == over->owner)
			return false;
	}
	return over->over;
}

bool source_step(struct world *w)
{
	struct event **at = &w->events, *e;

	while (*at && (*at)->walk && w->room == 0 && !answerable(w, *at))
		at = &(*at)->next;
	e = *at;
	if (!e)
		return false;
	*at = e->next;
	if (!*at)
		w->events_tail = at;
	w->event_count -= !e->walk;
	if (!e->owner)
		e->owner = ++w->owners;
	if (!e->over)
		look(w, e);
	if (e->token && !e->over)
		put_over(w, e);
	else if (e->token)
		engine_looked(w->engine, e->token, w->now_ns);
	free(e);
	return true;
}
