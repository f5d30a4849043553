#include <errno.h>
#include <endian.h>
#include "base/mem.h"
#include "ledger/lmdb_impl.h"

int lmdb_errno(int rc)
{
	if (rc > 0)
		return -rc;
	switch (rc) {
	case MDB_SUCCESS:
		return 0;
	case MDB_NOTFOUND:
		return -ENOENT;
	case MDB_MAP_FULL:
		return -EOVERFLOW; /* the map, not the disk */
	case MDB_INVALID:
	case MDB_CORRUPTED:
	case MDB_PAGE_NOTFOUND:
	case MDB_VERSION_MISMATCH:
		return -EUCLEAN;
	default:
		return -EIO;
	}
}

int lmdb_damage(struct store_lmdb *s, int code)
{
	atomic_store(&s->damaged, true);
	return code;
}

int lmdb_get_row(struct store_lmdb *s, MDB_txn *txn, enum lmdb_table table, struct bytes key,
                 struct bytes *ret)
{
	MDB_val k = lmdb_val(key), v;
	int rc = mdb_get(txn, s->table[table], &k, &v);

	if (rc == MDB_NOTFOUND)
		return 0;
	if (rc)
		return lmdb_errno(rc);
	*ret = lmdb_bytes(v);
	return 1;
}

int lmdb_get_entry(struct store_lmdb *s, MDB_txn *txn, uint64_t dir_id, struct bytes name,
                   struct record_entry *ret)
{
	struct record_buf key;
	struct bytes value;
	int r;

	if (name.n > NAME_BYTES_MAX)
		return 0;
	record_key_entry(&key, dir_id, name);
	r = lmdb_get_row(s, txn, TABLE_ENTRY, record_bytes(&key), &value);
	if (r <= 0)
		return r;
	r = record_get_entry(value, record_bytes(&key), ret);
	return r < 0 ? lmdb_damage(s, r) : 1;
}

int lmdb_get_dir_id(struct store_lmdb *s, MDB_txn *txn, struct bytes path, uint64_t *ret)
{
	struct record_entry e;
	uint64_t id = DIR_ROOT;

	while (path.n) {
		int r = lmdb_get_entry(s, txn, id, path_next(&path), &e);

		if (r <= 0)
			return r;
		if (!e.dir_id)
			return 0;
		id = e.dir_id;
	}
	*ret = id;
	return 1;
}

int lmdb_find_place(struct store_lmdb *s, MDB_txn *txn, struct bytes path, struct lmdb_place *ret)
{
	if (!path.n) {
		*ret = (struct lmdb_place){DIR_NONE, path};
		return 1;
	}
	ret->name = path_name(path);
	return lmdb_get_dir_id(s, txn, path_parent(path), &ret->dir_id);
}

/* A linked entry's fingerprint is its group's. */
static int entry_to_record(struct store_lmdb *s, MDB_txn *txn, const struct record_entry *e,
                           struct store_record *ret)
{
	struct record_buf key;
	struct bytes value;
	int r;

	*ret = (struct store_record){.fp = e->fp, .intents = e->intents, .parent = e->dir_id != 0};
	if (!store_linked(&e->fp))
		return 1;
	record_key_group(&key, e->fp.dev, e->fp.ino);
	r = lmdb_get_row(s, txn, TABLE_INO, record_bytes(&key), &value);
	if (r <= 0)
		return r < 0 ? r : lmdb_damage(s, -EBADMSG);
	r = record_get_group(value, record_bytes(&key), &ret->fp);
	return r < 0 ? lmdb_damage(s, r) : 1;
}

bool lmdb_read_get(struct store *base, struct store_view *v, struct bytes path,
                   struct store_record *ret)
{
	struct store_lmdb *s = lmdb_of(base);
	struct lmdb_place place;
	struct record_entry e;

	if (!v || lmdb_find_place(s, lmdb_txn(v), path, &place) <= 0)
		return false;
	if (lmdb_get_entry(s, lmdb_txn(v), place.dir_id, place.name, &e) <= 0)
		return false;
	return entry_to_record(s, lmdb_txn(v), &e, ret) > 0;
}

/* Rows of `table` whose keys begin with `prefix`, in order; fn returns 1 to go on, 0 to stop,
 * -errno. */
typedef int row_fn(struct store_lmdb *s, MDB_txn *txn, struct bytes key, struct bytes value,
                   void *arg);

