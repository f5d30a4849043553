#include "ledger/overlay.h"
#include <uthash.h>
#include <utlist.h>
#include "base/mem.h"
#include "base/path.h"

struct inode_key {
	uint64_t dev, ino;
};

/* There is one for each inode that has names in the layer, or that is a group. */
struct inode {
	struct inode_key key;
	bool group; /* names with more than one link were put: they share fp */
	struct fingerprint fp;
	struct node *names; /* by next_alias */
	UT_hash_handle hh;
};

struct node {
	struct node *parent;
	struct node *children, *prev,
	        *next; /* siblings; a DL list has prev of the head at the tail */
	struct inode *inode;
	struct node *prev_alias, *next_alias;
	struct store_record record;
	bool known;   /* this layer says what stands here */
	bool present; /* with known: record; otherwise nothing */
	bool hides;   /* nothing below shows from underneath */
	UT_hash_handle hh;
	uint16_t name_n;
	char key[]; /* address of the parent, then the name: what the hash is keyed by */
};

struct overlay {
	struct node *root;
	struct node *nodes;   /* hash of all but the root */
	struct inode *inodes; /* hash */
	size_t known, ngroups;
};

#define KEY_PARENT sizeof(struct node *)

static struct bytes node_name(const struct node *n)
{
	return (struct bytes){n->key + KEY_PARENT, n->name_n};
}

static size_t make_key(char *key, const struct node *parent, struct bytes name)
{
	memcpy(key, &parent, KEY_PARENT);
	memcpy(key + KEY_PARENT, name.p, name.n);
	return KEY_PARENT + name.n;
}

static struct node *node_child(const struct overlay *o, const struct node *parent,
                               struct bytes name)
{
	char key[KEY_PARENT + NAME_BYTES_MAX];
	struct node *found = NULL;
	size_t n;

	if (!parent->children || name.n > NAME_BYTES_MAX)
		return NULL;
	n = make_key(key, parent, name);
	HASH_FIND(hh, o->nodes, key, n, found);
	return found;
}

/* The node of path or NULL; *hidden: a node above it hides what lies underneath. */
static struct node *node_find(const struct overlay *o, struct bytes path, bool *hidden)
{
	const struct node *n = o->root;

	*hidden = false;
	while (path.n && n) {
		*hidden = *hidden || n->hides;
		n = node_child(o, n, path_next(&path));
	}
	return (struct node *)n;
}

static struct node *node_make(struct overlay *o, struct bytes path)
{
	struct node *n = o->root;

	while (path.n) {
		struct bytes name = path_next(&path);
		struct node *child = node_child(o, n, name);

		if (!child) {
			check(name.n <= NAME_BYTES_MAX);
			child = mem_alloc(sizeof(*child) + KEY_PARENT + name.n);
			child->name_n = (uint16_t)name.n;
			child->parent = n;
			make_key(child->key, n, name);
			HASH_ADD_KEYPTR(hh, o->nodes, child->key, KEY_PARENT + name.n, child);
			DL_APPEND(n->children, child);
		}
		n = child;
	}
	return n;
}

static void node_leave_inode(struct overlay *o, struct node *n)
{
	struct inode *i = TAKE(n->inode);

	if (!i)
		return;
	DL_DELETE2(i->names, n, prev_alias, next_alias);
	/* A group's fingerprint is also that of names underneath. */
	if (i->names || i->group)
		return;
	HASH_DELETE(hh, o->inodes, i);
	free(i);
}

static void node_set_known(struct overlay *o, struct node *n, bool known)
{
	o->known += (size_t)known - (size_t)n->known;
	n->known = known;
}

static void node_free_below(struct overlay *o, struct node *top)
{
	struct node *n = top;

	for (;;) {
		struct node *parent = n->parent;

		if (n->children) {
			n = n->children;
			continue;
		}
		if (n == top)
			return;
		node_leave_inode(o, n);
		node_set_known(o, n, false);
		/* Every node is in the table: deleting one never meets an empty one. */
		/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference) */
		HASH_DELETE(hh, o->nodes, n);
		DL_DELETE(parent->children, n);
		free(n);
		n = parent;
	}
}

struct overlay *overlay_new(void)
{
	struct overlay *o = mem_alloc(sizeof(*o));

	o->root = mem_alloc(sizeof(*o->root));
	return o;
}

void overlay_free(struct overlay *o)
{
	struct inode *i, *next;

	if (!o)
		return;
	node_free_below(o, o->root);
	node_leave_inode(o, o->root);
	free(o->root);
	HASH_ITER (hh, o->inodes, i, next) {
		HASH_DELETE(hh, o->inodes, i);
		free(i);
	}
	free(o);
}

