/*
 * waits: who waits for a barrier: clients of `wait`, and --once.
 *
 * Each tree concerned is asked for a drain; from then on a job is settled when nothing of it has a
 * born up to that number. Checked whenever the loop has run jobs, never by a timer.
 */
#include <errno.h>
#include "base/mem.h"
#include "base/path.h"
#include "daemon/runtime.h"
#include "daemon/status.h"

static void wait_free(struct wait *w)
{
	free(w->jobs);
	free(w->trees);
	free(w);
}

static void wait_ask(struct wait *w, struct tree *t)
{
	for (size_t i = 0; i < w->tree_count; i++) {
		if (w->trees[i].tree == t)
			return;
	}
	w->trees[w->tree_count].tree = t;
	w->trees[w->tree_count].token = ++t->instance->next_token;
	source_want_barrier(t->source, w->trees[w->tree_count].token);
	w->tree_count++;
}

static struct wait *wait_new(struct instance *in, struct job **jobs, size_t n,
                             struct control_reply *reply)
{
	struct wait *w = mem_alloc(sizeof(*w));

	w->reply = reply;
	w->jobs = mem_array(n + 1, sizeof(struct job *));
	w->trees = mem_array(n + 1, sizeof(*w->trees));
	for (size_t i = 0; i < n; i++) {
		w->jobs[w->job_count++] = jobs[i];
		wait_ask(w, jobs[i]->tree);
	}
	w->next = in->waits;
	in->waits = w;
	return w;
}

void waits_add(struct instance *in, struct job **jobs, size_t n, struct control_reply *reply)
{
	(void)wait_new(in, jobs, n, reply);
	waits_check(in);
}

void waits_verify(struct instance *in, struct job **jobs, size_t n, struct control_reply *reply,
                  bool checksum)
{
	struct wait *w = wait_new(in, jobs, n, reply);

	w->verify = true;
	w->checksum = checksum;
	waits_check(in);
}

/* What the ledgers believe is compared with the targets themselves before it counts as proof. */
void waits_once(struct instance *in)
{
	struct job *jobs[1024];
	size_t n = 0;

	INSTANCE_EACH_TREE(in, t)
	{
		TREE_EACH_JOB(t, i, j)
		{
			if (n < ARRAY_LEN(jobs))
				jobs[n++] = j;
			engine_compare(j->engine, MARK_QUICK, 0, instance_now());
		}
	}
	waits_add(in, jobs, n, NULL);
}

void waits_barrier(struct instance *in, struct tree *t, uint64_t token, uint64_t drain,
                   size_t unreadable)
{
	for (struct wait *w = in->waits; w; w = w->next) {
		for (size_t i = 0; i < w->tree_count; i++) {
			if (w->trees[i].tree == t && w->trees[i].token == token) {
				w->trees[i].known = true;
				w->trees[i].drain = drain;
				w->trees[i].unreadable = unreadable;
			}
		}
	}
	/* What came into doubt while nothing was to be done is asked about now. */
	TREE_EACH_JOB(t, i, j)
	{
		job_touch(j);
	}
}

static enum engine_settled wait_job(struct wait *w, struct job *j)
{
	for (size_t i = 0; i < w->tree_count; i++) {
		if (w->trees[i].tree != j->tree)
			continue;
		/* A frozen tree, once it has said why, has no drain to give, and a crawl that found
		 * more than a paused job can take does not end. */
		if (!w->trees[i].known)
			return (j->tree->health == SOURCE_FROZEN && j->tree->text[0]) ||
			                       (j->set_room == 0 && engine_idle(j->engine))
			               ? ENGINE_STUCK
			               : ENGINE_PENDING;
		enum engine_settled settled =
		        engine_settled(j->engine, w->trees[i].drain, instance_now());

		/* What nobody could look at is confirmed nowhere. */
		if (settled == ENGINE_SETTLED && w->trees[i].unreadable)
			return ENGINE_STUCK;
		return settled;
	}
	return ENGINE_SETTLED;
}

/* What is named of each kind; the rest is counted. */
#define NAMED 20

struct naming {
	struct job *job;
	json_t *array;
};

static bool wait_name_failure(const struct engine_failure *f, void *arg)
{
	struct naming *n = arg;

	(void)json_array_append_new(n->array,
	                            status_failure_json(n->job->config->name, f, instance_now()));
	return json_array_size(n->array) < NAMED;
}

static bool wait_name_hold(const struct engine_hold *h, void *arg)
{
	struct naming *n = arg;
	struct engine_hold some = *h;
	json_t *held;

	some.count = h->count < NAMED ? h->count : NAMED;
	held = status_hold_json(n->job->config->name, &some, instance_now(), clock_wall_ns());
	(void)json_object_set_new(held, "count", json_integer((json_int_t)h->count));
	(void)json_array_append_new(n->array, held);
	return json_array_size(n->array) < NAMED;
}

