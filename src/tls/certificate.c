#include "tls/certificate.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/x509v3.h>
#include <time.h>
#include "base/fd.h"
#include "base/path.h"

#define NAMES_SHOWN 3
#define NAME_BYTES  64 /* of each that is shown */
#define TEXT_BYTES  560

static bool is_address(const char *name)
{
	struct in6_addr any;

	return inet_pton(AF_INET, name, &any) == 1 || inet_pton(AF_INET6, name, &any) == 1;
}

static struct bytes cut(const void *p, size_t n)
{
	return (struct bytes){p, n < NAME_BYTES ? n : NAME_BYTES};
}

/* --- what the certificate says; its bytes are a stranger's --- */

static void add_common_name(struct buf *out, const X509_NAME *name)
{
	int at = X509_NAME_get_index_by_NID((X509_NAME *)name, NID_commonName, -1);
	const ASN1_STRING *text =
	        at < 0 ? NULL : X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at));

	if (text)
		path_quote(out, cut(ASN1_STRING_get0_data(text), (size_t)ASN1_STRING_length(text)));
	else
		buf_add_bytes(out, BYTES("somebody without a name"));
}

static void add_address(struct buf *out, const ASN1_OCTET_STRING *ip)
{
	int n = ASN1_STRING_length(ip);
	char text[INET6_ADDRSTRLEN];

	if ((n == 4 || n == 16) &&
	    inet_ntop(n == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(ip), text, sizeof(text)))
		buf_add_bytes(out, bytes_of(text));
	else
		buf_add_bytes(out, BYTES("?"));
}

/* The names that the comparison sees: alternative names, else the subject's common name. */
static void add_names(struct buf *out, X509 *cert)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	int count = names ? sk_GENERAL_NAME_num(names) : 0, shown = 0, more = 0;

	for (int i = 0; i < count; i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

		if (name->type != GEN_DNS && name->type != GEN_IPADD)
			continue;
		if (shown == NAMES_SHOWN) {
			more++;
			continue;
		}
		if (shown++)
			buf_add_bytes(out, BYTES(", "));
		if (name->type == GEN_IPADD)
			add_address(out, name->d.iPAddress);
		else
			path_quote(out, cut(ASN1_STRING_get0_data(name->d.dNSName),
			                    (size_t)ASN1_STRING_length(name->d.dNSName)));
	}
	if (more)
		buf_printf(out, " and %d more", more);
	if (!shown)
		add_common_name(out, X509_get_subject_name(cert));
	GENERAL_NAMES_free(names);
}

