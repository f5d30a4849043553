/*
 * repeats: what content this worker brought to the target last, path by path.
 *
 * Two hosts that mirror each other see every file that arrives, with the size and time that are
 * believed to be at the other side, as one whose content may have changed. To send it back would
 * never end: what comes from there is recognised here by its digest.
 *
 * Bounded: the oldest ones are forgotten. Not knowing costs one more transfer.
 */
#ifndef WORKER_REPEATS_H
#define WORKER_REPEATS_H

#include "base/bytes.h"

#define REPEATS_MAX          16384
#define REPEATS_DIGEST_BYTES 16 /* of STRONG_XXH128 */

struct repeats;

struct repeats *repeats_new(size_t max);
void repeats_free(struct repeats *r);
/* The target confirmed content with this digest under the path. */
void repeats_note(struct repeats *r, struct bytes path,
                  const unsigned char digest[REPEATS_DIGEST_BYTES]);
/* The target may hold something else there now. */
void repeats_forget(struct repeats *r, struct bytes path);
/* Borrowed until the next change; NULL: not known. */
const unsigned char *repeats_find(struct repeats *r, struct bytes path);

#endif
