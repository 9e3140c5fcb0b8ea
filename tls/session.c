/* One connection's side of TLS: handshake, opening and sealing records. The library is given memory
 * only; what it may read is one record at a time, so that plaintext can take the place of the bytes
 * that it came in. How contexts come about: context.c. */
#include "tls/session.h"

#include <stdio.h>
#include <string.h>

#include "tls/memory.h"
#include "tls/subject.h"
#include "tls/x509.h"

#if defined(LP_WOLFSSL_USER_SETTINGS_H) && !defined(WOLFSSL_ALWAYS_VERIFY_CB)
#error "the names of servers would not be checked"
#endif

/* A fresh or rested connection sends records that fit one TCP segment, so that the peer can use the
 * first bytes at once; after so many the records are as large as they may be. */
#define SMALL_RECORD_BYTES 1370u
#define SMALL_RECORDS      16u
#define REST_MS            1000u
#define RECORD_BYTES       16384u

/* --- what the library calls: memory instead of sockets --- */

/* The record's own header says how much belongs to it. */
static void count_record(struct lp_tls *tls, const char *data, uint32_t size)
{
    if (tls->header_size < sizeof(tls->header)) {
        memcpy(tls->header + tls->header_size, data, size);
        tls->header_size = (uint8_t)(tls->header_size + size);
        if (tls->header_size == sizeof(tls->header))
            tls->record_left = (uint16_t)(tls->header[3] << 8 | tls->header[4]);
    } else {
        tls->record_left = (uint16_t)(tls->record_left - size);
    }
    if (tls->header_size == sizeof(tls->header) && tls->record_left == 0)
        tls->header_size = 0;
}

static int give_received(WOLFSSL *library, char *out, int size, void *context)
{
    struct lp_tls *tls = context;
    struct lp_slice *in = &tls->wire->in;
    uint32_t count = (uint32_t)size;
    uint32_t of_record = tls->header_size < sizeof(tls->header)
                             ? (uint32_t)sizeof(tls->header) - tls->header_size
                             : tls->record_left;

    (void)library;
    if (in->size == 0)
        return WOLFSSL_CBIO_ERR_WANT_READ;
    count = count < of_record ? count : of_record;
    count = count < in->size ? count : (uint32_t)in->size;
    memcpy(out, in->data, count);
    count_record(tls, out, count);
    in->data += count;
    in->size -= count;
    return (int)count;
}

static int take_sent(WOLFSSL *library, char *data, int size, void *context)
{
    struct lp_tls *tls = context;
    struct lp_tls_wire *wire = tls->wire;
    size_t room = wire->out_room - wire->out_size;
    size_t count = (size_t)size < room ? (size_t)size : room;

    (void)library;
    if (count == 0)
        return WOLFSSL_CBIO_ERR_WANT_WRITE;
    memcpy(wire->out + wire->out_size, data, count);
    wire->out_size += count;
    return (int)count;
}

/* Called by the library, as we patch it, for a record that does not open, or that came before there
 * are keys (RFC 8446, 4.2.10). The limit is about what is in it: not the type, nor the tag. */
int lp_tls_skips_early_data(void *session, unsigned int record_size);
int lp_tls_skips_early_data(void *session, unsigned int record_size)
{
    struct lp_tls *tls = session;
    unsigned int size = record_size > 17 ? record_size - 17 : 1;

    if (size > tls->early_left)
        return 0;
    tls->early_left = (uint16_t)(tls->early_left - size);
    return 1;
}

void session_set_callbacks(WOLFSSL_CTX *library)
{
    wolfSSL_CTX_SetIORecv(library, give_received);
    wolfSSL_CTX_SetIOSend(library, take_sent);
}

/* --- whose certificate it is; called for each certificate that is bad, and for the peer's own ---
 */

static bool is_peers_own(const WOLFSSL_X509_STORE_CTX *store)
{
    return store->error_depth == 0 && store->totalCerts > 0;
}

static struct lp_slice der_of(const WOLFSSL_X509_STORE_CTX *store)
{
    return (struct lp_slice){(const char *)store->certs[0].buffer, store->certs[0].length};
}

