#include "cli/show.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/path.h"

static int64_t number(json_t *object, const char *key)
{
	return (int64_t)json_integer_value(json_object_get(object, key));
}

/* Words that the daemon has made printable. */
static const char *text(json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s ? s : "";
}

/* A name: decoded, then shown as names are. */
static const char *name(json_t *value)
{
	const char *s = json_string_value(value);
	const char *shown = "?";
	struct buf raw;

	buf_init(&raw, 1 << 16);
	if (s && path_from_percent(&raw, bytes_of(s)) == 0)
		shown = path_show(buf_bytes(&raw));
	buf_done(&raw);
	return shown;
}

static const char *name_of(json_t *object, const char *key)
{
	return name(json_object_get(object, key));
}

void show_bytes(struct buf *out, double bytes)
{
	static const char units[] = "\0KMGTP";
	size_t u = 0;

	while (bytes >= 1000 && u + 2 < sizeof(units)) {
		bytes /= 1024;
		u++;
	}
	if (u == 0)
		buf_printf(out, "%.0f", bytes);
	else
		buf_printf(out, bytes < 9.95 ? "%.1f%c" : "%.0f%c", bytes, units[u]);
}

void show_time(struct buf *out, int64_t ms)
{
	int64_t s = ms / 1000;

	if (ms < 1000)
		buf_printf(out, "%" PRId64 "ms", ms);
	else if (s < 60)
		buf_printf(out, "%.1fs", (double)ms / 1000.0);
	else if (s < 3600)
		buf_printf(out, "%" PRId64 "m%02" PRId64 "s", s / 60, s % 60);
	else if (s < 86400)
		buf_printf(out, "%" PRId64 "h%02" PRId64 "m", s / 3600, s / 60 % 60);
	else
		buf_printf(out, "%" PRId64 "d%02" PRId64 "h", s / 86400, s / 3600 % 24);
}

/* ISO 8601 in UTC to seconds; 0: none. */
static int64_t seconds_of(const char *iso)
{
	struct tm tm = {0};

	if (sscanf(iso, "%d-%d-%dT%d:%d:%d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour,
	           &tm.tm_min, &tm.tm_sec) != 6)
		return 0;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	return (int64_t)timegm(&tm);
}

static json_t *find_job(json_t *status, const char *job)
{
	size_t i;
	json_t *j;

	json_array_foreach(json_object_get(status, "jobs"), i, j)
	{
		if (strcmp(text(j, "name"), job) == 0)
			return j;
	}
	return NULL;
}

/* Right-aligned in a column. */
static void add_cell(struct buf *out, struct buf *cell, int width)
{
	buf_printf(out, " %*.*s", width, (int)cell->n, cell->p ? cell->p : "");
	buf_clear(cell);
}

static void add_confirmed(struct buf *cell, json_t *status, json_t *job)
{
	int64_t then = seconds_of(text(job, "last_confirmed")),
	        now = seconds_of(text(status, "now"));

	if (then == 0) {
		buf_add_bytes(cell, BYTES("never"));
		return;
	}
	show_time(cell, now > then ? (now - then) * 1000 : 0);
	buf_add_bytes(cell, BYTES(" ago"));
}

static void add_details(struct buf *out, json_t *job)
{
	json_t *progress = json_object_get(job, "progress");
	const char *trouble = text(job, "trouble"), *why = text(job, "text");

	if (json_is_object(progress)) {
		json_t *eta = json_object_get(progress, "eta_s");

		if (json_is_number(json_object_get(progress, "percent")))
			buf_printf(out, "    first sync: %.1f%%",
			           json_number_value(json_object_get(progress, "percent")));
		else
			buf_add_bytes(out, BYTES("    first sync: still counting"));
		if (json_is_integer(eta)) {
			buf_add_bytes(out, BYTES(", about "));
			show_time(out, (int64_t)json_integer_value(eta) * 1000);
			buf_add_bytes(out, BYTES(" left"));
		}
		buf_add(out, "\n", 1);
	}
	if (trouble[0] || why[0]) {
		buf_printf(out, "    %s%s%s", trouble, trouble[0] && why[0] ? ": " : "", why);
		if (json_is_integer(json_object_get(job, "retry_in_ms"))) {
			buf_add_bytes(out, BYTES("; next try in "));
			show_time(out, number(job, "retry_in_ms"));
		}
		buf_add(out, "\n", 1);
	}
	if (text(job, "note")[0])
		buf_printf(out, "    %s\n", text(job, "note"));
	if (number(job, "held") > 0)
		buf_printf(out, "    %" PRId64 " held back: see lockstep held\n",
		           number(job, "held"));
	if (number(job, "failed") > 0)
		buf_printf(out, "    %" PRId64 " failed: see lockstep failed\n",
		           number(job, "failed"));
	if (number(job, "kept") > 0)
		buf_printf(out,
		           "    %" PRId64
		           " directories stay at the target: they hold what others put "
		           "there\n",
		           number(job, "kept"));
	if (number(job, "extras") > 0)
		buf_printf(out,
		           "    %" PRId64
		           " extras at the target, left alone: see lockstep verify\n",
		           number(job, "extras"));
}