static void add_time(struct buf *out, const struct tm *tm)
{
	char text[64];

	if (strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S UTC", tm))
		buf_add_bytes(out, bytes_of(text));
}

static void add_asn1_time(struct buf *out, const ASN1_TIME *time)
{
	struct tm tm = {0};

	if (ASN1_TIME_to_tm(time, &tm) == 1)
		add_time(out, &tm);
}

static void add_now(struct buf *out)
{
	time_t now = (time_t)(clock_wall_ns() / 1000000000);
	struct tm tm;

	if (gmtime_r(&now, &tm))
		add_time(out, &tm);
}

/* --- what is wrong with it, and what to do --- */

static void tell_whose(struct buf *out, X509 *cert, int depth)
{
	if (depth == 0) {
		buf_add_bytes(out, BYTES("its certificate"));
		return;
	}
	buf_add_bytes(out, BYTES("the certificate of \""));
	add_common_name(out, X509_get_subject_name(cert));
	buf_add_bytes(out, BYTES("\" that vouches for it"));
}

static void tell_expired(struct buf *out, X509 *cert, int depth)
{
	tell_whose(out, cert, depth);
	buf_add_bytes(out, BYTES(" expired on "));
	add_asn1_time(out, X509_get0_notAfter(cert));
	buf_add_bytes(out, BYTES(", and here it is "));
	add_now(out);
	buf_add_bytes(out, BYTES(". Renew it over there"));
}

static void tell_not_yet(struct buf *out, X509 *cert, int depth)
{
	tell_whose(out, cert, depth);
	buf_add_bytes(out, BYTES(" is valid only from "));
	add_asn1_time(out, X509_get0_notBefore(cert));
	buf_add_bytes(out, BYTES(" on, and here it is "));
	add_now(out);
	buf_add_bytes(out, BYTES(". Check the clocks of both hosts"));
}

static void tell_stranger(struct buf *out, X509 *cert, const struct tls_setup *setup)
{
	buf_add_bytes(out, BYTES("its certificate was issued by \""));
	add_common_name(out, X509_get_issuer_name(cert));
	if (setup->ca)
		buf_printf(out, "\", whose own is not in tls_ca (%s). ",
		           path_show(bytes_of(setup->ca)));
	else
		buf_add_bytes(out, BYTES("\", whom this host does not know. "));
	buf_add_bytes(out, BYTES("Set tls_ca to that authority's certificate, or let the server "
	                         "send those in between, too"));
}

static void tell_self_signed(struct buf *out, const struct tls_setup *setup)
{
	buf_add_bytes(out, BYTES("its certificate is self-signed and "));
	if (setup->ca)
		buf_printf(out, "not in tls_ca (%s)", path_show(bytes_of(setup->ca)));
	else
		buf_add_bytes(out, BYTES("not known here"));
	buf_add_bytes(out, BYTES(". Copy it from the server in a way that you trust, and set "
	                         "tls_ca to it"));
}

static void tell_wrong_name(struct buf *out, X509 *cert, const struct tls_setup *setup)
{
	buf_printf(out, "the name does not match: expected %s, its certificate is for ",
	           path_show(bytes_of(setup->name)));
	add_names(out, cert);
	buf_add_bytes(out, BYTES(". If that is the right server, set tls_name to the name in the "
	                         "certificate"));
}

static void tell(struct buf *out, X509 *cert, int code, int depth, const struct tls_setup *setup)
{
	switch (code) {
	case X509_V_ERR_CERT_HAS_EXPIRED:
		tell_expired(out, cert, depth);
		return;
	case X509_V_ERR_CERT_NOT_YET_VALID:
		tell_not_yet(out, cert, depth);
		return;
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
		tell_self_signed(out, setup);
		return;
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
		tell_stranger(out, cert, setup);
		return;
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		tell_wrong_name(out, cert, setup);
		return;
	default: /* OpenSSL's own, dozens of them */
		tell_whose(out, cert, depth);
		buf_printf(out, " is refused: %s", X509_verify_cert_error_string(code));
		return;
	}
}

/* Called for each certificate, and for each fault: the first one ends the handshake. */
static int judge_certificate(int good, X509_STORE_CTX *store)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct certificate_judge *judge = SSL_get_app_data(ssl);
	X509 *cert = X509_STORE_CTX_get_current_cert(store);
	int code = X509_STORE_CTX_get_error(store);
	struct buf text;

	if (good)
		return 1;
	if (!cert)
		cert = X509_STORE_CTX_get0_cert(store);
	buf_init(&text, TEXT_BYTES);
	tell(&text, cert, code, X509_STORE_CTX_get_error_depth(store), judge->setup);
	(void)err_set(&judge->fault, EACCES, "%s: %.*s", judge->setup->peer, (int)text.n,
	              text.n ? text.p : "");
	buf_done(&text);
	return 0;
}

int certificate_expect(SSL *ssl, struct certificate_judge *judge, struct err *err)
{
	const char *name = judge->setup->name;
	bool set;

	(void)SSL_set_app_data(ssl, judge);
	SSL_set_verify(ssl, SSL_VERIFY_PEER, judge_certificate);
	if (is_address(name)) {
		set = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1;
	} else {
		SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
		/* An empty name would switch the comparison off. */
		set = name[0] && SSL_set1_host(ssl, name) == 1 &&
		      SSL_set_tlsext_host_name(ssl, name) == 1;
	}
	if (!set)
		return err_set(err, EINVAL, "%s: \"%s\" is no host name", judge->setup->peer,
		               path_show(bytes_of(name)));
	return 0;
}
