/*
 * hand: a link in this process with a peer made by hand, on a clock of its own.
 *
 * The peer speaks protocol 31 without varints. Its bytes are the test's, and so is the time.
 */
#ifndef TESTS_WORKER_HAND_H
#define TESTS_WORKER_HAND_H

#include "rig.h"
#include "worker/link.h"

#define HAND_SECOND    1000000000LL
#define HAND_KEEPALIVE BYTES("\0\0\0\7")

struct hand {
	struct link_env env;
	struct link *l;
	struct frame_in *reports;
	int peer, frames[2];
	int64_t now_ns;
	char got[65536]; /* what was answered last */
	size_t got_n;
	uint8_t results[16], flags[16]; /* by item; 0: not answered yet */
};

/* A link that is ready for a batch. */
void hand_open(struct hand *h, struct rig *r);
/* The next one, with the same worker behind it. */
void hand_open_next(struct hand *h, struct rig *r);
/* Lists the items; the peer takes what comes. */
void hand_carry(struct hand *h, struct rig *r, const struct wire_item *items, size_t n);
/* The peer says this, and takes all that is answered. */
void hand_says(struct hand *h, struct bytes s);
/* Takes the reports so far. */
void hand_reports(struct hand *h);
void hand_drop(struct hand *h);

#endif
