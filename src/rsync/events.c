#include "rsync/events.h"

#include "base/mem.h"

struct queued_event {
	struct session_event event;
	size_t text_at;
};

void event_queue_init(struct event_queue *q)
{
	*q = (struct event_queue){0};
	buf_init(&q->text, SIZE_MAX / 2);
}

void event_queue_done(struct event_queue *q)
{
	free(q->p);
	buf_done(&q->text);
}

/* Everything was handed out: the texts may go. */
static void reset(struct event_queue *q)
{
	if (q->head < q->n)
		return;
	q->head = q->n = 0;
	buf_clear(&q->text);
}

void event_queue_add(struct event_queue *q, const struct session_event *event)
{
	reset(q);
	if (q->n == q->cap) {
		q->cap = q->cap ? q->cap * 2 : 16;
		q->p = mem_realloc(q->p, q->cap, sizeof(*q->p));
	}
	q->p[q->n++] = (struct queued_event){*event, q->text.n};
	buf_add_bytes(&q->text, event->text);
}

bool event_queue_next(struct event_queue *q, struct session_event *ret)
{
	struct queued_event *next;

	reset(q);
	*ret = (struct session_event){.kind = SESSION_EV_NONE};
	if (q->head == q->n)
		return false;
	next = &q->p[q->head++];
	*ret = next->event;
	ret->text.p = ret->text.n ? q->text.p + next->text_at : "";
	return true;
}
