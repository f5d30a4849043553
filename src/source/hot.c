/*
 * Files that somebody has open for writing, or mapped so: what is stored through a mapping raises
 * no event, nor does, under its name, what is written to a file that was made with O_TMPFILE and
 * linked later. They are looked at from time to time until nobody has them open any more.
 *
 * Bounded: beyond the bound the oldest is left to the next audit.
 */
#include <fcntl.h>

#include "base/fd.h"
#include "base/mem.h"
#include "source/inside.h"

enum { HOT_MAX = 1024 };

struct hot {
	uint32_t node;     /* one that was given again meanwhile costs a look */
	struct bytes name; /* owned */
};

static void forget(struct hot *h)
{
	free((char *)(uintptr_t)h->name.p);
}

void hot_clear(struct source *s)
{
	while (s->nhot)
		forget(&s->hot[--s->nhot]);
	free(TAKE(s->hot));
	s->hot_at_ns = INT64_MAX;
}

void hot_add(struct source *s, uint32_t node, struct bytes name)
{
	for (size_t i = 0; i < s->nhot; i++)
		if (s->hot[i].node == node && bytes_equal(s->hot[i].name, name))
			return;
	if (s->nhot == HOT_MAX) {
		forget(&s->hot[0]);
		memmove(s->hot, s->hot + 1, --s->nhot * sizeof(*s->hot));
	}
	if (!s->hot)
		s->hot = mem_array(HOT_MAX, sizeof(*s->hot));
	s->hot[s->nhot++] = (struct hot){node, {mem_dup(name.p, name.n), name.n}};
	if (s->hot_at_ns == INT64_MAX)
		s->hot_at_ns = clock_boot_ns() + s->config.hot_period_ns;
}

/* Whether it is to be looked at again. The writer is asked for first: what it stored before it left
 * is in the look that follows. */
static bool look_at(struct source *s, uint32_t node, struct bytes name)
{
	struct look look = {.jobs = s->attached,
	                    .born = BORN_NONE,
	                    .since_ns = clock_boot_ns(),
	                    .least = MARK_LOOK,
	                    .flags = MARK_AUDIT};
	const char *at;
	struct stat st;
	struct view v;

	if (!dirtab_alive(s->dirs, node) || look_open(s, node, O_PATH, &v) != 0)
		return false; /* if it is somewhere else, it is found there */
	at = look_set_name(s, &v, name);
	if (at && fstatat(v.fd, at, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode)) {
		look.hot = look_has_writer(&v, at);
		look_name(s, &v, name, &look);
	}
	look_close(&v);
	return look.hot;
}

void hot_turn(struct source *s)
{
	size_t kept = 0;

	s->hot_at_ns = INT64_MAX;
	if (!s->nhot || !round_begin(s)) /* what thaws is crawled */
		return;
	for (size_t i = 0; i < s->nhot; i++) {
		if (look_at(s, s->hot[i].node, s->hot[i].name))
			s->hot[kept++] = s->hot[i];
		else
			forget(&s->hot[i]);
	}
	s->nhot = kept;
	if (kept)
		s->hot_at_ns = clock_boot_ns() + s->config.hot_period_ns;
	round_end(s);
}
