/* Publishing a snapshot: addresses, run-time objects, checks, workers; and sweeping what is left
 * over. All of it on the control thread. */
#include <string.h>

#include "lb/health/check.h"
#include "lb/ops/process.h"

#define START_PATIENCE_MS 1000u

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

/* Those that no snapshot came to use. */
static void close_fresh(struct process *process, const struct lp_list *mark)
{
    while (process->endpoints.prev != mark)
        endpoint_destroy(lp_container_of(process->endpoints.prev, struct endpoint, link));
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

bool process_open_endpoints(struct process *process, const struct lp_config *config,
                            bool *must_wait, struct lp_err *err)
{
    const struct lp_list *mark = process->endpoints.prev;

    *must_wait = is_leaving_any(process, config);
    if (*must_wait)
        return false;
    for (uint32_t i = 0; i < config->listeners_count; i++) {
        const struct lp_cfg_listener *listener = &config->listeners[i];
        for (uint32_t b = 0; b < listener->binds_count; b++) {
            const struct lp_cfg_bind *bind = &listener->binds[b];
            struct endpoint *endpoint = find_endpoint(process, bind);
            if (endpoint != NULL)
                continue;
            /* Only at start: a running control thread must not sleep. */
            uint32_t patience_ms = process->snapshot == NULL ? START_PATIENCE_MS : 0;
            if (!endpoint_open(&endpoint, bind, process->workers_count, patience_ms, err)) {
                close_fresh(process, mark);
                return false;
            }
            lp_list_push_back(&process->endpoints, &endpoint->link);
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

uint32_t process_publish(struct process *process, struct snapshot *snapshot)
{
    snapshot->generation = ++process->generation;
    snapshot_bind(snapshot, &process->registry, &process->endpoints);
    for (uint32_t i = 0; i < snapshot->config->pools_count; i++)
        pool_update(snapshot->pools[i].pool, snapshot->pools[i].config);
    mark_listed(process, snapshot);
    uint32_t closing_count = collect_drained(process, snapshot);
    atomic_store(&snapshot->workers_count, process->workers_count);
    lp_list_push_back(&process->snapshots, &snapshot->link);
    process->snapshot = snapshot;
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
