/*
 * flight: one batch under way.
 *
 * Before the first byte leaves, every name is intended in the ledger (I11). What the worker reports
 * moves each mark exactly once: confirmed marks leave, others go back into the path set or into the
 * list of failures (I2, I9). Stamps ride behind the marks as extra items.
 */
#include <errno.h>
#include <stdio.h>
#include "base/log.h"
#include "base/mem.h"
#include "engine/internal.h"

enum session_class flight_class(enum batch_class class)
{
	switch (class) {
	case BATCH_QUICK:
	case BATCH_CLASSES:
		return SESSION_QUICK;
	case BATCH_CONTENT:
		return SESSION_CONTENT;
	case BATCH_DELETE:
		return SESSION_DELETE;
	}
	return SESSION_QUICK;
}

static void flight_free(struct engine *e, struct flight *f)
{
	HASH_DEL(e->flights, f);
	copy_landed(e, f);
	free(f->mark_of);
	free(f->known);
	free(f->answered);
	free(f->former_of);
	free(f);
}

/* A deletion whose name the target is no longer believed to hold must not be sent: the name may be
 * somebody else's by now (I8). What was put again while it was on its way into a hold is held. */
static bool flight_needs(struct engine *e, struct flight *f, const struct mark *m,
                         struct belief *ret_known)
{
	ledger_get(e->ledger, m->path, ret_known);
	if (f->class != SESSION_DELETE)
		return true;
	return ret_known->state != LEDGER_ABSENT && !hold_has(e, m->path);
}

/* What is believed held only since a list under way may name it above one of its items: if all of
 * them turn out to be gone, it is not listed, and somebody else's may stand there (I8). */
static bool flight_claims_too_early(const struct engine *e, const struct flight *f,
                                    const struct mark *m, const struct belief *known)
{
	return f->class == SESSION_DELETE && known->state == LEDGER_INTENDED &&
	       context_is_open(e, m->path);
}

/* The type that the target was sure to hold when it was sent; 0: none. Nothing else can be
 * contradicted by its answer. */
uint32_t flight_sure_type(const struct belief *known)
{
	return known->state == LEDGER_CONFIRMED ? known->fp.mode & S_IFMT : 0;
}

/* A deletion of a directory spares what is none, so only what surely is one goes as such: the mark
 * may be older than the last answer about its name. known: the type that the target is sure to
 * hold. */
static uint16_t flight_item_flags(const struct engine *e, const struct flight *f,
                                  const struct mark *m, uint32_t known)
{
	unsigned flags = m->flags & MARK_DIR ? WIRE_ITEM_DIR : 0;

	if (f->class == SESSION_DELETE)
		flags = S_ISDIR(known) && !e->types_unsure ? WIRE_ITEM_DIR : 0;
	if (m->action == MARK_META)
		flags |= WIRE_ITEM_META;
	/* Of a group of links the worker leaves out all names or none. */
	if (f->class == SESSION_CONTENT && (m->flags & MARK_SIGHT) && S_ISREG(known))
		flags |= WIRE_ITEM_UNLESS_SAME;
	return (uint16_t)flags;
}

/* A new file that will be asked for in any case, and can be written at once. One that came by a
 * rename may have been written by the target itself, which mirrors back. */
static bool flight_is_foreseen(struct engine *e, const struct flight *f, const struct mark *m,
                               const struct belief *known)
{
	const unsigned flags = MARK_FRESH | MARK_CLOSED;
	struct bytes dir = path_parent(m->path);
	struct belief b;

	if (f->class != SESSION_QUICK || (m->flags & flags) != flags || m->link ||
	    known->state != LEDGER_ABSENT)
		return false;
	if (!dir.n)
		return true;
	ledger_get(e->ledger, dir, &b);
	return b.state == LEDGER_CONFIRMED && S_ISDIR(b.fp.mode);
}

struct below {
	struct bytes top;
	bool found;
};

static bool flight_first_below(const struct mark *mark, bool in_flight, void *arg)
{
	struct below *below = arg;

	(void)in_flight;
	below->found = !bytes_equal(mark->path, below->top);
	return !below->found;
}

/* A directory that is becoming something else is not empty yet: a deletion below it was answered
 * with doubt and has to be looked at first. What is held or stays for another reason is told. */
static bool flight_too_early(struct engine *e, const struct mark *m)
{
	struct below below = {.top = m->path};

	if ((m->flags & (MARK_RETYPED | MARK_DIR)) == MARK_RETYPED &&
	    ledger_has_below(e->ledger, m->path))
		pathset_each(e->set, m->path, flight_first_below, &below);
	return below.found;
}

