/* staple: an OCSP response from a file, sent along with the certificate (RFC 6066, 8; RFC 6960).
 *
 * The response's signature is not checked here: clients do that, against a key that the server need
 * not have. */
#ifndef LP_TLS_STAPLE_H
#define LP_TLS_STAPLE_H

#include "tls/x509.h"

struct WOLFSSL_CTX;

/* TLS 1.3 puts it into an extension, which has 64 KiB. */
#define STAPLE_BYTES_MAX 32768u

struct staple {
    struct lp_slice response;
    int64_t next_update_s; /* INT64_MAX: the response does not say */
};

enum staple_outcome {
    STAPLE_GOOD,
    STAPLE_STALE, /* well-formed, but not of today: err says so, *out must not be installed */
    STAPLE_BAD,   /* err says why */
};

/* What a DER file holds, as `openssl ocsp -respout` writes it: is it a response about this
 * certificate that says "good"? issuer may be NULL. Copies the response into arena. The sentence in
 * err goes on behind a file's name. */
enum staple_outcome staple_read(struct staple *out, struct lp_slice file, const struct x509 *leaf,
                                const struct x509 *issuer, int64_t now_s, struct lp_arena *arena,
                                struct lp_err *err);

/* Has the context's sessions send it to clients that ask. Keeps staple and its response: they must
 * live until the last session of the context is gone. Serving takes no lock and does no I/O; once
 * next_update_s is over nothing is sent any more. */
bool staple_install(struct WOLFSSL_CTX *library, const struct staple *staple,
                    struct lp_err *err) LP_MUST_USE;

#endif
