/*
 * blame: which parts of a list an error text of the server speaks of.
 *
 * The protocol has no field for it, so names are found in the text: quoted with the target's
 * directory in front, relative, as the temporary name .NAME.XXXXXX, or with odd bytes as \#ooo.
 * Whatever may be meant is returned; blaming too many costs a repetition, blaming nobody fails the
 * directories and deletions of the whole list (I9).
 */
#ifndef WORKER_BLAME_H
#define WORKER_BLAME_H

#include "worker/cargo.h"

#define BLAME_MAX       16
#define BLAME_LOOKS_MAX 8192 /* for names that one text may hold */
#define BLAME_CUTS_MAX  4    /* through all parts, for a name of which the end is missing */

struct blame {
	struct part *parts[BLAME_MAX];
	size_t n;
	size_t looks, cuts;
};

void blame_find(struct blame *ret, struct cargo *c, struct bytes text);
/* What the text says about the target as a whole: FULL, READONLY, or NONE. */
enum trouble blame_trouble(struct bytes text);
/* The text is about attributes of a directory; what lies in it is not concerned. */
bool blame_attributes_only(struct bytes text);
/* What it means that an extended attribute or an ACL is not at the target as it was listed. */
enum blame_attribute {
	BLAME_NO_ATTRIBUTE, /* the text is about something else */
	BLAME_NOT_KEPT,     /* the target cannot have it at all */
	BLAME_MISSING,      /* it failed, and may work another time */
};
enum blame_attribute blame_attribute(struct bytes text);
/* "cannot delete non-empty directory: NAME": the part, or NULL. */
struct part *blame_kept(struct cargo *c, struct bytes text);
/* Only follows another message and blames nobody. */
bool blame_is_echo(struct bytes text);
/* An ACL of the target's could not be read, which is then set in any case: so it is where something
 * else takes the place of a directory. */
bool blame_is_harmless(struct bytes text);
/* Says (as information only) that the receiver left out deletions. */
bool blame_skips_deletions(struct bytes text);

#endif
