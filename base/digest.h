/* digest: SHA-1, SHA-256, HMAC-SHA-256 and random bytes, from wolfCrypt; base64 (RFC 4648). */
#ifndef LP_BASE_DIGEST_H
#define LP_BASE_DIGEST_H

#include "base/slice.h"

#define LP_SHA1_BYTES   20u
#define LP_SHA256_BYTES 32u

/* Only for RFC 6455's handshake, where SHA-1 is no security. */
void lp_sha1(uint8_t out[LP_SHA1_BYTES], struct lp_slice data);
void lp_sha256(uint8_t out[LP_SHA256_BYTES], struct lp_slice data);
void lp_hmac_sha256(uint8_t out[LP_SHA256_BYTES], struct lp_slice key, struct lp_slice data);

/* Cryptographically secure; never fails (a kernel without random bytes ends the process). */
void lp_random(void *out, size_t size);
/* Fast, not secure, one state a thread: for jitter and masks. */
uint64_t lp_random_fast(void);

/* Standard alphabet with padding. Gives the length; out needs 4 * ((size + 2) / 3) bytes. */
size_t lp_base64_encode(char *out, const void *data, size_t size);
/* Strict: padding required, no spare bits. Gives the length or SIZE_MAX; out needs 3 * size / 4. */
size_t lp_base64_decode(void *out, struct lp_slice text);

#endif
