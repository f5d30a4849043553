/*
 * rules: the filter list of a deletion. Every name that may go is "R /path", and "P *" behind them
 * protects all the rest. This is the one place where names become patterns (I10).
 *
 * The first rule that matches counts: entries at risk, spared names, what cannot be a temporary
 * file, patterns of temporary files, "P *".
 */
#ifndef RSYNC_RULES_H
#define RSYNC_RULES_H

#include "rsync/session.h"

/* Appends the anchored pattern that matches exactly this path. */
void rules_quote(struct buf *out, struct bytes path, bool dir);
/* Whether receivers take all that stands for it. One of TEMPS that do not is left out of the list,
 * any other spoils it. */
bool rules_fit(const struct session_risk *risk);
/* Appends the whole filter list in its wire form; the closing rule is always there. -EINVAL: not a
 * path, or the root; -ENAMETOOLONG: its pattern is longer than receivers take. `out` is then of no
 * use. */
int rules_put(struct buf *out, const struct session_risk *risks, size_t n, struct err *err);
/* The opposite, for sessions that delete nothing: the paths are protected and all others are at
 * risk. The same errors. */
int rules_put_protected(struct buf *out, const struct session_risk *paths, size_t n,
                        struct err *err);

#endif
