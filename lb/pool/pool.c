/* Pools at run time: found or created by name when a snapshot is bound, freed when nothing needs
 * them. Which server a request gets is decided in pick.c. */
#include "lb/pool/pool.h"

#include <stdlib.h>
#include <string.h>

void registry_init(struct registry *registry, uint32_t workers_count)
{
    lp_list_init(&registry->pools);
    registry->workers_count = workers_count;
}

static struct pool *find_pool(const struct registry *registry, struct lp_slice name)
{
    LP_LIST_EACH (link, &registry->pools) {
        struct pool *pool = lp_container_of(link, struct pool, link);
        if (lp_slice_equal(lp_slice_of(pool->name), name))
            return pool;
    }
    return NULL;
}

static struct pool *create_pool(struct registry *registry, struct lp_slice name)
{
    struct pool *pool = lp_alloc(sizeof(*pool));

    pool->name = lp_alloc(name.size + 1);
    memcpy(pool->name, name.data, name.size);
    lp_list_init(&pool->servers);
    lp_list_push_back(&registry->pools, &pool->link);
    return pool;
}

static void sweep_bucket(struct policy **at)
{
    while (*at != NULL) {
        struct policy *policy = *at;
        if (policy->routes_count > 0 ||
            atomic_load_explicit(&policy->streams_count, memory_order_acquire) > 0) {
            at = &policy->next;
            continue;
        }
        *at = policy->next;
        lp_free(policy);
    }
}

static void sweep_policies(struct pool *pool)
{
    for (size_t i = 0; i < POOL_POLICY_BUCKETS; i++)
        sweep_bucket(&pool->policies[i]);
}

static void destroy_pool(struct pool *pool)
{
    for (size_t i = 0; i < POOL_POLICY_BUCKETS; i++)
        LP_ASSERT(pool->policies[i] == NULL);
    lp_list_remove(&pool->link);
    lp_free(pool->name);
    lp_free(pool);
}

uint32_t registry_sweep(struct registry *registry, bool force)
{
    uint32_t draining_count = 0;

    LP_LIST_EACH (pool_link, &registry->pools) {
        struct pool *pool = lp_container_of(pool_link, struct pool, link);
        LP_LIST_EACH (link, &pool->servers) {
            struct server *server = lp_container_of(link, struct server, link);
            if (server->snapshots_count == 0 && (force || !server_is_used(server)))
                server_destroy(server);
            else if (!server->is_listed)
                draining_count++;
        }
        sweep_policies(pool);
        if (pool->snapshots_count == 0 && lp_list_is_empty(&pool->servers))
            destroy_pool(pool);
    }
    return draining_count;
}

static void set(_Atomic uint32_t *member, uint32_t value)
{
    atomic_store_explicit(member, value, memory_order_relaxed);
}

static void set_policy(struct policy *policy, const struct lp_cfg_timeouts *timeouts)
{
    set(&policy->body_ms, timeouts->body);
    set(&policy->connect_ms, timeouts->connect);
    set(&policy->response_ms, timeouts->response);
    set(&policy->stream_idle_ms, timeouts->stream_idle);
    set(&policy->half_closed_ms, timeouts->half_closed);
    set(&policy->stalled_ms, timeouts->stalled);
    set(&policy->linger_ms, timeouts->linger);
}

/* What a route is known by from one configuration to the next. */
static uint64_t digest_of(const struct lp_cfg_listener *listener, const struct lp_cfg_route *route)
{
    const struct lp_slice texts[] = {listener->name, route->host, route->path, route->sni};
    uint64_t digest = route->host_is_suffix | route->path_is_exact * 2u |
                      route->sni_is_suffix * 4u | (uint64_t)route->upgrade << 3;

    for (size_t i = 0; i < LP_COUNT_OF(texts); i++)
        digest = lp_hash_key(texts[i], digest + i);
    return digest;
}

static struct policy *find_policy(struct pool *pool, uint64_t digest)
{
    struct policy **bucket = &pool->policies[digest % POOL_POLICY_BUCKETS];

    for (struct policy *policy = *bucket; policy != NULL; policy = policy->next)
        if (policy->route == digest)
            return policy;
    struct policy *policy = lp_alloc(sizeof(*policy));
    policy->route = digest;
    policy->next = *bucket;
    *bucket = policy;
    return policy;
}

struct policy *pool_policy(struct pool *pool, const struct lp_cfg_listener *listener,
                           const struct lp_cfg_route *route, uint32_t generation)
{
    struct policy *policy = find_policy(pool, digest_of(listener, route));

    policy->routes_count++;
    if (policy->generation != generation)
        set_policy(policy, &route->timeouts);
    policy->generation = generation;
    return policy;
}

