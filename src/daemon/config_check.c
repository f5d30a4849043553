/*
 * Checks between values: nothing is mirrored into itself, no two jobs write the same place, neither
 * state nor log lie in a tree, where each write of theirs would be a change, and the state lies in
 * no target.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/path.h"
#include "daemon/config_place.h"
#include "daemon/config_source.h"

struct spot {
	const struct config_tree *tree;
	const struct config_job *job;
	struct place place; /* LOCAL targets only */
};

static void check_root(const struct config *c, const struct config_tree *t,
                       struct config_problems *problems)
{
	bool from_command_line = c->source->request_file == NULL;
	struct stat st;

	if (stat(t->root, &st) < 0) {
		/* A configured root may be mounted later; one that was typed just now is a mistake.
		 */
		if (from_command_line)
			config_problem(problems, t->file, t->line, "the source %s: %s",
			               path_show(bytes_of(t->root)), strerror(errno));
		return;
	}
	if (!S_ISDIR(st.st_mode))
		config_problem(problems, t->file, t->line, "the root %s is no directory",
		               path_show(bytes_of(t->root)));
}

static void check_target(const struct config *c, const struct config_job *j,
                         struct config_problems *problems)
{
	const char *path = j->target.path;
	struct stat st;

	if (j->target.tls && j->options.tls_key && !j->options.tls_cert)
		config_problem(problems, j->file, j->line,
		               "%s has tls_key without tls_cert: write the file of its certificate",
		               j->name);
	if (j->target.kind != TARGET_LOCAL)
		return;
	if (stat(path, &st) < 0) {
		/* As with the root: what a file names may be mounted later. */
		if (c->source->request_file == NULL)
			config_problem(problems, j->file, j->line,
			               "the target %s: %s. Create it or mount it",
			               path_show(bytes_of(path)), strerror(errno));
	} else if (!S_ISDIR(st.st_mode)) {
		config_problem(problems, j->file, j->line, "the target %s is no directory",
		               path_show(bytes_of(path)));
	}
}

/* The receiver maps the names in ACLs along: several of an ACL would become one. */
static void check_acls(const struct config_job *j, struct config_problems *problems)
{
	const struct config_options *o = &j->options;

	if (o->acls &&
	    ((o->chown.user && !o->chown.user_is_id) || (o->chown.group && !o->chown.group_is_id)))
		config_problem(problems, j->file, j->line,
		               "acls = yes and chown by name: the target would give all entries "
		               "of an ACL to that one. Write chown with numbers");
}

static void check_outside(const char *what, const char *path, const struct config_tree *t,
                          const struct place *root, struct config_problems *problems)
{
	struct place p;

	if (!path)
		return;
	place_init(&p, path);
	if (place_contains(root, &p))
		config_problem(
		        problems, t->file, t->line,
		        "the %s %s lies inside the root of [tree %s]: each write there would be "
		        "a change to mirror",
		        what, path_show(bytes_of(path)), t->name);
	place_done(&p);
}

static void check_source(const struct spot *s, const struct place *root,
                         struct config_problems *problems)
{
	if (s->job->target.kind != TARGET_LOCAL)
		return;
	if (place_contains(root, &s->place) && place_contains(&s->place, root))
		config_problem(problems, s->job->file, s->job->line,
		               "the target %s is its own source",
		               path_show(bytes_of(s->job->target.path)));
	else if (place_contains(root, &s->place))
		config_problem(problems, s->job->file, s->job->line,
		               "the target %s lies inside its own source %s",
		               path_show(bytes_of(s->job->target.path)),
		               path_show(bytes_of(s->tree->root)));
	else if (place_contains(&s->place, root))
		config_problem(problems, s->job->file, s->job->line,
		               "the source %s lies inside its own target %s",
		               path_show(bytes_of(s->tree->root)),
		               path_show(bytes_of(s->job->target.path)));
}

/* What the source has under that name would be written over the ledgers. */
static void check_state(const struct config *c, const struct spot *s,
                        struct config_problems *problems)
{
	struct place p;

	if (s->job->target.kind != TARGET_LOCAL || !c->state_dir)
		return;
	place_init(&p, c->state_dir);
	if (place_contains(&s->place, &p))
		config_problem(problems, s->job->file, s->job->line,
		               "the state directory %s lies inside the target %s: put it elsewhere",
		               path_show(bytes_of(c->state_dir)),
		               path_show(bytes_of(s->job->target.path)));
	place_done(&p);
}

static void check_pair(const struct spot *a, const struct spot *b, struct config_problems *problems)
{
	bool local = a->job->target.kind == TARGET_LOCAL && b->job->target.kind == TARGET_LOCAL;
	bool overlap = target_overlaps(&a->job->target, &b->job->target);

	if (local)
		overlap = overlap || place_contains(&a->place, &b->place) ||
		          place_contains(&b->place, &a->place);
	if (overlap)
		config_problem(problems, b->job->file, b->job->line,
		               "the targets of %s (%s) and %s (%s) are the same place or one lies "
		               "inside the other",
		               a->job->name, path_show(bytes_of(a->job->target_text)), b->job->name,
		               path_show(bytes_of(b->job->target_text)));
	if (strcmp(a->job->name, b->job->name) == 0)
		config_problem(problems, b->job->file, b->job->line, "two jobs are named \"%s\"",
		               b->job->name);
}

static void check_jobs(const struct config_tree *t, const struct config *c,
                       struct config_problems *problems)
{
	if (t->job_count == 0)
		config_problem(problems, t->file, t->line,
		               "[tree %s] has no target: write \"target = ...\" into it", t->name);
	check_root(c, t, problems);
	for (size_t i = 0; i < t->job_count; i++)
		check_target(c, &t->jobs[i], problems);
}

static size_t collect_spots(const struct config *c, struct spot *spots)
{
	size_t n = 0;

	for (size_t i = 0; i < c->tree_count; i++) {
		for (size_t j = 0; j < c->trees[i].job_count; j++) {
			struct spot *s = &spots[n++];

			s->tree = &c->trees[i];
			s->job = &s->tree->jobs[j];
			if (s->job->target.kind == TARGET_LOCAL)
				place_init(&s->place, s->job->target.path);
		}
	}
	return n;
}

void config_check(const struct config *c, struct config_problems *problems)
{
	autofree struct spot *spots =
	        mem_array(CONFIG_JOBS_MAX * (c->tree_count + 1), sizeof(*spots));
	size_t n = collect_spots(c, spots);

	if (c->tree_count == 0)
		config_problem(
		        problems, c->source->parts[0].file, 0,
		        "there is nothing to mirror: write [tree NAME] with root and target");
	for (size_t i = 0; i < c->tree_count; i++) {
		const struct config_tree *t = &c->trees[i];
		struct place root;

		check_jobs(t, c, problems);
		place_init(&root, t->root);
		for (size_t j = 0; j < n; j++) {
			if (spots[j].tree == t)
				check_source(&spots[j], &root, problems);
		}
		check_outside("state directory", c->state_dir, t, &root, problems);
		check_outside("log file", c->log_file, t, &root, problems);
		place_done(&root);
	}
	for (size_t i = 0; i < n; i++) {
		check_state(c, &spots[i], problems);
		check_acls(spots[i].job, problems);
		for (size_t j = i + 1; j < n; j++)
			check_pair(&spots[i], &spots[j], problems);
	}
	for (size_t i = 0; i < n; i++)
		place_done(&spots[i].place);
}
