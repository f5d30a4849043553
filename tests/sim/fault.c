/*
 * What happens to the simulated target: sessions that break, power that is lost, disks that fill,
 * directories that are swapped, and somebody else's files.
 */
#include <errno.h>
#include <stdio.h>
#include "base/mem.h"
#include "base/path.h"
#include "server.h"

static void cut(struct world *w, struct server *s, bool zombie)
{
	if (s->orphan || s->dead || s->state == SERVER_ZOMBIE || s->state == SERVER_OVER)
		return;
	if (s->state != SERVER_LISTED) {
		server_gone(w, s, TROUBLE_PROTOCOL, false);
		server_free(w, s);
		return;
	}
	/* Applied, but the confirmation is lost. */
	if (s->at < s->count && world_random(w, 2)) {
		enum server_state was = s->state;
		struct entry *e = model_find(&w->brought, s->items[s->at].item.path);

		if (e)
			model_remove(&w->brought, e);
		s->state = SERVER_ZOMBIE;
		server_apply(w, s, s->at++);
		s->state = was;
	}
	bool unsent = !zombie && s->at == 0 && world_random(w, 2);

	if (!zombie && !unsent)
		server_killed(w, s);

	for (size_t i = 0; i < s->count; i++) {
		if (!s->items[i].done)
			server_report(w, s, i, unsent ? WIRE_UNSENT : WIRE_UNKNOWN, NULL, 0);
	}
	server_finish(w, s, TROUBLE_PROTOCOL, zombie);
	if (zombie) {
		s->state = SERVER_ZOMBIE;
		s->over_ns = w->now_ns + (int64_t)world_random(w, 50) * S;
		return;
	}
	server_gone(w, s, TROUBLE_NONE, false);
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
		for (struct server *s = w->servers; s; s = s->next) {
			if (s->target_id == w->target_id || s->orphan || s->dead ||
			    s->state == SERVER_ZOMBIE || s->state == SERVER_OVER)
				continue;
			cut(w, s, false); /* frees it */
			again = true;
			break;
		}
	}
}

/* A ledger that lost its last commits, or a target that came back from the past, has claims again
 * that had been given up. */
void target_claim(struct world *w)
{
	struct entry *e, *next;

	HASH_ITER (hh, w->target.entries, e, next) {
		struct belief belief;

		ledger_get(w->ledger, entry_path(e), &belief);
		e->unclaimed = e->unclaimed && belief.state == LEDGER_ABSENT;
	}
}

/* Names that came back from the past and that the ledger has let go are extras now. Nobody is
 * promised either that an extra with the size and time of a file that comes to stand there, and
 * with other bytes (that file's time was put back by hand), is told from it. */
static void adopt_foreign(struct world *w)
{
	struct entry *e, *next;

	target_claim(w);
	HASH_ITER (hh, w->target.entries, e, next) {
		struct belief belief;

		ledger_get(w->ledger, entry_path(e), &belief);
		if (belief.state & LEDGER_CONFIRMED || (!e->temp && e->path[0] == '.'))
			continue;
		if (belief.state == LEDGER_ABSENT && S_ISREG(e->fp.mode) && !e->foreign)
			e->fp.mtime_ns--;
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
		t->inode = all[i]->inode;
		t->foreign = all[i]->foreign;
	}
	free(all);
	model_clear(&now);
}

