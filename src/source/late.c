/*
 * Names that were renamed away are looked at after what they may have become: behind the other
 * names of the round, and where a directory came to a new place, or a crawl found the name missing,
 * behind that crawl. Nothing depends on it but bytes: a deletion that goes first takes away at the
 * target what could have been linked.
 */
#include "base/mem.h"
#include "source/inside.h"

enum { LATE_MAX = 65536 };

bool late_add(struct late **v, size_t *n, size_t *cap, struct bytes path, const struct look *look)
{
	struct late *late;

	if (*n >= LATE_MAX)
		return false;
	if (*n == *cap) {
		*cap = *cap * 2 + 16;
		*v = mem_realloc(*v, *cap, sizeof(**v));
	}
	late = &(*v)[(*n)++];
	*late = (struct late){.path = {mem_dup(path.p, path.n), path.n}, .look = *look};
	return true;
}

bool late_take(struct source *s, const struct look *look)
{
	return s->config.renames && (look->bits & BACKLOG_AWAY) && !look->request &&
	       !s->late_turn &&
	       late_add(&s->late, &s->nlate, &s->late_cap, buf_bytes(&s->path), look);
}

void late_look(struct source *s, struct late *late)
{
	bool before = s->late_turn;

	s->late_turn = true;
	look_path(s, late->path, &late->look);
	s->late_turn = before;
	free((char *)(uintptr_t)late->path.p);
	late->path = (struct bytes){0};
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

void late_clear(struct late **v, size_t *n, size_t *cap)
{
	for (size_t i = 0; i < *n; i++)
		free((char *)(uintptr_t)(*v)[i].path.p);
	free(*v);
	*v = NULL;
	*n = *cap = 0;
}
