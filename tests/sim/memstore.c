#include "memstore.h"
#include <errno.h>
#include "base/mem.h"
#include "base/path.h"

struct row {
	char *p;
	size_t n;
	struct store_record record;
};

struct meta_row {
	char *key, *value;
	size_t n;
};

struct memstore {
	struct store base;
	struct row *rows; /* by path_compare(): a directory directly before what lies below it */
	size_t n, cap;
	struct meta_row *metas;
	size_t nmetas;
	int fail;
	uint64_t commits;
};

static struct memstore *memstore_of(const struct store *s)
{
	return (struct memstore *)s;
}

static struct bytes row_path(const struct row *r)
{
	return (struct bytes){r->p, r->n};
}

/* Where path stands or would stand. */
static size_t row_place(const struct memstore *m, struct bytes path, bool *found)
{
	size_t low = 0, high = m->n;

	*found = false;
	while (low < high) {
		size_t mid = (low + high) / 2;
		int order = path_compare(row_path(&m->rows[mid]), path);

		if (order == 0) {
			*found = true;
			return mid;
		}
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static struct row *row_make(struct memstore *m, struct bytes path)
{
	bool found;
	size_t at = row_place(m, path, &found);

	if (found)
		return &m->rows[at];
	if (m->n == m->cap) {
		m->cap = m->cap ? 2 * m->cap : 64;
		m->rows = mem_realloc(m->rows, m->cap, sizeof(*m->rows));
	}
	memmove(m->rows + at + 1, m->rows + at, (m->n - at) * sizeof(*m->rows));
	m->n++;
	m->rows[at] = (struct row){.p = mem_dup(path.p, path.n), .n = path.n};
	return &m->rows[at];
}

static struct store_view *memstore_view(struct store *s)
{
	return (struct store_view *)s;
}

static void memstore_unview(struct store *s, struct store_view *v)
{
	check((struct store *)v == s);
}

static bool memstore_get(struct store *s, struct store_view *v, struct bytes path,
                         struct store_record *ret)
{
	struct memstore *m = memstore_of(s);
	bool found;
	size_t at = row_place(m, path, &found);

	(void)v;
	if (!found)
		return false;
	*ret = m->rows[at].record;
	ret->parent = at + 1 < m->n && path_below(row_path(&m->rows[at + 1]), path);
	return true;
}

static void memstore_list(struct store *s, struct store_view *v, struct bytes dir,
                          bool (*fn)(struct bytes name, const struct store_record *r, void *arg),
                          void *arg)
{
	struct memstore *m = memstore_of(s);
	bool found;
	size_t at = row_place(m, dir, &found);

	(void)v;
	for (at += found; at < m->n && path_below(row_path(&m->rows[at]), dir); at++) {
		struct bytes path = row_path(&m->rows[at]);
		struct store_record record = m->rows[at].record;

		if (!bytes_equal(path_parent(path), dir))
			continue;
		record.parent = at + 1 < m->n && path_below(row_path(&m->rows[at + 1]), path);
		if (!fn(path_name(path), &record, arg))
			return;
	}
}

static void memstore_aliases(struct store *s, struct store_view *v, uint64_t dev, uint64_t ino,
                             bool (*fn)(struct bytes path, void *arg), void *arg)
{
	struct memstore *m = memstore_of(s);

	(void)v;
	for (size_t i = 0; i < m->n; i++) {
		const struct fingerprint *fp = &m->rows[i].record.fp;

		if (store_indexed(fp) && fp->dev == dev && fp->ino == ino &&
		    !fn(row_path(&m->rows[i]), arg))
			return;
	}
}

static void memstore_intended(struct store *s, struct store_view *v,
                              bool (*fn)(struct bytes path, void *arg), void *arg)
{
	struct memstore *m = memstore_of(s);

	(void)v;
	for (size_t i = 0; i < m->n; i++) {
		if (m->rows[i].record.intents && !fn(row_path(&m->rows[i]), arg))
			return;
	}
}

static uint64_t memstore_entries(struct store *s)
{
	struct memstore *m = memstore_of(s);

	return m->n - (m->n && !m->rows[0].n ? 1 : 0);
}

static void set_group(struct memstore *m, const struct fingerprint *fp)
{
	for (size_t i = 0; i < m->n; i++) {
		struct fingerprint *known = &m->rows[i].record.fp;

		if (store_linked(known) && store_same_inode(known, fp))
			*known = *fp;
	}
}

static void remove_tree(struct memstore *m, struct bytes path)
{
	bool found;
	size_t at = row_place(m, path, &found), end = at + found;

	while (end < m->n && path_below(row_path(&m->rows[end]), path))
		end++;
	for (size_t i = at; i < end; i++)
		free(m->rows[i].p);
	if (end > at)
		memmove(m->rows + at, m->rows + end, (m->n - end) * sizeof(*m->rows));
	m->n -= end - at;
}

static void put(struct memstore *m, struct bytes path, const struct store_record *record)
{
	for (struct bytes up = path_parent(path); up.n; up = path_parent(up))
		(void)row_make(m, up);
	row_make(m, path)->record = *record;
	if (store_linked(&record->fp))
		set_group(m, &record->fp);
}

static void set_meta(struct memstore *m, const char *key, struct bytes value)
{
	size_t i = 0;

	while (i < m->nmetas && strcmp(m->metas[i].key, key) != 0)
		i++;
	if (i == m->nmetas) {
		m->metas = mem_realloc(m->metas, ++m->nmetas, sizeof(*m->metas));
		m->metas[i] = (struct meta_row){.key = mem_strdup(key)};
	}
	free(m->metas[i].value);
	m->metas[i].value = mem_dup(value.p, value.n);
	m->metas[i].n = value.n;
}

static int memstore_commit(struct store *s, const struct store_change *changes, size_t n,
                           const char *const *meta_keys, const struct bytes *meta_values,
                           size_t metas, struct err *err)
{
	struct memstore *m = memstore_of(s);

	if (m->fail)
		return err_errno(err, m->fail, "the store was told to fail");
	for (size_t i = 0; i < n; i++) {
		switch (changes[i].verb) {
		case STORE_PUT:
			put(m, changes[i].path, &changes[i].record);
			break;
		case STORE_GONE:
			remove_tree(m, changes[i].path);
			break;
		case STORE_GROUP:
			set_group(m, &changes[i].record.fp);
			break;
		}
	}
	for (size_t i = 0; i < metas; i++)
		set_meta(m, meta_keys[i], meta_values[i]);
	m->commits++;
	return 0;
}

static bool memstore_meta(struct store *s, const char *key, struct buf *ret)
{
	struct memstore *m = memstore_of(s);

	buf_clear(ret);
	for (size_t i = 0; i < m->nmetas; i++) {
		if (strcmp(m->metas[i].key, key) == 0) {
			buf_add(ret, m->metas[i].value, m->metas[i].n);
			return true;
		}
	}
	return false;
}

static void memstore_close(struct store *s)
{
	(void)s;
}

struct store *memstore_new(void)
{
	struct memstore *m = mem_alloc(sizeof(*m));

	m->base = (struct store){
	        .view = memstore_view,
	        .unview = memstore_unview,
	        .get = memstore_get,
	        .list = memstore_list,
	        .aliases = memstore_aliases,
	        .intended = memstore_intended,
	        .entries = memstore_entries,
	        .commit = memstore_commit,
	        .meta = memstore_meta,
	        .close = memstore_close,
	};
	return &m->base;
}

void memstore_free(struct store *s)
{
	struct memstore *m = memstore_of(s);

	remove_tree(m, (struct bytes){0});
	for (size_t i = 0; i < m->nmetas; i++) {
		free(m->metas[i].key);
		free(m->metas[i].value);
	}
	free(m->metas);
	free(m->rows);
	free(m);
}

void memstore_fail(struct store *s, int code)
{
	memstore_of(s)->fail = code;
}

uint64_t memstore_commits(const struct store *s)
{
	return memstore_of(s)->commits;
}

struct memlog {
	struct intent_log base;
	struct buf file[2]; /* le16 length, path */
	int current;
	int fail;
};

static struct memlog *memlog_of(struct intent_log *log)
{
	return (struct memlog *)log;
}

static int memlog_append(struct intent_log *log, const struct bytes *paths, size_t n)
{
	struct memlog *m = memlog_of(log);

	if (m->fail)
		return -m->fail;
	for (size_t i = 0; i < n; i++) {
		buf_add_le16(&m->file[m->current], (uint16_t)paths[i].n);
		buf_add_bytes(&m->file[m->current], paths[i]);
	}
	return 0;
}

static int memlog_switch_over(struct intent_log *log)
{
	struct memlog *m = memlog_of(log);

	if (!m->file[!m->current].n)
		m->current = !m->current;
	return 0;
}

static int memlog_discard_old(struct intent_log *log)
{
	struct memlog *m = memlog_of(log);

	buf_clear(&m->file[!m->current]);
	return 0;
}

static void memlog_each(struct intent_log *log, bool (*fn)(struct bytes path, void *arg), void *arg)
{
	struct memlog *m = memlog_of(log);

	for (int i = 0; i < 2; i++) {
		struct cursor c = cursor_of(buf_bytes(&m->file[i]));

		while (cursor_left(&c)) {
			if (!fn(cursor_take(&c, cursor_le16(&c)), arg))
				return;
		}
	}
}

static void memlog_close(struct intent_log *log)
{
	(void)log;
}

struct intent_log *memlog_new(void)
{
	struct memlog *m = mem_alloc(sizeof(*m));

	m->base = (struct intent_log){
	        .append = memlog_append,
	        .switch_over = memlog_switch_over,
	        .discard_old = memlog_discard_old,
	        .each = memlog_each,
	        .close = memlog_close,
	};
	buf_init(&m->file[0], SIZE_MAX);
	buf_init(&m->file[1], SIZE_MAX);
	return &m->base;
}

void memlog_free(struct intent_log *log)
{
	struct memlog *m = memlog_of(log);

	buf_done(&m->file[0]);
	buf_done(&m->file[1]);
	free(m);
}

void memlog_fail(struct intent_log *log, int code)
{
	memlog_of(log)->fail = code;
}

void memlog_cut_power(struct intent_log *log)
{
	buf_clear(&memlog_of(log)->file[0]);
	buf_clear(&memlog_of(log)->file[1]);
}