static bool wait_name_mark(const struct mark *m, bool in_flight, void *arg)
{
	struct naming *n = arg;

	(void)in_flight;
	(void)json_array_append_new(n->array, status_name_json(m->path));
	return json_array_size(n->array) < NAMED;
}

static json_t *wait_remaining_job(struct job *j, enum engine_settled settled)
{
	struct naming failed = {j, json_array()}, held = {j, json_array()},
	              waiting = {j, json_array()};
	struct engine_status s;

	job_status(j, &s);
	engine_each_failure(j->engine, wait_name_failure, &failed);
	if (settled == ENGINE_STUCK) /* a set that was shown grows no more: not while it may */
		engine_each_hold(j->engine, wait_name_hold, &held);
	engine_each_mark(j->engine, wait_name_mark, &waiting);
	return json_pack(
	        "{s:o, s:o, s:s, s:s, s:o, s:I, s:I, s:I, s:I, s:o, s:o, s:o}", "job",
	        status_name_json(bytes_of(j->config->name)), "target",
	        status_name_json(bytes_of(j->config->target_text)), "settled",
	        settled == ENGINE_STUCK ? "stuck" : "pending", "state", engine_state_word(s.state),
	        "text",
	        status_text_json(s.text[0] && s.state != ENGINE_FROZEN ? s.text : j->tree->text),
	        "pending", (json_int_t)(s.pending + s.in_flight + s.zombies), "failed",
	        (json_int_t)s.failed, "held", (json_int_t)s.held, "zombies", (json_int_t)s.zombies,
	        "failures", failed.array, "holds", held.array, "waiting", waiting.array);
}

/* {"settled": "yes|stuck|pending", "jobs": [those that are not]}, see control.h */
static json_t *wait_json(struct wait *w, enum engine_settled *ret_all)
{
	json_t *left = json_array();
	enum engine_settled all = ENGINE_SETTLED;

	for (size_t i = 0; i < w->job_count; i++) {
		enum engine_settled s = wait_job(w, w->jobs[i]);

		if (s == ENGINE_SETTLED)
			continue;
		if (all != ENGINE_PENDING)
			all = s;
		(void)json_array_append_new(left, wait_remaining_job(w->jobs[i], s));
	}
	*ret_all = all;
	return json_pack("{s:s, s:o}", "settled",
	                 all == ENGINE_SETTLED ? "yes"
	                 : all == ENGINE_STUCK ? "stuck"
	                                       : "pending",
	                 "jobs", left);
}

static bool wait_over(struct wait *w)
{
	enum engine_settled all = ENGINE_SETTLED;

	for (size_t i = 0; i < w->job_count && all != ENGINE_PENDING; i++) {
		enum engine_settled s = wait_job(w, w->jobs[i]);

		if (s != ENGINE_SETTLED)
			all = s;
	}
	return all != ENGINE_PENDING;
}

void waits_check(struct instance *in)
{
	for (struct wait **p = &in->waits; *p;) {
		struct wait *w = *p;
		enum engine_settled all;

		if (!wait_over(w)) {
			p = &w->next;
			continue;
		}
		*p = w->next;
		json_t *body = wait_json(w, &all);

		if (w->reply && w->verify) {
			verify_begin(in, w->reply, body, w->checksum, w->jobs, w->job_count);
		} else if (w->reply) {
			control_reply_send(w->reply, 200, body);
		} else {
			in->once_result = all == ENGINE_SETTLED ? 0 : -EUCLEAN;
			in->once_left = body;
			instance_stop(in);
		}
		wait_free(w);
	}
}

static void waits_remove(struct instance *in, struct control_reply *reply, bool answer)
{
	for (struct wait **p = &in->waits; *p; p = &(*p)->next) {
		struct wait *w = *p;
		enum engine_settled all;

		if (w->reply != reply)
			continue;
		*p = w->next;
		if (answer)
			control_reply_send(reply, 504, wait_json(w, &all));
		wait_free(w);
		return;
	}
}

void waits_forget(struct instance *in, struct control_reply *reply)
{
	waits_remove(in, reply, false);
	verify_forget(in, reply);
}

void waits_timed_out(struct instance *in, struct control_reply *reply)
{
	waits_remove(in, reply, true);
	verify_timed_out(in, reply);
}

static bool wait_has(const struct wait *w, const struct job *j)
{
	for (size_t i = 0; i < w->job_count; i++) {
		if (w->jobs[i] == j)
			return true;
	}
	return false;
}

/* A job that is no more cannot be said to be settled. */
void waits_forget_job(struct instance *in, struct job *j)
{
	verify_forget_job(j);
	for (struct wait **p = &in->waits; *p;) {
		struct wait *w = *p;

		if (!wait_has(w, j)) {
			p = &w->next;
			continue;
		}
		*p = w->next;
		if (w->reply)
			control_reply_error(w->reply, 409, "%s ended while it was waited for",
			                    j->config->name);
		wait_free(w);
	}
}
