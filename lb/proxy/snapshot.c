/* Compiling and matching. Where is a route decided: snapshot_route(). */
#include "lb/proxy/snapshot.h"

#include <string.h>

bool snapshot_build(struct snapshot **out, struct lp_config *config, struct lp_err *err)
{
    struct snapshot *snapshot = lp_alloc(sizeof(*snapshot));

    snapshot->config = config;
    lp_arena_init(&snapshot->arena);
    lp_list_init(&snapshot->link);
    snapshot->pools = LP_ARENA_ARRAY(&snapshot->arena, struct pool_view, config->pools_count);
    for (uint32_t i = 0; i < config->pools_count; i++)
        if (!pool_view_build(&snapshot->pools[i], &config->pools[i], &snapshot->arena, err)) {
            snapshot_destroy(snapshot);
            return false;
        }
    *out = snapshot;
    return true;
}

static struct endpoint *find_endpoint(const struct lp_list *endpoints,
                                      const struct lp_cfg_bind *bind)
{
    LP_LIST_EACH (link, endpoints) {
        struct endpoint *endpoint = lp_container_of(link, struct endpoint, link);
        if (endpoint_is_for(endpoint, bind))
            return endpoint;
    }
    return NULL;
}

static void bind_listener(struct snapshot *snapshot, struct snap_listener *listener,
                          const struct lp_list *endpoints)
{
    const struct lp_cfg_listener *config = listener->config;

    listener->endpoints = LP_ARENA_ARRAY(&snapshot->arena, struct endpoint *, config->binds_count);
    for (uint32_t i = 0; i < config->binds_count; i++) {
        listener->endpoints[i] = find_endpoint(endpoints, &config->binds[i]);
        LP_ASSERT(listener->endpoints[i] != NULL);
        listener->endpoints[i]->snapshots_count++;
    }
    listener->routes = LP_ARENA_ARRAY(&snapshot->arena, struct snap_route, config->routes_count);
    for (uint32_t i = 0; i < config->routes_count; i++) {
        struct snap_route *route = &listener->routes[i];
        route->config = &config->routes[i];
        route->pool = &snapshot->pools[route->config->pool - snapshot->config->pools];
        route->policy = pool_policy(route->pool->pool, route->config);
    }
}

void snapshot_bind(struct snapshot *snapshot, struct registry *registry,
                   const struct lp_list *endpoints)
{
    const struct lp_config *config = snapshot->config;

    for (uint32_t i = 0; i < config->pools_count; i++)
        pool_view_bind(&snapshot->pools[i], registry, &snapshot->arena);
    snapshot->listeners =
        LP_ARENA_ARRAY(&snapshot->arena, struct snap_listener, config->listeners_count);
    for (uint32_t i = 0; i < config->listeners_count; i++) {
        snapshot->listeners[i].config = &config->listeners[i];
        bind_listener(snapshot, &snapshot->listeners[i], endpoints);
    }
}

void snapshot_destroy(struct snapshot *snapshot)
{
    const struct lp_config *config = snapshot->config;

    for (uint32_t i = 0; snapshot->listeners != NULL && i < config->listeners_count; i++)
        for (uint32_t b = 0; b < config->listeners[i].binds_count; b++)
            snapshot->listeners[i].endpoints[b]->snapshots_count--;
    for (uint32_t i = 0; i < snapshot->drained_count; i++)
        snapshot->drained[i]->snapshots_count--;
    for (uint32_t i = 0; i < config->pools_count; i++) {
        pool_view_unbind(&snapshot->pools[i]);
        pool_view_deinit(&snapshot->pools[i]);
    }
    lp_list_remove(&snapshot->link);
    lp_arena_deinit(&snapshot->arena);
    lp_config_destroy(snapshot->config);
    lp_free(snapshot);
}

/* The name alone: without port and trailing dot. */
static struct lp_slice host_name(struct lp_slice host)
{
    if (host.size > 0 && host.data[0] == '[') {
        const char *end = memchr(host.data, ']', host.size);
        if (end != NULL)
            host.size = (size_t)(end - host.data) + 1;
        return host;
    }
    const char *colon = host.size == 0 ? NULL : memchr(host.data, ':', host.size);
    if (colon != NULL)
        host.size = (size_t)(colon - host.data);
    if (host.size > 0 && host.data[host.size - 1] == '.')
        host.size--;
    return host;
}

static bool host_matches(const struct lp_cfg_route *route, struct lp_slice host)
{
    if (route->host.size == 0)
        return true;
    if (!route->host_is_suffix)
        return lp_slice_equal_nocase(route->host, host);
    /* "*.example.com": at least one label, a dot, then the name. */
    if (host.size < route->host.size + 2)
        return false;
    size_t before = host.size - route->host.size;
    return host.data[before - 1] == '.' &&
           lp_slice_equal_nocase(route->host,
                                 (struct lp_slice){host.data + before, route->host.size});
}

/* A prefix of whole segments: "/ws" is in "/ws" and "/ws/x", not in "/wsx". */
static bool path_matches(const struct lp_cfg_route *route, struct lp_slice path)
{
    struct lp_slice wanted = route->path;

    if (wanted.size == 0)
        return true;
    if (route->path_is_exact)
        return lp_slice_equal(wanted, path);
    while (wanted.size > 0 && wanted.data[wanted.size - 1] == '/')
        wanted.size--;
    return path.size >= wanted.size && memcmp(path.data, wanted.data, wanted.size) == 0 &&
           (path.size == wanted.size || path.data[wanted.size] == '/');
}

static bool upgrade_matches(const struct lp_cfg_route *route, bool is_websocket)
{
    return route->upgrade == LP_MATCH_ANY_UPGRADE ||
           (route->upgrade == LP_MATCH_WEBSOCKET) == is_websocket;
}

const struct snap_route *snapshot_route(const struct snap_listener *listener, struct lp_slice host,
                                        struct lp_slice path, bool is_websocket)
{
    host = host_name(host);
    for (uint32_t i = 0; i < listener->config->routes_count; i++) {
        const struct lp_cfg_route *route = listener->routes[i].config;
        if (host_matches(route, host) && path_matches(route, path) &&
            upgrade_matches(route, is_websocket))
            return &listener->routes[i];
    }
    return NULL;
}
