/* The relay between a session and a server of OpenSSL's own, each in a thread, on socketpairs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include "base/mem.h"
#include "tls/relay.h"

#define MIB (1u << 20)

static char ca_path[] = "/tmp/lockstep-relay-XXXXXX";
static EVP_PKEY *server_key;
static X509 *server_cert;

/* --- a certificate for localhost, signed by itself --- */

static EVP_PKEY *make_key(void)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_id(EVP_PKEY_EC, NULL);
	EVP_PKEY *key = NULL;

	assert_int_equal(EVP_PKEY_keygen_init(ctx), 1);
	assert_int_equal(EVP_PKEY_CTX_set_ec_paramgen_curve_nid(ctx, NID_X9_62_prime256v1), 1);
	assert_int_equal(EVP_PKEY_keygen(ctx, &key), 1);
	EVP_PKEY_CTX_free(ctx);
	return key;
}

static X509 *make_certificate(EVP_PKEY *key)
{
	X509 *cert = X509_new();
	X509_NAME *name = X509_get_subject_name(cert);
	X509_EXTENSION *names =
	        X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "DNS:localhost");

	(void)X509_set_version(cert, 2);
	(void)ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
	(void)X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
	(void)X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
	(void)X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"test",
	                                 -1, -1, 0);
	(void)X509_set_issuer_name(cert, name);
	(void)X509_set_pubkey(cert, key);
	(void)X509_add_ext(cert, names, -1);
	X509_EXTENSION_free(names);
	assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
	return cert;
}

static int make_files(void **state)
{
	int fd = mkstemp(ca_path);
	FILE *f = fdopen(fd, "w");

	(void)state;
	(void)signal(SIGPIPE, SIG_IGN);
	server_key = make_key();
	server_cert = make_certificate(server_key);
	assert_int_equal(PEM_write_X509(f, server_cert), 1);
	return fclose(f);
}

static int remove_files(void **state)
{
	(void)state;
	EVP_PKEY_free(server_key);
	X509_free(server_cert);
	return unlink(ca_path);
}

/* --- the three parties; `local[1]` is the session's end, the test's own thread --- */

struct rig;
typedef void script_fn(struct rig *r, SSL *ssl);

struct rig {
	int net[2], local[2], go[2];
	struct tls_setup setup;
	script_fn *script;
	pthread_t relay, server;
	struct err err;
	int result;
	/* What the server saw. */
	bool accepted, ended;
	size_t got;
};

static void *run_relay(void *arg)
{
	struct rig *r = arg;

	r->result = relay_run(&r->setup, r->net[0], r->local[0], &r->err);
	(void)close(r->net[0]);
	(void)close(r->local[0]);
	return NULL;
}

static void *run_server(void *arg)
{
	struct rig *r = arg;
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	SSL *ssl;

	(void)SSL_CTX_use_certificate(ctx, server_cert);
	(void)SSL_CTX_use_PrivateKey(ctx, server_key);
	ssl = SSL_new(ctx);
	(void)SSL_set_fd(ssl, r->net[1]);
	r->script(r, ssl);
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	(void)close(r->net[1]);
	return NULL;
}

static void rig_start(struct rig *r, script_fn *script)
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, r->net), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, r->local), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, r->go), 0);
	if (!r->setup.name)
		r->setup.name = "localhost";
	r->setup.peer = "there";
	r->setup.ca = ca_path;
	r->script = script;
	assert_int_equal(pthread_create(&r->server, NULL, run_server, r), 0);
	assert_int_equal(pthread_create(&r->relay, NULL, run_relay, r), 0);
}

static void rig_end(struct rig *r)
{
	(void)close(r->local[1]);
	(void)pthread_join(r->relay, NULL);
	(void)pthread_join(r->server, NULL);
	(void)close(r->go[0]);
	(void)close(r->go[1]);
}

/* What comes until the end of file. */
static size_t read_all(struct rig *r, char *to, size_t size)
{
	size_t n = 0;
	ssize_t got;

	while (n < size && (got = recv(r->local[1], to + n, size - n, 0)) > 0)
		n += (size_t)got;
	return n;
}

static void accept_and_say(struct rig *r, SSL *ssl, const char *words)
{
	r->accepted = SSL_accept(ssl) == 1;
	if (r->accepted)
		(void)SSL_write(ssl, words, (int)strlen(words));
}

/* Until the client's end; `ended`: by close_notify. */
static void read_to_the_end(struct rig *r, SSL *ssl)
{
	char chunk[4096];
	int n;

	while ((n = SSL_read(ssl, chunk, sizeof(chunk))) > 0)
		r->got += (size_t)n;
	r->ended = SSL_get_error(ssl, n) == SSL_ERROR_ZERO_RETURN;
}

/* --- a connection that works --- */

static void say_and_echo(struct rig *r, SSL *ssl)
{
	char chunk[5000];
	int n;

	accept_and_say(r, ssl, "hello");
	while ((n = SSL_read(ssl, chunk, sizeof(chunk))) > 0)
		(void)SSL_write(ssl, chunk, n);
	r->ended = SSL_get_error(ssl, n) == SSL_ERROR_ZERO_RETURN;
	(void)SSL_write(ssl, "after", 5); /* the other way is still open */
	(void)SSL_shutdown(ssl);
}

