#include <string.h>

#include "daemon/config_source.h"
#include "daemon/config_value.h"

static bool values_equal(enum config_of of, const void *a, const void *b)
{
	for (size_t i = 0; i < config_key_count; i++) {
		const struct config_key *key = &config_keys[i];

		if (key->of == of && !config_value_equal(key, (const char *)a + key->offset,
		                                         (const char *)b + key->offset))
			return false;
	}
	return true;
}

static bool rules_equal(const struct config_tree *a, const struct config_tree *b)
{
	if (a->rule_count != b->rule_count)
		return false;
	for (size_t i = 0; i < a->rule_count; i++) {
		if (a->rules[i].include != b->rules[i].include ||
		    strcmp(a->rules[i].pattern, b->rules[i].pattern) != 0)
			return false;
	}
	return true;
}

static const struct config_job *find_job(const struct config_tree *t, const char *name)
{
	for (size_t i = 0; i < t->job_count; i++) {
		if (strcmp(t->jobs[i].name, name) == 0)
			return &t->jobs[i];
	}
	return NULL;
}

static void diff_job(struct config_difference d, config_difference_fn *fn, void *arg)
{
	d.root_changed = d.rules_changed = false;
	if (!d.was || !d.now) {
		d.change = d.was ? CONFIG_REMOVED : CONFIG_ADDED;
	} else {
		d.target_changed = !target_equal(&d.was->target, &d.now->target);
		d.change = d.target_changed || !values_equal(CONFIG_OF_JOB, &d.was->options,
		                                             &d.now->options)
		                   ? CONFIG_CHANGED
		                   : CONFIG_SAME;
	}
	fn(&d, arg);
}

static void diff_tree(const struct config_tree *was, const struct config_tree *now,
                      config_difference_fn *fn, void *arg)
{
	struct config_difference d = {.was_tree = was, .now_tree = now};

	if (!was || !now) {
		d.change = was ? CONFIG_REMOVED : CONFIG_ADDED;
	} else {
		d.root_changed = strcmp(was->root, now->root) != 0;
		d.rules_changed = !rules_equal(was, now);
		d.change =
		        d.root_changed || d.rules_changed || !values_equal(CONFIG_OF_TREE, was, now)
		                ? CONFIG_CHANGED
		                : CONFIG_SAME;
	}
	fn(&d, arg);
	for (size_t i = 0; was && i < was->job_count; i++) {
		d.was = &was->jobs[i];
		d.now = now ? find_job(now, d.was->name) : NULL;
		diff_job(d, fn, arg);
	}
	for (size_t i = 0; now && i < now->job_count; i++) {
		d.was = NULL;
		d.now = &now->jobs[i];
		if (!was || !find_job(was, d.now->name))
			diff_job(d, fn, arg);
	}
}

void config_diff(const struct config *was, const struct config *now, config_difference_fn *fn,
                 void *arg)
{
	for (size_t i = 0; i < was->tree_count; i++)
		diff_tree(&was->trees[i], config_find_tree(now, was->trees[i].name), fn, arg);
	for (size_t i = 0; i < now->tree_count; i++) {
		if (!config_find_tree(was, now->trees[i].name))
			diff_tree(NULL, &now->trees[i], fn, arg);
	}
}

const char *config_diff_instance(const struct config *was, const struct config *now)
{
	if (strcmp(was->state_dir, now->state_dir) != 0)
		return "state";
	if (strcmp(was->socket_path, now->socket_path) != 0)
		return "socket";
	for (size_t i = 0; i < config_key_count; i++) {
		const struct config_key *key = &config_keys[i];

		if (key->of == CONFIG_OF_INSTANCE &&
		    !config_value_equal(key, (const char *)was + key->offset,
		                        (const char *)now + key->offset))
			return key->name;
	}
	return NULL;
}
