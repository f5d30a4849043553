#include "tls/handshake.h"

#include <errno.h>
#include <openssl/err.h>
#include <poll.h>
#include "base/path.h"

/* An alert of the peer arrives as a reason: its number plus SSL_AD_REASON_OFFSET. */
static bool is_alert(int reason)
{
	return reason > SSL_AD_REASON_OFFSET && reason < SSL_AD_REASON_OFFSET + 256;
}

static bool about_our_certificate(int alert)
{
	switch (alert) {
	case SSL_AD_NO_CERTIFICATE:
	case SSL_AD_BAD_CERTIFICATE:
	case SSL_AD_UNSUPPORTED_CERTIFICATE:
	case SSL_AD_CERTIFICATE_REVOKED:
	case SSL_AD_CERTIFICATE_EXPIRED:
	case SSL_AD_CERTIFICATE_UNKNOWN:
	case SSL_AD_UNKNOWN_CA:
	case SSL_AD_ACCESS_DENIED:
	case SSL_AD_CERTIFICATE_REQUIRED:
		return true;
	default:
		return false;
	}
}

static int alert_received(int alert, const struct tls_setup *setup, struct err *err)
{
	const char *words = SSL_alert_desc_string_long(alert);

	if (about_our_certificate(alert) && setup->cert)
		return err_set(err, EACCES,
		               "%s: it refuses our certificate %s (%s). Its authority must be "
		               "known over there",
		               setup->peer, path_show(bytes_of(setup->cert)), words);
	if (about_our_certificate(alert))
		return err_set(err, EACCES,
		               "%s: it asks for a client certificate (%s). Set tls_cert and "
		               "tls_key",
		               setup->peer, words);
	if (alert == SSL_AD_PROTOCOL_VERSION)
		return err_set(err, EACCES,
		               "%s: it offers no TLS 1.2 or later. Allow that over there",
		               setup->peer);
	return err_set(err, EACCES, "%s: it ended the TLS handshake (%s)%s", setup->peer, words,
	               alert == SSL_AD_HANDSHAKE_FAILURE && !setup->cert
	                       ? ". It may want a client certificate: tls_cert, tls_key"
	                       : "");
}

static int hung_up(const SSL *ssl, const struct tls_setup *setup, struct err *err)
{
	if (SSL_is_init_finished(ssl))
		return err_set(err, ECONNRESET,
		               "%s: it speaks TLS, but closed the connection without a word of "
		               "rsync's. Does the rsync daemon behind it run?",
		               setup->peer);
	return err_set(err, ECONNRESET,
	               "%s: it closed the connection in the TLS handshake. Is that the port for "
	               "TLS?",
	               setup->peer);
}

static int refused(int reason, const struct tls_setup *setup, struct err *err)
{
	const char *words = ERR_reason_error_string(ERR_peek_error());

	if (is_alert(reason))
		return alert_received(reason - SSL_AD_REASON_OFFSET, setup, err);
	switch (reason) {
	case SSL_R_WRONG_VERSION_NUMBER:
	case SSL_R_HTTP_REQUEST:
	case SSL_R_HTTPS_PROXY_REQUEST:
	case SSL_R_PACKET_LENGTH_TOO_LONG:
	case SSL_R_ENCRYPTED_LENGTH_TOO_LONG:
	case SSL_R_BAD_RECORD_TYPE:
		return err_set(err, EACCES,
		               "%s: it does not speak TLS. A plain rsync daemon may listen there: "
		               "name the port for TLS (usually 874), or go without",
		               setup->peer);
	case SSL_R_UNSUPPORTED_PROTOCOL:
		return err_set(err, EACCES,
		               "%s: it offers no TLS 1.2 or later. Allow that over there",
		               setup->peer);
	default: /* OpenSSL's own, hundreds of them */
		return err_set(err, EACCES, "%s: TLS failed: %s", setup->peer,
		               words ? words : "unknown reason");
	}
}

int handshake_failed(const SSL *ssl, int result, int error, const struct certificate_judge *judge,
                     struct err *err)
{
	const struct tls_setup *setup = judge->setup;
	int reason = ERR_GET_REASON(ERR_peek_error());

	if (judge->fault.code)
		return err_set(err, judge->fault.code, "%s", judge->fault.text);
	switch (SSL_get_error(ssl, result)) {
	case SSL_ERROR_ZERO_RETURN:
		return hung_up(ssl, setup, err);
	case SSL_ERROR_SYSCALL: /* OpenSSL 1.1.1 leaves errno at 0 for an end of file */
		if (error == 0)
			return hung_up(ssl, setup, err);
		return err_errno(err, error, "%s: the connection broke in the TLS handshake",
		                 setup->peer);
	default:
		break;
	}
#ifdef SSL_R_UNEXPECTED_EOF_WHILE_READING
	if (reason == SSL_R_UNEXPECTED_EOF_WHILE_READING)
		return hung_up(ssl, setup, err);
#endif
	return refused(reason, setup, err);
}

/* Waits for the network; -ECANCELED: the other end of `local` is closed. */
static int wait_for(int net, short events, int local)
{
	struct pollfd p[] = {{.fd = net, .events = events}, {.fd = local}};
	int r;

	do {
		r = poll(p, 2, -1);
	} while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	return p[1].revents ? -ECANCELED : 0;
}

int handshake_run(SSL *ssl, int net, int local, const struct certificate_judge *judge,
                  struct err *err)
{
	for (;;) {
		int result, error, r;

		ERR_clear_error();
		errno = 0;
		result = SSL_connect(ssl);
		error = errno;
		if (result == 1)
			return 0;
		switch (SSL_get_error(ssl, result)) {
		case SSL_ERROR_WANT_READ:
			r = wait_for(net, POLLIN, local);
			break;
		case SSL_ERROR_WANT_WRITE:
			r = wait_for(net, POLLOUT, local);
			break;
		default:
			return handshake_failed(ssl, result, error, judge, err);
		}
		if (r == -ECANCELED)
			return r;
		if (r < 0)
			return err_errno(err, -r, "%s: poll", judge->setup->peer);
	}
}