static void *write_pattern(void *arg)
{
	struct rig *r = arg;
	uint32_t words[1000];
	uint32_t next = 0;

	while (next < MIB) {
		for (size_t i = 0; i < ARRAY_LEN(words); i++)
			words[i] = next++;
		for (size_t at = 0; at < sizeof(words);) {
			ssize_t n = send(r->local[1], (char *)words + at, sizeof(words) - at, 0);

			if (n <= 0)
				return NULL;
			at += (size_t)n;
		}
	}
	(void)shutdown(r->local[1], SHUT_WR);
	return NULL;
}

static void relay_both_ways_brings_all_and_both_ends(void **state)
{
	size_t size = 8 * MIB, n;
	autofree char *got = mem_alloc(size);
	struct rig r = {0};
	pthread_t writer;

	(void)state;
	rig_start(&r, say_and_echo);
	assert_int_equal(pthread_create(&writer, NULL, write_pattern, &r), 0);
	n = read_all(&r, got, size);
	(void)pthread_join(writer, NULL);
	rig_end(&r);
	assert_int_equal(r.result, 0);
	assert_true(r.ended);
	assert_true(n > 4 * MIB + 10);
	assert_memory_equal(got, "hello", 5);
	assert_memory_equal(got + n - 5, "after", 5);
	assert_int_equal((n - 10) % 4000, 0);
	for (uint32_t i = 0; i < (n - 10) / 4; i++) {
		uint32_t word;

		memcpy(&word, got + 5 + 4 * (size_t)i, 4);
		assert_int_equal(word, i);
	}
}

static void say_and_end(struct rig *r, SSL *ssl)
{
	accept_and_say(r, ssl, "bye");
	(void)SSL_shutdown(ssl);
}

static void relay_end_of_the_server_becomes_end_of_file(void **state)
{
	struct rig r = {0};
	char got[16];

	(void)state;
	rig_start(&r, say_and_end);
	assert_int_equal(read_all(&r, got, sizeof(got)), 3);
	rig_end(&r);
	assert_int_equal(r.result, 0);
}

static void say_and_read(struct rig *r, SSL *ssl)
{
	accept_and_say(r, ssl, "x");
	read_to_the_end(r, ssl);
}

static void relay_session_that_lets_go_ends_it_with_close_notify(void **state)
{
	struct rig r = {0};
	char got;

	(void)state;
	rig_start(&r, say_and_read);
	assert_int_equal(recv(r.local[1], &got, 1, 0), 1);
	assert_int_equal(send(r.local[1], "last words", 10, 0), 10);
	rig_end(&r);
	assert_int_equal(r.result, 0);
	assert_int_equal(r.got, 10);
	assert_true(r.ended);
}

static void say_and_read_when_told(struct rig *r, SSL *ssl)
{
	char byte;

	accept_and_say(r, ssl, "x");
	(void)recv(r->go[0], &byte, 1, 0);
	read_to_the_end(r, ssl);
}

static void relay_server_that_does_not_read_bounds_what_is_taken(void **state)
{
	struct rig r = {0};
	struct pollfd p;
	char got, chunk[16384] = {0};
	size_t sent = 0;

	(void)state;
	rig_start(&r, say_and_read_when_told);
	assert_int_equal(recv(r.local[1], &got, 1, 0), 1);
	p = (struct pollfd){.fd = r.local[1], .events = POLLOUT};
	while (sent < 64 * MIB && poll(&p, 1, 300) == 1) {
		ssize_t n = send(r.local[1], chunk, sizeof(chunk), MSG_DONTWAIT);

		sent += n > 0 ? (size_t)n : 0;
	}
	assert_true(sent < 8 * MIB);
	assert_int_equal(send(r.go[1], "g", 1, 0), 1);
	rig_end(&r);
	assert_int_equal(r.got, sent);
}

/* --- connections that do not --- */

static void say_and_cut(struct rig *r, SSL *ssl)
{
	accept_and_say(r, ssl, "cut");
}

static void relay_stream_without_its_end_is_broken(void **state)
{
	struct rig r = {0};
	char got[16];

	(void)state;
	rig_start(&r, say_and_cut);
	assert_int_equal(read_all(&r, got, sizeof(got)), 3);
	rig_end(&r);
	assert_int_equal(r.result, -ECONNRESET);
	assert_non_null(strstr(r.err.text, "there: the TLS connection was cut off"));
	assert_non_null(strstr(r.err.text, "close_notify"));
}

static void say_and_forge(struct rig *r, SSL *ssl)
{
	static const char record[] = "\x17\x03\x03\x00\x20"
	                             "forged: thirty-two bytes in all..";

	accept_and_say(r, ssl, "x");
	(void)send(r->net[1], record, 5 + 32, 0);
	read_to_the_end(r, ssl);
}

