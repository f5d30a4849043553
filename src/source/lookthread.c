/*
 * The look thread: requests, then events, then crawls; barriers when nothing older is left.
 */
#include <stdio.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "source/inside.h"

struct inner *inner_new(enum inner_kind kind)
{
	struct inner *in = mem_alloc(sizeof(*in));

	in->letter.kind = kind;
	in->at_ns = clock_boot_ns();
	return in;
}

void inner_free(struct inner *in)
{
	for (size_t i = 0; i < in->count; i++)
		free((char *)(uintptr_t)in->marks[i].path.p);
	free(in->marks);
	free(in);
}

static void answer_looked(struct source *s, unsigned job, uint64_t token)
{
	struct source_looked *l = mem_alloc(sizeof(*l));

	l->source = s;
	l->job = job;
	l->token = token;
	l->letter.kind = SOURCE_LOOKED;
	mailbox_post(s->out, &l->letter);
}

void request_release(struct source *s, struct inner *request)
{
	if (--request->refs || request->queued)
		return;
	if (s->stopping) { /* nobody is there any more to whom it could be told */
		inner_free(request);
		return;
	}
	outbox_flush(s);
	answer_looked(s, request->job, request->token);
	inner_free(request);
}

void reader_kick(struct source *s)
{
	uint64_t one = 1;

	if (s->kicked)
		return;
	s->kicked = true;
	(void)pthread_mutex_lock(&s->lock);
	s->want_drain = true;
	(void)pthread_mutex_unlock(&s->lock);
	(void)!write(s->wake, &one, sizeof(one));
}

static void handle_attach(struct source *s, struct inner *in)
{
	struct look look = {.jobs = 1u << in->job,
	                    .born = s->taken_drain,
	                    .since_ns = in->at_ns,
	                    .least = MARK_LOOK};

	s->jobs[in->job].ledger = in->ledger;
	s->attached |= 1u << in->job;
	round_attached(s);
	if (!s->frozen)
		crawl_tree(s, CRAWL_TREE, &look);
}

static void handle_detach(struct source *s, struct inner *in)
{
	crawl_forget_job(s, in->job);
	late_forget_job(s, s->late, s->nlate, in->job);
	s->attached &= ~(1u << in->job);
	s->jobs[in->job].ledger = NULL;
	outbox_discard(s, in->job);
	answer_looked(s, in->job, in->token);
}

static void request_mark(struct source *s, struct inner *in, const struct mark *m)
{
	struct look look = {.jobs = 1u << in->job & s->attached,
	                    .born = m->born,
	                    .since_ns = m->since_ns,
	                    .least = m->action,
	                    .flags = m->flags & MARK_AUDIT,
	                    .request = in,
	                    .asked = m->path};

	if (look.jobs && path_valid(m->path))
		look_below(s, m->path, m->scope == MARK_SUBTREE, &look);
}

void lookthread_handle_look(struct source *s, struct inner *in)
{
	in->refs = 1;
	if (!round_begin(s)) {
		round_hold(s, in);
		request_release(s, in);
		return;
	}
	for (size_t i = 0; i < in->count && !s->frozen; i++)
		request_mark(s, in, &in->marks[i]);
	round_end(s);
	if (s->frozen) /* what was found has been thrown away */
		round_hold(s, in);
	request_release(s, in);
}

static void handle_want_root(struct source *s, struct inner *in)
{
	struct source_root *r = mem_alloc(sizeof(*r));

	r->source = s;
	r->token = in->token;
	r->root_fd = round_begin(s) ? TAKE_FD(s->root_fd) : -1;
	r->letter.kind = SOURCE_ROOT;
	mailbox_post(s->out, &r->letter);
}

static bool degraded(const struct source *s)
{
	return s->unwatched || s->queue < 0 || s->remote_kind;
}

static void handle_barrier(struct source *s, struct inner *in)
{
	struct look look = {
	        .jobs = s->attached, .born = in->drain, .since_ns = in->at_ns, .least = MARK_LOOK};

	if ((unread_count(s) || s->hot.n) && round_begin(s)) {
		unread_retry(s, &look);
		hot_look_all(s, &look);
		round_end(s);
	}
	s->barriers = mem_realloc(s->barriers, s->nbarriers + 1, sizeof(*s->barriers));
	s->barriers[s->nbarriers++] = (struct barrier){in->token, in->drain, unread_count(s)};
	/* Without events only a crawl can say that everything was seen. */
	if (degraded(s) && !s->frozen)
		crawl_tree(s, CRAWL_TREE, &look);
}

