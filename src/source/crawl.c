/*
 * Crawls: directories on a stack, listed one at a time and joined with the ledgers in byte order. A
 * crawl gives way whenever events wait, and pauses between directories when the loop has no room.
 */
#include <errno.h>
#include <fcntl.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "source/inside.h"
#include "source/listing.h"

struct todo {
	uint32_t node;
	uint32_t jobs;
	bool deep; /* what lies below, too; otherwise only what is new in it */
};

/* The directory at hand. */
struct frame {
	struct view view; /* fd -1: none */
	struct todo todo;
	struct listing list;
	size_t at;    /* next entry to examine */
	unsigned job; /* next job to join with, once all are examined */
	bool complete;
	bool failed; /* a name in it could not be examined */
};

struct crawl {
	struct crawl *next;
	enum crawl_prio prio;
	struct look look;
	bool whole; /* begins at the root */
	bool begun;
	uint64_t dirs, entries; /* seen by it */
	struct todo *stack;
	size_t n, cap;
	struct frame frame;
	struct gone *gone; /* instead of directories: a subtree that was removed */
	struct late *late; /* looked at when all else is through */
	size_t nlate, late_cap;
};

enum { SLICE_ENTRIES = 64, SLICE_GONE = 256, TURN_NS = 10000000 };

struct crawl *crawl_new(struct source *s, enum crawl_prio prio, const struct look *look)
{
	struct crawl *c = mem_alloc(sizeof(*c)), **at = &s->crawls;

	c->prio = prio;
	c->look = *look;
	c->look.by_crawl = true;
	c->look.by_event = prio == CRAWL_FRESH;
	c->look.bits = 0;
	c->look.asked = (struct bytes){0};
	c->frame.view.fd = -1;
	if (look->request)
		look->request->refs++;
	while (*at && (*at)->prio <= prio)
		at = &(*at)->next;
	c->next = *at;
	*at = c;
	return c;
}

static void crawl_free(struct source *s, struct crawl *c)
{
	struct crawl **at = &s->crawls;

	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	if (s->fresh == c)
		s->fresh = NULL;
	look_close(&c->frame.view);
	listing_done(&c->frame.list);
	gone_free(s, c->gone);
	late_clear(s, &c->late, &c->nlate, &c->late_cap);
	if (c->look.request)
		request_release(s, c->look.request);
	free(c->stack);
	free(c);
}

void crawl_push(struct crawl *c, uint32_t node, uint32_t jobs, bool deep)
{
	if (c->n == c->cap) {
		c->cap = c->cap * 2 + 16;
		c->stack = mem_realloc(c->stack, c->cap, sizeof(*c->stack));
	}
	c->stack[c->n++] = (struct todo){node, jobs, deep};
}

static void look_widen(struct look *into, const struct look *more)
{
	into->jobs |= more->jobs;
	if (more->born < into->born)
		into->born = more->born;
	if (more->since_ns < into->since_ns)
		into->since_ns = more->since_ns;
	if (more->wary_ns && (!into->wary_ns || more->wary_ns < into->wary_ns))
		into->wary_ns = more->wary_ns;
}

void crawl_fresh(struct source *s, uint32_t node, bool deep, const struct look *look)
{
	/* What has its own request or strength does not mix with what events brought. */
	if (look->request || look->least != MARK_LOOK || look->flags) {
		crawl_push(crawl_new(s, CRAWL_REQUEST, look), node, look->jobs, deep);
		return;
	}
	if (s->fresh && s->fresh->nlate)
		s->fresh = NULL; /* they do not wait for what comes after them */
	if (!s->fresh)
		s->fresh = crawl_new(s, CRAWL_FRESH, look);
	look_widen(&s->fresh->look, look);
	crawl_push(s->fresh, node, look->jobs, deep);
}

bool crawl_after(struct source *s, struct late *late)
{
	struct crawl *c = s->fresh;
	struct look look = late->look;

	if (!c || !late_put(&c->late, &c->nlate, &c->late_cap, late))
		return false;
	look_widen(&c->look, &look);
	return true;
}

void crawl_gone(struct source *s, unsigned job, struct gone *g, const struct look *look)
{
	struct crawl *c =
	        crawl_new(s, look->flags & MARK_AUDIT ? CRAWL_AUDIT : CRAWL_REQUEST, look);

	c->look.jobs = 1u << job;
	c->gone = g;
}

bool crawl_tells_gone(const struct source *s, unsigned job, struct bytes top,
                      const struct look *look)
{
	for (const struct crawl *c = s->crawls; c; c = c->next)
		if (c->gone && c->look.jobs == 1u << job && c->look.born <= look->born &&
		    c->look.flags == look->flags && !c->look.request && !look->request &&
		    bytes_equal(gone_top(c->gone), top))
			return true;
	return false;
}

