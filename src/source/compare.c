/*
 * From what was seen and what is believed to marks.
 */
#include <fcntl.h>
#include <uthash.h>

#include "base/fd.h"
#include "base/mem.h"
#include "source/inside.h"
#include "source/verdict.h"

enum {
	NAMES_MANY = 64, /* a group of more names is marked once in a round for the same sight */
	NAMES_ASKED = 8, /* known names whose links are compared when nothing else differs */
};

struct group_key {
	uint64_t dev, ino;
	uint64_t job;
};

/* All names of a group have been marked in this round for what was seen. */
struct group_marked {
	struct group_key key;
	struct fingerprint seen;
	enum mark_action action;
	unsigned flags;
	UT_hash_handle hh;
};

struct aliases {
	struct buf names; /* NUL behind each */
	struct bytes self;
	size_t n, most;
};

static bool alias_add(struct bytes path, void *arg)
{
	struct aliases *a = arg;

	if (bytes_equal(path, a->self))
		return true;
	buf_add_bytes(&a->names, path);
	buf_add_u8(&a->names, 0);
	return ++a->n < a->most;
}

/* The other names that the target is believed to have for this inode, at most `most`. */
static void aliases_read(struct aliases *a, struct source *s, unsigned job,
                         const struct fingerprint *seen, size_t most)
{
	*a = (struct aliases){.self = buf_bytes(&s->path), .most = most};
	buf_init(&a->names, 64 << 20);
	ledger_aliases(s->jobs[job].ledger, seen->dev, seen->ino, alias_add, a);
}

static bool aliases_next(const struct aliases *a, size_t *at, struct bytes *ret)
{
	if (*at >= a->names.n)
		return false;
	*ret = bytes_of(a->names.p + *at);
	*at += ret->n + 1;
	return true;
}

/* The mark is made for what was seen. */
static void saw(struct mark *m, const struct fingerprint *seen)
{
	m->dev = S_ISREG(seen->mode) ? seen->dev : 0;
	m->ino = S_ISREG(seen->mode) ? seen->ino : 0;
	m->ctime_ns = seen->ctime_ns;
}

/* It is a name of that inode to this day. */
static bool is_alias(struct source *s, struct bytes path, const struct fingerprint *seen)
{
	struct stat st;

	if (filter_excludes_any(s->config.filter, path, false))
		return false;
	autoclose int fd =
	        fd_open_beneath(s->root_fd, path, O_PATH | O_NOFOLLOW, s->config.cross_mounts);

	return fd >= 0 && fstat(fd, &st) == 0 && st.st_ino == seen->ino && st.st_dev == seen->dev;
}

static struct group_marked *group_find(struct source *s, const struct group_key *key)
{
	struct group_marked *found = NULL;

	HASH_FIND(hh, s->groups, key, sizeof(*key), found);
	return found;
}

/* Each of n names of a group may be looked at in turn: n times n marks would say nothing more.
 * Attributes and links are those that are found when the marks are carried out. */
static bool group_is_marked(struct source *s, const struct group_key *key,
                            const struct fingerprint *seen, enum mark_action action, unsigned flags)
{
	const struct group_marked *g = group_find(s, key);

	if (!g || g->action < action || g->flags != flags)
		return false;
	return action == MARK_META
	               ? g->seen.size == seen->size && g->seen.mtime_ns == seen->mtime_ns
	               : !fingerprint_moved(&g->seen, seen);
}

static void group_remember(struct source *s, const struct group_key *key,
                           const struct fingerprint *seen, enum mark_action action, unsigned flags)
{
	struct group_marked *g = group_find(s, key);

	if (!g) {
		g = mem_alloc(sizeof(*g));
		g->key = *key;
		HASH_ADD(hh, s->groups, key, sizeof(g->key), g);
	}
	g->seen = *seen;
	g->action = action;
	g->flags = flags;
}

void compare_forget_groups(struct source *s)
{
	struct group_marked *g, *next;

	HASH_ITER (hh, s->groups, g, next) {
		HASH_DELETE(hh, s->groups, g);
		free(g);
	}
}

/* What is to be done to another name of an inode that the target does not have under the name that
 * was looked at: mostly no more than to be in the list that the new name is linked in. But no event
 * told of what a crawl found: it may have been written under the new name, with its time put back,
 * before its directory was watched. */
