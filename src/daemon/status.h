/*
 * status: the JSON that tells how an instance is doing.
 *
 * A pure function of what the loop hands in: no clock, no I/O. Names and texts go through
 * path_percent() where they may hold any byte. Times are ISO 8601 in UTC; members that do not apply
 * are null.
 */
#ifndef DAEMON_STATUS_H
#define DAEMON_STATUS_H

#include <jansson.h>
#include "engine/engine.h"
#include "source/source.h"

struct status_tree {
	const char *name, *root;
	enum source_health health;
	const char *text; /* why it is not live, NULL or "": it is */
	bool silent;      /* its file system does not answer */
	bool crawling;
	uint64_t dirs, entries, overflows, watches, unreadable;
};

struct status_job {
	const char *name, *tree, *target;
	struct engine_status engine;
	uint64_t extras;      /* UINT64_MAX: not counted yet */
	const char *compress; /* by what method; NULL: none, or not known yet */
	/* First sync: when it began (CLOCK_BOOTTIME, 0: unknown), what was confirmed then, and the
	 * entries it has to confirm altogether (0: not known yet, the crawl is still running). */
	int64_t sync_began_ns;
	uint64_t sync_confirmed_before, sync_total;
};

struct status_input {
	const char *instance;
	int pid;
	int64_t started_wall_ns;
	int64_t now_ns, now_wall_ns; /* CLOCK_BOOTTIME and wall clock of the same moment */
	const struct status_tree *trees;
	size_t tree_count;
	const struct status_job *jobs;
	size_t job_count;
};

/* {"instance", "pid", "version", "started", "trees": [...], "jobs": [...]}: a new reference. */
json_t *status_json(const struct status_input *in);

/* One element of {"held": [...]}: {"job","id","rule","count","since","paths":[at most 100]}. */
json_t *status_hold_json(const char *job, const struct engine_hold *hold, int64_t now_ns,
                         int64_t now_wall_ns);
/* One element of {"failed": [...]}: {"job","path","text","side":"source|target","retry_in_ms"}. */
json_t *status_failure_json(const char *job, const struct engine_failure *failure, int64_t now_ns);

/* A name as all are written; words for people (NULL and "": null). */
json_t *status_name_json(struct bytes name);
json_t *status_text_json(const char *text);

/* "live", "frozen", "degraded" */
const char *status_health_word(enum source_health health);

#endif
