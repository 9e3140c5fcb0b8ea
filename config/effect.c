/* Settings that are written where nothing reads them: a warning each, which says why, and what
 * would read them. A value for the whole file is one only where no listener can need it; `off` and
 * `false` where nothing is on are none. Start at effect_check(). */
#include "config/reader.h"

/* Who reaches a pool. */
struct use {
    bool by_http, by_tcp;
    bool by_ip;    /* clients with an address */
    bool by_unix;  /* clients without one */
    bool sees_sni; /* a listener hears the name that a TLS client asks for */
};

/* ---- small helpers ---- */

static void warn_of_keys(struct reader *r, const struct place *section, const char *why,
                         const char *const *keys)
{
    for (uint32_t i = 0; keys[i] != NULL; i++) {
        struct place at = place_of_key(section, keys[i]);
        if (at.node != NULL && !node_is_nothing(at.node))
            read_warning(r, &at, "has no effect: %s", why);
    }
}

#define WARN_OF_KEYS(r, section, why, ...)                                                         \
    warn_of_keys(r, section, why, (const char *const[]){__VA_ARGS__, NULL})

static bool has_unix_address(const struct lp_addr *address)
{
    return lp_addr_port(address) == 0;
}

static bool has_unix_bind(const struct lp_cfg_listener *listener)
{
    for (uint32_t i = 0; i < listener->binds_count; i++)
        if (has_unix_address(&listener->binds[i].address))
            return true;
    return false;
}

static bool has_ip_bind(const struct lp_cfg_listener *listener)
{
    for (uint32_t i = 0; i < listener->binds_count; i++)
        if (!has_unix_address(&listener->binds[i].address))
            return true;
    return false;
}

/* Of every pool, in their order. */
static struct use *find_uses(struct reader *r)
{
    const struct lp_config *config = r->config;
    struct use *uses = LP_ARENA_ARRAY(r->scratch, struct use, config->pools_count);

    for (uint32_t i = 0; i < config->listeners_count; i++) {
        const struct lp_cfg_listener *listener = &config->listeners[i];
        bool is_tcp = listener->protocol == LP_PROTOCOL_TCP;
        bool has_ip = has_ip_bind(listener), has_unix = has_unix_bind(listener);
        for (uint32_t j = 0; j < listener->routes_count; j++) {
            struct use *use = &uses[listener->routes[j].pool - config->pools];
            use->by_tcp |= is_tcp;
            use->by_http |= !is_tcp;
            use->by_ip |= has_ip;
            use->by_unix |= has_unix;
            use->sees_sni |= is_tcp || listener->tls.is_on;
        }
    }
    return uses;
}

/* ---- timeouts ---- */

#define OF_TCP          "a listener with protocol tcp reads no requests"
#define BEFORE_ROUTES   "it is over before a route is chosen; it counts on listeners and at the top"
#define WITHOUT_TLS     "this listener has no tls"
#define OF_REDIRECTION  "this listener answers everything itself"
#define NOBODY_HAS_HTTP "no listener of this file has protocol http"
#define ONLY_UNIX       "only listeners on Unix sockets use this pool, whose clients have no address"
#define ONLY_TCP        "only listeners with protocol tcp use this pool"

static void check_timeouts_of_route(struct reader *r, const struct place *at, bool is_tcp,
                                    const char *why_tcp)
{
    struct place timeouts = place_of_key(at, "timeouts");

    if (timeouts.node == NULL)
        return;
    WARN_OF_KEYS(r, &timeouts, BEFORE_ROUTES, "handshake", "head", "keep_alive");
    if (is_tcp)
        WARN_OF_KEYS(r, &timeouts, why_tcp, "body", "response");
}

/* A tcp listener without tls waits for a ClientHello where a name decides something. */
static bool waits_for_names(const struct lp_cfg_listener *listener)
{
    for (uint32_t i = 0; i < listener->routes_count; i++) {
        const struct lp_cfg_route *route = &listener->routes[i];
        if (route->sni.size > 0)
            return true;
        for (uint32_t k = 0; k < route->pool->keys_count; k++)
            if (route->pool->keys[k].source == LP_KEY_SNI)
                return true;
    }
    return false;
}

