#include "core/pathset_parts.h"

#include "base/mem.h"

void recent_forget(struct pathset *set, struct recent *r)
{
	struct node *node = r->node;

	*(r->prev ? &r->prev->next : &set->recent_first) = r->next;
	*(r->next ? &r->next->prev : &set->recent_last) = r->prev;
	node->recent = NULL;
	set->recents--;
	free(r);
	node_release(set, node);
}

void recent_purge(struct pathset *set, int64_t now_ns)
{
	while (set->recent_first && now_ns - set->recent_first->acked_ns >= REMARK_WAIT_MAX_NS)
		recent_forget(set, set->recent_first);
}

void recent_note(struct pathset *set, struct node *node, int64_t acked_ns, int64_t cost_ns)
{
	struct recent *r;

	node->pins++;
	if (node->recent)
		recent_forget(set, node->recent);
	if (set->recents >= set->limit)
		recent_forget(set, set->recent_first);
	node->pins--;
	r = mem_alloc(sizeof(*r));
	r->node = node;
	r->acked_ns = acked_ns;
	r->cost_ns = cost_ns;
	r->prev = set->recent_last;
	*(r->prev ? &r->prev->next : &set->recent_first) = r;
	set->recent_last = r;
	node->recent = r;
	set->recents++;
}