static void add_job(struct buf *out, json_t *status, json_t *job, json_t *before, double seconds)
{
	double sent = (double)number(job, "bytes_out");
	struct buf cell;

	buf_init(&cell, 256);
	buf_printf(out, "%-16s %-10s", name_of(job, "name"), text(job, "state"));
	show_time(&cell, number(job, "lag_ms"));
	add_cell(out, &cell, 7);
	buf_printf(&cell, "%" PRId64, number(job, "pending") + number(job, "in_flight"));
	add_cell(out, &cell, 8);
	show_bytes(&cell, (double)number(job, "pending_bytes"));
	add_cell(out, &cell, 6);
	if (before && seconds > 0) {
		double rate = (sent - (double)number(before, "bytes_out")) / seconds;

		show_bytes(&cell, rate > 0 ? rate : 0);
		buf_add_bytes(&cell, BYTES("/s"));
	} else {
		show_bytes(&cell, sent);
	}
	add_cell(out, &cell, 7);
	buf_printf(&cell, "%" PRId64, number(job, "failed"));
	add_cell(out, &cell, 6);
	add_confirmed(&cell, status, job);
	add_cell(out, &cell, 12);
	buf_add(out, "\n", 1);
	add_details(out, job);
	buf_done(&cell);
}

static void add_trees(struct buf *out, json_t *status)
{
	size_t i;
	json_t *t;

	json_array_foreach(json_object_get(status, "trees"), i, t)
	{
		if (strcmp(text(t, "state"), "live") != 0)
			buf_printf(out, "tree %s is %s: %s\n", name_of(t, "name"), text(t, "state"),
			           text(t, "text"));
		if (json_is_true(json_object_get(t, "crawling")))
			buf_printf(out,
			           "tree %s is being read: %" PRId64 " entries in %" PRId64
			           " directories so far\n",
			           name_of(t, "name"), number(t, "entries"), number(t, "dirs"));
		if (strcmp(text(t, "state"), "live") == 0 && text(t, "text")[0])
			buf_printf(out, "tree %s: %s\n", name_of(t, "name"), text(t, "text"));
	}
}

static bool wanted(json_t *job, const char *const *jobs, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(text(job, "name"), jobs[i]) == 0)
			return true;
	}
	return false;
}

static bool has_tree(json_t *jobs, const char *tree)
{
	size_t i;
	json_t *j;

	json_array_foreach(jobs, i, j)
	{
		if (strcmp(text(j, "tree"), tree) == 0)
			return true;
	}
	return false;
}

const char *show_select(json_t *status, const char *const *jobs, size_t n)
{
	json_t *all = json_object_get(status, "jobs");
	json_t *trees = json_object_get(status, "trees");

	for (size_t i = 0; i < n; i++) {
		if (!find_job(status, jobs[i]))
			return jobs[i];
	}
	for (size_t i = json_array_size(all); n > 0 && i-- > 0;) {
		if (!wanted(json_array_get(all, i), jobs, n))
			(void)json_array_remove(all, i);
	}
	for (size_t i = json_array_size(trees); n > 0 && i-- > 0;) {
		if (!has_tree(all, text(json_array_get(trees, i), "name")))
			(void)json_array_remove(trees, i);
	}
	return NULL;
}