static int each_row(struct store_lmdb *s, MDB_txn *txn, enum lmdb_table table, struct bytes prefix,
                    row_fn *fn, void *arg)
{
	MDB_val k = lmdb_val(prefix), v;
	MDB_cursor *cursor;
	int rc = mdb_cursor_open(txn, s->table[table], &cursor);
	int r = 1;

	if (rc)
		return lmdb_errno(rc);
	rc = mdb_cursor_get(cursor, &k, &v, prefix.n ? MDB_SET_RANGE : MDB_FIRST);
	while (!rc && r > 0 && bytes_starts(lmdb_bytes(k), prefix)) {
		r = fn(s, txn, lmdb_bytes(k), lmdb_bytes(v), arg);
		if (r > 0)
			rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT);
	}
	mdb_cursor_close(cursor);
	if (rc && rc != MDB_NOTFOUND)
		return lmdb_errno(rc);
	return r < 0 ? r : 0;
}

struct list_walk {
	bool (*fn)(struct bytes name, const struct store_record *r, void *arg);
	void *arg;
};

static int list_row(struct store_lmdb *s, MDB_txn *txn, struct bytes key, struct bytes value,
                    void *arg)
{
	struct list_walk *walk = arg;
	struct store_record record;
	struct record_entry e;
	struct bytes name;
	uint64_t dir_id;
	int r = record_get_entry(value, key, &e);

	if (r < 0 || !record_split_entry(key, &dir_id, &name))
		return lmdb_damage(s, -EBADMSG);
	r = entry_to_record(s, txn, &e, &record);
	if (r <= 0)
		return r;
	return walk->fn(name, &record, walk->arg);
}

void lmdb_read_list(struct store *base, struct store_view *v, struct bytes dir,
                    bool (*fn)(struct bytes name, const struct store_record *r, void *arg),
                    void *arg)
{
	struct store_lmdb *s = lmdb_of(base);
	struct list_walk walk = {fn, arg};
	struct record_buf prefix;
	uint64_t id;

	if (!v || lmdb_get_dir_id(s, lmdb_txn(v), dir, &id) <= 0)
		return;
	record_key_dir(&prefix, id);
	(void)each_row(s, lmdb_txn(v), TABLE_ENTRY, record_bytes(&prefix), list_row, &walk);
}

/* Writes the path of (dir_id, name) into out. */
static int place_path(struct store_lmdb *s, MDB_txn *txn, uint64_t dir_id, struct bytes name,
                      struct buf *out)
{
	char path[PATH_BYTES_MAX];
	size_t at = sizeof(path);

	buf_clear(out);
	for (;;) {
		struct record_buf key;
		struct bytes value;
		int r;

		if (name.n > at)
			return lmdb_damage(s, -EBADMSG);
		at -= name.n;
		if (name.n)
			memcpy(path + at, name.p, name.n);
		if (dir_id <= DIR_ROOT)
			break;
		if (!at)
			return lmdb_damage(s, -EBADMSG);
		path[--at] = '/';
		record_key_dir(&key, dir_id);
		r = lmdb_get_row(s, txn, TABLE_DIR, record_bytes(&key), &value);
		if (r > 0)
			r = record_get_dir(value, record_bytes(&key), &dir_id, &name);
		else if (!r)
			r = -EBADMSG;
		if (r < 0)
			return lmdb_damage(s, r);
	}
	buf_add(out, path + at, sizeof(path) - at);
	return 1;
}

struct path_walk {
	bool (*fn)(struct bytes path, void *arg);
	void *arg;
	struct buf path;
};

static int alias_row(struct store_lmdb *s, MDB_txn *txn, struct bytes key, struct bytes value,
                     void *arg)
{
	struct path_walk *walk = arg;
	struct bytes name;
	uint64_t dir_id;
	int r;

	if (!record_split_alias(key, &dir_id, &name))
		return 1; /* the group's own row */
	r = record_get_mark(value, key);
	if (r < 0)
		return lmdb_damage(s, r);
	r = place_path(s, txn, dir_id, name, &walk->path);
	return r < 0 ? r : walk->fn(buf_bytes(&walk->path), walk->arg);
}

void lmdb_read_aliases(struct store *base, struct store_view *v, uint64_t dev, uint64_t ino,
                       bool (*fn)(struct bytes path, void *arg), void *arg)
{
	struct path_walk walk = {fn, arg, {0}};
	struct record_buf prefix;

	if (!v)
		return;
	buf_init(&walk.path, PATH_BYTES_MAX);
	record_key_group(&prefix, dev, ino);
	(void)each_row(lmdb_of(base), lmdb_txn(v), TABLE_INO, record_bytes(&prefix), alias_row,
	               &walk);
	buf_done(&walk.path);
}

