/* What sessions of both sides share: versions, suites, how long it lives. Certificates of
 * listeners: front.c; of and for servers: back.c. */
#include "tls/context.h"

#include <pthread.h>

#include "tls/memory.h"
#include "tls/pem.h"
#include "tls/session.h"
#include "tls/x509.h"

/* Our order: AES-128 is the fastest here, and strong enough for what lasts a session. */
#define SUITES                                                                                     \
    "TLS13-AES128-GCM-SHA256:TLS13-AES256-GCM-SHA384:TLS13-CHACHA20-POLY1305-SHA256:"              \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"                                   \
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"                                   \
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"

static pthread_once_t init_once = PTHREAD_ONCE_INIT;

static void init(void)
{
    tls_memory_install();
    LP_ASSERT(wolfSSL_Init() == WOLFSSL_SUCCESS);
}

void lp_tls_init(void)
{
    pthread_once(&init_once, init);
}

void lp_tls_thread_begin(void)
{
    lp_tls_init();
    tls_memory_thread_begin();
}

void lp_tls_thread_end(void)
{
    tls_memory_thread_end();
}

bool lp_tls_trim(void)
{
    return tls_memory_trim();
}

static WOLFSSL_METHOD *method_for(bool is_client, uint32_t versions)
{
    if (versions == LP_TLS_1_2)
        return is_client ? wolfTLSv1_2_client_method() : wolfTLSv1_2_server_method();
    if (versions == LP_TLS_1_3)
        return is_client ? wolfTLSv1_3_client_method() : wolfTLSv1_3_server_method();
    return is_client ? wolfTLS_client_method() : wolfTLS_server_method();
}

struct context *context_create(bool is_client, uint32_t versions)
{
    struct context *context = lp_alloc(sizeof(*context));

    lp_tls_init();
    atomic_store_explicit(&context->users_count, 1, memory_order_relaxed);
    context->is_client = is_client;
    lp_arena_init(&context->arena);
    context->library = wolfSSL_CTX_new(method_for(is_client, versions));
    if (context->library == NULL ||
        wolfSSL_CTX_set_cipher_list(context->library, SUITES) != WOLFSSL_SUCCESS ||
        wolfSSL_CTX_set_group_messages(context->library) != WOLFSSL_SUCCESS) {
        context_drop(context);
        return NULL;
    }
    wolfSSL_CTX_set_timeout(context->library, TICKET_LIFE_S); /* its own default is 500 s */
    wolfSSL_CTX_set_session_cache_mode(context->library, WOLFSSL_SESS_CACHE_OFF);
    session_set_callbacks(context->library);
    return context;
}

struct context *context_use(struct context *context)
{
    atomic_fetch_add_explicit(&context->users_count, 1, memory_order_relaxed);
    return context;
}

void context_drop(struct context *context)
{
    if (context == NULL ||
        atomic_fetch_sub_explicit(&context->users_count, 1, memory_order_acq_rel) > 1)
        return;
    wolfSSL_CTX_free(context->library);
    lp_arena_deinit(&context->arena);
    lp_free(context);
}

bool lp_tls_check(const struct lp_config *config, struct lp_config_report *report)
{
    bool ok = true;

    report->is_check = true;
    for (uint32_t i = 0; i < config->listeners_count; i++) {
        struct lp_tls_front *front = NULL;
        if (config->listeners[i].tls.is_on)
            ok = lp_tls_front_build(&front, config, &config->listeners[i], report) && ok;
        lp_tls_front_destroy(front);
    }
    for (uint32_t i = 0; i < config->pools_count; i++) {
        struct lp_tls_back *back = NULL;
        if (config->pools[i].tls.is_on)
            ok = lp_tls_back_build(&back, config, &config->pools[i], report) && ok;
        lp_tls_back_destroy(back);
    }
    return ok;
}

/* What came of a file of authorities. */
struct trusting {
    WOLFSSL_CTX *library;
    const char *path;
    bool is_whole; /* each certificate has to be of use, not only some */
    uint32_t certificates_count, trusted_count, untimely_count;
};

static int load_authority(WOLFSSL_CTX *library, struct lp_slice der, word32 flags)
{
    return wolfSSL_CTX_load_verify_buffer_ex(library, (const unsigned char *)der.data,
                                             (long)der.size, WOLFSSL_FILETYPE_ASN1, 0, flags);
}

/* One that is not of today is left out. */
static bool trust_one(struct trusting *t, const struct pem_block *block, struct lp_arena *arena,
                      struct lp_err *err)
{
    uint32_t number = ++t->certificates_count;
    struct lp_slice der;
    struct x509 read;

    if (!pem_decode(&der, block, arena))
        return lp_err_set(err, LP_ERR_CONFIG, "%s: the base64 of certificate %u is damaged",
                          t->path, number);
    if (!x509_read(&read, der))
        return lp_err_set(err, LP_ERR_CONFIG, "%s: certificate %u is damaged", t->path, number);

    int problem = load_authority(t->library, der, 0);

    if (problem == WOLFSSL_SUCCESS)
        t->trusted_count++;
    else if (problem == ASN_AFTER_DATE_E || problem == ASN_BEFORE_DATE_E)
        t->untimely_count++;
    else if (t->is_whole)
        return lp_err_set(err, LP_ERR_CONFIG, "%s: the TLS library cannot use certificate %u: %s",
                          t->path, number, wolfSSL_ERR_reason_error_string((unsigned long)problem));
    return true;
}

static enum trust trust_all(struct trusting *t, struct lp_slice file, struct lp_arena *arena,
                            struct lp_err *err)
{
    struct lp_slice rest = file;
    struct pem_block block;
    enum pem_outcome outcome;

    while ((outcome = pem_next(&rest, &block)) != PEM_END) {
        bool is_good = pem_check(outcome, &block, t->path, err) &&
                       (!pem_is_certificate(&block) || trust_one(t, &block, arena, err));
        if (!is_good && t->is_whole)
            return TRUST_BAD;
    }
    if (t->trusted_count > 0)
        return TRUST_SOME;
    if (t->untimely_count > 0) {
        lp_err_set(
            err, LP_ERR_CONFIG,
            "%s: every certificate of a CA in it has expired, or is not valid yet; nobody is "
            "trusted until it is replaced",
            t->path);
        return TRUST_EXPIRED;
    }
    lp_err_set(err, LP_ERR_CONFIG, "%s: no certificate of a CA in it; it %s", t->path,
               pem_describe(file));
    return TRUST_BAD;
}

enum trust context_trust(struct context *context, const char *path, bool is_whole,
                         uint8_t digest[LP_SHA256_BYTES], struct lp_err *err)
{
    struct trusting trusting = {.library = context->library, .path = path, .is_whole = is_whole};
    struct lp_arena arena;
    struct lp_slice file;

    if (!pem_read_file(&file, path, err))
        return TRUST_BAD;
    lp_sha256(digest, file);
    lp_arena_init(&arena);
    enum trust trust = trust_all(&trusting, file, &arena, err);
    lp_arena_deinit(&arena);
    pem_free_file(file);
    return trust;
}
