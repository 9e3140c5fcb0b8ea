/* certificate: a certificate chain with its private key, read from files and checked, so that what
 * is wrong is said when the configuration is read and not by a client. Choosing one by the name
 * that a client asks for: certificate_names. */
#ifndef LP_TLS_CERTIFICATE_H
#define LP_TLS_CERTIFICATE_H

#include "tls/staple.h"

struct WOLFSSL_CTX;

/* The library sends at most 9 behind the server's own. */
#define CERTIFICATE_CHAIN_MAX 10u

#define CERTIFICATE_WARN_S (7 * 86400) /* before the end of its life */

/* The files, as the configuration names them. */
enum certificate_file { CERTIFICATE_CHAIN, CERTIFICATE_KEY, CERTIFICATE_STAPLE };

struct certificate_files {
    const char *chain;
    const char *key;    /* NULL or "": in the same file as the chain */
    const char *staple; /* NULL or "": none */
};

/* Hears what is wrong with which file: a sentence that names the file and says what would work. */
struct certificate_report {
    void (*complain)(void *listener, enum certificate_file at, bool is_error, const char *sentence);
    void *listener;
    bool expired_is_error; /* else one that is too old or too young is used, with a warning */
};

struct certificate {
    struct lp_slice chain[CERTIFICATE_CHAIN_MAX]; /* DER; the server's own first */
    uint32_t chain_count;
    struct lp_slice key;    /* DER: PKCS#8, PKCS#1 or SEC1 */
    struct lp_slice *names; /* DNS names in lower case */
    uint32_t names_count;
    int64_t not_before_s, not_after_s;
    bool is_of_today;                /* between the two */
    bool is_rsa;                     /* else ECDSA */
    uint32_t bits;                   /* of the RSA modulus or of the curve */
    uint8_t digest[LP_SHA256_BYTES]; /* of the whole chain: tells whether a file has changed */
    char fingerprint[2 * LP_SHA256_BYTES + 1]; /* SHA-256 of the server's own, lower-case hex */
    const char *subject;                       /* RFC 4514 */
    const struct staple *staple;               /* NULL: none, or one that is not good today */
};

/* Reads and checks the files; borrows them and report, puts everything into arena. False when there
 * was an error; then *out must not be used. A staple that is not of today is a warning, one that is
 * none or of another certificate is an error. */
bool certificate_load(struct certificate *out, const struct certificate_files *files, int64_t now_s,
                      struct lp_arena *arena, const struct certificate_report *report) LP_MUST_USE;

/* Gives chain, key and staple to the library. What the staple needs must live as long as the last
 * session (staple.h); the rest is copied. */
bool certificate_install(struct WOLFSSL_CTX *library, const struct certificate *certificate,
                         struct lp_err *err) LP_MUST_USE;

/* Overwrites the key in memory, once it is installed. */
void certificate_forget_key(struct certificate *certificate);

/* ---- which certificate for which name ---- */

struct certificate_names {
    struct certificate_name *sorted;
    uint32_t count;
};

/* Borrows certificates, puts the index into arena; names stay where they are. */
void certificate_names_build(struct certificate_names *out, const struct certificate *certificates,
                             uint32_t certificates_count, struct lp_arena *arena);

/* The index of the certificate with exactly this name; else of one whose wildcard covers it (RFC
 * 6125: one whole label); else 0, the first. Of several with the same name the first listed
 * that is of today wins, else the first, whatever their kinds: a context of the library holds one
 * chain and key, so an RSA and an ECDSA certificate for one name cannot be offered together. name
 * is lower case without a trailing dot, as lp_hello has it. */
uint32_t certificate_names_find(const struct certificate_names *names, struct lp_slice name);

#endif
