/* What sessions of both sides share: versions, suites, how long it lives. Certificates of
 * listeners: front.c; of and for servers: back.c. */
#include "tls/context.h"

#include <pthread.h>

#include "tls/memory.h"
#include "tls/pem.h"
#include "tls/session.h"

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

/* One that this build cannot read (an old algorithm in a system's bundle), or that is not of today,
 * is left out; none at all is an error. */
static bool load_authorities(WOLFSSL_CTX *library, struct lp_slice file, word32 flags)
{
    return file.size > 0 &&
           wolfSSL_CTX_load_verify_buffer_ex(
               library, (const unsigned char *)file.data, (long)file.size, WOLFSSL_FILETYPE_PEM, 0,
               WOLFSSL_LOAD_FLAG_IGNORE_ERR | flags) == WOLFSSL_SUCCESS;
}

/* Are they authorities, but for their dates? Asked of a library that nobody uses. */
static bool have_expired(struct lp_slice file)
{
    WOLFSSL_CTX *scratch = wolfSSL_CTX_new(wolfTLS_client_method());

    LP_ASSERT(scratch != NULL);
    bool ok = load_authorities(scratch, file, WOLFSSL_LOAD_FLAG_DATE_ERR_OKAY);
    wolfSSL_CTX_free(scratch);
    return ok;
}

enum trust context_trust(struct context *context, const char *path, uint8_t digest[LP_SHA256_BYTES],
                         struct lp_err *err)
{
    enum trust trust = TRUST_SOME;
    struct lp_slice file;

    if (!pem_read_file(&file, path, err))
        return TRUST_BAD;
    lp_sha256(digest, file);
    if (!load_authorities(context->library, file, 0)) {
        trust = have_expired(file) ? TRUST_EXPIRED : TRUST_BAD;
        if (trust == TRUST_EXPIRED)
            lp_err_set(err, LP_ERR_CONFIG,
                       "%s: every certificate of a CA in it has expired, or is not valid yet; "
                       "nobody is trusted until it is replaced",
                       path);
        else
            lp_err_set(err, LP_ERR_CONFIG, "%s: no certificate of a CA in it; it %s", path,
                       pem_describe(file));
    }
    pem_free_file(file);
    return trust;
}
