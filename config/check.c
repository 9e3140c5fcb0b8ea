/* What the values mean together: pools by name, inherited timeouts, things that are missing or
 * contradict each other, and warnings about what will bite later (effect.c has those about what
 * does nothing). The structs and the nodes they were read from are walked side by side. Start at
 * check_config(). */
#include "config/reader.h"

#include <stdlib.h>
#include <string.h>

#include "config/order.h"

/* Routes are compared in pairs for "never matches" only up to here. */
#define COMPARED_ROUTES_MAX 1000u
/* Pool names are searched for a near one only up to here. */
#define COMPARED_POOLS_MAX 1000u

/* ---- small helpers ---- */

bool check_is_map(const struct node *node)
{
    return node != NULL && (node->kind == NODE_MAP || node_is_nothing(node));
}

void check_report_missing(struct reader *r, const struct place *map, const char *key,
                          const char *sentence)
{
    struct place at = {.up = map, .node = map->node, .key = lp_slice_of(key)};

    read_error(r, &at, "is missing; %s", sentence);
}

/* ---- timeouts ---- */

static uint32_t get_timeout(const struct lp_cfg_timeouts *timeouts, size_t offset)
{
    uint32_t value;

    memcpy(&value, (const char *)timeouts + offset, sizeof(value));
    return value;
}

/* Takes from `from` whatever `timeouts` leaves open. */
static void inherit_timeouts(struct lp_cfg_timeouts *timeouts, const struct lp_cfg_timeouts *from)
{
    for (uint32_t i = 0; i < schema_rows_count; i++) {
        size_t offset = schema_rows[i].offset;
        if (schema_rows[i].in == SECTION_TIMEOUTS && get_timeout(timeouts, offset) == SCHEMA_UNSET)
            memcpy((char *)timeouts + offset, (const char *)from + offset, sizeof(uint32_t));
    }
}

/* Routes first, because pools and listeners are still as written then. */
static void resolve_timeouts(struct lp_config *config)
{
    for (uint32_t i = 0; i < config->listeners_count; i++) {
        struct lp_cfg_listener *listener = &config->listeners[i];
        for (uint32_t j = 0; j < listener->routes_count; j++) {
            struct lp_cfg_route *route = &listener->routes[j];
            if (route->pool != NULL)
                inherit_timeouts(&route->timeouts, &route->pool->timeouts);
            inherit_timeouts(&route->timeouts, &listener->timeouts);
            inherit_timeouts(&route->timeouts, &config->timeouts);
        }
    }
    for (uint32_t i = 0; i < config->listeners_count; i++)
        inherit_timeouts(&config->listeners[i].timeouts, &config->timeouts);
    for (uint32_t i = 0; i < config->pools_count; i++)
        inherit_timeouts(&config->pools[i].timeouts, &config->timeouts);
}

/* ---- pools ---- */

static int compare_pools(const void *left, const void *right)
{
    const struct lp_cfg_pool *a = *(struct lp_cfg_pool *const *)left;
    const struct lp_cfg_pool *b = *(struct lp_cfg_pool *const *)right;

    return order_slices(a->name, b->name);
}

static void sort_pools(struct lp_config *config)
{
    config->pools_by_name =
        LP_ARENA_ARRAY(&config->arena, struct lp_cfg_pool *, config->pools_count + 1);
    for (uint32_t i = 0; i < config->pools_count; i++)
        config->pools_by_name[i] = &config->pools[i];
    qsort(config->pools_by_name, config->pools_count, sizeof(struct lp_cfg_pool *), compare_pools);
}

struct identified { /* a server beside its node, for sorting by id */
    struct lp_cfg_server *server;
    struct node *node;
};

static int compare_ids(const void *left, const void *right)
{
    const struct identified *a = left, *b = right;
    int order = order_slices(a->server->id, b->server->id);

    return order != 0 ? order : order_positions(a->server->pos, b->server->pos);
}

