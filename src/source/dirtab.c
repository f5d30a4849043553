#include "source/dirtab.h"

#include <errno.h>
#include "base/mem.h"
#include "base/path.h"

struct node {
	uint64_t ino;
	uint32_t parent, first_child, next, prev;
	uint32_t seen;
	uint32_t name; /* offset in the arena */
	int32_t wd;
	uint16_t dev; /* index in devs: there are few */
	uint8_t name_len;
	uint8_t flags;
};

enum node_flag { NODE_FREE = 1, NODE_UNREAD = 2 };

enum { DEVS_MAX = 65535, ARENA_WASTE_MIN = 1 << 20 };

/* Open addressing over node numbers, linear probing, at most three quarters full. */
struct slots {
	uint32_t *v;
	size_t cap, used; /* cap is a power of two */
};

struct dirtab {
	struct node *nodes;
	size_t n, cap, live, watched;
	uint32_t free_head;  /* chained by next: may be used again */
	uint32_t quarantine; /* chained by next: not before dirtab_recycle() */
	char *arena;
	size_t arena_n, arena_cap, arena_waste;
	uint64_t *devs;
	size_t ndevs;
	struct slots by_name, by_wd;
};

static uint64_t mix(uint64_t h)
{
	h ^= h >> 32;
	h *= 0xd6e8feb86659fd93u;
	h ^= h >> 32;
	h *= 0xd6e8feb86659fd93u;
	return h ^ h >> 32;
}

static uint64_t hash_name(uint32_t parent, struct bytes name)
{
	uint64_t h = 0xcbf29ce484222325u ^ parent;

	for (size_t i = 0; i < name.n; i++)
		h = (h ^ (unsigned char)name.p[i]) * 0x100000001b3u;
	return mix(h);
}

static uint64_t hash_wd(int wd)
{
	return mix((uint64_t)(unsigned)wd + 0x9e3779b97f4a7c15u);
}

static uint64_t hash_node(const struct dirtab *t, const struct slots *s, uint32_t node)
{
	const struct node *x = &t->nodes[node];

	if (s == &t->by_wd)
		return hash_wd(x->wd);
	return hash_name(x->parent, dirtab_name(t, node));
}

static void slots_place(struct slots *s, uint32_t node, uint64_t hash)
{
	size_t i = hash & (s->cap - 1);

	while (s->v[i] != DIRTAB_NONE)
		i = (i + 1) & (s->cap - 1);
	s->v[i] = node;
}

static void slots_insert(const struct dirtab *t, struct slots *s, uint32_t node)
{
	if ((s->used + 1) * 4 > s->cap * 3) {
		uint32_t *old = s->v;
		size_t old_cap = s->cap;

		s->cap = old_cap ? old_cap * 2 : 64;
		s->v = mem_array(s->cap, sizeof(*s->v));
		memset(s->v, 0xff, s->cap * sizeof(*s->v));
		for (size_t i = 0; i < old_cap; i++)
			if (old[i] != DIRTAB_NONE)
				slots_place(s, old[i], hash_node(t, s, old[i]));
		free(old);
	}
	slots_place(s, node, hash_node(t, s, node));
	s->used++;
}

/* Closes the gap by moving later members of the run back, so no tombstones are needed. */
static void slots_remove(const struct dirtab *t, struct slots *s, uint32_t node)
{
	size_t mask = s->cap - 1;
	size_t gap = hash_node(t, s, node) & mask;

	while (s->v[gap] != node)
		gap = (gap + 1) & mask;
	for (size_t i = (gap + 1) & mask; s->v[i] != DIRTAB_NONE; i = (i + 1) & mask) {
		size_t home = hash_node(t, s, s->v[i]) & mask;

		if (((i - home) & mask) >= ((i - gap) & mask)) {
			s->v[gap] = s->v[i];
			gap = i;
		}
	}
	s->v[gap] = DIRTAB_NONE;
	s->used--;
}

