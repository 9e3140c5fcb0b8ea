/* What limpet is to the servers of a pool: which of them it believes, under which name, and who it
 * says it is itself. */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tls/certificate.h"
#include "tls/context.h"
#include "tls/memory.h"
#include "tls/session.h"

struct lp_tls_back {
    struct context *context;
    struct lp_slice name; /* "": the server's address */
    bool is_name_ip, verifies;
};

/* --- building --- */

static const char *system_bundle(void)
{
    static const char *const places[] = {"/etc/ssl/certs/ca-certificates.crt",
                                         "/etc/pki/tls/certs/ca-bundle.crt"};
    const char *named = getenv("SSL_CERT_FILE");

    if (named != NULL)
        return named;
    for (size_t i = 0; i < LP_COUNT_OF(places); i++)
        if (access(places[i], R_OK) == 0)
            return places[i];
    return NULL;
}

static bool trust(struct lp_tls_back *back, const struct lp_config *config,
                  const struct lp_cfg_back_tls *tls, uint8_t digest[LP_SHA256_BYTES],
                  struct lp_config_report *report)
{
    bool is_named = tls->ca.path.size > 0;
    const char *path = is_named ? tls->ca.path.data : system_bundle();
    struct lp_err err;

    if (path == NULL)
        lp_err_set(&err, LP_ERR_CONFIG,
                   "this system has no bundle of CA certificates: install ca-certificates, name a "
                   "file with `ca`, or set `verify: false`");
    /* A system's bundle may hold what this build cannot use; a file that was named may not. */
    enum trust trust =
        path == NULL ? TRUST_BAD : context_trust(back->context, path, is_named, digest, &err);
    wolfSSL_CTX_set_verify(back->context->library, WOLFSSL_VERIFY_PEER, session_verify_server);
    if (trust == TRUST_SOME)
        return true;
    enum lp_severity severity = trust == TRUST_BAD ? LP_ERROR : severity_of_time(report);
    lp_config_complain(report, config, severity, tls->ca.pos, tls->ca.where, "%s", err.text);
    return severity == LP_WARNING;
}

struct complaints {
    struct lp_config_report *report;
    const struct lp_config *config;
    const struct lp_cfg_back_tls *tls;
};

static void complain(void *listener, enum certificate_file at, bool is_error, const char *sentence)
{
    const struct complaints *complaints = listener;
    const struct lp_cfg_file *file =
        at == CERTIFICATE_KEY ? &complaints->tls->key : &complaints->tls->cert;

    lp_config_complain(complaints->report, complaints->config, is_error ? LP_ERROR : LP_WARNING,
                       file->pos, file->where, "%s", sentence);
}

static bool identify(struct lp_tls_back *back, const struct lp_config *config,
                     const struct lp_cfg_back_tls *tls, uint8_t digest[LP_SHA256_BYTES],
                     struct lp_config_report *report)
{
    struct complaints complaints = {report, config, tls};
    struct certificate_report hears = {complain, &complaints, report->is_check};
    struct certificate_files files = {tls->cert.path.data, tls->key.path.data, NULL};
    struct certificate certificate;
    struct lp_err err;

    if (!certificate_load(&certificate, &files, (int64_t)time(NULL), &back->context->arena, &hears))
        return false;
    bool ok = certificate_install(back->context->library, &certificate, &err);
    if (!ok)
        lp_config_complain(report, config, LP_ERROR, tls->cert.pos, tls->cert.where, "%s",
                           err.text);
    certificate_forget_key(&certificate);
    memcpy(digest, certificate.digest, sizeof(certificate.digest));
    return ok;
}

/* The most common groups first: a key share that a server does not take costs a round trip. */
static bool offer_groups(WOLFSSL_CTX *library)
{
    int groups[] = {WOLFSSL_ECC_X25519, WOLFSSL_ECC_SECP256R1, WOLFSSL_ECC_SECP384R1,
                    WOLFSSL_ECC_SECP521R1};

    return wolfSSL_CTX_set_groups(library, groups, (int)LP_COUNT_OF(groups)) == WOLFSSL_SUCCESS;
}

bool lp_tls_back_build(struct lp_tls_back **out, const struct lp_config *config,
                       const struct lp_cfg_pool *pool, struct lp_config_report *report)
{
    const struct lp_cfg_back_tls *tls = &pool->tls;
    struct {
        uint8_t ca[LP_SHA256_BYTES], certificate[LP_SHA256_BYTES], name[LP_SHA256_BYTES];
        uint8_t verifies;
    } parts = {.verifies = tls->verify};
    struct lp_tls_back *back = lp_alloc(sizeof(*back));
    struct lp_ip ip;

    back->context = context_create(true, LP_TLS_1_2 | LP_TLS_1_3);
    LP_ASSERT(back->context != NULL && offer_groups(back->context->library));
    back->verifies = tls->verify;
    back->name = lp_arena_slice(&back->context->arena, tls->name);
    back->is_name_ip = lp_ip_parse(&ip, tls->name);
    lp_sha256(parts.name, tls->name);
    LP_ASSERT(wolfSSL_CTX_UseSessionTicket(back->context->library) == WOLFSSL_SUCCESS);
    bool ok = true;
    if (tls->verify)
        ok = trust(back, config, tls, parts.ca, report);
    else
        wolfSSL_CTX_set_verify(back->context->library, WOLFSSL_VERIFY_NONE, NULL);
    if (tls->cert.path.size > 0)
        ok = identify(back, config, tls, parts.certificate, report) && ok;
    lp_sha256(back->context->digest, (struct lp_slice){(const char *)&parts, sizeof(parts)});
    if (!ok) {
        lp_tls_back_destroy(back);
        return false;
    }
    *out = back;
    return true;
}

void lp_tls_back_destroy(struct lp_tls_back *back)
{
    if (back == NULL)
        return;
    context_drop(back->context);
    lp_free(back);
}

/* --- sessions --- */

/* What the server's certificate must be for; also what it is asked for, unless it is an address. */
static bool expect(struct lp_tls *tls, const struct lp_tls_back *back,
                   const struct lp_addr *address)
{
    char text[LP_ADDR_TEXT_MAX];
    struct lp_slice name = back->name;

    if (name.size > 0 && !back->is_name_ip &&
        wolfSSL_UseSNI(tls->library, WOLFSSL_SNI_HOST_NAME, name.data, (unsigned short)name.size) !=
            WOLFSSL_SUCCESS)
        return false;
    if (!back->verifies)
        return true;
    if (name.size == 0) {
        struct lp_ip ip = lp_addr_ip(address);
        name = (struct lp_slice){text, lp_ip_format(&ip, text)};
    }
    tls->expected = tls_memory_get(name.size + 1);
    if (tls->expected == NULL)
        return false;
    memcpy(tls->expected, name.data, name.size);
    tls->expected[name.size] = '\0';
    return true;
}

struct lp_tls *lp_tls_connect(const struct lp_tls_back *back, const struct lp_addr *address,
                              const struct lp_tls_ticket *ticket)
{
    struct lp_tls *tls = session_create(back->context, wolfSSL_new(back->context->library));

    if (tls == NULL)
        return NULL;
    if (!expect(tls, back, address)) {
        lp_tls_destroy(tls);
        return NULL;
    }
    session_resume(tls, ticket);
    return tls;
}
