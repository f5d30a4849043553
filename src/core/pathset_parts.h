/*
 * pathset_parts: what the files of the path set share; nobody else includes it.
 *
 * A node is one name; it lives while it carries an entry, is remembered as just acked, or has
 * children. An entry is one mark, pending or in flight, and never moves in memory. A pending entry
 * is in exactly one place: in the timed heap (its time has not come), in the ready heap of its
 * class, or parked at what it waits for. Parking keeps pathset_take() linear: a blocked mark is
 * looked at once, and again only after what blocked it has changed.
 *
 * Counters of what lies strictly below are kept on every ancestor, so that asking is O(1) and
 * changing O(depth).
 */
#ifndef CORE_PATHSET_PARTS_H
#define CORE_PATHSET_PARTS_H

#include "base/bytes.h"
#include "base/mem.h"
#include "core/pathset.h"

/* Memory that cannot run out, and no exit() in a library. */
#define uthash_malloc(n)    mem_alloc(n)
#define uthash_fatal(words) check(!words)
#include <uthash.h>

#define REMARK_WAIT_MAX_NS INT64_C(1000000000)
#define DELETE_MARKS_MAX   2000
#define HEAP_NOWHERE       UINT32_MAX

enum heap_slot { HEAP_QUEUE, HEAP_RESERVED, HEAP_BORN, HEAP_SLOTS };
enum heap_order { HEAP_BY_AGE, HEAP_BY_DUE, HEAP_BY_BORN };

/* A binary heap of entries, each of which knows its index per slot. */
struct heap {
	struct entry **at;
	uint32_t n, cap;
	enum heap_slot slot;
	enum heap_order order;
};

/* Ready heaps: the batch classes first, with their numbers. */
enum queue_kind {
	QUEUE_QUICK = BATCH_QUICK,
	QUEUE_CONTENT = BATCH_CONTENT,
	QUEUE_DELETE = BATCH_DELETE,
	QUEUE_LOOK,
	QUEUE_SUBTREE,
	QUEUE_KINDS,
};

enum entry_state { ENTRY_TIMED, ENTRY_READY, ENTRY_PARKED, ENTRY_FLYING };

/* What a parked entry waits for. */
enum entry_wait {
	WAIT_LIST,            /* is in the list `waits_on` */
	WAIT_BELOW_FLIGHT,    /* until nothing is in flight below its node */
	WAIT_BELOW_EXCLUSIVE, /* until nothing exclusive is in flight below its node */
	WAIT_BELOW_DELETE,    /* until no DELETE mark is pending below its node */
};

struct entry {
	struct mark mark; /* path is empty: the node knows it */
	struct node *node;
	struct batch *batch; /* while in flight */
	struct group *group; /* of hard links; NULL: none */
	struct entry *group_prev, *group_next;
	struct entry **waits_on;
	struct entry *wait_prev, *wait_next;
	struct heap *queue;
	uint64_t seq;
	int64_t put_ns, ready_ns, not_before_ns, due_ns, taken_ns;
	uint32_t at[HEAP_SLOTS];
	enum entry_state state;
	enum entry_wait wait;
	enum mark_action stirred; /* out of flight: its group was stirred meanwhile */
	bool remark; /* put while its path was in flight: ready_ns is not complete yet */
	bool able;   /* ready, or waits only for the others of its group */
};

/* A path acked within the last second. */
struct recent {
	struct node *node;
	struct recent *prev, *next;
	int64_t acked_ns, cost_ns;
};

struct node {
	struct node *parent;
	struct node *child, *next, *prev; /* first child, siblings */
	struct node *chain;               /* in the table of names */
	struct entry *pending, *flight, *look;
	struct recent *recent;
	struct entry
	        *waiters; /* parked until this node's pending or flying mark is out of the way */
	uint32_t pending_below, deletes_below; /* pending marks, DELETE marks among them */
	uint32_t flying_below,
	        exclusive_below;               /* in flight, exclusive among them; looks left out */
	uint32_t taken_below, taken_exclusive; /* of those: in batch number `taken_by` */
	uint32_t crowd;                        /* collapse: marks on direct children */
	uint64_t taken_by;
	uint64_t hash;
	uint32_t pins;
	uint16_t depth, len;
	char name[];
};

/* Marks that will exist and carry the same inode number; in flight also a file that had one name
 * when it was looked at: it may have got others since. */
struct group {
	uint64_t link;
	/* While some are in flight: the strongest of the marks put meanwhile that tell of a change
	 * in what all the names hold, CONTENT or QUICK; META: none. */
	enum mark_action stirred;
	struct entry *members; /* pending */
	struct entry *waiters; /* members that wait for the others */
	size_t pending, able, content, flying;
	UT_hash_handle hh;
};

struct batch_item {
	struct mark mark;    /* with its path */
	struct entry *entry; /* NULL: acked, nacked or dropped */
};