static void arena_compact(struct dirtab *t)
{
	char *fresh;
	size_t n = 0;

	if (t->arena_waste < ARENA_WASTE_MIN || t->arena_waste * 2 < t->arena_n)
		return;
	fresh = mem_array(t->arena_n - t->arena_waste + NAME_BYTES_MAX, 1);
	for (size_t i = 0; i < t->n; i++) {
		struct node *x = &t->nodes[i];

		if (x->flags & NODE_FREE)
			continue;
		memcpy(fresh + n, t->arena + x->name, x->name_len);
		x->name = (uint32_t)n;
		n += x->name_len;
	}
	free(t->arena);
	t->arena = fresh;
	t->arena_cap = t->arena_n - t->arena_waste + NAME_BYTES_MAX;
	t->arena_n = n;
	t->arena_waste = 0;
}

static void name_drop(struct dirtab *t, uint32_t node)
{
	t->arena_waste += t->nodes[node].name_len;
	t->nodes[node].name_len = 0;
}

static void name_set(struct dirtab *t, uint32_t node, struct bytes name)
{
	name_drop(t, node);
	arena_compact(t);
	if (t->arena_n + name.n > t->arena_cap) {
		t->arena_cap = (t->arena_n + name.n) + (t->arena_n >> 2) + 4096;
		check(t->arena_cap < UINT32_MAX);
		t->arena = mem_realloc(t->arena, t->arena_cap, 1);
	}
	memcpy(t->arena + t->arena_n, name.p, name.n);
	t->nodes[node].name = (uint32_t)t->arena_n;
	t->nodes[node].name_len = (uint8_t)name.n;
	t->arena_n += name.n;
}

static uint32_t node_new(struct dirtab *t)
{
	uint32_t node = t->free_head;

	if (node != DIRTAB_NONE) {
		t->free_head = t->nodes[node].next;
	} else {
		if (t->n == t->cap) {
			t->cap = t->cap ? t->cap + (t->cap >> 2) + 16 : 64;
			check(t->cap < DIRTAB_NONE);
			t->nodes = mem_realloc(t->nodes, t->cap, sizeof(*t->nodes));
		}
		node = (uint32_t)t->n++;
	}
	t->nodes[node] = (struct node){.parent = DIRTAB_NONE,
	                               .first_child = DIRTAB_NONE,
	                               .next = DIRTAB_NONE,
	                               .prev = DIRTAB_NONE,
	                               .wd = -1};
	t->live++;
	return node;
}

struct dirtab *dirtab_new(void)
{
	struct dirtab *t = mem_alloc(sizeof(*t));

	t->free_head = t->quarantine = DIRTAB_NONE;
	(void)node_new(t);
	return t;
}

void dirtab_free(struct dirtab *t)
{
	if (!t)
		return;
	free(t->nodes);
	free(t->arena);
	free(t->devs);
	free(t->by_name.v);
	free(t->by_wd.v);
	free(t);
}

static void link_below(struct dirtab *t, uint32_t node, uint32_t parent, struct bytes name)
{
	struct node *x = &t->nodes[node];
	struct node *up = &t->nodes[parent];

	name_set(t, node, name);
	x->parent = parent;
	x->prev = DIRTAB_NONE;
	x->next = up->first_child;
	if (x->next != DIRTAB_NONE)
		t->nodes[x->next].prev = node;
	up->first_child = node;
	slots_insert(t, &t->by_name, node);
}

uint32_t dirtab_add(struct dirtab *t, uint32_t parent, struct bytes name)
{
	uint32_t node = node_new(t);

	check(name.n > 0 && name.n <= NAME_BYTES_MAX);
	link_below(t, node, parent, name);
	return node;
}