static enum mark_action partner_action(struct source *s, unsigned job, struct bytes path,
                                       const struct fingerprint *seen, enum mark_action action,
                                       bool by_crawl)
{
	enum fingerprint_difference d;
	struct belief b;

	ledger_get(s->jobs[job].ledger, path, &b);
	d = b.state & LEDGER_CONFIRMED ? fingerprint_compare(&b.fp, seen) : FP_DATA;
	if (d == FP_HIDDEN && by_crawl && S_ISREG(seen->mode))
		return MARK_CONTENT;
	return d < FP_DATA ? MARK_META : action;
}

/* One look at an inode with several names brings all of them into line: a list in which one was
 * missing could replace the inode and leave that one behind. `joins`: the target does not have the
 * inode under this name yet, and nothing was written under it. */
static void mark_aliases(struct source *s, unsigned job, const struct fingerprint *seen,
                         enum mark_action action, bool joins, const struct look *look,
                         unsigned flags)
{
	struct group_key key = {seen->dev, seen->ino, job};
	enum mark_action least = joins ? MARK_META : action;
	struct aliases a;
	struct bytes path;
	size_t at = 0;

	if (group_is_marked(s, &key, seen, least, flags | look->flags))
		return;
	aliases_read(&a, s, job, seen, SIZE_MAX);
	while (aliases_next(&a, &at, &path)) {
		enum mark_action does = action;

		if (!is_alias(s, path, seen))
			continue;
		if (joins)
			does = partner_action(s, job, path, seen, action, look->by_crawl);
		saw(outbox_mark(s, job, path, look, does, flags, does == MARK_META ? 0 : seen->size,
		                seen->ino),
		    seen);
	}
	if (a.n > NAMES_MANY)
		group_remember(s, &key, seen, least, flags | look->flags);
	buf_done(&a.names);
}

static void mark_links(struct source *s, unsigned job, const struct fingerprint *seen,
                       const struct belief *belief, enum mark_action action, unsigned bits,
                       const struct look *look, unsigned flags)
{
	bool joins = !(belief->state & LEDGER_CONFIRMED) || belief->fp.ino != seen->ino;

	/* The others would be taken for unchanged where size and time were put back. */
	if (joins && S_ISREG(seen->mode) && (bits & (BACKLOG_WRITTEN | BACKLOG_CLOSED)))
		mark_aliases(s, job, seen, MARK_CONTENT, false, look, flags);
	else
		mark_aliases(s, job, seen, action, joins, look, flags);
}

/* A name of the same inode was confirmed with one link: this one was sent at the same time, and
 * neither knew of the other. */
static bool stands_apart(struct source *s, unsigned job, const struct fingerprint *seen)
{
	struct aliases a;
	struct bytes path;
	bool apart = false;
	size_t at = 0;

	aliases_read(&a, s, job, seen, NAMES_ASKED);
	while (!apart && aliases_next(&a, &at, &path)) {
		struct belief b;

		ledger_get(s->jobs[job].ledger, path, &b);
		apart = b.fp.nlink == 1 && is_alias(s, path, seen);
	}
	buf_done(&a.names);
	return apart;
}

void compare_left(struct source *s, enum mark_action action, const struct look *look)
{
	for (unsigned job = 0; job < SOURCE_JOBS_MAX; job++) {
		struct belief b;
		struct aliases a;
		struct bytes path;
		size_t at = 0;

		if (!(look->jobs & s->attached & 1u << job))
			continue;
		/* For those on their way, which the ledger does not know yet. */
		outbox_mark(s, job, buf_bytes(&s->path), look,
		            action == MARK_CONTENT ? MARK_CONTENT : MARK_QUICK, MARK_IF_PENDING, 0,
		            0);
		ledger_get(s->jobs[job].ledger, buf_bytes(&s->path), &b);
		if (!(b.state & LEDGER_CONFIRMED) || !S_ISREG(b.fp.mode))
			continue;
		aliases_read(&a, s, job, &b.fp, SIZE_MAX);
		while (aliases_next(&a, &at, &path)) {
			if (is_alias(s, path, &b.fp))
				outbox_mark(s, job, path, look, action, 0,
				            action == MARK_META ? 0 : b.fp.size, b.fp.ino);
		}
		buf_done(&a.names);
	}
}

/* Whether the target may hold names below what is no directory here. Their own directory need not
 * be known as one: it may have been on its way, as they were, when nobody could tell any more. */
