#include "daemon/status.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/path.h"

#define PATHS_SHOWN 100
#define MS_NS       INT64_C(1000000)
#define SECOND_NS   INT64_C(1000000000)

const char *status_health_word(enum source_health health)
{
	switch (health) {
	case SOURCE_LIVE:
		return "live";
	case SOURCE_FROZEN:
		return "frozen";
	case SOURCE_DEGRADED:
		return "degraded";
	}
	return "?";
}

json_t *status_name_json(struct bytes name)
{
	struct buf text;
	json_t *j;

	buf_init(&text, 4 * PATH_BYTES_MAX);
	path_percent(&text, name);
	j = json_stringn(text.n ? text.p : "", text.n);
	buf_done(&text);
	return j ? j : json_string("");
}

/* Words for people: printable, but perhaps cut inside a character. NULL and "": null. */
json_t *status_text_json(const char *text)
{
	json_t *j;

	if (!text || !text[0])
		return json_null();
	j = json_string(text);
	for (size_t n = strlen(text), cut = 0; !j && cut < 4 && n > cut; cut++)
		j = json_stringn(text, n - cut);
	return j ? j : status_name_json(bytes_of(text));
}

static json_t *time_json(int64_t wall_ns)
{
	time_t s = (time_t)(wall_ns / SECOND_NS);
	struct tm tm;
	char day[32], text[48];

	if (!gmtime_r(&s, &tm) || strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm) == 0)
		return json_null();
	(void)snprintf(text, sizeof(text), "%s.%03dZ", day, (int)(wall_ns % SECOND_NS / MS_NS));
	return json_string(text);
}

/* A moment on CLOCK_BOOTTIME as wall clock time; 0: never. */
static json_t *moment_json(int64_t at_ns, int64_t now_ns, int64_t now_wall_ns)
{
	return at_ns == 0 ? json_null() : time_json(now_wall_ns - (now_ns - at_ns));
}

static json_t *until_json(int64_t at_ns, int64_t now_ns)
{
	if (at_ns == 0)
		return json_null();
	return json_integer(at_ns > now_ns ? (at_ns - now_ns) / MS_NS : 0);
}

static void put(json_t *object, const char *key, json_t *value)
{
	check(json_object_set_new(object, key, value) == 0);
}

static void put_count(json_t *object, const char *key, uint64_t n)
{
	put(object, key, json_integer((json_int_t)(n > INT64_MAX ? INT64_MAX : n)));
}

static json_t *tree_json(const struct status_tree *t)
{
	json_t *j = json_object();

	put(j, "name", status_name_json(bytes_of(t->name)));
	put(j, "root", status_name_json(bytes_of(t->root)));
	put(j, "state", json_string(status_health_word(t->health)));
	put(j, "text", status_text_json(t->text));
	put(j, "silent", json_boolean(t->silent));
	put(j, "crawling", json_boolean(t->crawling));
	put_count(j, "dirs", t->dirs);
	put_count(j, "entries", t->entries);
	put_count(j, "overflows", t->overflows);
	put_count(j, "watches", t->watches);
	put_count(j, "unreadable", t->unreadable);
	return j;
}

/* How far the first sync is: null outside of it; eta_s null until a rate is known. */
static json_t *progress_json(const struct status_job *job, int64_t now_ns)
{
	const struct engine_status *e = &job->engine;
	uint64_t total = job->sync_total, done = e->confirmed > total ? total : e->confirmed;
	uint64_t before = job->sync_confirmed_before;
	json_t *eta = json_null();

	if (e->state != ENGINE_FIRST_SYNC)
		return json_null();
	if (total == 0)
		return json_pack("{s:n,s:n}", "percent", "eta_s");
	if (job->sync_began_ns > 0 && now_ns > job->sync_began_ns && done > before) {
		double seconds = (double)(now_ns - job->sync_began_ns) / (double)SECOND_NS;

		eta = json_integer(
		        (json_int_t)((double)(total - done) * seconds / (double)(done - before)));
	}
	uint64_t permille = done * 1000 / total;

	return json_pack("{s:f,s:o}", "percent", (double)permille / 10.0, "eta_s", eta);
}

