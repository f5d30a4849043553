/*
 * verify_walk: a ledger as a row of batches: every directory with all names believed to be in it.
 *
 * A directory that fits into one batch is marked WHOLE there, so that the target's other names in
 * it can be told; a larger one is cut, and nobody can tell what else lies in it.
 */
#ifndef DAEMON_VERIFY_WALK_H
#define DAEMON_VERIFY_WALK_H

#include "ledger/ledger.h"
#include "worker/wire.h"

struct verify_walk;

struct verify_walk *verify_walk_new(struct ledger *ledger);
void verify_walk_free(struct verify_walk *w);
/* The next batch's items, borrowed until the next call; 0: all has been walked. */
size_t verify_walk_next(struct verify_walk *w, struct wire_item **ret);
/* Directories so far that were cut. */
uint64_t verify_walk_cut(const struct verify_walk *w);

#endif
