#include "daemon/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "daemon/config_source.h"
#include "daemon/config_state.h"
#include "daemon/config_value.h"

static void free_values(enum config_of of, void *base)
{
	for (size_t i = 0; i < config_key_count; i++) {
		if (config_keys[i].of == of)
			config_value_free(&config_keys[i], (char *)base + config_keys[i].offset);
	}
}

static void job_done(struct config_job *job)
{
	free(job->name);
	free(job->target_text);
	target_done(&job->target);
	free_values(CONFIG_OF_JOB, &job->options);
}

static void tree_done(struct config_tree *t)
{
	for (size_t i = 0; i < t->job_count; i++)
		job_done(&t->jobs[i]);
	free(t->jobs);
	for (size_t i = 0; i < t->rule_count; i++)
		free((char *)t->rules[i].pattern); /* made by config_build() */
	free(t->rules);
	free(t->name);
	free(t->root);
	free_values(CONFIG_OF_TREE, t);
}

void config_free(struct config *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->tree_count; i++)
		tree_done(&c->trees[i]);
	free(c->trees);
	free(c->name);
	free(c->socket_path);
	free_values(CONFIG_OF_INSTANCE, c); /* state_dir and log_file are values of keys */
	config_source_free(c->source);
	free(c);
}

/* --state, then key `state`, then the default; with a directory given the socket lies in it. */
static int place_state(struct config *c, struct err *err)
{
	const char *asked = c->source->request_state;
	autofree char *given = NULL;
	int rc;

	if (asked) {
		rc = target_path_normalise(&given, asked, err);
		if (rc < 0)
			return err_wrap(err, "--state");
	} else {
		given = mem_strdup(c->state_dir);
	}
	free(TAKE(c->state_dir));
	return state_paths(c->name, given, &c->state_dir, &c->socket_path, err);
}

int config_load(struct config **ret, const struct config_request *request, struct err *err)
{
	struct config *c = mem_alloc(sizeof(*c));
	struct config_problems problems = {request->problem, request->problem_arg, err, 0};
	int rc;

	c->name = mem_strdup(request->name ? request->name : "main");
	c->source = config_source_new(request);
	rc = config_source_read(c->source, &problems, err);
	if (rc == 0) {
		config_build(c, &problems);
		rc = place_state(c, problems.count ? NULL : err);
	}
	if (rc == 0 && problems.count == 0)
		config_check(c, &problems);
	if (problems.count > 0)
		rc = -EINVAL;
	if (rc < 0) {
		config_free(c);
		return rc;
	}
	*ret = c;
	return 0;
}

int config_reload(struct config **ret, const struct config *old, struct err *err)
{
	const struct config_source *s = old->source;
	struct config_request request = {
	        .file = s->request_file,
	        .name = s->request_name,
	        .state = s->request_state,
	        .root = s->request_root,
	        .targets = (const char *const *)s->targets.items,
	        .target_count = s->targets.count,
	        .sets = (const char *const *)s->sets.items,
	        .set_count = s->sets.count,
	};

	return config_load(ret, &request, err);
}

const struct config_tree *config_find_tree(const struct config *c, const char *name)
{
	for (size_t i = 0; i < c->tree_count; i++) {
		if (strcmp(c->trees[i].name, name) == 0)
			return &c->trees[i];
	}
	return NULL;
}

const struct config_job *config_find_job(const struct config *c, const char *name,
                                         const struct config_tree **ret_tree)
{
	for (size_t i = 0; i < c->tree_count; i++) {
		const struct config_tree *t = &c->trees[i];

		for (size_t j = 0; j < t->job_count; j++) {
			if (strcmp(t->jobs[j].name, name) != 0)
				continue;
			if (ret_tree)
				*ret_tree = t;
			return &t->jobs[j];
		}
	}
	return NULL;
}

int config_read_password(const struct config_job *job, char **ret, struct err *err)
{
	const char *credentials = getenv("CREDENTIALS_DIRECTORY");
	autofree char *path = NULL;

	*ret = NULL;
	if (job->options.password_file)
		return fd_read_secret(job->options.password_file, ret, err);
	if (!credentials || credentials[0] != '/')
		return 0;
	path = mem_printf("%s/lockstep.%s", credentials, job->name);
	/* systemd makes these 0400 and owned by the unit's user. */
	int rc = fd_read_secret(path, ret, err);

	return rc == -ENOENT ? 0 : rc;
}
