/*
 * aside: one blocking call in a thread of its own, for the loop, which never touches a tree.
 *
 * Not libuv's pool: its four threads resolve the names for all jobs, and four file systems that do
 * not answer would take them (I7). What hangs in the kernel cannot be ended, so whoever asks keeps
 * a timer of its own (I14), bounds how often it asks, and at the end such a thread is left alone.
 */
#ifndef DAEMON_ASIDE_H
#define DAEMON_ASIDE_H

#include <uv.h>
#include "base/err.h"
#include "base/mailbox.h"

typedef void aside_fn(void *arg);

/* All of one loop's. */
struct asides {
	struct mailbox *ended;
	uv_async_t async;
	size_t running; /* begun, and `done` not called yet */
};

void asides_init(struct asides *a, uv_loop_t *loop);
/* With none running: closes the handle; the rest goes by asides_done() when the loop has ended. */
void asides_close(struct asides *a);
void asides_done(struct asides *a);
/* Calls work(arg) in a thread of its own, then done(arg) in the loop's; never before it returns.
 * `arg` stays valid until then. -errno if no thread can be had: neither is called. */
int aside_run(struct asides *a, aside_fn *work, aside_fn *done, void *arg, struct err *err);

#endif
