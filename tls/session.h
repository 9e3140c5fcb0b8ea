/* session: what the files of tls/ know of one connection's side of TLS. */
#ifndef LP_TLS_SESSION_H
#define LP_TLS_SESSION_H

#include "tls/context.h"
#include "tls/subject.h"

/* Who the peer is, learned while its certificate was verified. */
struct peer {
    char fingerprint[2 * LP_SHA256_BYTES + 1];
    size_t subject_size;
    char subject[SUBJECT_BYTES_MAX]; /* RFC 4514; last: cut to its size when it is known */
};

struct lp_tls {
    WOLFSSL *library;
    struct context *context;
    struct peer *peer;        /* NULL: no certificate was asked for */
    char *expected;           /* client: whom the server's certificate must be for, until known */
    struct lp_tls_wire *wire; /* of the call that runs now */
    const char *error;        /* why it failed */
    uint32_t sealed_ms;       /* low bits: when a record was sealed last */
    uint16_t early_left;      /* bytes of early data that are still skipped */
    uint16_t record_left; /* bytes still to come of the record that the library has begun to read */
    uint8_t header_size;  /* bytes of that record's header it has read */
    uint8_t header[5];
    uint8_t small_left; /* records that stay small */
    bool is_done : 1, is_closed : 1, has_ticket : 1;
};

/* Early data is never taken, only skipped: as much as other servers' tickets allow by default. */
#define EARLY_DATA_BYTES_MAX 16384u

/* Takes library, also on failure (NULL is one); uses context. */
struct lp_tls *session_create(struct context *context, WOLFSSL *library);
/* A client's: borrows ticket, which may be NULL; listens for a new one. */
void session_resume(struct lp_tls *tls, const struct lp_tls_ticket *ticket);

/* For contexts: the library's input and output, and what looks at verified certificates. */
void session_set_callbacks(WOLFSSL_CTX *library);
int session_verify_client(int is_good, WOLFSSL_X509_STORE_CTX *store);
int session_verify_server(int is_good, WOLFSSL_X509_STORE_CTX *store);

#endif