void pool_update(struct pool *pool, const struct lp_cfg_pool *config)
{
    set_policy(&pool->policy, &config->timeouts);
    set(&pool->drain_deadline_ms, config->drain.deadline_ms);
    set(&pool->drain_spread_percent, config->drain.spread_percent);
    set(&pool->drain_close_code, config->drain.close_code);
    set(&pool->keep_alive_idle, config->keep_alive_idle);
    set(&pool->keep_alive_timeout_ms, config->keep_alive_timeout_ms);
}

/* What is spoken on a connection to it; another one makes it another server (see server.h). */
static uint64_t speech_of(const struct lp_cfg_pool *config)
{
    const struct lp_cfg_back_tls *tls = &config->tls;
    const struct lp_slice texts[] = {tls->name, tls->ca.path, tls->cert.path, tls->key.path};
    uint64_t speech = (uint64_t)config->proxy_protocol * 4 + tls->is_on * 2u + tls->verify;

    if (!tls->is_on)
        return (uint64_t)config->proxy_protocol * 4;
    for (size_t i = 0; i < LP_COUNT_OF(texts); i++)
        speech = lp_hash_key(texts[i], speech + i);
    return speech;
}

/* Smooth weighted round robin (as nginx has it): each turn every server gains its weight, the
 * greatest has the turn and loses the sum; of equals the first. Written out once, so that a turn is
 * one counter. Servers of one weight have their turns in the order of the file, over and over, so
 * only the next of each weight needs to be looked at. Their sum bounds how many different weights
 * there can be: about 500, while there may be ten thousand servers. */
#define TURNS_MAX 65536u

struct weight_group {
    int64_t weight, gained; /* of its next server, as of all that have had as many turns */
    const uint32_t *servers;
    uint32_t servers_count, next;
};

static uint64_t greatest_common_divisor(uint64_t a, uint64_t b)
{
    while (b != 0) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* Weights whose sum is above TURNS_MAX even without their common divisor are rounded. Gives the
 * sum. */
static uint64_t shrink_weights(uint32_t *weights, const struct lp_cfg_pool *config)
{
    uint64_t divisor = 0, sum = 0, total = 0;

    for (uint32_t i = 0; i < config->servers_count; i++) {
        divisor = greatest_common_divisor(divisor, config->servers[i].weight);
        sum += config->servers[i].weight;
    }
    if (sum == 0)
        return 0; /* nobody ever has a turn */
    uint64_t shrink = sum / divisor > TURNS_MAX ? (sum / divisor + TURNS_MAX - 1) / TURNS_MAX : 1;
    for (uint32_t i = 0; i < config->servers_count; i++) {
        uint64_t weight = config->servers[i].weight / divisor;
        weights[i] = (uint32_t)(weight / shrink + (weight > 0 && weight < shrink));
        total += weights[i];
    }
    return total;
}

static int by_weight_and_place(const void *a, const void *b, void *context)
{
    const uint32_t *weights = context;
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    if (weights[x] != weights[y])
        return weights[x] < weights[y] ? -1 : 1;
    return x < y ? -1 : 1;
}

/* Gives how many; order has the servers of each behind each other. */
static uint32_t group_by_weight(struct weight_group *groups, uint32_t *order, uint32_t *weights,
                                uint32_t count)
{
    uint32_t groups_count = 0;

    for (uint32_t i = 0; i < count; i++)
        order[i] = i;
    qsort_r(order, count, sizeof(*order), by_weight_and_place, weights);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t weight = weights[order[i]];
        if (weight == 0)
            continue;
        if (groups_count == 0 || groups[groups_count - 1].weight != weight)
            groups[groups_count++] = (struct weight_group){.weight = weight, .servers = order + i};
        groups[groups_count - 1].servers_count++;
    }
    return groups_count;
}

static uint32_t next_turn(struct weight_group *groups, uint32_t groups_count, int64_t total)
{
    struct weight_group *best = groups;

    for (struct weight_group *at = groups; at < groups + groups_count; at++) {
        at->gained += at->weight;
        if (at->gained > best->gained ||
            (at->gained == best->gained && at->servers[at->next] < best->servers[best->next]))
            best = at;
    }
    uint32_t server = best->servers[best->next++];
    if (best->next == best->servers_count) {
        best->next = 0;
        best->gained -= total;
    }
    return server;
}