void crawl_tree(struct source *s, enum crawl_prio prio, const struct look *look)
{
	struct crawl *c = s->crawls;

	if (!look->jobs)
		return;
	while (c && (!c->whole || c->begun || c->prio != prio || c->look.flags != look->flags))
		c = c->next;
	if (!c) {
		c = crawl_new(s, prio, look);
		c->whole = true;
	}
	look_widen(&c->look, look);
}

/* What was seen is the measure of a first sync: an audit's own count counts when it is complete. */
static bool is_audit(const struct crawl *c)
{
	return c->look.flags & MARK_AUDIT;
}

static bool frame_open(struct source *s, struct crawl *c, const struct todo *todo)
{
	struct frame *f = &c->frame;
	uint32_t jobs = todo->jobs & s->attached;
	int rc;

	if (!jobs || !dirtab_alive(s->dirs, todo->node))
		return false;
	rc = look_open(s, todo->node, O_RDONLY | O_NONBLOCK, &f->view);
	if (rc == -EAGAIN) {
		struct look look = c->look;

		look.jobs = jobs;
		park_dir(s, todo->node, todo->deep, &look);
		park_suspect(s, todo->node, &look);
		return false;
	}
	if (rc != 0) {
		look_failed(s, todo->node, rc);
		return false;
	}
	f->todo = *todo;
	f->todo.jobs = jobs;
	f->at = f->job = 0;
	dirtab_set_unread(s->dirs, todo->node, false);
	/* Watched first, listed afterwards: what comes between is seen by one or the other. */
	if (dirtab_wd(s->dirs, todo->node) < 0)
		adopt_watch(s, todo->node, f->view.fd);
	rc = listing_read(&f->list, f->view.fd);
	f->complete = rc == 0;
	f->failed = false;
	if (rc != 0 && rc != -ENOENT) /* removed while it was open */
		look_failed(s, todo->node, rc);
	c->dirs++;
	s->dirs_seen += !is_audit(c);
	return true;
}

/* A directory in the one at hand. Who found it there first may have looked for one job alone. */
static void push_found(struct source *s, struct crawl *c, uint32_t node, bool fresh)
{
	uint32_t jobs = c->frame.todo.jobs;

	if (!c->frame.todo.deep && !fresh)
		jobs &= ~dirtab_seen(s->dirs, node);
	if (jobs)
		crawl_push(c, node, jobs, true);
}

static void examine(struct source *s, struct crawl *c, struct listed *e)
{
	struct frame *f = &c->frame;
	struct bytes name = {f->list.names.p + e->name, e->len};
	const char *at = look_set_name(s, &f->view, name);
	struct look look = c->look;
	struct stat st;
	uint32_t node;
	bool fresh;
	int rc;

	e->state = LISTED_IGNORED;
	c->entries++;
	s->entries_seen += !is_audit(c);
	lookthread_alive(s);
	if (!at) {
		f->failed = look_too_long(s, &f->view, &look) < 0 || f->failed;
		return;
	}
	if (fstatat(f->view.fd, at, &st, AT_SYMLINK_NOFOLLOW) != 0) {
		if (errno == ENOENT) {
			e->state = LISTED_GONE;
		} else {
			f->failed = true;
			look_name_failed(s, &f->view, -errno);
		}
		return;
	}
	if (S_ISSOCK(st.st_mode)) {
		e->state = LISTED_GONE;
		return;
	}
	if (filter_excludes(s->config.filter, buf_bytes(&s->path), S_ISDIR(st.st_mode)))
		return;
	look.jobs = f->todo.jobs;
	if (S_ISDIR(st.st_mode)) {
		rc = adopt_dir(s, &f->view, name, &st, &look, &node, &fresh);
		if (rc == -ENOENT)
			e->state = LISTED_GONE;
		if (rc == -ENOENT || rc == -EAGAIN || rc == -EXDEV || rc == -ENOTDIR ||
		    rc == -ELOOP)
			return;
		if (rc != 0)
			look_failed(s, f->view.node, rc);
		else
			push_found(s, c, node, fresh);
	} else {
		unread_forget(s, buf_bytes(&s->path));
		park_limbo(s, dirtab_child(s->dirs, f->view.node, name));
	}
	fingerprint_of(&e->fp, &st);
	e->state = LISTED_THERE;
}

/* A name that only the ledger has. It is looked at once more now: it may have been created, sent
 * and confirmed since the directory was listed. */
