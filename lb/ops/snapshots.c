/* Publishing a snapshot: addresses, run-time objects, checks, workers; and sweeping what is left
 * over. All of it on the control thread. */
#include <string.h>

#include "lb/health/check.h"
#include "lb/ops/process.h"

static struct endpoint *find_endpoint(const struct process *process, const struct lp_cfg_bind *bind)
{
    LP_LIST_EACH (link, &process->endpoints) {
        struct endpoint *endpoint = lp_container_of(link, struct endpoint, link);
        if (!endpoint_is_for(endpoint, bind))
            continue;
        if (!endpoint_is_closed(endpoint))
            return endpoint;
        /* Kept-alive clients of a removed listener still name it: the address is free again. */
        endpoint->address = (struct lp_addr){0};
    }
    return NULL;
}

static bool is_listed(const struct snapshot *snapshot, const struct endpoint *endpoint)
{
    for (uint32_t i = 0; snapshot != NULL && i < snapshot->config->listeners_count; i++)
        for (uint32_t b = 0; b < snapshot->listeners[i].config->binds_count; b++)
            if (snapshot->listeners[i].endpoints[b] == endpoint)
                return true;
    return false;
}

/* Is an address wanted again that workers are letting go of at this moment? */
static bool is_leaving_any(const struct process *process, const struct lp_config *config)
{
    for (uint32_t i = 0; process->snapshot != NULL && i < config->listeners_count; i++)
        for (uint32_t b = 0; b < config->listeners[i].binds_count; b++) {
            const struct endpoint *endpoint =
                find_endpoint(process, &config->listeners[i].binds[b]);
            if (endpoint != NULL && !is_listed(process->snapshot, endpoint))
                return true;
        }
    return false;
}

void process_close_fresh_endpoints(struct process *process)
{
    LP_LIST_EACH (link, &process->endpoints) {
        struct endpoint *endpoint = lp_container_of(link, struct endpoint, link);
        if (endpoint->is_fresh)
            endpoint_destroy(endpoint);
    }
}

static enum endpoints_result bind_one(struct process *process, const struct lp_cfg_bind *bind,
                                      struct lp_err *err)
{
    struct endpoint *endpoint = find_endpoint(process, bind);

    if (endpoint != NULL)
        return ENDPOINTS_OPEN;
    switch (endpoint_bind(&endpoint, bind, process->workers_count, &process->endpoints, err)) {
    case ENDPOINT_BOUND:
        lp_list_push_back(&process->endpoints, &endpoint->link);
        return ENDPOINTS_OPEN;
    case ENDPOINT_PASSING:
        return ENDPOINTS_PASSING;
    case ENDPOINT_STRANGER:
        return ENDPOINTS_STRANGER;
    case ENDPOINT_REFUSED:
        break;
    }
    return ENDPOINTS_REFUSED;
}

enum endpoints_result process_bind_endpoints(struct process *process,
                                             const struct lp_config *config, struct lp_err *err)
{
    enum endpoints_result result = ENDPOINTS_OPEN;

    if (is_leaving_any(process, config))
        return ENDPOINTS_LEAVING;
    for (uint32_t i = 0; i < config->listeners_count; i++)
        for (uint32_t b = 0; b < config->listeners[i].binds_count && result == ENDPOINTS_OPEN; b++)
            result = bind_one(process, &config->listeners[i].binds[b], err);
    if (result != ENDPOINTS_OPEN)
        process_close_fresh_endpoints(process);
    return result;
}

bool process_listen_endpoints(struct process *process, struct lp_err *err)
{
    LP_LIST_EACH (link, &process->endpoints) {
        struct endpoint *endpoint = lp_container_of(link, struct endpoint, link);
        if (endpoint->is_fresh && !endpoint_listen(endpoint, err)) {
            process_close_fresh_endpoints(process);
            return false;
        }
    }
    return true;
}

/* Which servers the newest snapshot lists; the others drain from now on, or have begun before. */
static void mark_listed(struct process *process, const struct snapshot *snapshot)
{
    LP_LIST_EACH (pool_link, &process->registry.pools) {
        struct pool *pool = lp_container_of(pool_link, struct pool, link);
        LP_LIST_EACH (link, &pool->servers)
            lp_container_of(link, struct server, link)->is_listed = false;
    }
    for (uint32_t i = 0; i < snapshot->config->pools_count; i++)
        for (uint32_t s = 0; s < snapshot->pools[i].config->servers_count; s++) {
            struct server *server = snapshot->pools[i].servers[s];
            server->is_listed = true;
            atomic_store(&server->drain_began_ms, 0);
        }
}