int session_verify_client(int is_good, WOLFSSL_X509_STORE_CTX *store)
{
    struct lp_tls *tls = store->userCtx;
    struct x509 certificate;

    if (!is_good || !is_peers_own(store) || tls->peer != NULL)
        return is_good;
    tls->peer = tls_memory_get(sizeof(*tls->peer));
    if (tls->peer == NULL)
        return 0;
    tls->peer->subject_size = SIZE_MAX;
    if (x509_read(&certificate, der_of(store)))
        tls->peer->subject_size = subject_write(tls->peer->subject, certificate.subject);
    if (tls->peer->subject_size == SIZE_MAX) {
        tls->error = "the client's subject is no name, or too long to be passed on";
        return 0;
    }
    fingerprint_write(tls->peer->fingerprint, der_of(store));
    return 1;
}

int session_verify_server(int is_good, WOLFSSL_X509_STORE_CTX *store)
{
    struct lp_tls *tls = store->userCtx;

    if (!is_good || !is_peers_own(store))
        return is_good;
    if (tls->expected != NULL && certificate_is_for(der_of(store), lp_slice_of(tls->expected)))
        return 1;
    tls->error = "the server's certificate is for another name";
    return 0;
}

/* --- life --- */

struct lp_tls *session_create(struct context *context, WOLFSSL *library)
{
    struct lp_tls *tls = library != NULL ? tls_memory_get(sizeof(*tls)) : NULL;

    if (tls == NULL) {
        wolfSSL_free(library);
        return NULL;
    }
    *tls = (struct lp_tls){
        .library = library, .context = context_use(context), .small_left = SMALL_RECORDS};
    wolfSSL_SetIOReadCtx(library, tls);
    wolfSSL_SetIOWriteCtx(library, tls);
    wolfSSL_SetCertCbCtx(library, tls);
    return tls;
}

void lp_tls_destroy(struct lp_tls *tls)
{
    if (tls == NULL)
        return;
    wolfSSL_free(tls->library);
    context_drop(tls->context);
    tls_memory_put(tls->peer);
    tls_memory_put(tls->expected);
    tls_memory_put(tls);
}

/* --- what went wrong --- */

static const char *alert_text(WOLFSSL *library)
{
    WOLFSSL_ALERT_HISTORY history;

    if (wolfSSL_get_alert_history(library, &history) != WOLFSSL_SUCCESS)
        return "the peer refused (alert)";
    switch (history.last_rx.code) {
    case bad_certificate:
        return "the peer refused: bad certificate (alert 42)";
    case unsupported_certificate:
        return "the peer refused: unsupported certificate (alert 43)";
    case certificate_revoked:
        return "the peer refused: certificate revoked (alert 44)";
    case certificate_expired:
        return "the peer refused: certificate expired (alert 45)";
    case certificate_unknown:
        return "the peer refused: certificate unknown (alert 46)";
    case unknown_ca:
        return "the peer refused: it does not know the CA (alert 48)";
    case handshake_failure:
        return "the peer refused: handshake failure (alert 40)";
    case wolfssl_alert_protocol_version:
        return "the peer refused: protocol version (alert 70)";
    case unrecognized_name:
        return "the peer refused: unrecognized name (alert 112)";
    case certificate_required:
        return "the peer refused: it wants a client certificate (alert 116)";
    case no_application_protocol:
        return "the peer refused: no common application protocol (alert 120)";
    default:
        return "the peer refused (alert)";
    }
}

/* Clients that do not like our certificate say so in plain text, which the library takes for a
 * broken record. */
static bool has_refused(WOLFSSL *library)
{
    WOLFSSL_ALERT_HISTORY history;

    return wolfSSL_get_alert_history(library, &history) == WOLFSSL_SUCCESS &&
           history.last_rx.level == alert_fatal;
}