static struct inode *inode_find(const struct overlay *o, uint64_t dev, uint64_t ino)
{
	struct inode_key key = {dev, ino};
	struct inode *found = NULL;

	/* The hash reads the key as bytes, all of which are set. */
	/* NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult) */
	HASH_FIND(hh, o->inodes, &key, sizeof(key), found);
	return found;
}

static void node_join_inode(struct overlay *o, struct node *n, const struct fingerprint *fp)
{
	struct inode *i = inode_find(o, fp->dev, fp->ino);

	if (!i) {
		i = mem_alloc(sizeof(*i));
		i->key = (struct inode_key){fp->dev, fp->ino};
		HASH_ADD(hh, o->inodes, key, sizeof(i->key), i);
	}
	if (store_linked(fp)) {
		o->ngroups += !i->group;
		i->group = true;
		i->fp = *fp;
	}
	n->inode = i;
	DL_APPEND2(i->names, n, prev_alias, next_alias);
}

/* What a present node stands for. */
static struct store_record node_record(const struct node *n)
{
	struct store_record record = n->record;

	if (store_linked(&record.fp))
		record.fp = n->inode->fp;
	record.parent = n->children != NULL;
	return record;
}

static enum overlay_answer node_answer(const struct node *n, bool hidden)
{
	if (n && n->known)
		return n->present ? OVERLAY_PRESENT : OVERLAY_ABSENT;
	return hidden ? OVERLAY_ABSENT : OVERLAY_UNKNOWN;
}

enum overlay_answer overlay_find(const struct overlay *o, struct bytes path,
                                 struct store_record *ret)
{
	bool hidden;
	const struct node *n = node_find(o, path, &hidden);
	enum overlay_answer answer = node_answer(n, hidden);

	if (answer == OVERLAY_PRESENT)
		*ret = node_record(n);
	return answer;
}

void overlay_put(struct overlay *o, struct bytes path, const struct store_record *record)
{
	struct node *n = node_make(o, path);

	node_leave_inode(o, n);
	node_set_known(o, n, true);
	n->present = true;
	n->record = *record;
	if (store_indexed(&record->fp))
		node_join_inode(o, n, &record->fp);
}

void overlay_remove(struct overlay *o, struct bytes path)
{
	struct node *n = node_make(o, path);

	node_free_below(o, n);
	node_leave_inode(o, n);
	node_set_known(o, n, true);
	n->present = false;
	n->record = (struct store_record){0};
	n->hides = true;
}

void overlay_clear_below(struct overlay *o, struct bytes path)
{
	struct node *n = node_make(o, path);

	node_free_below(o, n);
	n->hides = true;
}

bool overlay_group(const struct overlay *o, uint64_t dev, uint64_t ino, struct fingerprint *ret)
{
	const struct inode *i = inode_find(o, dev, ino);

	if (!i || !i->group)
		return false;
	*ret = i->fp;
	return true;
}

bool overlay_has_groups(const struct overlay *o)
{
	return o->ngroups > 0;
}

static void node_path(const struct node *n, struct buf *out)
{
	size_t total = 0;
	char *end;

	buf_clear(out);
	for (const struct node *i = n; i->parent; i = i->parent)
		total += i->name_n + (i->parent->parent ? 1u : 0u);
	if (!total)
		return;
	end = buf_reserve(out, total);
	check(end);
	out->n = total;
	end += total;
	for (const struct node *i = n; i->parent; i = i->parent) {
		struct bytes name = node_name(i);

		end -= name.n;
		memcpy(end, name.p, name.n);
		if (i->parent->parent)
			*--end = '/';
	}
}

bool overlay_aliases(const struct overlay *o, uint64_t dev, uint64_t ino,
                     bool (*fn)(struct bytes path, void *arg), void *arg)
{
	const struct inode *i = inode_find(o, dev, ino);
	bool more = true;
	struct buf path;

	buf_init(&path, SIZE_MAX);
	for (const struct node *n = i ? i->names : NULL; n && more; n = n->next_alias) {
		node_path(n, &path);
		more = fn(buf_bytes(&path), arg);
	}
	buf_done(&path);
	return more;
}

static int child_order(const void *a, const void *b)
{
	const struct overlay_child *x = a, *y = b;

	return bytes_compare(x->name, y->name);
}

