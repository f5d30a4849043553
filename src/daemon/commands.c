/*
 * commands: what the control API's verbs do.
 */
#include <errno.h>
#include "base/log.h"
#include "base/mem.h"
#include "base/path.h"
#include "daemon/runtime.h"
#include "daemon/status.h"

static bool commands_name(const struct control_request *r, const char *name)
{
	for (size_t k = 0; k < r->job_count; k++) {
		if (strcmp(r->jobs[k], name) == 0)
			return true;
	}
	return r->job_count == 0;
}

/* A wanted job that a reload has ended and not begun yet, or NULL: it must not be left out. */
static const char *commands_missing(struct instance *in, const struct control_request *r)
{
	for (size_t i = 0; in->reloading && i < in->config->tree_count; i++) {
		const struct config_tree *t = &in->config->trees[i];

		for (size_t k = 0; k < t->job_count; k++) {
			const char *name = t->jobs[k].name;

			if (commands_name(r, name) && !instance_find_job(in, name))
				return name;
		}
	}
	return NULL;
}

/* The jobs a request names, or all. Answers with 404 and returns -1 when one is unknown, with 409
 * when one is about to begin. */
static ssize_t commands_jobs(struct instance *in, const struct control_request *r,
                             struct control_reply *reply, struct job ***ret)
{
	struct job **jobs = mem_array(CONTROL_JOBS_MAX, sizeof(struct job *));
	const char *missing = commands_missing(in, r);
	size_t n = 0;

	if (missing) {
		control_reply_error(reply, 409,
		                    "a reload is ending job %s and begins it again; ask again",
		                    path_show(bytes_of(missing)));
		free(jobs);
		return -1;
	}
	if (r->job_count == 0) {
		INSTANCE_EACH_TREE(in, t)
		{
			TREE_EACH_JOB(t, i, j)
			{
				if (n < CONTROL_JOBS_MAX && !j->closing)
					jobs[n++] = j;
			}
		}
	}
	for (size_t k = 0; k < r->job_count; k++) {
		struct job *j = instance_find_job(in, r->jobs[k]);

		if (!j) {
			control_reply_error(reply, 404, "no job is named %s; see: lockstep status",
			                    path_show(bytes_of(r->jobs[k])));
			free(jobs);
			return -1;
		}
		jobs[n++] = j;
	}
	*ret = jobs;
	return (ssize_t)n;
}

/* One that does not answer is not live, whatever it was when it last did. */
static void status_of_tree(struct tree *t, struct status_tree *ret)
{
	bool stuck = tree_stuck(t, t->stuck, sizeof(t->stuck));

	*ret = (struct status_tree){
	        t->config->name,
	        t->config->root,
	        stuck && t->health == SOURCE_LIVE ? SOURCE_DEGRADED : t->health,
	        stuck ? t->stuck : t->text,
	        stuck,
	        t->progress.crawling,
	        t->progress.dirs,
	        t->progress.entries,
	        t->progress.overflows,
	        t->progress.watches,
	        t->progress.unreadable,
	};
}

static void command_status(void *arg, const struct control_request *r, struct control_reply *reply)
{
	struct instance *in = arg;
	struct status_tree *trees = mem_array(CONFIG_TREES_MAX, sizeof(*trees));
	struct status_job *jobs = mem_array(CONTROL_JOBS_MAX, sizeof(*jobs));
	struct status_input input = {
	        .instance = in->config->name,
	        .pid = (int)getpid(),
	        .started_wall_ns = in->started_wall_ns,
	        .now_ns = instance_now(),
	        .now_wall_ns = clock_wall_ns(),
	        .trees = trees,
	        .jobs = jobs,
	};

	(void)r;
	INSTANCE_EACH_TREE(in, t)
	{
		if (input.tree_count == CONFIG_TREES_MAX)
			break;
		status_of_tree(t, &trees[input.tree_count++]);
		TREE_EACH_JOB(t, i, j)
		{
			struct status_job *s = &jobs[input.job_count];

			if (input.job_count == CONTROL_JOBS_MAX || j->closing)
				continue;
			s->name = j->config->name;
			s->tree = t->config->name;
			s->target = j->config->target_text;
			s->extras = j->extras;
			s->compress = session_compress_name((enum session_compress)j->compress);
			s->sync_began_ns = j->sync_began_ns;
			s->sync_total = t->progress.crawling ? 0 : t->progress.entries;
			job_status(j, &s->engine);
			input.job_count++;
		}
	}
	control_reply_send(reply, 200, status_json(&input));
	free(trees);
	free(jobs);
}

