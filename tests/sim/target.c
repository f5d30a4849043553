/*
 * The simulated target: servers that work through batches item by item, as a stock receiver would,
 * and its misfortunes.
 */
#include <stdio.h>
#include "base/mem.h"
#include "base/path.h"
#include "server.h"

static struct server *server_find(struct world *w, uint64_t id)
{
	for (struct server *s = w->servers; s; s = s->next) {
		if (s->id == id && !s->orphan)
			return s;
	}
	return NULL;
}

void server_free(struct world *w, struct server *s)
{
	for (struct server **p = &w->servers; *p; p = &(*p)->next) {
		if (*p == s) {
			*p = s->next;
			break;
		}
	}
	free(s->items);
	model_clear(&s->above);
	model_clear(&s->stands);
	free(s);
}

void target_free(struct world *w)
{
	while (w->servers)
		server_free(w, w->servers);
}

void target_open(struct world *w, uint64_t id, enum session_class class)
{
	struct server *s = mem_alloc(sizeof(*s));

	s->id = id;
	s->class = class;
	world_trace(w, "server %llu class %d is opened", (unsigned long long)id, (int)class);
	s->target_id = w->target_id;
	s->next = w->servers;
	w->servers = s;
}

void server_gone(struct world *w, struct server *s, enum trouble t, bool zombie_over)
{
	struct wire_gone m = {.session = s->id,
	                      .trouble = (uint8_t)t,
	                      .zombie_over = zombie_over,
	                      .text = BYTES("gone")};

	world_trace(w, "server %llu state %d is gone%s", (unsigned long long)s->id, (int)s->state,
	            s->orphan ? ", an orphan" : "");
	if (!s->orphan)
		engine_session_gone(w->engine, &m, w->now_ns);
}

void target_close(struct world *w, uint64_t id)
{
	struct server *s = server_find(w, id);

	world_trace(w, "server %llu is closed", (unsigned long long)id);
	if (s)
		s->state = SERVER_OVER;
}

/* The name is in the list for what it looks like only. */
static bool is_spared(const struct server_item *it)
{
	return (it->item.flags & (WIRE_ITEM_SPARE | WIRE_ITEM_TEMPS)) == WIRE_ITEM_SPARE;
}

/* I6: no path twice in flight, and nothing above or below an exclusive item of another batch. */
static void check_pair(struct world *w, const struct server_item *x, const struct server_item *y)
{
	struct bytes a = bytes_of(x->path), b = bytes_of(y->path);

	if (x->done || y->done) /* confirmed: not in flight any more */
		return;
	if ((x->item.flags | y->item.flags) & WIRE_ITEM_STAMP || is_spared(x) || is_spared(y))
		return;
	if (bytes_equal(a, b))
		world_violation(w, "I6: a path is in two batches", a);
	/* What is swept beside a name is no work below the name. */
	if ((x->exclusive || y->exclusive) &&
	    ((path_below(a, b) && !(y->item.flags & WIRE_ITEM_SPARE)) ||
	     (path_below(b, a) && !(x->item.flags & WIRE_ITEM_SPARE))))
		world_violation(w, "I6: an exclusive item beside work above or below", a);
}

static void check_scopes(struct world *w, struct server *mine)
{
	for (struct server *s = w->servers; s; s = s->next) {
		if (s == mine || s->state != SERVER_LISTED || s->orphan)
			continue;
		for (size_t i = 0; i < s->count; i++) {
			for (size_t k = 0; k < mine->count; k++) {
				check_pair(w, &s->items[i], &mine->items[k]);
				former_check(w, &s->items[i], &mine->items[k]);
			}
		}
	}
}

/* Deletion or creation of a directory. (A look may be too old to know of a type change; then the
 * receiver cannot make way and says so.) */
static bool is_exclusive(struct world *w, const struct server *s, const struct server_item *it)
{
	struct belief belief;

	if (s->class == SESSION_DELETE)
		return !(it->item.flags & WIRE_ITEM_SPARE);
	if (!it->exists || !(it->item.flags & WIRE_ITEM_DIR) || !S_ISDIR(it->seen.fp.mode))
		return false;
	ledger_get(w->ledger, it->item.path, &belief);
	return !(belief.state & LEDGER_CONFIRMED);
}