static void check_timeouts_of_listener(struct reader *r, const struct place *at,
                                       const struct lp_cfg_listener *listener)
{
    struct place timeouts = place_of_key(at, "timeouts");
    bool is_tcp = listener->protocol == LP_PROTOCOL_TCP;

    if (timeouts.node == NULL)
        return;
    if (!listener->tls.is_on && !(is_tcp && waits_for_names(listener)))
        WARN_OF_KEYS(r, &timeouts, WITHOUT_TLS, "handshake");
    if (is_tcp)
        WARN_OF_KEYS(r, &timeouts, OF_TCP, "head", "keep_alive", "body", "response");
    if (listener->redirects_to_https)
        WARN_OF_KEYS(r, &timeouts, OF_REDIRECTION, "body", "connect", "response", "stream_idle",
                     "half_closed");
}

/* ---- listeners ---- */

static void check_listener(struct reader *r, const struct place *at,
                           const struct lp_cfg_listener *listener)
{
    struct place routes = place_of_key(at, "routes");
    bool is_tcp = listener->protocol == LP_PROTOCOL_TCP;
    uint32_t index = 0;

    if (is_tcp)
        WARN_OF_KEYS(r, at, OF_TCP ", so it sees no X-Forwarded-For", "trusted_proxies");
    else if (!has_ip_bind(listener))
        WARN_OF_KEYS(r, at,
                     "clients of a Unix socket have no address, so none of them is in a network",
                     "trusted_proxies");
    check_timeouts_of_listener(r, at, listener);
    if (routes.node == NULL)
        return;
    for (struct node *node = routes.node->first; node != NULL; node = node->next) {
        struct place route = place_of_item(&routes, node, index++);
        check_timeouts_of_route(r, &route, is_tcp, OF_TCP);
    }
}

/* ---- what a pool hashes ---- */

/* Every client has it, so that keys behind it are never looked at. */
static bool is_always_there(enum lp_key_source source, const struct use *use)
{
    return (source == LP_KEY_CLIENT_IP && !use->by_unix) ||
           (source == LP_KEY_PATH && use->by_http && !use->by_tcp);
}

static const char *why_never_there(enum lp_key_source source, const struct use *use)
{
    switch (source) {
    case LP_KEY_CLIENT_IP:
        return use->by_ip ? NULL : ONLY_UNIX;
    case LP_KEY_SNI:
        return use->sees_sni ? NULL : "no listener that uses this pool speaks TLS";
    case LP_KEY_COOKIE:
    case LP_KEY_HEADER:
    case LP_KEY_QUERY:
    case LP_KEY_PATH:
        break;
    }
    return use->by_http ? NULL
                        : ONLY_TCP ", which see no requests; \"client_ip\" or \"sni\" would tell "
                                   "clients apart";
}

/* The address is also the last resort: nothing to say of client_ip at the end. */
static void check_keys(struct reader *r, const struct place *at, const struct lp_cfg_pool *pool,
                       const struct use *use)
{
    uint32_t count, at_times = 0;
    struct node *first = read_items(r, at, &count), *node = first;
    bool is_decided = false;

    for (uint32_t i = 0; i < count && i < pool->keys_count; i++, node = node->next) {
        struct place item = place_of_item(at, node, i);
        enum lp_key_source source = pool->keys[i].source;
        const char *why = why_never_there(source, use);
        if (why != NULL) {
            read_warning(r, &item, "has no effect: %s", why);
        } else if (is_decided && source != LP_KEY_CLIENT_IP) {
            read_warning(r, &item, "has no effect: every client has a key before it in this list");
        } else if (!is_decided && !is_always_there(source, use)) {
            if (at_times++ == 0)
                first = node;
        }
        is_decided = is_decided || is_always_there(source, use);
    }
    if (at_times > 0 && count > 1)
        read_warning(r, at,
                     "a list of keys: a client whose requests carry \"%.*s\" only now and then is "
                     "sent to different servers",
                     LP_SLICE_ARG(first->text));
}

/* No client is told apart by its address where each has a path, which is asked for first. */
static bool hashes_addresses(const struct lp_cfg_pool *pool, const struct use *use)
{
    for (uint32_t i = 0; i < pool->keys_count; i++) {
        if (pool->keys[i].source == LP_KEY_CLIENT_IP)
            return true;
        if (is_always_there(pool->keys[i].source, use))
            return false;
    }
    return true;
}

