#include "core/mark.h"

const char *mark_action_word(enum mark_action action)
{
	switch (action) {
	case MARK_META:
		return "meta";
	case MARK_QUICK:
		return "quick";
	case MARK_CONTENT:
		return "content";
	case MARK_DELETE:
		return "delete";
	case MARK_LOOK:
		return "look";
	}
	return "?";
}

static enum mark_action merge_action(enum mark_action was, enum mark_action next)
{
	if (was == MARK_LOOK || next == MARK_LOOK)
		return MARK_LOOK;
	if (next == MARK_DELETE)
		return MARK_DELETE;
	if (was == MARK_DELETE)
		return MARK_CONTENT;
	return was > next ? was : next;
}

void mark_merge(struct mark *into, const struct mark *next)
{
	const unsigned weak = MARK_LOW | MARK_HOT | MARK_BRIEF | MARK_AUDIT | MARK_SIGHT;
	const unsigned seen = ~weak;
	unsigned flags = into->flags & next->flags & weak;

	/* What exists is said by the later look; a mark to look says nothing about that. */
	if (next->action == MARK_LOOK) {
		flags |= into->flags & seen;
		if (into->action == MARK_LOOK)
			flags |= next->flags & seen;
	} else {
		flags |= next->flags & seen;
		into->size = next->size;
		into->link = next->link;
		into->dev = next->dev;
		into->ino = next->ino;
		into->ctime_ns = next->ctime_ns;
	}
	into->flags = flags;
	into->action = merge_action(into->action, next->action);
	if (next->scope == MARK_SUBTREE)
		into->scope = MARK_SUBTREE;
	if (into->scope == MARK_SUBTREE)
		into->action = MARK_LOOK;
	if (next->born < into->born)
		into->born = next->born;
	if (next->since_ns < into->since_ns)
		into->since_ns = next->since_ns;
}
