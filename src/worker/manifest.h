/*
 * manifest: turns a batch into the list of one session, by looking at the file system now.
 *
 * An item that is gone, or is another kind than the batch says, is answered VANISHED and not
 * listed; a name to be deleted that is there again is answered VANISHED, too (I8). Each item's
 * ancestors precede it with the attributes they have now (I12); below one whose attributes cannot
 * be had nothing is listed. What a list cannot carry is refused alone.
 */
#ifndef WORKER_MANIFEST_H
#define WORKER_MANIFEST_H

#include "worker/cargo.h"
#include "worker/listattr.h"

struct manifest {
	struct session_entry *entries; /* link targets and checksums are owned */
	size_t count, cap;
	struct session_risk *rules;
	size_t rules_n;
	struct listattr attrs;
};

/* Fills the parts of the cargo (fresh from cargo_new) and the list. Stamps are judged racy against
 * wall_ns (CLOCK_REALTIME, now). Nothing left to send: the list is empty. */
void manifest_build(struct manifest *ret, struct cargo *c, const struct wire_setup *setup,
                    enum session_class class, int64_t wall_ns);
void manifest_done(struct manifest *l);
/* What looking at a path failed with: VANISHED, or UNREADABLE (the errno concerns us, not the
 * path). */
enum wire_result manifest_errno_result(int error);

#endif
