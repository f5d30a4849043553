/*
 * Names that were renamed away are looked at after what they may have become: behind the other
 * names of the round, and where a directory came to a new place, or a crawl found the name missing,
 * behind that crawl. Nothing depends on it but bytes: a deletion that goes first takes away at the
 * target what could have been linked. What is put off is counted at once, since the brake must know
 * of it: until it is marked, old and new names stand side by side.
 */
#include "base/mem.h"
#include "source/inside.h"

enum { LATE_MAX = 65536 };

bool late_put(struct late **v, size_t *n, size_t *cap, struct late *late)
{
	if (*n >= LATE_MAX)
		return false;
	if (*n == *cap) {
		*cap = *cap * 2 + 16;
		*v = mem_realloc(*v, *cap, sizeof(**v));
	}
	(*v)[(*n)++] = *late;
	*late = (struct late){0};
	return true;
}

bool late_add(struct source *s, struct late **v, size_t *n, size_t *cap, const struct look *look)
{
	if (*n + SOURCE_JOBS_MAX > LATE_MAX)
		return false;
	for (unsigned job = 0; job < SOURCE_JOBS_MAX; job++) {
		struct late late = {.look = *look};

		if (!(look->jobs & s->attached & 1u << job))
			continue;
		late.path = (struct bytes){mem_dup(s->path.p, s->path.n), s->path.n};
		late.look.jobs = 1u << job;
		late.owed = gone_count(s, job);
		s->jobs[job].owed += late.owed;
		(void)late_put(v, n, cap, &late);
	}
	return true;
}

void late_told(struct source *s, unsigned job, uint64_t *owed, uint64_t n)
{
	uint64_t *all = &s->jobs[job].owed;

	n = n < *owed ? n : *owed;
	*owed -= n;
	*all -= n < *all ? n : *all;
}

static unsigned late_job(const struct late *late)
{
	return (unsigned)__builtin_ctz(late->look.jobs);
}

bool late_take(struct source *s, const struct look *look)
{
	return s->config.renames && (look->bits & BACKLOG_AWAY) && !look->request &&
	       !s->late_turn && late_add(s, &s->late, &s->nlate, &s->late_cap, look);
}

static void late_free(struct source *s, struct late *late)
{
	late_told(s, late_job(late), &late->owed, late->owed);
	free((char *)(uintptr_t)late->path.p);
	*late = (struct late){0};
}

void late_look(struct source *s, struct late *late)
{
	bool before = s->late_turn;

	s->late_turn = true;
	s->late_owed = late->owed;
	look_path(s, late->path, &late->look);
	late->owed = s->late_owed;
	s->late_owed = 0;
	s->late_turn = before;
	late_free(s, late);
}

void late_turn(struct source *s)
{
	size_t n = s->nlate;

	s->nlate = 0;
	for (size_t i = 0; i < n; i++) {
		if (!crawl_after(s, &s->late[i]))
			late_look(s, &s->late[i]);
	}
}

void late_clear(struct source *s, struct late **v, size_t *n, size_t *cap)
{
	for (size_t i = 0; i < *n; i++)
		late_free(s, &(*v)[i]);
	free(*v);
	*v = NULL;
	*n = *cap = 0;
}

void late_forget_job(struct source *s, struct late *v, size_t n, unsigned job)
{
	for (size_t i = 0; i < n; i++)
		if (late_job(&v[i]) == job)
			late_told(s, job, &v[i].owed, v[i].owed);
}
