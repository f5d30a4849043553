/* What the loop thread does to a ledger. It alone changes belief, so what it has read before taking
 * the lock still stands afterwards; a commit moves belief between layers and changes none. */
#include <errno.h>
#include "base/mem.h"
#include "base/path.h"
#include "ledger/ledger_impl.h"

static void put_locked(struct ledger *l, struct bytes path, const struct store_record *record,
                       bool fresh)
{
	overlay_put(l->front, path, record);
	if (fresh && path.n)
		l->entries++;
}

/* Every parent gets at least the record of a mere parent. */
static void add_parents_locked(struct ledger *l, struct bytes path)
{
	struct store_record record, parent = {0};

	while (path.n) {
		path = path_parent(path);
		if (!path.n || ledger_find_locked(l, path, &record))
			return;
		put_locked(l, path, &parent, true);
	}
}

/* Something below is confirmed, so these are directories over there, whatever was known. */
static void confirm_parents_locked(struct ledger *l, struct bytes path)
{
	while (path.n) {
		struct store_record record = {0};
		bool found;

		path = path_parent(path);
		if (!path.n)
			return;
		found = ledger_find_locked(l, path, &record);
		if (found && S_ISDIR(record.fp.mode))
			return;
		record.fp = (struct fingerprint){.mode = S_IFDIR};
		put_locked(l, path, &record, !found);
	}
}

static bool stop_at_first(struct bytes name, const struct store_record *record, void *arg)
{
	(void)name;
	(void)record;
	*(bool *)arg = true;
	return false;
}

/* Without the lock: drops mere parents that have nothing left below them, upwards from `path`. */
static void prune(struct ledger *l, struct bytes path)
{
	for (; path.n; path = path_parent(path)) {
		struct store_record record;
		bool found, occupied = false;

		ledger_lock(l);
		found = ledger_find_locked(l, path, &record);
		ledger_unlock(l);
		if (!found || !ledger_mere_parent(&record))
			return;
		ledger_list_records(l, path, stop_at_first, &occupied);
		if (occupied)
			return;
		ledger_lock(l);
		overlay_remove(l->front, path);
		l->entries--;
		ledger_touched_locked(l);
		ledger_unlock(l);
	}
}

void ledger_add_intent_locked(struct ledger *l, struct bytes path)
{
	struct store_record record = {0};
	bool found = ledger_find_locked(l, path, &record);

	if (!found)
		add_parents_locked(l, path);
	if (record.intents < UINT32_MAX)
		record.intents++;
	put_locked(l, path, &record, !found);
}

/* The append and the change are one step to a commit: otherwise it could switch the files between
 * them, and discard an intent that is in no layer it has written (I11). */
int ledger_intend(struct ledger *l, const struct bytes *paths, size_t n)
{
	int r;

	if (!n)
		return 0;
	ledger_lock(l);
	r = l->log->append(l->log, paths, n);
	for (size_t i = 0; i < n; i++)
		ledger_add_intent_locked(l, paths[i]);
	ledger_touched_locked(l);
	ledger_unlock(l);
	return r;
}

void ledger_withdraw(struct ledger *l, struct bytes path)
{
	struct store_record record;
	bool found;

	ledger_lock(l);
	found = ledger_find_locked(l, path, &record) && record.intents;
	if (found) {
		record.intents--;
		put_locked(l, path, &record, false);
		ledger_touched_locked(l);
	}
	ledger_unlock(l);
	if (found)
		prune(l, path);
}

/* Directories still to be counted: paths, le16 length behind each, so that the last can be taken.
 */
struct count_walk {
	struct buf todo, dir, path;
	uint64_t names;
};

static void count_push(struct count_walk *walk, struct bytes path)
{
	buf_add_bytes(&walk->todo, path);
	buf_add_le16(&walk->todo, (uint16_t)path.n);
}

static void count_pop(struct count_walk *walk)
{
	struct cursor c =
	        cursor_of((struct bytes){walk->todo.p + walk->todo.n - 2, sizeof(uint16_t)});
	size_t n = cursor_le16(&c);

	walk->todo.n -= n + 2;
	buf_clear(&walk->dir);
	buf_add(&walk->dir, walk->todo.p + walk->todo.n, n);
}

static bool count_name(struct bytes name, const struct store_record *record, void *arg)
{
	struct count_walk *walk = arg;

	walk->names++;
	if (record->parent) {
		path_join(&walk->path, buf_bytes(&walk->dir), name);
		count_push(walk, buf_bytes(&walk->path));
	}
	return true;
}

/* How many names are believed below path. */
static uint64_t count_below(struct ledger *l, struct bytes path)
{
	struct count_walk walk = {.names = 0};

	buf_init(&walk.todo, SIZE_MAX);
	buf_init(&walk.dir, PATH_BYTES_MAX);
	buf_init(&walk.path, PATH_BYTES_MAX);
	count_push(&walk, path);
	while (walk.todo.n) {
		count_pop(&walk);
		ledger_list_records(l, buf_bytes(&walk.dir), count_name, &walk);
	}
	buf_done(&walk.todo);
	buf_done(&walk.dir);
	buf_done(&walk.path);
	return walk.names;
}

void ledger_confirm(struct ledger *l, struct bytes path, const struct fingerprint *fp)
{
	struct store_record record = {.fp = *fp}, old;
	uint64_t below = 0;
	bool found;

	check(fp->mode);
	ledger_lock(l);
	found = ledger_find_locked(l, path, &old);
	ledger_unlock(l);
	/* What is not a directory has nothing below it, whatever stood there before. */
	if (found && !S_ISDIR(fp->mode))
		below = count_below(l, path);
	ledger_lock(l);
	confirm_parents_locked(l, path);
	if (below) {
		overlay_clear_below(l->front, path);
		l->entries -= below;
	}
	put_locked(l, path, &record, !found);
	l->confirmed = true;
	ledger_touched_locked(l);
	ledger_unlock(l);
}

static void remove_path(struct ledger *l, struct bytes path, bool confirmed)
{
	struct store_record old;
	uint64_t names;
	bool found;

	ledger_lock(l);
	found = ledger_find_locked(l, path, &old);
	ledger_unlock(l);
	if (!found && path.n)
		return;
	names = count_below(l, path) + (path.n ? 1 : 0);
	ledger_lock(l);
	overlay_remove(l->front, path);
	l->entries -= names;
	l->confirmed = l->confirmed || confirmed;
	ledger_touched_locked(l);
	ledger_unlock(l);
	if (path.n)
		prune(l, path_parent(path));
}

void ledger_confirm_gone(struct ledger *l, struct bytes path)
{
	remove_path(l, path, true);
}

void ledger_forget(struct ledger *l, struct bytes path)
{
	remove_path(l, path, false);
}

static bool take_found(struct bytes path, void *arg)
{
	struct ledger *l = arg;

	buf_add_le16(&l->found, (uint16_t)path.n);
	buf_add_bytes(&l->found, path);
	return true;
}

static bool take_logged(struct bytes path, void *arg)
{
	struct ledger *l = arg;
	struct store_record record;

	if (ledger_find_locked(l, path, &record) && record.intents)
		return true;
	ledger_add_intent_locked(l, path);
	return take_found(path, l);
}

void ledger_read_intents(struct ledger *l)
{
	struct store_view *view = l->store->view(l->store);

	buf_init(&l->found, SIZE_MAX);
	l->store->intended(l->store, view, take_found, l);
	l->store->unview(l->store, view);
	ledger_lock(l);
	l->log->each(l->log, take_logged, l);
	ledger_unlock(l);
}
