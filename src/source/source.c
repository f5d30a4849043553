#include "source/source.h"

#include <errno.h>
#include <stdio.h>
#include <sys/eventfd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "source/inotify.h"
#include "source/inside.h"

/* Of any file system: it is not known yet. */
#define RACY_LONGEST_NS INT64_C(2000000000)

enum { BACKLOG_NAMES = 131072, BACKLOG_DIRS = 65536, PATH_SPACE = 8192 };

static void post(struct source *s, struct inner *in)
{
	atomic_store(&s->pressing, true);
	mailbox_post(s->in, &in->letter);
}

static void wake_reader(struct source *s)
{
	uint64_t one = 1;

	(void)!write(s->wake, &one, sizeof(one));
}

static void prepare(struct source *s, const struct source_config *config, struct mailbox *out)
{
	s->config = *config;
	s->config.name = mem_strdup(config->name);
	s->config.root = mem_strdup(config->root);
	if (!s->config.degraded_crawl_ns)
		s->config.degraded_crawl_ns = 60 * INT64_C(1000000000);
	if (!s->config.store_wait_ns)
		s->config.store_wait_ns = 10 * INT64_C(1000000000);
	s->hot.period_ns = config->hot_period_ns ? config->hot_period_ns : 5 * INT64_C(1000000000);
	s->hot.longest_ns = 60 * s->hot.period_ns;
	s->out = out;
	s->in = mailbox_new(NULL, NULL);
	s->queue_limit = inotify_limit("max_queued_events") + 1; /* fixed when the queue is made */
	s->queue = inotify_open();
	s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	(void)pthread_mutex_init(&s->lock, NULL);
	s->filling = backlog_new(BACKLOG_NAMES, BACKLOG_DIRS);
	s->taken = backlog_new(BACKLOG_NAMES, BACKLOG_DIRS);
	s->dirs = dirtab_new();
	s->root_fd = -1;
	buf_init(&s->path, PATH_SPACE);
	s->room = SIZE_MAX;
	s->audit_at_ns = s->crawl_at_ns = s->check_at_ns = INT64_MAX;
	if (config->audit_period_ns)
		s->audit_at_ns = clock_boot_ns() + config->audit_period_ns;
	s->guard.path = mem_strdup(config->root);
}

static void drop_inner(struct letter *letter)
{
	inner_free(container_of(letter, struct inner, letter));
}

static void dispose(struct source *s)
{
	crawl_clear(s);
	park_clear(s);
	hotlist_clear(&s->hot);
	unread_clear(s);
	for (unsigned job = 0; job < SOURCE_JOBS_MAX; job++)
		outbox_discard(s, job);
	while (s->held) {
		struct letter *next = s->held->letter.next;

		inner_free(s->held);
		s->held = next ? container_of(next, struct inner, letter) : NULL;
	}
	mailbox_free(s->in, drop_inner);
	if (s->queue >= 0)
		(void)close(s->queue);
	if (s->wake >= 0)
		(void)close(s->wake);
	backlog_free(s->filling);
	backlog_free(s->taken);
	dirtab_free(s->dirs);
	buf_done(&s->path);
	free(s->parked);
	free(s->again);
	free(s->limbo);
	late_clear(s, &s->late, &s->nlate, &s->late_cap);
	free(s->barriers);
	free(s->tokens);
	free(s->guard.path);
	free((char *)(uintptr_t)s->config.name);
	free((char *)(uintptr_t)s->config.root);
	(void)pthread_mutex_destroy(&s->lock);
	free(s);
}

int source_start(struct source **ret, const struct source_config *config, struct mailbox *out,
                 struct err *err)
{
	struct guard_root now;
	struct source *s;
	int rc;
	autoclose int fd = guard_open(config->root, &now, NULL);

