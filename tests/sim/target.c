/*
 * The simulated target: servers that work through batches item by item, as a stock receiver would,
 * and its misfortunes.
 */
#include <stdio.h>
#include "base/mem.h"
#include "base/path.h"
#include "world.h"

static struct server *server_find(struct world *w, uint64_t id)
{
	for (struct server *s = w->servers; s; s = s->next) {
		if (s->id == id && !s->orphan)
			return s;
	}
	return NULL;
}

static void server_free(struct world *w, struct server *s)
{
	for (struct server **p = &w->servers; *p; p = &(*p)->next) {
		if (*p == s) {
			*p = s->next;
			break;
		}
	}
	free(s->items);
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
	s->target_id = w->target_id;
	s->next = w->servers;
	w->servers = s;
}

static void gone(struct world *w, struct server *s, enum trouble t, bool zombie_over)
{
	struct wire_gone m = {.session = s->id,
	                      .trouble = (uint8_t)t,
	                      .zombie_over = zombie_over,
	                      .text = BYTES("gone")};

	if (!s->orphan)
		engine_session_gone(w->engine, &m, w->now_ns);
}

void target_close(struct world *w, uint64_t id)
{
	struct server *s = server_find(w, id);

	if (s)
		s->state = SERVER_OVER;
}

/* I6: no path twice in flight, and nothing above or below an exclusive item of another batch. */
static void check_scopes(struct world *w, struct server *mine)
{
	for (struct server *s = w->servers; s; s = s->next) {
		if (s == mine || s->state != SERVER_LISTED || s->orphan)
			continue;
		for (size_t i = 0; i < s->count; i++) {
			for (size_t k = 0; k < mine->count; k++) {
				struct bytes a = bytes_of(s->items[i].path);
				struct bytes b = bytes_of(mine->items[k].path);
				bool delete =
				        s->class == SESSION_DELETE || mine->class == SESSION_DELETE;

				if (s->items[i].done) /* confirmed: not in flight any more */
					continue;
				if ((s->items[i].item.flags | mine->items[k].item.flags) &
				    WIRE_ITEM_STAMP)
					continue;
				if (bytes_equal(a, b))
					world_violation(w, "I6: a path is in two batches", a);
				if (delete &&(path_below(a, b) || path_below(b, a)))
					world_violation(
					        w, "I6: a deletion beside work above or below", a);
			}
		}
	}
}

void target_batch(struct world *w, const struct wire_batch *batch)
{
	struct server *s = server_find(w, batch->session);

	check(s && s->state == SERVER_READY);
	s->batch = batch->id;
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
		it->exists = e != NULL;
		if (e)
			it->seen = *e;
	}
	check_scopes(w, s);
}

static void report(struct world *w, struct server *s, size_t index, enum wire_result result,
                   const struct fingerprint *fp, unsigned flags)
{
	struct wire_result_item item = {.index = (uint32_t)index,
	                                .result = (uint8_t)result,
	                                .flags = (uint8_t)flags,
	                                .text = BYTES("it failed")};
	struct wire_report m = {s->batch, &item, 1};

	if (fp)
		item.fp = *fp;
	s->items[index].done = true;
	world_trace(w, "server %llu reports %d for %s%s", (unsigned long long)s->id, (int)result,
	            s->items[index].path,
	            s->orphan || s->state != SERVER_LISTED ? " to nobody" : "");
	if (!s->orphan && s->state == SERVER_LISTED && engine_report(w->engine, &m, w->now_ns) < 0)
		world_violation(w, "the engine refuses a true report",
		                bytes_of(s->items[index].path));
}

static void ensure_parents(struct world *w, struct bytes path)
{
	struct bytes dir = path_parent(path);

	if (!dir.n)
		return;
	ensure_parents(w, dir);
	struct entry *s = model_find(&w->source, dir), *t = model_find(&w->target, dir);

	if (!s || !S_ISDIR(s->fp.mode))
		return;
	if (!t || !S_ISDIR(t->fp.mode)) {
		t = model_put(&w->target, dir);
		t->foreign = false;
	}
	t->fp = s->fp;
}

static void apply_stamp(struct world *w, struct server *s, size_t i)
{
	struct server_item *it = &s->items[i];
	struct entry *t = model_find(&w->target, it->item.path);

	if (it->item.flags & WIRE_ITEM_SERVE) {
		t = model_put(&w->target, it->item.path);
		t->fp.mtime_ns = it->item.mtime_s * S;
			report(w, s, i, WIRE_ACKED, &t->fp, 0);
	} else {
		bool proven = t && t->fp.mtime_ns == it->item.mtime_s * S;

		report(w, s, i, proven ? WIRE_PROVEN : WIRE_DISPROVED, NULL, 0);
	}
}

