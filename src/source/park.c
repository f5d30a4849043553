/*
 * Looks that could not be made yet, and directories that were not found where they used to be.
 */
#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "source/inside.h"
#include "source/inotify.h"

/* Beyond it everything parked becomes one crawl of the tree (I2: precision drops, a mark never). */
enum { PARKED_MAX = 65536 };

static void append(struct parked **v, size_t *n, size_t *cap, const struct parked *p)
{
	if (*n == *cap) {
		*cap = *cap * 2 + 16;
		*v = mem_realloc(*v, *cap, sizeof(**v));
	}
	(*v)[(*n)++] = *p;
}

static struct parked parked_make(uint32_t node, struct bytes name, const struct look *look)
{
	if (look->request)
		look->request->refs++;
	return (struct parked){.node = node,
	                       .name = {name.n ? mem_dup(name.p, name.n) : NULL, name.n},
	                       .look = *look};
}

void park_release(struct source *s, struct parked *p)
{
	free((char *)(uintptr_t)p->name.p);
	if (p->look.request)
		request_release(s, p->look.request);
}

static void give_up_precision(struct source *s)
{
	struct look look = {.jobs = s->attached, .born = BORN_NONE, .least = MARK_LOOK};

	look.since_ns = INT64_MAX;
	for (size_t i = 0; i < s->nparked; i++) {
		if (s->parked[i].look.born < look.born)
			look.born = s->parked[i].look.born;
		if (s->parked[i].look.since_ns < look.since_ns)
			look.since_ns = s->parked[i].look.since_ns;
	}
	look.wary_ns = clock_wall_ns() - (clock_boot_ns() - look.since_ns) - 10000000000;
	crawl_tree(s, CRAWL_TREE, &look);
	for (size_t i = 0; i < s->nparked; i++)
		park_release(s, &s->parked[i]);
	s->nparked = 0;
}

static void park(struct source *s, const struct parked *p)
{
	if (s->nparked >= PARKED_MAX)
		give_up_precision(s);
	append(&s->parked, &s->nparked, &s->parked_cap, p);
}

static void limbo_release(struct limbo *limbo)
{
	free((char *)(uintptr_t)limbo->path.p);
}

enum { LIMBO_ASKED = 1024 };

/* Of those that were detached last: most are asked for in the next round. */
static const struct limbo *limbo_find(const struct source *s, uint32_t node)
{
	for (size_t i = s->nlimbo; i-- > 0 && s->nlimbo - i <= LIMBO_ASKED;)
		if (s->limbo[i].node == node)
			return &s->limbo[i];
	return NULL;
}

static void add_below(const struct dirtab *dirs, uint32_t node, uint32_t top, struct buf *path)
{
	struct bytes name;

	if (node == top)
		return;
	add_below(dirs, dirtab_parent(dirs, node), top, path);
	name = dirtab_name(dirs, node);
	buf_add_u8(path, '/');
	buf_add_bytes(path, name);
}

/* The path that the directory has, or had. */
static bool last_path(const struct source *s, uint32_t node, struct buf *path)
{
	const struct limbo *limbo;
	uint32_t top = node;

	if (dirtab_path(s->dirs, node, path) == 0)
		return true;
	while (dirtab_parent(s->dirs, top) != DIRTAB_NONE)
		top = dirtab_parent(s->dirs, top);
	limbo = limbo_find(s, top);
	if (!limbo)
		return false;
	path->n = 0;
	buf_add_bytes(path, limbo->path);
	add_below(s->dirs, node, top, path);
	return true;
}

/* What was written under a name whose directory leaves the tree is never looked at under that
 * name. */
static void tell_links(struct source *s, uint32_t node, struct bytes name, const struct look *look)
{
	const unsigned written = BACKLOG_WRITTEN | BACKLOG_CLOSED | BACKLOG_LEFT;
	struct buf here = s->path;

	if (!(look->bits & (written | BACKLOG_META)) || !name.n)
		return;
	buf_init(&s->path, here.max);
	if (last_path(s, node, &s->path) && s->path.n + 1 + name.n <= PATH_BYTES_MAX) {
		if (s->path.n)
			buf_add_u8(&s->path, '/');
		buf_add_bytes(&s->path, name);
		compare_left(s, look->bits & written ? MARK_CONTENT : MARK_META, look);
	}
	buf_done(&s->path);
	s->path = here;
}

void park_name(struct source *s, uint32_t node, struct bytes name, const struct look *look)
{
	struct parked p = parked_make(node, name, look);

	tell_links(s, node, name, look);
	park(s, &p);
}

void park_dir(struct source *s, uint32_t node, bool deep, const struct look *look)
{
	struct parked p = parked_make(node, (struct bytes){0}, look);

	p.whole = true;
	p.deep = deep;
	park(s, &p);
}