static void check_ids(struct reader *r, const struct place *servers, struct lp_cfg_pool *pool)
{
    struct identified *all = lp_alloc((pool->servers_count + 1) * sizeof(struct identified));
    uint32_t count = 0;

    for (struct node *node = servers->node->first; node != NULL; node = node->next) {
        struct lp_cfg_server *server = &pool->servers[count];
        if (server->id.size == 0)
            server->id = server->name;
        all[count++] = (struct identified){server, node};
    }
    qsort(all, count, sizeof(struct identified), compare_ids);
    for (uint32_t i = 1; i < count; i++) {
        if (!lp_slice_equal(all[i - 1].server->id, all[i].server->id))
            continue;
        struct place at = {.up = servers, .node = all[i].node, .key = all[i].server->name};
        read_error_of_key(r, &at, NULL,
                          "has the same id \"%.*s\" as server \"%.*s\"; an id is one server's "
                          "identity",
                          LP_SLICE_ARG(all[i].server->id), LP_SLICE_ARG(all[i - 1].server->name));
    }
    lp_free(all);
}

static void check_weights(struct reader *r, const struct place *servers,
                          const struct lp_cfg_pool *pool)
{
    for (uint32_t i = 0; i < pool->servers_count; i++)
        if (pool->servers[i].weight > 0)
            return;
    read_error(r, servers, "every server has weight 0, so no client would get in");
}

static void check_servers(struct reader *r, const struct place *at, struct lp_cfg_pool *pool)
{
    struct place servers = place_of_key(at, "servers");

    if (servers.node == NULL) {
        check_report_missing(r, at, "servers", "a pool needs at least one server");
        return;
    }
    if (pool->servers_count == 0) {
        if (check_is_map(servers.node))
            read_error(r, &servers, "is empty; a pool needs at least one server");
        return;
    }
    if (pool->servers_count > LP_POOL_SERVERS_MAX)
        read_error(r, &servers, "has %u servers; a pool has at most %u", pool->servers_count,
                   LP_POOL_SERVERS_MAX);
    for (struct node *node = servers.node->first; node != NULL; node = node->next) {
        struct place server = {.up = &servers, .node = node, .key = node->key->text};
        if (check_is_map(node) && node_find(node, "address") == NULL)
            check_report_missing(r, &server, "address", "a server needs one, like 10.0.0.1:8080");
    }
    check_ids(r, &servers, pool);
    check_weights(r, &servers, pool);
}

/* One of them may be a "type" that was spelled wrongly. */
static bool has_unknown_keys(const struct place *at, enum schema_section section)
{
    for (struct node *node = at->node->first; node != NULL; node = node->next)
        if (schema_find(section, node->key->text) == NULL)
            return true;
    return false;
}

/* Without a type a check is what its keys ask for. */
static void check_type(struct reader *r, const struct place *pool_at, struct lp_cfg_check *check)
{
    struct place at = place_of_key(pool_at, "check"), type = place_of_key(&at, "type");
    struct place path = place_of_key(&at, "path"), expect = place_of_key(&at, "expect");
    struct place host = place_of_key(&at, "host"), headers = place_of_key(&at, "headers");
    struct place ping = place_of_key(&at, "ping");

    if (!check_is_map(at.node) || type.node != NULL || has_unknown_keys(&at, SECTION_CHECK))
        return;
    if (check->ping && expect.node != NULL)
        read_error_of_key(r, &ping, NULL,
                          "is for a websocket check, \"expect\" for an http check; write which "
                          "\"type\" it is");
    else if (check->ping)
        check->type = LP_CHECK_WEBSOCKET;
    else if (expect.node != NULL || path.node != NULL)
        check->type = LP_CHECK_HTTP;
    else if (check->host.size > 0 || check->headers_count > 0)
        read_error_of_key(r, check->host.size > 0 ? &host : &headers, NULL,
                          "needs a type: a tcp check sends no request; write \"type: http\" or "
                          "\"type: websocket\"");
}

static void check_pool(struct reader *r, const struct place *at, struct lp_cfg_pool *pool)
{
    if (!check_is_map(at->node))
        return;
    check_servers(r, at, pool);
    check_back_tls(r, at, pool);
    check_type(r, at, &pool->check);
}

/* ---- routes ---- */