static size_t flight_collect(struct engine *e, struct flight *f, struct wire_item *items,
                             int64_t now_ns)
{
	size_t count = 0, n = f->batch ? batch_count(f->batch) : 0;

	for (size_t i = 0; i < n; i++) {
		const struct mark *m = batch_mark(f->batch, i);

		if (!batch_open(f->batch, i))
			continue;
		if (!flight_needs(e, f, m, &f->known[count])) {
			batch_ack(f->batch, i, now_ns);
			continue;
		}
		if (sweep_blocks(e, m) || rename_blocks(e, m, &f->known[count], now_ns) ||
		    copy_blocks(e, m) || flight_claims_too_early(e, f, m, &f->known[count])) {
			batch_nack(f->batch, i, m->action, now_ns, now_ns + NS_PER_S / 10);
			continue;
		}
		if (flight_too_early(e, m)) {
			batch_nack(f->batch, i, MARK_LOOK, now_ns, now_ns + NS_PER_S / 10);
			continue;
		}
		f->mark_of[count] = i;
		items[count] = (struct wire_item){
		        .path = m->path,
		        .flags = flight_item_flags(e, f, m, flight_sure_type(&f->known[count]))};
		if (flight_is_foreseen(e, f, m, &f->known[count]))
			items[count].flags |= WIRE_ITEM_UNASKED;
		count++;
	}
	return count;
}

static void flight_intend(struct engine *e, const struct wire_item *items, size_t n)
{
	struct bytes *paths = mem_array(n + 1, sizeof(*paths));

	for (size_t i = 0; i < n; i++)
		paths[i] = items[i].path;
	int r = n ? ledger_intend(e->ledger, paths, n) : 0;

	if (r < 0)
		engine_say(e, LOG_WARN, "ledger.intent",
		           "the ledger cannot record what is sent (error %d); replication goes on, "
		           "the "
		           "next start compares with the target",
		           -r);
	free(paths);
}

static uint64_t flight_born(const struct batch *b)
{
	uint64_t born = BORN_NONE;

	for (size_t i = 0; i < batch_count(b); i++)
		born = batch_mark(b, i)->born < born ? batch_mark(b, i)->born : born;
	return born;
}

static bool flight_makes(const struct flight *f, size_t i)
{
	return f->class != SESSION_DELETE && f->known[i].state == LEDGER_ABSENT;
}

void flight_send(struct engine *e, struct supply_session *s, struct batch *batch, int64_t now_ns)
{
	size_t n = batch ? batch_count(batch) : 0;
	struct flight *f = mem_alloc(sizeof(*f));
	struct wire_item *items = mem_array(n + 2, sizeof(*items));
	struct sweep_load load;
	struct rename_load renames;
	struct copy_load copies;
	struct buf proof = {0}, serve = {0};
	size_t count;

	f->id = ++e->next_batch;
	f->session = s->id;
	f->batch = batch;
	f->class = s->class;
	f->clean = true;
	f->ready_ns = s->ready_ns;
	f->sent_ns = now_ns;
	f->mark_of = mem_array(n + 2, sizeof(*f->mark_of));
	f->known = mem_array(n + 2, sizeof(*f->known));
	f->born = batch ? flight_born(batch) : 0;
	if (batch && f->class != SESSION_DELETE)
		group_hold_parts(e, batch, now_ns);
	f->marks = f->open = count = flight_collect(e, f, items, now_ns);
	for (size_t i = 0; i < count; i++)
		f->making += flight_makes(f, i);
	rename_load(e, f, &renames);
	copy_load(e, f, &copies, now_ns);
	load = (struct sweep_load){.items = items, .count = count};
	sweep_load(e, f, &load, now_ns);
	items = load.items;
	f->swept = load.count - count;
	count = load.count;
	f->answered = mem_array(count + 2, sizeof(*f->answered));
	/* Stamps that are due go alone; for a batch of which nothing is left they do not. */
	if (count || !batch) {
		f->proof = f->class != SESSION_DELETE ? trust_proof(e) : 0;
		f->serve = f->class == SESSION_QUICK ? trust_serve(e, now_ns) : 0;
	}
	f->heals = !batch && trust_healed(e, now_ns);
	HASH_ADD(hh, e->flights, id, sizeof(f->id), f);
	if (f->proof)
		stamp_add(&items[count++], &proof, e, f->proof, false);
	if (f->serve)
		stamp_add(&items[count++], &serve, e, f->serve, true);
	if (count == 0) { /* nothing of it was needed any more; the session stays idle */
		if (batch)
			batch_end(batch, now_ns, now_ns);
		flight_free(e, f);
	} else {
		struct wire_batch wire = {f->id,
		                          s->id,
		                          items,
		                          count,
		                          e->config.racy_window_ns,
		                          renames.formers,
		                          renames.count,
		                          copies.bases,
		                          copies.count};

		flight_intend(e, items, f->marks);
		context_intend(e, f, items, f->marks);
		s->state = SUPPLY_BUSY;
		s->since_ns = e->sent_ns = now_ns;
		if (f->marks)
			e->last_need_ns = now_ns;
		e->ops->send_batch(e->arg, &wire);
	}
	buf_done(&proof);
	buf_done(&serve);
	sweep_load_done(&load);
	rename_load_done(&renames);
	copy_load_done(&copies);
	free(items);
}