struct listing {
	struct job *job;
	json_t *array;
};

static bool commands_add_hold(const struct engine_hold *h, void *arg)
{
	struct listing *l = arg;

	(void)json_array_append_new(l->array, status_hold_json(l->job->config->name, h,
	                                                       instance_now(), clock_wall_ns()));
	return true;
}

static bool commands_add_failure(const struct engine_failure *f, void *arg)
{
	struct listing *l = arg;

	(void)json_array_append_new(l->array,
	                            status_failure_json(l->job->config->name, f, instance_now()));
	return json_array_size(l->array) < 10000;
}

static void command_list(struct instance *in, const char *key, bool holds,
                         struct control_reply *reply)
{
	json_t *array = json_array();

	INSTANCE_EACH_TREE(in, t)
	{
		TREE_EACH_JOB(t, i, j)
		{
			struct listing l = {j, array};

			if (j->closing)
				continue;
			if (holds)
				engine_each_hold(j->engine, commands_add_hold, &l);
			else
				engine_each_failure(j->engine, commands_add_failure, &l);
		}
	}
	control_reply_send(reply, 200, json_pack("{s:o}", key, array));
}

static void command_held(void *arg, const struct control_request *r, struct control_reply *reply)
{
	(void)r;
	command_list(arg, "held", true, reply);
}

static void command_failed(void *arg, const struct control_request *r, struct control_reply *reply)
{
	(void)r;
	command_list(arg, "failed", false, reply);
}

static void command_wait(void *arg, const struct control_request *r, struct control_reply *reply)
{
	struct job **jobs;
	ssize_t n = commands_jobs(arg, r, reply, &jobs);

	if (n < 0)
		return;
	waits_add(arg, jobs, (size_t)n, reply);
	free(jobs);
}

static int command_approve_job(struct job *j, const struct control_request *r)
{
	int64_t now = instance_now();
	int done = -ENOENT;

	if (r->id)
		return engine_approve(j->engine, (unsigned)r->id, now);
	if (j->pin_broken) {
		connect_approve_pin(j);
		engine_kick(j->engine, now);
		done = 0;
	}
	if (j->tree->health == SOURCE_FROZEN && !j->tree->absent) {
		j->root_approved = true;
		source_adopt(j->tree->source);
		done = 0;
	}
	if (engine_approve(j->engine, 0, now) == 0) {
		job_adopt_identity(j);
		done = 0;
	}
	return done;
}

static bool commands_is_hold(const struct engine_hold *h, void *arg)
{
	unsigned *id = arg;

	if (h->id == *id)
		*id = 0;
	return *id != 0;
}

/* Sets are numbered within a job: a number that several have names none of them. */
static bool command_is_ambiguous(struct job *const *jobs, ssize_t n, unsigned id,
                                 struct control_reply *reply)
{
	struct buf names;
	unsigned found = 0;

	buf_init(&names, 400);
	for (ssize_t i = 0; i < n && id; i++) {
		unsigned wanted = id;

		engine_each_hold(jobs[i]->engine, commands_is_hold, &wanted);
		if (wanted == 0)
			buf_printf(&names, "%s%s", found++ ? ", " : "", jobs[i]->config->name);
	}
	if (found > 1)
		control_reply_error(reply, 409,
		                    "%u jobs hold a set %u (%.*s): say which: lockstep approve %u "
		                    "JOB",
		                    found, id, (int)names.n, names.p, id);
	buf_done(&names);
	return found > 1;
}

static void command_approve(void *arg, const struct control_request *r, struct control_reply *reply)
{
	struct job **jobs;
	ssize_t n = commands_jobs(arg, r, reply, &jobs);
	json_t *names;

	if (n > 1 && command_is_ambiguous(jobs, n, (unsigned)r->id, reply)) {
		free(jobs);
		return;
	}
	names = json_array();
	for (ssize_t i = 0; i < n; i++) {
		if (command_approve_job(jobs[i], r) == 0) {
			(void)json_array_append_new(names, json_string(jobs[i]->config->name));
			job_touch(jobs[i]);
		}
	}
	if (n >= 0) {
		if (json_array_size(names))
			control_reply_send(reply, 200, json_pack("{s:O}", "approved", names));
		else if (r->id == 0 && n > 0 && jobs[0]->tree->absent)
			control_reply_error(reply, 409,
			                    "%s is not there: nothing can be approved yet",
			                    jobs[0]->tree->config->root);
		else
			control_reply_error(
			        reply, 409,
			        "nothing is held under that number; see: lockstep held");
		free(jobs);
	}
	json_decref(names);
}

