/*
 * Files that somebody has open for writing, or mapped so: what is stored through a mapping raises
 * no event, nor does, under its name, what is written to a file that was made with O_TMPFILE and
 * linked later. They are looked at from time to time (hotlist.h) until nobody has them open any
 * more.
 */
#include <fcntl.h>

#include "base/fd.h"
#include "source/inside.h"

#define YOUNG_NS INT64_C(30000000000)

int64_t hot_add(struct source *s, uint32_t node, struct bytes name, const struct fingerprint *seen)
{
	return hotlist_add(&s->hot, node, name, seen, clock_boot_ns());
}

/* The receiver writes all of a file for each bit that is added to it. What has just begun to grow
 * may soon be over; what goes on is shown as often as 16 MB a second allow. */
unsigned hot_flags(const struct belief *belief, const struct fingerprint *seen, int64_t since_ns)
{
	int64_t least_ms = (int64_t)(seen->size >> 14);

	if (!(belief->state & LEDGER_CONFIRMED) || !S_ISREG(belief->fp.mode) ||
	    seen->size <= belief->fp.size)
		return MARK_HOT;
	if (clock_boot_ns() - since_ns < YOUNG_NS ||
	    (clock_wall_ns() - belief->fp.ctime_ns) / 1000000 >= least_ms)
		return MARK_HOT | MARK_GREW;
	return MARK_HOT;
}

/* Whether it is to be looked at again. The writer is asked for first: what it stored before it left
 * is in the look that follows. */
static bool look_at(struct source *s, struct hot *h, const struct look *how)
{
	struct look look = *how;
	struct fingerprint seen;
	bool writer = false;
	const char *at;
	struct stat st;
	struct view v;

	look.by_hot = true;
	if (!dirtab_alive(s->dirs, h->node) || look_open(s, h->node, O_PATH, &v) != 0)
		return false; /* if it is somewhere else, it is found there */
	at = look_set_name(s, &v, h->name);
	if (at && fstatat(v.fd, at, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode)) {
		fingerprint_of(&seen, &st);
		hotlist_again(&s->hot, h, &seen, clock_boot_ns());
		writer = look_has_writer(&v, at);
		look.hot = writer && (look.flags & MARK_AUDIT); /* a barrier does not wait for it */
		look_name(s, &v, h->name, &look);
	}
	look_close(&v);
	return writer;
}

static void look_at_due(struct source *s, int64_t now_ns, const struct look *look)
{
	bool keep[HOTLIST_MAX];

	for (size_t i = 0; i < s->hot.n; i++) {
		struct hot *h = &s->hot.v[i];

		keep[i] = !hotlist_due(h, now_ns) || look_at(s, h, look);
	}
	hotlist_keep(&s->hot, keep);
}

void hot_look_all(struct source *s, const struct look *look)
{
	look_at_due(s, INT64_MAX, look);
}

void hot_turn(struct source *s)
{
	const struct look look = {.jobs = s->attached,
	                          .born = BORN_NONE,
	                          .since_ns = clock_boot_ns(),
	                          .least = MARK_LOOK,
	                          .flags = MARK_AUDIT};

	if (!round_begin(s)) {
		hotlist_clear(&s->hot); /* what thaws is crawled */
		return;
	}
	look_at_due(s, clock_boot_ns(), &look);
	round_end(s);
}