static const char *error_text(const struct lp_tls *tls, int error)
{
    if (error == FATAL_ERROR || has_refused(tls->library))
        return alert_text(tls->library);
    switch (error) {
    case WOLFSSL_ERROR_ZERO_RETURN:
    case ZERO_RETURN:
        return "the peer closed within the handshake";
    case VERSION_ERROR:
        return "no common version of TLS";
    case MATCH_SUITE_ERROR:
        return "no common cipher suite";
    case NO_PEER_CERT:
        return "the client sent no certificate";
    case ASN_NO_SIGNER_E:
    case ASN_SELF_SIGNED_E:
        return "the peer's certificate is not signed by a known CA";
    case ASN_AFTER_DATE_E:
        return "the peer's certificate has expired";
    case ASN_BEFORE_DATE_E:
        return "the peer's certificate is not valid yet";
    case DOMAIN_NAME_MISMATCH:
    case IPADDR_MISMATCH:
        return "the server's certificate is for another name";
    case UNKNOWN_ALPN_PROTOCOL_NAME_E:
        return "no common application protocol (ALPN)";
    default:
        return wolfSSL_ERR_reason_error_string((unsigned long)error);
    }
}

/* Of the library's own, in its internal header: one alert. */
extern int SendAlert(WOLFSSL *library, int severity, int type);

/* RFC 8446, 6.2. */
static int alert_for(const struct lp_tls *tls, int error)
{
    size_t record_size = (size_t)tls->header[3] << 8 | tls->header[4];

    switch (error) {
    case VERSION_ERROR:
        return wolfssl_alert_protocol_version;
    case UNKNOWN_RECORD_TYPE:
    case OUT_OF_ORDER_E:
    case DUPLICATE_MSG_E:
    case SANITY_MSG_E:
    case EMPTY_RECORD_LIMIT_E:
    case ALERT_COUNT_E:
        return unexpected_message;
    case LENGTH_ERROR: /* also: an empty record, a ChangeCipherSpec that is none */
        return record_size > RECORD_BYTES ? record_overflow : unexpected_message;
    case VERIFY_MAC_ERROR:
    case DECRYPT_ERROR:
    case AES_GCM_AUTH_E:
    case MAC_CMP_FAILED_E:
        return bad_record_mac;
    case PEER_KEY_ERROR:
    case ECC_PEERKEY_ERROR:
    case ECC_OUT_OF_RANGE_E:
    case ECC_BAD_ARG_E:
    case ECC_INF_E:
    case INVALID_PARAMETER:
    case DUPLICATE_TLS_EXT_E:
        return illegal_parameter;
    case MATCH_SUITE_ERROR:
    case NO_PEER_CERT:
        return handshake_failure;
    case EXT_MISSING:
        return missing_extension;
    default:
        return decode_error;
    }
}

/* The library ends some handshakes and sessions without a word. */
static void tell_why(struct lp_tls *tls, struct lp_tls_wire *wire, int error)
{
    WOLFSSL_ALERT_HISTORY history;
    bool peer_knows = error == FATAL_ERROR || error == ZERO_RETURN ||
                      error == WOLFSSL_ERROR_ZERO_RETURN || error == SOCKET_ERROR_E;

    if (peer_knows || wolfSSL_get_alert_history(tls->library, &history) != WOLFSSL_SUCCESS ||
        history.last_tx.level == alert_fatal)
        return;
    tls->wire = wire;
    (void)SendAlert(tls->library, alert_fatal, alert_for(tls, error));
    tls->wire = NULL;
}

/* What the verification of a name found is the better answer. */
static enum lp_tls_result fail(struct lp_tls *tls, struct lp_tls_wire *wire, int error)
{
    if (tls->error == NULL)
        tls->error = error_text(tls, error);
    tell_why(tls, wire, error);
    return LP_TLS_FAILED;
}

const char *lp_tls_error(const struct lp_tls *tls)
{
    return tls->error != NULL ? tls->error : "no error";
}

/* --- handshake --- */

/* A chain of 255 resumptions uses up the ticket's one-byte nonce, which the library reports when
 * the handshake is done but for the next ticket: the client keeps the one it has. */
