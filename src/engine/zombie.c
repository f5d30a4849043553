/*
 * zombie: paths that the server of a given-up session may still write (I13).
 *
 * They go at once by another session, and once more when the zombie is known to be over or its time
 * has passed; until then they count as unconfirmed. A deletion of such a path that is under way
 * then may have been carried out before the zombie's last write: its answer is waited for, too.
 */
#include "base/mem.h"
#include "engine/internal.h"

void zombie_add(struct engine *e, uint64_t session, const struct mark *marks, size_t n,
                int64_t now_ns)
{
	struct zombie *z = mem_alloc(sizeof(*z));

	z->session = session;
	z->until_ns = now_ns + e->config.zombie_ns;
	z->marks = (struct mark *)marks;
	z->count = n;
	z->next = e->zombies;
	e->zombies = z;
}

/* It was deleted meanwhile, and the answer is still to come. */
static bool zombie_waits(const struct engine *e, const struct mark *m)
{
	const struct batch *b = pathset_flight(e->set, m->path);

	return b && batch_class(b) == BATCH_DELETE;
}

static void zombie_again(struct engine *e, struct mark *m, int64_t now_ns)
{
	engine_put_look(e, m->path, m->born, m->since_ns, true, now_ns);
	sweep_add(e, m);
	free((char *)m->path.p);
}

/* False: something of it waits. */
static bool zombie_end(struct engine *e, struct zombie *z, int64_t now_ns)
{
	size_t waiting = 0;

	for (size_t i = 0; i < z->count; i++) {
		if (zombie_waits(e, &z->marks[i]))
			z->marks[waiting++] = z->marks[i];
		else
			zombie_again(e, &z->marks[i], now_ns);
	}
	z->count = waiting;
	return !waiting;
}

static void zombie_free(struct zombie *z)
{
	for (size_t i = 0; i < z->count; i++)
		free((char *)z->marks[i].path.p);
	free(z->marks);
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

/* What was just confirmed may still be written by a zombie: it stays intended. So the ledger does
 * not forget a name whose removal was confirmed (I11), and a daemon that dies before the zombie
 * finds its paths at the next start (I13). */
void zombie_intend(struct engine *e, struct bytes path, bool below)
{
	for (const struct zombie *z = e->zombies; z; z = z->next) {
		for (size_t i = 0; i < z->count; i++) {
			struct bytes mine = z->marks[i].path;

			if (bytes_equal(mine, path) || (below && path_below(mine, path)))
				(void)ledger_intend(e->ledger, &mine,
				                    1); /* ledger_trouble() tells */
		}
	}
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
		for (size_t i = 0; i < z->count; i++) {
			if (z->marks[i].born <= born)
				return false;
		}
	}
	return true;
}

size_t zombie_count(const struct engine *e)
{
	size_t n = 0;

	for (const struct zombie *z = e->zombies; z; z = z->next)
		n += z->count;
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
