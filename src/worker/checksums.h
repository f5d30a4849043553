/*
 * checksums: reads listed files before their list goes out, a slice at a time.
 *
 * In a CHECKSUM session all of them, since the digests are part of the list: a file that cannot be
 * read, or that moves while it is read (I3), is answered and left out. In a CONTENT session those
 * that need not go again when they are what was brought to the target last (repeats.h): they are
 * answered SAME and left out.
 */
#ifndef WORKER_CHECKSUMS_H
#define WORKER_CHECKSUMS_H

#include "worker/manifest.h"

struct checksums;

/* Takes over the list. `name` is the session's (session_checksum_name). */
struct checksums *checksums_new(struct manifest *list, const char *name);
/* The same for a CONTENT session; NULL, and the list is left alone, when there is nothing to read.
 */
struct checksums *checksums_new_repeats(struct manifest *list, struct cargo *c);
void checksums_free(struct checksums *k);
/* One slice through `buffer` of SUPPLY_SLICE_BYTES; false: all are read, the list is complete. */
bool checksums_step(struct checksums *k, struct cargo *c, char *buffer);
/* Borrowed. */
struct manifest *checksums_list(struct checksums *k);

#endif
