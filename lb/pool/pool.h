/* pool: servers that share one balance and one check policy, at run time and in a snapshot.
 *
 * struct pool outlives configurations: its servers, its turn counter, and the few numbers that a
 * tunnel needs (policy), which a reload updates in place. struct pool_view is what one snapshot
 * says of it, read-only and shared by all workers. */
#ifndef LP_LB_POOL_POOL_H
#define LP_LB_POOL_POOL_H

#include "config/config.h"
#include "hash/hash.h"
#include "lb/pool/server.h"
#include "tls/tls.h"

/* A stream's timeouts, which it keeps when it lets go of its snapshot; reloads update them in
 * place. Read them with policy_ms(). The pool's own one lives as long as the pool. A route's one is
 * known by what the route matches, and lives as long as the route is in any snapshot, and as any
 * stream of it. */
struct policy {
    struct policy *next; /* of the same pool; owned by it */
    uint64_t route;      /* a digest: listener and match */
    uint32_t generation; /* of the snapshot that updated it last; control thread only */
    _Atomic uint32_t body_ms, connect_ms, response_ms, stream_idle_ms, half_closed_ms, stalled_ms,
        linger_ms;
    uint32_t routes_count;          /* control thread only */
    _Atomic uint32_t streams_count; /* without a snapshot */
};

#define POOL_POLICY_BUCKETS 64u /* a pool of ten thousand routes is bound in a few milliseconds */

struct pool {
    struct lp_list link; /* registry */
    char *name;
    struct lp_list servers;
    struct policy policy;                         /* of what has no route: idle connections */
    struct policy *policies[POOL_POLICY_BUCKETS]; /* of its routes, by their digest */
    _Atomic uint32_t drain_deadline_ms, drain_spread_percent, drain_close_code;
    _Atomic uint32_t keep_alive_idle, keep_alive_timeout_ms;
    /* Servers that are not down, also those that only drain; kept by server.c. */
    _Atomic uint32_t not_down_count;
    /* How its servers are spoken to: the newest snapshot's. A worker that reads it uses it at once,
     * and lets go of an older snapshot only later, so what it found is alive. NULL: plain. */
    _Atomic(struct lp_tls_back *) tls;
    _Atomic uint32_t turn; /* round_robin's counter, and least_connections' tie break */
    uint32_t snapshots_count;
};

/* All pools at run time; control thread only. */
struct registry {
    struct lp_list pools;
    uint32_t workers_count;
};

struct pool_view {
    const struct lp_cfg_pool *config;
    struct pool *pool;
    struct server **servers; /* as in config->servers */
    struct lp_hash_table *table;
    uint16_t *turns; /* round_robin: the order of servers, smooth and weighted */
    uint32_t turns_count;
    struct lp_tls_back *tls; /* NULL: plain */
};

void registry_init(struct registry *registry, uint32_t workers_count);
/* Frees what no snapshot lists and no connection uses; with force everything. Gives the servers
 * left that drain. */
uint32_t registry_sweep(struct registry *registry, bool force);

/* The parts of a view that need no run-time objects, so another thread may compute them. */
bool pool_view_build(struct pool_view *view, const struct lp_cfg_pool *config,
                     struct lp_arena *arena, struct lp_err *err) LP_MUST_USE;
/* Finds or creates its pool and servers, and counts one snapshot on each. */
void pool_view_bind(struct pool_view *view, struct registry *registry, struct lp_arena *arena);
/* The snapshot ends. */
void pool_view_unbind(struct pool_view *view);
void pool_view_deinit(struct pool_view *view);

/* The policy for streams of that listener's route, brought up to date for snapshot `generation`: of
 * two routes that match the same the first counts, as it does when they are looked up. Counts the
 * route, until policy_put(). */
struct policy *pool_policy(struct pool *pool, const struct lp_cfg_listener *listener,
                           const struct lp_cfg_route *route, uint32_t generation);
static inline void policy_put(struct policy *policy)
{
    policy->routes_count--;
}
static inline uint32_t policy_ms(const _Atomic uint32_t *member)
{
    return atomic_load_explicit(member, memory_order_relaxed);
}
/* Brings the pool's own policy and drain up to date. Control thread. */
void pool_update(struct pool *pool, const struct lp_cfg_pool *config);

/* False: every server is down. True says less: the only others may drain, or have weight 0. */
static inline bool pool_has_candidates(const struct pool *pool)
{
    return atomic_load_explicit(&pool->not_down_count, memory_order_relaxed) > 0;
}

#define PICK_TRIES_MAX 11u /* `retries` may be 10 */

/* What a stream has tried, so that each server is tried once. */
struct pick {
    uint64_t key_hash;
    uint16_t tried[PICK_TRIES_MAX];
    uint8_t tried_count;
};

/* Picks a server: by rank of the key, by load or by turn, over servers that are not down and were
 * not tried yet; with `when_all_down: try_all` and all down, over those not tried. NULL when none
 * is left. Adds it to what was tried. */
struct server *pool_pick(const struct pool_view *view, struct pick *pick);

#endif
