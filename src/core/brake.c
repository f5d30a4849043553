#include "core/brake.h"

#include <string.h>

#define SLOT_NS INT64_C(30000000000)
#define SPAN_NS (BRAKE_SLOTS * SLOT_NS)

void brake_init(struct brake *b, const struct brake_limits *limits)
{
	memset(b, 0, sizeof(*b));
	b->limits = *limits;
}

/* Slots without a peak are empty; a slot's time is that of its last count. */
static bool slot_counts(const struct brake *b, unsigned i, int64_t now_ns)
{
	return b->slot_peak[i] && now_ns - b->slot_ns[i] < SPAN_NS;
}

void brake_count(struct brake *b, uint64_t entries, int64_t now_ns)
{
	unsigned i = (unsigned)((uint64_t)now_ns / (uint64_t)SLOT_NS % BRAKE_SLOTS);
	bool same = b->slot_peak[i] && now_ns / SLOT_NS == b->slot_ns[i] / SLOT_NS;

	if (!same || entries > b->slot_peak[i])
		b->slot_peak[i] = entries;
	b->slot_ns[i] = now_ns;
}

void brake_forgive(struct brake *b, uint64_t entries)
{
	for (unsigned i = 0; i < BRAKE_SLOTS; i++)
		b->slot_peak[i] -= b->slot_peak[i] > entries ? entries : b->slot_peak[i];
}

uint64_t brake_peak(const struct brake *b, int64_t now_ns)
{
	uint64_t peak = 0;

	for (unsigned i = 0; i < BRAKE_SLOTS; i++) {
		if (slot_counts(b, i, now_ns) && b->slot_peak[i] > peak)
			peak = b->slot_peak[i];
	}
	return peak;
}

uint64_t brake_loss(const struct brake *b, uint64_t entries, uint64_t deletions, int64_t now_ns)
{
	uint64_t peak = brake_peak(b, now_ns), left;

	if (peak == 0)
		peak = entries;
	left = entries > deletions ? entries - deletions : 0;
	return peak > left ? peak - left : 0;
}

bool brake_holds(const struct brake *b, uint64_t entries, uint64_t deletions, int64_t now_ns)
{
	uint64_t peak = brake_peak(b, now_ns);
	uint64_t loss = brake_loss(b, entries, deletions, now_ns);

	if (b->limits.off)
		return false;
	if (peak == 0)
		peak = entries;
	if (loss > b->limits.absolute)
		return true;
	return loss > b->limits.files &&
	       loss > peak / 100 * b->limits.percent + peak % 100 * b->limits.percent / 100;
}
