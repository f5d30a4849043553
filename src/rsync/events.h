/*
 * events: what a session has to tell, oldest first. Texts are copied in and live until the queue is
 * asked again. The owner drains it after every feed, so its size is bounded by what was fed.
 */
#ifndef RSYNC_EVENTS_H
#define RSYNC_EVENTS_H

#include "rsync/session.h"

struct event_queue {
	struct queued_event *p;
	size_t head, n, cap;
	struct buf text;
};

void event_queue_init(struct event_queue *q);
void event_queue_done(struct event_queue *q);
void event_queue_add(struct event_queue *q, const struct session_event *event);
/* false: empty, and *ret has kind NONE. */
bool event_queue_next(struct event_queue *q, struct session_event *ret);

#endif
