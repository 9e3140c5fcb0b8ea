/* private_key: the key that belongs to a certificate, from a PEM file. */
#ifndef LP_TLS_PRIVATE_KEY_H
#define LP_TLS_PRIVATE_KEY_H

#include "tls/x509.h"

/* Reads path, in which there must be exactly one private key, not encrypted: that of certificate,
 * which is ECDSA or RSA. certificate may be NULL when it is not known: then the key is looked at
 * alone. certificate_path is for the error's sentence. Gives its DER (PKCS#8,
 * PKCS#1 or SEC1) inside arena; after an error nothing of a key is left there. */
bool private_key_read(struct lp_slice *out, const char *path, const struct x509 *certificate,
                      const char *certificate_path, struct lp_arena *arena,
                      struct lp_err *err) LP_MUST_USE;

#endif