void show_status(struct buf *out, json_t *status, json_t *previous, double seconds)
{
	size_t i;
	json_t *job;

	buf_printf(out, "%-16s %-10s %7s %8s %6s %7s %6s %12s\n", "JOB", "STATE", "LAG", "FILES",
	           "BYTES", previous ? "RATE" : "SENT", "FAILED", "CONFIRMED");
	json_array_foreach(json_object_get(status, "jobs"), i, job)
	{
		add_job(out, status, job, previous ? find_job(previous, text(job, "name")) : NULL,
		        seconds);
	}
	add_trees(out, status);
}

/* 0, 1 or 2 for one job, with the reason. */
static int judge(json_t *job, struct show_limits limits, struct buf *why)
{
	const char *state = text(job, "state");
	int64_t lag = number(job, "lag_ms");
	int level = 0;

	if (lag >= limits.warn_ms || lag >= limits.critical_ms) {
		level = lag >= limits.critical_ms ? 2 : 1;
		buf_printf(why, "%s%s lags ", why->n ? "; " : "", name_of(job, "name"));
		show_time(why, lag);
	}
	if (strcmp(state, "live") != 0 && strcmp(state, "first sync") != 0 &&
	    strcmp(state, "connecting") != 0) {
		level = level > 1 ? level : 1;
		buf_printf(why, "%s%s is %s%s%s", why->n ? "; " : "", name_of(job, "name"), state,
		           text(job, "text")[0] ? ": " : "", text(job, "text"));
	}
	if (number(job, "failed") > 0 || number(job, "held") > 0) {
		level = level > 1 ? level : 1;
		buf_printf(why, "%s%s has %" PRId64 " failed, %" PRId64 " held", why->n ? "; " : "",
		           name_of(job, "name"), number(job, "failed"), number(job, "held"));
	}
	return level;
}

/* A tree whose source is gone is worth waking somebody. */
static int judge_tree(json_t *tree, struct buf *why)
{
	const char *state = text(tree, "state");

	if (number(tree, "unreadable") > 0)
		buf_printf(why, "%stree %s has %" PRId64 " entries that cannot be read",
		           why->n ? "; " : "", name_of(tree, "name"), number(tree, "unreadable"));
	if (strcmp(state, "live") == 0)
		return number(tree, "unreadable") > 0;
	buf_printf(why, "%stree %s is %s%s%s", why->n ? "; " : "", name_of(tree, "name"), state,
	           text(tree, "text")[0] ? ": " : "", text(tree, "text"));
	return strcmp(state, "frozen") == 0 || json_is_true(json_object_get(tree, "silent")) ? 2
	                                                                                     : 1;
}

int show_check(struct buf *out, json_t *status, struct show_limits limits)
{
	static const char *const words[] = {"OK", "WARNING", "CRITICAL"};
	json_t *jobs = json_object_get(status, "jobs"), *j;
	int64_t worst = 0;
	int level = 0;
	struct buf why;
	size_t i;

	buf_init(&why, 4096);
	json_array_foreach(json_object_get(status, "trees"), i, j)
	{
		int l = judge_tree(j, &why);

		level = l > level ? l : level;
	}
	json_array_foreach(jobs, i, j)
	{
		int l = judge(j, limits, &why);

		level = l > level ? l : level;
		worst = number(j, "lag_ms") > worst ? number(j, "lag_ms") : worst;
	}
	buf_printf(out, "LOCKSTEP %s - %zu jobs, worst lag ", words[level], json_array_size(jobs));
	show_time(out, worst);
	/* "|" begins the performance data: none may come from a text. */
	for (i = 0; i < why.n; i++) {
		if (why.p[i] == '|')
			why.p[i] = '/';
	}
	buf_printf(out, "%s%.*s |", why.n ? "; " : "", (int)why.n, why.p ? why.p : "");
	json_array_foreach(jobs, i, j)
	{
		buf_printf(out, " 'lag_%s'=%.3fs;%.3f;%.3f;0 'pending_%s'=%" PRId64,
		           text(j, "name"), (double)number(j, "lag_ms") / 1000.0,
		           (double)limits.warn_ms / 1000.0, (double)limits.critical_ms / 1000.0,
		           text(j, "name"), number(j, "pending"));
	}
	buf_add(out, "\n", 1);
	buf_done(&why);
	return level;
}