static void join_missing(struct source *s, struct crawl *c, struct bytes name, unsigned job)
{
	struct look look = c->look;

	if (!c->frame.complete)
		return; /* I8 */
	look.jobs = 1u << job;
	if (s->config.renames && look_set_name(s, &c->frame.view, name) &&
	    late_add(s, &c->late, &c->nlate, &c->late_cap, &look))
		return;
	look_name(s, &c->frame.view, name, &look);
}

static void join_there(struct source *s, struct crawl *c, size_t i, const struct belief *belief,
                       unsigned job)
{
	struct frame *f = &c->frame;

	if (f->list.v[i].state != LISTED_THERE)
		return;
	if (look_set_name(s, &f->view, listing_name(&f->list, i)))
		compare_entry(s, job, &f->list.v[i].fp, belief, &c->look, 0);
}

static void join(struct source *s, struct crawl *c, unsigned job)
{
	struct frame *f = &c->frame;
	struct held_list held = {0};
	const struct belief absent = {0};
	size_t i = 0, k = 0;

	s->path.n = f->view.prefix ? f->view.prefix - 1 : 0;
	held_list_read(&held, s->jobs[job].ledger, buf_bytes(&s->path));
	while (i < f->list.n || k < held.n) {
		int d = i == f->list.n ? 1 : -1;

		if (i < f->list.n && k < held.n)
			d = bytes_compare(listing_name(&f->list, i), held_list_name(&held, k));
		if (d < 0) {
			join_there(s, c, i, &absent, job);
		} else if (d == 0 && f->list.v[i].state != LISTED_GONE) {
			join_there(s, c, i, &held.v[k].belief, job);
		} else {
			join_missing(s, c, held_list_name(&held, k), job);
		}
		i += d <= 0;
		k += d >= 0;
	}
	held_list_done(&held);
}

/* Directories known here that the listing does not have have left. */
static void let_go(struct source *s, const struct frame *f)
{
	uint32_t child = dirtab_first_child(s->dirs, f->view.node);

	while (child != DIRTAB_NONE) {
		uint32_t next = dirtab_next_sibling(s->dirs, child);
		struct stat st;

		if (listing_find(&f->list, dirtab_name(s->dirs, child)) == SIZE_MAX) {
			const char *at = look_set_name(s, &f->view, dirtab_name(s->dirs, child));

			if (at && fstatat(f->view.fd, at, &st, AT_SYMLINK_NOFOLLOW) != 0 &&
			    errno == ENOENT)
				park_limbo(s, child);
		}
		child = next;
	}
}

/* The path of the view is still that of its node, unless it was moved in the meantime: then what
 * was listed is thrown away and the directory is listed again at its new place. */
static bool frame_path(struct source *s, struct crawl *c)
{
	struct frame *f = &c->frame;

	if (dirtab_alive(s->dirs, f->view.node) &&
	    dirtab_path(s->dirs, f->view.node, &s->path) == 0) {
		if (s->path.n)
			buf_add_u8(&s->path, '/');
		f->view.prefix = s->path.n;
		return true;
	}
	if (dirtab_alive(s->dirs, f->view.node)) {
		struct look look = c->look;

		look.jobs = f->todo.jobs;
		park_dir(s, f->view.node, f->todo.deep, &look);
	}
	return false;
}

static void frame_close(struct crawl *c)
{
	look_close(&c->frame.view);
	c->frame.list.n = 0;
	/* The memory of a very large directory is not kept. */
	if (c->frame.list.cap > 4096)
		listing_done(&c->frame.list);
	else
		buf_done(&c->frame.list.names);
}

/* A slice of the directory at hand. */
static void frame_step(struct source *s, struct crawl *c)
{
	struct frame *f = &c->frame;

	if (!frame_path(s, c)) {
		frame_close(c);
		return;
	}
	if (f->at < f->list.n) {
		for (int i = 0; i < SLICE_ENTRIES && f->at < f->list.n; i++)
			examine(s, c, &f->list.v[f->at++]);
		if (f->at < f->list.n)
			return;
	}
	while (f->job < SOURCE_JOBS_MAX && !(f->todo.jobs & s->attached & 1u << f->job))
		f->job++;
	if (f->job < SOURCE_JOBS_MAX) {
		join(s, c, f->job++);
		return;
	}
	if (f->complete && !f->failed) {
		s->path.n = f->view.prefix ? f->view.prefix - 1 : 0;
		unread_forget(s, buf_bytes(&s->path));
	}
	if (f->complete)
		let_go(s, f);
	dirtab_set_seen(s->dirs, f->view.node, dirtab_seen(s->dirs, f->view.node) | f->todo.jobs);
	frame_close(c);
}