void target_batch(struct world *w, const struct wire_batch *batch)
{
	struct server *s = server_find(w, batch->session);

	check(s && s->state == SERVER_READY);
	s->batch = batch->id;
	s->sent_ns = w->now_ns;
	s->unnoticed = target_unnoticed(w);
	s->state = SERVER_LISTED;
	s->items = mem_array(batch->count + 1, sizeof(*s->items));
	s->count = batch->count;
	for (size_t i = 0; i < batch->count; i++) {
		struct server_item *it = &s->items[i];
		struct entry *e = model_find(&w->source, batch->items[i].path);

		it->item = batch->items[i];
		world_trace(w, "server %llu class %d gets %s", (unsigned long long)s->id,
		            (int)s->class, path_show(it->item.path));
		check(it->item.path.n < sizeof(it->path));
		memcpy(it->path, it->item.path.p, it->item.path.n);
		it->item.path = bytes_of(it->path);
		above_list(w, s, it->item.path);
		it->exists = e != NULL;
		if (e)
			it->seen = *e;
		it->exclusive = is_exclusive(w, s, it);
		e = model_find(&w->target, it->item.path);
		if (e && s->class != SESSION_DELETE)
			e->unclaimed = false;
	}
	former_list(w, s, batch);
	basis_list(s, batch);
	check_scopes(w, s);
	check_batch(w, batch, s->class);
}

/* The ledger learns what happened in a directory that was swapped away: what was deleted there, or
 * lay below what a file replaced there, stays here and is let go: extras. */
static void disown(struct world *w, const struct server *s, const struct server_item *it)
{
	struct bytes path = it->item.path;
	struct entry *t, *next;

	HASH_ITER (hh, w->target.entries, t, next) {
		if ((s->class == SESSION_DELETE && bytes_equal(entry_path(t), path)) ||
		    (!S_ISDIR(it->seen.fp.mode) && path_below(entry_path(t), path)))
			t->foreign = true;
	}
}

static void tell(struct world *w, struct server *s, size_t index)
{
	struct server_item *it = &s->items[index];
	struct wire_result_item item = {.index = (uint32_t)index,
	                                .result = (uint8_t)it->result,
	                                .flags = (uint8_t)it->flags,
	                                .fp = it->fp,
	                                .text = BYTES("it failed")};
	struct wire_report m = {s->batch, &item, 1};

	it->done = true;
	it->late = false;
	if (it->result == WIRE_PROVEN ||
	    ((it->item.flags & WIRE_ITEM_SERVE) && it->result == WIRE_ACKED))
		w->proven_ns = w->now_ns;
	if (it->result == WIRE_PROVEN && s->target_id != w->target_id)
		w->vouched_ns = w->now_ns;
	if (s->target_id != w->target_id && !(it->item.flags & WIRE_ITEM_SPARE) &&
	    (it->result == WIRE_ACKED || it->result == WIRE_KEPT))
		disown(w, s, it);
	world_trace(w, "server %llu reports %d for %s", (unsigned long long)s->id, (int)it->result,
	            it->path);
	if (engine_report(w->engine, &m, w->now_ns) < 0)
		world_violation(w, "the engine refuses a true report", bytes_of(it->path));
	if (s->class == SESSION_DELETE && !(it->item.flags & WIRE_ITEM_SPARE) &&
	    (it->result == WIRE_ACKED || it->result == WIRE_KEPT))
		check_gone(w, it->item.path);
}

/* As the worker's repeats do. */
static void keep_brought(struct world *w, const struct server_item *it, enum session_class class)
{
	struct entry *e = model_find(&w->brought, it->item.path);
	bool sent = it->flags & (WIRE_DATA_SENT | WIRE_WAS_NEW), dir = S_ISDIR(it->seen.fp.mode);

	if ((it->item.flags & WIRE_ITEM_STAMP) || it->result == WIRE_SAME)
		return;
	if ((it->flags & WIRE_DATA_SENT) && !dir &&
	    (it->result == WIRE_ACKED || it->result == WIRE_MOVED))
		model_put(&w->brought, it->item.path)->content =
		        model_find(&w->target, it->item.path)->content;
	else if (e && (sent || dir || class == SESSION_DELETE || it->result == WIRE_UNKNOWN))
		model_remove(&w->brought, e);
}