static void build_turns(struct pool_view *view, struct lp_arena *arena)
{
    uint32_t count = view->config->servers_count;
    uint32_t *weights = lp_alloc(2 * sizeof(*weights) * count), *order = weights + count;
    struct weight_group *groups = lp_alloc(sizeof(*groups) * count);

    view->turns_count = (uint32_t)shrink_weights(weights, view->config);
    view->turns = LP_ARENA_ARRAY(arena, uint16_t, view->turns_count);
    uint32_t groups_count = group_by_weight(groups, order, weights, count);
    for (uint32_t turn = 0; turn < view->turns_count; turn++)
        view->turns[turn] = (uint16_t)next_turn(groups, groups_count, view->turns_count);
    lp_free(groups);
    lp_free(weights);
}

bool pool_view_build(struct pool_view *view, const struct lp_cfg_pool *config,
                     struct lp_arena *arena, struct lp_err *err)
{
    struct lp_hash_member *members = lp_alloc(config->servers_count * sizeof(*members));

    *view = (struct pool_view){.config = config};
    for (uint32_t i = 0; i < config->servers_count; i++)
        members[i] = (struct lp_hash_member){.id = config->servers[i].id,
                                             .weight = config->servers[i].weight * 256};
    bool ok = lp_hash_build(&view->table, members, config->servers_count, config->seed, err);
    lp_free(members);
    if (ok && config->balance == LP_BALANCE_ROUND_ROBIN)
        build_turns(view, arena);
    return ok;
}

/* A pool's servers by name, for the time of one bind: large pools are looked up quickly whatever
 * order the file lists them in. Open addressing; servers of one name and several addresses (one
 * listed, others draining) stand behind each other. */
struct servers_by_name {
    struct server **places;
    uint64_t mask;
};

static uint64_t place_of(const struct servers_by_name *index, struct lp_slice name)
{
    return lp_hash_key(name, 0) & index->mask;
}

static void index_servers(struct servers_by_name *index, const struct pool *pool)
{
    uint64_t count = 1;

    LP_LIST_EACH (link, &pool->servers)
        count++;
    index->mask = 1;
    while (index->mask + 1 < 2 * count)
        index->mask = 2 * index->mask + 1;
    index->places = lp_alloc((index->mask + 1) * sizeof(struct server *));
    LP_LIST_EACH (link, &pool->servers) {
        struct server *server = lp_container_of(link, struct server, link);
        uint64_t at = place_of(index, lp_slice_of(server->name));
        while (index->places[at] != NULL)
            at = (at + 1) & index->mask;
        index->places[at] = server;
    }
}

static struct server *find_server(const struct servers_by_name *index,
                                  const struct lp_cfg_server *config, uint64_t speech)
{
    uint64_t at = place_of(index, config->name);

    for (; index->places[at] != NULL; at = (at + 1) & index->mask)
        if (lp_slice_equal(lp_slice_of(index->places[at]->name), config->name) &&
            index->places[at]->speech == speech &&
            lp_addr_equal(&index->places[at]->address, &config->address))
            return index->places[at];
    return NULL;
}

void pool_view_bind(struct pool_view *view, struct registry *registry, struct lp_arena *arena)
{
    const struct lp_cfg_pool *config = view->config;
    struct pool *pool = find_pool(registry, config->name);
    struct servers_by_name index;
    uint64_t speech = speech_of(config);

    if (pool == NULL)
        pool = create_pool(registry, config->name);
    view->pool = pool;
    pool->snapshots_count++;
    atomic_store_explicit(&pool->tls, view->tls, memory_order_release);
    view->servers = LP_ARENA_ARRAY(arena, struct server *, config->servers_count);
    index_servers(&index, pool);
    for (uint32_t i = 0; i < config->servers_count; i++) {
        const struct lp_cfg_server *wanted = &config->servers[i];
        struct server *server = find_server(&index, wanted, speech);
        if (server == NULL) {
            server = server_create(pool, wanted->name, &wanted->address, registry->workers_count);
            server->speech = speech;
            server->uses_tls = config->tls.is_on;
            server->proxy_protocol = config->proxy_protocol;
            lp_list_push_back(&pool->servers, &server->link);
        }
        server->snapshots_count++;
        view->servers[i] = server;
    }
    lp_free(index.places);
}

void pool_view_unbind(struct pool_view *view)
{
    if (view->pool == NULL)
        return;
    for (uint32_t i = 0; i < view->config->servers_count; i++)
        view->servers[i]->snapshots_count--;
    view->pool->snapshots_count--;
    view->pool = NULL;
}

void pool_view_deinit(struct pool_view *view)
{
    if (view->table != NULL)
        lp_hash_destroy(view->table);
    lp_tls_back_destroy(view->tls);
    view->table = NULL;
}
