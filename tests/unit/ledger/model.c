#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>
#include "base/mem.h"
#include "base/path.h"
#include "model.h"

uint32_t random_below(struct random *r, uint32_t n)
{
	/* splitmix64 */
	uint64_t z = r->state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return (uint32_t)((z ^ z >> 31) % n);
}

struct bytes random_path(struct random *r, char *room, size_t size)
{
	static const char *const names[] = {"a", "b", "a-", "c\n", "\xff", "dd"};
	uint32_t depth = 1 + random_below(r, 4);
	size_t n = 0;

	while (depth--)
		n += (size_t)snprintf(room + n, size - n, "%s%s", n ? "/" : "",
		                      names[random_below(r, ARRAY_LEN(names))]);
	return (struct bytes){room, n};
}

void random_fingerprint(struct random *r, struct fingerprint *ret)
{
	*ret = (struct fingerprint){
	        .mode = S_IFREG | 0644,
	        .nlink = 1,
	        .size = random_below(r, 1000),
	        .mtime_ns = (int64_t)random_below(r, 1000) - 500,
	        .dev = 7,
	        .ino = 100 + random_below(r, 50),
	};
	switch (random_below(r, 5)) {
	case 0:
	case 1:
		ret->mode = S_IFDIR | 0755;
		ret->nlink = 3;
		break;
	case 2:
		ret->nlink = 1 + random_below(r, 3);
		ret->ino = 1 + random_below(r, MODEL_INODES);
		break;
	default:
		break;
	}
}

static struct bytes entry_path(const struct model_entry *e)
{
	return (struct bytes){e->path, e->n};
}

struct model_entry *model_find(struct model *m, struct bytes path)
{
	for (size_t i = 0; i < m->n; i++) {
		if (bytes_equal(entry_path(&m->entries[i]), path))
			return &m->entries[i];
	}
	return NULL;
}

static struct model_entry *make(struct model *m, struct bytes path)
{
	struct model_entry *e = model_find(m, path);

	if (e)
		return e;
	assert_true(m->n < ARRAY_LEN(m->entries) && path.n < sizeof(e->path));
	e = &m->entries[m->n++];
	*e = (struct model_entry){.n = path.n};
	memcpy(e->path, path.p, path.n);
	return e;
}

static void drop_below(struct model *m, struct bytes path, bool itself)
{
	size_t kept = 0;

	for (size_t i = 0; i < m->n; i++) {
		struct bytes p = entry_path(&m->entries[i]);

		if (!path_below(p, path) && !(itself && bytes_equal(p, path)))
			m->entries[kept++] = m->entries[i];
	}
	m->n = kept;
}

/* Parents that nothing needs any more. */
static void prune(struct model *m)
{
	for (size_t i = 0; i < m->n;) {
		struct model_entry *e = &m->entries[i];
		bool needed = e->fp.mode || e->intents;

		for (size_t j = 0; j < m->n && !needed; j++)
			needed = e->n && path_below(entry_path(&m->entries[j]), entry_path(e));
		if (needed) {
			i++;
			continue;
		}
		*e = m->entries[--m->n];
		i = 0;
	}
}

void model_intend(struct model *m, struct bytes path)
{
	for (struct bytes up = path_parent(path); up.n; up = path_parent(up))
		(void)make(m, up);
	make(m, path)->intents++;
}

void model_withdraw(struct model *m, struct bytes path)
{
	struct model_entry *e = model_find(m, path);

	if (e && e->intents)
		e->intents--;
	prune(m);
}

static bool same_group(const struct fingerprint *a, const struct fingerprint *b)
{
	return store_linked(a) && store_linked(b) && a->dev == b->dev && a->ino == b->ino;
}

void model_confirm(struct model *m, struct bytes path, const struct fingerprint *fp)
{
	struct model_entry *e;

	for (struct bytes up = path_parent(path); up.n; up = path_parent(up)) {
		e = make(m, up);
		if (!S_ISDIR(e->fp.mode))
			e->fp = (struct fingerprint){.mode = S_IFDIR};
	}
	if (!S_ISDIR(fp->mode) && model_find(m, path))
		drop_below(m, path, false);
	e = make(m, path);
	e->fp = *fp;
	e->intents = 0;
	for (size_t i = 0; i < m->n; i++) {
		if (same_group(&m->entries[i].fp, fp))
			m->entries[i].fp = *fp;
	}
}

void model_gone(struct model *m, struct bytes path)
{
	drop_below(m, path, true);
	prune(m);
}