static void look_at_mounts(struct source *s)
{
	struct look look = {.jobs = s->attached,
	                    .born = s->taken_drain,
	                    .since_ns = clock_boot_ns(),
	                    .least = MARK_LOOK};
	struct buf first;
	uint64_t hash;

	if (s->config.cross_mounts)
		return;
	buf_init(&first, 4096);
	hash = guard_mounts_below(s->config.root, &first);
	if (hash != s->mounts_hash) {
		s->mounts_hash = hash;
		s->mount_first[0] = '\0';
		if (hash)
			(void)snprintf(s->mount_first, sizeof(s->mount_first), "%.150s",
			               path_show(buf_bytes(&first)));
		/* What was hidden below a mount point is seen again, or no longer. */
		if (!s->frozen)
			crawl_tree(s, CRAWL_TREE, &look);
		outbox_state(s);
	}
	buf_done(&first);
}

static void check_root(struct source *s)
{
	if (s->frozen)
		(void)round_thaw(s, false);
	else if (round_begin(s))
		round_end(s);
}

static void start_audit(struct source *s)
{
	struct look look = {.jobs = s->attached,
	                    .born = BORN_NONE,
	                    .since_ns = clock_boot_ns(),
	                    .least = MARK_LOOK,
	                    .flags = MARK_AUDIT};

	if (!s->frozen)
		crawl_tree(s, CRAWL_AUDIT, &look);
}

/* Returns whether the letter is kept. */
static bool handle(struct source *s, struct inner *in)
{
	switch ((enum inner_kind)in->letter.kind) {
	case INNER_ATTACH:
		handle_attach(s, in);
		break;
	case INNER_DETACH:
		handle_detach(s, in);
		break;
	case INNER_LOOK:
		lookthread_handle_look(s, in);
		return true;
	case INNER_WANT_ROOT:
		handle_want_root(s, in);
		break;
	case INNER_BARRIER:
		handle_barrier(s, in);
		break;
	case INNER_DRAINED:
		break;
	case INNER_MOUNTS:
		look_at_mounts(s);
		check_root(s);
		break;
	case INNER_ROOM:
		s->room = in->room;
		break;
	case INNER_ADOPT:
		if (s->frozen)
			(void)round_thaw(s, true);
		break;
	case INNER_CRAWL:
		start_audit(s);
		break;
	case INNER_STOP:
		s->stopping = true;
		break;
	}
	return false;
}

/* Takes over what the reader has gathered. False: nothing new. */
static bool take_backlog(struct source *s, bool *ret_check)
{
	bool fresh;

	(void)pthread_mutex_lock(&s->lock);
	fresh = s->drain != s->taken_drain || !backlog_empty(s->filling) || s->check_root;
	if (fresh) {
		struct backlog *full = s->filling;

		s->filling = s->taken;
		s->taken = full;
		s->taken_drain = s->drain;
		*ret_check = s->check_root;
		s->check_root = s->announced = s->kicked = false;
	}
	(void)pthread_mutex_unlock(&s->lock);
	return fresh;
}

static void look_at_backlog(struct source *s)
{
	struct look look = {.jobs = s->attached, .least = MARK_LOOK};

	for (size_t i = 0; i < backlog_dirs(s->taken); i++) {
		const struct backlog_dir *dir = backlog_dir(s->taken, i);
		uint32_t node = dirtab_by_wd(s->dirs, dir->wd);

		if (node != DIRTAB_NONE)
			look_left(s, node, dir);
	}
	for (size_t i = 0; i < backlog_dirs(s->taken); i++) {
		const struct backlog_dir *dir = backlog_dir(s->taken, i);
		uint32_t node = dirtab_by_wd(s->dirs, dir->wd);

		if (node == DIRTAB_NONE)
			continue;
		look_batch(s, node, dir);
		if (dir->unwatched && node == DIRTAB_ROOT) {
			guard_doubt(&s->guard);
			s->check_at_ns = 0;
		} else if (dir->unwatched && dirtab_by_wd(s->dirs, dir->wd) == node) {
			/* Its number may be given to another directory from now on. */
			dirtab_set_wd(s->dirs, node, -1);
			dirtab_set_identity(s->dirs, node, 0, 0);
			look.born = s->taken_drain;
			look.since_ns = clock_boot_ns();
			park_suspect(s, node, &look);
		}
	}
	late_turn(s);
	if (backlog_tree(s->taken, &look.born, &look.since_ns)) {
		look.wary_ns = clock_wall_ns() - (clock_boot_ns() - look.since_ns) - 10000000000;
		crawl_tree(s, CRAWL_TREE, &look);
	}
}

