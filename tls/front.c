/* What the clients of a listener meet: its certificates, chosen by the name in the ClientHello
 * before a TLS object exists, versions, client CA and tickets. */
#include <string.h>
#include <time.h>

#include "tls/certificate.h"
#include "tls/context.h"
#include "tls/pem.h"
#include "tls/session.h"

struct lp_tls_front {
    struct context **contexts; /* as the certificates */
    struct certificate *certificates;
    uint32_t count;
    struct certificate_names names;
    struct lp_arena arena;
};

/* --- what is wrong, at its place --- */

struct complaints {
    struct lp_config_report *report;
    const struct lp_config *config;
    const struct lp_cfg_certificate *certificate;
};

static const struct lp_cfg_file *file_of(const struct lp_cfg_certificate *certificate,
                                         enum certificate_file which)
{
    switch (which) {
    case CERTIFICATE_CHAIN:
        return &certificate->cert;
    case CERTIFICATE_KEY:
        return &certificate->key;
    case CERTIFICATE_STAPLE:
        return &certificate->ocsp;
    }
    return NULL;
}

static void complain(void *listener, enum certificate_file at, bool is_error, const char *sentence)
{
    const struct complaints *complaints = listener;
    const struct lp_cfg_file *file = file_of(complaints->certificate, at);

    lp_config_complain(complaints->report, complaints->config, is_error ? LP_ERROR : LP_WARNING,
                       file->pos, file->where, "%s", sentence);
}

static bool complain_about(struct lp_config_report *report, const struct lp_config *config,
                           const struct lp_cfg_file *file, const struct lp_err *err)
{
    lp_config_complain(report, config, LP_ERROR, file->pos, file->where, "%s", err->text);
    return false;
}

/* --- tickets and client certificates --- */

/* What all contexts of one listener have in common. */
struct shared_parts {
    struct lp_slice secret; /* of tickets; "" for the process's own */
    uint8_t client_ca[LP_SHA256_BYTES];
    bool has_told_of_ca; /* what is wrong with it */
};

static bool read_secret(struct shared_parts *out, const struct lp_config *config,
                        const struct lp_cfg_front_tls *tls, struct lp_config_report *report)
{
    struct lp_err err;

    if (tls->ticket_secret.path.size == 0)
        return true;
    if (!pem_read_file(&out->secret, tls->ticket_secret.path.data, &err))
        return complain_about(report, config, &tls->ticket_secret, &err);
    if (out->secret.size >= TICKET_SECRET_BYTES_MIN)
        return true;
    lp_err_set(&err, LP_ERR_CONFIG,
               "%s holds %zu bytes; a secret needs at least %u random ones "
               "(openssl rand -out FILE 48)",
               tls->ticket_secret.path.data, out->secret.size, TICKET_SECRET_BYTES_MIN);
    return complain_about(report, config, &tls->ticket_secret, &err);
}

static bool trust_clients(struct context *context, const struct lp_config *config,
                          const struct lp_cfg_file *file, struct shared_parts *parts,
                          struct lp_config_report *report)
{
    struct lp_err err;
    enum trust trust = context_trust(context, file->path.data, true, parts->client_ca, &err);

    if (trust == TRUST_SOME)
        return true;
    enum lp_severity severity = trust == TRUST_BAD ? LP_ERROR : severity_of_time(report);
    if (!parts->has_told_of_ca)
        lp_config_complain(report, config, severity, file->pos, file->where, "%s", err.text);
    parts->has_told_of_ca = true;
    return severity == LP_WARNING;
}

/* A client certificate is verified anew on each connection, so that one that has expired or was
 * taken back cannot live on in a ticket; and its subject is known on each. */
static bool demand_client_certificates(struct context *context, const struct lp_config *config,
                                       const struct lp_cfg_front_tls *tls,
                                       struct shared_parts *parts, struct lp_config_report *report)
{
    if (!trust_clients(context, config, &tls->client_ca, parts, report))
        return false;
    wolfSSL_CTX_set_verify(context->library,
                           WOLFSSL_VERIFY_PEER | WOLFSSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                           session_verify_client);
    wolfSSL_CTX_no_ticket_TLSv13(context->library);
    wolfSSL_CTX_NoTicketTLSv12(context->library);
    return true;
}