void server_report(struct world *w, struct server *s, size_t index, enum wire_result result,
                   const struct fingerprint *fp, unsigned flags)
{
	struct server_item *it = &s->items[index];

	it->result = result;
	it->flags = flags | (it->with_former ? WIRE_FORMER : 0);
	it->fp = fp ? *fp : (struct fingerprint){0};
	if (result != WIRE_VANISHED && result != WIRE_UNSENT)
		above_claim(w, it->item.path);
	if (!s->orphan && s->state == SERVER_LISTED)
		keep_brought(w, it, s->class);
	if (s->orphan || s->state != SERVER_LISTED)
		it->done = true; /* nobody hears it */
	else if (result != WIRE_UNKNOWN && result != WIRE_UNSENT &&
	         !(result == WIRE_VANISHED && s->class == SESSION_DELETE) &&
	         world_random(w, 4) == 0)
		it->late = true;
	else
		tell(w, s, index);
}

/* One of the reports that are due; they come in no order. */
static bool tell_late(struct world *w, struct server *s)
{
	size_t from = s->count ? world_random(w, (uint32_t)s->count) : 0;

	for (size_t i = 0; i < s->count; i++) {
		size_t k = (from + i) % s->count;

		if (s->items[k].late) {
			tell(w, s, k);
			return true;
		}
	}
	return false;
}

static void apply_stamp(struct world *w, struct server *s, size_t i)
{
	struct server_item *it = &s->items[i];
	struct entry *t = model_find(&w->target, it->item.path);

	if (it->item.flags & WIRE_ITEM_SERVE) {
		t = model_put(&w->target, it->item.path);
		t->fp.mtime_ns = it->item.mtime_s * S;
		server_report(w, s, i, WIRE_ACKED, &t->fp, 0);
	} else {
		bool proven = t && t->fp.mtime_ns == it->item.mtime_s * S;

		server_report(w, s, i, proven ? WIRE_PROVEN : WIRE_DISPROVED, NULL, 0);
	}
}

static struct entry *find_temp(struct world *w, struct bytes path)
{
	char text[64];
	struct bytes dir = path_parent(path), name = path_name(path);

	(void)snprintf(text, sizeof(text), "%.*s%s.%.*s.aBcDeF", (int)dir.n, dir.p,
	               dir.n ? "/" : "", (int)name.n, name.p);
	return model_find(&w->target, bytes_of(text));
}

void server_killed(struct world *w, const struct server *s)
{
	const struct server_item *it = s->at < s->count ? &s->items[s->at] : NULL;
	struct bytes path, dir;
	struct entry *d, *t;
	char text[64];

	if (!it || s->class == SESSION_DELETE || it->item.flags & WIRE_ITEM_STAMP || !it->exists ||
	    !S_ISREG(it->seen.fp.mode) || it->item.flags & WIRE_ITEM_DIR || it->done ||
	    s->target_id != w->target_id || world_random(w, 2))
		return;
	path = it->item.path;
	dir = path_parent(path);
	d = dir.n ? model_find(&w->target, dir) : NULL;
	if (dir.n && (!d || !S_ISDIR(d->fp.mode)))
		return;
	(void)snprintf(text, sizeof(text), "%.*s%s.%s.aBcDeF", (int)dir.n, dir.p, dir.n ? "/" : "",
	               path_name(path).p);
	t = model_put(&w->target, bytes_of(text));
	t->temp = true;
	t->foreign = false;
	t->fp.mode = S_IFREG | 0600;
	world_trace(w, "server %llu leaves %s", (unsigned long long)s->id, text);
}

/* Its list cannot go into a directory that it deletes without knowing what it is. */
static bool deletes_untyped(const struct server *s, struct bytes dir)
{
	for (size_t i = 0; i < s->count; i++) {
		if (!(s->items[i].item.flags & (WIRE_ITEM_SPARE | WIRE_ITEM_DIR)) &&
		    bytes_equal(s->items[i].item.path, dir))
			return true;
	}
	return false;
}