/* One round of events: what was parked first, then what is new. */
static bool look_at_events(struct source *s)
{
	bool check = false, ready;

	if (!take_backlog(s, &check))
		return false;
	if (check || s->frozen)
		check_root(s);
	ready = (s->nparked || !backlog_empty(s->taken) || s->nlimbo) && round_begin(s);
	if (ready) {
		size_t ripe = s->limbo_ripe;

		park_retry(s);
		look_at_backlog(s);
		park_limbo_turn(s, ripe);
		round_end(s);
	}
	backlog_clear(s->taken);
	if (!s->nparked && !s->nlimbo && !crawl_any(s))
		dirtab_recycle(s->dirs);
	return true;
}

static void answer_barriers(struct source *s)
{
	size_t kept = 0;

	for (size_t i = 0; i < s->nbarriers; i++) {
		struct barrier b = s->barriers[i];
		struct source_barrier *letter;

		/* What could not be read when it was asked is being read now, for a later drain. */
		if (unread_count(s) < b.unread && s->taken_drain > b.drain) {
			b.drain = s->taken_drain;
			b.unread = unread_count(s);
		}
		if (!s->frozen && (s->taken_drain < b.drain || park_holds(s, b.drain) ||
		                   crawl_holds(s, b.drain))) {
			s->barriers[kept++] = b;
			continue;
		}
		letter = mem_alloc(sizeof(*letter));
		letter->source = s;
		letter->token = b.token;
		letter->drain = b.drain;
		letter->unreadable = unread_count(s);
		letter->letter.kind = SOURCE_BARRIER;
		mailbox_post(s->out, &letter->letter);
	}
	s->nbarriers = kept;
}

static int64_t deadline(const struct source *s)
{
	int64_t at_ns = s->audit_at_ns;

	if (s->crawl_at_ns < at_ns)
		at_ns = s->crawl_at_ns;
	if (hotlist_deadline(&s->hot) < at_ns)
		at_ns = hotlist_deadline(&s->hot);
	return s->check_at_ns < at_ns ? s->check_at_ns : at_ns;
}

static void serve_timers(struct source *s)
{
	int64_t now_ns = clock_boot_ns();

	if (degraded(s) && s->crawl_at_ns == INT64_MAX)
		s->crawl_at_ns = now_ns + s->config.degraded_crawl_ns;
	if (now_ns >= s->audit_at_ns) {
		s->audit_at_ns = now_ns + s->config.audit_period_ns;
		start_audit(s);
	}
	if (now_ns >= s->crawl_at_ns) {
		s->crawl_at_ns = INT64_MAX;
		start_audit(s);
	}
	if (now_ns >= hotlist_deadline(&s->hot))
		hot_turn(s);
	if (now_ns >= s->check_at_ns) {
		s->check_at_ns = INT64_MAX;
		check_root(s);
	}
}

static void serve_letters(struct source *s)
{
	struct letter *next;

	for (struct letter *l = mailbox_take(s->in); l; l = next) {
		struct inner *in = container_of(l, struct inner, letter);

		next = l->next;
		if (!handle(s, in))
			inner_free(in);
	}
}

static void first_look(struct source *s)
{
	struct guard_root now;
	struct err err = {0};
	autoclose int fd = guard_open(s->guard.path, &now, &err);

	if (fd < 0 || s->frozen)
		return; /* the first round will say it, or thaw */
	round_remake(s, fd);
	look_at_mounts(s);
	outbox_state(s);
}

void *lookthread_run(void *source)
{
	struct source *s = source;

	lookthread_alive(s);
	first_look(s);
	for (;;) {
		bool worked;

		lookthread_alive(s);
		atomic_store(&s->pressing, false);
		serve_letters(s);
		if (s->stopping) {
			outbox_ended(s);
			return NULL;
		}
		serve_timers(s);
		worked = look_at_events(s);
		/* Gives way after one slice if more events wait, but gets that slice. */
		worked |= crawl_step(s);
		if (s->nparked || (s->nlimbo && !crawl_any(s)))
			reader_kick(s);
		answer_barriers(s);
		if (worked)
			continue;
		atomic_store(&s->alive_ns, 0);
		(void)mailbox_wait(s->in, deadline(s));
	}
}
