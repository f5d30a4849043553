/*
 * Rounds: everything that touches the tree happens between a guard check and the posting of what
 * was found, with one descriptor of the root that does not outlive it. Here is also where a source
 * freezes and comes back.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "source/inotify.h"
#include "source/inside.h"

void round_hold(struct source *s, struct inner *request)
{
	if (!request || request->queued)
		return;
	request->queued = true;
	request->letter.next = s->held ? &s->held->letter : NULL;
	s->held = request;
}

static void hold_requests(struct source *s)
{
	for (size_t i = 0; i < s->nparked; i++)
		round_hold(s, s->parked[i].look.request);
	for (size_t i = 0; i < s->nagain; i++)
		round_hold(s, s->again[i].look.request);
	crawl_each_request(s, round_hold);
}

void round_freeze(struct source *s, const char *text)
{
	if (!s->frozen) {
		s->frozen = true;
		s->frozen_born = s->taken_drain;
		s->frozen_since_ns = clock_boot_ns();
		crawl_lowest(s, &s->frozen_born, &s->frozen_since_ns);
		hold_requests(s);
		crawl_clear(s);
		park_clear(s);
		hotlist_clear(&s->hot);
		for (unsigned job = 0; job < SOURCE_JOBS_MAX; job++)
			outbox_discard(s, job);
	}
	s->check_at_ns = clock_boot_ns() + 1000000000;
	if (!text)
		return;
	(void)snprintf(s->frozen_text, sizeof(s->frozen_text), "%s", text);
	outbox_state(s);
}

static void unwatch(int wd, void *arg)
{
	inotify_unwatch(((struct source *)arg)->queue, wd);
}

void round_remake(struct source *s, int rootfd)
{
	struct stat st;
	autoclose int fd = openat(rootfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (s->queue >= 0)
		dirtab_each_wd(s->dirs, unwatch, s);
	dirtab_free(s->dirs);
	s->dirs = dirtab_new();
	park_clear(s);
	hotlist_clear(&s->hot);
	crawl_clear(s);
	if (fstat(rootfd, &st) == 0)
		dirtab_set_identity(s->dirs, DIRTAB_ROOT, st.st_dev, st.st_ino);
	if (fd >= 0)
		adopt_watch(s, DIRTAB_ROOT, fd);
	s->racy_window_ns = guard_racy_window_ns(rootfd);
	s->remote_kind = guard_remote_kind(rootfd);
	s->remake = false;
}

static bool any_name(struct bytes name, const struct belief *belief, void *arg)
{
	bool *found = arg;

	*found |= name.n > 0 && belief->state != LEDGER_ABSENT;
	return !*found;
}

static bool ledgers_hold_names(struct source *s)
{
	bool found = false;

	for (unsigned job = 0; job < SOURCE_JOBS_MAX; job++)
		if (s->attached & 1u << job)
			ledger_list(s->jobs[job].ledger, (struct bytes){0}, any_name, &found);
	return found;
}

static bool empty_where_it_should_not_be(struct source *s, int rootfd)
{
	return !s->empty_allowed && guard_is_empty(rootfd) && ledgers_hold_names(s);
}

static void freeze_empty(struct source *s)
{
	struct buf text;

	buf_init(&text, sizeof(s->frozen_text) - 1);
	buf_printf(
	        &text,
	        "%s is empty, but its targets are not. Nothing is sent or deleted. It goes on by "
	        "itself when something appears in it. If it is meant to be empty: lockstep "
	        "approve 0%c",
	        path_show(bytes_of(s->config.root)), 0);
	round_freeze(s, text.p ? text.p : "the root is empty");
	buf_done(&text);
}

bool round_emptied(struct source *s)
{
	bool lost = s->root_lost;

	s->root_lost = false;
	if (!lost || s->root_fd < 0 || !empty_where_it_should_not_be(s, s->root_fd))
		return false;
	freeze_empty(s);
	return true;
}

static void freeze_misfit(struct source *s)
{
	char text[sizeof(s->frozen_text)];

	(void)snprintf(text, sizeof(text),
	               "%.200s holds hardly anything of what was mirrored. Nothing is sent or "
	               "deleted. If it is the right directory: lockstep approve 0",
	               path_show(bytes_of(s->config.root)));
	s->misfit = true;
	round_freeze(s, text);
}

static void freeze_foreign(struct source *s, const struct guard_root *now)
{
	struct buf text;

	buf_init(&text, sizeof(s->frozen_text) - 1);
	guard_explain(&s->guard, now, &text);
	buf_add_u8(&text, 0);
	s->remake = true;
	round_freeze(s, text.p ? text.p : "the root was replaced");
	buf_done(&text);
}

static void freeze_unopened(struct source *s, const struct err *err)
{
	char text[sizeof(s->frozen_text)];

	(void)snprintf(text, sizeof(text),
	               "%.300s. Nothing is sent or deleted. It goes on by itself when %s.",
	               err->text, s->unseen ? "it is there" : "the known file system is back");
	s->remake = true;
	round_freeze(s, text);
}

bool round_begin(struct source *s)
{
	enum guard_verdict verdict;
	struct guard_root now;
	struct err err = {0};

	if (s->root_fd >= 0)
		return true;
	if (s->frozen)
		return false;
	autoclose int fd = guard_open(s->guard.path, &now, &err);
	s->absent = fd < 0;
	if (s->absent) {
		freeze_unopened(s, &err);
		return false;
	}
	verdict = guard_compare(&s->guard, fd, &now);
	switch (verdict) {
	case GUARD_SAME:
		s->root_fd = TAKE_FD(fd);
		return true;
	case GUARD_REMADE:
	case GUARD_UNSURE:
		/* The watches died with the old mount. */
		s->remake = true;
		round_freeze(s, NULL);
		return round_thaw(s, false) && round_begin(s);
	case GUARD_FOREIGN:
		freeze_foreign(s, &now);
		return false;
	}
	return false;
}

