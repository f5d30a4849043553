/*
 * throttle: the bandwidth limit that all sessions of a job share; a token bucket in bytes.
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
	int64_t filled_ns;
};

void throttle_init(struct throttle *t, uint64_t rate, int64_t now_ns);
/* How many bytes may be written now; 0 while less than a useful write has gathered. */
size_t throttle_allowance(struct throttle *t, int64_t now_ns);
void throttle_spend(struct throttle *t, size_t n);
/* When throttle_allowance() will give something again; now_ns if it does already. */
int64_t throttle_ready_ns(struct throttle *t, int64_t now_ns);

#endif