static void add_hold(struct buf *out, json_t *hold, const char *indent)
{
	json_t *paths = json_object_get(hold, "paths"), *p;
	int64_t rest = number(hold, "count") - (int64_t)json_array_size(paths);
	size_t i;

	buf_printf(out,
	           "%s%" PRId64 "  %s: %" PRId64
	           " deletions wait; with them the target would lose, within 10 minutes, %s\n",
	           indent, number(hold, "id"), name_of(hold, "job"), number(hold, "count"),
	           text(hold, "rule"));
	json_array_foreach(paths, i, p) buf_printf(out, "%s     %s\n", indent, name(p));
	if (rest > 0)
		buf_printf(out, "%s     and %" PRId64 " more\n", indent, rest);
	buf_printf(out, "%s     to let it go: lockstep approve %" PRId64 " %s\n", indent,
	           number(hold, "id"), name_of(hold, "job"));
}

void show_held(struct buf *out, json_t *held)
{
	json_t *list = json_object_get(held, "held"), *h;
	size_t i;

	if (json_array_size(list) == 0)
		buf_add_bytes(out, BYTES("nothing is held back\n"));
	json_array_foreach(list, i, h) add_hold(out, h, "");
}

static void add_failure(struct buf *out, json_t *f)
{
	buf_printf(out, "%s: %s (%s)", name_of(f, "path"), text(f, "text"), text(f, "side"));
	if (json_is_integer(json_object_get(f, "retry_in_ms"))) {
		buf_add_bytes(out, BYTES("; next try in "));
		show_time(out, number(f, "retry_in_ms"));
	}
	buf_add(out, "\n", 1);
}

void show_failed(struct buf *out, json_t *failed)
{
	json_t *list = json_object_get(failed, "failed"), *f;
	size_t i;

	if (json_array_size(list) == 0)
		buf_add_bytes(out, BYTES("nothing failed\n"));
	json_array_foreach(list, i, f)
	{
		buf_printf(out, "%s: ", name_of(f, "job"));
		add_failure(out, f);
	}
}

static void add_waiting(struct buf *out, json_t *job)
{
	json_t *paths = json_object_get(job, "waiting"), *p;
	size_t i;

	if (json_array_size(paths) == 0)
		return;
	buf_add_bytes(out, BYTES("    waiting:"));
	json_array_foreach(paths, i, p) buf_printf(out, "%s %s", i ? "," : "", name(p));
	if (number(job, "pending") > (int64_t)json_array_size(paths))
		buf_add_bytes(out, BYTES(", ..."));
	buf_add(out, "\n", 1);
}

void show_remaining(struct buf *out, json_t *answer)
{
	json_t *j, *f;
	size_t i, k;

	json_array_foreach(json_object_get(answer, "jobs"), i, j)
	{
		buf_printf(out,
		           "%s: %s, %" PRId64 " pending, %" PRId64 " failed, %" PRId64
		           " held%s%s\n",
		           name_of(j, "job"), text(j, "state"), number(j, "pending"),
		           number(j, "failed"), number(j, "held"), text(j, "text")[0] ? ": " : "",
		           text(j, "text"));
		json_array_foreach(json_object_get(j, "failures"), k, f)
		{
			buf_add_bytes(out, BYTES("    failed: "));
			add_failure(out, f);
		}
		if (number(j, "failed") > (int64_t)json_array_size(json_object_get(j, "failures")))
			buf_add_bytes(out, BYTES("    ...\n"));
		json_array_foreach(json_object_get(j, "holds"), k, f) add_hold(out, f, "    ");
		add_waiting(out, j);
		if (number(j, "zombies") > 0)
			buf_add_bytes(out, BYTES("    a connection that broke off, or that an "
			                         "earlier run left, "
			                         "may still be written from:\n"
			                         "    it ends by itself, at the latest after twice "
			                         "`timeout`\n"));
		if (strcmp(text(j, "state"), "paused") == 0)
			buf_printf(out, "    to let it go on: lockstep resume %s\n",
			           name_of(j, "job"));
	}
}

bool show_any_held(json_t *answer)
{
	json_t *j;
	size_t i;

	json_array_foreach(json_object_get(answer, "jobs"), i, j)
	{
		if (number(j, "held") > 0 || strcmp(text(j, "state"), "held") == 0 ||
		    (strcmp(text(j, "state"), "frozen") == 0 &&
		     strstr(text(j, "text"), "lockstep approve")))
			return true;
	}
	return false;
}
