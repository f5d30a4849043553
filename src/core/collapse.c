/*
 * Keeping a path set within its limit: marks of crowded directories become one SUBTREE mark.
 *
 * Each round makes room for an eighth of the limit, so that its cost, linear in what is pending, is
 * a few steps per mark put. Directories with many marks of their own go first, and only as crowded
 * ones as are needed. When marks lie too thinly spread for that, the deepest directory below which
 * enough of them lie goes as a whole.
 */
#include "core/pathset_parts.h"

#include "base/mem.h"

#define CROWD_MIN   4
#define CROWD_SIZES 32

static void collapse_one(struct pathset *set, struct node *dir)
{
	struct mark merged = {.scope = MARK_SUBTREE,
	                      .action = MARK_LOOK,
	                      .flags = MARK_DIR | MARK_AUDIT | MARK_LOW,
	                      .born = BORN_NONE,
	                      .since_ns = INT64_MAX};
	struct entry *e;

	dir->pins++;
	for (struct node *node = dir, *next; node; node = next) {
		next = node_next(node, dir, node->pending_below > 0);
		e = node->pending;
		if (!e)
			continue;
		mark_merge(&merged, &e->mark);
		pending_detach(set, e);
		pending_free(set, e);
		pending_wake_list(set, &node->waiters);
		node_release(set, node);
	}
	dir->pins--;
	merged.flags = MARK_DIR | (merged.flags & (MARK_AUDIT | MARK_LOW));
	merged.size = merged.link = 0;
	e = pending_new(set, dir, &merged, set->now_ns);
	e->ready_ns = INT64_MIN;
	e->remark = dir->flight != NULL;
	pending_attach(set, e);
}

static unsigned size_class(uint32_t n)
{
	return 31u - (unsigned)__builtin_clz(n);
}

static int by_depth(const void *a, const void *b)
{
	const struct node *x = *(struct node *const *)a, *y = *(struct node *const *)b;

	return (int)y->depth - (int)x->depth;
}

/* Counts the marks of each directory's own children; sets aside the directories that have any. */
static size_t find_crowds(struct pathset *set, struct node **dirs)
{
	size_t n = 0;

	for (uint32_t i = 0; i < set->born.n; i++) {
		struct entry *e = set->born.at[i];
		struct node *parent = e->node->parent;

		if (parent && e->node->pending == e && parent->crowd++ == 0)
			dirs[n++] = parent;
	}
	return n;
}

static void collapse_crowds(struct pathset *set, size_t goal)
{
	struct node **dirs autofree = mem_array(set->pending + 1, sizeof(struct node *));
	size_t n = find_crowds(set, dirs), crowded = 0, gains[CROWD_SIZES] = {0}, sum = 0;
	unsigned least = CROWD_SIZES;

	for (size_t i = 0; i < n; i++)
		gains[size_class(dirs[i]->crowd)] += dirs[i]->crowd - 1;
	while (least > size_class(CROWD_MIN) && sum < set->pending - goal)
		sum += gains[--least];
	for (size_t i = 0; i < n; i++) {
		uint32_t crowd = dirs[i]->crowd;

		dirs[i]->crowd = 0;
		if (size_class(crowd) >= least)
			dirs[crowded++] = dirs[i];
	}
	if (sum < set->pending - goal)
		return;
	/* The deeper first: a directory is freed only when one above it has been collapsed. */
	qsort(dirs, crowded, sizeof(struct node *), by_depth);
	for (size_t i = 0; i < crowded && set->pending > goal; i++)
		collapse_one(set, dirs[i]);
}

static struct node *heaviest_child(const struct node *dir)
{
	struct node *best = NULL;

	for (struct node *node = dir->child; node; node = node->next) {
		if (!best || node->pending_below > best->pending_below)
			best = node;
	}
	return best;
}

void collapse_to_limit(struct pathset *set)
{
	size_t room = set->limit / 8, goal = set->limit - room;

	if (set->pending <= set->limit)
		return;
	collapse_crowds(set, goal);
	while (set->pending > goal) {
		struct node *dir = set->root, *child;
		size_t enough = room > 1 ? room : 1;

		while ((child = heaviest_child(dir)) && child->pending_below > enough)
			dir = child;
		collapse_one(set, dir);
		if (dir == set->root)
			break;
	}
}
