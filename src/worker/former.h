/*
 * former: the names that the files of a batch had before, and what makes one of them fit to be
 * listed beside the name now, as another link of it (docs/ARCHITECTURE.md, "Renames").
 */
#ifndef WORKER_FORMER_H
#define WORKER_FORMER_H

#include "rsync/session.h"
#include "worker/cargo.h"
#include "worker/walk.h"

/* The directories above the former names of a batch, by path; borrowed from it. */
struct former_dirs {
	const struct wire_former **dirs;
	size_t n;
};

void former_dirs_init(struct former_dirs *d, const struct wire_batch *batch);
void former_dirs_done(struct former_dirs *d);
/* What the target is believed to have where the source has none; NULL: nobody knows. */
const struct wire_former *former_dirs_find(const struct former_dirs *d, struct bytes path);

/* Every directory above the walk's top is there, or known well enough to be listed without a change
 * to it. */
bool former_dirs_lead(const struct former_dirs *d, const struct walk *w, const struct cargo *c);

/* Whether lists with these options may hold former names. */
bool former_allowed(const struct session_options *o, enum session_class class);
/* The file of its item: as it was listed, if that sorts before, else as it is now. False: it is
 * none with one name. */
bool former_find(struct cargo *c, const struct wire_former *former, struct walk *files,
                 struct fingerprint *ret);
/* Whether `fp`, the file of the item, is what stood under that name. The quick class asks for
 * nothing where the target's old name has size and time of the list: so the file must be to the
 * last stamp what was confirmed under that name. The content class asks for it and sends what
 * differs. */
bool former_is(const struct wire_former *former, const struct fingerprint *fp,
               enum session_class class);
/* Whether the part is to go as one inode with others of the list. A former name does if the file's
 * own was listed alike: of a group all have the attributes of the first. */
bool former_is_linked(struct cargo *c, const struct part *part);

#endif
