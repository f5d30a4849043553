/*
 * tree: one source and what its letters mean for the jobs.
 */
#include <errno.h>
#include "base/log.h"
#include "base/mem.h"
#include "base/path.h"
#include "daemon/runtime.h"

int tree_start(struct instance *in, const struct config_tree *config, struct err *err)
{
	struct tree *t = mem_alloc(sizeof(*t));
	struct source_config c = {
	        .name = config->name,
	        .root = config->root,
	        .cross_mounts = config->cross_mounts,
	        .audit_period_ns = config->audit_period_ns,
	};
	int r = filter_new(&t->filter, config->rules, config->rule_count, err);

	t->instance = in;
	t->config = config;
	c.filter = t->filter;
	for (size_t i = 0; i < config->job_count; i++)
		c.renames = c.renames || job_links_renames(&config->jobs[i].options);
	if (r == 0)
		r = source_start(&t->source, &c, in->letters, err);
	if (r < 0) {
		filter_free(t->filter);
		free(t);
		return err_wrap(err, "tree %s", config->name);
	}
	(void)snprintf(t->root_id, sizeof(t->root_id), "%s", source_identity(t->source));
	t->racy_window_ns = source_racy_window_ns(t->source);
	if (!t->root_id[0])
		t->health = SOURCE_FROZEN; /* until it says so itself, with its reason */
	t->next = in->trees;
	in->trees = t;
	for (size_t i = 0; i < config->job_count; i++) {
		if (instance_job_ends(in, config->jobs[i].name))
			continue; /* in the tree that it leaves; it begins here afterwards */
		r = job_start(t, &config->jobs[i], err);
		if (r < 0)
			return err_wrap(err, "job %s", config->jobs[i].name);
	}
	tree_crawl(t);
	return 0;
}

void tree_crawl(struct tree *t)
{
	t->attach_barrier = ++t->instance->next_token;
	source_want_barrier(t->source, t->attach_barrier);
}

static void tree_stop(struct tree *t)
{
	source_end(t->source);
}

static void tree_ended(struct tree *t)
{
	struct instance *in = t->instance;

	for (struct tree **p = &in->trees; *p; p = &(*p)->next) {
		if (*p == t) {
			*p = t->next;
			break;
		}
	}
	source_free(t->source);
	filter_free(t->filter);
	free(t);
	reload_continue(in);
}

void tree_close(struct tree *t)
{
	bool any = false;

	t->closing = true;
	TREE_EACH_JOB(t, i, j)
	{
		any = true;
		job_close(j);
	}
	if (!any)
		tree_stop(t);
}

void tree_kill(struct tree *t)
{
	TREE_EACH_JOB(t, i, j)
	{
		crew_kill(j);
	}
}

void tree_job_gone(struct tree *t)
{
	if (!t->closing)
		return;
	TREE_EACH_JOB(t, i, j)
	{
		return;
	}
	tree_stop(t);
}

void tree_want_root(struct tree *t)
{
	if (t->root_asked)
		return;
	t->root_asked = true;
	t->root_token = ++t->instance->next_token;
	source_want_root(t->source, t->root_token);
}

bool tree_stuck(struct tree *t, char *text, size_t n)
{
	int64_t silent_ns = source_silent_ns(t->source, instance_now()), most_ns = INT64_MAX;

	TREE_EACH_JOB(t, i, j)
	{
		if (2 * j->config->options.timeout_ns < most_ns)
			most_ns = 2 * j->config->options.timeout_ns;
	}
	if (silent_ns < most_ns)
		return false;
	(void)snprintf(text, n, "the source's file system has not answered for %lld s",
	               (long long)(silent_ns / NS_PER_S));
	return true;
}

void tree_run_dirty(struct tree *t, int root_fd)
{
	TREE_EACH_JOB(t, i, j)
	{
		if (j->dirty || (root_fd >= 0 && j->root_wanted))
			job_run(j, root_fd);
	}
}

