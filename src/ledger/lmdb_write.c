#include <errno.h>
#include "base/mem.h"
#include "ledger/lmdb_impl.h"

/* One write transaction; counters reach the store when it has been committed. */
struct write {
	struct store_lmdb *s;
	MDB_txn *txn;
	uint64_t entries, next_dir;
	struct buf parent; /* the directory used last: neighbours mostly share it */
	uint64_t parent_id;
	bool parent_known;
};

static int put_row(struct write *w, enum lmdb_table table, struct bytes key, struct bytes value)
{
	MDB_val k = lmdb_val(key), v = lmdb_val(value);

	return lmdb_errno(mdb_put(w->txn, w->s->table[table], &k, &v, 0));
}

static int delete_row(struct write *w, enum lmdb_table table, struct bytes key)
{
	MDB_val k = lmdb_val(key);
	int rc = mdb_del(w->txn, w->s->table[table], &k, NULL);

	return rc == MDB_NOTFOUND ? 0 : lmdb_errno(rc);
}

static int put_entry(struct write *w, struct lmdb_place at, const struct record_entry *e)
{
	struct record_buf key, value;

	record_key_entry(&key, at.dir_id, at.name);
	record_put_entry(&value, record_bytes(&key), e);
	return put_row(w, TABLE_ENTRY, record_bytes(&key), record_bytes(&value));
}

static int set_intent_row(struct write *w, struct lmdb_place at, bool intended)
{
	struct record_buf key, value;

	record_key_entry(&key, at.dir_id, at.name);
	if (!intended)
		return delete_row(w, TABLE_INTENT, record_bytes(&key));
	record_put_mark(&value, record_bytes(&key));
	return put_row(w, TABLE_INTENT, record_bytes(&key), record_bytes(&value));
}

static int put_group(struct write *w, const struct fingerprint *fp)
{
	struct record_buf key, value;

	record_key_group(&key, fp->dev, fp->ino);
	record_put_group(&value, record_bytes(&key), fp);
	return put_row(w, TABLE_INO, record_bytes(&key), record_bytes(&value));
}

/* 1: the inode has at least one name. */
static int inode_has_names(struct write *w, uint64_t dev, uint64_t ino)
{
	struct record_buf prefix;
	MDB_cursor *cursor;
	MDB_val k, v;
	bool found = false;
	int rc = mdb_cursor_open(w->txn, w->s->table[TABLE_INO], &cursor);

	if (rc)
		return lmdb_errno(rc);
	record_key_group(&prefix, dev, ino);
	k = lmdb_val(record_bytes(&prefix));
	rc = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
	while (!rc && bytes_starts(lmdb_bytes(k), record_bytes(&prefix))) {
		found = k.mv_size > prefix.n;
		if (found)
			break;
		rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT);
	}
	mdb_cursor_close(cursor);
	return rc && rc != MDB_NOTFOUND ? lmdb_errno(rc) : found;
}

static int join_inode(struct write *w, struct lmdb_place at, const struct fingerprint *fp)
{
	struct record_buf key, value;

	record_key_alias(&key, fp->dev, fp->ino, at.dir_id, at.name);
	record_put_mark(&value, record_bytes(&key));
	return put_row(w, TABLE_INO, record_bytes(&key), record_bytes(&value));
}

/* The last one to leave takes the fingerprint of a group along. */
static int leave_inode(struct write *w, struct lmdb_place at, const struct fingerprint *fp)
{
	struct record_buf key;
	int r;

	record_key_alias(&key, fp->dev, fp->ino, at.dir_id, at.name);
	r = delete_row(w, TABLE_INO, record_bytes(&key));
	if (r < 0)
		return r;
	r = inode_has_names(w, fp->dev, fp->ino);
	if (r)
		return r < 0 ? r : 0;
	record_key_group(&key, fp->dev, fp->ino);
	return delete_row(w, TABLE_INO, record_bytes(&key));
}

/* Gives the entry at `at` an id for what is to lie below it, and makes the entry if need be. */
static int make_dir_id(struct write *w, struct lmdb_place at, uint64_t *ret)
{
	struct record_entry e = {0};
	struct record_buf key, value;
	int r = lmdb_get_entry(w->s, w->txn, at.dir_id, at.name, &e);

	if (r < 0)
		return r;
	if (!r)
		w->entries++;
	*ret = e.dir_id;
	if (e.dir_id)
		return 0;
	e.dir_id = *ret = w->next_dir++;
	r = put_entry(w, at, &e);
	if (r < 0)
		return r;
	record_key_dir(&key, e.dir_id);
	record_put_dir(&value, record_bytes(&key), at.dir_id, at.name);
	return put_row(w, TABLE_DIR, record_bytes(&key), record_bytes(&value));
}