static void apply_deletion(struct world *w, struct server *s, size_t i)
{
	struct server_item *it = &s->items[i];
	struct entry *t = model_find(&w->target, it->item.path);

	if (t && t->foreign) { /* a name the ledger holds was taken over by somebody */
		struct belief belief;

		ledger_get(w->ledger, it->item.path, &belief);
		if (belief.state == LEDGER_ABSENT && !s->orphan && s->state == SERVER_LISTED)
			world_violation(w, "I8: a foreign entry is deleted", it->item.path);
	}
	if (w->frozen && s->state == SERVER_LISTED && !s->orphan && s->at == 0)
		world_violation(w, "I8: a deletion while the source is frozen", it->item.path);
	w->deletions++;
	if (t && S_ISDIR(t->fp.mode) && model_has_below(&w->target, it->item.path)) {
		t->foreign = true; /* not ours any more */
		report(w, s, i, WIRE_KEPT, NULL, 0);
		return;
	}
	if (t)
		model_remove(&w->target, t);
	report(w, s, i, WIRE_ACKED, NULL, 0);
}

/* Our side finds another state of things than the batch was made for. */
static bool vanished(struct world *w, struct server *s, size_t i)
{
	struct server_item *it = &s->items[i];
	struct bytes dir = path_parent(it->item.path);
	struct entry *d = dir.n ? model_find(&w->source, dir) : NULL;

	if (s->class == SESSION_DELETE)
		return it->exists;
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

	if (s->state == SERVER_LISTED)
		ensure_parents(w, it->item.path);
	t = dir.n ? model_find(&w->target, dir) : NULL;
	if (dir.n && (!t || !S_ISDIR(t->fp.mode)))
		return; /* a late server writes only into what is there */
	t = model_find(&w->target, it->item.path);
	flags = t ? 0 : WIRE_WAS_NEW;
	if (t && S_ISDIR(t->fp.mode) && !is_dir && model_has_below(&w->target, it->item.path)) {
		report(w, s, i, WIRE_FAILED, NULL, 0); /* could not make way */
		return;
	}
	same = t && t->fp.size == it->seen.fp.size && t->fp.mtime_ns == it->seen.fp.mtime_ns &&
	       S_ISREG(t->fp.mode);
	t = model_put(&w->target, it->item.path);
	t->foreign = false;
	if (!is_dir && (!same || s->class == SESSION_CONTENT)) {
		/* An earlier process sends what it read; ours reads now. */
		bool late = s->orphan || s->state != SERVER_LISTED;

		t->content = late || !now ? it->seen.content : now->content;
	}
	t->fp = it->seen.fp;
	bool moved = !now || fingerprint_moved(&it->seen.fp, &now->fp);

	report(w, s, i, moved && !is_dir ? WIRE_MOVED : WIRE_ACKED, &it->seen.fp, flags);
}

static void apply(struct world *w, struct server *s, size_t i)
{
	world_trace(w, "server %llu state %d class %d applies %s", (unsigned long long)s->id,
	            (int)s->state, (int)s->class, s->items[i].path);
	if (!(s->items[i].item.flags & WIRE_ITEM_STAMP) && vanished(w, s, i)) {
		report(w, s, i, WIRE_VANISHED, NULL, 0);
		return;
	}
	if (s->target_id !=
	    w->target_id) { /* it still works in the directory that was swapped away */
		struct entry *t, *next;

		/* What is deleted there stays here, and the ledger lets it go: extras. */
		HASH_ITER (hh, w->target.entries, t, next) {
			struct bytes path = s->items[i].item.path;

			if (s->class == SESSION_DELETE && (bytes_equal(entry_path(t), path) ||
			                                   path_below(entry_path(t), path)))
				t->foreign = true;
		}
		report(w, s, i, s->items[i].item.flags & WIRE_ITEM_STAMP ? WIRE_PROVEN : WIRE_ACKED,
		       &s->items[i].seen.fp, 0);
		return;
	}
	if (s->items[i].item.flags & WIRE_ITEM_STAMP)
		apply_stamp(w, s, i);
	else if (s->class == SESSION_DELETE)
		apply_deletion(w, s, i);
	else
		apply_entry(w, s, i);
}