void park_suspect(struct source *s, uint32_t node, const struct look *look)
{
	uint32_t parent = dirtab_parent(s->dirs, node);
	struct look hint = *look;
	struct parked p;

	if (parent == DIRTAB_NONE)
		return; /* detached: known to be elsewhere; the root: the guard's business */
	/* One directory is suspected once a round, however many of its names led here. */
	for (size_t i = s->nagain; i-- > 0;)
		if (s->again[i].node == parent &&
		    bytes_equal(s->again[i].name, dirtab_name(s->dirs, node)))
			return;
	hint.bits = 0;
	hint.least = MARK_LOOK;
	hint.jobs = s->attached;
	hint.by_crawl = false;
	p = parked_make(parent, dirtab_name(s->dirs, node), &hint);
	append(&s->again, &s->nagain, &s->again_cap, &p);
}

bool park_take_suspect(struct source *s, struct parked *ret)
{
	if (!s->nagain)
		return false;
	*ret = s->again[--s->nagain];
	return true;
}

static bool attached(const struct source *s, uint32_t node)
{
	return dirtab_within(s->dirs, node, DIRTAB_ROOT);
}

void park_retry(struct source *s)
{
	struct parked *v = TAKE(s->parked);
	size_t n = s->nparked;

	s->nparked = s->parked_cap = 0;
	for (size_t i = 0; i < n; i++) {
		struct parked *p = &v[i];

		if (dirtab_alive(s->dirs, p->node) && !attached(s, p->node)) {
			park(s, p);
			continue;
		}
		if (dirtab_alive(s->dirs, p->node) && p->whole)
			crawl_fresh(s, p->node, p->deep, &p->look);
		else if (dirtab_alive(s->dirs, p->node))
			look_one(s, p->node, p->name, &p->look);
		park_release(s, p);
	}
	free(v);
}

bool park_holds(const struct source *s, uint64_t drain)
{
	for (size_t i = 0; i < s->nparked; i++)
		if (s->parked[i].look.born <= drain)
			return true;
	return s->nagain > 0;
}

static void tell_left(struct source *s, struct bytes path)
{
	const struct look look = {.born = BORN_NONE};

	for (unsigned job = 0; job < SOURCE_JOBS_MAX; job++) {
		if (s->attached & 1u << job)
			outbox_mark(s, job, path, &look, MARK_META, MARK_DIR | MARK_IF_PENDING, 0,
			            0);
	}
}

void park_detach(struct source *s, uint32_t node)
{
	struct buf path;

	buf_init(&path, s->path.max);
	if (dirtab_path(s->dirs, node, &path) == 0)
		tell_left(s, buf_bytes(&path));
	buf_done(&path);
	dirtab_detach(s->dirs, node);
}

void park_limbo(struct source *s, uint32_t node)
{
	struct limbo limbo = {.node = node};
	struct buf path;

	if (node == DIRTAB_NONE)
		return;
	buf_init(&path, s->path.max);
	if (dirtab_path(s->dirs, node, &path) == 0)
		limbo.path = (struct bytes){mem_dup(path.p, path.n), path.n};
	buf_done(&path);
	park_detach(s, node);
	if (s->nlimbo == s->limbo_cap) {
		s->limbo_cap = s->limbo_cap * 2 + 16;
		s->limbo = mem_realloc(s->limbo, s->limbo_cap, sizeof(*s->limbo));
	}
	s->limbo[s->nlimbo++] = limbo;
}

static void unwatch(int wd, void *arg)
{
	inotify_unwatch(((struct source *)arg)->queue, wd);
}

void park_limbo_turn(struct source *s, size_t ripe)
{
	size_t kept = 0;

	/* A crawl under way may still meet them. */
	if (s->fresh)
		ripe = 0;
	for (size_t i = 0; i < s->nlimbo; i++) {
		uint32_t node = s->limbo[i].node;
		bool lost =
		        dirtab_alive(s->dirs, node) && dirtab_parent(s->dirs, node) == DIRTAB_NONE;

		if (lost && i >= ripe) {
			s->limbo[kept++] = s->limbo[i];
			continue;
		}
		if (lost)
			dirtab_drop(s->dirs, node, unwatch, s);
		limbo_release(&s->limbo[i]);
	}
	s->nlimbo = s->limbo_ripe = kept;
}

void park_clear(struct source *s)
{
	for (size_t i = 0; i < s->nparked; i++)
		park_release(s, &s->parked[i]);
	for (size_t i = 0; i < s->nagain; i++)
		park_release(s, &s->again[i]);
	for (size_t i = 0; i < s->nlimbo; i++)
		limbo_release(&s->limbo[i]);
	s->nparked = s->nagain = s->nlimbo = s->limbo_ripe = 0;
}