void overlay_list(const struct overlay *o, struct bytes dir, struct overlay_listing *ret)
{
	bool hidden;
	const struct node *d = node_find(o, dir, &hidden), *n;
	size_t count = 0, bytes = 0, at = 0;

	*ret = (struct overlay_listing){.hides = hidden || (d && d->hides)};
	if (!d || !d->children)
		return;
	DL_FOREACH (d->children, n) {
		count++;
		bytes += n->name_n;
	}
	ret->children = mem_array(count, sizeof(*ret->children));
	ret->names = mem_alloc(bytes);
	DL_FOREACH (d->children, n) {
		struct overlay_child *child = &ret->children[ret->n];
		struct bytes name = node_name(n);

		if (!n->known && !n->children)
			continue;
		memcpy(ret->names + at, name.p, name.n);
		child->name = (struct bytes){ret->names + at, name.n};
		child->answer = node_answer(n, ret->hides);
		child->record = node_record(n);
		at += name.n;
		ret->n++;
	}
	qsort(ret->children, ret->n, sizeof(*ret->children), child_order);
}

void overlay_listing_merge(struct overlay_listing *upper, struct overlay_listing *lower)
{
	struct overlay_child *all = mem_array(upper->n + lower->n + 1, sizeof(*all));
	size_t i = 0, j = 0, n = 0, bytes = 0, at = 0;
	char *names;

	while (i < upper->n || j < lower->n) {
		int order = i == upper->n   ? 1
		            : j == lower->n ? -1
		                            : child_order(&upper->children[i], &lower->children[j]);
		bool below = order == 0 &&
		             (upper->children[i].record.parent || lower->children[j].record.parent);

		if (order == 0 && upper->children[i].answer == OVERLAY_UNKNOWN)
			i++, order = 1;
		else if (order == 0)
			j++, order = -1;
		all[n] = order < 0 ? upper->children[i++] : lower->children[j++];
		all[n].record.parent = all[n].record.parent || below;
		bytes += all[n++].name.n;
	}
	names = mem_alloc(bytes + 1);
	for (i = 0; i < n; i++) {
		memcpy(names + at, all[i].name.p, all[i].name.n);
		all[i].name.p = names + at;
		at += all[i].name.n;
	}
	n = i;
	free(upper->children);
	free(upper->names);
	*upper = (struct overlay_listing){all, n, names, lower->hides};
	overlay_listing_done(lower);
}

void overlay_listing_done(struct overlay_listing *listing)
{
	free(listing->children);
	free(listing->names);
	*listing = (struct overlay_listing){0};
}

size_t overlay_changes(const struct overlay *o)
{
	return o->known + o->ngroups;
}

static void export_add(struct overlay_export *e, enum store_verb verb, struct bytes path,
                       const struct store_record *record)
{
	struct store_change *c = &e->changes[e->n++];

	*c = (struct store_change){.verb = verb, .path = {NULL, path.n}};
	if (record)
		c->record = *record;
	buf_add_bytes(&e->paths, path);
}

static void export_node(const struct node *n, struct overlay_export *e, struct buf *path)
{
	struct store_record record = node_record(n);

	node_path(n, path);
	if (n->hides)
		export_add(e, STORE_GONE, buf_bytes(path), NULL);
	if (n->known && n->present)
		export_add(e, STORE_PUT, buf_bytes(path), &record);
}

/* Depth first, without recursion: a path has up to 2048 components. */
static const struct node *node_after(const struct node *n, const struct node *top)
{
	if (n->children)
		return n->children;
	while (n != top && !n->next)
		n = n->parent;
	return n == top ? NULL : n->next;
}

void overlay_export(const struct overlay *o, struct overlay_export *ret)
{
	const struct node *n;
	struct inode *i, *next;
	struct buf path;
	size_t at = 0;

	buf_init(&path, SIZE_MAX);
	*ret = (struct overlay_export){0};
	buf_init(&ret->paths, SIZE_MAX);
	/* A node gives at most two changes; a hiding one is always known. */
	ret->changes = mem_array(2 * o->known + o->ngroups + 2, sizeof(*ret->changes));
	for (n = o->root; n; n = node_after(n, o->root))
		export_node(n, ret, &path);
	HASH_ITER (hh, o->inodes, i, next) {
		struct store_record record = {.fp = i->fp};

		if (i->group)
			export_add(ret, STORE_GROUP, (struct bytes){0}, &record);
	}
	for (size_t c = 0; c < ret->n; c++) {
		if (!ret->changes[c].path.n)
			continue;
		ret->changes[c].path.p = ret->paths.p + at;
		at += ret->changes[c].path.n;
	}
	buf_done(&path);
}

void overlay_export_done(struct overlay_export *e)
{
	free(e->changes);
	buf_done(&e->paths);
}