void flight_answer(struct flight *f, const struct wire_result_item *r)
{
	f->answered[r->index] = r->result == WIRE_UNKNOWN ? FLIGHT_UNKNOWN : FLIGHT_KNOWN;
	if (r->index >= f->marks)
		return;
	f->open--;
	f->making -= flight_makes(f, r->index);
}

size_t flight_deletions(const struct engine *e)
{
	struct flight *f, *next;
	size_t n = 0;

	HASH_ITER (hh, e->flights, f, next) {
		n += f->class == SESSION_DELETE ? f->open : 0;
	}
	return n;
}

size_t flight_creations(const struct engine *e)
{
	struct flight *f, *next;
	size_t n = 0;

	HASH_ITER (hh, e->flights, f, next) {
		n += f->making;
	}
	return n;
}

/* What a list deletes it says so of, answered or not: it is no directory that the list makes. */
static void flight_zombie(struct engine *e, const struct flight *f, int64_t now_ns)
{
	for (size_t i = 0; i < f->marks; i++) {
		const struct mark *m = batch_mark(f->batch, f->mark_of[i]);
		bool done = f->class != SESSION_DELETE && f->answered[i] == FLIGHT_KNOWN;
		struct mark parent = {.path = path_parent(m->path),
		                      .flags = MARK_DIR,
		                      .born = m->born,
		                      .since_ns = now_ns};

		zombie_add(e, f->session, done ? &parent : m, now_ns);
	}
}

/* The receiver restores the times of directories at its end, which it may not have reached, or may
 * reach with what it was told long ago. */
static void flight_look_at_parents(struct engine *e, struct flight *f, int64_t now_ns)
{
	struct bytes last = {NULL, 0};

	for (size_t i = 0; i < f->marks; i++) {
		const struct mark *m = batch_mark(f->batch, f->mark_of[i]);
		struct bytes parent = path_parent(m->path);

		if (last.p && bytes_equal(parent, last))
			continue;
		engine_put_look(e, parent, m->born, now_ns, true, now_ns);
		last = parent;
	}
}

void flight_lost(struct engine *e, struct flight *f, bool zombie, int64_t now_ns)
{
	static const struct wire_result_item unknown = {.result = WIRE_UNKNOWN};

	if (f->broken)
		flight_look_at_parents(e, f, now_ns);
	if (zombie)
		flight_zombie(e, f, now_ns);
	for (size_t i = 0; i < f->marks && f->broken && !zombie; i++) {
		if (f->answered[i] != FLIGHT_KNOWN)
			sweep_add(e, batch_mark(f->batch, f->mark_of[i]));
	}
	sweep_landed(e, f);
	for (size_t i = 0; i < f->marks; i++) {
		if (!f->answered[i])
			flight_mark_result(e, f, f->mark_of[i], &unknown, now_ns);
	}
	rename_landed(e, f, zombie, now_ns);
	context_end(e, f, f->broken || zombie, now_ns);
	if (f->batch)
		batch_end(f->batch, now_ns, now_ns);
	flight_free(e, f);
}

int engine_batch_done(struct engine *e, const struct wire_done *m, int64_t now_ns)
{
	struct flight *f;
	struct supply_session *s;

	HASH_FIND(hh, e->flights, &m->batch, sizeof(m->batch), f);
	if (!f)
		return -EPROTO;
	e->bytes_out += m->bytes_out;
	e->bytes_in += m->bytes_in;
	bool mistake = copy_broke(e, f, m, now_ns);
	bool sound = m->trouble == TROUBLE_NONE || mistake;

	HASH_FIND(hh, e->sessions, &f->session, sizeof(f->session), s);
	if (s) {
		if (sound)
			s->heard_ns = now_ns;
		supply_unseen(e, s, sound ? SIGHT_GAP : SIGHT_BROKEN, now_ns);
		s->state = SUPPLY_ENDING;
	}
	if (f->marks)
		e->last_need_ns = now_ns;
	bool clean = f->clean && sound, brought = f->brought;
	bool tells = f->marks || e->trouble != TROUBLE_FULL; /* stamps need no room */

	f->broken = m->trouble != TROUBLE_NONE || m->zombie;
	flight_lost(e, f, m->zombie, now_ns);
	if (!sound && m->trouble < TROUBLE_KINDS) {
		/* What hung is likely to hang in those, too: each would cost a timeout of its own.
		 */
		if (m->trouble == TROUBLE_TIMEOUT)
			supply_close_idle(e, now_ns);
		/* A line that does not hold, but brings something each time, is tried soon. */
		if (brought && trouble_is_break((enum trouble)m->trouble))
			e->failures = 0;
		engine_trouble(e, (enum trouble)m->trouble, m->text, now_ns);
		e->trouble_sending = true;
	} else if (tells &&
	           (clean || (e->trouble != TROUBLE_FULL && e->trouble != TROUBLE_READONLY))) {
		engine_well(e, now_ns);
	}
	return 0;
}
