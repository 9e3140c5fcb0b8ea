/* ticket: what makes a session ticket ours (RFC 5077, RFC 8446 4.6.1), without any state.
 *
 * The keys of a 12-hour epoch are derived from a secret when they are needed, so all workers, and
 * all nodes with the same secret, agree without telling each other. Tickets of the epoch before and
 * of the one after (another node's clock) are accepted. */
#ifndef LP_TLS_TICKET_H
#define LP_TLS_TICKET_H

#include "base/base.h"
#include "tls/wolfssl.h"

#define TICKET_EPOCH_S          (12u * 3600u)
#define TICKET_LIFE_S           (2 * TICKET_EPOCH_S)
#define TICKET_SECRET_BYTES_MIN 32u
#define TICKET_POLICY_BYTES     32u

struct ticket_policy {
    uint8_t secret[LP_SHA256_BYTES];
    uint8_t tag[TICKET_POLICY_BYTES]; /* whom a ticket is good for; authenticated, not sent */
};

/* Borrows secret ("" stands for this process's own random one) and what: all that must be equal for
 * a ticket to be accepted. */
void ticket_policy_init(struct ticket_policy *policy, struct lp_slice secret, struct lp_slice what);

/* The context's callback; its user data is the struct ticket_policy. */
int ticket_crypt(WOLFSSL *ssl, unsigned char key_name[WOLFSSL_TICKET_NAME_SZ],
                 unsigned char iv[WOLFSSL_TICKET_IV_SZ], unsigned char mac[WOLFSSL_TICKET_MAC_SZ],
                 int is_encrypting, unsigned char *ticket, int size, int *out_size, void *policy);

#endif