struct batch {
	struct pathset *set;
	struct batch_item *items;
	size_t count, cap;
	uint64_t number, bytes;
	enum batch_class class;
};

struct pathset {
	size_t limit;
	int64_t longest_wait_ns;
	int64_t now_ns; /* the latest told */
	struct node *root;
	struct node **table;
	size_t table_size, nodes;
	struct heap timed, ready[2][QUEUE_KINDS]; /* [1]: MARK_LOW */
	struct heap reserved; /* blocked by something in flight, not yet taken */
	struct heap born;     /* every entry */
	struct group *groups;
	struct recent *recent_first, *recent_last;
	size_t recents, pending, flying;
	uint64_t pending_bytes, seq, batches;
};

/* pending.c: whether its link counts */
bool pending_groups(const struct entry *e);
/* The one of this inode number, made if need be. */
struct group *pending_group(struct pathset *set, uint64_t link);
/* The content is not what it was, under all names of its inode; this one may be gone before it is
 * sent. action: CONTENT, or QUICK where that would be enough for one in flight. */
void pending_stir(struct pathset *set, struct entry *e, enum mark_action action);

/* heap.c */
void heap_init(struct heap *h, enum heap_slot slot, enum heap_order order);
void heap_done(struct heap *h);
void heap_push(struct heap *h, struct entry *e);
void heap_remove(struct heap *h, struct entry *e);
void heap_fix(struct heap *h, struct entry *e); /* its key has changed */
static inline struct entry *heap_top(const struct heap *h)
{
	return h->n ? h->at[0] : NULL;
}
bool entry_older(const struct entry *a, const struct entry *b);

/* node.c */
void node_table_init(struct pathset *set);
void node_table_done(struct pathset *set);
struct node *node_find(const struct pathset *set, struct bytes path);
struct node *node_make(struct pathset *set, struct bytes path);
/* Frees the node and those above it that carry nothing any more. */
void node_release(struct pathset *set, struct node *node);
/* Next in a walk over `top` and what lies below it, parents first; NULL at the end. With `down`
 * false what lies below `node` is left out. */
struct node *node_next(const struct node *node, const struct node *top, bool down);
/* Strictly below. */
bool node_below(const struct node *node, const struct node *dir);
struct bytes node_path(const struct node *node); /* heap memory, NUL-terminated */

/* recent.c */
void recent_note(struct pathset *set, struct node *node, int64_t acked_ns, int64_t cost_ns);
void recent_purge(struct pathset *set, int64_t now_ns);
void recent_forget(struct pathset *set, struct recent *r);

/* pending.c */
void pathset_tell(struct pathset *set, int64_t now_ns);
struct entry *pending_new(struct pathset *set, struct node *node, const struct mark *mark,
                          int64_t now_ns);
void pending_free(struct pathset *set, struct entry *e); /* detached, or not in flight any more */
void pending_attach(struct pathset *set, struct entry *e);
/* Takes it out of every place; does not wake who waits for it. */
void pending_detach(struct pathset *set, struct entry *e);
/* Puts `next` on top of e; wakes who waited for what e was. */
void pending_merge(struct pathset *set, struct entry *e, const struct mark *next, int64_t ready_ns);
/* The mark has a time of its own before which it is not ready. */
static inline bool pending_waits(const struct mark *m)
{
	return m->flags & (MARK_HOT | MARK_BRIEF);
}
/* It does not wait for its own time any more. */
void pending_hurry(struct pathset *set, struct entry *e);
/* What was known about it is stale. */
void pending_turn_look(struct pathset *set, struct entry *e);
void pending_schedule(struct pathset *set, struct entry *e);
void pending_park(struct pathset *set, struct entry *e, enum entry_wait wait, struct entry **list);
void pending_wake_list(struct pathset *set, struct entry **list);
void pending_reserve(struct pathset *set, struct entry *e);
/* Gives its reservation back; who waited for it looks again. */
void pending_unreserve(struct pathset *set, struct entry *e);
/* Once nothing belongs to it, pending or in flight. */
void pending_free_group(struct pathset *set, struct group *g);
enum queue_kind pending_kind(const struct entry *e);
static inline int64_t pending_remark_ns(int64_t cost_ns)
{
	return cost_ns >= REMARK_WAIT_MAX_NS / 2 ? REMARK_WAIT_MAX_NS : 2 * cost_ns;
}

/* collapse.c */
void collapse_to_limit(struct pathset *set);

/* scope.c */
/* Whether e may be taken into b now. If not, it has been parked. */
bool scope_admits(struct pathset *set, struct entry *e, const struct batch *b);
void scope_count_pending(struct pathset *set, const struct entry *e, int step);
void scope_count_flight(struct pathset *set, const struct entry *e, int step);

#endif
