/*
 * Files that somebody has open for writing, or mapped so: what is stored through a mapping raises
 * no event, nor does, under its name, what is written to a file that was made with O_TMPFILE and
 * linked later. They are looked at from time to time (hotlist.h) until nobody has them open any
 * more.
 */
#include <fcntl.h>

#include "base/fd.h"
#include "source/inside.h"

void hot_add(struct source *s, uint32_t node, struct bytes name, const struct fingerprint *seen)
{
	hotlist_add(&s->hot, node, name, seen, clock_boot_ns());
}

/* Whether it is to be looked at again. The writer is asked for first: what it stored before it left
 * is in the look that follows. */
static bool look_at(struct source *s, struct hot *h)
{
	struct look look = {.jobs = s->attached,
	                    .born = BORN_NONE,
	                    .since_ns = clock_boot_ns(),
	                    .least = MARK_LOOK,
	                    .flags = MARK_AUDIT};
	struct fingerprint seen;
	const char *at;
	struct stat st;
	struct view v;

	if (!dirtab_alive(s->dirs, h->node) || look_open(s, h->node, O_PATH, &v) != 0)
		return false; /* if it is somewhere else, it is found there */
	at = look_set_name(s, &v, h->name);
	if (at && fstatat(v.fd, at, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode)) {
		fingerprint_of(&seen, &st);
		hotlist_again(&s->hot, h, &seen, clock_boot_ns());
		look.hot = look_has_writer(&v, at);
		look_name(s, &v, h->name, &look);
	}
	look_close(&v);
	return look.hot;
}

void hot_turn(struct source *s)
{
	int64_t now_ns = clock_boot_ns();
	bool keep[HOTLIST_MAX];

	if (!round_begin(s)) {
		hotlist_clear(&s->hot); /* what thaws is crawled */
		return;
	}
	for (size_t i = 0; i < s->hot.n; i++) {
		struct hot *h = &s->hot.v[i];

		keep[i] = !hotlist_due(h, now_ns) || look_at(s, h);
	}
	hotlist_keep(&s->hot, keep);
	round_end(s);
}
