/* context: what sessions share, on either side. */
#ifndef LP_TLS_CONTEXT_H
#define LP_TLS_CONTEXT_H

#include <stdatomic.h>

#include "tls/ticket.h"
#include "tls/tls.h"

/* It lives until its builder and the last session have let go of it: a handshake under way uses its
 * ticket policy and its staple, an open session its certificate. */
struct context {
    _Atomic uint32_t users_count;
    WOLFSSL_CTX *library;
    struct ticket_policy tickets;
    uint8_t digest[LP_SHA256_BYTES]; /* client: of all that decides whom it believes */
    struct lp_arena arena;           /* what the library borrows for as long */
    bool is_client;
    bool is_rsa;     /* its certificate's key */
    bool takes_http; /* and chooses http/1.1 where ALPN lets it choose */
};

/* Gives a context that speaks these versions (LP_TLS_1_2, LP_TLS_1_3) and only AEAD suites; NULL
 * when memory is out. */
struct context *context_create(bool is_client, uint32_t versions);
struct context *context_use(struct context *context);
void context_drop(struct context *context);

/* EXPIRED: every one is too old or too young, so nobody is trusted. */
enum trust { TRUST_SOME, TRUST_EXPIRED, TRUST_BAD };

/* Trusts the certificates of a PEM file; gives their digest, and a sentence unless some are good.
 * With is_whole BAD, too: one is damaged or cannot be used. One that is not of today is left out
 * while others are. */
enum trust context_trust(struct context *context, const char *path, bool is_whole,
                         uint8_t digest[LP_SHA256_BYTES], struct lp_err *err) LP_MUST_USE;
/* Time alone stops no start: what was good yesterday may be all there is. */
static inline enum lp_severity severity_of_time(const struct lp_config_report *report)
{
    return report->is_check ? LP_ERROR : LP_WARNING;
}

#endif