void dirtab_detach(struct dirtab *t, uint32_t node)
{
	struct node *x = &t->nodes[node];

	check(node != DIRTAB_ROOT);
	if (x->parent == DIRTAB_NONE)
		return;
	slots_remove(t, &t->by_name, node);
	if (x->prev != DIRTAB_NONE)
		t->nodes[x->prev].next = x->next;
	else
		t->nodes[x->parent].first_child = x->next;
	if (x->next != DIRTAB_NONE)
		t->nodes[x->next].prev = x->prev;
	x->parent = x->next = x->prev = DIRTAB_NONE;
	name_drop(t, node);
}

bool dirtab_attach(struct dirtab *t, uint32_t node, uint32_t parent, struct bytes name)
{
	check(node != DIRTAB_ROOT && t->nodes[node].parent == DIRTAB_NONE);
	if (dirtab_within(t, parent, node))
		return false;
	link_below(t, node, parent, name);
	return true;
}

void dirtab_drop(struct dirtab *t, uint32_t node, void (*gone)(int wd, void *arg), void *arg)
{
	uint32_t at = node;

	dirtab_detach(t, node);
	/* Leaves first: down to a node without children, free it, up again. */
	for (;;) {
		struct node *x = &t->nodes[at];
		uint32_t up = x->parent;

		if (x->first_child != DIRTAB_NONE) {
			at = x->first_child;
			continue;
		}
		if (x->wd >= 0) {
			int wd = x->wd;

			dirtab_set_wd(t, at, -1);
			gone(wd, arg);
		}
		if (at != node)
			dirtab_detach(t, at);
		x->flags = NODE_FREE;
		x->next = t->quarantine;
		t->quarantine = at;
		t->live--;
		if (at == node)
			return;
		at = up;
	}
}

void dirtab_recycle(struct dirtab *t)
{
	while (t->quarantine != DIRTAB_NONE) {
		uint32_t node = t->quarantine;

		t->quarantine = t->nodes[node].next;
		t->nodes[node].next = t->free_head;
		t->free_head = node;
	}
}

bool dirtab_alive(const struct dirtab *t, uint32_t node)
{
	return node < t->n && !(t->nodes[node].flags & NODE_FREE);
}

uint32_t dirtab_child(const struct dirtab *t, uint32_t parent, struct bytes name)
{
	const struct slots *s = &t->by_name;

	if (!s->cap)
		return DIRTAB_NONE;
	for (size_t i = hash_name(parent, name) & (s->cap - 1);; i = (i + 1) & (s->cap - 1)) {
		uint32_t node = s->v[i];

		if (node == DIRTAB_NONE)
			return DIRTAB_NONE;
		if (t->nodes[node].parent == parent && bytes_equal(dirtab_name(t, node), name))
			return node;
	}
}

uint32_t dirtab_by_wd(const struct dirtab *t, int wd)
{
	const struct slots *s = &t->by_wd;

	if (!s->cap || wd < 0)
		return DIRTAB_NONE;
	for (size_t i = hash_wd(wd) & (s->cap - 1);; i = (i + 1) & (s->cap - 1)) {
		uint32_t node = s->v[i];

		if (node == DIRTAB_NONE || t->nodes[node].wd == wd)
			return node;
	}
}

uint32_t dirtab_parent(const struct dirtab *t, uint32_t node)
{
	return t->nodes[node].parent;
}

struct bytes dirtab_name(const struct dirtab *t, uint32_t node)
{
	return (struct bytes){t->arena + t->nodes[node].name, t->nodes[node].name_len};
}

uint32_t dirtab_first_child(const struct dirtab *t, uint32_t node)
{
	return t->nodes[node].first_child;
}

uint32_t dirtab_next_sibling(const struct dirtab *t, uint32_t node)
{
	return t->nodes[node].next;
}

bool dirtab_within(const struct dirtab *t, uint32_t node, uint32_t top)
{
	for (; node != DIRTAB_NONE; node = t->nodes[node].parent)
		if (node == top)
			return true;
	return false;
}

