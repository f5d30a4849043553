/*
 * What a ledger lists and the tree no longer has: marked children first. A small subtree goes in
 * one piece; the rest of a large one is a crawl, which pauses like others and sees each time that
 * the top is still gone (I8).
 */
#include <errno.h>
#include <fcntl.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "source/inside.h"

enum { AT_ONCE = 1024 }; /* names that are dealt with before anything else gets its turn */

static bool held_list_add(struct bytes name, const struct belief *belief, void *arg)
{
	struct held_list *l = arg;

	if (l->n == l->cap) {
		l->cap = l->cap * 2 + 16;
		l->v = mem_realloc(l->v, l->cap, sizeof(*l->v));
	}
	l->v[l->n++] = (struct held_name){
	        .off = (uint32_t)l->names.n, .len = (uint8_t)name.n, .belief = *belief};
	buf_add_bytes(&l->names, name);
	return true;
}

/* Copied, since nothing may be asked of a ledger from inside its own listing. */
void held_list_read(struct held_list *l, struct ledger *ledger, struct bytes dir)
{
	l->n = 0;
	buf_init(&l->names, UINT32_MAX);
	ledger_list(ledger, dir, held_list_add, l);
}

void held_list_done(struct held_list *l)
{
	buf_done(&l->names);
	free(l->v);
	*l = (struct held_list){0};
}

static bool is_dir(const struct belief *b)
{
	return (b->state & LEDGER_CONFIRMED) && S_ISDIR(b->fp.mode);
}

static bool maybe_dir(const struct belief *b)
{
	return !(b->state & LEDGER_CONFIRMED) || S_ISDIR(b->fp.mode) ||
	       (b->state & LEDGER_INTENDED);
}

/* A directory on the way down. */
struct gone_level {
	struct held_list held;
	size_t at;     /* next name to deal with */
	size_t path_n; /* bytes of gone.path that name it */
	bool dir;      /* it was confirmed as one */
};

struct gone {
	unsigned job;
	struct buf path;
	size_t top_n;
	struct gone_mark last;
	uint64_t owed; /* of its names (struct source_marks) */
	bool counting; /* they are not marked, but counted there */
	struct gone_level *levels;
	size_t depth, cap;
};

static void descend(struct gone *g, struct ledger *ledger, bool dir)
{
	struct gone_level *l;

	if (g->depth == g->cap) {
		g->cap = g->cap * 2 + 8;
		g->levels = mem_realloc(g->levels, g->cap, sizeof(*g->levels));
	}
	l = &g->levels[g->depth++];
	*l = (struct gone_level){.path_n = g->path.n, .dir = dir};
	held_list_read(&l->held, ledger, buf_bytes(&g->path));
}

static void gone_done(struct gone *g)
{
	while (g->depth)
		held_list_done(&g->levels[--g->depth].held);
	free(g->levels);
	buf_done(&g->path);
}

void gone_free(struct source *s, struct gone *g)
{
	if (!g)
		return;
	late_told(s, g->job, &g->owed, g->owed);
	gone_done(g);
	free(g);
}

static void mark(struct source *s, struct gone *g, const struct look *look, bool dir)
{
	if (g->counting) {
		g->owed++;
		return;
	}
	late_told(s, g->job, &g->owed, 1);
	outbox_mark(s, g->job, buf_bytes(&g->path), look, MARK_DELETE, dir ? MARK_DIR : 0, 0, 0);
}

/* One name of the deepest directory, or that directory itself when its names are through. */
static void step(struct source *s, struct gone *g, const struct look *look)
{
	struct gone_level *l = &g->levels[g->depth - 1];
	const struct belief *belief;
	bool dir = l->dir;

	g->path.n = l->path_n;
	if (l->at == l->held.n) {
		held_list_done(&l->held);
		if (--g->depth)
			mark(s, g, look, dir);
		return;
	}
	belief = &l->held.v[l->at].belief;
	dir = is_dir(belief);
	buf_add_u8(&g->path, '/');
	buf_add_bytes(&g->path, held_list_name(&l->held, l->at++));
	/* What is excluded now is neither ours to delete nor to look at. */
	if (filter_excludes_any(s->config.filter, buf_bytes(&g->path), dir))
		return;
	if (maybe_dir(belief))
		descend(g, s->jobs[g->job].ledger, dir);
	else
		mark(s, g, look, dir);
}

bool gone_step(struct source *s, struct gone *g, const struct look *look, size_t most)
{
	for (; most && g->depth; most--)
		step(s, g, look);
	if (g->depth)
		return false;
	g->path.n = g->top_n;
	outbox_mark(s, g->job, buf_bytes(&g->path), look, g->last.action, g->last.flags,
	            g->last.size, g->last.link);
	return true;
}

bool gone_stands(struct source *s, const struct gone *g)
{
	struct stat st;
	autoclose int fd = fd_open_beneath(s->root_fd, gone_top(g), O_PATH | O_NOFOLLOW,
	                                   s->config.cross_mounts);

	if (fd < 0)
		return fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP;
	if (fstat(fd, &st) != 0)
		return false;
	return g->last.action == MARK_DELETE ? S_ISSOCK(st.st_mode) : !S_ISDIR(st.st_mode);
}

struct bytes gone_top(const struct gone *g)
{
	return (struct bytes){g->path.p, g->top_n};
}

uint64_t gone_count(struct source *s, unsigned job)
{
	struct ledger *ledger = s->jobs[job].ledger;
	struct gone g = {.job = job, .counting = true};
	struct belief belief;
	uint64_t n;

	ledger_get(ledger, buf_bytes(&s->path), &belief);
	if (belief.state == LEDGER_ABSENT ||
	    filter_excludes_any(s->config.filter, buf_bytes(&s->path), is_dir(&belief)))
		return 0;
	buf_init(&g.path, s->path.max);
	buf_add_bytes(&g.path, buf_bytes(&s->path));
	if (maybe_dir(&belief))
		descend(&g, ledger, is_dir(&belief));
	while (g.depth) {
		lookthread_alive(s);
		step(s, &g, NULL);
	}
	n = g.owed + 1;
	gone_done(&g);
	return n;
}

void gone_below(struct source *s, unsigned job, const struct look *look, bool dir,
                const struct gone_mark *last)
{
	struct gone *g;

	/* Each event below a directory that is gone leads here. */
	if (last->action == MARK_DELETE && crawl_tells_gone(s, job, buf_bytes(&s->path), look))
		return;
	g = mem_alloc(sizeof(*g));
	g->job = job;
	g->last = *last;
	if (!s->late_owed) {
		s->late_owed = gone_count(s, job);
		s->jobs[job].owed += s->late_owed;
	}
	g->owed = s->late_owed;
	s->late_owed = 0;
	buf_init(&g->path, s->path.max);
	buf_add_bytes(&g->path, buf_bytes(&s->path));
	g->top_n = g->path.n;
	descend(g, s->jobs[job].ledger, dir);
	if (gone_step(s, g, look, AT_ONCE))
		gone_free(s, g);
	else
		crawl_gone(s, job, g, look);
}

void gone_report(struct source *s, unsigned job, const struct belief *belief,
                 const struct look *look)
{
	struct gone_mark last = {.action = MARK_DELETE, .flags = is_dir(belief) ? MARK_DIR : 0};

	if (filter_excludes_any(s->config.filter, buf_bytes(&s->path), is_dir(belief)))
		return;
	if (maybe_dir(belief))
		gone_below(s, job, look, is_dir(belief), &last);
	else
		outbox_mark(s, job, buf_bytes(&s->path), look, last.action, last.flags, 0, 0);
}
