#include "tls/relay.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include "base/fd.h"
#include "base/mem.h"
#include "tls/context.h"
#include "tls/handshake.h"
#include "worker/sandbox.h"

#define NS_PER_MS   1000000LL
#define RELAY_BYTES (64u << 10)
/* For what was still to be sent when the session let go, as the kernel does for a plain socket. */
#define LINGER_NS (5000 * NS_PER_MS)

struct flow {
	char *p;
	size_t at, n; /* what waits to be passed on: n bytes from p + at */
	bool ended;   /* its source has said all */
	bool closed;  /* and its destination knows */
};

struct relay {
	SSL *ssl;
	const struct certificate_judge *judge;
	struct err *err;
	int net, local;
	struct flow up, down;           /* to the server, from it */
	short net_events, local_events; /* what this round waits for */
	bool heard;                     /* the server has said something */
	bool deaf;         /* the network takes no more; what the server said may still come */
	bool let_go;       /* the local end is closed both ways */
	int64_t linger_ns; /* then: until when the rest may take */
};

/* What an SSL_ function that cannot go on waits for; false: it failed. */
static bool must_wait(struct relay *r, int result)
{
	switch (SSL_get_error(r->ssl, result)) {
	case SSL_ERROR_WANT_READ:
		r->net_events |= POLLIN;
		return true;
	case SSL_ERROR_WANT_WRITE:
		r->net_events |= POLLOUT;
		return true;
	default:
		return false;
	}
}

static void let_go(struct relay *r)
{
	if (r->let_go)
		return;
	r->let_go = true;
	r->linger_ns = clock_boot_ns() + LINGER_NS;
}

/* --- to the server; each step: whether anything moved --- */

/* Nothing more comes from the session: has it also stopped listening? */
static void up_ended(struct relay *r)
{
	struct pollfd p = {.fd = r->local};

	r->up.ended = true;
	if (poll(&p, 1, 0) == 1 && (p.revents & (POLLHUP | POLLERR)))
		let_go(r);
}

static bool up_take(struct relay *r)
{
	ssize_t n = recv(r->local, r->up.p, RELAY_BYTES, 0);

	if (n < 0 && errno == EINTR)
		return true;
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
		r->local_events |= POLLIN;
		return false;
	}
	r->up.at = 0;
	r->up.n = n > 0 ? (size_t)n : 0;
	if (n <= 0) /* an error says that the other end is gone */
		up_ended(r);
	return true;
}

static bool up_give(struct relay *r)
{
	struct flow *f = &r->up;
	size_t done;

	if (r->deaf) {
		f->n = 0;
		return true;
	}
	ERR_clear_error();
	if (SSL_write_ex(r->ssl, f->p + f->at, f->n, &done) == 1) {
		f->at += done;
		f->n -= done;
		return true;
	}
	if (must_wait(r, 0))
		return false;
	r->deaf = true; /* reading tells why */
	return true;
}

static bool up_close(struct relay *r)
{
	ERR_clear_error();
	if (!r->deaf) {
		int result = SSL_shutdown(r->ssl);

		if (result < 0 && must_wait(r, result))
			return false;
		(void)shutdown(r->net, SHUT_WR); /* ENOTCONN: it is closed already */
	}
	r->up.closed = true;
	return true;
}

static bool up_step(struct relay *r)
{
	if (r->up.n)
		return up_give(r);
	if (!r->up.ended)
		return up_take(r);
	return !r->up.closed && up_close(r);
}

/* --- from the server; 1: something moved, 0, or -errno with words --- */

/* As for the worker's own sockets: else the kernel holds acknowledgements back. */
static void acknowledge_at_once(const struct relay *r)
{
	static const int on = 1;

	(void)setsockopt(r->net, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof(on));
}

static int broken(const struct relay *r, int error)
{
	const char *peer = r->judge->setup->peer, *words;

	if (!r->heard)
		return handshake_failed(r->ssl, 0, error, r->judge, r->err);
	words = ERR_reason_error_string(ERR_peek_error());
	if (SSL_get_error(r->ssl, 0) == SSL_ERROR_SYSCALL && error)
		return err_errno(r->err, error, "%s: the TLS connection broke", peer);
#ifdef SSL_R_UNEXPECTED_EOF_WHILE_READING
	if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
		words = NULL;
#endif
	return err_set(r->err, ECONNRESET, "%s: the TLS connection %s%s", peer,
	               words ? "broke: " : "was cut off: it ended without close_notify",
	               words ? words : "");
}

static int down_take(struct relay *r)
{
	int error;

	ERR_clear_error();
	errno = 0;
	r->down.at = 0;
	if (SSL_read_ex(r->ssl, r->down.p, RELAY_BYTES, &r->down.n) == 1) {
		r->heard = true;
		acknowledge_at_once(r);
		return 1;
	}
	error = errno;
	r->down.n = 0;
	if (must_wait(r, 0))
		return 0;
	if (SSL_get_error(r->ssl, 0) != SSL_ERROR_ZERO_RETURN || !r->heard)
		return broken(r, error);
	r->down.ended = true;
	return 1;
}

