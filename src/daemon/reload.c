/*
 * reload: from the configuration in force to a new one, by their difference.
 *
 * A bad new configuration changes nothing. Jobs that stay the same are not touched; a job whose
 * values changed is ended and begun again with its ledger, so nothing it still has to do is lost:
 * the crawl at its start finds it.
 */
#include <errno.h>
#include <string.h>
#include "base/log.h"
#include "base/mem.h"
#include "daemon/runtime.h"

struct reload {
	struct instance *in;
	const struct config *now;
};

static struct tree *reload_find_tree(struct instance *in, const char *name)
{
	INSTANCE_EACH_TREE(in, t)
	{
		if (!t->closing && strcmp(t->config->name, name) == 0)
			return t;
	}
	return NULL;
}

/* Ends what is gone or changed; `wanted` things start when their predecessors have ended. */
static void reload_end(const struct config_difference *d, void *arg)
{
	struct reload *r = arg;
	struct tree *t = d->was_tree ? reload_find_tree(r->in, d->was_tree->name) : NULL;

	if (!t)
		return;
	if (!d->was && !d->now) {
		if (d->change == CONFIG_REMOVED || d->change == CONFIG_CHANGED)
			tree_close(t);
		return;
	}
	if (!d->was)
		return;
	TREE_EACH_JOB(t, i, j)
	{
		if (strcmp(j->config->name, d->was->name) != 0)
			continue;
		if (d->change == CONFIG_SAME)
			j->config = d->now;
		else
			job_close(j);
	}
}

static const struct config_job *reload_job(const struct config_tree *t, const char *name)
{
	for (size_t i = 0; t && i < t->job_count; i++) {
		if (strcmp(t->jobs[i].name, name) == 0)
			return &t->jobs[i];
	}
	return NULL;
}

static void reload_adopt_names(struct instance *in, const struct config *now)
{
	INSTANCE_EACH_TREE(in, t)
	{
		const struct config_tree *config = config_find_tree(now, t->config->name);

		if (t->closing || !config)
			continue;
		t->config = config;
		TREE_EACH_JOB(t, i, j)
		{
			const struct config_job *job = reload_job(config, j->config->name);

			if (!j->closing && job)
				j->config = job;
		}
	}
}

static bool reload_closing(struct instance *in)
{
	INSTANCE_EACH_TREE(in, t)
	{
		if (t->closing)
			return true;
		TREE_EACH_JOB(t, i, j)
		{
			if (j->closing)
				return true;
		}
	}
	return false;
}

struct paused_name {
	struct paused_name *next;
	char *name;
};

void reload_note_paused(struct instance *in, const char *name)
{
	struct paused_name *p = mem_alloc(sizeof(*p));

	p->name = mem_strdup(name);
	p->next = in->paused;
	in->paused = p;
}

bool reload_was_paused(const struct instance *in, const char *name)
{
	for (const struct paused_name *p = in->paused; p; p = p->next) {
		if (strcmp(p->name, name) == 0)
			return true;
	}
	return false;
}

void reload_forget_paused(struct instance *in)
{
	while (in->paused) {
		struct paused_name *p = in->paused;

		in->paused = p->next;
		free(p->name);
		free(p);
	}
}

static void reload_start_jobs(struct tree *t, const struct config_tree *config)
{
	bool any = false;

	for (size_t i = 0; i < config->job_count; i++) {
		const char *name = config->jobs[i].name;
		struct err err = {0};

		if (instance_find_job(t->instance, name) || instance_job_ends(t->instance, name))
			continue;
		if (job_start(t, &config->jobs[i], &err) < 0)
			log_event(LOG_ERROR, "config.job", "job=%s %s", name, err.text);
		else
			any = true;
	}
	if (any)
		tree_crawl(t);
}

static bool reload_tree_ends(struct instance *in, const char *name)
{
	INSTANCE_EACH_TREE(in, t)
	{
		if (t->closing && strcmp(t->config->name, name) == 0)
			return true;
	}
	return false;
}

/* What has no predecessor, or none any more: a source that does not answer and cannot end holds up
 * nobody else. */