/* A slice of a removed subtree. False: it is through. */
static bool gone_slice(struct source *s, struct crawl *c)
{
	size_t most = s->room < SLICE_GONE ? s->room : SLICE_GONE;

	if (!(c->look.jobs & s->attached))
		return false;
	if (gone_stands(s, c->gone))
		return !gone_step(s, c->gone, &c->look, most);
	/* There again, or nobody can say: the look decides anew. */
	look_path(s, gone_top(c->gone), &c->look);
	return false;
}

static void begin(struct source *s, struct crawl *c)
{
	c->begun = true;
	if (!c->whole)
		return;
	if (!is_audit(c))
		s->dirs_seen = s->entries_seen = 0; /* "so far" */
	s->limit_hit = false;
	crawl_push(c, DIRTAB_ROOT, c->look.jobs, true);
	look_root(s, &c->look);
	outbox_progress(s, true);
}

static void finish(struct source *s, struct crawl *c)
{
	bool whole = c->whole;

	if (whole) {
		struct look look = {.jobs = s->attached,
		                    .born = s->taken_drain,
		                    .since_ns = clock_boot_ns(),
		                    .least = MARK_LOOK};
		size_t limbo =
		        s->nlimbo; /* about to leave: nobody needs to raise a limit for them */
		size_t missing = dirtab_count(s->dirs) - dirtab_watched(s->dirs);

		s->crawls_done++;
		s->dirs_seen = c->dirs;
		s->entries_seen = c->entries;
		s->unwatched = s->limit_hit && missing > limbo ? missing : 0;
		unread_retry(s, &look);
	}
	if (c->look.request)
		outbox_flush(s);
	crawl_free(s, c);
	outbox_state(s);
	if (whole)
		outbox_progress(s, true);
}

bool crawl_step(struct source *s)
{
	struct crawl *c = s->crawls;
	int64_t until_ns;

	if (!c || (c->frame.view.fd < 0 && !s->room) || !round_begin(s))
		return false;
	until_ns = clock_boot_ns() + TURN_NS;
	if (!c->begun)
		begin(s, c);
	do {
		if (c->frame.view.fd >= 0) {
			frame_step(s, c);
		} else if (!c->gone && !c->n && !c->nlate) {
			finish(s, c);
			break;
		} else if (!s->room) {
			break;
		} else if (!c->gone && !c->n) {
			late_look(s, &c->late[--c->nlate]);
		} else if (c->gone) {
			if (!gone_slice(s, c)) {
				finish(s, c);
				break;
			}
		} else {
			struct todo todo = c->stack[--c->n];

			(void)frame_open(s, c, &todo);
		}
	} while (!s->nagain && !atomic_load(&s->pressing) && clock_boot_ns() < until_ns);
	outbox_progress(s, false);
	round_end(s);
	return true;
}

bool crawl_holds(const struct source *s, uint64_t drain)
{
	for (const struct crawl *c = s->crawls; c; c = c->next)
		if (!(c->look.flags & MARK_AUDIT) && c->look.born <= drain)
			return true;
	return false;
}

bool crawl_busy(const struct source *s)
{
	for (const struct crawl *c = s->crawls; c; c = c->next)
		if (c->whole && !(c->look.flags & MARK_AUDIT))
			return true;
	return false;
}

void crawl_forget_job(struct source *s, unsigned job)
{
	for (struct crawl *c = s->crawls; c; c = c->next) {
		c->look.jobs &= ~(1u << job);
		c->frame.todo.jobs &= ~(1u << job);
		for (size_t i = 0; i < c->n; i++)
			c->stack[i].jobs &= ~(1u << job);
		late_forget_job(s, c->late, c->nlate, job);
	}
}

void crawl_clear(struct source *s)
{
	while (s->crawls)
		crawl_free(s, s->crawls);
}

void crawl_each_request(struct source *s, void (*fn)(struct source *s, struct inner *request))
{
	for (struct crawl *c = s->crawls; c; c = c->next)
		fn(s, c->look.request);
}

bool crawl_any(const struct source *s)
{
	return s->crawls != NULL;
}

void crawl_lowest(const struct source *s, uint64_t *born, int64_t *since_ns)
{
	for (const struct crawl *c = s->crawls; c; c = c->next) {
		if (c->look.flags & MARK_AUDIT)
			continue;
		if (c->look.born < *born)
			*born = c->look.born;
		if (c->look.since_ns < *since_ns)
			*since_ns = c->look.since_ns;
	}
}
