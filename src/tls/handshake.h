/*
 * handshake: from a connected socket to a server that has shown who it is, and the words for every
 * way in which that fails.
 */
#ifndef TLS_HANDSHAKE_H
#define TLS_HANDSHAKE_H

#include <openssl/ssl.h>
#include "tls/certificate.h"

/* Until the server is verified: 0. -ECANCELED, without words: the other end of `local` was closed.
 * Otherwise as handshake_failed(). */
int handshake_run(SSL *ssl, int net, int local, const struct certificate_judge *judge,
                  struct err *err);
/* What `ssl` failed with before the server said anything: -EACCES if only a person can help (it is
 * no TLS, a certificate is refused), other -errno. `result` is that of the call, `error` its errno;
 * the queue of OpenSSL's errors must be that call's alone. */
int handshake_failed(const SSL *ssl, int result, int error, const struct certificate_judge *judge,
                     struct err *err);

#endif
