/* A configuration made ready for the data path: built, bound to what runs, freed. Where routes are
 * found: route.c. */
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
    routes_index(listener, &snapshot->arena);
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