/* A ticket is good for the same listener, certificate and client CA. */
static void issue_tickets(struct context *context, const struct lp_cfg_listener *listener,
                          const struct certificate *certificate, const struct shared_parts *parts)
{
    struct lp_arena scratch;
    size_t size = listener->name.size + 1 + sizeof(certificate->digest) + sizeof(parts->client_ca);

    lp_arena_init(&scratch);
    char *what = lp_arena_alloc(&scratch, size), *end = what;
    memcpy(end, listener->name.data, listener->name.size);
    end += listener->name.size + 1; /* no name holds a NUL */
    memcpy(end, certificate->digest, sizeof(certificate->digest));
    memcpy(end + sizeof(certificate->digest), parts->client_ca, sizeof(parts->client_ca));
    ticket_policy_init(&context->tickets, parts->secret, (struct lp_slice){what, size});
    lp_arena_deinit(&scratch);
    wolfSSL_CTX_set_TicketEncCb(context->library, ticket_crypt);
    wolfSSL_CTX_set_TicketEncCtx(context->library, &context->tickets);
    /* A TLS 1.2 client whose ticket was not good gets a new one, too (RFC 5077, 3.3). */
    LP_ASSERT(wolfSSL_CTX_UseSessionTicket(context->library) == WOLFSSL_SUCCESS);
    wolfSSL_CTX_set_TicketHint(context->library, (int)TICKET_EPOCH_S);
}

/* --- building --- */

static struct context *build_context(struct certificate *certificate,
                                     const struct lp_config *config,
                                     const struct lp_cfg_listener *listener,
                                     const struct lp_cfg_certificate *named,
                                     struct shared_parts *parts, struct lp_config_report *report)
{
    const struct lp_cfg_front_tls *tls = &listener->tls;
    struct complaints complaints = {report, config, named};
    struct certificate_report hears = {complain, &complaints, report->is_check};
    struct certificate_files files = {named->cert.path.data, named->key.path.data,
                                      named->ocsp.path.data};
    struct context *context = context_create(false, tls->versions);
    struct lp_err err;

    if (context == NULL) {
        lp_config_complain(report, config, LP_ERROR, named->cert.pos, named->cert.where,
                           "memory is out");
        return NULL;
    }
    bool ok = certificate_load(certificate, &files, (int64_t)time(NULL), &context->arena, &hears);
    if (ok && !certificate_install(context->library, certificate, &err))
        ok = complain_about(report, config, &named->cert, &err);
    if (ok)
        certificate_forget_key(certificate);
    if (tls->client_ca.path.size > 0)
        ok = demand_client_certificates(context, config, tls, parts, report) && ok;
    if (!ok) {
        context_drop(context);
        return NULL;
    }
    context->is_rsa = certificate->is_rsa;
    context->takes_http = listener->protocol == LP_PROTOCOL_HTTP;
    issue_tickets(context, listener, certificate, parts);
    return context;
}

bool lp_tls_front_build(struct lp_tls_front **out, const struct lp_config *config,
                        const struct lp_cfg_listener *listener, struct lp_config_report *report)
{
    const struct lp_cfg_front_tls *tls = &listener->tls;
    struct lp_tls_front *front = lp_alloc(sizeof(*front));
    struct shared_parts parts = {.secret = {"", 0}};

    lp_arena_init(&front->arena);
    front->count = tls->certificates_count;
    front->contexts = LP_ARENA_ARRAY(&front->arena, struct context *, front->count);
    front->certificates = LP_ARENA_ARRAY(&front->arena, struct certificate, front->count);
    bool ok = read_secret(&parts, config, tls, report);
    for (uint32_t i = 0; i < front->count; i++) {
        front->contexts[i] = build_context(&front->certificates[i], config, listener,
                                           &tls->certificates[i], &parts, report);
        ok = ok && front->contexts[i] != NULL;
    }
    if (parts.secret.size > 0)
        pem_free_file(parts.secret);
    if (!ok) {
        lp_tls_front_destroy(front);
        return false;
    }
    certificate_names_build(&front->names, front->certificates, front->count, &front->arena);
    *out = front;
    return true;
}

void lp_tls_front_destroy(struct lp_tls_front *front)
{
    if (front == NULL)
        return;
    for (uint32_t i = 0; i < front->count; i++)
        context_drop(front->contexts[i]);
    lp_arena_deinit(&front->arena);
    lp_free(front);
}

/* --- sessions --- */

/* RFC 7301: a client that offers protocols, but none of ours, is told so. */
static bool choose_protocol(WOLFSSL *library, const struct lp_hello *hello)
{
    char http[] = "http/1.1"; /* the library wants it writable */

    if (!hello->has_alpn)
        return true;
    return wolfSSL_UseALPN(library, http, sizeof(http) - 1, WOLFSSL_ALPN_FAILED_ON_MISMATCH) ==
           WOLFSSL_SUCCESS;
}

struct lp_tls *lp_tls_accept(const struct lp_tls_front *front, const struct lp_hello *hello)
{
    uint32_t index =
        certificate_names_find(&front->names, (struct lp_slice){hello->name, hello->name_size});
    struct context *context = front->contexts[index];
    WOLFSSL *library = wolfSSL_new(context->library);

    if (library != NULL && context->takes_http && !choose_protocol(library, hello)) {
        wolfSSL_free(library);
        return NULL;
    }
    struct lp_tls *tls = session_create(context, library);
    if (tls != NULL && hello->offers_early_data)
        tls->early_left = EARLY_DATA_BYTES_MAX;
    return tls;
}