static bool holds_below(struct source *s, unsigned job, const struct fingerprint *seen,
                        const struct belief *belief)
{
	if (belief->state == LEDGER_ABSENT)
		return false; /* what is above a known name is known, too */
	if (S_ISDIR(seen->mode) || belief->state == LEDGER_CONFIRMED)
		return !S_ISDIR(seen->mode) && S_ISDIR(belief->fp.mode);
	return ledger_has_below(s->jobs[job].ledger, buf_bytes(&s->path));
}

bool compare_attributes(const struct source *s, unsigned job, const struct belief *belief,
                        const struct fingerprint *seen, unsigned bits, bool racy)
{
	return s->attributes[job] && (belief->state & LEDGER_CONFIRMED) &&
	       (belief->fp.ctime_ns != seen->ctime_ns || ((bits & BACKLOG_META) && racy));
}

/* Nothing is to be done for what is seen. But a deletion of this name may wait: it was gone. */
static void mark_back(struct source *s, unsigned job, const struct fingerprint *seen,
                      const struct look *look)
{
	unsigned bits = look->bits;

	if ((bits & (BACKLOG_CREATED | BACKLOG_MOVED)) || look->by_event || look->wary_ns)
		outbox_mark(s, job, buf_bytes(&s->path), look, MARK_LOOK, MARK_IF_PENDING, 0, 0);
	if (bits & BACKLOG_CLOSED) /* what waited for that need not wait longer */
		saw(outbox_mark(s, job, buf_bytes(&s->path), look, MARK_META, MARK_IF_PENDING, 0,
		                seen->nlink > 1 && !S_ISDIR(seen->mode) ? seen->ino : 0),
		    seen);
}

/* A store through a mapping lands after the stamp that its fault has made, which sleeps in between
 * for the file system's sake: what was read meanwhile has the stamp of what was not there yet. Only
 * the close tells of it. */
static int64_t racy_window(const struct source *s, unsigned bits)
{
	bool closed = (bits & BACKLOG_DATA) == BACKLOG_CLOSED;

	return closed && s->config.store_wait_ns > s->racy_window_ns ? s->config.store_wait_ns
	                                                             : s->racy_window_ns;
}

bool compare_entry(struct source *s, unsigned job, const struct fingerprint *seen,
                   const struct belief *belief, const struct look *look, unsigned flags)
{
	unsigned bits = look->bits;
	bool linked = seen->nlink > 1 && !S_ISDIR(seen->mode), below;
	bool racy = fingerprint_racy(seen, clock_wall_ns(), racy_window(s, bits));
	struct gone_mark mark;
	struct verdict v;

	/* An event for this may have been among those that were lost. */
	if (look->wary_ns && S_ISREG(seen->mode) && seen->ctime_ns >= look->wary_ns)
		bits |= BACKLOG_WRITTEN;
	v = verdict_of(belief, seen, bits, racy);
	verdict_raise(&v, look->least, seen);
	if (!v.needed && compare_attributes(s, job, belief, seen, bits, racy))
		v = (struct verdict){true, MARK_META, S_ISDIR(seen->mode) ? MARK_DIR : 0};
	if (!v.needed && linked && !look->by_crawl && stands_apart(s, job, seen))
		v = (struct verdict){true, MARK_META, 0};
	if (!v.needed) {
		mark_back(s, job, seen, look);
		return false;
	}
	/* Told to the names on their way to the target, too, which the ledger does not know yet. */
	if (linked && S_ISREG(seen->mode) && (v.flags & MARK_FRESH) &&
	    (bits & (BACKLOG_WRITTEN | BACKLOG_CLOSED)))
		v.action = MARK_CONTENT;
	if (S_ISREG(seen->mode) && (bits & BACKLOG_CLOSED) && !(bits & BACKLOG_MOVED))
		v.flags |= MARK_CLOSED;
	below = holds_below(s, job, seen, belief);
	if (below) /* their deletion goes first */
		v.flags |= MARK_RETYPED;
	mark = (struct gone_mark){v.action, v.flags | flags, 0, linked ? seen->ino : 0};
	if (v.action != MARK_META && S_ISREG(seen->mode))
		mark.size = seen->size;
	if (below)
		gone_below(s, job, look, true, &mark);
	else
		saw(outbox_mark(s, job, buf_bytes(&s->path), look, mark.action, mark.flags,
		                mark.size, mark.link),
		    seen);
	if (linked)
		mark_links(s, job, seen, belief, v.action, bits, look,
		           flags | (v.flags & MARK_LOW));
	return true;
}
