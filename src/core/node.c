#include "core/pathset_parts.h"

#include "base/mem.h"
#include "base/path.h"

#include <xxhash.h>

#define TABLE_MIN 64

/* The parent's address is the seed: names are chosen by whoever may write into the tree. */
static uint64_t hash_of(const struct node *parent, struct bytes name)
{
	return XXH3_64bits_withSeed(name.p, name.n, (uint64_t)(uintptr_t)parent);
}

static struct node *node_new(struct node *parent, struct bytes name)
{
	struct node *node = mem_alloc(sizeof(*node) + name.n + 1);

	node->parent = parent;
	node->len = (uint16_t)name.n;
	if (name.n)
		memcpy(node->name, name.p, name.n);
	if (parent) {
		node->depth = (uint16_t)(parent->depth + 1);
		node->next = parent->child;
		if (node->next)
			node->next->prev = node;
		parent->child = node;
	}
	return node;
}

static void table_resize(struct pathset *set, size_t size)
{
	struct node **table = mem_array(size, sizeof(*table));

	for (size_t i = 0; i < set->table_size; i++) {
		struct node *node = set->table[i];

		while (node) {
			struct node *next = node->chain;
			struct node **head = &table[node->hash & (size - 1)];

			node->chain = *head;
			*head = node;
			node = next;
		}
	}
	free(set->table);
	set->table = table;
	set->table_size = size;
}

void node_table_init(struct pathset *set)
{
	table_resize(set, TABLE_MIN);
	set->root = node_new(NULL, (struct bytes){NULL, 0});
	set->root->pins = 1;
}

void node_table_done(struct pathset *set)
{
	check(!set->root->child);
	free(set->root);
	free(set->table);
}

static struct node *child_find(const struct pathset *set, const struct node *parent,
                               struct bytes name, uint64_t hash)
{
	struct node *node = set->table[hash & (set->table_size - 1)];

	while (node && !(node->hash == hash && node->parent == parent && node->len == name.n &&
	                 memcmp(node->name, name.p, name.n) == 0))
		node = node->chain;
	return node;
}

struct node *node_find(const struct pathset *set, struct bytes path)
{
	struct node *node = set->root;

	while (node && path.n) {
		struct bytes name = path_next(&path);

		node = child_find(set, node, name, hash_of(node, name));
	}
	return node;
}

struct node *node_make(struct pathset *set, struct bytes path)
{
	struct node *node = set->root;

	while (path.n) {
		struct bytes name = path_next(&path);
		uint64_t hash = hash_of(node, name);
		struct node *child = child_find(set, node, name, hash);

		if (!child) {
			check(name.n > 0 && name.n <= NAME_BYTES_MAX);
			if (set->nodes >= set->table_size)
				table_resize(set, 2 * set->table_size);
			child = node_new(node, name);
			child->hash = hash;
			child->chain = set->table[hash & (set->table_size - 1)];
			set->table[hash & (set->table_size - 1)] = child;
			set->nodes++;
		}
		node = child;
	}
	return node;
}

static void node_free(struct pathset *set, struct node *node)
{
	struct node **link = &set->table[node->hash & (set->table_size - 1)];

	while (*link != node)
		link = &(*link)->chain;
	*link = node->chain;
	if (node->prev)
		node->prev->next = node->next;
	else
		node->parent->child = node->next;
	if (node->next)
		node->next->prev = node->prev;
	free(node);
	set->nodes--;
	if (set->table_size > TABLE_MIN && set->nodes < set->table_size / 8)
		table_resize(set,
		             set->table_size / 4 > TABLE_MIN ? set->table_size / 4 : TABLE_MIN);
}

void node_release(struct pathset *set, struct node *node)
{
	while (!node->pins && !node->child && !node->pending && !node->flight && !node->look &&
	       !node->recent) {
		struct node *parent = node->parent;

		check(!node->waiters);
		node_free(set, node);
		node = parent;
	}
}

struct node *node_next(const struct node *node, const struct node *top, bool down)
{
	if (down && node->child)
		return node->child;
	while (node != top) {
		if (node->next)
			return node->next;
		node = node->parent;
	}
	return NULL;
}

bool node_below(const struct node *node, const struct node *dir)
{
	if (node->depth <= dir->depth)
		return false;
	while (node->depth > dir->depth)
		node = node->parent;
	return node == dir;
}

struct bytes node_path(const struct node *node)
{
	const struct node *up;
	size_t n = 0;
	char *p;

	for (up = node; up->parent; up = up->parent)
		n += up->len + (up->parent->parent ? 1u : 0u);
	p = mem_alloc(n + 1);
	struct bytes path = {p, n};
	for (up = node; up->parent; up = up->parent) {
		n -= up->len;
		memcpy(p + n, up->name, up->len);
		if (n)
			p[--n] = '/';
	}
	return path;
}
