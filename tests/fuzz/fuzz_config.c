/* Any bytes are either a configuration or at least one error, never a crash, never both. A
 * configuration that was taken keeps its promises: every route has a pool, every pool a server,
 * every certificate a key, and nothing is left "not set". What is complained about later is
 * printed, too. */
#include <string.h>

#include "config/config.h"

static void check_timeouts(const struct lp_cfg_timeouts *timeouts)
{
    const uint32_t all[] = {timeouts->handshake,   timeouts->head,        timeouts->keep_alive,
                            timeouts->body,        timeouts->connect,     timeouts->response,
                            timeouts->stream_idle, timeouts->half_closed, timeouts->stalled,
                            timeouts->linger};

    for (size_t i = 0; i < LP_COUNT_OF(all); i++)
        LP_ASSERT(all[i] != 0 && (all[i] == LP_OFF || all[i] <= 30u * 86400000u));
}

static void check_pool(const struct lp_config *config, const struct lp_cfg_pool *pool)
{
    uint64_t weights = 0;

    LP_ASSERT(lp_config_pool(config, pool->name) == pool);
    LP_ASSERT(pool->servers_count > 0 && pool->keys_count > 0 && pool->check.expect_count > 0);
    LP_ASSERT(pool->check.path.size > 0 && pool->check.path.data[0] == '/');
    check_timeouts(&pool->timeouts);
    for (uint32_t i = 0; i < pool->servers_count; i++) {
        LP_ASSERT(pool->servers[i].address.size > 0);
        LP_ASSERT(pool->servers[i].id.size > 0 && pool->servers[i].id.size <= LP_SERVER_ID_MAX);
        weights += pool->servers[i].weight;
    }
    LP_ASSERT(weights > 0);
    LP_ASSERT(pool->tls.is_on || pool->tls.name.size == 0);
    LP_ASSERT((pool->tls.cert.path.size > 0) == (pool->tls.key.path.size > 0));
}

static void check_tls(const struct lp_cfg_listener *listener)
{
    const struct lp_cfg_front_tls *tls = &listener->tls;

    LP_ASSERT(tls->certificates_count > 0);
    LP_ASSERT(tls->versions > 0 && tls->versions <= (LP_TLS_1_2 | LP_TLS_1_3));
    LP_ASSERT(tls->hsts_s == 0 || listener->protocol == LP_PROTOCOL_HTTP);
    for (uint32_t i = 0; i < tls->certificates_count; i++) {
        LP_ASSERT(tls->certificates[i].cert.path.size > 0 &&
                  tls->certificates[i].cert.pos.line > 0);
        LP_ASSERT(tls->certificates[i].key.path.size > 0 &&
                  tls->certificates[i].key.where.size > 0);
    }
}

static void check_listener(const struct lp_cfg_listener *listener)
{
    LP_ASSERT(listener->binds_count > 0);
    LP_ASSERT((listener->routes_count == 0) == listener->redirects_to_https);
    LP_ASSERT(!listener->redirects_to_https || !listener->tls.is_on);
    LP_ASSERT(!listener->redirects_to_https || listener->protocol == LP_PROTOCOL_HTTP);
    check_timeouts(&listener->timeouts);
    if (listener->tls.is_on)
        check_tls(listener);
    for (uint32_t i = 0; i < listener->routes_count; i++) {
        LP_ASSERT(listener->routes[i].pool != NULL);
        LP_ASSERT(listener->routes[i].sni.size == 0 || listener->protocol == LP_PROTOCOL_TCP);
        check_timeouts(&listener->routes[i].timeouts);
    }
}

static void check_config(const struct lp_config *config)
{
    struct lp_config_diff diff;

    LP_ASSERT(config->listeners_count > 0 && config->pools_count > 0);
    LP_ASSERT(config->drain.delay_ms < config->drain.deadline_ms);
    check_timeouts(&config->timeouts);
    for (uint32_t i = 0; i < config->pools_count; i++)
        check_pool(config, &config->pools[i]);
    for (uint32_t i = 0; i < config->listeners_count; i++)
        check_listener(&config->listeners[i]);
    lp_config_diff(config, config, &diff);
    LP_ASSERT(diff.restart_key == NULL && diff.servers_count == 0 && diff.binds_count == 0);
    lp_config_diff_deinit(&diff);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lp_config *config;
    struct lp_config_report report;
    bool is_good =
        lp_config_parse(&config, &report, "fuzz.yaml", (struct lp_slice){(const char *)data, size});

    LP_ASSERT(is_good == (config != NULL));
    LP_ASSERT(is_good == (report.errors_count == 0));
    LP_ASSERT(report.text != NULL && strlen(report.text) == report.text_size);
    LP_ASSERT((report.errors_count + report.warnings_count > 0) == (report.text_size > 0));
    if (is_good) {
        check_config(config);
        struct lp_cfg_pos pos = config->listeners[0].pos;
        lp_config_complain(&report, config, LP_ERROR, pos, LP_SLICE("x"), "%s", "y");
        LP_ASSERT(report.errors_count == 1 && strlen(report.text) == report.text_size);
    }
    lp_config_destroy(config);
    lp_config_report_deinit(&report);
    return 0;
}
