/*
 * auth: the daemon's challenge and our response. The password itself never travels.
 */
#ifndef RSYNC_AUTH_H
#define RSYNC_AUTH_H

#include "base/bytes.h"

/* Blank-separated names of the digests we accept, strongest first, down to `weakest` (0 md4, 1 md5,
 * 2 sha1, 3 sha256, 4 sha512). */
void auth_digest_names(struct buf *out, unsigned weakest);
/* The digest for a peer that offers these names (none at all: md5), or NULL. */
const char *auth_digest_choose(struct bytes names, unsigned weakest);
/* Appends base64 without padding of digest(password, challenge). -ENOTSUP: the crypto library does
 * not have this digest. */
int auth_response(struct buf *out, const char *digest, const char *password,
                  struct bytes challenge);

#endif