static uint32_t collect_drained(struct process *process, struct snapshot *snapshot)
{
    uint32_t closing_count = 0, room = 0;

    LP_LIST_EACH (pool_link, &process->registry.pools) {
        struct pool *pool = lp_container_of(pool_link, struct pool, link);
        LP_LIST_EACH (link, &pool->servers) {
            struct server *server = lp_container_of(link, struct server, link);
            if (server->is_listed)
                continue;
            if (atomic_load(&server->drain_began_ms) == 0) {
                atomic_store(&server->drain_began_ms, process->loop.now_ms);
                closing_count += atomic_load(&server->active_count);
            }
            if (!server_is_used(server))
                continue; /* nothing to drain: it goes with the last snapshot that lists it */
            if (snapshot->drained_count == room) {
                room = room == 0 ? 16 : room * 2;
                struct server **grown = LP_ARENA_ARRAY(&snapshot->arena, struct server *, room);
                if (snapshot->drained_count > 0)
                    memcpy(grown, snapshot->drained, snapshot->drained_count * sizeof(*grown));
                snapshot->drained = grown;
            }
            snapshot->drained[snapshot->drained_count++] = server;
            server->snapshots_count++;
        }
    }
    return closing_count;
}

/* Before workers let go of it: would its clients find another endpoint instead? */
static bool is_covered(const struct process *process, const struct endpoint *endpoint)
{
    LP_LIST_EACH (link, &process->endpoints) {
        const struct endpoint *other = lp_container_of(link, struct endpoint, link);
        if (other != endpoint && is_listed(process->snapshot, other) &&
            endpoint_is_within(endpoint, other))
            return true;
    }
    return false;
}

static void mark_covered(struct process *process)
{
    LP_LIST_EACH (link, &process->endpoints) {
        struct endpoint *endpoint = lp_container_of(link, struct endpoint, link);
        if (!is_listed(process->snapshot, endpoint) && !endpoint_is_closed(endpoint))
            atomic_store(&endpoint->is_covered, is_covered(process, endpoint));
    }
}

uint32_t process_publish(struct process *process, struct snapshot *snapshot)
{
    snapshot->generation = ++process->generation;
    snapshot_bind(snapshot, &process->registry, &process->endpoints);
    LP_LIST_EACH (link, &process->endpoints)
        lp_container_of(link, struct endpoint, link)->is_fresh = false;
    for (uint32_t i = 0; i < snapshot->config->pools_count; i++)
        pool_update(snapshot->pools[i].pool, snapshot->pools[i].config);
    mark_listed(process, snapshot);
    uint32_t closing_count = collect_drained(process, snapshot);
    atomic_store(&snapshot->workers_count, process->workers_count);
    lp_list_push_back(&process->snapshots, &snapshot->link);
    process->snapshot = snapshot;
    mark_covered(process);
    checks_update(process, snapshot);
    return closing_count;
}

void process_tell_workers(struct process *process)
{
    atomic_store_explicit(&process->shared.snapshot, process->snapshot, memory_order_release);
    for (uint32_t i = 0; i < process->workers_count; i++)
        worker_wake(&process->workers[i]);
}

bool process_is_adopted(const struct process *process)
{
    for (uint32_t i = 0; i < process->workers_count; i++)
        if (atomic_load_explicit(&process->workers[i].generation, memory_order_acquire) !=
            process->generation)
            return false;
    return true;
}

void process_sweep(struct process *process)
{
    LP_LIST_EACH (link, &process->snapshots) {
        struct snapshot *snapshot = lp_container_of(link, struct snapshot, link);
        if (snapshot != process->snapshot &&
            atomic_load_explicit(&snapshot->workers_count, memory_order_acquire) == 0)
            snapshot_destroy(snapshot);
    }
    LP_LIST_EACH (link, &process->endpoints) {
        struct endpoint *endpoint = lp_container_of(link, struct endpoint, link);
        if (endpoint->snapshots_count == 0 &&
            atomic_load_explicit(&endpoint->workers_accepting, memory_order_acquire) == 0)
            endpoint_destroy(endpoint);
    }
    registry_sweep(&process->registry, false);
}

uint32_t process_live_snapshots(const struct process *process)
{
    uint32_t count = 0;
    LP_LIST_EACH (link, &process->snapshots)
        count++;
    return count;
}