/* Before the first deletion: the receiver goes through a directory before it removes it. */
/* Nor into one whose name it spares. */
static bool spares_above(const struct server *s, struct bytes path)
{
	for (size_t i = 0; i < s->count; i++) {
		if (s->items[i].item.flags & WIRE_ITEM_SPARE &&
		    path_below(path, s->items[i].item.path))
			return true;
	}
	return false;
}

static void apply_sweeps(struct world *w, struct server *s)
{
	for (size_t i = 0; i < s->count; i++) {
		struct server_item *it = &s->items[i];
		struct entry *t = find_temp(w, it->item.path);

		if (it->item.flags & WIRE_ITEM_TEMPS && t && t->temp &&
		    !deletes_untyped(s, path_parent(it->item.path)) &&
		    !spares_above(s, it->item.path))
			model_remove(&w->target, t);
	}
}

static void apply_deletion(struct world *w, struct server *s, size_t i)
{
	struct server_item *it = &s->items[i];
	struct entry *t = model_find(&w->target, it->item.path);

	if (it->item.flags & WIRE_ITEM_SPARE) {
		server_report(w, s, i, WIRE_ACKED, NULL, 0);
		return;
	}
	if (t && t->foreign && t->unclaimed)
		world_violation(w, "I8: somebody else's entry is deleted", it->item.path);
	if (w->frozen && s->state == SERVER_LISTED && !s->orphan && s->at == 0)
		world_violation(w, "I8: a deletion while the source is frozen", it->item.path);
	w->deletions++;
	/* What is to go as a directory spares what is none, without a word. In a target that was
	 * replaced within the age of the proof with which the list went, or for which a session
	 * that still works in the earlier one gave a proof, it stays as an extra. So it does in one
	 * that has lost its power and is back before the sessions of that time could show it. */
	if (t && (it->item.flags & WIRE_ITEM_DIR) && !S_ISDIR(t->fp.mode)) {
		t->foreign = t->foreign || s->unnoticed || s->sent_ns - w->vouched_ns <= 10 * S;
		t = NULL;
	}
	if (t && S_ISDIR(t->fp.mode) && model_has_below(&w->target, it->item.path)) {
		t->foreign = true; /* not ours any more */
		server_report(w, s, i, WIRE_KEPT, NULL, 0);
		return;
	}
	if (t)
		model_remove(&w->target, t);
	server_report(w, s, i, WIRE_ACKED, NULL, 0);
}

/* Our side finds another state of things than the batch was made for. */
static bool vanished(struct world *w, struct server *s, size_t i)
{
	struct server_item *it = &s->items[i];
	struct bytes dir = path_parent(it->item.path);
	struct entry *d = dir.n ? model_find(&w->source, dir) : NULL;

	if (s->class == SESSION_DELETE)
		return deletes_untyped(s, dir) || spares_above(s, it->item.path) ||
		       (it->exists && !(it->item.flags & WIRE_ITEM_SPARE));
	if (dir.n && (!d || !S_ISDIR(d->fp.mode)) && s->state == SERVER_LISTED)
		return true;
	return !it->exists || S_ISDIR(it->seen.fp.mode) != !!(it->item.flags & WIRE_ITEM_DIR);
}

