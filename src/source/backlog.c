#include "source/backlog.h"

#include "base/mem.h"

#define NONE UINT32_MAX

struct entry {
	uint64_t drain;
	int64_t since_ns;
	uint32_t dir;  /* index */
	uint32_t next; /* of the same directory */
	uint32_t name; /* offset in the arena */
	uint8_t name_len;
	uint8_t bits;
};

struct table {
	uint32_t *v;
	size_t cap; /* power of two */
};

struct backlog {
	size_t max_names, max_dirs;
	struct entry *entries;
	size_t nentries, entries_cap;
	struct backlog_dir *dirs;
	size_t ndirs, dirs_cap;
	struct table by_name, by_wd;
	char *arena;
	size_t arena_n, arena_cap;
	uint32_t last; /* entry of the last event: bursts are about one name */
	bool tree;
	uint64_t tree_drain;
	int64_t tree_since_ns;
};

enum { TABLE_MIN = 256 };

static void table_reset(struct table *t, size_t used)
{
	/* A table that was much too big is given back: clearing it would cost each round. */
	if (!t->v || (t->cap > TABLE_MIN && used * 16 < t->cap)) {
		free(t->v);
		t->cap = TABLE_MIN;
		t->v = mem_array(t->cap, sizeof(*t->v));
	}
	memset(t->v, 0xff, t->cap * sizeof(*t->v));
}

static uint64_t hash_wd(int wd)
{
	uint64_t h = (uint64_t)(unsigned)wd * 0x9e3779b97f4a7c15u;

	return h ^ h >> 29;
}

static uint64_t hash_name(uint32_t dir, struct bytes name)
{
	uint64_t h = 0xcbf29ce484222325u ^ dir;

	for (size_t i = 0; i < name.n; i++)
		h = (h ^ (unsigned char)name.p[i]) * 0x100000001b3u;
	return h ^ h >> 29;
}

static struct bytes entry_name(const struct backlog *b, const struct entry *e)
{
	return (struct bytes){b->arena + e->name, e->name_len};
}

static void table_place(struct table *t, uint32_t value, uint64_t hash)
{
	size_t i = hash & (t->cap - 1);

	while (t->v[i] != NONE)
		i = (i + 1) & (t->cap - 1);
	t->v[i] = value;
}

static void table_double(struct table *t)
{
	free(t->v);
	t->cap *= 2;
	t->v = mem_array(t->cap, sizeof(*t->v));
	memset(t->v, 0xff, t->cap * sizeof(*t->v));
}

static uint32_t find_dir(const struct backlog *b, int wd)
{
	for (size_t i = hash_wd(wd) & (b->by_wd.cap - 1);; i = (i + 1) & (b->by_wd.cap - 1)) {
		uint32_t d = b->by_wd.v[i];

		if (d == NONE || b->dirs[d].wd == wd)
			return d;
	}
}

static uint32_t add_dir(struct backlog *b, int wd)
{
	if (b->ndirs == b->dirs_cap) {
		b->dirs_cap = b->dirs_cap * 2 + 64;
		b->dirs = mem_realloc(b->dirs, b->dirs_cap, sizeof(*b->dirs));
	}
	if ((b->ndirs + 1) * 4 > b->by_wd.cap * 3) {
		table_double(&b->by_wd);
		for (size_t i = 0; i < b->ndirs; i++)
			table_place(&b->by_wd, (uint32_t)i, hash_wd(b->dirs[i].wd));
	}
	b->dirs[b->ndirs] = (struct backlog_dir){.wd = wd, .first = NONE, .last = NONE};
	table_place(&b->by_wd, (uint32_t)b->ndirs, hash_wd(wd));
	return (uint32_t)b->ndirs++;
}

static uint32_t find_name(const struct backlog *b, uint32_t dir, struct bytes name)
{
	size_t i = hash_name(dir, name) & (b->by_name.cap - 1);

	for (;; i = (i + 1) & (b->by_name.cap - 1)) {
		uint32_t e = b->by_name.v[i];

		if (e == NONE ||
		    (b->entries[e].dir == dir && bytes_equal(entry_name(b, &b->entries[e]), name)))
			return e;
	}
}

static uint32_t add_name(struct backlog *b, uint32_t dir, struct bytes name)
{
	struct backlog_dir *d = &b->dirs[dir];
	uint32_t e = (uint32_t)b->nentries;

	if (b->nentries == b->entries_cap) {
		b->entries_cap = b->entries_cap * 2 + 64;
		b->entries = mem_realloc(b->entries, b->entries_cap, sizeof(*b->entries));
	}
	if (b->arena_n + name.n > b->arena_cap) {
		b->arena_cap = (b->arena_n + name.n) * 2 + 4096;
		b->arena = mem_realloc(b->arena, b->arena_cap, 1);
	}
	if ((b->nentries + 1) * 4 > b->by_name.cap * 3) {
		table_double(&b->by_name);
		for (uint32_t i = 0; i < e; i++)
			table_place(&b->by_name, i,
			            hash_name(b->entries[i].dir, entry_name(b, &b->entries[i])));
	}
	if (name.n)
		memcpy(b->arena + b->arena_n, name.p, name.n);
	b->entries[e] = (struct entry){.dir = dir,
	                               .next = NONE,
	                               .name = (uint32_t)b->arena_n,
	                               .name_len = (uint8_t)name.n,
	                               .drain = UINT64_MAX,
	                               .since_ns = INT64_MAX};
	b->arena_n += name.n;
	b->nentries++;
	table_place(&b->by_name, e, hash_name(dir, name));
	if (d->last == NONE)
		d->first = e;
	else
		b->entries[d->last].next = e;
	d->last = e;
	return e;
}