static int intent_row(struct store_lmdb *s, MDB_txn *txn, struct bytes key, struct bytes value,
                      void *arg)
{
	struct path_walk *walk = arg;
	struct bytes name;
	uint64_t dir_id;
	int r = record_get_mark(value, key);

	if (r < 0 || !record_split_entry(key, &dir_id, &name))
		return lmdb_damage(s, -EBADMSG);
	r = place_path(s, txn, dir_id, name, &walk->path);
	return r < 0 ? r : walk->fn(buf_bytes(&walk->path), walk->arg);
}

void lmdb_read_intended(struct store *base, struct store_view *v,
                        bool (*fn)(struct bytes path, void *arg), void *arg)
{
	struct path_walk walk = {fn, arg, {0}};

	if (!v)
		return;
	buf_init(&walk.path, PATH_BYTES_MAX);
	(void)each_row(lmdb_of(base), lmdb_txn(v), TABLE_INTENT, (struct bytes){0}, intent_row,
	               &walk);
	buf_done(&walk.path);
}

bool lmdb_read_meta(struct store_lmdb *s, MDB_txn *txn, const char *key, struct buf *ret)
{
	struct bytes value, meta;

	buf_clear(ret);
	if (lmdb_get_row(s, txn, TABLE_META, bytes_of(key), &value) <= 0)
		return false;
	if (record_get_meta(value, bytes_of(key), &meta) < 0) {
		lmdb_damage(s, -EBADMSG);
		return false;
	}
	buf_add_bytes(ret, meta);
	return !ret->overflowed;
}

bool lmdb_read_meta_number(struct store_lmdb *s, MDB_txn *txn, const char *key, uint64_t *ret)
{
	struct buf value;
	struct cursor c;
	bool ok;

	buf_init(&value, 64);
	ok = lmdb_read_meta(s, txn, key, &value) && value.n == 8;
	if (ok) {
		c = cursor_of(buf_bytes(&value));
		*ret = cursor_le64(&c);
	}
	buf_done(&value);
	return ok;
}

static int verify_row(enum lmdb_table table, struct bytes key, struct bytes value)
{
	struct record_entry e;
	struct fingerprint fp;
	struct bytes name;
	uint64_t id;

	switch (table) {
	case TABLE_META:
		return record_get_meta(value, key, &name);
	case TABLE_DIR:
		return key.n == 8 ? record_get_dir(value, key, &id, &name) : -EBADMSG;
	case TABLE_ENTRY:
		return record_split_entry(key, &id, &name) ? record_get_entry(value, key, &e)
		                                           : -EBADMSG;
	case TABLE_INO:
		return record_split_alias(key, &id, &name) ? record_get_mark(value, key)
		                                           : record_get_group(value, key, &fp);
	case TABLE_INTENT:
		return record_split_entry(key, &id, &name) ? record_get_mark(value, key) : -EBADMSG;
	case TABLES:
		break;
	}
	return -EBADMSG;
}

struct verify_walk {
	enum lmdb_table table;
	uint64_t names; /* entries but for the root's */
};

static int verify_one(struct store_lmdb *s, MDB_txn *txn, struct bytes key, struct bytes value,
                      void *arg)
{
	struct verify_walk *walk = arg;
	int r = verify_row(walk->table, key, value);

	(void)s;
	(void)txn;
	if (walk->table == TABLE_ENTRY && key.n > sizeof(uint64_t))
		walk->names++;
	return r < 0 ? r : 1;
}

int lmdb_read_verify(struct store_lmdb *s, MDB_txn *txn, struct err *err)
{
	struct verify_walk walk = {TABLE_META, 0};
	uint64_t number;

	for (; walk.table < TABLES; walk.table++) {
		int r = each_row(s, txn, walk.table, (struct bytes){0}, verify_one, &walk);

		if (r < 0)
			return err_set(err, EUCLEAN,
			               "a row of table %u does not match its checksum",
			               (unsigned)walk.table);
	}
	/* A meta page whose number was altered would lead to an older state, whole but outdated. */
	if (!lmdb_read_meta_number(s, txn, "txn", &number) || number != mdb_txn_id(txn))
		return err_set(err, EUCLEAN, "the last commit is not the one it says it is");
	if (!lmdb_read_meta_number(s, txn, "entries", &number) || number != walk.names)
		return err_set(err, EUCLEAN, "the number of entries does not match");
	return 0;
}