static int down_give(struct relay *r)
{
	struct flow *f = &r->down;
	ssize_t n = send(r->local, f->p + f->at, f->n, MSG_NOSIGNAL);

	if (n < 0 && errno == EINTR)
		return 1;
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
		r->local_events |= POLLOUT;
		return 0;
	}
	if (n < 0) {
		let_go(r);
		f->n = 0;
		return 1;
	}
	f->at += (size_t)n;
	f->n -= (size_t)n;
	return 1;
}

static int down_step(struct relay *r)
{
	if (r->let_go || r->down.closed)
		return 0;
	if (r->down.n)
		return down_give(r);
	if (!r->down.ended)
		return down_take(r);
	(void)shutdown(r->local, SHUT_WR);
	r->down.closed = true;
	return 1;
}

/* --- both --- */

static int relay_wait(struct relay *r)
{
	/* A descriptor of which nothing is wanted would report its hang-up again and again. */
	struct pollfd p[] = {{.fd = r->net_events ? r->net : -1, .events = r->net_events},
	                     {.fd = r->let_go ? -1 : r->local, .events = r->local_events}};
	int64_t left_ms = -1;

	if (r->let_go) {
		left_ms = (r->linger_ns - clock_boot_ns()) / NS_PER_MS + 1;
		if (left_ms <= 0)
			return -ETIMEDOUT;
	}
	if (poll(p, 2, (int)left_ms) < 0 && errno != EINTR)
		return err_errno(r->err, errno, "%s: poll", r->judge->setup->peer);
	if (p[1].revents & (POLLHUP | POLLERR | POLLNVAL))
		let_go(r);
	return 0;
}

static int relay_pump(struct relay *r)
{
	for (;;) {
		bool moved;
		int result;

		do {
			r->net_events = r->local_events = 0;
			moved = up_step(r);
			result = down_step(r);
			if (result < 0)
				return result;
		} while (moved || result > 0);
		if (r->up.closed && (r->down.closed || r->let_go))
			return 0;
		result = relay_wait(r);
		if (result < 0)
			return result == -ETIMEDOUT ? 0 : result;
	}
}

static int relay_talk(SSL *ssl, struct certificate_judge *judge, int net, int local,
                      struct err *err)
{
	struct relay r = {.ssl = ssl, .judge = judge, .err = err, .net = net, .local = local};
	int result = certificate_expect(ssl, judge, err);

	if (result < 0)
		return err_set(err, EACCES, "%s", err->text);
	if (SSL_set_fd(ssl, net) != 1)
		return err_set(err, ENOMEM, "%s: OpenSSL takes no descriptor", judge->setup->peer);
	result = handshake_run(ssl, net, local, judge, err);
	if (result == -ECANCELED)
		return 0;
	if (result < 0)
		return result;
	check(SSL_get_verify_result(ssl) == X509_V_OK);
	r.up.p = mem_array(RELAY_BYTES, 1);
	r.down.p = mem_array(RELAY_BYTES, 1);
	result = relay_pump(&r);
	free(r.up.p);
	free(r.down.p);
	return result;
}

int relay_run(const struct tls_setup *setup, int net, int local, struct err *err)
{
	struct certificate_judge judge = {.setup = setup};
	SSL_CTX *ctx;
	SSL *ssl;
	int r = context_new(&ctx, setup, err);

	if (r < 0)
		return err_set(err, fd_is_fault_of_file(r) ? EACCES : ENOMEM, "%s: %s", setup->peer,
		               err->text);
	(void)fd_set_nonblock(net);
	(void)fd_set_nonblock(local);
	ssl = SSL_new(ctx);
	SSL_CTX_free(ctx); /* held by ssl */
	if (!ssl)
		return err_set(err, ENOMEM, "%s: OpenSSL has no memory", setup->peer);
	r = relay_talk(ssl, &judge, net, local, err);
	SSL_free(ssl);
	return r;
}

int relay_check_files(const struct tls_setup *setup, struct err *err)
{
	SSL_CTX *ctx;
	int r = context_new(&ctx, setup, err);

	if (r == 0)
		SSL_CTX_free(ctx);
	return r;
}

static const char *given(const char *argument)
{
	return argument[0] ? argument : NULL;
}

int relay_main(int argc, char *const argv[])
{
	/* An interrupt at the terminal is meant for the daemon. */
	static const int ignored[] = {SIGPIPE, SIGINT, SIGHUP};
	struct err err = {0};
	int r;

	if (argc != 5)
		return RELAY_REFUSED;
	struct tls_setup setup = {argv[0], argv[1], given(argv[2]), given(argv[3]), given(argv[4])};

	(void)sandbox_enter(false);
	for (size_t i = 0; i < ARRAY_LEN(ignored); i++)
		(void)signal(ignored[i], SIG_IGN);
	r = relay_run(&setup, RELAY_NET_FD, RELAY_LOCAL_FD, &err);
	if (r == 0)
		return RELAY_OK;
	/* Before the descriptors close: who sees their end finds the words. */
	(void)fprintf(stderr, "%s\n", err.text);
	(void)fflush(stderr);
	if (r == -ENOMEM)
		return RELAY_LOCAL;
	return r == -EACCES ? RELAY_REFUSED : RELAY_BROKEN;
}