static void check_hash(struct reader *r, const struct place *at, const struct lp_cfg_pool *pool,
                       const struct use *use)
{
    struct place hash = place_of_key(at, "hash"), key = place_of_key(&hash, "key");
    struct place balance = place_of_key(at, "balance");

    if (pool->balance == LP_BALANCE_HASH && key.node == NULL && !use->by_ip &&
        pool->servers_count > 1)
        read_warning(r, at,
                     "every client goes to the same server: " ONLY_UNIX "; another \"hash.key\" or "
                     "\"balance\" would tell them apart");
    if (hash.node == NULL || hash.node->count == 0)
        return;
    if (pool->balance != LP_BALANCE_HASH) {
        read_warning(r, &hash, "has no effect beside balance: %.*s; balance: hash uses it",
                     LP_SLICE_ARG(balance.node->text));
        return;
    }
    if (key.node != NULL)
        check_keys(r, &key, pool, use);
    if (!use->by_ip)
        WARN_OF_KEYS(r, &hash, ONLY_UNIX, "ipv4_prefix", "ipv6_prefix");
    else if (!hashes_addresses(pool, use))
        WARN_OF_KEYS(r, &hash, "every request has a path, so no address is hashed", "ipv4_prefix",
                     "ipv6_prefix");
}

/* ---- checks ---- */

static void check_health(struct reader *r, const struct place *at, const struct lp_cfg_pool *pool)
{
    struct place check = place_of_key(at, "check"), type = place_of_key(&check, "type");
    bool has_ip = false;

    if (check.node == NULL)
        return;
    for (uint32_t i = 0; i < pool->servers_count; i++)
        has_ip = has_ip || !has_unix_address(&pool->servers[i].address);
    if (!has_ip)
        WARN_OF_KEYS(r, &check, "every server is on a Unix socket", "port");
    switch (pool->check.type) {
    case LP_CHECK_TCP:
        WARN_OF_KEYS(r, &check,
                     "a tcp check sends no request; \"type: http\" or \"type: websocket\" does",
                     "path", "host", "headers");
        WARN_OF_KEYS(r, &check, "a tcp check hears no answer; \"type: http\" does", "expect");
        break;
    case LP_CHECK_WEBSOCKET:
        WARN_OF_KEYS(r, &check,
                     "a websocket check expects 101; \"type: http\" lets you choose the status",
                     "expect");
        break;
    case LP_CHECK_OFF:
        if (check.node->count > 1)
            read_warning(r, &type,
                         "nothing is checked, so nothing else in \"check\" has an effect");
        return;
    case LP_CHECK_HTTP:
        break;
    }
    if (pool->check.ping && pool->check.type != LP_CHECK_WEBSOCKET)
        WARN_OF_KEYS(r, &check,
                     "only a websocket check says Ping; \"type: websocket\" makes it one", "ping");
}

/* ---- pools ---- */

static void check_reuse(struct reader *r, const struct place *at, const struct lp_cfg_pool *pool,
                        const struct use *use)
{
    struct place keep_alive = place_of_key(at, "keep_alive");

    if (keep_alive.node == NULL || keep_alive.node->count == 0)
        return;
    if (!use->by_http)
        read_warning(r, &keep_alive,
                     "has no effect: " ONLY_TCP ", which never use a connection "
                     "again");
    else if (pool->proxy_protocol != LP_PROXY_PROTOCOL_OFF)
        read_warning(r, &keep_alive,
                     "has no effect: with proxy_protocol each connection is one "
                     "client's and never used again");
    else if (pool->keep_alive_idle == 0)
        WARN_OF_KEYS(r, &keep_alive, "\"idle: 0\" keeps no connection", "timeout");
}

static void check_servers(struct reader *r, const struct place *at, const struct lp_cfg_pool *pool)
{
    struct place servers = place_of_key(at, "servers");

    if (pool->balance == LP_BALANCE_HASH)
        return;
    for (struct node *node = servers.node->first; node != NULL; node = node->next) {
        struct place server = {.up = &servers, .node = node, .key = node->key->text};
        if (node->kind == NODE_MAP)
            WARN_OF_KEYS(r, &server, "it is what balance: hash hashes", "id");
    }
}

