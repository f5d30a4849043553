#include "daemon/control_request.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/path.h"

/* Members that a body may have. */
enum member {
	MEMBER_JOBS = 1,
	MEMBER_JOB = 2,
	MEMBER_TIMEOUT = 4,
	MEMBER_ID = 8,
	MEMBER_VERIFY = 16
};

static const struct verb {
	const char *path;
	bool post;
	unsigned members; /* enum member */
} verbs[CONTROL_VERBS] = {
        [CONTROL_STATUS] = {"/v1/status", false, 0},
        [CONTROL_HELD] = {"/v1/held", false, 0},
        [CONTROL_FAILED] = {"/v1/failed", false, 0},
        [CONTROL_WAIT] = {"/v1/wait", true, MEMBER_JOBS | MEMBER_TIMEOUT},
        [CONTROL_VERIFY] = {"/v1/verify", true, MEMBER_JOBS | MEMBER_TIMEOUT | MEMBER_VERIFY},
        [CONTROL_APPROVE] = {"/v1/approve", true, MEMBER_JOB | MEMBER_ID},
        [CONTROL_PAUSE] = {"/v1/pause", true, MEMBER_JOBS},
        [CONTROL_RESUME] = {"/v1/resume", true, MEMBER_JOBS},
        [CONTROL_KICK] = {"/v1/kick", true, MEMBER_JOBS},
        [CONTROL_RELOAD] = {"/v1/reload", true, 0},
        [CONTROL_STOP] = {"/v1/stop", true, 0},
        [CONTROL_REOPEN_LOG] = {"/v1/reopen-log", true, 0},
};

const char *control_verb_path(enum control_verb verb)
{
	return verbs[verb].path;
}

bool control_verb_is_post(enum control_verb verb)
{
	return verbs[verb].post;
}

unsigned control_find_verb(const char *method, const char *path, enum control_verb *ret_verb)
{
	for (int i = 0; i < CONTROL_VERBS; i++) {
		if (strcmp(path, verbs[i].path) != 0)
			continue;
		if (strcmp(method, verbs[i].post ? "POST" : "GET") != 0)
			return 405;
		*ret_verb = (enum control_verb)i;
		return 0;
	}
	return 404;
}

static int take_bool(json_t *value, const char *name, bool *ret, struct err *err)
{
	if (!json_is_boolean(value))
		return err_set(err, EINVAL, "\"%s\" is not true or false", name);
	*ret = json_is_true(value);
	return 0;
}

static int take_number(json_t *value, const char *name, json_int_t max, json_int_t *ret,
                       struct err *err)
{
	if (!json_is_integer(value) || json_integer_value(value) < 0 ||
	    json_integer_value(value) > max)
		return err_set(err, EINVAL, "\"%s\" is no whole number from 0 to %lld", name,
		               (long long)max);
	*ret = json_integer_value(value);
	return 0;
}

static int take_jobs(struct control_parsed *p, json_t *value, struct err *err)
{
	size_t n = json_array_size(value);

	if (!json_is_array(value) || n > CONTROL_JOBS_MAX)
		return err_set(err, EINVAL, "\"jobs\" is no list of at most %d names",
		               CONTROL_JOBS_MAX);
	p->jobs = n ? mem_array(n, sizeof(p->jobs[0])) : NULL;
	for (size_t i = 0; i < n; i++) {
		p->jobs[i] = json_string_value(json_array_get(value, i));
		if (!p->jobs[i])
			return err_set(err, EINVAL, "\"jobs\" holds something that is no name");
	}
	p->request.jobs = p->jobs;
	p->request.job_count = n;
	return 0;
}

static int take_job(struct control_parsed *p, json_t *value, struct err *err)
{
	if (!json_is_string(value))
		return err_set(err, EINVAL, "\"job\" is no name");
	p->jobs = mem_array(1, sizeof(p->jobs[0]));
	p->jobs[0] = json_string_value(value);
	p->request.jobs = p->jobs;
	p->request.job_count = 1;
	return 0;
}

static int take_member(struct control_parsed *p, const char *name, json_t *value, struct err *err)
{
	unsigned members = verbs[p->request.verb].members;
	json_int_t n = 0;
	int rc;

	if (members & MEMBER_JOBS && strcmp(name, "jobs") == 0)
		return take_jobs(p, value, err);
	if (members & MEMBER_JOB && strcmp(name, "job") == 0)
		return take_job(p, value, err);
	if (members & MEMBER_TIMEOUT && strcmp(name, "timeout_ms") == 0) {
		rc = take_number(value, name, INT64_MAX / 1000000, &n, err);
		p->request.timeout_ns = (int64_t)n * 1000000;
		return rc;
	}
	if (members & MEMBER_ID && strcmp(name, "id") == 0) {
		rc = take_number(value, name, UINT32_MAX, &n, err);
		p->request.id = (uint64_t)n;
		return rc;
	}
	if (members & MEMBER_VERIFY && strcmp(name, "repair") == 0)
		return take_bool(value, name, &p->request.repair, err);
	if (members & MEMBER_VERIFY && strcmp(name, "checksum") == 0)
		return take_bool(value, name, &p->request.checksum, err);
	return err_set(err, EINVAL, "unknown member \"%s\"", path_show(bytes_of(name)));
}

int control_parse(struct control_parsed *ret, enum control_verb verb, struct bytes body,
                  struct err *err)
{
	struct control_parsed p = {.request = {.verb = verb, .timeout_ns = INT64_MAX}};
	json_error_t where;
	const char *name;
	json_t *value;
	int rc = 0;

	if (body.n > 0) {
		p.body = json_loadb(body.p, body.n, JSON_REJECT_DUPLICATES, &where);
		if (!p.body)
			return err_set(err, EINVAL, "the body is no JSON: %s",
			               path_show(bytes_of(where.text)));
		if (!json_is_object(p.body))
			rc = err_set(err, EINVAL, "the body is no JSON object");
	}
	json_object_foreach(p.body, name, value)
	{
		if (rc == 0)
			rc = take_member(&p, name, value, err);
	}
	if (rc == 0 && verb == CONTROL_APPROVE && !json_object_get(p.body, "id"))
		rc = err_set(err, EINVAL, "\"id\" is missing");
	if (rc < 0)
		control_parsed_done(&p);
	else
		*ret = p;
	return rc;
}

void control_parsed_done(struct control_parsed *p)
{
	free(p->jobs);
	json_decref(p->body);
	*p = (struct control_parsed){0};
}
