/*
 * group: the names of one inode go together (I6). A list in which one is missing could replace the
 * inode under the others and leave that one behind with the old content.
 */
#include "base/mem.h"
#include "engine/internal.h"

/* Of larger groups the first ones: the look that made a mark has marked them all. */
enum { NAMES_ASKED = 256, NAMES_BYTES = 1 << 20 };
enum { LOOK_NS = 20000000 }; /* looks are waited for */

struct group_names {
	struct buf paths; /* le16 length, path */
	size_t n;
};

static bool group_add_name(struct bytes path, void *arg)
{
	struct group_names *names = arg;

	buf_add_le16(&names->paths, (uint16_t)path.n);
	buf_add_bytes(&names->paths, path);
	return ++names->n < NAMES_ASKED && names->paths.n < NAMES_BYTES - PATH_BYTES_MAX - 2;
}

/* The names that the target is believed to have for an inode; buf_done() the paths. */
static void group_read(struct engine *e, struct group_names *names, uint64_t dev, uint64_t ino)
{
	*names = (struct group_names){.n = 0};
	buf_init(&names->paths, NAMES_BYTES);
	ledger_aliases(e->ledger, dev, ino, group_add_name, names);
}

static struct bytes group_next(struct cursor *c)
{
	return cursor_take(c, cursor_le16(c));
}

/* For a person, or for its own retry, which takes the others along. Until then it stands as failed
 * or held, and each list of the others would only fail there again. */
static bool group_waits(const struct engine *e, struct bytes path)
{
	return hold_has(e, path) || failure_waits(e, path);
}

void group_join(struct engine *e, const struct belief *known, const struct mark *m,
                const struct fingerprint *fp, int64_t now_ns)
{
	/* Not as attributes: of those a list may lack a name. */
	struct mark joint = {
	        .action = MARK_QUICK, .born = m->born, .since_ns = m->since_ns, .link = fp->ino};
	bool apart = fp->nlink > 1 && m->link != fp->ino;
	struct group_names names;
	struct cursor c;

	/* Nothing new: names that cannot be brought into line must not make the others go again
	 * and again. */
	if ((known->state & LEDGER_CONFIRMED) && known->fp.ino == fp->ino &&
	    known->fp.nlink == fp->nlink && m->link == fp->ino)
		return;
	group_read(e, &names, fp->dev, fp->ino);
	for (c = cursor_of(buf_bytes(&names.paths)); !apart && cursor_left(&c);) {
		struct bytes path = group_next(&c);
		struct belief b;

		if (bytes_equal(path, m->path) || pathset_has(e->set, path) || group_waits(e, path))
			continue;
		ledger_get(e->ledger, path, &b);
		apart = (b.state & LEDGER_CONFIRMED) && (fp->nlink == 1 || b.fp.nlink == 1);
	}
	for (c = cursor_of(buf_bytes(&names.paths)); apart && cursor_left(&c);) {
		joint.path = group_next(&c);
		if (bytes_equal(joint.path, m->path) ||
		    (!pathset_has(e->set, joint.path) && !group_waits(e, joint.path)))
			pathset_put(e->set, &joint, now_ns);
	}
	if (apart) /* a look that swallows the mark would find it confirmed */
		engine_content_due(e, m->path, m->born, m->since_ns, false);
	buf_done(&names.paths);
}

/* The device is that of the name, or else of the root: a tree is on one file system, as a rule. */
static void group_read_of(struct engine *e, struct group_names *names, const struct mark *m)
{
	struct belief b;

	ledger_get(e->ledger, m->path, &b);
	if (!(b.state & LEDGER_CONFIRMED))
		ledger_get(e->ledger, (struct bytes){0}, &b);
	group_read(e, names, b.fp.dev, m->link);
}

