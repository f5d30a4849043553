/*
 * found: an item of a batch as it is at the source now: what lstat says, a link's target, extended
 * attributes and ACLs, all of one moment (I3).
 */
#ifndef WORKER_FOUND_H
#define WORKER_FOUND_H

#include "worker/cargo.h"
#include "worker/listattr.h"
#include "worker/walk.h"

/* How it is looked at. */
struct found_view {
	struct walk *walk; /* its directory is the top */
	struct listattr *attrs;
	int64_t wall_ns, racy_window_ns;
};

struct found {
	struct part part; /* its path, fp, flags and moved */
	struct stat st;
	struct bytes target;          /* of a link; owned */
	struct fileattr *attrs;       /* owned; NULL: not kept, or the inode's */
	struct listattr_inode *inode; /* where it has several names, and attributes are kept */
};

/* 0, or -errno; -ENOENT: also where something else than the item is there. To be ended by
 * found_done() in any case. */
int found_look(const struct found_view *v, const struct wire_item *item, struct found *ret);
void found_done(struct found *f);
/* Sets a part's fingerprint, and whether it is racy. */
void found_fingerprint(const struct found_view *v, struct part *part, const struct stat *st);

#endif