static int make_place(struct write *w, struct bytes path, struct lmdb_place *ret)
{
	struct bytes parent = path_parent(path), rest = parent;

	if (!path.n) {
		*ret = (struct lmdb_place){DIR_NONE, path};
		return 0;
	}
	*ret = (struct lmdb_place){w->parent_id, path_name(path)};
	if (w->parent_known && bytes_equal(parent, buf_bytes(&w->parent)))
		return 0;
	ret->dir_id = DIR_ROOT;
	while (rest.n) {
		struct lmdb_place at = {ret->dir_id, path_next(&rest)};
		int r = make_dir_id(w, at, &ret->dir_id);

		if (r < 0)
			return r;
	}
	buf_clear(&w->parent);
	buf_add_bytes(&w->parent, parent);
	w->parent_id = ret->dir_id;
	w->parent_known = true;
	return 0;
}

static int write_put(struct write *w, struct bytes path, const struct store_record *record)
{
	struct record_entry old = {0}, e = {.fp = record->fp, .intents = record->intents};
	struct lmdb_place at;
	int r = make_place(w, path, &at), found;
	bool stays = false;

	if (r < 0)
		return r;
	found = lmdb_get_entry(w->s, w->txn, at.dir_id, at.name, &old);
	if (found < 0)
		return found;
	if (!found && path.n)
		w->entries++;
	e.dir_id = old.dir_id;
	if (store_indexed(&old.fp) && store_indexed(&e.fp))
		stays = store_same_inode(&old.fp, &e.fp);
	if (store_indexed(&old.fp) && !stays)
		r = leave_inode(w, at, &old.fp);
	if (r == 0 && store_indexed(&e.fp) && !stays)
		r = join_inode(w, at, &e.fp);
	if (r == 0 && store_linked(&e.fp))
		r = put_group(w, &e.fp);
	if (r == 0 && (old.intents > 0) != (e.intents > 0))
		r = set_intent_row(w, at, e.intents > 0);
	return r < 0 ? r : put_entry(w, at, &e);
}

/* Directory ids whose content has still to go: a stack, since trees are deep. */
struct id_stack {
	uint64_t *ids;
	size_t n, cap;
};

static void id_push(struct id_stack *stack, uint64_t id)
{
	if (stack->n == stack->cap) {
		stack->cap = stack->cap ? 2 * stack->cap : 64;
		stack->ids = mem_realloc(stack->ids, stack->cap, sizeof(*stack->ids));
	}
	stack->ids[stack->n++] = id;
}

/* Removes one entry with what hangs on it; its directory id goes onto the stack. */
static int remove_entry(struct write *w, struct lmdb_place at, const struct record_entry *e,
                        struct id_stack *below)
{
	struct record_buf key;
	int r = 0;

	if (store_indexed(&e->fp))
		r = leave_inode(w, at, &e->fp);
	if (r == 0 && e->intents)
		r = set_intent_row(w, at, false);
	if (r < 0)
		return r;
	if (e->dir_id)
		id_push(below, e->dir_id);
	w->entries--;
	record_key_entry(&key, at.dir_id, at.name);
	return delete_row(w, TABLE_ENTRY, record_bytes(&key));
}

/* 1: removed the first entry of a directory; 0: it is empty. */
static int remove_first(struct write *w, MDB_cursor *cursor, uint64_t dir_id,
                        struct id_stack *below)
{
	char name[NAME_BYTES_MAX];
	struct record_buf prefix;
	struct record_entry e;
	struct lmdb_place at;
	MDB_val k, v;
	int rc, r;

	record_key_dir(&prefix, dir_id);
	k = lmdb_val(record_bytes(&prefix));
	rc = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
	if (rc == MDB_NOTFOUND)
		return 0;
	if (rc)
		return lmdb_errno(rc);
	if (!bytes_starts(lmdb_bytes(k), record_bytes(&prefix)))
		return 0;
	if (!record_split_entry(lmdb_bytes(k), &at.dir_id, &at.name) || at.name.n > sizeof(name) ||
	    record_get_entry(lmdb_bytes(v), lmdb_bytes(k), &e) < 0)
		return lmdb_damage(w->s, -EBADMSG);
	/* The key lies in a page that the deletion changes. */
	memcpy(name, at.name.p, at.name.n);
	at.name.p = name;
	r = remove_entry(w, at, &e, below);
	return r < 0 ? r : 1;
}

static int remove_below(struct write *w, struct id_stack *stack)
{
	MDB_cursor *cursor;
	int rc = mdb_cursor_open(w->txn, w->s->table[TABLE_ENTRY], &cursor);
	int r = 0;

	if (rc)
		return lmdb_errno(rc);
	while (r >= 0 && stack->n) {
		uint64_t id = stack->ids[--stack->n];
		struct record_buf key;

		do
			r = remove_first(w, cursor, id, stack);
		while (r > 0);
		record_key_dir(&key, id);
		if (r == 0)
			r = delete_row(w, TABLE_DIR, record_bytes(&key));
	}
	mdb_cursor_close(cursor);
	return r;
}

static int write_all_gone(struct write *w)
{
	for (enum lmdb_table table = TABLE_DIR; table < TABLES; table++) {
		int rc = mdb_drop(w->txn, w->s->table[table], 0);

		if (rc)
			return lmdb_errno(rc);
	}
	w->entries = 0;
	return 0;
}