static void relay_forged_record_is_broken(void **state)
{
	struct rig r = {0};
	char got[16];

	(void)state;
	rig_start(&r, say_and_forge);
	assert_int_equal(read_all(&r, got, sizeof(got)), 1);
	rig_end(&r);
	assert_int_equal(r.result, -ECONNRESET);
	assert_non_null(strstr(r.err.text, "the TLS connection broke"));
}

static void relay_wrong_name_passes_nothing_on(void **state)
{
	struct rig r = {.setup.name = "other.example.net"};
	char got[16];

	(void)state;
	rig_start(&r, say_and_read);
	(void)send(r.local[1], "secret", 6, MSG_NOSIGNAL);
	assert_int_equal(read_all(&r, got, sizeof(got)), 0);
	rig_end(&r);
	assert_int_equal(r.result, -EACCES);
	assert_non_null(strstr(r.err.text, "expected other.example.net"));
	assert_non_null(strstr(r.err.text, "is for localhost"));
	assert_int_equal(r.got, 0);
}

static void relay_empty_name_is_refused(void **state)
{
	struct rig r = {.setup.name = ""};

	(void)state;
	rig_start(&r, say_and_read);
	rig_end(&r);
	assert_int_equal(r.result, -EACCES);
	assert_false(r.accepted);
}

static void speak_plainly(struct rig *r, SSL *ssl)
{
	char chunk[4096];

	(void)ssl;
	(void)send(r->net[1], "@RSYNCD: 32.0 sha512\n", 21, 0);
	while (recv(r->net[1], chunk, sizeof(chunk), 0) > 0)
		;
}

/* Free descriptors, before and after what OpenSSL itself opens. */
static void relay_without_descriptors_is_a_shortage_of_our_own(void **state)
{
	struct tls_setup setup = {.peer = "there", .name = "localhost", .ca = ca_path};
	struct rlimit before, few;
	int next = dup(STDERR_FILENO);

	(void)state;
	assert_int_equal(relay_check_files(&setup, NULL), 0); /* OpenSSL has all it loads once */
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(close(next), 0);
	for (int room = 0; room < 2; room++) {
		struct err err = {0};

		few = (struct rlimit){(rlim_t)(next + room), before.rlim_max};
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
		int r = relay_run(&setup, -1, -1, &err);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
		assert_int_equal(r, -ENOMEM);
		assert_non_null(strstr(err.text, "there: tls_ca: "));
	}
}

static void relay_missing_file_is_refused(void **state)
{
	struct tls_setup setup = {"there", "localhost", "/nonexistent/ca.pem", NULL, NULL};
	struct err err = {0};

	(void)state;
	assert_int_equal(relay_run(&setup, -1, -1, &err), -EACCES);
}

static void relay_plain_server_is_told(void **state)
{
	struct rig r = {0};
	char got[16];

	(void)state;
	rig_start(&r, speak_plainly);
	assert_int_equal(read_all(&r, got, sizeof(got)), 0);
	rig_end(&r);
	assert_int_equal(r.result, -EACCES);
	assert_non_null(strstr(r.err.text, "does not speak TLS"));
}

static void hang_up(struct rig *r, SSL *ssl)
{
	char chunk[16];

	(void)ssl;
	(void)recv(r->net[1], chunk, sizeof(chunk), 0);
}

static void relay_server_that_hangs_up_is_told(void **state)
{
	struct rig r = {0};
	char got[16];

	(void)state;
	rig_start(&r, hang_up);
	assert_int_equal(read_all(&r, got, sizeof(got)), 0);
	rig_end(&r);
	assert_int_equal(r.result, -ECONNRESET);
	assert_non_null(strstr(r.err.text, "handshake"));
}

static void wait_for_the_end(struct rig *r, SSL *ssl)
{
	char chunk[4096];

	(void)ssl;
	while (recv(r->net[1], chunk, sizeof(chunk), 0) > 0)
		;
}

static void relay_session_that_lets_go_in_the_handshake_ends_it(void **state)
{
	struct rig r = {0};

	(void)state;
	rig_start(&r, wait_for_the_end);
	rig_end(&r);
	assert_int_equal(r.result, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(relay_both_ways_brings_all_and_both_ends),
	        cmocka_unit_test(relay_end_of_the_server_becomes_end_of_file),
	        cmocka_unit_test(relay_session_that_lets_go_ends_it_with_close_notify),
	        cmocka_unit_test(relay_server_that_does_not_read_bounds_what_is_taken),
	        cmocka_unit_test(relay_stream_without_its_end_is_broken),
	        cmocka_unit_test(relay_forged_record_is_broken),
	        cmocka_unit_test(relay_wrong_name_passes_nothing_on),
	        cmocka_unit_test(relay_empty_name_is_refused),
	        cmocka_unit_test(relay_without_descriptors_is_a_shortage_of_our_own),
	        cmocka_unit_test(relay_missing_file_is_refused),
	        cmocka_unit_test(relay_plain_server_is_told),
	        cmocka_unit_test(relay_server_that_hangs_up_is_told),
	        cmocka_unit_test(relay_session_that_lets_go_in_the_handshake_ends_it),
	};

	return cmocka_run_group_tests(tests, make_files, remove_files);
}
