/*
 * glob: one rsync pattern as a PCRE2 alternative.
 *
 * Follows rsync's wildmatch.c and the section "PATTERN MATCHING RULES" of rsync(1). Names are
 * bytes; classes know ASCII only.
 */
#ifndef CORE_GLOB_H
#define CORE_GLOB_H

#include "base/bytes.h"

/* Appends an expression for the whole path of a directory (with "/" behind it) or of anything else.
 * False, and nothing is appended, when the pattern can never match that kind. */
bool glob_translate(struct buf *out, struct bytes pattern, bool dir);

#endif
