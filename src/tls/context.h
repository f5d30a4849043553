/*
 * context: what holds for a TLS client before it meets its server: whom it believes and who it is.
 *
 * TLS 1.2 at least, or more where the system's OpenSSL configuration asks for it.
 */
#ifndef TLS_CONTEXT_H
#define TLS_CONTEXT_H

#include <openssl/ssl.h>
#include "tls/relay.h"

/* Reads the files; a passphrase is never asked for. -errno, the words name file and remedy. Free it
 * by SSL_CTX_free(). */
int context_new(SSL_CTX **ret, const struct tls_setup *setup, struct err *err);

#endif