	*ret = NULL;
	s = mem_alloc(sizeof(*s));
	prepare(s, config, out);
	if (fd < 0) {
		s->unseen = s->frozen = s->remake = true;
		s->frozen_since_ns = clock_boot_ns();
		s->check_at_ns = 0;
		s->racy_at_start_ns = RACY_LONGEST_NS;
	} else {
		guard_learn(&s->guard, fd, &now);
		(void)snprintf(s->identity, sizeof(s->identity), "%s", s->guard.lasting);
		s->racy_at_start_ns = guard_racy_window_ns(fd);
	}
	s->racy_window_ns = s->racy_at_start_ns;
	rc = s->wake < 0 ? EMFILE : pthread_create(&s->reader, NULL, reader_run, s);
	if (rc) {
		dispose(s);
		return err_errno(err, rc, "cannot start watching %s", config->root);
	}
	rc = pthread_create(&s->looker, NULL, lookthread_run, s);
	if (rc) {
		s->stop_reader = true;
		wake_reader(s);
		(void)pthread_join(s->reader, NULL);
		dispose(s);
		return err_errno(err, rc, "cannot start watching %s", config->root);
	}
	*ret = s;
	return 0;
}

void source_end(struct source *s)
{
	(void)pthread_mutex_lock(&s->lock);
	s->stop_reader = true;
	(void)pthread_mutex_unlock(&s->lock);
	wake_reader(s);
	post(s, inner_new(INNER_STOP));
}

void source_free(struct source *s)
{
	(void)pthread_join(s->reader, NULL);
	(void)pthread_join(s->looker, NULL);
	dispose(s);
}

const char *source_identity(const struct source *s)
{
	return s->identity;
}

void source_expect(struct source *s, unsigned job, const char *root_id)
{
	check(job < SOURCE_JOBS_MAX);
	(void)pthread_mutex_lock(&s->lock);
	(void)snprintf(s->expected[job], sizeof(s->expected[job]), "%s", root_id);
	(void)pthread_mutex_unlock(&s->lock);
}

int64_t source_racy_window_ns(const struct source *s)
{
	return s->racy_at_start_ns;
}

void source_keep_attributes(struct source *s, unsigned job, bool on)
{
	check(job < SOURCE_JOBS_MAX);
	s->attributes[job] = on;
}

int64_t source_silent_ns(struct source *s, int64_t now_ns)
{
	int64_t since_ns = atomic_load(&s->alive_ns);

	return since_ns && since_ns < now_ns ? now_ns - since_ns : 0;
}

void source_attach(struct source *s, unsigned job, struct ledger *ledger)
{
	struct inner *in = inner_new(INNER_ATTACH);

	check(job < SOURCE_JOBS_MAX);
	in->job = job;
	in->ledger = ledger;
	post(s, in);
}

void source_detach(struct source *s, unsigned job, uint64_t token)
{
	struct inner *in = inner_new(INNER_DETACH);

	check(job < SOURCE_JOBS_MAX);
	in->job = job;
	in->token = token;
	post(s, in);
}

void source_look(struct source *s, unsigned job, uint64_t token, const struct mark *marks, size_t n)
{
	struct inner *in = inner_new(INNER_LOOK);

	check(job < SOURCE_JOBS_MAX);
	in->job = job;
	in->token = token;
	in->count = n;
	in->marks = mem_array(n, sizeof(*marks));
	for (size_t i = 0; i < n; i++) {
		in->marks[i] = marks[i];
		in->marks[i].path.p = mem_dup(marks[i].path.p, marks[i].path.n);
	}
	post(s, in);
}

void source_want_root(struct source *s, uint64_t token)
{
	struct inner *in = inner_new(INNER_WANT_ROOT);

	in->token = token;
	post(s, in);
}

void source_want_barrier(struct source *s, uint64_t token)
{
	(void)pthread_mutex_lock(&s->lock);
	s->tokens = mem_realloc(s->tokens, s->ntokens + 1, sizeof(*s->tokens));
	s->tokens[s->ntokens++] = token;
	(void)pthread_mutex_unlock(&s->lock);
	wake_reader(s);
}

void source_set_room(struct source *s, size_t marks)
{
	struct inner *in = inner_new(INNER_ROOM);

	in->room = marks;
	post(s, in);
}

void source_adopt(struct source *s)
{
	post(s, inner_new(INNER_ADOPT));
}

void source_crawl(struct source *s)
{
	post(s, inner_new(INNER_CRAWL));
}

void source_test_stall(struct source *s, bool on)
{
	atomic_store(&s->stall, on);
	wake_reader(s);
}
