/*
 * throttle: the bandwidth limit that all sessions of a job share; a token bucket in bytes.
 *
 * What is there is divided anew in each round, evenly among those who want to write: a session that
 * always has more to send must not starve the others, whose servers would hang up. What somebody
 * leaves of his share is there in the next round.
 *
 * Plain arithmetic: the caller passes CLOCK_BOOTTIME.
 */
#ifndef WORKER_THROTTLE_H
#define WORKER_THROTTLE_H

#include <stddef.h>
#include <stdint.h>

struct throttle {
	uint64_t rate; /* bytes a second, 0: no limit */
	uint64_t tokens, burst;
	uint64_t share; /* of each writer in this round */
	int64_t filled_ns;
};

void throttle_init(struct throttle *t, uint64_t rate, int64_t now_ns);
/* Begins a round among so many writers (0 counts as one). */
void throttle_divide(struct throttle *t, size_t writers, int64_t now_ns);
/* How many bytes one who has written `spent` in this round may still write; 0 while less than a
 * useful write has gathered. */
size_t throttle_allowance(const struct throttle *t, size_t spent);
void throttle_spend(struct throttle *t, size_t n);
/* When a round will give something; now_ns if it does already. */
int64_t throttle_ready_ns(struct throttle *t, int64_t now_ns);

#endif
