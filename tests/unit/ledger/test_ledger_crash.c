/* kill -9 at any point: the state directory is copied between any two of its writes, and whatever
 * the copy opens as must still know every name that the target may hold (I11). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>
#include "base/mem.h"
#include "base/path.h"
#include "ledger/store_lmdb.h"
#include "model.h"
#include "scratch.h"

static const struct ledger_identity identity = {"root", "target", 1, 2};

struct world {
	struct random random;
	struct model model, before; /* before: as it was when the change under way began */
	char *dir, *copy;
	struct ledger *l;
	struct store *store; /* the real ones, behind the hooks */
	struct intent_log *log;
	size_t crashes;
};
static struct world *world; /* for the hooks */

static void check_superset(struct model *m, struct ledger *l)
{
	for (size_t i = 0; i < m->n; i++) {
		struct model_entry *e = &m->entries[i];
		struct bytes path = {e->path, e->n};
		struct belief b;

		ledger_get(l, path, &b);
		if (b.state == LEDGER_ABSENT)
			fail_msg("%s was forgotten", path_show(path));
		if (e->intents && !(b.state & LEDGER_INTENDED))
			fail_msg("%s: the intent was forgotten", path_show(path));
		/* What changed since has been intended before. */
		if (b.state == LEDGER_CONFIRMED && e->fp.nlink == 1 &&
		    memcmp(&b.fp, &e->fp, sizeof(b.fp)) != 0)
			fail_msg("%s: an outdated fingerprint is believed", path_show(path));
	}
}

static bool gather(struct bytes path, void *arg)
{
	buf_add_le16(arg, (uint16_t)path.n);
	buf_add_bytes(arg, path);
	return true;
}

/* The names that an inode is said to have are confirmed with it; returns how many. */
static size_t check_aliases(struct ledger *l, uint64_t ino)
{
	struct cursor c;
	struct buf names;
	size_t n = 0;

	buf_init(&names, 1u << 20);
	ledger_aliases(l, 7, ino, gather, &names);
	for (c = cursor_of(buf_bytes(&names)); cursor_left(&c); n++) {
		struct bytes path = cursor_take(&c, cursor_le16(&c));
		struct belief b;

		ledger_get(l, path, &b);
		if (!(b.state & LEDGER_CONFIRMED) || S_ISDIR(b.fp.mode) || b.fp.ino != ino)
			fail_msg("%s is not of inode %llu", path_show(path),
			         (unsigned long long)ino);
	}
	buf_done(&names);
	return n;
}

struct inode_walk {
	struct ledger *l;
	struct bytes dir;
	size_t names;
};

static bool count_indexed(struct bytes name, const struct belief *belief, void *arg)
{
	struct inode_walk *outer = arg;
	struct inode_walk walk = {.l = outer->l};
	struct buf path;

	buf_init(&path, PATH_BYTES_MAX);
	path_join(&path, outer->dir, name);
	walk.dir = buf_bytes(&path);
	outer->names += (belief->state & LEDGER_CONFIRMED) && !S_ISDIR(belief->fp.mode);
	ledger_list(walk.l, walk.dir, count_indexed, &walk);
	outer->names += walk.names;
	buf_done(&path);
	return true;
}

/* What is found by inode is what is found by name. */
static void check_inodes(struct ledger *l)
{
	struct inode_walk walk = {.l = l};
	size_t names = 0;

	for (uint64_t ino = 1; ino < 150; ino++)
		names += check_aliases(l, ino);
	ledger_list(l, walk.dir, count_indexed, &walk);
	assert_int_equal(names, walk.names);
}

static void crash(void)
{
	struct world *w = world;
	struct ledger *l;
	struct err err = {0};
	unsigned found;

	scratch_copy(w->dir, w->copy);
	assert_int_equal(ledger_open(&l, w->copy, &identity, &found, &err), 0);
	assert_false(found & LEDGER_FOUND_CORRUPT);
	check_superset(&w->before, l);
	check_inodes(l);
	ledger_close(l);
	/* And once more after the clean end of the next run. */
	assert_int_equal(ledger_open(&l, w->copy, &identity, &found, &err), 0);
	assert_false(found & LEDGER_FOUND_UNCLEAN);
	check_superset(&w->before, l);
	check_inodes(l);
	ledger_close(l);
	w->crashes++;
}

static int hooked_commit(struct store *s, const struct store_change *changes, size_t n,
                         const char *const *meta_keys, const struct bytes *meta_values,
                         size_t metas, struct err *err)
{
	int r;

	(void)s;
	crash();
	r = world->store->commit(world->store, changes, n, meta_keys, meta_values, metas, err);
	crash();
	return r;
}