static void apply_entry(struct world *w, struct server *s, size_t i)
{
	struct server_item *it = &s->items[i];
	struct bytes dir = path_parent(it->item.path);
	struct entry *now = model_find(&w->source, it->item.path), *t;
	unsigned flags;
	bool same, is_dir = it->seen.fp.mode && S_ISDIR(it->seen.fp.mode);

	if (s->state == SERVER_LISTED && !s->orphan)
		above_ensure(w, s, it->item.path);
	t = dir.n ? model_find(&w->target, dir) : NULL;
	if (dir.n && (!t || !S_ISDIR(t->fp.mode)))
		return; /* a late server writes only into what is there */
	t = model_find(&w->target, it->item.path);
	flags = t ? 0 : WIRE_WAS_NEW;
	if (t && S_ISDIR(t->fp.mode) && !is_dir && model_has_below(&w->target, it->item.path)) {
		server_report(w, s, i, WIRE_FAILED, NULL, 0); /* could not make way */
		return;
	}
	same = t && t->fp.size == it->seen.fp.size && t->fp.mtime_ns == it->seen.fp.mtime_ns &&
	       S_ISREG(t->fp.mode);
	if (former_apply(w, s, it, &flags)) {
		bool gone = !now || fingerprint_moved(&it->seen.fp, &now->fp);

		server_report(w, s, i, gone ? WIRE_MOVED : WIRE_ACKED, &it->seen.fp, flags);
		return;
	}
	t = model_put(&w->target, it->item.path);
	t->foreign = false;
	if (is_dir)
		t->inode = 0;
	if (!is_dir && (!same || s->class == SESSION_CONTENT)) {
		/* An earlier process sends what it read; ours reads now. */
		bool late = s->orphan || s->state != SERVER_LISTED;

		t->content = late || !now ? it->seen.content : now->content;
		t->inode = ++w->next_inode;
		flags |= WIRE_DATA_SENT | basis_apply(w, it, t->content);
	}
	former_set(w, t, &it->seen.fp);
	bool moved = !now || fingerprint_moved(&it->seen.fp, &now->fp);

	server_report(w, s, i, moved && !is_dir ? WIRE_MOVED : WIRE_ACKED, &it->seen.fp, flags);
}

/* Found before the list was made: nothing of it left. */
static bool is_same(struct world *w, const struct server *s, size_t i)
{
	const struct server_item *it = &s->items[i];
	struct entry *e = model_find(&w->brought, it->item.path);

	return (it->item.flags & WIRE_ITEM_UNLESS_SAME) && !s->orphan &&
	       s->state == SERVER_LISTED && e && e->content == it->seen.content;
}

void server_apply(struct world *w, struct server *s, size_t i)
{
	world_trace(w, "server %llu state %d class %d applies %s", (unsigned long long)s->id,
	            (int)s->state, (int)s->class, s->items[i].path);
	if (i == 0 && s->class == SESSION_DELETE && s->target_id == w->target_id)
		apply_sweeps(w, s);
	if (!(s->items[i].item.flags & WIRE_ITEM_STAMP) && vanished(w, s, i)) {
		above_leave(s, bytes_of(s->items[i].path)); /* the list has not named it */
		server_report(w, s, i, WIRE_VANISHED, NULL, 0);
		return;
	}
	if (s->target_id !=
	    w->target_id) { /* it still works in the directory that was swapped away */
		server_report(w, s, i,
		              s->items[i].item.flags & WIRE_ITEM_STAMP ? WIRE_PROVEN : WIRE_ACKED,
		              &s->items[i].seen.fp, 0);
		return;
	}
	if (w->now_ns < w->immutable_until_ns && !strcmp(w->immutable, s->items[i].path)) {
		server_report(w, s, i, WIRE_FAILED, NULL, 0);
		return;
	}
	if (s->state != SERVER_LISTED || s->orphan)
		above_ensure_late(w, s, bytes_of(s->items[i].path));
	if (s->items[i].item.flags & WIRE_ITEM_STAMP)
		apply_stamp(w, s, i);
	else if (is_same(w, s, i))
		server_report(w, s, i, WIRE_SAME, NULL, 0);
	else if (s->class == SESSION_DELETE)
		apply_deletion(w, s, i);
	else
		apply_entry(w, s, i);
}

void server_finish(struct world *w, struct server *s, enum trouble t, bool zombie)
{
	struct wire_done m = {.batch = s->batch,
	                      .session = s->id,
	                      .trouble = (uint8_t)t,
	                      .zombie = zombie,
	                      .text = BYTES("the connection broke")};

	if (!s->orphan && engine_batch_done(w->engine, &m, w->now_ns) < 0)
		world_violation(w, "the engine refuses the end of a batch", BYTES(""));
}

