/*
 * tempname: the name under which a receiver writes a file before it is renamed: ".STEM.XXXXXX" in
 * the file's directory, with six characters of mkstemp(3) (rsync's get_tmpname()).
 *
 * The stem is the file's name, without its own dot in front if it has one, cut where the whole
 * would be too long. Versions differ in what they do with dots and with a cut through a character,
 * so a name may have several stems. What a receiver makes by other means than mkstemp, for the time
 * between two system calls (a link or a device, as ".STEM.NUMBER"), is not told here.
 *
 * Six letters that read as a word or six digits that read as a date ("backup", "241231") were
 * hardly drawn by mkstemp (0.5 %), and likely put there by somebody: no pattern takes them for a
 * receiver's.
 */
#ifndef RSYNC_TEMPNAME_H
#define RSYNC_TEMPNAME_H

#include "base/path.h"

#define TEMPNAME_STEMS_MAX    4
#define TEMPNAME_SUFFIX_BYTES 7 /* ".XXXXXX" */

struct tempname {
	struct tempname_stem {
		char p[NAME_BYTES_MAX + 1]; /* with the dot in front; no end mark */
		size_t n;
	} stems[TEMPNAME_STEMS_MAX];
	size_t n; /* 0: the name is too long for any */
};

/* All stems of the file at `path`, no two equal. */
void tempname_of(struct tempname *ret, struct bytes path);
/* Whether `name` looks like a temporary one; then *ret_stem, if given, is what stands between the
 * dots. */
bool tempname_split(struct bytes name, struct bytes *ret_stem);
/* Whether `name` may be a temporary one of this file. */
bool tempname_matches(const struct tempname *t, struct bytes name);

#endif
