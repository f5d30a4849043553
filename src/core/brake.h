/*
 * brake: holds mass deletions (docs/ARCHITECTURE.md, "Guard and brake").
 *
 * loss = highest entry count of the last 10 minutes - the count if this deletion went out. More
 * than `files` and more than `percent` of that peak, or more than `absolute` is held.
 */
#ifndef CORE_BRAKE_H
#define CORE_BRAKE_H

#include <stdbool.h>
#include <stdint.h>

struct brake_limits {
	uint64_t files;    /* default 1000 */
	unsigned percent;  /* default 10 */
	uint64_t absolute; /* default 100000 */
	bool off;
};

#define BRAKE_SLOTS 20 /* of 30 s each */

struct brake {
	struct brake_limits limits;
	int64_t slot_ns[BRAKE_SLOTS];
	uint64_t slot_peak[BRAKE_SLOTS];
};

void brake_init(struct brake *b, const struct brake_limits *limits);
/* Tells the number of entries the target is believed to hold, without those that stand twice for
 * the time of a move. */
void brake_count(struct brake *b, uint64_t entries, int64_t now_ns);
/* `entries` less were wanted by a person: they are no loss. */
void brake_forgive(struct brake *b, uint64_t entries);
uint64_t brake_peak(const struct brake *b, int64_t now_ns);
/* What would be missing of the peak if `deletions` more of `entries` believed held went out. */
uint64_t brake_loss(const struct brake *b, uint64_t entries, uint64_t deletions, int64_t now_ns);
/* True when `deletions` more on top of `entries` believed held must be held back. */
bool brake_holds(const struct brake *b, uint64_t entries, uint64_t deletions, int64_t now_ns);

#endif