void model_belief(struct model *m, struct bytes path, struct belief *ret)
{
	const struct model_entry *e = model_find(m, path);

	*ret = (struct belief){.state = LEDGER_ABSENT};
	if (!e)
		return;
	if (e->intents || !e->fp.mode)
		ret->state |= LEDGER_INTENDED;
	if (e->fp.mode)
		ret->state |= LEDGER_CONFIRMED;
	ret->fp = e->fp;
}

void model_check_belief(const struct belief *a, const struct belief *b, struct bytes path)
{
	if (a->state != b->state ||
	    ((a->state & LEDGER_CONFIRMED) && memcmp(&a->fp, &b->fp, sizeof(a->fp)) != 0))
		fail_msg("%s: state %u and %u, mode %o and %o, ino %llu and %llu, size %llu and "
		         "%llu",
		         path_show(path), a->state, b->state, a->fp.mode, b->fp.mode,
		         (unsigned long long)a->fp.ino, (unsigned long long)b->fp.ino,
		         (unsigned long long)a->fp.size, (unsigned long long)b->fp.size);
}

struct check_walk {
	struct model *m;
	struct ledger *l;
	struct bytes dir;
	char last[64];
	size_t last_n;
	size_t names;
};

static void check_dir(struct check_walk *outer, struct bytes dir);

static bool check_name(struct bytes name, const struct belief *belief, void *arg)
{
	struct check_walk *walk = arg;
	struct belief known, got;
	struct buf path;

	assert_true(!walk->names ||
	            bytes_compare((struct bytes){walk->last, walk->last_n}, name) < 0);
	memcpy(walk->last, name.p, name.n);
	walk->last_n = name.n;
	walk->names++;
	buf_init(&path, PATH_BYTES_MAX);
	path_join(&path, walk->dir, name);
	model_belief(walk->m, buf_bytes(&path), &known);
	model_check_belief(&known, belief, buf_bytes(&path));
	ledger_get(walk->l, buf_bytes(&path), &got);
	model_check_belief(&known, &got, buf_bytes(&path));
	check_dir(walk, buf_bytes(&path));
	buf_done(&path);
	return true;
}

static void check_dir(struct check_walk *outer, struct bytes dir)
{
	struct check_walk walk = {.m = outer->m, .l = outer->l, .dir = dir};
	size_t known = 0;

	for (size_t i = 0; i < walk.m->n; i++) {
		struct bytes p = entry_path(&walk.m->entries[i]);

		known += p.n && bytes_equal(path_parent(p), dir);
	}
	ledger_list(walk.l, dir, check_name, &walk);
	if (walk.names != known)
		fail_msg("%s: lists %zu names, should be %zu", path_show(dir), walk.names, known);
}

struct check_aliases {
	struct model *m;
	struct fingerprint fp; /* dev and ino */
	const struct model_entry *seen[64];
	size_t n, most;
};

static bool check_alias(struct bytes path, void *arg)
{
	struct check_aliases *walk = arg;
	struct model_entry *e = model_find(walk->m, path);

	assert_non_null(e);
	assert_true(store_indexed(&e->fp) && store_same_inode(&e->fp, &walk->fp));
	for (size_t i = 0; i < walk->n; i++)
		assert_ptr_not_equal(walk->seen[i], e);
	assert_true(walk->n < ARRAY_LEN(walk->seen));
	walk->seen[walk->n++] = e;
	return walk->n < walk->most;
}

static void check_inode(struct model *m, struct ledger *l, uint64_t ino)
{
	struct check_aliases walk = {.m = m, .fp = {.dev = 7, .ino = ino}, .most = SIZE_MAX};
	size_t names = 0;

	for (size_t i = 0; i < m->n; i++) {
		const struct fingerprint *fp = &m->entries[i].fp;

		names += store_indexed(fp) && store_same_inode(fp, &walk.fp);
	}
	ledger_aliases(l, 7, ino, check_alias, &walk);
	assert_int_equal(walk.n, names);
	walk.n = 0;
	walk.most = 1;
	ledger_aliases(l, 7, ino, check_alias, &walk);
	assert_int_equal(walk.n, names > 0);
}

void model_check_inodes(struct model *m, struct ledger *l)
{
	for (uint64_t ino = 1; ino <= MODEL_INODES; ino++)
		check_inode(m, l, ino);
	for (uint64_t ino = 100; ino < 150; ino += 7)
		check_inode(m, l, ino);
}

void model_check(struct model *m, struct ledger *l)
{
	struct check_walk walk = {.m = m, .l = l};
	size_t entries = 0;

	check_dir(&walk, (struct bytes){0});
	for (size_t i = 0; i < m->n; i++)
		entries += m->entries[i].n > 0;
	assert_int_equal(ledger_entries(l), entries);
	model_check_inodes(m, l);
}