void round_end(struct source *s)
{
	struct parked p;

	while (s->root_fd >= 0 && park_take_suspect(s, &p)) {
		if (dirtab_alive(s->dirs, p.node))
			look_one(s, p.node, p.name, &p.look);
		park_release(s, &p);
	}
	if (!round_emptied(s))
		outbox_flush(s);
	if (s->unread_changed) {
		s->unread_changed = false;
		outbox_state(s);
		outbox_progress(s, true);
	}
	compare_forget_groups(s);
	if (s->root_fd >= 0)
		(void)close(s->root_fd);
	s->root_fd = -1;
}

static void go_on(struct source *s)
{
	struct look look = {.jobs = s->attached,
	                    .born = s->frozen_born,
	                    .since_ns = s->frozen_since_ns,
	                    .least = MARK_LOOK};
	struct inner *held = TAKE(s->held);

	s->frozen = false;
	s->check_at_ns = INT64_MAX;
	look.wary_ns = clock_wall_ns() - (clock_boot_ns() - look.since_ns) - 10000000000;
	crawl_tree(s, CRAWL_TREE, &look);
	while (held) {
		struct letter *next = held->letter.next;

		held->queued = false;
		lookthread_handle_look(s, held);
		held = next ? container_of(next, struct inner, letter) : NULL;
	}
	outbox_state(s);
}

/* Not the root that was found at the start, but the one that a ledger was filled from. */
static bool expected_root(struct source *s, int rootfd)
{
	char lasting[sizeof(s->guard.lasting)];
	bool found = false;

	guard_lasting(rootfd, s->guard.path, lasting, sizeof(lasting));
	if (strcmp(lasting, "sample") == 0)
		return false;
	(void)pthread_mutex_lock(&s->lock);
	for (unsigned job = 0; job < SOURCE_JOBS_MAX && !found; job++)
		found = (s->attached & 1u << job) && strcmp(s->expected[job], lasting) == 0;
	(void)pthread_mutex_unlock(&s->lock);
	return found;
}

static bool known_root(struct source *s, int rootfd, const struct guard_root *now)
{
	bool known = false;

	switch (guard_compare(&s->guard, rootfd, now)) {
	case GUARD_SAME:
	case GUARD_REMADE:
		known = true;
		break;
	case GUARD_UNSURE:
		known = sample_fits(s, rootfd);
		break;
	case GUARD_FOREIGN:
		/* Also when what was found at the start did not fit, and this does. */
		known = expected_root(s, rootfd) || (s->misfit && sample_fits(s, rootfd));
		s->remake = s->remake || known;
		break;
	}
	return known;
}

bool round_thaw(struct source *s, bool adopt)
{
	struct guard_root now;
	struct err err = {0};
	bool known = true;

	autoclose int fd = guard_open(s->guard.path, &now, &err);
	s->absent = fd < 0;
	if (s->absent) {
		freeze_unopened(s, &err);
		return false;
	}
	if (s->unseen) { /* as the start would have, with the questions of round_attached() */
		char lasting[sizeof(s->guard.lasting)];

		guard_lasting(fd, s->guard.path, lasting, sizeof(lasting));
		s->misfit = strcmp(lasting, "sample") == 0;
	} else {
		known = known_root(s, fd, &now);
	}
	if (!known && !adopt) {
		freeze_foreign(s, &now);
		return false;
	}
	if (s->misfit && !adopt && !sample_fits(s, fd)) {
		freeze_misfit(s);
		return false;
	}
	if (adopt && guard_is_empty(fd))
		s->empty_allowed = true;
	if (empty_where_it_should_not_be(s, fd)) {
		freeze_empty(s);
		return false;
	}
	s->misfit = s->unseen = false;
	guard_learn(&s->guard, fd, &now);
	if (s->remake)
		round_remake(s, fd);
	s->adopted = adopt;
	go_on(s);
	s->adopted = false;
	return true;
}

void round_attached(struct source *s)
{
	struct guard_root now;

	if (s->frozen)
		return;
	autoclose int fd = guard_open(s->guard.path, &now, NULL);
	if (fd < 0)
		return; /* the next round says it */
	if (empty_where_it_should_not_be(s, fd))
		freeze_empty(s);
	else if (strcmp(s->guard.lasting, "sample") == 0 && !sample_fits(s, fd))
		freeze_misfit(s);
}
