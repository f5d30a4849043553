/*
 * delta: finds the receiver's blocks in new content, over slices of any size.
 *
 * Memory is one block plus one literal chunk plus the slice. At most DELTA_CANDIDATES blocks are
 * tried at an offset, and when strong sums are computed in vain for several times the content, the
 * rest goes as literals: a receiver cannot make us search quadratically by its choice of sums.
 */
#ifndef RSYNC_DELTA_H
#define RSYNC_DELTA_H

#include "rsync/sums.h"
#include "rsync/token.h"

#define DELTA_CANDIDATES 1024

struct delta;

/* `sums` (complete), `hasher` and `out` are borrowed until delta_free(). */
struct delta *delta_new(const struct sums *sums, struct sum_seed seed, struct hasher *hasher,
                        struct token_writer *out);
void delta_free(struct delta *d);
void delta_feed(struct delta *d, struct bytes slice);
/* What is left goes out; the end token is the caller's. */
void delta_end(struct delta *d);

#endif
