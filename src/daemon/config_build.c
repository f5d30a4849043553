/*
 * From lines to trees and jobs. For every key of the table the value of the narrowest section that
 * gives it is taken; lists gather all of them, narrowest first.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/path.h"
#include "daemon/config_source.h"
#include "daemon/config_value.h"

#define NO_PART SIZE_MAX

static void tell(struct config_problems *problems, struct config_line *l, const struct err *e)
{
	if (!l->told)
		config_problem(problems, l->file, l->line, "%s = %s: %s", l->key->name,
		               l->value[0] ? path_show(bytes_of(l->value)) : "", e->text);
	l->told = true;
}

static void parse_line(struct config_line *l, void *slot, struct config_problems *problems)
{
	struct err e = {0};

	if (config_value_parse(l->key, l->value, slot, &e) < 0)
		tell(problems, l, &e);
}

/* One key from up to three parts, narrowest first. */
static void fill_value(struct config_source *s, const struct config_key *key, const size_t *parts,
                       size_t part_count, void *slot, struct config_problems *problems)
{
	bool found = false;

	for (size_t p = 0; p < part_count; p++) {
		for (size_t i = 0; i < s->line_count; i++) {
			struct config_line *l = &s->lines[i];

			if (l->key != key || l->part != parts[p])
				continue;
			parse_line(l, slot, problems);
			found = true;
		}
		if (found && !config_key_adds_up(key))
			return;
	}
	if (!found && key->preset) {
		struct err e = {0};

		check(config_value_parse(key, key->preset, slot, &e) == 0);
	}
}

static void fill_values(struct config_source *s, enum config_of of, const size_t *parts,
                        size_t part_count, void *base, struct config_problems *problems)
{
	for (size_t k = 0; k < config_key_count; k++) {
		const struct config_key *key = &config_keys[k];

		if (key->of == of)
			fill_value(s, key, parts, part_count, (char *)base + key->offset, problems);
	}
}

static void fill_options(struct config_source *s, const size_t *parts, size_t part_count,
                         struct config_options *o, struct config_problems *problems)
{
	o->chmod = (struct config_chmod){07777, 0, 07777, 0};
	fill_values(s, CONFIG_OF_JOB, parts, part_count, o, problems);
}

static void add_rules(struct config_tree *t, const struct config_source *s, size_t part)
{
	for (size_t i = 0; i < s->line_count; i++) {
		const struct config_line *l = &s->lines[i];

		if (l->key->type != CONFIG_RULE || l->part != part)
			continue;
		t->rules = mem_realloc(t->rules, t->rule_count + 1, sizeof(t->rules[0]));
		t->rules[t->rule_count++] = (struct filter_rule){
		        .include = strcmp(l->key->name, "include") == 0,
		        .pattern = mem_strdup(l->value),
		        .file = l->file,
		        .line = l->line,
		};
	}
}

static void check_rules(const struct config_tree *t, struct config_problems *problems)
{
	struct filter *filter;
	struct err e = {0};

	if (t->rule_count == 0)
		return;
	if (filter_new(&filter, t->rules, t->rule_count, &e) < 0) {
		problems->count++;
		if (problems->count == 1 && problems->first)
			*problems->first = e;
		if (problems->fn)
			problems->fn(e.text, problems->arg);
		return;
	}
	filter_free(filter);
}

/* Takes the name. parts: narrowest first. */
static void add_job(struct config_source *s, struct config_tree *t, char *name,
                    struct config_line *address, const size_t *parts, size_t part_count,
                    struct config_problems *problems)
{
	struct config_job job = {
	        .name = name,
	        .target_text = mem_strdup(address->value),
	        .file = address->file,
	        .line = address->line,
	};
	struct err e = {0};

	if (target_parse(&job.target, address->value, &e) < 0) {
		/* The text may hold a password: the reason alone is told. */
		config_problem(problems, address->file, address->line, "target: %s", e.text);
		address->told = true;
		free(job.name);
		free(job.target_text);
		return;
	}
	if (t->job_count == CONFIG_JOBS_MAX) {
		config_problem(problems, address->file, address->line,
		               "[tree %s] has more than %d targets", t->name, CONFIG_JOBS_MAX);
		free(job.name);
		free(job.target_text);
		target_done(&job.target);
		return;
	}
	fill_options(s, parts, part_count, &job.options, problems);
	if (job.target.kind == TARGET_SSH && job.target.port == 0)
		job.target.port = (uint16_t)job.options.ssh_port;
	if (job.options.tls)
		target_use_tls(&job.target);
	t->jobs = mem_realloc(t->jobs, t->job_count + 1, sizeof(t->jobs[0]));
	t->jobs[t->job_count++] = job;
}

