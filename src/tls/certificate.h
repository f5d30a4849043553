/*
 * certificate: is the server the one that is expected? Its chain and its name, always both.
 */
#ifndef TLS_CERTIFICATE_H
#define TLS_CERTIFICATE_H

#include <openssl/ssl.h>
#include "tls/relay.h"

struct certificate_judge {
	const struct tls_setup *setup;
	struct err fault; /* code EACCES: why the handshake was broken off */
};

/* To be called before the handshake; `judge` outlives it. Also sends the name (SNI, RFC 6066; not
 * for an address). -EINVAL: the name is none. */
int certificate_expect(SSL *ssl, struct certificate_judge *judge, struct err *err);

#endif