int dirtab_path(const struct dirtab *t, uint32_t node, struct buf *out)
{
	size_t len = 0;
	char *end;

	buf_clear(out);
	for (uint32_t at = node; at != DIRTAB_ROOT; at = t->nodes[at].parent) {
		if (t->nodes[at].parent == DIRTAB_NONE)
			return -ENOENT;
		len += (len > 0) + t->nodes[at].name_len;
	}
	if (len > PATH_BYTES_MAX)
		return -ENAMETOOLONG;
	if (!len)
		return 0;
	end = buf_reserve(out, len);
	if (!end)
		return -ENAMETOOLONG;
	out->n += len;
	end += len;
	for (uint32_t at = node; at != DIRTAB_ROOT; at = t->nodes[at].parent) {
		struct bytes name = dirtab_name(t, at);

		if (at != node)
			*--end = '/';
		end -= name.n;
		memcpy(end, name.p, name.n);
	}
	return 0;
}

uint32_t dirtab_resolve(const struct dirtab *t, struct bytes path, struct bytes *rest)
{
	uint32_t node = DIRTAB_ROOT;

	*rest = path;
	while (rest->n) {
		struct bytes next = *rest;
		uint32_t child = dirtab_child(t, node, path_next(&next));

		if (child == DIRTAB_NONE)
			break;
		node = child;
		*rest = next;
	}
	return node;
}

void dirtab_set_wd(struct dirtab *t, uint32_t node, int wd)
{
	struct node *x = &t->nodes[node];

	if (x->wd == wd)
		return;
	if (x->wd >= 0) {
		slots_remove(t, &t->by_wd, node);
		t->watched--;
	}
	x->wd = wd;
	if (wd >= 0) {
		slots_insert(t, &t->by_wd, node);
		t->watched++;
	}
}

int dirtab_wd(const struct dirtab *t, uint32_t node)
{
	return t->nodes[node].wd;
}

void dirtab_set_identity(struct dirtab *t, uint32_t node, uint64_t dev, uint64_t ino)
{
	size_t i = 0;

	while (i < t->ndevs && t->devs[i] != dev)
		i++;
	if (i == t->ndevs) {
		check(t->ndevs < DEVS_MAX);
		t->devs = mem_realloc(t->devs, t->ndevs + 1, sizeof(*t->devs));
		t->devs[t->ndevs++] = dev;
	}
	t->nodes[node].dev = (uint16_t)i;
	t->nodes[node].ino = ino;
}

bool dirtab_is(const struct dirtab *t, uint32_t node, uint64_t dev, uint64_t ino)
{
	const struct node *x = &t->nodes[node];

	return x->ino == ino && x->dev < t->ndevs && t->devs[x->dev] == dev;
}

uint32_t dirtab_seen(const struct dirtab *t, uint32_t node)
{
	return t->nodes[node].seen;
}

void dirtab_set_seen(struct dirtab *t, uint32_t node, uint32_t jobs)
{
	t->nodes[node].seen = jobs;
}

bool dirtab_unread(const struct dirtab *t, uint32_t node)
{
	return t->nodes[node].flags & NODE_UNREAD;
}

void dirtab_set_unread(struct dirtab *t, uint32_t node, bool unread)
{
	if (unread)
		t->nodes[node].flags |= NODE_UNREAD;
	else
		t->nodes[node].flags &= (uint8_t)~NODE_UNREAD;
}

size_t dirtab_count(const struct dirtab *t)
{
	return t->live;
}

size_t dirtab_watched(const struct dirtab *t)
{
	return t->watched;
}

size_t dirtab_memory(const struct dirtab *t)
{
	return t->cap * sizeof(*t->nodes) + t->arena_cap +
	       (t->by_name.cap + t->by_wd.cap) * sizeof(uint32_t) + t->ndevs * sizeof(*t->devs);
}

void dirtab_each_wd(const struct dirtab *t, void (*fn)(int wd, void *arg), void *arg)
{
	for (size_t i = 0; i < t->n; i++)
		if (!(t->nodes[i].flags & NODE_FREE) && t->nodes[i].wd >= 0)
			fn(t->nodes[i].wd, arg);
}
