/*
 * zombie: paths that the server of a given-up session may still write (I13).
 *
 * They go at once by another session, and once more when the zombie is known to be over or its time
 * has passed; until then they count as unconfirmed. A deletion of such a path that is under way
 * then may have been carried out before the zombie's last write: its answer is waited for, too.
 *
 * With a path go all directories above it: its list names them, so that the server makes anew what
 * was deleted of them, and restores their times at its end.
 */
#include "base/mem.h"
#include "engine/internal.h"

struct zombie_path {
	struct mark mark; /* its path is owned */
	UT_hash_handle hh;
};

struct zombie {
	uint64_t session; /* 0: of an earlier run */
	int64_t until_ns;
	uint64_t born; /* of its oldest path */
	struct zombie_path *paths;
	bool over; /* it writes no more */
	struct zombie *next;
};

static struct zombie_path *zombie_find(const struct zombie *z, struct bytes path)
{
	struct zombie_path *p = NULL;

	if (z->paths)
		HASH_FIND(hh, z->paths, path.p, (unsigned)path.n, p);
	return p;
}

static void zombie_add_path(struct zombie *z, const struct mark *m)
{
	struct zombie_path *p = zombie_find(z, m->path);

	z->born = m->born < z->born ? m->born : z->born;
	if (p) {
		p->mark.born = m->born < p->mark.born ? m->born : p->mark.born;
		if (!(m->flags & MARK_DIR))
			p->mark.flags = m->flags;
		if (m->action == MARK_DELETE)
			p->mark.action = m->action;
		return;
	}
	p = mem_alloc(sizeof(*p));
	p->mark = mark_copy(m);
	HASH_ADD_KEYPTR(hh, z->paths, p->mark.path.p, (unsigned)p->mark.path.n, p);
}

static void zombie_remove(struct zombie *z, struct zombie_path *p)
{
	HASH_DEL(z->paths, p);
	free((char *)p->mark.path.p);
	free(p);
}

static struct zombie *zombie_of(struct engine *e, uint64_t session, int64_t now_ns)
{
	struct zombie *z;

	for (z = e->zombies; z; z = z->next) {
		if (z->session == session)
			return z;
	}
	z = mem_alloc(sizeof(*z));
	z->session = session;
	z->until_ns = now_ns + e->config.zombie_ns;
	z->born = BORN_NONE;
	z->next = e->zombies;
	e->zombies = z;
	return z;
}

void zombie_add(struct engine *e, uint64_t session, const struct mark *m, int64_t now_ns)
{
	struct zombie *z = zombie_of(e, session, now_ns);
	struct mark above = {.path = m->path,
	                     .action = MARK_LOOK,
	                     .flags = MARK_DIR,
	                     .born = m->born,
	                     .since_ns = m->since_ns};

	zombie_add_path(z, m);
	sweep_add(e, m);
	while (above.path.n) {
		above.path = path_parent(above.path);
		zombie_add_path(z, &above);
	}
}

/* It was deleted meanwhile, and the answer is still to come. */
static bool zombie_waits(const struct engine *e, const struct mark *m)
{
	const struct batch *b = pathset_flight(e->set, m->path);

	return b && batch_class(b) == BATCH_DELETE;
}

/* False: something of it waits. */
static bool zombie_end(struct engine *e, struct zombie *z, int64_t now_ns)
{
	struct zombie_path *p, *next;

	HASH_ITER (hh, z->paths, p, next) {
		if (zombie_waits(e, &p->mark))
			continue;
		engine_put_look(e, p->mark.path, p->mark.born, p->mark.since_ns, true, now_ns);
		sweep_add(e, &p->mark);
		zombie_remove(z, p);
	}
	return !z->paths;
}

static void zombie_free(struct zombie *z)
{
	struct zombie_path *p, *next;

	HASH_ITER (hh, z->paths, p, next) {
		zombie_remove(z, p);
	}
	free(z);
}

void zombie_over(struct engine *e, uint64_t session, int64_t now_ns)
{
	for (struct zombie *z = e->zombies; z; z = z->next)
		z->over = z->over || z->session == session;
	zombie_step(e, now_ns);
}

void zombie_step(struct engine *e, int64_t now_ns)
{
	for (struct zombie **p = &e->zombies; *p;) {
		struct zombie *z = *p;

		z->over = z->over || now_ns >= z->until_ns;
		if (z->over && zombie_end(e, z, now_ns)) {
			*p = z->next;
			zombie_free(z);
		} else {
			p = &z->next;
		}
	}
}

/* Nothing below a directory that it does not have: with a path it has all that is above. */
static void zombie_intend_below(struct engine *e, const struct zombie *z, struct bytes dir)
{
	struct zombie_path *p, *next;

	HASH_ITER (hh, z->paths, p, next) {
		if (p->mark.action != MARK_DELETE && path_below(p->mark.path, dir))
			(void)ledger_intend(e->ledger, &p->mark.path, 1);
	}
}

/* What was just confirmed may still be written by a zombie: it stays intended. So the ledger does
 * not forget a name whose removal was confirmed (I11), and a daemon that dies before the zombie
 * finds its paths at the next start (I13). But what the zombie would delete does not come back by
 * it: gone, it may be somebody else's (I8). `below`: the path is gone, and all below it. */
void zombie_intend(struct engine *e, struct bytes path, bool below)
{
	for (const struct zombie *z = e->zombies; z; z = z->next) {
		const struct zombie_path *p = zombie_find(z, path);

		if (!p)
			continue;
		if (!below || p->mark.action != MARK_DELETE)
			(void)ledger_intend(e->ledger, &path, 1); /* ledger_trouble() tells */
		if (below)
			zombie_intend_below(e, z, path);
	}
	context_keep(e, path, below);
	if (!below)
		sweep_intend(e, path);
}

int64_t zombie_deadline(const struct engine *e)
{
	int64_t deadline = INT64_MAX;

	for (const struct zombie *z = e->zombies; z; z = z->next) {
		if (!z->over && z->until_ns < deadline)
			deadline = z->until_ns;
	}
	return deadline;
}

bool zombie_settled(const struct engine *e, uint64_t born)
{
	for (const struct zombie *z = e->zombies; z; z = z->next) {
		if (z->born <= born)
			return false;
	}
	return true;
}

bool zombie_has(const struct engine *e, struct bytes path)
{
	for (const struct zombie *z = e->zombies; z; z = z->next) {
		if (zombie_find(z, path))
			return true;
	}
	return false;
}

size_t zombie_count(const struct engine *e)
{
	size_t n = 0;

	for (const struct zombie *z = e->zombies; z; z = z->next)
		n += HASH_COUNT(z->paths);
	return n;
}

void zombie_clear(struct engine *e)
{
	while (e->zombies) {
		struct zombie *z = e->zombies;

		e->zombies = z->next;
		zombie_free(z);
	}
}
