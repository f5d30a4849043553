/*
 * names: what the users and groups of a list are called here, so that the receiver can give the
 * entries to those that bear the same names there.
 *
 * Answers of the user database are kept for a while: a list of thousands of entries knows a few
 * owners. An id without a name goes as its number.
 */
#ifndef WORKER_NAMES_H
#define WORKER_NAMES_H

#include "worker/manifest.h"

struct names;

/* Asks the user database once, so that whatever it loads and opens is there before the sandbox. */
struct names *names_new(void);
void names_free(struct names *n);
/* Hands the session (READY) the names of all owners and groups in the list, and of those in ACLs.
 * Owners that were given as numbers (chown) stay numbers. */
void names_tell(struct names *n, struct session *s, const struct wire_setup *setup,
                const struct manifest *list, int64_t now_ns);

#endif
