/*
 * manifest: turns a batch into the list of one session, by looking at the file system now.
 *
 * An item that is gone, or is another kind than the batch says, is answered VANISHED and not
 * listed; a name to be deleted that is there again is answered VANISHED, too (I8). Each item's
 * ancestors precede it with the attributes they have now (I12).
 */
#ifndef WORKER_MANIFEST_H
#define WORKER_MANIFEST_H

#include "worker/cargo.h"
#include "worker/fileattr.h"

/* Of extended attributes in one list: what is beyond is answered UNSENT. */
#define MANIFEST_ATTR_BYTES_MAX (64u << 20)

struct manifest {
	struct session_entry *entries; /* link targets and checksums are owned */
	size_t count, cap;
	struct session_risk *rules;
	size_t rules_n;
	struct fileattr *attrs; /* of all entries */
	size_t attr_bytes;
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
