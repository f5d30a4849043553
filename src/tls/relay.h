/*
 * relay: the process between a session and a server that speaks TLS.
 *
 * Started by the loop as /proc/self/exe with the internal argument "--tls-relay", once for each
 * connection: descriptor 0 is one end of a socketpair whose other end the worker gets, descriptor 3
 * the connected socket. It may read files and nothing else (worker/sandbox.h), has one bounded
 * buffer each way, and no timer: whoever started it bounds the handshake. It ends with either side,
 * and so with the daemon.
 *
 * Nothing is passed on before the server's chain and name are verified, and nothing can switch that
 * off. The first byte that comes out of the socketpair is the server's own: with TLS 1.3 only that
 * shows that the server has accepted us, too.
 *
 * An end of stream is passed on as such each way: close_notify becomes a shutdown, and the other
 * way round. A connection that ends without close_notify is broken: the relay says so and fails.
 */
#ifndef TLS_RELAY_H
#define TLS_RELAY_H

#include "base/err.h"

#define RELAY_ARGUMENT "--tls-relay"
#define RELAY_LOCAL_FD 0
#define RELAY_NET_FD   3

struct tls_setup {
	const char *peer; /* what messages call the server: "b1 port 874" */
	const char *name; /* host name or IP address that its certificate must be for */
	const char *ca;   /* PEM file of those whom we believe; NULL: the system's store */
	const char *cert; /* PEM file of our own certificate and its chain; NULL: none */
	const char *key;  /* PEM file of its private key; NULL: it is in `cert` */
};

/* Exit statuses. Words about it are on standard error, one line. */
enum relay_exit {
	RELAY_OK,      /* both sides ended as they should */
	RELAY_BROKEN,  /* the connection broke, or did not come about */
	RELAY_REFUSED, /* only a person can help: a certificate, a protocol, a file */
	RELAY_LOCAL,   /* something of our own is short for now: descriptors, memory */
};

/* Both descriptors are borrowed. 0: ended, or nobody waits for it any more; -EACCES: as
 * RELAY_REFUSED; -ENOMEM: as RELAY_LOCAL; other -errno: as RELAY_BROKEN. */
int relay_run(const struct tls_setup *setup, int net, int local, struct err *err);
/* The arguments behind RELAY_ARGUMENT: the setup's members in their order, "" for NULL. */
int relay_main(int argc, char *const argv[]);
/* Can the files be read, and do they fit each other? */
int relay_check_files(const struct tls_setup *setup, struct err *err);

#endif
