/* A configuration made ready for the data path: built, bound to what runs, freed. Where routes are
 * found: route.c. */
#include "lb/proxy/snapshot.h"

#include <stdio.h>
#include <string.h>

/* All of them, so that everything that is wrong is said at once. */
static bool build_tls(struct snapshot *snapshot, struct lp_config_report *report,
                      struct lp_err *err)
{
    const struct lp_config *config = snapshot->config;
    bool ok = true;

    snapshot->fronts =
        LP_ARENA_ARRAY(&snapshot->arena, struct lp_tls_front *, config->listeners_count);
    for (uint32_t i = 0; i < config->listeners_count; i++)
        if (config->listeners[i].tls.is_on)
            ok = lp_tls_front_build(&snapshot->fronts[i], config, &config->listeners[i], report) &&
                 ok;
    for (uint32_t i = 0; i < config->pools_count; i++)
        if (config->pools[i].tls.is_on)
            ok =
                lp_tls_back_build(&snapshot->pools[i].tls, config, &config->pools[i], report) && ok;
    if (ok)
        return true;
    return lp_err_set(err, LP_ERR_CONFIG, "%u error%s in the files that %.*s names",
                      report->errors_count, report->errors_count == 1 ? "" : "s",
                      LP_SLICE_ARG(config->path));
}

bool snapshot_build(struct snapshot **out, struct lp_config *config,
                    struct lp_config_report *report, struct lp_err *err)
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
    if (!build_tls(snapshot, report, err)) {
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

static bool asks_for_name(const struct lp_cfg_listener *config)
{
    for (uint32_t i = 0; i < config->routes_count; i++) {
        const struct lp_cfg_route *route = &config->routes[i];
        if (route->sni.size > 0)
            return true;
        for (uint32_t k = 0; k < route->pool->keys_count; k++)
            if (route->pool->keys[k].source == LP_KEY_SNI &&
                (config->tls.is_on || config->protocol == LP_PROTOCOL_TCP))
                return true;
    }
    return false;
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
        route->policy = pool_policy(route->pool->pool, config, route->config, snapshot->generation);
    }
    routes_index(listener, &snapshot->arena);
    if (config->tls.is_on && config->tls.hsts_s > 0) {
        char text[64];
        int size =
            snprintf(text, sizeof(text), "max-age=%llu", (unsigned long long)config->tls.hsts_s);
        listener->hsts = lp_arena_slice(&snapshot->arena, (struct lp_slice){text, (size_t)size});
    }
    listener->keeps_name = asks_for_name(config);
    listener->reads_hello = listener->tls != NULL || listener->keeps_name;
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
        snapshot->listeners[i].tls = snapshot->fronts[i];
        bind_listener(snapshot, &snapshot->listeners[i], endpoints);
    }
}

void snapshot_destroy(struct snapshot *snapshot)
{
    const struct lp_config *config = snapshot->config;

    for (uint32_t i = 0; snapshot->listeners != NULL && i < config->listeners_count; i++) {
        for (uint32_t b = 0; b < config->listeners[i].binds_count; b++)
            snapshot->listeners[i].endpoints[b]->snapshots_count--;
        for (uint32_t r = 0; r < config->listeners[i].routes_count; r++)
            policy_put(snapshot->listeners[i].routes[r].policy);
    }
    for (uint32_t i = 0; i < snapshot->drained_count; i++)
        snapshot->drained[i]->snapshots_count--;
    for (uint32_t i = 0; snapshot->fronts != NULL && i < config->listeners_count; i++)
        lp_tls_front_destroy(snapshot->fronts[i]);
    for (uint32_t i = 0; i < config->pools_count; i++) {
        pool_view_unbind(&snapshot->pools[i]);
        pool_view_deinit(&snapshot->pools[i]);
    }
    lp_list_remove(&snapshot->link);
    lp_arena_deinit(&snapshot->arena);
    lp_config_destroy(snapshot->config);
    lp_free(snapshot);
}