static void add_numbered_jobs(struct config_source *s, struct config_tree *t, size_t part,
                              struct config_problems *problems)
{
	const size_t parts[] = {part, 0};
	unsigned number = 0;

	for (size_t i = 0; i < s->line_count; i++) {
		struct config_line *l = &s->lines[i];

		if (l->part == part && l->key->type == CONFIG_ADDRESS)
			add_job(s, t, mem_printf("%s.%u", t->name, ++number), l, parts, 2,
			        problems);
	}
}

static struct config_line *find_line(struct config_source *s, size_t part, const char *key)
{
	for (size_t i = 0; i < s->line_count; i++) {
		if (s->lines[i].part == part && strcmp(s->lines[i].key->name, key) == 0)
			return &s->lines[i];
	}
	return NULL;
}

/* The part of the tree that a [target NAME] section belongs to, or NO_PART (told). */
static size_t tree_of_target(struct config_source *s, size_t part, struct config_problems *problems)
{
	const struct config_part *p = &s->parts[part];
	const struct config_line *l = find_line(s, part, "tree");

	for (size_t i = part; !l && i-- > 1;) {
		if (s->parts[i].bit == CONFIG_TREE && s->parts[i].file == p->file)
			return i;
	}
	for (size_t i = 1; l && i < s->part_count; i++) {
		if (s->parts[i].bit == CONFIG_TREE && strcmp(s->parts[i].name, l->value) == 0)
			return i;
	}
	if (l)
		config_problem(problems, l->file, l->line, "there is no [tree %s]",
		               path_show(bytes_of(l->value)));
	else
		config_problem(problems, p->file, p->line,
		               "[target %s] belongs to no tree: write \"tree = NAME\" into it",
		               p->name);
	return NO_PART;
}

static void add_named_jobs(struct config_source *s, struct config *c, const size_t *tree_of_part,
                           struct config_problems *problems)
{
	for (size_t i = 1; i < s->part_count; i++) {
		const struct config_part *p = &s->parts[i];
		struct config_line *address;
		size_t tree;

		if (p->bit != CONFIG_TARGET)
			continue;
		tree = tree_of_target(s, i, problems);
		address = find_line(s, i, "target");
		if (!address)
			config_problem(problems, p->file, p->line,
			               "[target %s] has no address: write \"target = ...\" into it",
			               p->name);
		if (tree == NO_PART || !address || tree_of_part[tree] == NO_PART)
			continue;
		const size_t parts[] = {i, tree, 0};

		add_job(s, &c->trees[tree_of_part[tree]], mem_strdup(p->name), address, parts, 3,
		        problems);
	}
}

static void build_tree(struct config_source *s, struct config_tree *t, size_t part,
                       struct config_problems *problems)
{
	const struct config_part *p = &s->parts[part];
	struct config_line *root = find_line(s, part, "root");
	const size_t parts[] = {part, 0};
	struct err e = {0};

	t->name = mem_strdup(p->name);
	t->file = p->file;
	t->line = p->line;
	if (!root)
		config_problem(problems, p->file, p->line,
		               "[tree %s] has no root: write \"root = /...\" into it", p->name);
	else if (target_path_normalise(&t->root, root->value, &e) < 0)
		tell(problems, root, &e);
	fill_values(s, CONFIG_OF_TREE, parts, 2, t, problems);
	add_rules(t, s, part);
	add_rules(t, s, 0);
	check_rules(t, problems);
	add_numbered_jobs(s, t, part, problems);
}

void config_build(struct config *c, struct config_problems *problems)
{
	struct config_source *s = c->source;
	const size_t top = 0;
	autofree size_t *tree_of_part = mem_array(s->part_count, sizeof(*tree_of_part));

	fill_values(s, CONFIG_OF_INSTANCE, &top, 1, c, problems);
	c->trees = mem_array(s->part_count, sizeof(c->trees[0]));
	for (size_t i = 0; i < s->part_count; i++) {
		tree_of_part[i] = NO_PART;
		if (s->parts[i].bit != CONFIG_TREE)
			continue;
		if (c->tree_count == CONFIG_TREES_MAX) {
			config_problem(problems, s->parts[i].file, s->parts[i].line,
			               "more than %d trees", CONFIG_TREES_MAX);
			break;
		}
		tree_of_part[i] = c->tree_count;
		build_tree(s, &c->trees[c->tree_count++], i, problems);
	}
	add_named_jobs(s, c, tree_of_part, problems);
}
