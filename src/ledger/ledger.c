#include "ledger/ledger.h"
#include "base/mem.h"
#include "base/path.h"
#include "ledger/ledger_impl.h"

static struct belief belief_of(const struct store_record *record)
{
	struct belief b = {.state = LEDGER_ABSENT, .fp = record->fp};

	/* A mere parent was on its way whenever something below it was. */
	if (record->intents || !record->fp.mode)
		b.state |= LEDGER_INTENDED;
	if (record->fp.mode)
		b.state |= LEDGER_CONFIRMED;
	return b;
}

/* The newest fingerprint of the record's group. */
static void refresh_group(const struct ledger *l, struct store_record *record)
{
	struct fingerprint *fp = &record->fp;

	if (!store_linked(fp))
		return;
	if (!overlay_group(l->front, fp->dev, fp->ino, fp) && l->back)
		(void)overlay_group(l->back, fp->dev, fp->ino, fp);
}

static enum overlay_answer find_in_layers(struct ledger *l, struct bytes path,
                                          struct store_record *ret)
{
	enum overlay_answer answer = overlay_find(l->front, path, ret);

	if (answer == OVERLAY_UNKNOWN && l->back)
		answer = overlay_find(l->back, path, ret);
	if (answer == OVERLAY_PRESENT)
		refresh_group(l, ret);
	return answer;
}

bool ledger_find_locked(struct ledger *l, struct bytes path, struct store_record *ret)
{
	struct store_view *view;
	bool found;

	switch (find_in_layers(l, path, ret)) {
	case OVERLAY_PRESENT:
		return true;
	case OVERLAY_ABSENT:
		return false;
	case OVERLAY_UNKNOWN:
		break;
	}
	view = l->store->view(l->store);
	found = l->store->get(l->store, view, path, ret);
	l->store->unview(l->store, view);
	if (found)
		refresh_group(l, ret);
	return found;
}

void ledger_get(struct ledger *l, struct bytes path, struct belief *ret)
{
	struct store_record record;
	struct store_view *view = NULL;
	enum overlay_answer answer;
	bool found;

	ledger_lock(l);
	answer = find_in_layers(l, path, &record);
	if (answer == OVERLAY_UNKNOWN)
		view = l->store->view(l->store);
	ledger_unlock(l);
	found = answer == OVERLAY_PRESENT;
	if (answer == OVERLAY_UNKNOWN) {
		found = l->store->get(l->store, view, path, &record);
		l->store->unview(l->store, view);
		if (found && store_linked(&record.fp)) {
			/* A layer may know better, and may have been committed meanwhile. */
			ledger_lock(l);
			found = ledger_find_locked(l, path, &record);
			ledger_unlock(l);
		}
	}
	/* The root is nobody's parent on the way: an empty record says nothing about it. */
	if (found && !path.n && ledger_mere_parent(&record))
		found = false;
	*ret = found ? belief_of(&record) : (struct belief){.state = LEDGER_ABSENT};
}

/* One listing: what the layers say, merged on the fly with what the store lists. */
struct listing {
	struct ledger *l;
	struct bytes dir;
	struct overlay_listing over;
	size_t next;
	bool groups; /* a layer has groups: linked rows of the store may be outdated */
	bool stopped;
	ledger_record_fn *fn;
	void *arg;
};

static bool listing_emit(struct listing *ls, struct bytes name, const struct store_record *record)
{
	ls->stopped = !ls->fn(name, record, ls->arg);
	return !ls->stopped;
}

/* Emits what the layers have before `name`; NULL: all the rest. *same: their word on name itself.
 */
static bool listing_advance(struct listing *ls, const struct bytes *name,
                            const struct overlay_child **same)
{
	*same = NULL;
	for (; ls->next < ls->over.n; ls->next++) {
		const struct overlay_child *child = &ls->over.children[ls->next];
		int order = name ? bytes_compare(child->name, *name) : -1;

		if (order > 0)
			break;
		if (order == 0) {
			*same = child;
			ls->next++;
			break;
		}
		if (child->answer == OVERLAY_PRESENT &&
		    !listing_emit(ls, child->name, &child->record))
			return false;
	}
	return true;
}

/* A linked row is read again through the layers, as of now. */
static bool listing_emit_linked(struct listing *ls, struct bytes name)
{
	struct store_record record;
	struct buf path;
	bool found;

	buf_init(&path, PATH_BYTES_MAX);
	path_join(&path, ls->dir, name);
	ledger_lock(ls->l);
	found = ledger_find_locked(ls->l, buf_bytes(&path), &record);
	ledger_unlock(ls->l);
	buf_done(&path);
	record.parent = true; /* unknown */
	return found ? listing_emit(ls, name, &record) : true;
}