static void refuse_pool_name(struct reader *r, const struct place *at, struct lp_slice name)
{
    const struct lp_cfg_pool *nearest = NULL;
    uint32_t least = UINT32_MAX, pools_count = 0;

    if (r->report->errors_count < REPORT_KEPT_MAX)
        pools_count = r->config->pools_count;
    if (pools_count > COMPARED_POOLS_MAX)
        pools_count = COMPARED_POOLS_MAX;
    for (uint32_t i = 0; i < pools_count; i++) {
        const struct lp_cfg_pool *pool = &r->config->pools[i];
        uint32_t distance = words_distance(name, pool->name);
        if (words_are_near(name, pool->name) && distance < least) {
            least = distance;
            nearest = pool;
        }
    }
    if (nearest != NULL)
        read_error(r, at, "there is no pool \"%.*s\"; did you mean \"%.*s\"?", LP_SLICE_ARG(name),
                   LP_SLICE_ARG(nearest->name));
    else
        read_error(r, at, "there is no pool \"%.*s\"", LP_SLICE_ARG(name));
}

static struct lp_cfg_pool *resolve_pool(struct reader *r, const struct place *at, bool *used)
{
    struct lp_slice name;

    if (!read_text(r, at, &name))
        return NULL;
    struct lp_cfg_pool *pool = lp_config_pool(r->config, name);
    if (pool != NULL)
        used[pool - r->config->pools] = true;
    else
        refuse_pool_name(r, at, name);
    return pool;
}

static void check_match(struct reader *r, const struct place *at, enum lp_protocol protocol)
{
    struct place path = place_of_key(at, "path");
    struct place exact = place_of_key(at, "path_exact");

    if (path.node != NULL && exact.node != NULL)
        read_error_of_key(r, &exact, NULL, "stands beside \"path\"; a route has one of them");
    if (at->node->kind != NODE_MAP)
        return;
    for (struct node *node = at->node->first; node != NULL; node = node->next) {
        struct place condition = {.up = at, .node = node, .key = node->key->text};
        bool is_sni = lp_slice_equal(condition.key, LP_SLICE("sni"));
        if (protocol == LP_PROTOCOL_HTTP && is_sni)
            read_error_of_key(r, &condition, NULL,
                              "a listener with protocol http matches the \"host\" of each "
                              "request; \"sni\" is for protocol tcp");
        else if (protocol == LP_PROTOCOL_TCP && !is_sni &&
                 schema_find(SECTION_MATCH, condition.key) != NULL)
            read_error_of_key(r, &condition, NULL,
                              "a listener with protocol tcp sees no requests; it can match only "
                              "\"sni\"");
    }
}

static void check_route(struct reader *r, const struct place *at, struct lp_cfg_route *route,
                        enum lp_protocol protocol, bool *used)
{
    struct place pool = place_of_key(at, "pool");
    struct place match = place_of_key(at, "match");

    if (!check_is_map(at->node))
        return;
    if (match.node != NULL)
        check_match(r, &match, protocol);
    if (pool.node != NULL)
        route->pool = resolve_pool(r, &pool, used);
    else
        check_report_missing(r, at, "pool", "a route needs the pool that its requests go to");
}

/* A condition on the host or the SNI. */
struct name_condition {
    struct lp_slice name;
    bool is_suffix;
};

static bool name_covers(struct name_condition a, struct name_condition b)
{
    if (a.name.size == 0)
        return true;
    if (!a.is_suffix)
        return !b.is_suffix && lp_slice_equal(a.name, b.name);
    if (b.is_suffix && lp_slice_equal(a.name, b.name))
        return true;
    /* "*.example.com" has one label or more before the name, so a '.' stands before it. */
    size_t before = b.name.size > a.name.size ? b.name.size - a.name.size : 0;
    return before > 1 && b.name.data[before - 1] == '.' &&
           memcmp(b.name.data + before, a.name.data, a.name.size) == 0;
}

static bool path_covers(const struct lp_cfg_route *a, const struct lp_cfg_route *b)
{
    if (a->path_is_exact)
        return b->path_is_exact && lp_slice_equal(a->path, b->path);
    if (a->path.size == 0)
        return true;
    return b->path.size >= a->path.size && memcmp(b->path.data, a->path.data, a->path.size) == 0 &&
           (b->path.size == a->path.size || b->path.data[a->path.size] == '/');
}