/* The names that the target is believed to have for the inode m->link, but for m->path itself. */
static void group_look_at(struct engine *e, const struct mark *m, bool content, int64_t now_ns)
{
	struct group_names names;

	group_read_of(e, &names, m);
	for (struct cursor c = cursor_of(buf_bytes(&names.paths)); cursor_left(&c);) {
		struct bytes path = group_next(&c);

		if (!bytes_equal(path, m->path) && !group_waits(e, path))
			engine_put_look(e, path, m->born, m->since_ns, content, now_ns);
	}
	buf_done(&names.paths);
}

void group_doubt(struct engine *e, const struct flight *f, const struct mark *m,
                 const struct fingerprint *fp, int64_t now_ns)
{
	struct mark of = {
	        .path = m->path, .born = m->born, .since_ns = m->since_ns, .link = fp->ino};

	for (size_t i = 0; i < batch_count(f->batch); i++) {
		const struct mark *other = batch_mark(f->batch, i);

		if (other != m && other->link == fp->ino)
			engine_put_look(e, other->path, m->born, m->since_ns, true, now_ns);
	}
	group_look_at(e, &of, true, now_ns);
}

struct group_link {
	struct bytes path;
	uint64_t ino;
};

static bool group_take_link(const struct mark *mark, bool in_flight, void *arg)
{
	struct group_link *l = arg;

	(void)in_flight;
	if (bytes_equal(mark->path, l->path))
		l->ino = mark->link ? mark->link : l->ino;
	return bytes_equal(mark->path, l->path);
}

/* Those that the ledger does not know yet: their list was made before. */
static void group_look_at_flying(struct engine *e, const struct mark *m, int64_t now_ns)
{
	struct flight *f, *next;

	HASH_ITER (hh, e->flights, f, next) {
		for (size_t i = 0; f->batch && i < batch_count(f->batch); i++) {
			const struct mark *other = batch_mark(f->batch, i);

			if (other->link == m->link && batch_open(f->batch, i) &&
			    !bytes_equal(other->path, m->path))
				engine_put_look(e, other->path, m->born, m->since_ns, false,
				                now_ns);
		}
	}
}

static void group_left_by(struct engine *e, const struct mark *m, uint64_t ino, bool written,
                          int64_t now_ns)
{
	struct mark of = {.path = m->path, .born = m->born, .since_ns = m->since_ns, .link = ino};

	group_look_at(e, &of, written, now_ns);
	if (!written)
		group_look_at_flying(e, &of, now_ns);
}

void group_left(struct engine *e, const struct mark *m, int64_t now_ns)
{
	struct group_link coming = {.path = m->path};
	bool written = m->action == MARK_CONTENT;
	uint64_t known = 0;
	struct belief b;

	if (written)
		pathset_stir(e->set, m->path, now_ns);
	pathset_each(e->set, m->path, group_take_link, &coming);
	ledger_get(e->ledger, m->path, &b);
	if ((b.state & LEDGER_CONFIRMED) && S_ISREG(b.fp.mode) && b.fp.nlink > 1)
		known = b.fp.ino;
	if (known)
		group_left_by(e, m, known, written, now_ns);
	if (coming.ino && coming.ino != known)
		group_left_by(e, m, coming.ino, written, now_ns);
}

static void group_catch_up_one(struct engine *e, const struct mark *m, int64_t now_ns)
{
	struct mark joint = {.action = m->action,
	                     .born = m->born,
	                     .since_ns = m->since_ns,
	                     .size = m->size,
	                     .link = m->link};
	struct group_names names;

	group_read_of(e, &names, m);
	for (struct cursor c = cursor_of(buf_bytes(&names.paths)); cursor_left(&c);) {
		struct belief b;

		joint.path = group_next(&c);
		if (pathset_has(e->set, joint.path) || group_waits(e, joint.path))
			continue;
		ledger_get(e->ledger, joint.path, &b);
		if ((b.state & LEDGER_CONFIRMED) && b.fp.ctime_ns != m->ctime_ns)
			pathset_put(e->set, &joint, now_ns);
	}
	buf_done(&names.paths);
}