static bool listing_store_row(struct bytes name, const struct store_record *record, void *arg)
{
	struct listing *ls = arg;
	const struct overlay_child *same;
	struct store_record merged;

	if (!listing_advance(ls, &name, &same))
		return false;
	switch (same ? same->answer : OVERLAY_UNKNOWN) {
	case OVERLAY_ABSENT:
		return true;
	case OVERLAY_PRESENT:
		merged = same->record;
		break;
	case OVERLAY_UNKNOWN:
		if (ls->groups && store_linked(&record->fp))
			return listing_emit_linked(ls, name);
		merged = *record;
		break;
	}
	merged.parent = record->parent || (same && same->record.parent);
	return listing_emit(ls, name, &merged);
}

/* With the lock held: both layers' word on the directory. */
static void listing_copy_layers(struct listing *ls)
{
	struct overlay_listing back;

	overlay_list(ls->l->front, ls->dir, &ls->over);
	ls->groups = overlay_has_groups(ls->l->front);
	if (ls->l->back) {
		ls->groups = ls->groups || overlay_has_groups(ls->l->back);
		if (!ls->over.hides) {
			overlay_list(ls->l->back, ls->dir, &back);
			overlay_listing_merge(&ls->over, &back);
		}
	}
	for (size_t i = 0; i < ls->over.n; i++) {
		if (ls->over.children[i].answer == OVERLAY_PRESENT)
			refresh_group(ls->l, &ls->over.children[i].record);
	}
}

void ledger_list_records(struct ledger *l, struct bytes dir, ledger_record_fn *fn, void *arg)
{
	struct listing ls = {.l = l, .dir = dir, .fn = fn, .arg = arg};
	const struct overlay_child *same;
	struct store_view *view = NULL;

	ledger_lock(l);
	listing_copy_layers(&ls);
	if (!ls.over.hides)
		view = l->store->view(l->store);
	ledger_unlock(l);
	if (!ls.over.hides) {
		l->store->list(l->store, view, dir, listing_store_row, &ls);
		l->store->unview(l->store, view);
	}
	if (!ls.stopped)
		(void)listing_advance(&ls, NULL, &same);
	overlay_listing_done(&ls.over);
}

struct belief_walk {
	bool (*fn)(struct bytes name, const struct belief *belief, void *arg);
	void *arg;
};

static bool list_belief(struct bytes name, const struct store_record *record, void *arg)
{
	struct belief_walk *walk = arg;
	struct belief b = belief_of(record);

	return walk->fn(name, &b, walk->arg);
}

void ledger_list(struct ledger *l, struct bytes dir,
                 bool (*fn)(struct bytes name, const struct belief *belief, void *arg), void *arg)
{
	struct belief_walk walk = {fn, arg};

	ledger_list_records(l, dir, list_belief, &walk);
}

static bool first_name(struct bytes name, const struct belief *belief, void *arg)
{
	(void)name;
	(void)belief;
	*(bool *)arg = true;
	return false;
}

bool ledger_has_below(struct ledger *l, struct bytes dir)
{
	struct belief belief;
	bool found = false;

	ledger_get(l, dir, &belief);
	if (dir.n && belief.state == LEDGER_ABSENT)
		return false; /* what is above a known name is known, too */
	ledger_list(l, dir, first_name, &found);
	return found;
}

/* The names of one inode: a layer's word on a name replaces what is said underneath. */
struct alias_walk {
	struct ledger *l;
	bool more;
	bool (*fn)(struct bytes path, void *arg);
	void *arg;
};

static bool layer_knows(const struct overlay *layer, struct bytes path)
{
	struct store_record record;

	return layer && overlay_find(layer, path, &record) != OVERLAY_UNKNOWN;
}

static bool alias_in_back(struct bytes path, void *arg)
{
	struct alias_walk *walk = arg;

	if (!layer_knows(walk->l->front, path))
		walk->more = walk->fn(path, walk->arg);
	return walk->more;
}

static bool alias_in_store(struct bytes path, void *arg)
{
	struct alias_walk *walk = arg;

	return layer_knows(walk->l->back, path) || alias_in_back(path, walk);
}

void ledger_aliases(struct ledger *l, uint64_t dev, uint64_t ino,
                    bool (*fn)(struct bytes path, void *arg), void *arg)
{
	struct alias_walk walk = {l, true, fn, arg};
	struct store_view *view;

	ledger_lock(l);
	view = l->store->view(l->store);
	l->store->aliases(l->store, view, dev, ino, alias_in_store, &walk);
	l->store->unview(l->store, view);
	if (walk.more && l->back)
		(void)overlay_aliases(l->back, dev, ino, alias_in_back, &walk);
	if (walk.more)
		(void)overlay_aliases(l->front, dev, ino, fn, arg);
	ledger_unlock(l);
}

uint64_t ledger_entries(struct ledger *l)
{
	uint64_t n;

	ledger_lock(l);
	n = l->entries;
	ledger_unlock(l);
	return n;
}

void ledger_each_intended(struct ledger *l, bool (*fn)(struct bytes path, void *arg), void *arg)
{
	struct cursor c = cursor_of(buf_bytes(&l->found));

	while (cursor_left(&c)) {
		struct bytes path = cursor_take(&c, cursor_le16(&c));
		struct belief b;

		ledger_get(l, path, &b);
		if ((b.state & LEDGER_INTENDED) && !fn(path, arg))
			return;
	}
}
