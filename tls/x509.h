/* x509: what limpet asks of a certificate (RFC 5280), read from its DER without a copy. Whether it
 * can be trusted is the library's business. */
#ifndef LP_TLS_X509_H
#define LP_TLS_X509_H

#include "tls/der.h"

/* Kinds of keys, for der_is_oid(). */
#define X509_OID_RSA "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01"
#define X509_OID_EC  "\x2a\x86\x48\xce\x3d\x02\x01"

/* "RSA", "ECDSA", "Ed25519" and so on, or "of an unknown kind". */
const char *x509_key_word(struct lp_slice algorithm);

/* All slices are parts of the certificate. */
struct x509 {
    struct lp_slice serial;          /* an INTEGER's contents         */
    struct lp_slice issuer, subject; /* Names, whole                  */
    int64_t not_before_s, not_after_s;
    struct lp_slice key_algorithm;  /* an OID's contents             */
    struct lp_slice key_parameters; /* what follows it; may be empty */
    struct lp_slice key;            /* the bits: an RSAPublicKey, a point */
    bool has_names;                 /* is there a subjectAltName?    */
    struct lp_slice names;          /* its GeneralNames              */
};

/* Borrows der, which must be one certificate and nothing else. */
bool x509_read(struct x509 *out, struct lp_slice der);

/* One after the other; start with rest = x509.names. */
struct x509_name {
    bool is_ip;
    struct lp_slice value; /* a host name as it stands there, or 4 or 16 bytes */
};
bool x509_next_name(struct lp_slice *rest, struct x509_name *out);

/* The last commonName of the subject, as bytes; false without one. */
bool x509_common_name(const struct x509 *certificate, struct lp_slice *out);

/* Does a certificate's name cover this host (RFC 6125, 6.4)? A wildcard stands for exactly one
 * whole label at the front. Ignores case and one trailing dot of host. */
bool x509_name_covers(struct lp_slice name, struct lp_slice host);

/* Is it a certificate for this host name or this address (without brackets)? The subject's
 * commonName does not count, and a wildcard needs two labels behind it: "*.com" covers nothing. */
bool certificate_is_for(struct lp_slice der, struct lp_slice name);

#endif
