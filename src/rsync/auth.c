#include "rsync/auth.h"

#include <errno.h>
#include <openssl/evp.h>
#include "base/mem.h"

#define RESPONSE_MAX 128

static const char *const digests[] = {"md4", "md5", "sha1", "sha256", "sha512"};

void auth_digest_names(struct buf *out, unsigned weakest)
{
	for (size_t i = ARRAY_LEN(digests); i-- > weakest;) {
		EVP_MD *md = EVP_MD_fetch(NULL, digests[i], NULL);

		if (!md)
			continue; /* md4, in a library without its legacy part */
		EVP_MD_free(md);
		if (out->n)
			buf_add_u8(out, ' ');
		buf_add_bytes(out, bytes_of(digests[i]));
	}
}

/* The next of blank-separated words; empty at the end. */
static struct bytes next_word(struct bytes *rest)
{
	struct bytes word;

	while (rest->n && *rest->p == ' ') {
		rest->p++;
		rest->n--;
	}
	word = (struct bytes){rest->p, 0};
	while (rest->n && *rest->p != ' ') {
		rest->p++;
		rest->n--;
		word.n++;
	}
	return word;
}

const char *auth_digest_choose(struct bytes names, unsigned weakest)
{
	for (size_t i = ARRAY_LEN(digests); i-- > weakest;) {
		struct bytes rest = names.n ? names : BYTES("md5"), word;

		while ((word = next_word(&rest)).n)
			if (bytes_equal(word, bytes_of(digests[i])))
				return digests[i];
	}
	return NULL;
}

int auth_response(struct buf *out, const char *digest, const char *password, struct bytes challenge)
{
	EVP_MD *md = EVP_MD_fetch(NULL, digest, NULL);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	unsigned char sum[EVP_MAX_MD_SIZE];
	unsigned char text[RESPONSE_MAX];
	unsigned n = 0;
	int rc = -ENOTSUP, length;

	if (!md || !ctx || EVP_DigestInit_ex(ctx, md, NULL) != 1)
		goto out;
	if (EVP_DigestUpdate(ctx, password, strlen(password)) != 1 ||
	    EVP_DigestUpdate(ctx, challenge.p, challenge.n) != 1 ||
	    EVP_DigestFinal_ex(ctx, sum, &n) != 1)
		goto out;
	length = EVP_EncodeBlock(text, sum, (int)n);
	while (length > 0 && text[length - 1] == '=')
		length--;
	buf_add(out, text, (size_t)length);
	rc = 0;
out:
	EVP_MD_CTX_free(ctx);
	EVP_MD_free(md);
	return rc;
}