static void reload_start(struct instance *in)
{
	for (size_t i = 0; i < in->config->tree_count; i++) {
		const struct config_tree *config = &in->config->trees[i];
		struct tree *t = reload_find_tree(in, config->name);
		struct err err = {0};

		if (t)
			reload_start_jobs(t, config);
		else if (!reload_tree_ends(in, config->name) && tree_start(in, config, &err) < 0)
			log_event(LOG_ERROR, "config.tree", "%s", err.text);
	}
}

void reload_continue(struct instance *in)
{
	if (!in->reloading || in->stopping)
		return;
	reload_start(in);
	if (reload_closing(in))
		return;
	in->reloading = false;
	reload_forget_paused(in);
	config_free(in->retired);
	in->retired = NULL;
	log_event(LOG_INFO, "config.reloaded", "trees=%zu", in->config->tree_count);
	if (in->reload_reply)
		control_reply_send(TAKE(in->reload_reply), 200, json_pack("{s:b}", "reloaded", 1));
}

/* Nothing has changed by it. */
static void reload_refuse(struct control_reply *reply, int code, const struct err *err)
{
	if (reply)
		control_reply_error(reply, code == -EBUSY ? 409 : 422,
		                    "%s%s The old configuration stays in force", err->text,
		                    err_stop(err->text));
	else
		log_event(LOG_ERROR, "config.reload",
		          "the new configuration was not taken: %s%s The old one stays in force",
		          err->text, err_stop(err->text));
}

/* Takes `now` if it returns 0. */
static int reload_take(struct instance *in, struct config *now, struct err *err)
{
	struct reload r = {in, now};
	const char *fixed = config_diff_instance(in->config, now);

	if (fixed && (strcmp(fixed, "state") == 0 || strcmp(fixed, "socket") == 0))
		return err_set(err, EINVAL, "\"%s\" cannot change while the daemon runs", fixed);
	if (fixed && log_open(now->log_file, now->log_level, err) < 0)
		return err_wrap(err, "log_file");
	config_diff(in->config, now, reload_end, &r);
	reload_adopt_names(in, now);
	/* Jobs that are ending still read their old values. */
	in->retired = in->owned;
	in->owned = now;
	in->config = now;
	reload_continue(in);
	return 0;
}

/* --- reading it: that looks at each source and local target, and one may not answer --- */

struct reload_reading {
	struct instance *in;
	const struct config *old;
	struct config *now;
	struct err err;
	int result;
};

static void reload_read(void *arg)
{
	struct reload_reading *r = arg;

	r->result = config_reload(&r->now, r->old, &r->err);
}

static void reload_begin(struct instance *in);

static void reload_known(void *arg)
{
	autofree struct reload_reading *r = arg;
	struct instance *in = r->in;

	in->reload_reads = false;
	if (in->stopping || in->reload_again) {
		config_free(r->now);
		if (!in->stopping)
			reload_begin(in);
		return;
	}
	if (r->result == 0) {
		r->result = reload_take(in, r->now, &r->err);
		if (r->result < 0)
			config_free(r->now);
	}
	if (r->result == 0)
		return;
	in->reloading = false;
	reload_refuse(TAKE(in->reload_reply), r->result, &r->err);
}

static void reload_begin(struct instance *in)
{
	struct reload_reading *r = mem_alloc(sizeof(*r));
	struct err err = {0};
	int code;

	r->in = in;
	r->old = in->config;
	in->reload_again = false;
	code = aside_run(&in->asides, reload_read, reload_known, r, &err);
	in->reloading = in->reload_reads = code == 0;
	if (code == 0)
		return;
	free(r);
	reload_refuse(TAKE(in->reload_reply), code, &err);
}

void reload_apply(struct instance *in, struct control_reply *reply)
{
	struct err err = {0};
	int code = 0;

	if (in->stopping)
		code = err_set(&err, EBUSY, "the daemon is ending");
	else if (in->reload_reads && !reply)
		in->reload_again = true; /* what is being read may have changed since */
	else if (in->reload_reads)
		code = err_set(&err, EBUSY,
		               "an earlier reload is still under way: it looks at the sources and "
		               "local targets, and one that does not answer holds it up");
	else if (in->reloading)
		code = err_set(&err, EBUSY, "an earlier reload is still under way");
	else if (in->options.once)
		code = err_set(&err, EINVAL, "with --once nothing is reloaded");
	if (code < 0) {
		reload_refuse(reply, code, &err);
	} else if (!in->reload_again) {
		in->reload_reply = reply;
		reload_begin(in);
	}
}