static void command_each(struct instance *in, const struct control_request *r,
                         struct control_reply *reply, void (*fn)(struct job *j))
{
	struct job **jobs;
	ssize_t n = commands_jobs(in, r, reply, &jobs);

	if (n < 0)
		return;
	for (ssize_t i = 0; i < n; i++) {
		fn(jobs[i]);
		job_touch(jobs[i]);
	}
	control_reply_send(reply, 200, json_pack("{s:I}", "jobs", (json_int_t)n));
	free(jobs);
}

static void job_pause(struct job *j)
{
	job_set_paused(j, true);
}

static void job_resume(struct job *j)
{
	job_set_paused(j, false);
}

static void job_kick(struct job *j)
{
	engine_kick(j->engine, instance_now());
}

static void command_pause(void *arg, const struct control_request *r, struct control_reply *reply)
{
	command_each(arg, r, reply, job_pause);
}

static void command_resume(void *arg, const struct control_request *r, struct control_reply *reply)
{
	command_each(arg, r, reply, job_resume);
}

static void command_kick(void *arg, const struct control_request *r, struct control_reply *reply)
{
	command_each(arg, r, reply, job_kick);
}

/* With repair everything is compared with the target by the engine, which sends what differs. */
static void command_verify(void *arg, const struct control_request *r, struct control_reply *reply)
{
	struct job **jobs;
	ssize_t n = commands_jobs(arg, r, reply, &jobs);

	if (n < 0)
		return;
	for (ssize_t i = 0; i < n && r->repair; i++) {
		engine_compare(jobs[i]->engine, r->checksum ? MARK_CONTENT : MARK_QUICK, 0,
		               instance_now());
		job_touch(jobs[i]);
	}
	if (r->repair)
		waits_add(arg, jobs, (size_t)n, reply);
	else
		waits_verify(arg, jobs, (size_t)n, reply, r->checksum);
	free(jobs);
}

static void command_reload(void *arg, const struct control_request *r, struct control_reply *reply)
{
	(void)r;
	reload_apply(arg, reply);
}

static void command_stop(void *arg, const struct control_request *r, struct control_reply *reply)
{
	(void)r;
	control_reply_send(reply, 200, json_pack("{s:b}", "stopping", 1));
	instance_stop(arg);
}

static void command_reopen_log(void *arg, const struct control_request *r,
                               struct control_reply *reply)
{
	struct err err = {0};

	(void)arg;
	(void)r;
	if (log_reopen(&err) < 0)
		control_reply_error(reply, 409, "%s", err.text);
	else
		control_reply_send(reply, 200, json_pack("{s:b}", "reopened", 1));
}

static void command_timed_out(void *arg, struct control_reply *reply)
{
	struct instance *in = arg;

	if (in->reload_reply == reply)
		in->reload_reply = NULL;
	waits_timed_out(in, reply);
}

static void command_forget(void *arg, struct control_reply *reply)
{
	struct instance *in = arg;

	if (in->reload_reply == reply)
		in->reload_reply = NULL;
	waits_forget(in, reply);
}

const struct control_ops command_ops = {
        .op =
                {
                        [CONTROL_STATUS] = command_status,
                        [CONTROL_HELD] = command_held,
                        [CONTROL_FAILED] = command_failed,
                        [CONTROL_WAIT] = command_wait,
                        [CONTROL_VERIFY] = command_verify,
                        [CONTROL_APPROVE] = command_approve,
                        [CONTROL_PAUSE] = command_pause,
                        [CONTROL_RESUME] = command_resume,
                        [CONTROL_KICK] = command_kick,
                        [CONTROL_RELOAD] = command_reload,
                        [CONTROL_STOP] = command_stop,
                        [CONTROL_REOPEN_LOG] = command_reopen_log,
                },
        .timed_out = command_timed_out,
        .forget = command_forget,
};