/* Does a take everything that b would? */
static bool route_covers(const struct lp_cfg_route *a, const struct lp_cfg_route *b)
{
    return (a->upgrade == LP_MATCH_ANY_UPGRADE || a->upgrade == b->upgrade) &&
           name_covers((struct name_condition){a->host, a->host_is_suffix},
                       (struct name_condition){b->host, b->host_is_suffix}) &&
           name_covers((struct name_condition){a->sni, a->sni_is_suffix},
                       (struct name_condition){b->sni, b->sni_is_suffix}) &&
           path_covers(a, b);
}

static void warn_of_covered_routes(struct reader *r, const struct place *routes,
                                   const struct lp_cfg_listener *listener)
{
    struct node *node = routes->node->first;

    if (r->report->errors_count > 0)
        return; /* a condition that could not be read is no condition: the warning may be wrong */
    for (uint32_t i = 0; i < listener->routes_count && i < COMPARED_ROUTES_MAX;
         i++, node = node->next) {
        uint32_t j = 0;
        while (j < i && !route_covers(&listener->routes[j], &listener->routes[i]))
            j++;
        struct place at = place_of_item(routes, node, i);
        if (j < i)
            read_warning(r, &at, "never matches: the route in line %u takes everything before it",
                         listener->routes[j].pos.line);
    }
}

static void check_routes(struct reader *r, const struct place *at, struct lp_cfg_listener *listener,
                         bool *used)
{
    struct node *node = at->node->first;

    if (listener->routes_count == 0) {
        if (at->node->kind == NODE_LIST || node_is_nothing(at->node))
            read_error(r, at, "is empty; write \"pool: NAME\" to send everything to one pool");
        return;
    }
    for (uint32_t i = 0; i < listener->routes_count; i++, node = node->next) {
        struct place route = place_of_item(at, node, i);
        check_route(r, &route, &listener->routes[i], listener->protocol, used);
    }
    warn_of_covered_routes(r, at, listener);
}

static void add_only_route(struct reader *r, const struct place *at,
                           struct lp_cfg_listener *listener, bool *used)
{
    struct lp_cfg_route *route = LP_ARENA_NEW(r->arena, struct lp_cfg_route);

    read_defaults(r, SECTION_ROUTE, route);
    route->pos = at->node->pos;
    route->pool = resolve_pool(r, at, used);
    listener->routes = route;
    listener->routes_count = 1;
}

/* It answers everything itself, so nothing may be said about where requests go. */
static void check_redirect(struct reader *r, const struct place *at,
                           struct lp_cfg_listener *listener)
{
    static const char *const others[] = {"pool", "routes"};
    struct place protocol = place_of_key(at, "protocol"), tls = place_of_key(at, "tls");

    for (uint32_t i = 0; i < LP_COUNT_OF(others); i++) {
        struct place other = place_of_key(at, others[i]);
        if (other.node != NULL)
            read_error_of_key(r, &other, NULL,
                              "stands beside \"redirect\", which answers every request");
    }
    if (listener->protocol == LP_PROTOCOL_TCP)
        read_error(r, &protocol, "a listener that redirects needs protocol http");
    if (tls.node != NULL)
        read_error_of_key(r, &tls, NULL,
                          "stands beside \"redirect\"; what arrives here is https already");
    listener->routes_count = 0;
}

static void check_destination(struct reader *r, const struct place *at,
                              struct lp_cfg_listener *listener, bool *used)
{
    struct place pool = place_of_key(at, "pool");
    struct place routes = place_of_key(at, "routes");

    if (pool.node == NULL && routes.node == NULL)
        read_error(r, at, "has neither \"pool\" nor \"routes\"; where should its requests go?");
    if (pool.node != NULL && routes.node != NULL)
        read_error_of_key(r, &pool, NULL,
                          "stands beside \"routes\"; make it the last route: - {pool: ...}");
    if (routes.node != NULL)
        check_routes(r, &routes, listener, used);
    if (pool.node != NULL && routes.node == NULL)
        add_only_route(r, &pool, listener, used);
    else if (pool.node != NULL)
        (void)resolve_pool(r, &pool, used);
}

