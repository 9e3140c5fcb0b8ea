/* One request and one response through all pure steps, in the order of lb/proxy
 * (stream_begin_request() and read_response_head()): what limpet's own thinking costs per exchange,
 * beside the kernel's work. */
#include <string.h>

#include "bench/micro/heads.h"
#include "bench/micro/micro.h"
#include "bench/micro/world.h"

struct exchanging {
    struct world world;
    const struct example *example;
    struct lp_ip peer;
    struct http1_head head;
    char path[LP_HEAD_BYTES_MAX];
    char scratch[LP_HEADROOM_BYTES + LP_BUF_SMALL_BYTES];
    char place[LP_HEADROOM_BYTES + LP_BUF_SMALL_BYTES];
};

static uint64_t key_hash(const struct exchanging *exchanging, const struct lp_cfg_pool *pool,
                         const char *bytes, const struct lp_ip *client_ip)
{
    struct lp_slice key = {NULL, 0};
    uint8_t ip_key[16];

    if (pool->keys[0].source == LP_KEY_COOKIE &&
        http1_cookie(&key, &exchanging->head, bytes, pool->keys[0].name))
        return lp_hash_key(key, pool->seed);
    key.data = (const char *)ip_key;
    key.size = lp_hash_ip_key(ip_key, client_ip, pool->ipv4_prefix, pool->ipv6_prefix);
    return lp_hash_key(key, pool->seed);
}

static size_t write_request(struct exchanging *exchanging, const struct http1_request *request,
                            const struct lp_ip *client_ip)
{
    char peer[LP_ADDR_TEXT_MAX], client[LP_ADDR_TEXT_MAX];
    struct http1_forward forward = {
        .client_ip = {peer, lp_ip_format(&exchanging->peer, peer)},
        .proto = LP_SLICE("http"),
        .request_id = LP_SLICE("5b0c2f1e9d8a47c6b3a2918070f5e4d3"),
        .real_ip = {client, lp_ip_format(client_ip, client)},
    };
    size_t size =
        http1_write_request(exchanging->scratch, sizeof(exchanging->scratch), &exchanging->head,
                            exchanging->example->bytes.data, request, &forward);

    memcpy(exchanging->place, exchanging->scratch, size);
    return size;
}

/* Gives the server; the written head is in place. */
static const struct server *serve_request(struct exchanging *exchanging)
{
    const struct snap_listener *listener = &exchanging->world.snapshot->listeners[0];
    const char *bytes = exchanging->example->bytes.data, *why;
    struct http1_request request;

    http1_head_init(&exchanging->head, LP_HEAD_BYTES_MAX, 100);
    if (http1_parse_request(&exchanging->head, bytes, exchanging->example->bytes.size, &why) !=
            HTTP1_DONE ||
        http1_read_request(&request, &exchanging->head, bytes, &why) != 0)
        return NULL;
    struct lp_slice path = {exchanging->path, http1_normalise_path(exchanging->path, request.path)};
    const struct snap_route *route = snapshot_route(listener, request.authority, path,
                                                    request.upgrade == HTTP1_UPGRADE_WEBSOCKET);
    if (route == NULL)
        return NULL;
    struct lp_ip client_ip =
        http1_client_ip(&exchanging->peer, &exchanging->head, bytes,
                        listener->config->trusted_proxies, listener->config->trusted_proxies_count);
    struct pick pick = {.key_hash = key_hash(exchanging, route->pool->config, bytes, &client_ip)};
    if (write_request(exchanging, &request, &client_ip) == 0)
        return NULL;
    return pool_pick(route->pool, &pick);
}

static size_t serve_response(struct exchanging *exchanging)
{
    const char *bytes = exchanging->example->bytes.data, *why;
    struct http1_response response;

    http1_head_init(&exchanging->head, LP_HEAD_BYTES_MAX, 100);
    if (http1_parse_response(&exchanging->head, bytes, exchanging->example->bytes.size, &why) !=
            HTTP1_DONE ||
        !http1_read_response(&response, &exchanging->head, bytes, HTTP1_GET, &why))
        return 0;
    size_t size = http1_write_response(
        exchanging->scratch, sizeof(exchanging->scratch), &exchanging->head, bytes,
        response.is_websocket ? HTTP1_PERSIST_UPGRADE : HTTP1_PERSIST_DEFAULT, false,
        (struct lp_slice){0});
    memcpy(exchanging->place, exchanging->scratch, size);
    return size;
}

static uint64_t run_request(void *context, uint64_t count)
{
    uint64_t begin = micro_ticks();

    while (count-- > 0)
        micro_keep_pointer(serve_request(context));
    return micro_ticks() - begin;
}

static uint64_t run_response(void *context, uint64_t count)
{
    uint64_t begin = micro_ticks();

    while (count-- > 0)
        micro_keep(serve_response(context));
    return micro_ticks() - begin;
}

static void measure_examples(struct micro *micro, struct exchanging *exchanging, const char *by)
{
    for (int i = 0; i < EXAMPLE_COUNT; i++) {
        bool is_request = examples()[i].is_request;
        exchanging->example = &examples()[i];
        MICRO_REQUIRE(is_request ? serve_request(exchanging) != NULL
                                 : serve_response(exchanging) != 0);
        if (is_request)
            micro_measure(micro,
                          &(struct micro_work){run_request, .context = exchanging,
                                               .bytes = exchanging->example->bytes.size},
                          "%s, %s", exchanging->example->name, by);
        else if (by[0] == 'c') /* no key in a response: once is enough */
            micro_measure(micro,
                          &(struct micro_work){run_response, .context = exchanging,
                                               .bytes = exchanging->example->bytes.size},
                          "%s", exchanging->example->name);
    }
}

void micro_exchange(struct micro *micro)
{
    static const struct {
        const char *by, *key;
    } ways[] = {{"by address, 10 servers", "client_ip"}, {"cookie, 10 servers", "cookie:session"}};
    struct exchanging *exchanging = lp_alloc(sizeof(*exchanging));

    MICRO_REQUIRE(lp_ip_parse(&exchanging->peer, LP_SLICE("192.0.2.33")));
    for (size_t i = 0; i < LP_COUNT_OF(ways); i++) {
        struct plan plan = {.pools_count = 1, .servers_count = 10, .key = ways[i].key};
        world_init(&exchanging->world, &plan);
        measure_examples(micro, exchanging, ways[i].by);
        world_deinit(&exchanging->world);
    }
    lp_free(exchanging);
}