void group_catch_up(struct engine *e, const struct mark *marks, size_t n, int64_t now_ns)
{
	const struct mark *last = NULL;

	for (size_t i = 0; i < n; i++) {
		const struct mark *m = &marks[i];

		if (!m->link || !m->ctime_ns || (m->flags & MARK_IF_PENDING) ||
		    (m->action != MARK_QUICK && m->action != MARK_CONTENT))
			continue;
		/* A look marks the names of a group one after the other. */
		if (last && last->link == m->link && last->ctime_ns == m->ctime_ns &&
		    last->action >= m->action)
			continue;
		group_catch_up_one(e, m, now_ns);
		last = m;
	}
}

static bool group_is_look(const struct mark *mark, bool in_flight, void *arg)
{
	(void)in_flight;
	*(bool *)arg |= mark->action == MARK_LOOK;
	return true;
}

/* Where there is no room a mark has become a part of a look, or will when those in flight are back.
 */
static bool group_keeps(const struct engine *e, struct bytes path)
{
	size_t marks = pathset_pending(e->set) + pathset_in_flight(e->set);

	return pathset_has(e->set, path) && marks <= e->config.marks_limit;
}

/* Marks the names that were confirmed since the look that made the mark. Sets *ret_ns to when the
 * group may go: INT64_MIN: now, in this batch; else not without those names, or not before they
 * have been looked at. */
static void group_complete(struct engine *e, const struct mark *m, int64_t now_ns, int64_t *ret_ns)
{
	struct mark joint = {
	        .action = MARK_META, .born = m->born, .since_ns = m->since_ns, .link = m->link};
	struct group_names names;
	int64_t at_ns;

	*ret_ns = INT64_MIN;
	group_read_of(e, &names, m);
	for (struct cursor c = cursor_of(buf_bytes(&names.paths)); cursor_left(&c);) {
		joint.path = group_next(&c);
		if (pathset_has(e->set, joint.path)) {
			/* In this batch, or about to leave, or nobody knows yet. */
			bool look = false;

			pathset_each(e->set, joint.path, group_is_look, &look);
			if (look && *ret_ns < now_ns + LOOK_NS)
				*ret_ns = now_ns + LOOK_NS;
			continue;
		}
		if (group_waits(e, joint.path))
			continue;
		pathset_put(e->set, &joint, now_ns);
		at_ns = group_keeps(e, joint.path) ? now_ns : now_ns + LOOK_NS;
		if (*ret_ns < at_ns)
			*ret_ns = at_ns;
	}
	buf_done(&names.paths);
}

struct member {
	uint64_t link;
	size_t item;
};

static int member_order(const void *va, const void *vb)
{
	const struct member *a = va, *b = vb;

	if (a->link != b->link)
		return a->link < b->link ? -1 : 1;
	return a->item < b->item ? -1 : a->item > b->item;
}

static void group_hold(struct engine *e, struct batch *batch, const struct member *members,
                       size_t n, int64_t now_ns)
{
	size_t i = 0;
	int64_t at_ns;

	while (i < n && batch_mark(batch, members[i].item)->action == MARK_META)
		i++;
	if (i == n)
		return;
	group_complete(e, batch_mark(batch, members[i].item), now_ns, &at_ns);
	for (i = 0; at_ns != INT64_MIN && i < n; i++)
		batch_nack(batch, members[i].item, batch_mark(batch, members[i].item)->action,
		           now_ns, at_ns);
}

void group_hold_parts(struct engine *e, struct batch *batch, int64_t now_ns)
{
	autofree struct member *members = mem_array(batch_count(batch) + 1, sizeof(*members));
	size_t n = 0, next;

	for (size_t i = 0; i < batch_count(batch); i++) {
		if (batch_open(batch, i) && batch_mark(batch, i)->link)
			members[n++] = (struct member){batch_mark(batch, i)->link, i};
	}
	/* Each group is asked for once: it may be as large as the batch. */
	qsort(members, n, sizeof(*members), member_order);
	for (size_t i = 0; i < n; i = next) {
		for (next = i + 1; next < n && members[next].link == members[i].link;)
			next++;
		group_hold(e, batch, members + i, next - i, now_ns);
	}
}
