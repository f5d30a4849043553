/*
 * mailbox: messages from any thread to one reader, in order, with a wake-up.
 *
 * A message is heap memory that begins with a struct letter; posting hands it over. The wake
 * function is called (from the poster's thread, without the lock) when the box goes from empty to
 * non-empty; it must be cheap and thread-safe: eventfd write, uv_async_send, or the condition
 * variable that mailbox_wait() uses when no function was given.
 */
#ifndef BASE_MAILBOX_H
#define BASE_MAILBOX_H

#include <stdbool.h>
#include <stdint.h>

struct letter {
	struct letter *next;
	int kind; /* the receiver's enum */
};

struct mailbox;
typedef void mailbox_wake_fn(void *arg);

struct mailbox *mailbox_new(mailbox_wake_fn *wake, void *arg);
/* Letters still inside are given to `drop` (may be NULL: free). */
void mailbox_free(struct mailbox *box, void (*drop)(struct letter *));
void mailbox_post(struct mailbox *box, struct letter *letter); /* takes the letter */
/* All letters, oldest first, as a list by ->next; NULL: empty. */
struct letter *mailbox_take(struct mailbox *box);
/* Only for boxes without wake function: blocks until something is there or the deadline
 * (CLOCK_BOOTTIME ns, INT64_MAX: none) has passed. Returns whether something is there. */
bool mailbox_wait(struct mailbox *box, int64_t deadline_ns);

#endif