static void finish(struct world *w, struct server *s, enum trouble t, bool zombie)
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
		    !s->orphan) {
			struct wire_result_item item = {.index = (uint32_t)s->at,
			                                .result = WIRE_FAILED,
			                                .trouble = TROUBLE_FULL,
			                                .text = BYTES("No space left on device")};
			struct wire_report m = {s->batch, &item, 1};

			s->items[s->at++].done = true;
			(void)engine_report(w->engine, &m, w->now_ns);
			return true;
		}
		apply(w, s, s->at++);
		return true;
	}
	if (s->state == SERVER_LISTED)
		finish(w, s, TROUBLE_NONE, false);
	gone(w, s, TROUBLE_NONE, s->state == SERVER_ZOMBIE);
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
				report(w, s, i, WIRE_UNKNOWN, NULL, 0);
		}
		finish(w, s, TROUBLE_PROTOCOL, false);
	}
	gone(w, s, s->state == SERVER_READY ? TROUBLE_PROTOCOL : TROUBLE_NONE, false);
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
			gone(w, s, TROUBLE_UNREACHABLE, false);
			server_free(w, s);
		} else {
			struct wire_ready m = {s->id, 31, 0};

			s->state = SERVER_READY;
			s->target_id = w->target_id;
			engine_session_ready(w->engine, &m, w->now_ns);
		}
		return true;
	case SERVER_READY:
		return false;
	case SERVER_LISTED:
		return serve_next(w, s);
	case SERVER_ZOMBIE:
		if (w->now_ns < s->over_ns && s->at < s->count && world_random(w, 3)) {
			apply(w, s, s->at++);
			return true;
		}
		if (w->now_ns < s->over_ns && !w->quiet)
			return false;
		gone(w, s, TROUBLE_NONE, true);
		server_free(w, s);
		return true;
	case SERVER_OVER:
		gone(w, s, TROUBLE_NONE, false);
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

/* --- misfortunes --- */

static void cut(struct world *w, struct server *s, bool zombie)
{
	if (s->orphan || s->dead || s->state == SERVER_ZOMBIE || s->state == SERVER_OVER)
		return;
	if (s->state != SERVER_LISTED) {
		gone(w, s, TROUBLE_PROTOCOL, false);
		server_free(w, s);
		return;
	}
	/* Applied, but the confirmation is lost. */
	if (s->at < s->count && world_random(w, 2)) {
		enum server_state was = s->state;

		s->state = SERVER_ZOMBIE;
		apply(w, s, s->at++);
		s->state = was;
	}
	for (size_t i = 0; i < s->count; i++) {
		if (!s->items[i].done)
			report(w, s, i, WIRE_UNKNOWN, NULL, 0);
		else if (i + 1 == s->at)
			(void)i;
	}
	finish(w, s, TROUBLE_PROTOCOL, zombie);
	if (zombie) {
		s->state = SERVER_ZOMBIE;
		s->over_ns = w->now_ns + (int64_t)world_random(w, 50) * S;
		return;
	}
	gone(w, s, TROUBLE_NONE, false);
	server_free(w, s);
}

static void cut_all(struct world *w, bool zombie)
{
	for (bool again = true; again;) {
		again = false;
		for (struct server *s = w->servers; s; s = s->next) {
			if (!s->orphan && !s->dead && s->state != SERVER_ZOMBIE &&
			    s->state != SERVER_OVER) {
				cut(w, s, zombie);
				again = true;
				break;
			}
		}
	}
}

void target_forget_past(struct world *w)
{
	for (bool again = true; again;) {
		again = false;
		for (struct server *s = w->servers; s && !again; s = s->next) {
			again = s->target_id != w->target_id && !s->orphan && !s->dead &&
			        s->state != SERVER_ZOMBIE && s->state != SERVER_OVER;
			if (again)
				cut(w, s, false);
		}
	}
}

/* Names that came back from the past and that the ledger has let go are extras now. */
static void adopt_foreign(struct world *w)
{
	struct entry *e, *next;

	HASH_ITER (hh, w->target.entries, e, next) {
		struct belief belief;

		ledger_get(w->ledger, entry_path(e), &belief);
		if (!(belief.state & LEDGER_CONFIRMED) && e->path[0] != '.')
			e->foreign = true;
	}
}

static void target_sync(struct world *w)
{
	world_trace(w, "the target syncs");
	w->synced_ns = w->now_ns;
	model_copy(&w->synced, &w->target);
}

/* Of what was written since the last sync some has reached the disk, in no order. */
static void lose_unsynced(struct world *w)
{
	struct model now = w->target;
	struct entry **all;
	size_t n;

	w->target.entries = NULL;
	model_copy(&w->target, &w->synced);
	n = model_sorted(&now, &all);
	for (size_t i = 0; i < n; i++) {
		struct bytes path = entry_path(all[i]), dir = path_parent(path);
		struct entry *t = model_find(&w->target, path), *d;

		d = dir.n ? model_find(&w->target, dir) : NULL;
		if (world_random(w, 3) || (dir.n && (!d || !S_ISDIR(d->fp.mode))) ||
		    (!S_ISDIR(all[i]->fp.mode) && model_has_below(&w->target, path)))
			continue;
		t = t ? t : model_put(&w->target, path);
		t->fp = all[i]->fp;
		t->content = all[i]->content;
		t->foreign = all[i]->foreign;
	}
	free(all);
	model_clear(&now);
}