static void tree_marks(struct tree *t, struct source_marks *m)
{
	struct job *j = m->job < SOURCE_JOBS_MAX ? t->jobs[m->job] : NULL;

	if (j && !j->closing)
		engine_set_owed(j->engine, m->owed);
	if (j && !j->closing && m->count) {
		engine_marks(j->engine, m->marks, m->count, instance_now());
		t->room_left = t->room_left > m->count ? t->room_left - m->count : 0;
		j->dirty = true;
	}
	if (m->root_fd >= 0)
		tree_run_dirty(t, m->root_fd);
}

static void tree_state(struct tree *t, const struct source_state *s)
{
	bool frozen = s->health == SOURCE_FROZEN;

	/* What cannot be read is named when it begins and when it ends, not each time it grows; but
	 * each reason to be frozen has a next step of its own. */
	if (s->health != t->health || !s->text[0] != !t->text[0] ||
	    (frozen && strcmp(s->text, t->text) != 0))
		log_event(s->health == SOURCE_LIVE && !s->text[0] ? LOG_INFO : LOG_WARN,
		          frozen ? "source.frozen" : "source.state", "tree=%s %s", t->config->name,
		          s->text[0] ? s->text : "live");
	t->health = s->health;
	t->absent = s->absent;
	t->racy_window_ns = s->racy_window_ns;
	(void)snprintf(t->text, sizeof(t->text), "%s", s->text);
	(void)snprintf(t->root_id, sizeof(t->root_id), "%s", s->root_id);
	TREE_EACH_JOB(t, i, j)
	{
		if (!frozen) {
			job_check_root(j, s->adopted);
			engine_set_racy_window(j->engine, s->racy_window_ns);
		}
		engine_set_frozen(j->engine, frozen, instance_now());
		job_touch(j);
	}
	if (!frozen && t->crawl_owed) {
		t->crawl_owed = false;
		tree_crawl(t);
	}
}

static void tree_progress(struct tree *t, const struct source_progress *p)
{
	t->progress.crawling = p->crawling;
	t->progress.dirs = p->dirs;
	t->progress.entries = p->entries;
	t->progress.overflows = p->overflows;
	t->progress.watches = p->watches;
	t->progress.unreadable = p->unreadable;
}

static void tree_barrier(struct tree *t, const struct source_barrier *b)
{
	if (b->token == t->attach_barrier && t->health == SOURCE_FROZEN) {
		t->crawl_owed = true; /* a frozen source answers without one */
	} else if (b->token == t->attach_barrier) {
		TREE_EACH_JOB(t, i, j)
		{
			engine_crawled(j->engine, instance_now());
			job_touch(j);
		}
	}
	waits_barrier(t->instance, t, b->token, b->drain, b->unreadable);
}

static void tree_looked(struct tree *t, const struct source_looked *l)
{
	struct job *j = l->job < SOURCE_JOBS_MAX ? t->jobs[l->job] : NULL;

	if (j && j->closing && l->token == j->detach_token) {
		job_detached(j);
	} else if (j && !j->closing) {
		engine_looked(j->engine, l->token, instance_now());
		job_touch(j);
	}
}

void tree_letter(struct tree *t, struct letter *letter)
{
	switch ((enum source_letter_kind)letter->kind) {
	case SOURCE_MARKS:
		tree_marks(t, container_of(letter, struct source_marks, letter));
		break;
	case SOURCE_ROOT: {
		struct source_root *r = container_of(letter, struct source_root, letter);

		t->root_asked = false;
		if (r->root_fd >= 0)
			tree_run_dirty(t, r->root_fd);
		verify_root(t, r->root_fd);
		break;
	}
	case SOURCE_BARRIER:
		tree_barrier(t, container_of(letter, struct source_barrier, letter));
		break;
	case SOURCE_STATE:
		tree_state(t, container_of(letter, struct source_state, letter));
		break;
	case SOURCE_PROGRESS:
		tree_progress(t, container_of(letter, struct source_progress, letter));
		break;
	case SOURCE_LOOKED:
		tree_looked(t, container_of(letter, struct source_looked, letter));
		break;
	case SOURCE_ENDED:
		source_letter_free(letter);
		tree_ended(t);
		return;
	}
	source_letter_free(letter);
}