static int step(struct lp_tls *tls)
{
    if (tls->context->is_client)
        return wolfSSL_connect(tls->library);
    int result = wolfSSL_accept(tls->library);
    if (result != WOLFSSL_SUCCESS &&
        wolfSSL_get_error(tls->library, result) == SESSION_TICKET_NONCE_OVERFLOW &&
        wolfSSL_no_ticket_TLSv13(tls->library) == 0)
        result = wolfSSL_accept(tls->library);
    return result;
}

/* What is kept for as long as the connection lasts is as small as it can be. */
static void settle(struct lp_tls *tls)
{
    tls->is_done = true;
    tls_memory_put(tls->expected);
    tls->expected = NULL;
    if (tls->peer == NULL)
        return;
    struct peer *exact =
        tls_memory_resize(tls->peer, offsetof(struct peer, subject) + tls->peer->subject_size);
    if (exact != NULL)
        tls->peer = exact;
}

enum lp_tls_result lp_tls_handshake(struct lp_tls *tls, struct lp_tls_wire *wire)
{
    tls->wire = wire;
    int result = step(tls);
    tls->wire = NULL;
    if (result == WOLFSSL_SUCCESS) {
        settle(tls);
        return LP_TLS_DATA;
    }
    int error = wolfSSL_get_error(tls->library, result);
    if (error == WOLFSSL_ERROR_WANT_READ)
        return LP_TLS_MORE;
    if (error == WOLFSSL_ERROR_WANT_WRITE)
        return LP_TLS_FULL;
    return fail(tls, wire, error);
}

bool lp_tls_flight_can_wait(const struct lp_tls *tls)
{
    return !tls->context->is_client && wolfSSL_version(tls->library) == TLS1_3_VERSION;
}

bool lp_tls_is_established(const struct lp_tls *tls)
{
    return tls->is_done;
}

bool lp_tls_is_slow(const struct lp_tls *tls)
{
    return tls->context->is_rsa && !tls->is_done;
}

/* --- records --- */

uint32_t lp_tls_carried(const struct lp_tls *tls)
{
    if (tls->header_size < sizeof(tls->header))
        return tls->header_size;
    return tls->header_size + (uint32_t)(tls->header[3] << 8 | tls->header[4]) - tls->record_left;
}

enum lp_tls_result lp_tls_open(struct lp_tls *tls, struct lp_tls_wire *wire, char *plain,
                               size_t *plain_size)
{
    *plain_size = 0;
    tls->wire = wire;
    int result = wolfSSL_read(tls->library, plain, LP_TLS_PLAIN_BYTES_MAX);
    tls->wire = NULL;
    if (result > 0) {
        *plain_size = (size_t)result;
        return LP_TLS_DATA;
    }
    int error = wolfSSL_get_error(tls->library, result);
    if (error == WOLFSSL_ERROR_WANT_READ)
        return LP_TLS_MORE;
    if (error == WOLFSSL_ERROR_ZERO_RETURN)
        return LP_TLS_CLOSED;
    /* The peer asks for answers faster than it reads them. */
    if (error == WOLFSSL_ERROR_WANT_WRITE)
        tls->error = "the peer does not read";
    return fail(tls, wire, error);
}

static uint32_t small_records(const struct lp_tls *tls, uint64_t now_ms)
{
    return (uint32_t)now_ms - tls->sealed_ms >= REST_MS ? SMALL_RECORDS : tls->small_left;
}

uint32_t lp_tls_records(const struct lp_tls *tls, size_t plain_size, uint64_t now_ms)
{
    uint32_t small = small_records(tls, now_ms);
    size_t small_bytes = (size_t)small * SMALL_RECORD_BYTES;

    if (plain_size <= small_bytes)
        return (uint32_t)((plain_size + SMALL_RECORD_BYTES - 1) / SMALL_RECORD_BYTES);
    return small + (uint32_t)((plain_size - small_bytes + RECORD_BYTES - 1) / RECORD_BYTES);
}