struct backlog *backlog_new(size_t max_names, size_t max_dirs)
{
	struct backlog *b = mem_alloc(sizeof(*b));

	check(max_names < NONE && max_dirs < NONE);
	b->max_names = max_names;
	b->max_dirs = max_dirs;
	backlog_clear(b);
	return b;
}

void backlog_free(struct backlog *b)
{
	if (!b)
		return;
	free(b->entries);
	free(b->dirs);
	free(b->by_name.v);
	free(b->by_wd.v);
	free(b->arena);
	free(b);
}

void backlog_clear(struct backlog *b)
{
	table_reset(&b->by_name, b->nentries);
	table_reset(&b->by_wd, b->ndirs);
	b->nentries = b->ndirs = b->arena_n = 0;
	b->last = NONE;
	b->tree = false;
}

bool backlog_empty(const struct backlog *b)
{
	return !b->ndirs && !b->tree;
}

/* NONE: there was no room, and everything has become the whole tree. */
static uint32_t dir_for(struct backlog *b, int wd, uint64_t drain, int64_t now_ns)
{
	uint32_t dir = find_dir(b, wd);

	if (dir != NONE)
		return dir;
	if (b->ndirs < b->max_dirs)
		return add_dir(b, wd);
	backlog_put_tree(b, drain, now_ns);
	return NONE;
}

static void mark_whole(struct backlog_dir *d, uint64_t drain, int64_t now_ns)
{
	if (d->whole)
		return; /* what was first is the oldest */
	d->whole = true;
	d->drain = drain;
	d->since_ns = now_ns;
}

static void merge_bits(struct entry *e, unsigned bits)
{
	unsigned now = e->bits;

	if (bits & (BACKLOG_WRITTEN | BACKLOG_CREATED))
		now &= ~(unsigned)BACKLOG_CLOSED;
	/* What was written under this name before has left with it. */
	if ((bits & (BACKLOG_GONE | BACKLOG_MOVED)) && (now & BACKLOG_WRITTEN))
		now |= BACKLOG_LEFT;
	if (bits & (BACKLOG_GONE | BACKLOG_MOVED))
		now &= BACKLOG_LEFT | BACKLOG_META | BACKLOG_GONE | BACKLOG_CREATED | BACKLOG_MOVED;
	if (bits & BACKLOG_GONE)
		now &= BACKLOG_LEFT | BACKLOG_META;
	e->bits = (uint8_t)(now | bits);
}

void backlog_put(struct backlog *b, int wd, struct bytes name, unsigned bits, uint64_t drain,
                 int64_t now_ns)
{
	uint32_t dir, e = b->last;

	if (b->tree)
		return;
	if (e == NONE || b->dirs[b->entries[e].dir].wd != wd ||
	    !bytes_equal(entry_name(b, &b->entries[e]), name)) {
		dir = dir_for(b, wd, drain, now_ns);
		if (dir == NONE)
			return;
		e = find_name(b, dir, name);
		if (e == NONE && b->nentries >= b->max_names) {
			mark_whole(&b->dirs[dir], drain, now_ns);
			return;
		}
		if (e == NONE)
			e = add_name(b, dir, name);
		b->last = e;
	}
	merge_bits(&b->entries[e], bits);
	if (b->entries[e].drain > drain)
		b->entries[e].drain = drain;
	if (b->entries[e].since_ns > now_ns)
		b->entries[e].since_ns = now_ns;
}

void backlog_put_unwatched(struct backlog *b, int wd, uint64_t drain, int64_t now_ns)
{
	uint32_t dir;

	if (b->tree)
		return;
	dir = dir_for(b, wd, drain, now_ns);
	if (dir != NONE)
		b->dirs[dir].unwatched = true;
}

void backlog_put_tree(struct backlog *b, uint64_t drain, int64_t now_ns)
{
	if (b->tree)
		return;
	/* The oldest of what is dropped here: its born must survive. */
	for (size_t i = 0; i < b->nentries; i++) {
		if (b->entries[i].drain < drain)
			drain = b->entries[i].drain;
		if (b->entries[i].since_ns < now_ns)
			now_ns = b->entries[i].since_ns;
	}
	for (size_t i = 0; i < b->ndirs; i++) {
		if (b->dirs[i].whole && b->dirs[i].drain < drain)
			drain = b->dirs[i].drain;
		if (b->dirs[i].whole && b->dirs[i].since_ns < now_ns)
			now_ns = b->dirs[i].since_ns;
	}
	b->tree = true;
	b->tree_drain = drain;
	b->tree_since_ns = now_ns;
}

size_t backlog_dirs(const struct backlog *b)
{
	return b->ndirs;
}

const struct backlog_dir *backlog_dir(const struct backlog *b, size_t i)
{
	return &b->dirs[i];
}

bool backlog_next(const struct backlog *b, uint32_t *at, struct backlog_name *ret)
{
	const struct entry *e;

	if (*at == NONE)
		return false;
	e = &b->entries[*at];
	ret->drain = e->drain;
	ret->since_ns = e->since_ns;
	ret->name = entry_name(b, e);
	ret->bits = e->bits;
	*at = e->next;
	return true;
}

bool backlog_tree(const struct backlog *b, uint64_t *ret_drain, int64_t *ret_since_ns)
{
	if (!b->tree)
		return false;
	*ret_drain = b->tree_drain;
	*ret_since_ns = b->tree_since_ns;
	return true;
}