static void lose_power(struct world *w)
{
	world_trace(w, "fault: the target loses its power");
	check_forget(w, true);
	w->down = true;
	w->down_until_ns = w->now_ns + (int64_t)(6 + world_random(w, 20)) * S;
	for (struct server *s = w->servers, *next; s; s = next) {
		next = s->next;
		if (s->state == SERVER_ZOMBIE) { /* it died with its host */
			server_gone(w, s, TROUBLE_NONE, true);
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

/* "Put back to yesterday": a state from before the generation that is on disk, to which a crash
 * leads back. A younger one cannot be told from the present by its stamps, and nobody restores a
 * backup that young. */
static bool past_is_older(struct world *w)
{
	for (unsigned i = 0; i < 2; i++) {
		struct entry *stamp;
		char name[24];

		(void)snprintf(name, sizeof(name), ".lockstep/sim.%u", i);
		stamp = model_find(&w->synced, bytes_of(name));
		if (stamp && stamp->fp.mtime_ns >= (int64_t)w->kept_generation * S)
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
	/* Without stamps nobody can tell but by a compare, nor before the first one is on disk. */
	if (w->mood.blind || !w->kept_generation || !past_is_older(w))
		return;
	world_trace(w, "fault: the target is replaced");
	w->replaced = true;
	w->vouched_ns = w->now_ns;
	check_forget(w, true);
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
	struct belief belief;
	struct entry *e;

	(void)snprintf(name, sizeof(name), "%c/%c", 'a' + (int)world_random(w, 5),
	               (world_random(w, 2) ? 'p' : 'a') + (int)world_random(w, 3));
	e = model_find(&w->target, path_parent(bytes_of(name)));
	if (!e || !S_ISDIR(e->fp.mode) || model_find(&w->target, bytes_of(name)))
		return;
	e = model_put(&w->target, bytes_of(name));
	ledger_get(w->ledger, bytes_of(name), &belief);
	e->foreign = true;
	e->unclaimed = belief.state == LEDGER_ABSENT;
	e->fp.mode = S_IFREG | 0600;
	world_trace(w, "somebody puts %s there", name);
}

static void lose_worker(struct world *w)
{
	world_trace(w, "fault: the worker dies");
	target_orphan_all(w);
	engine_worker_died(w->engine, BYTES("it died"), w->now_ns);
}

/* What happens to the daemon's surroundings, and what people do. */
static void other_fault(struct world *w, uint32_t which)
{
	switch (which) {
	case 0:
		w->paused = !w->paused;
		engine_set_paused(w->engine, w->paused, w->now_ns);
		return;
	case 1:
		if (world_random(w, 3) == 0)
			lose_worker(w);
		return;
	case 2:
		if (world_random(w, 4) == 0)
			engine_compare(w->engine, world_random(w, 2) ? MARK_CONTENT : MARK_QUICK,
			               world_random(w, 2) ? w->drain : BORN_NONE, w->now_ns);
		return;
	case 3: /* the ledger's disk is full */
		memstore_fail(w->store, ENOSPC);
		w->sick_until_ns = w->now_ns + (int64_t)world_random(w, 20) * S;
		return;
	default:
		(void)snprintf(w->immutable, sizeof(w->immutable), "%c",
		               'a' + (int)world_random(w, 5));
		w->immutable_until_ns = w->now_ns + (int64_t)world_random(w, 60) * S;
		return;
	}
}

void target_fault(struct world *w)
{
	struct server *s = w->servers;
	uint32_t which;

	if (w->quiet)
		return;
	w->faults++;
	which = world_random(w, 18);
	switch (which) {
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
	case 8:
	case 9:
	case 10:
	case 11:
	case 12:
		other_fault(w, which - 8);
		return;
	default:
		if (s)
			cut(w, s, world_random(w, 2));
		return;
	}
}

/* What was given up ends by its own timeout, whatever else happens (I13). */
static void end_zombies(struct world *w)
{
	for (struct server *s = w->servers, *next; s; s = next) {
		next = s->next;
		if (s->state != SERVER_ZOMBIE || s->dead || w->now_ns < s->over_ns)
			continue;
		server_killed(w, s);
		server_gone(w, s, TROUBLE_NONE, true);
		server_free(w, s);
	}
}

void target_heal(struct world *w)
{
	end_zombies(w);
	if (w->now_ns - w->synced_ns > 90 * S) /* no kernel keeps a dirty page for longer */
		target_sync(w);
	if (w->down && w->now_ns >= w->down_until_ns)
		w->down = false;
	if (w->sick_until_ns && w->now_ns >= w->sick_until_ns) {
		memstore_fail(w->store, 0);
		w->sick_until_ns = 0;
	}
	if (w->full && (w->quiet || w->now_ns >= w->full_until_ns))
		w->full = false;
}

void target_orphan_all(struct world *w)
{
	model_clear(&w->brought);
	for (struct server *s = w->servers, *next; s; s = next) {
		next = s->next;
		if (s->state == SERVER_LISTED || s->state == SERVER_ZOMBIE) {
			for (size_t i = 0; i < s->count; i++)
				above_claim(w, bytes_of(s->items[i].path));
			s->orphan = true;
			if (s->state == SERVER_LISTED && !s->dead)
				s->over_ns = w->now_ns + (int64_t)world_random(w, 50) * S;
			s->state = SERVER_ZOMBIE;
		} else {
			server_free(w, s);
		}
	}
}