/* Deletions go deepest first, everything else parents first; stamps last. */
static bool serve_next(struct world *w, struct server *s)
{
	if (s->at < s->count) {
		if (w->full && s->class != SESSION_DELETE &&
		    !(s->items[s->at].item.flags & WIRE_ITEM_STAMP) && s->state == SERVER_LISTED &&
		    !s->orphan && !vanished(w, s, s->at)) {
			struct wire_result_item item = {.index = (uint32_t)s->at,
			                                .result = WIRE_FAILED,
			                                .trouble = TROUBLE_FULL,
			                                .text = BYTES("No space left on device")};
			struct wire_report m = {s->batch, &item, 1};

			above_make_way(w, s, s->items[s->at].item.path);
			s->items[s->at++].done = true;
			(void)engine_report(w->engine, &m, w->now_ns);
			return true;
		}
		server_apply(w, s, s->at++);
		return true;
	}
	if (s->state == SERVER_LISTED) {
		if (tell_late(w, s))
			return true;
		former_end(w, s);
		server_finish(w, s, TROUBLE_NONE, false);
	}
	server_gone(w, s, TROUBLE_NONE, s->state == SERVER_ZOMBIE);
	server_free(w, s);
	return true;
}

/* Its host is gone. A packet of ours, the next keepalive at the latest, is answered with a reset
 * once the host is back; before that nothing is heard. */
static bool dead_step(struct world *w, struct server *s)
{
	if (s->state == SERVER_LISTED && w->down && w->now_ns < s->over_ns)
		return false;
	if (s->state == SERVER_READY && w->now_ns < s->over_ns)
		return false;
	world_trace(w, "server %llu is found dead", (unsigned long long)s->id);
	if (s->state == SERVER_LISTED) {
		for (size_t i = 0; i < s->count; i++) {
			if (!s->items[i].done)
				server_report(w, s, i, WIRE_UNKNOWN, NULL, 0);
		}
		server_finish(w, s, TROUBLE_PROTOCOL, false);
	}
	server_gone(w, s, s->state == SERVER_READY ? TROUBLE_PROTOCOL : TROUBLE_NONE, false);
	server_free(w, s);
	return true;
}

bool target_unnoticed(const struct world *w)
{
	for (const struct server *s = w->servers; s; s = s->next) {
		if (s->dead)
			return true;
	}
	return false;
}

static bool server_step(struct world *w, struct server *s)
{
	if (s->dead && s->state != SERVER_OVER)
		return dead_step(w, s);
	switch (s->state) {
	case SERVER_CONNECTING:
		if (w->down && world_random(w, 4) == 0)
			return false; /* the handshake hangs until the host is back */
		if (w->down) {
			server_gone(w, s, TROUBLE_UNREACHABLE, false);
			server_free(w, s);
		} else {
			struct wire_ready m = {s->id, 31, 0};

			s->state = SERVER_READY;
			s->target_id = w->target_id;
			world_trace(w, "server %llu class %d is ready", (unsigned long long)s->id,
			            (int)s->class);
			engine_session_ready(w->engine, &m, w->now_ns);
		}
		return true;
	case SERVER_READY:
		return false;
	case SERVER_LISTED:
		return serve_next(w, s);
	case SERVER_ZOMBIE:
		if (w->now_ns < s->over_ns && s->at < s->count && world_random(w, 3)) {
			server_apply(w, s, s->at++);
			return true;
		}
		if (w->now_ns < s->over_ns && !w->quiet)
			return false;
		server_killed(w, s);
		server_gone(w, s, TROUBLE_NONE, true);
		server_free(w, s);
		return true;
	case SERVER_OVER:
		server_gone(w, s, TROUBLE_NONE, false);
		server_free(w, s);
		return true;
	}
	return false;
}

bool target_step(struct world *w)
{
	size_t n = 0, pick;

	for (struct server *s = w->servers; s; s = s->next)
		n++;
	if (n == 0)
		return false;
	pick = world_random(w, (uint32_t)n);
	for (size_t tried = 0; tried < n; tried++) {
		struct server *s = w->servers;

		for (size_t i = 0; i < (pick + tried) % n; i++)
			s = s->next;
		if (server_step(w, s))
			return true;
	}
	return false;
}
