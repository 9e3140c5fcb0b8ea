/* crypto: one thread that does slow TLS handshakes for all workers, so that the open connections of
 * a worker need not wait for RSA signatures. A session has one owner at a time: with a job it goes
 * to this thread, and comes back in the box of the loop that gave it. */
#ifndef LP_LB_NET_CRYPTO_H
#define LP_LB_NET_CRYPTO_H

#include <stdatomic.h>

#include "lb/uring/uring.h"
#include "tls/tls.h"

struct crypto_box;

struct crypto_job {
    struct crypto_job *next;
    struct crypto_box *box; /* where it comes back to */
    struct uring_name name; /* of the connection, which lives until then */
    struct lp_tls *session;
    struct lp_tls_wire wire;
    uint32_t wire_buffer; /* of wire.out; the loop's business */
    enum lp_tls_result result;
};

/* Jobs that are done, written by the crypto thread, emptied by the loop. */
struct crypto_box {
    _Atomic(struct crypto_job *) done;
    int wake_fd; /* eventfd: ends the loop's wait */
};

struct crypto;

bool crypto_create(struct crypto **out, struct lp_err *err) LP_MUST_USE;
/* When every job has come back. */
void crypto_destroy(struct crypto *crypto);

/* Takes job, or gives false: too many wait already. Any thread. */
bool crypto_submit(struct crypto *crypto, struct crypto_job *job) LP_MUST_USE;
/* All that came back, the first first. */
struct crypto_job *crypto_collect(struct crypto_box *box);

#endif