static int hooked_append(struct intent_log *log, const struct bytes *paths, size_t n)
{
	(void)log;
	return world->log->append(world->log, paths, n);
}

static int hooked_switch_over(struct intent_log *log)
{
	(void)log;
	return world->log->switch_over(world->log);
}

static int hooked_discard_old(struct intent_log *log)
{
	(void)log;
	return world->log->discard_old(world->log);
}

static struct store_view *hooked_view(struct store *s)
{
	(void)s;
	return world->store->view(world->store);
}

static void hooked_unview(struct store *s, struct store_view *v)
{
	(void)s;
	world->store->unview(world->store, v);
}

static bool hooked_get(struct store *s, struct store_view *v, struct bytes path,
                       struct store_record *ret)
{
	(void)s;
	return world->store->get(world->store, v, path, ret);
}

static void hooked_list(struct store *s, struct store_view *v, struct bytes dir,
                        bool (*fn)(struct bytes name, const struct store_record *r, void *arg),
                        void *arg)
{
	(void)s;
	world->store->list(world->store, v, dir, fn, arg);
}

static void hooked_intended(struct store *s, struct store_view *v,
                            bool (*fn)(struct bytes path, void *arg), void *arg)
{
	(void)s;
	world->store->intended(world->store, v, fn, arg);
}

static uint64_t hooked_entries(struct store *s)
{
	(void)s;
	return world->store->entries(world->store);
}

static bool hooked_meta(struct store *s, const char *key, struct buf *ret)
{
	(void)s;
	return world->store->meta(world->store, key, ret);
}

static void hooked_each(struct intent_log *log, bool (*fn)(struct bytes path, void *arg), void *arg)
{
	(void)log;
	world->log->each(world->log, fn, arg);
}

/* As the engine does: nothing is confirmed or removed that was not intended before. */
static void step(struct world *w)
{
	char room[64];
	struct bytes path = random_path(&w->random, room, sizeof(room));
	const struct model_entry *e = model_find(&w->model, path);
	struct fingerprint fp;
	uint32_t what = random_below(&w->random, 10);

	if (what == 0) {
		assert_int_equal(ledger_commit(w->l), 0);
	} else if (!e || !e->intents) {
		model_intend(&w->model, path);
		assert_int_equal(ledger_intend(w->l, &path, 1), 0);
	} else if (what < 3) {
		model_withdraw(&w->model, path);
		ledger_withdraw(w->l, path);
	} else if (what < 5) {
		model_gone(&w->model, path);
		ledger_confirm_gone(w->l, path);
	} else {
		random_fingerprint(&w->random, &fp);
		model_confirm(&w->model, path, &fp);
		ledger_confirm(w->l, path, &fp);
	}
	w->before = w->model;
	crash();
}

static void ledger_killed_at_any_point_forgets_no_intended_name(void **state)
{
	static struct store hooked = {
	        .view = hooked_view,
	        .unview = hooked_unview,
	        .get = hooked_get,
	        .list = hooked_list,
	        .intended = hooked_intended,
	        .entries = hooked_entries,
	        .commit = hooked_commit,
	        .meta = hooked_meta,
	};
	static struct intent_log hooked_log = {
	        .append = hooked_append,
	        .switch_over = hooked_switch_over,
	        .discard_old = hooked_discard_old,
	        .each = hooked_each,
	};

	(void)state;
	for (uint64_t seed = 1; seed <= 2; seed++) {
		struct world *w = world = mem_alloc(sizeof(*w));
		autofree char *path = NULL;
		struct err err = {0};
		bool fresh, found;

		print_message("# seed %llu\n", (unsigned long long)seed);
		w->random.state = seed;
		w->dir = scratch_make();
		w->copy = scratch_make();
		path = mem_printf("%s/ledger.mdb", w->dir);
		assert_int_equal(store_lmdb_open(&w->store, path, &fresh, &err), 0);
		assert_int_equal(intents_open(&w->log, w->dir, &found, &err), 0);
		w->l = ledger_new(&hooked, &hooked_log);
		ledger_adopt(w->l, &identity);
		for (int i = 0; i < 120; i++)
			step(w);
		assert_true(w->crashes > 120);
		ledger_drop(w->l);
		w->store->close(w->store);
		w->log->close(w->log);
		scratch_remove(w->dir);
		scratch_remove(w->copy);
		free(w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(ledger_killed_at_any_point_forgets_no_intended_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