static void put_counters(json_t *j, const struct status_job *job)
{
	const struct engine_status *e = &job->engine;

	put_count(j, "pending", e->pending);
	put_count(j, "pending_bytes", e->pending_bytes);
	put_count(j, "in_flight", e->in_flight);
	put_count(j, "failed", e->failed);
	put_count(j, "held", e->held);
	put_count(j, "kept", e->kept);
	if (job->extras == UINT64_MAX)
		put(j, "extras", json_null());
	else
		put_count(j, "extras", job->extras);
	put_count(j, "zombies", e->zombies);
	put_count(j, "confirmed_files", e->confirmed);
	put_count(j, "entries", e->entries);
	put_count(j, "bytes_out", e->bytes_out);
	put_count(j, "bytes_in", e->bytes_in);
	put_count(j, "sessions", e->sessions);
}

static json_t *job_json(const struct status_job *job, const struct status_input *in)
{
	const struct engine_status *e = &job->engine;
	json_t *j = json_object();

	put(j, "name", status_name_json(bytes_of(job->name)));
	put(j, "tree", status_name_json(bytes_of(job->tree)));
	put(j, "target", status_name_json(bytes_of(job->target)));
	put(j, "state", json_string(engine_state_word(e->state)));
	put(j, "trouble",
	    e->trouble == TROUBLE_NONE ? json_null() : json_string(trouble_word(e->trouble)));
	put(j, "text", status_text_json(e->text));
	put(j, "note", status_text_json(e->note));
	put(j, "lag_ms", json_integer(e->lag_ns / MS_NS));
	put_counters(j, job);
	put(j, "retry_in_ms", until_json(e->retry_ns, in->now_ns));
	put(j, "last_confirmed", moment_json(e->last_confirmed_ns, in->now_ns, in->now_wall_ns));
	put_count(j, "generation", e->generation);
	put(j, "stamp_proven", json_boolean(e->stamp_proven));
	put(j, "protocol", e->protocol ? json_integer(e->protocol) : json_null());
	put(j, "compress", job->compress ? json_string(job->compress) : json_null());
	put(j, "progress", progress_json(job, in->now_ns));
	return j;
}

json_t *status_json(const struct status_input *in)
{
	json_t *root = json_object(), *trees = json_array(), *jobs = json_array();

	put(root, "instance", status_name_json(bytes_of(in->instance)));
	put(root, "pid", json_integer(in->pid));
	put(root, "version", json_string(LOCKSTEP_VERSION));
	put(root, "started", time_json(in->started_wall_ns));
	put(root, "now", time_json(in->now_wall_ns));
	for (size_t i = 0; i < in->tree_count; i++)
		check(json_array_append_new(trees, tree_json(&in->trees[i])) == 0);
	for (size_t i = 0; i < in->job_count; i++)
		check(json_array_append_new(jobs, job_json(&in->jobs[i], in)) == 0);
	put(root, "trees", trees);
	put(root, "jobs", jobs);
	return root;
}

json_t *status_hold_json(const char *job, const struct engine_hold *hold, int64_t now_ns,
                         int64_t now_wall_ns)
{
	json_t *j = json_object(), *paths = json_array();

	for (size_t i = 0; i < hold->count && i < PATHS_SHOWN && hold->paths; i++)
		check(json_array_append_new(paths, status_name_json(hold->paths[i])) == 0);
	put(j, "job", status_name_json(bytes_of(job)));
	put(j, "id", json_integer(hold->id));
	put(j, "rule", status_text_json(hold->rule));
	put_count(j, "count", hold->count);
	put(j, "since", moment_json(hold->since_ns, now_ns, now_wall_ns));
	put(j, "paths", paths);
	return j;
}

json_t *status_failure_json(const char *job, const struct engine_failure *failure, int64_t now_ns)
{
	json_t *j = json_object();

	put(j, "job", status_name_json(bytes_of(job)));
	put(j, "path", status_name_json(failure->path));
	put(j, "text", status_text_json(failure->text));
	put(j, "side", json_string(failure->source_side ? "source" : "target"));
	put(j, "retry_in_ms", until_json(failure->retry_ns, now_ns));
	return j;
}
