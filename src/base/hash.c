/* SPDX-License-Identifier: MIT
 * Hashes: SHA-256 (libcrypto) names content, XXH3-64 detects damage.
 *
 * Image layers are untrusted, so identity must be a cryptographic hash; a digest that was silently
 * not computed would merge two different files. libcrypto can fail here only after it failed to set
 * itself up or was handed a broken context; then the process stops rather than go on with a made-up
 * digest.
 */
#include "spill/base.h"

#include <openssl/evp.h>
#include <xxhash.h>

struct sha256 {
	EVP_MD_CTX *ctx;
};

/* Fetched once: the implicit fetch of EVP_sha256() costs more than hashing a small file. */
static EVP_MD *md;
static pthread_once_t md_once = PTHREAD_ONCE_INIT;

static void md_fetch(void)
{
	md = EVP_MD_fetch(NULL, "SHA256", NULL);
}

static void must(int ok)
{
	if (unlikely(ok != 1)) {
		log_err("libcrypto failed to compute a SHA-256");
		abort();
	}
}

int sha256_new(struct sha256 **ret)
{
	struct sha256 *h = calloc(1, sizeof(*h));

	if (!h)
		return -ENOMEM;
	pthread_once(&md_once, md_fetch);
	h->ctx = EVP_MD_CTX_new();
	if (!md || !h->ctx || EVP_DigestInit_ex(h->ctx, md, NULL) != 1) {
		sha256_free(h);
		return md ? -ENOMEM : -ENOSYS;
	}
	*ret = h;
	return 0;
}

void sha256_free(struct sha256 *h)
{
	if (!h)
		return;
	EVP_MD_CTX_free(h->ctx);
	free(h);
}

void sha256_reset(struct sha256 *h)
{
	must(EVP_DigestInit_ex(h->ctx, md, NULL));
}

void sha256_update(struct sha256 *h, const void *data, size_t len)
{
	must(EVP_DigestUpdate(h->ctx, data, len));
}

void sha256_final(struct sha256 *h, uint8_t out[SHA256_LEN])
{
	must(EVP_DigestFinal_ex(h->ctx, out, NULL));
}

void sha256_once(const void *data, size_t len, uint8_t out[SHA256_LEN])
{
	pthread_once(&md_once, md_fetch);
	must(md != NULL);
	must(EVP_Digest(data, len, out, NULL, md, NULL));
}

uint64_t hash64(const void *data, size_t len)
{
	return XXH3_64bits(data, len);
}

void hex_encode(const uint8_t *in, size_t len, char *out)
{
	static const char digit[] = "0123456789abcdef";

	for (size_t i = 0; i < len; i++) {
		out[2 * i] = digit[in[i] >> 4];
		out[2 * i + 1] = digit[in[i] & 15];
	}
	out[2 * len] = 0;
}