static void check_pool(struct reader *r, const struct place *at, const struct lp_cfg_pool *pool,
                       const struct use *use)
{
    struct place drain = place_of_key(at, "drain"), tls = place_of_key(at, "tls");
    struct lp_ip ip;

    if (!use->by_http && !use->by_tcp)
        return; /* unused: that is said already */
    check_hash(r, at, pool, use);
    check_timeouts_of_route(r, at, !use->by_http, ONLY_TCP);
    check_reuse(r, at, pool, use);
    check_health(r, at, pool);
    check_servers(r, at, pool);
    if (!use->by_http && drain.node != NULL)
        WARN_OF_KEYS(r, &drain, ONLY_TCP ", whose streams have no Close frames", "close_code");
    if (pool->when_all_down == LP_ALL_DOWN_TRY_ALL && pool->check.type == LP_CHECK_OFF)
        WARN_OF_KEYS(r, at, "without checks no server is down", "when_all_down");
    if (pool->tls.is_on && !pool->tls.verify && lp_ip_parse(&ip, pool->tls.name))
        WARN_OF_KEYS(r, &tls, "with verify: false an IP address is neither compared nor asked for",
                     "name");
}

/* ---- the process ---- */

static void check_stalled(struct reader *r, const struct place *limits)
{
    struct place stalled = place_of_key(limits, "stalled");

    if (r->config->limits.stalled < LP_BUF_SMALL_BYTES)
        read_warning(r, &stalled, "has no effect below 16KiB, the least that is received at once");
    if (r->config->limits.stalled > LP_BUF_LARGE_BYTES)
        read_warning(r, &stalled, "has no effect above 256KiB, the most that is received at once");
}

static void check_process(struct reader *r, const struct place *root)
{
    struct place log = place_of_key(root, "log"), access = place_of_key(&log, "access");
    struct place limits = place_of_key(root, "limits"), drain = place_of_key(root, "drain");
    struct place timeouts = place_of_key(root, "timeouts");
    bool has_http = false;

    check_stalled(r, &limits);
    for (uint32_t i = 0; i < r->config->listeners_count; i++)
        has_http = has_http || r->config->listeners[i].protocol == LP_PROTOCOL_HTTP;
    if (access.node != NULL && lp_slice_equal(r->config->log.access_to, LP_SLICE("off")))
        WARN_OF_KEYS(r, &access, "no line is written with \"to: off\"", "format", "query");
    else if (access.node != NULL && !has_http)
        WARN_OF_KEYS(r, &access, NOBODY_HAS_HTTP, "query");
    if (has_http)
        return;
    if (limits.node != NULL)
        WARN_OF_KEYS(r, &limits, NOBODY_HAS_HTTP, "head", "headers", "body");
    if (timeouts.node != NULL)
        WARN_OF_KEYS(r, &timeouts, NOBODY_HAS_HTTP, "head", "keep_alive", "body", "response");
    if (drain.node != NULL)
        WARN_OF_KEYS(r, &drain, NOBODY_HAS_HTTP, "close_code");
}

static_assert(LP_BUF_SMALL_BYTES == 16u * 1024 && LP_BUF_LARGE_BYTES == 256u * 1024,
              "what check_stalled() and the table say");

void effect_check(struct reader *r, const struct place *root)
{
    const struct lp_config *config = r->config;
    struct place listeners = place_of_key(root, "listeners"), pools = place_of_key(root, "pools");

    if (r->report->errors_count > 0)
        return; /* what could not be read may be what another value is for */
    check_process(r, root);
    struct node *node = listeners.node->first;
    for (uint32_t i = 0; i < config->listeners_count; i++, node = node->next) {
        struct place at = {.up = &listeners, .node = node, .key = node->key->text};
        check_listener(r, &at, &config->listeners[i]);
    }
    const struct use *uses = find_uses(r);
    node = pools.node->first;
    for (uint32_t i = 0; i < config->pools_count; i++, node = node->next) {
        struct place at = {.up = &pools, .node = node, .key = node->key->text};
        check_pool(r, &at, &config->pools[i], &uses[i]);
    }
}
