/*
 * show: what a daemon's JSON looks like to a person. Pure: JSON in, text out.
 */
#ifndef CLI_SHOW_H
#define CLI_SHOW_H

#include <jansson.h>
#include "base/bytes.h"

struct show_limits {
	int64_t warn_ms, critical_ms;
};

/* Leaves only these jobs (n = 0: all) and their trees in the status. The first name that is no job,
 * with nothing taken out, or NULL. */
const char *show_select(json_t *status, const char *const *jobs, size_t n);
/* `previous` (may be NULL) is the status `seconds` ago: then rates are shown instead of sums. */
void show_status(struct buf *out, json_t *status, json_t *previous, double seconds);
/* One line and 0, 1 or 2, as Nagios wants it. */
int show_check(struct buf *out, json_t *status, struct show_limits limits);
void show_held(struct buf *out, json_t *held);
void show_failed(struct buf *out, json_t *failed);
/* Jobs that are not settled, as `wait` answers, each with what is left and what to do. */
void show_remaining(struct buf *out, json_t *answer);
/* Whether one of them waits for an approval. */
bool show_any_held(json_t *answer);

/* "0", "812", "1.2K", "34M"; "12ms", "3.4s", "5m12s", "2h03m", "3d04h". */
void show_bytes(struct buf *out, double bytes);
void show_time(struct buf *out, int64_t ms);

#endif