enum lp_tls_result lp_tls_seal(struct lp_tls *tls, struct lp_tls_wire *wire, struct lp_slice *plain,
                               uint64_t now_ms)
{
    enum lp_tls_result outcome = LP_TLS_DATA;

    LP_ASSERT(tls->is_done && !tls->is_closed);
    tls->small_left = (uint8_t)small_records(tls, now_ms);
    tls->sealed_ms = (uint32_t)now_ms;
    tls->wire = wire;
    while (plain->size > 0 && outcome == LP_TLS_DATA) {
        size_t bytes_max = tls->small_left > 0 ? SMALL_RECORD_BYTES : RECORD_BYTES;
        size_t size = plain->size < bytes_max ? plain->size : bytes_max;
        if (wire->out_room - wire->out_size < size + LP_TLS_RECORD_OVERHEAD + LP_TLS_SEAL_SLACK) {
            outcome = LP_TLS_FULL;
            break;
        }
        int result = wolfSSL_write(tls->library, plain->data, (int)size);
        if (result != (int)size) {
            outcome = fail(tls, wire, wolfSSL_get_error(tls->library, result));
            break;
        }
        tls->small_left -= tls->small_left > 0;
        plain->data += size;
        plain->size -= size;
    }
    tls->wire = NULL;
    return outcome;
}

void lp_tls_close(struct lp_tls *tls, struct lp_tls_wire *wire)
{
    if (tls->is_closed)
        return;
    tls->is_closed = true;
    tls->wire = wire;
    wolfSSL_shutdown(tls->library);
    tls->wire = NULL;
}

/* --- facts --- */

void lp_tls_facts(const struct lp_tls *tls, struct lp_tls_facts *out)
{
    *out = (struct lp_tls_facts){.version = wolfSSL_get_version(tls->library),
                                 .suite = wolfSSL_get_cipher_name(tls->library),
                                 .is_resumed = wolfSSL_session_reused(tls->library) == 1};
    if (tls->peer == NULL)
        return;
    out->client_subject = (struct lp_slice){tls->peer->subject, tls->peer->subject_size};
    out->client_fingerprint = lp_slice_of(tls->peer->fingerprint);
}

/* --- tickets of a client --- */

/* Good for those who would have verified the server alike. */
struct lp_tls_ticket {
    WOLFSSL_SESSION *session;
    uint8_t digest[LP_SHA256_BYTES];
};

struct lp_tls_ticket *lp_tls_take_ticket(struct lp_tls *tls)
{
    WOLFSSL_SESSION *own = tls->has_ticket ? wolfSSL_get_session(tls->library) : NULL;
    struct lp_tls_ticket *ticket = NULL;

    if (own == NULL || !wolfSSL_SessionIsSetup(own))
        return NULL;
    /* A copy: the library goes on writing into the session's own. */
    WOLFSSL_SESSION *session = wolfSSL_SESSION_dup(own);
    if (session != NULL)
        ticket = tls_memory_get(sizeof(*ticket));
    if (ticket == NULL) {
        wolfSSL_SESSION_free(session);
        return NULL;
    }
    ticket->session = session;
    memcpy(ticket->digest, tls->context->digest, sizeof(ticket->digest));
    return ticket;
}

void lp_tls_ticket_free(struct lp_tls_ticket *ticket)
{
    if (ticket == NULL)
        return;
    wolfSSL_SESSION_free(ticket->session);
    tls_memory_put(ticket);
}

static int note_ticket(WOLFSSL *library, const unsigned char *ticket, int size, void *context)
{
    struct lp_tls *tls = context;

    (void)library;
    (void)ticket;
    tls->has_ticket = size > 0;
    return 0;
}

/* A session that is too old is refused by the library: then it is a full handshake. */
void session_resume(struct lp_tls *tls, const struct lp_tls_ticket *ticket)
{
    wolfSSL_set_SessionTicket_cb(tls->library, note_ticket, tls);
    if (ticket == NULL || memcmp(ticket->digest, tls->context->digest, sizeof(ticket->digest)) != 0)
        return;
    WOLFSSL_SESSION *session = wolfSSL_SESSION_dup(ticket->session);
    (void)wolfSSL_set_session(tls->library, session); /* which shares it */
    wolfSSL_SESSION_free(session);
}