static void lose_power(struct world *w)
{
	world_trace(w, "fault: the target loses its power");
	w->down = true;
	w->down_until_ns = w->now_ns + (int64_t)(6 + world_random(w, 20)) * S;
	for (struct server *s = w->servers, *next; s; s = next) {
		next = s->next;
		if (s->state == SERVER_ZOMBIE) { /* it died with its host */
			gone(w, s, TROUBLE_NONE, true);
			server_free(w, s);
		} else if (s->orphan) {
			server_free(w, s);
		} else if (s->state != SERVER_CONNECTING && !s->dead) {
			s->dead = true;
			s->over_ns = w->down_until_ns + (int64_t)world_random(w, 40) * S;
		}
	}
	lose_unsynced(w);
	adopt_foreign(w);
}

/* "Put back to yesterday": a state from before the present generation. A younger one cannot be told
 * from the present by its stamps, and nobody restores a backup that young. */
static bool past_is_older(struct world *w)
{
	for (unsigned i = 0; i < 2; i++) {
		struct entry *stamp;
		char name[24];

		(void)snprintf(name, sizeof(name), ".lockstep/sim.%u", i);
		stamp = model_find(&w->synced, bytes_of(name));
		if (stamp && stamp->fp.mtime_ns >= (int64_t)ledger_generation(w->ledger) * S)
			return false;
	}
	return true;
}

/* A file whose size and time are today's and whose bytes are not (the time was put back by hand) is
 * found by a compare by content only: nobody is promised that for a restored target. */
static void restore(struct world *w)
{
	struct entry *t, *next;

	model_copy(&w->target, &w->synced);
	HASH_ITER (hh, w->target.entries, t, next) {
		struct entry *s = model_find(&w->source, entry_path(t));

		if (s && S_ISREG(s->fp.mode) && S_ISREG(t->fp.mode) && s->fp.size == t->fp.size &&
		    s->fp.mtime_ns == t->fp.mtime_ns)
			model_remove(&w->target, t);
	}
}

static void replace(struct world *w)
{
	if (!past_is_older(w))
		return;
	world_trace(w, "fault: the target is replaced");
	w->replaced = true;
	w->target_id++;
	if (world_random(w, 2))
		model_clear(&w->target);
	else
		restore(w);
	adopt_foreign(w);
}

static void put_foreign(struct world *w)
{
	char name[8];
	struct entry *e;

	(void)snprintf(name, sizeof(name), "%c/%c", 'a' + (int)world_random(w, 5),
	               'p' + (int)world_random(w, 3));
	e = model_find(&w->target, path_parent(bytes_of(name)));
	if (!e || !S_ISDIR(e->fp.mode) || model_find(&w->target, bytes_of(name)))
		return;
	e = model_put(&w->target, bytes_of(name));
	e->foreign = true;
	e->fp.mode = S_IFREG | 0600;
}

void target_fault(struct world *w)
{
	struct server *s = w->servers;

	if (w->quiet)
		return;
	w->faults++;
	switch (world_random(w, 12)) {
	case 0:
		w->down = true;
		w->down_until_ns = w->now_ns + (int64_t)world_random(w, 30) * S;
		cut_all(w, world_random(w, 2));
		return;
	case 1:
		w->full = true;
		w->full_until_ns = w->now_ns + (int64_t)world_random(w, 30) * S;
		return;
	case 2:
		if (world_random(w, 3) == 0)
			lose_power(w);
		return;
	case 3:
		if (world_random(w, 6) == 0)
			replace(w);
		return;
	case 4:
		put_foreign(w);
		return;
	case 5:
	case 6: /* everything up to now reaches the disk */
		target_sync(w);
		return;
	case 7:
		w->frozen = !w->frozen;
		engine_set_frozen(w->engine, w->frozen, w->now_ns);
		return;
	default:
		if (s)
			cut(w, s, world_random(w, 2));
		return;
	}
}

void target_heal(struct world *w)
{
	if (w->now_ns - w->synced_ns > 90 * S) /* no kernel keeps a dirty page for longer */
		target_sync(w);
	if (w->down && w->now_ns >= w->down_until_ns)
		w->down = false;
	if (w->full && (w->quiet || w->now_ns >= w->full_until_ns))
		w->full = false;
}

void target_orphan_all(struct world *w)
{
	for (struct server *s = w->servers, *next; s; s = next) {
		next = s->next;
		if (s->state == SERVER_LISTED || s->state == SERVER_ZOMBIE) {
			s->orphan = true;
			s->state = SERVER_ZOMBIE;
			/* A zombie's time is bounded by its own timeout (I13). */
			s->over_ns = w->now_ns + (int64_t)world_random(w, 50) * S;
		} else {
			server_free(w, s);
		}
	}
}