static void check_listener(struct reader *r, const struct place *at,
                           struct lp_cfg_listener *listener, bool *used)
{
    if (!check_is_map(at->node))
        return;
    if (node_find(at->node, "bind") == NULL)
        check_report_missing(r, at, "bind", "a listener needs an address, like 0.0.0.0:8080");
    check_front_tls(r, at, listener);
    if (node_find(at->node, "redirect") != NULL)
        check_redirect(r, at, listener);
    else
        check_destination(r, at, listener, used);
}

/* ---- the process ---- */

static void check_drain(struct reader *r, const struct place *root)
{
    const struct lp_cfg_drain *drain = &r->config->drain;
    struct place at = place_of_key(root, "drain");

    if (at.node == NULL || drain->delay_ms < drain->deadline_ms)
        return;
    struct place delay = place_of_key(&at, "delay");
    struct place deadline = place_of_key(&at, "deadline");
    char delay_text[32], deadline_text[32];

    scalar_format(TYPE_DURATION, drain->delay_ms, delay_text, sizeof(delay_text));
    scalar_format(TYPE_DURATION, drain->deadline_ms, deadline_text, sizeof(deadline_text));
    read_error(r,
               delay.node != NULL      ? &delay
               : deadline.node != NULL ? &deadline
                                       : &at,
               "the delay (%s) must be shorter than the deadline (%s), which includes it",
               delay_text, deadline_text);
}

static void check_pools(struct reader *r, const struct place *root)
{
    struct lp_config *config = r->config;
    struct place pools = place_of_key(root, "pools");

    if (pools.node == NULL) {
        check_report_missing(r, root, "pools", "it says which servers there are");
        return;
    }
    if (config->pools_count == 0) {
        if (check_is_map(pools.node))
            read_error(r, &pools, "is empty; it says which servers there are");
        return;
    }
    struct node *node = pools.node->first;
    for (uint32_t i = 0; i < config->pools_count; i++, node = node->next) {
        struct place pool = {.up = &pools, .node = node, .key = node->key->text};
        check_pool(r, &pool, &config->pools[i]);
    }
}

static void check_listeners(struct reader *r, const struct place *root, bool *used)
{
    struct lp_config *config = r->config;
    struct place listeners = place_of_key(root, "listeners");

    if (listeners.node == NULL) {
        check_report_missing(r, root, "listeners", "it says where to accept connections");
        return;
    }
    if (config->listeners_count == 0) {
        if (check_is_map(listeners.node))
            read_error(r, &listeners, "is empty; it says where to accept connections");
        return;
    }
    struct node *node = listeners.node->first;
    for (uint32_t i = 0; i < config->listeners_count; i++, node = node->next) {
        struct place listener = {.up = &listeners, .node = node, .key = node->key->text};
        check_listener(r, &listener, &config->listeners[i], used);
    }
}

static void warn_of_unused_pools(struct reader *r, const struct place *root, const bool *used)
{
    struct place pools = place_of_key(root, "pools");

    if (r->report->errors_count > 0 || pools.node == NULL)
        return; /* its route may be the one that could not be read */
    struct node *node = pools.node->first;
    for (uint32_t i = 0; i < r->config->pools_count; i++, node = node->next) {
        struct place pool = {.up = &pools, .node = node, .key = node->key->text};
        if (!used[i])
            read_warning(r, &pool, "no listener and no route uses this pool");
    }
}

void check_config(struct reader *r, struct node *root)
{
    struct place at = {.node = root};

    if (root->kind != NODE_MAP)
        return;
    sort_pools(r->config);
    bool *used = lp_alloc(r->config->pools_count + 1);
    check_drain(r, &at);
    check_pools(r, &at);
    check_listeners(r, &at, used);
    check_binds(r, &at);
    resolve_timeouts(r->config);
    warn_of_unused_pools(r, &at, used);
    effect_check(r, &at);
    lp_free(used);
}
