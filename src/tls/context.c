#include "tls/context.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <sys/stat.h>
#include "base/mem.h"
#include "base/path.h"

static const char *last_reason(void)
{
	const char *words = ERR_reason_error_string(ERR_peek_last_error());

	return words ? words : "unknown reason";
}

/* OpenSSL opens by name, and what the system said then is the first of its errors. */
static int first_error(void)
{
	unsigned long first = ERR_peek_error();

	return ERR_GET_LIB(first) == ERR_LIB_SYS ? ERR_GET_REASON(first) : EINVAL;
}

/* A descriptor or -errno. Certificates are often reached through symbolic links. */
static int open_file(const char *key, const char *path, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;

	if (fd < 0)
		return err_errno(err, errno, "%s: %s", key, path_show(bytes_of(path)));
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		return fd;
	(void)close(fd);
	return err_set(err, EINVAL, "%s: %s is not a regular file", key, path_show(bytes_of(path)));
}

static int load_authorities(SSL_CTX *ctx, const char *path, struct err *err)
{
	autoclose int fd = path ? open_file("tls_ca", path, err) : -1;

	if (path && fd < 0)
		return fd;
	if (!path) {
		if (SSL_CTX_set_default_verify_paths(ctx) == 1)
			return 0;
		return err_set(err, EINVAL, "the system's store of authorities: %s", last_reason());
	}
	if (SSL_CTX_load_verify_locations(ctx, path, NULL) != 1)
		return err_set(err, first_error(),
		               "tls_ca: %s holds no certificate in PEM form: %s",
		               path_show(bytes_of(path)), last_reason());
	/* Whatever stands in the file is believed, also the server's own certificate. */
	(void)X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx), X509_V_FLAG_PARTIAL_CHAIN);
	return 0;
}

static int load_certificate(SSL_CTX *ctx, const char *path, struct err *err)
{
	autoclose int fd = open_file("tls_cert", path, err);

	if (fd < 0)
		return fd;
	if (SSL_CTX_use_certificate_chain_file(ctx, path) != 1)
		return err_set(err, first_error(),
		               "tls_cert: %s holds no certificate in PEM form: %s",
		               path_show(bytes_of(path)), last_reason());
	return 0;
}

/* Debian gives keys to a group (0640, ssl-cert): that is a decision of the host's owner. */
static int check_key_file(const char *path, int fd, struct err *err)
{
	const char *shown = path_show(bytes_of(path));
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_errno(err, errno, "tls_key: %s", shown);
	if (st.st_uid != 0 && st.st_uid != geteuid())
		return err_set(err, EPERM, "tls_key: %s belongs to user %u; run: chown %u %s",
		               shown, (unsigned)st.st_uid, (unsigned)geteuid(), shown);
	if (st.st_mode & 027)
		return err_set(err, EPERM,
		               "tls_key: %s can be read by everybody or changed by others (mode "
		               "%04o); run: chmod 600 %s",
		               shown, (unsigned)(st.st_mode & 07777), shown);
	return 0;
}

/* There is nobody to ask. */
static int note_passphrase(char *buffer, int size, int writing, void *asked)
{
	(void)buffer;
	(void)size;
	(void)writing;
	*(bool *)asked = true;
	return -1;
}

static EVP_PKEY *read_key(int fd, bool *encrypted)
{
	BIO *bio = BIO_new_fd(fd, BIO_NOCLOSE);
	EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, note_passphrase, encrypted) : NULL;

	BIO_free(bio);
	return key;
}

static int load_key(SSL_CTX *ctx, const struct tls_setup *setup, struct err *err)
{
	const char *path = setup->key ? setup->key : setup->cert;
	autoclose int fd = open_file("tls_key", path, err);
	bool encrypted = false;
	EVP_PKEY *key;
	int r = fd < 0 ? fd : check_key_file(path, fd, err);

	if (r < 0)
		return r;
	key = read_key(fd, &encrypted);
	if (!key && encrypted)
		return err_set(err, EINVAL,
		               "tls_key: %s is encrypted, and nobody can be asked for the "
		               "passphrase; store it without: openssl pkey -in OLD -out NEW",
		               path_show(bytes_of(path)));
	if (!key)
		return err_set(err, EINVAL, "tls_key: %s holds no private key in PEM form: %s",
		               path_show(bytes_of(path)), last_reason());
	if (SSL_CTX_use_PrivateKey(ctx, key) != 1 || SSL_CTX_check_private_key(ctx) != 1)
		r = err_set(err, EINVAL, "tls_key: %s is not the key of the certificate in %s: %s",
		            path_show(bytes_of(path)), path_show(bytes_of(setup->cert)),
		            last_reason());
	EVP_PKEY_free(key);
	return r;
}

int context_new(SSL_CTX **ret, const struct tls_setup *setup, struct err *err)
{
	SSL_CTX *ctx;
	int r = 0;

	ERR_clear_error();
	ctx = SSL_CTX_new(TLS_client_method());
	if (!ctx)
		return err_set(err, EINVAL, "OpenSSL: %s", last_reason());
	if (SSL_CTX_get_min_proto_version(ctx) < TLS1_2_VERSION &&
	    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1)
		r = err_set(err, EINVAL, "OpenSSL: %s", last_reason());
	(void)SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	(void)SSL_CTX_set_mode(ctx,
	                       SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	(void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	if (r == 0)
		r = load_authorities(ctx, setup->ca, err);
	if (r == 0 && setup->cert)
		r = load_certificate(ctx, setup->cert, err);
	if (r == 0 && setup->cert)
		r = load_key(ctx, setup, err);
	if (r < 0)
		SSL_CTX_free(ctx);
	else
		*ret = ctx;
	return r;
}