static int write_gone(struct write *w, struct bytes path)
{
	struct id_stack below = {0};
	struct lmdb_place at;
	struct record_entry e;
	int r;

	w->parent_known = false;
	if (!path.n)
		return write_all_gone(w);
	r = lmdb_find_place(w->s, w->txn, path, &at);
	if (r > 0)
		r = lmdb_get_entry(w->s, w->txn, at.dir_id, at.name, &e);
	if (r <= 0)
		return r;
	r = remove_entry(w, at, &e, &below);
	if (r == 0)
		r = remove_below(w, &below);
	free(below.ids);
	return r;
}

static int write_group(struct write *w, const struct fingerprint *fp)
{
	int r = inode_has_names(w, fp->dev, fp->ino);

	return r > 0 ? put_group(w, fp) : r;
}

static int write_change(struct write *w, const struct store_change *change)
{
	switch (change->verb) {
	case STORE_PUT:
		return write_put(w, change->path, &change->record);
	case STORE_GONE:
		return write_gone(w, change->path);
	case STORE_GROUP:
		return write_group(w, &change->record.fp);
	}
	return -EINVAL;
}

int lmdb_write_meta(struct store_lmdb *s, MDB_txn *txn, const char *key, struct bytes value)
{
	MDB_val k = lmdb_val(bytes_of(key)), v;
	struct buf sealed;
	int r;

	buf_init(&sealed, 1u << 20);
	record_put_meta(&sealed, bytes_of(key), value);
	v = lmdb_val(buf_bytes(&sealed));
	r = sealed.overflowed ? -EFBIG : lmdb_errno(mdb_put(txn, s->table[TABLE_META], &k, &v, 0));
	buf_done(&sealed);
	return r;
}

int lmdb_write_meta_number(struct store_lmdb *s, MDB_txn *txn, const char *key, uint64_t value)
{
	struct buf number;
	int r;

	buf_init(&number, 8);
	buf_add_le64(&number, value);
	r = lmdb_write_meta(s, txn, key, buf_bytes(&number));
	buf_done(&number);
	return r;
}

static int write_counters(struct write *w)
{
	int r = lmdb_write_meta_number(w->s, w->txn, "entries", w->entries);

	if (r == 0)
		r = lmdb_write_meta_number(w->s, w->txn, "next_dir", w->next_dir);
	if (r == 0)
		r = lmdb_write_meta_number(w->s, w->txn, "txn", mdb_txn_id(w->txn));
	return r;
}

static int write_all(struct write *w, const struct store_change *changes, size_t n,
                     const char *const *meta_keys, const struct bytes *meta_values, size_t metas)
{
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++)
		r = write_change(w, &changes[i]);
	for (size_t i = 0; i < metas && r == 0; i++)
		r = lmdb_write_meta(w->s, w->txn, meta_keys[i], meta_values[i]);
	return r == 0 ? write_counters(w) : r;
}

/* Doubles the map; only while no view is open. */
static int grow(struct store_lmdb *s)
{
	MDB_envinfo info;
	int r = -EAGAIN;

	pthread_mutex_lock(&s->lock);
	if (!s->views) {
		while (s->nidle)
			mdb_txn_abort(s->idle[--s->nidle]);
		r = lmdb_errno(mdb_env_info(s->env, &info));
		if (r == 0)
			r = lmdb_errno(mdb_env_set_mapsize(s->env, 2 * info.me_mapsize));
	}
	pthread_mutex_unlock(&s->lock);
	return r;
}

static int commit_once(struct store_lmdb *s, const struct store_change *changes, size_t n,
                       const char *const *meta_keys, const struct bytes *meta_values, size_t metas)
{
	struct write w = {.s = s, .entries = atomic_load(&s->entries), .next_dir = s->next_dir};
	int r = lmdb_errno(mdb_txn_begin(s->env, NULL, 0, &w.txn));

	if (r < 0)
		return r;
	buf_init(&w.parent, PATH_BYTES_MAX);
	r = write_all(&w, changes, n, meta_keys, meta_values, metas);
	buf_done(&w.parent);
	if (r < 0) {
		mdb_txn_abort(w.txn);
		return r;
	}
	r = lmdb_errno(mdb_txn_commit(w.txn));
	if (r == 0) {
		atomic_store(&s->entries, w.entries);
		s->next_dir = w.next_dir;
	}
	return r;
}

int lmdb_write_commit(struct store *base, const struct store_change *changes, size_t n,
                      const char *const *meta_keys, const struct bytes *meta_values, size_t metas,
                      struct err *err)
{
	struct store_lmdb *s = lmdb_of(base);
	int r;

	if (atomic_load(&s->damaged))
		return err_set(err, EUCLEAN, "a row read did not match its checksum");
	r = commit_once(s, changes, n, meta_keys, meta_values, metas);
	if (r == -EOVERFLOW && grow(s) == 0)
		r = commit_once(s, changes, n, meta_keys, meta_values, metas);
	return r < 0 ? err_errno(err, -r, "cannot write the ledger") : 0;
}
